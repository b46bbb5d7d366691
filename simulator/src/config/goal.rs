//! From a privacy target to the noise and the rules of cohorts that meet it.

use super::{Clipping, ConfigError, Layers, Profile, RunConfig, Weighting, flag_of};
use crate::data::Problem;
use serde::{Deserialize, Serialize};
use siskin_accounting::correlated::{Blt, MAX_BUFFERS, Objective, Participation, Plan, Strategy};
use siskin_accounting::{Adjacency, Composition, Method, Release, calibrate};
use siskin_server::privacy::Noise;
use siskin_server::round::{Close, SIZE_NOISE, Selection};
use toml::Value;

/// Where the noise comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrivacyMode {
    /// The noise multiplier of the settings.
    AsSet,
    /// No noise.
    None,
    /// Users are sampled by coins; the least noise for the target.
    Uls,
    /// Users and their examples are sampled by coins, each example is clipped.
    Els,
    /// Correlated noise; users keep a minimum separation and nothing is claimed of sampling.
    Blt,
}

impl PrivacyMode {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::AsSet => "as-set",
            Self::None => "none",
            Self::Uls => "uls",
            Self::Els => "els",
            Self::Blt => "blt",
        }
    }

    /// True if epsilon is the target and the noise follows.
    pub fn calibrates(self) -> bool {
        matches!(self, Self::Uls | Self::Els | Self::Blt)
    }
}

/// The mode that flags, or else the file, ask for.
fn asked(layers: &Layers) -> Option<&str> {
    let flag = layers.flags.iter().find(|(key, _)| *key == "privacy").map(|(_, value)| value.as_str());
    let file = || layers.file.as_ref()?.1.get("privacy")?.get("privacy")?.as_str();
    flag.or_else(file)
}

/// What suits a mode; file and flags win over it, and [`RunConfig::calibrated`] refuses what does not fit.
pub(super) fn preset(layers: &Layers, problem: Option<Problem>) -> Vec<(&'static str, &'static str, Value)> {
    let word = |section, key, v: &str| (section, key, Value::String(v.into()));
    let mut values = match asked(layers) {
        Some("uls") => vec![word("fleet", "selection", "poisson"), word("fleet", "close", "deadline")],
        Some("els") => examples(),
        Some("blt") => vec![word("fleet", "selection", "fixed"), word("fleet", "close", "deadline")],
        _ => return Vec::new(),
    };
    // The presets of these data are made for runs without noise.
    if asked(layers) != Some("els") && problem.is_some_and(|p| (p.shape.height, p.shape.width) != (8, 8)) {
        values.extend([
            ("privacy", "clip_norm", Value::Float(1.0)),
            ("fleet", "over_selection", Value::Float(1.0)),
            ("compression", "step", Value::Float(1.0)),
        ]);
    }
    // Few params, each of which gets its own noise, and half of some hundred users a round: with all of them the
    // noise of the mean is 6 % less at the same epsilon, for twice the work.
    if problem.is_some_and(|p| !p.tokens && p.shape.height >= 24 && p.shape.width >= 24) {
        values.extend([
            word("model", "model", "conv:8x5,relu,pool:2,conv:16x5,relu,pool:2,dense"),
            ("fleet", "rounds", Value::Integer(60)),
            ("fleet", "cohort", Value::Integer(270)),
            ("privacy", "clip_norm", Value::Float(2.0)),
            ("pruning", "prune_start", Value::Integer(0)),
            ("pruning", "prune_end", Value::Integer(0)),
        ]);
    }
    values
}

/// One step of gradient descent over clipped examples. A device moves the model little, so that the grid must be fine: rounding is
/// a part of what one example may move.
fn examples() -> Vec<(&'static str, &'static str, Value)> {
    let word = |section, key, v: &str| (section, key, Value::String(v.into()));
    let float = |section, key, v: f64| (section, key, Value::Float(v));
    let int = |section, key, v: i64| (section, key, Value::Integer(v));
    vec![
        word("fleet", "selection", "poisson"),
        word("fleet", "close", "deadline"),
        word("privacy", "clipping", "examples"),
        int("training", "epochs", 1),
        int("training", "batch", 1),
        int("training", "max_examples", 16),
        float("training", "example_sampling", 0.5),
        float("training", "learning_rate", 2.0),
        float("training", "momentum", 0.0),
        float("training", "rate_end", 1.0),
        float("compression", "step", 0.01),
    ]
}

fn flag(key: &str, value: impl ToString, message: impl Into<String>) -> ConfigError {
    ConfigError::Flag { flag: flag_of(key), value: value.to_string(), message: message.into() }
}

