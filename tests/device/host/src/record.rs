//! Records a round for the firmware of `round`, which has no server: every byte that the server sends, the examples, and
//! every byte that the device must send.

use std::fs;
use std::path::Path;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use siskin::arena::required_bytes;
use siskin::checkin::{
    ClientOptimizer, LayerSpec, Loss, ModelSpec, Path as Loops, Plan, Policy, Population, Privacy, Profile,
    Quantization, Rounding, Storage, Training, Upload, Values, Weighting, Window, checkpoint_len, write_checkpoint,
};
use siskin::data::SliceStore;
use siskin::model::{Graph, Tensor};
use siskin::session::{Config, MIN_FRAME, Outcome, Poll, Session};
use siskin::wire::{Frame, Request, Response, UploadStatus};

const POPULATION: &str = "device/round";
/// As the firmware's.
const SEED: [u8; 32] = [3; 32];
const TASK: u64 = 0xfeed_0123_4567_89ab;
const ROUND: u32 = 7;
/// Examples of the device.
const EXAMPLES: usize = 60;

/// Writes `NAME.down`, `NAME.examples` and `NAME.expected` into `folder` for each network.
pub(crate) fn record(folder: &Path) -> Result<(), String> {
    for (name, plan) in [("digits", digits()), ("images", images())] {
        let plan = plan.ok_or("too many layers")?;
        let files = play(&plan)?;
        for (ending, bytes) in [("down", &files.down), ("examples", &files.examples), ("expected", &files.up)] {
            let path = folder.join(format!("{name}.{ending}"));
            fs::write(&path, bytes).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        println!("{name}: arena {}, download {}, upload {}", files.arena, files.down.len(), files.up.len());
    }
    Ok(())
}

/// Sigma of the noise is half the clip norm: 16 steps.
fn plan(input: [u16; 3], layers: impl IntoIterator<Item = LayerSpec>, training: Training) -> Option<Plan> {
    let mut model = ModelSpec { input, layers: Default::default(), loss: Loss::SoftmaxCrossEntropy };
    for layer in layers {
        model.layers.push(layer.into()).ok()?;
    }
    Some(Plan {
        population: Population::try_from(POPULATION).ok()?,
        round: ROUND,
        model,
        training,
        privacy: Privacy { noise_multiplier: 0.5, ..Privacy::new(0.5, Profile::Local) },
        quantization: Quantization { step: 1.0 / 64.0, rounding: Rounding::Stochastic, keep: 1.0 },
        upload: Upload { weighting: Weighting::Uniform, max_bytes: 1 << 20, probe: 0, start: 0 },
        values: Values::Floats,
    })
}

/// 80 % of the weights are pruned.
fn dense(inputs: u32, outputs: u16) -> LayerSpec {
    let live = (inputs * u32::from(outputs)).div_ceil(5);
    LayerSpec::Dense { outputs, bias: true, weights: Storage { live, path: Loops::Sparse } }
}

fn conv(inputs: u32, outputs: u16, kernel: u8) -> LayerSpec {
    let live = (inputs * u32::from(outputs) * u32::from(kernel) * u32::from(kernel)).div_ceil(5);
    let window = Window::square(kernel, 1, 0);
    LayerSpec::Conv2d { outputs, groups: 1, window, bias: true, weights: Storage { live, path: Loops::Sparse } }
}

/// The embedded digits (8x8): 64-128-64-10, plain SGD.
fn digits() -> Option<Plan> {
    let layers = [dense(64, 128), LayerSpec::Relu, dense(128, 64), LayerSpec::Relu, dense(64, 10)];
    plan([1, 8, 8], layers, Training::sgd(2, 1, 0.02))
}

/// MNIST: LeNet's two convolutions and poolings (LeCun et al. 1998, figure 2) in front of one layer: the simulator's
/// `conv:8x5,relu,pool:2,conv:16x5,relu,pool:2,dense`, batch 4, momentum.
fn images() -> Option<Plan> {
    let pool = LayerSpec::MaxPool(Window::square(2, 2, 0));
    let layers = [
        conv(1, 8, 5),
        LayerSpec::Relu,
        pool,
        conv(8, 16, 5),
        LayerSpec::Relu,
        pool,
        LayerSpec::Flatten,
        dense(256, 10),
    ];
    let optimizer = ClientOptimizer::Sgd { momentum: 0.9, nesterov: false };
    plan([1, 28, 28], layers, Training { optimizer, ..Training::sgd(1, 4, 0.02) })
}

/// xorshift64*, Vigna 2016.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// In [-1, 1), exact.
    fn next_f32(&mut self) -> f32 {
        (self.next() >> 40) as f32 * (1.0 / 8_388_608.0) - 1.0
    }

    /// As many of `size` bits as live, whole bytes (selection sampling, Knuth, TAOCP 2, 3.4.2, algorithm S).
    fn mask(&mut self, tensor: &Tensor) -> Vec<u8> {
        if !tensor.has_pattern() {
            return Vec::new();
        }
        let (size, mut wanted) = (tensor.size(), u64::from(tensor.live));
        let mut mask = vec![0; size.div_ceil(8)];
        for i in 0..size {
            if ((self.next() >> 32) * (size - i) as u64) >> 32 < wanted {
                wanted -= 1;
                mask[i / 8] |= 1 << (i % 8);
            }
        }
        mask
    }
}

