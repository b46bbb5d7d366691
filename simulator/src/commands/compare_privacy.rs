//! `siskin compare-privacy`.

use super::{is_set, switch};
use anyhow::{Context, bail};
use clap::{Arg, ArgMatches, Command};
use indicatif::{ProgressBar, ProgressStyle};
use siskin_simulator::compare_privacy::{Common, Comparison, Estimate, Method, check_folder, mean, text};
use siskin_simulator::config::RunConfig;
use siskin_simulator::data::Federated;
use siskin_simulator::run::load_data;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::str::FromStr;

const EXAMPLES: &str = "\
Examples:
  siskin compare-privacy                                 mean estimation alone: no data needed
  siskin compare-privacy --data speeches.tsv.gz          fine-tuning on text as well
  siskin compare-privacy --data DIR --only text --epsilons 2,8
  siskin compare-privacy --quick --json                  for programs and CI, in seconds

ELS flips a coin for each example and clips each gradient; ULS flips one for each user and clips the mean gradient of G of
the user's examples. Both take the same number of gradients a step, and the noise of both is the least with which the
accountant keeps one user (add or remove) within epsilon. What is concluded comes from the numbers of the run.

Files: compare-privacy.html to look at, compare-privacy.json for programs.
Exit code: 0 done, 2 something in the command or the data is wrong (the message says what and where).";

pub(super) fn command() -> Command {
    let value = |name: &'static str, unit: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(unit).help(help).allow_hyphen_values(true)
    };
    Command::new("compare-privacy")
        .about("Example- against user-level sampling at the same compute and epsilon: mean estimation, fine-tuning on text")
        .arg(value("data", "PATH", "text of many users, as `siskin run --data` reads it; without it there is no fine-tuning"))
        .arg(value("only", "PART", "`mean` or `text`: the other part is left out"))
        .arg(value("epsilons", "LIST", "of a user; default 1,4,16 for the mean and 4,16 for text"))
        .arg(value("groups", "LIST", "G, examples of a user, each a divisor of --batch; default 1,2,4,...,64 and 1,4,16"))
        .arg(value("batch", "N", "gradients a step; default 128 and 192"))
        .arg(value("steps", "N", "steps; default 800 and 20"))
        .arg(value("repetitions", "N", "of everything; default 8 and 3"))
        .arg(value("users", "N", "users of the mean; default 2000"))
        .arg(value("model", "LAYERS", "of the text, as `siskin run --model` has them; default embedding:16,gru:48,point"))
        .arg(value("dp-delta", "P", "probability at which epsilon is stated").default_value("1e-5"))
        .arg(value("seed", "N", "of everything random").default_value("1"))
        .arg(value("threads", "N", "0 is one a core; the result is the same for any number").default_value("0"))
        .arg(value("out", "DIR", "folder for the page and the figures").default_value("siskin-out"))
        .arg(switch("quick", "fewer steps, a smaller model: shows in seconds that it runs"))
        .arg(switch("quiet", "no progress"))
        .arg(switch("json", "print the figures as JSON on standard output"))
        .after_help(EXAMPLES)
}

fn text_of<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    matches.get_one::<String>(name).map(String::as_str)
}

fn parsed<T: FromStr>(name: &str, text: &str, what: &str) -> anyhow::Result<T> {
    text.trim().parse().ok().with_context(|| format!("--{name} {text}: {what} belongs here"))
}

/// Replaces `own` where the flag is there.
fn set<T: FromStr>(matches: &ArgMatches, name: &str, own: &mut T) -> anyhow::Result<()> {
    if let Some(text) = text_of(matches, name) {
        *own = parsed(name, text, "a number")?;
    }
    Ok(())
}

fn set_list<T: FromStr>(matches: &ArgMatches, name: &str, own: &mut Vec<T>) -> anyhow::Result<()> {
    if let Some(text) = text_of(matches, name) {
        *own = text.split(',').map(|one| parsed(name, one, "numbers between commas")).collect::<Result<_, _>>()?;
    }
    Ok(())
}

