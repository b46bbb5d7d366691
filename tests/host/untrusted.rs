//! Bytes that nobody vouches for, at every door of the device and of the server: an error that says what, never a panic
//! (overflow checks are on in debug builds), and never more influence than one honest report has.

use crate::answers::{Answers, FRAME, device, refused};
use crate::ask::{ask, check_in};
use crate::device::{Lent, play};
use crate::problem::{Examples, Profile, chain, config, dense, mlp, plan_of, profiles, rng};
use proptest::prelude::*;
use siskin::arena::{MemoryPlan, required_bytes};
use siskin::checkin::{CheckpointError, Layer, LayerSpec, ModelSpec, Path, Plan, PlanError, Storage, Train, Window};
use siskin::model::Graph;
use siskin::privacy::GridBound;
use siskin::quantize::Carried;
use siskin::range_coder::{EncodeTensors, EntropyCoder, RowColumn, Start, Support};
use siskin::report::{Header, Report, supports};
use siskin::session::{Abandoned, Outcome};
use siskin::wire::{Request, Response, UploadStatus, WireError, checksum};

/// Some bytes put in the place of others.
pub(crate) fn mutations() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    let byte = prop_oneof![any::<u8>(), Just(0xff), Just(0x80), Just(0), Just(0x7f)];
    prop::collection::vec((any::<prop::sample::Index>(), byte), 1..6)
}

pub(crate) fn mutate(bytes: &mut [u8], mutations: &[(prop::sample::Index, u8)]) {
    for (at, byte) in mutations {
        bytes[at.index(bytes.len())] = *byte;
    }
}

pub(crate) fn encoded(plan: &Plan) -> Vec<u8> {
    let mut out = vec![0; 16 * 1024];
    let n = plan.encode(&mut out).unwrap();
    out.truncate(n);
    out
}

/// What a device does with a plan before it commits itself.
fn weigh(bytes: &[u8]) -> Result<usize, PlanError> {
    let plan = Plan::decode(bytes)?;
    let graph = Graph::new(&plan.model)?;
    let total = required_bytes(&plan, FRAME)?;
    let memory = MemoryPlan::new(&plan, &graph, FRAME);
    assert_eq!(memory.total, total);
    // Nothing wrapped on the way: each part fits into the whole.
    let parts: u128 = memory.by_purpose().iter().map(|(_, bytes)| *bytes as u128).sum();
    assert!(parts <= total as u128);
    assert!(total as u128 >= 4 * (graph.stored + graph.trained) as u128 + 4 * u128::from(plan.training.batch));
    assert!(siskin::checkin::checkpoint_len(&graph) < 1 << 30);
    Ok(total)
}

fn any_storage() -> impl Strategy<Value = Storage> {
    let live = prop_oneof![1u32..2000, (1u32..500).prop_map(|blocks| 4 * blocks), any::<u32>()];
    (live, prop_oneof![Just(Path::Dense), Just(Path::Sparse), Just(Path::Block)])
        .prop_map(|(live, path)| Storage { live, path })
}

fn any_window() -> impl Strategy<Value = Window> {
    let small = || prop_oneof![4 => 1u8..4, 1 => any::<u8>()];
    let padding = prop_oneof![4 => Just(0u8), 3 => 1u8..3, 1 => any::<u8>()];
    let axes = move || [small(), small()];
    (axes(), axes(), [padding.clone(), padding.clone(), padding.clone(), padding], axes())
        .prop_map(|(kernel, stride, padding, dilation)| Window { kernel, stride, padding, dilation })
}

fn any_number() -> impl Strategy<Value = f32> {
    prop_oneof![4 => 0.0f32..2.0, 1 => any::<f32>()]
}

