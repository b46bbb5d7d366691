//! Places that a reader can be at, and changes by hand. Rounds, mutations and lies are in `tests/host`.

use super::*;
use crate::arena::{Memory, Region};
use crate::checkin::{
    LayerSpec, Loss, ModelSpec, Path, Storage, Tail, changes_len, checkpoint_masks, code_values, masks_len, whole_len,
    write_changes, write_checkpoint, write_whole,
};
use crate::model::sparsity::MaskDiffError;
use crate::range_coder::{DecodeError, EntropyCoder, RowColumn};
use bytemuck::cast_slice_mut;
use proptest::prelude::*;
use std::{vec, vec::Vec};

fn model(live: u32) -> ModelSpec {
    // 3 x 3 with `live` live: 2 bytes of mask and the values, then 12 of bias.
    let weights = Storage { live, path: Path::Sparse };
    let layers = [LayerSpec::Dense { outputs: 3, bias: true, weights }.into()].into_iter().collect();
    ModelSpec { input: [3, 1, 1], layers, loss: Loss::SoftmaxCrossEntropy }
}

fn graph() -> Graph {
    Graph::new(&model(4)).unwrap()
}

/// Where the patterns and values of both networks of these tests have room.
fn memory() -> MemoryPlan {
    MemoryPlan {
        row_ptrs: Region::new(0, 16),
        columns: Region::new(16, 8),
        local: Region::new(32, 28),
        global: Region::new(64, 28),
        ..MemoryPlan::default()
    }
}

/// A document of kept masks around these bits.
fn kept(bits: &[u8]) -> Vec<u8> {
    let mut out = vec![0; super::super::KEPT_MASK_HEADER + bits.len()];
    super::super::write_kept_mask(&mut out, |each| each(bits));
    out
}

#[test]
fn places_that_a_reader_can_be_at() {
    let (graph, memory) = (graph(), memory());
    assert_eq!((checkpoint_len(&graph), masks_len(&graph)), (16 + 2 + 16 + 12, 2));
    let whole = Download { round: 0, length: 46, base: None, values: Values::Floats, graph: &graph, memory: &memory };
    let at = |offset, tensor, within, live| {
        CheckpointReader { offset, tensor, within, live, ..Default::default() }.is_consistent(&whole)
    };
    assert!(at(0, 0, 0, 0) && at(15, 0, 0, 0) && at(16, 0, 0, 0) && at(17, 0, 1, 4) && at(33, 0, 17, 4));
    assert!(at(34, 1, 0, 0) && at(45, 1, 11, 0) && at(46, 2, 0, 0));
    assert!(!at(3, 0, 3, 0) && !at(3, 1, 0, 0) && !at(3, 0, 0, 1), "nothing is read before the header is");
    assert!(!at(17, 0, 0, 0) && !at(16, 0, 1, 0) && !at(34, 0, 18, 4), "a whole tensor belongs to the next one");
    assert!(!at(17, 0, 1, 5) && !at(46, 2, 0, 1) && !at(47, 2, 1, 0) && !at(46, 3, 0, 0));
    assert!(!at(15, 0, u32::MAX, 0) && !at(16 + 34 - 1, 1, u32::MAX, 0));
}

#[test]
fn places_among_changes() {
    let (graph, memory) = (graph(), memory());
    let document = kept(&[0b1111, 0]);
    let base = Some(KeptMask::parse(&document).unwrap());
    let from = Download { round: 0, length: 45, base, values: Values::Floats, graph: &graph, memory: &memory };
    let mut change = MaskDiffReader::new();
    let reading = |change, offset, within, live| {
        CheckpointReader { offset, tensor: 0, within, live, change, result: 9 }.is_consistent(&from)
    };
    assert!(reading(change, 24, 0, 0) && reading(change, 3, 0, 0) && !reading(change, 46, 0, 0));
    assert!(!reading(change, 24, 1, 0), "no values before the mask is there");
    for byte in [2, 0] {
        assert_eq!(change.push(byte, 9), Ok((byte == 0).then_some(0)));
    }
    assert!(reading(change, 26, 0, 1) && !reading(change, 26, 0, 5) && !reading(change, 23, 0, 0));
    assert_eq!(change.push(7, 9), Ok(Some(8)));
    assert!(reading(change, 27, 0, 4) && reading(change, 30, 15, 4));
    assert!(!reading(change, 27, 0, 3) && !reading(change, 27, 16, 4));
    let next = CheckpointReader { offset: 43, tensor: 1, change, ..Default::default() };
    assert!(!next.is_consistent(&from), "a bias has no mask to change");
    assert!(CheckpointReader { change: MaskDiffReader::new(), ..next }.is_consistent(&from));
}

