//! The server of one population: opens rounds, closes them, and knows what they cost in privacy.

use super::adaptive::ClipState;
use super::collector::{Collector, CollectorError, Tally};
use super::form::Masks;
use super::model::bitmap;
use super::rate::RateState;
use super::selection::{select, select_spaced};
use super::tail::checked;
use super::{
    Budget, Close, Counts, Followed, GlobalModel, ModelError, NoiseMechanism, Offer, OfferError, Promise, Rate, Round,
    Selection, Settings, SettingsError,
};
use crate::aggregate::{Closed as ClosedSum, Denominator, MeanError, scatter};
use crate::optim::{OptimError, ServerOptimizer};
use crate::privacy::{CorrelatedNoise, NoiseError, StateError};
use rand_core::{CryptoRng, Rng};
use siskin::checkin::{Distributed, Profile};
use siskin::model::sparsity::Bitmap;
use siskin::quantize::scale_of;
use siskin::report::MAX_HEADER;
use siskin_accounting::correlated::{ParticipationLog, StrategyError, Violation};
use siskin_accounting::{Adjacency, Enforcement, Event, Guarantee, Ledger};
use std::num::NonZeroU64;

/// Why a server cannot go on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// A setting.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Plan or checkpoint.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// Clip norm, step or noise.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// The noise of the sum.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// The mean.
    #[error(transparent)]
    Mean(#[from] MeanError),
    /// The step.
    #[error("round {round}: {source}; try a smaller learning rate or a smaller clip norm")]
    Optim {
        /// The round.
        round: u32,
        /// What went wrong.
        source: OptimError,
    },
    /// The accountant.
    #[error(transparent)]
    Accounting(#[from] siskin_accounting::Error),
    /// The accountant of correlated noise.
    #[error(transparent)]
    Strategy(#[from] StrategyError),
    /// The state of correlated noise.
    #[error(transparent)]
    State(#[from] StateError),
    /// Correlated noise is made for who takes part when: a round that does not say it releases nothing.
    #[error("{named} participants were named of a round with {accepted} reports; correlated noise needs all of them")]
    Participants {
        /// Users that were named.
        named: usize,
        /// Reports in the sum.
        accepted: u64,
    },
    /// Somebody is in the round who must not be: nothing is released.
    #[error("the round releases nothing: {0}")]
    Violation(Violation),
}

/// What a round came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed {
    /// What became of the devices.
    pub counts: Counts,
    /// Reports whose norm the server had to clip again.
    pub reclipped: u64,
    /// False if too few reports came and the model stayed as it was.
    pub stepped: bool,
    /// Reports that the round needed at the least.
    pub needed: u64,
    /// L2 norm of the mean delta.
    pub update_norm: Option<f64>,
    /// With adaptive clipping, the estimate of the part of the deltas that were not clipped, in `[0, 1]`.
    pub unclipped: Option<f64>,
    /// What the sizes of the reports said of the step; where that follows them.
    pub rate: Option<Followed>,
    /// When the round closed, ms after it opened.
    pub closed_ms: u64,
    /// Privacy so far.
    pub guarantee: Guarantee,
}

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

    /// Closes a round: sum, noise, mean, step, mask, account. `rng` gives the server's noise.
    ///
    /// # Errors
    /// [`ServerError`]; the model is then as it was. With correlated noise, [`ServerError::Participants`] for a round with
    /// reports: see [`close_of`](Self::close_of).
    pub fn close(&mut self, round: Round, rng: &mut impl CryptoRng) -> Result<Closed, ServerError> {
        self.close_of(round, &[], rng)
    }

    /// Closes a round in which these users took part: everybody whose report may be in the sum, at the least. Correlated
    /// noise hangs on it; reports themselves do not say whose they are. A participation counts whether or not the round
    /// releases anything, as it does in the device's own ledger.
    ///
    /// # Errors
    /// [`ServerError`]; the model is then as it was. With correlated noise, [`ServerError::Participants`] if there are fewer
    /// than reports, [`ServerError::Violation`] if one of them must not take part: nothing is released.
    pub fn close_of(
        &mut self,
        round: Round,
        participants: &[u64],
        rng: &mut impl CryptoRng,
    ) -> Result<Closed, ServerError> {
        let (offer, collector) = round.into_parts();
        self.masks.remember(offer.mask, self.settings.pruning.remembered as usize);
        let collected = collector.finish();
        let counts = collected.counts;
        let needed = self.needed();
        let stepped = counts.accepted >= needed;
        self.admit(participants, counts.accepted)?;
        let reclipped = collected.sum.reclipped();
        let (mut update_norm, mut delta, mut unclipped) = (None, None, None);
        if stepped {
            let mut mean = match collected.sum {
                Tally::Modular(sum) => {
                    let realised = NonZeroU64::new(counts.accepted).ok_or(MeanError::NoReports)?;
                    let denominator = self.denominator(1).unwrap_or(realised);
                    let coordinates = self.settings.privacy.coordinates(offer.graph.live);
                    sum.mean(offer.plan.quantization.step, self.round, coordinates, denominator)
                }
                // No noise is promised, so that nothing is fixed.
                Tally::Signs(sum) => sum.mean(offer.plan.quantization.step)?,
                Tally::Dithered(sum) => sum.mean()?,
                Tally::Clipped(sum) => {
                    let fixed = self.denominator(sum.plan().max_weight.get());
                    match sum.close() {
                        ClosedSum::Plain(sum) => sum.mean(fixed.map_or(Denominator::Realised, Denominator::Fixed))?,
                        ClosedSum::Promised(sum) => {
                            let noised = match &mut self.correlated {
                                Some(noise) => {
                                    self.log.end_round(participants.iter().copied());
                                    sum.correlate(noise, rng)?
                                }
                                None => sum.noise(rng)?,
                            };
                            noised.mean(fixed.unwrap_or(NonZeroU64::MIN))
                        }
                    }
                }
            };
            let scale = scale_of(&offer.plan.quantization);
            if scale != 1.0 {
                // What did not travel counts as zero in the sum. The clip bit always travels.
                let live = offer.graph.live;
                mean.iter_mut().take(live).for_each(|value| *value = (f64::from(*value) * scale) as f32);
            }
            if self.settings.privacy.bit_share().is_some() {
                // Every report has weight 1.
                let divisor = self.denominator(1).map_or(counts.accepted, NonZeroU64::get);
                let bits = f64::from(mean.pop().unwrap_or(0.0)) * divisor as f64;
                unclipped = self.follow_norms(bits, counts.accepted);
            }
            update_norm = Some(libm::sqrt(mean.iter().map(|v| f64::from(*v) * f64::from(*v)).sum()));
            delta = Some(self.step(&mean)?);
        } else if let Some(noise) = &mut self.correlated {
            self.log.end_round(participants.iter().copied());
            noise.advance(rng);
        }
        let rate = match self.settings.rate {
            Rate::Fixed | Rate::Schedule(_) => None,
            // Of a round that is given up nothing is released.
            _ if !stepped && self.settings.noises_sizes() => {
                self.rate.wait();
                None
            }
            _ => Some(self.rate.follow(&self.settings, &collected.sizes, &collected.trial, rng)),
        };
        if let Some(lesson) = collected.lesson.filter(|_| stepped) {
            self.start = lesson.start();
        }
        // A round that was given up released nothing, but its number has been used.
        if stepped {
            self.ledger.observe(self.event())?;
        }
        self.round += 1;
        let growth = collected.growth.filter(|_| stepped);
        self.prune(delta.as_deref(), growth.as_deref())?;
        self.lay_grid();
        let closed_ms = match self.settings.close {
            Close::Goal if counts.accepted >= u64::from(self.settings.cohort) => collected.closed_ms,
            _ => u64::from(self.settings.deadline_ms),
        };
        let guarantee = self.guarantee()?;
        Ok(Closed { counts, reclipped, stepped, needed, update_norm, unclipped, rate, closed_ms, guarantee })
    }

    /// With correlated noise, that everybody in a round is named and may be in it.
    fn admit(&self, participants: &[u64], accepted: u64) -> Result<(), ServerError> {
        let Some(rule) = self.settings.noise.participation() else { return Ok(()) };
        if (participants.len() as u64) < accepted {
            return Err(ServerError::Participants { named: participants.len(), accepted });
        }
        participants.iter().try_for_each(|user| self.log.admits(*user, rule)).map_err(ServerError::Violation)?;
        // Twice in one round is too soon as well.
        let mut here = ParticipationLog::new();
        here.end_round(participants.iter().copied());
        here.keeps(rule).map_err(ServerError::Violation)
    }

    /// Reports that a round needs: where devices carry the noise, all the shares of it.
    fn needed(&self) -> u64 {
        let fraction = (self.settings.min_fraction * f64::from(self.settings.cohort)).ceil() as u64;
        match self.settings.privacy.profile {
            Profile::Distributed(Distributed { shares, .. }) if self.settings.privacy.noise_multiplier > 0.0 => {
                fraction.max(u64::from(shares)).max(1)
            }
            _ => fraction.max(1),
        }
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

    /// Moves the clip norm by the sum of the clip bits, in the units of the params; gives the estimate that it went by.
    ///
    /// How many reports there are may be known where a missing one counts as zero. Where one more or less must not be told, the
    /// planned cohort takes their place, which draws the estimate to a half, or from it if there are more: of the quantiles only the
    /// median is then met exactly.
    fn follow_norms(&mut self, bits: f64, accepted: u64) -> Option<f64> {
        let hidden = self.settings.privacy.noise_multiplier > 0.0 && Self::sampling_is_enforced(&self.settings);
        let reports = if hidden { u64::from(self.settings.cohort) } else { accepted };
        let unclipped = self.clip.unclipped(&self.settings, bits, reports)?;
        self.clip.follow(&mut self.settings, unclipped);
        Some(unclipped)
    }

    /// With noise, a number that is fixed before the round; else what arrived.
    fn denominator(&self, max_weight: u32) -> Option<NonZeroU64> {
        if self.settings.privacy.noise_multiplier > 0.0 {
            NonZeroU64::new(u64::from(self.settings.cohort) * u64::from(max_weight))
        } else {
            None
        }
    }

    /// Discrete Gaussian noise is accounted as the continuous one of the same deviation: see
    /// [`LEAST_SHARE_DEVIATION`](siskin::checkin::LEAST_SHARE_DEVIATION) for what that leaves out. The ledger knows no Skellam noise,
    /// which is less than Gaussian, so that it counts for none; devices' own ledgers charge it by its proven bound, and
    /// [`Release::Skellam`](siskin_accounting::Release::Skellam) accounts for it.
    fn event(&self) -> Event {
        let promise = self.promise().filter(|promise| promise.mechanism != NoiseMechanism::Skellam);
        let noise_multiplier =
            promise.map_or(0.0, |promise| promise.noise_multiplier()) * self.settings.noise_beside_sizes();
        if Self::sampling_is_enforced(&self.settings) {
            let rate = self.settings.rate(self.population);
            match self.settings.cohort_cap {
                None => Event::PoissonGaussian { noise_multiplier, rate },
                Some(cap) => Event::CappedPoissonGaussian {
                    noise_multiplier,
                    rate,
                    population: self.population as u64,
                    cap: cap.into(),
                },
            }
        } else {
            Event::Gaussian { noise_multiplier }
        }
    }

    /// Takes the server optimizer's step; gives the mean delta, dense.
    fn step(&mut self, mean: &[f32]) -> Result<Vec<f32>, ServerError> {
        let bits = self.model.mask();
        let optim = |source| ServerError::Optim { round: self.round, source };
        let length = OptimError::Length { what: "mean delta", expected: self.model.carried(), got: mean.len() };
        let mask = Bitmap::new(&bits, self.model.size()).map_err(|_| optim(length))?;
        let dense = scatter(mean, mask).ok_or_else(|| optim(length))?;
        let round = self.round;
        let stepped = self.optimizer.step(self.model.params_mut(), &dense);
        stepped.map_err(|source| ServerError::Optim { round, source })?;
        Ok(dense)
    }

    fn prune(&mut self, delta: Option<&[f32]>, growth: Option<&[u64]>) -> Result<(), ServerError> {
        if self.settings.pruning.update(&mut self.model, self.round, delta, growth)? {
            let round = self.round;
            set_mask(&mut *self.optimizer, &self.model).map_err(|source| ServerError::Optim { round, source })?;
            if let Some(noise) = &mut self.correlated {
                noise.follow(&noise_mask(&self.settings, &self.model).0)?;
            }
        }
        Ok(())
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
