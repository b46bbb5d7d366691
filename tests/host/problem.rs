//! The learning problems of these tests: two small networks, synthetic examples, settings.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use siskin::checkin::{
    ClientOptimizer, Clipping, Distributed, Layer, LayerSpec, Loss, ModelSpec, Path, Plan, Policy, Population, Privacy,
    Quantization, Rounding, ShareNoise, Storage, Training, Upload, Values, Weighting, Window,
};
use siskin::data::SliceStore;
use siskin::model::sparsity::{Pooling, SparsityType};
use siskin::range_coder::{EntropyCoder, Learner, MAX_START, RowColumn, Start, Support};
use siskin::session::Config;
use siskin_server::optim::FedAvgConfig;
use siskin_server::privacy::Noise;
use siskin_server::round::{
    AdaptiveClip, Algorithm, Close, GlobalModel, Optimizer, Pruning, Round, Selection, Server, Settings,
};

pub(crate) const POPULATION: &str = "tests";
pub(crate) const CLASSES: u32 = 4;

/// The server's storage takes the place of this one.
const ANY: Storage = Storage { live: 1, path: Path::Dense };

/// 16 - 12 - 4 with a rectifier.
pub(crate) fn mlp() -> ModelSpec {
    chain([16, 1, 1], &[dense(12), LayerSpec::Relu, dense(4)])
}

/// Two convolutions (one strided and padded), pooling, one dense layer; 6 x 6 images.
pub(crate) fn cnn() -> ModelSpec {
    let pool = LayerSpec::MaxPool(Window::square(2, 2, 0));
    chain(
        [1, 6, 6],
        &[conv(4, 3, 1, 1), LayerSpec::Relu, pool, conv(3, 2, 1, 0), LayerSpec::Relu, LayerSpec::Flatten, dense(4)],
    )
}

pub(crate) fn dense(outputs: u16) -> LayerSpec {
    LayerSpec::Dense { outputs, bias: true, weights: ANY }
}

pub(crate) fn conv(outputs: u16, kernel: u8, stride: u8, padding: u8) -> LayerSpec {
    let window = Window::square(kernel, stride, padding);
    LayerSpec::Conv2d { outputs, groups: 1, window, bias: true, weights: ANY }
}

/// Stochastic gradient descent with momentum.
pub(crate) fn momentum(momentum: f32) -> ClientOptimizer {
    ClientOptimizer::Sgd { momentum, nesterov: false }
}

pub(crate) fn chain(input: [u16; 3], layers: &[LayerSpec]) -> ModelSpec {
    ModelSpec { input, layers: layers.iter().copied().map(Layer::from).collect(), loss: Loss::SoftmaxCrossEntropy }
}

pub(crate) struct Examples {
    features: Vec<f32>,
    labels: Vec<u32>,
}

impl Examples {
    /// `count` examples of device number `device`: noise around one point a class.
    pub(crate) fn new(model: &ModelSpec, device: u64, count: usize) -> Self {
        let size: usize = model.input.iter().map(|n| usize::from(*n)).product();
        let mut rng = ChaCha20Rng::seed_from_u64(1000 + device);
        let mut uniform = move || (rng.next_u32() >> 8) as f32 / 16_777_216.0 - 0.5;
        let (mut features, mut labels) = (Vec::new(), Vec::new());
        for i in 0..count {
            let label = (i as u64 * 7 + device) % u64::from(CLASSES);
            labels.push(label as u32);
            features
                .extend((0..size).map(|f| uniform() + if f as u64 % u64::from(CLASSES) == label { 0.75 } else { 0.0 }));
        }
        Self { features, labels }
    }

    pub(crate) fn store(&self) -> SliceStore<'_> {
        SliceStore::new(&self.features, &self.labels)
    }

    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    pub(crate) fn features_mut(&mut self) -> &mut [f32] {
        &mut self.features
    }

    pub(crate) fn labels_mut(&mut self) -> &mut [u32] {
        &mut self.labels
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = (&[f32], u32)> {
        self.features.chunks(self.features.len() / self.len()).zip(self.labels.iter().copied())
    }
}

