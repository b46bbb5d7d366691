//! Which params live.
//!
//! | question | answered by |
//! |---|---|
//! | which deserve to live? | [`Scores`]: [`magnitude_scores`], [`saliency_scores`], [`fisher_scores`], [`random_scores`] |
//! | what lives or dies together? | [`SparsityType`]: single params, N:M, blocks, channels |
//! | how many? | [`num_ones`] of a sparsity, which [`distribute`] gives each tensor: uniform or ERK |
//! | when? | [`Schedule`], [`Acdc`], [`DropFraction`] |
//! | one ranking over all tensors? | [`global_mask`], [`SaliencySum`] (SNIP, over clients) |
//! | a mask that moves? | [`set_update`], [`rigl_update`], both [`drop_and_grow`] |
//! | a mask before every forward pass, or for ever? | [`magnitude_ste`]; [`static_random_mask`] |
//! | then | [`apply_mask`], [`reset_activated`]; the mask itself is a [`Bitmap`], its change: [`write_mask_diff`], [`MaskDiffReader`] |
//!
//! Any scores go with any sparsity type: [`SparsityType::mask`]. Nothing is allocated: the caller lends the scratch.
//!
//! Masks agree to the bit with JaxPruner (Lee et al. 2023, arXiv 2304.14082), on every target, because a mask that a server
//! makes must be the mask that a device would have made. The rules that are easy to get wrong:
//! - the count is rounded **in f32, half to even**: 15 params at sparsity 0.7 keep 4, where f64 would keep 5;
//! - at least one param lives, even at sparsity 1; at sparsity 0 all do, whatever their scores;
//! - of equal scores the lowest flat (row-major) index wins, but in N:M groups the highest; `-0.0` and `0.0` are equal;
//! - N:M has its own density: the sparsity only says whether there is a mask at all;
//! - blocks are of the **first** two axes; periodic schedules count multiples of the step, not of the distance from their
//!   start; the polynomial schedule is one step ahead;
//! - the mask is made from the params before the step.
//!
//! Where upstream gives no usable answer, this departs from it:
//! - A NaN score never wins over a number. With fewer numbers than places, upstream's threshold becomes NaN and *every* param
//!   is pruned, and in N:M groups a NaN is upstream's highest score; here the numbers stay and the count that is returned is
//!   smaller. Only an update of SET or RigL lets a NaN take a place that nothing else wants, to keep the count. In a global
//!   ranking a NaN does not spoil the norm of its tensor.
//! - A pruned param is assigned `0.0`, where upstream multiplies (`NaN * 0` is NaN, `-x * 0` is `-0.0`).
//! - Ragged blocks cover the tensor, where upstream's padding can lose its edge (`block.rs`).
//! - SET and RigL rank by lexicographic keys, where upstream adds 1e-5 to scores, which f32 absorbs beyond 256, and they keep
//!   the number of ones by counting it, not by rounding a density (`drop_grow.rs`).
//! - Upstream's packed masks are most significant bit first, and do not work with SET, RigL and AC/DC; a [`Bitmap`] is least
//!   significant bit first and works with all.
//! - Random masks come from another generator: only their number of ones is upstream's.
//! - ERK ends where all tensors became dense, where upstream divides by zero; a share is clamped to `[0, 1]`.
//! - A sparsity or drop fraction outside `[0, 1]`, a mask of another shape, a type that does not fit the shape are refused.

mod acdc;
mod apply;
mod bitmap;
mod block;
mod channel;
mod diff;
mod distribution;
mod drop_fraction;
mod drop_grow;
mod error;
mod fisher;
mod global;
mod magnitude;
mod magnitude_ste;
mod n_of_m;
mod random;
mod rigl;
mod saliency;
mod schedule;
mod scores;
mod set;
mod snip;
mod sparsity_type;
mod static_random;
mod top_k;

pub use acdc::{Acdc, AcdcError, Phase};
pub use apply::{apply_mask, masked_copy, reset_activated};
pub use bitmap::{Bitmap, BitmapError, BitmapMut, bitmap_bytes};
pub use diff::{MaskDiffError, MaskDiffReader, mask_diff_len, write_mask_diff};
pub use distribution::{Distribution, DistributionError, TensorShape, distribute, is_prunable, overall_sparsity};
pub use drop_fraction::DropFraction;
pub use drop_grow::drop_and_grow;
pub use error::SparsityError;
pub use fisher::fisher_scores;
pub use global::{GlobalTensor, global_mask};
pub use magnitude::{magnitude_mask, magnitude_scores};
pub use magnitude_ste::magnitude_ste;
pub use random::{Draw, random_scores};
pub use rigl::rigl_update;
pub use saliency::saliency_scores;
pub use schedule::{Schedule, ScheduleError};
pub use scores::Scores;
pub use set::{SET_DROP_FRACTION, set_update};
pub use snip::SaliencySum;
pub use sparsity_type::{Pooling, SparsityType};
pub use static_random::static_random_mask;
pub use top_k::{num_ones, top_k_mask_by};

#[cfg(test)]
mod tests;
