//! One round of one device as a state machine without input or output of its own (sans-IO).
//!
//! [`Session::poll`] says what the host should do next: send these bytes, give it bytes, call again. The same machine
//! runs over a UART, in slices of a background job, and ten thousand times in the simulator. Between any two polls it
//! can be [saved](Session::save) and later [restored](Session::restore); the report is the same to the byte.

mod debit;
mod derive;
mod examples;
mod outcome;
mod privatize;
mod probe;
mod protocol;
mod save;

pub use outcome::{Abandoned, KeepError, Metrics, Outcome, Poll};
pub use save::SaveError;

use crate::arena::{Arena, ArenaError, MemoryPlan, cast};
use crate::checkin::{
    CheckpointError, CheckpointReader, Download, KEPT_MASK_HEADER, KeptMask, Plan, PlanError, Policy, Population,
    each_mask, masks_len, parts, write_kept_mask,
};
use crate::data::{Batches, ExampleStore, Rules, Staging, StoreError, load};
use crate::model::{Buffers, Draw, Graph, train_step};
use crate::report::EgressRecord;
use crate::wire::{FRAME_OVERHEAD, FrameAssembler, MAX_MESSAGE};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, Rng, SeedableRng};

/// Shortest `max_frame`: every plan fits in one frame of this length.
pub const MIN_FRAME: usize = 1024;

/// What the host decides, the same for every round.
#[derive(Debug, Clone)]
pub struct Config {
    /// The learning problem.
    pub population: Population,
    /// The app's floor.
    pub policy: Policy,
    /// Longest frame in either direction, bytes; at least [`MIN_FRAME`]. Twice this is kept in the arena.
    pub max_frame: usize,
    /// After this long without an answer a request is repeated, ms.
    pub timeout_ms: u32,
    /// Repetitions before the device gives up for now.
    pub retries: u8,
}

impl Config {
    /// Sensible numbers: frames of 16 KiB, three repetitions, 5 s apart.
    ///
    /// The name of the population is cut to [`MAX_POPULATION`](crate::checkin::MAX_POPULATION) bytes.
    pub fn new(population: &str, policy: Policy) -> Self {
        let mut name = Population::new();
        for c in population.chars() {
            if name.push(c).is_err() {
                break;
            }
        }
        Self { population: name, policy, max_frame: 16 * 1024, timeout_ms: 5_000, retries: 3 }
    }
}

/// Where the session stands; all that is needed beside the persistent memory.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    /// No plan yet.
    CheckIn,
    /// The checkpoint is coming.
    Download(CheckpointReader),
    /// The growth probe is still to be taken.
    Probe,
    /// Steps of local training done.
    Train { step: u32, loss: f32 },
    /// The report is made; bytes that the server has.
    Upload { total: u32, received: u32 },
    /// The server is still to be told why there is no report.
    Abandon(Abandoned),
    /// Nothing left to do.
    Done(Outcome),
}

/// What the server called the assignment and its parts.
#[derive(Debug, Clone, Copy)]
struct TaskNames {
    id: u64,
    /// Length of the checkpoint, bytes.
    checkpoint: u32,
    /// Fingerprint of the masks of which the checkpoint has the changes.
    base: Option<u32>,
    /// Of the plan.
    fingerprint: u32,
    /// Made of the seed and the plan's bytes: see [`derive`].
    key: [u8; 32],
}

/// The assignment.
#[derive(Debug)]
struct Task {
    names: TaskNames,
    plan: Plan,
    graph: Graph,
    memory: MemoryPlan,
}

impl Task {
    /// Puts one without its plan into `slot`. Apart, and the plan is read in place: a task has about 4 KiB, which a small stack
    /// has no room to move around.
    #[inline(never)]
    fn put(slot: &mut Option<Self>, names: TaskNames) -> &mut Self {
        slot.insert(Self { names, plan: Plan::empty(), graph: Graph::empty(), memory: MemoryPlan::default() })
    }

    /// The graph of the plan, and the use of memory.
    fn lay_out(&mut self, max_frame: usize) -> Result<(), PlanError> {
        self.graph.lay_out(&self.plan.model)?;
        self.plan.check_coordinates(&self.graph)?;
        self.memory = MemoryPlan::new(&self.plan, &self.graph, max_frame);
        Ok(())
    }

