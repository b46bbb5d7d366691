//! A board of a fleet: it takes part in round after round of a server at the other end of its UART, saves itself to flash as it goes,
//! and goes on where it stood when it is started again.
//!
//! `siskin serve --device-files` writes what it learns from and who it is: `NAME.examples`, and `NAME.device` with the seed of the run, the
//! number of the device and of the rounds (three `u64`, little-endian). Its randomness follows from these, as that of the
//! simulator's devices does, so that its reports can be foreseen; a product takes it from its hardware.
#![no_std]

mod flash;
mod uart;

pub use uart::Uart;

use embedded_io::{Read as _, ReadReady, Write as _};
use flash::Chip;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use siskin::checkin::Policy;
use siskin::flash::FlashStore;
use siskin::session::{Config, MIN_FRAME, Outcome, Poll, Session};
use siskin_device_round::Target;
use siskin_device_round::files::{Examples, Mode, open, word};
use siskin_device_round::text::{Line, leave};

/// The server's name for what is learned.
const POPULATION: &str = "siskin/simulated";
/// What a device's session draws from, of all that a run draws: the simulator's number for it.
const PURPOSE: u64 = 5;
/// Steps of work, or requests, between two saves: few, as boards are killed often here.
const STEPS: u32 = 3;
/// Bytes in front of a saved session: how many rounds the device has been in.
const HEAD: usize = 4;

/// Who the device is.
struct Identity {
    seed: u64,
    device: u64,
    rounds: u32,
}

impl Identity {
    fn read() -> Result<Self, &'static str> {
        let mut file = open(".device", Mode::Read)?;
        let mut number = || Some(u64::from(word(&mut file)?) | u64::from(word(&mut file)?) << 32);
        match (number(), number(), number()) {
            (Some(seed), Some(device), Some(rounds)) => Ok(Self { seed, device, rounds: rounds as u32 }),
            _ => Err("the device's file is too short"),
        }
    }

    /// The generator of one round.
    fn generator(&self, round: u32) -> ChaCha12Rng {
        let mut key = [0; 32];
        for (bytes, number) in key.chunks_exact_mut(8).zip([self.seed, PURPOSE, u64::from(round), self.device]) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        ChaCha12Rng::from_seed(key)
    }
}

/// Takes part in all rounds and leaves the emulator: with 0 when they are over. `memory` is the session's, `saved` is for what goes
/// to flash.
pub fn run(target: &Target, uart: Uart, memory: &'static mut [u8], saved: &'static mut [u8]) -> ! {
    target.say();
    target.stack.mark();
    let ended = rounds(uart, memory, saved);
    let (used, size) = (target.stack.used(), target.stack.size());
    Line::new().text("stack: ").number(used).text(" of ").number(size).text(" bytes").end();
    match ended {
        Ok(()) if used < size => leave(0),
        Ok(()) => fail("the stack is full"),
        Err(why) => fail(why),
    }
}

fn fail(why: &str) -> ! {
    Line::new().text("FAILED: ").text(why).end();
    leave(1)
}

/// Milliseconds since the emulator started.
fn now_ms() -> u64 {
    semihosting::sys::arm_compat::sys_clock().map_or(0, |hundredths| 10 * hundredths as u64)
}

#[inline(never)]
fn rounds(mut uart: Uart, memory: &mut [u8], saved: &mut [u8]) -> Result<(), &'static str> {
    let (identity, mut chip, mut examples) = (Identity::read()?, Chip::open()?, Examples::open()?);
    let mut store = FlashStore::open(&mut chip, 0, flash::BYTES).map_err(|_| "the flash cannot be used")?;
    loop {
        let length = store.load(&mut chip, saved).map_err(|_| "the flash cannot be read")?;
        let round = saved[..length].first_chunk().map_or(0, |head| u32::from_le_bytes(*head));
        if round >= identity.rounds {
            Line::new().text("rounds: ").number(round as usize).text(", saves: ").number(store.saves() as usize).end();
            return Ok(());
        }
        let mut config = Config::new(POPULATION, Policy::permissive());
        (config.max_frame, config.retries) = (MIN_FRAME, u8::MAX);
        let mut session = match length {
            0..=HEAD => {
                Session::new(memory, config, &mut identity.generator(round)).map_err(|_| "no memory for a session")?
            }
            _ => {
                Line::new().text("restored in round ").number(round as usize).end();
                Session::restore(memory, config, &saved[HEAD..length])
                    .map_err(|_| "what was saved cannot be restored")?
            }
        };
        let outcome = one(&mut session, &mut uart, &mut examples, |session| {
            saved[..HEAD].copy_from_slice(&round.to_le_bytes());
            let length = session.save(&mut saved[HEAD..]).map_err(|_| "the session cannot be saved")?;
            store.save(&mut chip, &saved[..HEAD + length]).map_err(|_| "the flash cannot be written")
        })?;
        let word = match outcome {
            Outcome::Accepted => "accepted",
            Outcome::Duplicate => "counted before",
            // The server has gone on to another round meanwhile.
            Outcome::Unreachable { .. } => "gone",
            Outcome::Abandoned { .. } => return Err("abandoned"),
            _ => return Err("not accepted"),
        };
        Line::new().text("round ").number(round as usize).text(": ").text(word).end();
        store.save(&mut chip, &(round + 1).to_le_bytes()).map_err(|_| "the flash cannot be written")?;
    }
}

/// One round, with a save every few steps of work, every few pieces of the download and before the upload.
fn one(
    session: &mut Session<'_>,
    uart: &mut Uart,
    examples: &mut Examples,
    mut save: impl FnMut(&Session<'_>) -> Result<(), &'static str>,
) -> Result<Outcome, &'static str> {
    let (mut steps, mut requests, mut is_made) = (0u32, 0u32, session.report().is_some());
    let mut block = [0; 64];
    loop {
        match session.poll(now_ms(), examples) {
            Poll::Finished(outcome) => return Ok(outcome),
            Poll::Working { .. } => {
                steps += 1;
                if steps.is_multiple_of(STEPS) {
                    save(session)?;
                }
            }
            Poll::Send => {
                requests += 1;
                let made = session.report().is_some();
                if made != is_made || requests.is_multiple_of(STEPS) {
                    is_made = made;
                    save(session)?;
                }
                let _ = uart.write_all(session.outgoing());
                session.sent();
            }
            Poll::Receive { .. } => {
                // The clock is a call to the emulator: not for every look at the line.
                if (0..1000).any(|_| uart.read_ready() == Ok(true)) {
                    let Ok(count) = uart.read(&mut block);
                    session.receive(&block[..count]);
                }
            }
            Poll::Persist => return Err("there is no ledger"),
        }
    }
}
