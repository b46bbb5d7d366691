//! Test cases that run on the host and, unchanged, on every emulated microcontroller.
//!
//! A case checks what it can check by itself and prints *digests* of what it computed; `tests/run device` compares the
//! digests of all targets, and a difference fails naming the case. To add one: write `fn name(bench: &mut Bench) -> Outcome`
//! in the file of its stage and add it to that file's `CASES`; a new file goes into [`all`].
#![no_std]
#![deny(unsafe_code)]

mod arithmetic;
mod models;
mod noise;
mod numbers;
mod plans;
mod range_coder;
mod round;
mod train;
mod wire;

use core::fmt::{self, Write};

/// Memory that every target lends to a case, the same everywhere so that a case which fits here fits on the smallest board.
pub const ARENA_BYTES: usize = 48 * 1024;

/// `Err` says what was wrong; it is printed with the case's name.
pub type Outcome = Result<(), &'static str>;

/// One named test.
pub struct Case {
    /// Unique, `stage_what`, without blanks.
    pub name: &'static str,
    /// The test itself.
    pub run: fn(&mut Bench<'_>) -> Outcome,
}

/// Every case, in the order in which it runs.
pub fn all() -> impl Iterator<Item = &'static Case> {
    [arithmetic::CASES, wire::CASES, range_coder::CASES, noise::CASES, train::CASES, round::CASES, plans::CASES]
        .into_iter()
        .flatten()
}

/// What a case is given: memory, and a place for its digests.
pub struct Bench<'a> {
    /// [`ARENA_BYTES`] bytes, 16-byte aligned, zero at the start of each case.
    pub arena: &'a mut [u8],
    out: &'a mut dyn Write,
    case: &'static str,
    digests: u32,
    failed_write: bool,
}

impl Bench<'_> {
    /// Prints the digest of one result, a line `digest CASE/WHAT HEX` that must be the same on every target.
    pub fn digest(&mut self, what: &str, digest: Digest) {
        self.digests += 1;
        self.failed_write |= writeln!(self.out, "digest {}/{what} {:016x}", self.case, digest.0).is_err();
    }

    /// Prints what may differ from target to target, such as a size.
    pub fn note(&mut self, what: fmt::Arguments<'_>) {
        self.failed_write |= writeln!(self.out, "note {}: {what}", self.case).is_err();
    }
}

/// FNV-1a, 64 bits, over bytes, integers (little-endian) and the bit patterns of floats.
///
/// Fowler, Noll, Vo, "The FNV Non-Cryptographic Hash Algorithm", offset basis 14695981039346656037, prime 2^40 + 435.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub u64);

impl Digest {
    /// The digest of nothing.
    pub const EMPTY: Self = Self(0xcbf2_9ce4_8422_2325);

    /// Of bytes.
    pub fn bytes(bytes: &[u8]) -> Self {
        Self::EMPTY.and_bytes(bytes)
    }

    /// Of the bits of floats: a signed zero or another NaN is a difference.
    pub fn f32s(values: &[f32]) -> Self {
        values.iter().fold(Self::EMPTY, |digest, value| digest.and_bytes(&value.to_bits().to_le_bytes()))
    }

    /// Goes on with more bytes.
    pub fn and_bytes(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)))
    }
}

/// How deep the stack went. A board knows; the host's stack is not worth a measurement.
pub trait Stack {
    /// Marks the free part, so that what is used afterwards shows.
    fn mark(&self);
    /// Bytes from the stack's start to the deepest one used since it was marked.
    fn used(&self) -> usize;
    /// Bytes that there are.
    fn size(&self) -> usize;
}

/// What a target says about itself, in the line that `tests/run` compares with what it expects of that target.
pub struct Target<'a> {
    /// The board's name, or the host's.
    pub board: &'a str,
    /// Whether the hardware has single-precision floating point, asked of the hardware.
    pub fpu: bool,
    /// The stack, if its use can be measured.
    pub stack: Option<&'a dyn Stack>,
}

/// Runs every case on this target and prints the result; returns `(passed, failed)`.
///
/// # Errors
/// The output could not be written.
pub fn run_all(target: &Target<'_>, arena: &mut [u8], out: &mut dyn Write) -> Result<(u32, u32), fmt::Error> {
    writeln!(out, "target board={} arch={} pointer_width={} fpu={}", target.board, arch(), usize::BITS, target.fpu)?;
    let (mut passed, mut failed) = (0, 0);
    for case in all() {
        arena.fill(0);
        let mut bench = Bench { arena: &mut *arena, out: &mut *out, case: case.name, digests: 0, failed_write: false };
        target.stack.inspect(|stack| stack.mark());
        let mut outcome = (case.run)(&mut bench);
        let stack = target.stack.map(|stack| (stack.used(), stack.size()));
        if stack.is_some_and(|(used, size)| used >= size) {
            outcome = Err("the stack is full");
        }
        let (digests, failed_write) = (bench.digests, bench.failed_write);
        if failed_write {
            return Err(fmt::Error);
        }
        match outcome {
            Ok(()) => {
                passed += 1;
                write!(out, "case {} ok, {digests} digests", case.name)?;
                match stack {
                    Some((used, _)) => writeln!(out, ", {used} bytes of stack")?,
                    None => writeln!(out)?,
                }
            }
            Err(message) => {
                failed += 1;
                writeln!(out, "case {} FAILED: {message}", case.name)?;
            }
        }
    }
    writeln!(out, "{passed} passed, {failed} failed")?;
    Ok((passed, failed))
}

/// As rustc names it in `target_arch`.
const fn arch() -> &'static str {
    if cfg!(target_arch = "arm") {
        "arm"
    } else if cfg!(target_arch = "riscv32") {
        "riscv32"
    } else if cfg!(target_arch = "aarch64") {
        "aarch64"
    } else if cfg!(target_arch = "x86_64") {
        "x86_64"
    } else {
        "other"
    }
}
