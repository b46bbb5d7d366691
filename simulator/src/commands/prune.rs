//! `siskin prune`.

use super::{is_set, switch};
use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use siskin::model::sparsity::{Distribution, SET_DROP_FRACTION, SparsityType, is_prunable};
use siskin_simulator::prune::{
    Algorithm, Goal, Inputs, Tensor, answer, beside, masks, read_masks, read_params, sparsity_type, write_masks,
};
use std::io::{Read, Write};
use std::path::Path;

/// Longest case that is read, bytes.
const MAX_CASE: u64 = 1 << 30;

const EXAMPLES: &str = "\
Examples:
  siskin prune --in model.safetensors --sparsity 0.8 --out masks.safetensors
  siskin prune --in model.safetensors --algorithm global-magnitude --sparsity 0.9 --out masks.safetensors
  siskin prune --in model.safetensors --algorithm saliency --gradients grads.safetensors --type block:4x1 \\
      --distribution erk --sparsity 0.8 --out masks.safetensors
  siskin prune --in model.safetensors --type 2:4 --out masks.safetensors
  siskin prune --in model.safetensors --algorithm rigl --gradients grads.safetensors --masks masks.safetensors \\
      --drop-fraction 0.3 --out next.safetensors
  echo '{\"kind\":\"mask\",\"scores\":[[3,1],[2,4]],\"sparsity\":0.5,\"type\":\"unstructured\"}' | siskin prune --json

Tensors with one axis (biases) are never pruned. A mask of magnitude-ste or acdc is that of magnitude, one of static that of \
random: they differ in how the model trains with it. Cases of --json: mask (scores, sparsity, type, axis), erk (shapes, \
sparsity, power, custom, include_kernel), polynomial (start, end, freq, target, power, step).";

pub(super) fn command() -> Command {
    let names: Vec<&str> = Algorithm::NAMES.iter().map(|(name, _)| *name).collect();
    let value = |name: &'static str, unit: &'static str, help: String| {
        Arg::new(name).long(name).value_name(unit).help(help).allow_hyphen_values(true).conflicts_with("json")
    };
    let file = |name, help: &str| value(name, "FILE", help.to_owned());
    Command::new("prune")
        .about("Make the masks of tensors in a file, or answer one case as JSON")
        .arg(file("in", "params: a safetensors file of 32-bit floats"))
        .arg(value("algorithm", "NAME", format!("one of {} (default magnitude)", names.join(", "))))
        .arg(value("sparsity", "FRACTION", "of the prunable params that shall be zero, 0 to 1".into()))
        .arg(value(
            "type",
            "TYPE",
            "unstructured (default), N:M as 2:4, block:4x1 (mean; block:4x1:max), channel".into(),
        ))
        .arg(value("axis", "N", "of N:M groups and channels; -1, the last one, unless given".into()))
        .arg(value("distribution", "NAME", "over the tensors: uniform (default) or erk".into()))
        .arg(file("out", "where the masks go: bytes 0 and 1, the same names and shapes"))
        .arg(file("gradients", "for saliency, global-saliency, rigl; once a client for snip").action(ArgAction::Append))
        .arg(file("fisher", "diagonal of the Fisher information, for fisher"))
        .arg(file("masks", "masks to update, for set and rigl"))
        .arg(value(
            "drop-fraction",
            "FRACTION",
            format!("of the live params that set and rigl replace (default {SET_DROP_FRACTION})"),
        ))
        .arg(value("seed", "N", "of random, static and set (default 0)".into()))
        .arg(switch("json", "read one case from standard input, write its answer to standard output"))
        .after_help(EXAMPLES)
}

pub(super) fn main(matches: &ArgMatches) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if is_set(matches, "json") {
        serde_json::to_writer(&mut out, &answer(&case()?)?).context("cannot write to standard output")?;
        writeln!(out).context("cannot write to standard output")?;
        return Ok(());
    }
    let path = |name: &str| text(matches, name).map(Path::new).with_context(|| format!("--{name} FILE is missing"));
    let (from, to) = (path("in")?, path("out")?);
    let goal = goal(matches)?;
    let tensors = read_params(from)?;
    let inputs = inputs(matches, &tensors, goal.algorithm)?;
    // What is read must not be overwritten.
    let read = ["in", "fisher", "masks"].into_iter().filter_map(|name| text(matches, name));
    for file in read.chain(matches.get_many::<String>("gradients").into_iter().flatten().map(String::as_str)) {
        if same_file(Path::new(file), to) {
            bail!("--out {}: it is one of the files that are read", to.display());
        }
    }
    let masks = masks(&tensors, &inputs, &goal)?;
    write_masks(to, &tensors, &masks)?;
    table(&mut out, &tensors, &masks)?;
    writeln!(out, "written {}", to.display())?;
    Ok(())
}

fn text<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    matches.get_one::<String>(name).map(String::as_str)
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// What stands on standard input.
fn case() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(MAX_CASE + 1).read_to_end(&mut bytes).context("cannot read standard input")?;
    if bytes.len() as u64 > MAX_CASE {
        bail!("standard input: a case of more than {MAX_CASE} bytes");
    }
    String::from_utf8(bytes).map_err(|e| anyhow::anyhow!("standard input: {}", e.utf8_error()))
}

fn number<T: std::str::FromStr>(matches: &ArgMatches, name: &str, what: &str) -> anyhow::Result<Option<T>> {
    let parse = |text: &str| text.parse().map_err(|_| anyhow::anyhow!("--{name} {text}: {what} belongs here"));
    text(matches, name).map(parse).transpose()
}