/// Reads a whole document in pieces.
fn feed(from: &Download<'_>, bytes: &[u8], piece: usize, arena: &mut Arena<'_>) -> Result<(), CheckpointError> {
    from.check_length()?;
    let mut reader = CheckpointReader::default();
    for piece in bytes.chunks(piece) {
        assert!(reader.is_consistent(from));
        reader.push(piece, from, arena)?;
    }
    assert!(reader.is_consistent(from));
    reader.finish(from, arena)
}

/// A checkpoint of changes, read in pieces: its patterns and values, or what is wrong.
fn read(graph: &Graph, document: &[u8], bytes: &[u8], piece: usize) -> Result<Vec<u8>, CheckpointError> {
    let (memory, mut lent) = (memory(), Memory::<96>::new());
    let mut arena = Arena::new(lent.bytes()).unwrap();
    let base = Some(KeptMask::parse(document).unwrap());
    let from = Download { round: 7, length: bytes.len() as u32, base, values: Values::Floats, graph, memory: &memory };
    feed(&from, bytes, piece, &mut arena)?;
    Ok([memory.row_ptrs, memory.columns, memory.local].iter().flat_map(|r| arena.bytes(*r).to_vec()).collect())
}

fn checkpoint(graph: &Graph, mask: [u8; 2]) -> Vec<u8> {
    let mut whole = vec![0; checkpoint_len(graph)];
    let parts: [(&[f32], &[u8]); 2] = [(&[1., 2., 3., 4., 5., 6., 7., 8., 9.], &mask), (&[-1., -2., -3.], &[])];
    write_checkpoint(graph, 7, parts, &mut whole).unwrap();
    whole
}

fn changes(graph: &Graph, mask: [u8; 2], base: [u8; 2]) -> Vec<u8> {
    let whole = checkpoint(graph, mask);
    assert_eq!(checkpoint_masks(graph, &whole).unwrap().collect::<Vec<_>>(), [mask]);
    let mut out = vec![0xee; 64];
    let length = write_changes(graph, &whole, &base, Tail::default(), &mut out).unwrap();
    assert_eq!(changes_len(graph, &whole, &base, Tail::default()), Ok(length));
    assert!(out[length..].iter().all(|b| *b == 0xee));
    let mut short = vec![0; length - 1];
    let error = CheckpointError::Length { expected: length as u32, got: length as u32 - 1 };
    assert_eq!(write_changes(graph, &whole, &base, Tail::default(), &mut short), Err(error));
    out.truncate(length);
    out
}

/// A network in which whole masks are longer than the header that changes need: 3 x 300.
fn wide() -> Graph {
    let weights = Storage { live: 4, path: Path::Sparse };
    let layers = [LayerSpec::Dense { outputs: 3, bias: true, weights }.into()].into_iter().collect();
    Graph::new(&ModelSpec { input: [300, 1, 1], layers, loss: Loss::SoftmaxCrossEntropy }).unwrap()
}

/// Masks of [`wide`], with four of its 900 entries live.
fn wide_mask(live: [usize; 4]) -> Vec<u8> {
    let mut bits = vec![0; 113];
    live.iter().for_each(|i| bits[i / 8] |= 1 << (i % 8));
    bits
}

fn wide_changes(graph: &Graph, mask: &[u8], base: &[u8]) -> Vec<u8> {
    let mut whole = vec![0; checkpoint_len(graph)];
    let values: Vec<f32> = (0..900).map(|i| i as f32).collect();
    let parts: [(&[f32], &[u8]); 2] = [(&values, mask), (&[-1., -2., -3.], &[])];
    write_checkpoint(graph, 7, parts, &mut whole).unwrap();
    let mut out = vec![0; changes_len(graph, &whole, base, Tail::default()).unwrap()];
    assert_eq!(write_changes(graph, &whole, base, Tail::default(), &mut out), Ok(out.len()));
    out
}