/// A cohort of four, a few steps of momentum, a fine grid, nothing pruned, no noise; tests change what they are about.
pub(crate) fn settings() -> Settings {
    Settings {
        population: Population::try_from(POPULATION).unwrap(),
        cohort: 4,
        over_selection: 1.0,
        min_fraction: 0.5,
        deadline_ms: 600_000,
        selection: Selection::Fixed,
        cohort_cap: None,
        close: Close::Deadline,
        training: Training { optimizer: momentum(0.9), proximal: 0.0, max_examples: 1000, ..Training::sgd(2, 8, 0.1) },
        privacy: Privacy::new(100.0, siskin::checkin::Profile::Central),
        adaptive: AdaptiveClip::default(),
        noise: Noise::Independent,
        quantization: Quantization { step: 1e-3, rounding: Rounding::Nearest, keep: 1.0 },
        rate: siskin_server::round::Rate::Fixed,
        upload: Upload { weighting: Weighting::Uniform, max_bytes: 100_000, probe: 0, start: 0 },
        starts: false,
        value_step: 0.0,
        optimizer: Optimizer::FedAvg(FedAvgConfig::default()),
        pruning: Pruning::at_once(0.0),
        dp_delta: 1e-6,
    }
}

/// Prunes `sparsity` of all params; `crossover` 1 runs every weight sparse, 0 every weight dense (masked where pruned).
pub(crate) fn pruned(settings: Settings, sparsity: f32, crossover: f32) -> Settings {
    Settings { pruning: Pruning { sparsity, crossover: Some(crossover), ..settings.pruning }, ..settings }
}

/// As [`pruned`], in blocks of four outputs by one input, which have loops of their own.
pub(crate) fn blocks(settings: Settings, sparsity: f32, crossover: f32) -> Settings {
    let settings = pruned(settings, sparsity, crossover);
    let kind = SparsityType::Block { rows: 4, cols: 1, pooling: Pooling::Mean };
    Settings { pruning: Pruning { kind, ..settings.pruning }, ..settings }
}

/// As [`pruned`], with a mask that moves after every round: each plan asks for a growth probe.
pub(crate) fn rigl(settings: Settings, sparsity: f32, crossover: f32) -> Settings {
    let settings = pruned(settings, sparsity, crossover);
    Settings { pruning: Pruning { algorithm: Algorithm::RigL, end: 100, ..settings.pruning }, ..settings }
}

/// Weights of all layers, and biases that are not zero, so that nothing hides behind a zero.
pub(crate) fn model(architecture: &ModelSpec) -> GlobalModel {
    let model = GlobalModel::new(architecture, 17).unwrap();
    let params = model.params().iter().enumerate().map(|(i, v)| if *v == 0.0 { 0.01 * (i % 7) as f32 } else { *v });
    GlobalModel::from_params(architecture, params.collect()).unwrap()
}

pub(crate) fn server(settings: Settings, architecture: &ModelSpec, max_frame: usize) -> Server {
    Server::new(settings, 1000, 1000, model(architecture), max_frame).unwrap()
}

pub(crate) fn config(max_frame: usize) -> Config {
    Config { max_frame, ..Config::new(POPULATION, Policy::permissive()) }
}

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub(crate) fn distributed(shares: u32, bits: u8, noise: ShareNoise) -> siskin::checkin::Profile {
    siskin::checkin::Profile::Distributed(Distributed { shares, bits, noise, rotation: 11 })
}

/// Every way through the device that the same round can take.
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    pub(crate) architecture: ModelSpec,
    pub(crate) settings: Settings,
}

