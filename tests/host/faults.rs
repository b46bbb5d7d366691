//! A line that loses, repeats, damages and swaps bytes, at every byte, on either side: the round ends as without the fault,
//! or the device backs off. Nothing hangs, nothing is counted twice, and what is counted is right.

use crate::device::{Lent, play};
use crate::problem::{Profile, chain, config, dense, profiles, pruned, rng, settings};
use embedded_io::{Read, ReadReady, Write};
use siskin::checkin::LayerSpec;
use siskin::session::{Outcome, Poll, Session};
use siskin::transport::{Fault, Faulty, Loopback, drive};
use siskin::wire::{FRAME_OVERHEAD, Frame, FrameAssembler, MAX_MESSAGE, Response};
use siskin_server::round::{Answer, RequestKind, Round};
use std::cell::Cell;

const FRAME: usize = 1024;
const SEED: u64 = 6;
/// The server forgets half a frame after this long without a byte, ms; less than a device waits before it repeats itself.
const GAP_MS: u64 = 1000;

/// The server's end of a byte stream.
struct Desk<'r> {
    round: &'r Round,
    assembler: FrameAssembler,
    buffer: Vec<u8>,
    heard: u64,
    out: Vec<u8>,
}

impl<'r> Desk<'r> {
    fn new(round: &'r Round) -> Self {
        Self { round, assembler: FrameAssembler::new(), buffer: vec![0; FRAME], heard: 0, out: Vec::new() }
    }

