//! `siskin codec compare`.

use super::super::{is_set, switch};
use anyhow::{Context, bail};
use clap::{Arg, ArgMatches, Command};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use siskin_simulator::codec::Update;
use siskin_simulator::codec::compare::frontier::{ERRORS, bits_at};
use siskin_simulator::codec::compare::{Comparison, Scheme, federated, frontier, lossless, noised};
use siskin_simulator::compare_privacy::{Estimate, check_folder};
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

const EXAMPLES: &str = "\
Examples:
  siskin codec compare --updates DIR                     tables 1 and 2: lossless, and bits at equal error
  siskin codec compare --updates DIR --tables 4          bits of reports that were noised on the device
  siskin codec compare --tables 3                        accuracy at equal bits on the embedded digits
  siskin codec compare --tables 3 --data DIR,FILE.tsv    and on what `siskin run --data` reads
  siskin codec compare --tables 3 --budgets 0.1,1 --seeds 5 --rounds 80 --model dense:64,relu,dense
  siskin codec compare --updates DIR --quick --json      for programs and CI, in seconds

Table 1 codes the same integers with every lossless coder. Table 2 sweeps every codec's parameter and compares bits at equal
squared error, with Shannon's bound for independent coordinates. Table 3 trains: each codec in a real federated run with the
same devices and cohorts; what is concluded comes from the numbers of the run. Table 4 is of noise on the device: rounded to a step of
sigma and noised, or by the layered quantiser, whose error is the noise.

Files: codec-compare.html to look at, its pictures as .svg, codec-compare.json for programs.
Exit code: 0 done, 2 something in the command or the data is wrong (the message says what and where).";

/// Where the updates are unless something else is said.
const UPDATES: &str = "../shared/data/updates";

pub(super) fn command() -> Command {
    let value = |name: &'static str, unit: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(unit).help(help).allow_hyphen_values(true)
    };
    Command::new("compare")
        .about("The codec beside published ones: lossless, at equal error, and accuracy at equal bits")
        .arg(value("tables", "LIST", "which of 1, 2, 3, 4").default_value("1,2,3,4"))
        .arg(
            value("updates", "LIST", "safetensors files, or folders of them, for tables 1, 2 and 4; files of one round are named alike up to `_client`")
                .default_value(UPDATES),
        )
        .arg(value("data", "LIST", "`digits`, or what `siskin run --data` reads, for table 3").default_value("digits"))
        .arg(value("budgets", "LIST", "bits a param of table 3; default 0.02,0.05,0.1,0.4,2,8"))
        .arg(value("seeds", "N", "of table 3; default 3"))
        .arg(value("rounds", "N", "of table 3; default what suits the data"))
        .arg(value("cohort", "N", "reports a round of table 3; default 10"))
        .arg(value("model", "LAYERS", "of table 3, as `siskin run --model` has them; default what suits the data"))
        .arg(value("points", "N", "on each curve of table 2; default 24"))
        .arg(value("seed", "N", "of everything random").default_value("1"))
        .arg(value("threads", "N", "0 is one a core; the result is the same for any number").default_value("0"))
        .arg(value("out", "DIR", "folder for the page, the pictures and the figures").default_value("siskin-out"))
        .arg(switch("quick", "few points, rounds and budgets, one seed: shows in seconds that it runs"))
        .arg(switch("quiet", "no progress"))
        .arg(switch("json", "print the figures as JSON on standard output"))
        .after_help(EXAMPLES)
}

fn text_of<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    matches.get_one::<String>(name).map(String::as_str)
}

fn number<T: FromStr>(name: &str, text: &str) -> anyhow::Result<T> {
    text.trim().parse().ok().with_context(|| format!("--{name} {text}: a number belongs here"))
}

fn set<T: FromStr>(matches: &ArgMatches, name: &str, own: &mut T) -> anyhow::Result<()> {
    if let Some(text) = text_of(matches, name) {
        *own = number(name, text)?;
    }
    Ok(())
}

/// Files of the list, those of a folder in the order of their names.
fn updates(list: &str) -> anyhow::Result<Vec<Update>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for path in list.split(',').map(Path::new) {
        if !path.is_dir() {
            files.push(path.to_owned());
            continue;
        }
        let of = || format!("--updates {}", path.display());
        let entries = std::fs::read_dir(path).with_context(of)?.collect::<Result<Vec<_>, _>>().with_context(of)?;
        let mut own: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
        own.retain(|file| file.extension().is_some_and(|e| e == "safetensors"));
        if own.is_empty() {
            bail!("--updates {}: no .safetensors files in it", path.display());
        }
        own.sort();
        files.extend(own);
    }
    files.iter().map(|file| Update::read(file).context("--updates")).collect()
}

