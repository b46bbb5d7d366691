//! The model before the first round.

use super::RunError;
use crate::config::{ConfigError, RunConfig, architecture};
use crate::data::Federated;
use crate::fleet::{Purpose, stream};
use crate::lora;
use rand_core::Rng;
use siskin_server::round::GlobalModel;

/// Of fresh weights, or the one in an ONNX file; what does not train is frozen, and adapters stand where they were asked for.
pub(crate) fn model(config: &RunConfig, data: &Federated) -> Result<GlobalModel, RunError> {
    let seed = || stream(config.run.seed, Purpose::Weights, 0, 0).next_u64();
    let line = &config.model.model;
    let mut model = if std::path::Path::new(line).extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx")) {
        from_file(line, data)?
    } else {
        GlobalModel::new(&architecture(line, &data.problem())?, seed())?
    };
    if let Some(rank) = config.adapter_rank()? {
        return Ok(lora::adapt(&model, rank, seed())?);
    }
    let mut layers = model.architecture().clone();
    config.freeze(&mut layers)?;
    if layers != *model.architecture() {
        model = GlobalModel::from_params(&layers, model.params().to_vec())?;
    }
    Ok(model)
}

#[cfg(feature = "onnx")]
fn from_file(path: &str, data: &Federated) -> Result<GlobalModel, RunError> {
    let (layers, params) =
        crate::onnx::network(path.as_ref(), &data.problem()).map_err(|e| ConfigError::Other(format!("--model {e}")))?;
    Ok(GlobalModel::from_params(&layers, params)?)
}

#[cfg(not(feature = "onnx"))]
fn from_file(path: &str, _: &Federated) -> Result<GlobalModel, RunError> {
    let message = format!("--model {path}: this build reads no ONNX files; build with `--features onnx`");
    Err(ConfigError::Other(message).into())
}
