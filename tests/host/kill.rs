//! A device that is killed at any moment goes on from what it saved, in other memory: same report to the byte, counted once.

use crate::device::{Lent, play};
use crate::moved::Moved;
use crate::problem::{Examples, Profile, config, profiles, rng};
use siskin::checkin::KeptMask;
use siskin::privacy::{Ledger, population_id};
use siskin::session::{Config, Outcome, Poll, SaveError, Session};
use siskin::wire::checksum;
use siskin_server::round::{Answer, Round};

/// What lies outside the device's memory, and what the deaths leave.
pub(crate) struct World<'r> {
    round: &'r Round,
    examples: &'r Examples,
    /// The masks of an earlier round, which the host gives to every life.
    kept: Option<KeptMask<'r>>,
    pub(crate) config: Config,
    /// The ledger as the host stored it, which every life is given.
    pub(crate) ledger: Option<Ledger>,
    /// Bytes on their way to the device; lost with it.
    pending: Vec<u8>,
    /// If set, a poll and the exchange that it asks for are one moment; else there is one after the poll, one when the
    /// request has arrived, one in the middle of the answer and one at its end.
    coarse: bool,
    pub(crate) now: u64,
    pub(crate) moment: usize,
    pub(crate) report: Option<Vec<u8>>,
    /// What the host saved, moment by moment.
    pub(crate) saves: Vec<Vec<u8>>,
    out: Vec<u8>,
}

enum Life {
    Ended(Outcome),
    Killed(Vec<u8>),
}

impl<'r> World<'r> {
    pub(crate) fn new(round: &'r Round, examples: &'r Examples) -> Self {
        let (pending, saves, out) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            round,
            examples,
            kept: None,
            config: config(FRAME),
            ledger: None,
            pending,
            coarse: false,
            now: 1,
            moment: 0,
            report: None,
            saves,
            out,
        }
    }

    /// With a ledger, no byte of a report may be on its way that the stored ledger does not know.
    fn check_debited(&self, session: &Session<'_>) {
        if let (Some(ledger), Some(report)) = (&self.ledger, session.report()) {
            let record = ledger.of(population_id(&self.config.population)).expect("a report leaves uncounted");
            assert_eq!((record.report, record.round), (checksum(report), self.round.offer.plan.round));
        }
    }

    /// Saves, and says whether this is a moment to die. A session that is over cannot die any more.
    fn dies(&mut self, session: &Session<'_>, kill: &dyn Fn(usize) -> bool) -> Option<Life> {
        self.moment += 1;
        let mut saved = vec![0; session.save_bound()];
        match session.save(&mut saved) {
            Ok(n) => saved.truncate(n),
            Err(e) => {
                assert_eq!(e, SaveError::Finished);
                return None;
            }
        }
        self.saves.push(saved.clone());
        kill(self.moment).then(|| {
            self.pending.clear();
            Life::Killed(saved)
        })
    }

    fn live(&mut self, session: &mut Session<'_>, kill: &dyn Fn(usize) -> bool) -> Life {
        let round = self.round;
        loop {
            assert!(self.moment < 20_000, "the session hangs");
            let poll = session.poll(self.now, &mut self.examples.store());
            if let Some(report) = session.report() {
                let first = self.report.get_or_insert_with(|| report.to_vec());
                assert_eq!(first, report, "the report changed");
            }
            if !self.coarse
                && let Some(dead) = self.dies(session, kill)
            {
                return dead;
            }
            match poll {
                Poll::Finished(outcome) => return Life::Ended(outcome),
                Poll::Working { .. } => {}
                Poll::Persist => {
                    // A moment before the poll's answer is heeded was above; one after it is stored, one when that is said.
                    self.ledger = session.ledger().cloned();
                    if let Some(dead) = self.dies(session, kill) {
                        return dead;
                    }
                    session.persisted();
                    if let Some(dead) = self.dies(session, kill) {
                        return dead;
                    }
                }
                Poll::Send => {
                    self.check_debited(session);
                    if let Answer::Send(bytes, _) = round.handle(self.now, session.outgoing(), &mut self.out) {
                        self.pending.extend_from_slice(bytes);
                    }
                    if !self.coarse
                        && let Some(dead) = self.dies(session, kill)
                    {
                        return dead;
                    }
                    session.sent();
                    let half = self.pending.len().div_ceil(2);
                    for n in [half, self.pending.len() - half] {
                        session.receive(&self.pending[..n]);
                        self.pending.drain(..n);
                        if !self.coarse
                            && let Some(dead) = self.dies(session, kill)
                        {
                            return dead;
                        }
                    }
                }
                Poll::Receive { until_ms } => self.now = until_ms,
            }
            if self.coarse
                && let Some(dead) = self.dies(session, kill)
            {
                return dead;
            }
        }
    }
}

