//! What the Cortex-M boards share: the floating-point unit's test and the fault handler.
#![no_std]

use cortex_m_rt::{ExceptionFrame, exception};
use siskin_device_board::{MarkedStack, leave_with, run};
use siskin_device_cases::Target;

/// Runs the cases on `board`.
pub fn run_on(board: &str) -> ! {
    unsafe extern "C" {
        static _stack_start: u8;
        static _stack_end: u8;
    }
    let (bottom, top) = ((&raw const _stack_end).addr(), (&raw const _stack_start).addr());
    // SAFETY: the memory map gives this range to the stack alone, and no interrupt is enabled.
    let stack = unsafe { MarkedStack::new(bottom, top, || cortex_m::register::msp::read() as usize) };
    run(&Target { board, fpu: has_fpu(), stack: Some(&stack) }, 0x2f00_0000)
}

/// Media and FP Feature Register 0, bits 4 to 7: single precision (Armv7-M Architecture Reference Manual, B4.7.1).
fn has_fpu() -> bool {
    // SAFETY: reads a read-only identification register that every Armv7-M processor has.
    let mvfr0 = unsafe { (0xe000_ef40 as *const u32).read_volatile() };
    (mvfr0 >> 4) & 0xf == 2
}

// The default handler spins for ever: a test that faults would only end by its timeout.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    // SAFETY: read-only view of status registers; nothing else runs during a fault.
    let scb = unsafe { &*cortex_m::peripheral::SCB::PTR };
    leave_with(format_args!(
        "HardFault at {:#010x}: CFSR {:#010x}, HFSR {:#010x}, BFAR {:#010x}",
        frame.pc(),
        scb.cfsr.read(),
        scb.hfsr.read(),
        scb.bfar.read()
    ))
}
