//! What C cannot do to us: panics, threads, and tables that are kept in two places. Whole rounds are in `tests/c`.

use crate::config::{siskin_config, siskin_config_default};
use crate::guard::guard;
use crate::handle::{look_at, siskin_session, with_session};
use crate::outcome::{siskin_cause, siskin_end, siskin_metrics, siskin_outcome};
use crate::result::{siskin_failure, siskin_failure_get, siskin_failure_text, siskin_result, siskin_result_text};
use crate::session::{siskin_session_create, siskin_session_free, siskin_session_outgoing};
use crate::{getters, save};
use core::ffi::{CStr, c_char};
use core::mem::MaybeUninit;
use core::ptr::{null, null_mut};
use siskin::arena::ArenaError;
use siskin::checkin::{CheckpointError, PlanError, PolicyViolation};
use siskin::data::StoreError;
use siskin::report::ReportError;
use siskin::session::{Abandoned, Outcome};

const ENTROPY: [u8; 32] = *b"0123456789abcdefghijklmnopqrstuv";

fn config() -> siskin_config {
    let mut config = MaybeUninit::<siskin_config>::zeroed();
    // SAFETY: zero is a valid `siskin_config`.
    let config = unsafe { config.assume_init_mut() };
    config.struct_size = size_of::<siskin_config>() as u32;
    // SAFETY: a live struct with its size set.
    assert_eq!(unsafe { siskin_config_default(config) }, siskin_result::Ok);
    config.population = c"test".as_ptr();
    config.population_len = 4;
    config.largest_clip_norm = 1.0;
    config.least_noise_multiplier = 0.0;
    *config
}

fn session() -> *mut siskin_session {
    let mut session = null_mut();
    // SAFETY: all pointers are live; the arena is the library's own.
    let result =
        unsafe { siskin_session_create(&config(), ENTROPY.as_ptr(), ENTROPY.len(), null_mut(), 1 << 16, &mut session) };
    assert_eq!(result, siskin_result::Ok);
    session
}

fn failure() -> siskin_failure {
    let struct_size = size_of::<siskin_failure>() as u32;
    let mut failure =
        siskin_failure { struct_size, result: siskin_result::Ok, code: 0, reserved: 0, limit: 0.0, got: 0.0 };
    // SAFETY: a live struct with its size set.
    assert_eq!(unsafe { siskin_failure_get(&mut failure) }, siskin_result::Ok);
    failure
}

fn failure_text() -> String {
    let mut text = [0 as c_char; 300];
    let mut length = 0;
    // SAFETY: live buffers of the stated lengths.
    assert_eq!(unsafe { siskin_failure_text(text.as_mut_ptr(), text.len(), &mut length) }, siskin_result::Ok);
    // SAFETY: the call wrote a text that ends with NUL.
    let text = unsafe { CStr::from_ptr(text.as_ptr()) };
    assert_eq!(text.count_bytes() + 1, length);
    text.to_str().unwrap().to_owned()
}

fn metrics(session: *const siskin_session) -> siskin_result {
    let struct_size = size_of::<siskin_metrics>() as u32;
    let mut metrics = siskin_metrics { struct_size, examples: 0, loss: 0.0, norm: 0.0, clipped: 0, saturated: 0 };
    // SAFETY: a live handle and a live struct with its size set.
    unsafe { getters::siskin_session_metrics(session, &mut metrics) }
}

#[test]
fn a_panic_is_caught_and_the_handle_is_poisoned() {
    let session = session();
    assert_eq!(metrics(session), siskin_result::Ok);
    // SAFETY: a live handle.
    let result = unsafe { with_session(session, |_| panic!("on purpose, {}", 42)) };
    assert_eq!(result, siskin_result::Panicked);
    assert_eq!(failure().result, siskin_result::Panicked);
    assert_eq!(failure_text(), "the library panicked: on purpose, 42");
    for _ in 0..2 {
        assert_eq!(metrics(session), siskin_result::Poisoned);
        let (mut bytes, mut length) = (null(), 0);
        // SAFETY: a live handle and live places.
        let result = unsafe { siskin_session_outgoing(session, &mut bytes, &mut length) };
        assert_eq!(result, siskin_result::Poisoned);
        assert!(bytes.is_null());
    }
    // SAFETY: a live handle, which is not used afterwards.
    assert_eq!(unsafe { siskin_session_free(session) }, siskin_result::Ok);
}

