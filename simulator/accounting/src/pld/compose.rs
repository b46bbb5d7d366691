//! Composition: the law of a sum of independent losses, near one loss, by one FFT.
//!
//! A plain FFT has an absolute error of some 1e-17, which swamps the tail that a small delta is made of. So every law is
//! tilted first, `m -> m exp(lambda loss) / Z`; afterwards `Z exp(-lambda loss)` undoes it. A tilt at the saddle point of
//! the loss that is asked for makes the error relative to what matters; a gentler one has a lighter upper tail and needs a
//! shorter window. [`Composed::plan`] takes the shortest window with which some tilt is good enough.
//!
//! The window is finite. What lies above its upper end is bounded by Chernoff and added to delta; what lies outside wraps
//! around, where it can only add. So any tilt and any window give a bound; the plan decides only how tight it is.

use super::fft::{Complex, RealFft};
use super::pmf::Pmf;
use super::spectrum::Spectrum;

/// Laws on one grid, each with how often it was drawn.
#[derive(Clone, Debug)]
pub struct Composed<'a> {
    pub(super) parts: Vec<(&'a Pmf, u64)>,
    summaries: Vec<Summary>,
}

/// Share of delta that a plan allows for each of: mass above the window, mass wrapped from either side, rounding.
const SHARE: f64 = 1e-9;
/// log of an FFT's error in the tilted mass above a loss: some 1e-15 with all its points.
pub(super) const ROUNDING: f64 = -34.0;
/// Frequencies where the composed spectrum is below this, in square, are 0.
const LEAST_POWER: f64 = 1e-48;
/// log of the longest window: the grid must be coarser.
const LONGEST: u32 = 22;

/// Where to look, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    lambda: f64,
    /// Above the largest loss of the window.
    end: i64,
    len: usize,
    /// Probability of a loss above the window, at most.
    beyond: f64,
}

/// Tilted masses.
#[derive(Debug)]
pub(super) enum Law {
    /// One by one; rounding may have made some negative.
    Masses(Vec<f64>),
    /// By frequencies.
    Spectrum(Spectrum, usize),
}

/// The law of the sum on a window, tilted.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) interval: f64,
    /// Grid index of the first loss.
    pub(super) lower: i64,
    pub(super) law: Law,
    pub(super) lambda: f64,
    /// log of the untilted mass at loss 0, per tilted mass.
    pub(super) log_scale: f64,
    /// Probability of a loss above the window, at most.
    pub(super) beyond: f64,
    /// Whether the sum may be below the window: then nothing can be said there.
    pub(super) cut_below: bool,
    pub(super) infinity: f64,
}

/// A law in few atoms, to search a tilt and bound tails with: the masses of neighbours are moved to both ends of their
/// group so that the mean stays, which can only raise an exponential moment (by Jensen), and by little.
#[derive(Clone, Debug)]
struct Summary {
    /// (loss, log mass).
    atoms: Vec<(f64, f64)>,
}

impl Summary {
    const GROUPS: usize = 320;

    fn of(pmf: &Pmf) -> Self {
        let size = pmf.mass.len().div_ceil(Self::GROUPS).max(1);
        let mut atoms = Vec::with_capacity(2 * Self::GROUPS);
        for (g, chunk) in pmf.mass.chunks(size).enumerate() {
            let sum: f64 = chunk.iter().sum();
            let moment: f64 = chunk.iter().enumerate().map(|(i, m)| i as f64 * m).sum();
            let last = chunk.len() - 1;
            let right = if last > 0 { moment / last as f64 } else { 0.0 };
            for (index, mass) in [(0, sum - right), (last, right)] {
                if mass > 0.0 {
                    atoms.push((pmf.loss(g * size + index), libm::log(mass)));
                }
            }
        }
        Self { atoms }
    }

