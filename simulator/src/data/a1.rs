//! The side-by-side benchmark's arrays: equal devices of synthetic images, and the model that all frameworks start from.
//!
//! A folder with `meta.json` and, in C order, little-endian: `x_train.f32` `[clients * samples, dim]`, `y_train.u8`,
//! `x_test.f32`, `y_test.u8`, `init_mlp.f32` (`w1[dim, hidden] b1[hidden] w2[hidden, classes] b2[classes]`, that is, weights
//! `[in, out]`). Client i owns rows `samples * i ..`.

use super::{DataError, DeviceRows, Examples, Federated, InputShape, Parts, Scale, TestSet, Values};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// What the folder holds.
#[derive(Debug)]
pub struct Benchmark {
    /// The devices' examples.
    pub data: Federated,
    /// Units of the hidden layer.
    pub hidden: usize,
    /// Initial parameters in this project's order: `w1 [hidden, features]`, `b1 [hidden]`, `w2 [classes, hidden]`,
    /// `b2 [classes]`.
    pub initial: Vec<f32>,
}

#[derive(serde::Deserialize)]
struct Meta {
    clients: u32,
    samples_per_client: u32,
    dim: u32,
    classes: u32,
    test: u32,
    hidden: u32,
    mlp_layout: String,
}

/// A weight is stored `[in, out]` there; another layout would train, but a different model.
const LAYOUT: &str = "w1[{dim},{hidden}] b1[{hidden}] w2[{hidden},{classes}] b2[{classes}]";

/// Reads a file that must be `wanted` bytes long; memory grows with what arrives.
fn bytes(file: PathBuf, wanted: u64, record: u64) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    let read = File::open(&file).and_then(|f| f.take(wanted + 1).read_to_end(&mut bytes));
    if let Err(source) = read {
        return Err(DataError::Read { file, source });
    }
    let got = bytes.len() as u64;
    if got < wanted {
        return Err(DataError::CutOff { file, record: got / record, wanted, got });
    }
    if got > wanted {
        return Err(DataError::Trailing { file, end: wanted });
    }
    Ok(bytes)
}

fn floats(file: PathBuf, records: u64, per_record: u64) -> Result<Vec<f32>, DataError> {
    let bytes = bytes(file.clone(), records * per_record * 4, per_record * 4)?;
    let floats: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    match floats.iter().position(|v| !v.is_finite()) {
        Some(i) => Err(DataError::NotFinite {
            file,
            record: i / per_record as usize,
            feature: i % per_record as usize,
            offset: i as u64 * 4,
            value: f64::from(floats[i]),
        }),
        None => Ok(floats),
    }
}

fn labels(file: PathBuf, records: u64, classes: u32) -> Result<Vec<u16>, DataError> {
    let labels = bytes(file.clone(), records, 1)?;
    match labels.iter().position(|&l| u32::from(l) >= classes) {
        Some(record) => {
            let (label, offset) = (i64::from(labels[record]), record as u64);
            Err(DataError::Label { file, record, offset, label, most: classes - 1 })
        }
        None => Ok(labels.into_iter().map(u16::from).collect()),
    }
}

/// `[rows, columns]` to `[columns, rows]`.
fn transposed(weights: &[f32], rows: usize, columns: usize) -> impl Iterator<Item = f32> {
    (0..columns).flat_map(move |column| (0..rows).map(move |row| weights[row * columns + column]))
}

/// Reads the folder.
///
/// An example whose size is a square becomes a square image of one channel, any other a row.
///
/// # Errors
/// [`DataError`], naming the file, the record and what to do.
pub fn load(folder: &Path) -> Result<Benchmark, DataError> {
    let file = folder.join("meta.json");
    let fault = |what: String| DataError::Meta { file: file.clone(), what };
    let mut text = String::new();
    let read = File::open(&file).and_then(|f| f.take(1 << 16).read_to_string(&mut text));
    read.map_err(|source| DataError::Read { file: file.clone(), source })?;
    let meta: Meta = serde_json::from_str(&text).map_err(|e| fault(e.to_string()))?;

    let sizes = [meta.clients, meta.samples_per_client, meta.dim, meta.classes, meta.test, meta.hidden];
    if sizes.contains(&0) {
        return Err(fault("every size must be at least 1".into()));
    }
    // 2^24 a size and 2^32 rows or parameters: no product below overflows.
    let rows = u64::from(meta.clients) * u64::from(meta.samples_per_client);
    if sizes.iter().any(|&n| n > 1 << 24) || rows > u64::from(u32::MAX) || meta.classes > 256 {
        return Err(fault("a size is too large (16,777,216 each, 256 classes, 4,294,967,295 rows)".into()));
    }
    let wanted = LAYOUT.replace("{dim}", &meta.dim.to_string()).replace("{hidden}", &meta.hidden.to_string());
    let wanted = wanted.replace("{classes}", &meta.classes.to_string());
    if !meta.mlp_layout.starts_with(&wanted) {
        return Err(fault(format!("mlp_layout does not begin with {wanted}")));
    }

    let (dim, hidden, classes) = (u64::from(meta.dim), u64::from(meta.hidden), u64::from(meta.classes));
    let side = meta.dim.isqrt();
    let (height, width) = if side * side == meta.dim { (side, side) } else { (1, meta.dim) };
    let shape = InputShape { channels: 1, height: height as usize, width: width as usize };
    let table = |part: &str, rows| {
        let values = floats(folder.join(format!("x_{part}.f32")), rows, dim)?;
        let labels = labels(folder.join(format!("y_{part}.u8")), rows, meta.classes)?;
        Ok::<_, DataError>(Examples::new(&shape, Values::F32(values), labels, Scale::uniform(1, 1.0, 0.0)))
    };
    let (examples, test) = (table("train", rows)?, table("test", u64::from(meta.test))?);

    let stored = floats(folder.join("init_mlp.f32"), dim * hidden + hidden + hidden * classes + classes, 1)?;
    // All of it is in memory: the sizes fit.
    let (dim, hidden, classes) = (dim as usize, hidden as usize, classes as usize);
    let (w1, rest) = stored.split_at(dim * hidden);
    let (b1, rest) = rest.split_at(hidden);
    let (w2, b2) = rest.split_at(hidden * classes);
    let mut initial = Vec::with_capacity(stored.len());
    initial.extend(transposed(w1, dim, hidden));
    initial.extend_from_slice(b1);
    initial.extend(transposed(w2, hidden, classes));
    initial.extend_from_slice(b2);

    let train = meta.samples_per_client;
    let device = |user: u32| DeviceRows { user: user.into(), first: user * train, train, personal: 0 };
    let data = Federated::new(Parts {
        name: "side-by-side benchmark".into(),
        shape,
        classes: meta.classes,
        split: "the generator's own test examples, of no user".into(),
        scaling: "float32 as it is".into(),
        examples,
        devices: (0..meta.clients).map(device).collect(),
        test: TestSet::new(test, Vec::new()),
    })?;
    Ok(Benchmark { data, hidden, initial })
}

#[cfg(test)]
mod tests;