/// A number in `[0, 1]`.
fn fraction(matches: &ArgMatches, name: &str) -> anyhow::Result<Option<f64>> {
    match number::<f64>(matches, name, "a number")? {
        Some(value) if !(0.0..=1.0).contains(&value) => bail!("--{name} {value}: it must be between 0 and 1"),
        value => Ok(value),
    }
}

/// What the options ask for; one that has no meaning for the algorithm is refused.
fn goal(matches: &ArgMatches) -> anyhow::Result<Goal> {
    let name = text(matches, "algorithm").unwrap_or("magnitude");
    let Some((_, algorithm)) = Algorithm::NAMES.into_iter().find(|(n, _)| *n == name) else {
        let names: Vec<&str> = Algorithm::NAMES.iter().map(|(n, _)| *n).collect();
        bail!("--algorithm {name}: {} are known", names.join(", "));
    };
    let axis = number(matches, "axis", "a whole number")?;
    let kind = sparsity_type(text(matches, "type").unwrap_or("unstructured"), axis)
        .map_err(|e| anyhow::anyhow!("--type {e}"))?;
    if axis.is_some() && !matches!(kind, SparsityType::NOfM { .. } | SparsityType::Channel { .. }) {
        bail!("--axis: only N:M groups and channels lie along an axis");
    }
    if kind != SparsityType::Unstructured && (algorithm.is_global() || algorithm.is_update()) {
        bail!("--type: {name} is unstructured");
    }
    let distribution = match text(matches, "distribution") {
        Some(_) if algorithm.is_global() => bail!("--distribution: {name} ranks all tensors together"),
        Some(_) if algorithm.is_update() => bail!("--distribution: {name} keeps the density of its masks"),
        Some("erk") if matches!(kind, SparsityType::NOfM { .. }) => {
            bail!("--distribution erk: N:M has its own density")
        }
        None | Some("uniform") => Distribution::Uniform,
        Some("erk") => Distribution::ERK,
        Some(other) => bail!("--distribution {other}: uniform and erk are known"),
    };
    let sparsity = match (fraction(matches, "sparsity")?, kind) {
        (Some(_), _) if algorithm.is_update() => bail!("--sparsity: {name} keeps the density of its masks"),
        (Some(sparsity), _) => sparsity,
        (None, _) if algorithm.is_update() => 0.0,
        // It has its own density: any sparsity but 0 asks for it.
        (None, SparsityType::NOfM { .. }) => 1.0,
        (None, _) => bail!("--sparsity FRACTION is missing"),
    };
    let drop_fraction = fraction(matches, "drop-fraction")?;
    if drop_fraction.is_some() && !algorithm.is_update() {
        bail!("--drop-fraction: {name} replaces nothing");
    }
    let drop_fraction = drop_fraction.map_or(SET_DROP_FRACTION, |f| f as f32);
    let seed = number(matches, "seed", "a whole number of 64 bits")?.unwrap_or(0);
    Ok(Goal { algorithm, kind, sparsity, distribution, drop_fraction, seed })
}

fn inputs(matches: &ArgMatches, tensors: &[Tensor], algorithm: Algorithm) -> anyhow::Result<Inputs> {
    let gradients: Vec<&Path> = matches.get_many::<String>("gradients").into_iter().flatten().map(Path::new).collect();
    if !gradients.is_empty() && !algorithm.uses_gradients() {
        bail!("--gradients: this algorithm has no use for them");
    }
    if gradients.len() > 1 && algorithm != Algorithm::Snip {
        bail!("--gradients: {} files, only snip takes more than one", gradients.len());
    }
    let (fisher, old) = (text(matches, "fisher"), text(matches, "masks"));
    if fisher.is_some() && algorithm != Algorithm::Fisher {
        bail!("--fisher: this algorithm has no use for it");
    }
    if old.is_some() && !algorithm.is_update() {
        bail!("--masks: this algorithm has no use for them");
    }
    let gradients = gradients.into_iter().map(|path| beside(path, tensors)).collect::<Result<_, _>>()?;
    let fisher = fisher.map(|path| beside(Path::new(path), tensors)).transpose()?;
    let masks = old.map(|path| read_masks(Path::new(path), tensors)).transpose()?;
    Ok(Inputs { gradients, fisher, masks })
}

/// Shape, params, live params and sparsity of each tensor, of the prunable ones together, and of all.
fn table(out: &mut impl Write, tensors: &[Tensor], masks: &[Vec<bool>]) -> std::io::Result<()> {
    let shown = |name: &str| name.escape_debug().to_string();
    let width = tensors.iter().map(|t| shown(&t.name).chars().count()).max().unwrap_or(0).max(14);
    let percent = |live: usize, params: usize| 100.0 * (1.0 - live as f64 / params.max(1) as f64);
    writeln!(out, "{:<width$}  {:<20} {:>10} {:>10}   sparsity", "tensor", "shape", "params", "live")?;
    let mut row = |name: &str, shape: &str, live: usize, params: usize| {
        writeln!(out, "{name:<width$}  {shape:<20} {params:>10} {live:>10}   {:>8.4} %", percent(live, params))
    };
    let mut totals = [(0, 0); 2];
    for (tensor, mask) in tensors.iter().zip(masks) {
        let (live, params) = (mask.iter().filter(|l| **l).count(), mask.len());
        row(&shown(&tensor.name), &format!("{:?}", tensor.shape), live, params)?;
        for (of, counts) in [true, is_prunable(&tensor.shape)].into_iter().zip(&mut totals) {
            if of {
                *counts = (counts.0 + live, counts.1 + params);
            }
        }
    }
    let [all, prunable] = totals;
    row("prunable", "", prunable.0, prunable.1)?;
    row("all", "", all.0, all.1)
}
