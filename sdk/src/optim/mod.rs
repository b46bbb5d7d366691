//! The client optimizer, and what it leaves: the delta.

mod sgd;

pub use sgd::Sgd;

/// The change of the parameters, **global minus local** (the pseudo-gradient of Reddi et al. 2021), over the live
/// coordinates in the order in which a report carries them.
///
/// It cannot leave the device: the only way on is [`clip`](Self::clip).
///
/// ```compile_fail,E0599
/// use siskin::{checkin::Quantization, optim::Delta};
/// let _ = |delta: Delta<'_>, q: &Quantization| {
///     let _ = delta.quantize(q, 0); // an unclipped delta has no such method
/// };
/// ```
/// The same with both steps in between compiles:
/// ```
/// use siskin::{checkin::{Privacy, Quantization}, optim::Delta};
/// let _ = |delta: Delta<'_>, p: &Privacy, q: &Quantization, rng: &mut rand_chacha::ChaCha20Rng| {
///     let _ = delta.clip(p.clip_norm).noise(p, rng).quantize(q, 0);
/// };
/// ```
#[derive(Debug)]
pub struct Delta<'a> {
    pub(crate) values: &'a mut [f32],
}

impl<'a> Delta<'a> {
    pub(crate) fn new(values: &'a mut [f32]) -> Self {
        Self { values }
    }

    /// The change per live coordinate.
    pub fn values(&self) -> &[f32] {
        self.values
    }
}

/// Turns the trained parameters into the delta, in place: `local[k] = global[k] - local[k]`.
pub(crate) fn subtract(global: &[f32], local: &mut [f32]) {
    for (l, g) in local.iter_mut().zip(global) {
        *l = g - *l;
    }
}
