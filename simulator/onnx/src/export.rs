//! Network -> ONNX: the original file with the trained numbers in it, every other byte as it was.

use crate::constant::{TensorFiles, constant_of};
use crate::error::{ExportError, ImportError};
use crate::file::File;
use crate::file::wire::{Record, Records, field, write_integer, write_record};
use crate::import::{ImportOptions, Imported, import};
use crate::source::{Kept, StoredTensor};
use std::collections::HashMap;
use std::path::Path;

/// Relative error of a number that was divided by the factor that the import multiplies with.
const ROUNDED: f32 = 1e-6;

/// The original file with other parameters: those of [`Imported::params`], trained. The same options must be given as to the
/// import; the places of the numbers are found by importing the original once more.
///
/// Graph, names and all bytes around the changed tensors stay. A tensor that the file made by copying another one of equal
/// values (as exporters do for the scales of normalisations) is stored under its own name if they have come to differ; tensors
/// of a data file beside the model move into it where they were trained.
///
/// # Errors
/// [`ExportError`]; with `Unfaithful`, some trained number is used at a second place that does not train.
pub fn export(
    original: &[u8],
    folder: Option<&Path>,
    options: &ImportOptions,
    params: &[Vec<f32>],
) -> Result<Vec<u8>, ExportError> {
    let imported = import(original, folder, options)?;
    check(&imported, params)?;
    let file = File::parse(original)?;
    let changes = Changes::of(&imported, params, &file, TensorFiles { folder })?;
    if changes.tensors.is_empty() {
        return Ok(original.to_vec());
    }
    let mut writer = Writer { changes: &changes, initializers: 0 };
    let bytes = writer.model(original).map_err(|why| ImportError::Malformed { why: why.into() })?;
    // What was written must be what was meant.
    let again = import(&bytes, folder, options)?;
    for (i, (got, wanted)) in again.params.iter().zip(params).enumerate() {
        let near = |(g, w): (&f32, &f32)| g == w || (g - w).abs() <= ROUNDED * w.abs();
        if again.model != imported.model || !got.iter().zip(wanted).all(near) {
            return Err(ExportError::Unfaithful { tensor: imported.sources[i].name() });
        }
    }
    Ok(bytes)
}

fn check(imported: &Imported, params: &[Vec<f32>]) -> Result<(), ExportError> {
    if params.len() != imported.params.len() {
        return Err(ExportError::Tensors { expected: imported.params.len(), got: params.len() });
    }
    for ((source, before), now) in imported.sources.iter().zip(&imported.params).zip(params) {
        let tensor = source.name();
        if now.len() != before.len() {
            return Err(ExportError::Length { tensor, expected: before.len(), got: now.len() });
        }
        if let Some(index) = now.iter().position(|v| !v.is_finite()) {
            return Err(ExportError::NotFinite { tensor, index, value: now[index] });
        }
        if !source.trains()
            && let Some(index) = (0..now.len()).find(|i| now[*i] != before[*i])
        {
            return Err(ExportError::Fixed { tensor, index });
        }
    }
    Ok(())
}

/// The tensors to write.
struct Changes<'a> {
    /// Tensor and values, by the name of the value.
    tensors: HashMap<&'a str, (&'a StoredTensor, Vec<f32>)>,
    /// Number of each initialiser among them.
    initializers: HashMap<usize, &'a str>,
}

impl<'a> Changes<'a> {
    fn of(imported: &'a Imported, params: &[Vec<f32>], file: &File, files: TensorFiles) -> Result<Self, ExportError> {
        let mut values: HashMap<usize, Vec<f32>> = HashMap::new();
        let mut changed = HashMap::new();
        for ((source, before), now) in imported.sources.iter().zip(&imported.params).zip(params) {
            for i in 0..now.len() {
                let Some((stored, index, factor)) = source.place(i) else { continue };
                let tensor = &imported.stored[stored];
                let all = match values.entry(stored) {
                    std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                    std::collections::hash_map::Entry::Vacant(entry) => entry.insert(original(tensor, file, files)?),
                };
                // A number that stayed is written as it was, whatever the factor rounded.
                if now[i] != before[i] {
                    all[index] = now[i] / factor;
                    changed.insert(stored, ());
                }
            }
        }
        // A copy stays one only as long as nothing moves.
        let moved = !changed.is_empty();
        let apart = |stored: &usize| moved && imported.stored[*stored].kept == Kept::Identity;
        let tensors: HashMap<_, _> = values
            .into_iter()
            .filter(|(stored, _)| changed.contains_key(stored) || apart(stored))
            .map(|(stored, values)| (imported.stored[stored].name.as_str(), (&imported.stored[stored], values)))
            .collect();
        let initializers = tensors.keys().filter_map(|name| Some((file.initializer(name)?, *name))).collect();
        Ok(Self { tensors, initializers })
    }

    fn of_kind(&self, name: &str, kept: Kept) -> Option<&(&'a StoredTensor, Vec<f32>)> {
        self.tensors.get(name).filter(|(tensor, _)| tensor.kept == kept)
    }
}

