//! One virtual device in one round.

use super::time::Fate;
use super::{Purpose, TimeModel, Written, stream};
use crate::data::Federated;
use crate::report::StageBytes;
use siskin::arena::ArenaError;
use siskin::checkin::KeptMask;
use siskin::data::{ExampleStore, StoreError};
use siskin::privacy::Ledger;
use siskin::report::Report;
use siskin::session::{Config, Metrics, Outcome, Poll, Session};
use siskin_server::round::{Answer, Exchange, RequestKind, Round};
use std::sync::Arc;

/// A device's examples, in the data set that all share.
#[derive(Debug, Clone)]
pub struct Examples<'a> {
    data: &'a Federated,
    device: usize,
    /// Those of this round, if not all are.
    sampled: Option<Vec<u32>>,
}

impl<'a> Examples<'a> {
    /// Those of one device.
    pub fn new(data: &'a Federated, device: usize) -> Self {
        Self { data, device, sampled: None }
    }

    /// Only these of them, ascending.
    pub fn sampled(self, sampled: Option<Vec<u32>>) -> Self {
        Self { sampled, ..self }
    }
}

impl ExampleStore for Examples<'_> {
    fn len(&self) -> u32 {
        self.sampled.as_ref().map_or(self.data.examples(self.device), Vec::len) as u32
    }

    fn read(&mut self, index: u32, features: &mut [f32]) -> Result<u32, StoreError> {
        let mut label = [0];
        self.read_targets(index, features, &mut label)?;
        Ok(label[0])
    }

    fn read_targets(&mut self, index: u32, features: &mut [f32], targets: &mut [u32]) -> Result<(), StoreError> {
        let (expected, got) = (features.len(), self.data.features_per_example());
        if expected != got {
            return Err(StoreError::Shape { expected: expected as u32, got: got as u32 });
        }
        let (expected, got) = (targets.len(), self.data.targets_per_example());
        if expected != got {
            return Err(StoreError::Targets { expected: expected as u32, got: got as u32 });
        }
        let index = self.sampled.as_ref().map_or(index, |sampled| sampled[index as usize]);
        self.data.fill_targets(self.device, index as usize, features, targets);
        Ok(())
    }
}

/// How far a device got before its upload.
#[derive(Debug)]
pub enum Ended {
    /// Its report is made; the saved session goes on with the upload.
    Ready {
        /// The saved session.
        saved: Vec<u8>,
        /// Bytes of the report.
        report: usize,
    },
    /// It died.
    DroppedOut,
    /// It ended without a report.
    Without(Outcome),
    /// The report was sent.
    Reported(Outcome),
}

/// What came of one device in one round.
#[derive(Debug)]
pub struct DeviceRun {
    /// Its number.
    pub device: usize,
    /// When its report is in, ms after the round opened.
    pub arrival_ms: u64,
    /// Bytes to the server.
    pub up: StageBytes,
    /// Bytes from the server.
    pub down: StageBytes,
    /// How far it got.
    pub ended: Ended,
    /// Numbers that only a simulator sees.
    pub metrics: Metrics,
    /// Bytes of its report, and of these its coded delta.
    pub report: (u64, u64),
    /// The masks that it keeps for its next round, if it came as far as to have them.
    pub kept: Option<Arc<[u8]>>,
    /// The ledger that it stored, if it came as far as to debit its report.
    pub ledger: Option<Ledger>,
}

impl DeviceRun {
    /// Of a device of which nothing is known yet.
    pub(crate) fn new(device: usize) -> Self {
        Self {
            device,
            arrival_ms: 0,
            up: StageBytes::default(),
            down: StageBytes::default(),
            ended: Ended::DroppedOut,
            metrics: Metrics::default(),
            report: (0, 0),
            kept: None,
            ledger: None,
        }
    }

    pub(crate) fn count(&mut self, exchange: Exchange) {
        let (up, down) = (exchange.up as u64, exchange.down as u64);
        match exchange.kind {
            RequestKind::CheckIn => {
                self.up.check_in += up;
                self.down.plan += down;
            }
            RequestKind::Fetch => {
                self.up.checkpoint += up;
                self.down.mask += exchange.mask as u64;
                self.down.checkpoint += down - exchange.mask as u64;
            }
            RequestKind::Upload => {
                self.up.report_payload += exchange.report as u64;
                self.up.report_framing += up - exchange.report as u64;
                self.down.acks += down;
            }
            RequestKind::Abandon => {
                self.up.check_in += up;
                self.down.acks += down;
            }
        }
    }
}