pub(crate) fn profiles() -> Vec<Profile> {
    let base = settings;
    let profile = |name, architecture, settings| Profile { name, architecture, settings };
    let stochastic = |mut s: Settings| {
        s.quantization = Quantization { step: 5e-3, rounding: Rounding::Stochastic, keep: 1.0 };
        s
    };
    let proximal = |mut s: Settings| {
        (s.training.optimizer, s.training.proximal) = (momentum(0.0), 0.5);
        s
    };
    let noisy = |mut s: Settings| {
        s.privacy = Privacy { noise_multiplier: 0.2, ..Privacy::new(0.5, siskin::checkin::Profile::Local) };
        s
    };
    let shared = |mut s: Settings| {
        s.privacy =
            Privacy { noise_multiplier: 0.2, ..Privacy::new(0.5, distributed(2, 20, ShareNoise::DiscreteGaussian)) };
        s
    };
    let examples_clipped = |mut s: Settings| {
        (s.training.epochs, s.training.batch, s.training.optimizer) = (1, 1, momentum(0.0));
        s.training.max_examples = 30;
        s.privacy.clipping = Clipping::Examples { norm: 0.5 };
        s.quantization.step = 1e-5;
        s
    };
    let layers_clipped = |mut s: Settings| {
        s.privacy = Privacy { clipping: Clipping::Layers, ..Privacy::new(0.5, siskin::checkin::Profile::Central) };
        s
    };
    let adaptive = |bit_share: f32| {
        move |mut s: Settings| {
            s.privacy.clipping = Clipping::Adaptive { bit_share };
            s
        }
    };
    // A step that is longer than the clip norm, on a part of the coordinates.
    let part = |keep: f32, mut s: Settings| {
        s.privacy = Privacy::new(0.5, siskin::checkin::Profile::Central);
        s.quantization = Quantization { step: 0.6, rounding: Rounding::Stochastic, keep };
        s
    };
    // The server lays the step.
    let signs = |keep: f32, mut s: Settings| {
        s.privacy = Privacy::new(0.5, siskin::checkin::Profile::Central);
        s.quantization = Quantization { step: 1.0, rounding: Rounding::Rotated, keep };
        s
    };
    let rounded = |step: f32, rounding: Rounding, mut s: Settings| {
        s.privacy = Privacy::new(0.5, siskin::checkin::Profile::Central);
        s.quantization = Quantization { step, rounding, keep: 1.0 };
        s
    };
    let dithered_part = |mut s: Settings| {
        s.quantization.keep = 0.4;
        s
    };
    let coded = |mut s: Settings| {
        s.value_step = 0.05;
        s
    };
    let started = |mut s: Settings| {
        s.starts = true;
        s
    };
    let half = |mut s: Settings| {
        s.privacy = Privacy::new(0.5, siskin::checkin::Profile::Central);
        s
    };
    vec![
        profile("mlp-dense", mlp(), base()),
        profile("mlp-dense-proximal-stochastic", mlp(), stochastic(proximal(base()))),
        profile("mlp-sparse-80", mlp(), stochastic(pruned(base(), 0.8, 1.0))),
        profile("mlp-masked-50", mlp(), pruned(base(), 0.5, 0.0)),
        profile("mlp-masked-50-noise", mlp(), noisy(stochastic(pruned(base(), 0.5, 0.0)))),
        profile("cnn-dense", cnn(), stochastic(base())),
        profile("cnn-sparse-50", cnn(), proximal(pruned(base(), 0.5, 1.0))),
        profile("cnn-masked-50-noise", cnn(), noisy(pruned(base(), 0.5, 0.0))),
        profile("mlp-sparse-80-shared", mlp(), shared(stochastic(pruned(base(), 0.8, 1.0)))),
        profile("cnn-masked-50-shared", cnn(), shared(pruned(base(), 0.5, 0.0))),
        profile("mlp-sparse-50-examples", mlp(), examples_clipped(pruned(base(), 0.5, 1.0))),
        profile("cnn-layers-clipped", cnn(), layers_clipped(base())),
        profile("mlp-dense-adaptive", mlp(), adaptive(0.1)(half(stochastic(base())))),
        profile("cnn-masked-50-adaptive-noise", cnn(), adaptive(0.2)(noisy(pruned(base(), 0.5, 0.0)))),
        profile("mlp-sparse-80-adaptive-shared", mlp(), adaptive(0.2)(shared(stochastic(pruned(base(), 0.8, 1.0))))),
        profile("mlp-rigl-70", mlp(), stochastic(rigl(base(), 0.7, 1.0))),
        profile("cnn-rigl-masked-50", cnn(), rigl(base(), 0.5, 0.0)),
        profile("mlp-blocks-70", mlp(), stochastic(blocks(base(), 0.7, 1.0))),
        profile("mlp-blocks-50-noise", mlp(), noisy(proximal(blocks(base(), 0.5, 1.0)))),
        profile("mlp-blocks-rigl-70", mlp(), stochastic(blocks(rigl(base(), 0.7, 1.0), 0.7, 1.0))),
        profile("mlp-sparse-80-part", mlp(), part(0.3, pruned(base(), 0.8, 1.0))),
        profile("mlp-blocks-70-part", mlp(), part(0.4, blocks(base(), 0.7, 1.0))),
        profile("mlp-dense-signs", mlp(), signs(0.1, base())),
        profile("mlp-blocks-70-signs", mlp(), signs(0.3, blocks(base(), 0.7, 1.0))),
        profile("mlp-sparse-80-dithered", mlp(), rounded(0.02, Rounding::Dithered, pruned(base(), 0.8, 1.0))),
        profile(
            "cnn-masked-50-adaptive-dithered-part",
            cnn(),
            adaptive(0.1)(dithered_part(rounded(0.05, Rounding::Dithered, pruned(base(), 0.5, 0.0)))),
        ),
        profile("mlp-dense-optimised", mlp(), rounded(0.02, Rounding::Optimised { price: 33 }, base())),
        profile(
            "mlp-blocks-70-adaptive-optimised",
            mlp(),
            adaptive(0.1)(rounded(0.03, Rounding::Optimised { price: 20 }, blocks(base(), 0.7, 1.0))),
        ),
        profile("mlp-sparse-80-coded", mlp(), coded(stochastic(pruned(base(), 0.8, 1.0)))),
        profile("cnn-masked-50-noise-started", cnn(), started(noisy(pruned(base(), 0.5, 0.0)))),
        profile(
            "mlp-dense-started-optimised",
            mlp(),
            started(rounded(0.02, Rounding::Optimised { price: 33 }, base())),
        ),
        profile(
            "mlp-blocks-rigl-70-coded-started",
            mlp(),
            coded(started(stochastic(blocks(rigl(base(), 0.7, 1.0), 0.7, 1.0)))),
        ),
        profile("cnn-masked-50-adaptive-part", cnn(), adaptive(0.1)(part(0.5, pruned(base(), 0.5, 0.0)))),
    ]
}