fn checkpoint(graph: &Graph, numbers: &mut Numbers) -> Result<Vec<u8>, String> {
    let parts: Vec<(Vec<f32>, Vec<u8>)> = graph
        .tensors
        .iter()
        .map(|tensor| {
            // The usual scale of a layer with that many live inputs.
            let fan_in = f64::from(tensor.live) / f64::from(tensor.rows);
            let scale = if tensor.has_pattern() { (3.0 / fan_in).sqrt() as f32 } else { 0.01 };
            let mask = numbers.mask(tensor);
            ((0..tensor.size()).map(|_| numbers.next_f32() * scale).collect(), mask)
        })
        .collect();
    let mut bytes = vec![0; checkpoint_len(graph)];
    let views = parts.iter().map(|(values, mask)| (&values[..], &mask[..]));
    write_checkpoint(graph, ROUND, views, &mut bytes).map_err(|e| e.to_string())?;
    Ok(bytes)
}

struct Files {
    down: Vec<u8>,
    up: Vec<u8>,
    examples: Vec<u8>,
    arena: usize,
}

/// A round in process.
fn play(plan: &Plan) -> Result<Files, String> {
    let graph = Graph::new(&plan.model).map_err(|e| e.to_string())?;
    let mut numbers = Numbers(9);
    let checkpoint = checkpoint(&graph, &mut numbers)?;
    let (width, classes) = (graph.input.features(), u64::from(graph.classes()));
    let labels: Vec<u32> = (0..EXAMPLES).map(|_| ((numbers.next() >> 33) % classes) as u32).collect();
    // The label shows in the features, so that there is something to learn.
    let pixel = |numbers: &mut Numbers, label: u32, i: usize| {
        let shown = if i as u64 % classes == u64::from(label) { 0.75 } else { 0.0 };
        (numbers.next_f32() * 0.5).abs() + shown
    };
    let features: Vec<f32> =
        labels.iter().flat_map(|&l| (0..width).map(move |i| (l, i))).map(|(l, i)| pixel(&mut numbers, l, i)).collect();
    let mut encoded = [0; 1024];
    let length = plan.encode(&mut encoded).map_err(|e| e.to_string())?;
    let mut server = Server { plan: &encoded[..length], checkpoint: &checkpoint, frame: [0; MIN_FRAME] };

    let arena = required_bytes(plan, MIN_FRAME).map_err(|e| e.to_string())?;
    let layout = siskin::arena::MemoryPlan::new(plan, &graph, MIN_FRAME);
    for (purpose, bytes) in layout.by_purpose().into_iter().filter(|(_, bytes)| *bytes > 0) {
        println!("  {bytes:>7} {purpose}");
    }
    let mut memory = vec![0u64; arena.div_ceil(8)];
    let mut config = Config::new(POPULATION, Policy::permissive());
    config.max_frame = MIN_FRAME;
    let memory = &mut bytemuck::cast_slice_mut(&mut memory)[..arena];
    let mut session = Session::new(memory, config, &mut ChaCha20Rng::from_seed(SEED)).map_err(|e| e.to_string())?;
    let mut store = SliceStore::new(&features, &labels);
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for poll in 1..10_000 {
        match session.poll(poll, &mut store) {
            Poll::Finished(Outcome::Accepted) => {
                let mut examples = Vec::new();
                for number in [EXAMPLES as u32, width as u32, 1] {
                    examples.extend(number.to_le_bytes());
                }
                for (row, label) in features.chunks_exact(width).zip(&labels) {
                    row.iter().for_each(|f| examples.extend(f.to_le_bytes()));
                    examples.extend(label.to_le_bytes());
                }
                return Ok(Files { down, up, examples, arena });
            }
            Poll::Finished(other) => return Err(format!("{other:?}")),
            Poll::Working { .. } => {}
            Poll::Send => {
                up.extend_from_slice(session.outgoing());
                let answer = server.answer(session.outgoing())?;
                session.sent();
                down.extend((answer.len() as u32).to_le_bytes());
                down.extend_from_slice(answer);
                session.receive(answer);
            }
            other => return Err(format!("{other:?}")),
        }
    }
    Err("the session does not end".into())
}

/// Answers as a server does that loses nothing.
struct Server<'a> {
    plan: &'a [u8],
    checkpoint: &'a [u8],
    frame: [u8; MIN_FRAME],
}

impl Server<'_> {
    fn answer(&mut self, request: &[u8]) -> Result<&[u8], String> {
        let Frame::Whole { body, version, .. } = Frame::parse(request, MIN_FRAME) else {
            return Err("a request is not a frame".into());
        };
        let (request, payload) = Request::decode(body, version).map_err(|e| e.to_string())?;
        let length = match request {
            Request::CheckIn { .. } => {
                let checkpoint = self.checkpoint.len() as u32;
                Response::Task { task: TASK, checkpoint, base: None, deadline_ms: 60_000 }
                    .encode(self.plan, &mut self.frame)
            }
            Request::Fetch { offset, .. } => {
                let rest = &self.checkpoint[offset as usize..];
                let piece = &rest[..rest.len().min(960)];
                Response::Piece { round: ROUND, base: None, offset }.encode(piece, &mut self.frame)
            }
            Request::Upload { total, offset, .. } => {
                let upto = offset + payload.len() as u32;
                let status = if upto == total { UploadStatus::Accepted } else { UploadStatus::Partial };
                Response::Received { task: TASK, upto, status }.encode(&[], &mut self.frame)
            }
            Request::Abandon { cause, .. } => return Err(format!("the task was given back, cause {cause}")),
        };
        let length = length.map_err(|e| e.to_string())?;
        Ok(&self.frame[..length])
    }
}
