//! Files that are wrong, by accident or on purpose: an error of one line that names the node, the tensor or the input, and says why.

use crate::made::{Float, Int, Ints, Made};
use siskin::checkin::Loss;
use siskin_onnx::{ImportError, ImportOptions, Reference, ReferenceError, import};
use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dim;
use tract_onnx::pb::type_proto::Value as Kind;
use tract_onnx::pb::{StringStringEntryProto, TensorProto};

pub(crate) fn options() -> ImportOptions {
    ImportOptions { loss: Some(Loss::MeanSquaredError), ..Default::default() }
}

pub(crate) fn refused(file: &Made) -> ImportError {
    import(&file.bytes(), None, &options()).unwrap_err()
}

/// It is refused in one line that has all of these words.
pub(crate) fn says(file: &Made, words: &[&str]) {
    let text = refused(file).to_string();
    for word in words {
        assert!(text.contains(word), "`{word}` belongs in: {text}");
    }
    assert_eq!(text.lines().count(), 1, "{text}");
}

pub(crate) fn dense() -> Made {
    Made::new(13, &[5]).weights("w", &[5, 4]).node("MatMul", &["x", "w"], &["y"], &[])
}

fn first(file: &mut Made) -> &mut TensorProto {
    &mut file.graph().initializer[0]
}

/// `dense` with its weight changed.
fn with_weight(change: impl Fn(&mut TensorProto)) -> Made {
    let mut file = dense();
    let tensor = first(&mut file);
    tensor.raw_data = std::mem::take(&mut tensor.float_data).iter().flat_map(|v| v.to_le_bytes()).collect();
    change(tensor);
    file
}

/// The size of an axis of the input.
fn axis(file: &mut Made, axis: usize) -> &mut Option<Dim> {
    let kind = file.graph().input[0].r#type.as_mut().and_then(|t| t.value.as_mut());
    let Some(Kind::TensorType(tensor)) = kind else { panic!("the input is a tensor") };
    &mut tensor.shape.as_mut().unwrap().dim[axis].value
}

/// Each message names the tensor, the node that reads it, and what is wrong.
fn tensor_says(change: impl Fn(&mut TensorProto), why: &str) {
    says(&with_weight(change), &["`w`", "node `MatMul_y` (MatMul)", why]);
}

#[test]
fn tensors_that_lie() {
    tensor_says(|t| t.raw_data[8..12].copy_from_slice(&f32::NAN.to_le_bytes()), "value NaN");
    tensor_says(|t| t.raw_data[8..12].copy_from_slice(&f32::NAN.to_le_bytes()), "entry 2");
    tensor_says(|t| t.raw_data[..4].copy_from_slice(&f32::INFINITY.to_le_bytes()), "value inf");
    tensor_says(|t| t.raw_data.truncate(79), "it holds 79 bytes, but its shape wants 80");
    tensor_says(|t| t.raw_data.clear(), "it holds 0 values, but its shape wants 20");
    tensor_says(|t| t.dims = vec![5, 1 << 29], "ask for more than 67108864 values");
    tensor_says(|t| t.dims = vec![5, 10_000_000], "it holds 80 bytes");
    tensor_says(|t| t.dims = vec![i64::MAX, i64::MAX], "ask for more");
    tensor_says(|t| t.dims = vec![5, -4], "negative");
    tensor_says(|t| t.dims = vec![0, 4], "it holds 80 bytes, but its shape wants 0");
    tensor_says(|t| t.dims = vec![1; 17], "17 axes");
    tensor_says(|t| t.data_type = 10, "float16");
    tensor_says(|t| t.data_type = 8, "string");
    says(&with_weight(|t| t.dims = vec![4, 5]), &["node `MatMul_y` (MatMul)", "inputs"]);
}

