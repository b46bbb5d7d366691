//! Reading a composed law off its spectrum without transforming back.
//!
//! Many draws make the sum's law smooth: of a hundred thousand frequencies some tens are left. What a delta needs of the
//! masses above a grid point is a geometric series for each of them, which has a closed form.

use core::f64::consts::PI;

use super::fft::{Complex, RealFft};

/// A tilted law on a window as a few frequencies.
#[derive(Debug)]
pub(super) struct Spectrum {
    fft: RealFft,
    len: usize,
    /// Index of the window's first loss among the transform's outputs.
    rotation: usize,
    terms: Vec<Term>,
    /// exp(-lambda * interval), and exp(-interval).
    tilt: f64,
    discount: f64,
}

#[derive(Clone, Copy, Debug)]
struct Term {
    frequency: usize,
    /// Over the length, and twice where the conjugate frequency counts too.
    value: (f64, f64),
    /// 1 / (1 - tilt e^(i theta)) and 1 / (1 - tilt discount e^(i theta)).
    tilted: (f64, f64),
    discounted: (f64, f64),
}

impl Spectrum {
    /// More frequencies than this are better transformed back.
    pub(super) const MOST_TERMS: usize = 1000;

    pub(super) fn new(
        fft: RealFft,
        len: usize,
        spectrum: &Complex,
        rotation: usize,
        steep: f64,
        interval: f64,
    ) -> Self {
        let (tilt, discount) = (libm::exp(-steep), libm::exp(-interval));
        let mut terms = Vec::new();
        for (frequency, (&re, &im)) in spectrum.re.iter().zip(&spectrum.im).enumerate() {
            if re == 0.0 && im == 0.0 {
                continue;
            }
            let theta = 2.0 * PI * (frequency as f64 / len as f64);
            let (sine, half_sine) = (libm::sin(theta), libm::sin(0.5 * theta));
            // 1 - exp(-a) e^(i theta), without cancellation for small a and theta.
            let inverse = |a: f64| {
                let ratio = libm::exp(-a);
                let (x, y) = (-libm::expm1(-a) + 2.0 * ratio * half_sine * half_sine, -ratio * sine);
                let square = x * x + y * y;
                (x / square, -y / square)
            };
            let twice = if frequency == 0 || 2 * frequency == len { 1.0 } else { 2.0 };
            let scale = twice / len as f64;
            let value = (re * scale, im * scale);
            terms.push(Term { frequency, value, tilted: inverse(steep), discounted: inverse(steep + interval) });
        }
        Self { fft, len, rotation, terms, tilt, discount }
    }

    /// Of the tilted masses m_1, m_2, ... of the losses above the `index`-th: the sum of
    /// m_n tilt^n (1 - discount^n).
    pub(super) fn excess(&self, index: usize) -> f64 {
        let left = self.len - 1 - index;
        let start = (index + 1 + self.rotation) & (self.len - 1);
        let power = |ratio: f64| libm::exp(left as f64 * libm::log(ratio));
        let (plain_end, discounted_end) = (power(self.tilt), power(self.tilt * self.discount));
        let mut sum = 0.0;
        for term in &self.terms {
            let conjugate = |k: usize| {
                let (c, s) = self.fft.root(k & (self.len - 1));
                (c, -s)
            };
            // Sum over n from 0 to left - 1 of (ratio e^(i theta))^n, from the phase of the first one.
            let first = times(term.value, conjugate(term.frequency * start));
            let turn = conjugate(term.frequency * left);
            let series = |inverse: (f64, f64), end: f64| times((1.0 - end * turn.0, -end * turn.1), inverse);
            let plain = if term.frequency == 0 && self.tilt == 1.0 {
                (left as f64, 0.0)
            } else {
                series(term.tilted, plain_end)
            };
            let discounted = series(term.discounted, discounted_end);
            let difference = (plain.0 - self.discount * discounted.0, plain.1 - self.discount * discounted.1);
            sum += first.0 * difference.0 - first.1 * difference.1;
        }
        (self.tilt * sum).max(0.0)
    }
}

fn times(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}