fn any_spec() -> impl Strategy<Value = LayerSpec> {
    let outputs = || prop_oneof![4 => 1u16..20, 1 => any::<u16>()];
    let groups = || prop_oneof![4 => 1u16..4, 1 => any::<u16>()];
    let matrices = prop_oneof![
        (outputs(), any::<bool>(), any_storage()).prop_map(|(outputs, bias, weights)| LayerSpec::Dense {
            outputs,
            bias,
            weights
        }),
        (outputs(), groups(), any_window(), any::<bool>(), any_storage()).prop_map(
            |(outputs, groups, window, bias, weights)| LayerSpec::Conv2d { outputs, groups, window, bias, weights }
        ),
        (any::<u32>(), outputs(), any_storage()).prop_map(|(rows, dims, weights)| LayerSpec::Embedding {
            rows,
            dims,
            weights
        }),
        (outputs(), any::<[bool; 2]>(), any_storage(), any_storage()).prop_map(
            |(hidden, [reset_after, bias], weights, recurrent)| LayerSpec::Gru {
                hidden,
                reset_after,
                bias,
                weights,
                recurrent
            }
        ),
        (outputs(), any::<bool>(), any_storage(), any_storage())
            .prop_map(|(hidden, bias, weights, recurrent)| { LayerSpec::Lstm { hidden, bias, weights, recurrent } }),
    ];
    let plain = prop::sample::select(vec![
        LayerSpec::GlobalAveragePool,
        LayerSpec::Relu,
        LayerSpec::Sigmoid,
        LayerSpec::Tanh,
        LayerSpec::Gelu,
        LayerSpec::HardSwish,
        LayerSpec::LogSoftmax,
        LayerSpec::BatchNorm,
        LayerSpec::Add,
        LayerSpec::Mul,
        LayerSpec::Concat,
        LayerSpec::Offset,
        LayerSpec::Flatten,
        LayerSpec::Last,
    ]);
    let with_numbers = prop_oneof![
        any_window().prop_map(LayerSpec::MaxPool),
        (any_window(), any::<bool>())
            .prop_map(|(window, count_padding)| LayerSpec::AveragePool { window, count_padding }),
        any_number().prop_map(|slope| LayerSpec::LeakyRelu { slope }),
        (any_number(), any_number()).prop_map(|(min, max)| LayerSpec::Clip { min, max }),
        (groups(), any::<bool>()).prop_map(|(groups, causal)| LayerSpec::Softmax { groups, causal }),
        any_number().prop_map(|epsilon| LayerSpec::LayerNorm { epsilon }),
        (groups(), any_number()).prop_map(|(groups, epsilon)| LayerSpec::GroupNorm { groups, epsilon }),
        any_number().prop_map(|rate| LayerSpec::Dropout { rate }),
        (any_number(), any_number()).prop_map(|(scale, shift)| LayerSpec::Affine { scale, shift }),
        [outputs(), outputs(), outputs()].prop_map(|shape| LayerSpec::Reshape { shape }),
        [0u8..3, 0u8..3, 0u8..4].prop_map(|axes| LayerSpec::Transpose { axes }),
        (groups(), any_number(), any::<bool>()).prop_map(|(heads, scale, causal)| LayerSpec::Scores {
            heads,
            scale,
            causal
        }),
        (groups(), any::<bool>()).prop_map(|(heads, causal)| LayerSpec::Context { heads, causal }),
    ];
    prop_oneof![3 => matrices, 3 => plain, 2 => with_numbers]
}

