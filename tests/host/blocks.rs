//! Weights in blocks of four outputs by one input, from the plan to the report: the same bits as compressed rows, whatever the
//! shape and the mask; masks that are no whole blocks are refused on both sides; masks that change stay whole.

use crate::answers::refused;
use crate::device::{Lent, Line, MANY_POLLS, play};
use crate::problem::{Examples, blocks, chain, config, conv, dense, mlp, plan_of, pruned, rng, server, settings};
use crate::untrusted::{encoded, with_examples};
use proptest::prelude::*;
use siskin::arena::MemoryPlan;
use siskin::checkin::{
    CheckpointError, LayerSpec, ModelSpec, Path, Plan, PlanError, Rounding, Storage, checkpoint_len, write_checkpoint,
};
use siskin::model::sparsity::SparsityType;
use siskin::model::{Graph, Parameters};
use siskin::quantize::Carried;
use siskin::range_coder::Start;
use siskin::report::Report;
use siskin::session::{Outcome, Session};
use siskin_server::round::{Pruning, Settings};

/// A network of two layers and the masks of their weights, row by row.
#[derive(Debug, Clone)]
struct Net {
    inputs: u16,
    outputs: [u16; 2],
    masks: [Vec<bool>; 2],
}

impl Net {
    /// Masks in which block `i` of a layer lives where `lives(layer, i)`; at least the first one does.
    fn new(inputs: u16, outputs: [u16; 2], lives: impl Fn(usize, usize) -> bool) -> Self {
        let mask = |layer: usize| {
            let cols = usize::from([inputs, outputs[0]][layer]);
            let entry = |i: usize| (i / cols / 4) * cols + i % cols;
            (0..cols * usize::from(outputs[layer])).map(|i| entry(i) == 0 || lives(layer, entry(i))).collect()
        };
        Self { inputs, outputs, masks: [mask(0), mask(1)] }
    }

    fn spec(&self, path: Path) -> ModelSpec {
        let layer = |i: usize| {
            let live = self.masks[i].iter().filter(|l| **l).count() as u32;
            LayerSpec::Dense { outputs: self.outputs[i], bias: true, weights: Storage { live, path } }
        };
        chain([self.inputs, 1, 1], &[layer(0), LayerSpec::Relu, layer(1)])
    }

    fn plan(&self, path: Path, batch: u16) -> Plan {
        let mut plan = plan_of(self.spec(path));
        plan.training.batch = batch;
        plan.quantization.rounding = Rounding::Nearest;
        plan
    }

    fn checkpoint(&self, graph: &Graph) -> Result<Vec<u8>, CheckpointError> {
        let values = |n: usize| (0..n).map(|i| ((i * 37 + n) % 101) as f32 / 101.0 - 0.5).collect::<Vec<f32>>();
        let bits = |mask: &[bool]| {
            mask.chunks(8).map(|c| c.iter().rev().fold(0, |b, l| b << 1 | u8::from(*l))).collect::<Vec<u8>>()
        };
        let tensors: Vec<_> = graph.tensors.iter().map(|t| values(t.size())).collect();
        let masks = [bits(&self.masks[0]), Vec::new(), bits(&self.masks[1]), Vec::new()];
        let mut out = vec![0; checkpoint_len(graph)];
        write_checkpoint(graph, 0, tensors.iter().zip(&masks).map(|(v, m)| (&v[..], &m[..])), &mut out).map(|()| out)
    }

    /// Row pointers and columns of the rows in which a report is coded.
    fn rows(&self) -> (Vec<u32>, Vec<u16>) {
        let (mut row_ptrs, mut columns) = (Vec::new(), Vec::new());
        for (mask, cols) in self.masks.iter().zip([self.inputs, self.outputs[0]]) {
            let first = columns.len();
            row_ptrs.push(0);
            for row in mask.chunks(usize::from(cols)) {
                columns.extend((0..cols).filter(|c| row[usize::from(*c)]));
                row_ptrs.push((columns.len() - first) as u32);
            }
        }
        (row_ptrs, columns)
    }
}

