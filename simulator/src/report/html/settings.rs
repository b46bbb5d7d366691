//! How to run it again: command, seed, every setting, and how long it took.

use super::number::{DASH, count, duration, real};
use super::page::{Column, escape, facts, paragraph, shell_line, table};
use crate::report::RunReport;

pub(super) fn section(report: &RunReport) -> String {
    let command = if report.command.is_empty() {
        paragraph("nodata", "Command: no data")
    } else {
        format!("<pre><code>{}</code></pre>\n", escape(&shell_line(&report.command)))
    };
    let lead = format!(
        "Run it again with siskin {} and seed {}: report.json is the same to the byte, timings aside.",
        report.siskin_version, report.seed
    );
    let rows: Vec<Vec<String>> = report
        .settings
        .iter()
        .enumerate()
        .map(|(i, setting)| {
            let new = i == 0 || report.settings[i - 1].section != setting.section;
            let section = if new { setting.section.clone() } else { String::new() };
            vec![section, setting.key.clone(), setting.value.clone(), setting.unit.clone(), setting.note.clone()]
        })
        .collect();
    let head = [
        ("Section", Column::Text),
        ("Key", Column::Code),
        ("Value", Column::Code),
        ("Unit", Column::Text),
        ("What it does", Column::Text),
    ];
    paragraph("lead", &lead)
        + &command
        + &table("Every setting, defaults included", &head, &rows, false)
        + &timings(report)
}

fn timings(report: &RunReport) -> String {
    let Some(timings) = &report.timings else { return String::new() };
    let rate = timings.wall_s.filter(|s| *s > 0.0).map(|s| report.totals.selected as f64 / s);
    let rows: Vec<Vec<String>> =
        timings.stages.iter().map(|stage| vec![stage.stage.clone(), duration(stage.seconds)]).collect();
    let stages = if rows.is_empty() {
        String::new()
    } else {
        table("Time by stage, summed over threads", &[("Stage", Column::Text), ("Time", Column::Number)], &rows, false)
    };
    let list = facts(&[
        ("Machine", timings.machine.clone()),
        ("Threads", count(timings.threads)),
        ("Wall time", duration(timings.wall_s)),
        ("Devices trained", rate.map_or(DASH.to_owned(), |r| format!("{} a second", real(Some(r), 3)))),
        ("Began", timings.started_unix_s.map_or(String::new(), utc)),
    ]);
    stages + &list
}

/// Civil date and time of `unix` seconds, UTC. Days to date after Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`.
fn utc(unix: u64) -> String {
    // The year 9999 is far enough; beyond it the arithmetic below would still hold, the text would not.
    let unix = unix.min(253_402_300_799);
    let days = unix / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (unix / 3600 % 24, unix / 60 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates() {
        assert_eq!(super::utc(0), "1970-01-01 00:00 UTC");
        assert_eq!(super::utc(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(super::utc(1_700_000_000), "2023-11-14 22:13 UTC");
        assert_eq!(super::utc(u64::MAX), "9999-12-31 23:59 UTC");
    }
}
