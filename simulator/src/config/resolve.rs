//! Defaults, preset, file and flags become one configuration.

use super::{RunConfig, SETTINGS, flag_of};
use crate::data::InputShape;
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

/// Merges everything; `shape` is that of the data, once it is loaded, and selects a preset.
///
/// # Errors
/// [`ConfigError`] names the file and key, or the flag.
pub fn resolve(layers: &Layers, shape: Option<InputShape>) -> Result<RunConfig, ConfigError> {
    let mut table = Table::try_from(RunConfig::default()).map_err(|e| ConfigError::Other(e.to_string()))?;
    for (section, key, value) in shape.map(preset).unwrap_or_default() {
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

/// What suits a shape of data, where the defaults (made for the embedded digits, 8x8) do not: a convolutional network for
/// images of at least 24x24, a network of dense layers for everything else.
///
/// Without noise nothing is gained by a tight bound, and the server's re-clip would only shorten what rounding has
/// lengthened: `clip_norm` is far above the norm of a delta, and `step` (in units of it) is small in turn. The masks of a
/// convolutional network are found while it learns, because one in five of 25 random weights is a poor kernel.
fn preset(shape: InputShape) -> Vec<(&'static str, &'static str, Value)> {
    let float = |section, key, v: f64| (section, key, Value::Float(v));
    let int = |section, key, v: i64| (section, key, Value::Integer(v));
    if (shape.channels, shape.height, shape.width) == (1, 8, 8) {
        return Vec::new();
    }
    let mut values = vec![
        // A population of hundreds is too small for a small epsilon: no noise by default, and the report says so.
        float("privacy", "noise_multiplier", 0.0),
        float("privacy", "clip_norm", 16.0),
        float("fleet", "over_selection", 1.3),
        ("fleet", "selection", Value::String("fixed".into())),
        ("fleet", "close", Value::String("goal".into())),
        float("training", "momentum", 0.9),
        float("compression", "step", 1.0),
        int("run", "evaluate_every", 5),
    ];
    if shape.height >= 24 && shape.width >= 24 {
        let layers = "conv:16x5,relu,pool:2,conv:32x5,relu,pool:2,dense:64,relu,dense";
        values.extend([
            ("model", "model", Value::String(layers.into())),
            int("fleet", "rounds", 100),
            int("fleet", "cohort", 50),
            float("training", "learning_rate", 0.05),
            int("pruning", "prune_start", 5),
            int("pruning", "prune_end", 40),
            float("training", "rate_end", 0.2),
            float("compression", "step", 0.5),
            float("server", "server_rate", 1.0),
            float("server", "server_momentum", 0.7),
        ]);
    } else {
        values.extend([
            int("fleet", "rounds", 50),
            int("fleet", "cohort", 10),
            float("training", "learning_rate", 0.01),
            float("server", "server_rate", 0.5),
            float("server", "server_momentum", 0.0),
        ]);
    }
    values
}

fn check(config: &RunConfig) -> Result<(), ConfigError> {
    let ranges: [(&str, f64, f64, f64); 15] = [
        ("rounds", f64::from(config.fleet.rounds), 1.0, 1e6),
        ("cohort", f64::from(config.fleet.cohort), 1.0, 1e7),
        ("over_selection", config.fleet.over_selection, 1.0, 100.0),
        ("min_fraction", config.fleet.min_fraction, 0.0, 1.0),
        ("deadline", config.fleet.deadline, 0.001, 1e6),
        ("dropout", config.fleet.dropout, 0.0, 1.0),
        ("sparsity", f64::from(config.pruning.sparsity), 0.0, 0.999),
        ("crossover", f64::from(config.pruning.crossover), 0.0, 1.0),
        ("clip_norm", f64::from(config.privacy.clip_norm), 1e-9, 1e9),
        ("noise_multiplier", f64::from(config.privacy.noise_multiplier), 0.0, 1e6),
        ("dp_delta", config.privacy.dp_delta, 1e-300, 0.999),
        ("step", f64::from(config.compression.step), 1e-6, 1e6),
        ("rate_end", f64::from(config.training.rate_end), 1e-6, 1.0),
        ("evaluate_every", f64::from(config.run.evaluate_every), 1.0, 1e6),
        ("threads", config.run.threads as f64, 0.0, 1024.0),
    ];
    for (key, got, min, max) in ranges {
        if !(got >= min && got <= max) {
            let flag = flag_of(key);
            let message = format!("it must be between {min} and {max}");
            return Err(ConfigError::Flag { flag, value: got.to_string(), message });
        }
    }
    Ok(())
}