/// What a coder may begin with: as of reports of another model.
fn start() -> Vec<u8> {
    let mut learner = Learner::default();
    let mut scratch = vec![0u32; RowColumn::required_scratch(20).div_ceil(4)];
    let symbols: Vec<i32> = (0..400).map(|i| (i * i % 23) * (i % 7 - 3) / 19).collect();
    let tensors = [Support::dense(20, 20).unwrap()];
    learner.learn((Start::NONE, None), tensors, &symbols, bytemuck::cast_slice_mut(&mut scratch)).unwrap();
    let mut out = vec![0; MAX_START];
    let length = learner.write(&mut out).unwrap();
    assert!(length > 100);
    out.truncate(length);
    out
}

impl Profile {
    pub(crate) fn server(&self, max_frame: usize) -> Server {
        let mut server = server(self.settings.clone(), &self.architecture, max_frame);
        if self.settings.starts {
            server.set_start(&start());
        }
        server
    }

    /// A round of it, for one that needs no server afterwards.
    pub(crate) fn round(&self, max_frame: usize) -> Round {
        self.server(max_frame).open().unwrap()
    }

    pub(crate) fn examples(&self, device: u64) -> Examples {
        Examples::new(&self.architecture, device, 21)
    }
}

/// A valid plan around a network.
pub(crate) fn plan_of(model: ModelSpec) -> Plan {
    let Settings { population, training, privacy, quantization, upload, .. } = settings();
    Plan { population, round: 0, model, training, privacy, quantization, upload, values: Values::Floats }
}
