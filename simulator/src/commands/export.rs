//! `siskin export`.

use super::import::{dim, dims, text};
use super::{is_set, switch};
use anyhow::Context;
use clap::{Arg, ArgMatches, Command};
use siskin_simulator::onnx::{Target, export};
use std::io::Write;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  siskin export model.plan --into model.onnx -o trained.onnx
  siskin export siskin-out/model.plan --into model.onnx -o trained.onnx
  siskin export a.plan --params b.safetensors --into model.onnx -o trained.onnx

The graph and all names stay those of the original; only what was trained differs.";

pub(super) fn command() -> Command {
    let value = |name: &'static str, unit: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(unit).help(help).allow_hyphen_values(true)
    };
    Command::new("export")
        .about("Write trained parameters into a copy of the ONNX model that they came from")
        .arg(
            Arg::new("plan")
                .value_name("MODEL.plan")
                .required(true)
                .help("a plan, as `siskin import` or a run wrote it"),
        )
        .arg(value("into", "MODEL.onnx", "the model that the plan was imported from").required(true))
        .arg(value("out", "FILE", "where the trained model goes").short('o').required(true))
        .arg(value("params", "FILE", "the parameters (default: beside the plan, MODEL.safetensors)"))
        .arg(value("output", "NAME", "the output that was trained, where several give the same network"))
        .arg(dim())
        .arg(switch("json", "print the summary as JSON"))
        .after_help(EXAMPLES)
}

pub(super) fn main(matches: &ArgMatches) -> anyhow::Result<()> {
    let path = |name: &str| Path::new(text(matches, name).unwrap_or_default());
    let plan = path("plan");
    let params = text(matches, "params").map_or_else(|| plan.with_extension("safetensors"), PathBuf::from);
    let target = Target {
        original: path("into").to_owned(),
        output: text(matches, "output").map(str::to_owned),
        dims: dims(matches)?,
    };
    let out = path("out");
    if let (Ok(a), Ok(b)) = (target.original.canonicalize(), out.canonicalize())
        && a == b
    {
        anyhow::bail!("--out {}: it is the file that is read", out.display());
    }
    let changed = export(plan, &params, &target, out)?;
    let mut to = std::io::stdout().lock();
    if is_set(matches, "json") {
        let value = serde_json::json!({ "model": out, "params": params, "changed": changed });
        serde_json::to_writer_pretty(&mut to, &value).context("cannot write to standard output")?;
        writeln!(to)?;
        return Ok(());
    }
    writeln!(to, "written {}: {changed} numbers differ from the original's", out.display())
        .context("cannot write to standard output")
}
