//! The messages of a round. Every request may be repeated: the server's answer to a repeated request is the same.

use super::{FRAME_OVERHEAD, PROTOCOL_VERSION, WireError, encode_frame};
use crate::checkin::{Rejection, RetryWindow};
use serde::{Deserialize, Serialize};

/// Bytes that the fields of a message take at most, without the payload behind them.
pub const MAX_MESSAGE: usize = 96;

/// What a device can do; the server offers only plans that need no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Capabilities(pub u32);

impl Capabilities {
    /// Dense, convolution, pooling and activation layers of version 1.
    pub const LAYERS_V1: Self = Self(1);
    /// Sparse weights.
    pub const SPARSE: Self = Self(2);
    /// Gaussian noise on the device.
    pub const NOISE: Self = Self(4);
    /// The range coder of version 1.
    pub const RANGE_CODER_V1: Self = Self(8);
    /// What this build can do.
    pub const ALL: Self = Self(15);

    /// True if all of `needed` are there.
    pub const fn has(self, needed: Self) -> bool {
        self.0 & needed.0 == needed.0
    }
}

/// Device to server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// Asks for work.
    CheckIn {
        /// Newest protocol version that the device speaks.
        protocol: u16,
        /// What it can do.
        capabilities: Capabilities,
        /// The learning problem.
        #[serde(borrow)]
        population: &'a str,
        /// Random number of this session: it makes a repeated check-in the same check-in. It names no device.
        session: u64,
        /// Longest frame that the device can receive, bytes.
        max_frame: u32,
        /// Fingerprint of the masks that the device kept, if its app gave it some; it says in which span of rounds the
        /// device last took part: see [`KeptMask`](crate::checkin::KeptMask).
        mask: Option<u32>,
    },
    /// Asks for the checkpoint from `offset` on.
    Fetch {
        /// The task.
        task: u64,
        /// The form of the checkpoint, as the task said it.
        base: Option<u32>,
        /// Bytes already there.
        offset: u32,
        /// Longest frame that the device can receive, bytes.
        max_frame: u32,
    },
    /// Brings a piece of the report; the payload is the bytes from `offset` on.
    Upload {
        /// The task.
        task: u64,
        /// Length of the whole report, bytes.
        total: u32,
        /// Where the payload belongs.
        offset: u32,
    },
    /// The device gives the task back.
    Abandon {
        /// The task.
        task: u64,
        /// Why, as a number of [`Abandoned`](crate::session::Abandoned).
        cause: u8,
    },
}

/// Server to device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// Work; the payload is the encoded plan.
    Task {
        /// Names the assignment in all later requests.
        task: u64,
        /// Length of the checkpoint, bytes.
        checkpoint: u32,
        /// Fingerprint of the masks of which the checkpoint has the changes; none if it has whole masks.
        base: Option<u32>,
        /// After this many ms a report is late.
        deadline_ms: u32,
    },
    /// No work.
    Rejected(Rejection),
    /// A piece of the checkpoint; the payload is the bytes from `offset` on.
    Piece {
        /// The round: a piece is the same for all devices of a round that have the same masks, or none, so that a server
        /// makes it once.
        round: u32,
        /// The form of the checkpoint that it is a piece of, as the task said it.
        base: Option<u32>,
        /// Where the payload belongs.
        offset: u32,
    },
    /// What the server has of the report.
    Received {
        /// The task.
        task: u64,
        /// Bytes without a gap from the start.
        upto: u32,
        /// State of the report.
        status: UploadStatus,
    },
    /// The server does not know the task, or the request makes no sense now.
    Gone {
        /// The task.
        task: u64,
        /// When to check in again.
        retry: RetryWindow,
    },
}

/// State of a report on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum UploadStatus {
    /// More bytes are expected.
    Partial,
    /// Complete and counted.
    Accepted,
    /// It had been counted before; it is not counted again.
    Duplicate,
    /// Complete, but the round was over.
    Late,
    /// Complete, but it does not decode or does not belong to the task.
    Refused,
}

