#![no_std]
#![no_main]

use siskin_device_board::{MarkedStack, leave_with, run};
use siskin_device_cases::Target;

#[riscv_rt::entry]
fn main() -> ! {
    unsafe extern "C" {
        static _stack_start: u8;
        static __sheap: u8;
    }
    let (data_end, top) = ((&raw const __sheap).addr(), (&raw const _stack_start).addr());
    let bottom = top - STACK_BYTES;
    assert!(data_end <= bottom, "the data leave no room for the stack");
    // SAFETY: between the data and the end of the memory is nothing but the stack, and no interrupt is enabled.
    let stack = unsafe { MarkedStack::new(bottom, top, stack_pointer) };
    run(&Target { board: BOARD, fpu: has_fpu(), stack: Some(&stack) }, 0xf000_0000)
}

/// The same machine with two processors: what the code was built for.
const BOARD: &str = if cfg!(hard_float) { "riscv-virt-f" } else { "riscv-virt" };

/// As much as the other boards have.
const STACK_BYTES: usize = 48 * 1024;

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
    let (cause, address): (usize, usize);
    // SAFETY: reads registers that machine mode always has.
    unsafe { core::arch::asm!("csrr {}, mcause", "csrr {}, mtval", out(reg) cause, out(reg) address) };
    leave_with(format_args!("exception {cause}, address {address:#010x}"))
}