    /// Reads what is there and answers; true if there was anything.
    fn serve<L: Read + ReadReady + Write>(&mut self, now: u64, link: &mut L) -> bool {
        if !link.read_ready().unwrap() {
            if now > self.heard + GAP_MS {
                self.assembler.clear();
            }
            return false;
        }
        self.heard = now;
        let mut bytes = [0; 50];
        let n = link.read(&mut bytes).unwrap();
        let mut at = 0;
        loop {
            let (taken, whole) = self.assembler.push(&mut self.buffer, &bytes[at..n]);
            at += taken;
            if !whole {
                return true;
            }
            let (body, _) = self.assembler.frame(&self.buffer).unwrap();
            let frame = self.buffer[..body.len() + FRAME_OVERHEAD].to_vec();
            self.assembler.advance(&mut self.buffer);
            if let Answer::Send(answer, _) = self.round.handle(now, &frame, &mut self.out) {
                link.write_all(answer).unwrap();
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Trouble {
    fault: Fault,
    first: u64,
    period: u64,
    /// On the way to the device, or to the server.
    down: bool,
}

/// A session over a bad line; the outcome and how many faults struck.
fn over(round: &Round, profile: &Profile, trouble: Trouble) -> (Outcome, u64) {
    let mut lent = Lent::for_plan(&round.offer.plan, FRAME);
    let mut session = Session::new(lent.bytes(), config(FRAME), &mut rng(SEED)).unwrap();
    let (mut up, mut down) = (vec![0; 16 * FRAME], vec![0; 16 * FRAME]);
    let link = Loopback::new(&mut up, &mut down);
    let Trouble { fault, first, period, .. } = trouble;
    // The other side is clean: a fault that never strikes.
    let far = |here: bool| if here { first } else { u64::MAX };
    let mut device = Faulty::new(link.device(), fault, far(trouble.down), period);
    let mut server = Faulty::new(link.server(), fault, far(!trouble.down), period);
    let mut desk = Desk::new(round);
    let (now, mut polls) = (Cell::new(0u64), 0);
    let examples = profile.examples(SEED);
    let idle = || {
        if !desk.serve(now.get(), &mut server) {
            now.set(now.get() + 250);
        }
    };
    let between = |_: &mut Session<'_>| {
        polls += 1;
        polls < 100_000
    };
    let outcome = drive(&mut session, &mut device, &mut examples.store(), || now.get(), idle, between).unwrap();
    (outcome.unwrap_or_else(|| panic!("{trouble:?}: the session hangs")), device.hits() + server.hits())
}

/// What a bad line may do to a round.
struct Expected {
    profile: Profile,
    /// The model after the one report.
    model: Vec<u32>,
    report: usize,
    checkpoint: usize,
}

impl Expected {
    /// A network whose checkpoint and whose report take several frames each.
    fn new(sparsity: f32) -> Self {
        let mut settings = pruned(settings(), sparsity, 0.0);
        settings.min_fraction = 0.0;
        settings.training.epochs = 1;
        settings.quantization.step = 1e-6;
        let architecture = chain([16, 1, 1], &[dense(24), LayerSpec::Relu, dense(4)]);
        let profile = Profile { name: "faults", architecture, settings };
        let mut server = profile.server(FRAME);
        let round = server.open().unwrap();
        let played = play(&round, &config(FRAME), SEED, &mut profile.examples(SEED).store());
        assert_eq!(played.outcome, Outcome::Accepted);
        let checkpoint = round.offer.checkpoint.len();
        assert!(server.close(round, &mut rng(0)).unwrap().stepped);
        let model = server.model().params().iter().map(|v| v.to_bits()).collect();
        Self { profile, model, report: played.report.unwrap().len(), checkpoint }
    }

    /// Runs one case; `hard` if the line may be too bad to get through. True if the report was counted.
    fn check(&self, trouble: Trouble, hard: bool) -> (bool, u64) {
        let mut server = self.profile.server(FRAME);
        let before: Vec<u32> = server.model().params().iter().map(|v| v.to_bits()).collect();
        let round = server.open().unwrap();
        let (outcome, hits) = over(&round, &self.profile, trouble);
        let closed = server.close(round, &mut rng(0)).unwrap();
        let counted = closed.counts.accepted;
        match outcome {
            // Where only the last answer was lost, the repetition says that it had been counted.
            Outcome::Accepted | Outcome::Duplicate => assert_eq!(counted, 1, "{trouble:?}"),
            Outcome::Unreachable { retry_ms } if hard => {
                assert!((720_000..=1_080_000).contains(&retry_ms), "{trouble:?}");
                assert!(counted <= 1, "{trouble:?}");
            }
            other => panic!("{trouble:?}: {other:?}"),
        }
        assert_eq!((closed.counts.refused, closed.counts.late), (0, 0), "{trouble:?}");
        assert!(closed.counts.abandoned.is_empty(), "{trouble:?}");
        let after: Vec<u32> = server.model().params().iter().map(|v| v.to_bits()).collect();
        assert_eq!(after, if counted == 1 { self.model.clone() } else { before }, "{trouble:?}");
        (counted == 1, hits)
    }
}

#[test]
fn one_fault_at_every_byte_never_stops_a_round() {
    let expected = Expected::new(0.0);
    let mut struck = 0;
    for fault in Fault::ALL {
        for down in [false, true] {
            for first in 0..2600 {
                let (counted, hits) = expected.check(Trouble { fault, first, period: 0, down }, false);
                assert!(counted && hits <= 1);
                struck += hits;
            }
        }
    }
    // Each kind, all bytes of a checkpoint and of a report at the least.
    assert!(expected.report > FRAME && expected.checkpoint > 2 * FRAME - 100);
    assert!(struck as usize > 4 * (expected.report + expected.checkpoint), "{struck}");
}

#[test]
fn a_line_that_is_always_bad_ends_in_a_wait_or_in_a_right_sum() {
    let expected = Expected::new(0.3);
    let (mut through, mut given_up) = (0, 0);
    for fault in Fault::ALL {
        for down in [false, true] {
            for period in [1, 2, 13, 60, 130, 333, 700, 1100, 1700, 4000] {
                for first in (0..60).step_by(3) {
                    match expected.check(Trouble { fault, first, period, down }, true).0 {
                        true => through += 1,
                        false => given_up += 1,
                    }
                }
            }
        }
    }
    assert!(through > 100 && given_up > 100, "{through} got through, {given_up} gave up");
}

#[test]
fn a_server_that_says_nothing_is_given_up_after_the_last_retry() {
    let profile = &profiles()[0];
    let mut lent = Lent::new(100_000);
    let settings = config(FRAME);
    let mut session = Session::new(lent.bytes(), settings.clone(), &mut rng(1)).unwrap();
    let (mut up, mut down) = (vec![0; 4096], [0; 64]);
    let link = Loopback::new(&mut up, &mut down);
    let now = Cell::new(0u64);
    let examples = profile.examples(0);
    let outcome = drive(
        &mut session,
        &mut link.device(),
        &mut examples.store(),
        || now.get(),
        || now.set(now.get() + 100),
        |_| true,
    );
    let Ok(Some(Outcome::Unreachable { retry_ms })) = outcome else { panic!("{outcome:?}") };
    assert!((720_000..=1_080_000).contains(&retry_ms));
    let tries = 1 + u64::from(settings.retries);
    assert_eq!(now.get(), tries * u64::from(settings.timeout_ms));
    let mut bytes = vec![0; 4096];
    let n = link.server().read(&mut bytes).unwrap();
    assert_eq!(n as u64 % tries, 0);
    assert!(bytes[..n].chunks(n / tries as usize).all(|c| c == &bytes[..n / tries as usize]), "the same request");
}

/// Plays the upload of a report of many pieces; `answer` says when an answer arrives and may change it. Returns the
/// outcome and how many uploads were sent.
fn upload_with(mut answer: impl FnMut(usize, Response) -> (u64, Response)) -> (Outcome, usize, usize) {
    let mut s = settings();
    s.quantization.step = 1e-6;
    let architecture = chain([16, 1, 1], &[dense(200), LayerSpec::Relu, dense(4)]);
    let profile = Profile { name: "long", architecture, settings: s };
    let round = profile.round(FRAME);
    let examples = profile.examples(1);
    let mut lent = Lent::for_plan(&round.offer.plan, FRAME);
    let mut session = Session::new(lent.bytes(), config(FRAME), &mut rng(1)).unwrap();
    let (mut now, mut uploads, mut length, mut out) = (0, 0, 0usize, Vec::new());
    let mut on_the_way: Vec<(u64, Vec<u8>)> = Vec::new();
    for _ in 0..20_000 {
        match session.poll(now, &mut examples.store()) {
            Poll::Finished(outcome) => {
                return (outcome, uploads, length.div_ceil(FRAME - FRAME_OVERHEAD - MAX_MESSAGE));
            }
            Poll::Working { .. } => {}
            Poll::Persist => unreachable!("there is no ledger"),
            Poll::Send => {
                length = session.report().map_or(0, <[u8]>::len);
                if let Answer::Send(bytes, exchange) = round.handle(now, session.outgoing(), &mut out) {
                    let mut arrival = (now + 300, bytes.to_vec());
                    if exchange.kind == RequestKind::Upload {
                        let Frame::Whole { body, version, .. } = Frame::parse(bytes, FRAME) else { panic!("no frame") };
                        let (delay, response) = answer(uploads, Response::decode(body, version).unwrap().0);
                        let mut frame = vec![0; 200];
                        let n = response.encode(&[], &mut frame).unwrap();
                        arrival = (now + delay, frame[..n].to_vec());
                        uploads += 1;
                    }
                    on_the_way.push(arrival);
                }
                session.sent();
            }
            Poll::Receive { until_ms } => {
                now = on_the_way.iter().map(|(at, _)| *at).fold(until_ms, u64::min);
                on_the_way.retain(|(at, bytes)| {
                    let arrived = *at <= now;
                    if arrived {
                        session.receive(bytes);
                    }
                    !arrived
                });
            }
        }
    }
    panic!("the session hangs")
}

/// A repeated request has two answers. If each made the device send on, every piece of the rest would travel twice (the
/// "sorcerer's apprentice" of TFTP, RFC 1123, section 4.2.3.1).
#[test]
fn a_late_answer_does_not_double_the_rest_of_the_upload() {
    let (outcome, uploads, pieces) = upload_with(|_, response| (300, response));
    assert_eq!((outcome, uploads), (Outcome::Accepted, pieces));
    assert!(pieces > 5);
    for late in 0..3 {
        for delay in [5_001, 5_299, 5_600, 6_000, 6_450] {
            let (outcome, uploads, pieces) = upload_with(|n, response| (if n == late { delay } else { 300 }, response));
            assert_eq!(outcome, Outcome::Accepted);
            assert!(uploads <= pieces + 2, "answer {late} late by {delay}: {uploads} uploads of {pieces} pieces");
        }
    }
}

/// A server that forgets is believed a few times; one that always forgets does not keep the radio on for ever.
#[test]
fn a_server_that_forgets_for_ever_is_given_up() {
    let forget = |response, wrong: bool| match response {
        Response::Received { task, .. } if wrong => {
            Response::Received { task, upto: 0, status: siskin::wire::UploadStatus::Partial }
        }
        other => other,
    };
    let (outcome, uploads, pieces) = upload_with(|n, r| (300, forget(r, n == 2)));
    assert!(matches!(outcome, Outcome::Accepted | Outcome::Duplicate), "{outcome:?}");
    assert!(uploads <= pieces + 3, "{uploads}");
    let (outcome, uploads, pieces) = upload_with(|n, r| (300, forget(r, n % 3 == 2)));
    assert!(matches!(outcome, Outcome::Unreachable { .. } | Outcome::Accepted | Outcome::Duplicate), "{outcome:?}");
    assert!(uploads <= 3 * pieces, "{uploads}");
    // Nothing but forgetting, one step forward and two back.
    let lie = |n: usize, r| match r {
        Response::Received { task, .. } => {
            let upto = if n.is_multiple_of(2) { 100 } else { 50 };
            Response::Received { task, upto, status: siskin::wire::UploadStatus::Partial }
        }
        other => other,
    };
    let (outcome, uploads, _) = upload_with(|n, r| (300, lie(n, r)));
    assert!(matches!(outcome, Outcome::Unreachable { .. }), "{outcome:?}");
    assert!(uploads < 40, "{uploads}");
}
