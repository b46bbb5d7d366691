//! Privacy-loss distributions: the tight accountant.
//!
//! A mechanism on two neighbouring populations is a pair of laws (P, Q). Its privacy loss is `log(dP/dQ)` of an outcome
//! drawn from P; the hockey stick `delta(epsilon) = E max(0, 1 - exp(epsilon - loss))` follows from the loss's
//! distribution alone, and composing mechanisms adds independent losses (Sommer, Meiser, Mohammadi 2019, "Privacy Loss
//! Classes"). A [`Pmf`] holds the loss on a grid of equal gaps; [`Directions`] one for each order of the pair.
//!
//! * Discretisation is pessimistic: mass between two grid points is moved to both of them so that its probability under
//!   P *and* under Q is kept ("connect the dots": Doroshenko, Ghazi, Kamath, Kumar, Manurangsi 2022). The result's
//!   delta is a majorant of the true one that touches it at every grid point. Tails that are cut off go to an atom at
//!   infinity.
//! * Composition is one FFT product of exponentially tilted distributions ([`Composed`]), so that a delta of 1e-26 has
//!   its leading digits right; what the window cuts off is bounded and added.
//! * Floating-point error is not followed operation by operation; every delta is widened by [`WIDENING`], relatively,
//!   which is some thousand times the error seen against forty digits, and epsilon is the one at which the widened delta
//!   is met.

mod binomial;
mod compose;
mod discrete;
mod fft;
mod mixture;
mod pair;
mod pmf;
mod query;
mod replace;
mod spectrum;
mod truncated;

pub use compose::Composed;
pub use pmf::{Directions, Pmf};

pub(crate) use binomial::binomial_weights;
pub(crate) use discrete::{discrete_gaussian, discrete_laplace, epsilon_delta, laplace};
pub(crate) use mixture::Mixture;
pub(crate) use pair::{discretise, interval_for, interval_of_range};
pub(crate) use replace::SampledReplaced;
pub(crate) use truncated::truncated_poisson;

/// Gap of the grid of losses unless told otherwise.
pub const DEFAULT_INTERVAL: f64 = 1e-4;

/// Every computed delta is multiplied by 1 + this, for rounding.
pub const WIDENING: f64 = 1e-10;

/// The resolution of an account.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// Gap between two losses, in nats; above 0.
    pub interval: f64,
    /// Probability of one release that may be cut off at each end of its grid (it is added to delta).
    pub tail: f64,
}

/// A distribution of more atoms than this is put on a coarser grid, which is a bound too.
pub(crate) const MOST_ATOMS: f64 = 524_288.0;
