//! Bytes and checked values: plans, messages, damaged streams, checkpoints.

use core::fmt::{Display, Write};

use siskin::checkin::{
    CheckpointError, Distributed, LayerSpec, Path, Plan, Profile, Reason, Rejection, RetryWindow, Rounding, ShareNoise,
    Storage, Weighting, checkpoint_len, write_checkpoint,
};
use siskin::model::Graph;
use siskin::wire::{
    Capabilities, FRAME_OVERHEAD, Frame, FrameAssembler, Request, Response, UploadStatus, encode_frame,
};

use crate::models::{Pieces, conv, dense, draw_masks, fill, mask_bytes, plan, pool, with_masks};
use crate::numbers::Numbers;
use crate::{Bench, Case, Digest, Outcome};

pub(crate) const CASES: &[Case] = &[
    Case { name: "wire_plan", run: plans },
    Case { name: "wire_messages", run: messages },
    Case { name: "wire_damaged_stream", run: damaged_stream },
    Case { name: "wire_checkpoint", run: checkpoint },
];

/// Every kind of layer and storage.
fn some_plan() -> Result<Plan, &'static str> {
    let layers = [
        conv(3, [3, 1, 1], Storage { live: 20, path: Path::Sparse }),
        LayerSpec::Relu,
        pool(2, 2),
        LayerSpec::Flatten,
        dense(300, 2000, Path::Dense),
        dense(4, 1200, Path::Dense),
    ];
    let mut plan = plan([1, 6, 6], &layers)?;
    plan.round = u32::MAX;
    let noise = ShareNoise::Skellam;
    plan.privacy.profile = Profile::Distributed(Distributed { shares: 300, bits: 20, noise, rotation: 0x0123_4567 });
    plan.privacy.noise_multiplier = 0.3;
    plan.quantization.rounding = Rounding::Nearest;
    plan.upload.weighting = Weighting::Uniform;
    Ok(plan)
}

/// There and back; cut off at every place; with every byte changed in two ways, the errors word by word.
fn plans(bench: &mut Bench<'_>) -> Outcome {
    let plan = some_plan()?;
    let mut pieces = Pieces(&mut *bench.arena);
    let (bytes, again) = (pieces.take::<u8>(1024)?, pieces.take::<u8>(1024)?);
    let length = plan.encode(bytes).map_err(|_| "encoding")?;
    let bytes = &mut bytes[..length];
    if Plan::decode(bytes) != Ok(plan.clone()) {
        return Err("what was decoded is not what was encoded");
    }
    if (0..length).any(|n| plan.encode(&mut again[..n]).is_ok()) {
        return Err("a short buffer was enough");
    }
    if (0..length).any(|n| Plan::decode(&bytes[..n]).is_ok()) {
        return Err("part of a plan was taken for a plan");
    }
    let of_bytes = Digest::bytes(bytes);
    let fingerprint = Plan::fingerprint(bytes);
    let mut changed = Words(Digest::EMPTY);
    for at in 0..length {
        for flip in [1, 0x80] {
            bytes[at] ^= flip;
            match Plan::decode(bytes) {
                Ok(plan) => {
                    let n = plan.encode(again).map_err(|_| "encoding a changed plan")?;
                    changed.0 = changed.0.and_bytes(&again[..n]);
                    // Shapes that do not fit are refused here, those that do have a size.
                    match Graph::new(&plan.model) {
                        Ok(graph) => changed.add(graph.size),
                        Err(e) => changed.add(e),
                    }
                }
                Err(e) => changed.add(e),
            }
            bytes[at] ^= flip;
        }
    }
    bench.digest("bytes", of_bytes);
    bench.digest("fingerprint", Digest::bytes(&fingerprint.to_le_bytes()));
    bench.digest("changed", changed.0);
    Ok(())
}

fn messages(bench: &mut Bench<'_>) -> Outcome {
    let task = 0x0123_4567_89ab_cdef;
    let retry = RetryWindow { min_ms: 1000, max_ms: u32::MAX };
    let requests = [
        Request::CheckIn {
            protocol: 1,
            capabilities: Capabilities::ALL,
            population: "device/cases",
            session: u64::MAX,
            max_frame: 1024,
            mask: Some(0x89ab_cdef),
        },
        Request::Fetch { task, base: None, offset: 300, max_frame: 1024 },
        Request::Upload { task, total: 70_000, offset: 128 },
        Request::Abandon { task, cause: 4 },
    ];
    let responses = [
        Response::Task { task, checkpoint: 1 << 20, base: Some(0x89ab_cdef), deadline_ms: 600_000 },
        Response::Rejected(Rejection { reason: Reason::NoRound, retry }),
        Response::Piece { round: 7, base: Some(u32::MAX), offset: u32::MAX },
        Response::Received { task, upto: 127, status: UploadStatus::Partial },
        Response::Received { task, upto: 128, status: UploadStatus::Refused },
        Response::Gone { task, retry: RetryWindow::TRANSIENT },
    ];
    let (frame, payload) = bench.arena.split_at_mut(1024);
    let payload = &mut payload[..100];
    for (i, byte) in payload.iter_mut().enumerate() {
        *byte = i as u8;
    }
    let (mut asked, mut answered) = (Digest::EMPTY, Digest::EMPTY);
    for (i, request) in requests.iter().enumerate() {
        let n = request.encode(&payload[..30 * i], frame).map_err(|_| "encoding a request")?;
        asked = asked.and_bytes(&frame[..n]);
        let Frame::Whole { body, version, length } = Frame::parse(frame, 1024) else { return Err("a whole frame") };
        if length != n || Request::decode(body, version) != Ok((*request, &payload[..30 * i])) {
            return Err("a request is not what was encoded");
        }
    }
    for (i, response) in responses.iter().enumerate() {
        let n = response.encode(&payload[..20 * i], frame).map_err(|_| "encoding a response")?;
        answered = answered.and_bytes(&frame[..n]);
        let Frame::Whole { body, version, length } = Frame::parse(frame, 1024) else { return Err("a whole frame") };
        if length != n || Response::decode(body, version) != Ok((*response, &payload[..20 * i])) {
            return Err("a response is not what was encoded");
        }
        if Response::decode(body, version + 1).is_ok() {
            return Err("another version was understood");
        }
    }
    bench.digest("requests", asked);
    bench.digest("responses", answered);
    Ok(())
}

