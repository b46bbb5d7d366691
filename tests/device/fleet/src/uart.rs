//! The UARTs of the boards, polled, as far as a test needs them: what is sent and received, no interrupts, no baud rates that QEMU
//! would care for.

use core::convert::Infallible;
use embedded_io::{ErrorType, Read, ReadReady, Write};

/// Registers of a UART.
#[derive(Clone, Copy)]
struct Registers(usize);

#[cfg(not(feature = "ns16550"))]
impl Registers {
    fn read(self, offset: usize) -> u32 {
        // SAFETY: a device register at an address that the board's manual gives; nobody else uses it.
        unsafe { ((self.0 + offset) as *const u32).read_volatile() }
    }

    fn write(self, offset: usize, value: u32) {
        // SAFETY: as above.
        unsafe { ((self.0 + offset) as *mut u32).write_volatile(value) }
    }
}

#[cfg(feature = "ns16550")]
impl Registers {
    fn read_byte(self, offset: usize) -> u8 {
        // SAFETY: as in the other kind; this one has registers of a byte.
        unsafe { ((self.0 + offset) as *const u8).read_volatile() }
    }

    fn write_byte(self, offset: usize, value: u8) {
        // SAFETY: as above.
        unsafe { ((self.0 + offset) as *mut u8).write_volatile(value) }
    }
}

/// A byte stream over the board's first UART.
pub struct Uart(Registers);

/// USART1 of the STM32F405 (RM0090, section 30.6): status at 0, data at 4, control 1 at 0xc.
#[cfg(feature = "stm32")]
impl Uart {
    /// Enables it: UE, TE, RE.
    pub fn enable() -> Self {
        let uart = Registers(0x4001_1000);
        uart.write(0xc, 1 << 13 | 1 << 3 | 1 << 2);
        Self(uart)
    }

    /// RXNE.
    fn has_byte(&self) -> bool {
        self.0.read(0) & 1 << 5 != 0
    }

    fn take(&mut self) -> u8 {
        self.0.read(4) as u8
    }

    /// TXE.
    fn has_room(&self) -> bool {
        self.0.read(0) & 1 << 7 != 0
    }

    fn put(&mut self, byte: u8) {
        self.0.write(4, byte.into());
    }
}

/// UART0 of Arm's CMSDK (DDI 0479, section 4.3): data at 0, state at 4, control at 8, divider at 0x10.
#[cfg(feature = "cmsdk")]
impl Uart {
    /// Enables it; QEMU wants the least divider that the manual allows.
    pub fn enable() -> Self {
        let uart = Registers(0x4000_4000);
        uart.write(0x10, 16);
        uart.write(8, 3);
        // QEMU looks again whether bytes wait only after the data register was read.
        uart.read(0);
        Self(uart)
    }

    /// RX buffer full.
    fn has_byte(&self) -> bool {
        self.0.read(4) & 2 != 0
    }

    fn take(&mut self) -> u8 {
        self.0.read(0) as u8
    }

    /// TX buffer not full.
    fn has_room(&self) -> bool {
        self.0.read(4) & 1 == 0
    }

    fn put(&mut self, byte: u8) {
        self.0.write(0, byte.into());
    }
}

/// The 16550 of QEMU's `virt` machine: data at 0, line status at 5, registers of a byte.
#[cfg(feature = "ns16550")]
impl Uart {
    /// It is on from the start.
    pub fn enable() -> Self {
        Self(Registers(0x1000_0000))
    }

    /// Data ready.
    fn has_byte(&self) -> bool {
        self.0.read_byte(5) & 1 != 0
    }

    fn take(&mut self) -> u8 {
        self.0.read_byte(0)
    }

    /// Transmitter holding register empty.
    fn has_room(&self) -> bool {
        self.0.read_byte(5) & 1 << 5 != 0
    }

    fn put(&mut self, byte: u8) {
        self.0.write_byte(0, byte);
    }
}

impl ErrorType for Uart {
    type Error = Infallible;
}

impl ReadReady for Uart {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.has_byte())
    }
}

impl Read for Uart {
    /// Waits for the first byte.
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Infallible> {
        let mut count = 0;
        while count < out.len() && (count == 0 || self.has_byte()) {
            while !self.has_byte() {}
            out[count] = self.take();
            count += 1;
        }
        Ok(count)
    }
}

impl Write for Uart {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        for byte in bytes {
            while !self.has_room() {}
            self.put(*byte);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
