//! Uniform integers, and coins of probability `a / b` and `exp(-a / b)`.

use rand_core::CryptoRng;

/// Uniform on `0..n`; 0 for `n = 0`. One or two words, seldom more: Lemire's multiplication for `n < 2^64`, else two words that
/// are drawn again until they are below `n`.
pub fn below(n: u128, rng: &mut impl CryptoRng) -> u128 {
    let Ok(small) = u64::try_from(n) else {
        let mask = u128::MAX >> (n - 1).leading_zeros();
        loop {
            let word = (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())) & mask;
            if word < n {
                return word;
            }
        }
    };
    if small <= 1 {
        return 0;
    }
    let mut product = u128::from(rng.next_u64()) * n;
    if (product as u64) < small {
        // 2^64 mod n of the low halves are one too many for some results: they are drawn again.
        let surplus = small.wrapping_neg() % small;
        while (product as u64) < surplus {
            product = u128::from(rng.next_u64()) * n;
        }
    }
    product >> 64
}

/// True with probability `a / b`, 1 for `a >= b`.
pub fn bernoulli(a: u128, b: u128, rng: &mut impl CryptoRng) -> bool {
    a >= b || below(b, rng) < a
}

/// True with probability `exp(-a / b)`; `b` is at least 1.
pub fn bernoulli_exp(mut a: u128, b: u128, rng: &mut impl CryptoRng) -> bool {
    while a > b {
        if !bernoulli_exp_unit(1, 1, rng) {
            return false;
        }
        a -= b;
    }
    bernoulli_exp_unit(a, b, rng)
}

/// For `a <= b`: with `k` the number of successes of probability `a / b`, `a / 2b`, `a / 3b` .. in a row, the chance that `k`
/// is even is the alternating series of `exp(-a / b)` (von Neumann 1951; here as algorithm 1 has it, counting from 1).
pub(super) fn bernoulli_exp_unit(a: u128, b: u128, rng: &mut impl CryptoRng) -> bool {
    let mut k = 1u128;
    loop {
        // The product overflows only for b > 2^96 after 2^32 successes in a row, of which each is rarer than the last.
        let Some(bound) = b.checked_mul(k) else { return k % 2 == 1 };
        if !bernoulli(a, bound, rng) {
            return k % 2 == 1;
        }
        k += 1;
    }
}
