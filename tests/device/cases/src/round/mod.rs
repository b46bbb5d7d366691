//! A whole round of one device: check-in, download, training, report, upload. The server's side is a script that answers
//! with the sdk's own messages.

mod server;
mod setting;

use siskin::arena::ArenaError;
use siskin::checkin::{Distributed, LayerSpec, Path, Plan, Profile, Rounding, ShareNoise, Weighting};
use siskin::model::{Graph, Parameters};
use siskin::quantize::Carried;
use siskin::range_coder::{EntropyCoder, RowColumn, Start};
use siskin::report::{ROTATED_COLUMNS, Report};
use siskin::session::{Abandoned, MIN_FRAME, Outcome as Ended, Session};
use siskin::wire::{WireError, checksum};

use crate::models::{Pieces, dense, momentum, plan};
use crate::{Bench, Case, Digest, Outcome};
pub(crate) use setting::{Masks, START};
use setting::{Ran, STEPS, Setting};

pub(crate) const CASES: &[Case] = &[
    Case { name: "round_noise_on_device", run: noise_on_device },
    Case { name: "round_noise_is_shared", run: noise_is_shared },
    Case { name: "round_noise_on_server", run: noise_on_server },
    Case { name: "round_too_little_memory", run: too_little_memory },
    Case { name: "round_damaged_report", run: damaged_report },
];

const TASK: u64 = 0xfeed_0123_4567_89ab;

fn sparse_plan() -> Result<Plan, &'static str> {
    let layers = [dense(12, 60, Path::Sparse), LayerSpec::Relu, dense(4, 24, Path::Sparse)];
    let mut plan = plan([1, 1, 16], &layers)?;
    plan.training.epochs = 2;
    plan.training.optimizer = momentum(0.875);
    plan.training.proximal = 0.01;
    Ok(plan)
}

fn noise_on_device(bench: &mut Bench<'_>) -> Outcome {
    let mut plan = sparse_plan()?;
    plan.privacy.noise_multiplier = 0.5;
    plan.privacy.profile = Profile::Local;
    whole_round(bench, &plan)
}

fn noise_is_shared(bench: &mut Bench<'_>) -> Outcome {
    let mut plan = sparse_plan()?;
    plan.privacy.noise_multiplier = 0.5;
    let (shares, noise) = (20, ShareNoise::DiscreteGaussian);
    plan.privacy.profile = Profile::Distributed(Distributed { shares, bits: 18, noise, rotation: 77 });
    plan.quantization.step = 1.0 / 4096.0;
    whole_round(bench, &plan)
}

fn noise_on_server(bench: &mut Bench<'_>) -> Outcome {
    let mut plan = sparse_plan()?;
    plan.privacy.noise_multiplier = 0.5;
    plan.quantization.rounding = Rounding::Nearest;
    plan.upload.weighting = Weighting::Examples { cap: 20 };
    whole_round(bench, &plan)
}

/// Undisturbed, then saved and restored at every chance: the same report, and it decodes.
fn whole_round(bench: &mut Bench<'_>, plan: &Plan) -> Outcome {
    let made = round_of(bench, plan, Masks::Drawn, true)?;
    bench.digest("report", made.report);
    bench.digest("symbols", made.symbols);
    bench.digest("metrics", made.metrics);
    bench.digest("saves", made.saves);
    Ok(())
}

/// The same for any plan, with a digest of each stage in the order of the round, so that a difference shows where it begins.
pub(crate) fn staged_round(bench: &mut Bench<'_>, plan: &Plan, masks: Masks) -> Outcome {
    let made = round_of(bench, plan, masks, false)?;
    bench.digest("1-download", made.download);
    for (name, digest) in ["2-step-1", "3-step-2", "4-step-3"].into_iter().zip(made.steps) {
        bench.digest(name, digest);
    }
    bench.digest("5-trained", made.trained);
    bench.digest("6-loss-and-norm", made.metrics);
    bench.digest("7-symbols", made.symbols);
    bench.digest("8-report", made.report);
    Ok(())
}

/// Digests of a round.
struct Made {
    download: Digest,
    steps: [Digest; STEPS],
    trained: Digest,
    metrics: Digest,
    symbols: Digest,
    report: Digest,
    saves: Digest,
}