pub(super) fn main(matches: &ArgMatches) -> anyhow::Result<()> {
    let (quick, quiet) = (is_set(matches, "quick"), is_set(matches, "quiet"));
    let tables: Vec<&str> = text_of(matches, "tables").unwrap_or_default().split(',').map(str::trim).collect();
    for table in &tables {
        match *table {
            "1" | "2" | "3" | "4" => {}
            other => bail!("--tables {other}: 1, 2, 3 and 4 are known"),
        }
    }
    let with = |table: &str| tables.contains(&table);
    let mut seed = 1u64;
    set(matches, "seed", &mut seed)?;
    let mut options = federated::Options { seed, ..federated::Options::default() };
    let mut points = 24usize;
    if quick {
        (options.budgets, options.seeds, options.rounds, options.cohort) = (vec![0.1, 2.0], 1, Some(4), Some(4));
        points = 6;
    }
    if let Some(list) = text_of(matches, "budgets") {
        options.budgets = list.split(',').map(|one| number("budgets", one)).collect::<Result<_, _>>()?;
    }
    if let Some(budget) = options.budgets.iter().find(|b| !(**b > 0.0 && **b <= 16.0)) {
        bail!("--budgets {budget}: bits a param are in (0, 16]");
    }
    set(matches, "seeds", &mut options.seeds)?;
    set(matches, "points", &mut points)?;
    if options.seeds == 0 || !(2..=1000).contains(&points) {
        bail!("--seeds is at least 1 and --points 2 to 1000");
    }
    for (name, own) in [("rounds", &mut options.rounds), ("cohort", &mut options.cohort)] {
        *own = text_of(matches, name).map(|text| number(name, text)).transpose()?.or(*own);
    }
    options.model = text_of(matches, "model").map(str::to_owned);
    let mut threads = 0usize;
    set(matches, "threads", &mut threads)?;
    let folder = Path::new(text_of(matches, "out").unwrap_or_default());
    check_folder(folder)?;

    // Everything is read before anything is worked on.
    let updates = if with("1") || with("2") || with("4") {
        updates(text_of(matches, "updates").unwrap_or_default())?
    } else {
        Vec::new()
    };
    let data: Vec<&str> =
        if with("3") { text_of(matches, "data").unwrap_or_default().split(',').collect() } else { Vec::new() };
    let settings: Vec<federated::Setting> =
        data.iter().map(|data| federated::load(data.trim(), &options)).collect::<Result<_, _>>()?;

    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("cannot start the threads")?;
    let mut comparison = Comparison::new(std::env::args().collect(), seed);
    if with("1") {
        let bar = Bar::new("lossless", lossless::work(&updates), quiet);
        comparison.lossless = lossless::table(&updates, seed, || bar.inc())?;
    }
    if with("2") {
        let bar = Bar::new("bits at equal error", frontier::work(&updates), quiet);
        comparison.frontier = pool.install(|| frontier::table(&updates, points, seed, || bar.inc()));
    }
    for setting in &settings {
        let bar = Bar::new(&format!("accuracy: {}", setting.data.name), federated::work(&options), quiet);
        comparison.federated.push(pool.install(|| federated::table(setting, &options, || bar.inc()))?);
    }
    if with("4") {
        let bar = Bar::new("noise on the device", noised::work(&updates), quiet);
        comparison.noised = noised::table(&updates, seed, || bar.inc())?;
    }
    let files = comparison.write(folder)?;
    let mut out = std::io::stdout().lock();
    if is_set(matches, "json") {
        serde_json::to_writer_pretty(&mut out, &comparison).context("cannot write to standard output")?;
        writeln!(out)?;
        return Ok(());
    }
    write!(out, "{}", shown(&comparison))?;
    for file in files {
        writeln!(out, "  {}", file.display())?;
    }
    Ok(())
}

/// A bar on a terminal, about ten lines in a log.
struct Bar {
    bar: ProgressBar,
    /// Lines go here where there is no terminal.
    lines: Option<String>,
}

impl Bar {
    fn new(name: &str, work: u64, quiet: bool) -> Self {
        if quiet || !std::io::stderr().is_terminal() {
            let lines = (!quiet).then(|| name.to_owned());
            let bar = ProgressBar::with_draw_target(Some(work), ProgressDrawTarget::hidden());
            return Self { bar, lines };
        }
        let bar = ProgressBar::new(work).with_message(name.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{bar:32.green/dim} {msg} {pos}/{len}  {eta} left") {
            bar.set_style(style.progress_chars("\u{2501}\u{2578}\u{2500}"));
        }
        bar.enable_steady_tick(std::time::Duration::from_millis(500));
        Self { bar, lines: None }
    }