#[test]
fn changes_by_hand() {
    let graph = graph();
    let bytes = changes(&graph, [0b1011_0001, 0], [0b1111, 0]);
    // Four changes: 1, 2, 3 die, 4, 5, 7 come to life. That is six.
    assert_eq!(bytes[24..31], [6, 1, 0, 0, 0, 0, 1]);
    assert_eq!(bytes[..6], *b"SKCP\x03\x01");
    assert_eq!(bytes[16..20], crate::wire::checksum(&[0b1111, 0]).to_le_bytes());
    assert_eq!(bytes[20..24], crate::wire::checksum(&[0b1011_0001, 0]).to_le_bytes());
    assert_eq!(bytes[31..35], 1f32.to_le_bytes());
    assert_eq!(bytes.len(), 24 + 7 + 16 + 12);
    // Longer than the whole masks: nobody takes it.
    let error = CheckpointError::Length { expected: 45, got: 59 };
    assert_eq!(read(&graph, &kept(&[0b1111, 0]), &bytes, 64), Err(error));
}

#[test]
fn what_is_wrong_with_changes_is_named() {
    let graph = wide();
    let base = wide_mask([0, 299, 300, 899]);
    let document = kept(&base);
    let good = wide_changes(&graph, &wide_mask([0, 1, 300, 898]), &base);
    // Changes: 1, 299, 898, 899.
    assert_eq!(good[24..31], [4, 1, 0xa9, 2, 0xd6, 4, 0]);
    assert!(read(&graph, &document, &good, 1).is_ok());
    let wrong = |at: usize, byte: u8| {
        let mut bad = good.clone();
        bad[at] = byte;
        read(&graph, &document, &bad, 5).unwrap_err()
    };
    let sum = crate::wire::checksum(&base);
    assert_eq!(wrong(5, 0), CheckpointError::Header);
    assert_eq!(wrong(8, 6), CheckpointError::Round { expected: 7, got: 6 });
    let got = u32::from_le_bytes([good[16], good[17], good[18] ^ 1, good[19]]);
    assert_eq!(wrong(18, good[18] ^ 1), CheckpointError::Base { kept: Some(sum), got });
    assert!(matches!(wrong(20, !good[20]), CheckpointError::Fingerprint { expected, got } if expected != got));
    assert!(matches!(wrong(24, 3), CheckpointError::Live { tensor: 0, expected: 4, got: 5 }));
    assert!(matches!(wrong(30, 1), CheckpointError::Change { tensor: 0, source: MaskDiffError::Index { .. } }));
    assert!(matches!(wrong(27, 0), CheckpointError::Change { tensor: 0, source: MaskDiffError::Varint }));
    assert_eq!(wrong(38, 0x7f), CheckpointError::NotFinite { index: 1 });
    // As many live, but param 2 in the place of param 1.
    let mut other = good.clone();
    other[25..27].copy_from_slice(&[2, 0xa8]);
    assert!(matches!(read(&graph, &document, &other, 5), Err(CheckpointError::Fingerprint { .. })));
    let cut = read(&graph, &document, &good[..good.len() - 1], 5).unwrap_err();
    assert_eq!(cut, CheckpointError::Length { expected: good.len() as u32, got: good.len() as u32 - 1 });
    let longer = [&good[..], &[0]].concat();
    let error = CheckpointError::Length { expected: good.len() as u32, got: good.len() as u32 + 1 };
    assert_eq!(read(&graph, &document, &longer, 5), Err(error));
    // Masks of another network.
    assert!(!KeptMask::parse(&kept(&base[1..])).unwrap().fits(&graph));
    assert!(matches!(read(&graph, &kept(&wide_mask([0, 1, 2, 3])), &good, 5), Err(CheckpointError::Base { .. })));
}

