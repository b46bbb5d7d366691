//! What a mask does to params and to the state of their optimizer.

use super::{Bitmap, SparsityError};

/// Assigns `0.0` to every param that does not live. Not a product: `NaN * 0` is NaN and `-x * 0` is `-0.0`.
///
/// # Errors
/// [`SparsityError::MaskLength`] when the lengths differ; nothing is written then.
pub fn apply_mask(params: &mut [f32], mask: Bitmap<'_>) -> Result<(), SparsityError> {
    same_length(params.len(), mask)?;
    for (param, live) in params.iter_mut().zip(mask.iter()) {
        if !live {
            *param = 0.0;
        }
    }
    Ok(())
}

/// Writes to `out` the params that live, and `0.0` for the others.
///
/// # Errors
/// [`SparsityError`] when the lengths differ; nothing is written then.
pub fn masked_copy(params: &[f32], mask: Bitmap<'_>, out: &mut [f32]) -> Result<(), SparsityError> {
    same_length(params.len(), mask)?;
    if out.len() != params.len() {
        return Err(SparsityError::Length { expected: params.len(), got: out.len() });
    }
    for ((to, from), live) in out.iter_mut().zip(params).zip(mask.iter()) {
        *to = if live { *from } else { 0.0 };
    }
    Ok(())
}

/// Assigns `0.0` to the optimizer state (a velocity, a moment) of every param that the new mask brought to life. That of
/// a param which lives on, or died, or stays dead, is kept, as upstream's.
///
/// # Errors
/// [`SparsityError::MaskLength`] when the lengths differ; nothing is written then.
pub fn reset_activated(state: &mut [f32], old: Bitmap<'_>, new: Bitmap<'_>) -> Result<(), SparsityError> {
    same_length(state.len(), old)?;
    same_length(state.len(), new)?;
    for ((value, was), is) in state.iter_mut().zip(old.iter()).zip(new.iter()) {
        if is && !was {
            *value = 0.0;
        }
    }
    Ok(())
}

fn same_length(params: usize, mask: Bitmap<'_>) -> Result<(), SparsityError> {
    if mask.len() == params { Ok(()) } else { Err(SparsityError::MaskLength { expected: params, got: mask.len() }) }
}
