//! Runs a session over a blocking byte stream.

use crate::data::ExampleStore;
use crate::session::{Outcome, Poll, Session};
use embedded_io::{Read, ReadReady, Write};

/// The transport failed; the session is intact and can be driven over another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriveError<E> {
    /// The transport's own error.
    Transport(E),
    /// It took no bytes.
    Closed,
    /// The ledger was not stored, so nothing of the report may leave.
    Ledger,
}

/// Polls `session` until it ends, moving its bytes over `link`.
///
/// `clock` gives milliseconds and never runs backwards; `idle` is called when there is nothing to read yet (sleep, yield,
/// or run the other side); `between` after every poll (save there, or answer "stop" with `false`). A session with a ledger
/// has `between` store it and call [`persisted`](Session::persisted) when [`must_persist`](Session::must_persist) says so.
///
/// # Errors
/// [`DriveError`] if the transport fails, or if the ledger had to be stored and `between` did not. `Ok(None)` if `between` said stop.
pub fn drive<L: Read + ReadReady + Write>(
    session: &mut Session<'_>,
    link: &mut L,
    store: &mut dyn ExampleStore,
    mut clock: impl FnMut() -> u64,
    mut idle: impl FnMut(),
    mut between: impl FnMut(&mut Session<'_>) -> bool,
) -> Result<Option<Outcome>, DriveError<L::Error>> {
    let mut block = [0; 64];
    loop {
        match session.poll(clock(), store) {
            Poll::Finished(outcome) => return Ok(Some(outcome)),
            Poll::Working { .. } | Poll::Persist => {}
            Poll::Send => {
                let mut at = 0;
                while at < session.outgoing().len() {
                    match link.write(&session.outgoing()[at..]).map_err(DriveError::Transport)? {
                        0 => return Err(DriveError::Closed),
                        n => at += n,
                    }
                }
                link.flush().map_err(DriveError::Transport)?;
                session.sent();
            }
            Poll::Receive { .. } => {
                if link.read_ready().map_err(DriveError::Transport)? {
                    let n = link.read(&mut block).map_err(DriveError::Transport)?;
                    session.receive(&block[..n]);
                } else {
                    idle();
                }
            }
        }
        if !between(session) {
            return Ok(None);
        }
        if session.must_persist() {
            return Err(DriveError::Ledger);
        }
    }
}