    fn inc(&self) {
        self.bar.inc(1);
        if let Some(name) = &self.lines {
            let (done, all) = (self.bar.position(), self.bar.length().unwrap_or(1));
            if done.is_multiple_of(all.div_ceil(10)) || done == all {
                eprintln!("{name}: {done}/{all}");
            }
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn shown(comparison: &Comparison) -> String {
    let mut out = String::new();
    if !comparison.lossless.is_empty() {
        lossless_table(&mut out, &comparison.lossless);
    }
    for round in &comparison.frontier {
        frontier_table(&mut out, round, "one client", |curve| &curve.client);
        if round.clients > 1 {
            frontier_table(&mut out, round, &format!("mean of {} clients", round.clients), |curve| &curve.cohort);
        }
    }
    for report in &comparison.federated {
        federated_table(&mut out, report);
    }
    if !comparison.noised.is_empty() {
        noised_table(&mut out, &comparison.noised);
    }
    out + "written\n"
}

fn noised_table(out: &mut String, rows: &[noised::Row]) {
    let _ = writeln!(
        out,
        "noise on the device: bits a param, and the error's variance in that of the noise\n\n{:<28}{:>10}{:>16}{:>10}{:>12}{:>10}{:>8}{:>14}",
        "update", "rms/sigma", "step of sigma", "variance", "layered", "variance", "KS", "least"
    );
    for row in rows {
        let _ = writeln!(
            out,
            "{:<28}{:>10}{:>16.4}{:>10.3}{:>12.4}{:>10.3}{:>8.2}{:>14.5}",
            row.update,
            row.ratio,
            row.noised,
            row.noised_variance,
            row.layered,
            row.layered_variance,
            row.kolmogorov,
            row.least
        );
    }
    out.push('\n');
}

fn lossless_table(out: &mut String, rows: &[lossless::Row]) {
    let _ =
        write!(out, "the same integers: bits a param of each coder\n\n{:<28}{:<12}{:>5}", "update", "rounding", "step");
    for (name, _) in rows.first().map_or(&[][..], |row| &row.bits[..]) {
        let _ = write!(out, "{name:>13}");
    }
    let _ = writeln!(out, "{:>17}", "siskin/rlgamma");
    for row in rows {
        let _ = write!(out, "{:<28}{:<12}{:>5}", row.update, row.rounding, row.step_rms);
        for (_, bits) in &row.bits {
            let _ = write!(out, "{bits:>13.4}");
        }
        let _ = writeln!(out, "{:>17.3}", row.ratio("siskin").unwrap_or(f64::NAN));
    }
    out.push('\n');
}

fn frontier_table(
    out: &mut String,
    round: &frontier::Round,
    what: &str,
    of: impl Fn(&frontier::Curve) -> &[(f64, f64)],
) {
    let _ =
        write!(out, "{}, {what}: bits a param at equal error\n\n{:<32}", round.name, "squared error / squared norm");
    ERRORS.iter().for_each(|error| {
        let _ = write!(out, "{error:>10}");
    });
    out.push('\n');
    for curve in &round.curves {
        let _ = write!(out, "{:<32}", curve.scheme.map_or("Shannon's bound, independent", Scheme::name));
        match of(curve) {
            [] => out.push_str("         -"),
            [(bits, error)] => {
                let _ = write!(out, "{bits:>10.3} bits, error {error:.3}");
            }
            points => ERRORS.iter().for_each(|error| {
                let text = bits_at(points, *error).map_or("-".to_owned(), |bits| format!("{bits:.4}"));
                let _ = write!(out, "{text:>10}");
            }),
        }
        out.push('\n');
    }
    out.push('\n');
}

fn federated_table(out: &mut String, report: &federated::Report) {
    let _ = writeln!(
        out,
        "{}: accuracy at equal bits; {}, {} params, {} rounds of {} reports, {} seeds; mean after the last {} rounds\n\n\
         {:<32}{:>8}{:>10}{:>18}{:>20}{:>12}",
        report.data,
        report.model,
        report.params,
        report.rounds,
        report.cohort,
        report.options.seeds,
        report.averaged,
        "codec",
        "budget",
        "bits",
        "accuracy, %",
        "against none",
        "error"
    );
    let bar = |e: &Estimate| e.half_width.map_or(String::new(), |h| format!(" \u{b1} {:.2}", 100.0 * h));
    for point in &report.points {
        let _ = writeln!(
            out,
            "{:<32}{:>8}{:>10.4}{:>18}{:>20}{:>12}",
            point.scheme.map_or("no compression", Scheme::name),
            point.budget.map_or("-".to_owned(), |b| b.to_string()),
            point.bits.mean,
            format!("{:.2}{}", 100.0 * point.accuracy.mean, bar(&point.accuracy)),
            format!("{:+.2}{}", 100.0 * point.difference.mean, bar(&point.difference)),
            if point.scheme.is_some_and(Scheme::is_ours) { "-".to_owned() } else { format!("{:.3}", point.error.mean) }
        );
    }
    out.push_str("\nconclusions, seed by seed at the same bits\n");
    for finding in &report.findings {
        let _ = writeln!(out, "  {}", finding.text);
    }
    out.push('\n');
}
