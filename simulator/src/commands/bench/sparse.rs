//! `siskin bench sparse`.

use super::super::{is_set, switch};
use anyhow::{Context, bail};
use clap::{Arg, ArgMatches, Command};
use siskin_simulator::bench::sparse::{self, DENSE, Options, Outcome, PARTS, Row, SGEMM};
use std::fmt::Display;
use std::io::Write;
use std::str::FromStr;

pub(super) fn command() -> Command {
    let list = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("LIST").default_value(default).help(help)
    };
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("N").default_value(default).help(help)
    };
    Command::new("sparse")
        .about("Training steps of sparse layers against sgemm and against the client's own dense kernels; one thread")
        .arg(list("sizes", "512,1024", "inputs and outputs of the fully connected layers; multiples of 8, 8 to 8192"))
        .arg(list("batches", "1,8,32", "examples at a time, 1 to 1024"))
        .arg(list("densities", "50,30,20,10,5,2", "shares of live weights, percent"))
        .arg(number("channels", "64", "channels of the 3x3 convolution over 14x14 pixels, a multiple of 8; 0: none"))
        .arg(number("offset", "0", "values that activations begin behind a multiple of 64 bytes; in an aligned arena none"))
        .arg(number("passes", "15", "turns of each contestant, of which the fastest counts"))
        .arg(number("turn-us", "1000", "length of a turn, microseconds"))
        .arg(switch("quick", "shows in seconds that it runs: 128 inputs, batch 8, two densities, 8 channels, short turns"))
        .arg(switch("json", "print JSON"))
        .after_help(
            "A step is forward, gradient of the input, gradient of the weights and a plain descent step. All contestants take \
             turns, and of each the fastest turn counts. The tables are Markdown.\n\n\
             Examples:\n  \
             siskin bench sparse > sparse.md                          all of it, some minutes\n  \
             siskin bench sparse --sizes 512 --channels 0 --batches 8 one layer, one batch\n  \
             siskin bench sparse --densities 70,60,50,40,30           where sparse begins to pay\n  \
             siskin bench sparse --quick --json                       for programs and CI",
        )
}

pub(super) fn main(matches: &ArgMatches) -> anyhow::Result<()> {
    let options = options(matches)?;
    let json = is_set(matches, "json");
    let mut out = std::io::stdout().lock();
    let mut failed = Ok(());
    if !json {
        let cpu = sparse::cpu().unwrap_or_else(|| "an unnamed processor".to_owned());
        writeln!(out, "`siskin bench sparse`, one thread, {cpu}; {}.\n", version())?;
        writeln!(
            out,
            "Microseconds, the least of {} turns; in brackets how many times as fast as `sgemm` / as the dense kernels.\n",
            options.passes
        )?;
    }
    let outcome = sparse::run(&options, |rows| {
        if !json && failed.is_ok() {
            failed = table(&mut out, rows);
        }
    });
    failed?;
    if json {
        serde_json::to_writer_pretty(&mut out, &outcome)?;
        writeln!(out)?;
    } else {
        crossovers(&mut out, &outcome)?;
    }
    Ok(())
}

fn version() -> String {
    let build = if cfg!(debug_assertions) { "unoptimised build: the figures mean nothing" } else { "release build" };
    format!("version {}, {build}", env!("CARGO_PKG_VERSION"))
}

fn options(matches: &ArgMatches) -> anyhow::Result<Options> {
    if is_set(matches, "quick") {
        return Ok(Options {
            sizes: vec![128],
            batches: vec![8],
            densities: vec![0.5, 0.1],
            channels: 8,
            offset: 0,
            passes: 3,
            turn_us: 100.0,
        });
    }
    let sizes = numbers(matches, "sizes", 8..=8192usize)?;
    let channels = numbers(matches, "channels", 0..=1024usize)?[0];
    if let Some(odd) = sizes.iter().chain([&channels]).find(|size| *size % 8 != 0) {
        bail!("{odd} inputs or channels: it must be a multiple of 8");
    }
    Ok(Options {
        sizes,
        batches: numbers(matches, "batches", 1..=1024usize)?,
        densities: numbers(matches, "densities", 0.1..=100.0f64)?.iter().map(|percent| percent / 100.0).collect(),
        channels,
        offset: numbers(matches, "offset", 0..=15usize)?[0],
        passes: numbers(matches, "passes", 1..=1000u32)?[0],
        turn_us: numbers(matches, "turn-us", 1.0..=1e6f64)?[0],
    })
}

/// Numbers with commas between them.
fn numbers<T: FromStr + PartialOrd + Display>(
    matches: &ArgMatches,
    name: &str,
    range: std::ops::RangeInclusive<T>,
) -> anyhow::Result<Vec<T>>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text = matches.get_one::<String>(name).map_or("", String::as_str);
    text.split(',')
        .map(|item| {
            let value =
                item.trim().parse().with_context(|| format!("--{name} {text}: a number belongs at '{item}'"))?;
            if range.contains(&value) {
                Ok(value)
            } else {
                bail!("--{name} {value}: it must lie between {} and {}", range.start(), range.end())
            }
        })
        .collect()
}

/// The rows of one contest.
fn table(out: &mut impl Write, rows: &[Row]) -> anyhow::Result<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    writeln!(out, "### {}, batch {}\n", first.layer, first.batch)?;
    writeln!(out, "| weights | density | {} |", PARTS.join(" | "))?;
    writeln!(out, "|---|--:|{}", "--:|".repeat(PARTS.len()))?;
    for row in rows {
        write!(out, "| {} | {:.0} % |", row.format, row.density * 100.0)?;
        for part in 0..PARTS.len() {
            let us = row.us[part];
            match row.format {
                SGEMM => write!(out, " {us:.1} |")?,
                DENSE => write!(out, " {us:.1} ({:.2}) |", row.to_sgemm[part])?,
                _ => write!(out, " {us:.1} ({:.2} / {:.2}) |", row.to_sgemm[part], row.to_dense[part])?,
            }
        }
        writeln!(out)?;
    }
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

/// Where sparse steps begin to pay.
fn crossovers(out: &mut impl Write, outcome: &Outcome) -> anyhow::Result<()> {
    if outcome.crossovers.is_empty() {
        return Ok(());
    }
    writeln!(out, "### Density below which a step is faster than a dense one\n")?;
    writeln!(out, "| layer | batch | weights | than `sgemm` | than the dense kernels |")?;
    writeln!(out, "|---|--:|---|--:|--:|")?;
    for c in &outcome.crossovers {
        let percent = |density: Option<f64>| match density {
            None => "at none measured".to_owned(),
            Some(density) if density >= c.measured => format!("{:.0} % and more", density * 100.0),
            Some(density) => format!("{:.0} %", density * 100.0),
        };
        let (sgemm, dense) = (percent(c.to_sgemm), percent(c.to_dense));
        writeln!(out, "| {} | {} | {} | {sgemm} | {dense} |", c.layer, c.batch, c.format)?;
    }
    Ok(())
}