#[test]
fn a_panic_while_looking_poisons_too() {
    let session = session();
    // SAFETY: a live handle.
    assert_eq!(unsafe { look_at(session, |_| panic!("static text")) }, siskin_result::Panicked);
    assert_eq!(failure_text(), "the library panicked: static text");
    assert_eq!(metrics(session), siskin_result::Poisoned);
    // SAFETY: a live handle, which is not used afterwards.
    assert_eq!(unsafe { siskin_session_free(session) }, siskin_result::Ok);
}

#[test]
fn a_panic_without_a_text_is_caught_too() {
    assert_eq!(guard(|| std::panic::panic_any(7)), siskin_result::Panicked);
    assert_eq!(failure_text(), "the library panicked: no message");
}

#[test]
fn two_calls_do_not_meet_on_a_session() {
    struct Shared(*mut siskin_session);
    // SAFETY: what is tested: the library itself keeps threads apart.
    unsafe impl Sync for Shared {}
    impl Shared {
        fn get(&self) -> *mut siskin_session {
            self.0
        }
    }
    let shared = Shared(session());
    let session = shared.get();
    let meet = |_: &mut crate::handle::Inner| {
        assert_eq!(metrics(session), siskin_result::Busy);
        // SAFETY: a live handle; it is in use, so it is not freed.
        let free = || unsafe { siskin_session_free(shared.get()) };
        let other = std::thread::scope(|scope| scope.spawn(|| (metrics(shared.get()), free())).join().unwrap());
        assert_eq!(other, (siskin_result::Busy, siskin_result::Busy));
        Ok(())
    };
    // SAFETY: a live handle.
    let result = unsafe { with_session(session, meet) };
    assert_eq!(result, siskin_result::Ok);
    assert_eq!(metrics(session), siskin_result::Ok);
    // SAFETY: a live handle, which is not used afterwards.
    assert_eq!(unsafe { siskin_session_free(session) }, siskin_result::Ok);
}

#[test]
fn each_thread_has_its_own_last_failure() {
    let of_the_thread = std::thread::spawn(|| {
        let before = failure().result;
        // SAFETY: NULL is refused.
        let result = unsafe { siskin_session_outgoing(null(), null_mut(), null_mut()) };
        (before, result, failure().result)
    });
    let null = siskin_result::NullPointer;
    assert_eq!(of_the_thread.join().unwrap(), (siskin_result::Ok, null, null));
    assert_eq!(failure().result, siskin_result::Ok);
}

#[test]
fn a_misaligned_struct_is_refused() {
    let mut bytes = [0u64; 16];
    let config = bytes.as_mut_ptr().cast::<u8>().wrapping_add(1).cast();
    // SAFETY: not looked at, because it is misaligned.
    assert_eq!(unsafe { siskin_config_default(config) }, siskin_result::Argument);
    assert_eq!(bytes, [0; 16]);
    assert_eq!(failure_text(), "`config` is misaligned");
}