fn any_layer() -> impl Strategy<Value = Layer> {
    let back = || prop_oneof![6 => Just(0u8), 2 => 0u8..4, 1 => any::<u8>()];
    let train = prop::sample::select(vec![Train::All, Train::All, Train::Bias, Train::Nothing]);
    (any_spec(), [back(), back()], train).prop_map(|(spec, from, train)| Layer { spec, from, train })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn plans_of_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(weigh(&bytes).is_err());
        let _ = weigh(&[b"SKPL\x02\x05tests", &bytes[..]].concat());
    }

    #[test]
    fn plans_with_some_bytes_changed(which in 0usize..16, mutations in mutations(), cut in any::<prop::sample::Index>()) {
        let mut bytes = encoded(&profiles()[which].round(FRAME).offer.plan);
        prop_assert!(weigh(&bytes[..cut.index(bytes.len())]).is_err());
        mutate(&mut bytes, &mutations);
        let _ = weigh(&bytes);
        // What was changed may say that it is shorter, so that a part of it is whole.
        let _ = weigh(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn plans_whose_lengths_lie(
        input in prop::array::uniform3(prop_oneof![1u16..30, any::<u16>()]),
        layers in prop::collection::vec(any_layer(), 0..siskin::checkin::MAX_LAYERS),
        batch in prop_oneof![1u16..64, any::<u16>()],
    ) {
        let mut model = chain(input, &[]);
        model.layers.extend(layers);
        let mut plan = plan_of(model);
        plan.training.batch = batch;
        let _ = weigh(&encoded(&plan));
    }
}

/// Plays a session against answers that are made here: a task with `checkpoint` for whatever it says.
fn with_checkpoint(plan: &[u8], announced: u32, checkpoint: &[u8], chunk: usize) -> Outcome {
    with_examples(plan, announced, checkpoint, chunk, &profiles()[3].examples(0)).0
}

/// The same over other examples, with the report.
pub(crate) fn with_examples(
    plan: &[u8],
    announced: u32,
    checkpoint: &[u8],
    chunk: usize,
    examples: &Examples,
) -> (Outcome, Option<Vec<u8>>) {
    let round = Plan::decode(plan).map_or(0, |p| p.round);
    let answers = Answers { plan, task: (announced, None), checkpoint, chunk, round, stale: false };
    let mut lent = Lent::new(200_000);
    answers.play(&mut device(lent.bytes()), &mut examples.store())
}

#[test]
fn a_bad_checkpoint_is_refused_by_name() {
    // Masked by half: mask bits, then values, of two weights and two biases.
    let offer = profiles()[3].round(FRAME).offer;
    let (plan, good) = (encoded(&offer.plan), &offer.checkpoint);
    let len = good.len() as u32;
    assert_eq!(with_checkpoint(&plan, len, good, 500), Outcome::Accepted);
    let changed = |at: usize, byte: u8| {
        let mut bad = good.clone();
        bad[at] = byte;
        refused(with_checkpoint(&plan, len, &bad, 100))
    };
    assert_eq!(changed(0, b'X'), CheckpointError::Header);
    assert_eq!(changed(4, 9), CheckpointError::Header);
    assert_eq!(changed(8, 1), CheckpointError::Round { expected: 0, got: 1 });
    assert_eq!(changed(11, 1), CheckpointError::Round { expected: 0, got: 1 << 24 });
    assert!(matches!(changed(12, !good[12]), CheckpointError::Length { .. }));
    // The first mask: 192 bits from byte 16 on.
    let live = offer.graph.tensors[0].live;
    assert!(matches!(changed(16, 0xff), CheckpointError::Live { tensor: 0, expected, .. } if expected == live));
    assert!(matches!(changed(16, 0), CheckpointError::Live { tensor: 0, expected, .. } if expected == live));
    // Its first value.
    assert_eq!(changed(16 + 24 + 3, 0x7f), {
        let bits = u32::from_le_bytes([good[40], good[41], good[42], 0x7f]);
        assert!(!f32::from_bits(bits).is_finite());
        CheckpointError::NotFinite { index: 0 }
    });
    let announced = |n: u32| refused(with_checkpoint(&plan, n, good, 100));
    assert_eq!(announced(len - 1), CheckpointError::Length { expected: len, got: len - 1 });
    assert_eq!(announced(len + 1), CheckpointError::Length { expected: len, got: len + 1 });
    assert_eq!(announced(u32::MAX), CheckpointError::Length { expected: len, got: u32::MAX });
    // A piece that is longer than the rest.
    let longer = [good, &[0; 40][..]].concat();
    assert_eq!(
        refused(with_checkpoint(&plan, len, &longer, 500)),
        CheckpointError::Length { expected: len, got: len + 40 }
    );
}

#[test]
fn bits_behind_a_mask_are_refused() {
    // 3 x 3 = 9 weights: seven bits of padding.
    let mut model = chain([3, 1, 1], &[dense(3)]);
    let weights = Storage { live: 4, path: Path::Sparse };
    model.layers[0] = LayerSpec::Dense { outputs: 3, bias: true, weights }.into();
    let plan = plan_of(model);
    let graph = Graph::new(&plan.model).unwrap();
    let mut checkpoint = vec![0; siskin::checkin::checkpoint_len(&graph)];
    let parts: [(&[f32], &[u8]); 2] = [(&[1.0; 9], &[0b1111, 0]), (&[0.0; 3], &[])];
    siskin::checkin::write_checkpoint(&graph, 0, parts, &mut checkpoint).unwrap();
    checkpoint[17] = 0b10;
    let len = checkpoint.len() as u32;
    assert_eq!(
        refused(with_checkpoint(&encoded(&plan), len, &checkpoint, 100)),
        CheckpointError::Padding { tensor: 0 }
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn checkpoints_with_some_bytes_changed(which in 0usize..16, mutations in mutations(), chunk in 1usize..700) {
        let offer = profiles()[which].round(FRAME).offer;
        let (plan, mut bad) = (encoded(&offer.plan), offer.checkpoint);
        mutate(&mut bad, &mutations);
        let outcome = with_checkpoint(&plan, bad.len() as u32, &bad, chunk);
        // The examples of another shape are the device's own trouble; what the checkpoint breaks is named.
        prop_assert!(
            matches!(outcome, Outcome::Accepted | Outcome::Abandoned { cause: Abandoned::Checkpoint(_) | Abandoned::Store(_), .. }),
            "{:?}", outcome
        );
    }
}

/// The report with another payload, header and checksum to match.
fn with_payload(report: &[u8], payload: &[u8], change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut header = Report::parse(report).unwrap().header;
    (header.payload, header.checksum) = (payload.len() as u32, checksum(payload));
    change(&mut header);
    let mut out = b"SKRP\x02".to_vec();
    out.extend(postcard::to_slice(&header, &mut [0; 128]).unwrap().iter());
    out.extend_from_slice(payload);
    out
}

fn report_of(profile: &Profile) -> Vec<u8> {
    play(&profile.round(FRAME), &config(FRAME), 1, &mut profile.examples(1).store()).report.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reports_of_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Report::parse(&bytes).is_err());
        let _ = Report::parse(&[b"SKRP\x02", &bytes[..]].concat());
    }

    /// A payload that was tampered with and fits its checksum decodes to something or is refused; what it decodes to is
    /// bounded by the clip norm and the room for rounding.
    #[test]
    fn reports_with_some_bytes_changed(
        which in 0usize..16, mutations in mutations(), cut in prop::option::of(any::<prop::sample::Index>()), weight in 0u32..3,
    ) {
        let mut profile = profiles().remove(which);
        profile.settings.min_fraction = 0.0;
        profile.settings.privacy.profile = siskin::checkin::Profile::Central;
        profile.settings.privacy.noise_multiplier = 0.0;
        let report = report_of(&profile);
        let mut payload = Report::parse(&report).unwrap().payload.to_vec();
        mutate(&mut payload, &mutations);
        if let Some(cut) = cut {
            payload.truncate(cut.index(payload.len()));
        }
        let forged = with_payload(&report, &payload, |h| h.weight = weight);
        let mut server = profile.server(FRAME);
        let before = server.model().params().to_vec();
        let round = server.open().unwrap();
        // Without noise the clip norm is the delta's before it is rounded: the bound has room for rounding.
        let (plan, live) = (&round.offer.plan, round.offer.graph.live);
        let step = f64::from(plan.quantization.step);
        let bound = GridBound::of(&plan.privacy, &plan.quantization, live).unwrap().units() as f64 / 65536.0 * step;
        let room = f64::from(plan.privacy.clip_norm) + step * (live as f64).sqrt();
        prop_assert!(bound <= room * (1.0 + 1e-5) || plan.privacy.bit_share().is_some(), "{} {}", bound, room);
        let task = check_in(&round, 1);
        let request = Request::Upload { task, total: forged.len() as u32, offset: 0 };
        let Some(Response::Received { status, .. }) = ask(&round, 1, &request, &forged) else { panic!("no answer") };
        prop_assert!(matches!(status, UploadStatus::Accepted | UploadStatus::Refused));
        prop_assert!(weight == 1 || status == UploadStatus::Refused, "weight {}", weight);
        let closed = server.close(round, &mut rng(0)).unwrap();
        prop_assert_eq!(closed.counts.accepted + closed.counts.refused, 1);
        let moved: f64 = server.model().params().iter().zip(&before).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        prop_assert!(moved.sqrt() <= bound * (1.0 + 1e-5), "{} {}", moved.sqrt(), bound);
    }
}