#[test]
fn damaged_kept_masks_are_refused() {
    let document = kept(&[1, 2, 3]);
    assert_eq!(document.len(), 15);
    let parsed = KeptMask::parse(&document).unwrap();
    assert_eq!((parsed.bits(), parsed.fingerprint()), (&[1, 2, 3][..], crate::wire::checksum(&[1, 2, 3])));
    for at in 0..document.len() {
        for bit in 0..8 {
            let mut bad = document.clone();
            bad[at] ^= 1 << bit;
            assert!(KeptMask::parse(&bad).is_err(), "bit {bit} of byte {at}");
        }
        assert!(KeptMask::parse(&document[..at]).is_err(), "the first {at} bytes");
    }
}

/// A start that names the third cell.
const START: [u8; 4] = [0, 1, 0, 0x92];
const STEP: f32 = 0.75;

/// [`wide`] with a start and coded values, read in pieces: as whole masks, or as changes of `base`.
fn read_tail(
    graph: &Graph,
    (mask, base): (&[u8], Option<&[u8]>),
    piece: usize,
    change: impl FnOnce(&mut Vec<u8>),
) -> Result<Vec<f32>, CheckpointError> {
    let mut whole = vec![0; checkpoint_len(graph)];
    let values: Vec<f32> = (0..900).map(|i| 0.1 * i as f32 - 30.0).collect();
    let parts: [(&[f32], &[u8]); 2] = [(&values, mask), (&[-1., -2., 0.5], &[])];
    write_checkpoint(graph, 7, parts, &mut whole).unwrap();
    let columns: Vec<u16> = (0..900).filter(|i| mask[i / 8] >> (i % 8) & 1 == 1).map(|i| (i % 300) as u16).collect();
    let rows = |row: usize| (0..300 * row).filter(|i| mask[i / 8] >> (i % 8) & 1 == 1).count() as u32;
    let row_ptrs: Vec<u32> = (0..4).map(rows).collect();
    let (mut symbols, mut coded) = ([0; 7], [0; 128]);
    let mut scratch = vec![0u32; RowColumn::required_scratch(300).div_ceil(4)];
    let scratch = cast_slice_mut(&mut scratch);
    let patterns = (graph, &row_ptrs[..], &columns[..]);
    let (length, _) = code_values(patterns, (&whole, base), STEP, &mut symbols, scratch, &mut coded).unwrap();
    let tail = Tail { start: &START, values: Some(&coded[..length]) };
    let mut bytes =
        vec![0; base.map_or(whole_len(graph, tail), |base| changes_len(graph, &whole, base, tail).unwrap())];
    match base {
        None => write_whole(graph, &whole, tail, &mut bytes).unwrap(),
        Some(base) => assert_eq!(write_changes(graph, &whole, base, tail, &mut bytes), Ok(bytes.len())),
    }
    change(&mut bytes);
    // The report, and the coder's memory behind it.
    let report = Region::new(64, 128);
    let coder = Region::new(192, RowColumn::required_scratch(300));
    let memory = MemoryPlan { start: Region::new(24, 4), report, coder, ..memory() };
    let mut lent = Memory::<16384>::new();
    let mut arena = Arena::new(lent.bytes()).unwrap();
    let document = kept(base.unwrap_or_default());
    let base = base.map(|_| KeptMask::parse(&document).unwrap());
    let values = Values::Coded { step: STEP };
    let from = Download { round: 7, length: bytes.len() as u32, base, values, graph, memory: &memory };
    feed(&from, &bytes, piece, &mut arena)?;
    assert_eq!(arena.bytes(memory.start), START);
    assert_eq!(arena.bytes(memory.local), arena.bytes(memory.global));
    Ok(arena.view::<f32>(memory.local).to_vec())
}

