#![no_std]
#![no_main]

#[cortex_m_rt::entry]
fn main() -> ! {
    siskin_device_cortex_m::run_on("mps3-an547")
}
