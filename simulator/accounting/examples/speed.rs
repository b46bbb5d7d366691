//! Time of this accountant against a reference that runs in the same minute, on one thread each, case by case.
//!
//! `cargo run --release -p siskin-accounting --example speed -- <filter> <command> [argument...]` runs the cases whose
//! name starts with one of the comma-separated prefixes; the command (say `python3 simulator/accounting/benches/reference.py`)
//! gets a case as a line of JSON and answers `<seconds> <epsilon>`. Without a command only our times are shown.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use siskin_accounting::{Adjacency, Composition, Release};

/// (name, sigma, rate, group or 0 for user-level sampling, rounds, dp_delta)
const CASES: [(&str, f64, f64, u32, u64, f64); 20] = [
    ("uls-01", 0.6, 0.001, 0, 1000, 1e-6),
    ("uls-04", 1.0, 0.001, 0, 10_000, 1e-6),
    ("uls-08", 1.0, 0.01, 0, 1000, 1e-6),
    ("uls-09", 1.5, 0.01, 0, 1000, 1e-6),
    ("uls-11", 4.0, 0.01, 0, 1000, 1e-6),
    ("uls-16", 2.0, 0.05, 0, 2000, 1e-6),
    ("uls-18", 8.0, 0.05, 0, 2000, 1e-6),
    ("uls-19", 2.0, 0.1, 0, 500, 1e-6),
    ("uls-25", 5.0, 0.5, 0, 100, 1e-6),
    ("uls-28", 0.5, 0.02, 0, 1, 1e-5),
    ("uls-30", 1.0, 0.004, 0, 500, 1e-10),
    ("els-04", 2.0, 0.01, 4, 1000, 1e-6),
    ("els-06", 1.0, 0.001, 8, 1000, 1e-6),
    ("els-07", 2.0, 0.001, 8, 10_000, 1e-6),
    ("els-08", 4.0, 0.01, 8, 1000, 1e-6),
    ("els-12", 8.0, 0.01, 16, 1000, 1e-6),
    ("els-15", 8.0, 0.01, 32, 1000, 1e-6),
    ("els-17", 4.0, 0.001, 64, 1000, 1e-6),
    ("els-21", 16.0, 0.004, 128, 1000, 1e-7),
    ("els-27", 8.0, 0.001, 256, 2000, 1e-6),
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let filter = arguments.next().unwrap_or_default();
    let command: Vec<String> = arguments.collect();
    let mut reference = match command.split_first() {
        Some((program, arguments)) => Some(Reference::start(program, arguments)?),
        None => None,
    };
    println!("case     epsilon      ours ms   reference ms   ratio");
    for (name, noise_multiplier, rate, group, rounds, dp_delta) in CASES {
        if !filter.split(',').any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let release = match group {
            0 => Release::Uls { noise_multiplier, rate },
            group => Release::Els { noise_multiplier, rate, group },
        };
        let composition = Composition::of(Adjacency::AddOrRemove, release, rounds);
        // The mean of twenty, CPU time on both sides: the machine may be busy. The reference gets one run, being long.
        let start = cpu_seconds();
        let mut epsilon = 0.0;
        for _ in 0..20 {
            epsilon = composition.account(dp_delta)?.epsilon;
        }
        let ours = (cpu_seconds() - start) / 20.0;
        let Some(reference) = &mut reference else {
            println!("{name}   {epsilon:<9.6} {:>9.2}", 1e3 * ours);
            continue;
        };
        let case = format!(
            r#"{{"els": {}, "sigma": {noise_multiplier}, "rate": {rate}, "group": {group}, "rounds": {rounds}, "delta": {dp_delta}}}"#,
            group > 0
        );
        let (seconds, theirs) = reference.ask(&case)?;
        let (ours_ms, theirs_ms, ratio) = (1e3 * ours, 1e3 * seconds, seconds / ours);
        println!("{name}   {epsilon:<9.6} {ours_ms:>9.2} {theirs_ms:>14.1} {ratio:>7.1}");
        if (epsilon / theirs - 1.0).abs() > 1e-4 {
            return Err(format!("{name}: epsilon {epsilon}, reference {theirs}").into());
        }
    }
    Ok(())
}

/// Time of this thread on a CPU, as Linux tells it; elsewhere the clock's.
fn cpu_seconds() -> f64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let on_cpu = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    match on_cpu.as_deref().and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok()) {
        Some(nanoseconds) => 1e-9 * nanoseconds,
        None => START.get_or_init(Instant::now).elapsed().as_secs_f64(),
    }
}

/// A process that answers a line with a line.
struct Reference {
    process: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Reference {
    fn start(program: &str, arguments: &[String]) -> Result<Self, Box<dyn Error>> {
        let mut process = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let answers = BufReader::new(process.stdout.take().ok_or("no output of the reference")?);
        Ok(Self { process, answers })
    }

    fn ask(&mut self, case: &str) -> Result<(f64, f64), Box<dyn Error>> {
        writeln!(self.process.stdin.as_mut().ok_or("no input of the reference")?, "{case}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let mut numbers = line.split_whitespace().map(str::parse::<f64>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(seconds)), Some(Ok(epsilon))) => Ok((seconds, epsilon)),
            _ => Err(format!("the reference answered {line:?}").into()),
        }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // It ends when its input does.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
