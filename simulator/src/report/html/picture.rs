//! Charts as an SVG file that stands on its own.

use super::lines::{LineChart, SIZE};
use super::page::{escape, figure};
use std::fmt::Write;

/// Colours and sizes in plain CSS, so that any reader of SVG knows them.
const STYLE: &str = "text{font:11px system-ui,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;fill:#5c6670}\
.title{font-size:14px;font-weight:600;fill:#1c2126}.xt{text-anchor:middle}.yt{text-anchor:end}\
.end{text-anchor:end;fill:#1c2126;font-weight:600;font-size:12px}\
.grid{stroke:#e9ebe6}.base{stroke:#5c6670}.line{stroke-width:2;stroke-linejoin:round}.hidden{opacity:0}.empty{fill:#e9ebe6}\
.dash{stroke-dasharray:5 4}.whisker{stroke-width:1.2}\
.s1{fill:#2d6ca8}.s2{fill:#d98a1f}.s3{fill:#6f8a14}.s4{fill:#b8475f}.s5{fill:#7a60ab}.s6{fill:#2f938f}.s7{fill:#8a939b}\
.s8{fill:#9c6b4e}.s9{fill:#1c2126}.s10{fill:#c254c9}.line.s1{stroke:#2d6ca8}.line.s2{stroke:#d98a1f}.line.s3{stroke:#6f8a14}.line.s4{stroke:#b8475f}\
.line.s5{stroke:#7a60ab}.line.s6{stroke:#2f938f}.line.s7{stroke:#8a939b}.line.s8{stroke:#9c6b4e}.line.s9{stroke:#1c2126}\
.line.s10{stroke:#c254c9}\
.line.s1,.line.s2,.line.s3,.line.s4,.line.s5,.line.s6,.line.s7,.line.s8,.line.s9,.line.s10{fill:none}";

// Room for a title, a line of the legend, and what stands below a chart.
const TITLE: f64 = 26.0;
const LINE: f64 = 15.0;
const NOTE: f64 = 30.0;

/// A chart that is drawn, and what stands around it.
pub(crate) struct Panel {
    /// Heading.
    pub(crate) title: String,
    /// Class and name of each line.
    pub(crate) legend: Vec<(String, String)>,
    /// The drawing.
    pub(crate) svg: String,
    /// Under it.
    pub(crate) note: String,
}

impl Panel {
    /// As a figure of a page.
    pub(crate) fn figure(&self) -> String {
        let legend: Vec<(&str, &str)> = self.legend.iter().map(|(class, name)| (&class[..], &name[..])).collect();
        figure(&self.title, &legend, &self.svg, &self.note)
    }
}

/// The charts, one below the other.
pub(crate) fn picture(charts: Vec<LineChart<'_>>) -> String {
    let panel = |chart: LineChart<'_>| {
        let chart = chart.finite();
        let legend = chart.legend().into_iter().map(|(class, name)| (class.to_owned(), name)).collect();
        Panel { title: chart.title.to_owned(), legend, svg: chart.svg_or_empty(), note: chart.note.to_owned() }
    };
    panels(&charts.into_iter().map(panel).collect::<Vec<_>>())
}

/// The same of charts that are drawn.
pub(crate) fn panels(panels: &[Panel]) -> String {
    let (width, height) = SIZE;
    let margin = 12.0;
    let mut body = String::new();
    let mut y = margin;
    for panel in panels {
        let _ =
            write!(body, "<text class=\"title\" x=\"{margin}\" y=\"{:.0}\">{}</text>", y + 14.0, escape(&panel.title));
        y += TITLE;
        for (class, name) in &panel.legend {
            let _ = write!(
                body,
                "<rect class=\"{}\" x=\"{margin}\" y=\"{:.0}\" width=\"10\" height=\"10\" rx=\"2\"/>\
                 <text x=\"{}\" y=\"{:.0}\">{}</text>",
                escape(class),
                y,
                margin + 16.0,
                y + 9.0,
                escape(name)
            );
            y += LINE;
        }
        y += 6.0;
        let place = format!("<svg x=\"{margin}\" y=\"{y:.0}\" width=\"{width}\" height=\"{height}\" ");
        body += &panel.svg.replacen("<svg ", &place, 1);
        y += height + 12.0;
        for line in lines(&panel.note) {
            let _ = write!(body, "<text x=\"{margin}\" y=\"{y:.0}\">{}</text>", escape(&line));
            y += LINE;
        }
        y += NOTE - LINE;
    }
    let (width, height) = (width + 2.0 * margin, y);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height:.0}\" viewBox=\"0 0 {width} {height:.0}\">\
         <style>{STYLE}</style><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>{body}</svg>\n"
    )
}

/// Characters of a line of a note that a chart's width has room for.
const NOTE_WIDTH: usize = 78;

/// Broken between words.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < NOTE_WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_broken_between_words() {
        let text = "of many words ".repeat(20);
        let broken = lines(&text);
        assert!(broken.len() > 2 && broken.iter().all(|line| line.len() <= NOTE_WIDTH));
        assert_eq!(broken.join(" "), text.trim_end());
        assert!(lines("").is_empty());
        assert_eq!(lines(&"x".repeat(200)), ["x".repeat(200)]);
    }
}
