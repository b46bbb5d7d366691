//! What the program runs on, asked of the hardware.

use crate::Stack;
use crate::text::Line;

/// What a target is, and its stack.
pub struct Target {
    core: Core,
    fpu: bool,
    /// Its stack.
    pub stack: Stack,
}

/// Which processor.
enum Core {
    Name(&'static str),
    /// An unknown identification.
    #[cfg_attr(not(target_arch = "arm"), allow(dead_code, reason = "only Arm's processors say what they are"))]
    Number(u32),
}

impl Target {
    /// Prints what it is.
    pub fn say(&self) {
        let line = Line::new().text("target core=");
        let line = match self.core {
            Core::Name(name) => line.text(name),
            Core::Number(number) => line.hex(number),
        };
        let built_for = if cfg!(target_arch = "arm") { "arm" } else { "riscv32" };
        line.text(" arch=")
            .text(built_for)
            .text(" pointer_width=")
            .number(usize::BITS as usize)
            .text(" fpu=")
            .text(if self.fpu { "true" } else { "false" })
            .end();
    }
}

#[cfg(target_arch = "arm")]
mod arm {
    use super::{Core, Target};
    use crate::Stack;
    use crate::text::{Line, leave};
    use cortex_m_rt::exception;

    impl Target {
        /// The processor that this runs on.
        pub fn here() -> Self {
            unsafe extern "C" {
                static _stack_start: u8;
                static _stack_end: u8;
            }
            let (bottom, top) = ((&raw const _stack_end).addr(), (&raw const _stack_start).addr());
            // SAFETY: the memory map gives this range to the stack alone, and no interrupt is enabled.
            let stack = unsafe { Stack::new(bottom, top, || cortex_m::register::msp::read() as usize) };
            Self { core: core(), fpu: has_fpu(), stack }
        }
    }

    /// CPUID, bits 4 to 15: the part number (Armv7-M Architecture Reference Manual, B3.2.3; the processors' own manuals).
    fn core() -> Core {
        // SAFETY: reads a read-only identification register that every Cortex-M has.
        let cpuid = unsafe { (0xe000_ed00 as *const u32).read_volatile() };
        match cpuid >> 4 & 0xfff {
            0xc20 => Core::Name("cortex-m0"),
            0xc23 => Core::Name("cortex-m3"),
            0xc24 => Core::Name("cortex-m4"),
            0xc27 => Core::Name("cortex-m7"),
            0xd22 => Core::Name("cortex-m55"),
            _ => Core::Number(cpuid),
        }
    }

    /// Media and FP Feature Register 0, bits 4 to 7: single precision (the same manual, B4.7.1). Reads 0 where there is none.
    fn has_fpu() -> bool {
        // SAFETY: reads a read-only identification register; reserved and 0 on processors without one.
        let mvfr0 = unsafe { (0xe000_ef40 as *const u32).read_volatile() };
        (mvfr0 >> 4) & 0xf == 2
    }

    // The default handler spins for ever: a test that faults would only end by its timeout.
    #[exception]
    unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
        Line::new().text("HardFault at ").hex(frame.pc()).end();
        leave(101)
    }
}

#[cfg(target_arch = "riscv32")]
mod riscv {
    use super::{Core, Target};
    use crate::Stack;
    use crate::text::{Line, leave};

    impl Target {
        /// The processor that this runs on.
        pub fn here() -> Self {
            unsafe extern "C" {
                static _stack_start: u8;
                static __sheap: u8;
            }
            let (bottom, top) = ((&raw const __sheap).addr().next_multiple_of(4), (&raw const _stack_start).addr());
            // SAFETY: between the data and the end of the memory is nothing but the stack, and no interrupt is enabled.
            let stack = unsafe { Stack::new(bottom, top, stack_pointer) };
            Self { core: Core::Name("riscv"), fpu: has_fpu(), stack }
        }
    }

    fn stack_pointer() -> usize {
        let pointer: usize;
        // SAFETY: copies a register.
        unsafe { core::arch::asm!("mv {}, sp", out(reg) pointer, options(nomem, nostack)) };
        pointer
    }

    /// Register `misa`, bit 5: extension F (RISC-V Privileged Architecture, "Machine ISA Register").
    fn has_fpu() -> bool {
        let misa: usize;
        // SAFETY: reads a register that machine mode always has.
        unsafe { core::arch::asm!("csrr {}, misa", out(reg) misa, options(nomem, nostack)) };
        misa & (1 << 5) != 0
    }

    // The default handler spins for ever: a test that faults would only end by its timeout.
    #[unsafe(export_name = "ExceptionHandler")]
    fn exception(_frame: &riscv_rt::TrapFrame) -> ! {
        Line::new().text("exception").end();
        leave(101)
    }
}
