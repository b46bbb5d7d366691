//! What a run shows while it goes on. All of it goes to stderr, so that stdout stays for results.

use crate::report::RoundRecord;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How a run shows itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// [`Mode::Bar`] where stderr is a terminal that can redraw a line, else [`Mode::Plain`].
    #[default]
    Auto,
    /// A bar and its figures, redrawn in place.
    Bar,
    /// A line now and then, at most about [`MOST_LINES`], for logs; reports are counted since the line before.
    Plain,
    /// Messages only.
    Quiet,
}

/// Lines that [`Mode::Plain`] prints for the rounds of a run.
pub const MOST_LINES: u64 = 25;

/// Shows the rounds of one run.
pub struct Progress {
    total: u64,
    started: Instant,
    /// The last accuracy and epsilon that were known: not every round is evaluated.
    accuracy: Option<f64>,
    epsilon: Option<f64>,
    counts: Counts,
    display: Display,
}

/// What [`Mode::Plain`] counts since the last line, for what lies between two lines must show too; [`Mode::Bar`] shows
/// each round by itself, but keeps the sum of abandoned ones.
#[derive(Clone, Copy, Default)]
struct Counts {
    selected: u64,
    reports_in: u64,
    dropped: u64,
    abandoned: u64,
}

enum Display {
    Bar(ProgressBar),
    Plain { out: Box<dyn Write + Send>, every: u64, printed: u64 },
    Quiet { out: Box<dyn Write + Send> },
}

impl Progress {
    /// For a run of `total_rounds` rounds, shown on stderr.
    #[must_use]
    pub fn new(total_rounds: u64, mode: Mode) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let mode = match mode {
            Mode::Auto if io::stderr().is_terminal() && !dumb => Mode::Bar,
            Mode::Auto => Mode::Plain,
            mode => mode,
        };
        if mode == Mode::Bar {
            let bar = ProgressBar::with_draw_target(Some(total_rounds), ProgressDrawTarget::stderr_with_hz(8));
            bar.set_style(bar_style());
            // A round may take minutes: the clock shows that the run is alive.
            bar.enable_steady_tick(Duration::from_millis(500));
            return Self::with(total_rounds, Display::Bar(bar));
        }
        Self::writing_to(Box::new(io::stderr()), total_rounds, mode)
    }

    /// Plain lines, or none but messages for [`Mode::Quiet`], to `out`.
    #[must_use]
    pub fn writing_to(out: Box<dyn Write + Send>, total_rounds: u64, mode: Mode) -> Self {
        let display = match mode {
            Mode::Quiet => Display::Quiet { out },
            _ => Display::Plain { out, every: round_interval(total_rounds, MOST_LINES), printed: 0 },
        };
        Self::with(total_rounds, display)
    }

    fn with(total: u64, display: Display) -> Self {
        Self { total, started: Instant::now(), accuracy: None, epsilon: None, counts: Counts::default(), display }
    }

    /// A round is done.
    pub fn update(&mut self, round: &RoundRecord) {
        let finite = |x: Option<f64>| x.filter(|x| x.is_finite());
        self.accuracy = finite(round.accuracy).or(self.accuracy);
        self.epsilon = finite(round.epsilon).or(self.epsilon);
        let counts = &mut self.counts;
        counts.selected += round.selected;
        counts.reports_in += round.reports_in;
        counts.dropped += round.dropped.devices();
        counts.abandoned += u64::from(round.abandoned);
        let figures = self.figures(round);
        let left = self.left(round.round);
        match &mut self.display {
            Display::Bar(bar) => {
                // A resumed run begins in the middle: the position is the round, not a count of calls.
                bar.set_position(round.round);
                bar.set_message(figures);
                self.counts = Counts { abandoned: self.counts.abandoned, ..Counts::default() };
                bar.set_prefix(left.map_or(String::new(), |left| format!("{} left", span(left))));
            }
            Display::Plain { out, every, printed } => {
                let due = round.round <= 1 || round.round.is_multiple_of(*every) || round.round == self.total;
                if due && *printed != round.round {
                    *printed = round.round;
                    let width = self.total.to_string().len();
                    let left = left.map_or(String::new(), |left| format!(", {} left", span(left)));
                    // A closed stderr must not end a run that is hours old.
                    let _ = writeln!(out, "round {:>width$}/{}: {figures}{left}", round.round, self.total);
                    self.counts = Counts::default();
                }
            }
            Display::Quiet { .. } => {}
        }
    }

    /// A line that stays, whatever the mode.
    pub fn message(&mut self, text: &str) {
        match &mut self.display {
            Display::Bar(bar) => bar.suspend(|| {
                let _ = writeln!(io::stderr(), "{text}");
            }),
            Display::Plain { out, .. } | Display::Quiet { out } => {
                let _ = writeln!(out, "{text}");
            }
        }
    }

    /// The run is over: the bar keeps its last state, and the lines are flushed.
    pub fn finish(&mut self) {
        match &mut self.display {
            Display::Bar(bar) => {
                bar.set_prefix("");
                bar.abandon();
                // The cursor stands at the end of the last line; results on stdout must begin on their own.
                if !bar.is_hidden() {
                    let _ = writeln!(io::stderr());
                }
            }
            Display::Plain { out, .. } | Display::Quiet { out } => {
                let _ = out.flush();
            }
        }
    }

    fn figures(&self, round: &RoundRecord) -> String {
        let mut parts = Vec::with_capacity(6);
        if let Some(accuracy) = self.accuracy {
            parts.push(format!("accuracy {:.1} %", accuracy * 100.0));
        } else if let Some(loss) = round.mean_train_loss.filter(|l| l.is_finite()) {
            parts.push(format!("train loss {loss:.3}"));
        }
        // What matters most comes first: a narrow terminal cuts the end.
        if let Some(epsilon) = self.epsilon {
            parts.push(format!("epsilon {epsilon:.2}"));
        }
        if let Some(bits) = round.bits_per_param.live.filter(|b| b.is_finite()) {
            parts.push(format!("{bits:.2} bits/param"));
        }
        let counts = &self.counts;
        parts.push(format!("{}/{} reports", counts.reports_in, counts.selected));
        for (n, what) in [(counts.dropped, "dropped"), (counts.abandoned, "abandoned")] {
            if n > 0 {
                parts.push(format!("{n} {what}"));
            }
        }
        parts.join(", ")
    }

    /// Wall-clock time left, at the mean pace so far; none before there is a pace.
    fn left(&self, round: u64) -> Option<Duration> {
        let left = self.total.checked_sub(round).filter(|left| *left > 0)?;
        let seconds = self.started.elapsed().as_secs_f64() / round.max(1) as f64 * left as f64;
        (round > 0).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
    }
}

