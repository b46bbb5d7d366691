//! Codes of natural numbers: Elias (1975) gamma, delta and omega; Golomb (1966) and Rice (1979).

use super::RivalError;
use super::bits::{BitReader, BitWriter};

/// Most zeros that a unary part may have; a longer one is damage.
const LONGEST_UNARY: u32 = 1 << 20;

/// A code of natural numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// One less zeros than the number has bits, a one, the bits below the highest. From 1 on.
    Gamma,
    /// Gamma of the number of bits, then the bits below the highest. From 1 on.
    Delta,
    /// Groups that each give the length of the next, then a zero; highest bit first in any order. From 1 on.
    Omega,
    /// Quotient by `2^k` as zeros and a one, then `k` bits of remainder. From 0 on.
    Rice {
        /// At most 31.
        k: u32,
    },
    /// Quotient by `divisor` as zeros and a one, then the remainder in truncated binary. From 0 on.
    Golomb {
        /// At least 1.
        divisor: u32,
    },
}

fn width(n: u32) -> u32 {
    32 - n.leading_zeros()
}

/// The low `count` bits, which leaves out the highest if `count` is one less than the width.
fn low(n: u32, count: u32) -> u32 {
    n & ((1u64 << count) - 1) as u32
}

impl Code {
    /// Smallest number that has a code.
    pub fn first(self) -> u32 {
        match self {
            Self::Gamma | Self::Delta | Self::Omega => 1,
            Self::Rice { .. } | Self::Golomb { .. } => 0,
        }
    }

    /// Writes `n`, which is at least [`Self::first`].
    pub fn write(self, bits: &mut BitWriter, n: u32) {
        debug_assert!(n >= self.first());
        match self {
            Self::Gamma => {
                let below = width(n).saturating_sub(1);
                bits.zeros(below);
                bits.bit(true);
                bits.number(low(n, below), below);
            }
            Self::Delta => {
                Self::Gamma.write(bits, width(n));
                bits.number(low(n, width(n).saturating_sub(1)), width(n).saturating_sub(1));
            }
            Self::Omega => {
                let (mut groups, mut group) = (Vec::new(), n);
                while group > 1 {
                    groups.push(group);
                    group = width(group) - 1;
                }
                for group in groups.into_iter().rev() {
                    (0..width(group)).rev().for_each(|place| bits.bit(group >> place & 1 == 1));
                }
                bits.bit(false);
            }
            Self::Rice { k } => {
                bits.zeros(n >> k);
                bits.bit(true);
                bits.number(low(n, k), k);
            }
            Self::Golomb { divisor } => {
                bits.zeros(n / divisor);
                bits.bit(true);
                let (rest, wide) = (n % divisor, width(divisor - 1));
                let short = ((1u64 << wide) - u64::from(divisor)) as u32;
                if rest < short { bits.number(rest, wide - 1) } else { bits.number(rest + short, wide) }
            }
        }
    }

    /// Reads a number of at most 31 bits. Golomb codes are read in [`super::bits::Order::HighFirst`] only.
    ///
    /// # Errors
    /// [`RivalError::OutOfBits`], [`RivalError::TooLarge`].
    pub fn read(self, bits: &mut BitReader<'_>) -> Result<u32, RivalError> {
        let position = bits.position();
        let too_large = RivalError::TooLarge { position };
        match self {
            Self::Gamma => {
                let below = bits.unary(30)?;
                Ok(1 << below | bits.number(below)?)
            }
            Self::Delta => match Self::Gamma.read(bits)? {
                wide @ 1..=31 => Ok(1 << (wide - 1) | bits.number(wide - 1)?),
                _ => Err(too_large),
            },
            Self::Omega => {
                let mut n = 1u32;
                while bits.bit()? {
                    if n > 30 {
                        return Err(too_large);
                    }
                    let mut group = 1;
                    for _ in 0..n {
                        group = group << 1 | u32::from(bits.bit()?);
                    }
                    n = group;
                }
                Ok(n)
            }
            Self::Rice { k } => {
                let high = u64::from(bits.unary(LONGEST_UNARY)?) << k;
                let n = high | u64::from(bits.number(k)?);
                i32::try_from(n).map(|n| n as u32).map_err(|_| too_large)
            }
            Self::Golomb { divisor } => {
                let quotient = u64::from(bits.unary(LONGEST_UNARY)?);
                let wide = width(divisor - 1);
                let short = ((1u64 << wide) - u64::from(divisor)) as u32;
                let mut rest = if wide == 0 { 0 } else { bits.number(wide - 1)? };
                if rest >= short && wide > 0 {
                    rest = (rest << 1 | u32::from(bits.bit()?)) - short;
                }
                let n = quotient * u64::from(divisor) + u64::from(rest);
                i32::try_from(n).map(|n| n as u32).map_err(|_| too_large)
            }
        }
    }
}