/// A clip bit that would count for more than one device, or for none, is refused where the server sees it.
#[test]
fn a_forged_clip_bit_is_refused() {
    let profile = profiles().into_iter().find(|p| p.name == "mlp-dense-adaptive").unwrap();
    let report = report_of(&profile);
    let round = profile.round(FRAME);
    let (graph, patterns) = (&round.offer.graph, round.offer.patterns());
    let (mut symbols, mut scratch) = (vec![0; graph.live + 1], vec![0; RowColumn::required_scratch(256)]);
    let parsed = Report::parse(&report).unwrap();
    parsed
        .symbols(graph, &patterns, (&Carried::All, Start::NONE), &mut scratch, |at, symbol| symbols[at] = symbol)
        .unwrap();
    let bit = symbols[graph.live];
    assert_eq!(bit.abs(), 10, "of 100 steps a tenth");
    for (i, (forged, expected)) in
        [(bit, true), (-bit, true), (0, false), (2 * bit, false), (bit - 1, false)].into_iter().enumerate()
    {
        symbols[graph.live] = forged;
        let mut payload = vec![0; 4096];
        let mut encoder = RowColumn::encoder(&mut payload, &mut scratch).unwrap();
        let mut rest = &symbols[..];
        let bit = (Support::Dense { rows: 1, cols: 1 }, 1);
        for (support, live) in supports(graph, patterns.row_ptrs, patterns.columns).chain([bit]) {
            let (tensor, after) = rest.split_at(live);
            encoder.tensor(&support, tensor).unwrap();
            rest = after;
        }
        let length = encoder.finish().unwrap();
        let bytes = with_payload(&report, &payload[..length], |_| {});
        assert!(i > 0 || bytes == report);
        let request = Request::Upload { task: check_in(&round, i as u64), total: bytes.len() as u32, offset: 0 };
        let Some(Response::Received { status, .. }) = ask(&round, 1, &request, &bytes) else { panic!("no answer") };
        let expected = if expected { UploadStatus::Accepted } else { UploadStatus::Refused };
        assert_eq!(status, expected, "a bit of {forged} for {}", symbols[graph.live]);
    }
}

