//! Questions about a plan.

use crate::config::max_frame_from;
use crate::guard::{Out, bytes_from, guard};
use crate::result::siskin_result;
use siskin::arena::{MemoryPlan, required_bytes};
use siskin::checkin::Plan;

/// Bytes of arena that a session needs to check in, before it has a plan.
///
/// Any thread.
///
/// # Safety
/// `required` is NULL or points to a `size_t`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_arena_least_bytes(max_frame: u32, required: *mut usize) -> siskin_result {
    guard(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(required, "required") }?;
        out.write(MemoryPlan::before_plan(max_frame_from(max_frame)?));
        Ok(())
    })
}

/// Bytes of arena that a plan needs, exactly: one byte less is refused, this many never runs out. `plan` are the bytes that
/// the server's operator publishes; `max_frame` is that of the configuration.
///
/// Any thread.
///
/// # Safety
/// `plan` is NULL or points to `plan_len` bytes; `required` is NULL or points to a `size_t`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_plan_required_bytes(
    plan: *const u8,
    plan_len: usize,
    max_frame: u32,
    required: *mut usize,
) -> siskin_result {
    guard(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(required, "required") }?;
        if plan.is_null() {
            return Err(crate::result::Failure::null("plan"));
        }
        // SAFETY: the caller's promise.
        let plan = Plan::decode(unsafe { bytes_from(plan, plan_len, "plan") }?)?;
        out.write(required_bytes(&plan, max_frame_from(max_frame)?)?);
        Ok(())
    })
}