/// Every how many rounds a line is shown, so that there are about `most` of them: 1, 2 or 5 times a power of ten, for
/// 7, 14, 21 is hard to scan.
pub(crate) fn round_interval(total: u64, most: u64) -> u64 {
    let least = total.div_ceil(most).max(1);
    let mut power = 1;
    loop {
        for head in [1, 2, 5] {
            if head * power >= least {
                return head * power;
            }
        }
        power = match u64::checked_mul(power, 10) {
            Some(power) if power < u64::MAX / 10 => power,
            _ => return least,
        };
    }
}

/// Two lines, for the figures alone fill one of 80 columns; a narrower terminal cuts the second.
const BAR: &str = "{bar:32.green/dim} round {pos}/{len}  {prefix:.dim}\n{wide_msg}";

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template(BAR)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("\u{2501}\u{2578}\u{2500}")
}

fn span(time: Duration) -> String {
    match time.as_secs() {
        s if s < 100 => format!("{s} s"),
        s if s < 6000 => format!("{} min", (s + 30) / 60),
        s => format!("{:.1} h", s as f64 / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);
    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn run(total: u64, mode: Mode) -> String {
        let shared = Shared::default();
        let mut progress = Progress::writing_to(Box::new(shared.clone()), total, mode);
        progress.message("loaded");
        for round in 1..=total {
            progress.update(&RoundRecord {
                round,
                selected: 20,
                reports_in: 19,
                dropped: crate::report::Dropped { late: 1, ..Default::default() },
                accuracy: (round % 5 == 0).then_some(0.5),
                epsilon: Some(f64::INFINITY),
                ..RoundRecord::default()
            });
        }
        progress.finish();
        let bytes = shared.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn plain_lines_are_few_and_hold_the_ends() {
        for total in [1, 2, 24, 25, 26, 51, 200, 999, 1000, 12_345] {
            let text = run(total, Mode::Plain);
            let lines: Vec<&str> = text.lines().collect();
            assert!(lines.len() as u64 <= MOST_LINES + 3, "{total}: {} lines", lines.len());
            assert!(lines.len() as u64 > total.min(8), "{total}: {} lines", lines.len());
            assert!(lines[1].starts_with("round ") && lines[1].contains(&format!("1/{total}: ")), "{}", lines[1]);
            assert!(lines[lines.len() - 1].starts_with(&format!("round {total}/{total}: ")));
            assert!(!text.contains("inf") && !text.contains("NaN"));
        }
    }

    #[test]
    fn a_line_holds_the_last_known_accuracy() {
        let text = run(7, Mode::Plain);
        let last = text.lines().last().unwrap();
        assert_eq!(last, "round 7/7: accuracy 50.0 %, 19/20 reports, 1 dropped");
        assert!(text.lines().nth(1).unwrap().contains("1/7: 19/20 reports"), "{text}");
    }

    #[test]
    fn no_drop_falls_between_two_lines() {
        let text = run(200, Mode::Plain);
        let number = |line: &str, unit: &str| {
            let before = line.split(unit).next().unwrap();
            before.rsplit(' ').next().unwrap().split('/').next().unwrap().parse::<u64>().unwrap()
        };
        let lines = || text.lines().skip(1);
        assert_eq!(lines().map(|l| number(l, " reports")).sum::<u64>(), 200 * 19);
        assert_eq!(lines().map(|l| number(l, " dropped")).sum::<u64>(), 200);
    }

    #[test]
    fn quiet_keeps_messages() {
        assert_eq!(run(100, Mode::Quiet), "loaded\n");
    }

    #[test]
    fn intervals_are_round() {
        assert_eq!([1, 25, 26, 100, 200, 1000].map(|n| round_interval(n, 25)), [1, 1, 2, 5, 10, 50]);
        assert!(round_interval(u64::MAX, MOST_LINES) >= u64::MAX / MOST_LINES);
    }

    #[test]
    fn the_bar_template_is_sound() {
        // `bar_style` falls back silently; the template itself must parse.
        assert!(ProgressStyle::with_template(BAR).is_ok());
        let mut progress = Progress::new(3, Mode::Bar);
        progress.update(&RoundRecord { round: 3, ..RoundRecord::default() });
        progress.finish();
    }
}