fn options(matches: &ArgMatches) -> anyhow::Result<(mean::Options, text::Options)> {
    let quick = is_set(matches, "quick");
    let mut of_mean = if quick { mean::Options::quick() } else { mean::Options::default() };
    let mut of_text = if quick { text::Options::quick() } else { text::Options::default() };
    for (epsilons, groups, batch, steps, repetitions) in [
        (&mut of_mean.epsilons, &mut of_mean.groups, &mut of_mean.batch, &mut of_mean.steps, &mut of_mean.repetitions),
        (&mut of_text.epsilons, &mut of_text.groups, &mut of_text.batch, &mut of_text.steps, &mut of_text.repetitions),
    ] {
        set_list(matches, "epsilons", epsilons)?;
        set_list(matches, "groups", groups)?;
        set(matches, "batch", batch)?;
        set(matches, "steps", steps)?;
        set(matches, "repetitions", repetitions)?;
    }
    set(matches, "users", &mut of_mean.users)?;
    if let Some(model) = text_of(matches, "model") {
        model.clone_into(&mut of_text.model);
    }
    Ok((of_mean, of_text))
}

pub(super) fn main(matches: &ArgMatches) -> anyhow::Result<()> {
    let (of_mean, of_text) = options(matches)?;
    let mut common = Common { seed: 1, dp_delta: 1e-5 };
    set(matches, "seed", &mut common.seed)?;
    set(matches, "dp-delta", &mut common.dp_delta)?;
    let mut threads = 0usize;
    set(matches, "threads", &mut threads)?;
    let data = text_of(matches, "data");
    let (with_mean, with_text) = match (text_of(matches, "only"), data) {
        (None, data) => (true, data.is_some()),
        (Some("mean"), _) => (true, false),
        (Some("text"), Some(_)) => (false, true),
        (Some("text"), None) => bail!("--only text: it needs --data with the text of many users"),
        (Some(other), _) => bail!("--only {other}: `mean` and `text` are known"),
    };
    let folder = Path::new(text_of(matches, "out").unwrap_or_default());
    check_folder(folder)?;
    let data = match data.filter(|_| with_text) {
        Some(path) => Some(load(path)?),
        None => None,
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("cannot start the threads")?;
    let quiet = is_set(matches, "quiet");
    let estimated = match with_mean {
        true => {
            let bar = Bar::new("mean estimation", mean::work(&of_mean), quiet);
            Some(pool.install(|| mean::run(&of_mean, &common, || bar.inc()))?)
        }
        false => None,
    };
    let tuned = match &data {
        Some(data) => {
            let bar = Bar::new("fine-tuning", text::work(&of_text), quiet);
            Some(pool.install(|| text::run(&of_text, data, &common, || bar.inc()))?)
        }
        None => None,
    };
    let comparison = Comparison::new(std::env::args().collect(), common.seed, estimated, tuned);
    let files = comparison.write(folder)?;
    let mut out = std::io::stdout().lock();
    if is_set(matches, "json") {
        serde_json::to_writer_pretty(&mut out, &comparison).context("cannot write to standard output")?;
        writeln!(out)?;
        return Ok(());
    }
    write!(out, "{}", shown(&comparison)).context("cannot write to standard output")?;
    for path in files {
        writeln!(out, "  {}", path.display())?;
    }
    Ok(())
}

fn load(path: &str) -> anyhow::Result<Federated> {
    let mut config = RunConfig::default();
    config.data.data = path.to_owned();
    let data = load_data(&config)?;
    if !data.problem().tokens {
        bail!("--data {path}: that is no text; a table (.tsv, .tsv.gz) whose last column is `text` belongs here");
    }
    Ok(data)
}

/// Progress on standard error: a bar on a terminal, one line elsewhere.
struct Bar(ProgressBar);

impl Bar {
    fn new(name: &'static str, work: u64, quiet: bool) -> Self {
        if quiet {
            return Self(ProgressBar::hidden());
        }
        if !std::io::stderr().is_terminal() {
            eprintln!("{name}: {work} pieces of work");
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(work).with_message(name);
        if let Ok(style) = ProgressStyle::with_template("{bar:32.green/dim} {msg} {pos}/{len}  {eta} left") {
            bar.set_style(style.progress_chars("\u{2501}\u{2578}\u{2500}"));
        }
        bar.enable_steady_tick(std::time::Duration::from_millis(500));
        Self(bar)
    }

    fn inc(&self) {
        self.0.inc(1);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn shown(comparison: &Comparison) -> String {
    let mut out = String::new();
    if let Some(report) = &comparison.mean {
        mean_tables(&mut out, report);
    }
    match &comparison.text {
        Some(report) => text_table(&mut out, report),
        None if comparison.mean.is_some() => {
            out += "fine-tuning: left out (it needs --data with the text of many users)\n\n";
        }
        None => {}
    }
    out += "conclusions, at the best G of each\n";
    for finding in &comparison.findings {
        let _ = writeln!(out, "  {}", finding.text);
    }
    out + "written\n"
}

fn mean_tables(out: &mut String, report: &mean::Report) {
    let o = &report.options;
    let _ = writeln!(
        out,
        "mean estimation: {} users of {} examples, {} dimensions; {} gradients a step, {} steps; dp_delta {:e}; {} repetitions\n\
         squared error of the estimate, measured with 95 % error bars and predicted\n",
        o.users, o.examples, o.dims, o.batch, o.steps, report.dp_delta, o.repetitions
    );
    for &correlation in &o.correlations {
        let _ = writeln!(
            out,
            "{:<44}{:>22}{:>11}{:>22}{:>11}",
            mean::kind_of(correlation),
            "ELS measured",
            "predicted",
            "ULS measured",
            "predicted"
        );
        for &epsilon in &o.epsilons {
            for &group in &o.groups {
                let _ = write!(out, "{:<44}", format!("  epsilon {epsilon}, G {group}"));
                for method in [Method::Els, Method::Uls] {
                    let is = |c: &&mean::Cell| {
                        (c.correlation, c.epsilon, c.method, c.group) == (correlation, epsilon, method, group)
                    };
                    if let Some(cell) = report.cells.iter().find(is) {
                        let _ = write!(out, "{:>22}{:>11.2e}", small(&cell.error), cell.predicted_error);
                    }
                }
                out.push('\n');
            }
        }
        out.push('\n');
    }
}

fn small(value: &Estimate) -> String {
    value.half_width.map_or_else(|| format!("{:.2e}", value.mean), |bar| format!("{:.2e} \u{b1} {bar:.1e}", value.mean))
}

fn points(value: &Estimate) -> String {
    let bar = value.half_width.map_or(String::new(), |bar| format!(" \u{b1} {:.2}", 100.0 * bar));
    format!("{:.2}{bar} %", 100.0 * value.mean)
}

fn text_table(out: &mut String, report: &text::Report) {
    let o = &report.options;
    let _ = writeln!(
        out,
        "fine-tuning: {}, {} params; pretrained on {} public users, fine-tuned on {} protected ones\n\
         {} gradients a step, {} steps; dp_delta {:e}; {} repetitions; {} held-out symbols; pretrained accuracy {:.2} %\n\
         {}\n\n\
         {:<12}{:<12}{:>5}{:>10}{:>11}{:>14}{:>15}{:>18}",
        o.model,
        report.params,
        report.public_users,
        report.users,
        o.batch,
        o.steps,
        report.dp_delta,
        o.repetitions,
        report.targets,
        100.0 * report.pretrained,
        text::few_users(report),
        "epsilon",
        "",
        "G",
        "noise",
        "clip norm",
        "learning rate",
        "gradients/step",
        "accuracy"
    );
    for run in &report.runs {
        let number = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{v:.3}"));
        let epsilon = run.epsilon.map_or("-".to_owned(), |e| e.to_string());
        let _ = writeln!(
            out,
            "{epsilon:<12}{:<12}{:>5}{:>10}{:>11}{:>14}{:>15.1}{:>18}",
            run.method.name(),
            run.group,
            number(run.noise_multiplier),
            number(run.clip_norm),
            run.learning_rate,
            run.gradients,
            points(&run.accuracy)
        );
    }
    out.push('\n');
}
