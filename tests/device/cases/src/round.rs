//! A whole round of one device: check-in, download, training, report, upload. The server's side is a script that answers
//! with the sdk's own messages.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use siskin::arena::{ArenaError, required_bytes};
use siskin::checkin::{
    Distributed, LayerSpec, Path, Plan, Policy, Profile, Rounding, ShareNoise, Tail, Values, Weighting, checkpoint_len,
    code_values, whole_len, write_checkpoint, write_whole,
};
use siskin::data::{ExampleStore, StoreError};
use siskin::model::{Graph, Parameters};
use siskin::quantize::Carried;
use siskin::range_coder::{EntropyCoder, RowColumn, Start};
use siskin::report::{ROTATED_COLUMNS, Report};
use siskin::session::{Abandoned, Config, MIN_FRAME, Outcome as Ended, Poll, SaveError, Session};
use siskin::wire::{Frame, Request, Response, UploadStatus, WireError, checksum};

use crate::models::{
    Pieces, dense, draw_masks, examples, fill, mask_bytes, momentum, patterns, plan, sequences, two_of_four, with_masks,
};
use crate::numbers::Numbers;
use crate::{Bench, Case, Digest, Outcome};

pub(crate) const CASES: &[Case] = &[
    Case { name: "round_noise_on_device", run: noise_on_device },
    Case { name: "round_noise_is_shared", run: noise_is_shared },
    Case { name: "round_noise_on_server", run: noise_on_server },
    Case { name: "round_too_little_memory", run: too_little_memory },
    Case { name: "round_damaged_report", run: damaged_report },
];

const EXAMPLES: usize = 29;
/// Steps of training of which each has a digest of its own.
const STEPS: usize = 3;
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

/// Which weights live.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Masks {
    /// Any.
    Drawn,
    /// Two of each four neighbours along a row.
    TwoOfFour,
}

/// The device's examples: as many targets each as the network has positions.
struct Rows<'a> {
    features: &'a [f32],
    targets: &'a [u32],
}

impl ExampleStore for Rows<'_> {
    fn len(&self) -> u32 {
        EXAMPLES as u32
    }

    fn read(&mut self, index: u32, features: &mut [f32]) -> Result<u32, StoreError> {
        let mut target = [0];
        self.read_targets(index, features, &mut target)?;
        Ok(target[0])
    }

    fn read_targets(&mut self, index: u32, features: &mut [f32], targets: &mut [u32]) -> Result<(), StoreError> {
        let (width, per, at) = (self.features.len() / EXAMPLES, self.targets.len() / EXAMPLES, index as usize);
        if (features.len(), targets.len()) != (width, per) {
            return Err(StoreError::Shape { expected: features.len() as u32, got: width as u32 });
        }
        features.copy_from_slice(&self.features[at * width..][..width]);
        targets.copy_from_slice(&self.targets[at * per..][..per]);
        Ok(())
    }
}

/// Everything around the session: what the server has, and the device's examples.
struct Setting<'a> {
    plan: &'a Plan,
    encoded: &'a [u8],
    checkpoint: &'a [u8],
    features: &'a [f32],
    targets: &'a [u32],
    /// Memory for one frame to the device.
    frame: &'a mut [u8],
    /// The session's memory, exactly what the plan needs.
    memory: &'a mut [u8],
    /// Memory for a saved session.
    saved: &'a mut [u8],
    /// The patterns of the sparse weights, to decode reports with.
    row_ptrs: &'a [u32],
    columns: &'a [u16],
}

/// What the coder of reports begins with where a plan says so: an average of a half, and some cells.
pub(crate) const START: [u8; 10] = [0, 0x80, 0, 0x50, 0x60, 0x41, 0x0f, 0xa3, 0x92, 0x7e];

/// Behind the tensors of `source` what the plan says comes there.
fn with_tail<'a>(
    (plan, graph): (&Plan, &Graph),
    (row_ptrs, columns): (&[u32], &[u16]),
    source: &'a mut [u8],
    pieces: &mut Pieces<'a>,
) -> Result<&'a mut [u8], &'static str> {
    let start = if plan.upload.start > 0 { &START[..] } else { &[] };
    let mut tail = Tail { start, values: None };
    if let Values::Coded { step } = plan.values {
        let widest = graph.tensors.iter().map(|t| t.cols).max().unwrap_or(0);
        let scratch = pieces.take::<u8>(RowColumn::required_scratch(widest))?;
        let (symbols, out) = (pieces.take(graph.values)?, pieces.take(RowColumn::encoded_bound(graph.values))?);
        let length = code_values((graph, row_ptrs, columns), (source, None), step, symbols, scratch, out);
        tail.values = Some(&out[..length.map_err(|_| "coding the values")?.0]);
    }
    if tail.is_empty() {
        return Ok(source);
    }
    let checkpoint = pieces.take::<u8>(whole_len(graph, tail))?;
    write_whole(graph, source, tail, checkpoint).map_err(|_| "writing the checkpoint with its tail")?;
    Ok(checkpoint)
}

