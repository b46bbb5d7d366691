//! Numbers as people read them. Digits are grouped by a narrow space, which no locale takes for a decimal mark.

/// Shown for what is absent or not finite.
pub(crate) const DASH: &str = "\u{2013}";
const GROUP: char = '\u{202f}';
const NBSP: char = '\u{a0}';

/// A whole number: `12 345`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let mut text = String::with_capacity(digits.len() * 2);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(GROUP);
        }
        text.push(digit);
    }
    text
}

/// Bytes in powers of 1000, three digits: `12.3 kB`.
pub(crate) fn bytes(n: f64) -> String {
    if !n.is_finite() {
        return DASH.to_owned();
    }
    let (scale, unit) = byte_unit(n);
    if scale == 1.0 { format!("{n:.0}{NBSP}{unit}") } else { format!("{}{NBSP}{unit}", digits(n / scale, 3)) }
}

/// Scale and name of the unit that suits `n` bytes.
pub(crate) fn byte_unit(n: f64) -> (f64, &'static str) {
    // 999.5 kB and up would round to "1000 kB".
    match n {
        n if n < 1e3 => (1.0, "B"),
        n if n < 999.5e3 => (1e3, "kB"),
        n if n < 999.5e6 => (1e6, "MB"),
        n if n < 999.5e9 => (1e9, "GB"),
        _ => (1e12, "TB"),
    }
}

/// `part` of one as percent with one decimal: `93.2 %`.
pub(crate) fn percent(part: Option<f64>) -> String {
    match finite(part.map(|part| part * 100.0)) {
        Some(part) if part.abs() < 1e4 => format!("{part:.1}{NBSP}%"),
        Some(part) => format!("{part:.1e}{NBSP}%"),
        None => DASH.to_owned(),
    }
}

/// About `significant` digits; scientific where very small or very large.
pub(crate) fn real(x: Option<f64>, significant: usize) -> String {
    match finite(x) {
        Some(x) if x != 0.0 && !(1e-4..1e7).contains(&x.abs()) => format!("{x:.*e}", significant.saturating_sub(1)),
        Some(x) => digits(x, significant),
        None => DASH.to_owned(),
    }
}

/// A number that someone chose: all its digits and no more (`0.5`, `1.1`), grouped where it is whole.
pub(crate) fn setting(x: Option<f64>) -> String {
    match finite(x) {
        Some(x) if x.fract() == 0.0 && (0.0..1e15).contains(&x) => count(x as u64),
        Some(x) if (1e-4..1e7).contains(&x.abs()) => format!("{x}"),
        Some(x) => format!("{x:e}"),
        None => DASH.to_owned(),
    }
}

/// A small probability such as `dp_delta`: `1e-5`, `2.5e-6`.
pub(crate) fn tiny(x: Option<f64>) -> String {
    match finite(x) {
        Some(x) if x > 0.0 && x < 1e-2 => format!("{x:e}"),
        Some(x) => format!("{x}"),
        None => DASH.to_owned(),
    }
}

/// A span of time: `42 s`, `3 min 20 s`, `2 d 4 h`.
pub(crate) fn duration(seconds: Option<f64>) -> String {
    let Some(seconds) = finite(seconds).filter(|s| *s >= 0.0) else { return DASH.to_owned() };
    if seconds < 99.5 {
        return format!("{}{NBSP}s", digits(seconds, 3));
    }
    let whole = seconds.round() as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    match (days, whole / 3600) {
        (0, 0) => format!("{minutes}{NBSP}min {}{NBSP}s", whole % 60),
        (0, _) => format!("{hours}{NBSP}h {minutes}{NBSP}min"),
        _ => format!("{}{NBSP}d {hours}{NBSP}h", count(days)),
    }
}

/// A value that is there and finite.
pub(crate) fn finite(x: Option<f64>) -> Option<f64> {
    x.filter(|x| x.is_finite())
}

fn digits(x: f64, significant: usize) -> String {
    let decimals = |x: f64| {
        let magnitude = if x == 0.0 { 0 } else { x.abs().log10().floor() as i32 };
        (significant as i32 - 1 - magnitude).clamp(0, 12) as usize
    };
    // Twice, for rounding may carry into another digit: 0.9999 has three digits as 1.00.
    let rounded = format!("{x:.*}", decimals(x));
    let decimals = decimals(rounded.parse().unwrap_or(x));
    format!("{x:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let plain = |s: String| s.replace([GROUP, NBSP], " ");
        assert_eq!(plain(count(1234)), "1234");
        assert_eq!(plain(count(12_345)), "12 345");
        assert_eq!(plain(count(1_234_567)), "1 234 567");
        assert_eq!(plain(bytes(999.0)), "999 B");
        assert_eq!(plain(bytes(1234.0)), "1.23 kB");
        assert_eq!(plain(bytes(999_900.0)), "1.00 MB");
        assert_eq!(plain(percent(Some(0.9316))), "93.2 %");
        assert_eq!(percent(Some(f64::NAN)), DASH);
        assert_eq!(real(Some(0.123_456), 3), "0.123");
        assert_eq!(real(Some(1.5e-9), 2), "1.5e-9");
        assert_eq!(real(Some(f64::INFINITY), 3), DASH);
        assert_eq!(tiny(Some(1e-5)), "1e-5");
        assert_eq!(setting(Some(0.5)), "0.5");
        assert_eq!(plain(setting(Some(105_048.0))), "105 048");
        assert_eq!(setting(Some(1e-7)), "1e-7");
        assert_eq!(plain(duration(Some(2.0))), "2.00 s");
        assert_eq!(plain(duration(Some(200.0))), "3 min 20 s");
        assert_eq!(plain(duration(Some(187_200.0))), "2 d 4 h");
        assert_eq!(duration(Some(-1.0)), DASH);
    }
}
