//! Histograms with the densities that they should follow, as SVG.

use super::axis::Axis;
use super::lines::{PLOT, no_data, open, x_title, y_grid};
use super::number::real;
use super::page::{escape, figure};
use std::fmt::Write;

/// A density over x.
pub(super) type Curve<'a> = Box<dyn Fn(f64) -> f64 + 'a>;

/// Bars of equal width that share their edges, and curves over them.
pub(super) struct Histogram<'a> {
    /// Heading.
    pub(super) title: &'a str,
    /// Name and unit of the x axis.
    pub(super) x_label: &'a str,
    /// Name and unit of the y axis.
    pub(super) y_label: &'a str,
    /// Left edge of the first bar.
    pub(super) first: f64,
    /// Width of a bar.
    pub(super) width: f64,
    /// (class, name, heights); those behind come first.
    pub(super) bars: Vec<(&'a str, &'a str, Vec<f64>)>,
    /// (class, name, density).
    pub(super) curves: Vec<(&'a str, &'a str, Curve<'a>)>,
    /// Under the chart.
    pub(super) note: &'a str,
}

/// Points of a curve.
const POINTS: usize = 160;

impl Histogram<'_> {
    /// The chart as a figure; "no data" where there is none.
    pub(super) fn render(&self) -> String {
        let bars = self.bars.iter().map(|(class, name, _)| (*class, *name));
        let legend: Vec<(&str, &str)> =
            bars.chain(self.curves.iter().map(|(class, name, _)| (*class, *name))).collect();
        figure(self.title, &legend, &self.svg().unwrap_or_else(|| no_data(self.title)), self.note)
    }

    fn svg(&self) -> Option<String> {
        let count = self.bars.iter().map(|(_, _, heights)| heights.len()).max().filter(|n| *n > 0)?;
        let (start, end) = (self.first, self.first + self.width * count as f64);
        let at_curve = |i: usize| start + (end - start) * i as f64 / POINTS as f64;
        let heights = self.bars.iter().flat_map(|(_, _, heights)| heights.iter().copied());
        let curves = self.curves.iter().flat_map(|(_, _, curve)| (0..=POINTS).map(|i| curve(at_curve(i))));
        let y = Axis::covering(heights.chain(curves).chain([0.0]), 5, false)?;
        let x = Axis::covering([start, end].into_iter(), 8, false)?;
        let (left, right, top, bottom) = PLOT;
        // The axis' ticks are round, its ends are the histogram's.
        let across = |v: f64| left + ((v - start) / (end - start)).clamp(0.0, 1.0) * (right - left);
        let up = |v: f64| bottom - y.place(v).clamp(0.0, 1.0) * (bottom - top);
        let mut svg =
            open(&format!("{}: {count} bins from {} to {}", self.title, real(Some(start), 3), real(Some(end), 3)));
        y_grid(&mut svg, &y, 1.0, self.y_label);
        for (class, name, heights) in &self.bars {
            for (i, &height) in heights.iter().enumerate().filter(|(_, height)| **height > 0.0) {
                let (a, b) = (start + self.width * i as f64, start + self.width * (i + 1) as f64);
                let _ = write!(
                    svg,
                    "<rect class=\"bar {}\" fill-opacity=\"0.65\" x=\"{:.1}\" y=\"{:.2}\" width=\"{:.1}\" height=\"{:.2}\"><title>{}</title></rect>",
                    escape(class),
                    across(a) + 0.3,
                    up(height),
                    (across(b) - across(a) - 0.6).max(0.4),
                    bottom - up(height),
                    escape(&format!(
                        "{name}: {} from {} to {}",
                        real(Some(height), 3),
                        real(Some(a), 3),
                        real(Some(b), 3)
                    ))
                );
            }
        }
        for (class, _, curve) in &self.curves {
            let mut path = String::new();
            for i in 0..=POINTS {
                let v = at_curve(i);
                let _ = write!(path, "{}{:.1} {:.1}", if i == 0 { "M" } else { "L" }, across(v), up(curve(v)));
            }
            let _ = write!(svg, "<path class=\"line {}\" d=\"{path}\"/>", escape(class));
        }
        for tick in x.ticks().into_iter().filter(|tick| (start..=end).contains(tick)) {
            let label = x.label(tick, 1.0);
            let _ =
                write!(svg, "<text class=\"xt\" x=\"{:.1}\" y=\"{:.1}\">{label}</text>", across(tick), bottom + 16.0);
        }
        x_title(&mut svg, self.x_label);
        svg.push_str("</svg>");
        Some(svg)
    }
}