/// What can be told without the population.
pub(super) fn check(config: &RunConfig, layers: &Layers) -> Result<(), ConfigError> {
    let privacy = &config.privacy;
    let mode = privacy.privacy;
    if !(privacy.epsilon >= 0.0 && privacy.epsilon <= 1e6) {
        return Err(flag("epsilon", privacy.epsilon, "it must be above 0, up to 1000000"));
    }
    let given = |key: &str| layers.flags.iter().find(|(k, _)| *k == key).map(|(_, value)| value.as_str());
    if let (Some(noise), true) = (given("noise_multiplier"), mode != PrivacyMode::AsSet) {
        let message = format!("--privacy {} sets it; leave one of the two out", mode.name());
        return Err(flag("noise_multiplier", noise, message));
    }
    if let (Some(epsilon), false) = (given("epsilon"), mode.calibrates()) {
        let message = format!("--privacy {} has no target; it needs uls, els or blt", mode.name());
        return Err(flag("epsilon", epsilon, message));
    }
    if mode.calibrates() && privacy.epsilon == 0.0 {
        return Err(flag("privacy", mode.name(), "it needs --epsilon above 0"));
    }
    if !(1..=MAX_BUFFERS as u32).contains(&privacy.noise_buffers) {
        return Err(flag("noise_buffers", privacy.noise_buffers, format!("it must be between 1 and {MAX_BUFFERS}")));
    }
    Ok(())
}

impl RunConfig {
    /// The same with the noise that the target needs among `population` devices, and with the rules that it rests on.
    ///
    /// # Errors
    /// [`ConfigError::Flag`] for a rule of cohorts under which the target has no meaning, or that cannot be kept.
    pub fn calibrated(&self, population: usize) -> Result<Self, ConfigError> {
        let mut config = self.clone();
        let mode = self.privacy.privacy;
        if mode.calibrates() {
            self.fits(mode)?;
        }
        match mode {
            PrivacyMode::AsSet => {}
            PrivacyMode::None => config.privacy.noise_multiplier = 0.0,
            PrivacyMode::Uls => config.privacy.noise_multiplier = self.sampled_noise(population)?,
            PrivacyMode::Els => {
                config.privacy.clip_norm = self.bound_of_examples();
                config.privacy.noise_multiplier = self.example_noise(config.privacy.clip_norm, population)?;
            }
            PrivacyMode::Blt => {
                let rule = self.separated(population)?;
                config.fleet.min_separation = rule.min_separation();
                config.fleet.max_participations = rule.max_participations();
                let strategy = Strategy::Blt(self.blt(rule)?);
                let (epsilon, dp_delta) = (self.privacy.epsilon, self.privacy.dp_delta);
                let plan = Plan::calibrated(strategy, rule, Adjacency::ZeroOut, epsilon, dp_delta);
                config.privacy.noise_multiplier = up(plan.map_err(other)?.noise_multiplier());
            }
        }
        Ok(config)
    }

    /// How the server's noise hangs together, of calibrated settings.
    ///
    /// # Errors
    /// [`ConfigError::Other`] for a separation of 0.
    pub fn noise(&self) -> Result<Noise, ConfigError> {
        if self.privacy.privacy != PrivacyMode::Blt {
            return Ok(Noise::Independent);
        }
        let (b, k) = (self.fleet.min_separation, self.fleet.max_participations);
        let participation = Participation::new(self.fleet.rounds, b, k).map_err(other)?;
        Ok(Noise::Blt { blt: self.blt(participation)?, participation })
    }

    /// What every mechanism here rests on.
    fn fits(&self, mode: PrivacyMode) -> Result<(), ConfigError> {
        if self.privacy.profile != Profile::Central {
            let profile = if self.privacy.profile == Profile::Local { "local" } else { "distributed" };
            let message = format!("--privacy {} is the server's noise; it needs central", mode.name());
            return Err(flag("profile", profile, message));
        }
        match (mode, self.privacy.clipping) {
            (PrivacyMode::Els, Clipping::Examples) => self.fits_examples()?,
            (PrivacyMode::Els, _) => {
                return Err(flag("clipping", "delta", "--privacy els bounds each example; it needs examples"));
            }
            (_, Clipping::Examples) => {
                let message = format!("--privacy {} bounds users; it needs delta or layers", mode.name());
                return Err(flag("clipping", "examples", message));
            }
            _ => {}
        }
        if mode == PrivacyMode::Blt {
            return Ok(());
        }
        if self.fleet.selection != Selection::Poisson {
            let message = format!(
                "--privacy {} rests on an independent coin a device, which a cohort of fixed size is not; it needs poisson",
                mode.name()
            );
            return Err(flag("selection", "fixed", message));
        }
        if self.fleet.close != Close::Deadline {
            let message = format!(
                "--privacy {} needs deadline: closed at the goal, whose report counts hangs on the others'",
                mode.name()
            );
            return Err(flag("close", "goal", message));
        }
        // A device that stays away because of its last rounds follows no coin.
        let fleet = &self.fleet;
        for (key, bound) in [("min_separation", fleet.min_separation), ("max_participations", fleet.max_participations)]
        {
            if bound > 0 {
                let message = format!("--privacy {} rests on coins alone, only blt on such a bound", mode.name());
                return Err(flag(key, bound, message));
            }
        }
        Ok(())
    }

