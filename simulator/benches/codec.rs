//! Our coder beside `constriction` and zstd in the same run: size and speed on the same symbols.
//!
//! `cargo bench -p siskin-simulator --bench codec`; criterion prints bytes of 32-bit floats a second. `constriction` has the symbols'
//! own frequencies, which it does not send: the least that a coder without contexts can take.

use constriction::stream::model::DefaultContiguousCategoricalEntropyModel as Frequencies;
use constriction::stream::queue::{DefaultRangeDecoder, DefaultRangeEncoder};
use constriction::stream::{Decode, Encode};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use siskin::quantize::{Step, Uniform};
use siskin_simulator::codec::{Coder, RoundingKind, Update, symbols_of};
use std::hint::black_box;
use std::path::Path;

/// A product of scales of 512 rows and 256 columns with Laplacian values, as dense layers have them.
fn product() -> Update {
    let uniform = Uniform::new(1);
    let scale = |i: u32| (4.0 * f64::from(uniform.at(i)) - 2.0).exp();
    let value = |i: u32| {
        let u = f64::from(uniform.at(1_000_000 + i)) - 0.5 + 1.0 / 33_554_432.0;
        (-(1.0 - 2.0 * u.abs()).ln() * u.signum() * scale(i / 256) * scale(10_000 + i % 256)) as f32
    };
    Update { name: "product".into(), shapes: vec![[512, 256]], values: (0..512 * 256).map(value).collect() }
}

fn updates() -> Vec<Update> {
    let shared = std::env::var_os("SISKIN_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), Into::into);
    let file = shared.join("data/updates/language_round59_client0.safetensors");
    let mut all = vec![product()];
    match Update::read(&file) {
        Ok(update) => all.push(update),
        Err(error) => println!("left out: {error}"),
    }
    all
}

fn frequencies(symbols: &[i32]) -> (i32, Frequencies) {
    let (low, high) = symbols.iter().fold((0, 0), |(low, high), q| (low.min(*q), high.max(*q)));
    let mut counts = vec![0.0f64; (high - low + 1) as usize];
    symbols.iter().for_each(|q| counts[(q - low) as usize] += 1.0);
    let model = Frequencies::from_floating_point_probabilities_fast(&counts, None);
    (low, model.expect("counts of at least one symbol"))
}

fn bench(c: &mut Criterion) {
    for update in updates() {
        for (rate, step_rms) in [("coarse", 10.0), ("fine", 1.0)] {
            let step = Step::new((step_rms * update.rms()) as f32).expect("a positive step");
            let (symbols, _) =
                symbols_of(&update.values, &update.shapes, step, RoundingKind::Stochastic { seed: 1 }).unwrap();
            let mut group = c.benchmark_group(format!("{} {rate}", update.name));
            group.throughput(Throughput::Bytes(4 * symbols.len() as u64));
            for (name, coder) in
                Coder::NAMES.into_iter().filter(|(name, _)| ["siskin", "rlgamma", "zstd"].contains(name))
            {
                let coded = coder.encode(&update.shapes, &symbols).expect("symbols of its shape");
                say(name, coded.bytes.len(), symbols.len());
                group.bench_function(format!("{name}, encode"), |b| {
                    b.iter(|| coder.encode(&update.shapes, black_box(&symbols)));
                });
                group.bench_function(format!("{name}, decode"), |b| {
                    b.iter(|| coder.decode(&update.shapes, black_box(&coded.bytes)));
                });
            }
            let (low, model) = frequencies(&symbols);
            let encode = || {
                let mut encoder = DefaultRangeEncoder::new();
                let indices = symbols.iter().map(|q| (q - low) as usize);
                encoder.encode_iid_symbols(indices, &model).expect("symbols that were counted");
                encoder.into_compressed().expect("memory")
            };
            let words = encode();
            say("constriction", 4 * words.len(), symbols.len());
            let decode = |words: &[u32]| {
                let mut decoder = DefaultRangeDecoder::from_compressed(words).expect("its own words");
                let symbols = decoder.decode_iid_symbols(symbols.len(), &model);
                symbols.map(|q| q.expect("its own words") as i32 + low).collect::<Vec<i32>>()
            };
            assert_eq!(decode(&words), symbols);
            group.bench_function("constriction, encode", |b| b.iter(encode));
            group.bench_function("constriction, decode", |b| b.iter(|| decode(black_box(&words))));
            // zstd at its fastest ordinary level too: above, it is at its best one.
            let bytes: Vec<u8> = symbols.iter().map(|q| (*q).clamp(-128, 127) as u8).collect();
            let packed = zstd::bulk::compress(&bytes, 1).expect("memory");
            say("zstd level 1", packed.len(), symbols.len());
            group.bench_function("zstd level 1, encode", |b| b.iter(|| zstd::bulk::compress(black_box(&bytes), 1)));
            group.bench_function("zstd level 1, decode", |b| {
                b.iter(|| zstd::bulk::decompress(black_box(&packed), bytes.len()));
            });
            group.finish();
        }
    }
}

fn say(name: &str, bytes: usize, params: usize) {
    println!("{name}: {bytes} bytes, {:.4} bits a param", 8.0 * bytes as f64 / params as f64);
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(std::time::Duration::from_millis(200)).measurement_time(std::time::Duration::from_millis(500)).sample_size(10);
    targets = bench
}
criterion_main!(benches);
