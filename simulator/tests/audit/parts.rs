//! A mechanism put together from the public parts of the sdk and the server, honest or with one fault.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use siskin::quantize::{Rounding, Step, quantize_in_place};
use siskin_server::aggregate::{Closed, Denominator, NormBound, Sum, SumPlan};
use siskin_server::privacy::{Gaussian, NoiseMultiplier};
use siskin_simulator::audit::{AuditError, Claim, Device, Integers, Mechanism, Run, Update};
use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The sum is released as it is.
    NoNoise,
    /// Half of the promised standard deviation.
    HalfNoise,
    /// The generator starts afresh in each round.
    SameNoise,
    /// Each device adds its share to its delta, and clips then.
    NoiseBeforeClip,
    /// No device is clipped: the mean is.
    ClipAfterAveraging,
    /// The sum is divided by the number of reports that came.
    RealisedCohort,
    /// A device may take part as often as it likes.
    CapIgnored,
    /// The standard deviation is the multiplier, whatever the clip norm is.
    NotScaled,
}

impl Fault {
    pub(crate) const ALL: [Self; 8] = [
        Self::NoNoise,
        Self::HalfNoise,
        Self::SameNoise,
        Self::NoiseBeforeClip,
        Self::ClipAfterAveraging,
        Self::RealisedCohort,
        Self::CapIgnored,
        Self::NotScaled,
    ];
}

pub(crate) struct Parts(pub(crate) Fault);

impl Mechanism for Parts {
    fn name(&self) -> String {
        format!("from parts, fault: {:?}", self.0)
    }

    fn start(&self, claim: &Claim, seed: u64) -> Result<Box<dyn Run>, AuditError> {
        Ok(Box::new(PartsRun { fault: self.0, claim: claim.clone(), seed, round: 0, taken: HashMap::new() }))
    }
}

struct PartsRun {
    fault: Fault,
    claim: Claim,
    seed: u64,
    round: u64,
    /// Rounds in which each device counted.
    taken: HashMap<u64, u32>,
}

impl PartsRun {
    fn generator(&self, purpose: u64, round: u64, device: u64) -> ChaCha20Rng {
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip([self.seed, purpose, round, device]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        ChaCha20Rng::from_seed(key)
    }

    /// What a device reports: clipped, on the grid.
    fn symbols(&self, device: &Device) -> Vec<i32> {
        let Some(mut delta) = device.update.delta(&self.claim) else {
            let Update::Forged(symbols) = &device.update else { unreachable!("every other update has a delta") };
            return symbols.to_vec();
        };
        let clip_norm = f64::from(self.claim.clip_norm);
        if self.fault == Fault::NoiseBeforeClip {
            let share = self.claim.sigma(1) / f64::from(self.claim.cohort).sqrt();
            let mut rng = self.generator(1, self.round, device.number);
            let mut deviates = Gaussian::new(&mut rng);
            for value in &mut delta {
                *value += (share * deviates.sample()) as f32;
            }
        }
        if self.fault != Fault::ClipAfterAveraging {
            clip(&mut delta, clip_norm);
        }
        let step = Step::new(self.claim.step).unwrap();
        let seed = self.seed ^ self.round.rotate_left(40) ^ device.number.rotate_left(20);
        let quantized = quantize_in_place(&mut delta, step, Rounding::Stochastic { seed, first: 0 });
        quantized.symbols.to_vec()
    }

    /// The cohort: each device once, and none beyond its cap.
    fn admitted<'d>(&self, devices: &'d [Device]) -> Vec<&'d Device> {
        let mut seen = HashSet::new();
        let spent = |device: &Device| self.taken.get(&device.number).is_some_and(|n| *n >= self.claim.participations);
        devices.iter().filter(|d| seen.insert(d.number) && (self.fault == Fault::CapIgnored || !spent(d))).collect()
    }

    fn sum(&self, devices: &[&Device], noise: Option<f64>) -> Sum {
        let factor = if self.fault == Fault::ClipAfterAveraging { 1e6 } else { 1.0 };
        let bound = NormBound::new(factor * self.claim.clip_norm, self.claim.step).unwrap();
        let mut plan = SumPlan::new(bound, 1).unwrap();
        if let Some(noise) = noise {
            plan = plan.with_noise(NoiseMultiplier::new(noise).unwrap());
        }
        let mut sum = Sum::new(self.claim.coordinates, plan);
        for device in devices {
            let symbols = self.symbols(device);
            let report = symbols.iter().enumerate().filter(|(_, q)| **q != 0).map(|(i, q)| (i, *q));
            sum.add(report, 1).unwrap();
        }
        sum
    }

    /// The mean that is clipped as a whole; norm at most the clip norm.
    fn clipped_mean(&self, devices: &[&Device]) -> Vec<f32> {
        let fixed = Denominator::Fixed(NonZeroU64::new(self.claim.cohort.into()).unwrap());
        let Closed::Plain(sum) = self.sum(devices, None).close() else { unreachable!("no noise was promised") };
        let mut mean = sum.mean(fixed).unwrap();
        clip(&mut mean, f64::from(self.claim.clip_norm));
        mean
    }
}

