//! Charts of means with error bars over a logarithmic x axis, as SVG.

use super::axis::Axis;
use super::lines::{PLOT, no_data, open, x_title, y_grid};
use super::number::{percent, real, setting};
use super::page::escape;
use super::picture::Panel;
use std::fmt::Write;

/// One line of means.
pub(crate) struct Means<'a> {
    /// Name in the legend.
    pub(crate) name: &'a str,
    /// Class that colours it: `s1` ... `s7`.
    pub(crate) class: &'a str,
    /// A prediction or a reference: a dashed line without dots.
    pub(crate) dashed: bool,
    /// (x, y, half width of the error bar), x ascending and above 0. Points that are not finite are left out, and on a logarithmic
    /// y axis those that are not above 0.
    pub(crate) points: Vec<(f64, f64, Option<f64>)>,
}

/// A chart over a logarithmic x axis.
pub(crate) struct ErrorChart<'a> {
    /// Heading.
    pub(crate) title: &'a str,
    /// Name of the x axis.
    pub(crate) x_label: &'a str,
    /// Name of the y axis.
    pub(crate) y_label: &'a str,
    /// Whether the x axis has round ticks; else they stand at the points.
    pub(crate) round_ticks: bool,
    /// Whether the y axis is logarithmic; else it is linear, in percent of values in `[0, 1]`.
    pub(crate) log: bool,
    /// The lines; the first is drawn on top.
    pub(crate) series: Vec<Means<'a>>,
    /// Under the chart.
    pub(crate) note: &'a str,
}

/// The y axis.
enum Scale {
    Linear(Axis),
    /// Logarithms of the ends, and the ticks.
    Log(f64, f64, Vec<f64>),
}

impl Scale {
    /// From the largest of 1, 2, 5 times a power of ten that is not above all values to the smallest that is not below.
    fn log(values: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(0.0, f64::max);
        if !(low > 0.0 && low <= high && high.is_finite()) {
            return None;
        }
        let decades = low.log10().floor() as i32 - 1..=high.log10().ceil() as i32 + 1;
        let all: Vec<f64> = decades.flat_map(|d| [1.0, 2.0, 5.0].map(|head| head * 10f64.powi(d))).collect();
        let first = all.iter().rposition(|t| *t <= low * (1.0 + 1e-9))?;
        let mut last = all.iter().position(|t| *t >= high * (1.0 - 1e-9))?;
        last = last.max(first + 1);
        let ends = (all.get(first)?.ln(), all.get(last)?.ln());
        let mut ticks = all[first..=last].to_vec();
        if ticks.len() > 8 {
            ticks.retain(|t| (t.log10() - t.log10().round()).abs() < 1e-6);
        }
        Some(Self::Log(ends.0, ends.1, ticks))
    }

    fn place(&self, y: f64) -> f64 {
        match self {
            Self::Linear(axis) => axis.place(y),
            Self::Log(low, high, _) => (y.max(f64::MIN_POSITIVE).ln() - low) / (high - low),
        }
        .clamp(0.0, 1.0)
    }

    fn grid(&self, svg: &mut String, label: &str) {
        let (left, right, top, bottom) = PLOT;
        let ticks = match self {
            Self::Linear(axis) => return y_grid(svg, axis, 100.0, label),
            Self::Log(_, _, ticks) => ticks,
        };
        for &tick in ticks {
            let y = bottom - self.place(tick) * (bottom - top);
            let class = if y >= bottom - 0.01 { "base" } else { "grid" };
            let _ = write!(
                svg,
                "<line class=\"{class}\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"yt\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                left - 7.0,
                y + 3.8,
                real(Some(tick), 1)
            );
        }
        let _ = write!(svg, "<text class=\"at\" x=\"4\" y=\"11\">{}</text>", escape(label));
    }
}