#[test]
fn a_header_that_does_not_belong_is_refused() {
    let profile = &profiles()[0];
    let report = report_of(profile);
    let payload = Report::parse(&report).unwrap().payload.to_vec();
    let round = profile.round(FRAME);
    let changes: [fn(&mut Header); 10] = [
        |h| h.plan ^= 1,
        |h| h.round += 1,
        |h| h.weight = 0,
        |h| h.weight = 2,
        |h| h.live -= 1,
        |h| h.step = f32::NAN,
        |h| h.profile = siskin::checkin::Profile::Local,
        |h| h.profile = crate::problem::distributed(1, 20, siskin::checkin::ShareNoise::DiscreteGaussian),
        |h| h.profile = crate::problem::distributed(1, 20, siskin::checkin::ShareNoise::Skellam),
        |h| h.payload += 1,
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let forged = with_payload(&report, &payload, change);
        let request = Request::Upload { task: check_in(&round, i as u64), total: forged.len() as u32, offset: 0 };
        let Some(Response::Received { status, .. }) = ask(&round, 1, &request, &forged) else { panic!("no answer") };
        assert_eq!(status, UploadStatus::Refused, "change {i}");
    }
    let whole = with_payload(&report, &payload, |_| {});
    assert_eq!(whole, report);
}

#[test]
fn a_network_too_deep_is_refused() {
    let most = siskin::checkin::MAX_LAYERS;
    let deep: Vec<LayerSpec> = vec![LayerSpec::Relu; most];
    assert_eq!(weigh(&encoded(&plan_of(chain([1, 1, 1], &deep)))), Err(PlanError::Empty));
    assert_eq!(weigh(&encoded(&plan_of(chain([1, 1, 1], &[])))), Err(PlanError::Empty));
    // One layer more than a plan has room for does not decode.
    let mut bytes = encoded(&plan_of(ModelSpec { layers: deep.iter().copied().map(Layer::from).collect(), ..mlp() }));
    // A rectifier: its number, how far back its two inputs are, what trains.
    let relu = [5, 0, 0, 0];
    let count = |n: usize| if n < 128 { vec![n as u8] } else { vec![n as u8 | 0x80, (n >> 7) as u8] };
    let begin = [count(most), relu.to_vec()].concat();
    let at = bytes.windows(begin.len()).position(|w| w == begin).expect("the number of layers");
    let end = at + begin.len();
    bytes.splice(at..end, [count(most + 1), [relu, relu].concat()].concat());
    assert_eq!(weigh(&bytes), Err(PlanError::Wire(WireError::Malformed)));
}
