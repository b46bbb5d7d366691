//! `siskin-device-events ELF < STREAM`: the defmt events of a firmware as text, a line each: level and message. A stream that cannot be
//! read is a failure, and so is one without events.

use defmt_decoder::{DecodeError, Table};
use std::io::Read;
use std::process::ExitCode;

fn main() -> ExitCode {
    match print() {
        Ok(0) => {
            eprintln!("there is no event");
            ExitCode::FAILURE
        }
        Ok(_) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn print() -> Result<usize, String> {
    let file = std::env::args().nth(1).ok_or("siskin-device-events ELF < STREAM")?;
    let elf = std::fs::read(&file).map_err(|e| format!("{file}: {e}"))?;
    let table = Table::parse(&elf).map_err(|e| format!("{file}: {e}"))?.ok_or(format!("{file} has no defmt events"))?;
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    let mut decoder = table.new_stream_decoder();
    decoder.received(&bytes);
    let mut count = 0;
    loop {
        match decoder.decode() {
            Ok(frame) => {
                let level = frame.level().map_or("", |level| level.as_str());
                println!("{level} {}", frame.display_message());
                count += 1;
            }
            Err(DecodeError::UnexpectedEof) => return Ok(count),
            Err(DecodeError::Malformed) => return Err(format!("the stream is damaged after {count} events")),
        }
    }
}
