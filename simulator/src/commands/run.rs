//! `siskin run`.

use super::{is_set, switch};
use anyhow::Context;
use clap::{Arg, ArgMatches, Command};
use siskin_simulator::config::{Layers, RunConfig, SETTINGS, flag_of, resolve};
use siskin_simulator::report::{Held, RunReport};
use siskin_simulator::run::{Finished, load_data, run};
use std::io::Write;
use std::path::Path;

/// Adds a flag for every setting, and those of the command itself.
pub(super) fn with_flags(mut command: Command) -> Command {
    for setting in SETTINGS {
        let unit = if setting.unit.is_empty() { String::new() } else { format!(" [{}]", setting.unit) };
        let arg = Arg::new(setting.key)
            .long(flag_of(setting.key))
            .value_name("VALUE")
            .help(format!("{}{unit}", setting.note))
            .help_heading(section_title(setting.section))
            .allow_hyphen_values(true);
        command = command.arg(arg);
    }
    command
        .arg(Arg::new("config").long("config").value_name("FILE").help("settings from a TOML file; flags win over it"))
        .arg(switch("print-config", "print the effective settings as TOML and stop"))
        .arg(switch("json", "print the report as JSON on standard output"))
}

fn section_title(section: &str) -> String {
    let mut title = section.to_owned();
    title[..1].make_ascii_uppercase();
    title
}

/// The file and the flags.
pub(super) fn layers(matches: &ArgMatches) -> anyhow::Result<Layers> {
    let flags =
        SETTINGS.iter().filter_map(|s| matches.get_one::<String>(s.key).map(|value| (s.key, value.clone()))).collect();
    let file = matches.get_one::<String>("config").map(Path::new);
    Ok(Layers::new(file, flags)?)
}

/// Prints the effective settings.
pub(super) fn print_config(config: &RunConfig) -> anyhow::Result<()> {
    let text = toml::to_string(config).context("cannot write the settings as TOML")?;
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
}

pub(super) fn main(matches: &ArgMatches) -> anyhow::Result<()> {
    let layers = layers(matches)?;
    // The data decides the preset, and the settings decide the data.
    let data = load_data(&resolve(&layers, None)?)?;
    let config = resolve(&layers, Some(data.problem()))?;
    if is_set(matches, "print-config") {
        // Reusable as a file, with the noise and the rules that the target comes to.
        return print_config(&config.calibrated(data.devices())?);
    }
    show(&run(&config, &data, std::env::args().collect())?, is_set(matches, "json"))
}

/// Says on standard output how a run ended and what it wrote.
pub(super) fn show(finished: &Finished, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &finished.report).context("cannot write to standard output")?;
        writeln!(out)?;
        return Ok(());
    }
    write!(out, "{}", summary(&finished.report)).context("cannot write to standard output")?;
    let [model, plan] = &finished.model;
    for path in [&finished.written.html, &finished.written.json, model, plan] {
        writeln!(out, "  {}", path.display())?;
    }
    Ok(())
}

/// The last lines of a run.
fn summary(report: &RunReport) -> String {
    let percent = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{:.2} %", 100.0 * v));
    let totals = &report.totals;
    let live = report.model.live();
    let params = report.model.params();
    let bits = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{v:.3}"));
    let certified = match &report.privacy.certificate[..] {
        "" => String::new(),
        line => format!("\ncertified          {line}"),
    };
    let budget = match Held::of(&report.rounds) {
        Some(Held { budget, reached: Some((mean, least, most)), within: (within, of) }) => format!(
            "\nbudget             {budget} bits per live param; from round 5 on {mean:.4} in the mean, {least:.4} to {most:.4}, {within} of \
             {of} rounds within 10 %"
        ),
        Some(Held { budget, .. }) => format!("\nbudget             {budget} bits per live param; fewer than 5 rounds"),
        None => String::new(),
    };
    let wall = report.timings.as_ref().and_then(|t| t.wall_s);
    let per_report = totals.bytes_up.total() as f64 / totals.reports_in.max(1) as f64;
    let per_device = totals.bytes_down.total() as f64 / totals.selected.max(1) as f64;
    let held_out = &report.final_evaluation;
    let on = match held_out.targets {
        targets if targets == held_out.examples => format!("{} examples", held_out.examples),
        targets => format!("{targets} positions of {} examples", held_out.examples),
    };
    format!(
        "held-out accuracy  {} on {on} after {} rounds\n\
         model              {params} params, {live} live: sparsity {}\n\
         upload             {} bits per live param, {} per param; {per_report:.0} bytes a report, everything included{budget}\n\
         download           {per_device:.0} bytes a device and round\n\
         reports            {} in, {} dropped out, {} late, {} refused, {} thrown away\n\
         privacy            {}{certified}\n\
         time               {}\n\
         written\n",
        percent(held_out.accuracy),
        totals.rounds,
        percent(Some(1.0 - live as f64 / params.max(1) as f64)),
        bits(totals.bits_per_param.live),
        bits(totals.bits_per_param.model),
        totals.reports_in,
        totals.dropped.dropped_out,
        totals.dropped.late,
        totals.dropped.refused + totals.dropped.corrupted,
        totals.dropped.too_few,
        report.privacy.line,
        wall.map_or("-".to_owned(), |s| format!("{s:.1} s")),
    )
}
