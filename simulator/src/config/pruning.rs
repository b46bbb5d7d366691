//! The words of the section `pruning`.

use super::Pruning;
use crate::prune::sparsity_type;
use serde::{Deserialize, Serialize};
use siskin::model::sparsity::{Distribution, SparsityType};
use siskin_server::round::Pruning as ServerPruning;

/// How the sparsity is shared out over the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shares {
    /// The same for each.
    Uniform,
    /// Erdos-Renyi-kernel: small layers stay denser.
    Erk,
}

/// What lives or dies together, as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PruneType {
    text: String,
    kind: SparsityType,
}

impl Default for PruneType {
    fn default() -> Self {
        Self { text: "unstructured".into(), kind: SparsityType::Unstructured }
    }
}

impl From<PruneType> for String {
    fn from(of: PruneType) -> Self {
        of.text
    }
}

impl TryFrom<String> for PruneType {
    type Error = String;

    /// Weights are `[outputs, inputs]`: channels are outputs, N:M groups lie along the inputs.
    fn try_from(text: String) -> Result<Self, String> {
        let kind = sparsity_type(&text, (text == "channel").then_some(0))?;
        Ok(Self { text, kind })
    }
}

/// The density above which weights run through the dense loops.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "NumberOrText", into = "NumberOrText")]
pub enum Crossover {
    /// That of the layer and batch.
    Measured,
    /// This one.
    Density(f32),
}

impl Crossover {
    /// The number, if it is one.
    pub fn density(self) -> Option<f32> {
        match self {
            Self::Measured => None,
            Self::Density(density) => Some(density),
        }
    }
}

/// As it stands in a file or a flag.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(f64),
    Text(String),
}

impl From<Crossover> for NumberOrText {
    fn from(crossover: Crossover) -> Self {
        match crossover.density() {
            None => Self::Text("measured".to_owned()),
            // The shortest decimal of the f32, not its expansion.
            Some(density) => Self::Number(density.to_string().parse().unwrap_or(f64::from(density))),
        }
    }
}

impl TryFrom<NumberOrText> for Crossover {
    type Error = String;

    fn try_from(value: NumberOrText) -> Result<Self, String> {
        let number = match value {
            NumberOrText::Number(number) => Ok(number),
            NumberOrText::Text(text) if text == "measured" => return Ok(Self::Measured),
            NumberOrText::Text(text) => text.parse(),
        };
        match number {
            Ok(number) if number.is_finite() => Ok(Self::Density(number as f32)),
            _ => Err("a number from 0 to 1 or `measured` belongs here".to_owned()),
        }
    }
}

impl Pruning {
    /// The server's settings; `seed` is of random masks.
    pub fn server(&self, seed: u64) -> ServerPruning {
        ServerPruning {
            algorithm: self.prune_algorithm,
            distribution: match self.prune_distribution {
                Shares::Uniform => Distribution::Uniform,
                Shares::Erk => Distribution::ERK,
            },
            kind: self.prune_type.kind,
            sparsity: self.sparsity,
            start: self.prune_start,
            end: self.prune_end,
            every: self.prune_every,
            drop_fraction: self.drop_fraction,
            seed,
            crossover: self.crossover.density(),
            remembered: self.remembered_masks,
        }
    }
}
