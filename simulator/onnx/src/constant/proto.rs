//! A stored tensor: its bytes checked against its dimensions before anything is allocated.

use super::{Constant, Data, Origin};
use crate::shapes::MAX_RANK;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use tract_onnx::pb::TensorProto;

/// Number types of `TensorProto.DataType`.
mod kind {
    pub(super) const FLOAT: i32 = 1;
    pub(super) const UINT8: i32 = 2;
    pub(super) const INT8: i32 = 3;
    pub(super) const UINT16: i32 = 4;
    pub(super) const INT16: i32 = 5;
    pub(super) const INT32: i32 = 6;
    pub(super) const INT64: i32 = 7;
    pub(super) const BOOL: i32 = 9;
    pub(super) const DOUBLE: i32 = 11;
    pub(super) const UINT32: i32 = 12;
}

/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: i32 = 1;

/// Most values of one tensor: those of a whole network of the sdk.
const MAX_VALUES: usize = 1 << 26;

/// Where tensors that are stored beside the model may be read from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TensorFiles<'a> {
    /// The model's folder; without one, such tensors are refused.
    pub(crate) folder: Option<&'a Path>,
}

impl TensorFiles<'_> {
    /// The checked path of a tensor's file: inside the folder, links followed.
    pub(crate) fn path(&self, tensor: &TensorProto) -> Result<Option<PathBuf>, String> {
        if tensor.data_location != Some(EXTERNAL) {
            return Ok(None);
        }
        let Some(folder) = self.folder else {
            return Err("its data lie outside the file, and no folder was given to read them from".into());
        };
        let location = entry(tensor, "location").ok_or("its data lie outside the file, but it does not say where")?;
        let relative = Path::new(location);
        if location.is_empty() || !relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir))
        {
            return Err(format!("its data are in {location:?}, which is not inside the model's folder"));
        }
        let said = |e: std::io::Error| format!("its data file {location:?} cannot be read: {e}");
        let root = folder.canonicalize().map_err(said)?;
        let path = root.join(relative).canonicalize().map_err(said)?;
        if !path.starts_with(&root) {
            return Err(format!("its data are in {location:?}, which leads out of the model's folder"));
        }
        Ok(Some(path))
    }

    /// Checks a tensor as an import does, and takes its data into it where they lie outside.
    ///
    /// # Errors
    /// What is wrong, to stand behind the tensor's name.
    pub(crate) fn inline(&self, tensor: &mut TensorProto) -> Result<(), String> {
        let size = constant_of(tensor, *self, None)?.len();
        if let Some(bytes) = self.read(tensor, size * width_of(tensor)?)? {
            tensor.raw_data = bytes;
            tensor.external_data.clear();
            tensor.data_location = None;
        }
        Ok(())
    }

    fn read(&self, tensor: &TensorProto, wanted: usize) -> Result<Option<Vec<u8>>, String> {
        let Some(path) = self.path(tensor)? else { return Ok(None) };
        let number = |key| match entry(tensor, key) {
            None => Ok(None),
            Some(text) => text.parse::<u64>().map(Some).map_err(|_| format!("{key} {text:?} is not a number of bytes")),
        };
        let offset = number("offset")?.unwrap_or(0);
        if let Some(length) = number("length")?
            && length != wanted as u64
        {
            return Err(format!("{length} bytes are stored for it, but its shape wants {wanted}"));
        }
        let said = |e: std::io::Error| format!("its data file cannot be read: {e}");
        // Opening a pipe would wait for a writer.
        if !path.is_file() {
            return Err("its data file is no plain file".into());
        }
        let mut file = File::open(path).map_err(said)?;
        let there = file.metadata().map_err(said)?.len();
        if offset.checked_add(wanted as u64).is_none_or(|end| end > there) {
            return Err(format!("{wanted} bytes at {offset} are not in its data file of {there} bytes"));
        }
        file.seek(SeekFrom::Start(offset)).map_err(said)?;
        let mut bytes = vec![0; wanted];
        file.read_exact(&mut bytes).map_err(said)?;
        Ok(Some(bytes))
    }
}

