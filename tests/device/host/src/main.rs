//! Runs the device cases on the host; the digests that it prints are what every board must print.

use std::fmt::{self, Write};
use std::process::ExitCode;

use siskin_device_cases::{ARENA_BYTES, Target, run_all};

struct Stdout;

impl Write for Stdout {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        use std::io::Write as _;
        std::io::stdout().write_all(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

#[repr(align(16))]
struct Arena([u8; ARENA_BYTES]);

fn main() -> ExitCode {
    let mut arena = Box::new(Arena([0; ARENA_BYTES]));
    match run_all(&Target { board: "host", fpu: true, stack: None }, &mut arena.0, &mut Stdout) {
        Ok((passed, 0)) if passed > 0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
