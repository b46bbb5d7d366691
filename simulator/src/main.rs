//! The command line.

mod commands;

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "trace")]
    env_logger::init();
    match commands::main() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("siskin: {error:#}");
            ExitCode::from(2)
        }
    }
}
