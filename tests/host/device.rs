//! A device on a perfect line: the host's loop around a session, one poll at a time.

use siskin::checkin::Plan;
use siskin::data::ExampleStore;
use siskin::session::{Config, Outcome, Poll, Session};
use siskin_server::round::{Answer, Round};

/// Memory with the alignment of an arena and exactly `len` bytes, filled with rubbish.
pub(crate) struct Lent {
    words: Vec<u64>,
    len: usize,
}

impl Lent {
    pub(crate) fn new(len: usize) -> Self {
        Self { words: vec![0xa5a5_a5a5_a5a5_a5a5; len.div_ceil(8)], len }
    }

    /// What `plan` needs, to the byte.
    pub(crate) fn for_plan(plan: &Plan, max_frame: usize) -> Self {
        Self::new(siskin::arena::required_bytes(plan, max_frame).unwrap())
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.len]
    }
}

/// The line and the server behind it.
pub(crate) struct Line<'r> {
    round: &'r Round,
    /// Bytes on their way to the device.
    pending: Vec<u8>,
    /// The device gets at most this many at once.
    piece: usize,
    pub(crate) now: u64,
    pub(crate) sent: usize,
    /// Bytes to the device.
    pub(crate) got: usize,
    /// Bytes of masks among them, or of what changed in them.
    pub(crate) masks: usize,
    pub(crate) requests: usize,
    out: Vec<u8>,
}

impl<'r> Line<'r> {
    pub(crate) fn new(round: &'r Round, piece: usize) -> Self {
        Self { round, pending: Vec::new(), piece, now: 1, sent: 0, got: 0, masks: 0, requests: 0, out: Vec::new() }
    }

    /// One poll, and what it asks for.
    pub(crate) fn step(&mut self, session: &mut Session<'_>, store: &mut dyn ExampleStore) -> Option<Outcome> {
        match session.poll(self.now, store) {
            Poll::Finished(outcome) => return Some(outcome),
            Poll::Working { .. } => {}
            // The line's device loses nothing: its memory is durable.
            Poll::Persist => session.persisted(),
            Poll::Send => {
                self.requests += 1;
                self.sent += session.outgoing().len();
                if let Answer::Send(bytes, exchange) = self.round.handle(self.now, session.outgoing(), &mut self.out) {
                    assert_eq!((exchange.up, exchange.down), (session.outgoing().len(), bytes.len()));
                    (self.got, self.masks) = (self.got + exchange.down, self.masks + exchange.mask);
                    self.pending.extend_from_slice(bytes);
                }
                session.sent();
            }
            Poll::Receive { until_ms } if self.pending.is_empty() => self.now = until_ms,
            Poll::Receive { .. } => {
                let n = self.pending.len().min(self.piece);
                let used = session.receive(&self.pending[..n]);
                assert!(used <= n);
                self.pending.drain(..n);
            }
        }
        None
    }
}

/// What one session came to.
pub(crate) struct Played {
    pub(crate) outcome: Outcome,
    /// The whole report, if one was made.
    pub(crate) report: Option<Vec<u8>>,
    pub(crate) session: Ended,
}

/// What is left of a session that ended.
pub(crate) struct Ended {
    pub(crate) metrics: siskin::session::Metrics,
    pub(crate) egress: Option<siskin::report::EgressRecord>,
    /// Bytes to the server, frames and all.
    pub(crate) sent: usize,
    pub(crate) requests: usize,
}

/// Polls in which every session of these tests ends, many times over: beyond it, one hangs.
pub(crate) const MANY_POLLS: usize = 100_000;

/// A whole session in an arena that fits exactly.
pub(crate) fn play(round: &Round, config: &Config, seed: u64, store: &mut dyn ExampleStore) -> Played {
    let mut lent = Lent::for_plan(&round.offer.plan, config.max_frame);
    play_in(lent.bytes(), round, config, seed, store, usize::MAX)
}

pub(crate) fn play_in(
    memory: &mut [u8],
    round: &Round,
    config: &Config,
    seed: u64,
    store: &mut dyn ExampleStore,
    piece: usize,
) -> Played {
    let mut session = Session::new(memory, config.clone(), &mut crate::problem::rng(seed)).unwrap();
    let mut line = Line::new(round, piece);
    let mut report = None;
    for _ in 0..MANY_POLLS {
        let ended = line.step(&mut session, store);
        if report.is_none() {
            report = session.report().map(<[u8]>::to_vec);
        }
        if let Some(outcome) = ended {
            let (metrics, egress) = (*session.metrics(), session.egress().copied());
            let session = Ended { metrics, egress, sent: line.sent, requests: line.requests };
            return Played { outcome, report, session };
        }
    }
    panic!("the session hangs");
}
