//! The arena: what a plan needs is exact, and nothing beyond it is touched.

use crate::device::{Lent, Line, play_in};
use crate::problem::{Examples, chain, config, dense, distributed, profiles, server, settings};
use proptest::prelude::*;
use siskin::arena::{ArenaError, MemoryPlan, required_bytes};
use siskin::checkin::{
    ClientOptimizer, LayerSpec, Path, Privacy, Profile, Quantization, Rounding, ShareNoise, Storage, Train,
};
use siskin::session::{Abandoned, Outcome, Session};

/// A device in exactly `required_bytes` is accepted; with one byte less it says so.
fn exact(
    settings: siskin_server::round::Settings,
    model: &siskin::checkin::ModelSpec,
    examples: &Examples,
    frame: usize,
) {
    let round = server(settings, model, frame).open().unwrap();
    let required = required_bytes(&round.offer.plan, frame).unwrap();
    let mut lent = Lent::new(required);
    let played = play_in(lent.bytes(), &round, &config(frame), 1, &mut examples.store(), usize::MAX);
    assert_eq!(played.outcome, Outcome::Accepted);
    let mut lent = Lent::new(required - 1);
    let played = play_in(lent.bytes(), &round, &config(frame), 2, &mut examples.store(), usize::MAX);
    let Outcome::Abandoned { cause, .. } = played.outcome else { panic!("{:?}", played.outcome) };
    assert_eq!(cause, Abandoned::Memory(ArenaError::TooSmall { required, lent: required - 1 }));
}

