//! Training: whole steps over every kind of storage, forward, backward and update.

use siskin::arena::MemoryPlan;
use siskin::checkin::{LayerSpec, Path, Plan, Storage};
use siskin::model::{Buffers, Draw, Graph, Parameters, forward, train_step};

use crate::models::{
    Pieces, conv, dense, draw_masks, examples, fill, is_live, mask_bytes, momentum, patterns, plan, pool, with_masks,
};
use crate::numbers::Numbers;
use crate::{Bench, Case, Digest, Outcome};

pub(crate) const CASES: &[Case] = &[
    Case { name: "train_dense", run: dense_mlp },
    Case { name: "train_sparse", run: sparse_mlp },
    Case { name: "train_masked", run: masked_mlp },
    Case { name: "train_blocks", run: blocks_mlp },
    Case { name: "train_cnn", run: cnn },
];

/// One example, fewer than a vector, and more than the widest vector and its half with a rest.
const BATCHES: [u16; 3] = [1, 5, 25];
const STEPS: usize = 3;

fn dense_mlp(bench: &mut Bench<'_>) -> Outcome {
    let plan = plan([1, 1, 16], &[dense(12, 192, Path::Dense), LayerSpec::Relu, dense(4, 48, Path::Dense)])?;
    steps(bench, plan)
}

fn sparse_mlp(bench: &mut Bench<'_>) -> Outcome {
    let layers = [dense(12, 60, Path::Sparse), LayerSpec::Relu, dense(4, 20, Path::Sparse)];
    let mut plan = plan([1, 1, 16], &layers)?;
    plan.training.optimizer = momentum(0.875);
    plan.training.proximal = 0.01;
    steps(bench, plan)
}

/// Pruned, but run through the dense loops.
fn masked_mlp(bench: &mut Bench<'_>) -> Outcome {
    let layers = [dense(12, 100, Path::Dense), LayerSpec::Relu, dense(4, 33, Path::Dense)];
    let mut plan = plan([1, 1, 16], &layers)?;
    plan.training.proximal = 0.01;
    steps(bench, plan)
}

/// Blocks of four outputs by one input: an odd number of groups, and a single one.
fn blocks_mlp(bench: &mut Bench<'_>) -> Outcome {
    let layers = [dense(12, 60, Path::Block), LayerSpec::Relu, dense(4, 20, Path::Block)];
    let mut plan = plan([1, 1, 16], &layers)?;
    plan.training.optimizer = momentum(0.875);
    steps(bench, plan)
}

/// Both paths of a convolution, with and without padding and stride, pooling, a change of shape.
fn cnn(bench: &mut Bench<'_>) -> Outcome {
    let sparse = |live| Storage { live, path: Path::Sparse };
    let layers = [
        conv(3, [3, 1, 1], Storage { live: 27, path: Path::Dense }),
        LayerSpec::Relu,
        pool(2, 2),
        conv(5, [3, 2, 1], sparse(50)),
        LayerSpec::Relu,
        conv(4, [2, 1, 0], Storage { live: 60, path: Path::Dense }),
        LayerSpec::Flatten,
        dense(4, 10, Path::Sparse),
    ];
    let mut plan = plan([1, 6, 6], &layers)?;
    plan.training.optimizer = momentum(0.5);
    steps(bench, plan)
}

/// For each batch: logits before training, then the losses and parameters of a few steps on the same examples.
fn steps(bench: &mut Bench<'_>, mut plan: Plan) -> Outcome {
    for batch in BATCHES {
        plan.training.batch = batch;
        let [logits, losses, params] = a_few(bench.arena, &plan)?;
        let names = match batch {
            1 => ["logits_1", "losses_1", "params_1"],
            5 => ["logits_5", "losses_5", "params_5"],
            _ => ["logits_25", "losses_25", "params_25"],
        };
        for (name, digest) in names.into_iter().zip([logits, losses, params]) {
            bench.digest(name, digest);
        }
    }
    Ok(())
}

fn a_few(memory: &mut [u8], plan: &Plan) -> Result<[Digest; 3], &'static str> {
    let graph = Graph::new(&plan.model).map_err(|_| "the layers do not fit together")?;
    let layout = MemoryPlan::new(plan, &graph, 0);
    let (batch, input) = (usize::from(plan.training.batch), graph.input.features());
    let mut pieces = Pieces(memory);
    let row_ptrs = pieces.take::<u32>(layout.row_ptrs.len() / 4)?;
    let columns = pieces.take::<u16>(layout.columns.len() / 2)?;
    let masks = pieces.take::<u8>(mask_bytes(&graph))?;
    let local = pieces.take::<f32>(graph.stored)?;
    let global = pieces.take::<f32>(graph.stored)?;
    let velocity = pieces.take::<f32>(layout.moments.len() / 4)?;
    let activations = pieces.take::<f32>(layout.activations.len() / 4)?;
    let gradients = pieces.take::<f32>(layout.gradients.len() / 4)?;
    let labels = pieces.take::<u32>(batch)?;
    let rows = pieces.take::<f32>(batch * input)?;

    let mut numbers = Numbers(5 + batch as u64);
    draw_masks(&graph, &mut numbers, masks)?;
    if patterns(&graph, masks, row_ptrs, columns) != (row_ptrs.len(), columns.len()) {
        return Err("the masks do not fill the patterns");
    }
    examples(&mut numbers, graph.classes(), rows, labels);
    fill(&mut numbers, 0.4, local);
    each_pruned(&graph, masks, |at| local[at] = 0.0);
    global.copy_from_slice(local);
    velocity.fill(0.0);
    let load = |activations: &mut [f32]| {
        for (i, value) in rows.iter().enumerate() {
            activations[i % input * batch + i / input] = *value;
        }
    };

    load(activations);
    let logits = forward(&graph, &Parameters { row_ptrs, columns, values: local }, activations, batch);
    let of_logits = Digest::f32s(logits);
    let mut losses = [0.0; STEPS];
    for (step, loss) in losses.iter_mut().enumerate() {
        load(activations);
        let buffers = Buffers { activations, gradients };
        let values = (&mut *local, &*global, &mut *velocity);
        let time = (Draw { seed: 0, step: step as u32 }, STEPS as u32);
        let rule = (plan.model.loss, &plan.training);
        *loss = train_step(&graph, rule, time, (row_ptrs, columns), values, buffers, labels, batch);
    }
    // Written so that a NaN fails.
    if !losses.is_sorted_by(|before, after| before > after) {
        return Err("training did not lower the loss");
    }
    let mut pruned_moved = false;
    each_pruned(&graph, masks, |at| pruned_moved |= local[at].to_bits() != 0);
    if pruned_moved {
        return Err("a pruned weight is not zero");
    }
    Ok([of_logits, Digest::f32s(&losses), Digest::f32s(local)])
}

/// Calls `each` with the place, among the stored values, of every pruned entry that is stored.
fn each_pruned(graph: &Graph, masks: &[u8], mut each: impl FnMut(usize)) {
    let mut first = 0;
    for (tensor, mask) in with_masks(graph, masks) {
        if tensor.is_masked() {
            (0..tensor.size()).filter(|&i| !is_live(mask, i)).for_each(|i| each(first + i));
        }
        first += tensor.stored();
    }
}
