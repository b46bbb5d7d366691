//! BLT, buffered linear Toeplitz: Dvijotham et al. 2024, "Efficient and Near-Optimal Noise Generation for Streaming
//! Differential Privacy" (arXiv 2404.16706); McMahan, Xu & Zhang 2024, "A Hassle-free Algorithm for Private Learning in
//! Practice" (arXiv 2408.08868).
//!
//! C is the Toeplitz matrix of c_0 = 1, c_i = sum_j w_j th_j^(i-1). Multiplying by C^-1 takes one buffer a decay:
//! x = z - sum_j w_j buf_j, then buf_j <- th_j buf_j + x.

use serde::{Deserialize, Serialize};

use super::{Participation, PrefixError, Sensitivity, StrategyError, Toeplitz};

/// The most buffers of a BLT: more bring nothing that can be measured (arXiv 2408.08868, section 4).
pub const MAX_BUFFERS: usize = 4;

/// The parameters of a BLT, in f64: the buffers live for thousands of rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Blt {
    buffers: usize,
    /// In [0, 1]; 0 beyond `buffers`.
    decays: [f64; MAX_BUFFERS],
    /// At least 0 and together at most 1, so that the coefficients of C do not rise; 0 beyond `buffers`.
    scales: [f64; MAX_BUFFERS],
}

#[derive(Serialize, Deserialize)]
struct Parts {
    decays: Vec<f64>,
    scales: Vec<f64>,
}

impl Blt {
    /// `decays` are the th_j in [0, 1], `scales` the w_j, at least 0 and together at most 1.
    ///
    /// # Errors
    /// [`StrategyError::Buffers`], [`StrategyError::Decay`], [`StrategyError::Scale`].
    pub fn new(decays: &[f64], scales: &[f64]) -> Result<Self, StrategyError> {
        let buffers = decays.len();
        if buffers == 0 || buffers > MAX_BUFFERS || scales.len() != buffers {
            return Err(StrategyError::Buffers { decays: buffers, scales: scales.len() });
        }
        if let Some(index) = decays.iter().position(|th| !(0.0..=1.0).contains(th)) {
            return Err(StrategyError::Decay { index, got: decays[index] });
        }
        let sum = scales.iter().sum();
        if let Some(&got) = scales.iter().chain([&sum]).find(|w| !(0.0..=1.0).contains(*w)) {
            return Err(StrategyError::Scale { got });
        }
        let (mut d, mut s) = ([0.0; MAX_BUFFERS], [0.0; MAX_BUFFERS]);
        d[..buffers].copy_from_slice(decays);
        s[..buffers].copy_from_slice(scales);
        Ok(Self { buffers, decays: d, scales: s })
    }

    /// Buffers.
    pub fn buffers(&self) -> usize {
        self.buffers
    }

    /// th.
    pub fn decays(&self) -> &[f64] {
        &self.decays[..self.buffers]
    }

    /// w.
    pub fn scales(&self) -> &[f64] {
        &self.scales[..self.buffers]
    }

    /// The first `rounds` coefficients of C, as a matrix of its own.
    pub fn toeplitz(&self, rounds: u32) -> Toeplitz {
        let mut column = vec![0.0; rounds.max(1) as usize];
        column[0] = 1.0;
        self.multiply(&mut column);
        Toeplitz::new(column).unwrap_or_else(|_| unreachable!("coefficients are in [0, 1] and the first is 1"))
    }

    /// C times a vector, in place. O(n) a buffer.
    pub fn multiply(&self, vector: &mut [f64]) {
        let mut buffers = [0.0; MAX_BUFFERS];
        for value in vector {
            let input = *value;
            *value += self.output(&buffers);
            self.advance(&mut buffers, input);
        }
    }

    /// C^-1 times a vector, in place: one round of noise after another. O(n) a buffer.
    pub fn multiply_inverse(&self, vector: &mut [f64]) {
        let mut buffers = [0.0; MAX_BUFFERS];
        for value in vector {
            *value = self.correlate(&mut buffers, *value);
        }
    }

    /// One coordinate of one round: makes x, the correlated noise, of z, the independent one, and moves the buffers on.
    /// This is its exact sequence of operations: x = z - ((w_0 buf_0 + w_1 buf_1) + ...), buf_j = th_j buf_j + x.
    pub fn correlate(&self, buffers: &mut [f64; MAX_BUFFERS], z: f64) -> f64 {
        let x = z - self.output(buffers);
        self.advance(buffers, x);
        x
    }

    fn output(&self, buffers: &[f64; MAX_BUFFERS]) -> f64 {
        self.scales().iter().zip(buffers).map(|(w, buffer)| w * buffer).sum()
    }

    fn advance(&self, buffers: &mut [f64; MAX_BUFFERS], input: f64) {
        for (buffer, th) in buffers.iter_mut().zip(self.decays()) {
            *buffer = th * *buffer + input;
        }
    }

    /// Errors of the prefix sums; see [`PrefixError`]. O(n) a buffer.
    pub fn error(&self, rounds: u32) -> PrefixError {
        let mut inverse = vec![0.0; rounds as usize];
        if let Some(first) = inverse.first_mut() {
            *first = 1.0;
        }
        self.multiply_inverse(&mut inverse);
        PrefixError::of_inverse(&inverse)
    }

    /// The sensitivity under a rule, exact: the coefficients do not rise, so 0, b, 2b, ... is the worst. O(n) a buffer.
    pub fn sensitivity(&self, rule: Participation) -> Sensitivity {
        Sensitivity { squared: self.squared(rule.earliest(), rule.rounds()), exact: true }
    }

    /// The squared sensitivity to a user who was in these rounds, of `rounds`; exact. O(n) a buffer.
    pub fn squared_of(&self, pattern: &[u32], rounds: u32) -> f64 {
        self.squared(pattern.iter().copied(), rounds)
    }

    fn squared(&self, pattern: impl Iterator<Item = u32>, rounds: u32) -> f64 {
        let mut sum = vec![0.0; rounds as usize];
        for round in pattern {
            if let Some(entry) = sum.get_mut(round as usize) {
                *entry += 1.0;
            }
        }
        self.multiply(&mut sum);
        super::norm_squared(&sum)
    }
}

impl TryFrom<Parts> for Blt {
    type Error = StrategyError;

    fn try_from(parts: Parts) -> Result<Self, StrategyError> {
        Self::new(&parts.decays, &parts.scales)
    }
}

impl From<Blt> for Parts {
    fn from(blt: Blt) -> Self {
        Self { decays: blt.decays().to_vec(), scales: blt.scales().to_vec() }
    }
}