fn clip(values: &mut [f32], clip_norm: f64) {
    let norm = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    if !norm.is_finite() {
        values.fill(0.0);
    } else if norm > clip_norm {
        let factor = (clip_norm / norm * (1.0 - 1e-6)) as f32;
        for value in values {
            *value *= factor;
        }
    }
}

impl Run for PartsRun {
    fn round(&mut self, devices: &[Device]) -> Result<Vec<f64>, AuditError> {
        let admitted = self.admitted(devices);
        let z = f64::from(self.claim.noise_multiplier);
        let noise = match self.fault {
            Fault::NoNoise | Fault::NoiseBeforeClip | Fault::ClipAfterAveraging => None,
            Fault::HalfNoise => Some(0.5 * z),
            Fault::NotScaled => Some(z / f64::from(self.claim.clip_norm)),
            _ => Some(z),
        };
        let round = if self.fault == Fault::SameNoise { 0 } else { self.round };
        let mut rng = self.generator(2, round, 0);
        let planned = NonZeroU64::new(self.claim.cohort.into()).unwrap();
        let mean = if self.fault == Fault::ClipAfterAveraging {
            let sigma = self.claim.sigma(1) / f64::from(self.claim.cohort);
            let mean = self.clipped_mean(&admitted);
            let mut deviates = Gaussian::new(&mut rng);
            mean.iter().map(|v| (f64::from(*v) + sigma * deviates.sample()) as f32).collect()
        } else {
            let came = NonZeroU64::new(admitted.len() as u64).unwrap_or(NonZeroU64::MIN);
            let denominator = if self.fault == Fault::RealisedCohort { came } else { planned };
            match self.sum(&admitted, noise).close() {
                Closed::Plain(sum) => sum.mean(Denominator::Fixed(denominator)).unwrap(),
                Closed::Promised(sum) => sum.noise(&mut rng).unwrap().mean(denominator),
            }
        };
        let numbers: Vec<u64> = admitted.iter().map(|d| d.number).collect();
        for number in numbers {
            *self.taken.entry(number).or_default() += 1;
        }
        self.round += 1;
        Ok(mean.into_iter().map(f64::from).collect())
    }

    fn integers(&mut self, devices: &[Device]) -> Result<Integers, AuditError> {
        let admitted = self.admitted(devices);
        let unit = f64::from(self.claim.step) / 65_536.0;
        if self.fault == Fault::ClipAfterAveraging {
            let of = |v: f32| (f64::from(v) * f64::from(self.claim.cohort) / unit) as i64;
            return Ok(Integers { sum: self.clipped_mean(&admitted).into_iter().map(of).collect(), unit });
        }
        let Closed::Plain(sum) = self.sum(&admitted, None).close() else { unreachable!("no noise was promised") };
        Ok(Integers { sum: sum.weighted().to_vec(), unit })
    }

    fn reports(&mut self, devices: &[Device]) -> Result<Vec<Vec<i32>>, AuditError> {
        Ok(self.admitted(devices).into_iter().map(|device| self.symbols(device)).collect())
    }

    fn epsilon(&self) -> Result<f64, AuditError> {
        self.claim.epsilon()
    }
}
