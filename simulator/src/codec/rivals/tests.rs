//! The rivals against output of the implementations that they stand for, and against published errors.

use super::bits::{BitReader, BitWriter, Order};
use super::eden::Rate;
use super::general::General;
use super::hadamard::Layout;
use super::run_length::{DELTA, GAMMA, OMEGA, RunLength, best_rice};
use super::universal::Code;
use super::*;

const X: [f64; 8] = [1.0, -2.0, 3.0, 0.5, -0.25, 4.0, -1.0, 0.0];
const U: [f64; 8] = [0.5, 0.1, 0.9, 0.3, 0.7, 0.2, 0.6, 0.4];

fn text(order: Order, code: Code, n: u32) -> String {
    let mut bits = BitWriter::new(order);
    code.write(&mut bits, n);
    let length = bits.length();
    let bytes = bits.finish();
    let mut reader = BitReader::new(order, &bytes);
    let text = (0..length).map(|_| if reader.bit().unwrap() { '1' } else { '0' }).collect();
    if order == Order::HighFirst || !matches!(code, Code::Golomb { .. }) {
        assert_eq!(code.read(&mut BitReader::new(order, &bytes)), Ok(n), "{code:?} {n}");
    }
    text
}

/// Verified with the crate dsi-bitstream 0.5.
#[test]
fn universal_codes() {
    let vectors = [
        (1, "1", "1", "0", "100", "100"),
        (2, "010", "0100", "100", "101", "101"),
        (3, "011", "0101", "110", "110", "110"),
        (4, "00100", "01100", "101000", "111", "1110"),
        (5, "00101", "01101", "101010", "0100", "1111"),
        (7, "00111", "01111", "101110", "0110", "0101"),
        (8, "0001000", "00100000", "1110000", "0111", "0110"),
        (16, "000010000", "001010000", "10100100000", "000111", "000100"),
        (17, "000010001", "001010001", "10100100010", "0000100", "000101"),
        (
            100,
            "0000001100100",
            "00111100100",
            "1011011001000",
            "000000000000000000000000111",
            "00000000000000000001111",
        ),
    ];
    for (n, gamma, delta, omega, rice, golomb) in vectors {
        let high = |code| text(Order::HighFirst, code, n);
        assert_eq!([high(Code::Gamma), high(Code::Delta), high(Code::Omega)], [gamma, delta, omega], "{n}");
        let from_zero = |code| text(Order::HighFirst, code, n - 1);
        assert_eq!([from_zero(Code::Rice { k: 2 }), from_zero(Code::Golomb { divisor: 5 })], [rice, golomb], "{n}");
    }
    let thousand = [Code::Gamma, Code::Delta, Code::Omega].map(|code| text(Order::HighFirst, code, 1000));
    assert_eq!(thousand, ["0000000001111101000", "0001010111101000", "11100111111010000"]);
    let low = |code, n| text(Order::LowFirst, code, n);
    let gammas = [5, 8, 17, 100, 1000].map(|n| low(Code::Gamma, n));
    assert_eq!(gammas, ["00110", "0001000", "000011000", "0000001001001", "0000000001000101111"]);
    assert_eq!([5, 16, 100].map(|n| low(Code::Delta, n)), ["01110", "001100000", "00111001001"]);
    assert_eq!([1, 2].map(|n| low(Code::Rice { k: 2 }, n)), ["110", "101"]);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Output of tensorflow-compression 2.14.1.
#[test]
fn run_length_gamma() {
    let mut late = vec![0; 63];
    late.push(1);
    let vectors: [(&[i32], &str); 16] = [
        (&[], ""),
        (&[0], "02"),
        (&[1], "07"),
        (&[-1], "05"),
        (&[3], "1b"),
        (&[0, 0, 0, 0], "0c"),
        (&[1, 0, 0, 0, -2], "2704"),
        (&[-5, 3, 0, 0], "b16d"),
        (&[-3, 1, 0, 0], "f906"),
        (&[2, 3, 6], "6b4f01"),
        (&[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, -1], "244708"),
        (&[127, -128, 255], "03ff000103fe01"),
        (&[0; 100], "c012"),
        (&late, "4060"),
        (&[1, -3, 4, 1, 0, 5, -1, 0], "cf932bab00"),
        (&[1, -2, 4, 1, -1, 6, -1, 0], "4f93775a01"),
    ];
    for (symbols, want) in vectors {
        let bytes = GAMMA.encode(symbols);
        assert_eq!(hex(&bytes), want, "{symbols:?}");
        assert_eq!(GAMMA.decode(&bytes, symbols.len()).as_deref(), Ok(symbols));
        for code in [DELTA, OMEGA, best_rice(symbols)] {
            assert_eq!(code.decode(&code.encode(symbols), symbols.len()).as_deref(), Ok(symbols), "{code:?}");
        }
    }
    assert_eq!(GAMMA.bits(&[2, 3, 6]), 17);
    let extreme = GAMMA.encode(&[i32::MAX, i32::MIN]);
    assert_eq!(hex(&extreme), "03000000ffffffff00000080ffffff3f");
    assert_eq!(GAMMA.decode(&extreme, 2), Ok(vec![i32::MAX, -i32::MAX]));
}

#[test]
fn run_length_gamma_of_damaged_bytes() {
    assert_eq!(GAMMA.decode(&[], 1), Err(RivalError::OutOfBits { position: 0 }));
    assert_eq!(GAMMA.decode(&[0], 1), Err(RivalError::OutOfBits { position: 8 }));
    assert!(matches!(GAMMA.decode(&[0x02], 2), Err(RivalError::OutOfBits { .. })));
    assert_eq!(GAMMA.decode(&[0x08], 2), Err(RivalError::PastEnd { expected: 2, got: 7 }));
    assert_eq!(GAMMA.decode(&[0xff; 4], 4), Err(RivalError::Trailing { position: 2 }));
    assert_eq!(GAMMA.decode(&[0xff; 2], 4), Ok(vec![1; 4]));
    assert_eq!(GAMMA.decode(&[0x07, 0], 1), Err(RivalError::Trailing { position: 1 }));
}

/// Output of the same library's general code.
#[test]
fn run_length_rice() {
    let code = RunLength { runs: Code::Rice { k: 2 }, magnitudes: Code::Rice { k: 1 } };
    let vectors: [(&[i32], &str); 3] =
        [(&[-5, 3, 0, 0], "41a902"), (&[1, 0, 0, 0, -2], "d90d"), (&[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, -1], "8f5c")];
    for (symbols, want) in vectors {
        assert_eq!(hex(&code.encode(symbols)), want, "{symbols:?}");
        assert_eq!(code.decode(&code.encode(symbols), symbols.len()).as_deref(), Ok(symbols));
    }
}

/// Output of the same op, with runs of nonzero symbols too.
#[test]
fn alternating_runs() {
    let symbols: [&[i32]; 3] = [&[-5, 3, 0, 0], &[1, 0, 0, 0, -2], &[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, -1]];
    let rice = RunLength { runs: Code::Rice { k: 0 }, magnitudes: Code::Rice { k: 0 } };
    for (code, want) in [(GAMMA, ["85b500", "ef04", "64ce0b"]), (rice, ["0553", "cf04", "381058"])] {
        for (symbols, want) in symbols.into_iter().zip(want) {
            let bytes = code.encode_alternating(symbols);
            assert_eq!(hex(&bytes), want, "{code:?} {symbols:?}");
            assert_eq!(code.decode_alternating(&bytes, symbols.len()).as_deref(), Ok(symbols));
            let (short, long) = (&bytes[..bytes.len() - 1], [&bytes[..], &[0]].concat());
            assert!(matches!(code.decode_alternating(short, symbols.len()), Err(RivalError::OutOfBits { .. })));
            let trailing = Err(RivalError::Trailing { position: bytes.len() });
            assert_eq!(code.decode_alternating(&long, symbols.len()), trailing);
        }
        assert_eq!(code.decode_alternating(&code.encode_alternating(&[0; 5]), 5), Ok(vec![0; 5]));
    }
    let past = GAMMA.decode_alternating(&GAMMA.encode_alternating(&[0; 5]), 3);
    assert_eq!(past, Err(RivalError::PastEnd { expected: 3, got: 5 }));
    assert_eq!(GAMMA.decode_alternating(&[], 0), Ok(Vec::new()));
}

fn close(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (g, w) in got.iter().zip(want) {
        assert!((g - w).abs() < 2e-6, "{got:?} against {want:?}");
    }
}

fn nmse(x: &[f64], estimate: &[f64]) -> f64 {
    let error: f64 = x.iter().zip(estimate).map(|(x, e)| (x - e).powi(2)).sum();
    error / x.iter().map(|x| x * x).sum::<f64>()
}

#[test]
fn roundings() {
    assert_eq!(rounding::nearest(&X, 0.75), [1, -3, 4, 1, 0, 5, -1, 0]);
    assert_eq!(rounding::stochastic(&X, 0.75, &U), [1, -2, 4, 1, -1, 6, -1, 0]);
    let (symbols, estimate) = rounding::dithered(&X, 0.75, &U.map(|u| u - 0.5));
    assert_eq!(symbols, [1, -2, 4, 1, -1, 6, -1, 0]);
    close(&estimate, &[0.75, -1.8, 3.3, 0.6, -0.6, 4.275, -0.675, -0.075]);
}

#[test]
fn qsgd_by_levels() {
    for (levels, want, coded, mse) in [
        (1, [0, 0, 0, 0, 0, 1, 0, 0], "7403", None),
        (4, [1, -1, 2, 1, 0, 3, -1, 0], "efbaba02", Some(0.203_720_2)),
        (8, [1, -2, 4, 1, -1, 6, -2, 0], "4f93779a04", Some(0.116_518_3)),
    ] {
        let (symbols, unit) = qsgd::quantize(&X, levels, &U);
        assert_eq!(symbols, want);
        assert_eq!(hex(&GAMMA.encode(&symbols)), coded);
        close(&[unit], &[5.595_757_3 / f64::from(levels)]);
        if let Some(mse) = mse {
            let sent = qsgd::send(&X, levels, &U);
            let got = X.iter().zip(&sent.estimate).map(|(x, e)| (x - e).powi(2)).sum::<f64>() / 8.0;
            close(&[got], &[mse]);
        }
    }
    assert_eq!(qsgd::quantize(&[2.0, 3.0, 6.0], 7, &[0.5; 3]), (vec![2, 3, 6], 1.0));
    assert_eq!(qsgd::send(&[2.0, 3.0, 6.0], 7, &[0.5; 3]).bits, 17 + 32);
    assert_eq!(qsgd::send(&[0.0; 3], 7, &[0.0; 3]).estimate, [0.0; 3]);
}

#[test]
fn few_levels() {
    let [below, above] = one_bit::means(&X);
    close(&[below, above], &[-1.083_333_3, 1.7]);
    assert_eq!(tern_grad::quantize(&X, &U), (vec![0, -1, 0, 0, 0, 1, 0, 0], 4.0));
    assert_eq!(three_lc::quantize(&X, 1.0), (vec![0, 0, 1, 0, 0, 1, 0, 0], 4.0));
    assert_eq!(three_lc::quantize(&X, 1.5), (vec![0, 0, 0, 0, 0, 1, 0, 0], 6.0));
    assert_eq!(three_lc::encode(&[0, -1, 1, 0, 0]), [103]);
    assert_eq!(three_lc::encode(&[1; 5]), [242]);
    for (zeros, bytes) in [(5, vec![121]), (10, vec![243]), (70, vec![255]), (75, vec![255, 121]), (80, vec![255, 243])]
    {
        assert_eq!(three_lc::encode(&vec![0; zeros]), bytes);
        assert_eq!(three_lc::decode(&bytes, zeros), Some(vec![0; zeros]));
    }
    let symbols = [0, 1, -1, 0, 1, 1, 0];
    assert_eq!(three_lc::decode(&three_lc::encode(&symbols), 7).as_deref(), Some(&symbols[..]));
    assert_eq!(three_lc::decode(&[121, 121], 5), None);
    let top = top_k::send(&X, 2, top_k::IndexCost::Each);
    assert_eq!(top, Sent { bits: 2 * (32 + 3), estimate: vec![0.0, 0.0, 3.0, 0.0, 0.0, 4.0, 0.0, 0.0] });
    assert_eq!(top_k::send(&X, 2, top_k::IndexCost::Ideal).bits, 64 + 5); // log2(28) = 4.8
    let (levels, low, unit) = min_max::quantize(&X);
    assert_eq!((levels[1], levels[5], low), (0, 255, -2.0));
    close(&[unit], &[6.0 / 255.0]);
}

#[test]
fn drive_by_vectors() {
    let cases = [
        ([1.0; 8], [2.725_080_7, 1.436_310_6], [0.897_278_1, 0.472_929_1], 0x58),
        ([1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0], [2.494_792_2, 1.568_893_2], [0.590_160_7, 0.371_132_7], 0xa4),
    ];
    for (signs, scales, errors, bits) in cases {
        for (scale, (want, error)) in
            [drive::Scale::Unbiased, drive::Scale::LeastError].into_iter().zip(scales.into_iter().zip(errors))
        {
            let (negative, got) = drive::quantize(&X, &signs, scale);
            close(&[got], &[want]);
            assert_eq!(negative.iter().enumerate().fold(0, |byte, (i, &n)| byte | i32::from(n) << i), bits);
            close(&[nmse(&X, &drive::send(&X, &signs, scale).estimate)], &[error]);
        }
    }
}

#[test]
fn eden_by_vectors() {
    let signs = [1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0];
    let (indices, _, scale) = eden::quantize(&X, &[1.0; 8], 2);
    assert_eq!(indices, [2, 2, 2, 1, 1, 3, 0, 2]);
    close(&[scale, nmse(&X, &eden::send(&X, &[1.0; 8], 2).estimate)], &[2.469_189_0, 0.127_919_4]);
    let (indices, _, scale) = eden::quantize(&X, &signs, 2);
    assert_eq!(indices, [2, 2, 1, 2, 3, 1, 2, 0]);
    close(&[scale, nmse(&X, &eden::send(&X, &signs, 2).estimate)], &[2.379_091_8, 0.047_108_7]);
}

/// Errors that the papers' analysis gives for any long vector: normal coordinates after rotation.
#[test]
fn errors_of_rotated_quantisers() {
    let uniform = siskin::quantize::Uniform::new(3);
    let d = 1 << 16;
    let signs: Vec<f64> = (0..d).map(|i| if uniform.bits(i) & 1 == 0 { 1.0 } else { -1.0 }).collect();
    // Far from normal before rotation: powers of a uniform.
    let x: Vec<f64> = (0..d).map(|i| (f64::from(uniform.at(i + d)) - 0.5).powi(3)).collect();
    let error = |sent: Sent| nmse(&x, &sent.estimate);
    assert!((error(drive::send(&x, &signs, drive::Scale::Unbiased)) - 0.5708).abs() < 0.02);
    assert!((error(drive::send(&x, &signs, drive::Scale::LeastError)) - 0.3634).abs() < 0.02);
    for (bits, want) in [(1, 0.5708), (2, 0.1331), (3, 0.035_78), (4, 0.009_592)] {
        let got = error(eden::send(&x, &signs, bits));
        assert!((got / want - 1.0).abs() < 0.03, "{bits} bits: {got} against {want}");
    }
}

/// Coordinates that are far from normal before rotation, of a length that is no power of two.
fn heavy(d: u32) -> Vec<f64> {
    let uniform = siskin::quantize::Uniform::new(8);
    (0..d).map(|i| (f64::from(uniform.at(i)) - 0.5).powi(5)).collect()
}

/// Errors and rates that the papers' analysis gives, of any number of bits.
#[test]
fn eden_of_any_rate() {
    let x = heavy(1 << 16);
    for (bits, want) in [(0.1, 14.708), (0.5, 2.1416), (1.0, 0.5708), (2.0, 0.1331), (4.0, 0.009_592)] {
        let sent = eden::send_blocks(&x, Layout::Padded, 3, Rate::Bits(bits));
        let (error, rate) = (nmse(&x, &sent.estimate), sent.bits as f64 / x.len() as f64);
        assert!((error / want - 1.0).abs() < 0.04, "{bits} bits: {error} against {want}");
        assert!((rate / bits - 1.0).abs() < 0.02, "{bits} bits: {rate}");
    }
    // Half of the coordinates with one bit, half with two: the reciprocal of the scale averages over both, and the error is between.
    let mixed = nmse(&x, &eden::send_blocks(&x, Layout::Padded, 3, Rate::Bits(1.5)).estimate);
    assert!(mixed > 0.1331 && mixed < 0.5708, "{mixed}");
    // Entropy-coded: the published steps give a bit, two, three and four.
    for (step, bits, want) in
        [(2.4216, 1.0, 0.5347), (1.0824, 2.0, 0.0976), (0.5224, 3.0, 0.022_74), (0.259, 4.0, 0.005_59)]
    {
        let sent = eden::send_blocks(&x, Layout::Padded, 3, Rate::Step(step));
        let (error, rate) = (nmse(&x, &sent.estimate), sent.bits as f64 / x.len() as f64);
        assert!((error / want - 1.0).abs() < 0.04, "step {step}: {error} against {want}");
        assert!((rate / bits - 1.0).abs() < 0.02, "step {step}: {rate} bits against {bits}");
    }
}

/// The mean over many seeds is the vector, below a bit too.
#[test]
fn eden_is_unbiased() {
    let x = heavy(300);
    for rate in [Rate::Bits(0.25), Rate::Bits(1.5), Rate::Step(2.0)] {
        const SEEDS: usize = 3000;
        let (mut mean, mut error) = (vec![0.0; x.len()], 0.0);
        for seed in 0..SEEDS as u64 {
            let estimate = eden::send_blocks(&x, Layout::Blocks(128), seed * 1000, rate).estimate;
            error += nmse(&x, &estimate) / SEEDS as f64;
            mean.iter_mut().zip(estimate).for_each(|(mean, e)| *mean += e / SEEDS as f64);
        }
        // Of independent errors a part of 1 / SEEDS is left; a bias would stay. Short blocks are not quite normal.
        let left = nmse(&x, &mean);
        assert!(left < 2.0 * error / SEEDS as f64 + 2e-4, "{rate:?}: {left} of {error}");
    }
}

#[test]
fn blocks_cover_any_length() {
    assert_eq!(Layout::Padded.blocks(5), [8]);
    assert_eq!(Layout::Blocks(4).blocks(9), [4, 4, 4]);
    assert_eq!(Layout::Powers.blocks(50_890), [32_768, 16_384, 2048]);
    for d in [0, 1, 2, 3, 63, 64, 65, 1000, 17_226, 365_072] {
        for layout in [Layout::Padded, Layout::Blocks(1024), Layout::Powers] {
            let blocks = layout.blocks(d);
            assert!(blocks.iter().all(|n| n.is_power_of_two()) && blocks.iter().sum::<usize>() >= d, "{layout:?} {d}");
        }
        let powers: usize = Layout::Powers.blocks(d).iter().sum();
        assert!(powers as f64 <= 1.0625 * d as f64 + 1.0, "{d}: {powers}");
    }
    // Every block comes back, with a scale of its own.
    let x = heavy(777);
    for layout in [Layout::Padded, Layout::Blocks(64), Layout::Powers] {
        let sent = eden::send_blocks(&x, layout, 5, Rate::Step(0.01));
        assert!(sent.estimate.len() == 777 && nmse(&x, &sent.estimate) < 1e-4, "{layout:?}");
        let signs = drive::send_blocks(&x, layout, 5, drive::Scale::Unbiased);
        let blocks = layout.blocks(777);
        assert_eq!(signs.bits, blocks.iter().sum::<usize>() + 32 * blocks.len());
    }
}

#[test]
fn general_compressors_there_and_back() {
    for general in [General::Gzip, General::Zstd] {
        for symbols in
            [vec![], vec![0; 1000], vec![1, -1, 127, -128], vec![128, 0, -32_768], vec![70_000, -16_777_215, 3]]
        {
            let coded = general.encode(&symbols);
            assert_eq!(general.decode(&coded, symbols.len()).as_deref(), Ok(&symbols[..]), "{general:?}");
            for count in [Some(symbols.len() + 1), symbols.len().checked_sub(1)].into_iter().flatten() {
                assert!(general.decode(&coded, count).is_err(), "{general:?} {count}");
            }
        }
        let mut coded = general.encode(&[5; 300]);
        coded[0] = 3;
        assert_eq!(general.decode(&coded, 300), Err(RivalError::Packed { length: 300 }));
        assert_eq!(general.decode(&[], 1), Err(RivalError::OutOfBits { position: 0 }));
        assert!(general.decode(&[1, 2, 3], 4).is_err());
        let sent = general.send_f16(&X);
        assert_eq!(sent.estimate, X);
        let levels = general.send_min_max(&[0.25; 4096]);
        assert!(levels.bits < 8 * 4096 / 20 && levels.estimate == [0.25; 4096], "{general:?}");
    }
}
