//! The stages of a round, per device and per round: the digits MLP 64-128-64-10 at 80 % sparsity, 40 examples, 2 epochs.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use siskin::arena::MemoryPlan;
use siskin::checkin::{
    LayerSpec, Loss, ModelSpec, Path, Policy, Privacy, Profile, Quantization, Rounding, Storage, Training, Upload,
    Weighting,
};
use siskin::data::SliceStore;
use siskin::session::{Config, Outcome, Poll, Session};
use siskin_server::optim::FedAvgConfig;
use siskin_server::privacy::Noise;
use siskin_server::round::{
    AdaptiveClip, Answer, Close, GlobalModel, Optimizer, Pruning, Round, Selection, Server, Settings,
};

const FRAME: usize = 16 * 1024;
const EXAMPLES: usize = 40;

fn server() -> Server {
    let weights = Storage { live: 1, path: Path::Dense };
    let mut model = ModelSpec { input: [64, 1, 1], layers: Default::default(), loss: Loss::SoftmaxCrossEntropy };
    for outputs in [128, 64, 10] {
        model.layers.push(LayerSpec::Dense { outputs, bias: true, weights }.into()).unwrap();
        if outputs > 10 {
            model.layers.push(LayerSpec::Relu.into()).unwrap();
        }
    }
    let training = Training { max_examples: 1000, ..Training::sgd(2, 8, 0.05) };
    let settings = Settings {
        population: "bench".parse().unwrap(),
        cohort: 1,
        over_selection: 1.0,
        min_fraction: 0.0,
        deadline_ms: 1_000_000,
        selection: Selection::Fixed,
        cohort_cap: None,
        close: Close::Deadline,
        training,
        privacy: Privacy { noise_multiplier: 1.0, ..Privacy::new(1.0, Profile::Central) },
        adaptive: AdaptiveClip::default(),
        noise: Noise::Independent,
        quantization: Quantization { step: 0.1, rounding: Rounding::Stochastic, keep: 1.0 },
        rate: siskin_server::round::Rate::Fixed,
        upload: Upload { weighting: Weighting::Uniform, max_bytes: 100_000, probe: 0, start: 0 },
        starts: false,
        value_step: 0.0,
        optimizer: Optimizer::FedAvg(FedAvgConfig::default()),
        pruning: Pruning::at_once(0.8),
        dp_delta: 1e-5,
    };
    Server::new(settings, 1000, 1000, GlobalModel::new(&model, 1).unwrap(), FRAME).unwrap()
}

struct Device {
    memory: Vec<u64>,
    features: Vec<f32>,
    labels: Vec<u32>,
    next: u64,
}

impl Device {
    fn new(round: &Round) -> Self {
        let bytes = MemoryPlan::new(&round.offer.plan, &round.offer.graph, FRAME).total;
        let mut rng = ChaCha12Rng::seed_from_u64(3);
        let features = (0..64 * EXAMPLES).map(|_| rng.next_u32() as f32 / u32::MAX as f32).collect();
        let labels = (0..EXAMPLES as u32).map(|i| i % 10).collect();
        Self { memory: vec![0; bytes.div_ceil(8)], features, labels, next: 0 }
    }

    /// Check-in to report; with `upload`, to the end.
    fn run(&mut self, round: &Round, upload: bool) -> Vec<u8> {
        let config = Config { max_frame: FRAME, ..Config::new("bench", Policy::permissive()) };
        self.next += 1;
        let mut rng = ChaCha12Rng::seed_from_u64(self.next);
        let mut session = Session::new(bytemuck_cast(&mut self.memory), config, &mut rng).unwrap();
        let mut store = SliceStore::new(&self.features, &self.labels);
        let mut out = Vec::new();
        loop {
            match session.poll(0, &mut store) {
                Poll::Finished(outcome) => {
                    assert_eq!(outcome, Outcome::Accepted);
                    return Vec::new();
                }
                Poll::Send => {
                    if let (Some(_), false) = (session.report(), upload) {
                        return session.outgoing().to_vec();
                    }
                    if let Answer::Send(bytes, _) = round.handle(0, session.outgoing(), &mut out) {
                        session.sent();
                        session.receive(bytes);
                    }
                }
                _ => {}
            }
        }
    }
}

fn bytemuck_cast(words: &mut [u64]) -> &mut [u8] {
    bytemuck::cast_slice_mut(words)
}

fn stages(c: &mut Criterion) {
    let server = server();
    let round = server.open().unwrap();
    let mut device = Device::new(&round);
    c.bench_function("server: plan and checkpoint of a round", |b| b.iter(|| server.open().unwrap()));
    c.bench_function("device: check-in, download, train, report", |b| b.iter(|| device.run(&round, false)));
    c.bench_function("device and server: all of it, counted", |b| b.iter(|| device.run(&round, true)));
    let frame = device.run(&round, false);
    c.bench_function("server: a repeated report", |b| {
        let mut out = Vec::new();
        b.iter(|| matches!(round.handle(0, &frame, &mut out), Answer::Send(..)));
    });
    let mut noise = ChaCha12Rng::seed_from_u64(1);
    // Closing changes the server, so each iteration has a round of its own that is made outside the clock.
    let server = std::cell::RefCell::new(server);
    c.bench_function("server: noise, mean, step, mask, account", |b| {
        b.iter_batched(
            || {
                let round = server.borrow().open().unwrap();
                device.run(&round, true);
                round
            },
            |round| server.borrow_mut().close(round, &mut noise).unwrap(),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, stages);
criterion_main!(benches);
