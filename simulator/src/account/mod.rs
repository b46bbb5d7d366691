//! `siskin account`: what a mechanism costs in privacy, in words, JSON and pictures.
//!
//! | module | what it does |
//! |---|---|
//! | `flags` | the flags of mechanisms and their ranges |
//! | `mechanism` | from flags to a mechanism, its account, curve and calibration |
//! | `strategies` | correlated noise |
//! | `events` | any composition, from a JSON file |
//! | `compare` | user-level against example-level sampling at equal compute |
//! | `picture` | SVG files |
//!
//! The layout of the JSON is in the README of `siskin-accounting`.

mod assumptions;
mod compare;
mod error;
mod events;
mod flags;
mod mechanism;
mod picture;
mod strategies;

pub use compare::{Compared, Comparison, Els, Uls, compare};
pub use error::AccountError;
pub use events::events;
pub use flags::{FLAGS, Flag, Given, Kind, count, list, number};
pub use mechanism::{KNOWN, Known, Mechanism, find};
pub use picture::{Curve, of_comparison, of_curves};

use serde::{Serialize, Serializer};
use siskin_accounting::{Account, Accountant, Adjacency};

/// A number, or the string `"inf"`, which JSON has no number for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Real(pub f64);

impl Serialize for Real {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() { to.serialize_f64(self.0) } else { to.serialize_str("inf") }
    }
}

/// An epsilon with all that it means.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statement {
    /// The larger of the two directions; infinite when there is no guarantee.
    pub epsilon: Real,
    /// In (0, 1).
    pub dp_delta: f64,
    /// Name of the mechanism, or `composition`.
    pub mechanism: String,
    /// What is compared with what.
    pub adjacency: Adjacency,
    /// Whose data: `user`.
    pub unit: &'static str,
    /// When the user's data are in the first of the two populations.
    pub remove_epsilon: Real,
    /// The other way round.
    pub add_epsilon: Real,
    /// How many.
    pub rounds: u64,
    /// How it was computed.
    pub method: How,
    /// Every number of the mechanism.
    pub parameters: serde_json::Value,
    /// What it rests on.
    pub assumptions: Vec<String>,
}

/// How an epsilon was computed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct How {
    /// `pld`, `rdp` or `analytic_gaussian`.
    pub accountant: Accountant,
    /// Gap of the grid of privacy losses, where there is one.
    pub interval: Option<f64>,
}

impl Statement {
    pub(crate) fn of(
        account: &Account,
        mechanism: &str,
        parameters: serde_json::Value,
        assumptions: Vec<String>,
    ) -> Self {
        Self {
            epsilon: Real(account.epsilon),
            dp_delta: account.dp_delta,
            mechanism: mechanism.to_owned(),
            adjacency: account.adjacency,
            unit: "user",
            remove_epsilon: Real(account.remove_epsilon),
            add_epsilon: Real(account.add_epsilon),
            rounds: account.rounds,
            method: How { accountant: account.accountant, interval: account.interval },
            parameters,
            assumptions,
        }
    }

    /// As text, epsilon first and rounded up.
    pub fn text(&self) -> String {
        let mut text = match self.epsilon.0 {
            epsilon if epsilon.is_finite() => format!(
                "epsilon     {} at dp_delta {:e}\ndirections  {} removing a user, {} adding one\n",
                rounded_up(epsilon),
                self.dp_delta,
                rounded_up(self.remove_epsilon.0),
                rounded_up(self.add_epsilon.0)
            ),
            _ => format!("epsilon     infinite at dp_delta {:e}: no guarantee\n", self.dp_delta),
        };
        text += &format!(
            "mechanism   {}, {} rounds\nprotects    a user with all examples; adjacency {}\ncomputed    {}",
            self.mechanism, self.rounds, self.adjacency, self.method.accountant
        );
        text += &self.method.interval.map_or_else(|| "\n".to_owned(), |gap| format!(", on a grid of {gap:e}\n"));
        for (i, assumption) in self.assumptions.iter().enumerate() {
            text += &format!("{:<12}{assumption}\n", if i == 0 { "if" } else { "" });
        }
        text
    }
}

/// Five decimals, never below the value.
pub fn rounded_up(value: f64) -> String {
    if !value.is_finite() {
        return "inf".to_owned();
    }
    // What is a decimal up to the accuracy of the account prints as that.
    let scaled = value * 1e5;
    let near = scaled.round();
    let up = if (near - scaled).abs() < 1e-6 { near } else { scaled.ceil() };
    format!("{:.5}", up / 1e5)
}
