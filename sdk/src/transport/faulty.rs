//! A transport that fails on purpose, at exactly the byte that a test names.

use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};

/// What happens to a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is lost.
    Drop,
    /// It comes twice.
    Duplicate,
    /// Its bits change.
    Corrupt,
    /// It changes places with the next one.
    Swap,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Drop, Self::Duplicate, Self::Corrupt, Self::Swap];
}

/// Passes bytes through, but for every `period`-th byte read, counted from `first`.
#[derive(Debug)]
pub struct Faulty<T> {
    inner: T,
    fault: Fault,
    first: u64,
    period: u64,
    count: u64,
    held: Option<u8>,
    hits: u64,
}

impl<T> Faulty<T> {
    /// The bytes number `first`, `first + period`, ... (counted from 0) that are *read* suffer `fault`; a `period` of 0
    /// means only the first.
    pub fn new(inner: T, fault: Fault, first: u64, period: u64) -> Self {
        Self { inner, fault, first, period, count: 0, held: None, hits: 0 }
    }

    /// Faults that happened so far.
    pub fn hits(&self) -> u64 {
        self.hits
    }

    fn strikes(&self) -> bool {
        match self.count.checked_sub(self.first) {
            None => false,
            Some(0) => true,
            Some(past) => self.period > 0 && past % self.period == 0,
        }
    }
}

impl<T: ErrorType> ErrorType for Faulty<T> {
    type Error = T::Error;
}

impl<T: Read + ReadReady> Read for Faulty<T> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Self::Error> {
        let Some(out) = buf.first_mut() else { return Ok(0) };
        if let Some(byte) = self.held.take() {
            *out = byte;
            return Ok(1);
        }
        loop {
            let mut byte = [0];
            if self.inner.read(&mut byte)? == 0 {
                return Ok(0);
            }
            let strikes = self.strikes();
            self.count += 1;
            self.hits += u64::from(strikes);
            *out = byte[0];
            match self.fault {
                _ if !strikes => {}
                Fault::Drop if self.inner.read_ready()? => continue,
                Fault::Drop => return Ok(0),
                Fault::Duplicate => self.held = Some(byte[0]),
                Fault::Corrupt => *out ^= 0x55,
                Fault::Swap => {
                    let mut next = [0];
                    if self.inner.read_ready()? && self.inner.read(&mut next)? == 1 {
                        self.count += 1;
                        *out = next[0];
                        self.held = Some(byte[0]);
                    }
                }
            }
            return Ok(1);
        }
    }
}

impl<T: ReadReady> ReadReady for Faulty<T> {
    fn read_ready(&mut self) -> Result<bool, Self::Error> {
        Ok(self.held.is_some() || self.inner.read_ready()?)
    }
}

impl<T: Write> Write for Faulty<T> {
    fn write(&mut self, buf: &[u8]) -> Result<usize, Self::Error> {
        self.inner.write(buf)
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        self.inner.flush()
    }
}

impl<T: WriteReady> WriteReady for Faulty<T> {
    fn write_ready(&mut self) -> Result<bool, Self::Error> {
        self.inner.write_ready()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Loopback;
    use std::vec::Vec;

    fn through(fault: Fault, first: u64, period: u64) -> Vec<u8> {
        let (mut up, mut down) = ([0; 32], [0; 32]);
        let link = Loopback::new(&mut up, &mut down);
        link.server().write_all(b"abcdef").unwrap();
        let mut faulty = Faulty::new(link.device(), fault, first, period);
        let mut out = Vec::new();
        let mut byte = [0];
        while faulty.read_ready().unwrap() {
            let n = faulty.read(&mut byte).unwrap();
            out.extend(&byte[..n]);
        }
        assert!(faulty.hits() > 0);
        out
    }

    #[test]
    fn each_fault_does_what_it_says() {
        assert_eq!(through(Fault::Drop, 1, 3), b"acdf");
        assert_eq!(through(Fault::Duplicate, 1, 0), b"abbcdef");
        assert_eq!(through(Fault::Corrupt, 5, 0), b"abcde\x33");
        assert_eq!(through(Fault::Swap, 2, 0), b"abdcef");
        assert_eq!(through(Fault::Drop, 5, 0), b"abcde");
    }
}
