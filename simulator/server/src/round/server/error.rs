//! Why a server cannot go on.

use crate::aggregate::MeanError;
use crate::optim::OptimError;
use crate::privacy::{NoiseError, StateError};
use crate::round::collector::CollectorError;
use crate::round::{ModelError, OfferError, SettingsError};
use siskin_accounting::correlated::{StrategyError, Violation};

/// Why a server cannot go on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// A setting.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Plan or checkpoint.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// Clip norm, step or noise.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// The noise of the sum.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// The mean.
    #[error(transparent)]
    Mean(#[from] MeanError),
    /// The step.
    #[error("round {round}: {source}; try a smaller learning rate or a smaller clip norm")]
    Optim {
        /// The round.
        round: u32,
        /// What went wrong.
        source: OptimError,
    },
    /// The accountant.
    #[error(transparent)]
    Accounting(#[from] siskin_accounting::Error),
    /// The accountant of correlated noise.
    #[error(transparent)]
    Strategy(#[from] StrategyError),
    /// The state of correlated noise.
    #[error(transparent)]
    State(#[from] StateError),
    /// Correlated noise is made for who takes part when: a round that does not say it releases nothing.
    #[error("{named} participants were named of a round with {accepted} reports; correlated noise needs all of them")]
    Participants {
        /// Users that were named.
        named: usize,
        /// Reports in the sum.
        accepted: u64,
    },
    /// Somebody is in the round who must not be: nothing is released.
    #[error("the round releases nothing: {0}")]
    Violation(Violation),
}
