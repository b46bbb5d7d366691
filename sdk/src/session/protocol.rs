//! The session's side of the protocol: one request at a time, repeated until it is answered.

use super::derive::plan_key;
use super::{Outcome, Poll, Purpose, Session, Stage, Task, TaskNames, Waiting};
use crate::arena::{MemoryPlan, Region};
use crate::checkin::{Plan, PlanError, RetryWindow};
use crate::session::Abandoned;
use crate::wire::{Capabilities, Frame, PROTOCOL_VERSION, Request, Response, UploadStatus, WireError};
use rand_core::Rng;

impl Session<'_> {
    fn frame_in(&self) -> Region {
        Region::new(0, self.config.max_frame)
    }

    pub(super) fn frame_out(&self) -> Region {
        Region::new(MemoryPlan::before_plan(self.config.max_frame) / 2, self.config.max_frame)
    }

    /// Makes the request of the current stage, or waits for its answer.
    pub(super) fn request(&mut self, now: u64) -> Poll {
        let tries = match self.waiting {
            Some(waiting) if now < waiting.until => return Poll::Receive { until_ms: waiting.until },
            Some(waiting) if waiting.tries >= self.config.retries => {
                return self.unreachable();
            }
            Some(waiting) => {
                // Half a frame of a lost answer must not swallow the next one.
                self.assembler.clear();
                waiting.tries + 1
            }
            None => 0,
        };
        match self.encode_request() {
            Ok(length) => self.outgoing = length,
            // Every message fits MIN_FRAME.
            Err(_) => return self.give_up(Abandoned::Internal),
        }
        self.waiting = Some(Waiting { until: now + u64::from(self.config.timeout_ms), tries });
        Poll::Send
    }

    fn encode_request(&mut self) -> Result<usize, WireError> {
        let frame_out = self.frame_out();
        let chunk = self.chunk();
        match (self.stage, &self.task) {
            (Stage::Download(reader), Some(task)) => {
                let out = self.arena.bytes_mut(frame_out);
                let max_frame = self.config.max_frame as u32;
                let (base, offset) = (task.names.base, reader.offset());
                Request::Fetch { task: task.names.id, base, offset, max_frame }.encode(&[], out)
            }
            (Stage::Upload { total, received }, Some(task)) => {
                let n = chunk.min((total - received) as usize);
                let piece = task.memory.report.part(received as usize, n);
                let [out, piece] = self.arena.split([frame_out, piece]);
                Request::Upload { task: task.names.id, total, offset: received }.encode(piece, out)
            }
            _ => {
                let request = Request::CheckIn {
                    protocol: PROTOCOL_VERSION,
                    capabilities: Capabilities::ALL,
                    population: &self.config.population,
                    session: self.id,
                    max_frame: self.config.max_frame as u32,
                    mask: self.kept.map(|kept| kept.fingerprint()),
                };
                request.encode(&[], self.arena.bytes_mut(frame_out))
            }
        }
    }

    pub(super) fn say_abandon(&mut self, cause: Abandoned) {
        let frame_out = self.frame_out();
        let task = self.task.as_ref().map_or(self.refused, |t| t.names.id);
        let request = Request::Abandon { task, cause: cause.code() };
        self.outgoing = request.encode(&[], self.arena.bytes_mut(frame_out)).unwrap_or(0);
    }

    /// Takes bytes from the transport, in pieces of any length, and returns how many were used: all of them, unless the
    /// session ended on the way. Damaged and stale frames are skipped.
    pub fn receive(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while !matches!(self.stage, Stage::Done(_) | Stage::Abandon(_)) {
            // A whole frame is read where it is; only what arrives in pieces is copied.
            if self.assembler.is_empty()
                && let Frame::Whole { body, version, length } = Frame::parse(&bytes[at..], self.config.max_frame)
            {
                self.handle(body, version);
                at += length;
                continue;
            }
            let frame_in = self.frame_in();
            let (taken, whole) = self.assembler.push(self.arena.bytes_mut(frame_in), &bytes[at..]);
            at += taken;
            if !whole {
                break;
            }
            self.handle_assembled();
            self.assembler.advance(self.arena.bytes_mut(frame_in));
        }
        at
    }

    // Apart, so that the plan is off the stack again when the session goes on.
    #[inline(never)]
    fn handle_assembled(&mut self) {
        let frame_in = self.frame_in();
        let Some((body, version)) = self.assembler.frame(self.arena.bytes(frame_in)) else { return };
        match Response::decode(body, version) {
            Ok((Response::Piece { round, base, offset }, payload)) => {
                // The payload lies in the arena that it is copied into: go through its place, not a borrow.
                let length = payload.len();
                let start = body.len() - length + crate::wire::FRAME_OVERHEAD;
                self.piece_from_arena((round, base, offset), start, length);
            }
            Ok((Response::Task { task: id, checkpoint, base, .. }, payload)) => {
                if self.stage == Stage::CheckIn {
                    let names = self.names(id, checkpoint, base, payload);
                    let read = Task::put(&mut self.task, names).plan.read(payload);
                    self.task(id, read);
                }
            }
            Ok((response, _)) => self.answer(response),
            Err(_) => {}
        }
    }

    #[inline(never)]
    fn handle(&mut self, body: &[u8], version: u16) {
        match Response::decode(body, version) {
            Ok((Response::Piece { round, base, offset }, payload)) => self.piece((round, base, offset), payload),
            Ok((Response::Task { task: id, checkpoint, base, .. }, payload)) => {
                if self.stage == Stage::CheckIn {
                    let names = self.names(id, checkpoint, base, payload);
                    let read = Task::put(&mut self.task, names).plan.read(payload);
                    self.task(id, read);
                }
            }
            Ok((response, _)) => self.answer(response),
            Err(_) => {}
        }
    }

    fn names(&self, id: u64, checkpoint: u32, base: Option<u32>, plan: &[u8]) -> TaskNames {
        let (fingerprint, key) = (Plan::fingerprint(plan), plan_key(self.seed, id, plan));
        TaskNames { id, checkpoint, base, fingerprint, key }
    }

    fn task(&mut self, id: u64, read: Result<(), PlanError>) {
        self.waiting = None;
        if let Err(cause) = read.map_err(Abandoned::Plan).and_then(|()| self.accept()) {
            self.task = None;
            self.refused = id;
            self.give_up(cause);
        }
    }

    /// Accepts the task whose plan was read, or says why not.
    fn accept(&mut self) -> Result<(), Abandoned> {
        let Some(Task { plan, names, .. }) = &self.task else { return Err(Abandoned::Internal) };
        if plan.population != self.config.population {
            return Err(Abandoned::Population);
        }
        let checkpoint = names.checkpoint;
        self.config.policy.check(plan).map_err(Abandoned::Policy)?;
        self.config.policy.check_download(checkpoint).map_err(Abandoned::Policy)?;
        self.check_limits(plan).map_err(Abandoned::Policy)?;
        let Some(task) = &mut self.task else { return Err(Abandoned::Internal) };
        task.lay_out(self.config.max_frame).map_err(Abandoned::Plan)?;
        self.arena.check(task.memory.total).map_err(Abandoned::Memory)?;
        task.download(self.kept).and_then(|from| from.check_length()).map_err(Abandoned::Checkpoint)?;
        crate::event!(
            debug,
            "round {}: {} bytes of arena, {} to download",
            task.plan.round,
            task.memory.total,
            checkpoint
        );
        self.stage = Stage::Download(Default::default());
        Ok(())
    }

    /// Takes a piece: its round, the form of its checkpoint, its place.
    fn piece(&mut self, (round, base, offset): (u32, Option<u32>, u32), payload: &[u8]) {
        let (Stage::Download(mut reader), Some(t)) = (self.stage, &self.task) else { return };
        let ours = round == t.plan.round && base == t.names.base;
        if !ours || offset != reader.offset() || payload.is_empty() {
            return;
        }
        self.waiting = None;
        match t.download(self.kept).and_then(|from| reader.push(payload, &from, &mut self.arena)) {
            Ok(()) => self.stage = Stage::Download(reader),
            Err(e) => {
                self.give_up(Abandoned::Checkpoint(e));
            }
        }
    }

    /// As [`piece`](Self::piece), for a payload in `frame_in`: moved in blocks over the stack.
    fn piece_from_arena(&mut self, (round, base, offset): (u32, Option<u32>, u32), start: usize, length: usize) {
        let mut block = [0; 128];
        let mut done = 0;
        while done < length {
            let n = block.len().min(length - done);
            let from = Region::new(start + done, n);
            block[..n].copy_from_slice(self.arena.bytes(from));
            // An offset near the end of the numbers is no place in any checkpoint.
            let Some(at) = offset.checked_add(done as u32) else { return };
            self.piece((round, base, at), &block[..n]);
            done += n;
        }
    }

    fn answer(&mut self, response: Response) {
        match response {
            Response::Rejected(rejection) if self.stage == Stage::CheckIn => {
                let retry_ms = self.pick(rejection.retry);
                self.finish(Outcome::Rejected { reason: rejection.reason, retry_ms });
            }
            Response::Gone { task, retry } if self.task.as_ref().is_some_and(|t| t.names.id == task) => {
                let retry_ms = self.pick(retry);
                self.finish(Outcome::Unreachable { retry_ms });
            }
            Response::Received { task, upto, status } => self.received(task, upto, status),
            _ => {}
        }
    }

    fn received(&mut self, task: u64, upto: u32, status: UploadStatus) {
        let (Stage::Upload { total, received }, Some(t)) = (self.stage, &self.task) else { return };
        if task != t.names.id || upto > total {
            return;
        }
        let outcome = match status {
            UploadStatus::Partial => {
                self.partial(total, received, upto);
                return;
            }
            UploadStatus::Accepted => Outcome::Accepted,
            UploadStatus::Duplicate => Outcome::Duplicate,
            UploadStatus::Late => Outcome::Late,
            UploadStatus::Refused => Outcome::Refused,
        };
        self.finish(outcome);
    }

    fn partial(&mut self, total: u32, received: u32, upto: u32) {
        // An answer that brings nothing new is the second one to a request that was repeated. Sending on because of it
        // would repeat every later piece too (the "sorcerer's apprentice" of RFC 1123, section 4.2.3.1).
        if upto == total || upto == received {
            return;
        }
        if upto < received {
            // The server may have lost what it had: it decides where to go on, but not for ever.
            self.setbacks = self.setbacks.saturating_add(1);
            if self.setbacks > self.config.retries {
                self.unreachable();
                return;
            }
        }
        self.waiting = None;
        self.stage = Stage::Upload { total, received: upto };
    }

    pub(super) fn finish(&mut self, outcome: Outcome) -> Poll {
        let outcome = match outcome {
            Outcome::Abandoned { cause, .. } => {
                Outcome::Abandoned { cause, retry_ms: self.pick(RetryWindow::PERMANENT) }
            }
            other => other,
        };
        self.waiting = None;
        self.stage = Stage::Done(outcome);
        Poll::Finished(outcome)
    }

    /// Nobody answers: the session ends for now, and a save of it goes on where it stood.
    fn unreachable(&mut self) -> Poll {
        self.parked = Some(self.stage);
        let retry_ms = self.pick(RetryWindow::TRANSIENT);
        self.finish(Outcome::Unreachable { retry_ms })
    }

    fn pick(&self, window: RetryWindow) -> u32 {
        window.pick(self.stream(Purpose::Retry).next_u32())
    }
}