#[test]
fn a_session_that_was_saved_before_its_plan_can_be_restored() {
    let first = session();
    let (mut bound, mut length) = (0, 0);
    let mut restored = null_mut();
    // SAFETY: live handles and buffers of the stated lengths.
    unsafe {
        assert_eq!(save::siskin_session_save_bound(first, &mut bound), siskin_result::Ok);
        let mut saved = vec![0; bound];
        assert_eq!(save::siskin_session_save(first, saved.as_mut_ptr(), bound, &mut length), siskin_result::Ok);
        assert_eq!(siskin_session_free(first), siskin_result::Ok);
        let result =
            save::siskin_session_restore(&config(), saved.as_ptr(), length, null_mut(), 1 << 16, &mut restored);
        assert_eq!(result, siskin_result::Ok);
        // A version of the future, with a checksum that is right.
        let version = f64::from(saved[4]);
        saved[4] += 1;
        let sum = siskin::wire::checksum(&saved[..length - 4]).to_le_bytes();
        saved[length - 4..length].copy_from_slice(&sum);
        let mut none = null_mut();
        let result = save::siskin_session_restore(&config(), saved.as_ptr(), length, null_mut(), 1 << 16, &mut none);
        assert_eq!(result, siskin_result::SavedVersion);
        assert_eq!((failure().limit, failure().got), (version, version + 1.0));
        assert!(none.is_null());
        assert_eq!(siskin_session_free(restored), siskin_result::Ok);
    }
}

/// The numbers stand in the header; that every one has a text of its own is checked over all of `i32` that is near.
#[test]
fn every_code_of_the_header_has_a_text() {
    let header = include_str!("../include/siskin.h");
    let body = header.split("enum siskin_result").nth(1).unwrap().split("};").next().unwrap();
    let codes: Vec<i32> = body
        .lines()
        .filter_map(|line| line.trim().strip_prefix("SISKIN_RESULT_")?.split_once(" = "))
        .map(|(_, number)| number.trim_end_matches(',').parse().unwrap())
        .collect();
    assert!(codes.len() >= 20);
    // SAFETY: static texts that end with NUL.
    let text = |code| unsafe { CStr::from_ptr(siskin_result_text(code)) }.to_str().unwrap();
    let mut texts: Vec<&str> = codes.iter().map(|code| text(*code)).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), codes.len());
    for code in -100..1000 {
        assert_eq!(text(code) != "unknown result code", codes.contains(&code), "{code}");
    }
}

/// Causes have the numbers that the server is told.
#[test]
fn causes_have_the_numbers_of_the_protocol_and_keep_their_figures() {
    let causes = [
        (Abandoned::Plan(PlanError::Layer { index: 3, what: "kernel", expected: 5, got: 7 }), 5.0, 7.0),
        (Abandoned::Plan(PlanError::Feature { what: "Adam", feature: "adam" }), 0.0, 0.0),
        (Abandoned::Population, 0.0, 0.0),
        (Abandoned::Policy(PolicyViolation::Noise { least: 1.5, plan: 0.5 }), 1.5, 0.5),
        (Abandoned::Memory(ArenaError::TooSmall { required: 100, lent: 99 }), 100.0, 99.0),
        (Abandoned::Checkpoint(CheckpointError::Round { expected: 1, got: 2 }), 1.0, 2.0),
        (Abandoned::NoExamples, 0.0, 0.0),
        (Abandoned::Store(StoreError::Label { index: 0, label: 12, classes: 10 }), 10.0, 12.0),
        (Abandoned::Report(ReportError::TooLarge { limit: 64, got: 65 }), 64.0, 65.0),
        (Abandoned::Internal, 0.0, 0.0),
    ];
    for (cause, limit, got) in causes {
        let end = siskin_end::from(Outcome::Abandoned { cause, retry_ms: 17 });
        assert_eq!(end.outcome, siskin_outcome::Abandoned);
        assert_eq!(end.cause as i32, i32::from(cause.code()));
        assert_eq!(end.cause, siskin_cause::from(cause));
        assert_eq!((end.limit, end.got, end.code, end.retry_ms), (limit, got, 0, 17));
    }
    let cause = Abandoned::Store(StoreError::Read { index: 3, code: -9 });
    assert_eq!(siskin_end::from(Outcome::Abandoned { cause, retry_ms: 1 }).code, -9);
}
