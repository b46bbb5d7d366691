//! Single requests to a round, by hand: what a device would never send, or not in this order.

use crate::problem::POPULATION;
use siskin::wire::{
    Capabilities, FRAME_OVERHEAD, Frame, MAX_MESSAGE, PROTOCOL_VERSION, Request, Response, UploadStatus,
};
use siskin_server::round::{Answer, Round};

/// Sends one request as its frame; the response, if there is one.
pub(crate) fn ask(round: &Round, now: u64, request: &Request<'_>, payload: &[u8]) -> Option<Response> {
    let mut frame = vec![0; payload.len() + FRAME_OVERHEAD + MAX_MESSAGE];
    let n = request.encode(payload, &mut frame).unwrap();
    let mut out = Vec::new();
    match round.handle(now, &frame[..n], &mut out) {
        Answer::Send(bytes, _) => {
            let Frame::Whole { body, version, .. } = Frame::parse(bytes, usize::MAX) else { panic!("no frame") };
            Some(Response::decode(body, version).unwrap().0)
        }
        _ => None,
    }
}

/// Checks a made-up session in; its task.
pub(crate) fn check_in(round: &Round, session: u64) -> u64 {
    let (protocol, capabilities) = (PROTOCOL_VERSION, Capabilities::ALL);
    let request =
        Request::CheckIn { protocol, capabilities, population: POPULATION, session, max_frame: 4096, mask: None };
    match ask(round, 1, &request, &[]) {
        Some(Response::Task { task, .. }) => task,
        other => panic!("{other:?}"),
    }
}

/// Uploads a whole report at once.
pub(crate) fn upload(round: &Round, now: u64, task: u64, report: &[u8]) -> UploadStatus {
    let request = Request::Upload { task, total: report.len() as u32, offset: 0 };
    match ask(round, now, &request, report) {
        Some(Response::Received { task: t, status, .. }) if t == task => status,
        other => panic!("{other:?}"),
    }
}
