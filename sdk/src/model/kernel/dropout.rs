//! Dropout without a stored mask: whether an element stays is a function of its number.

use super::wide::widened;

/// Two words of SplitMix64 (Steele, Lea and Flood 2014), which is run over seed, node and step.
fn keys(seed: u64, node: u32, step: u32) -> [u32; 2] {
    let mut state = seed;
    for word in [node, step] {
        state = mix64(state.wrapping_add(0x9E37_79B9_7F4A_7C15)) ^ u64::from(word);
    }
    let key = mix64(state.wrapping_add(0x9E37_79B9_7F4A_7C15));
    [key as u32, (key >> 32) as u32]
}

fn mix64(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The finaliser of MurmurHash3 (Appleby): every bit of the result depends on every bit of `h`.
#[inline(always)]
fn mix32(h: u32) -> u32 {
    let h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B);
    let h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
    h ^ (h >> 16)
}

widened! {
    /// Drops elements of `y` in place with probability `rate` (at least 0, below 1, to 24 bits), `+0.0` in their stead, and
    /// multiplies the others by `1 / (1 - rate)`. Backward is the same call on the gradient.
    ///
    /// `node` is the layer's number in its graph and `step` the training's, so that each has its own mask. With the two
    /// 32-bit keys that SplitMix64 makes of seed, node and step, element `t` of the slice is dropped if the upper 24 bits of
    /// `mix32(mix32(t xor k0) xor k1)` are below `rate * 2^24`, rounded down; `mix32` is MurmurHash3's finaliser. The mask
    /// therefore depends on the layout, and on the batch, but not on the target.
    pub fn dropout(y: &mut [f32], rate: f32, seed: u64, node: u32, step: u32) {
        let [k0, k1] = keys(seed, node, step);
        let (dropped, scale) = ((rate * 16_777_216.0) as u32, 1.0 / (1.0 - rate));
        for (t, y) in y.iter_mut().enumerate() {
            let hash = mix32(mix32(t as u32 ^ k0) ^ k1);
            *y = if hash >> 8 < dropped { 0.0 } else { *y * scale };
        }
    }
}