/// A tensor's data in a file: beside the model, or anywhere else, by whatever way.
#[test]
fn data_files_stay_in_the_folder() {
    let root = std::env::temp_dir().join(format!("siskin-onnx-data-{}", std::process::id()));
    let folder = root.join("model");
    std::fs::create_dir_all(&folder).unwrap();
    let values: Vec<u8> = (0..20).flat_map(|v| (v as f32).to_le_bytes()).collect();
    std::fs::write(folder.join("w.bin"), &values).unwrap();
    std::fs::write(root.join("secret.bin"), &values).unwrap();
    let at = |location: &str| {
        with_weight(|t| {
            t.raw_data.clear();
            t.data_location = Some(DataLocation::External as i32);
            t.external_data = vec![StringStringEntryProto { key: "location".into(), value: location.into() }];
        })
    };
    let good = at("w.bin").bytes();
    let imported = import(&good, Some(&folder), &options()).unwrap();
    assert_eq!(imported.params[0][1], 4.0, "columns of the file are rows of ours");
    let one = Reference::new(&good, Some(&folder), &imported, 1).unwrap().run(&[1.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
    assert_eq!(one, [0.0, 1.0, 2.0, 3.0], "tract has them too");
    says(&at("w.bin"), &["`w`", "node `MatMul_y` (MatMul)", "no folder was given"]);
    let mut refused = vec![("../secret.bin", "not inside"), ("", "not inside"), ("a/../../secret.bin", "not inside")];
    refused.push(("/etc/hostname", "not inside"));
    refused.extend([("gone.bin", "cannot be read"), (".", "no plain file")]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("../secret.bin", folder.join("link.bin")).unwrap();
        refused.push(("link.bin", "leads out of the model's folder"));
        std::os::unix::fs::symlink("/dev/zero", folder.join("zero.bin")).unwrap();
        refused.push(("zero.bin", "leads out of the model's folder"));
    }
    for (location, why) in refused {
        let file = at(location).bytes();
        let text = import(&file, Some(&folder), &options()).unwrap_err().to_string();
        for word in ["`w`", "node `MatMul_y` (MatMul)", why] {
            assert!(text.contains(word), "{location}: `{word}` belongs in: {text}");
        }
        // Nor does tract open it.
        let text = Reference::new(&file, Some(&folder), &imported, 1).unwrap_err().to_string();
        assert!(text.contains("`w`") && text.contains(why), "{location}: {text}");
    }
    std::fs::remove_dir_all(&root).unwrap();
}

/// tract sees only what was checked.
#[test]
fn tract_gets_what_the_output_needs() {
    let good = dense();
    let imported = import(&good.bytes(), None, &options()).unwrap();
    // A tensor that nothing reads may be anything.
    let mut file = good.clone();
    let unread = TensorProto { name: "unread".into(), dims: vec![1 << 40], data_type: 1, ..Default::default() };
    file.graph().initializer.push(unread);
    assert!(Reference::new(&file.bytes(), None, &imported, 1).is_ok());
    // Another file than the one that was imported.
    let other = with_weight(|t| t.dims = vec![1 << 40, 1 << 40]);
    let text = Reference::new(&other.bytes(), None, &imported, 1).unwrap_err().to_string();
    assert!(text.contains("`w`"), "{text}");
    let mut panics = good;
    panics.graph().node[0].input.clear();
    assert!(matches!(Reference::new(&panics.bytes(), None, &imported, 1), Err(ReferenceError::Refused { .. })));
}

#[test]
fn graphs_that_are_none() {
    let mut file = dense();
    file.model.opset_import.clear();
    assert_eq!(refused(&file), ImportError::NoOpset);
    for version in [6, 25, -1] {
        let mut file = dense();
        file.model.opset_import[0].version = version;
        assert!(matches!(refused(&file), ImportError::Opset { got, .. } if got == version));
    }
    let mut file = dense();
    file.model.graph = None;
    assert!(matches!(refused(&file), ImportError::Malformed { .. }));
    assert!(matches!(import(&[], None, &options()), Err(ImportError::Malformed { .. } | ImportError::NoOpset)));

    let base = || Made::new(13, &[5]).weights("w", &[5, 5]);
    says(&base().node("Cosh", &["x"], &["y"], &[]), &["_y", "Cosh", "not supported"]);
    let mut own = base().node("Relu", &["x"], &["y"], &[]);
    own.graph().node[0].domain = "com.example".into();
    says(&own, &["_y", "com.example.Relu", "not supported"]);
    let cycle = base().node("Add", &["b", "x"], &["a"], &[]).node("Relu", &["a"], &["b"], &[]);
    let cycle = cycle.node("MatMul", &["a", "w"], &["y"], &[]);
    says(&cycle, &["node `Add_a` (Add)", "cyclic"]);
    says(&base().node("Relu", &["y"], &["y"], &[]), &["_y", "cyclic"]);
    says(&base().node("Add", &["x", "nothing"], &["y"], &[]), &["_y", "Add", "`nothing`"]);
    let twice = base().node("Relu", &["x"], &["y"], &[]).node("Tanh", &["x"], &["y"], &[]);
    says(&twice, &["`y`", "node `Tanh_y` (Tanh)", "twice"]);
    let both = base().weights("y", &[5]).node("Relu", &["x"], &["y"], &[]);
    says(&both, &["`y`", "node `Relu_y` (Relu)", "twice"]);
    says(&base().weights("w", &[5, 5]).node("MatMul", &["x", "w"], &["y"], &[]), &["`w`", "an initialiser", "twice"]);
    let input = base().node("Relu", &["x"], &["x"], &[]);
    says(&input, &["`x`", "node `Relu_x` (Relu)", "twice"]);
    let tied = base().node("MatMul", &["x", "w"], &["a"], &[]).node("MatMul", &["a", "w"], &["y"], &[]);
    says(&tied, &["`w`", "_a", "_y", "tied"]);
    let turned = base().node("MatMul", &["x", "w"], &["a"], &[]).node("Transpose", &["w"], &["v"], &[]);
    says(&turned.node("MatMul", &["a", "v"], &["y"], &[]), &["`w`", "tied"]);
    says(&base().node("Relu", &["x"], &["y"], &[]), &["no layer has parameters"]);
    let mut open = dense();
    *axis(&mut open, 1) = Some(Dim::DimParam("length".into()));
    says(&open, &["`x`", "axis 1", "length"]);
    *axis(&mut open, 1) = None;
    says(&open, &["`x`", "axis 1", "no fixed size"]);
    says(&Made::new(13, &[1 << 20]).weights("w", &[5, 5]).node("MatMul", &["x", "w"], &["y"], &[]), &["`x`", "axis 1"]);
    let mut two = base().node("MatMul", &["x", "z"], &["y"], &[]);
    let mut z = two.graph().input[0].clone();
    z.name = "z".into();
    two.graph().input.push(z);
    says(&two, &["`z`", "one input"]);
    let typed = base().node("Softmax", &["x"], &["y"], &[("axis", Float(1.0))]);
    says(&typed, &["node `Softmax_y` (Softmax)", "`axis`", "not of the kind"]);
    let flag = base().node("Gemm", &["x", "w"], &["y"], &[("transB", Int(2))]);
    says(&flag, &["node `Gemm_y` (Gemm)", "`transB`", "not of the kind"]);
    // Batches must not be mixed.
    says(&base().node("Transpose", &["x"], &["t"], &[]).node("Relu", &["t"], &["y"], &[]), &["y"]);
    says(&base().node("ReduceMean", &["x"], &["y"], &[("axes", Ints(&[0]))]), &["_y", "batch"]);
    says(&base().node("Softmax", &["x"], &["y"], &[("axis", Int(0))]), &["_y", "batch"]);
}