fn entry<'t>(tensor: &'t TensorProto, key: &str) -> Option<&'t str> {
    tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str())
}

/// Dimensions and their product.
fn size_of(dims: &[i64]) -> Result<(Vec<usize>, usize), String> {
    if dims.len() > MAX_RANK {
        return Err(format!("its {} axes are more than {MAX_RANK}", dims.len()));
    }
    let mut out = Vec::with_capacity(dims.len());
    for &d in dims {
        out.push(usize::try_from(d).map_err(|_| format!("its dimensions {dims:?} are negative"))?);
    }
    // A dimension of 0 counts as 1: the product of any of them must fit.
    let most = out.iter().try_fold(1usize, |size, &d| size.checked_mul(d.max(1)));
    if most.is_none_or(|most| most > MAX_VALUES) {
        return Err(format!("its dimensions {dims:?} ask for more than {MAX_VALUES} values"));
    }
    let size = out.iter().product();
    Ok((out, size))
}

/// Values in one of the typed lists, or little-endian bytes.
fn values<T: Copy, U, const WIDTH: usize>(
    raw: Option<&[u8]>,
    typed: &[T],
    size: usize,
    of_bytes: impl Fn([u8; WIDTH]) -> U,
    of_typed: impl Fn(T) -> U,
) -> Result<Vec<U>, String> {
    match raw {
        Some(raw) if raw.len() == size * WIDTH => {
            let chunk = |c: &[u8]| of_bytes(std::array::from_fn(|i| c[i]));
            Ok(raw.chunks_exact(WIDTH).map(chunk).collect())
        }
        Some(raw) => Err(format!("it holds {} bytes, but its shape wants {}", raw.len(), size * WIDTH)),
        None if typed.len() == size => Ok(typed.iter().map(|v| of_typed(*v)).collect()),
        None => Err(format!("it holds {} values, but its shape wants {size}", typed.len())),
    }
}

/// Bytes of a number.
fn width_of(tensor: &TensorProto) -> Result<usize, String> {
    Ok(match tensor.data_type {
        kind::BOOL | kind::UINT8 | kind::INT8 => 1,
        kind::UINT16 | kind::INT16 => 2,
        kind::FLOAT | kind::INT32 | kind::UINT32 => 4,
        kind::INT64 | kind::DOUBLE => 8,
        other => return Err(format!("its numbers are of type {}, which is not supported", name_of(other))),
    })
}

/// The tensor's values; reals of 32 bits carry `source` as their origin.
///
/// # Errors
/// What is wrong, to stand behind the tensor's name.
pub(crate) fn constant_of(tensor: &TensorProto, files: TensorFiles, source: Option<u32>) -> Result<Constant, String> {
    let (dims, size) = size_of(&tensor.dims)?;
    if tensor.segment.is_some() {
        return Err("it is stored in segments, which is not supported".into());
    }
    let external = files.read(tensor, size * width_of(tensor)?)?;
    let raw = external.as_deref().or((!tensor.raw_data.is_empty()).then_some(&tensor.raw_data[..]));
    let (t32, t64) = (&tensor.int32_data[..], &tensor.int64_data[..]);
    let data = match tensor.data_type {
        kind::FLOAT => Data::Float(values(raw, &tensor.float_data, size, f32::from_le_bytes, |v| v)?),
        kind::DOUBLE => {
            Data::Float(values(raw, &tensor.double_data, size, |b| f64::from_le_bytes(b) as f32, |v| v as f32)?)
        }
        kind::BOOL => Data::Bool(values(raw, t32, size, |[b]: [u8; 1]| b != 0, |v| v != 0)?),
        kind::UINT8 => Data::Int(values(raw, t32, size, |b| i64::from(u8::from_le_bytes(b)), i64::from)?),
        kind::INT8 => Data::Int(values(raw, t32, size, |b| i64::from(i8::from_le_bytes(b)), i64::from)?),
        kind::UINT16 => Data::Int(values(raw, t32, size, |b| i64::from(u16::from_le_bytes(b)), i64::from)?),
        kind::INT16 => Data::Int(values(raw, t32, size, |b| i64::from(i16::from_le_bytes(b)), i64::from)?),
        kind::INT32 => Data::Int(values(raw, t32, size, |b| i64::from(i32::from_le_bytes(b)), i64::from)?),
        kind::UINT32 => {
            let typed = &tensor.uint64_data;
            Data::Int(values(raw, typed, size, |b| i64::from(u32::from_le_bytes(b)), |v| v as i64)?)
        }
        _ => Data::Int(values(raw, t64, size, i64::from_le_bytes, |v| v)?),
    };
    let origin = match source {
        Some(source) if tensor.data_type == kind::FLOAT => Origin::Whole(source),
        _ => Origin::Computed,
    };
    Ok(Constant { dims, data, origin })
}

