//! What a device of one round is made of: a session, its memory, a line to a server and examples.
//!
//! The plan comes over the line, so the programs differ only in their memory and in the features that the sdk is built with.
//! Line and examples are files of the host (semihosting): `NAME.down` holds the server's answers in order, each after its
//! length (`u32`), `NAME.up` receives every byte that the device sends, `NAME.examples` holds the examples. `NAME` is the emulator's argument.
#![no_std]

mod board;
#[cfg(feature = "counts")]
pub mod counts;
pub mod files;
mod memory;
pub mod text;

pub use board::Target;
pub use memory::{Ram, Stack};

#[cfg(feature = "defmt")]
use defmt_semihosting as _;
use files::{Examples, Line};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use siskin::checkin::{PlanError, Policy};
use siskin::session::{Abandoned, Config, MIN_FRAME, Outcome, Poll, Session};
use text::{Line as Print, leave};

/// Of the session's generator; the host's recording has the same. (A product takes it from its hardware.)
const SEED: [u8; 32] = [3; 32];

/// Runs the round and leaves the emulator: with 0 if the server's bytes led to an accepted report and the memory was used as
/// the plan of bytes says, to the byte.
pub fn run(target: &Target, memory: &'static mut [u8]) -> ! {
    target.say();
    target.stack.mark();
    let used = round(memory);
    let stack = target.stack.used();
    Print::new().text("session: ").number(size_of::<Session>()).text(" bytes").end();
    Print::new().text("stack: ").number(stack).text(" of ").number(target.stack.size()).text(" bytes").end();
    match used {
        Ok(()) if stack < target.stack.size() => leave(0),
        Ok(()) => fail("the stack is full"),
        Err(why) => fail(why),
    }
}

fn fail(why: &str) -> ! {
    Print::new().text("FAILED: ").text(why).end();
    leave(1)
}

#[inline(never)]
fn round(memory: &'static mut [u8]) -> Result<(), &'static str> {
    memory::paint(memory);
    let lent = memory.len();
    let (address, mut planned) = (memory.as_ptr(), None);
    let (mut line, mut store) = (Line::open()?, Examples::open()?);
    let mut config = Config::new("device/round", Policy::permissive());
    config.max_frame = MIN_FRAME;
    let mut rng = ChaCha20Rng::from_seed(SEED);
    let Ok(mut session) = Session::new(memory, config, &mut rng) else { return Err("no memory for a session") };
    let mut polls = 0u32;
    let outcome = loop {
        polls += 1;
        match session.poll(u64::from(polls), &mut store) {
            Poll::Finished(outcome) => break outcome,
            Poll::Working { .. } => {}
            Poll::Send => {
                line.send(session.outgoing())?;
                session.sent();
            }
            Poll::Receive { .. } => {
                let mut bytes = [0; 64];
                let count = line.receive(&mut bytes)?;
                session.receive(&bytes[..count]);
            }
            Poll::Persist => return Err("there is no ledger"),
        }
        planned = session.memory().map(|m| m.total).or(planned);
    };
    if let Outcome::Abandoned { cause: Abandoned::Plan(PlanError::Feature { what, feature }), .. } = outcome {
        Print::new().text("refused: this build has no ").text(what).text(": feature ").text(feature).end();
    }
    if outcome != Outcome::Accepted {
        return Err("the report was not accepted");
    }
    let planned = planned.ok_or("no plan came")?;
    // SAFETY: the session that borrowed the memory is not used any more; the memory is there for ever.
    let used = unsafe { memory::high_water(address, lent) };
    Print::new()
        .text("arena: ")
        .number(used)
        .text(" bytes used, ")
        .number(planned)
        .text(" planned, ")
        .number(lent)
        .text(" lent")
        .end();
    // The last region may end before the multiple of eight that a plan of bytes is.
    if used.next_multiple_of(8) == planned { Ok(()) } else { Err("the arena was not used as planned") }
}
