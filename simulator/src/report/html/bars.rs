//! Bar charts as SVG: stacks over rounds, shares of a whole, labels, and the spread over devices.

use super::axis::Axis;
use super::lines::{PLOT, SIZE, no_data, open, x_title, y_grid};
use super::number::{count, percent};
use super::page::{escape, figure};
use crate::progress::round_interval;
use crate::report::DeviceAccuracy;
use std::fmt::Write;

/// Columns of stacked parts, one a round; neighbouring rounds are averaged where there are many.
pub(crate) struct Stacks<'a> {
    /// Heading.
    pub(crate) title: &'a str,
    /// Name and unit of the x axis.
    pub(crate) x_label: &'a str,
    /// Name and unit of the y axis.
    pub(crate) y_label: &'a str,
    /// (class, name) of the parts from the bottom up.
    pub(crate) parts: Vec<(&'a str, &'a str)>,
    /// (round, value of each part).
    pub(crate) columns: Vec<(u64, Vec<f64>)>,
}

/// More columns than this are averaged in groups.
const MOST_COLUMNS: u64 = 100;

impl Stacks<'_> {
    /// The chart as a figure. Parts that are zero throughout are left out of the legend.
    pub(crate) fn render(&self) -> String {
        let used = |i: usize| self.columns.iter().any(|(_, v)| v.get(i).is_some_and(|v| *v > 0.0));
        let legend: Vec<(&str, &str)> =
            self.parts.iter().enumerate().filter(|(i, _)| used(*i)).map(|(_, part)| *part).collect();
        let group = round_interval(self.columns.len() as u64, MOST_COLUMNS) as usize;
        let note = if group > 1 { format!("Each column is the mean of {group} rounds.") } else { String::new() };
        figure(self.title, &legend, &self.svg(group).unwrap_or_else(|| no_data(self.title)), &note)
    }

    fn svg(&self, group: usize) -> Option<String> {
        let columns: Vec<(u64, u64, Vec<f64>)> = self.columns.chunks(group).filter_map(|c| self.mean(c)).collect();
        let highest = columns.iter().map(|(_, _, values)| values.iter().sum::<f64>()).fold(0.0, f64::max);
        let y = Axis::covering([0.0, highest].into_iter(), 5, false).filter(|_| highest > 0.0)?;
        let (left, right, top, bottom) = PLOT;
        let mut svg = open(&format!("{}, {} columns", self.title, columns.len()));
        y_grid(&mut svg, &y, 1.0, self.y_label);
        let pitch = (right - left) / columns.len() as f64;
        let width = (pitch * 0.82).min(34.0);
        let rounds = [columns.first()?.0 as f64, columns.last()?.1 as f64];
        let ticks = Axis::up_to_last(rounds.into_iter(), 6, true)?.ticks();
        for (i, (first, last, values)) in columns.iter().enumerate() {
            let x = left + pitch * (i as f64 + 0.5);
            let mut base = bottom;
            let rounds = if first == last { format!("round {first}") } else { format!("rounds {first} to {last}") };
            let _ = write!(svg, "<g><title>{}</title>", escape(&self.tooltip(&rounds, values)));
            for (value, (class, _)) in values.iter().zip(&self.parts) {
                let height = value / (y.max - y.min) * (bottom - top);
                if height > 0.0 {
                    base -= height;
                    let _ = write!(
                        svg,
                        "<rect class=\"bar {}\" x=\"{:.1}\" y=\"{base:.2}\" width=\"{width:.1}\" height=\"{height:.2}\"/>",
                        escape(class),
                        x - width / 2.0
                    );
                }
            }
            svg.push_str("</g>");
            if let Some(tick) = ticks.iter().find(|tick| (*first as f64..=*last as f64).contains(*tick)) {
                let _ = write!(svg, "<text class=\"xt\" x=\"{x:.1}\" y=\"{:.1}\">{tick:.0}</text>", bottom + 16.0);
            }
        }
        x_title(&mut svg, self.x_label);
        svg.push_str("</svg>");
        Some(svg)
    }

    fn mean(&self, columns: &[(u64, Vec<f64>)]) -> Option<(u64, u64, Vec<f64>)> {
        let (first, last) = (columns.first()?, columns.last()?);
        let part = |i: usize| {
            let sum: f64 = columns.iter().filter_map(|(_, v)| v.get(i)).filter(|v| v.is_finite()).sum();
            sum / columns.len() as f64
        };
        Some((first.0, last.0, (0..self.parts.len()).map(part).collect()))
    }

    fn tooltip(&self, rounds: &str, values: &[f64]) -> String {
        let mut text = rounds.to_owned();
        for (value, (_, name)) in values.iter().zip(&self.parts).filter(|(v, _)| **v > 0.0) {
            let _ = write!(text, "\n{name}: {}", (value * 10.0).round() / 10.0);
        }
        text
    }
}

