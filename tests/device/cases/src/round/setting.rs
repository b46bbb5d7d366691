//! What a session needs around it, and its run to the end.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use siskin::arena::required_bytes;
use siskin::checkin::{
    Plan, Policy, Tail, Values, checkpoint_len, code_values, whole_len, write_checkpoint, write_whole,
};
use siskin::data::{ExampleStore, StoreError};
use siskin::model::Graph;
use siskin::range_coder::{EntropyCoder, RowColumn};
use siskin::session::{Config, MIN_FRAME, Outcome as Ended, Poll, SaveError, Session};

use super::server::Server;
use crate::Digest;
use crate::models::{Pieces, draw_masks, examples, fill, mask_bytes, patterns, sequences, two_of_four, with_masks};
use crate::numbers::Numbers;

const EXAMPLES: usize = 29;
/// Steps of training of which each has a digest of its own.
pub(super) const STEPS: usize = 3;

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
pub(super) struct Setting<'a> {
    plan: &'a Plan,
    pub(super) encoded: &'a [u8],
    pub(super) checkpoint: &'a [u8],
    features: &'a [f32],
    targets: &'a [u32],
    /// Memory for one frame to the device.
    frame: &'a mut [u8],
    /// The session's memory, exactly what the plan needs.
    pub(super) memory: &'a mut [u8],
    /// Memory for a saved session.
    saved: &'a mut [u8],
    /// The patterns of the sparse weights, to decode reports with.
    pub(super) row_ptrs: &'a [u32],
    pub(super) columns: &'a [u16],
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
    pub(super) fn new(
        plan: &'a Plan,
        graph: &'a Graph,
        kind: Masks,
        pieces: &mut Pieces<'a>,
    ) -> Result<Self, &'static str> {
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
    pub(super) fn run(
        &mut self,
        lent: usize,
        piece: usize,
        restart: u32,
        report: &mut [u8],
    ) -> Result<Ran, &'static str> {
        let mut config = Config::new(&self.plan.population, Policy::permissive());
        config.max_frame = MIN_FRAME;
        let mut store = Rows { features: self.features, targets: self.targets };
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let memory = &mut self.memory[..lent];
        let mut session = Session::new(memory, config.clone(), &mut rng).map_err(|_| "no memory for a session")?;
        let mut server = Server::default();
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
pub(super) struct Ran {
    pub(super) ended: Option<Ended>,
    /// Bytes of the report.
    pub(super) length: usize,
    pub(super) restarts: u32,
    /// All the saved bytes.
    pub(super) saves: Digest,
    /// Those before the first step of training, after each of the first steps, and after the others.
    pub(super) download: Digest,
    pub(super) steps: [Digest; STEPS],
    pub(super) trained: Digest,
    /// Loss, norm before the clip, examples.
    pub(super) metrics: Digest,
    pub(super) clipped: bool,
    /// The cause that the server was told.
    pub(super) abandoned: Option<u8>,
    /// Pieces of the checkpoint that were asked for.
    pub(super) fetched: u32,
}
