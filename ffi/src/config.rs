//! What the app decides.

use crate::guard::{Out, guard, read_versioned};
use crate::result::{Failure, siskin_result};
use core::ffi::c_char;
use siskin::checkin::{MAX_POPULATION, Policy, Population};
use siskin::session::{Config, MIN_FRAME};

/// Longest frame that can be configured, bytes.
const MAX_FRAME: u32 = 1 << 20;

/// What the app decides, the same for every session. Fill it with `siskin_config_default`, then set the population and the
/// two fields of the privacy floor that have no default. The library copies what it needs: the struct and the text need not
/// outlive the call that they are given to.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct siskin_config {
    /// `sizeof(siskin_config)`, set by the caller.
    pub struct_size: u32,
    /// Longest frame in either direction, bytes, from 1024 to 1048576. Two of them lie in the arena. Default: 16384.
    pub max_frame: u32,
    /// Name of the learning problem, UTF-8, not NUL-terminated. Default: NULL.
    pub population: *const c_char,
    /// Its length, from 1 to 48 bytes.
    pub population_len: usize,
    /// After this long without an answer a request is repeated, milliseconds, at least 1. Default: 5000.
    pub timeout_ms: u32,
    /// Repetitions before the session gives up, at most 255. Default: 3.
    pub retries: u32,
    /// The app's floor: a plan with a larger clip norm is refused. Above 0, in units of the parameters. No default.
    pub largest_clip_norm: f32,
    /// The app's floor: a plan that promises a smaller noise multiplier is refused; 0 accepts plans without noise. No
    /// default.
    pub least_noise_multiplier: f32,
    /// Not 0: only plans whose noise is added on the device. Default: 0.
    pub noise_on_device: u32,
    /// Not 0: only plans that give every report the same weight, so that the number of examples stays on the device.
    /// Default: 1.
    pub uniform_weight: u32,
    /// A plan that allows larger reports is refused, bytes. Default: 4 MiB.
    pub largest_upload: u32,
    /// A larger checkpoint is refused, bytes. Default: 32 MiB.
    pub largest_download: u32,
    /// Not 0: also plans that ask for a growth probe, which says where the gradient of one batch of examples is largest,
    /// neither clipped nor noised. Default: 0.
    pub growth_probe: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Sets every field but `struct_size`. The privacy floor has no default: until the app has chosen `largest_clip_norm` and
/// `least_noise_multiplier`, `siskin_session_create` refuses the configuration.
///
/// Any thread.
///
/// # Safety
/// `config` is NULL or points to a `siskin_config` whose `struct_size` is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_config_default(config: *mut siskin_config) -> siskin_result {
    guard(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::versioned(config, "config") }?;
        out.write(siskin_config {
            struct_size: 0,
            max_frame: 16 * 1024,
            population: core::ptr::null(),
            population_len: 0,
            timeout_ms: 5_000,
            retries: 3,
            largest_clip_norm: -1.0,
            least_noise_multiplier: -1.0,
            noise_on_device: 0,
            uniform_weight: 1,
            largest_upload: 4 << 20,
            largest_download: 32 << 20,
            growth_probe: 0,
            reserved: 0,
        });
        Ok(())
    })
}

/// Checks every number.
///
/// # Safety
/// `config` is NULL or points to a `siskin_config` that was filled in.
#[allow(clippy::neg_cmp_op_on_partial_ord, reason = "a NaN must refuse")]
pub(crate) unsafe fn config_from(config: *const siskin_config) -> Result<Config, Failure> {
    // SAFETY: the caller's promise.
    let config = unsafe { read_versioned(config, "config") }?;
    // SAFETY: the caller's promise.
    let name = unsafe { crate::guard::bytes_from(config.population.cast(), config.population_len, "population") }?;
    let name = core::str::from_utf8(name).map_err(|_| Failure::argument("`population` is not UTF-8"))?;
    if name.is_empty() {
        return Err(Failure::argument("`population` is empty"));
    }
    let population = Population::try_from(name).map_err(|_| {
        let text = format!("`population` has {} bytes, at most {MAX_POPULATION} are possible", name.len());
        Failure::argument(text).with(MAX_POPULATION as f64, name.len() as f64)
    })?;
    let max_frame = max_frame_from(config.max_frame)?;
    let Ok(retries) = u8::try_from(config.retries) else {
        let text = format!("`retries` is {}, at most 255 are possible", config.retries);
        return Err(Failure::argument(text).with(255.0, config.retries.into()));
    };
    if config.timeout_ms == 0 {
        return Err(Failure::argument("`timeout_ms` is 0"));
    }
    // Written so that a NaN is refused too.
    if !(config.largest_clip_norm > 0.0) {
        return Err(Failure::argument("`largest_clip_norm` is not set: the app must choose its floor"));
    }
    if !(config.least_noise_multiplier >= 0.0) {
        return Err(Failure::argument("`least_noise_multiplier` is not set: the app must choose its floor"));
    }
    let policy = Policy {
        largest_clip_norm: config.largest_clip_norm,
        least_noise_multiplier: config.least_noise_multiplier,
        noise_on_device: config.noise_on_device != 0,
        uniform_weight: config.uniform_weight != 0,
        growth_probe: config.growth_probe != 0,
        largest_upload: config.largest_upload,
        largest_download: config.largest_download,
    };
    Ok(Config { population, policy, max_frame, timeout_ms: config.timeout_ms, retries })
}

pub(crate) fn max_frame_from(max_frame: u32) -> Result<usize, Failure> {
    if !(MIN_FRAME as u32..=MAX_FRAME).contains(&max_frame) {
        let text = format!("`max_frame` is {max_frame}, it must be from {MIN_FRAME} to {MAX_FRAME}");
        return Err(Failure::argument(text).with(MIN_FRAME as f64, max_frame.into()));
    }
    Ok(max_frame as usize)
}
