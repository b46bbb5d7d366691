//! A plan of any bytes: decoded, laid out and weighed, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use siskin::arena::{MemoryPlan, required_bytes};
use siskin::checkin::{Plan, Policy, checkpoint_len};
use siskin::model::Graph;

fuzz_target!(|bytes: &[u8]| {
    let Ok(plan) = Plan::decode(bytes) else { return };
    let _ = Policy::permissive().check(&plan);
    let mut again = [0; 4096];
    let n = plan.encode(&mut again).expect("what was decoded can be encoded");
    // Compared as bytes: a layer's number may be NaN until the graph is laid out, and NaN is not itself.
    let decoded = Plan::decode(&again[..n]).expect("what was encoded can be decoded");
    let mut third = [0; 4096];
    let m = decoded.encode(&mut third).expect("and encoded again");
    assert_eq!(again[..n], third[..m]);
    let Ok(graph) = Graph::new(&plan.model) else { return };
    let memory = MemoryPlan::new(&plan, &graph, 1024);
    assert_eq!(required_bytes(&plan, 1024), Ok(memory.total));
    let parts: u128 = memory.by_purpose().iter().map(|(_, bytes)| *bytes as u128).sum();
    assert!(parts <= memory.total as u128, "nothing wrapped");
    assert!(checkpoint_len(&graph) >= 16 + 4 * graph.live);
});
