//! A server of made-up answers, for what no server of ours would send: a task with any checkpoint, whatever it says.

use crate::problem::config;
use siskin::checkin::CheckpointError;
use siskin::data::ExampleStore;
use siskin::session::{Abandoned, Outcome, Poll, Session};
use siskin::wire::{Frame, Request, Response, UploadStatus};

/// Largest frame of these sessions.
pub(crate) const FRAME: usize = 1024;

/// What is answered to whom.
pub(crate) struct Answers<'a> {
    /// The plan, as bytes.
    pub(crate) plan: &'a [u8],
    /// Length of the checkpoint that the task announces, and the fingerprint of the masks that it builds upon.
    pub(crate) task: (u32, Option<u32>),
    /// What is sent of it.
    pub(crate) checkpoint: &'a [u8],
    /// In pieces of this many bytes.
    pub(crate) chunk: usize,
    /// The round that pieces are of.
    pub(crate) round: u32,
    /// Before each piece comes one of another form, which is not for this device.
    pub(crate) stale: bool,
}

impl Answers<'_> {
    /// Plays the session to its end; gives its report too, if one was made.
    pub(crate) fn play(&self, session: &mut Session<'_>, store: &mut dyn ExampleStore) -> (Outcome, Option<Vec<u8>>) {
        let mut report = None;
        for now in 0..10_000 {
            let poll = session.poll(now, store);
            report = session.report().map(<[u8]>::to_vec).or(report);
            match poll {
                Poll::Finished(outcome) => return (outcome, report),
                Poll::Working { .. } => {}
                Poll::Persist => unreachable!("there is no ledger"),
                Poll::Receive { .. } => panic!("every request is answered"),
                Poll::Send => self.answer(session),
            }
        }
        panic!("the session hangs")
    }

    fn answer(&self, session: &mut Session<'_>) {
        let request = session.outgoing().to_vec();
        session.sent();
        let Frame::Whole { body, version, .. } = Frame::parse(&request, FRAME) else { panic!("no frame") };
        let (announced, base) = self.task;
        let round = self.round;
        let mut out = vec![0; 4096];
        let n = match Request::decode(body, version).unwrap().0 {
            Request::CheckIn { .. } => {
                let task = Response::Task { task: 7, checkpoint: announced, base, deadline_ms: 1000 };
                task.encode(self.plan, &mut out).unwrap()
            }
            Request::Fetch { offset, base: asked, .. } => {
                assert_eq!(asked, base, "the form that was announced");
                let others = [None, Some(1), base.map(|b| b ^ 1)];
                for other in others.into_iter().filter(|other| self.stale && *other != base) {
                    let n = Response::Piece { round, base: other, offset }.encode(&[0xff; 30], &mut out).unwrap();
                    session.receive(&out[..n]);
                }
                let rest = self.checkpoint.get(offset as usize..).unwrap_or_default();
                let piece = &rest[..rest.len().min(self.chunk)];
                Response::Piece { round, base, offset }.encode(piece, &mut out).unwrap()
            }
            Request::Upload { task, total, .. } => {
                Response::Received { task, upto: total, status: UploadStatus::Accepted }.encode(&[], &mut out).unwrap()
            }
            Request::Abandon { .. } => 0,
        };
        session.receive(&out[..n]);
    }
}

/// The device as these tests have it.
pub(crate) fn device(memory: &mut [u8]) -> Session<'_> {
    Session::new(memory, config(FRAME), &mut crate::problem::rng(1)).unwrap()
}

/// Why a checkpoint was refused.
pub(crate) fn refused(outcome: Outcome) -> CheckpointError {
    match outcome {
        Outcome::Abandoned { cause: Abandoned::Checkpoint(e), .. } => e,
        other => panic!("{other:?}"),
    }
}