/// Writes a message and its payload as one frame; returns the frame's length.
pub(crate) fn encode<T: Serialize>(message: &T, payload: &[u8], out: &mut [u8]) -> Result<usize, WireError> {
    let capacity = WireError::Capacity { capacity: out.len() as u32 };
    let body = out.get_mut(FRAME_OVERHEAD..).ok_or(capacity)?;
    let fields = postcard::to_slice(message, body).map_err(|_| capacity)?.len();
    let end = fields + payload.len();
    body.get_mut(fields..end).ok_or(capacity)?.copy_from_slice(payload);
    encode_frame(out, end)
}

impl Request<'_> {
    /// Writes the request and its payload as one frame; returns the frame's length.
    ///
    /// # Errors
    /// [`WireError::Capacity`] if `out` is too short.
    pub fn encode(&self, payload: &[u8], out: &mut [u8]) -> Result<usize, WireError> {
        encode(self, payload, out)
    }

    /// Reads a request and its payload from a frame's body.
    ///
    /// # Errors
    /// [`WireError`] if the body is malformed or of another protocol version.
    pub fn decode(body: &[u8], version: u16) -> Result<(Request<'_>, &[u8]), WireError> {
        known(version)?;
        postcard::take_from_bytes(body).map_err(|_| WireError::Malformed)
    }
}

impl Response {
    /// Writes the response and its payload as one frame; returns the frame's length.
    ///
    /// # Errors
    /// [`WireError::Capacity`] if `out` is too short.
    pub fn encode(&self, payload: &[u8], out: &mut [u8]) -> Result<usize, WireError> {
        encode(self, payload, out)
    }

    /// Reads a response and its payload from a frame's body.
    ///
    /// # Errors
    /// [`WireError`] if the body is malformed or of another protocol version.
    pub fn decode(body: &[u8], version: u16) -> Result<(Self, &[u8]), WireError> {
        known(version)?;
        postcard::take_from_bytes(body).map_err(|_| WireError::Malformed)
    }
}

fn known(version: u16) -> Result<(), WireError> {
    if version == PROTOCOL_VERSION {
        return Ok(());
    }
    Err(WireError::Version { known: PROTOCOL_VERSION as u8, got: version.min(255) as u8 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Frame;
    use proptest::prelude::*;

    #[test]
    fn messages_come_back_with_their_payload() {
        let mut out = [0; 256];
        let request = Request::Upload { task: u64::MAX, total: u32::MAX, offset: 77 };
        let n = request.encode(b"payload", &mut out).unwrap();
        let Frame::Whole { body, version, length } = Frame::parse(&out[..n], 256) else { panic!("whole") };
        assert_eq!(length, n);
        assert_eq!(Request::decode(body, version), Ok((request, &b"payload"[..])));
        assert_eq!(Request::decode(body, 9), Err(WireError::Version { known: 1, got: 9 }));
    }

    #[test]
    fn the_longest_message_fits_its_bound() {
        let name = "p".repeat(crate::checkin::MAX_POPULATION);
        let longest = Request::CheckIn {
            protocol: u16::MAX,
            capabilities: Capabilities(u32::MAX),
            population: &name,
            session: u64::MAX,
            max_frame: u32::MAX,
            mask: Some(u32::MAX),
        };
        let mut out = [0; 512];
        assert!(longest.encode(&[], &mut out).unwrap() - FRAME_OVERHEAD <= MAX_MESSAGE);
        assert_eq!(longest.encode(&[], &mut out[..40]), Err(WireError::Capacity { capacity: 40 }));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Request::decode(&bytes, PROTOCOL_VERSION);
            let _ = Response::decode(&bytes, PROTOCOL_VERSION);
            let _ = crate::checkin::Plan::decode(&bytes);
        }
    }
}
