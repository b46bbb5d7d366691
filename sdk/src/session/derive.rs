//! The keys of a report's noise and rounding: of the session's secret seed and of all that the report is made of.
//!
//! A save that was made before the plan came may be restored more than once, and the session may then be given another plan,
//! another checkpoint or other examples. If its noise came from the seed alone, two such reports would carry the same noise
//! and their difference none. So the noise is of a key that the seed, the plan, the task and the clipped delta make together:
//! the same noise comes again only with the same report, which says nothing new. (A nonce that is made of the message:
//! Rogaway and Shrimpton 2006, "A provable-security treatment of the key-wrap problem".)
//!
//! Words are absorbed one by one, each as the nonce of a ChaCha20 block under the key so far, of which the first 32 bytes are
//! the next key (Goldreich, Goldwasser, Micali 1986; Bellare, Canetti, Krawczyk 1996 for inputs none of which begins another).
//! That would cost a block for two values of a delta, so a delta is absorbed as its values under two secret points of a
//! polynomial modulo `2^61 - 1` (Wegman and Carter 1981): of two deltas of `n` values both agree with probability at most
//! `(n / 2^61)^2`, and whoever does not know the seed cannot look for some that do. Costs two products of 32 by 64 bits a value.

use super::{Purpose, stream};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// The modulus, a prime.
const MERSENNE: u64 = (1 << 61) - 1;

/// Of the seed, the task's number and the plan as it came.
pub(super) fn plan_key(seed: [u8; 32], task: u64, plan: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    stream(seed, Purpose::Report).fill_bytes(&mut key);
    // The length first: no input begins another.
    key = absorb(absorb(key, plan.len() as u64), task);
    for part in plan.chunks(8) {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        key = absorb(key, u64::from_le_bytes(word));
    }
    key
}

/// Of that and of the clipped delta.
pub(super) fn report_key(plan_key: [u8; 32], values: &[f32]) -> [u8; 32] {
    let mut points = ChaCha20Rng::from_seed(absorb(plan_key, 0));
    let points = [points.next_u64() >> 3, points.next_u64() >> 3];
    points.map(|point| polynomial(values, point)).into_iter().fold(absorb(plan_key, 1), absorb)
}

/// `v_0 x^n + v_1 x^(n - 1) + ... + v_(n - 1) x` modulo [`MERSENNE`], of the bits of the `n` values, at `x < 2^61`. One reduction for
/// eight values: a chain of one product a value would wait for each of them.
fn polynomial(values: &[f32], point: u64) -> u64 {
    const TOGETHER: usize = 8;
    let mut powers = [point; TOGETHER];
    for k in 1..TOGETHER {
        powers[k] = reduce(u128::from(powers[k - 1]) * u128::from(point));
    }
    let mut sum = 0;
    for part in values.chunks(TOGETHER) {
        let powers = &powers[..part.len()];
        // Below 2^62 * 2^61 and seven times below 2^93.
        let mut products = u128::from(sum) * u128::from(powers[part.len() - 1]);
        for (value, power) in part.iter().zip(powers.iter().rev()) {
            products += u128::from(value.to_bits()) * u128::from(*power);
        }
        sum = reduce(products);
    }
    sum
}

fn absorb(key: [u8; 32], word: u64) -> [u8; 32] {
    let mut rng = ChaCha20Rng::from_seed(key);
    rng.set_stream(word);
    let mut next = [0; 32];
    rng.fill_bytes(&mut next);
    next
}

/// What is left modulo [`MERSENNE`] of a number below `2^124`.
fn reduce(product: u128) -> u64 {
    // Below 2^61 and below 2^63; then below 2^61 + 8.
    let folded = (product as u64 & MERSENNE) + (product >> 61) as u64;
    let folded = (folded & MERSENNE) + (folded >> 61);
    if folded >= MERSENNE { folded - MERSENNE } else { folded }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn remainders_are_exact(low in any::<u64>(), high in 0u64..1 << 60) {
            let product = u128::from(high) << 64 | u128::from(low);
            prop_assert_eq!(u128::from(reduce(product)), product % u128::from(MERSENNE));
        }

        /// Horner's rule, a value at a time.
        #[test]
        fn eight_at_a_time_are_the_polynomial(values in prop::collection::vec(any::<f32>(), 0..40), point in 0u64..1 << 61) {
            let step = |sum: u128, v: &f32| (sum + u128::from(v.to_bits())) * u128::from(point) % u128::from(MERSENNE);
            prop_assert_eq!(u128::from(polynomial(&values, point)), values.iter().fold(0, step));
        }

        /// Each of the things that a key is made of counts, to the bit.
        #[test]
        fn whatever_differs_gives_another_key(
            plan in prop::collection::vec(any::<u8>(), 1..60), values in prop::collection::vec(any::<f32>(), 1..40),
            seed in any::<[u8; 32]>(), task in any::<u64>(), at in any::<prop::sample::Index>(), bit in 0u32..32,
        ) {
            let of = |seed, task, plan: &[u8], values: &[f32]| report_key(plan_key(seed, task, plan), values);
            let key = of(seed, task, &plan, &values);
            prop_assert_eq!(key, of(seed, task, &plan, &values));
            let (mut other_plan, mut other_values, mut other_seed) = (plan.clone(), values.clone(), seed);
            other_plan[at.index(plan.len())] ^= 1 << (bit % 8);
            let value = &mut other_values[at.index(values.len())];
            *value = f32::from_bits(value.to_bits() ^ (1 << bit));
            other_seed[at.index(32)] ^= 1 << (bit % 8);
            prop_assert_ne!(key, of(other_seed, task, &plan, &values));
            prop_assert_ne!(key, of(seed, task ^ 1 << bit, &plan, &values));
            prop_assert_ne!(key, of(seed, task, &other_plan, &values));
            prop_assert_ne!(key, of(seed, task, &plan, &other_values));
            // Zeros at the end are a part of it too.
            let longer: std::vec::Vec<u8> = plan.iter().copied().chain([0]).collect();
            prop_assert_ne!(key, of(seed, task, &longer, &values));
        }
    }

    #[test]
    fn the_order_of_values_counts() {
        let key = [7; 32];
        assert_ne!(report_key(key, &[1.0, 2.0]), report_key(key, &[2.0, 1.0]));
        assert_ne!(report_key(key, &[]), report_key(key, &[1.0]));
    }
}
