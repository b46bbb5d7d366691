//! What the numbers say, in words that are made of them.

use super::{Estimate, Method};
use serde::{Deserialize, Serialize};

/// What is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// A small error; differences are parts of it.
    Error,
    /// A high accuracy, `[0, 1]`; differences are points (hundredths).
    Accuracy,
}

/// One way and what it gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// ELS or ULS.
    pub method: Method,
    /// Examples of a user: at most kept (ELS), or of one gradient (ULS).
    pub group: u32,
    /// What it gave.
    pub value: Estimate,
}

/// What was compared: one kind of users, one epsilon.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// In words, such as `diverse users`.
    pub name: String,
    /// Of the guarantee.
    pub epsilon: f64,
    /// What is good.
    pub goal: Goal,
    /// All that was tried.
    pub entries: Vec<Entry>,
}

/// Which of the two is better: its error bar does not reach the other's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Example-level sampling.
    Els,
    /// User-level sampling.
    Uls,
    /// Neither.
    Neither,
}

/// What follows for one [`Setting`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Of the setting.
    pub name: String,
    /// Of the setting.
    pub epsilon: f64,
    /// The best group of each.
    pub els_group: u32,
    /// As above.
    pub uls_group: u32,
    /// Which is better.
    pub verdict: Verdict,
    /// How much better ULS is at its best: part of ELS's error that is gone, or accuracy that is gained; below 0 worse.
    pub uls_gain: f64,
    /// Sum of the half widths of both error bars, in the same unit: what a difference must exceed.
    pub half_width: f64,
    /// How much better ULS is at its best than with one example a user (the smallest group that was tried), same unit.
    pub group_gain: f64,
    /// Whether that is beyond the error bars.
    pub group_gains: bool,
    /// All this as a sentence.
    pub text: String,
}

/// How much better `a` is than `b`, with the half width, in the unit of [`Finding::uls_gain`].
fn gain(goal: Goal, a: &Estimate, b: &Estimate) -> Option<(f64, f64)> {
    let (difference, half_width) = a.minus(b)?;
    match goal {
        Goal::Error => (b.mean > 0.0).then(|| (-difference / b.mean, half_width / b.mean)),
        Goal::Accuracy => Some((difference, half_width)),
    }
}

fn best(setting: &Setting, method: Method) -> Option<&Entry> {
    let of_method = setting.entries.iter().filter(|e| e.method == method && e.value.mean.is_finite());
    let order = |a: &&Entry, b: &&Entry| a.value.mean.total_cmp(&b.value.mean);
    match setting.goal {
        Goal::Error => of_method.min_by(order),
        Goal::Accuracy => of_method.max_by(order),
    }
}

/// Compares the best of each method. The best is picked by the same numbers that it is compared with, for both methods alike.
///
/// `None` where a method is missing, or has one repetition and so no error bar.
pub fn conclude(setting: &Setting) -> Option<Finding> {
    let (els, uls) = (best(setting, Method::Els)?, best(setting, Method::Uls)?);
    let (uls_gain, half_width) = gain(setting.goal, &uls.value, &els.value)?;
    let verdict = match uls_gain {
        gain if gain > half_width => Verdict::Uls,
        gain if gain < -half_width => Verdict::Els,
        _ => Verdict::Neither,
    };
    let first = setting.entries.iter().filter(|e| e.method == Method::Uls).min_by_key(|e| e.group)?;
    let (group_gain, group_bar) = gain(setting.goal, &uls.value, &first.value)?;
    let group_gains = uls.group > first.group && group_gain > group_bar;

    let Setting { name, epsilon, .. } = setting;
    let (els_shown, uls_shown) = (shown(setting.goal, &els.value), shown(setting.goal, &uls.value));
    let pair = format!("ULS {uls_shown} at G = {}, ELS {els_shown} at G = {}", uls.group, els.group);
    let amount = part(setting.goal, uls_gain.abs());
    // The better one's gain, in parts of the worse one's error.
    let els_amount = match setting.goal {
        Goal::Error => gain(setting.goal, &els.value, &uls.value).map_or(0.0, |(gain, _)| gain),
        Goal::Accuracy => -uls_gain,
    };
    let mut text = match verdict {
        Verdict::Uls => format!("{name}, epsilon {epsilon}: ULS is better by {amount} ({pair})"),
        Verdict::Els => {
            format!("{name}, epsilon {epsilon}: ELS is better by {} ({pair})", part(setting.goal, els_amount))
        }
        Verdict::Neither => format!("{name}, epsilon {epsilon}: no difference beyond the error bars ({pair})"),
    };
    text += &match (uls.group > first.group, group_gains) {
        (false, _) => format!("; ULS gains nothing from G: {} is its best", first.group),
        (true, false) => format!("; ULS gains nothing beyond the error bars from a G above {}", first.group),
        (true, true) => {
            format!("; ULS gains {} from G = {} to {}", part(setting.goal, group_gain), first.group, uls.group)
        }
    };
    Some(Finding {
        name: name.clone(),
        epsilon: *epsilon,
        els_group: els.group,
        uls_group: uls.group,
        verdict,
        uls_gain,
        half_width,
        group_gain,
        group_gains,
        text,
    })
}

fn part(goal: Goal, part: f64) -> String {
    match goal {
        Goal::Error => format!("{:.0} %", 100.0 * part),
        Goal::Accuracy => format!("{:.2} points", 100.0 * part),
    }
}

