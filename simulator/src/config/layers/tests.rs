use super::*;
use crate::data::InputShape;
use LayerSpec::{Conv2d, Flatten};

const IMAGE: Problem =
    Problem { shape: InputShape { channels: 1, height: 28, width: 28 }, tokens: false, classes: 10, targets: 1 };

/// Windows of 12 symbols of 30.
const TEXT: Problem =
    Problem { shape: InputShape { channels: 1, height: 12, width: 1 }, tokens: true, classes: 30, targets: 12 };

fn specs(line: &str, problem: &Problem) -> Vec<LayerSpec> {
    architecture(line, problem).unwrap().layers.iter().map(|l| l.spec).collect()
}

fn error(line: &str, problem: &Problem) -> String {
    architecture(line, problem).unwrap_err().to_string()
}

fn point(outputs: u16) -> LayerSpec {
    Conv2d { outputs, groups: 1, window: Window::POINT, bias: true, weights: WEIGHTS }
}

/// The layer between the first and the last of a network for images.
fn inner(word: &str) -> LayerSpec {
    specs(&format!("conv:4x3,{word},dense"), &IMAGE)[1]
}

#[test]
fn images_go_through_convolutions() {
    let cnn = architecture("conv:16x5,relu,pool:2,conv:8x3s2p1,dense:64,relu,dense", &IMAGE).unwrap();
    assert_eq!(cnn.layers.len(), 8, "a flatten stands before the first dense layer");
    assert_eq!(Graph::new(&cnn).unwrap().classes(), 10);
    assert_eq!(cnn.layers[4].spec, Flatten);
    assert_eq!(specs("dense:3,dense", &IMAGE).len(), 3, "and before no other");
}

#[test]
fn each_word_is_a_layer() {
    assert_eq!(inner("relu"), LayerSpec::Relu);
    assert_eq!(inner("gelu"), LayerSpec::Gelu);
    assert_eq!(inner("tanh"), LayerSpec::Tanh);
    assert_eq!(inner("sigmoid"), LayerSpec::Sigmoid);
    assert_eq!(inner("layernorm"), LayerSpec::LayerNorm { epsilon: 1e-5 });
    assert_eq!(inner("dropout:0.25"), LayerSpec::Dropout { rate: 0.25 });
    assert_eq!(inner("pool:3"), LayerSpec::MaxPool(Window::square(3, 3, 0)));
    assert_eq!(inner("avgpool:2"), LayerSpec::AveragePool { window: Window::square(2, 2, 0), count_padding: false });
    assert_eq!(inner("gap"), LayerSpec::GlobalAveragePool);
    assert_eq!(inner("point:7"), point(7));
    assert_eq!(inner("dense:9"), Flatten);
    assert_eq!(specs("conv:4x3,gap,point", &IMAGE)[2], point(10));
}

#[test]
fn a_convolution_has_stride_padding_and_groups() {
    let conv = |outputs, groups, window| Conv2d { outputs, groups, window, bias: true, weights: WEIGHTS };
    assert_eq!(inner("conv:8x3"), conv(8, 1, Window::square(3, 1, 0)));
    assert_eq!(inner("conv:8x3s2"), conv(8, 1, Window::square(3, 2, 0)));
    assert_eq!(inner("conv:8x3s2p1g4"), conv(8, 4, Window::square(3, 2, 1)));
    assert_eq!(inner("conv:8x11g2p10"), conv(8, 2, Window::square(11, 1, 10)), "in any order");
    for bad in ["8", "8x", "x3", "8x3s", "8x3q2", "8x3s2s2", "8x3é", "8x3 s2", "8x300"] {
        assert!(error(&format!("conv:{bad},dense"), &IMAGE).contains(&format!("`conv:{bad}` is no layer")), "{bad}");
    }
    assert!(error("conv:4x3,conv:8x3g3,dense", &IMAGE).contains("groups of input channels"));
}

#[test]
fn text_goes_through_recurrent_layers() {
    let gru = LayerSpec::Gru { hidden: 9, reset_after: true, bias: true, weights: WEIGHTS, recurrent: WEIGHTS };
    let embedding = LayerSpec::Embedding { rows: 30, dims: 5, weights: WEIGHTS };
    assert_eq!(specs("embedding:5,gru:9,point", &TEXT), [embedding, gru, point(30)]);
    let lstm = LayerSpec::Lstm { hidden: 6, bias: true, weights: WEIGHTS, recurrent: WEIGHTS };
    assert_eq!(specs("embedding:5, lstm:6, point:4, point", &TEXT), [embedding, lstm, point(4), point(30)]);
    let model = architecture("embedding:5,gru:9,point", &TEXT).unwrap();
    assert_eq!(Graph::new(&model).unwrap().targets(model.loss), 12);
    let one = Problem { targets: 1, ..TEXT };
    assert_eq!(specs("embedding:5,gru:9,last,dense", &one)[2], LayerSpec::Last);
}

#[test]
fn what_does_not_fit_is_named() {
    assert!(error("dense:12,rlu,dense", &IMAGE).contains("`rlu` is no layer"));
    for word in ["relu:3", "dense:", "dense:x", "gap:2", "gru", "embedding", "dropout", "dropout:x", "", "point:70000"]
    {
        assert!(error(&format!("{word},dense"), &IMAGE).contains(&format!("`{word}` is no layer")), "{word}");
    }
    assert!(error("dropout:1.5,dense", &IMAGE).contains("rate of a dropout"));
    assert!(error("dense:12", &IMAGE).contains("10 classes of the data in all; it has 12 at 1"));
    assert!(error("dense,relu", &IMAGE).contains("ends with an activation"));
    assert!(error("point", &IMAGE).contains("it has 10 at 784"));
    assert!(
        error("embedding:5,gru:9,dense", &TEXT).contains("at each of 12 positions; it has 30 at 1; end with `point`")
    );
    assert!(error("gru:9,point", &TEXT).contains("must be the first layer"));
    assert!(error("embedding:5,embedding:5,point", &TEXT).contains("only the first"));
    assert!(error("embedding:5,dense", &IMAGE).contains("these examples are numbers"));
    assert!(error("pool:40,dense", &IMAGE).contains("layer 0"));
    let long = vec!["relu"; MAX_LAYERS + 1].join(",");
    assert!(error(&long, &IMAGE).contains(&format!("more than {MAX_LAYERS} layers")));
}

#[test]
fn the_list_has_words_that_are_read() {
    for word in WORDS.split(", ") {
        let filled = word.replace("NxK", "4x3").replace(":R", ":0.5").replace(['N', 'K', 'D', 'H'], "2");
        assert!(layer(&filled, 10).is_some(), "{word}");
    }
}
