//! Line charts as SVG.

use super::axis::Axis;
use super::number::{DASH, percent, real};
use super::page::{escape, figure};
use std::fmt::Write;

/// Width and height of a chart in its own units; the page scales it.
pub(super) const SIZE: (f64, f64) = (460.0, 250.0);
/// Left, right, top, bottom of the plot inside the chart.
pub(super) const PLOT: (f64, f64, f64, f64) = (44.0, 446.0, 26.0, 208.0);

/// One line.
pub(crate) struct Series<'a> {
    /// Name in the legend.
    pub(crate) name: &'a str,
    /// Class that colours it: `s1` ... `s7`.
    pub(crate) class: &'a str,
    /// (x, y), x ascending; points that are not finite are left out.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A chart of lines over one pair of axes.
pub(crate) struct LineChart<'a> {
    /// Heading.
    pub(crate) title: &'a str,
    /// Name and unit of the x axis.
    pub(crate) x_label: &'a str,
    /// Name and unit of the y axis.
    pub(crate) y_label: &'a str,
    /// Ticks at whole numbers only (rounds).
    pub(crate) x_whole: bool,
    /// Labels of the y axis are multiplied by this (100 for percent).
    pub(crate) y_factor: f64,
    /// The lines; the first is the one that the chart is about.
    pub(crate) series: Vec<Series<'a>>,
    /// Under the chart.
    pub(crate) note: &'a str,
}

/// More points than this are thinned to the extremes of equal slices, so that a spike still shows.
const MOST_POINTS: usize = 600;

/// The most lines whose last values stand at their ends.
const MOST_LABELS: usize = 2;