    /// log of the sum of mass * exp(lambda * loss), rounded up, and its first two derivatives.
    fn log_moment(&self, lambda: f64) -> [f64; 3] {
        let most = self.atoms.iter().fold(f64::NEG_INFINITY, |most, &(loss, log)| most.max(log + lambda * loss));
        let mut sums = [0.0; 3];
        for &(loss, log) in &self.atoms {
            let exponent = log + lambda * loss - most;
            if exponent > -45.0 {
                let weight = libm::exp(exponent);
                sums[0] += weight;
                sums[1] += weight * loss;
                sums[2] += weight * loss * loss;
            }
        }
        if sums[0] == 0.0 {
            return [f64::NEG_INFINITY, 0.0, 0.0];
        }
        let mean = sums[1] / sums[0];
        [most + libm::log(sums[0]), mean, (sums[2] / sums[0] - mean * mean).max(0.0)]
    }
}

impl<'a> Composed<'a> {
    /// Parts on one grid; those drawn 0 times are left out.
    ///
    /// # Panics
    /// When the grids differ.
    pub fn new(parts: &[(&'a Pmf, u64)]) -> Self {
        let parts: Vec<_> = parts.iter().copied().filter(|part| part.1 > 0).collect();
        if let Some((first, _)) = parts.first() {
            assert!(parts.iter().all(|(pmf, _)| pmf.interval == first.interval), "laws on different grids");
        }
        let summaries = parts.iter().map(|(pmf, _)| Summary::of(pmf)).collect();
        Self { parts, summaries }
    }

    /// Probability that some loss is infinite.
    pub(super) fn infinity(&self) -> f64 {
        let log_finite: f64 =
            self.parts.iter().map(|(pmf, count)| *count as f64 * libm::log1p(-pmf.infinity.min(1.0))).sum();
        -libm::expm1(log_finite)
    }

    /// log-moment and derivatives of the sum.
    fn log_moment(&self, lambda: f64) -> [f64; 3] {
        let mut sum = [0.0; 3];
        for (summary, &(_, count)) in self.summaries.iter().zip(&self.parts) {
            let one = summary.log_moment(lambda);
            (0..3).for_each(|i| sum[i] += count as f64 * one[i]);
        }
        sum
    }

    /// The least gap of losses, or 1 without parts.
    pub(super) fn interval(&self) -> f64 {
        self.parts.first().map_or(1.0, |(pmf, _)| pmf.interval)
    }

    /// Chernoff's order for `dp_delta`, where lambda K' - K = log(1/delta), and about where epsilon is.
    pub(super) fn saddle_for_delta(&self, dp_delta: f64) -> (f64, f64) {
        let goal = -libm::log(dp_delta);
        let lambda = self.tilt(|lambda, [k, mean, _]| lambda * mean - k - goal);
        let [k, mean, variance] = self.log_moment(lambda);
        if lambda == 0.0 {
            return (0.0, mean);
        }
        // The first factor of the saddle-point expansion, by which Chernoff's bound of delta is too large.
        let factor = lambda * (1.0 + lambda) * (2.0 * core::f64::consts::PI * variance).sqrt();
        (lambda, (k + goal - libm::log(factor.max(1.0))) / lambda)
    }

    /// Chernoff's order for a loss above `epsilon`, and the log of its bound.
    pub(super) fn chernoff_for_epsilon(&self, epsilon: f64) -> (f64, f64) {
        let lambda = self.tilt(|_, [_, mean, _]| mean - epsilon);
        (lambda, self.log_moment(lambda)[0] - lambda * epsilon)
    }

    /// The root of a function that grows with lambda, roughly; 0 when it is positive there, capped where the tilt of
    /// one gap would be steep.
    fn tilt(&self, excess: impl Fn(f64, [f64; 3]) -> f64) -> f64 {
        let cap = 0.1 / self.interval();
        let at = |lambda: f64| excess(lambda, self.log_moment(lambda));
        let (mut low, mut high) = (0.0, 1.0_f64.min(cap));
        while at(high) < 0.0 {
            low = high;
            if high >= cap {
                return cap;
            }
            high = (2.0 * high).min(cap);
        }
        // Any tilt is valid; a good one is enough.
        for _ in 0..6 {
            let middle = 0.5 * (low + high);
            if at(middle) < 0.0 { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    }

    /// Grid indices of the least and the most finite loss of the sum; they saturate.
    fn ends(&self) -> (i64, i64) {
        self.parts.iter().fold((0, 0), |(least, most), (pmf, count)| {
            let times = i64::try_from(*count).unwrap_or(i64::MAX);
            let last = pmf.lower + pmf.mass.len() as i64 - 1;
            (least.saturating_add(pmf.lower.saturating_mul(times)), most.saturating_add(last.saturating_mul(times)))
        })
    }

    /// A window on the losses from `from` up that shows a delta of about exp(`log_delta`) near `near` and is not loose
    /// anywhere; `order` is about Chernoff's. `None` when none is short enough.
    pub(super) fn plan(&self, from: f64, near: f64, log_delta: f64, order: f64) -> Option<Plan> {
        let interval = self.interval();
        let (least, most) = self.ends();
        let draws = self.parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.1));
        if draws == 1 {
            let len = usize::try_from(most - least + 1).ok()?;
            return Some(Plan { lambda: 0.0, end: most + 1, len, beyond: 0.0 });
        }
        let goal = log_delta + libm::log(SHARE);
        let deviation = self.log_moment(0.0)[2].sqrt().max(interval);
        let base = order.max(0.25 / deviation);
        // log Pr[loss > x] <= k - mu x.
        let upper: Vec<(f64, f64)> =
            (-4..=8).map(|j| base * libm::exp2(f64::from(j) * 0.25)).map(|mu| (mu, self.log_moment(mu)[0])).collect();
        let above = |x: f64| upper.iter().fold(0.0_f64, |best, &(mu, k)| best.min(k - mu * x));
        // log Pr[loss < x] <= k + s x.
        let lower: Vec<(f64, f64)> =
            (-2..=4).map(|j| libm::exp2(f64::from(j)) * 4.0 / deviation).map(|s| (s, self.log_moment(-s)[0])).collect();
        let below = |x: f64| lower.iter().fold(0.0_f64, |best, &(s, k)| best.min(k + s * x));

        let high = upper.iter().fold(f64::INFINITY, |high, &(mu, k)| high.min((k - goal) / mu));
        let end = (libm::ceil(high / interval).min(9e18) as i64).min(most) + 1;
        let beyond = if end > most { 0.0 } else { libm::exp(above((end - 1) as f64 * interval)) };
        // The tilts with which rounding is fine, or the best in that.
        let rounding = |&(lambda, k): &(f64, f64)| k - lambda * near + ROUNDING - goal;
        let mut tilts: Vec<(f64, f64)> = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
            .iter()
            .map(|share| share * order)
            .map(|lambda| (lambda, self.log_moment(lambda)[0]))
            .collect();
        let least_rounding = tilts.iter().map(rounding).fold(f64::INFINITY, f64::min).max(0.0);
        tilts.retain(|tilt| rounding(tilt) <= least_rounding);
        let shortest = ((end as f64 - from / interval).max(8.0) as u64 + 1).next_power_of_two().trailing_zeros();
        for log_len in shortest.max(3)..=LONGEST {
            let len = 1_usize << log_len;
            let width = len as f64 * interval;
            let start = end as f64 * interval - width;
            let whole = end.saturating_sub(len as i64) <= least && end > most;
            // The largest error, in nats over the goal.
            let wrapped = |&(lambda, _): &(f64, f64)| {
                let from_below = below(start) - lambda * width;
                // What wraps n times is weighted by the tilt of n widths.
                (1..=4).fold(from_below, |worst, wraps| {
                    let shift = f64::from(wraps) * width;
                    worst.max(above(from + shift) + lambda * shift)
                }) - goal
            };
            for tilt in &tilts {
                if whole || wrapped(tilt) <= 0.0 {
                    return Some(Plan { lambda: tilt.0, end, len, beyond });
                }
            }
        }
        None
    }

    /// The tilted law of the sum on the plan's window.
    pub(super) fn window(&self, plan: Plan) -> Window {
        let Plan { lambda, end, len, beyond } = plan;
        let interval = self.interval();
        let (least, _) = self.ends();
        let lower = end.saturating_sub(len as i64);
        let cut_below = lower > least;
        let infinity = self.infinity();
        let window = |law, log_scale| Window { interval, lower, law, lambda, log_scale, beyond, cut_below, infinity };
        if !len.is_power_of_two() || len < 4 || self.parts.iter().all(|part| part.1 == 1) && self.parts.len() == 1 {
            return window(Law::Masses(self.parts[0].0.mass.clone()), 0.0);
        }
        let fft = RealFft::new(len);
        let mut product: Option<Complex> = None;
        let (mut offset, mut log_z) = (0_i64, 0.0);
        for (&(pmf, count), summary) in self.parts.iter().zip(&self.summaries) {
            let (mass, log_one) = tilted(pmf, lambda, summary.log_moment(lambda)[0]);
            log_z += log_one * count as f64;
            let mut folded = vec![0.0; len];
            for chunk in mass.chunks(len) {
                folded.iter_mut().zip(chunk).for_each(|(sum, m)| *sum += m);
            }
            let mut spectrum = fft.forward(&folded);
            power(&mut spectrum, count);
            product = Some(match product {
                None => spectrum,
                Some(mut sum) => {
                    multiply(&mut sum, &spectrum);
                    sum
                }
            });
            let times = (i128::from(pmf.lower) * i128::from(count)).rem_euclid(len as i128) as i64;
            offset = (offset + times) % len as i64;
        }
        // Index r holds the losses with grid index r + sum of lower * count, modulo len.
        let rotation = (lower - offset).rem_euclid(len as i64) as usize;
        let Some(spectrum) = product else { return window(Law::Masses(vec![1.0; len]), 0.0) };
        let terms = spectrum.re.iter().zip(&spectrum.im).filter(|(re, im)| **re != 0.0 || **im != 0.0).count();
        let law = if terms <= Spectrum::MOST_TERMS {
            Law::Spectrum(Spectrum::new(fft, len, &spectrum, rotation, lambda * interval, interval), len)
        } else {
            let mut mass = fft.inverse(&spectrum);
            mass.rotate_left(rotation);
            Law::Masses(mass)
        };
        window(law, log_z)
    }
}

/// `m exp(lambda loss) / Z`, and log Z; `near` is about log Z.
fn tilted(pmf: &Pmf, lambda: f64, near: f64) -> (Vec<f64>, f64) {
    /// A power of exp(lambda * interval) is taken afresh after so many products.
    const BLOCK: usize = 32;
    let mut powers = [0.0; BLOCK];
    powers.iter_mut().enumerate().for_each(|(i, p)| *p = libm::exp(lambda * pmf.interval * i as f64));
    let mut mass = Vec::with_capacity(pmf.mass.len());
    let mut sum = 0.0;
    for (block, chunk) in pmf.mass.chunks(BLOCK).enumerate() {
        // No tilted mass is above 1, so that a factor above e^700 belongs to a mass that is 0 or nearly.
        let start = libm::exp((lambda * pmf.loss(block * BLOCK) - near).min(700.0));
        let mut part = 0.0;
        for (m, power) in chunk.iter().zip(&powers) {
            let value = m * (start * power);
            part += value;
            mass.push(value);
        }
        sum += part;
    }
    if sum > 0.0 {
        let inverse = 1.0 / sum;
        mass.iter_mut().for_each(|m| *m *= inverse);
    }
    (mass, near + libm::log(sum))
}

/// Every frequency to the power `count`; 0 where that is negligible.
fn power(spectrum: &mut Complex, count: u64) {
    let least = libm::pow(LEAST_POWER, 1.0 / count as f64);
    for (re, im) in spectrum.re.iter_mut().zip(&mut spectrum.im) {
        if *re * *re + *im * *im < least {
            (*re, *im) = (0.0, 0.0);
            continue;
        }
        let (mut base, mut product, mut left) = ((*re, *im), (1.0, 0.0), count);
        while left > 0 {
            if left & 1 == 1 {
                product = times(product, base);
            }
            base = times(base, base);
            left >>= 1;
        }
        (*re, *im) = product;
    }
}

fn multiply(into: &mut Complex, by: &Complex) {
    for k in 0..into.re.len() {
        (into.re[k], into.im[k]) = times((into.re[k], into.im[k]), (by.re[k], by.im[k]));
    }
}

fn times(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}
