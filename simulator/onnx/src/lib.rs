//! ONNX models in and out of siskin.
//!
//! [`import()`] turns the nodes that one output needs into layers of the sdk, and folds what is constant; where no layer does what a
//! node does, [`ImportError`] names operator, node and reason. [`export()`] writes trained numbers back into the original file:
//! graph, names and every other byte stay. [`Reference`] runs the file by tract, unoptimised, for comparison.
//!
//! A file is not trusted: what it may let be decoded, read and computed is bounded before it is allocated, data files must lie
//! in the model's folder, and tract sees only what was checked.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod constant;
mod error;
mod export;
mod file;
mod import;
mod layout;
mod network;
mod operators;
mod reference;
mod shapes;
mod source;

pub use error::{ExportError, ImportError, NodeName, ReferenceError};
pub use export::export;
pub use import::{ImportOptions, Imported, Input, Output, OutputActivation, import};
pub use reference::Reference;
pub use siskin::model::Role;
pub use source::{StoredTensor, TensorSource};
