//! Sizes of outputs, and what is refused.

use super::*;
use crate::model::kernel::portable;

const CONV: ConvGeometry = ConvGeometry {
    in_channels: 4,
    in_h: 28,
    in_w: 20,
    out_channels: 8,
    kernel: [5, 3],
    stride: [2, 1],
    padding: [1, 0, 2, 3],
    dilation: [1, 2],
    groups: 2,
};

const POOL: PoolGeometry =
    PoolGeometry { channels: 1, in_h: 5, in_w: 1, kernel: [2, 2], stride: [2, 2], padding: [0; 4], dilation: [1, 1] };

#[test]
fn convolutions() {
    assert_eq!((CONV.out_h(), CONV.out_w(), CONV.taps()), (Some(14), Some(19), 30));
    assert_eq!(ConvGeometry { kernel: [31, 3], ..CONV }.out_h(), Some(1));
    let refused = [
        ConvGeometry { kernel: [32, 3], ..CONV },
        ConvGeometry { kernel: [0, 3], ..CONV },
        ConvGeometry { stride: [0, 1], ..CONV },
        ConvGeometry { dilation: [0, 1], ..CONV },
        ConvGeometry { dilation: [8, 1], ..CONV },
        ConvGeometry { dilation: [usize::MAX, 1], ..CONV },
        ConvGeometry { padding: [usize::MAX, 0, 0, 0], ..CONV },
        ConvGeometry { padding: [0, 0, usize::MAX, 0], ..CONV },
        ConvGeometry { in_h: 0, ..CONV },
        ConvGeometry { in_channels: 0, ..CONV },
        ConvGeometry { out_channels: 0, ..CONV },
        ConvGeometry { groups: 0, ..CONV },
        ConvGeometry { groups: 3, ..CONV },
        ConvGeometry { groups: 8, ..CONV },
        ConvGeometry { in_channels: usize::MAX / 2 + 1, ..CONV },
        ConvGeometry { out_channels: usize::MAX - 1, ..CONV },
    ];
    for g in refused {
        assert_eq!(g.out_h(), None, "{g:?}");
    }
    assert_eq!(ConvGeometry { dilation: [7, 1], ..CONV }.out_h(), Some(2));
}

#[test]
fn pools() {
    assert_eq!((POOL.out_h(), POOL.out_w()), (Some(2), None));
    let padded = |top, bottom| PoolGeometry { padding: [top, 0, bottom, 0], ..POOL }.out_h();
    assert_eq!(padded(1, 0), Some(3));
    // The first window has the rows -2 and -1.
    assert_eq!(padded(2, 0), None);
    // The last one has 4 and 5, or 6 and 7.
    assert_eq!(padded(0, 2), Some(3));
    assert_eq!(padded(0, 3), None);
    // The first window steps over the input.
    let over = PoolGeometry { in_h: 1, padding: [1, 0, 1, 0], dilation: [2, 1], ..POOL };
    assert_eq!(over.out_h(), None);
    assert_eq!(PoolGeometry { kernel: [3, 1], ..over }.out_h(), None);
    assert_eq!(PoolGeometry { padding: [0, 0, 2, 0], ..over }.out_h(), Some(1));
}

/// Small numbers, and those at which something may overflow.
fn number() -> impl Strategy<Value = usize> + Clone {
    prop_oneof![
        38 => 1usize..5,
        2 => Just(0),
        1 => any::<usize>(),
        1 => (0u32..usize::BITS, 0usize..3).prop_map(|(shift, less)| (1usize << shift).wrapping_sub(less)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    /// No geometry panics, and where memory for it would be there, no kernel does.
    #[test]
    fn nothing_panics(
        (in_channels, in_h, in_w, out_channels, groups) in (number(), number(), number(), number(), number()),
        (kernel, stride, dilation) in (pair(number()), pair(number()), pair(number())),
        (before, after) in (pair(number()), pair(number())),
        batch in 0usize..4,
    ) {
        let padding = [before[0], before[1], after[0], after[1]];
        let g = ConvGeometry { in_channels, in_h, in_w, out_channels, kernel, stride, padding, dilation, groups };
        let p = PoolGeometry { channels: in_channels, in_h, in_w, kernel, stride, padding, dilation };
        let _ = (g.taps(), p.out_h(), p.out_w());
        let size = |factors: [usize; 4]| {
            factors.into_iter().try_fold(1usize, usize::checked_mul).filter(|&size| size < 100_000)
        };
        let inputs = size([in_channels, in_h, in_w, batch.max(1)]).map(|_| in_channels * in_h * in_w * batch);
        if let (Some(out_h), Some(out_w)) = (g.out_h(), g.out_w())
            && let (Some(inputs), Some(outputs)) = (inputs, size([out_channels, out_h, out_w, batch]))
            && let Some(weights) = size([out_channels, g.taps(), 1, 1])
            && size([out_h, out_w, kernel[0], kernel[1]]).is_some()
        {
            let (w, mut x, mut y) = (vec![1.0; weights], vec![1.0; inputs], vec![1.0; outputs]);
            portable::conv_forward(&g, &w, &[], &x, &mut y, batch);
            portable::conv_input_grad(&g, &w, &y, &mut x, batch);
            prop_assert_eq!(collected(weights, |sink| portable::conv_weight_grad(&g, &y, &x, batch, sink)).len(), weights);
        }
        if let (Some(out_h), Some(out_w)) = (p.out_h(), p.out_w()) {
            let windows = size([in_channels, out_h, out_w, 1]);
            if let (Some(inputs), Some(windows)) = (inputs, windows)
                && size([kernel[0], kernel[1], windows, 1]).is_some()
            {
                let outputs = windows * batch;
                prop_assert!(oracle::windows(&p).iter().all(|window| !window.is_empty()));
                let (mut x, mut y) = (vec![1.0; inputs], vec![1.0; outputs]);
                portable::max_pool_forward(&p, &x, &mut y, batch);
                portable::avg_pool_forward(&p, true, &x, &mut y, batch);
                portable::max_pool_backward(&p, &x.clone(), &y.clone(), &y, &mut x, batch);
                portable::avg_pool_backward(&p, false, &y, &mut x, batch);
            }
        }
    }
}

/// A window is refused where it would lie in the padding, and else only with dilations beyond the input.
#[test]
fn refuses_no_more_than_it_says() {
    let windows = (1usize..7).flat_map(|size| (1usize..5).map(move |kernel| (size, kernel)));
    let steps = windows.flat_map(|window| (1usize..5).flat_map(move |s| (1usize..7).map(move |d| (window, s, d))));
    let paddings = (0usize..8).flat_map(|before| (0usize..8).map(move |after| (before, after)));
    for (((size, kernel), stride, dilation), (before, after)) in
        steps.flat_map(|step| paddings.clone().map(move |padding| (step, padding)))
    {
        let g = PoolGeometry {
            channels: 1,
            in_h: size,
            in_w: 1,
            kernel: [kernel, 1],
            stride: [stride, 1],
            padding: [before, 0, after, 0],
            dilation: [dilation, 1],
        };
        let expected = (size + before + after).checked_sub((kernel - 1) * dilation + 1).map(|room| room / stride + 1);
        let meets = |o: usize, k: usize| (before..before + size).contains(&(o * stride + k * dilation));
        let whole = |out: &usize| (0..*out).all(|o| (0..kernel).any(|k| meets(o, k)));
        let beyond = before > 0 && kernel > 1 && dilation > size;
        assert_eq!(g.out_h(), expected.filter(whole).filter(|_| !beyond), "{g:?}");
    }
}
