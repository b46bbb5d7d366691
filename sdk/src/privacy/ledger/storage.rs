//! Keeping the ledger where it survives: two slots, so that a crash in the middle of a write leaves the old one or the new.
//!
//! A slot holds a ledger or a mark that it is retired. A new ledger goes to the slot that is not in use, and only then is the
//! old one retired. So one that is damaged beside a whole one is a write that a crash cut off, and the whole one counts; but a
//! damaged one beside a retired one was in use, and is an error. A scheme that simply took the newest whole slot could not
//! tell these apart: damage would bring back an older ledger, and forget a participation.
//!
//! | one slot | other slot | what counts |
//! |---|---|---|
//! | ledger | ledger | the newer (the older was about to be retired) |
//! | ledger | retired, never written, damaged | that ledger |
//! | the first: damaged or never written | the second: never written | nothing was ever stored |
//! | all else | | [`StorageError::Damaged`] |

use super::{LEDGER_BYTES, Ledger, LedgerError};
use crate::wire::{WireError, checksum};

/// One of the two places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The first that is ever written.
    First,
    /// The other.
    Second,
}

impl Slot {
    const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// Two places of [`LEDGER_BYTES`] that survive a restart: two files, two pages of flash.
pub trait LedgerStorage {
    /// What can go wrong.
    type Error;

    /// Reads a slot; false if it was never written (no such file, an erased page).
    ///
    /// # Errors
    /// The storage's own. A slot that cannot be read must not be reported as never written.
    fn read(&mut self, slot: Slot, out: &mut [u8; LEDGER_BYTES]) -> Result<bool, Self::Error>;

    /// Replaces a slot's bytes, and comes back when they are durable (`fsync`). A crash may leave any mixture of old and new
    /// bytes in *this* slot.
    ///
    /// # Errors
    /// The storage's own.
    fn write(&mut self, slot: Slot, bytes: &[u8; LEDGER_BYTES]) -> Result<(), Self::Error>;
}

/// The ledger was not read or not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageError<E> {
    /// The storage failed.
    Storage(E),
    /// What is stored cannot be read, and it did count.
    Damaged(LedgerError),
    /// Another session changed the stored ledger in between: load it, and give it to the session again.
    Conflict {
        /// Changes of the stored ledger.
        stored: u64,
        /// Of the one that was to follow it, which should be one more.
        given: u64,
    },
}

impl<E: core::fmt::Display> core::fmt::Display for StorageError<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Storage(e) => write!(f, "the ledger's storage failed: {e}"),
            Self::Damaged(e) => write!(f, "{e}"),
            Self::Conflict { stored, given } => write!(f, "change {given} of the ledger does not follow {stored}"),
        }
    }
}

impl<E: core::error::Error> core::error::Error for StorageError<E> {}

const RETIRED: [u8; 4] = *b"SKLR";

