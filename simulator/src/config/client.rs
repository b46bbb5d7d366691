//! The client optimizer, the step size within a round, and which params train.

use super::{ConfigError, RunConfig, Training};
use serde::{Deserialize, Serialize};
use siskin::checkin::{ClientOptimizer as PlanOptimizer, ModelSpec, RateSchedule, Train, Training as PlanTraining};
use siskin::model::Graph;

/// How a gradient becomes a local step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientOptimizer {
    /// SGD, with momentum where that is above 0.
    Sgd,
    /// SGD with Nesterov's momentum.
    Nesterov,
    /// Adam with the usual numbers.
    Adam,
    /// The same with decoupled weight decay.
    AdamW,
}

/// The step size over the steps of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// The same.
    Constant,
    /// Falls in a straight line.
    Linear,
    /// Falls by half a cosine.
    Cosine,
    /// Rises in a straight line.
    WarmUp,
}

impl Training {
    /// The plan's part of it.
    pub(super) fn plan(&self) -> PlanTraining {
        let momentum = self.momentum;
        PlanTraining {
            epochs: self.epochs,
            batch: self.batch,
            max_examples: self.max_examples,
            learning_rate: self.learning_rate,
            schedule: match self.schedule {
                Schedule::Constant => RateSchedule::Constant,
                Schedule::Linear => RateSchedule::Linear { end: self.schedule_end },
                Schedule::Cosine => RateSchedule::Cosine { end: self.schedule_end },
                Schedule::WarmUp => RateSchedule::WarmUp { steps: self.warm_up_steps },
            },
            optimizer: match self.client_optimizer {
                ClientOptimizer::Sgd => PlanOptimizer::Sgd { momentum, nesterov: false },
                ClientOptimizer::Nesterov => PlanOptimizer::Sgd { momentum, nesterov: true },
                ClientOptimizer::Adam => PlanOptimizer::ADAM,
                ClientOptimizer::AdamW => PlanOptimizer::ADAMW,
            },
            weight_decay: self.weight_decay,
            proximal: self.proximal,
        }
    }
}

impl RunConfig {
    /// The rank of low-rank adapters, where the setting `train` is `lora=` and a rank.
    ///
    /// # Errors
    /// [`ConfigError::Flag`] for a rank outside `[1, 65535]`, or where the frozen layers are to be pruned by what only weights that
    /// train have: a change to rank by, or new weights that grow.
    pub fn adapter_rank(&self) -> Result<Option<u16>, ConfigError> {
        let value = self.training.train.trim();
        let Some(rank) = value.strip_prefix("lora=") else { return Ok(None) };
        let error =
            |message: &str| ConfigError::Flag { flag: "train".into(), value: value.into(), message: message.into() };
        let rank = rank.parse().ok().filter(|r| *r > 0).ok_or_else(|| error("the rank must be between 1 and 65535"))?;
        let algorithm = self.pruning.prune_algorithm;
        if self.pruning.sparsity > 0.0 && (algorithm.uses_delta() || algorithm.moves()) {
            let name = algorithm.name();
            let what = "all but the adapters is frozen: it has no delta to rank by, and what grows would stay zero";
            return Err(error(&format!("{what}; --prune-algorithm {name} does not go with it, or --sparsity 0 does")));
        }
        Ok(Some(rank))
    }

    /// Marks the params of `model` that train, as the setting `train` says.
    ///
    /// | setting | what trains |
    /// |---|---|
    /// | `all` | everything |
    /// | `bias` | biases and shifts |
    /// | `last-layer` | the last layer that has params |
    /// | `layers=layer3,layer5` | those layers, by their names in the report |
    ///
    /// [`adapter_rank`](Self::adapter_rank) reads `lora=4`, which is not for this.
    ///
    /// # Errors
    /// [`ConfigError::Flag`] for a layer that does not exist or has no params, or if nothing is left to train.
    pub fn freeze(&self, model: &mut ModelSpec) -> Result<(), ConfigError> {
        let value = self.training.train.trim();
        let error = |message: String| ConfigError::Flag { flag: "train".into(), value: value.into(), message };
        let all = Graph::new(model).map_err(|e| ConfigError::Other(e.to_string()))?;
        let with_params: Vec<usize> = (0..model.layers.len()).filter(|&i| all.nodes[i].tensors > 0).collect();
        let chosen = match value {
            "all" => return Ok(()),
            "bias" => Vec::new(),
            "last-layer" => with_params.last().copied().into_iter().collect(),
            _ => {
                let names = value.strip_prefix("layers=").ok_or_else(|| {
                    error("it must be `all`, `bias`, `last-layer`, `layers=` with names of layers, or `lora=` with a rank".to_owned())
                })?;
                let index = |name: &str| {
                    let found = with_params.iter().find(|&i| format!("layer{i}") == name.trim());
                    found.copied().ok_or_else(|| {
                        let known: Vec<String> = with_params
                            .iter()
                            .map(|&i| format!("layer{i} ({})", model.layers[i].spec.name()))
                            .collect();
                        error(format!("`{name}` is none of the layers with params: {}", known.join(", ")))
                    })
                };
                names.split(',').map(index).collect::<Result<_, _>>()?
            }
        };
        let others = if value == "bias" { Train::Bias } else { Train::Nothing };
        for (i, layer) in model.layers.iter_mut().enumerate() {
            layer.train = if chosen.contains(&i) { Train::All } else { others };
        }
        match Graph::new(model) {
            Ok(_) => Ok(()),
            Err(_) => Err(error("nothing is left to train".to_owned())),
        }
    }
}
