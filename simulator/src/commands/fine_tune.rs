//! `siskin fine-tune`.

use super::import::text;
use super::{is_set, switch};
use anyhow::{Context, bail};
use clap::{Arg, ArgMatches, Command};
use indicatif::{ProgressBar, ProgressStyle};
use siskin::checkin::ModelSpec;
use siskin_server::round::GlobalModel;
use siskin_simulator::config::RunConfig;
use siskin_simulator::data::{Normalization, idx};
use siskin_simulator::fine_tune::{Options, Part, Summary, fine_tune};
use siskin_simulator::lora;
use siskin_simulator::onnx::network;
use std::io::Write;
use std::path::Path;
use std::str::FromStr;

const EXAMPLES: &str = "\
Examples:
  siskin fine-tune --model mnist.onnx --data DIR --mean 0.1307 --deviation 0.3081
  siskin fine-tune --model mnist.onnx --data DIR --train all --learning-rate 0.001 --epochs 5
  siskin fine-tune --model mnist.onnx --data DIR --deviation 0.003921569    bytes as 0 to 255
  siskin fine-tune --model mnist.onnx --data DIR --train bias --json
  siskin fine-tune --model mnist.onnx --data DIR --train lora=4

The data are a folder with IDX files: examples, labels, users. Bytes come as 0 to 1; --mean and --deviation make of them what \
the model was trained with. Users of the test files are used, or all users where there are no test files. Each user's examples \
are parted into folds: for each, a copy of the model trains on the others, as on a device, and answers it, before and after.";

pub(super) fn command() -> Command {
    let value = |name: &'static str, unit: &'static str, help: String| {
        Arg::new(name).long(name).value_name(unit).help(help).allow_hyphen_values(true)
    };
    let parts: Vec<&str> = Part::NAMES.iter().map(|(name, _)| *name).collect();
    let own = Options::default();
    Command::new("fine-tune")
        .about("Fine-tune an ONNX classifier for each user on the device, and say what each gains")
        .arg(value("model", "MODEL.onnx", "the model".into()).required(true))
        .arg(value("data", "DIR", "folder with IDX files".into()).required(true))
        .arg(value(
            "train",
            "PART",
            format!(
                "what trains: {} (default {}), layers=layer0,layer2, or adapters lora=4",
                parts.join(", "),
                parts[0]
            ),
        ))
        .arg(value("epochs", "N", format!("passes over what is trained on (default {})", own.epochs)))
        .arg(value("batch", "N", format!("examples a step (default {})", own.batch)))
        .arg(value("learning-rate", "RATE", format!("step size (default {})", own.learning_rate)))
        .arg(value("folds", "N", format!("parts of a user's examples, at least 2 (default {})", own.folds)))
        .arg(value("mean", "NUMBER", "taken off each number of an example (default 0)".into()))
        .arg(value("deviation", "NUMBER", "divides it then (default 1)".into()))
        .arg(value("seed", "N", format!("of splits and orders (default {})", own.seed)))
        .arg(value("threads", "N", "0 is one a core (default); the result is the same for any number".into()))
        .arg(switch("json", "print the summary as JSON"))
        .after_help(EXAMPLES)
}

/// A flag's number, if it is there and `allowed`.
fn number<T: FromStr>(
    matches: &ArgMatches,
    name: &str,
    default: T,
    what: &str,
    allowed: fn(&T) -> bool,
) -> anyhow::Result<T> {
    let Some(text) = text(matches, name) else { return Ok(default) };
    let number = text.parse().ok().filter(allowed);
    number.with_context(|| format!("--{name} {text}: {what} belongs here"))
}

fn above_zero(value: &f32) -> bool {
    value.is_finite() && *value > 0.0
}

fn normalization(matches: &ArgMatches) -> anyhow::Result<Normalization> {
    let Normalization { mean, deviation } = Normalization::NONE;
    Ok(Normalization {
        mean: number(matches, "mean", mean, "a number", |v| v.is_finite())?,
        deviation: number(matches, "deviation", deviation, "a number above 0", above_zero)?,
    })
}

/// Parts that are told by marks in the network, or by more layers in it.
fn is_in_network(train: &str) -> bool {
    train.starts_with("layers=") || train.starts_with("lora=")
}

