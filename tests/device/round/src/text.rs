//! Output without `core::fmt`, which alone has more code than a small layer.

use semihosting::io::Write;

/// One line of output.
pub struct Line(());

#[allow(clippy::new_without_default, reason = "a line is begun where it is printed")]
impl Line {
    /// Begins it.
    pub fn new() -> Self {
        Self(())
    }

    /// Prints these words.
    pub fn text(self, text: &str) -> Self {
        // A console that cannot be written to is no reason to stop: the exit code says how it ended.
        #[cfg(not(feature = "defmt"))]
        let out = semihosting::io::stdout();
        #[cfg(feature = "defmt")]
        let out = semihosting::io::stderr();
        let _ = out.and_then(|mut out| out.write_all(text.as_bytes()));
        self
    }

    /// Prints a number, decimal.
    pub fn number(self, number: usize) -> Self {
        self.digits(number as u32, 10)
    }

    /// Prints a number, hexadecimal.
    pub fn hex(self, number: u32) -> Self {
        self.text("0x").digits(number, 16)
    }

    fn digits(self, mut number: u32, base: u32) -> Self {
        let mut digits = [0; 10];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b"0123456789abcdef"[(number % base) as usize];
            number /= base;
            if number == 0 {
                return self.text(core::str::from_utf8(&digits[first..]).unwrap_or("?"));
            }
        }
    }

    /// Ends it.
    pub fn end(self) {
        self.text("\n");
    }
}

/// Leaves the emulator with this exit code.
pub fn leave(code: i32) -> ! {
    semihosting::process::exit(code)
}

/// Says where, and not what: the message would keep `core::fmt`.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let line = info.location().map_or(0, |l| l.line());
    Line::new().text("panic, line ").number(line as usize).end();
    leave(101)
}
