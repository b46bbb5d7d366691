//! What a round offers, the same for all of its devices, and the answers to their requests.

use super::collector::Collector;
use super::form::{Changes, Form, Mask, Masks, piece};
use super::tail::{Behind, coded, step_of};
use super::{GlobalModel, Settings, Substitute};
use siskin::checkin::{
    CheckpointError, Path, Plan, PlanError, Reason, Rejection, RetryWindow, Upload, Values, checkpoint_len,
    write_checkpoint,
};
use siskin::model::{Graph, Parameters};
use siskin::range_coder::Start;
use siskin::report::growth_bound;
use siskin::wire::{Capabilities, FRAME_OVERHEAD, Frame, MAX_MESSAGE, Request, Response, WireError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A plan that does not fit a frame goes to nobody.
const MAX_PLAN: usize = 16 * 1024;

/// Why a round cannot be offered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OfferError {
    /// The settings make no valid plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The plan is too long.
    #[error("the plan does not fit its frame: {0}")]
    Wire(#[from] WireError),
    /// The model does not fit the plan.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Plan and checkpoint of one round.
#[derive(Debug)]
pub struct Offer {
    /// The plan.
    pub plan: Plan,
    /// The plan as it travels.
    pub plan_bytes: Vec<u8>,
    /// Its fingerprint.
    pub fingerprint: u32,
    /// The shapes.
    pub graph: Graph,
    /// The checkpoint as it travels to a device that has no masks.
    pub checkpoint: Vec<u8>,
    /// Its tensors with floats and nothing behind them, if it is not that itself.
    source: Option<Vec<u8>>,
    behind: Behind,
    row_ptrs: Vec<u32>,
    columns: Vec<u16>,
    pub(super) mask: Arc<Mask>,
    whole: Form,
    /// For devices that have masks.
    changes: Vec<Changes>,
    /// Longest frame of the devices for which frames are made once.
    max_frame: usize,
    deadline_ms: u32,
}

impl Offer {
    /// Makes the plan of `round` for the model as it is.
    ///
    /// # Errors
    /// [`OfferError`] if the settings make no valid plan.
    pub fn new(settings: &Settings, model: &GlobalModel, round: u32, max_frame: usize) -> Result<Self, OfferError> {
        Self::starting(settings, model, round, max_frame, &[])
    }

    /// The same, with the start of the reports' coder; empty is none.
    pub(super) fn starting(
        settings: &Settings,
        model: &GlobalModel,
        round: u32,
        max_frame: usize,
        start: &[u8],
    ) -> Result<Self, OfferError> {
        let probe = settings.pruning.probe(model, round);
        let mut plan = Plan {
            population: settings.population.clone(),
            round,
            model: model.spec(settings.pruning.crossover, settings.training.batch)?,
            training: settings.training,
            privacy: settings.privacy,
            quantization: settings.quantization,
            upload: Upload { probe, start: start.len() as u16, ..settings.upload },
            values: step_of(settings, model).map_or(Values::Floats, |step| Values::Coded { step }),
        };
        let graph = Graph::new(&plan.model)?;
        plan.check_coordinates(&graph)?;
        // What the settings allow a report is for its delta.
        plan.upload.max_bytes = plan.upload.max_bytes.saturating_add(growth_bound(&graph, probe) as u32);
        let parts = model.parts();
        let mut source = vec![0; checkpoint_len(&graph)];
        write_checkpoint(&graph, round, parts.iter().map(|(v, m)| (*v, &m[..])), &mut source)?;
        let (mut row_ptrs, mut columns) = (Vec::new(), Vec::new());
        for (tensor, view) in graph.tensors.iter().zip(model.tensors()).filter(|(t, _)| t.has_pattern()) {
            let first = columns.len();
            row_ptrs.push(0);
            for row in view.live.chunks(tensor.cols as usize).step_by(tensor.pattern_height()) {
                columns.extend(row.iter().enumerate().filter(|(_, l)| **l).map(|(c, _)| c as u16));
                row_ptrs.push((columns.len() - first) as u32);
            }
        }
        let values = coded(&plan, (&graph, &row_ptrs, &columns), (&source, None), max_frame).map(|(values, _)| values);
        if values.is_none() {
            plan.values = Values::Floats;
        }
        plan.validate()?;
        let mut plan_bytes = vec![0; MAX_PLAN];
        let length = plan.encode(&mut plan_bytes)?;
        plan_bytes.truncate(length);
        let fingerprint = Plan::fingerprint(&plan_bytes);
        let mask = Arc::new(Mask::of(&graph, &source)?);
        let behind = Behind::new(start, values);
        let (checkpoint, source) =
            if behind.tail().is_empty() { (source, None) } else { (behind.whole(&graph, &source)?, Some(source)) };
        let whole = Form::whole(round, &graph, &checkpoint, behind.tail(), max_frame);
        let (changes, deadline_ms) = (Vec::new(), settings.deadline_ms);
        Ok(Self {
            plan,
            plan_bytes,
            fingerprint,
            graph,
            checkpoint,
            source,
            behind,
            row_ptrs,
            columns,
            mask,
            whole,
            changes,
            max_frame,
            deadline_ms,
        })
    }

    /// Offers devices that kept one of `masks` what changed since.
    pub(super) fn with_masks(mut self, masks: &Masks) -> Self {
        self.changes = Changes::of(masks, &self.mask);
        self
    }

    /// The checkpoint as it travels to a device that kept the masks of this fingerprint, or none.
    pub fn checkpoint_for(&self, mask: Option<u32>) -> &[u8] {
        self.form(mask).map_or(&self.checkpoint, |(bytes, _)| bytes)
    }

    /// The checkpoint with whole masks, or as what changed since `base`; none if the masks are not known or too different.
    fn form(&self, base: Option<u32>) -> Option<(&[u8], &Form)> {
        let Some(base) = base else { return Some((&self.checkpoint, &self.whole)) };
        let changes = self.changes.iter().find(|changes| changes.base() == base)?;
        let source = self.source.as_ref().unwrap_or(&self.checkpoint);
        let shorter_than = self.checkpoint.len();
        let tail = |base: &[u8]| match &self.behind.values {
            None => Some((Behind::new(&self.behind.start, None), None)),
            Some(_) => {
                let patterns = (&self.graph, &self.row_ptrs[..], &self.columns[..]);
                let (values, changes) = coded(&self.plan, patterns, (source, Some(base)), self.max_frame)?;
                Some((Behind::new(&self.behind.start, Some(values)), Some(changes)))
            }
        };
        changes.get((self.plan.round, &self.graph), (source, shorter_than), tail, &self.mask, self.max_frame)
    }

    /// What the coder of reports begins with.
    pub fn start(&self) -> Start<'_> {
        Start::new(&self.behind.start).unwrap_or_default()
    }

    /// The stored values of all tensors of `model`, as a device holds them.
    pub fn values(&self, model: &GlobalModel) -> Vec<f32> {
        let mut values = vec![0.0; self.graph.stored];
        for (tensor, view) in self.graph.tensors.iter().zip(model.tensors()) {
            let stored = view.values.iter().zip(view.live).filter(|(_, live)| tensor.path == Path::Dense || **live);
            for (index, (value, _)) in stored.enumerate() {
                values[tensor.range()][tensor.stored_at(&self.row_ptrs, index)] = self.plan.values.as_received(*value);
            }
        }
        values
    }

    /// The patterns of the round; without values.
    pub fn patterns(&self) -> Parameters<'_> {
        Parameters { row_ptrs: &self.row_ptrs, columns: &self.columns, values: &[] }
    }
}