/// The mark of a slot that is not in use. All of the slot is covered, so that a mark that was cut off is none.
fn retired() -> [u8; LEDGER_BYTES] {
    let mut bytes = [0; LEDGER_BYTES];
    bytes[..4].copy_from_slice(&RETIRED);
    let sum = checksum(&bytes[..LEDGER_BYTES - 4]);
    bytes[LEDGER_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

#[allow(clippy::large_enum_variant, reason = "one at a time, on the stack: there is no heap to box it on")]
enum State {
    Empty,
    Retired,
    Whole(Ledger),
    Damaged(LedgerError),
}

fn state<S: LedgerStorage>(storage: &mut S, slot: Slot) -> Result<State, StorageError<S::Error>> {
    let mut bytes = [0; LEDGER_BYTES];
    Ok(match storage.read(slot, &mut bytes).map_err(StorageError::Storage)? {
        false => State::Empty,
        true if bytes == retired() => State::Retired,
        true => Ledger::from_bytes(&bytes).map_or_else(State::Damaged, State::Whole),
    })
}

/// The ledger in use and its slot; the other slot may have to be retired still.
struct Found {
    ledger: Ledger,
    slot: Slot,
    is_settled: bool,
}

fn find<S: LedgerStorage>(storage: &mut S) -> Result<Option<Found>, StorageError<S::Error>> {
    let found = |ledger, slot, is_settled| Ok(Some(Found { ledger, slot, is_settled }));
    match (state(storage, Slot::First)?, state(storage, Slot::Second)?) {
        (State::Whole(a), State::Whole(b)) if b.sequence > a.sequence => found(b, Slot::Second, false),
        (State::Whole(a), State::Whole(_)) => found(a, Slot::First, false),
        (State::Whole(a), other) => found(a, Slot::First, matches!(other, State::Retired)),
        (other, State::Whole(b)) => found(b, Slot::Second, matches!(other, State::Retired)),
        (State::Empty | State::Damaged(_), State::Empty) => Ok(None),
        (State::Damaged(e), _) | (_, State::Damaged(e)) => Err(StorageError::Damaged(e)),
        // Something was here, and is gone.
        _ => Err(StorageError::Damaged(WireError::Magic.into())),
    }
}

/// The stored ledger; none if none ever was. Whether a device without one is new is for the app to say: with
/// [`Ledger::new`]. Finishes a [`store`] that a crash cut off.
///
/// # Errors
/// [`StorageError::Damaged`]: then only [`overwrite`] with a ledger that was [reset](Ledger::reset) goes on.
pub fn load<S: LedgerStorage>(storage: &mut S) -> Result<Option<Ledger>, StorageError<S::Error>> {
    let Some(Found { ledger, slot, is_settled }) = find(storage)? else { return Ok(None) };
    if !is_settled {
        storage.write(slot.other(), &retired()).map_err(StorageError::Storage)?;
    }
    Ok(Some(ledger))
}

/// Stores a ledger durably, which must follow the stored one by one change. Storing the same one again does nothing. Costs two
/// writes and two reads of a slot.
///
/// # Errors
/// [`StorageError`]; the stored ledger is then the old one or this one.
pub fn store<S: LedgerStorage>(storage: &mut S, ledger: &Ledger) -> Result<(), StorageError<S::Error>> {
    let given = ledger.sequence;
    let slot = match find(storage)? {
        Some(found) if found.ledger == *ledger => {
            if found.is_settled {
                return Ok(());
            }
            found.slot
        }
        Some(found) if found.ledger.sequence + 1 == given => {
            let slot = found.slot.other();
            storage.write(slot, &ledger.to_bytes()).map_err(StorageError::Storage)?;
            slot
        }
        Some(found) => return Err(StorageError::Conflict { stored: found.ledger.sequence, given }),
        // The second slot stays empty until the first one is whole: that is how a first store that was cut off is known.
        None if given <= 1 => {
            storage.write(Slot::First, &ledger.to_bytes()).map_err(StorageError::Storage)?;
            Slot::First
        }
        None => return Err(StorageError::Conflict { stored: 0, given }),
    };
    storage.write(slot.other(), &retired()).map_err(StorageError::Storage)
}

/// Replaces a damaged ledger by one that was [reset](Ledger::reset).
///
/// # Errors
/// [`StorageError::Conflict`] if there is one that can be read: that one is reset and [stored](store).
pub fn overwrite<S: LedgerStorage>(storage: &mut S, ledger: &Ledger) -> Result<(), StorageError<S::Error>> {
    match find(storage) {
        Ok(Some(found)) => {
            return Err(StorageError::Conflict { stored: found.ledger.sequence, given: ledger.sequence });
        }
        Ok(None) | Err(StorageError::Damaged(_)) => {}
        Err(e) => return Err(e),
    }
    storage.write(Slot::First, &ledger.to_bytes()).map_err(StorageError::Storage)?;
    storage.write(Slot::Second, &retired()).map_err(StorageError::Storage)
}