fn name_of(kind: i32) -> String {
    match kind {
        0 => "undefined".into(),
        8 => "string".into(),
        10 => "float16".into(),
        13 => "uint64".into(),
        16 => "bfloat16".into(),
        other => format!("number {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::pb::StringStringEntryProto;

    fn tensor(dims: &[i64], floats: usize) -> TensorProto {
        TensorProto { dims: dims.to_vec(), data_type: kind::FLOAT, float_data: vec![1.5; floats], ..Default::default() }
    }

    const NO_FILES: TensorFiles<'static> = TensorFiles { folder: None };

    #[test]
    fn values_must_fill_the_shape() {
        assert_eq!(constant_of(&tensor(&[2, 3], 6), NO_FILES, Some(7)).unwrap().origin, Origin::Whole(7));
        for bad in [
            tensor(&[2, 3], 5),
            tensor(&[-2, 3], 6),
            tensor(&[1 << 40, 1 << 40], 6),
            tensor(&[1 << 27], 1),
            tensor(&[1; 17], 1),
        ] {
            assert!(constant_of(&bad, NO_FILES, None).is_err());
        }
        let raw = TensorProto { raw_data: vec![0; 23], float_data: vec![], ..tensor(&[2, 3], 0) };
        assert!(constant_of(&raw, NO_FILES, None).unwrap_err().contains("23 bytes"));
        let half = TensorProto { data_type: 10, ..tensor(&[1], 1) };
        assert!(constant_of(&half, NO_FILES, None).unwrap_err().contains("float16"));
    }

    #[test]
    fn data_outside_the_folder_are_refused() {
        let folder = std::env::temp_dir().join(format!("siskin-onnx-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("inside")).unwrap();
        std::fs::write(folder.join("outside.bin"), [0; 8]).unwrap();
        std::fs::write(folder.join("inside/data.bin"), [0, 0, 0, 0, 0, 0, 0x80, 0x3f]).unwrap();
        let inside = folder.join("inside");
        let files = TensorFiles { folder: Some(&inside) };
        let at = |entries: &[(&str, &str)]| TensorProto {
            data_location: Some(EXTERNAL),
            external_data: entries
                .iter()
                .map(|(k, v)| StringStringEntryProto { key: (*k).into(), value: (*v).into() })
                .collect(),
            ..tensor(&[1], 0)
        };
        let good = at(&[("location", "data.bin"), ("offset", "4"), ("length", "4")]);
        assert_eq!(constant_of(&good, files, None).unwrap().scalar(), Some(1.0));
        assert!(constant_of(&good, NO_FILES, None).is_err());
        let absolute = folder.join("outside.bin");
        for bad in [
            &[("location", "../outside.bin")][..],
            &[("location", absolute.to_str().unwrap())],
            &[("location", "")],
            &[],
            &[("location", "data.bin"), ("offset", "6")],
            &[("location", "data.bin"), ("offset", "18446744073709551615")],
            &[("location", "data.bin"), ("offset", "x")],
            &[("location", "data.bin"), ("length", "5")],
            &[("location", "missing.bin")],
        ] {
            assert!(constant_of(&at(bad), files, None).is_err(), "{bad:?}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("../outside.bin", inside.join("link.bin")).unwrap();
            let link = constant_of(&at(&[("location", "link.bin")]), files, None);
            assert!(link.unwrap_err().contains("leads out"));
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