/// The network in which what is not to train is frozen, with its params.
fn marked(spec: ModelSpec, params: Vec<f32>, train: &str, seed: u64) -> anyhow::Result<(ModelSpec, Vec<f32>)> {
    let mut config = RunConfig::default();
    config.training.train = train.to_owned();
    config.pruning.sparsity = 0.0;
    let mut spec = spec;
    if let Some(rank) = config.adapter_rank()? {
        let adapted = lora::adapt(&GlobalModel::from_params(&spec, params)?, rank, seed)?;
        return Ok((adapted.architecture().clone(), adapted.params().to_vec()));
    }
    config.freeze(&mut spec)?;
    Ok((spec, params))
}

fn options(matches: &ArgMatches) -> anyhow::Result<Options> {
    let own = Options::default();
    let count = "a number from 1 to 65535";
    let part = match text(matches, "train") {
        None => own.part,
        // Marked in the network before it is tuned.
        Some(name) if is_in_network(name) => Part::All,
        Some(name) => match Part::NAMES.iter().find(|(n, _)| *n == name) {
            Some((_, part)) => *part,
            None => {
                let known = Part::NAMES.map(|(n, _)| n).join(", ");
                bail!("--train {name}: {known}, layers= with names of layers and lora= with a rank are known")
            }
        },
    };
    Ok(Options {
        part,
        epochs: number(matches, "epochs", own.epochs, count, |v| *v > 0)?,
        batch: number(matches, "batch", own.batch, count, |v| *v > 0)?,
        learning_rate: number(matches, "learning-rate", own.learning_rate, "a number above 0", above_zero)?,
        folds: number(matches, "folds", own.folds, "a number from 2 on", |v| *v > 1)?,
        seed: number(matches, "seed", own.seed, "a whole number", |_| true)?,
    })
}

pub(super) fn main(matches: &ArgMatches) -> anyhow::Result<()> {
    let options = options(matches)?;
    let normalization = normalization(matches)?;
    let threads = number(matches, "threads", 0usize, "a number of threads", |n| *n <= 1024)?;
    let (model, folder) = (Path::new(text(matches, "model").unwrap_or_default()), text(matches, "data"));
    let data = idx::load(Path::new(folder.unwrap_or_default()), &idx::Options::default())?;
    let data = data.normalized(normalization)?;
    let (mut spec, mut params) = network(model, &data.problem())?;
    if let Some(train) = text(matches, "train").filter(|train| is_in_network(train)) {
        (spec, params) = marked(spec, params, train, options.seed)?;
    }
    let users = if data.test.users().is_empty() { data.devices() } else { data.test.users().len() };
    // Hidden where standard error is no terminal.
    let bar = ProgressBar::new(users as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:32.green/dim} user {pos}/{len}  {eta} left") {
        bar.set_style(style.progress_chars("\u{2501}\u{2578}\u{2500}"));
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().context("cannot start the threads")?;
    let summary = pool.install(|| fine_tune(&spec, &params, &data, &options, || bar.inc(1)));
    bar.finish_and_clear();
    let summary = summary.map_err(|e| anyhow::anyhow!("{}: {e}", model.display()))?;
    let mut out = std::io::stdout().lock();
    if is_set(matches, "json") {
        serde_json::to_writer_pretty(&mut out, &summary).context("cannot write to standard output")?;
        writeln!(out)?;
        return Ok(());
    }
    print(&mut out, &summary).context("cannot write to standard output")
}

fn print(out: &mut impl Write, s: &Summary) -> std::io::Result<()> {
    let percent = |v: f64| format!("{:.2} %", 100.0 * v);
    writeln!(out, "users     {} ({}), {} left out with less than two examples", s.users, s.users_are, s.left_out)?;
    writeln!(out, "examples  {}, each answered by a model tuned on the user's others ({} folds)", s.examples, s.folds)?;
    writeln!(out, "params    {}, {} of them train", s.params, s.params_trained)?;
    writeln!(
        out,
        "accuracy  {} before, {} after (mean over users)",
        percent(s.accuracy_before),
        percent(s.accuracy_after)
    )?;
    writeln!(out, "users     {} better, {} worse, {} the same", s.better, s.worse, s.users - s.better - s.worse)
}
