//! What is refused, where it stands, and what belongs there.

use siskin_accounting::correlated::StrategyError;

/// Why there is no account.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// A word that names no mechanism.
    #[error("--mechanism {got}: {known} are known")]
    Mechanism {
        /// The word.
        got: String,
        /// The names.
        known: String,
    },
    /// A flag that the mechanism cannot do without.
    #[error("--{flag} is missing: {mechanism} needs it ({what})")]
    Missing {
        /// The flag.
        flag: &'static str,
        /// Who needs it.
        mechanism: String,
        /// What it says.
        what: &'static str,
    },
    /// A flag that means nothing to the mechanism.
    #[error("--{flag}: mechanism {mechanism} has no use for it; it takes {takes}")]
    Useless {
        /// The flag.
        flag: &'static str,
        /// The mechanism.
        mechanism: &'static str,
        /// Its own flags.
        takes: String,
    },
    /// A flag's value.
    #[error("--{flag} {value}: {message}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// As it was given.
        value: String,
        /// What belongs there.
        message: String,
    },
    /// A file of events.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: String,
        /// What is wrong, and where in it.
        message: String,
    },
    /// The accountant.
    #[error(transparent)]
    Accounting(#[from] siskin_accounting::Error),
    /// The accountant of correlated noise.
    #[error(transparent)]
    Strategy(#[from] StrategyError),
}