    /// What the reader of the checkpoint must know, with the masks that it changes if it has changes: those in `kept`.
    fn download<'t>(&'t self, kept: Option<KeptMask<'t>>) -> Result<Download<'t>, CheckpointError> {
        let fits = |kept: &KeptMask<'_>, got| kept.fingerprint() == got && kept.fits(&self.graph);
        let base = match self.names.base {
            None => None,
            Some(got) => match kept.filter(|kept| fits(kept, got)) {
                None => return Err(CheckpointError::Base { kept: kept.map(|kept| kept.fingerprint()), got }),
                some => some,
            },
        };
        let length = self.names.checkpoint;
        let (round, values) = (self.plan.round, self.plan.values);
        Ok(Download { round, length, base, values, graph: &self.graph, memory: &self.memory })
    }
}

/// A request on its way.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    until: u64,
    tries: u8,
}

/// A device's part in one round.
#[derive(Debug)]
pub struct Session<'a> {
    arena: Arena<'a>,
    config: Config,
    id: u64,
    seed: [u8; 32],
    stage: Stage,
    task: Option<Task>,
    /// Masks of an earlier round.
    kept: Option<KeptMask<'a>>,
    /// True while the patterns in the arena are those of the task, whole and checked.
    has_masks: bool,
    assembler: FrameAssembler,
    outgoing: usize,
    waiting: Option<Waiting>,
    metrics: Metrics,
    egress: Option<EgressRecord>,
    account: Option<debit::Held>,
    /// The clock at the last poll.
    now: u64,
    /// Where the session stood when nobody answered any more.
    parked: Option<Stage>,
    /// The task whose plan was refused, so that the server is told under its number.
    refused: u64,
    /// How often the server had less of the report than before.
    setbacks: u8,
}

/// Independent streams of the session's seed; noise and rounding are of keys that are made of it: see [`derive`].
#[derive(Clone, Copy)]
enum Purpose {
    Shuffle = 1,
    Noise = 2,
    Rounding = 3,
    Retry = 4,
    Dropout = 5,
    Report = 6,
}

impl<'a> Session<'a> {
    /// A session that will check in. All its randomness comes from one draw of `rng`: give it a cryptographic generator
    /// that was seeded by the operating system or hardware.
    ///
    /// # Errors
    /// [`ArenaError`] if `memory` is misaligned or too short even for the two frame buffers. (Whether a plan fits is
    /// known when it arrives.)
    // Inlined, and so made where it will lie: a session has some KiB, which a small stack has no room to move around.
    #[inline(always)]
    pub fn new(memory: &'a mut [u8], config: Config, rng: &mut impl CryptoRng) -> Result<Self, ArenaError> {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        Self::with_seed(memory, config, seed, rng.next_u64())
    }

    #[inline(always)]
    fn with_seed(memory: &'a mut [u8], mut config: Config, seed: [u8; 32], id: u64) -> Result<Self, ArenaError> {
        config.max_frame = config.max_frame.max(MIN_FRAME);
        let arena = Arena::new(memory)?;
        arena.check(MemoryPlan::before_plan(config.max_frame))?;
        Ok(Self {
            arena,
            config,
            id,
            seed,
            stage: Stage::CheckIn,
            task: None,
            kept: None,
            has_masks: false,
            assembler: FrameAssembler::new(),
            outgoing: 0,
            waiting: None,
            metrics: Metrics::default(),
            egress: None,
            account: None,
            now: 0,
            parked: None,
            refused: 0,
            setbacks: 0,
        })
    }

    /// Gives a session that has not been polled yet the masks that the app kept of an earlier round, which may lie in flash:
    /// where the server still knows them, only what changed in them since is downloaded. The report is the same to the byte.
    ///
    /// The server is told their fingerprint: see [`KeptMask`] for what that says of the device. A session that ends with
    /// [`Abandoned::Checkpoint`] may have been given masks that are not what the server takes them for: throw them away.
    #[must_use]
    pub fn with_mask(mut self, kept: KeptMask<'a>) -> Self {
        self.kept = Some(kept);
        self
    }

