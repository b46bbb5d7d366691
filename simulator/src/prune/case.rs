//! One case as JSON: a mask, the shares of ERK, a step of the polynomial schedule.

use super::{PruneError, algorithm::bits_of, nested, sparsity_type};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Value, json};
use siskin::model::sparsity::{
    Distribution, DistributionError, Schedule, Scores, SparsityType, TensorShape, distribute,
};
use std::marker::PhantomData;

/// The answer to a case.
///
/// # Errors
/// [`PruneError`]: the text is not exactly one case, or the case asks for what cannot be.
pub fn answer(text: &str) -> Result<Value, PruneError> {
    // A list would be read as the fields in their order.
    let first = text.trim_start();
    if first.starts_with(|first: char| first != '{') {
        let line = 1 + text[..text.len() - first.len()].matches('\n').count();
        return Err(PruneError::new("case", format!("a JSON object belongs here at line {line}")));
    }
    let Kind { kind } = parse(text)?;
    match kind.as_str() {
        "mask" => mask(parse(text)?),
        "erk" => erk(parse(text)?),
        "polynomial" => polynomial(parse(text)?),
        other => {
            let known = "mask, erk and polynomial are known";
            Err(PruneError::new("kind", format!("{:?}: {known}", other.chars().take(40).collect::<String>())))
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, PruneError> {
    // The message ends with line and column.
    serde_json::from_str(text).map_err(|e| PruneError::new("case", e.to_string().replace('\n', " ")))
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MaskCase {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    scores: Value,
    sparsity: Option<f64>,
    #[serde(rename = "type")]
    kind: String,
    axis: Option<i32>,
}

fn mask(case: MaskCase) -> Result<Value, PruneError> {
    let kind = sparsity_type(&case.kind, case.axis).map_err(|what| PruneError::new("type", what))?;
    let (shape, scores) = nested::read(&case.scores, "scores")?;
    let rank = i32::try_from(shape.len()).unwrap_or(i32::MAX);
    if let Some(axis) = case.axis.filter(|axis| !(-rank..rank).contains(axis)) {
        return Err(PruneError::new("axis", format!("{axis}: the scores have {rank} axes")));
    }
    let sparsity = match (case.sparsity, kind) {
        (Some(sparsity), _) => sparsity as f32,
        // It has its own density: any sparsity but 0 asks for it.
        (None, SparsityType::NOfM { .. }) => 1.0,
        (None, _) => return Err(PruneError::new("sparsity", "it is missing")),
    };
    let scores = Scores::new(scores.len(), |i| scores[i]);
    let bits = bits_of(kind, &scores, &shape, sparsity).map_err(|e| PruneError::new("mask", e))?;
    Ok(json!({ "mask": nested::write(&shape, &mut bits.into_iter()) }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErkCase {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    shapes: Named<Vec<usize>>,
    sparsity: f64,
    power: Option<f64>,
    custom: Option<Named<f64>>,
    include_kernel: Option<bool>,
}

fn erk(case: ErkCase) -> Result<Value, PruneError> {
    let custom = case.custom.map_or(Vec::new(), |c| c.0);
    if let Some((name, _)) = custom.iter().find(|(name, _)| case.shapes.get(name).is_none()) {
        return Err(PruneError::new("custom", format!("no tensor {name:?} in the shapes")));
    }
    let distribution = match (case.include_kernel.unwrap_or(true), case.power.unwrap_or(1.0)) {
        (true, power) => Distribution::ErdosRenyiKernel { power },
        (false, 1.0) => Distribution::ErdosRenyi,
        (false, power) => {
            return Err(PruneError::new("power", format!("{power}: it has no meaning without include_kernel")));
        }
    };
    let custom = Named(custom);
    let tensors: Vec<TensorShape<'_>> =
        case.shapes.0.iter().map(|(name, shape)| TensorShape { shape, custom: custom.get(name).copied() }).collect();
    let mut shares = vec![None; tensors.len()];
    distribute(distribution, &tensors, case.sparsity, &mut shares).map_err(|error| {
        let name = |tensor: usize| case.shapes.0.get(tensor).map_or("", |(name, _)| name);
        match error {
            DistributionError::Empty { tensor } => {
                PruneError::new(format!("shapes.{:?}", name(tensor)), "it has no entries")
            }
            DistributionError::CustomOutOfRange { tensor, got } => {
                PruneError::new(format!("custom.{:?}", name(tensor)), format!("{got} is not in [0, 1]"))
            }
            other => PruneError::new("erk", other),
        }
    })?;
    let shares: serde_json::Map<String, Value> =
        case.shapes.0.iter().zip(shares).map(|((name, _), share)| (name.clone(), json!(share))).collect();
    Ok(json!({ "sparsity": shares }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolynomialCase {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    start: u32,
    end: u32,
    freq: u32,
    target: f64,
    power: Option<f64>,
    step: u32,
}

fn polynomial(case: PolynomialCase) -> Result<Value, PruneError> {
    let power = case.power.unwrap_or(3.0);
    if power.fract() != 0.0 || !(0.0..=f64::from(u32::MAX)).contains(&power) {
        return Err(PruneError::new("power", format!("{power} is not a whole number of 1 to 16")));
    }
    let schedule = Schedule::polynomial(case.target as f32, case.freq, case.start, case.end, power as u32)
        .map_err(|e| PruneError::new("polynomial", e))?;
    // The single-precision value, exactly.
    Ok(json!({ "sparsity": f64::from(schedule.sparsity(case.step)), "update": schedule.is_update(case.step) }))
}

/// A JSON object in its order. A name that comes twice is an error: one of the two would silently win.
struct Named<T>(Vec<(String, T)>);

impl<T> Named<T> {
    fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<T>, A::Error> {
                let mut entries = Vec::new();
                let mut names = std::collections::HashSet::new();
                while let Some((name, value)) = map.next_entry::<String, T>()? {
                    if !names.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format!("{name:?} comes twice")));
                    }
                    entries.push((name, value));
                }
                Ok(Named(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, words: &[&str]) {
        let message = answer(text).unwrap_err().to_string();
        assert_eq!(message.lines().count(), 1, "{message}");
        for word in words {
            assert!(message.contains(word), "{text} should name {word}: {message}");
        }
    }

    #[test]
    fn masks_of_every_type() {
        let mask = |case: &str| answer(&format!(r#"{{"kind":"mask",{case}}}"#)).unwrap()["mask"].to_string();
        let scores = r#""scores":[[0.3,-0.1,0.2,-0.4],[4,3,2,1]]"#;
        assert_eq!(mask(&format!(r#"{scores},"sparsity":0.5,"type":"unstructured""#)), "[[0,0,0,0],[1,1,1,1]]");
        assert_eq!(mask(&format!(r#"{scores},"sparsity":0.9,"type":"2:4""#)), "[[1,0,1,0],[1,1,0,0]]");
        assert_eq!(mask(&format!(r#"{scores},"type":"1:2","axis":0"#)), "[[0,0,0,0],[1,1,1,1]]");
        assert_eq!(mask(&format!(r#"{scores},"sparsity":0,"type":"2:4","axis":null"#)), "[[1,1,1,1],[1,1,1,1]]");
        assert_eq!(mask(&format!(r#"{scores},"sparsity":0.5,"type":"block:2x1""#)), "[[1,1,0,0],[1,1,0,0]]");
        assert_eq!(mask(&format!(r#"{scores},"sparsity":0.5,"type":"channel""#)), "[[1,1,0,0],[1,1,0,0]]");
        assert_eq!(mask(&format!(r#"{scores},"sparsity":0.5,"type":"channel","axis":0"#)), "[[0,0,0,0],[1,1,1,1]]");
        assert_eq!(mask(r#""scores":[],"sparsity":0.5,"type":"unstructured""#), "[]");
        assert_eq!(mask(r#""scores":[[],[]],"sparsity":0.5,"type":"unstructured""#), "[[],[]]");
        assert_eq!(mask(r#""scores":[[[[2]]],[[[1]]]],"sparsity":0.5,"type":"unstructured""#), "[[[[1]]],[[[0]]]]");
    }

    #[test]
    fn shares_and_schedules() {
        let erk = r#"{"kind":"erk","shapes":{"a":[2,4],"b":[3,7,6],"c":[5]},"sparsity":0.1,"custom":{"a":0.7}}"#;
        let shares = answer(erk).unwrap();
        assert_eq!(shares["sparsity"]["a"], 0.7);
        assert!((shares["sparsity"]["b"].as_f64().unwrap() - 0.09523809523809534).abs() < 1e-12);
        assert!(shares["sparsity"]["c"].is_null());
        let step = r#"{"kind":"polynomial","start":10,"end":30,"freq":5,"target":0.8,"power":3,"step":15}"#;
        assert_eq!(answer(step).unwrap(), json!({ "sparsity": f64::from(0.5256f32), "update": true }));
    }

    #[test]
    fn bad_cases_say_what_and_where() {
        refused("", &["line 1"]);
        refused("{\"kind\":\"mask\"", &["line 1"]);
        refused("[]", &["line 1"]);
        refused(r#"{"kind":"prune"}"#, &["kind", "prune", "mask, erk"]);
        refused(r#"{"kind":"polynomial","start":1}"#, &["end"]);
        refused(r#"{"kind":"erk","shapes":{},"sparsity":0.5} {}"#, &["trailing", "line 1"]);
        refused(r#"{"kind":"erk","shapes":{"a":[1,2],"a":[2,2]},"sparsity":0.5}"#, &["\"a\"", "twice"]);
        refused(r#"{"kind":"erk","shapes":{"a":[1,0]},"sparsity":0.5}"#, &["shapes.\"a\"", "no entries"]);
        refused(r#"{"kind":"erk","shapes":{"a":[1,-2]},"sparsity":0.5}"#, &["-2", "line 1"]);
        refused(r#"{"kind":"erk","shapes":{"a":[1,2]},"sparsity":2}"#, &["sparsity 2", "[0, 1]"]);
        refused(r#"{"kind":"erk","shapes":{"a":[1,2]},"sparsity":0.5,"custom":{"b":0.5}}"#, &["custom", "\"b\""]);
        refused(r#"{"kind":"erk","shapes":{"a":[1,2]},"sparsity":0.5,"custom":{"a":7}}"#, &["custom.\"a\"", "7"]);
        refused(r#"{"kind":"erk","shapes":{"a":[1,2]},"sparsity":0.5,"power":-1}"#, &["power -1"]);
        let mask = |scores: &str, rest: &str| format!(r#"{{"kind":"mask","scores":{scores},"type":{rest}}}"#);
        refused(&mask("[NaN]", r#""2:4""#), &["line 1"]);
        refused(&mask("[1,1e39]", r#""unstructured","sparsity":0.5"#), &["scores[1]", "1e39"]);
        refused(&mask("[1,1e999]", r#""unstructured","sparsity":0.5"#), &["out of range", "line 1"]);
        refused(&mask("[[1,2],[3]]", r#""unstructured","sparsity":0.5"#), &["scores[1]", "1", "2"]);
        refused(&mask("[[1,2],3]", r#""unstructured","sparsity":0.5"#), &["scores[1]", "3", "list of 2"]);
        refused(&mask("[[1,2],[3,\"x\"]]", r#""unstructured","sparsity":0.5"#), &["scores[1][1]", "x"]);
        refused(&mask("[[1,2],[3,[4]]]", r#""unstructured","sparsity":0.5"#), &["scores[1][1]", "list of 1"]);
        refused(&mask("3", r#""unstructured","sparsity":0.5"#), &["scores", "list"]);
        refused(&mask("[1]", r#""unstructured""#), &["sparsity", "missing"]);
        refused(&mask("[1]", r#""unstructured","sparsity":-0.5"#), &["-0.5", "[0, 1]"]);
        refused(&mask("[1]", r#""unstructured","sparsty":0.5"#), &["sparsty", "line 1"]);
        refused(&mask("[1,2,3]", r#""2:4","sparsity":0.5"#), &["3", "4"]);
        refused(&mask("[1,2,3,4]", r#""4:2","sparsity":0.5"#), &["4:2"]);
        refused(&mask("[1,2,3,4]", r#""2:4","sparsity":0.5,"axis":1"#), &["axis", "1"]);
        refused(&mask("[1,2,3,4]", r#""block:0x4","sparsity":0.5"#), &["0 x 4"]);
        for bad in ["dense", "2:", "x:4", "block", "block:4", "block:4x", "block:4x1:min", "70000:70000", ""] {
            refused(&mask("[1,2,3,4]", &format!("{bad:?}")), &["type", bad]);
        }
        let poly = |rest: &str| format!(r#"{{"kind":"polynomial","target":0.5,"step":1,{rest}}}"#);
        refused(&poly(r#""start":5,"end":5,"freq":1"#), &["5"]);
        refused(&poly(r#""start":5,"end":9,"freq":0"#), &["every 0"]);
        refused(&poly(r#""start":5,"end":9,"freq":1,"power":2.5"#), &["power", "2.5"]);
        refused(&poly(r#""start":5,"end":9,"freq":1,"power":17"#), &["power 17"]);
        refused(&poly(r#""start":-5,"end":9,"freq":1"#), &["-5", "line 1"]);
    }
}
