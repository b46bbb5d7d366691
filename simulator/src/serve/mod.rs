//! Devices that are not in this process: each is at the other end of a byte stream, such as the UART of a board.
//!
//! A run has virtual devices; the first of them can be replaced by [lines](Lines). What comes over a line are the frames that a virtual
//! device would send, and the same [`Round`] answers them: to the server a board is a device like the others. Sums are integers, so
//! that a run ends with the same model, to the bit, whether a device is virtual or real, as long as it learns from the same examples with
//! the same randomness. [`write_device_files`] writes both for a board to have.

mod files;
mod line;

pub use files::write_device_files;
pub use line::{Line, Traffic};

use crate::fleet::DeviceRun;
use siskin_server::round::Round;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// The lines of a fleet: the first is device 0, and so on.
#[derive(Debug, Default)]
pub struct Lines {
    lines: Vec<Line>,
}

/// A line cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; is another program there, or the address not of this machine?")]
pub struct ListenError {
    address: String,
    source: io::Error,
}

impl Lines {
    /// Listens on each address, `HOST:PORT`, or `PORT` of this machine alone; port 0 takes a free one. A round goes on without a device
    /// of which nothing is heard for `patience`.
    ///
    /// # Errors
    /// [`ListenError`] names the address.
    pub fn listen(addresses: &[String], patience: Duration) -> Result<Self, ListenError> {
        let lines = addresses.iter().enumerate().map(|(device, given)| {
            let address = if given.contains(':') { given.clone() } else { format!("127.0.0.1:{given}") };
            Line::listen(device, &address, patience).map_err(|source| ListenError { address, source })
        });
        Ok(Self { lines: lines.collect::<Result<_, _>>()? })
    }

    /// How many devices are on lines.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// All devices are virtual.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Where each device is expected.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.lines.iter().map(Line::address)
    }

    /// What went over each line so far.
    pub fn traffic(&self) -> impl Iterator<Item = Traffic> + '_ {
        self.lines.iter().map(Line::traffic)
    }

    /// Serves the devices on lines that are in the cohort while `beside` runs, until each has reported, given up or fallen
    /// silent; gives what came of them, and of `beside`.
    pub fn serve<T>(&mut self, round: &Round, selected: &[usize], beside: impl FnOnce() -> T) -> (Vec<DeviceRun>, T) {
        std::thread::scope(|threads| {
            let served: Vec<_> = self
                .lines
                .iter_mut()
                .filter(|line| selected.contains(&line.device()))
                .map(|line| threads.spawn(|| line.serve(round)))
                .collect();
            let other = beside();
            let joined = served.into_iter().map(|thread| match thread.join() {
                Ok(run) => run,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            (joined.collect(), other)
        })
    }
}
