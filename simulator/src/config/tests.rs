use super::*;
use crate::data::{InputShape, Problem};
use siskin::checkin::RateSchedule;

const fn image(side: usize) -> Problem {
    let shape = InputShape { channels: 1, height: side, width: side };
    Problem { shape, tokens: false, classes: 10, targets: 1 }
}

/// Windows of `length` symbols of 30.
const fn text(length: usize) -> Problem {
    let shape = InputShape { channels: 1, height: length, width: 1 };
    Problem { shape, tokens: true, classes: 30, targets: length }
}

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
    let config = resolve(&flags(&[("cohort", "77"), ("step", "2.5"), ("profile", "local")]), Some(image(8))).unwrap();
    let text = toml::to_string(&config).unwrap();
    let layers = Layers { file: Some(("x.toml".into(), text.parse().unwrap())), flags: vec![] };
    assert_eq!(resolve(&layers, None).unwrap(), config);
    assert_eq!((config.fleet.cohort, config.compression.step), (77, 2.5));
}

#[test]
fn the_crossover_is_measured_or_a_number() {
    let of = |layers: &Layers| resolve(layers, None).unwrap().pruning.crossover;
    assert_eq!(of(&flags(&[])), Crossover::Measured);
    assert_eq!(of(&flags(&[("crossover", "0.4")])), Crossover::Density(0.4));
    for text in ["crossover = 0.4", "crossover = \"0.4\"", "crossover = 1", "crossover = \"measured\""] {
        let file = format!("[pruning]\n{text}\n").parse().unwrap();
        let config = resolve(&Layers { file: Some(("x.toml".into(), file)), flags: vec![] }, None).unwrap();
        let printed = toml::to_string(&config).unwrap();
        assert!(printed.contains(&text.replace("\"0.4\"", "0.4").replace("= 1", "= 1.0")), "{printed}");
    }
    for bad in ["2", "-0.1", "NaN", "most"] {
        assert!(resolve(&flags(&[("crossover", bad)]), None).is_err(), "{bad}");
    }
}

#[test]
fn flags_win_over_the_file_and_the_file_over_the_preset() {
    let file = ("f".into(), "[fleet]\ncohort = 30\nrounds = 5\n[privacy]\nclip_norm = 2\n".parse().unwrap());
    let layers = Layers { file: Some(file), flags: vec![("rounds", "9".into())] };
    let config = resolve(&layers, Some(image(28))).unwrap();
    assert_eq!((config.fleet.cohort, config.fleet.rounds, config.privacy.clip_norm), (30, 9, 2.0));
    assert!(config.model.model.starts_with("conv"));
}

#[test]
fn text_gets_a_recurrent_network_that_fits_it() {
    for length in [1, 30, 80] {
        let config = resolve(&flags(&[]), Some(text(length))).unwrap();
        let model = architecture(&config.model.model, &text(length)).unwrap();
        assert_eq!(siskin::model::Graph::new(&model).unwrap().targets(model.loss), length);
        assert_eq!(config.pruning.sparsity, 0.8);
    }
}

#[test]
fn nonsense_is_named() {
    let message = |layers: &Layers| resolve(layers, None).unwrap_err().to_string();
    assert_eq!(message(&flags(&[("sparsity", "1.5")])), "--sparsity 1.5: it must be between 0 and 0.999");
    assert_eq!(message(&flags(&[("dp_delta", "0")])), "--dp-delta 0: it must be between 1e-300 and 0.999");
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
fn the_optimizer_and_its_schedule_go_into_the_plan() {
    let plan = |list: &[(&'static str, &str)]| resolve(&flags(list), None).unwrap().server_settings("p", 100).training;
    let plain = plan(&[]);
    assert_eq!(plain.optimizer, siskin::checkin::ClientOptimizer::Sgd { momentum: 0.0, nesterov: false });
    assert_eq!((plain.schedule, plain.weight_decay), (RateSchedule::Constant, 0.0));
    let nesterov = plan(&[("client_optimizer", "nesterov"), ("momentum", "0.5"), ("weight_decay", "0.1")]);
    assert_eq!(nesterov.optimizer, siskin::checkin::ClientOptimizer::Sgd { momentum: 0.5, nesterov: true });
    assert_eq!(nesterov.weight_decay, 0.1);
    let optimizer = |name| plan(&[("client_optimizer", name)]).optimizer;
    assert_eq!(optimizer("adam"), siskin::checkin::ClientOptimizer::ADAM);
    assert_eq!(optimizer("adamw"), siskin::checkin::ClientOptimizer::ADAMW);
    let schedule = |name| plan(&[("schedule", name), ("schedule_end", "0.25"), ("warm_up_steps", "7")]).schedule;
    assert_eq!(schedule("linear"), RateSchedule::Linear { end: 0.25 });
    assert_eq!(schedule("cosine"), RateSchedule::Cosine { end: 0.25 });
    assert_eq!(schedule("warm-up"), RateSchedule::WarmUp { steps: 7 });
    let message = |list: &[(&'static str, &str)]| resolve(&flags(list), None).unwrap_err().to_string();
    assert!(message(&[("client_optimizer", "adagrad")]).contains("`nesterov`"));
    assert!(message(&[("client_optimizer", "nesterov")]).contains("needs --momentum above 0"));
    assert!(message(&[("schedule_end", "2")]).contains("between 0 and 1"));
}

#[test]
fn params_that_do_not_train_are_marked() {
    let trains = |train: &str| {
        let config = resolve(&flags(&[("train", train)]), None).unwrap();
        let mut model = architecture("conv:4x3,layernorm,gap,dense:8,relu,dense", &image(8)).unwrap();
        config.freeze(&mut model).map(|()| model.layers.iter().map(|l| l.train).collect::<Vec<_>>())
    };
    use siskin::checkin::Train::{All, Bias, Nothing};
    assert_eq!(trains("all").unwrap(), [All; 7]);
    assert_eq!(trains("bias").unwrap(), [Bias; 7]);
    assert_eq!(trains("last-layer").unwrap(), [Nothing, Nothing, Nothing, Nothing, Nothing, Nothing, All]);
    assert_eq!(trains("layers=layer0, layer4").unwrap(), [All, Nothing, Nothing, Nothing, All, Nothing, Nothing]);
    let message = |train: &str| trains(train).unwrap_err().to_string();
    assert!(message("head").contains("--train head: it must be `all`"));
    let unknown = message("layers=layer0,layer2");
    assert!(unknown.contains("`layer2` is none") && unknown.contains("layer4 (dense)"), "{unknown}");
    let config = resolve(&flags(&[("train", "layers=layer0")]), None).unwrap();
    assert!(config.freeze(&mut architecture("conv:4x3,gap,dense", &image(8)).unwrap()).is_ok());
}
