//! Changes of masks, and bytes from anyone.

use super::*;

fn encoded(old: &[bool], new: &[bool]) -> Vec<u8> {
    let (a, b) = (bitmap_of(old), bitmap_of(new));
    let (a, b) = (Bitmap::new(&a, old.len()).unwrap(), Bitmap::new(&b, new.len()).unwrap());
    let n = mask_diff_len(a, b).unwrap();
    let mut out = vec![0xee; n + 3];
    assert_eq!(MaskDiff::encode(a, b, &mut out), Ok(n));
    assert_eq!(out[n..], [0xee; 3]);
    if n > 0 {
        let mut short = vec![0xee; n - 1];
        assert_eq!(MaskDiff::encode(a, b, &mut short), Err(MaskDiffError::Capacity { expected: n, got: n - 1 }));
        assert!(short.iter().all(|b| *b == 0xee));
    }
    out.truncate(n);
    out
}

#[test]
fn errors_say_where() {
    let decode = |bytes: &[u8], len| MaskDiff::decode(bytes, len).map(|d| d.len());
    assert_eq!(decode(&[], 8), Err(MaskDiffError::Cut { at: 0 }));
    assert_eq!(decode(&[0], 8), Err(MaskDiffError::Cut { at: 1 }));
    assert_eq!(decode(&[0, 0], 8), Ok(8));
    assert_eq!(decode(&[0, 0, 0], 8), Err(MaskDiffError::Trailing { at: 2 }));
    assert_eq!(decode(&[2, 0, 3], 8), Err(MaskDiffError::Count { expected: 1, got: 2 }));
    assert_eq!(decode(&[2, 1, 0, 0, 0], 2), Err(MaskDiffError::Count { expected: 2, got: 3 }));
    assert_eq!(decode(&[1, 0, 8], 8), Err(MaskDiffError::Index { at: 2, expected: 8, got: 8 }));
    assert_eq!(decode(&[0, 2, 3, 4], 8), Err(MaskDiffError::Index { at: 3, expected: 8, got: 8 }));
    assert_eq!(decode(&[1, 1, 3, 3], 8), Err(MaskDiffError::Both { index: 3 }));
    assert_eq!(decode(&[1, 0, 0x83, 0x00], 8), Err(MaskDiffError::Varint { at: 2 }));
    assert_eq!(decode(&[1, 0, 0x83], 8), Err(MaskDiffError::Cut { at: 2 }));
    assert_eq!(decode(&[1, 0, 0xff, 0xff, 0xff, 0xff, 0x1f], 8), Err(MaskDiffError::Varint { at: 2 }));
    assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff, 0xff, 0], 8), Err(MaskDiffError::Varint { at: 0 }));
    // The largest counts and gaps that a varint holds overflow nothing.
    let most = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let both = [most, most].concat();
    assert!(matches!(decode(&both, 8), Err(MaskDiffError::Count { expected: 0, .. })));
    let gap = [&[0, 2][..], &most, &most].concat();
    let len = u32::MAX as usize;
    assert_eq!(decode(&gap, len), Err(MaskDiffError::Index { at: 2, expected: len, got: u32::MAX.into() }));
}

#[test]
fn a_change_fits_only_its_mask() {
    let bytes = encoded(&[true, false, true], &[false, true, true]);
    let diff = MaskDiff::decode(&bytes, 3).unwrap();
    assert!(!diff.is_empty());
    for (bits, error) in
        [([0b100u8], MaskDiffError::NotLive { index: 0 }), ([0b111], MaskDiffError::NotPruned { index: 1 })]
    {
        let mut mask = bits;
        assert_eq!(diff.apply(&mut BitmapMut::new(&mut mask, 3).unwrap()), Err(error));
        assert_eq!(mask, bits, "nothing is written");
    }
    let mut longer = [0b101];
    let error = MaskDiffError::Length { expected: 3, got: 4 };
    assert_eq!(diff.apply(&mut BitmapMut::new(&mut longer, 4).unwrap()), Err(error));
    let (a, b) = (Bitmap::new(&[1], 3).unwrap(), Bitmap::new(&[1], 4).unwrap());
    assert_eq!(mask_diff_len(a, b), Err(MaskDiffError::Length { expected: 3, got: 4 }));
}

/// Two masks with runs and gaps of many lengths.
fn two_masks() -> impl Strategy<Value = (Vec<bool>, Vec<bool>)> {
    let run = (prop_oneof![1usize..4, 100usize..300, Just(17_000)], any::<[bool; 2]>());
    proptest::collection::vec(run, 0..6).prop_map(|runs| {
        let all = runs.iter().flat_map(|(n, [a, b])| core::iter::repeat_n((*a, *b), *n));
        all.unzip()
    })
}

proptest! {
    #[test]
    fn what_is_encoded_comes_back((old, new) in two_masks()) {
        let bytes = encoded(&old, &new);
        let diff = MaskDiff::decode(&bytes, old.len()).unwrap();
        let died = |a: &[bool], b: &[bool]| (0..a.len()).filter(|&i| a[i] && !b[i]).collect::<Vec<_>>();
        prop_assert_eq!(diff.dropped().collect::<Vec<_>>(), died(&old, &new));
        prop_assert_eq!(diff.grown().collect::<Vec<_>>(), died(&new, &old));
        prop_assert_eq!(diff.dropped().len(), died(&old, &new).len());
        prop_assert_eq!(diff.is_empty(), old == new);
        let mut mask = bitmap_of(&old);
        diff.apply(&mut BitmapMut::new(&mut mask, old.len()).unwrap()).unwrap();
        prop_assert_eq!(&mask, &bitmap_of(&new));
    }

    /// What decodes is the one encoding of the change that it makes.
    #[test]
    fn any_bytes_are_refused_or_canonical(
        bytes in proptest::collection::vec(prop_oneof![0u8..6, any::<u8>()], 0..24), len in 0usize..600,
    ) {
        if let Ok(diff) = MaskDiff::decode(&bytes, len) {
            prop_assert_eq!(diff.len(), len);
            let mut old = vec![false; len];
            diff.dropped().for_each(|i| old[i] = true);
            let mut new = vec![false; len];
            diff.grown().for_each(|i| new[i] = true);
            prop_assert_eq!(encoded(&old, &new), bytes);
        }
    }

    /// A flipped bit or a cut is refused, or is another change.
    #[test]
    fn damage_is_never_the_same_change((old, new) in two_masks(), at: prop::sample::Index, bit in 0u8..8) {
        let bytes = encoded(&old, &new);
        let right = MaskDiff::decode(&bytes, old.len()).unwrap();
        let mut flipped = bytes.clone();
        flipped[at.index(bytes.len())] ^= 1 << bit;
        if let Ok(wrong) = MaskDiff::decode(&flipped, old.len()) {
            let same = wrong.dropped().eq(right.dropped()) && wrong.grown().eq(right.grown());
            prop_assert!(!same);
        }
        let cut = &bytes[..at.index(bytes.len())];
        prop_assert!(MaskDiff::decode(cut, old.len()).is_err());
    }
}
