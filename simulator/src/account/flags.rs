//! The flags that describe a mechanism, with the range of each.

use super::AccountError;
use std::collections::BTreeMap;

/// What may stand behind a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Finite and at least 0.
    NotNegative,
    /// Finite and above 0.
    Positive,
    /// In [0, 1].
    Probability,
    /// In (0, 1).
    DpDelta,
    /// A whole number, at least 1.
    Count,
    /// Numbers with commas between.
    List,
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Without the dashes.
    pub name: &'static str,
    /// What stands behind it.
    pub unit: &'static str,
    /// Its range.
    pub kind: Kind,
    /// What it says.
    pub help: &'static str,
}

const fn f(name: &'static str, unit: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag { name, unit, kind, help }
}

/// All flags of mechanisms.
pub const FLAGS: &[Flag] = &[
    f("noise", "Z", Kind::NotNegative, "standard deviation of the noise, in the unit that the table below names"),
    f("sampling", "Q", Kind::Probability, "probability of being in a round: of a user, or with els of an example"),
    f("example-sampling", "Q", Kind::Probability, "of two-stage: probability of an example on a sampled device"),
    f("group", "G", Kind::Count, "most examples of a user"),
    f("norms", "LIST", Kind::List, "of mixture: how far a user moves the sum, with commas"),
    f("weights", "LIST", Kind::List, "of mixture: with which probabilities; they sum to 1"),
    f("users", "N", Kind::Count, "users in all"),
    f("cap", "N", Kind::Count, "of truncated: largest cohort"),
    f("cohort", "N", Kind::Count, "of fixed-size: users of each round"),
    f("sensitivity", "S", Kind::Positive, "largest change of the value by a user (default 1)"),
    f("l2", "S", Kind::Positive, "largest change of the sum by a user in L2, in steps of the grid"),
    f("l1", "S", Kind::Positive, "the same in L1 (default: what follows for integers, min(l2^2, l2 sqrt(dimension)))"),
    f("dimension", "D", Kind::Count, "coordinates of the vector"),
    f("devices", "N", Kind::Count, "of distributed: devices whose noise is certain to be in the sum"),
    f("separation", "B", Kind::Count, "of correlated noise: a user's rounds are at least so far apart (default 1)"),
    f(
        "participations",
        "K",
        Kind::Count,
        "of correlated noise: a user's rounds at most (default: what B leaves room for)",
    ),
    f("bands", "N", Kind::Count, "of banded (default B)"),
    f("buffers", "N", Kind::Count, "of blt, 1 to 4 (default 2)"),
];

/// Flags as they were given.
#[derive(Clone, Debug, Default)]
pub struct Given(BTreeMap<&'static str, String>);

impl Given {
    /// Notes a flag.
    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.insert(name, value.into());
    }

    /// The same without a flag.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let mut rest = self.clone();
        rest.0.remove(name);
        rest
    }

    /// Whether it was given.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// A number in its range; none where it was not given.
    ///
    /// # Errors
    /// [`AccountError::Flag`].
    pub fn number(&self, name: &'static str) -> Result<Option<f64>, AccountError> {
        let kind = FLAGS.iter().find(|flag| flag.name == name).map_or(Kind::NotNegative, |flag| flag.kind);
        self.0.get(name).map(|text| number(name, text, kind)).transpose()
    }

    /// A whole number of at least 1.
    ///
    /// # Errors
    /// [`AccountError::Flag`].
    pub fn count(&self, name: &'static str) -> Result<Option<u64>, AccountError> {
        self.0.get(name).map(|text| count(name, text)).transpose()
    }

    /// Numbers with commas between.
    ///
    /// # Errors
    /// [`AccountError::Flag`].
    pub fn list(&self, name: &'static str) -> Result<Option<Vec<f64>>, AccountError> {
        self.0.get(name).map(|text| list(name, text, Kind::NotNegative)).transpose()
    }
}

/// Reads a number and checks its range.
///
/// # Errors
/// [`AccountError::Flag`].
pub fn number(flag: &'static str, text: &str, kind: Kind) -> Result<f64, AccountError> {
    let refused = |message: &str| AccountError::Flag { flag, value: text.to_owned(), message: message.to_owned() };
    let got: f64 = text.trim().parse().map_err(|_| refused("a number belongs here"))?;
    // NaN is in no range.
    let (inside, range) = match kind {
        Kind::Probability => ((0.0..=1.0).contains(&got), "must be in [0, 1]"),
        Kind::DpDelta => (got > 0.0 && got < 1.0, "must be above 0 and below 1"),
        Kind::Positive => (got.is_finite() && got > 0.0, "must be finite and above 0"),
        Kind::NotNegative | Kind::Count | Kind::List => {
            (got.is_finite() && got >= 0.0, "must be finite and at least 0")
        }
    };
    if inside { Ok(got) } else { Err(refused(range)) }
}

/// Reads a whole number of at least 1.
///
/// # Errors
/// [`AccountError::Flag`].
pub fn count(flag: &'static str, text: &str) -> Result<u64, AccountError> {
    let refused = |message: String| AccountError::Flag { flag, value: text.to_owned(), message };
    match text.trim().parse::<u64>() {
        Ok(0) => Err(refused("must be at least 1".into())),
        Ok(n) if n > MOST_COUNT => Err(refused(format!("must be at most {MOST_COUNT}"))),
        Ok(n) => Ok(n),
        Err(_) => Err(refused("a whole number of at least 1 belongs here".into())),
    }
}

/// Reads numbers with commas between.
///
/// # Errors
/// [`AccountError::Flag`].
pub fn list(flag: &'static str, text: &str, kind: Kind) -> Result<Vec<f64>, AccountError> {
    text.split(',').map(|one| number(flag, one, kind)).collect()
}

/// No count above it is exact as an f64.
const MOST_COUNT: u64 = 1 << 53;
