//! 3LC (Lim, Andersen, Kaminsky 2019): ternary rounding in units of `s max |x|`, five symbols to a byte, runs of zero bytes to one.
//! Its error accumulation is the caller's: add the last residual before.

use super::Sent;

/// The byte of five zeros.
const ZEROS: u8 = 121;

/// `round_half_even(x / M)` in -1 ..= 1 and `M = s max |x|`, for `1 <= s < 2`.
pub fn quantize(x: &[f64], s: f64) -> (Vec<i32>, f64) {
    let unit = s * x.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
    let one = |x: &f64| if unit == 0.0 { 0 } else { (x / unit).round_ties_even().clamp(-1.0, 1.0) as i32 };
    (x.iter().map(one).collect(), unit)
}

/// Bytes `81 a + 27 b + 9 c + 3 d + e` of symbols plus one, the last five filled up with zeros; then 2 to 14 zero bytes become one.
pub fn encode(symbols: &[i32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut run = 0;
    let flush = |bytes: &mut Vec<u8>, run: &mut u8| {
        match *run {
            0 => (),
            1 => bytes.push(ZEROS),
            k => bytes.push(243 + (k - 2)),
        }
        *run = 0;
    };
    for five in symbols.chunks(5) {
        let byte = (0..5).fold(0u8, |byte, i| 3 * byte + (five.get(i).copied().unwrap_or(0) + 1) as u8);
        if byte == ZEROS {
            run += 1;
            if run == 14 {
                flush(&mut bytes, &mut run);
            }
        } else {
            flush(&mut bytes, &mut run);
            bytes.push(byte);
        }
    }
    flush(&mut bytes, &mut run);
    bytes
}

/// The `count` symbols of [`encode`]'s bytes; `None` if there are more or fewer bytes than that.
pub fn decode(bytes: &[u8], count: usize) -> Option<Vec<i32>> {
    let mut symbols = Vec::new();
    for &byte in bytes {
        let (byte, times) = if byte < 243 { (byte, 1) } else { (ZEROS, usize::from(byte - 243) + 2) };
        for _ in 0..times {
            symbols.extend([81, 27, 9, 3, 1].map(|place| i32::from(byte / place % 3) - 1));
        }
    }
    let fits = symbols.len() == count.next_multiple_of(5);
    symbols.truncate(count);
    fits.then_some(symbols)
}

/// The bytes and one `f32`.
pub fn send(x: &[f64], s: f64) -> Sent {
    let (symbols, unit) = quantize(x, s);
    Sent { bits: 8 * encode(&symbols).len() + 32, estimate: symbols.iter().map(|&q| f64::from(q) * unit).collect() }
}
