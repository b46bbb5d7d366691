//! Bytes by stage and direction.

use super::bars::shares;
use super::lines::{LineChart, Series};
use super::number::{byte_unit, bytes, count, percent};
use super::page::{Column, charts, table};
use crate::report::{RoundRecord, RunReport, StageBytes};

pub(super) fn section(report: &RunReport) -> String {
    let totals = &report.totals;
    let (up, down) = (&totals.bytes_up, &totals.bytes_down);
    let names: Vec<&str> = up.by_stage().iter().map(|(name, _)| *name).collect();
    let parts = |stages: &StageBytes| stages.by_stage().iter().map(|(_, n)| *n as f64).collect::<Vec<f64>>();
    let text = |stages: &StageBytes, each: Option<f64>| {
        let each = each.map_or(String::new(), |each| format!(" in all, {} a device", bytes(each)));
        format!("{}{each}", bytes(stages.total() as f64))
    };
    let rows = [
        ("Up", text(up, totals.bytes_up_per_selection()), parts(up)),
        ("Down", text(down, totals.bytes_down_per_selection()), parts(down)),
    ];
    let figure = shares(
        "Bytes by stage",
        &names,
        &rows,
        "Each bar is the whole of its direction: compare the figures above the bars, not their lengths.",
    );
    let each = |stages: fn(&RoundRecord) -> &StageBytes| {
        let mean = |r: &RoundRecord| (r.selected > 0).then(|| stages(r).total() as f64 / r.selected as f64);
        report.rounds.iter().filter_map(|r| Some((r.round as f64, mean(r)?))).collect::<Vec<_>>()
    };
    let (up_each, down_each) = (each(|r| &r.bytes_up), each(|r| &r.bytes_down));
    let most = up_each.iter().chain(&down_each).map(|p| p.1).fold(0.0, f64::max);
    let (scale, unit) = byte_unit(most);
    let y_label = format!("{unit} a selected device");
    let by_round = LineChart {
        title: "Bytes of one device",
        x_label: "round",
        y_label: &y_label,
        x_whole: true,
        y_factor: 1.0 / scale,
        series: vec![
            Series { name: "up", class: "s4", points: up_each },
            Series { name: "down", class: "s3", points: down_each },
        ],
        note: "",
    };
    let share = |n: u64, of: u64| percent((of > 0).then(|| n as f64 / of as f64));
    let mut body: Vec<Vec<String>> = up
        .by_stage()
        .iter()
        .zip(down.by_stage())
        .map(|((name, up_n), (_, down_n))| {
            let name = (*name).to_owned();
            vec![name, count(*up_n), share(*up_n, up.total()), count(down_n), share(down_n, down.total())]
        })
        .collect();
    body.push(vec![
        "all stages".to_owned(),
        count(up.total()),
        share(up.total(), up.total()),
        count(down.total()),
        share(down.total(), down.total()),
    ]);
    let head = [
        ("Stage", Column::Text),
        ("Bytes up", Column::Number),
        ("Share", Column::Number),
        ("Bytes down", Column::Number),
        ("Share", Column::Number),
    ];
    if totals.rounds == 0 {
        body.clear();
    }
    charts(&[figure, by_round.render()]) + &table("Bytes of the whole run, all devices", &head, &body, true)
}