impl ErrorChart<'_> {
    /// The chart as a figure; "no data" where there is none.
    pub(crate) fn render(self) -> String {
        self.panel().figure()
    }

    /// The same, drawn.
    pub(crate) fn panel(mut self) -> Panel {
        let log = self.log;
        for series in &mut self.series {
            series.points.retain(|(x, y, _)| x.is_finite() && *x > 0.0 && y.is_finite() && (!log || *y > 0.0));
        }
        self.series.retain(|series| !series.points.is_empty());
        let mut legend: Vec<(String, String)> = Vec::new();
        for series in &self.series {
            // A prediction has the colour of what it predicts, and no entry of its own.
            if !legend.iter().any(|(class, _)| *class == series.class) {
                legend.push((series.class.to_owned(), series.name.to_owned()));
            }
        }
        let svg = self.svg().unwrap_or_else(|| no_data(self.title));
        Panel { title: self.title.to_owned(), legend, svg, note: self.note.to_owned() }
    }

    /// Ends of an error bar; on a logarithmic axis the lower end stays above a tenth of the mean.
    fn ends(&self, y: f64, half_width: Option<f64>) -> (f64, f64) {
        let half_width = half_width.filter(|h| h.is_finite()).unwrap_or(0.0);
        let low = y - half_width;
        (if self.log { low.max(0.1 * y) } else { low }, y + half_width)
    }

    fn svg(&self) -> Option<String> {
        let points = || self.series.iter().flat_map(|s| s.points.iter().copied());
        let mut xs: Vec<f64> = points().map(|p| p.0).collect();
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        let (first, last) = (xs.first()?.ln(), xs.last()?.ln());
        let ys = || points().flat_map(|(_, y, half)| <[f64; 2]>::from(self.ends(y, half)));
        let scale = if self.log { Scale::log(ys())? } else { Scale::Linear(Axis::covering(ys(), 5, false)?) };
        let (left, right, top, bottom) = PLOT;
        // Room at both sides, so that no error bar lies on the edge.
        let inner = (left + 14.0, right - 14.0);
        let at_x = |x: f64| match last > first {
            true => inner.0 + (x.ln() - first) / (last - first) * (inner.1 - inner.0),
            false => f64::midpoint(inner.0, inner.1),
        };
        let at_y = |y: f64| bottom - scale.place(y) * (bottom - top);

        let mut svg = open(&format!("{}: {}", self.title, self.summary()));
        scale.grid(&mut svg, self.y_label);
        let mut behind = f64::NEG_INFINITY;
        let ticks = match (self.round_ticks, Scale::log(xs.iter().copied())) {
            (true, Some(Scale::Log(_, _, ticks))) => {
                let inside = |x: &f64| *x >= xs[0] && *x <= xs[xs.len() - 1];
                ticks.into_iter().filter(inside).collect()
            }
            _ => xs.clone(),
        };
        for &x in &ticks {
            // A label that would touch the one before it is left out.
            if at_x(x) - behind >= 20.0 {
                behind = at_x(x);
                let text = if self.round_ticks { real(Some(x), 1) } else { setting(Some(x)) };
                let _ = write!(svg, "<text class=\"xt\" x=\"{behind:.1}\" y=\"{:.1}\">{text}</text>", bottom + 16.0);
            }
        }
        x_title(&mut svg, self.x_label);
        for series in self.series.iter().rev() {
            self.draw(&mut svg, series, &at_x, &at_y, inner);
        }
        svg.push_str("</svg>");
        Some(svg)
    }

    fn draw(
        &self,
        svg: &mut String,
        series: &Means<'_>,
        at_x: &impl Fn(f64) -> f64,
        at_y: &impl Fn(f64) -> f64,
        (left, right): (f64, f64),
    ) {
        let class = escape(series.class);
        let mut path = String::new();
        for (i, &(x, y, _)) in series.points.iter().enumerate() {
            let _ = write!(path, "{}{:.1} {:.1}", if i == 0 { "M" } else { "L" }, at_x(x), at_y(y));
        }
        if series.dashed {
            if let [(_, y, _)] = series.points[..] {
                // A reference holds everywhere.
                path = format!("M{left:.1} {0:.1}L{right:.1} {0:.1}", at_y(y));
            }
            let _ = write!(svg, "<path class=\"line dash {class}\" d=\"{path}\"/>");
            return;
        }
        let _ = write!(svg, "<path class=\"line {class}\" d=\"{path}\"/>");
        for &(x, y, half_width) in &series.points {
            let (px, (low, high)) = (at_x(x), self.ends(y, half_width));
            if half_width.is_some() {
                let (top, bottom, from, to) = (at_y(high), at_y(low), px - 3.5, px + 3.5);
                let _ = write!(
                    svg,
                    "<path class=\"line whisker {class}\" d=\"M{from:.1} {top:.1}L{to:.1} {top:.1}M{px:.1} {top:.1}L{px:.1} \
                     {bottom:.1}M{from:.1} {bottom:.1}L{to:.1} {bottom:.1}\"/>"
                );
            }
            let bar = half_width.map_or(String::new(), |h| format!(" \u{b1} {}", self.value(h)));
            let title = format!("{}: {}{bar} at {}", series.name, self.value(y), self.place(x));
            let _ = write!(
                svg,
                "<circle class=\"dot {class}\" cx=\"{px:.1}\" cy=\"{:.1}\" r=\"3.4\"><title>{}</title></circle>",
                at_y(y),
                escape(&title)
            );
        }
    }

    fn place(&self, x: f64) -> String {
        if self.round_ticks { real(Some(x), 3) } else { setting(Some(x)) }
    }

    fn value(&self, y: f64) -> String {
        if self.log { real(Some(y), 3) } else { percent(Some(y)) }
    }

    fn summary(&self) -> String {
        let of = |series: &Means<'_>| {
            let points: Vec<String> =
                series.points.iter().map(|p| format!("{} at {}", self.value(p.1), self.place(p.0))).collect();
            format!("{} {}", series.name, points.join(", "))
        };
        self.series.iter().map(of).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(log: bool, points: &[(f64, f64, Option<f64>)]) -> String {
        let series = vec![Means { name: "a", class: "s1", dashed: false, points: points.to_vec() }];
        ErrorChart { title: "t", x_label: "G", y_label: "y", round_ticks: false, log, series, note: "" }.render()
    }

    /// (y1, y2) of each error bar.
    fn bars(html: &str) -> Vec<(f64, f64)> {
        let number = |text: &str| text.split(['L', 'M', '"']).next().and_then(|y| y.parse().ok());
        let bar = |part: &str| {
            let d = part.split_once("d=\"M")?.1;
            let mut ys = d.split(' ').skip(1).filter_map(number);
            let top: f64 = ys.next()?;
            Some((top, ys.last()?))
        };
        html.split("whisker").skip(1).filter_map(|part| bar(part.split_once("/>")?.0)).collect()
    }

    #[test]
    fn error_bars_are_as_long_as_the_errors() {
        let html = chart(true, &[(1.0, 1.0, Some(0.5)), (64.0, 10.0, Some(5.0))]);
        let bars = bars(&html);
        assert_eq!(bars.len(), 2, "{html}");
        // The same part of the mean is the same length on a logarithmic axis.
        let length = |(top, bottom): (f64, f64)| bottom - top;
        assert!((length(bars[0]) - length(bars[1])).abs() < 0.3 && length(bars[0]) > 20.0, "{bars:?}");
        assert!(bars[0].0 > bars[1].1, "ten times as much stands higher");
        assert!(bars.iter().all(|(top, bottom)| *top >= PLOT.2 && *bottom <= PLOT.3), "{bars:?}");
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        assert!(chart(true, &[(1.0, 0.0, None), (2.0, f64::NAN, None)]).contains("no data"));
        let html = chart(true, &[(1.0, -1.0, None), (2.0, 3.0, Some(f64::INFINITY))]);
        assert!(html.matches("<circle").count() == 1 && !html.contains("NaN") && !html.contains("inf"), "{html}");
        assert_eq!(chart(false, &[(1.0, 0.4, Some(0.02))]).matches("whisker").count(), 1);
    }

    #[test]
    fn ticks_cover_the_values() {
        for (low, high) in [(1e-5, 3e-2), (0.3, 0.31), (7.0, 7.0), (1e-12, 1e12)] {
            let Some(Scale::Log(from, to, ticks)) = Scale::log([low, high].into_iter()) else { panic!("{low} {high}") };
            assert!(from <= f64::ln(low) + 1e-9 && to >= f64::ln(high) - 1e-9 && to > from, "{low} {high}");
            assert!((1..=30).contains(&ticks.len()), "{ticks:?}");
        }
        assert!(Scale::log(std::iter::empty()).is_none());
    }
}
