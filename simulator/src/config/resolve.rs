//! Defaults, preset, file and flags become one configuration.

use super::preset::preset;
use super::{ClientOptimizer, RunConfig, SETTINGS, flag_of, goal, rate};
use crate::data::Problem;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// A configuration that makes no sense.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML or says something unknown.
    #[error("configuration {}: {}", path.display(), message.trim_end())]
    File {
        /// The file.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
    /// A flag's value.
    #[error("--{flag} {value}: {message}")]
    Flag {
        /// The flag.
        flag: String,
        /// What was given.
        value: String,
        /// What is wrong with it.
        message: String,
    },
    /// A combination.
    #[error("{0}")]
    Other(String),
}

/// What was given, before it is merged.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// The file, if any, and its path.
    pub file: Option<(PathBuf, Table)>,
    /// `(key, value)` of the flags.
    pub flags: Vec<(&'static str, String)>,
}

impl Layers {
    /// Reads the file.
    ///
    /// # Errors
    /// [`ConfigError`] with the path and what is wrong.
    pub fn new(file: Option<&Path>, flags: Vec<(&'static str, String)>) -> Result<Self, ConfigError> {
        let file = match file {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
                let table = text
                    .parse::<Table>()
                    .map_err(|e| ConfigError::File { path: path.to_owned(), message: e.to_string() })?;
                Some((path.to_owned(), table))
            }
        };
        Ok(Self { file, flags })
    }
}

/// Merges everything; `problem` is that of the data, once it is loaded, and selects a preset.
///
/// # Errors
/// [`ConfigError`] names the file and key, or the flag.
pub fn resolve(layers: &Layers, problem: Option<Problem>) -> Result<RunConfig, ConfigError> {
    let mut table = Table::try_from(RunConfig::default()).map_err(|e| ConfigError::Other(e.to_string()))?;
    for (section, key, value) in problem.map(preset).unwrap_or_default() {
        put(&mut table, section, key, value);
    }
    for (section, key, value) in goal::preset(layers, problem) {
        put(&mut table, section, key, value);
    }
    if let Some((path, file)) = &layers.file {
        let bad = |message: String| ConfigError::File { path: path.clone(), message };
        for (section, values) in file {
            let Value::Table(values) = values else {
                return Err(bad(format!(
                    "`{section}` is not a section; settings stand under [data], [fleet] and so on"
                )));
            };
            for (key, value) in values {
                let Some(setting) = SETTINGS.iter().find(|s| s.section == section && s.key == key) else {
                    return Err(bad(format!("there is no setting `{key}` in [{section}]{}", suggestion(key))));
                };
                let value = like(&table, setting.section, setting.key, value.clone());
                put(&mut table, setting.section, setting.key, value);
            }
        }
        table.clone().try_into::<RunConfig>().map_err(|e| bad(e.to_string()))?;
    }
    for (key, text) in &layers.flags {
        let Some(setting) = SETTINGS.iter().find(|s| s.key == *key) else { continue };
        let flag = |message: String| ConfigError::Flag { flag: flag_of(key), value: text.clone(), message };
        let value = typed(&table[setting.section][*key], text).map_err(flag)?;
        put(&mut table, setting.section, setting.key, value);
        table.clone().try_into::<RunConfig>().map_err(|e| flag(first_line(&e.to_string())))?;
    }
    let config: RunConfig = table.try_into().map_err(|e: toml::de::Error| ConfigError::Other(e.to_string()))?;
    check(&config)?;
    goal::check(&config, layers)?;
    rate::check(&config, layers)?;
    Ok(config)
}

fn put(table: &mut Table, section: &str, key: &str, value: Value) {
    if let Some(Value::Table(section)) = table.get_mut(section) {
        section.insert(key.to_owned(), value);
    }
}

/// An integer where a float belongs is a float.
fn like(table: &Table, section: &str, key: &str, value: Value) -> Value {
    match (&table[section][key], value) {
        (Value::Float(_), Value::Integer(i)) => Value::Float(i as f64),
        (_, value) => value,
    }
}