pub(crate) const FRAME: usize = 1024;
pub(crate) const SEED: u64 = 4;

/// Plays a device that dies whenever `kill` says so. Each life has other memory, full of rubbish.
pub(crate) fn play_killed(
    world: &mut World<'_>,
    saved: Option<Vec<u8>>,
    kill: &dyn Fn(usize) -> bool,
) -> (Outcome, usize) {
    let (mut saved, mut deaths) = (saved, 0);
    loop {
        let mut lent = Lent::for_plan(&world.round.offer.plan, FRAME);
        let mut session = match &saved {
            None => Session::new(lent.bytes(), world.config.clone(), &mut rng(SEED)).unwrap(),
            Some(bytes) => match world.kept {
                None => Session::restore(lent.bytes(), world.config.clone(), bytes).unwrap(),
                Some(kept) => Session::restore_with_mask(lent.bytes(), world.config.clone(), bytes, kept).unwrap(),
            },
        };
        if let (None, Some(kept)) = (&saved, world.kept) {
            session = session.with_mask(kept);
        }
        if let Some(ledger) = &world.ledger {
            session.use_ledger(ledger.clone(), 1_000_000 + world.now);
        }
        match world.live(&mut session, kill) {
            Life::Ended(outcome) => return (outcome, deaths),
            Life::Killed(bytes) => {
                saved = Some(bytes);
                deaths += 1;
            }
        }
    }
}

/// Counts of a round: one report, and nothing else that is not a repetition of it.
fn counted_once(profile: &Profile, round: Round, what: &str) {
    let counts = profile.server(FRAME).close(round, &mut rng(0)).unwrap().counts;
    assert_eq!((counts.accepted, counts.late, counts.refused), (1, 0, 0), "{} {what}", profile.name);
    assert!(counts.abandoned.is_empty());
}

fn uninterrupted(profile: &Profile, examples: &Examples) -> Vec<u8> {
    let played = play(&profile.round(FRAME), &config(FRAME), SEED, &mut examples.store());
    assert_eq!(played.outcome, Outcome::Accepted);
    played.report.unwrap()
}

#[test]
fn killed_at_every_nth_moment() {
    for profile in profiles() {
        let examples = profile.examples(SEED);
        let want = uninterrupted(&profile, &examples);
        // Four moments make a whole exchange: a device that dies sooner gets nothing through.
        let coarse = [1, 2, 3, 4, 5, 7].map(|n| (n, true));
        for (n, coarse) in coarse.into_iter().chain([5, 6, 7, 11].map(|n| (n, false))) {
            let round = profile.round(FRAME);
            let mut world = World::new(&round, &examples);
            world.coarse = coarse;
            let (outcome, deaths) = play_killed(&mut world, None, &|moment| moment % n == 0);
            assert!(matches!(outcome, Outcome::Accepted | Outcome::Duplicate), "{} {n}: {outcome:?}", profile.name);
            assert_eq!(world.report.as_ref(), Some(&want), "{} every {n}th, coarse {coarse}", profile.name);
            assert!(deaths >= 1, "{} every {n}th: {deaths} deaths of {}", profile.name, world.moment);
            drop(world);
            counted_once(&profile, round, "killed often");
        }
    }
}

