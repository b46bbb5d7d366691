//! The end of a round: sum, noise, mean, step, mask, account.

use super::{Server, ServerError, noise_mask, set_mask};
use crate::aggregate::{Closed as ClosedSum, Denominator, MeanError, scatter};
use crate::optim::OptimError;
use crate::round::{Close, Counts, Followed, NoiseMechanism, Rate, Round, Tally};
use rand_core::CryptoRng;
use siskin::checkin::{Distributed, Plan, Profile};
use siskin::model::sparsity::Bitmap;
use siskin::quantize::scale_of;
use siskin_accounting::correlated::ParticipationLog;
use siskin_accounting::{Event, Guarantee};
use std::num::NonZeroU64;

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

impl Server {
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
            let mut mean =
                self.mean(collected.sum, (&offer.plan, offer.graph.live), participants, counts.accepted, rng)?;
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

    /// The mean delta of the `live` params that travel, with the server's noise where it promises some, and the mean clip bit
    /// behind them where there is one.
    fn mean(
        &mut self,
        sum: Tally,
        (plan, live): (&Plan, usize),
        participants: &[u64],
        accepted: u64,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<f32>, ServerError> {
        let mut mean = match sum {
            Tally::Modular(sum) => {
                let realised = NonZeroU64::new(accepted).ok_or(MeanError::NoReports)?;
                let denominator = self.denominator(1).unwrap_or(realised);
                let coordinates = self.settings.privacy.coordinates(live);
                sum.mean(plan.quantization.step, self.round, coordinates, denominator)
            }
            // No noise is promised, so that nothing is fixed.
            Tally::Signs(sum) => sum.mean(plan.quantization.step)?,
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
        let scale = scale_of(&plan.quantization);
        if scale != 1.0 {
            // What did not travel counts as zero in the sum. The clip bit always travels.
            mean.iter_mut().take(live).for_each(|value| *value = (f64::from(*value) * scale) as f32);
        }
        Ok(mean)
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
