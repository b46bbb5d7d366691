//! Data and settings of the runs.

use super::Options;
use crate::config::{Layers, RunConfig, resolve};
use crate::data::Federated;
use crate::run::{RunError, load_data};

/// Data and what suits them.
#[derive(Debug)]
pub struct Setting {
    /// Everything but the seed, the step and what is compared.
    pub config: RunConfig,
    /// The examples.
    pub data: Federated,
}

/// Loads `data` (`digits`, or what `siskin run --data` reads) and settles what suits them: plain federated averaging of a small
/// network without masks, noise, losses or a clip that could be felt, so that nothing but the codec differs between runs.
///
/// # Errors
/// [`RunError`].
pub fn load(data: &str, options: &Options) -> Result<Setting, RunError> {
    let mut flags: Vec<(&'static str, String)> = [
        ("data", data),
        ("devices", "200"),
        ("sparsity", "0"),
        ("noise_multiplier", "0"),
        ("clip_norm", "1e6"),
        ("over_selection", "1"),
        ("selection", "fixed"),
        ("close", "goal"),
        ("deadline", "1e6"),
        ("dropout", "0"),
        ("min_fraction", "0"),
        ("server_rate", "1"),
        ("server_momentum", "0"),
        ("rate_end", "0.2"),
        ("cohort", "10"),
    ]
    .map(|(key, value)| (key, value.to_owned()))
    .to_vec();
    let first = resolve(&Layers { file: None, flags: flags.clone() }, None)?;
    let examples = load_data(&first)?;
    let problem = examples.problem();
    let image = problem.shape.height >= 24 && problem.shape.width >= 24;
    let own: &[(&'static str, &str)] = if problem.tokens {
        &[("model", "embedding:16,gru:48,point"), ("rounds", "20")]
    } else if image {
        &[("model", "dense:32,relu,dense"), ("rounds", "40"), ("learning_rate", "0.1"), ("momentum", "0")]
    } else {
        &[("rounds", "60"), ("learning_rate", "0.1"), ("momentum", "0")]
    };
    flags.extend(own.iter().map(|(key, value)| (*key, (*value).to_owned())));
    let asked = [
        ("rounds", options.rounds.map(|n| n.to_string())),
        ("cohort", options.cohort.map(|n| n.to_string())),
        ("model", options.model.clone()),
    ];
    flags.extend(asked.into_iter().filter_map(|(key, value)| Some((key, value?))));
    let config = resolve(&Layers { file: None, flags }, Some(problem))?;
    Ok(Setting { config, data: examples })
}