    /// Length of what [`keep_mask`](Self::keep_mask) writes, bytes: a bit an entry of each tensor that has a mask, and 12.
    /// There is none before the download is complete and after a session was restored in its upload, nor of a network in
    /// which nothing is pruned. The moment to ask is the first [`Poll::Working`] after the download.
    pub fn kept_mask_len(&self) -> Option<usize> {
        let task = self.task.as_ref().filter(|_| self.has_masks)?;
        Some(masks_len(&task.graph)).filter(|len| *len > 0).map(|len| KEPT_MASK_HEADER + len)
    }

    /// Writes the masks of this round for the sessions of later ones, to the front of `out`: see
    /// [`KeptMask`] and [`with_mask`](Self::with_mask). Gives their length. Costs a pass over the masks.
    ///
    /// # Errors
    /// [`KeepError`]: there are none now, or `out` is too short. Nothing is written then.
    pub fn keep_mask(&self, out: &mut [u8]) -> Result<usize, KeepError> {
        let (Some(task), Some(required)) = (&self.task, self.kept_mask_len()) else { return Err(KeepError::NoMask) };
        let got = out.len();
        let out = out.get_mut(..required).ok_or(KeepError::Capacity { required, got })?;
        let (row_ptrs, columns) = (self.arena.view(task.memory.row_ptrs), self.arena.view(task.memory.columns));
        write_kept_mask(out, |each| each_mask(&task.graph, row_ptrs, columns, each));
        Ok(required)
    }

    /// Does one small piece of work and says what the host should do next. `now_ms` is any clock that does not run
    /// backwards.
    pub fn poll(&mut self, now_ms: u64, store: &mut dyn ExampleStore) -> Poll {
        self.observe_clock(now_ms);
        if self.outgoing > 0 {
            return Poll::Send;
        }
        match self.stage {
            Stage::Done(outcome) => Poll::Finished(outcome),
            Stage::CheckIn => self.request(now_ms),
            Stage::Download(reader) => {
                let Some(task) = &self.task else { return self.give_up(Abandoned::Internal) };
                if store.is_empty() {
                    return self.give_up(Abandoned::NoExamples);
                }
                if reader.offset() < task.names.checkpoint {
                    return self.request(now_ms);
                }
                match task.download(self.kept).and_then(|from| reader.finish(&from, &mut self.arena)) {
                    Ok(()) => {
                        self.has_masks = true;
                        let probes = !task.memory.probe.is_empty();
                        self.stage = if probes { Stage::Probe } else { Stage::Train { step: 0, loss: 0.0 } };
                        Poll::Working { done: 0, of: self.batches(store).steps() }
                    }
                    Err(e) => self.give_up(Abandoned::Checkpoint(e)),
                }
            }
            Stage::Probe if parts::GROWTH.here => self.probe(store),
            // Of a forged save.
            Stage::Probe => self.give_up(Abandoned::Internal),
            Stage::Train { step, loss } => self.train(step, loss, store),
            Stage::Upload { .. } => match self.debit(now_ms) {
                Some(before) => before,
                None => self.request(now_ms),
            },
            Stage::Abandon(cause) => {
                self.say_abandon(cause);
                Poll::Send
            }
        }
    }

    /// The bytes to send after [`Poll::Send`].
    pub fn outgoing(&self) -> &[u8] {
        let frame = self.frame_out();
        &self.arena.bytes(frame)[..self.outgoing]
    }

    /// Tells the session that [`outgoing`](Self::outgoing) was sent as far as the transport can tell.
    pub fn sent(&mut self) {
        self.outgoing = 0;
        if let Stage::Abandon(cause) = self.stage {
            self.finish(Outcome::Abandoned { cause, retry_ms: 0 });
        }
    }

    /// The plan, once it arrived.
    pub fn plan(&self) -> Option<&Plan> {
        self.task.as_ref().map(|t| &t.plan)
    }

    /// How the arena is used, once a plan arrived.
    pub fn memory(&self) -> Option<&MemoryPlan> {
        self.task.as_ref().map(|t| &t.memory)
    }

    /// The whole report, once it is made.
    pub fn report(&self) -> Option<&[u8]> {
        match (&self.task, self.stage) {
            (Some(task), Stage::Upload { total, .. }) => Some(&self.arena.bytes(task.memory.report)[..total as usize]),
            _ => None,
        }
    }

    /// Numbers of the local training; they stay on the device.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What left the device in this session, if anything; from [`Poll::Persist`] on, what is about to.
    pub fn egress(&self) -> Option<&EgressRecord> {
        self.egress.as_ref()
    }