impl LineChart<'_> {
    /// The chart as a figure; "no data" where there is none.
    pub(crate) fn render(self) -> String {
        let chart = self.finite();
        let legend = chart.legend();
        let legend: Vec<(&str, &str)> = legend.iter().map(|(class, name)| (*class, &name[..])).collect();
        figure(chart.title, &legend, &chart.svg_or_empty(), chart.note)
    }

    /// Without the points that cannot be drawn, and the lines that have no other.
    pub(super) fn finite(mut self) -> Self {
        for series in &mut self.series {
            series.points.retain(|(x, y)| x.is_finite() && y.is_finite());
        }
        self.series.retain(|series| !series.points.is_empty());
        self
    }

    /// Class and text of each line in the legend.
    pub(super) fn legend(&self) -> Vec<(&str, String)> {
        self.series.iter().map(|s| (s.class, self.named(s))).collect()
    }

    /// The chart alone; "no data" where there is none.
    pub(super) fn svg_or_empty(&self) -> String {
        self.svg().unwrap_or_else(|| no_data(self.title))
    }

    fn svg(&self) -> Option<String> {
        let points = || self.series.iter().flat_map(|s| &s.points);
        let x = Axis::up_to_last(points().map(|p| p.0), 6, self.x_whole)?;
        let y = Axis::covering(points().map(|p| p.1), 5, false)?;
        let (left, right, top, bottom) = PLOT;
        let at = |(px, py): (f64, f64)| {
            (left + x.place(px).clamp(0.0, 1.0) * (right - left), bottom - y.place(py).clamp(0.0, 1.0) * (bottom - top))
        };
        let mut svg = open(&format!("{}: {}", self.title, self.summary()));
        y_grid(&mut svg, &y, self.y_factor, self.y_label);
        for tick in x.ticks() {
            let (px, _) = at((tick, y.min));
            let _ = write!(
                svg,
                "<text class=\"xt\" x=\"{px:.1}\" y=\"{:.1}\">{}</text>",
                bottom + 16.0,
                x.label(tick, 1.0)
            );
        }
        x_title(&mut svg, self.x_label);
        for series in self.series.iter().rev() {
            let thin = thinned(&series.points);
            let mut path = String::new();
            for (i, &point) in thin.iter().enumerate() {
                let (px, py) = at(point);
                let _ = write!(path, "{}{px:.1} {py:.1}", if i == 0 { "M" } else { "L" });
            }
            let _ = write!(svg, "<path class=\"line {}\" d=\"{path}\"/>", escape(series.class));
            // Dots carry the values that a pointer shows; past some number they would hide the line.
            let radius = if thin.len() == 1 { 4.0 } else { 3.0 };
            let shown = if thin.len() <= 40 { "dot" } else { "dot hidden" };
            if thin.len() <= 250 {
                for &point in &thin {
                    let (px, py) = at(point);
                    let _ = write!(
                        svg,
                        "<circle class=\"{shown} {}\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"{radius}\"><title>{}</title></circle>",
                        escape(series.class),
                        escape(&format!("{}: {} at {}", series.name, self.value(point.1), real(Some(point.0), 4)))
                    );
                }
            }
        }
        if !self.crowded() {
            self.ends(&mut svg, at);
        }
        svg.push_str("</svg>");
        Some(svg)
    }

    /// More lines than labels at their ends would be told apart: their last values stand in the legend.
    fn crowded(&self) -> bool {
        self.series.len() > MOST_LABELS
    }

    fn named(&self, series: &Series<'_>) -> String {
        match series.points.last().filter(|_| self.crowded()) {
            Some(last) => format!("{} {}", series.name, self.value(last.1)),
            None => series.name.to_owned(),
        }
    }

    /// The last value of each line at its end, the first line's before the others where there is no room for all: labels keep a
    /// line's height between them and stand in the order of their values.
    fn ends(&self, svg: &mut String, at: impl Fn((f64, f64)) -> (f64, f64)) {
        let mut taken: Vec<(f64, f64)> = Vec::new();
        for &last in self.series.iter().filter_map(|s| s.points.last()) {
            let (px, end) = at(last);
            // Above the line's end, or below where that would leave the plot.
            let py = if end - 9.0 < PLOT.2 + 8.0 { end + 17.0 } else { end - 9.0 };
            let fits = |(label, other): &(f64, f64)| (label - py).abs() >= 15.0 && (label - py) * (other - end) >= 0.0;
            if taken.iter().all(fits) {
                taken.push((py, end));
                let text = escape(&self.value(last.1));
                let _ = write!(svg, "<text class=\"end\" x=\"{px:.1}\" y=\"{py:.1}\">{text}</text>");
            }
        }
    }

    fn value(&self, y: f64) -> String {
        if self.y_factor == 100.0 { percent(Some(y)) } else { real(Some(y * self.y_factor), 3) }
    }

    fn summary(&self) -> String {
        let of = |series: &Series<'_>| {
            let (first, last) = (series.points.first(), series.points.last());
            let value = |p: Option<&(f64, f64)>| p.map_or(DASH.to_owned(), |p| self.value(p.1));
            format!("{} from {} to {}", series.name, value(first), value(last))
        };
        self.series.iter().map(of).collect::<Vec<_>>().join("; ")
    }
}

/// Start of a chart with what a screen reader says of it.
pub(super) fn open(label: &str) -> String {
    let (width, height) = SIZE;
    format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">", escape(label))
}

/// Horizontal grid lines with their labels, and the axis' name above.
pub(super) fn y_grid(svg: &mut String, axis: &Axis, factor: f64, label: &str) {
    let (left, right, top, bottom) = PLOT;
    for tick in axis.ticks() {
        let y = bottom - axis.place(tick) * (bottom - top);
        let class = if tick == axis.min { "base" } else { "grid" };
        let _ = write!(
            svg,
            "<line class=\"{class}\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"yt\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            left - 7.0,
            y + 3.8,
            escape(&axis.label(tick, factor))
        );
    }
    let _ = write!(svg, "<text class=\"at\" x=\"4\" y=\"11\">{}</text>", escape(label));
}

