//! `siskin bench`.

mod sparse;

use super::{is_set, switch};
use anyhow::{Context, bail};
use clap::{Arg, ArgMatches, Command};
use siskin_simulator::bench::a1::{self, Codec, Measured};
use siskin_simulator::data::a1::load;
use std::io::Write;
use std::path::Path;

pub(super) fn command() -> Command {
    let option = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("N").default_value(default).help(help)
    };
    let a1 = Command::new("a1")
        .about("FedAvg of an MLP 784-128-10, 100 of 1,000 clients a round, 2 steps of 10 examples; one thread")
        .arg(Arg::new("data").long("data").value_name("DIR").required(true).help("folder that gen_data.py wrote"))
        .arg(option("rounds", "10", "timed rounds a pass"))
        .arg(option("passes", "5", "passes; the least and the median are printed"))
        .arg(option("clip-norm", "4", "L2 bound of the full way"))
        .arg(option("step", "40", "grid of the full way, in clip_norm / sqrt(params)"))
        .arg(
            Arg::new("reference").long("reference").value_name("COMMAND").help(
                "a command that runs the same workload and prints cpu_ms_per_update as JSON; run between the passes",
            ),
        )
        .arg(switch("json", "print JSON"))
        .after_help("Example:\n  siskin bench a1 --data a1/data --reference 'python3 a1/bare_numpy.py --rounds 10'");
    Command::new("bench").about("Measure").subcommand_required(true).subcommand(a1).subcommand(sparse::command())
}

pub(super) fn main(matches: &ArgMatches) -> anyhow::Result<()> {
    match matches.subcommand() {
        Some(("a1", matches)) => run_a1(matches),
        Some(("sparse", matches)) => sparse::main(matches),
        _ => bail!("no such measurement; see siskin bench --help"),
    }
}

fn run_a1(matches: &ArgMatches) -> anyhow::Result<()> {
    let text = |name: &str| matches.get_one::<String>(name).map_or("", String::as_str);
    let number = |name: &str| -> anyhow::Result<f32> {
        let value: f32 =
            text(name).parse().with_context(|| format!("--{name} {}: a number belongs here", text(name)))?;
        if value > 0.0 && value.is_finite() { Ok(value) } else { bail!("--{name} {value}: it must be positive") }
    };
    let benchmark = load(Path::new(text("data")))?;
    let codec = Codec { clip_norm: number("clip-norm")?, step: number("step")? };
    let (rounds, passes) = (number("rounds")? as u32, number("passes")? as u32);
    let command = text("reference");
    let mut reference = Vec::new();
    if !command.is_empty() {
        reference.push(run_reference(command)?);
    }
    let outcome = a1::run(&benchmark, codec, rounds.max(1), passes.max(1))?;
    if !command.is_empty() {
        reference.push(run_reference(command)?);
    }
    let reference = reference.into_iter().reduce(f64::min);
    let mut out = std::io::stdout().lock();
    if is_set(matches, "json") {
        serde_json::to_writer_pretty(
            &mut out,
            &serde_json::json!({ "siskin": outcome, "reference_cpu_ms": reference }),
        )?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(
        out,
        "A1, one thread, {} passes of {} rounds of 100 updates (least; median in brackets)",
        outcome.passes, outcome.rounds
    )?;
    for m in [&outcome.in_process, &outcome.full] {
        row(&mut out, m, reference)?;
    }
    if let Some(ms) = reference {
        writeln!(out, "reference                            {ms:.3} CPU-ms an update")?;
    }
    let full = &outcome.full;
    writeln!(
        out,
        "on the wire                          {:.0} bytes up ({:.3} bits per param of report), {:.0} bytes down an update",
        full.bytes_up, full.bits_per_param, full.bytes_down
    )?;
    if let Some(mib) = outcome.peak_rss_mib {
        writeln!(out, "peak resident memory                 {mib:.1} MiB")?;
    }
    Ok(())
}

fn row(out: &mut impl Write, m: &Measured, reference: Option<f64>) -> anyhow::Result<()> {
    let ratio = reference.map_or(String::new(), |ms| format!(", {:.2}x the reference's speed", ms / m.cpu_ms));
    writeln!(
        out,
        "{:<36} {:.3} [{:.3}] CPU-ms an update, {:.0} updates per CPU-second, {:.0} per second{ratio}; accuracy {:.3}",
        m.name,
        m.cpu_ms,
        m.cpu_ms_median,
        1e3 / m.cpu_ms,
        m.updates_per_s,
        m.accuracy
    )?;
    Ok(())
}

/// Runs the command and reads `cpu_ms_per_update` from what it prints.
fn run_reference(command: &str) -> anyhow::Result<f64> {
    let output = std::process::Command::new("sh")
        .args(["-c", command])
        .output()
        .with_context(|| format!("cannot run --reference {command}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("--reference {command}: {}; it said: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    let key = "\"cpu_ms_per_update\":";
    let after = text.rsplit_once(key).map(|(_, rest)| rest.trim_start());
    let number = after.map(|rest| rest.split([',', '}']).next().unwrap_or("").trim());
    number.and_then(|n| n.parse().ok()).with_context(|| format!("--reference {command} printed no {key}"))
}