#[test]
fn exactly_what_is_required_suffices_and_one_byte_less_does_not() {
    for profile in profiles() {
        for frame in [1024, 1027, 16 * 1024] {
            exact(profile.settings.clone(), &profile.architecture, &profile.examples(1), frame);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Small and odd networks, down to two params, whose reports hold as much entropy as symbols can.
    #[test]
    fn it_never_runs_out(
        inputs in 1u16..6,
        hidden in proptest::option::of(1u16..6),
        classes in 1u16..5,
        batch in 1u16..20,
        momentum in prop_oneof![Just(0.0f32), Just(0.5)],
        sparsity in prop_oneof![Just(0.0f32), Just(0.4)],
        crossover in prop_oneof![Just(0.0f32), Just(1.0)],
        step in prop_oneof![Just(1e-3f32), Just(2e-5)],
        shared in any::<bool>(),
        count in 1usize..12,
    ) {
        let mut layers = Vec::new();
        if let Some(hidden) = hidden {
            layers.extend([dense(hidden), LayerSpec::Relu]);
        }
        layers.push(dense(classes));
        let model = chain([inputs, 1, 1], &layers);
        let mut s = crate::problem::pruned(settings(), sparsity, crossover);
        (s.training.batch, s.training.optimizer) = (batch, crate::problem::momentum(momentum));
        let profile = if shared { distributed(1, 24, ShareNoise::DiscreteGaussian) } else { Profile::Local };
        s.privacy = Privacy { noise_multiplier: 1.0, ..Privacy::new(1.0, profile) };
        s.quantization = Quantization { step, rounding: Rounding::Stochastic, keep: 1.0 };
        let mut examples = Examples::new(&model, 3, count);
        examples.labels_mut().iter_mut().for_each(|l| *l %= u32::from(classes));
        exact(s, &model, &examples, 1024);
    }
}

#[test]
fn bytes_beyond_are_not_touched() {
    for profile in profiles() {
        let round = profile.round(1024);
        let required = required_bytes(&round.offer.plan, 1024).unwrap();
        let mut lent = Lent::new(required + 512);
        let examples = profile.examples(1);
        let played = play_in(lent.bytes(), &round, &config(1024), 1, &mut examples.store(), 100);
        assert_eq!(played.outcome, Outcome::Accepted);
        assert!(lent.bytes()[required..].iter().all(|b| *b == 0xa5), "{}", profile.name);
    }
}

#[test]
fn too_little_for_two_frames_is_refused_at_once() {
    let (required, mut rng) = (MemoryPlan::before_plan(1024), crate::problem::rng(0));
    assert!(Session::new(Lent::new(required).bytes(), config(1024), &mut rng).is_ok());
    let e = Session::new(Lent::new(required - 1).bytes(), config(1024), &mut rng).unwrap_err();
    assert_eq!(e, ArenaError::TooSmall { required, lent: required - 1 });
    let e = Session::new(&mut Lent::new(required + 8).bytes()[1..], config(1024), &mut rng).unwrap_err();
    assert_eq!(e, ArenaError::Misaligned { offset: 1 });
}

#[test]
fn the_purposes_add_up() {
    for profile in profiles() {
        let plan = profile.round(1024).offer.plan;
        let graph = siskin::model::Graph::new(&plan.model).unwrap();
        let memory = MemoryPlan::new(&plan, &graph, 1024);
        let sum: usize = memory.by_purpose().iter().map(|(_, bytes)| bytes.div_ceil(8) * 8).sum();
        // The coder lies over the training's part and may be the longer of the two.
        assert!(sum <= memory.total && memory.total <= sum + memory.coder.len(), "{}", profile.name);
        assert_eq!(required_bytes(&plan, 1024), Ok(memory.total));
    }
}

#[test]
fn a_sparser_model_needs_less() {
    let total = |sparsity, path: Path| {
        let crossover = if path == Path::Sparse { 1.0 } else { 0.0 };
        let s = crate::problem::pruned(settings(), sparsity, crossover);
        let model = chain(
            [300, 1, 1],
            &[LayerSpec::Dense { outputs: 200, bias: true, weights: Storage { live: 1, path } }, dense(4)],
        );
        required_bytes(&server(s, &model, 1024).open().unwrap().offer.plan, 1024).unwrap()
    };
    assert!(total(0.9, Path::Sparse) * 4 < total(0.9, Path::Dense));
    assert!(total(0.9, Path::Sparse) * 4 < total(0.0, Path::Sparse));
}

/// With Adam a live weight takes 18 bytes: itself, as it came, two moments, and 2 bytes of column; a row takes 4 bytes more. Dense it
/// would be 16 bytes for each weight, live or not.
#[test]
fn bytes_of_a_weight_follow_the_density() {
    for density in [0.5, 0.3, 0.2, 0.1, 0.05, 0.02] {
        let live = (512.0 * 512.0 * density) as u32;
        let layer = LayerSpec::Dense { outputs: 512, bias: false, weights: Storage { live, path: Path::Sparse } };
        let mut plan = crate::problem::plan_of(chain([512, 1, 1], &[layer]));
        plan.training.optimizer = ClientOptimizer::ADAM;
        let graph = siskin::model::Graph::new(&plan.model).unwrap();
        let memory = MemoryPlan::new(&plan, &graph, 1024);
        let values = [memory.columns, memory.local, memory.global, memory.moments].map(|r| r.len());
        assert_eq!(values.iter().sum::<usize>(), 18 * live as usize);
        assert_eq!(memory.row_ptrs.len(), 4 * 513);
    }
}

/// A session that is saved while it trains keeps, with Adam, 16 bytes for a live weight and a bit for each weight in place of the
/// pattern, or the pattern where that is shorter; a masked layer in the dense loops 16 bytes and a bit for each weight.
#[test]
fn bytes_at_rest_follow_the_density() {
    let n = 512 * 512;
    for density in [1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02] {
        for path in [Path::Sparse, Path::Block, Path::Dense] {
            let live = (n as f64 * density) as usize / 4 * 4;
            let weights = Storage { live: live as u32, path };
            let layer = LayerSpec::Dense { outputs: 512, bias: false, weights };
            let mut plan = crate::problem::plan_of(chain([512, 1, 1], &[layer]));
            plan.training.optimizer = ClientOptimizer::ADAM;
            let graph = siskin::model::Graph::new(&plan.model).unwrap();
            let memory = MemoryPlan::new(&plan, &graph, 1024);
            let saved = memory.saved_bytes(&graph) - memory.header.len().div_ceil(8) * 8;
            let (bits, rows) = (n / 8, 4 * 513usize.next_multiple_of(2));
            let expected = match path {
                Path::Sparse => 16 * live + bits.min(rows + 2 * live),
                Path::Block => 16 * live + bits.min(4 * 130 + 2 * live / 4),
                // One that is not masked has neither pattern nor bits.
                Path::Dense => 16 * n + if live < n { bits.min(rows + 2 * live) } else { 0 },
            };
            // Each part ends on a multiple of 8.
            assert!((expected..expected + 24).contains(&saved), "{density} {path:?}: {saved} for {expected}");
            if path != Path::Dense {
                let most = if density >= 0.0625 { 16.0 * density + 0.125 } else { 18.0 * density + 4.0 / 512.0 };
                assert!(saved as f64 <= most * n as f64 + 40.0, "{density}: {saved}");
            }
        }
    }
}

/// The numbers above are those of bytes that are really saved.
#[test]
fn a_saved_session_is_as_long_as_the_byte_plan_says() {
    let layer = |outputs| LayerSpec::Dense { outputs, bias: false, weights: Storage { live: 1, path: Path::Dense } };
    let model = chain([64, 1, 1], &[layer(96), LayerSpec::Tanh, layer(4)]);
    for crossover in [0.0, 1.0] {
        for sparsity in [0.0, 0.5, 0.9, 0.98] {
            let mut s = crate::problem::pruned(settings(), sparsity, crossover);
            s.training.optimizer = ClientOptimizer::ADAM;
            let round = server(s, &model, 1024).open().unwrap();
            let (plan, graph) = (&round.offer.plan, &round.offer.graph);
            let memory = MemoryPlan::new(plan, graph, 1024);
            let mut lent = Lent::for_plan(plan, 1024);
            let mut session = Session::new(lent.bytes(), config(1024), &mut crate::problem::rng(3)).unwrap();
            let (mut line, examples) = (Line::new(&round, usize::MAX), Examples::new(&model, 1, 20));
            // The last before the report is made: in training.
            let mut last = 0;
            let outcome = loop {
                if let Some(outcome) = line.step(&mut session, &mut examples.store()) {
                    break outcome;
                }
                let mut out = vec![0; session.save_bound()];
                // A session that is over cannot be saved any more.
                if let (None, Ok(length)) = (session.report(), session.save(&mut out)) {
                    last = length;
                }
            };
            assert_eq!(outcome, Outcome::Accepted);
            let saved = memory.saved_bytes(graph);
            assert!((saved + 8..saved + 8 + 300).contains(&last), "{crossover} {sparsity}: {last} for {saved}");
        }
    }
}

/// A frozen layer has no copy of its values, no moments, no gradient and no place in a report, and the activations before the first
/// layer that trains share their places.
#[test]
fn frozen_layers_cost_less() {
    let all = [dense(200), LayerSpec::Tanh, dense(150), LayerSpec::Tanh, dense(4)];
    let parts = |frozen: usize| {
        let mut model = chain([100, 1, 1], &all);
        model.layers.iter_mut().take(frozen).for_each(|l| l.train = Train::Nothing);
        let weights = |l: &mut siskin::checkin::Layer, live| l.spec.storages_mut().for_each(|s| s.live = live);
        weights(&mut model.layers[0], 20_000);
        weights(&mut model.layers[2], 30_000);
        weights(&mut model.layers[4], 600);
        let mut plan = crate::problem::plan_of(model);
        (plan.training.batch, plan.training.optimizer) = (8, ClientOptimizer::ADAM);
        let graph = siskin::model::Graph::new(&plan.model).unwrap();
        let m = MemoryPlan::new(&plan, &graph, 1024);
        ([m.local, m.global, m.moments, m.activations, m.gradients].map(|r| r.len() / 4), graph.live)
    };
    let (first, second, last) = (20_200, 30_150, 604);
    let total = first + second + last;
    assert_eq!(parts(0), ([total, total, 2 * total, 8 * (100 + 200 + 150 + 4), 8 * (150 + 200)], total));
    // No gradient flows below the last layer; the buffer for it still takes one example on its way into a batch.
    assert_eq!(parts(4), ([total, last, 2 * last, 8 * (100 + 200 + 150), 101], last));
}