pub(super) fn payload_of(max_frame: usize) -> usize {
    max_frame - FRAME_OVERHEAD - MAX_MESSAGE
}

pub(super) fn encode(response: &Response, payload: &[u8], out: &mut Vec<u8>) {
    out.resize(FRAME_OVERHEAD + MAX_MESSAGE + payload.len(), 0);
    let length = response.encode(payload, out).unwrap_or(0);
    out.truncate(length);
}

/// What a request was about; for the bytes that a report shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// Check-in; the answer carries the plan.
    CheckIn,
    /// Part of the checkpoint.
    Fetch,
    /// Part of a report.
    Upload,
    /// A task given back.
    Abandon,
}

/// Bytes of one request and its answer, frames and all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// What it was about.
    pub kind: RequestKind,
    /// Bytes from the device.
    pub up: usize,
    /// Bytes to the device.
    pub down: usize,
    /// Bytes of report in the request.
    pub report: usize,
    /// Bytes of masks in the answer, or of what changed in them.
    pub mask: usize,
}

/// The answer to a frame.
#[derive(Debug)]
pub enum Answer<'a> {
    /// Send these bytes.
    Send(&'a [u8], Exchange),
    /// The request wants no answer.
    Nothing(Exchange),
    /// Not a request; say nothing.
    Ignored,
}

/// A round that is open. All its methods take `&self`: many devices may be served at once.
#[derive(Debug)]
pub struct Round {
    /// Plan and checkpoint.
    pub offer: Offer,
    assigned: Mutex<HashMap<u64, u64>>,
    collector: Mutex<Collector>,
}

