//! `siskin device --plan FILE`: what a plan costs, before it runs.

use super::{is_set, switch};
use anyhow::{Context, bail};
use clap::{Arg, ArgMatches, Command};
use siskin::arena::MemoryPlan;
use siskin::checkin::{Plan, checkpoint_len};
use siskin::model::Graph;
use siskin_simulator::run::summary::{arena_parts, layers_of};
use std::io::Write;

pub(super) fn command() -> Command {
    Command::new("device")
        .about("Print what a plan costs on a device before it runs")
        .arg(
            Arg::new("plan")
                .long("plan")
                .value_name("FILE")
                .required(true)
                .help("an encoded plan, as `siskin run` writes it"),
        )
        .arg(
            Arg::new("max-frame")
                .long("max-frame")
                .value_name("BYTES")
                .default_value("1024")
                .help("longest frame of the device's transport; twice this is in the arena"),
        )
        .arg(Arg::new("examples").long("examples").value_name("N").default_value("100").help("examples on the device"))
        .arg(
            Arg::new("bits")
                .long("bits")
                .value_name("BITS")
                .default_value("0.5")
                .help("bits per live param of a report, for the expected upload (a run prints what it measured)"),
        )
        .arg(switch("json", "print JSON"))
        .after_help("Example:\n  siskin device --plan siskin-out/model.plan --max-frame 16384 --examples 40")
}

pub(super) fn main(matches: &ArgMatches) -> anyhow::Result<()> {
    let number = |name: &str| -> anyhow::Result<f64> {
        let text = matches.get_one::<String>(name).map_or("", String::as_str);
        let value: f64 = text.parse().with_context(|| format!("--{name} {text}: a number belongs here"))?;
        if value.is_finite() && value >= 0.0 { Ok(value) } else { bail!("--{name} {text}: it must not be negative") }
    };
    let path = matches.get_one::<String>("plan").map_or("", String::as_str);
    let bytes = std::fs::read(path).with_context(|| format!("cannot read the plan {path}"))?;
    let plan = Plan::decode(&bytes).map_err(|e| anyhow::anyhow!("{path}: {e}"))?;
    let graph = Graph::new(&plan.model).map_err(|e| anyhow::anyhow!("{path}: {e}"))?;
    let max_frame = number("max-frame")? as usize;
    if !(siskin::session::MIN_FRAME..=1 << 24).contains(&max_frame) {
        bail!("--max-frame {max_frame}: it must be between {} and {}", siskin::session::MIN_FRAME, 1 << 24);
    }
    let memory = MemoryPlan::new(&plan, &graph, max_frame);
    let parts = arena_parts(&memory);
    let layers = layers_of(&plan, &graph);
    let (forward, step) = graph.multiply_adds();
    let examples = number("examples")?.min(f64::from(plan.training.max_examples));
    let batch = f64::from(plan.training.batch);
    let steps = (examples / batch).ceil() * f64::from(plan.training.epochs);
    let download = checkpoint_len(&graph) + bytes.len();
    let upload = number("bits")? * graph.live as f64 / 8.0;
    let mut out = std::io::stdout().lock();
    if is_set(matches, "json") {
        let value = serde_json::json!({
            "population": plan.population.as_str(),
            "round": plan.round,
            "params": graph.size,
            "live": graph.live,
            "sparsity": 1.0 - graph.live as f64 / graph.size as f64,
            "arena_bytes": memory.total,
            "arena": parts,
            "layers": layers,
            "multiply_adds_forward_per_example": forward,
            "multiply_adds_step": step as f64 * batch,
            "steps": steps,
            "multiply_adds_round": step as f64 * examples * f64::from(plan.training.epochs),
            "download_bytes": download,
            "expected_upload_bytes": upload.ceil(),
            "largest_upload_bytes": plan.upload.max_bytes,
        });
        serde_json::to_writer_pretty(&mut out, &value)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "plan of round {} for {}", plan.round, plan.population)?;
    writeln!(
        out,
        "\nlayer     kind                                          params     live  loops       multiply-adds"
    )?;
    for l in layers.iter().filter(|l| l.params > 0) {
        let kernel = l.kernel.name();
        writeln!(
            out,
            "{:<9} {:<42} {:>9} {:>8}  {kernel:<10} {:>14}",
            l.name, l.kind, l.params, l.live, l.multiply_adds
        )?;
    }
    let sparsity = 100.0 * (1.0 - graph.live as f64 / graph.size as f64);
    writeln!(out, "all       {:<42} {:>9} {:>8}  {sparsity:.1} % sparse", "", graph.size, graph.live)?;
    writeln!(out, "\narena, exact, for frames of {max_frame} bytes and batches of {}", plan.training.batch)?;
    for p in &parts {
        let kept = if p.persistent { "saved" } else { "scratch" };
        writeln!(out, "{:<44} {:>10} bytes  {kept}", p.purpose, p.bytes)?;
    }
    writeln!(out, "{:<44} {:>10} bytes", "in all", memory.total)?;
    writeln!(
        out,
        "\ncompute   {:.0} multiply-adds a step, {steps:.0} steps for {examples:.0} examples",
        step as f64 * batch
    )?;
    writeln!(out, "download  {download} bytes (plan and checkpoint, without frames)")?;
    writeln!(
        out,
        "upload    about {:.0} bytes at {} bits per live param, {} at the most",
        upload.ceil(),
        number("bits")?,
        plan.upload.max_bytes
    )?;
    Ok(())
}
