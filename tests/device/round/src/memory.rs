//! The memory of a program: an arena of a fixed size, and a stack that is marked to see how deep it went.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// What the arena holds before it is used.
const PAINT: u8 = 0xa7;
/// What the stack holds before it is used.
const MARK: u32 = 0x5a5a_a5a5;
/// Left unmarked below the stack pointer, bytes: the frames of the marking itself.
const MARGIN: usize = 128;

/// A static arena.
#[repr(align(64))]
pub struct Ram<const N: usize>(UnsafeCell<[u8; N]>, AtomicBool);

// SAFETY: the flag lets only one caller have the contents, and nothing interrupts the program.
unsafe impl<const N: usize> Sync for Ram<N> {}

impl<const N: usize> Ram<N> {
    /// All zero.
    #[allow(clippy::new_without_default, reason = "for a static")]
    pub const fn new() -> Self {
        Self(UnsafeCell::new([0; N]), AtomicBool::new(false))
    }

    /// All of it.
    ///
    /// # Panics
    /// The second time.
    #[allow(clippy::mut_from_ref, reason = "once: the flag sees to that")]
    pub fn take(&'static self) -> &'static mut [u8] {
        // A load and a store: Cortex-M0 has no atomic swap.
        assert!(!self.1.load(Ordering::Relaxed), "lent before");
        self.1.store(true, Ordering::Relaxed);
        // SAFETY: the only reference: the lines above let one caller come here once.
        unsafe { &mut *self.0.get() }
    }
}

pub(crate) fn paint(memory: &mut [u8]) {
    memory.fill(PAINT);
}

/// Bytes up to the last one that is not as it was painted.
///
/// # Safety
/// `length` bytes at `first` are there to be read, and nothing writes to them any more.
pub(crate) unsafe fn high_water(first: *const u8, length: usize) -> usize {
    // SAFETY: as promised; volatile, because the writes went through a borrow that has ended.
    (0..length).rev().find(|&at| unsafe { first.add(at).read_volatile() } != PAINT).map_or(0, |at| at + 1)
}

/// The processor's stack, which grows downwards from `top`.
pub struct Stack {
    bottom: usize,
    top: usize,
    pointer: fn() -> usize,
}

impl Stack {
    /// `bottom..top` is the memory of the stack, both multiples of 4; `pointer` reads the stack pointer.
    ///
    /// # Safety
    /// All of it is memory that nothing but the stack in use lies in, and nothing interrupts the program while it is
    /// marked.
    pub unsafe fn new(bottom: usize, top: usize, pointer: fn() -> usize) -> Self {
        Self { bottom, top, pointer }
    }

    /// Marks what is free.
    #[inline(never)]
    pub fn mark(&self) {
        for address in (self.bottom..(self.pointer)().saturating_sub(MARGIN)).step_by(4) {
            // SAFETY: free memory of the stack, as `new` was promised: below every frame in use, with room to spare.
            unsafe { (address as *mut u32).write_volatile(MARK) };
        }
    }

    /// Bytes from the top to the deepest one used.
    pub fn used(&self) -> usize {
        // SAFETY: the stack's memory, as `new` was promised; any bits are a u32.
        let is_free = |address: &usize| unsafe { (*address as *const u32).read_volatile() } == MARK;
        self.size() - (self.bottom..self.top).step_by(4).take_while(is_free).count() * 4
    }

    /// Its bytes.
    pub fn size(&self) -> usize {
        self.top - self.bottom
    }
}