/// A flag's text as the type of the default.
fn typed(default: &Value, text: &str) -> Result<Value, String> {
    match default {
        Value::Integer(_) => text.parse().map(Value::Integer).map_err(|_| "a whole number belongs here".to_owned()),
        Value::Float(_) => match text.parse::<f64>() {
            Ok(v) if v.is_finite() => Ok(Value::Float(v)),
            _ => Err("a number belongs here".to_owned()),
        },
        _ => Ok(Value::String(text.to_owned())),
    }
}

fn first_line(text: &str) -> String {
    text.lines().find(|l| !l.trim().is_empty()).unwrap_or(text).trim().to_owned()
}

fn suggestion(key: &str) -> String {
    let alike = SETTINGS.iter().find(|s| s.key == key || flag_of(s.key) == *key);
    alike.map_or_else(String::new, |s| format!("; `{}` stands in [{}]", s.key, s.section))
}

fn check(config: &RunConfig) -> Result<(), ConfigError> {
    let ranges: [(&str, f64, f64, f64); 27] = [
        ("mean", config.data.mean, -1e9, 1e9),
        ("deviation", config.data.deviation, 1e-9, 1e9),
        ("rounds", f64::from(config.fleet.rounds), 1.0, 1e6),
        ("cohort", f64::from(config.fleet.cohort), 1.0, 1e7),
        ("over_selection", config.fleet.over_selection, 1.0, 100.0),
        ("min_fraction", config.fleet.min_fraction, 0.0, 1.0),
        ("deadline", config.fleet.deadline, 0.001, 1e6),
        ("dropout", config.fleet.dropout, 0.0, 1.0),
        ("sparsity", f64::from(config.pruning.sparsity), 0.0, 0.999),
        ("drop_fraction", f64::from(config.pruning.drop_fraction), 0.0, 1.0),
        ("crossover", f64::from(config.pruning.crossover.density().unwrap_or(0.0)), 0.0, 1.0),
        ("remembered_masks", f64::from(config.pruning.remembered_masks), 0.0, 1000.0),
        ("example_sampling", config.training.example_sampling, 0.0, 1.0),
        ("clip_norm", f64::from(config.privacy.clip_norm), 1e-9, 1e9),
        ("noise_multiplier", f64::from(config.privacy.noise_multiplier), 0.0, 1e6),
        ("example_norm", f64::from(config.privacy.example_norm), 1e-9, 1e9),
        ("target_quantile", config.privacy.target_quantile, 0.001, 0.999),
        ("clip_rate", config.privacy.clip_rate, 1e-6, 5.0),
        ("modulus_bits", f64::from(config.privacy.modulus_bits), 8.0, 24.0),
        ("dp_delta", config.privacy.dp_delta, 1e-300, 0.999),
        ("step", f64::from(config.compression.step), 1e-6, 1e6),
        ("rate_end", f64::from(config.training.rate_end), 1e-6, 1.0),
        ("weight_decay", f64::from(config.training.weight_decay), 0.0, 1e6),
        ("schedule_end", f64::from(config.training.schedule_end), 0.0, 1.0),
        ("warm_up_steps", f64::from(config.training.warm_up_steps), 1.0, 1e9),
        ("evaluate_every", f64::from(config.run.evaluate_every), 1.0, 1e6),
        ("threads", config.run.threads as f64, 0.0, 1024.0),
    ];
    for (key, got, min, max) in ranges {
        if !(got >= min && got <= max) {
            let flag = flag_of(key);
            // Not with three hundred zeros.
            let min = if min > 0.0 && min < 1e-12 { format!("{min:e}") } else { min.to_string() };
            let message = format!("it must be between {min} and {max}");
            return Err(ConfigError::Flag { flag, value: got.to_string(), message });
        }
    }
    let training = &config.training;
    if training.client_optimizer == ClientOptimizer::Nesterov && training.momentum == 0.0 {
        let message = "it needs --momentum above 0".to_owned();
        return Err(ConfigError::Flag { flag: flag_of("client_optimizer"), value: "nesterov".into(), message });
    }
    Ok(())
}