/// `is_clipped`: the delta must have been longer than the clip norm, and a report full of it.
fn round_of(bench: &mut Bench<'_>, plan: &Plan, masks: Masks, is_clipped: bool) -> Result<Made, &'static str> {
    let graph = Graph::new(&plan.model).map_err(|_| "the layers do not fit together")?;
    let mut pieces = Pieces(&mut *bench.arena);
    let mut setting = Setting::new(plan, &graph, masks, &mut pieces)?;
    let (report, again) = (pieces.take::<u8>(1024)?, pieces.take::<u8>(1024)?);
    let scratch = pieces.take::<u8>(RowColumn::required_scratch(ROTATED_COLUMNS))?;
    let required = setting.memory.len();

    let ran = setting.run(required, MIN_FRAME, 0, report)?;
    let report = &report[..ran.length];
    if ran.ended != Some(Ended::Accepted) || (is_clipped && !ran.clipped) {
        return Err("the report was not accepted, or nothing was clipped");
    }
    let restarted = setting.run(required, 37, 1, again)?;
    if restarted.ended != Some(Ended::Accepted) || restarted.restarts < 12 {
        return Err("the restarted session's report was not accepted, or it hardly was restarted");
    }
    if report != &again[..restarted.length] || restarted.metrics != ran.metrics {
        return Err("a restarted session's report is another one");
    }

    let parsed = Report::parse(report).map_err(|_| "the report does not parse")?;
    let parameters = Parameters { row_ptrs: setting.row_ptrs, columns: setting.columns, values: &[] };
    // XXH32 of the plan's bytes, as the session takes it.
    let carried = Carried::new(&plan.quantization, checksum(setting.encoded), TASK, graph.live);
    let (mut symbols, mut nonzero) = (Digest::EMPTY, 0);
    let start = if plan.upload.start > 0 { Start::new(&START).map_err(|_| "the start")? } else { Start::NONE };
    parsed
        .symbols(&graph, &parameters, (&carried, start), scratch, |index, symbol| {
            symbols = symbols.and_bytes(&(index as u32).to_le_bytes()).and_bytes(&symbol.to_le_bytes());
            nonzero += 1;
        })
        .map_err(|_| "the report's symbols do not decode")?;
    let weight = if plan.upload.weighting == Weighting::Uniform { 1 } else { 20 };
    if nonzero < if is_clipped { graph.live / 4 } else { 5 }
        || parsed.header.live as usize != plan.symbols(graph.live)
        || parsed.header.weight != weight
    {
        return Err("the report is not about this delta");
    }
    let (of_report, length) = (Digest::bytes(report), report.len());
    let (encoded, checkpoint) = (setting.encoded.len(), setting.checkpoint.len());
    bench.note(format_args!(
        "arena {required} bytes, plan {encoded}, checkpoint {checkpoint}, report {length}, {} restarts; \
         Session {} bytes, of which Graph {}, Plan {}",
        restarted.restarts,
        size_of::<Session<'_>>(),
        size_of::<Graph>(),
        size_of::<Plan>()
    ));
    let Ran { download, steps, trained, saves, metrics, .. } = restarted;
    Ok(Made { download, steps, trained, metrics, symbols, report: of_report, saves })
}

/// One byte less than the plan needs: refused before anything is fetched, and the server is told why.
fn too_little_memory(bench: &mut Bench<'_>) -> Outcome {
    let plan = sparse_plan()?;
    let graph = Graph::new(&plan.model).map_err(|_| "the layers do not fit together")?;
    let mut pieces = Pieces(&mut *bench.arena);
    let mut setting = Setting::new(&plan, &graph, Masks::Drawn, &mut pieces)?;
    let required = setting.memory.len();
    let ran = setting.run(required - 1, MIN_FRAME, 0, &mut [])?;
    match ran.ended {
        Some(Ended::Abandoned { cause: Abandoned::Memory(ArenaError::TooSmall { required: asked, lent }), .. })
            if (asked, lent, ran.fetched) == (required, required - 1, 0) && ran.abandoned == Some(4) => {}
        _ => return Err("a byte too little was not refused with both numbers"),
    }
    bench.digest("required", Digest::bytes(&(required as u32).to_le_bytes()));
    Ok(())
}

/// A report with any bit of its payload changed, or cut off, is refused; elsewhere a change never goes further than a
/// message.
fn damaged_report(bench: &mut Bench<'_>) -> Outcome {
    let plan = sparse_plan()?;
    let graph = Graph::new(&plan.model).map_err(|_| "the layers do not fit together")?;
    let mut pieces = Pieces(&mut *bench.arena);
    let mut setting = Setting::new(&plan, &graph, Masks::Drawn, &mut pieces)?;
    let report = pieces.take::<u8>(1024)?;
    let scratch = pieces.take::<u8>(RowColumn::required_scratch(ROTATED_COLUMNS))?;
    let ran = setting.run(setting.memory.len(), MIN_FRAME, 0, report)?;
    let report = &mut report[..ran.length];
    if (0..report.len()).any(|n| Report::parse(&report[..n]).is_ok()) {
        return Err("part of a report was taken for a report");
    }
    let header = report.len() - Report::parse(report).map_err(|_| "the report does not parse")?.payload.len();
    let mut outcomes = Digest::EMPTY;
    for at in 0..report.len() {
        for bit in 0..8 {
            report[at] ^= 1 << bit;
            let number = match Report::parse(report) {
                Ok(_) if at >= header => return Err("a changed payload was accepted"),
                Ok(parsed) => parsed.header.weight.wrapping_add(parsed.header.live),
                Err(WireError::Checksum) => u32::MAX,
                Err(WireError::TooLong { limit, got }) => limit ^ got,
                Err(_) => u32::MAX - 1,
            };
            outcomes = outcomes.and_bytes(&number.to_le_bytes());
            report[at] ^= 1 << bit;
        }
    }
    // The checksum is no secret: coded bytes that were chosen go through it and must decode to something or be refused.
    let parameters = Parameters { row_ptrs: setting.row_ptrs, columns: setting.columns, values: &[] };
    let parsed = Report::parse(report).map_err(|_| "the report does not parse")?;
    let forged = pieces.take::<u8>(parsed.payload.len())?;
    forged.copy_from_slice(parsed.payload);
    for at in 0..forged.len() {
        forged[at] ^= 0x10;
        let mut symbols = Digest::EMPTY;
        let decoded = Report { payload: forged, ..parsed }.symbols(
            &graph,
            &parameters,
            (&Carried::All, Start::NONE),
            scratch,
            |index, symbol| {
                symbols = symbols.and_bytes(&(index as u32).to_le_bytes()).and_bytes(&symbol.to_le_bytes());
            },
        );
        outcomes = outcomes.and_bytes(&symbols.0.to_le_bytes()).and_bytes(&[u8::from(decoded.is_ok())]);
        forged[at] ^= 0x10;
    }
    bench.digest("outcomes", outcomes);
    Ok(())
}
