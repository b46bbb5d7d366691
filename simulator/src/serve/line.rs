//! One device at the other end of a byte stream over TCP.

use crate::fleet::{DeviceRun, Ended};
use crate::run::MAX_FRAME;
use siskin::session::Outcome;
use siskin::wire::{FRAME_OVERHEAD, Frame, FrameAssembler, Response, UploadStatus};
use siskin_server::round::{Answer, RequestKind, Round};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Half a frame is forgotten after this long without a byte; less than a device waits before it repeats itself.
const GAP: Duration = Duration::from_secs(1);
/// How long one look at the line takes at most.
const LOOK: Duration = Duration::from_millis(20);

/// What went over a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections; one more than the device's restarts.
    pub connections: u64,
    /// Bytes from the device.
    pub up: u64,
    /// Bytes to the device.
    pub down: u64,
    /// Reports that were counted.
    pub reports: u64,
}

/// A byte stream with a device at its other end, which may break off and come back.
#[derive(Debug)]
pub struct Line {
    device: usize,
    listener: TcpListener,
    address: SocketAddr,
    stream: Option<TcpStream>,
    assembler: FrameAssembler,
    buffer: Vec<u8>,
    patience: Duration,
    traffic: Traffic,
}

impl Line {
    /// Listens on `address` for the device of this number.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn listen(device: usize, address: &str, patience: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (assembler, buffer) = (FrameAssembler::new(), vec![0; MAX_FRAME]);
        let traffic = Traffic::default();
        Ok(Self { device, listener, address, stream: None, assembler, buffer, patience, traffic })
    }

    /// The device's number.
    pub fn device(&self) -> usize {
        self.device
    }

    /// Where it is expected.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What went over the line so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Answers the device until its part in the round is decided. One of which nothing is heard for as long as the patience lasts has
    /// dropped out.
    pub(super) fn serve(&mut self, round: &Round) -> DeviceRun {
        let mut run = DeviceRun::new(self.device);
        let opened = Instant::now();
        let (mut heard, mut answer) = (opened, Vec::new());
        loop {
            self.accept();
            let mut bytes = [0; 4096];
            match self.read(&mut bytes) {
                0 if heard.elapsed() > self.patience => return run,
                0 if heard.elapsed() > GAP => self.assembler.clear(),
                0 => {}
                count => {
                    heard = Instant::now();
                    self.traffic.up += count as u64;
                    let now_ms = opened.elapsed().as_millis() as u64;
                    if self.take(&bytes[..count], round, now_ms, &mut answer, &mut run) {
                        return run;
                    }
                }
            }
        }
    }

    /// A device that connects again has been started again: what it sent before is void.
    fn accept(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        // Requests are short, and each waits for its answer.
        let set = stream.set_nonblocking(false).and_then(|()| stream.set_nodelay(true));
        let set = set.and_then(|()| stream.set_read_timeout(Some(LOOK)));
        if set.and_then(|()| stream.set_write_timeout(Some(GAP))).is_ok() {
            self.stream = Some(stream);
            self.assembler.clear();
            self.traffic.connections += 1;
        }
    }

    /// What is there to read; 0 if nothing came for a while, or nobody is there.
    fn read(&mut self, bytes: &mut [u8]) -> usize {
        let Some(stream) = &mut self.stream else {
            std::thread::sleep(LOOK);
            return 0;
        };
        match stream.read(bytes) {
            Ok(count) if count > 0 => count,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => 0,
            _ => {
                self.stream = None;
                0
            }
        }
    }

    /// Answers the frames that are whole; true once the device's part is decided. What stands behind that is of its next round, and
    /// too early: the device repeats it.
    fn take(&mut self, bytes: &[u8], round: &Round, now_ms: u64, answer: &mut Vec<u8>, run: &mut DeviceRun) -> bool {
        let mut at = 0;
        loop {
            let (taken, is_whole) = self.assembler.push(&mut self.buffer, &bytes[at..]);
            at += taken;
            if !is_whole {
                return false;
            }
            let length = self.assembler.frame(&self.buffer).map_or(0, |(body, _)| body.len() + FRAME_OVERHEAD);
            let reply = round.handle(now_ms, &self.buffer[..length], answer);
            let decided = match reply {
                Answer::Send(reply, exchange) => {
                    run.count(exchange);
                    self.traffic.down += reply.len() as u64;
                    if let Some(Err(_)) = self.stream.as_mut().map(|stream| stream.write_all(reply)) {
                        self.stream = None;
                    }
                    verdict(reply).filter(|_| exchange.kind == RequestKind::Upload).map(Ended::Reported)
                }
                Answer::Nothing(exchange) => {
                    run.count(exchange);
                    (exchange.kind == RequestKind::Abandon).then_some(Ended::Without(Outcome::Refused))
                }
                Answer::Ignored => None,
            };
            self.assembler.advance(&mut self.buffer);
            if let Some(ended) = decided {
                self.traffic.reports += u64::from(matches!(ended, Ended::Reported(Outcome::Accepted)));
                run.arrival_ms = now_ms;
                run.ended = ended;
                self.assembler.clear();
                return true;
            }
        }
    }
}

/// What an answer says of a report that is complete.
fn verdict(frame: &[u8]) -> Option<Outcome> {
    let Frame::Whole { body, version, .. } = Frame::parse(frame, frame.len()) else { return None };
    match Response::decode(body, version) {
        Ok((Response::Received { status, .. }, _)) => match status {
            UploadStatus::Accepted => Some(Outcome::Accepted),
            UploadStatus::Duplicate => Some(Outcome::Duplicate),
            UploadStatus::Late => Some(Outcome::Late),
            UploadStatus::Refused => Some(Outcome::Refused),
            _ => None,
        },
        _ => None,
    }
}
