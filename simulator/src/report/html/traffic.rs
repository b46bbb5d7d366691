//! Bytes by stage and direction.

use super::bars::shares;
use super::number::{bytes, count, percent};
use super::page::{Column, charts, table};
use crate::report::{RunReport, StageBytes};

pub(super) fn section(report: &RunReport) -> String {
    let totals = &report.totals;
    let (up, down) = (&totals.bytes_up, &totals.bytes_down);
    let names: Vec<&str> = up.by_stage().iter().map(|(name, _)| *name).collect();
    let parts = |stages: &StageBytes| stages.by_stage().iter().map(|(_, n)| *n as f64).collect::<Vec<f64>>();
    let text = |stages: &StageBytes, each: Option<f64>| {
        let each = each.map_or(String::new(), |each| format!(" in all, {} a device and round", bytes(each)));
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
        "Each bar is the whole of its direction; the two differ in length by the figures on the right.",
    );
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
    charts(&[figure]) + &table("Bytes of the whole run, all devices", &head, &body, true)
}
