//! What was trained, on what, and how it serves each device.

use super::bars::{columns, spread};
use super::number::{bytes, count, percent, setting};
use super::page::{Column, charts, facts, paragraph, table};
use super::{count as whole, plural};
use crate::report::RunReport;

pub(super) fn devices(report: &RunReport) -> String {
    let accuracy = &report.device_accuracy;
    let name = |p: u8| match p {
        0 => "worst device".to_owned(),
        50 => "median device".to_owned(),
        100 => "best device".to_owned(),
        p => format!("{p} % of devices at or below"),
    };
    let rows: Vec<Vec<String>> =
        accuracy.quantiles.iter().map(|q| vec![name(q.percent), percent(q.accuracy)]).collect();
    let head = [("Quantile", Column::Text), ("Accuracy", Column::Number)];
    let mut lead = accuracy.method.clone();
    if !lead.is_empty() {
        lead.insert_str(0, "Measured on ");
    }
    if accuracy.devices > 0 || accuracy.devices_without_examples > 0 {
        if !lead.is_empty() {
            lead.push_str(". ");
        }
        lead.push_str(&format!("{} evaluated", plural(accuracy.devices, "device")));
        if accuracy.devices_without_examples > 0 {
            lead.push_str(&format!(
                "; {} left out, without an example to test on",
                count(accuracy.devices_without_examples)
            ));
        }
        lead.push('.');
    }
    let quantiles = format!("<div>{}</div>\n", table("Quantiles over devices", &head, &rows, false));
    paragraph("lead", &lead) + &charts(&[spread("Devices by accuracy", accuracy), quantiles])
}

pub(super) fn data(report: &RunReport) -> String {
    let data = &report.data;
    let bars: Vec<(String, u64)> = data.labels.iter().map(|label| (label.label.clone(), label.examples)).collect();
    let examples = &data.examples;
    let labelled: u64 = data.labels.iter().map(|label| label.examples).sum();
    let (title, of) = match labelled > examples.total {
        true => ("Positions of training examples by label", "positions"),
        false => ("Training examples by label", "examples"),
    };
    let labels = columns(title, "label", of, &bars, "");
    let list = facts(&[
        ("Name", data.name.clone()),
        ("Devices", whole(data.devices)),
        ("Training examples", whole(examples.total)),
        (
            "A device holds",
            format!("{} to {}, median {}", whole(examples.min), whole(examples.max), setting(examples.median)),
        ),
        ("Scaling", data.scaling.clone()),
        ("Held out", data.held_out.clone()),
        ("Held-out examples", whole(data.held_out_examples)),
        ("Attribution", data.attribution.clone()),
    ]);
    charts(&[labels, format!("<div>{list}</div>\n")])
}

pub(super) fn model(report: &RunReport) -> String {
    let model = &report.model;
    let mut rows: Vec<Vec<String>> = Vec::new();
    for layer in &model.layers {
        let shape = layer.shape.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        rows.push(vec![
            layer.name.clone(),
            layer.kind.clone(),
            if shape.is_empty() { String::new() } else { format!("[{shape}]") },
            count(layer.params),
            count(layer.live),
            percent(layer.sparsity()),
            layer.kernel.name().to_owned(),
            count(layer.multiply_adds),
            layer.accuracy_if_halved.map_or(String::new(), |a| percent(Some(a))),
        ]);
    }
    if !rows.is_empty() {
        let sparsity = (model.params() > 0).then(|| 1.0 - model.live() as f64 / model.params() as f64);
        let none = String::new;
        rows.push(vec![
            "model".to_owned(),
            none(),
            none(),
            count(model.params()),
            count(model.live()),
            percent(sparsity),
            none(),
            count(model.multiply_adds()),
            none(),
        ]);
    }
    let head = [
        ("Layer", Column::Code),
        ("Kind", Column::Text),
        ("Shape [out, in]", Column::Text),
        ("Params", Column::Number),
        ("Live", Column::Number),
        ("Sparsity", Column::Number),
        ("Kernel", Column::Text),
        ("Multiply-adds", Column::Number),
        ("Accuracy if halved", Column::Number),
    ];
    let caption = "Layers; multiply-adds of one forward pass over one example; accuracy of the model on the held-out examples \
                   if the smaller half of this layer's live weights were zero too";
    table(caption, &head, &rows, true) + &cost(report)
}

fn cost(report: &RunReport) -> String {
    let cost = &report.device_cost;
    let total = cost.arena_bytes();
    let share = |n: u64| percent((total > 0).then(|| n as f64 / total as f64));
    let mut rows: Vec<Vec<String>> = Vec::new();
    for part in &cost.arena {
        let life = if part.persistent { "saved and restored" } else { "scratch" };
        rows.push(vec![part.purpose.clone(), count(part.bytes), share(part.bytes), life.to_owned()]);
    }
    if !rows.is_empty() {
        rows.push(vec!["required_bytes".to_owned(), count(total), share(total), String::new()]);
    }
    let head =
        [("Purpose", Column::Text), ("Bytes", Column::Number), ("Share", Column::Number), ("Life", Column::Text)];
    let size = |n: u64| if n == 0 { String::new() } else { bytes(n as f64) };
    let list = facts(&[
        ("Largest report", size(cost.largest_report_bytes)),
        ("Largest checkpoint", size(cost.largest_checkpoint_bytes)),
        (
            "Training, a round",
            cost.multiply_adds_per_round
                .map_or(String::new(), |n| format!("{} multiply-adds, median", setting(Some(n)))),
        ),
    ]);
    table("Arena of one device", &head, &rows, true) + &list
}
