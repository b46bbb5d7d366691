//! Rounds of plans of every kind, stage by stage: the digests are those of `tests/vectors/cross_target.txt` on every target.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use siskin::checkin::{
    ClientOptimizer, Clipping, LayerSpec, Path, Plan, Profile, Quantization, Rounding, Storage, Values, Window,
};
use siskin::model::sparsity::fisher_scores;
use siskin::quantize::layered::Layer;

use crate::models::{conv, dense, fill, momentum, plan, pool};
use crate::numbers::Numbers;
use crate::round::{Masks, START, staged_round};
use crate::{Bench, Case, Digest, Outcome};

pub(crate) const CASES: &[Case] = &[
    Case { name: "plan_dense_sgd", run: dense_sgd },
    Case { name: "plan_sparse_80_momentum", run: sparse_80_momentum },
    Case { name: "plan_sparse_95_adam", run: sparse_95_adam },
    Case { name: "plan_cnn", run: cnn },
    Case { name: "plan_gru_next_character", run: gru_next_character },
    Case { name: "plan_depthwise_block", run: depthwise_block },
    Case { name: "plan_two_of_four_nesterov", run: two_of_four_nesterov },
    Case { name: "plan_rounded_to_nearest", run: rounded_to_nearest },
    Case { name: "plan_discrete_gaussian", run: discrete_gaussian },
    Case { name: "plan_clipped_by_example", run: clipped_by_example },
    Case { name: "plan_part_of_the_coordinates", run: part_of_the_coordinates },
    Case { name: "plan_signs_of_rotated", run: signs_of_rotated },
    Case { name: "plan_dithered", run: dithered },
    Case { name: "plan_optimised", run: optimised },
    Case { name: "plan_coded_and_started", run: coded_and_started },
    Case { name: "layered_quantiser", run: layered_quantiser },
    Case { name: "fisher_scores", run: fisher },
];

/// 384 and 96 weights, of which so many live.
fn mlp(live: [u32; 2], path: Path) -> Result<Plan, &'static str> {
    let mut plan = plan([1, 1, 16], &[dense(24, live[0], path), LayerSpec::Relu, dense(4, live[1], path)])?;
    plan.training.epochs = 2;
    Ok(plan)
}

fn dense_sgd(bench: &mut Bench<'_>) -> Outcome {
    staged_round(bench, &mlp([384, 96], Path::Dense)?, Masks::Drawn)
}

fn sparse_80(optimizer: ClientOptimizer) -> Result<Plan, &'static str> {
    let mut plan = mlp([77, 20], Path::Sparse)?;
    plan.training.optimizer = optimizer;
    Ok(plan)
}

fn sparse_80_momentum(bench: &mut Bench<'_>) -> Outcome {
    staged_round(bench, &sparse_80(momentum(0.875))?, Masks::Drawn)
}

fn sparse_95_adam(bench: &mut Bench<'_>) -> Outcome {
    let mut plan = mlp([20, 5], Path::Sparse)?;
    (plan.training.optimizer, plan.training.learning_rate) = (ClientOptimizer::ADAM, 0.01);
    staged_round(bench, &plan, Masks::Drawn)
}

fn cnn(bench: &mut Bench<'_>) -> Outcome {
    let sparse = |live| Storage { live, path: Path::Sparse };
    let layers = [
        conv(4, [3, 1, 1], sparse(12)),
        LayerSpec::Relu,
        pool(2, 2),
        conv(6, [3, 1, 0], sparse(54)),
        LayerSpec::Relu,
        LayerSpec::Flatten,
        dense(4, 6, Path::Sparse),
    ];
    let mut plan = plan([1, 6, 6], &layers)?;
    (plan.training.batch, plan.training.optimizer) = (3, momentum(0.875));
    staged_round(bench, &plan, Masks::Drawn)
}

fn gru_next_character(bench: &mut Bench<'_>) -> Outcome {
    let all = |live| Storage { live, path: Path::Dense };
    let layers = [
        LayerSpec::Embedding { rows: 11, dims: 4, weights: all(44) },
        LayerSpec::Gru { hidden: 5, reset_after: true, bias: true, weights: all(60), recurrent: all(75) },
        conv(11, [1, 1, 0], all(55)),
    ];
    staged_round(bench, &plan([1, 6, 1], &layers)?, Masks::Drawn)
}

/// A depthwise convolution and a pointwise one (Howard et al. 2017, "MobileNets", section 3.1).
fn depthwise_block(bench: &mut Bench<'_>) -> Outcome {
    let all = |live| Storage { live, path: Path::Dense };
    let window = Window::square(3, 1, 1);
    let layers = [
        LayerSpec::Conv2d { outputs: 4, groups: 4, window, bias: true, weights: all(36) },
        LayerSpec::Relu,
        conv(6, [1, 1, 0], all(24)),
        LayerSpec::Relu,
        LayerSpec::Flatten,
        dense(4, 40, Path::Sparse),
    ];
    let mut plan = plan([4, 4, 4], &layers)?;
    plan.training.batch = 3;
    staged_round(bench, &plan, Masks::Drawn)
}

