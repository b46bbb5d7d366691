//! ONNX models in and out of siskin.

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
