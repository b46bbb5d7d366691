//! Which devices are asked.

use super::{Selection, Settings};
use rand_core::Rng;
use siskin_accounting::correlated::{Participation, ParticipationLog};

/// Picks devices `0..population`, in ascending order. Reproducible from the state of `rng`.
pub fn select(settings: &Settings, population: usize, rng: &mut impl Rng) -> Vec<usize> {
    match settings.selection {
        Selection::Poisson => {
            let came: Vec<usize> = flip(0..population, settings.rate(population), rng).collect();
            capped(came, settings, rng)
        }
        Selection::Fixed => draw(0..population, settings.picked(population), rng),
    }
}

/// Picks of the devices `0..population` that may take part again by the log and the rule, in ascending order: those whose
/// last round is at least b before this one and who took part fewer than k times. As many as [`select`] picks, if so many
/// are left ([`Selection::Poisson`]: on average). Reproducible from the state of `rng`. Devices are users of the log by
/// their number.
///
/// No amplification by sampling follows from it: who was in the last rounds cannot be in this one.
pub fn select_spaced(
    settings: &Settings,
    population: usize,
    log: &ParticipationLog,
    rule: Participation,
    rng: &mut impl Rng,
) -> Vec<usize> {
    let free: Vec<usize> = (0..population).filter(|device| log.admits(*device as u64, rule).is_ok()).collect();
    match settings.selection {
        Selection::Poisson => {
            let rate = settings.over_selection * f64::from(settings.cohort) / free.len().max(1) as f64;
            let came = flip(free.into_iter(), rate.min(1.0), rng).collect();
            capped(came, settings, rng)
        }
        Selection::Fixed => {
            let wanted = settings.picked(free.len());
            draw(free.into_iter(), wanted, rng)
        }
    }
}

/// A uniform subset where more came than there is room for.
fn capped(came: Vec<usize>, settings: &Settings, rng: &mut impl Rng) -> Vec<usize> {
    match settings.cohort_cap.map(|cap| cap as usize) {
        Some(cap) if came.len() > cap => draw(came.into_iter(), cap, rng),
        _ => came,
    }
}

/// An independent coin of 64 bits a device.
fn flip(devices: impl Iterator<Item = usize>, rate: f64, rng: &mut impl Rng) -> impl Iterator<Item = usize> {
    let threshold = rate * 18_446_744_073_709_551_616.0;
    let threshold = if threshold >= 18_446_744_073_709_551_615.0 { u64::MAX } else { threshold as u64 };
    devices.filter(move |_| rng.next_u64() <= threshold)
}

/// Exactly so many: selection sampling (Knuth, TAOCP 3.4.2, algorithm S).
fn draw(devices: impl ExactSizeIterator<Item = usize>, wanted: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut picked = Vec::with_capacity(wanted);
    let all = devices.len();
    for (seen, device) in devices.enumerate() {
        let left = (all - seen) as u64;
        if (u64::from(rng.next_u32()) * left) >> 32 < (wanted - picked.len()) as u64 {
            picked.push(device);
        }
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha12Rng;
    use rand_core::SeedableRng;

    #[test]
    fn a_subset_is_drawn_uniformly_and_in_order() {
        let mut counts = [0_u32; 10];
        let mut rng = ChaCha12Rng::seed_from_u64(7);
        for _ in 0..10_000 {
            let picked = draw((0..10).map(|i| i * 3).collect::<Vec<usize>>().into_iter(), 4, &mut rng);
            assert!(picked.len() == 4 && picked.is_sorted());
            picked.iter().for_each(|device| counts[device / 3] += 1);
        }
        // 4,000 each, with a standard deviation of 49: five of them.
        assert!(counts.iter().all(|n| n.abs_diff(4000) < 245), "{counts:?}");
    }
}