/// One bar for each row, split by the shares of its parts; (name, text at its right, parts). Parts have the classes
/// `s1`, `s2` ... in order, so that a colour means the same in every row.
pub(crate) fn shares(title: &str, names: &[&str], rows: &[(&str, String, Vec<f64>)], note: &str) -> String {
    let classes: Vec<String> = (1..=names.len()).map(|i| format!("s{i}")).collect();
    let used = |i: usize| rows.iter().any(|(_, _, parts)| parts.get(i).is_some_and(|p| *p > 0.0));
    let legend: Vec<(&str, &str)> =
        names.iter().enumerate().filter(|(i, _)| used(*i)).map(|(i, name)| (classes[i].as_str(), *name)).collect();
    if legend.is_empty() {
        return figure(title, &[], &no_data(title), note);
    }
    let (width, row_height) = (SIZE.0, 62.0);
    let height = row_height * rows.len() as f64 + 4.0;
    let mut svg = format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">", escape(title));
    for (r, (name, text, parts)) in rows.iter().enumerate() {
        let top = row_height * r as f64;
        let sum: f64 = parts.iter().sum();
        let _ = write!(
            svg,
            "<text class=\"row\" x=\"0\" y=\"{y}\">{}</text><text class=\"row r\" x=\"{width}\" y=\"{y}\">{}</text>\
             <rect class=\"empty\" x=\"0\" y=\"{b}\" width=\"{width}\" height=\"26\" rx=\"3\"/>",
            escape(name),
            escape(text),
            y = top + 16.0,
            b = top + 24.0,
        );
        let mut x = 0.0;
        for (i, part) in parts.iter().enumerate().filter(|(_, part)| **part > 0.0) {
            let w = part / sum * width;
            let _ = write!(
                svg,
                "<rect class=\"bar {}\" x=\"{x:.2}\" y=\"{}\" width=\"{w:.2}\" height=\"26\"><title>{}</title></rect>",
                classes[i],
                top + 24.0,
                escape(&format!("{}: {} bytes, {}", names[i], count(*part as u64), percent(Some(part / sum))))
            );
            if w > 46.0 {
                let _ = write!(
                    svg,
                    "<text class=\"in\" x=\"{:.1}\" y=\"{}\">{:.0}\u{a0}%</text>",
                    x + w / 2.0,
                    top + 41.0,
                    part / sum * 100.0
                );
            }
            x += w;
        }
    }
    svg.push_str("</svg>");
    figure(title, &legend, &svg, note)
}

/// One column for each (label, value).
pub(crate) fn columns(title: &str, x_label: &str, y_label: &str, bars: &[(String, u64)], note: &str) -> String {
    let draw = || {
        let highest = bars.iter().map(|(_, n)| *n).max().filter(|n| *n > 0)?;
        let y = Axis::covering([0.0, highest as f64].into_iter(), 5, false)?;
        let (left, right, top, bottom) = PLOT;
        let mut svg = open(&format!("{title}: {} bars", bars.len()));
        y_grid(&mut svg, &y, 1.0, y_label);
        let pitch = (right - left) / bars.len() as f64;
        let width = (pitch * 0.78).min(44.0);
        let longest = bars.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(1).min(MOST_LABEL);
        // 6.2 units a character at this size of type, and a gap.
        let every = ((longest as f64 * 6.2 + 6.0) / pitch).ceil().max(1.0) as usize;
        for (i, (label, n)) in bars.iter().enumerate() {
            let x = left + pitch * (i as f64 + 0.5);
            let height = *n as f64 / (y.max - y.min) * (bottom - top);
            let _ = write!(
                svg,
                "<rect class=\"bar s1\" x=\"{:.1}\" y=\"{:.2}\" width=\"{width:.1}\" height=\"{height:.2}\"><title>{}</title></rect>",
                x - width / 2.0,
                bottom - height,
                escape(&format!("{label}: {}", count(*n)))
            );
            if i % every == 0 {
                let short = shortened(label);
                let _ =
                    write!(svg, "<text class=\"xt\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>", bottom + 16.0, escape(&short));
            }
        }
        x_title(&mut svg, x_label);
        svg.push_str("</svg>");
        Some(svg)
    };
    figure(title, &[], &draw().unwrap_or_else(|| no_data(title)), note)
}

const MOST_LABEL: usize = 14;

