//! Exponential, logistic function, hyperbolic tangent and normal distribution, each a fixed sequence of additions,
//! multiplications, divisions and selections, so that a loop over them becomes vectors with the same bits as scalars.
//!
//! A library's functions are one call an element and decide by branches; in a recurrent layer they would cost more than
//! its matrix products. The polynomials were fitted for these intervals (weighted minimax, coefficients rounded to `f32`);
//! the bounds are tested against double precision.

const LOG2_E: f32 = core::f32::consts::LOG2_E;
/// ln 2 to 9 bits, so that its product with any exponent is exact (Cody and Waite 1980, section 6).
const LN_2_HIGH: f32 = 355.0 / 512.0;
/// ln 2 less the part above.
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// `1.5 * 2^23`: added, it leaves the nearest integer in the low bits; subtracted, that integer as a float.
const TO_INTEGER: f32 = 12_582_912.0;

/// `2^n` for `-126 <= n <= 127`.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// `e^x` within 1 ulp, over the whole range: subnormal results, `+0.0` and infinity too. A NaN stays one.
///
/// `x` is held within `[-105, 89]`; `n` is `x * log2(e)` rounded to an integer, `r = (x - n * LN_2_HIGH) - n * LN_2_LOW`, the
/// value `(1 + (r + (r * r) * p(r))) * 2^(n >> 1) * 2^(n - (n >> 1))` with `p` of degree 4 by Horner's rule.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -105.0 { -105.0 } else { x };
    let shifted = x * LOG2_E + TO_INTEGER;
    let n = shifted - TO_INTEGER;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let p = 1.386_378_2e-3;
    let p = p * r + 8.367_481e-3;
    let p = p * r + 4.166_723_8e-2;
    let p = p * r + 1.666_653_5e-1;
    let p = p * r + 0.5;
    let value = 1.0 + (r + (r * r) * p);
    // Two factors: 2^128 is no float, and a subnormal result must be rounded once.
    let n = shifted.to_bits().wrapping_sub(TO_INTEGER.to_bits()) as i32;
    let half = n >> 1;
    value * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// `1 / (1 + exp(-x))`, within 3 ulp where `|x| < 87`, within 1e-7 everywhere.
#[inline(always)]
pub(super) fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The hyperbolic tangent within 2 ulp. With `a = |x|`: below 0.625 `a + a * ((a * a) * p(a * a))`, `p` of degree 4 by
/// Horner's rule, else `1 - 2 / (exp(a + a) + 1)`; then the sign of `x`.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    const SIGN: u32 = 1 << 31;
    let a = f32::from_bits(x.to_bits() & !SIGN);
    let large = 1.0 - 2.0 / (exp(a + a) + 1.0);
    let z = a * a;
    let p = -5.666_977_3e-3;
    let p = p * z + 2.060_617_7e-2;
    let p = p * z - 5.373_000_7e-2;
    let p = p * z + 1.333_133_1e-1;
    let p = p * z - 3.333_327_8e-1;
    let small = a + a * (z * p);
    let value = if a < 0.625 { small } else { large };
    f32::from_bits(value.to_bits() | (x.to_bits() & SIGN))
}

/// The distribution function of the standard normal, `(1 + erf(x / sqrt 2)) / 2`, within 2e-7 everywhere and within 0.2 % of
/// itself down to `x = -6`.
///
/// With `a = |x|`: `q = exp(p(a))`, `p` of degree 9 by Horner's rule, is the part beyond `a`, `+0.0` where `a > 9`; the
/// value is `q` for `x < 0`, else `1 - q`.
#[inline(always)]
#[allow(clippy::approx_constant, reason = "a fitted coefficient")]
pub(super) fn normal_cdf(x: f32) -> f32 {
    let a = f32::from_bits(x.to_bits() & 0x7FFF_FFFF);
    let p = 5.277_804_5e-8;
    let p = p * a - 1.605_608_2e-6;
    let p = p * a + 1.830_118_5e-5;
    let p = p * a - 8.024_406e-5;
    let p = p * a - 2.153_211_7e-4;
    let p = p * a + 5.048_246e-3;
    let p = p * a - 3.648_593_6e-2;
    let p = p * a - 3.182_692_8e-1;
    let p = p * a - 7.978_886e-1;
    let p = p * a - 6.931_471e-1;
    let q = exp(p);
    let q = if a > 9.0 { 0.0 } else { q };
    if x < 0.0 { q } else { 1.0 - q }
}

/// The density of the standard normal: `exp((x * x) * -0.5) * (1 / sqrt(2 pi))`.
#[inline(always)]
pub(super) fn normal_density(x: f32) -> f32 {
    const SCALE: f32 = 0.398_942_3;
    exp((x * x) * -0.5) * SCALE
}
