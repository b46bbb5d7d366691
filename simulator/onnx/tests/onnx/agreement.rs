//! A file run both ways: by tract as it says, by the core as it was imported.

use crate::made::{Made, random};
use crate::net::Net;
use crate::shared::difference;
use siskin::checkin::Loss;
use siskin_onnx::{ImportOptions, Imported, Reference, export, import};

/// Both runners round differently, nothing else: parts of the largest entry.
const TOLERANCE: f32 = 2e-5;

/// tract's sigmoid is a quotient of polynomials, this far off where the sigmoid is close to 0.
const FLOOR: f32 = 1e-6;

const BATCH: usize = 3;

pub(crate) fn options(loss: Loss) -> ImportOptions {
    ImportOptions { loss: Some(loss), ..Default::default() }
}

pub(crate) fn examples(imported: &Imported, batch: usize) -> Vec<f32> {
    let values = random(77, batch * imported.input.dims.iter().product::<usize>());
    if imported.input.tokens { values.iter().map(|v| ((v + 1.0) * 3.5).floor()).collect() } else { values }
}

/// Runs a file both ways, before and after it is exported with other parameters.
pub(crate) fn holds(what: &str, made: &Made) -> Imported {
    holds_with(what, &made.bytes(), &options(Loss::MeanSquaredError), BATCH)
}

/// The same for a file's bytes and a loss that leaves the output as it is; `batch` examples if the file leaves their number
/// open. Returns the network with the other parameters.
pub(crate) fn holds_with(what: &str, bytes: &[u8], options: &ImportOptions, batch: usize) -> Imported {
    let mut imported = import(bytes, None, options).unwrap_or_else(|e| panic!("{what}: {e}"));
    let batch = imported.input.batch.unwrap_or(batch);
    let input = examples(&imported, batch);
    let same = |when: &str, bytes: &[u8], imported: &Imported| {
        let tract = Reference::new(bytes, None, imported, batch).unwrap_or_else(|e| panic!("{what}, {when}: {e}"));
        let wanted = tract.run(&input).unwrap();
        let apart = difference(&Net::new(imported).outputs(&input, batch), &wanted);
        let largest = wanted.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let close = apart <= TOLERANCE || apart * largest <= FLOOR;
        assert!(close, "{what}, {when}: {apart} of the largest entry, {largest}");
        wanted
    };
    let before = same("as imported", bytes, &imported);
    assert!(before.iter().any(|v| *v != before[0]), "{what}: all outputs are {}", before[0]);
    assert_eq!(export(bytes, None, options, &imported.params).unwrap(), bytes, "{what}: nothing was trained");
    let names = imported.layer_names.clone();
    for (source, values) in imported.sources.iter().zip(&mut imported.params).filter(|(s, _)| s.trains()) {
        let noise = random(source.layer as u32 + 500, values.len());
        values.iter_mut().zip(noise).for_each(|(v, n)| *v = *v * 1.25 + n / 16.0);
    }
    let written = export(bytes, None, options, &imported.params).unwrap_or_else(|e| panic!("{what}: {e}"));
    let after = same("as exported", &written, &imported);
    assert_ne!(before, after, "{what}");
    assert_eq!(import(&written, None, options).unwrap().layer_names, names, "{what}");
    imported
}

/// Kinds of the layers, for what must become one layer.
pub(crate) fn kinds(imported: &Imported) -> Vec<&'static str> {
    imported.model.layers.iter().map(|l| l.spec.name()).collect()
}

pub(crate) fn refused(made: &Made) -> String {
    match import(&made.bytes(), None, &options(Loss::MeanSquaredError)) {
        Ok(imported) => panic!("taken in as {:?}", kinds(&imported)),
        Err(error) => error.to_string(),
    }
}