fn shown(goal: Goal, value: &Estimate) -> String {
    let bar = value.half_width.unwrap_or(f64::NAN);
    match goal {
        Goal::Error => format!("{:.2e} \u{b1} {bar:.1e}", value.mean),
        Goal::Accuracy => format!("{:.2} \u{b1} {:.2} %", 100.0 * value.mean, 100.0 * bar),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(goal: Goal, entries: &[(Method, u32, f64, f64)]) -> Setting {
        let entry = |&(method, group, mean, bar): &(Method, u32, f64, f64)| {
            let value = Estimate { mean, half_width: Some(bar), repetitions: 5 };
            Entry { method, group, value }
        };
        Setting { name: "made-up users".into(), epsilon: 4.0, goal, entries: entries.iter().map(entry).collect() }
    }

    fn finding(goal: Goal, entries: &[(Method, u32, f64, f64)]) -> Finding {
        conclude(&setting(goal, entries)).unwrap()
    }

    use Method::{Els, None, Uls};

    #[test]
    fn the_lower_error_wins_whosever_it_is() {
        let entries =
            [(Els, 1, 9.0, 0.1), (Els, 8, 4.0, 0.1), (Uls, 1, 4.1, 0.1), (Uls, 4, 1.0, 0.1), (Uls, 16, 2.0, 0.1)];
        let found = finding(Goal::Error, &entries);
        assert_eq!((found.verdict, found.uls_group, found.els_group), (Verdict::Uls, 4, 8));
        assert!((found.uls_gain - 0.75).abs() < 1e-12 && found.group_gains);
        assert!(
            found.text.contains("ULS is better by 75 %") && found.text.contains("gains 76 % from G = 1 to 4"),
            "{}",
            found.text
        );

        let swapped = entries.map(|(method, g, mean, bar)| (if method == Els { Uls } else { Els }, g, mean, bar));
        let found = finding(Goal::Error, &swapped);
        assert_eq!((found.verdict, found.uls_group, found.els_group), (Verdict::Els, 8, 4));
        // ELS's error is a quarter of ULS's: three quarters of that are gone.
        assert!((found.uls_gain + 3.0).abs() < 1e-12);
        assert!(found.text.contains("ELS is better by 75 %"), "{}", found.text);
    }

    #[test]
    fn the_higher_accuracy_wins_whosever_it_is() {
        let entries = [(None, 1, 0.9, 0.0), (Els, 8, 0.41, 0.003), (Uls, 1, 0.40, 0.002), (Uls, 4, 0.44, 0.004)];
        let found = finding(Goal::Accuracy, &entries);
        assert_eq!((found.verdict, found.uls_group), (Verdict::Uls, 4));
        assert!((found.uls_gain - 0.03).abs() < 1e-12 && (found.half_width - 0.007).abs() < 1e-12);
        assert!(found.text.contains("ULS is better by 3.00 points"), "{}", found.text);
        let found = finding(Goal::Accuracy, &[(Els, 8, 0.46, 0.003), (Uls, 1, 0.40, 0.002), (Uls, 4, 0.44, 0.004)]);
        assert_eq!(found.verdict, Verdict::Els);
        assert!(found.text.contains("ELS is better by 2.00 points"), "{}", found.text);
    }

    #[test]
    fn within_the_error_bars_nobody_wins() {
        for (goal, sign) in [(Goal::Error, 1.0), (Goal::Error, -1.0), (Goal::Accuracy, 1.0), (Goal::Accuracy, -1.0)] {
            // Bars of 0.03 and 0.04 touch at a distance of 0.07.
            let found = finding(goal, &[(Els, 1, 0.5, 0.03), (Uls, 1, 0.5 + sign * 0.069, 0.04)]);
            assert_eq!(found.verdict, Verdict::Neither);
            assert!(found.text.contains("no difference beyond the error bars"), "{}", found.text);
            let found = finding(goal, &[(Els, 1, 0.5, 0.03), (Uls, 1, 0.5 + sign * 0.071, 0.04)]);
            assert_ne!(found.verdict, Verdict::Neither);
        }
    }

    #[test]
    fn a_gain_from_groups_is_beyond_the_error_bars_or_none() {
        let first = finding(Goal::Error, &[(Els, 1, 2.0, 0.1), (Uls, 1, 2.0, 0.1), (Uls, 4, 5.0, 0.1)]);
        assert!(
            !first.group_gains && first.group_gain == 0.0 && first.text.contains("gains nothing from G: 1"),
            "{}",
            first.text
        );
        let little = finding(Goal::Error, &[(Els, 1, 2.0, 0.1), (Uls, 1, 2.0, 0.1), (Uls, 4, 1.9, 0.1)]);
        assert!(!little.group_gains && little.text.contains("nothing beyond the error bars"), "{}", little.text);
    }

    #[test]
    fn nothing_is_concluded_from_one_repetition_or_one_method() {
        let mut one = setting(Goal::Error, &[(Els, 1, 2.0, 0.1), (Uls, 1, 1.0, 0.1)]);
        one.entries[0].value.half_width = Option::None;
        assert_eq!(conclude(&one), Option::None);
        assert_eq!(conclude(&setting(Goal::Error, &[(Uls, 1, 1.0, 0.1)])), Option::None);
    }
}