#[test]
fn damaged_tails_are_named() {
    let graph = wide();
    let mask = wide_mask([0, 299, 300, 899]);
    let wrong = |change: &dyn Fn(&mut Vec<u8>)| read_tail(&graph, (&mask, None), 9, |b| change(b)).unwrap_err();
    // Behind header and mask; the dense bias has no bytes of its own.
    let start = 16 + 113;
    assert!(matches!(wrong(&|b| b[start + 3] = 0x0e), CheckpointError::Start(e) if e.position == 3));
    assert!(matches!(wrong(&|b| b.push(0)), CheckpointError::Coded(DecodeError::Trailing { .. })));
    assert!(matches!(wrong(&|b| b.truncate(b.len() - 1)), CheckpointError::Coded(_)));
    assert!(matches!(wrong(&|b| b.truncate(start + 4)), CheckpointError::Length { expected: 134, got: 133 }));
    assert!(matches!(wrong(&|b| b.extend([0; 140])), CheckpointError::Length { expected: 261, .. }));
}

/// Four different entries.
fn four() -> impl Strategy<Value = [usize; 4]> {
    prop::collection::btree_set(prop_oneof![0usize..20, 290usize..310, 0usize..900], 4)
        .prop_map(|set| set.into_iter().collect::<Vec<_>>().try_into().unwrap())
}

proptest! {
    /// Changes make what whole masks make, whatever the pieces.
    #[test]
    fn any_masks_in_any_pieces(new in four(), old in four(), piece in 1usize..90) {
        let graph = wide();
        let (new, old) = (wide_mask(new), wide_mask(old));
        let got = read(&graph, &kept(&old), &wide_changes(&graph, &new, &old), piece).unwrap();
        let same = read(&graph, &kept(&new), &wide_changes(&graph, &new, &new), 90).unwrap();
        prop_assert_eq!(got, same);
    }

    /// Coded values are the nearest multiples of their step in either form, whatever the pieces.
    #[test]
    fn coded_values_in_any_pieces(new in four(), old in four(), piece in 1usize..90) {
        let graph = wide();
        let live = new;
        let (new, old) = (wide_mask(new), wide_mask(old));
        let whole = read_tail(&graph, (&new, None), piece, |_| ()).unwrap();
        prop_assert_eq!(&read_tail(&graph, (&new, Some(&old)), piece, |_| ()).unwrap(), &whole);
        let values = Values::Coded { step: STEP };
        let sent = live.map(|i| 0.1 * i as f32 - 30.0).into_iter().chain([-1.0, -2.0, 0.5]);
        for (got, sent) in whole.iter().zip(sent) {
            prop_assert_eq!(*got, values.as_received(sent));
            prop_assert!((got - sent).abs() <= STEP / 2.0 * 1.0001);
        }
    }

    /// Any bytes of coded changes and values, in any pieces: an error, or patterns that are valid (which `finish` checks).
    #[test]
    fn hostile_coded_changes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 1..40), old in four(), new in four(), piece in 1usize..40,
    ) {
        let graph = wide();
        let (old, new) = (wide_mask(old), wide_mask(new));
        let replace = |all: &mut Vec<u8>| {
            all.truncate(24 + START.len());
            all.extend_from_slice(&bytes);
        };
        let _ = read_tail(&graph, (&new, Some(&old)), piece, replace);
    }

    /// A mask of any number of entries becomes one of four.
    #[test]
    fn coded_changes_of_other_numbers_of_entries(old in prop::collection::btree_set(0usize..900, 0..40), new in four()) {
        let graph = wide();
        let mut before = wide_mask([0; 4]);
        before[0] = 0;
        old.iter().for_each(|i| before[i / 8] |= 1 << (i % 8));
        let new = wide_mask(new);
        let whole = read_tail(&graph, (&new, None), 50, |_| ()).unwrap();
        prop_assert_eq!(read_tail(&graph, (&new, Some(&before)), 50, |_| ()).unwrap(), whole);
    }

    /// Any bytes behind the header, in any pieces: an error, or patterns that are valid (which `finish` checks).
    #[test]
    fn hostile_changes_never_panic(
        bytes in prop::collection::vec(prop_oneof![0u8..6, any::<u8>()], 20..60), old in four(), piece in 1usize..40,
    ) {
        let graph = wide();
        let old = wide_mask(old);
        let mut all = wide_changes(&graph, &old, &old);
        let end = all.len().min(24 + bytes.len());
        all[24..end].copy_from_slice(&bytes[..end - 24]);
        let _ = read(&graph, &kept(&old), &all, piece);
    }
}
