//! Settings that suit a kind of data.

use crate::data::Problem;
use toml::Value;

/// What suits a shape of data, where the defaults (made for the embedded digits, 8x8) do not: a convolutional network for
/// images of at least 24x24, a recurrent one for text, a network of dense layers for everything else.
///
/// Without noise nothing is gained by a tight bound: `clip_norm` is far above the norm of a delta, and `step` (in units of it) is small
/// in turn. The masks of a
/// convolutional or recurrent network are found while it learns, because one in five of 25 random weights is a poor kernel.
pub(super) fn preset(problem: Problem) -> Vec<(&'static str, &'static str, Value)> {
    let float = |section, key, v: f64| (section, key, Value::Float(v));
    let int = |section, key, v: i64| (section, key, Value::Integer(v));
    let shape = problem.shape;
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
    if problem.tokens {
        values.extend([
            ("model", "model", Value::String("embedding:32,gru:128,point".into())),
            int("fleet", "rounds", 150),
            int("fleet", "cohort", 50),
            float("training", "learning_rate", 0.005),
            ("training", "client_optimizer", Value::String("adam".into())),
            int("training", "epochs", 2),
            int("training", "max_examples", 100),
            ("compression", "weighting", Value::String("examples".into())),
            float("server", "server_rate", 1.0),
            float("server", "server_momentum", 0.5),
            int("pruning", "prune_start", 10),
            int("pruning", "prune_end", 80),
            int("run", "evaluate_every", 10),
        ]);
    } else if shape.height >= 24 && shape.width >= 24 {
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
