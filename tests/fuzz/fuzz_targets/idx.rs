//! An IDX file of any bytes: parsed, and every value of it read, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use siskin_simulator::data::idx::Idx;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let Ok(idx) = Idx::parse(bytes, Path::new("fuzz")) else { return };
    let values = idx.records().checked_mul(idx.values_per_record()).expect("what was parsed was counted");
    // What is unpacked may be longer than the file.
    let packed = bytes.starts_with(&[0x1f, 0x8b]);
    assert!(packed || values <= bytes.len(), "no value comes from nowhere");
    for i in 0..values {
        let (_, _) = (idx.integer(i), idx.real(i));
        assert!(packed || idx.offset(i) < bytes.len() as u64);
    }
});