impl<'a> Setting<'a> {
    fn new(plan: &'a Plan, graph: &'a Graph, kind: Masks, pieces: &mut Pieces<'a>) -> Result<Self, &'static str> {
        let mut numbers = Numbers(8);
        let masks = pieces.take::<u8>(mask_bytes(graph))?;
        match kind {
            Masks::Drawn => draw_masks(graph, &mut numbers, masks)?,
            Masks::TwoOfFour => two_of_four(graph, &mut numbers, masks)?,
        }
        let row_ptrs = pieces.take::<u32>(graph.tensors.iter().map(|t| t.rows as usize + 1).sum())?;
        let columns = pieces.take::<u16>(graph.live)?;
        let (rows_used, columns_used) = patterns(graph, masks, row_ptrs, columns);
        let values = pieces.take::<f32>(graph.size)?;
        fill(&mut numbers, 0.4, values);
        let checkpoint = pieces.take::<u8>(checkpoint_len(graph))?;
        let mut rest = &*values;
        let parts = with_masks(graph, masks).map(|(tensor, mask)| {
            let (part, after) = rest.split_at(tensor.size());
            rest = after;
            (part, mask)
        });
        write_checkpoint(graph, plan.round, parts, checkpoint).map_err(|_| "writing the checkpoint")?;
        let checkpoint = with_tail((plan, graph), (&*row_ptrs, &*columns), checkpoint, pieces)?;
        let encoded = pieces.take::<u8>(512)?;
        let length = plan.encode(encoded).map_err(|_| "encoding the plan")?;
        let features = pieces.take::<f32>(EXAMPLES * graph.input.features())?;
        let targets = pieces.take::<u32>(EXAMPLES * graph.targets(plan.model.loss))?;
        if graph.targets(plan.model.loss) == 1 {
            examples(&mut numbers, graph.classes(), features, targets);
        } else {
            sequences(&mut numbers, graph.classes(), features, targets);
        }
        let required = required_bytes(plan, MIN_FRAME).map_err(|_| "the layers do not fit together")?;
        Ok(Self {
            plan,
            encoded: &encoded[..length],
            checkpoint,
            features,
            targets,
            frame: pieces.take(MIN_FRAME)?,
            memory: pieces.take(required)?,
            saved: pieces.take(8 * 1024)?,
            row_ptrs: &row_ptrs[..rows_used],
            columns: &columns[..columns_used],
        })
    }

    /// Runs a session to its end. The server's bytes come in pieces of `piece`; after every `restart` polls (0: never)
    /// the session is saved, its memory overwritten, and a new one restored. `report` receives the upload.
    fn run(&mut self, lent: usize, piece: usize, restart: u32, report: &mut [u8]) -> Result<Ran, &'static str> {
        let mut config = Config::new(&self.plan.population, Policy::permissive());
        config.max_frame = MIN_FRAME;
        let mut store = Rows { features: self.features, targets: self.targets };
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let memory = &mut self.memory[..lent];
        let mut session = Session::new(memory, config.clone(), &mut rng).map_err(|_| "no memory for a session")?;
        let mut server = Server { uploaded: 0, uploads: 0, fetched: 0, abandoned: None };
        let mut ran = Ran {
            ended: None,
            length: 0,
            restarts: 0,
            saves: Digest::EMPTY,
            download: Digest::EMPTY,
            steps: [Digest::EMPTY; STEPS],
            trained: Digest::EMPTY,
            metrics: Digest::EMPTY,
            clipped: false,
            abandoned: None,
            fetched: 0,
        };
        let mut done = 0;
        for poll in 1..2000 {
            match session.poll(u64::from(poll), &mut store) {
                Poll::Finished(outcome) => {
                    (ran.ended, ran.length, ran.abandoned) = (Some(outcome), server.uploaded, server.abandoned);
                    ran.fetched = server.fetched;
                    let metrics = session.metrics();
                    ran.metrics =
                        Digest::f32s(&[metrics.loss, metrics.norm]).and_bytes(&metrics.examples.to_le_bytes());
                    ran.clipped = metrics.clipped;
                    return Ok(ran);
                }
                Poll::Working { done: steps, .. } => done = steps as usize,
                Poll::Persist => unreachable!("there is no ledger"),
                Poll::Send => {
                    let answer =
                        server.answer(session.outgoing(), (self.encoded, self.checkpoint), report, self.frame)?;
                    session.sent();
                    for bytes in self.frame[..answer].chunks(piece) {
                        session.receive(bytes);
                    }
                }
                Poll::Receive { .. } => return Err("an answer was not understood"),
            }
            if restart > 0 && poll % restart == 0 {
                let length = match session.save(self.saved) {
                    Ok(length) => length,
                    Err(SaveError::Finished) => continue,
                    Err(_) => return Err("saving"),
                };
                let saved = &self.saved[..length];
                ran.saves = ran.saves.and_bytes(saved);
                // Once the report is made, its own digest says more.
                let stage = match done {
                    0 => Some(&mut ran.download),
                    step @ 1..=STEPS => ran.steps.get_mut(step - 1),
                    _ => Some(&mut ran.trained),
                };
                if let Some(stage) = stage.filter(|_| session.report().is_none()) {
                    *stage = stage.and_bytes(saved);
                }
                ran.restarts += 1;
                drop(session);
                self.memory.fill(0xa5);
                session = Session::restore(&mut self.memory[..lent], config.clone(), &self.saved[..length])
                    .map_err(|_| "restoring")?;
            }
        }
        Err("the session does not end")
    }
}

