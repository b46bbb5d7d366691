use super::*;
use crate::data::InputShape;

const DIGITS: InputShape = InputShape { channels: 1, height: 8, width: 8 };

fn flags(list: &[(&'static str, &str)]) -> Layers {
    Layers { file: None, flags: list.iter().map(|(k, v)| (*k, (*v).to_owned())).collect() }
}

#[test]
fn the_table_has_every_setting_and_no_other() {
    let table = toml::Table::try_from(RunConfig::default()).unwrap();
    let mut known: Vec<_> = SETTINGS.iter().map(|s| (s.section.to_owned(), s.key.to_owned())).collect();
    let mut real: Vec<_> = table
        .iter()
        .flat_map(|(section, v)| v.as_table().unwrap().keys().map(move |k| (section.clone(), k.clone())))
        .collect();
    known.sort();
    real.sort();
    assert_eq!(known, real);
    let mut keys: Vec<_> = SETTINGS.iter().map(|s| s.key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), SETTINGS.len(), "a key stands in one section only, so that it can be a flag");
}

#[test]
fn what_is_printed_is_read_back() {
    let config = resolve(&flags(&[("cohort", "77"), ("step", "2.5"), ("noise_on", "device")]), Some(DIGITS)).unwrap();
    let text = toml::to_string(&config).unwrap();
    let layers = Layers { file: Some(("x.toml".into(), text.parse().unwrap())), flags: vec![] };
    assert_eq!(resolve(&layers, None).unwrap(), config);
    assert_eq!((config.fleet.cohort, config.compression.step), (77, 2.5));
}

#[test]
fn flags_win_over_the_file_and_the_file_over_the_preset() {
    let large = InputShape { channels: 1, height: 28, width: 28 };
    let file = ("f".into(), "[fleet]\ncohort = 30\nrounds = 5\n[privacy]\nclip_norm = 2\n".parse().unwrap());
    let layers = Layers { file: Some(file), flags: vec![("rounds", "9".into())] };
    let config = resolve(&layers, Some(large)).unwrap();
    assert_eq!((config.fleet.cohort, config.fleet.rounds, config.privacy.clip_norm), (30, 9, 2.0));
    assert!(config.model.model.starts_with("conv"));
}

#[test]
fn nonsense_is_named() {
    let message = |layers: &Layers| resolve(layers, None).unwrap_err().to_string();
    assert_eq!(message(&flags(&[("sparsity", "1.5")])), "--sparsity 1.5: it must be between 0 and 0.999");
    assert_eq!(message(&flags(&[("cohort", "many")])), "--cohort many: a whole number belongs here");
    assert!(message(&flags(&[("rounding", "up")])).contains("stochastic"));
    let file = |text: &str| Layers { file: Some(("r.toml".into(), text.parse().unwrap())), flags: vec![] };
    assert!(message(&file("[fleet]\ncohrt = 3")).contains("no setting `cohrt` in [fleet]"));
    assert!(message(&file("[fleet]\nseed = 3")).contains("`seed` stands in [run]"));
    assert!(message(&file("[fleet]\ncohort = \"x\"")).contains("r.toml"));
}

#[test]
fn the_step_size_falls_to_its_end() {
    let config = resolve(&flags(&[("learning_rate", "0.5"), ("rate_end", "0.2"), ("rounds", "5")]), None).unwrap();
    let rates: Vec<f32> = (0..5).map(|r| config.learning_rate(r)).collect();
    for (rate, expected) in rates.iter().zip([0.5, 0.4, 0.3, 0.2, 0.1]) {
        assert!((rate - expected).abs() < 1e-6, "{rates:?}");
    }
    assert_eq!(RunConfig::default().learning_rate(99), RunConfig::default().training.learning_rate);
}

#[test]
fn models_are_read_or_named() {
    let shape = InputShape { channels: 1, height: 28, width: 28 };
    let cnn = architecture("conv:16x5,relu,pool:2,conv:8x3s2p1,dense:64,relu,dense", shape, 10).unwrap();
    assert_eq!(cnn.layers.len(), 8, "a flatten stands before the first dense layer");
    let graph = siskin::model::Graph::new(&cnn).unwrap();
    assert_eq!(graph.classes(), 10);
    let error = |line: &str| architecture(line, shape, 10).unwrap_err().to_string();
    assert!(error("dense:12,rlu,dense").contains("`rlu` is no layer"));
    assert!(error("dense:12").contains("the last layer must be"));
}