fn shortened(label: &str) -> String {
    if label.chars().count() <= MOST_LABEL {
        return label.to_owned();
    }
    // Labels that need shortening tend to share their beginnings ("class 101"), so the end stays too.
    let all: Vec<char> = label.chars().collect();
    let (head, tail) = (&all[..MOST_LABEL / 2], &all[all.len() - (MOST_LABEL / 2 - 1)..]);
    head.iter().chain(&['\u{2026}']).chain(tail).collect()
}

/// Devices by accuracy, with a box (25 to 75 %), its median, whiskers (5 to 95 %) and dots (the ends) above.
pub(crate) fn spread(title: &str, accuracy: &DeviceAccuracy) -> String {
    let draw = || {
        let highest = accuracy.histogram.iter().copied().max().filter(|n| *n > 0)?;
        let y = Axis::covering([0.0, highest as f64].into_iter(), 4, true)?;
        let (left, right, top, bottom) = PLOT;
        let top = top + 34.0;
        let across = |a: f64| left + a.clamp(0.0, 1.0) * (right - left);
        let bins = accuracy.histogram.len() as f64;
        let mut svg = open(&format!("{title}: median {}", percent(accuracy.at(50))));
        for tick in y.ticks() {
            let py = bottom - y.place(tick) * (bottom - top);
            let class = if tick == 0.0 { "base" } else { "grid" };
            let _ = write!(
                svg,
                "<line class=\"{class}\" x1=\"{left}\" x2=\"{right}\" y1=\"{py:.1}\" y2=\"{py:.1}\"/>\
                 <text class=\"yt\" x=\"{}\" y=\"{:.1}\">{}</text>",
                left - 7.0,
                py + 3.8,
                y.label(tick, 1.0)
            );
        }
        let _ = write!(svg, "<text class=\"at\" x=\"4\" y=\"11\">devices</text>");
        for (i, &n) in accuracy.histogram.iter().enumerate() {
            let (a, b) = (across(i as f64 / bins), across((i + 1) as f64 / bins));
            let height = n as f64 / (y.max - y.min) * (bottom - top);
            if n > 0 {
                let _ = write!(
                    svg,
                    "<rect class=\"bar s1\" x=\"{:.1}\" y=\"{:.2}\" width=\"{:.1}\" height=\"{height:.2}\"><title>{}</title></rect>",
                    a + 0.8,
                    bottom - height,
                    b - a - 1.6,
                    escape(&format!(
                        "{} devices between {:.0} and {:.0} %",
                        count(n),
                        100.0 * i as f64 / bins,
                        100.0 * (i + 1) as f64 / bins
                    ))
                );
            }
        }
        for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
            let x = across(tick);
            let _ =
                write!(svg, "<text class=\"xt\" x=\"{x:.1}\" y=\"{:.1}\">{:.0}</text>", bottom + 16.0, tick * 100.0);
        }
        if let Some([p0, p5, p25, p50, p75, p95, p100]) = seven(accuracy) {
            let middle = 38.0;
            let _ = write!(
                svg,
                "<g class=\"box\"><title>{}</title><line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>\
                 <rect x=\"{:.1}\" y=\"{}\" width=\"{:.1}\" height=\"16\" rx=\"2\"/>\
                 <line class=\"median\" x1=\"{m:.1}\" x2=\"{m:.1}\" y1=\"{}\" y2=\"{}\"/>\
                 <circle cx=\"{:.1}\" cy=\"{middle}\" r=\"2.4\"/><circle cx=\"{:.1}\" cy=\"{middle}\" r=\"2.4\"/></g>",
                escape(&format!("median {}", percent(Some(p50)))),
                across(p5),
                across(p95),
                across(p25),
                middle - 8.0,
                (across(p75) - across(p25)).max(1.0),
                middle - 8.0,
                middle + 8.0,
                across(p0),
                across(p100),
                m = across(p50),
            );
        }
        x_title(&mut svg, "accuracy of the final model on the device, %");
        svg.push_str("</svg>");
        Some(svg)
    };
    let note = "Box: 25 to 75 % of devices with the median; whiskers: 5 to 95 %; dots: worst and best device.";
    figure(title, &[], &draw().unwrap_or_else(|| no_data(title)), note)
}

fn seven(accuracy: &DeviceAccuracy) -> Option<[f64; 7]> {
    let mut found = [0.0; 7];
    for (slot, percent) in found.iter_mut().zip([0, 5, 25, 50, 75, 95, 100]) {
        *slot = accuracy.at(percent).filter(|a| a.is_finite())?;
    }
    Some(found)
}
