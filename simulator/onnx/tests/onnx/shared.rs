//! Files beside the repository.

use std::io::Read;
use std::path::PathBuf;

/// A file of `../shared`, or a visible note that it is not there.
pub(crate) fn shared(path: &str) -> Option<Vec<u8>> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let root = std::env::var_os("SISKIN_SHARED").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let path = root.join(path);
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        println!("skipped: {} not found", path.display());
    }
    bytes
}

/// Largest difference, as a part of the largest entry of `want`.
pub(crate) fn difference(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let apart =
        got.iter().zip(want).fold(0.0f32, |m, (g, w)| if (g - w).is_nan() { f32::NAN } else { m.max((g - w).abs()) });
    if apart == 0.0 { 0.0 } else { apart / largest }
}

/// MNIST's test set.
pub(crate) struct Digits {
    /// 28 x 28 bytes each.
    pub(crate) images: Vec<u8>,
    pub(crate) labels: Vec<u8>,
    /// Who wrote each.
    pub(crate) writers: Vec<[u8; 2]>,
}

pub(crate) fn digits() -> Option<Digits> {
    let unpacked = |name: &str, header: usize| {
        let file = shared(&format!("data/mnist-by-writer/t10k-{name}.gz"))?;
        let mut out = Vec::new();
        flate2::read::GzDecoder::new(&file[..]).read_to_end(&mut out).unwrap();
        Some(out.split_off(header))
    };
    let (images, labels) = (unpacked("images-idx3-ubyte", 16)?, unpacked("labels-idx1-ubyte", 8)?);
    Some(Digits { images, labels, writers: unpacked("users-idx1-short", 8)?.as_chunks().0.to_vec() })
}
