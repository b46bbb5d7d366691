#![no_std]
#![no_main]

use siskin_device_board::{leave_with, run};
use siskin_device_cases::Target;

#[riscv_rt::entry]
fn main() -> ! {
    run(&Target { board: "riscv-virt", fpu: has_fpu() }, 0xf000_0000)
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