/// What came of a session.
struct Ran {
    ended: Option<Ended>,
    /// Bytes of the report.
    length: usize,
    restarts: u32,
    /// All the saved bytes.
    saves: Digest,
    /// Those before the first step of training, after each of the first steps, and after the others.
    download: Digest,
    steps: [Digest; STEPS],
    trained: Digest,
    /// Loss, norm before the clip, examples.
    metrics: Digest,
    clipped: bool,
    /// The cause that the server was told.
    abandoned: Option<u8>,
    /// Pieces of the checkpoint that were asked for.
    fetched: u32,
}

/// The other side: what it has heard.
struct Server {
    uploaded: usize,
    uploads: u32,
    /// Pieces of the checkpoint.
    fetched: u32,
    abandoned: Option<u8>,
}

impl Server {
    /// Writes the answer to one request into `frame`; returns its length, 0 if none is due.
    fn answer(
        &mut self,
        request: &[u8],
        (plan, checkpoint): (&[u8], &[u8]),
        report: &mut [u8],
        frame: &mut [u8],
    ) -> Result<usize, &'static str> {
        let Frame::Whole { body, version, length } = Frame::parse(request, MIN_FRAME) else {
            return Err("a request is not a frame");
        };
        if length != request.len() {
            return Err("a request is more than a frame");
        }
        let (request, payload) = Request::decode(body, version).map_err(|_| "a request does not decode")?;
        let encoded = match request {
            Request::CheckIn { .. } => {
                let checkpoint = checkpoint.len() as u32;
                Response::Task { task: TASK, checkpoint, base: None, deadline_ms: 60_000 }.encode(plan, frame)
            }
            Request::Fetch { task: TASK, base: None, offset, .. } => {
                let rest = checkpoint.get(offset as usize..).ok_or("a fetch past the end")?;
                self.fetched += 1;
                // Pieces that end in the middle of masks and values.
                Response::Piece { round: 7, base: None, offset }.encode(&rest[..rest.len().min(203)], frame)
            }
            Request::Upload { task: TASK, total, offset } => {
                let (total, offset) = (total as usize, offset as usize);
                if offset != self.uploaded {
                    return Err("an upload from another place than asked for");
                }
                report.get_mut(offset..offset + payload.len()).ok_or("too long a report")?.copy_from_slice(payload);
                self.uploads += 1;
                // Half of the first piece is lost.
                self.uploaded = if self.uploads == 1 { total / 2 } else { offset + payload.len() };
                let status = if self.uploaded == total { UploadStatus::Accepted } else { UploadStatus::Partial };
                Response::Received { task: TASK, upto: self.uploaded as u32, status }.encode(&[], frame)
            }
            Request::Abandon { task: TASK, cause } => {
                self.abandoned = Some(cause);
                return Ok(0);
            }
            _ => return Err("a request for another task"),
        };
        encoded.map_err(|_| "an answer does not fit its frame")
    }
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
