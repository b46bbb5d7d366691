//! A distribution of privacy losses on a grid.

/// Probability masses of the losses `(lower + i) * interval`, and of an infinite loss. They sum to 1 up to rounding.
#[derive(Clone, Debug, PartialEq)]
pub struct Pmf {
    pub(super) interval: f64,
    pub(super) lower: i64,
    pub(super) mass: Vec<f64>,
    pub(super) infinity: f64,
}

impl Pmf {
    /// Gap of the grid.
    pub fn interval(&self) -> f64 {
        self.interval
    }

    /// The finite losses and their probabilities, in increasing order.
    pub fn atoms(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.mass.iter().enumerate().map(|(i, &mass)| (self.loss(i), mass))
    }

    /// Probability of an infinite loss.
    pub fn infinity(&self) -> f64 {
        self.infinity
    }

    /// How many finite losses there are.
    pub fn len(&self) -> usize {
        self.mass.len()
    }

    /// Whether every loss is infinite.
    pub fn is_empty(&self) -> bool {
        self.mass.is_empty()
    }

    pub(super) fn loss(&self, index: usize) -> f64 {
        (self.lower + index as i64) as f64 * self.interval
    }

    /// `weight` of `self` and the rest of `other`, on the same grid: what is known when a public coin chose.
    pub(super) fn mixed(&self, weight: f64, other: &Self) -> Self {
        debug_assert!(self.interval == other.interval);
        let lower = self.lower.min(other.lower);
        let end = |pmf: &Self| pmf.lower + pmf.mass.len() as i64;
        let mut mass = vec![0.0; (end(self).max(end(other)) - lower) as usize];
        for (pmf, weight) in [(self, weight), (other, 1.0 - weight)] {
            let offset = (pmf.lower - lower) as usize;
            mass[offset..].iter_mut().zip(&pmf.mass).for_each(|(sum, one)| *sum += weight * one);
        }
        let infinity = weight * self.infinity + (1.0 - weight) * other.infinity;
        Self { interval: self.interval, lower, mass, infinity }
    }
}

/// The losses of both orders of a pair of neighbours.
#[derive(Clone, Debug, PartialEq)]
pub struct Directions {
    /// P is the population with the user, Q the one without.
    pub remove: Pmf,
    /// The other way round; `None` when the law is that of `remove`.
    pub add: Option<Pmf>,
}

impl Directions {
    /// The law when a user is added.
    pub fn adding(&self) -> &Pmf {
        self.add.as_ref().unwrap_or(&self.remove)
    }
}

/// Collects mass between grid points.
pub(super) struct Builder {
    interval: f64,
    lower: i64,
    /// Mass under P.
    mass: Vec<f64>,
    /// Mass under P of an infinite loss.
    infinity: f64,
    /// Mass under Q where the loss is minus infinity, or was rounded up from below the grid.
    below: f64,
    /// Mass under Q of what P has at infinity.
    above: f64,
}

impl Builder {
    /// A grid that reaches from `least` to `most`.
    pub(super) fn over(interval: f64, least: f64, most: f64) -> Self {
        let lower = libm::floor(least / interval);
        let upper = libm::ceil(most / interval).max(lower);
        let mass = vec![0.0; (upper - lower) as usize + 1];
        Self { interval, lower: lower as i64, mass, infinity: 0.0, below: 0.0, above: 0.0 }
    }

    pub(super) fn lower(&self) -> i64 {
        self.lower
    }

    pub(super) fn len(&self) -> usize {
        self.mass.len()
    }

    /// P has `p` and Q has `q` between the losses `index` and `index + 1` (`at` is exp of the former).
    pub(super) fn between(&mut self, index: usize, at: f64, p: f64, q: f64) {
        // The two masses that keep p and q: right (1 - exp(-interval)) = p - exp(loss) q.
        let right = ((p - at * q) / -libm::expm1(-self.interval)).clamp(0.0, p);
        self.mass[index] += p - right;
        if index + 1 < self.mass.len() {
            self.mass[index + 1] += right;
        } else {
            self.infinity += right;
        }
    }

    /// An atom: P has `p` at this loss, within the grid.
    pub(super) fn atom(&mut self, loss: f64, p: f64) {
        let last = self.mass.len() - 1;
        let index = (libm::floor(loss / self.interval) as i64 - self.lower).clamp(0, last as i64) as usize;
        let at = (self.lower + index as i64) as f64 * self.interval;
        let share = (libm::expm1(at - loss) / libm::expm1(-self.interval)).clamp(0.0, 1.0);
        self.mass[index] += p * (1.0 - share);
        self.mass[(index + 1).min(last)] += p * share;
    }

    /// Outcomes whose loss is above the grid, or infinite: P has `p` there, Q `q`.
    pub(super) fn above(&mut self, p: f64, q: f64) {
        self.infinity += p;
        self.above += q;
    }

    /// Outcomes whose loss is below the grid: P has `p` there, Q `q`.
    pub(super) fn below(&mut self, p: f64, q: f64) {
        // Q's loss is the negative: above its grid.
        self.below += q;
        self.mass[0] += 0.0_f64.max(p);
    }

    /// Both laws. `rounded` is the mass that [`Self::below`] moved up, which has no counterpart under Q.
    pub(super) fn directions(self, rounded: f64) -> Directions {
        let Self { interval, lower, mut mass, infinity, below, above } = self;
        // A loss l of mass m under P is the loss -l of mass m exp(-l) under Q.
        let mut add: Vec<f64> = Vec::with_capacity(mass.len());
        for (i, &m) in mass.iter().enumerate().rev() {
            let own = if i == 0 { (m - rounded).max(0.0) } else { m };
            let log_ratio = (lower + i as i64) as f64 * interval;
            // An underflowed mass has no counterpart that could overflow.
            add.push(if own > 0.0 { own * libm::exp(-log_ratio) } else { 0.0 });
        }
        let last = mass.len() as i64 - 1;
        add[0] += above;
        let add = Pmf { interval, lower: -(lower + last), mass: add, infinity: below };
        mass.shrink_to_fit();
        Directions { remove: Pmf { interval, lower, mass, infinity }, add: Some(add) }
    }
}