/// Memory of one thread: it is lent to one device after the other.
#[derive(Debug, Default)]
pub struct Worker {
    arena: Vec<u64>,
    saved: Vec<u8>,
    mask: Vec<u8>,
    answer: Vec<u8>,
}

/// `bytes` of `arena` from the start of a cache line on.
fn lend(arena: &mut Vec<u64>, bytes: usize) -> &mut [u8] {
    const LINE: usize = 64;
    arena.resize((bytes + LINE).div_ceil(8), 0);
    let first = arena.as_ptr().align_offset(LINE);
    &mut bytemuck::cast_slice_mut(&mut arena[first..])[..bytes]
}

impl Worker {
    /// Check-in to finished report, with the masks that the device `kept`; new ones are shared in `written`. Where the policy needs
    /// one, the device has a `ledger`, and its clock at the round's opening, ms. The session is
    /// saved before its upload, because whether a report counts is decided in
    /// the order of arrival.
    ///
    /// # Errors
    /// [`ArenaError`] if `arena_bytes` is too little even to check in.
    #[allow(clippy::too_many_arguments, reason = "one device is the meeting of all of them")]
    pub fn train(
        &mut self,
        data: &Federated,
        device: usize,
        round: &Round,
        config: &Config,
        arena_bytes: usize,
        time: &TimeModel,
        seed: u64,
        kept: Option<&[u8]>,
        written: &Written,
        ledger: Option<(Ledger, u64)>,
    ) -> Result<DeviceRun, ArenaError> {
        let number = round.offer.plan.round;
        let Fate { checkin_ms, dies_after } = time.fate(number, device);
        let mut run = DeviceRun::new(device);
        let mut store = Examples::new(data, device).sampled(time.sampled(number, device, data.examples(device)));
        let kept = kept.and_then(|bytes| KeptMask::parse(bytes).ok());
        let mut left = dies_after.map(|part| (part * expected_polls(round, &store, config, kept)) as u64);
        let mut rng = stream(seed, Purpose::Session, u64::from(number), device as u64);
        let memory = lend(&mut self.arena, arena_bytes);
        let mut session = Session::new(memory, config.clone(), &mut rng)?;
        if let Some(kept) = kept {
            session = session.with_mask(kept);
        }
        if let Some((ledger, clock_ms)) = ledger {
            session.use_ledger(ledger, clock_ms);
        }
        let mut now = checkin_ms as u64;
        let mut steps = 0;
        loop {
            if let Some(left) = &mut left {
                if *left == 0 {
                    return Ok(run);
                }
                *left -= 1;
            }
            match session.poll(now, &mut store) {
                Poll::Working { of, .. } => {
                    steps = steps.max(of);
                    if let (None, Some(length)) = (&run.kept, session.kept_mask_len()) {
                        self.mask.resize(length, 0);
                        run.kept = session.keep_mask(&mut self.mask).ok().map(|n| written.share(&self.mask[..n]));
                    }
                }
                Poll::Persist => {
                    run.ledger = session.ledger().cloned();
                    session.persisted();
                }
                Poll::Receive { until_ms } => now = until_ms,
                Poll::Finished(outcome) => {
                    run.ended = Ended::Without(outcome);
                    return Ok(run);
                }
                Poll::Send => {
                    if session.report().is_some() {
                        break;
                    }
                    exchange(&mut session, round, now, &mut self.answer, &mut run);
                }
            }
        }
        run.metrics = *session.metrics();
        let bytes = session.report().unwrap_or_default();
        let report = bytes.len();
        let coded = Report::parse(bytes).map_or(report, |report| report.payload.len());
        run.report = (report as u64, coded as u64);
        self.saved.resize(session.save_bound(), 0);
        let saved = match session.save(&mut self.saved) {
            Ok(length) => self.saved[..length].to_vec(),
            Err(_) => return Ok(run),
        };
        let (_, multiply_adds) = round.offer.graph.multiply_adds();
        let work = multiply_adds as f64 * f64::from(run.metrics.examples) * f64::from(round.offer.plan.training.epochs);
        let (down, up) = (run.down.total(), run.up.total() + report as u64);
        run.arrival_ms = time.arrival_ms(number, device, down, work, up);
        run.ended = Ended::Ready { saved, report };
        Ok(run)
    }

