//! Changes of masks, and bytes from anyone.

use super::*;

fn encoded(old: &[bool], new: &[bool]) -> Vec<u8> {
    let (a, b) = (bitmap_of(old), bitmap_of(new));
    let (a, b) = (Bitmap::new(&a, old.len()).unwrap(), Bitmap::new(&b, new.len()).unwrap());
    let n = mask_diff_len(a, b).unwrap();
    let mut out = vec![0xee; n + 3];
    assert_eq!(write_mask_diff(a, b, &mut out), Ok(n));
    assert_eq!(out[n..], [0xee; 3]);
    let mut short = vec![0xee; n - 1];
    assert_eq!(write_mask_diff(a, b, &mut short), Err(MaskDiffError::Capacity { expected: n, got: n - 1 }));
    assert!(short.iter().all(|b| *b == 0xee));
    out.truncate(n);
    out
}

/// The params that change; `None` if the bytes end before the change does.
fn read(bytes: &[u8], len: u32) -> Result<Option<Vec<u32>>, MaskDiffError> {
    let mut reader = MaskDiffReader::new();
    let mut changed = Vec::new();
    for byte in bytes {
        assert!(reader.is_consistent(len));
        changed.extend(reader.push(*byte, len)?);
        assert_eq!(reader.settled(), changed.last().map_or(0, |i| i + 1));
    }
    assert!(reader.is_consistent(len));
    Ok(reader.is_done().then_some(changed))
}

#[test]
fn errors_say_what_is_wrong() {
    assert_eq!(read(&[], 8), Ok(None));
    assert_eq!(read(&[0], 8), Ok(Some(vec![])));
    assert_eq!(read(&[0, 0], 8), Err(MaskDiffError::Trailing));
    assert_eq!(read(&[2, 3], 8), Ok(None));
    assert_eq!(read(&[2, 3, 0], 8), Ok(Some(vec![3, 4])));
    assert_eq!(read(&[9], 8), Err(MaskDiffError::Count { expected: 8, got: 9 }));
    assert_eq!(read(&[1, 7], 8), Ok(Some(vec![7])));
    assert_eq!(read(&[1, 8], 8), Err(MaskDiffError::Index { expected: 7, got: 8 }));
    assert_eq!(read(&[2, 7], 8), Err(MaskDiffError::Index { expected: 6, got: 7 }));
    assert_eq!(read(&[2, 3, 4], 8), Err(MaskDiffError::Index { expected: 7, got: 8 }));
    assert_eq!(read(&[1, 0x83, 0x00], 8), Err(MaskDiffError::Varint));
    assert_eq!(read(&[1, 0x83], 8), Ok(None));
    // The largest counts and gaps that a varint holds overflow nothing.
    let most = [0xff, 0xff, 0xff, 0xff, 0x0f];
    assert_eq!(read(&most, 8), Err(MaskDiffError::Count { expected: 8, got: u32::MAX }));
    assert_eq!(read(&most, u32::MAX), Ok(None));
    assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x1f], u32::MAX), Err(MaskDiffError::Varint));
    assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x8f], u32::MAX), Err(MaskDiffError::Varint));
    let gaps = [&[2, 1][..], &most].concat();
    let error = MaskDiffError::Index { expected: u32::MAX - 1, got: u64::from(u32::MAX) + 2 };
    assert_eq!(read(&gaps, u32::MAX), Err(error));
    let (a, b) = (Bitmap::new(&[1], 3).unwrap(), Bitmap::new(&[1], 4).unwrap());
    assert_eq!(mask_diff_len(a, b), Err(MaskDiffError::Length { expected: 3, got: 4 }));
}

#[test]
fn places_that_a_reader_can_be_at() {
    let reader = |bytes: &[u8]| {
        let mut reader = MaskDiffReader::new();
        bytes.iter().for_each(|byte| assert!(reader.push(*byte, 8).is_ok()));
        reader
    };
    let three = reader(&[2, 3]);
    assert!(three.is_consistent(5) && !three.is_consistent(4) && !three.is_consistent(3));
    assert!(reader(&[0x81]).is_consistent(0) && !reader(&[1]).is_consistent(0));
}

/// Two masks with runs and gaps of many lengths.
fn two_masks() -> impl Strategy<Value = (Vec<bool>, Vec<bool>)> {
    let run = (prop_oneof![1usize..4, 100usize..300, Just(17_000)], any::<[bool; 2]>());
    proptest::collection::vec(run, 0..6).prop_map(|runs| {
        let all = runs.iter().flat_map(|(n, [a, b])| core::iter::repeat_n((*a, *b), *n));
        all.unzip()
    })
}

fn differing(old: &[bool], new: &[bool]) -> Vec<u32> {
    (0..old.len()).filter(|&i| old[i] != new[i]).map(|i| i as u32).collect()
}

proptest! {
    #[test]
    fn what_is_encoded_comes_back((old, new) in two_masks()) {
        let bytes = encoded(&old, &new);
        prop_assert_eq!(read(&bytes, old.len() as u32), Ok(Some(differing(&old, &new))));
    }

    /// What reads to its end is the one encoding of the change that it makes.
    #[test]
    fn any_bytes_are_refused_or_canonical(
        bytes in proptest::collection::vec(prop_oneof![0u8..6, any::<u8>()], 0..24), len in 0usize..600,
    ) {
        if let Ok(Some(changed)) = read(&bytes, len as u32) {
            let mut new = vec![false; len];
            changed.iter().for_each(|i| new[*i as usize] = true);
            prop_assert_eq!(encoded(&vec![false; len], &new), bytes);
        }
    }

    /// A flipped bit is refused, or is another change, or one that is not over; a cut is not over.
    #[test]
    fn damage_is_never_the_same_change((old, new) in two_masks(), at: prop::sample::Index, bit in 0u8..8) {
        let bytes = encoded(&old, &new);
        let right = Ok(Some(differing(&old, &new)));
        let mut flipped = bytes.clone();
        flipped[at.index(bytes.len())] ^= 1 << bit;
        prop_assert_ne!(read(&flipped, old.len() as u32), right);
        prop_assert_eq!(read(&bytes[..at.index(bytes.len())], old.len() as u32), Ok(None));
    }
}