/// A stored tensor's numbers as the file has them; a copy's are those of what it copies.
fn original(tensor: &StoredTensor, file: &File, files: TensorFiles) -> Result<Vec<f32>, ExportError> {
    let wrong = |why: String| ImportError::Initializer { name: tensor.name.clone(), why };
    let mut name = tensor.name.as_str();
    // Each step goes to another node: names are made once, and the import has seen that there is no cycle.
    loop {
        let proto = match (file.initializer(name), file.maker(name)) {
            (Some(i), _) => &file.graph.initializer[i],
            (None, Some((node, _))) => {
                let node = &file.graph.node[node];
                match node.attribute.iter().find(|a| a.name == "value").and_then(|a| a.t.as_ref()) {
                    Some(proto) => proto,
                    None => {
                        name = node.input.first().ok_or_else(|| wrong("it is made of nothing".into()))?;
                        continue;
                    }
                }
            }
            (None, None) => return Err(wrong("it is not in the file".into()).into()),
        };
        let constant = constant_of(proto, files, None).map_err(wrong)?;
        return Ok(constant.as_floats().map_err(wrong)?.to_vec());
    }
}

/// Writes the messages of a file once more.
struct Writer<'a> {
    changes: &'a Changes<'a>,
    /// Initialisers seen.
    initializers: usize,
}

type Written = Result<Vec<u8>, &'static str>;

/// A message with some records replaced: `None` keeps one, an empty one drops it.
fn rewritten<'b>(
    message: &'b [u8],
    mut f: impl FnMut(&Record<'b>) -> Result<Option<Vec<u8>>, &'static str>,
) -> Written {
    let mut out = Vec::with_capacity(message.len());
    for record in Records::of(message) {
        let record = record?;
        match f(&record)? {
            None => out.extend_from_slice(record.whole),
            Some(new) => out.extend_from_slice(&new),
        }
    }
    Ok(out)
}

fn as_record(field: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 12);
    write_record(&mut out, field, content);
    out
}

impl Writer<'_> {
    fn model(&mut self, bytes: &[u8]) -> Written {
        let mut copies = true;
        rewritten(bytes, |r| match (r.field, r.content) {
            (field::MODEL_GRAPH, Some(graph)) => {
                let mut graph = self.graph(graph)?;
                // A graph in two pieces is joined by the reader.
                if std::mem::take(&mut copies) {
                    self.copies(&mut graph);
                }
                Ok(Some(as_record(field::MODEL_GRAPH, &graph)))
            }
            _ => Ok(None),
        })
    }

    fn graph(&mut self, graph: &[u8]) -> Written {
        rewritten(graph, |r| match (r.field, r.content) {
            (field::GRAPH_INITIALIZER, Some(tensor)) => {
                self.initializers += 1;
                let name = self.changes.initializers.get(&(self.initializers - 1));
                let Some((_, values)) = name.and_then(|n| self.changes.tensors.get(n)) else { return Ok(None) };
                Ok(Some(as_record(field::GRAPH_INITIALIZER, &with_values(tensor, values)?)))
            }
            (field::GRAPH_NODE, Some(node)) => self.node(node),
            _ => Ok(None),
        })
    }

    fn node(&self, node: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
        let first = first_text(node, field::NODE_OUTPUT)?;
        if self.changes.of_kind(first, Kept::Identity).is_some() {
            return Ok(Some(vec![]));
        }
        let Some((_, values)) = self.changes.of_kind(first, Kept::ConstantNode) else { return Ok(None) };
        let node = rewritten(node, |r| match (r.field, r.content) {
            (field::NODE_ATTRIBUTE, Some(attribute)) if first_text(attribute, field::ATTRIBUTE_NAME)? == "value" => {
                let attribute = rewritten(attribute, |r| match (r.field, r.content) {
                    (field::ATTRIBUTE_TENSOR, Some(tensor)) => {
                        Ok(Some(as_record(field::ATTRIBUTE_TENSOR, &with_values(tensor, values)?)))
                    }
                    _ => Ok(None),
                })?;
                Ok(Some(as_record(field::NODE_ATTRIBUTE, &attribute)))
            }
            _ => Ok(None),
        })?;
        Ok(Some(as_record(field::GRAPH_NODE, &node)))
    }

    /// Tensors that were copies, as initialisers, in the order of their names.
    fn copies(&self, graph: &mut Vec<u8>) {
        let mut copies: Vec<_> = self.changes.tensors.values().filter(|(t, _)| t.kept == Kept::Identity).collect();
        copies.sort_by_key(|(tensor, _)| &tensor.name);
        for (tensor, values) in copies {
            let mut out = Vec::new();
            for d in &tensor.dims {
                write_integer(&mut out, field::TENSOR_DIMS, *d as u64);
            }
            write_integer(&mut out, field::TENSOR_TYPE, FLOAT);
            write_record(&mut out, field::TENSOR_NAME, tensor.name.as_bytes());
            write_record(&mut out, field::TENSOR_RAW, &raw(values));
            write_record(graph, field::GRAPH_INITIALIZER, &out);
        }
    }
}

/// `TensorProto.DataType.FLOAT`.
const FLOAT: u64 = 1;

/// A tensor with its values replaced, stored as bytes within the file.
fn with_values(tensor: &[u8], values: &[f32]) -> Written {
    const VALUES: [u32; 4] = [field::TENSOR_FLOATS, field::TENSOR_RAW, field::TENSOR_EXTERNAL, field::TENSOR_LOCATION];
    let mut out = rewritten(tensor, |r| Ok(VALUES.contains(&r.field).then(Vec::new)))?;
    write_record(&mut out, field::TENSOR_RAW, &raw(values));
    Ok(out)
}

fn raw(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// The first text in a field of a message; empty if there is none.
fn first_text(message: &[u8], field: u32) -> Result<&str, &'static str> {
    for record in Records::of(message) {
        match record? {
            Record { field: f, content: Some(text), .. } if f == field => {
                return std::str::from_utf8(text).map_err(|_| "a name is no text");
            }
            _ => {}
        }
    }
    Ok("")
}
