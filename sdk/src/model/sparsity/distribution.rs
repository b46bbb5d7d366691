//! How the sparsity of a whole is shared out over its tensors: uniform, or Erdos-Renyi-kernel (ERK).
//!
//! ERK: Mocanu et al. 2018 (arXiv 1707.04780, equation 3), with the kernel's axes Evci et al. 2020 (arXiv 1911.11134,
//! section 3); the loop that makes layers dense is that of JaxPruner's `sparsity_distributions.py`. f64 throughout; the
//! share of each tensor is then rounded to f32 for [`num_ones`](super::num_ones).
//!
//! A tensor with one axis (a bias, a norm's scale) is never pruned, and has no part in the budget, unless the caller gives it
//! a sparsity of its own. ERK makes small tensors dense; whether that costs more multiply-adds than uniform sparsity depends
//! on the network.

/// A tensor to share with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorShape<'a> {
    /// Its axes; in convolutions the kernel's first, then `[in, out]`.
    pub shape: &'a [usize],
    /// A sparsity of its own: it is taken as it is, and the tensor has no part in the budget of the others.
    pub custom: Option<f64>,
}

impl TensorShape<'_> {
    /// Entries, as f64: exact to 2^53.
    fn size(&self) -> f64 {
        product(self.shape)
    }
}

fn product(shape: &[usize]) -> f64 {
    shape.iter().map(|d| *d as f64).product()
}

/// Whether a tensor of this shape is pruned where nothing else is said: it has more than one axis.
pub fn is_prunable(shape: &[usize]) -> bool {
    shape.len() > 1
}

/// How sparsity is shared out.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Distribution {
    /// The same sparsity for each tensor.
    Uniform,
    /// Density in proportion to `(sum of the axes / product of the axes) ^ power`.
    ErdosRenyiKernel {
        /// In `[0, 16]`; 1 in the paper; below 1 the shares are more alike.
        power: f64,
    },
    /// Density in proportion to `(in + out) / (in * out)` of the last two axes.
    ErdosRenyi,
}

impl Distribution {
    /// ERK with power 1.
    pub const ERK: Self = Self::ErdosRenyiKernel { power: 1.0 };
}

/// Why nothing was shared out. Nothing has been written.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum DistributionError {
    /// The sparsity of the whole is not a number in `[0, 1]`.
    SparsityOutOfRange {
        /// What was asked for.
        got: f64,
    },
    /// A tensor's own sparsity is not a number in `[0, 1]`.
    CustomOutOfRange {
        /// Its index.
        tensor: usize,
        /// What was asked for.
        got: f64,
    },
    /// A power that is not a number in `[0, 16]`.
    PowerOutOfRange {
        /// What was asked for.
        got: f64,
    },
    /// A tensor that takes part has no entries.
    Empty {
        /// Its index.
        tensor: usize,
    },
    /// The destination does not have one place per tensor.
    Length {
        /// Tensors.
        expected: usize,
        /// Places.
        got: usize,
    },
}

impl core::fmt::Display for DistributionError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::SparsityOutOfRange { got } => write!(f, "sparsity {got} is not in [0, 1]"),
            Self::CustomOutOfRange { tensor, got } => write!(f, "tensor {tensor}: sparsity {got} is not in [0, 1]"),
            Self::PowerOutOfRange { got } => write!(f, "power {got} is not in [0, 16]"),
            Self::Empty { tensor } => write!(f, "tensor {tensor} has no entries"),
            Self::Length { expected, got } => write!(f, "{got} places for {expected} tensors"),
        }
    }
}

impl core::error::Error for DistributionError {}

