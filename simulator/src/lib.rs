//! The simulator of siskin: thousands of virtual devices that run the client core of the sdk, byte for byte, against the
//! reference server, in virtual time.
//!
//! | module | what it does |
//! |---|---|
//! | [`account`] | what mechanisms cost in privacy |
//! | [`audit`] | does a release look as its claim says |
//! | [`mod@bench`] | measurements that a command prints |
//! | [`codec`] | the codec beside published ones: cases as JSON, sizes |
//! | [`compare`] | one run dense and pruned in several ways |
//! | [`compare_privacy`] | example- against user-level sampling at equal compute |
//! | [`config`] | settings: defaults, presets, file, flags |
//! | [`data`] | data sets of many users |
//! | [`fleet`] | the virtual devices |
//! | [`run`] | rounds, evaluation, files |
//! | [`report`] | `report.json` and `report.html` |
//! | [`lora`] | low-rank adapters around frozen layers |
//! | [`prune`] | masks of tensors in a file, single cases as JSON |
//! | [`fine_tune`] | a model tuned for each user alone |
//! | `onnx` | ONNX files as plans and back, with the feature `onnx` |
//! | [`progress`] | what is shown meanwhile |

pub mod account;
pub mod audit;
pub mod bench;
pub mod codec;
pub mod compare;
pub mod compare_privacy;
pub mod config;
pub mod data;
pub mod fine_tune;
pub mod fleet;
pub mod lora;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod progress;
pub mod prune;
pub mod report;
pub mod run;
pub mod serve;