/// Name of the x axis.
pub(super) fn x_title(svg: &mut String, label: &str) {
    let (left, right, _, bottom) = PLOT;
    let middle = f64::midpoint(left, right);
    let _ = write!(svg, "<text class=\"xt ax\" x=\"{middle}\" y=\"{}\">{}</text>", bottom + 35.0, escape(label));
}

/// Stands where a chart has nothing to draw.
pub(super) fn no_data(title: &str) -> String {
    let (width, height) = SIZE;
    format!(
        "{}<rect class=\"empty\" x=\"4\" y=\"10\" width=\"{}\" height=\"{}\" rx=\"6\"/>\
         <text class=\"xt\" x=\"{}\" y=\"{}\">no data</text></svg>",
        open(&format!("{title}: no data")),
        width - 8.0,
        height - 20.0,
        width / 2.0,
        height / 2.0 + 4.0
    )
}

fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MOST_POINTS {
        return points.to_vec();
    }
    let slice = points.len().div_ceil(MOST_POINTS / 2);
    let mut kept = Vec::with_capacity(MOST_POINTS + 2);
    kept.push(points[0]);
    for part in points.chunks(slice) {
        let by_y = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        if let (Some(&low), Some(&high)) = (part.iter().min_by(by_y), part.iter().max_by(by_y)) {
            let (first, second) = if low.0 <= high.0 { (low, high) } else { (high, low) };
            kept.extend([first, second]);
        }
    }
    kept.push(points[points.len() - 1]);
    kept.dedup();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(ends: &[f64]) -> String {
        let line = |(i, end): (usize, &f64)| Series {
            name: ["first", "second", "third"][i],
            class: "s1",
            points: vec![(0.0, 0.5), (9.0, *end)],
        };
        let series = ends.iter().enumerate().map(line).collect();
        let (title, x_label, y_label, note) = ("t", "round", "%", "");
        LineChart { title, x_label, y_label, x_whole: true, y_factor: 100.0, series, note }.render()
    }

    /// Heights of the labels at the lines' ends, and what they say.
    fn labels(html: &str) -> Vec<(f64, String)> {
        let label = |part: &str| {
            let (y, rest) = part.split_once("y=\"")?.1.split_once("\">")?;
            Some((y.parse().ok()?, rest.split_once('<')?.0.to_owned()))
        };
        html.split("<text class=\"end\"").skip(1).filter_map(label).collect()
    }

    #[test]
    fn labels_at_the_ends_neither_overlap_nor_change_places() {
        for ends in [[0.986, 0.982], [0.982, 0.986], [0.9, 0.6], [0.6, 0.9], [1.0, 0.95], [0.5, 0.5]] {
            let labels = labels(&chart(&ends));
            assert_eq!(labels[0].1, percent(Some(ends[0])), "the first line's is always there");
            if let [(a, _), (b, _)] = labels[..] {
                assert!((a - b).abs() >= 15.0 && (a < b) == (ends[0] > ends[1]), "{ends:?}: {labels:?}");
            }
        }
        assert_eq!(labels(&chart(&[0.9, 0.6])).len(), 2);
    }

    #[test]
    fn the_legend_of_many_lines_has_their_last_values() {
        let html = chart(&[0.986, 0.982, 0.981]);
        assert!(labels(&html).is_empty());
        for (name, last) in [("first", 0.986), ("second", 0.982), ("third", 0.981)] {
            assert!(html.contains(&format!("</i>{name} {}</li>", percent(Some(last)))), "{html}");
        }
    }

    #[test]
    fn thinning_keeps_ends_and_spikes() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|i| (f64::from(i), 0.5)).collect();
        points[4321].1 = 9.0;
        points[777].1 = -9.0;
        let thin = thinned(&points);
        assert!(thin.len() <= MOST_POINTS + 2, "{}", thin.len());
        assert!(thin.contains(&(4321.0, 9.0)) && thin.contains(&(777.0, -9.0)));
        assert_eq!((thin[0], thin[thin.len() - 1]), (points[0], points[9999]));
        assert!(thin.windows(2).all(|w| w[0].0 <= w[1].0));
    }
}
