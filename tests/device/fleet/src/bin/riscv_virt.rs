#![no_std]
#![no_main]

use siskin_device_fleet::{Uart, run};
use siskin_device_round::{Ram, Target};

static ARENA: Ram<{ 52 * 1024 }> = Ram::new();
static SAVED: Ram<{ 40 * 1024 }> = Ram::new();

#[riscv_rt::entry]
fn main() -> ! {
    run(&Target::here(), Uart::enable(), ARENA.take(), SAVED.take())
}