    /// Goes on with the upload of a device that is ready.
    pub fn upload(
        &mut self,
        run: &mut DeviceRun,
        data: &Federated,
        round: &Round,
        config: &Config,
        arena_bytes: usize,
    ) {
        let Ended::Ready { saved, .. } = &run.ended else { return };
        let memory = lend(&mut self.arena, arena_bytes);
        let Ok(mut session) = Session::restore(memory, config.clone(), saved) else {
            unreachable!("a session that was saved a moment ago is restored into the same memory")
        };
        if let Some(ledger) = &run.ledger {
            // It has the report already, so its clock does not matter.
            session.use_ledger(ledger.clone(), 0);
        }
        let mut store = Examples::new(data, run.device);
        let mut now = run.arrival_ms;
        let outcome = loop {
            match session.poll(now, &mut store) {
                Poll::Working { .. } => {}
                Poll::Persist => unreachable!("the report was debited in its training"),
                Poll::Receive { until_ms } => now = until_ms,
                Poll::Finished(outcome) => break outcome,
                Poll::Send => exchange(&mut session, round, now, &mut self.answer, run),
            }
        };
        // Header and growth probe are no part of the delta.
        let (report, coded) = run.report;
        let header = (report - coded).min(run.up.report_payload);
        run.up.report_payload -= header;
        run.up.report_framing += header;
        run.ended = Ended::Reported(outcome);
    }
}

/// Sends what the session has to say and gives it the answer.
fn exchange(session: &mut Session<'_>, round: &Round, now: u64, answer: &mut Vec<u8>, run: &mut DeviceRun) {
    let reply = round.handle(now, session.outgoing(), answer);
    session.sent();
    match reply {
        Answer::Send(bytes, exchange) => {
            run.count(exchange);
            session.receive(bytes);
        }
        Answer::Nothing(exchange) => run.count(exchange),
        Answer::Ignored => {}
    }
}

/// About how often a device is polled from check-in to report.
fn expected_polls(round: &Round, store: &Examples<'_>, config: &Config, kept: Option<KeptMask<'_>>) -> f64 {
    let training = &round.offer.plan.training;
    let examples = store.len().min(training.max_examples);
    let steps = examples.div_ceil(u32::from(training.batch)) * u32::from(training.epochs);
    let pieces = round.offer.checkpoint_for(kept.map(|kept| kept.fingerprint())).len().div_ceil(config.max_frame);
    f64::from(steps) + pieces as f64 + 4.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DeviceRows, InputShape, Parts, TestSet, Windows};
    use siskin::model::kernel::IGNORE;

    fn text() -> Federated {
        let windows = || {
            let mut windows = Windows::new(3, 9);
            windows.push(0, &[1, 2, 3, 4]);
            windows
        };
        Federated::new(Parts {
            name: "small".into(),
            shape: InputShape { channels: 1, height: 3, width: 1 },
            classes: 10,
            split: String::new(),
            scaling: String::new(),
            examples: windows().into(),
            devices: vec![DeviceRows { user: 0, first: 0, train: 2, personal: 0 }],
            test: TestSet::new(windows().into(), Vec::new()),
        })
        .expect("good")
    }

    #[test]
    fn a_store_gives_a_target_for_each_position() {
        let data = text();
        let mut store = Examples::new(&data, 0);
        let (mut x, mut y) = ([0.0; 3], [0; 3]);
        assert_eq!((store.len(), store.read_targets(1, &mut x, &mut y)), (2, Ok(())));
        assert_eq!((x, y), ([3.0, 9.0, 9.0], [4, IGNORE, IGNORE]));
        assert_eq!(store.read(0, &mut x), Err(StoreError::Targets { expected: 1, got: 3 }));
        let short = store.read_targets(0, &mut x, &mut y[..2]);
        assert_eq!(short, Err(StoreError::Targets { expected: 2, got: 3 }));
        assert_eq!(store.read_targets(0, &mut x[..2], &mut y), Err(StoreError::Shape { expected: 2, got: 3 }));
    }

    #[test]
    fn a_store_of_one_label_gives_it_either_way() {
        let options = crate::data::digits::Options { devices: 2, ..Default::default() };
        let data = crate::data::digits::load(&options).expect("good");
        let mut store = Examples::new(&data, 1);
        let (mut x, mut y) = ([0.0; 64], [99]);
        let label = store.read(3, &mut x);
        assert_eq!((store.read_targets(3, &mut x, &mut y), label), (Ok(()), Ok(y[0])));
        let two = store.read_targets(3, &mut x, &mut [0; 2]);
        assert_eq!(two, Err(StoreError::Targets { expected: 2, got: 1 }));
    }
}
