//! `siskin account`: what mechanisms cost in privacy.

mod calibrate;
mod compare;
mod curve;
mod epsilon;
mod help;

use super::{is_set, switch};
use anyhow::{Context, bail};
use clap::{Arg, ArgMatches, Command};
use siskin_accounting::{Accountant, Adjacency, Method};
use siskin_simulator::account::{FLAGS, Given, Kind, Known, Mechanism, count, events, find, number};
use std::io::Write;
use std::path::Path;

pub(super) fn command() -> Command {
    let about = "Epsilon, noise and rounds of mechanisms, and of any composition of them";
    Command::new("account")
        .about(about)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(epsilon::command())
        .subcommand(calibrate::command())
        .subcommand(curve::command())
        .subcommand(compare::command())
        .subcommand(
            general(Command::new("events").about("The epsilon of a composition of events in a JSON file"))
                .arg(Arg::new("file").value_name("FILE.json").required(true).help("the composition"))
                .after_help(help::EVENTS),
        )
        .after_help(help::ACCOUNT)
}

pub(super) fn main(matches: &ArgMatches) -> anyhow::Result<()> {
    match matches.subcommand() {
        Some(("epsilon", matches)) => epsilon::main(matches),
        Some(("calibrate", matches)) => calibrate::main(matches),
        Some(("curve", matches)) => curve::main(matches),
        Some(("compare", matches)) => compare::main(matches),
        Some(("events", matches)) => {
            let file = text(matches, "file").unwrap_or_default();
            let statement = events(Path::new(file), dp_delta(matches)?, method(matches)?)?;
            print(matches, &statement, &statement.text())
        }
        _ => bail!("no such account; see siskin account --help"),
    }
}

/// An option whose value is read here, so that what is wrong with it is said in one line.
fn option(name: &'static str, unit: &'static str, help: impl Into<clap::builder::StyledStr>) -> Arg {
    Arg::new(name).long(name).value_name(unit).help(help).allow_hyphen_values(true)
}

/// What every account takes.
fn general(command: Command) -> Command {
    command
        .arg(option("dp-delta", "D", "the probability at which epsilon is stated, above 0 and below 1"))
        .arg(option(
            "accountant",
            "NAME",
            "`pld`, `rdp` or `analytic` (default: the tightest that knows the mechanism)",
        ))
        .arg(switch("json", "print JSON on standard output; its layout is in the README of siskin-accounting"))
}

/// The same, and the flags of mechanisms.
fn with_mechanism(command: Command) -> Command {
    let command = general(command)
        .arg(option("mechanism", "NAME", "what each round releases; the table below has them all (default uls)"))
        .arg(option("adjacency", "WORD", "`add-remove`, `zero-out` or `replace-one` (default: see the table)"))
        .arg(option("rounds", "T", "how many"));
    FLAGS.iter().fold(command, |command, flag| {
        let arg = option(flag.name, flag.unit, flag.help);
        command.arg(if flag.name == "sampling" { arg.alias("rate") } else { arg })
    })
}

fn text<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    matches.try_get_one::<String>(name).ok().flatten().map(String::as_str)
}

/// A flag that must be there.
fn needed<'a>(matches: &'a ArgMatches, name: &str, what: &str) -> anyhow::Result<&'a str> {
    text(matches, name).with_context(|| format!("--{name} is missing: {what}"))
}

fn dp_delta(matches: &ArgMatches) -> anyhow::Result<f64> {
    let text = needed(matches, "dp-delta", "the probability at which epsilon is stated, such as 1e-6")?;
    Ok(number("dp-delta", text, Kind::DpDelta)?)
}

fn rounds(matches: &ArgMatches) -> anyhow::Result<Option<u64>> {
    Ok(text(matches, "rounds").map(|text| count("rounds", text)).transpose()?)
}

fn epsilon_target(matches: &ArgMatches) -> anyhow::Result<f64> {
    Ok(number("epsilon", needed(matches, "epsilon", "the target")?, Kind::Positive)?)
}

fn method(matches: &ArgMatches) -> anyhow::Result<Method> {
    let accountant = match text(matches, "accountant") {
        None => None,
        Some("pld") => Some(Accountant::Pld),
        Some("rdp") => Some(Accountant::Rdp),
        Some("analytic") => Some(Accountant::AnalyticGaussian),
        Some(other) => bail!("--accountant {other}: pld, rdp, analytic are known"),
    };
    Ok(Method { accountant, ..Method::default() })
}

/// The mechanism that is asked for, what is compared, and its flags.
fn asked(matches: &ArgMatches) -> anyhow::Result<(Known, Adjacency, Given)> {
    let known = find(text(matches, "mechanism").unwrap_or("uls"))?;
    let adjacency = match text(matches, "adjacency").map(|word| word.replace('_', "-")).as_deref() {
        None => known.adjacency,
        Some("add-remove" | "add-or-remove") => Adjacency::AddOrRemove,
        Some("zero-out") => Adjacency::ZeroOut,
        Some("replace-one") => Adjacency::ReplaceOne,
        Some(other) => bail!("--adjacency {other}: add-remove, zero-out, replace-one are known"),
    };
    let mut given = Given::default();
    for flag in FLAGS {
        if let Some(value) = text(matches, flag.name) {
            given.set(flag.name, value);
        }
    }
    Ok((known, adjacency, given))
}

fn mechanism(known: Known, given: &Given, rounds: u64) -> anyhow::Result<Mechanism> {
    Ok(Mechanism::of(known, given, rounds)?)
}

fn print(matches: &ArgMatches, json: &impl serde::Serialize, text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if is_set(matches, "json") {
        serde_json::to_writer_pretty(&mut out, json).context("cannot write to standard output")?;
        return writeln!(out).context("cannot write to standard output");
    }
    out.write_all(text.as_bytes()).context("cannot write to standard output")
}

/// Where a picture goes.
fn write_picture(path: &str, svg: &str) -> anyhow::Result<()> {
    std::fs::write(path, svg).with_context(|| format!("--out {path}: cannot be written"))
}