#[test]
fn killed_once_at_every_moment() {
    for profile in profiles() {
        let examples = profile.examples(SEED);
        let want = uninterrupted(&profile, &examples);
        let round = profile.round(FRAME);
        let mut world = World::new(&round, &examples);
        play_killed(&mut world, None, &|_| false);
        let (moments, saves) = (world.moment, world.saves.len());
        assert!(saves > 15, "{saves}");
        for at in 1..=moments {
            let round = profile.round(FRAME);
            let mut world = World::new(&round, &examples);
            let (outcome, deaths) = play_killed(&mut world, None, &|moment| moment == at);
            assert!(matches!(outcome, Outcome::Accepted | Outcome::Duplicate), "{} {at}: {outcome:?}", profile.name);
            assert_eq!(world.report.as_ref(), Some(&want), "{} killed at {at}", profile.name);
            assert_eq!(deaths, usize::from(at <= saves), "{} at {at} of {moments}", profile.name);
            drop(world);
            counted_once(&profile, round, "killed once");
        }
    }
}

/// As often, while what changed in kept masks is downloaded; without those masks, or with others, that does not go on.
#[test]
fn killed_at_every_moment_while_changes_come() {
    for moved in [Moved::new, Moved::coded] {
        killed_while_changes_come(moved);
    }
}

fn killed_while_changes_come(made: fn(usize) -> Moved) {
    let moved = made(FRAME);
    let (round, kept, examples) = (&moved.round, KeptMask::parse(&moved.kept).unwrap(), moved.profile.examples(SEED));
    // Whole masks, in a round that is the same.
    let want = play(&made(FRAME).round, &config(FRAME), SEED, &mut examples.store()).report;
    let mut world = World::new(round, &examples);
    world.kept = Some(kept);
    play_killed(&mut world, None, &|_| false);
    assert!(want.is_some() && world.report == want);
    let (moments, saves) = (world.moment, world.saves);
    for at in 1..=moments {
        let Moved { round, mut server, .. } = made(FRAME);
        let mut world = World::new(&round, &examples);
        world.kept = Some(kept);
        let (outcome, deaths) = play_killed(&mut world, None, &|moment| moment == at);
        assert!(matches!(outcome, Outcome::Accepted | Outcome::Duplicate), "killed at {at}: {outcome:?}");
        assert_eq!((deaths, &world.report), (usize::from(at <= saves.len()), &want), "killed at {at}");
        drop(world);
        let counts = server.close(round, &mut rng(0)).unwrap().counts;
        assert_eq!((counts.accepted, counts.late, counts.refused), (1, 0, 0), "killed at {at}");
    }
    let mut other = moved.kept.clone();
    other[12] ^= 1;
    let sum = checksum(&other[12..]);
    other[8..12].copy_from_slice(&sum.to_le_bytes());
    let other = KeptMask::parse(&other).unwrap();
    let mut refused = 0;
    for saved in &saves {
        let mut lent = Lent::for_plan(&round.offer.plan, FRAME);
        let expected = kept.fingerprint();
        if let Err(e) = Session::restore(lent.bytes(), config(FRAME), saved) {
            assert_eq!(e, SaveError::Mask { expected, got: None });
            let e = Session::restore_with_mask(lent.bytes(), config(FRAME), saved, other).unwrap_err();
            assert_eq!(e, SaveError::Mask { expected, got: Some(other.fingerprint()) });
            refused += 1;
        }
    }
    // Check-in, training and upload go on without.
    assert!(refused >= 5 && refused + 10 <= saves.len(), "{refused} of {}", saves.len());
}

