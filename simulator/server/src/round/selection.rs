//! Which devices are asked.

use super::{Selection, Settings};
use rand_core::Rng;

/// Picks devices `0..population`, in ascending order. Reproducible from the state of `rng`.
pub fn select(settings: &Settings, population: usize, rng: &mut impl Rng) -> Vec<usize> {
    match settings.selection {
        Selection::Poisson => {
            // 2^64 times the rate: a coin with 64 bits.
            let threshold = settings.rate(population) * 18_446_744_073_709_551_616.0;
            let threshold = if threshold >= 18_446_744_073_709_551_615.0 { u64::MAX } else { threshold as u64 };
            (0..population).filter(|_| rng.next_u64() <= threshold).collect()
        }
        Selection::Fixed => {
            let wanted = (settings.over_selection * f64::from(settings.cohort)).ceil() as usize;
            let wanted = wanted.min(population);
            // Selection sampling (Knuth, TAOCP 3.4.2, algorithm S).
            let mut picked = Vec::with_capacity(wanted);
            for device in 0..population {
                let left = (population - device) as u64;
                if (u64::from(rng.next_u32()) * left) >> 32 < (wanted - picked.len()) as u64 {
                    picked.push(device);
                }
            }
            picked
        }
    }
}