    fn stream(&self, purpose: Purpose) -> ChaCha20Rng {
        stream(self.seed, purpose)
    }

    fn batches(&self, store: &dyn ExampleStore) -> Batches {
        let training = match &self.task {
            Some(task) => task.plan.training,
            None => unreachable!("asked for only once there is a task"),
        };
        Batches::new(store.len(), &training, self.stream(Purpose::Shuffle).next_u64())
    }

    fn train(&mut self, step: u32, loss: f32, store: &mut dyn ExampleStore) -> Poll {
        let batches = self.batches(store);
        let steps = batches.steps();
        if steps == 0 {
            // The store was emptied on the way: a report of no examples is none.
            return self.give_up(Abandoned::NoExamples);
        }
        if step >= steps {
            return self.privatize(batches.examples());
        }
        if parts::CLIPPING.here && self.task.as_ref().is_some_and(|task| !task.memory.example.is_empty()) {
            return self.clip_example((step, steps), loss, batches, store);
        }
        let seed = self.stream(Purpose::Dropout).next_u64();
        let Some(task) = &self.task else { return self.give_up(Abandoned::Internal) };
        let (memory, graph) = (&task.memory, &task.graph);
        let draw = Draw { seed, step };
        let [row_ptrs, columns, local, global, moments, activations, gradients, targets] = self.arena.split([
            memory.row_ptrs,
            memory.columns,
            memory.local,
            memory.global,
            memory.moments,
            memory.activations,
            memory.gradients,
            memory.targets,
        ]);
        let loaded = load_batch(task, store, batches.indices(step), activations, gradients, targets);
        let (activations, gradients, targets, batch) = match loaded {
            Ok(loaded) => loaded,
            Err(e) => return self.give_up(Abandoned::Store(e)),
        };
        let moments = cast::<f32>(moments);
        if step == 0 {
            moments.fill(0.0);
        }
        let batch_loss = train_step(
            graph,
            (task.plan.model.loss, &task.plan.training),
            (draw, steps),
            (cast(row_ptrs), cast(columns)),
            (cast(local), cast(global), moments),
            Buffers { activations, gradients },
            targets,
            batch,
        );
        let loss = loss + (batch_loss - loss) / (step + 1) as f32;
        self.metrics.loss = loss;
        self.stage = Stage::Train { step: step + 1, loss };
        Poll::Working { done: step + 1, of: steps }
    }

    fn chunk(&self) -> usize {
        self.config.max_frame - FRAME_OVERHEAD - MAX_MESSAGE
    }

    fn give_up(&mut self, cause: Abandoned) -> Poll {
        crate::event!(warn, "round abandoned: cause {}", cause.code());
        self.stage = Stage::Abandon(cause);
        self.waiting = None;
        Poll::Working { done: 0, of: 0 }
    }
}

fn stream(key: [u8; 32], purpose: Purpose) -> ChaCha20Rng {
    let mut rng = ChaCha20Rng::from_seed(key);
    rng.set_stream(purpose as u64);
    rng
}

/// Memory of a step with its examples in it: activations, gradients, targets, examples.
type Loaded<'m> = (&'m mut [f32], &'m mut [f32], &'m [u32], usize);

/// Brings the examples of one batch to where a step finds them.
fn load_batch<'m>(
    task: &Task,
    store: &mut dyn ExampleStore,
    indices: impl ExactSizeIterator<Item = u32>,
    activations: &'m mut [u8],
    gradients: &'m mut [u8],
    targets: &'m mut [u8],
) -> Result<Loaded<'m>, StoreError> {
    let (graph, loss) = (&task.graph, task.plan.model.loss);
    let batch = indices.len();
    let (features, each) = (graph.input.features(), graph.targets(loss));
    let (activations, gradients): (&mut [f32], &mut [f32]) = (cast(activations), cast(gradients));
    let targets = &mut cast::<u32>(targets)[..each * batch];
    let (row, rest) = gradients.split_at_mut(features);
    let staging = Staging { row, targets: bytemuck::cast_slice_mut(&mut rest[..each]) };
    load(store, indices, &Rules::new(graph, loss), staging, &mut activations[..features * batch], targets)?;
    Ok((activations, gradients, targets, batch))
}
