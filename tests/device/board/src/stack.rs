//! How deep the stack went: free words are marked beforehand and looked for afterwards.

use siskin_device_cases::Stack;

const MARK: u32 = 0x5a5a_a5a5;

/// Left unmarked below the stack pointer, bytes: the frames of the marking itself.
const MARGIN: usize = 256;

/// The processor's own stack, which grows downwards from `top`.
pub struct MarkedStack {
    bottom: usize,
    top: usize,
    pointer: fn() -> usize,
}

impl MarkedStack {
    /// `bottom..top` is the memory of the stack, both multiples of 4; `pointer` reads the stack pointer.
    ///
    /// # Safety
    /// All of it is memory that nothing but the stack in use lies in, and nothing interrupts the program while it is
    /// marked.
    pub unsafe fn new(bottom: usize, top: usize, pointer: fn() -> usize) -> Self {
        Self { bottom, top, pointer }
    }

    fn words(&self, end: usize) -> impl Iterator<Item = *mut u32> + use<> {
        (self.bottom..end).step_by(size_of::<u32>()).map(|address| address as *mut u32)
    }
}

impl Stack for MarkedStack {
    #[inline(never)]
    fn mark(&self) {
        for word in self.words((self.pointer)().saturating_sub(MARGIN)) {
            // SAFETY: free memory of the stack, as `new` was promised: below every frame in use, with room to spare.
            unsafe { word.write_volatile(MARK) };
        }
    }

    fn used(&self) -> usize {
        // SAFETY: the stack's memory, as `new` was promised; any bits are a u32.
        let free = self.words(self.top).take_while(|word| unsafe { word.read_volatile() } == MARK).count();
        self.size() - free * size_of::<u32>()
    }

    fn size(&self) -> usize {
        self.top - self.bottom
    }
}
