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
    /// One line that is redrawn.
    Bar,
    /// A line now and then, at most about [`MOST_LINES`], for logs.
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
    /// Counts since the last line, so that what happened between two lines is still shown.
    abandoned: u64,
    display: Display,
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
            _ => Display::Plain { out, every: every(total_rounds), printed: 0 },
        };
        Self::with(total_rounds, display)
    }

    fn with(total: u64, display: Display) -> Self {
        Self { total, started: Instant::now(), accuracy: None, epsilon: None, abandoned: 0, display }
    }

    /// A round is done.
    pub fn update(&mut self, round: &RoundRecord) {
        let finite = |x: Option<f64>| x.filter(|x| x.is_finite());
        self.accuracy = finite(round.accuracy).or(self.accuracy);
        self.epsilon = finite(round.epsilon).or(self.epsilon);
        self.abandoned += u64::from(round.abandoned);
        let figures = self.figures(round);
        let left = self.left(round.round);
        match &mut self.display {
            Display::Bar(bar) => {
                // A resumed run begins in the middle: the position is the round, not a count of calls.
                bar.set_position(round.round);
                bar.set_message(figures);
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
                    self.abandoned = 0;
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
        if let Some(bits) = round.bits_per_param.live.filter(|b| b.is_finite()) {
            parts.push(format!("{bits:.2} bits/param"));
        }
        parts.push(format!("{}/{} reports", round.reports_in, round.selected));
        let dropped = round.dropped.devices();
        if dropped > 0 {
            parts.push(format!("{dropped} dropped"));
        }
        if self.abandoned > 0 {
            parts.push(format!("{} abandoned", self.abandoned));
        }
        if let Some(epsilon) = self.epsilon {
            parts.push(format!("epsilon {epsilon:.2}"));
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

/// Every how many rounds a plain line is printed: a round number, for 7th, 14th, 21st is hard to scan.
fn every(total: u64) -> u64 {
    let least = total.div_ceil(MOST_LINES).max(1);
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

fn bar_style() -> ProgressStyle {
    let narrow = ProgressStyle::with_template("{bar:20.green/dim} {pos}/{len} {wide_msg} {prefix:.dim}");
    narrow.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("\u{2501}\u{2578}\u{2500}")
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
    fn quiet_keeps_messages() {
        assert_eq!(run(100, Mode::Quiet), "loaded\n");
    }

    #[test]
    fn intervals_are_round() {
        assert_eq!([1, 25, 26, 100, 200, 1000].map(every), [1, 1, 2, 5, 10, 50]);
        assert!(every(u64::MAX) >= u64::MAX / MOST_LINES);
    }

    #[test]
    fn the_bar_template_is_sound() {
        // `bar_style` falls back silently; the template itself must parse.
        assert!(ProgressStyle::with_template("{bar:20.green/dim} {pos}/{len} {wide_msg} {prefix:.dim}").is_ok());
        let mut progress = Progress::new(3, Mode::Bar);
        progress.update(&RoundRecord { round: 3, ..RoundRecord::default() });
        progress.finish();
    }
}
