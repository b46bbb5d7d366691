//! Two ends of a byte stream in memory that the caller lends; single-threaded.

use core::cell::RefCell;
use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};

/// A ring of bytes.
#[derive(Debug)]
struct Ring<'a> {
    bytes: &'a mut [u8],
    start: usize,
    filled: usize,
}

impl Ring<'_> {
    fn push(&mut self, from: &[u8]) -> usize {
        let n = from.len().min(self.bytes.len() - self.filled);
        for (i, byte) in from[..n].iter().enumerate() {
            let at = (self.start + self.filled + i) % self.bytes.len();
            self.bytes[at] = *byte;
        }
        self.filled += n;
        n
    }

    fn pop(&mut self, to: &mut [u8]) -> usize {
        let n = to.len().min(self.filled);
        for (i, byte) in to[..n].iter_mut().enumerate() {
            *byte = self.bytes[(self.start + i) % self.bytes.len()];
        }
        if n > 0 {
            self.start = (self.start + n) % self.bytes.len();
            self.filled -= n;
        }
        n
    }
}

/// A two-way byte stream in memory.
///
/// ```
/// use embedded_io::{Read, Write};
/// let (mut there, mut back) = ([0; 16], [0; 16]);
/// let link = siskin::transport::Loopback::new(&mut there, &mut back);
/// let (mut device, mut server) = (link.device(), link.server());
/// device.write_all(b"hello").unwrap();
/// let mut got = [0; 5];
/// server.read_exact(&mut got).unwrap();
/// assert_eq!(&got, b"hello");
/// ```
#[derive(Debug)]
pub struct Loopback<'a> {
    up: RefCell<Ring<'a>>,
    down: RefCell<Ring<'a>>,
}

impl<'a> Loopback<'a> {
    /// `up` holds what is on its way to the server, `down` what is on its way to the device.
    pub fn new(up: &'a mut [u8], down: &'a mut [u8]) -> Self {
        let ring = |bytes| RefCell::new(Ring { bytes, start: 0, filled: 0 });
        Self { up: ring(up), down: ring(down) }
    }

    /// The device's end.
    pub fn device(&self) -> End<'_, 'a> {
        End { read: &self.down, write: &self.up }
    }

    /// The server's end.
    pub fn server(&self) -> End<'_, 'a> {
        End { read: &self.up, write: &self.down }
    }
}

/// One end of a [`Loopback`]. Reading from an empty stream gives 0 bytes, as at the end of a file; ask
/// [`ReadReady::read_ready`] first. Writing to a full one drops nothing: it gives 0 bytes too.
#[derive(Debug, Clone, Copy)]
pub struct End<'l, 'a> {
    read: &'l RefCell<Ring<'a>>,
    write: &'l RefCell<Ring<'a>>,
}

impl ErrorType for End<'_, '_> {
    type Error = core::convert::Infallible;
}

impl Read for End<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Self::Error> {
        Ok(self.read.borrow_mut().pop(buf))
    }
}

impl ReadReady for End<'_, '_> {
    fn read_ready(&mut self) -> Result<bool, Self::Error> {
        Ok(self.read.borrow().filled > 0)
    }
}

impl Write for End<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> Result<usize, Self::Error> {
        Ok(self.write.borrow_mut().push(buf))
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

impl WriteReady for End<'_, '_> {
    fn write_ready(&mut self) -> Result<bool, Self::Error> {
        let ring = self.write.borrow();
        Ok(ring.filled < ring.bytes.len())
    }
}