/// Frames with noise between them and some damaged, in pieces of changing length: the undamaged ones come through, all
/// of them and nothing else.
fn damaged_stream(bench: &mut Bench<'_>) -> Outcome {
    const LIMIT: usize = 300;
    let mut pieces = Pieces(&mut *bench.arena);
    let (stream, buffer) = (pieces.take::<u8>(32 * 1024)?, pieces.take::<u8>(LIMIT)?);
    let mut numbers = Numbers(6);
    let mut random = |below: usize| (numbers.next() >> 33) as usize % below;
    let (mut filled, mut intact, mut sent) = (0, 0, Digest::EMPTY);
    for _ in 0..150 {
        for _ in 0..random(4) {
            // Among them bytes that look like the start of a frame, up to a length that no address space has.
            let noise: &[u8] =
                [b"S".as_slice(), b"SK\x01\x00\xff\xff\xff\xffxxxx", b"SK\x01\x00\x20\x00", b"~"][random(4)];
            stream[filled..filled + noise.len()].copy_from_slice(noise);
            filled += noise.len();
        }
        let body = random(120);
        let frame = &mut stream[filled..filled + FRAME_OVERHEAD + body];
        frame[FRAME_OVERHEAD..].fill_with(|| random(256) as u8);
        encode_frame(frame, body).map_err(|_| "encoding a frame")?;
        filled += frame.len();
        match random(4) {
            0 => frame[random(frame.len())] ^= 1 << random(8),
            // Cut off.
            1 => filled -= 1 + random(body + FRAME_OVERHEAD),
            _ => {
                intact += 1;
                sent = sent.and_bytes(&frame[FRAME_OVERHEAD..]).and_bytes(b"|");
            }
        }
    }
    // What looks like a long frame keeps the receiver waiting for its end.
    stream[filled..filled + LIMIT].fill(0);
    filled += LIMIT;

    let (mut assembler, mut found, mut received, mut at) = (FrameAssembler::new(), 0, Digest::EMPTY, 0);
    let mut pushes = Digest::EMPTY;
    while at < filled {
        let piece = &stream[at..filled.min(at + 1 + random(60))];
        let (taken, whole) = assembler.push(buffer, piece);
        pushes = pushes.and_bytes(&[taken as u8, u8::from(whole)]);
        at += taken;
        if whole {
            let (body, _) = assembler.frame(buffer).ok_or("a whole frame is not there")?;
            received = received.and_bytes(body).and_bytes(b"|");
            found += 1;
            assembler.clear();
        } else if taken < piece.len() {
            return Err("bytes were left");
        }
    }
    if intact < 50 || (found, received) != (intact, sent) {
        return Err("other frames came through than were sent undamaged");
    }
    bench.digest("stream", sent);
    bench.digest("pushes", pushes);
    Ok(())
}

fn checkpoint(bench: &mut Bench<'_>) -> Outcome {
    let layers = [dense(12, 61, Path::Sparse), dense(7, 50, Path::Dense), dense(4, 28, Path::Dense)];
    let graph = Graph::new(&plan([1, 1, 16], &layers)?.model).map_err(|_| "the layers do not fit together")?;
    let mut pieces = Pieces(&mut *bench.arena);
    let (values, masks) = (pieces.take::<f32>(graph.size)?, pieces.take::<u8>(mask_bytes(&graph))?);
    let out = pieces.take::<u8>(checkpoint_len(&graph))?;
    let mut numbers = Numbers(7);
    fill(&mut numbers, 1.0, values);
    draw_masks(&graph, &mut numbers, masks)?;
    let write = |masks: &[u8], out: &mut [u8]| {
        let mut rest = &*values;
        let parts = with_masks(&graph, masks).map(|(tensor, mask)| {
            let (part, after) = rest.split_at(tensor.size());
            rest = after;
            (part, mask)
        });
        write_checkpoint(&graph, 7, parts, out)
    };
    write(masks, out).map_err(|_| "writing")?;
    let digest = Digest::bytes(out);
    let short = out.len() - 1;
    if !matches!(write(masks, &mut out[..short]), Err(CheckpointError::Length { .. })) {
        return Err("a wrong length was accepted");
    }
    masks[0] ^= 1;
    if !matches!(write(masks, out), Err(CheckpointError::Live { tensor: 0, expected: 61, got: 60 | 62 })) {
        return Err("a mask with another count was accepted");
    }
    bench.digest("bytes", digest);
    Ok(())
}

/// The digest of what a message says.
struct Words(Digest);

impl Words {
    fn add(&mut self, message: impl Display) {
        // Writing to a digest cannot fail.
        let _ = writeln!(self, "{message}");
    }
}

impl Write for Words {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0 = self.0.and_bytes(text.as_bytes());
        Ok(())
    }
}
