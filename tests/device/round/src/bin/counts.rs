#![no_std]
#![no_main]

use siskin_device_round::{Target, counts};

#[cortex_m_rt::entry]
fn main() -> ! {
    counts::run(&Target::here())
}
