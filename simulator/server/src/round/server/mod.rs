//! The server of one population: opens rounds, closes them, and knows what they cost in privacy.

mod close;
mod error;

pub use close::Closed;
pub use error::ServerError;

use super::adaptive::ClipState;
use super::collector::Collector;
use super::form::Masks;
use super::model::bitmap;
use super::rate::RateState;
use super::selection::{select, select_spaced};
use super::tail::checked;
use super::{Budget, Close, GlobalModel, Offer, Promise, Rate, Round, Selection, Settings, SettingsError};
use crate::optim::{OptimError, ServerOptimizer};
use crate::privacy::CorrelatedNoise;
use rand_core::Rng;
use siskin::checkin::Profile;
use siskin::model::sparsity::Bitmap;
use siskin::report::MAX_HEADER;
use siskin_accounting::correlated::ParticipationLog;
use siskin_accounting::{Adjacency, Enforcement, Guarantee, Ledger};

/// The server of one population.
pub struct Server {
    settings: Settings,
    population: usize,
    model: GlobalModel,
    optimizer: Box<dyn ServerOptimizer + Send + Sync>,
    ledger: Ledger,
    /// With [`Noise`](crate::privacy::Noise) that is correlated; the ledger is not asked then.
    correlated: Option<CorrelatedNoise>,
    /// Who took part in which of its rounds.
    log: ParticipationLog,
    round: u32,
    max_frame: usize,
    /// What stays of clip norm and grid while the norm moves.
    clip: ClipState,
    /// How the grid moves beside that.
    rate: RateState,
    /// Of the rounds before, as their devices may have kept them.
    masks: Masks,
    /// What the coders of the next round begin with; empty is nothing.
    start: Vec<u8>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("round", &self.round).field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Server {
    /// A server over `population` devices. `rounds` bounds the participations of one device where nothing else does.
    /// The model is masked for its first round.
    ///
    /// # Errors
    /// [`ServerError`] names the setting.
    pub fn new(
        settings: Settings,
        population: usize,
        rounds: u32,
        mut model: GlobalModel,
        max_frame: usize,
    ) -> Result<Self, ServerError> {
        settings.check(population)?;
        settings.pruning.begin(&mut model)?;
        let mut settings = settings;
        settings.quantization.keep = settings.rate.first_part(&settings);
        settings.lay_signs(model.carried());
        fits_upload(&settings, model.carried())?;
        let mut optimizer =
            settings.optimizer.build(model.size()).map_err(|source| ServerError::Optim { round: 0, source })?;
        set_mask(&mut *optimizer, &model).map_err(|source| ServerError::Optim { round: 0, source })?;
        let ledger = if Self::sampling_is_enforced(&settings) {
            Ledger::poisson(Adjacency::AddOrRemove, Enforcement::Enforced)?
        } else {
            // Nothing is assumed of who comes when: at worst one device is in every round.
            Ledger::unsampled(Adjacency::ZeroOut, u64::from(rounds.max(1)))?
        };
        let plan = settings.noise.plan(f64::from(settings.privacy.noise_multiplier))?;
        let (mask, params) = noise_mask(&settings, &model);
        let correlated = plan.map(|plan| CorrelatedNoise::new(plan, &mask, params)).transpose()?;
        let (clip, rate) = (ClipState::new(&settings), RateState::new(&settings));
        let server = Self {
            settings,
            population,
            model,
            optimizer,
            ledger,
            correlated,
            log: ParticipationLog::new(),
            round: 0,
            max_frame,
            clip,
            rate,
            masks: Masks::default(),
            start: Vec::new(),
        };
        server.open()?;
        Ok(server)
    }

    /// Amplification by sampling is claimed only where the server itself flips an independent coin for each device, no
    /// report's fate depends on another's, and nobody but the server learns who took part: with the server's noise.
    fn sampling_is_enforced(settings: &Settings) -> bool {
        settings.selection == Selection::Poisson
            && settings.close == Close::Deadline
            && settings.privacy.profile == Profile::Central
    }

    /// Number of the next round.
    pub fn round(&self) -> u32 {
        self.round
    }

    /// The model as it is.
    pub fn model(&self) -> &GlobalModel {
        &self.model
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Local step size of the plans from the next round on. Where the grid follows the sizes of reports, its step changes by as much.
    pub fn set_learning_rate(&mut self, rate: f32) {
        let factor = f64::from(rate) / f64::from(self.settings.training.learning_rate);
        if factor != 1.0 && matches!(self.settings.rate, Rate::Bits(_)) {
            self.rate.rescaled(&self.settings, factor);
            self.lay_grid();
        }
        self.settings.training.learning_rate = rate;
    }

    /// What the coders of the next round begin with, of another run; a round that steps learns its own. Bytes that are no
    /// [`Start`](siskin::range_coder::Start) are none.
    pub fn set_start(&mut self, start: &[u8]) {
        self.start = checked(start).to_vec();
    }

    /// What the next round promises to the accountant; none without noise.
    pub fn promise(&self) -> Option<Promise> {
        Promise::of(&self.settings, self.settings.privacy.symbols(self.model.carried()))
    }

    /// Privacy so far. With correlated noise: if everybody keeps to the rule of participation.
    ///
    /// # Errors
    /// [`ServerError::Accounting`] for a `dp_delta` outside (0, 1).
    pub fn guarantee(&self) -> Result<Guarantee, ServerError> {
        let dp_delta = self.settings.dp_delta;
        Ok(match &self.correlated {
            Some(noise) => noise.plan().guarantee_after(Adjacency::ZeroOut, dp_delta, noise.rounds())?,
            None => self.ledger.guarantee(dp_delta)?,
        })
    }

    /// Privacy so far, by who took part when; without correlated noise, the [`guarantee`](Self::guarantee).
    ///
    /// # Errors
    /// [`ServerError::Strategy`] if somebody broke the rule of participation.
    pub fn certify(&self) -> Result<Guarantee, ServerError> {
        match &self.correlated {
            Some(noise) => Ok(noise.plan().certify(&self.log, Adjacency::ZeroOut, self.settings.dp_delta)?),
            None => self.guarantee(),
        }
    }

    /// Who took part in which round; nobody unless the noise is correlated.
    pub fn participation(&self) -> &ParticipationLog {
        &self.log
    }

    /// The state of correlated noise.
    pub fn correlated_noise(&self) -> Option<&CorrelatedNoise> {
        self.correlated.as_ref()
    }

    /// Picks the devices of the next round: with correlated noise, of those that may take part again.
    pub fn select(&self, rng: &mut impl Rng) -> Vec<usize> {
        match self.settings.noise.participation() {
            Some(rule) => select_spaced(&self.settings, self.population, &self.log, rule, rng),
            None => select(&self.settings, self.population, rng),
        }
    }

    /// Opens the next round.
    ///
    /// # Errors
    /// [`ServerError`] if the settings make no valid plan.
    pub fn open(&self) -> Result<Round, ServerError> {
        let offer = {
            // It may be of settings that have changed since, and is no matter to who has not asked for it.
            let start = if self.settings.may_start() { &self.start[..] } else { &[] };
            Offer::starting(&self.settings, &self.model, self.round, self.max_frame, start)?.with_masks(&self.masks)
        };
        let collector = Collector::new(&self.settings, &offer, self.rate.is_first())?;
        Ok(Round::new(offer, collector))
    }

    /// Step and part of the next round, where they move.
    fn lay_grid(&mut self) {
        if let Some(part) = self.rate.part() {
            self.settings.quantization.keep = part;
        }
        if let Some(ratio) = self.rate.ratio(&self.settings, self.round) {
            self.clip.set_ratio(&mut self.settings, ratio);
        }
        self.settings.lay_signs(self.model.carried());
    }
}

/// That a report within the budget may be sent at all.
fn fits_upload(settings: &Settings, live: usize) -> Result<(), SettingsError> {
    let Rate::Bits(Budget { bits, .. }) = settings.rate else { return Ok(()) };
    let most = f64::from(settings.upload.max_bytes) - MAX_HEADER as f64;
    if bits * live as f64 / 8.0 <= most {
        return Ok(());
    }
    let range = format!(
        "at most {:.3}: a report of {live} live params may have {} bytes; a larger upload, or a smaller budget",
        (8.0 * most / live as f64).max(0.0),
        settings.upload.max_bytes
    );
    Err(SettingsError { name: "bits per param", got: bits, range })
}

/// The params that carry noise and their number, one bit each; the clip bit is one more behind them.
fn noise_mask(settings: &Settings, model: &GlobalModel) -> (Vec<u8>, usize) {
    let (mut mask, size) = (model.mask(), model.size());
    if settings.privacy.bit_share().is_none() {
        return (mask, size);
    }
    mask.resize((size + 1).div_ceil(8), 0);
    mask[size / 8] |= 1 << (size % 8);
    (mask, size + 1)
}

/// The mask of what lives, frozen or not: an optimizer zeroes everything else, and what is frozen has no delta.
fn set_mask(optimizer: &mut dyn ServerOptimizer, model: &GlobalModel) -> Result<(), OptimError> {
    let bits = bitmap(model.live_bits());
    match Bitmap::new(&bits, model.size()) {
        Ok(mask) => optimizer.set_mask(mask),
        Err(_) => Err(OptimError::Length { what: "mask", expected: model.size(), got: 8 * bits.len() }),
    }
}
