//! The server's side, as a script.

use siskin::session::MIN_FRAME;
use siskin::wire::{Frame, Request, Response, UploadStatus};

use super::TASK;

/// What it has heard.
#[derive(Default)]
pub(super) struct Server {
    pub(super) uploaded: usize,
    uploads: u32,
    /// Pieces of the checkpoint.
    pub(super) fetched: u32,
    pub(super) abandoned: Option<u8>,
}

impl Server {
    /// Writes the answer to one request into `frame`; returns its length, 0 if none is due.
    pub(super) fn answer(
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