    /// What the account of examples rests on beside the coins.
    fn fits_examples(&self) -> Result<(), ConfigError> {
        if self.training.rate_end != 1.0 {
            return Err(flag(
                "rate_end",
                self.training.rate_end,
                "--privacy els is made for one step size; it needs 1",
            ));
        }
        if self.fleet.cohort_cap > 0 {
            return Err(flag("cohort_cap", self.fleet.cohort_cap, "--privacy els has no account of a cap"));
        }
        if self.compression.weighting != Weighting::Uniform {
            return Err(flag(
                "weighting",
                "examples",
                "--privacy els needs uniform: a weight tells how many examples came",
            ));
        }
        if self.compression.step >= 0.5 {
            let message = "--privacy els needs less than 0.5: rounding counts as moved by one example";
            return Err(flag("step", self.compression.step, message));
        }
        Ok(())
    }

    /// A bound that neither the sum of clipped examples nor its rounding reaches, so that no delta is ever shortened.
    fn bound_of_examples(&self) -> f32 {
        let all = f64::from(self.training.learning_rate) * f64::from(self.privacy.example_norm);
        up(1.001 * all / (1.0 - f64::from(self.compression.step)))
    }

    /// The least noise of rounds in which devices and then their examples are sampled by coins, over `clip_norm`.
    fn example_noise(&self, clip_norm: f32, population: usize) -> Result<f32, ConfigError> {
        let release = self.example_release(1.0, population);
        let template = Composition::of(Adjacency::AddOrRemove, release, self.fleet.rounds.into());
        let found = calibrate::noise(&template, self.privacy.epsilon, self.privacy.dp_delta, Method::default());
        let (training, clip_norm) = (&self.training, f64::from(clip_norm));
        let exact = f64::from(training.learning_rate) * f64::from(self.privacy.example_norm)
            / f64::from(training.max_examples.max(1));
        // As the plan has it, with room for its single precision.
        let one = exact + clip_norm * (f64::from(self.compression.step) + 1.0 / 4_194_304.0);
        Ok(up(1.0001 * found.map_err(other)?.noise * one / clip_norm))
    }

    /// A round to the accountant where examples are clipped; `noise_multiplier` is over what one example moves.
    pub fn example_release(&self, noise_multiplier: f64, population: usize) -> Release {
        let asked = self.fleet.over_selection * f64::from(self.fleet.cohort);
        Release::DeviceThenExample {
            noise_multiplier,
            device_rate: (asked / population.max(1) as f64).min(1.0),
            example_rate: self.training.example_sampling,
            group: self.training.max_examples,
        }
    }

    /// The least noise of Poisson-sampled rounds, with the cap where there is one.
    fn sampled_noise(&self, population: usize) -> Result<f32, ConfigError> {
        let asked = self.fleet.over_selection * f64::from(self.fleet.cohort);
        let rate = (asked / population.max(1) as f64).min(1.0);
        let release = match self.fleet.cohort_cap {
            0 => Release::Uls { noise_multiplier: 1.0, rate },
            cap => {
                Release::TruncatedUls { noise_multiplier: 1.0, rate, population: population as u64, cap: cap.into() }
            }
        };
        let template = Composition::of(Adjacency::AddOrRemove, release, self.fleet.rounds.into());
        let found = calibrate::noise(&template, self.privacy.epsilon, self.privacy.dp_delta, Method::default());
        // A budget of bits follows sizes that are noised too: both together are what is calibrated.
        let beside =
            if self.compression.bits_per_param > 0.0 { libm::sqrt(1.0 + 1.0 / (SIZE_NOISE * SIZE_NOISE)) } else { 1.0 };
        Ok(up(beside * found.map_err(other)?.noise))
    }

    /// The rule of participation: the largest separation that the population allows, unless another was asked for.
    fn separated(&self, population: usize) -> Result<Participation, ConfigError> {
        let rounds = self.fleet.rounds;
        let picked = (self.fleet.over_selection * f64::from(self.fleet.cohort)).ceil().max(1.0);
        let most = ((population as f64 / picked).floor() as u32).clamp(1, rounds);
        let separation = match self.fleet.min_separation {
            0 => most,
            b if b > most => {
                let message = format!("{population} devices allow at most {most}: each round asks {picked} of them");
                return Err(flag("min_separation", b, message));
            }
            b => b,
        };
        let room = rounds.div_ceil(separation);
        let participations = match self.fleet.max_participations {
            0 => room,
            k => k.min(room),
        };
        let least = (f64::from(rounds) * picked / population.max(1) as f64).ceil();
        if f64::from(participations) < least {
            let message =
                format!("{rounds} rounds that ask {picked} of {population} devices each need at least {least}");
            return Err(flag("max_participations", participations, message));
        }
        Participation::new(rounds, separation, participations).map_err(other)
    }

    fn blt(&self, rule: Participation) -> Result<Blt, ConfigError> {
        Blt::optimized(rule, self.privacy.noise_buffers as usize, Objective::Max).map_err(other)
    }
}

/// The next f32 that is not below: less noise would cost more than the target.
fn up(noise: f64) -> f32 {
    let near = noise as f32;
    if f64::from(near) < noise { near.next_up() } else { near }
}

fn other(error: impl std::fmt::Display) -> ConfigError {
    ConfigError::Other(format!("--privacy: {error}"))
}
