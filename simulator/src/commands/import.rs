//! `siskin import`.

use super::{is_set, switch};
use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use siskin_simulator::onnx::{LOSSES, Summary, Training, import};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  siskin import model.onnx --loss cross-entropy -o model.plan
  siskin import detector.onnx --output scores --loss binary-cross-entropy
  siskin import language.onnx --dim sequence=64 --loss cross-entropy
  siskin device --plan model.plan               what the network costs on a device
  siskin run --model model.onnx --data DIR      train it
  siskin export siskin-out/model.plan --into model.onnx -o trained.onnx

Files: the plan, and beside it the parameters, model.safetensors.";

pub(super) fn command() -> Command {
    let losses: Vec<&str> = LOSSES.iter().map(|(name, _)| *name).collect();
    let value = |name: &'static str, unit: &'static str, help: String| {
        Arg::new(name).long(name).value_name(unit).help(help).allow_hyphen_values(true)
    };
    Command::new("import")
        .about("Make a plan of an ONNX model")
        .arg(Arg::new("model").value_name("MODEL.onnx").required(true).help("the model"))
        .arg(value(
            "loss",
            "NAME",
            format!("one of {}; a softmax or sigmoid at the end tells it too", losses.join(", ")),
        ))
        .arg(value("output", "NAME", "the output to train, where there are several".into()))
        .arg(dim())
        .arg(value("out", "FILE", "where the plan goes (default MODEL.plan)".into()).short('o'))
        .arg(value("epochs", "N", "passes over a device's examples (default 1)".into()))
        .arg(value("batch", "N", "examples a step (default 8)".into()))
        .arg(value("learning-rate", "RATE", "step size (default 0.01)".into()))
        .arg(switch("json", "print the summary as JSON"))
        .after_help(EXAMPLES)
}

/// `--dim NAME=SIZE`.
pub(super) fn dim() -> Arg {
    Arg::new("dim")
        .long("dim")
        .value_name("NAME=SIZE")
        .action(ArgAction::Append)
        .help("size of a named axis of the input that the file leaves open; the batch stays open")
}

pub(super) fn dims(matches: &ArgMatches) -> anyhow::Result<BTreeMap<String, usize>> {
    let texts = matches.get_many::<String>("dim").into_iter().flatten();
    texts
        .map(|text| {
            let parsed = text.split_once('=').and_then(|(name, size)| Some((name.to_owned(), size.parse().ok()?)));
            parsed.filter(|(_, size)| *size > 0).with_context(|| format!("--dim {text}: NAME=SIZE belongs here"))
        })
        .collect()
}

pub(super) fn text<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    matches.get_one::<String>(name).map(String::as_str)
}

pub(super) fn main(matches: &ArgMatches) -> anyhow::Result<()> {
    let model = Path::new(text(matches, "model").unwrap_or_default());
    let loss = match text(matches, "loss") {
        None => None,
        Some(name) => match LOSSES.iter().find(|(n, _)| *n == name) {
            Some((_, loss)) => Some(*loss),
            None => bail!("--loss {name}: {} are known", LOSSES.map(|(n, _)| n).join(", ")),
        },
    };
    let options =
        siskin_onnx::ImportOptions { loss, output: text(matches, "output").map(str::to_owned), dims: dims(matches)? };
    let out = text(matches, "out").map_or_else(|| model.with_extension("plan"), PathBuf::from);
    let mut training = Training::default();
    for (name, to) in [("epochs", &mut training.epochs), ("batch", &mut training.batch)] {
        if let Some(text) = text(matches, name) {
            let number = text.parse().ok().filter(|n| *n > 0);
            *to = number.with_context(|| format!("--{name} {text}: a number from 1 to {} belongs here", u16::MAX))?;
        }
    }
    if let Some(text) = text(matches, "learning-rate") {
        let number = text.parse().ok().filter(|r: &f32| r.is_finite() && *r > 0.0);
        training.learning_rate =
            number.with_context(|| format!("--learning-rate {text}: a number above 0 belongs here"))?;
    }
    let summary = import(model, &options, training, &out)?;
    let mut to = std::io::stdout().lock();
    if is_set(matches, "json") {
        serde_json::to_writer_pretty(&mut to, &summary).context("cannot write to standard output")?;
        writeln!(to)?;
        return Ok(());
    }
    print(&mut to, &summary).context("cannot write to standard output")
}

fn print(out: &mut impl Write, s: &Summary) -> std::io::Result<()> {
    let kind = if s.tokens { "tokens" } else { "numbers" };
    writeln!(out, "input    `{}`, {kind} {:?}", s.input, s.input_shape)?;
    let behind =
        if s.output_activation == "none" { String::new() } else { format!(", behind a {}", s.output_activation) };
    writeln!(out, "output   `{}`, {:?}{behind}; loss {}", s.output, s.output_shape, s.loss)?;
    writeln!(out, "params   {}, {} of them train\n", s.params, s.trained)?;
    let width = s.layers.iter().map(|l| l.kind.chars().count()).max().unwrap_or(0);
    writeln!(out, "layer    {:<width$} {:>9}  node", "kind", "params")?;
    for (i, l) in s.layers.iter().enumerate() {
        writeln!(out, "{:<8} {:<width$} {:>9}  {}", format!("layer{i}"), l.kind, l.params, l.node.escape_debug())?;
    }
    for note in &s.notes {
        writeln!(out, "note: {note}")?;
    }
    writeln!(out, "\nwritten {} and {}", s.plan.display(), s.params_file.display())
}
