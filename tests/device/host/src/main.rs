//! Runs the device cases on the host; the digests that it prints are what every board must print. `record FOLDER` records the
//! rounds of the firmware in `round` instead, `sizes ELF` says how large a firmware is.

mod elf;
mod record;

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
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => return cases(),
        ["record", folder] => record::record(folder.as_ref()),
        ["sizes", file] => match std::fs::read(file).map(|bytes| elf::sizes(&bytes)) {
            Ok(Some((flash, memory))) => {
                println!("flash {flash}\nmemory {memory}");
                Ok(())
            }
            Ok(None) => Err(format!("{file}: no ELF file of 32 bits")),
            Err(e) => Err(format!("{file}: {e}")),
        },
        _ => Err("siskin-device-host [record FOLDER | sizes ELF]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

/// What instructions the kernels may choose from.
fn instructions() -> String {
    #[cfg(target_arch = "x86_64")]
    let all = [
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("avx512", std::is_x86_feature_detected!("avx512bw") && std::is_x86_feature_detected!("avx512vl")),
    ];
    #[cfg(target_arch = "aarch64")]
    let all = [("neon", std::arch::is_aarch64_feature_detected!("neon"))];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let all: [(&str, bool); 0] = [];
    all.map(|(name, there)| format!(" {name}={there}")).concat()
}

fn cases() -> ExitCode {
    println!("instructions:{}", instructions());
    let mut arena = Box::new(Arena([0; ARENA_BYTES]));
    match run_all(&Target { board: "host", fpu: true, stack: None }, &mut arena.0, &mut Stdout) {
        Ok((passed, 0)) if passed > 0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
