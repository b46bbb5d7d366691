//! From the delta to what may leave: clip, noise.
//!
//! Each step consumes the last through private constructors, so that an upload that was not clipped does not compile,
//! and the noise takes its sensitivity from the clip: there is one number for one fact.

mod clip;
mod noise;

pub use clip::ClippedDelta;
pub use noise::NoisedDelta;
