//! `siskin codec`.

mod compare;

use super::{is_set, switch};
use anyhow::{Context, bail};
use clap::{Arg, ArgMatches, Command};
use serde_json::{Map, Value, json};
use siskin_simulator::codec::{Measured, RoundingKind, decode_case, encode_case, measure};
use std::io::{Read, Write};
use std::path::Path;

/// Longest case that is read, bytes.
const MAX_CASE: u64 = 1 << 30;

const EXAMPLES: &str = "\
Examples:
  echo '{\"codec\":\"rlgamma\",\"symbols\":[1,0,0,0,-2],\"shape\":[1,5]}' | siskin codec encode --json
  echo '{\"codec\":\"rlgamma\",\"bytes\":\"2704\",\"shape\":[1,5]}' | siskin codec decode --json
  siskin codec measure update.safetensors --step-rms 3 --rounding stochastic --seed 1 --json
  siskin codec measure update.safetensors --step-rms 3 --rounding optimised --price 0.1
  siskin codec compare --updates DIR             tables of all codecs; see siskin codec compare --help

Codecs: siskin; rlgamma, rldelta, rlomega, rlrice (zero runs and magnitudes); elias-gamma, elias-delta, elias-omega (every
symbol by itself); gzip, zstd. The last axis of a shape is that of the columns.";

pub(super) fn command() -> Command {
    let json = || switch("json", "read and write JSON");
    let measure = Command::new("measure")
        .about("Bits per parameter of an update in a file, by codec")
        .arg(Arg::new("file").value_name("FILE").required(true).help("a safetensors file of 32-bit floats"))
        .arg(
            Arg::new("step-rms").long("step-rms").value_name("X").default_value("3").help("step, in root mean squares"),
        )
        .arg(
            Arg::new("rounding")
                .long("rounding")
                .value_name("NAME")
                .default_value("nearest")
                .help("nearest, stochastic, dithered or optimised (least error and priced bits, by siskin's coder)"),
        )
        .arg(
            Arg::new("seed")
                .long("seed")
                .value_name("N")
                .default_value("1")
                .help("of stochastic and dithered rounding"),
        )
        .arg(
            Arg::new("price")
                .long("price")
                .value_name("X")
                .default_value("0.13")
                .help("of a bit, in squared steps, for optimised rounding; 0 to 1000"),
        )
        .arg(switch("json", "print JSON"));
    Command::new("codec")
        .about("Code single cases, or measure an update, with siskin's codec and others")
        .subcommand_required(true)
        .subcommand(Command::new("encode").about("One case: symbols to bytes").arg(json()))
        .subcommand(Command::new("decode").about("One case: bytes to symbols").arg(json()))
        .subcommand(measure)
        .subcommand(compare::command())
        .after_help(EXAMPLES)
}

pub(super) fn main(matches: &ArgMatches) -> anyhow::Result<()> {
    match matches.subcommand() {
        // Cases are JSON with and without the switch.
        Some(("encode", _)) => print(&encode_case(&case()?)?),
        Some(("decode", _)) => print(&decode_case(&case()?)?),
        Some(("measure", matches)) => measured(matches),
        Some(("compare", matches)) => compare::main(matches),
        _ => bail!("no such command; see siskin codec --help"),
    }
}

fn print(value: &Value) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{value}").context("cannot write to standard output")
}

/// What stands on standard input.
fn case() -> anyhow::Result<String> {
    let mut text = String::new();
    let mut input = std::io::stdin().lock().take(MAX_CASE + 1);
    input.read_to_string(&mut text).context("cannot read standard input")?;
    if text.len() as u64 > MAX_CASE {
        bail!("standard input: a case of more than {MAX_CASE} bytes");
    }
    Ok(text)
}

fn measured(matches: &ArgMatches) -> anyhow::Result<()> {
    let text = |name: &str| matches.get_one::<String>(name).map_or("", String::as_str);
    let step_rms: f64 =
        text("step-rms").parse().with_context(|| format!("--step-rms {}: a number belongs here", text("step-rms")))?;
    let seed = text("seed").parse().with_context(|| format!("--seed {}: a whole number belongs here", text("seed")))?;
    let rounding = match text("rounding") {
        "nearest" => RoundingKind::Nearest,
        "stochastic" => RoundingKind::Stochastic { seed },
        "dithered" => RoundingKind::Dithered { seed },
        "optimised" => RoundingKind::Optimised { price: price(text("price"))? },
        other => bail!("--rounding {other}: nearest, stochastic, dithered and optimised are known"),
    };
    let measured = measure(Path::new(text("file")), step_rms, rounding)?;
    if is_set(matches, "json") {
        return print(&as_json(&measured, text("rounding")));
    }
    let mut out = std::io::stdout().lock();
    let Measured { params, rms, step, nonzero, .. } = &measured;
    writeln!(out, "{params} params, root mean square {rms:e}, step {step:e}, {nonzero} nonzero symbols")?;
    let gamma = measured.bits_per_param().find(|(name, _)| *name == "rlgamma").map_or(f64::NAN, |(_, bits)| bits);
    writeln!(out, "{:<12} {:>12} {:>12}", "codec", "bits/param", "of rlgamma")?;
    for (name, bits) in measured.bits_per_param() {
        writeln!(out, "{name:<12} {bits:>12.5} {:>12.4}", bits / gamma)?;
    }
    Ok(())
}

/// In 1/256 squared steps a bit.
fn price(text: &str) -> anyhow::Result<u32> {
    match text.parse::<f64>() {
        Ok(price) if (0.0..=1000.0).contains(&price) => Ok((price * 256.0).round() as u32),
        _ => bail!("--price {text}: a number from 0 to 1000 belongs here"),
    }
}

fn as_json(measured: &Measured, rounding: &str) -> Value {
    let bits: Map<String, Value> =
        measured.bits_per_param().map(|(name, bits)| (name.to_owned(), json!(bits))).collect();
    json!({
        "params": measured.params,
        "rms": measured.rms,
        "step": measured.step,
        "rounding": rounding,
        "nonzero": measured.nonzero,
        "bits_per_param": bits,
    })
}
