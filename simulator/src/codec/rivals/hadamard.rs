//! The randomised Hadamard rotation `y = H (s x) / sqrt(d)`, in Sylvester's order, and back; of any length in blocks of powers of two.

use siskin::quantize::Uniform;

/// Multiplies by `H / sqrt(d)`, which is its own inverse. `d = y.len()` is a power of two; `d log2 d` additions.
///
/// # Panics
/// If it is not.
pub fn transform(y: &mut [f64]) {
    assert!(y.len().is_power_of_two(), "{} is no power of two", y.len());
    let mut half = 1;
    while half < y.len() {
        for block in y.chunks_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let scale = 1.0 / (y.len() as f64).sqrt();
    y.iter_mut().for_each(|y| *y *= scale);
}

/// Rotates `x`; `signs` are 1 or -1.
pub fn rotate(x: &[f64], signs: &[f64]) -> Vec<f64> {
    let mut y: Vec<f64> = x.iter().zip(signs).map(|(x, s)| x * s).collect();
    transform(&mut y);
    y
}

/// Undoes [`rotate`].
pub fn rotate_back(y: &[f64], signs: &[f64]) -> Vec<f64> {
    let mut x = y.to_vec();
    transform(&mut x);
    x.iter_mut().zip(signs).for_each(|(x, s)| *x *= s);
    x
}

/// How a vector whose length is no power of two is rotated. Coordinates that fill up a block are 0, and cost what all others cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One block, filled up to the next power of two: up to twice as many coordinates.
    Padded,
    /// Blocks of this power of two, the last one filled up.
    Blocks(usize),
    /// The largest power of two that fits, then the largest that fits into the rest, and so on until less than a sixteenth of the
    /// vector is left, which is filled up: few blocks and little filling.
    Powers,
}

impl Layout {
    /// Lengths of the blocks of a vector of `d` coordinates: powers of two, `d` or more in all.
    pub fn blocks(self, d: usize) -> Vec<usize> {
        match self {
            _ if d == 0 => Vec::new(),
            Self::Padded => vec![d.next_power_of_two()],
            Self::Blocks(size) => vec![size.next_power_of_two(); d.div_ceil(size.next_power_of_two())],
            Self::Powers => {
                let (mut blocks, mut left) = (Vec::new(), d);
                while left > 0 {
                    let fits = 1 << left.ilog2();
                    let block = if left <= d / 16 { left.next_power_of_two() } else { fits };
                    blocks.push(block);
                    left = left.saturating_sub(block);
                }
                blocks
            }
        }
    }
}

/// Signs of coordinates by a seed that both sides know.
pub fn signs(seed: u64, count: usize) -> Vec<f64> {
    let uniform = Uniform::new(seed);
    (0..count as u32).map(|i| if uniform.bits(i) & 1 == 0 { 1.0 } else { -1.0 }).collect()
}

/// Each block of `x` filled up with zeros, with its place in `x`.
pub fn split(x: &[f64], layout: Layout) -> impl Iterator<Item = (std::ops::Range<usize>, Vec<f64>)> {
    let mut at = 0;
    layout.blocks(x.len()).into_iter().map(move |length| {
        let place = at..(at + length).min(x.len());
        let mut block = x[place.clone()].to_vec();
        block.resize(length, 0.0);
        at = place.end;
        (place, block)
    })
}
