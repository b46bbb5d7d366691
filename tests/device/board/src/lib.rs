//! What all boards share. The board's own crate starts the processor and says what hardware there is.
//!
//! The emulator's exit code is the firmware's: 0 only if every case ran and passed.
#![no_std]

mod stack;

pub use stack::MarkedStack;

use core::cell::UnsafeCell;
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use siskin_device_cases::{ARENA_BYTES, Target, run_all};

#[repr(align(16))]
struct Arena(UnsafeCell<[u8; ARENA_BYTES]>);

// SAFETY: `TAKEN` lets only one caller have the contents.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(UnsafeCell::new([0; ARENA_BYTES]));
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The emulator's console.
struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        use semihosting::io::Write as _;
        semihosting::io::stdout().and_then(|mut out| out.write_all(text.as_bytes())).map_err(|_| fmt::Error)
    }
}

/// Runs every case, prints the results and leaves the emulator. `outside` is an address at which the board has nothing.
pub fn run(target: &Target<'_>, outside: usize) -> ! {
    // A load and a store: Cortex-M0 and some RISC-V have no atomic swap, and nothing else runs yet.
    assert!(!TAKEN.load(Ordering::Relaxed), "the firmware was started twice");
    TAKEN.store(true, Ordering::Relaxed);
    misbehave(outside);
    // SAFETY: the only reference: the lines above let one caller come here once.
    let arena = unsafe { &mut *ARENA.0.get() };
    match run_all(target, arena, &mut Console) {
        Ok((passed, 0)) if passed > 0 => leave(0),
        _ => leave(1),
    }
}

/// Does what the emulator's first argument asks for, so that `tests/run` can see that each kind of trouble is noticed:
/// a firmware that cannot fail would prove nothing.
fn misbehave(outside: usize) {
    let Ok(arguments) = semihosting::experimental::env::args::<256>() else { return };
    match (&arguments).nth(1).and_then(Result::ok) {
        Some("panic") => panic!("asked to panic"),
        Some("access") => {
            // SAFETY: nothing is there, which is the point: the processor takes its fault handler.
            let value = unsafe { (outside as *const u32).read_volatile() };
            leave_with(format_args!("read {value:#x} where nothing is"));
        }
        Some("stack") => {
            // Nothing but the processor may end this.
            let depth = core::hint::black_box(deep(1));
            leave_with(format_args!("the stack held {depth} frames"));
        }
        Some("hang") => loop {
            core::hint::spin_loop();
        },
        _ => {}
    }
}

/// Uses more stack than any board has: 4096 frames of at least 64 bytes.
#[inline(never)]
fn deep(level: u32) -> u32 {
    let frame = core::hint::black_box([level; 16]);
    if level == 4096 { frame[0] } else { deep(level + 1).max(core::hint::black_box(frame)[15]) }
}

/// Prints what went wrong and leaves the emulator with an exit code that is not 0.
pub fn leave_with(message: fmt::Arguments<'_>) -> ! {
    // An output that cannot be written to is one more reason to leave.
    let _ = writeln!(Console, "{message}");
    leave(101)
}

fn leave(code: u8) -> ! {
    semihosting::process::exit(i32::from(code))
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    leave_with(format_args!("{info}"))
}