/// What a device says after the round, the length of its arena, and the checkpoint.
fn played(net: &Net, path: Path, batch: u16, chunk: usize) -> (Vec<u8>, MemoryPlan, Vec<u8>) {
    let plan = net.plan(path, batch);
    let graph = Graph::new(&plan.model).unwrap();
    let checkpoint = net.checkpoint(&graph).unwrap();
    let examples = Examples::new(&plan.model, 3, 2 * usize::from(batch) + 1);
    let (outcome, report) = with_examples(&encoded(&plan), checkpoint.len() as u32, &checkpoint, chunk, &examples);
    assert_eq!(outcome, Outcome::Accepted);
    (report.unwrap(), MemoryPlan::new(&plan, &graph, 1024), checkpoint)
}

fn any_net() -> impl Strategy<Value = Net> {
    let sizes = (1u16..24, 1u16..7, 1u16..4);
    (sizes, prop::collection::vec(any::<bool>(), 23 * 7 + 24 * 4), 0usize..3).prop_map(
        |((inputs, a, b), coins, rare)| {
            let lives = move |layer: usize, i: usize| {
                let coin = |k: usize| coins[(layer * 97 + i + k * 31) % coins.len()];
                (0..=rare).all(coin)
            };
            Net::new(inputs, [4 * a, 4 * b], lives)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any shape, any mask of whole blocks, any batch, pieces of any length: the report of compressed rows bit by bit, and that
    /// of the dense loops within a step of the grid.
    #[test]
    fn blocks_report_what_rows_report(net in any_net(), batch in prop_oneof![1u16..12, Just(17u16)], chunk in 1usize..200) {
        let (in_blocks, memory, checkpoint) = played(&net, Path::Block, batch, chunk);
        let (in_rows, rows_memory, rows_checkpoint) = played(&net, Path::Sparse, batch, 900);
        prop_assert_eq!(&checkpoint, &rows_checkpoint);
        let [blocks, rows] = [&in_blocks, &in_rows].map(|bytes| Report::parse(bytes).unwrap());
        prop_assert_eq!(blocks.payload, rows.payload);
        let live: usize = net.masks.iter().flatten().filter(|l| **l).count();
        prop_assert_eq!((memory.columns.len(), rows_memory.columns.len()), (2 * live / 4, 2 * live));
        let outputs = usize::from(net.outputs[0] + net.outputs[1]);
        prop_assert_eq!((memory.row_ptrs.len(), rows_memory.row_ptrs.len()), (outputs + 8, 4 * outputs + 8));
        prop_assert_eq!(memory.local.len(), rows_memory.local.len());
        prop_assert!(memory.total < rows_memory.total);

        let (row_ptrs, columns) = net.rows();
        let graph = Graph::new(&net.spec(Path::Sparse)).unwrap();
        let symbols = |report: &Report<'_>| {
            let mut all = vec![0; graph.live];
            let mut scratch = vec![0u32; 4000];
            let parameters = Parameters { row_ptrs: &row_ptrs, columns: &columns, values: &[] };
            report.symbols(&graph, &parameters, (&Carried::All, Start::NONE), bytemuck::cast_slice_mut(&mut scratch), |i, q| all[i] = q).unwrap();
            all
        };
        let got = symbols(&blocks);
        prop_assert!(got.iter().any(|q| *q != 0));
        if net.masks.iter().all(|mask| mask.contains(&false)) {
            let (dense, ..) = played(&net, Path::Dense, batch, 900);
            let dense = symbols(&Report::parse(&dense).unwrap());
            prop_assert!(got.iter().zip(&dense).all(|(a, b)| (a - b).abs() <= 1), "{got:?} {dense:?}");
        }
    }

    /// One entry of a mask of whole blocks that dies or comes to life: the row, and both columns.
    #[test]
    fn masks_of_other_than_whole_blocks_are_refused(net in any_net(), at in any::<prop::sample::Index>(), layer in 0usize..2) {
        let plan = net.plan(Path::Block, 3);
        let graph = Graph::new(&plan.model).unwrap();
        let good = net.checkpoint(&graph).unwrap();
        let cols = usize::from([net.inputs, net.outputs[0]][layer]);
        let mask = &net.masks[layer];
        let at = at.index(mask.len());
        // Another entry of the first column changes too, so that the number is right; of another block, if there is one.
        let other = (0..mask.len()).find(|i| mask[*i] != mask[at] && *i % cols != at % cols);
        let Some(other) = other else { return Ok(()) };
        let mut bad = net.clone();
        bad.masks[layer][at] ^= true;
        bad.masks[layer][other] ^= true;
        let tensor = 2 * layer as u8;
        let error = bad.checkpoint(&graph).unwrap_err();
        let CheckpointError::Block { tensor: of, row, expected, got } = error else { panic!("{error:?}") };
        prop_assert_eq!(of, tensor);
        let next = |row: usize, from: usize| (from..cols).find(|c| bad.masks[layer][row * cols + c]);
        let from = expected.min(got) as usize;
        let (first, row) = (row as usize / 4 * 4, row as usize);
        prop_assert!(row > first && next(row, from) != next(first, from));
        prop_assert_eq!(next(first, from).unwrap_or(cols), expected as usize);
        // The same bits in the stream: where the mask lies in it, they take the place of good ones.
        let start = 16 + if layer == 0 { 0 } else {
            let [weight, bias] = [graph.tensors[0], graph.tensors[1]];
            weight.size().div_ceil(8) + 4 * (weight.live + bias.live) as usize
        };
        let mut stream = good.clone();
        for i in [at, other] {
            stream[start + i / 8] ^= 1 << (i % 8);
        }
        let examples = Examples::new(&plan.model, 3, 7);
        let outcome = with_examples(&encoded(&plan), stream.len() as u32, &stream, 50, &examples).0;
        match refused(outcome) {
            refused @ CheckpointError::Block { .. } => prop_assert_eq!(refused, error),
            // More of a first row than lives in all.
            CheckpointError::Live { tensor: of, expected, got } => {
                prop_assert_eq!((of, expected, got), (tensor, graph.tensors[usize::from(of)].live, expected + 4));
            }
            refused => prop_assert!(false, "{refused:?}"),
        }
    }
}

#[test]
fn a_mask_of_too_many_or_too_few_blocks_is_refused() {
    let net = Net::new(6, [8, 4], |_, i| i % 3 == 0);
    let plan = net.plan(Path::Block, 3);
    let graph = Graph::new(&plan.model).unwrap();
    let good = net.checkpoint(&graph).unwrap();
    let examples = Examples::new(&plan.model, 3, 7);
    let live = graph.tensors[0].live;
    let with = |column: usize| {
        let mut bad = good.clone();
        for i in (0..4).map(|row| row * 6 + column) {
            bad[16 + i / 8] ^= 1 << (i % 8);
        }
        refused(with_examples(&encoded(&plan), bad.len() as u32, &bad, 50, &examples).0)
    };
    assert_eq!(with(0), CheckpointError::Live { tensor: 0, expected: live, got: live - 4 });
    assert!(matches!(with(1), CheckpointError::Live { tensor: 0, expected, .. } if expected == live));
    let mut other = net.clone();
    (0..4).for_each(|row| other.masks[0][row * 6] = false);
    let error = other.checkpoint(&graph).unwrap_err();
    assert_eq!(error, CheckpointError::Live { tensor: 0, expected: live, got: live - 4 });
}

#[test]
fn plans_whose_blocks_do_not_fit_are_refused() {
    let refused = |spec: LayerSpec| match Graph::new(&chain([1, 5, 5], &[spec])) {
        Err(PlanError::Layer { index: 0, expected, got, .. }) => (expected, got),
        other => panic!("{other:?}"),
    };
    let weights = |live| Storage { live, path: Path::Block };
    let layer = |outputs, live| LayerSpec::Dense { outputs, bias: true, weights: weights(live) };
    assert_eq!(refused(layer(6, 8)), (4, 6));
    assert_eq!(refused(layer(3, 4)), (0, 3));
    assert_eq!(refused(layer(8, 10)), (8, 10));
    assert_eq!(refused(layer(8, 204)), (200, 204));
    let LayerSpec::Conv2d { outputs, groups, window, bias, .. } = conv(4, 3, 1, 1) else { unreachable!() };
    assert_eq!(refused(LayerSpec::Conv2d { outputs, groups, window, bias, weights: weights(8) }), (0, 8));
}

/// The paths of a round's weights.
fn paths(plan: &Plan) -> Vec<Path> {
    plan.model.layers.iter().flat_map(|l| l.spec.storages().map(|s| s.path)).collect()
}

/// Gradual pruning in blocks: dense at first, then blocks, whole after every update; devices that keep masks download the
/// changes, and what they report is the same as of those that do not.
#[test]
fn masks_that_change_stay_whole() {
    let settings = blocks(settings(), 0.8, 1.0);
    let settings = Settings { pruning: Pruning { start: 1, end: 6, every: 1, ..settings.pruning }, ..settings };
    let architecture = chain([64, 1, 1], &[dense(48), LayerSpec::Relu, dense(4)]);
    let mut server = server(settings, &architecture, 1024);
    let mut kept: Vec<Option<Vec<u8>>> = vec![None; 4];
    let (mut masks, mut changed) = (Vec::new(), 0);
    for number in 0..8 {
        let round = server.open().unwrap();
        let sparse = round.offer.graph.tensors.iter().any(|t| (t.live as usize) < t.size());
        assert_eq!(paths(&round.offer.plan), [if sparse { Path::Block } else { Path::Sparse }; 2], "round {number}");
        for tensor in server.model().tensors().filter(|t| t.role.prunes()) {
            for group in tensor.live.chunks(4 * tensor.shape[1]) {
                let first = &group[..tensor.shape[1]];
                assert!(group.chunks(tensor.shape[1]).all(|row| row == first), "round {number}");
            }
        }
        for (device, kept) in kept.iter_mut().enumerate() {
            let examples = Examples::new(&architecture, device as u64, 21);
            let mut lent = Lent::for_plan(&round.offer.plan, 1024);
            let mut session = Session::new(lent.bytes(), config(1024), &mut rng(device as u64)).unwrap();
            if let Some(kept) = kept.as_deref() {
                session = session.with_mask(siskin::checkin::KeptMask::parse(kept).unwrap());
            }
            let mut line = Line::new(&round, 300);
            let mut report = None;
            let ended = (0..MANY_POLLS).find_map(|_| {
                let ended = line.step(&mut session, &mut examples.store());
                report = session.report().map(<[u8]>::to_vec).or(report.take());
                ended
            });
            assert_eq!(ended, Some(Outcome::Accepted));
            let whole = siskin::checkin::masks_len(&round.offer.graph);
            changed += usize::from(kept.is_some() && line.masks < whole);
            let other = {
                let fresh = play(&round, &config(1024), device as u64, &mut examples.store());
                assert_eq!(fresh.outcome, Outcome::Duplicate, "the same session, again");
                fresh.report
            };
            assert_eq!(report, other, "round {number} device {device}");
            let mut bytes = vec![0; session.kept_mask_len().unwrap_or(0)];
            if !bytes.is_empty() {
                session.keep_mask(&mut bytes).unwrap();
                *kept = Some(bytes);
            }
        }
        masks.push(server.model().mask());
        assert!(server.close(round, &mut rng(0)).unwrap().stepped);
    }
    masks.dedup();
    assert!(masks.len() > 4, "the mask changed {} times", masks.len() - 1);
    assert!(changed > 8, "{changed} downloads of changes");
}

/// A layer that four does not divide runs over rows in the same plan.
#[test]
fn what_four_does_not_divide_runs_as_rows() {
    let architecture = chain([16, 1, 1], &[dense(12), LayerSpec::Relu, dense(7), LayerSpec::Relu, dense(4)]);
    let round = server(blocks(settings(), 0.7, 1.0), &architecture, 1024).open().unwrap();
    assert_eq!(paths(&round.offer.plan), [Path::Block, Path::Sparse, Path::Block]);
    let examples = Examples::new(&architecture, 1, 21);
    assert_eq!(play(&round, &config(1024), 1, &mut examples.store()).outcome, Outcome::Accepted);
    let round = server(blocks(settings(), 0.7, 0.0), &mlp(), 1024).open().unwrap();
    assert_eq!(paths(&round.offer.plan), [Path::Dense; 2]);
}

/// N:M groups have no loops of their own: rows below the crossover, or the dense loops.
#[test]
fn two_of_four_runs_as_rows() {
    let mut settings = pruned(settings(), 0.5, 1.0);
    settings.pruning.kind = SparsityType::NOfM { n: 2, m: 4, axis: -1 };
    for (crossover, path) in [(1.0, Path::Sparse), (0.0, Path::Dense)] {
        settings.pruning.crossover = Some(crossover);
        let server = server(settings.clone(), &mlp(), 1024);
        let round = server.open().unwrap();
        assert_eq!(paths(&round.offer.plan), [path; 2]);
        for tensor in server.model().tensors().filter(|t| t.role.prunes()) {
            assert!(tensor.live.chunks(4).all(|group| group.iter().filter(|l| **l).count() == 2));
        }
        let examples = Examples::new(&mlp(), 1, 21);
        assert_eq!(play(&round, &config(1024), 1, &mut examples.store()).outcome, Outcome::Accepted);
    }
}
