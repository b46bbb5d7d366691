#![no_std]
#![no_main]

use siskin_device_round::{Ram, Target, run};

static ARENA: Ram<{ 232 * 1024 }> = Ram::new();

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn main() -> ! {
    run(&Target::here(), ARENA.take())
}
