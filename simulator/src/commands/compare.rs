//! `siskin compare-pruning`.

use super::{is_set, run};
use anyhow::{Context, bail};
use clap::{Arg, ArgMatches, Command};
use siskin_server::round::Algorithm;
use siskin_simulator::compare::{ALGORITHMS, Compared, Comparison, compare, fit_schedule};
use siskin_simulator::config::resolve;
use siskin_simulator::run::load_data;
use std::io::Write;

const EXAMPLES: &str = "\
Example:
  siskin compare-pruning --data mnist-by-writer --out compared

Runs the same settings dense and with each algorithm in turn. Where the settings have no schedule within the run, it is
from a twentieth of the rounds to two fifths. Any setting of a run can be given; SET and RigL replace --drop-fraction of the
live params at first. With noise leave rigl out: its growth probes are not covered by it.";

pub(super) fn command() -> Command {
    let command = Command::new("compare-pruning")
        .about("Run the same thing dense and pruned in several ways, and put the results side by side")
        .arg(Arg::new("algorithms").long("algorithms").value_name("LIST").help(format!(
            "of {} (default {})",
            Algorithm::NAMES.map(|(name, _)| name).join(", "),
            ALGORITHMS.map(Algorithm::name).join(",")
        )));
    run::with_flags(command).after_help(EXAMPLES)
}

pub(super) fn main(matches: &ArgMatches) -> anyhow::Result<()> {
    let algorithms = match matches.get_one::<String>("algorithms") {
        None => ALGORITHMS.to_vec(),
        Some(list) => list
            .split(',')
            .map(|name| Algorithm::try_from(name.trim().to_owned()).map_err(|e| format!("--algorithms {name}: {e}")))
            .collect::<Result<_, _>>()
            .map_err(anyhow::Error::msg)?,
    };
    let layers = run::layers(matches)?;
    let data = load_data(&resolve(&layers, None)?)?;
    let mut config = resolve(&layers, Some(data.problem()))?;
    fit_schedule(&mut config);
    if config.pruning.sparsity == 0.0 {
        bail!("--sparsity 0: nothing would be pruned");
    }
    if is_set(matches, "print-config") {
        return run::print_config(&config);
    }
    let runs = algorithms.len() + 1;
    let mut done = 0;
    let quiet = config.run.progress == siskin_simulator::config::ProgressMode::Quiet;
    let begin = |name: &str| {
        done += 1;
        if !quiet {
            eprintln!("run {done} of {runs}: {name}");
        }
    };
    let finished = compare(&config, &data, &algorithms, std::env::args().collect(), begin)?;
    let mut out = std::io::stdout().lock();
    if is_set(matches, "json") {
        serde_json::to_writer_pretty(&mut out, &finished.comparison).context("cannot write to standard output")?;
        writeln!(out)?;
        return Ok(());
    }
    write!(out, "{}", table(&finished.comparison)).context("cannot write to standard output")?;
    for path in [&finished.html, &finished.json] {
        writeln!(out, "  {}", path.display())?;
    }
    Ok(())
}

fn table(comparison: &Comparison) -> String {
    let [start, end, every] = comparison.schedule;
    let mut text = format!(
        "sparsity {} of all params; updates every {every} rounds from {start} to {end}; {} held-out examples; seed {}\n\
         {:<17}{:>10}{:>12}{:>11}{:>11}{:>12}{:>14}{:>9}\n\
         {:<17}{:>10}{:>12}{:>11}{:>11}{:>12}{:>14}{:>9}\n",
        comparison.sparsity,
        comparison.examples,
        comparison.seed,
        "",
        "accuracy",
        "difference",
        "bits up",
        "bytes up",
        "bytes down",
        "multiply-adds",
        "live",
        "",
        "held out",
        "points",
        "a live par.",
        "a report",
        "a device",
        "an example",
        "params"
    );
    for run in &comparison.runs {
        text += &row(run);
    }
    text + "written\n"
}

fn row(run: &Compared) -> String {
    let shown = |v: Option<f64>, digits: usize| v.map_or("-".to_owned(), |v| format!("{v:.digits$}"));
    let accuracy = run.accuracy.map_or("-".to_owned(), |a| format!("{:.2} %", 100.0 * a));
    let points = run.points.map_or("-".to_owned(), |p| format!("{p:+.2}"));
    format!(
        "{:<17}{accuracy:>10}{points:>12}{:>11}{:>11}{:>12}{:>14}{:>9}\n",
        run.name,
        shown(run.bits_per_live_param, 3),
        shown(run.bytes_up, 0),
        shown(run.bytes_down, 0),
        shown(run.multiply_adds, 0),
        run.live,
    )
}
