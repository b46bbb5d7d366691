//! Building blocks of the page. Each takes plain text and escapes it itself, so that the sections cannot forget to.

use std::fmt::Write;

/// `text` safe inside elements and quoted attributes of HTML and XML.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(c),
            // XML 1.0 (section 2.2) has no way to write these; bidirectional overrides would let a name forge a figure.
            c if c.is_control()
                || matches!(c, '\u{fffe}' | '\u{ffff}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                safe.push('\u{fffd}');
            }
            c => safe.push(c),
        }
    }
    safe
}

const STYLE: &str = include_str!("style.css");

/// A whole page: `brand` over the title, links to `sections`, and a `body` made of blocks of this module.
pub(crate) fn document(
    brand: &str,
    title: &str,
    subtitle: &str,
    sections: &[(&str, &str)],
    body: &str,
    footer: &str,
) -> String {
    let mut html = String::with_capacity(1 << 17);
    html.push_str("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n");
    html.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n");
    // The page needs nothing from outside; with this it could not load anything either.
    html.push_str(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\"/>\n",
    );
    html.push_str("<link rel=\"icon\" href=\"data:,\"/>\n");
    let [brand, title, subtitle, footer] = [brand, title, subtitle, footer].map(escape);
    let _ = write!(html, "<title>{title} - siskin</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n");
    let _ = write!(
        html,
        "<header>\n<p class=\"brand\">{brand}</p>\n<h1>{title}</h1>\n<p class=\"sub\">{subtitle}</p>\n<nav>"
    );
    for (id, name) in sections {
        let _ = write!(html, "<a href=\"#{}\">{}</a>", escape(id), escape(name));
    }
    let _ = write!(html, "</nav>\n</header>\n{body}<footer>{footer}</footer>\n</main>\n</body>\n</html>\n");
    html
}

/// A headline figure: what it is, the value, and on what it rests.
pub(crate) fn tile(label: &str, value: &str, note: &str) -> String {
    let [label, value, note] = [label, value, note].map(escape);
    format!("<div class=\"tile\"><dt>{label}</dt><dd><strong>{value}</strong><span>{note}</span></dd></div>\n")
}

/// A section whose `body` is made of blocks of this module.
pub(crate) fn section(id: &str, title: &str, body: &str) -> String {
    let (id, title) = (escape(id), escape(title));
    format!("<section id=\"{id}\">\n<h2>{title}</h2>\n{body}</section>\n")
}

/// A paragraph; none where `text` is empty.
pub(crate) fn paragraph(class: &str, text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    format!("<p class=\"{}\">{}</p>\n", escape(class), escape(text))
}

/// A box with a heading and points.
pub(crate) fn callout(class: &str, title: &str, points: &[String]) -> String {
    let mut html = format!("<aside class=\"callout {}\"><h3>{}</h3>", escape(class), escape(title));
    if !points.is_empty() {
        html.push_str("<ul>");
        for point in points {
            let _ = write!(html, "<li>{}</li>", escape(point));
        }
        html.push_str("</ul>");
    }
    html.push_str("</aside>\n");
    html
}

/// (term, description) pairs; pairs without a description are left out.
pub(crate) fn facts(pairs: &[(&str, String)]) -> String {
    let mut html = String::from("<dl class=\"facts\">\n");
    for (term, text) in pairs.iter().filter(|(_, text)| !text.is_empty()) {
        let _ = writeln!(html, "<div><dt>{}</dt><dd>{}</dd></div>", escape(term), escape(text));
    }
    html.push_str("</dl>\n");
    html
}

/// How a column of a table is set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// Left, wraps.
    Text,
    /// Left, monospaced, does not wrap.
    Code,
    /// Right, digits of one width, does not wrap.
    Number,
}

impl Column {
    fn class(self) -> &'static str {
        match self {
            Self::Text => "t",
            Self::Code => "c",
            Self::Number => "n",
        }
    }
}

/// A table; a phone scrolls it sideways. The last row stands out as a sum where `sum` is set.
pub(crate) fn table(caption: &str, head: &[(&str, Column)], rows: &[Vec<String>], sum: bool) -> String {
    if rows.is_empty() {
        return paragraph("nodata", &format!("{caption}: no data"));
    }
    let mut html = String::from("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"");
    // So many columns fit the page only closer together.
    let class = if head.len() > 10 { " class=\"close\"" } else { "" };
    let _ = write!(html, "{}\"><table{class}><caption>{}</caption><thead><tr>", escape(caption), escape(caption));
    for (name, column) in head {
        let _ = write!(html, "<th scope=\"col\" class=\"{}\">{}</th>", column.class(), escape(name));
    }
    html.push_str("</tr></thead><tbody>\n");
    for (i, row) in rows.iter().enumerate() {
        html.push_str(if sum && i + 1 == rows.len() { "<tr class=\"sum\">" } else { "<tr>" });
        for (cell, (_, column)) in row.iter().zip(head) {
            let _ = write!(html, "<td class=\"{}\">{}</td>", column.class(), escape(cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>\n");
    html
}

/// Figures side by side where there is room.
pub(crate) fn charts(figures: &[String]) -> String {
    format!("<div class=\"charts\">\n{}</div>\n", figures.concat())
}

/// A figure: caption, legend of (class, name), drawing, note under it.
pub(crate) fn figure(caption: &str, legend: &[(&str, &str)], svg: &str, note: &str) -> String {
    let mut html = format!("<figure><figcaption>{}</figcaption>", escape(caption));
    if legend.len() > 1 {
        html.push_str("<ul class=\"legend\">");
        for (class, name) in legend {
            let _ = write!(html, "<li><i class=\"{}\"></i>{}</li>", escape(class), escape(name));
        }
        html.push_str("</ul>");
    }
    html.push_str(svg);
    html.push_str(&paragraph("note", note));
    html.push_str("</figure>\n");
    html
}

/// Folded away until it is asked for. `body` is made of blocks of this module.
pub(crate) fn details(summary: &str, body: &str) -> String {
    format!("<details><summary>{}</summary>\n{body}</details>\n", escape(summary))
}

/// `arguments` as a line for a POSIX shell.
pub(crate) fn shell_line(arguments: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    let quoted = |argument: &String| {
        if !argument.is_empty() && argument.chars().all(plain) {
            argument.clone()
        } else {
            format!("'{}'", argument.replace('\'', "'\\''"))
        }
    };
    arguments.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("<b a='\"'>&\u{0}\u{202e}"), "&lt;b a=&#39;&quot;&#39;&gt;&amp;\u{fffd}\u{fffd}");
    }

    #[test]
    fn arguments_survive_a_shell() {
        let line = shell_line(&["siskin", "run", "--out", "my run's", "", "$HOME"].map(str::to_owned));
        assert_eq!(line, "siskin run --out 'my run'\\''s' '' '$HOME'");
    }
}