/// Writes the sparsity of each tensor, `None` for one that is not pruned.
///
/// Uniform: `sparsity` for all. Erdos-Renyi: each round finds the factor with which the densities meet the budget
/// (`size - floor(sparsity * size)` of each tensor that takes part); while the largest density would exceed 1, the tensors
/// that have it become dense and the others make up for them. At most one round per tensor, each linear in the tensors.
///
/// # Errors
/// [`DistributionError`].
///
/// ```
/// use siskin::model::sparsity::{Distribution, TensorShape, distribute};
/// let tensor = |shape| TensorShape { shape, custom: None };
/// let tensors = [tensor(&[784, 300][..]), tensor(&[300]), tensor(&[300, 100]), tensor(&[100, 10])];
/// let mut out = [None; 4];
/// distribute(Distribution::ERK, &tensors, 0.9, &mut out).unwrap();
/// let percent = out.map(|s| s.map(|s| (1e4 * s).round() / 1e2));
/// assert_eq!(percent, [Some(92.04), None, Some(76.98), Some(0.0)]);
/// ```
pub fn distribute(
    distribution: Distribution,
    tensors: &[TensorShape<'_>],
    sparsity: f64,
    out: &mut [Option<f64>],
) -> Result<(), DistributionError> {
    check(distribution, tensors, sparsity)?;
    if out.len() != tensors.len() {
        return Err(DistributionError::Length { expected: tensors.len(), got: out.len() });
    }
    for (share, tensor) in out.iter_mut().zip(tensors) {
        // Those that Erdos-Renyi is still to decide are marked by the sparsity of the whole.
        *share = tensor.custom.or(is_prunable(tensor.shape).then_some(sparsity));
    }
    if distribution == Distribution::Uniform {
        return Ok(());
    }
    // Dense from a sparsity of 0 on: a tensor that became dense is told from the others by its share.
    if sparsity > 0.0 {
        erdos_renyi(distribution, tensors, sparsity, out);
    }
    Ok(())
}

fn check(distribution: Distribution, tensors: &[TensorShape<'_>], sparsity: f64) -> Result<(), DistributionError> {
    if !(0.0..=1.0).contains(&sparsity) {
        return Err(DistributionError::SparsityOutOfRange { got: sparsity });
    }
    if let Distribution::ErdosRenyiKernel { power: got } = distribution
        && !(0.0..=16.0).contains(&got)
    {
        return Err(DistributionError::PowerOutOfRange { got });
    }
    for (index, tensor) in tensors.iter().enumerate() {
        match tensor.custom {
            Some(got) if !(0.0..=1.0).contains(&got) => {
                return Err(DistributionError::CustomOutOfRange { tensor: index, got });
            }
            None if is_prunable(tensor.shape) && tensor.shape.contains(&0) => {
                return Err(DistributionError::Empty { tensor: index });
            }
            _ => {}
        }
    }
    Ok(())
}

/// `out` has `sparsity`, which is positive, where a tensor is prunable.
fn erdos_renyi(distribution: Distribution, tensors: &[TensorShape<'_>], sparsity: f64, out: &mut [Option<f64>]) {
    let decides = |tensor: &TensorShape<'_>| tensor.custom.is_none() && is_prunable(tensor.shape);
    let density = |tensor: &TensorShape<'_>| raw_density(distribution, tensor.shape);
    let factor = loop {
        let (mut budget, mut whole, mut largest) = (0.0, 0.0, 0.0f64);
        for (tensor, share) in tensors.iter().zip(out.iter()).filter(|(t, _)| decides(t)) {
            let size = tensor.size();
            let zeros = libm::floor(sparsity * size);
            if *share == Some(0.0) {
                budget -= zeros;
            } else {
                budget += size - zeros;
                whole += density(tensor) * size;
                largest = largest.max(density(tensor));
            }
        }
        // All dense: nothing is left to decide.
        if whole == 0.0 {
            return;
        }
        let factor = budget / whole;
        if largest * factor <= 1.0 {
            break factor;
        }
        for (tensor, share) in tensors.iter().zip(out.iter_mut()).filter(|(t, _)| decides(t)) {
            if density(tensor) == largest {
                *share = Some(0.0);
            }
        }
    };
    for (tensor, share) in tensors.iter().zip(out).filter(|(t, _)| decides(t)) {
        if *share != Some(0.0) {
            *share = Some((1.0 - factor * density(tensor)).clamp(0.0, 1.0));
        }
    }
}

/// Density up to the common factor.
fn raw_density(distribution: Distribution, shape: &[usize]) -> f64 {
    let axes = match distribution {
        Distribution::ErdosRenyi => &shape[shape.len().saturating_sub(2)..],
        _ => shape,
    };
    let ratio = axes.iter().map(|d| *d as f64).sum::<f64>() / product(axes);
    match distribution {
        Distribution::ErdosRenyiKernel { power } if power != 1.0 => libm::pow(ratio, power),
        _ => ratio,
    }
}

/// The sparsity of all tensors together that have one, weighted by their entries; 0 if none has.
pub fn overall_sparsity(tensors: &[TensorShape<'_>], shares: &[Option<f64>]) -> f64 {
    let with_share = || tensors.iter().zip(shares).filter_map(|(t, s)| s.map(|s| (t.size(), s)));
    let entries: f64 = with_share().map(|(size, _)| size).sum();
    let zeros: f64 = with_share().map(|(size, share)| size * share).sum();
    if entries > 0.0 { zeros / entries } else { 0.0 }
}