/// The host saved, the session went on to its end, and then the host dies and knows only the old bytes.
#[test]
fn an_old_save_makes_the_same_report_again_and_it_counts_once() {
    for profile in profiles() {
        let examples = profile.examples(SEED);
        let round = profile.round(FRAME);
        let mut world = World::new(&round, &examples);
        assert_eq!(play_killed(&mut world, None, &|_| false).0, Outcome::Accepted);
        let saves = std::mem::take(&mut world.saves);
        for saved in &saves {
            let (outcome, _) = play_killed(&mut world, Some(saved.clone()), &|_| false);
            assert_eq!(outcome, Outcome::Duplicate, "{}", profile.name);
        }
        drop(world);
        let counts = profile.server(FRAME).close(round, &mut rng(0)).unwrap().counts;
        assert_eq!((counts.accepted, counts.duplicate as usize), (1, saves.len()), "{}", profile.name);
    }
}

#[test]
fn what_is_saved_is_bounded_and_a_short_buffer_is_refused() {
    let profile = &profiles()[0];
    let examples = profile.examples(SEED);
    let round = profile.round(FRAME);
    let mut world = World::new(&round, &examples);
    play_killed(&mut world, None, &|_| false);
    for saved in &world.saves {
        let mut lent = Lent::for_plan(&round.offer.plan, FRAME);
        let session = Session::restore(lent.bytes(), config(FRAME), saved).unwrap();
        let required = session.save_bound();
        let mut again = vec![0; required];
        let n = session.save(&mut again).unwrap();
        assert_eq!(&again[..n], saved, "what was restored is saved again to the byte");
        for short in [0, 4, 5, 40, n / 2, n - 1] {
            let e = session.save(&mut vec![0; short]).unwrap_err();
            assert_eq!(e, SaveError::Capacity { required, got: short });
        }
    }
}

/// No network for longer than the retries last: the session ends, but what it saves then goes on when there is one again.
#[test]
fn a_session_that_found_nobody_is_not_lost() {
    let profile = &profiles()[0];
    let round = profile.round(1024);
    let examples = profile.examples(0);
    // 0: no network from the start; 2: once the checkpoint is there and the report is made.
    for answered in [0usize, 1, 2, 3] {
        let mut lent = Lent::for_plan(&round.offer.plan, 1024);
        let mut session = Session::new(lent.bytes(), config(1024), &mut rng(7)).unwrap();
        let (mut now, mut answers, mut out) = (0, 0, Vec::new());
        let first = loop {
            match session.poll(now, &mut examples.store()) {
                Poll::Finished(outcome) => break outcome,
                Poll::Working { .. } => {}
                Poll::Persist => unreachable!("there is no ledger"),
                Poll::Receive { until_ms } => now = until_ms,
                Poll::Send => {
                    let reply = round.handle(now, session.outgoing(), &mut out);
                    session.sent();
                    if let (Answer::Send(bytes, _), true) = (reply, answers < answered) {
                        answers += 1;
                        session.receive(bytes);
                    }
                }
            }
        };
        if answers < answered {
            assert!(matches!(first, Outcome::Accepted | Outcome::Duplicate), "{first:?}");
            continue;
        }
        if !matches!(first, Outcome::Unreachable { .. }) {
            continue;
        }
        let mut saved = vec![0; session.save_bound()];
        let n = session.save(&mut saved).unwrap();
        let mut other = Lent::for_plan(&round.offer.plan, 1024);
        let mut session = Session::restore(other.bytes(), config(1024), &saved[..n]).unwrap();
        let last = loop {
            match session.poll(now, &mut examples.store()) {
                Poll::Finished(outcome) => break outcome,
                Poll::Working { .. } => {}
                Poll::Persist => unreachable!("there is no ledger"),
                Poll::Receive { until_ms } => now = until_ms,
                Poll::Send => {
                    let reply = round.handle(now, session.outgoing(), &mut out);
                    session.sent();
                    if let Answer::Send(bytes, _) = reply {
                        session.receive(bytes);
                    }
                }
            }
        };
        assert!(matches!(last, Outcome::Accepted | Outcome::Duplicate), "after {answered} answers: {last:?}");
    }
}
