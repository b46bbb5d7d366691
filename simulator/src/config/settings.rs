//! The table of settings.

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Section of the file.
    pub section: &'static str,
    /// Key in the section; the flag is the same with dashes.
    pub key: &'static str,
    /// Unit, empty where there is none.
    pub unit: &'static str,
    /// What it does.
    pub note: &'static str,
}

const fn s(section: &'static str, key: &'static str, unit: &'static str, note: &'static str) -> Setting {
    Setting { section, key, unit, note }
}

/// All settings, in the order in which files and reports show them.
pub const SETTINGS: &[Setting] = &[
    s(
        "data",
        "data",
        "",
        "`digits` (embedded), a folder with IDX files (examples, labels, users), or a table of text (.tsv, .tsv.gz)",
    ),
    s("data", "devices", "devices", "virtual writers of the embedded digits"),
    s("data", "alpha", "", "Dirichlet concentration of each virtual writer's digits"),
    s("data", "hand", "", "how much the virtual writers' hands differ, 0 to 2"),
    s("data", "hold_out", "", "fraction of the users held out where a folder of IDX files has none for the test"),
    s("data", "window", "symbols", "length of an example of text"),
    s("data", "hold_out_lines", "", "fraction of each user's lines of text held out, the last ones"),
    s("data", "mean", "", "taken off each number of an example, as a model that comes ready trained wants it"),
    s("data", "deviation", "", "divides it then"),
    s("model", "model", "", "layers, as `conv:16x5,relu,pool:2,dense`; a wrong word gets a list of all"),
    s("fleet", "rounds", "rounds", "rounds to run"),
    s("fleet", "cohort", "devices", "reports that a round is meant to have"),
    s("fleet", "over_selection", "x cohort", "devices asked, as some drop out"),
    s("fleet", "min_fraction", "x cohort", "a round with fewer reports is given up"),
    s("fleet", "deadline", "s (virtual)", "a report later than this is late"),
    s("fleet", "dropout", "", "probability that a device that was asked dies on the way"),
    s("fleet", "selection", "", "`poisson` (an independent coin a device) or `fixed` (a fixed number)"),
    s(
        "fleet",
        "cohort_cap",
        "devices",
        "with `poisson`: ask no more than this of those that the coins pick; 0 is no cap",
    ),
    s("fleet", "close", "", "a round closes at the `deadline`, or at the `goal` of reports"),
    s(
        "fleet",
        "min_separation",
        "rounds",
        "a device refuses a round sooner after its last one; 0 is no bound, with blt what the population allows",
    ),
    s(
        "fleet",
        "max_participations",
        "rounds",
        "a device refuses more rounds than this; 0 is no bound, with blt what the separation leaves room for",
    ),
    s("training", "epochs", "epochs", "passes over the local examples"),
    s("training", "batch", "examples", "examples a step"),
    s("training", "learning_rate", "", "local step size"),
    s("training", "rate_end", "x learning_rate", "step size in the last round; it falls on a straight line"),
    s("training", "client_optimizer", "", "`sgd`, `nesterov`, `adam` or `adamw`"),
    s("training", "momentum", "", "of `sgd` and `nesterov`, 0 to 1"),
    s("training", "weight_decay", "", "pulls params to zero; decoupled from the gradient with `adamw`"),
    s("training", "schedule", "", "local step size within a round: `constant`, `linear`, `cosine` or `warm-up`"),
    s("training", "schedule_end", "x learning_rate", "where `linear` and `cosine` end"),
    s("training", "warm_up_steps", "steps", "of `warm-up`, until the whole step size"),
    s("training", "proximal", "", "FedProx's mu"),
    s("training", "max_examples", "examples", "a device trains on at most this many"),
    s(
        "training",
        "example_sampling",
        "",
        "probability that an example is in a round of its device, by a coin for each",
    ),
    s(
        "training",
        "train",
        "",
        "params that train: `all`, `bias`, `last-layer`, `layers=layer0,layer2`, or adapters `lora=4`",
    ),
    s("pruning", "sparsity", "", "fraction of all params that is zero; biases and adapters stay"),
    s("pruning", "prune_algorithm", "", "`magnitude`, `saliency`, each also `global-`, `static`, `set` or `rigl`"),
    s("pruning", "prune_distribution", "", "over the layers: `uniform` or `erk` (small layers stay denser)"),
    s("pruning", "prune_type", "", "`unstructured`, N:M as `2:4`, `block:4x1` (has loops of its own), `channel`"),
    s("pruning", "prune_start", "round", "first round of gradual pruning"),
    s("pruning", "prune_end", "round", "end of gradual pruning; magnitude prunes at once where it is the start"),
    s("pruning", "prune_every", "rounds", "between two masks"),
    s("pruning", "drop_fraction", "", "part of the live params that set and rigl replace at first"),
    s(
        "pruning",
        "crossover",
        "",
        "weights of a higher density run through the dense loops; `measured`: where those are the faster ones",
    ),
    s("pruning", "remembered_masks", "", "earlier masks of which devices download only the changes"),
    s(
        "privacy",
        "privacy",
        "",
        "`uls`, `els` or `blt`: the least noise for `epsilon`, by user-level or example-level sampling or correlated noise; \
         `none`; `as-set`: the noise multiplier below",
    ),
    s("privacy", "epsilon", "", "target of `uls`, `els` and `blt` at `dp_delta`, for the whole run"),
    s("privacy", "noise_buffers", "", "of `blt`: models that the server keeps for its noise, 1 to 4"),
    s("privacy", "clip_norm", "params", "L2 bound of a delta; where it starts, with `adaptive` clipping"),
    s(
        "privacy",
        "clipping",
        "",
        "`delta`, `layers` (each to its part of the bound), `examples` (each gradient; one step) or `adaptive` (clip_norm follows the deltas' norms)",
    ),
    s("privacy", "example_norm", "", "L2 bound of the gradient of one example, where `examples` are clipped"),
    s("privacy", "target_quantile", "", "part of the deltas that `adaptive` clipping leaves as they are"),
    s("privacy", "clip_rate", "", "how fast the clip norm moves then: by this power of e, times what the part is off"),
    s("privacy", "noise_multiplier", "clip norms", "standard deviation of the noise on the sum; 0 is none"),
    s(
        "privacy",
        "profile",
        "",
        "who adds the noise: `central` (the server, trusted with clipped deltas), `local` (each device all), `distributed` (shares)",
    ),
    s("privacy", "share_noise", "", "distributed: `gaussian` (discrete) or `skellam` (exact sums, slow)"),
    s(
        "privacy",
        "modulus_bits",
        "bits",
        "distributed: symbols and sums are modulo this power of two, 8 to 24; it sets the grid",
    ),
    s("privacy", "dp_delta", "", "probability at which epsilon is stated"),
    s(
        "compression",
        "step",
        "RMS at the clip norm",
        "of the grid: clip_norm / sqrt(live params) is 1; where it starts, with a budget, slope or schedule",
    ),
    s(
        "compression",
        "bits_per_param",
        "bits a live param",
        "budget of a report's coded delta: the step follows the sizes of reports to it; 0 is none",
    ),
    s(
        "compression",
        "rate_slope",
        "squared `step` units a bit",
        "in place of a budget: the squared error that one more bit a param must save; 0 is none",
    ),
    s(
        "compression",
        "step_schedule",
        "",
        "in place of a budget: `fixed`, `linear:END`, `exponential:RATE[:LEAST]`, `halving:ROUNDS[:LEAST]` (steps as `step`)",
    ),
    s(
        "compression",
        "keep",
        "",
        "part of the live params that a report carries, drawn anew for each; 0 is all, or what makes the most of the budget",
    ),
    s(
        "compression",
        "rounding",
        "",
        "`stochastic` (unbiased), `nearest`, `rotated` (the signs of the largest after a rotation), `dithered` (by offsets that both sides know), `optimised` (least error and priced bits), or `auto`: rotated for budgets up to 0.1 without noise, else stochastic",
    ),
    s("compression", "bit_price", "squared steps", "of a bit, for `optimised` rounding: 0.08 to 0.2 is sensible"),
    s("compression", "weighting", "", "reports count `uniform` or by their `examples`"),
    s(
        "compression",
        "starts",
        "",
        "`on`: checkpoints say what the reports of the round before were like, and the coder of small ones begins with that; or `off`. Not with noise of the server or in shares, no effect on `rotated`",
    ),
    s(
        "compression",
        "value_step",
        "RMS of the live params",
        "step of the values that devices download, coded as reports are, as is what changed in masks; 0.02 is a quarter of the bytes of floats, 0 sends floats",
    ),
    s("server", "optimizer", "", "`fedavg` or `fedadam`"),
    s("server", "server_rate", "", "learning rate of the server"),
    s("server", "server_momentum", "", "of fedavg"),
    s("run", "seed", "", "of everything random in the run"),
    s("run", "threads", "threads", "0 is one a core; the result is the same for any number"),
    s("run", "out", "", "folder for report.html, report.json and the model"),
    s("run", "evaluate_every", "rounds", "between two evaluations on the held-out examples"),
    s("run", "progress", "", "`auto`, `bar`, `plain` or `quiet`"),
];

/// The flag of a key: `noise_multiplier` is `--noise-multiplier`.
pub fn flag_of(key: &str) -> String {
    key.replace('_', "-")
}