impl Round {
    pub(crate) fn new(offer: Offer, collector: Collector) -> Self {
        Self { offer, assigned: Mutex::default(), collector: Mutex::new(collector) }
    }

    /// The same, with another codec's estimates in the place of the reports: see [`Substitute`].
    pub fn with_substitute(mut self, substitute: Box<dyn Substitute>) -> Self {
        self.collector.get_mut().unwrap_or_else(PoisonError::into_inner).substitute = Some(substitute);
        self
    }

    pub(crate) fn into_parts(self) -> (Offer, Collector) {
        (self.offer, self.collector.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers one frame of a device at `now_ms` after the round opened. `out` is scratch for answers that are not the
    /// same for everybody.
    pub fn handle<'a>(&'a self, now_ms: u64, frame: &[u8], out: &'a mut Vec<u8>) -> Answer<'a> {
        let Frame::Whole { body, version, length } = Frame::parse(frame, frame.len()) else { return Answer::Ignored };
        let Ok((request, payload)) = Request::decode(body, version) else { return Answer::Ignored };
        let exchange = |kind, report| Exchange { kind, up: length, down: 0, report, mask: 0 };
        match request {
            Request::CheckIn { capabilities, population, session, max_frame, mask, .. } => {
                let rejected = |reason| Response::Rejected(Rejection { reason, retry: RetryWindow::PERMANENT });
                let largest = self.offer.plan_bytes.len() + FRAME_OVERHEAD + MAX_MESSAGE;
                if population != self.offer.plan.population.as_str() {
                    encode(&rejected(Reason::UnknownPopulation), &[], out);
                } else if !capabilities.has(Capabilities::ALL) || (max_frame as usize) < largest {
                    encode(&rejected(Reason::Unsupported), &[], out);
                } else {
                    let base = mask.filter(|mask| self.offer.form(Some(*mask)).is_some());
                    let checkpoint = self.offer.form(base).map_or(0, |(bytes, _)| bytes.len() as u32);
                    let (task, deadline_ms) = (self.assign(session), self.offer.deadline_ms);
                    let response = Response::Task { task, checkpoint, base, deadline_ms };
                    encode(&response, &self.offer.plan_bytes, out);
                }
                answer(out, exchange(RequestKind::CheckIn, 0))
            }
            Request::Fetch { task, base, offset, max_frame } => {
                let mut exchange = exchange(RequestKind::Fetch, 0);
                let (at, limit) = (offset as usize, max_frame as usize);
                let form = self.offer.form(base).filter(|_| self.is_assigned(task));
                let Some((checkpoint, form)) =
                    form.filter(|(checkpoint, _)| at < checkpoint.len() && limit >= 2 * (FRAME_OVERHEAD + MAX_MESSAGE))
                else {
                    encode(&Response::Gone { task, retry: RetryWindow::TRANSIENT }, &[], out);
                    return answer(out, exchange);
                };
                exchange.mask = form.mask_bytes(at, limit);
                if limit == self.offer.max_frame && at % payload_of(limit) == 0 {
                    return answer(&form.frames[at / payload_of(limit)], exchange);
                }
                piece(self.offer.plan.round, base, checkpoint, at, limit, out);
                answer(out, exchange)
            }
            Request::Upload { task, total, offset } => {
                if self.is_assigned(task) {
                    let mut collector = self.collector.lock().unwrap_or_else(PoisonError::into_inner);
                    let (upto, status) = collector.upload(&self.offer, now_ms, task, total, offset, payload);
                    encode(&Response::Received { task, upto, status }, &[], out);
                } else {
                    encode(&Response::Gone { task, retry: RetryWindow::TRANSIENT }, &[], out);
                }
                answer(out, exchange(RequestKind::Upload, payload.len()))
            }
            Request::Abandon { task, cause } => {
                if self.is_assigned(task) {
                    self.collector.lock().unwrap_or_else(PoisonError::into_inner).abandon(task, cause);
                }
                Answer::Nothing(exchange(RequestKind::Abandon, 0))
            }
        }
    }

    /// The same session always gets the same task.
    fn assign(&self, session: u64) -> u64 {
        // splitmix64's finaliser: an opaque number, different in every round.
        let mut z = session ^ (u64::from(self.offer.plan.round) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let task = z ^ (z >> 31);
        self.assigned.lock().unwrap_or_else(PoisonError::into_inner).insert(task, session);
        task
    }

    fn is_assigned(&self, task: u64) -> bool {
        self.assigned.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&task)
    }
}

fn answer(bytes: &[u8], mut exchange: Exchange) -> Answer<'_> {
    exchange.down = bytes.len();
    Answer::Send(bytes, exchange)
}