fn two_of_four_nesterov(bench: &mut Bench<'_>) -> Outcome {
    let mut plan = mlp([192, 48], Path::Sparse)?;
    plan.training.optimizer = ClientOptimizer::Sgd { momentum: 0.75, nesterov: true };
    staged_round(bench, &plan, Masks::TwoOfFour)
}

fn rounded_to_nearest(bench: &mut Bench<'_>) -> Outcome {
    let mut plan = sparse_80(momentum(0.0))?;
    plan.quantization.rounding = Rounding::Nearest;
    staged_round(bench, &plan, Masks::Drawn)
}

fn discrete_gaussian(bench: &mut Bench<'_>) -> Outcome {
    let mut plan = sparse_80(momentum(0.0))?;
    plan.privacy.noise_multiplier = 0.5;
    plan.privacy.profile = Profile::Local;
    staged_round(bench, &plan, Masks::Drawn)
}

fn clipped_by_example(bench: &mut Bench<'_>) -> Outcome {
    let mut plan = sparse_80(momentum(0.0))?;
    (plan.training.epochs, plan.training.batch, plan.training.max_examples) = (1, 1, 29);
    plan.privacy.clipping = Clipping::Examples { norm: 2.0 };
    staged_round(bench, &plan, Masks::Drawn)
}

fn part_of_the_coordinates(bench: &mut Bench<'_>) -> Outcome {
    let mut plan = sparse_80(momentum(0.0))?;
    plan.quantization.keep = 0.5;
    staged_round(bench, &plan, Masks::Drawn)
}

fn signs_of_rotated(bench: &mut Bench<'_>) -> Outcome {
    let mut plan = sparse_80(momentum(0.0))?;
    // 16 of 128 rotated coordinates, with scales of up to 2^20 steps.
    plan.quantization =
        Quantization { step: plan.privacy.clip_norm / 8_388_608.0, rounding: Rounding::Rotated, keep: 0.125 };
    staged_round(bench, &plan, Masks::Drawn)
}

fn dithered(bench: &mut Bench<'_>) -> Outcome {
    let mut plan = sparse_80(momentum(0.0))?;
    plan.quantization.rounding = Rounding::Dithered;
    staged_round(bench, &plan, Masks::Drawn)
}

fn optimised(bench: &mut Bench<'_>) -> Outcome {
    let mut plan = sparse_80(momentum(0.0))?;
    plan.quantization.rounding = Rounding::Optimised { price: 33 };
    staged_round(bench, &plan, Masks::Drawn)
}

/// Layers, symbols and estimates of the quantiser whose error is Gaussian noise.
fn layered_quantiser(bench: &mut Bench<'_>) -> Outcome {
    let (mut shared, mut numbers) = (ChaCha20Rng::from_seed([5; 32]), Numbers(4));
    let (mut symbols, mut estimates) = (Digest::EMPTY, Digest::EMPTY);
    for _ in 0..1000 {
        let layer = Layer::draw(&mut shared);
        let symbol = layer.encode(3.0 * numbers.next_f32());
        symbols = symbols.and_bytes(&symbol.to_le_bytes()).and_bytes(&[layer.class() as u8]);
        estimates = estimates.and_bytes(&layer.decode(symbol).to_le_bytes());
    }
    bench.digest("1-symbols", symbols);
    bench.digest("2-estimates", estimates);
    Ok(())
}

/// Scores of pruning by the diagonal of the empirical Fisher information, of one example.
fn fisher(bench: &mut Bench<'_>) -> Outcome {
    let mut values = [0.0; 200];
    fill(&mut Numbers(6), 2.0, &mut values);
    let (params, gradients) = values.split_at_mut(100);
    gradients.iter_mut().for_each(|g| *g *= *g);
    let scores = fisher_scores(params, gradients).map_err(|_| "as many of each")?;
    let all = (0..scores.len()).filter_map(|i| scores.get(i));
    bench.digest("scores", all.fold(Digest::EMPTY, |digest, score| digest.and_bytes(&score.to_bits().to_le_bytes())));
    Ok(())
}

/// The model comes as coded integers, and the coder of the report begins with probabilities that come with it.
fn coded_and_started(bench: &mut Bench<'_>) -> Outcome {
    let mut plan = sparse_80(momentum(0.875))?;
    plan.values = Values::Coded { step: 1.0 / 128.0 };
    plan.upload.start = START.len() as u16;
    staged_round(bench, &plan, Masks::Drawn)
}
