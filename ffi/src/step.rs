//! Drives a session with callbacks, one piece of work a call.

use crate::callbacks::{Examples, Transport, siskin_examples, siskin_transport};
use crate::guard::Out;
use crate::handle::{Inner, siskin_session, with_session};
use crate::outcome::{siskin_action, siskin_next};
use crate::result::siskin_result;
use siskin::session::Poll;

/// Does one piece of work and moves the bytes that go with it: polls, and then writes what is to be sent or reads what has
/// come. `next` then says what to wait for:
///
/// - `SISKIN_ACTION_WORK`: for nothing, step again;
/// - `SISKIN_ACTION_SEND`: until the transport takes more bytes;
/// - `SISKIN_ACTION_RECEIVE`: until there is something to read, at the latest until `next->until_ms`;
/// - `SISKIN_ACTION_PERSIST`: until the app has stored the ledger and called `siskin_session_persisted`;
/// - `SISKIN_ACTION_FINISHED`: the session is over.
///
/// If a callback of the transport fails, the call returns `SISKIN_RESULT_TRANSPORT`, nothing is written to `next` and the
/// session is intact: connect again and step on; a request that was sent in part is sent again from its start.
///
/// `now_ms` is milliseconds of any clock that does not run backwards while the session lives; a restored session may be
/// given another one.
///
/// One thread at a time. The callbacks are called on this thread.
///
/// # Safety
/// `session` is NULL or a live handle; `transport` and `examples` are NULL or filled tables; `next` is NULL or points to a
/// `siskin_next` whose `struct_size` is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_step(
    session: *mut siskin_session,
    now_ms: u64,
    transport: *const siskin_transport,
    examples: *const siskin_examples,
    next: *mut siskin_next,
) -> siskin_result {
    let step = |inner: &mut Inner| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::versioned(next, "next") }?;
        // SAFETY: the caller's promise.
        let transport = unsafe { Transport::new(transport) }?;
        // SAFETY: the caller's promise.
        let mut examples = unsafe { Examples::new(examples) }?;
        let poll = inner.poll(now_ms, &mut examples);
        let mut next = siskin_next::from(poll);
        match poll {
            Poll::Send if inner.send(&transport)? => next.action = siskin_action::Work,
            Poll::Receive { .. } if inner.fetch(&transport)? => {
                (next.action, next.until_ms) = (siskin_action::Work, 0);
            }
            _ => {}
        }
        out.write(next);
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { with_session(session, step) }
}

impl Inner {
    /// Writes as much of the request as the transport takes now; true if it is all sent.
    fn send(&mut self, transport: &Transport) -> Result<bool, crate::result::Failure> {
        let bytes = self.session.outgoing();
        while let Some(rest) = bytes.get(self.written..).filter(|rest| !rest.is_empty()) {
            match transport.write(rest) {
                Ok(0) => return Ok(false),
                Ok(n) => self.written += n,
                Err(failure) => {
                    self.written = 0;
                    return Err(failure);
                }
            }
        }
        self.sent();
        Ok(true)
    }

    /// Reads once; true if something came.
    fn fetch(&mut self, transport: &Transport) -> Result<bool, crate::result::Failure> {
        let mut block = [0; 2048];
        let n = transport.read(&mut block)?;
        self.session.receive(&block[..n]);
        Ok(n > 0)
    }
}
