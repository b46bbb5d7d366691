//! `siskin audit`.

use super::{is_set, switch};
use anyhow::{Context, bail};
use clap::{Arg, ArgMatches, Command};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use siskin_accounting::correlated::Tree;
use siskin_simulator::audit::{
    AuditReport, BltSettings, Check, Level, NoiseOn, Real, Settings, TreeSettings, Verdict, audit,
};
use siskin_simulator::report::{WriteError, audit_json, check_writable, write_audit};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;

const EXAMPLES: &str = "\
Examples:
  siskin audit                                   the central profile at noise multiplier 1, all levels
  siskin audit --quick                           the same in seconds; it sees less
  siskin audit --noise-multiplier 2 --clip-norm 0.1 --out audited
  siskin audit --quick --profile local           devices add the noise: its integers against their exact probabilities
  siskin audit --blt 2 --min-separation 4 --participations 3 --canary-rounds 8
  siskin audit --levels 1 --dim 60000 --rounds 100   only the noise and the sensitivity, sharper
  siskin audit --json > audit.json               the report on standard output, no files

Level 1 looks at the noise itself and at what hostile updates do to the sum, level 2 estimates epsilon with canaries (Andrew
et al. 2024), level 3 proves a lower bound (Steinke et al. 2023). The report says of each what it cannot see.

Exit code: 0 every check passed, 1 a check failed, 2 something in the command is wrong.";

pub(super) fn command() -> Command {
    let d = Settings::default();
    let value = |name: &'static str, value: &'static str, help: String| {
        Arg::new(name).long(name).value_name(value).help(help).allow_hyphen_values(true)
    };
    Command::new("audit")
        .about("Check that what the mechanism releases looks as its privacy claim says")
        .arg(value(
            "noise-multiplier",
            "Z",
            format!("noise of the sum over the clip norm (default {})", d.noise_multiplier),
        ))
        .arg(value("clip-norm", "C", format!("L2 bound of a report (default {})", d.clip_norm)))
        .arg(value("step", "STEP", "grid of the reports (default: so fine that rounding hardly matters)".to_owned()))
        .arg(value("dp-delta", "DELTA", format!("at which epsilon is stated (default {:e})", d.dp_delta)))
        .arg(value("alpha", "P", format!("probability with which an honest mechanism fails (default {:e})", d.alpha)))
        .arg(value("seed", "N", format!("of everything random (default {})", d.seed)))
        .arg(value("profile", "NAME", format!("who adds the noise: {} (default central)", names())))
        .arg(value("blt", "BUFFERS", "noise that is correlated over rounds, by a BLT of 1 to 4 buffers".to_owned()))
        .arg(value("tree", "KIND", "noise that is correlated over rounds, by a tree: binary or honaker".to_owned()))
        .arg(value(
            "min-separation",
            "B",
            "with --blt or --tree: rounds between participations of a device (default 4)".to_owned(),
        ))
        .arg(value(
            "participations",
            "K",
            "with --blt or --tree: participations of a device, at the most (default 3)".to_owned(),
        ))
        .arg(value("levels", "LIST", "of 1, 2, 3 (default all)".to_owned()))
        .arg(value("dim", "N", format!("level 1: params, at most 65535 (default {})", d.dim)))
        .arg(value("devices", "N", format!("level 1: devices of the cohort (default {})", d.devices)))
        .arg(value("rounds", "N", format!("level 1: rounds (default {})", d.rounds)))
        .arg(value("canaries", "N", format!("level 2: canary devices (default {})", d.canaries)))
        .arg(value("ordinary", "N", format!("level 2: other devices (default {})", d.ordinary)))
        .arg(value("canary-dim", "N", format!("levels 2 and 3: params, at most 65535 (default {})", d.canary_dim)))
        .arg(value("canary-rounds", "N", format!("level 2: rounds (default {})", d.canary_rounds)))
        .arg(value("coins", "N", format!("level 3: canaries of which a coin decides (default {})", d.coins)))
        .arg(switch("quick", "fewer of everything, where no number is given"))
        .arg(value("out", "DIR", "folder of audit.json and audit.html (default siskin-audit)".to_owned()))
        .arg(switch("json", "print the report as JSON on standard output and write no files"))
        .arg(switch("quiet", "no progress"))
        .after_help(EXAMPLES)
}

pub(super) fn main(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let settings = settings(matches)?;
    settings.check()?;
    let json = is_set(matches, "json");
    let out = Path::new(matches.get_one::<String>("out").map_or("siskin-audit", String::as_str));
    if !json {
        check_writable(out)?;
    }
    let bar = bar(is_set(matches, "quiet"));
    let mut watch = |what: &str, done: u64, of: u64| {
        bar.set_length(of);
        bar.set_position(done);
        bar.set_message(what.to_owned());
    };
    let report = audit(&Real, &settings, std::env::args().collect(), &mut watch)?;
    bar.finish_and_clear();
    let mut stdout = std::io::stdout().lock();
    if json {
        stdout.write_all(audit_json(&report)?.as_bytes()).context("cannot write to standard output")?;
    } else {
        let (html, file) = (out.join("audit.html"), out.join("audit.json"));
        write_audit(&report, &html, &file).map_err(|e: WriteError| anyhow::anyhow!(e))?;
        write!(stdout, "{}written\n  {}\n  {}\n", table(&report), html.display(), file.display())
            .context("cannot write to standard output")?;
    }
    Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn settings(matches: &ArgMatches) -> anyhow::Result<Settings> {
    let mut s = Settings::default();
    if is_set(matches, "quick") {
        s = s.quick();
    }
    set(matches, "noise-multiplier", &mut s.noise_multiplier)?;
    set(matches, "clip-norm", &mut s.clip_norm)?;
    let mut step = 0.0;
    set(matches, "step", &mut step)?;
    s.step = matches.contains_id("step").then_some(step);
    set(matches, "dp-delta", &mut s.dp_delta)?;
    set(matches, "alpha", &mut s.alpha)?;
    if let Some(name) = matches.get_one::<String>("profile") {
        s.profile =
            NoiseOn::NAMES.into_iter().find(|(n, _)| n == name).map(|(_, profile)| profile).with_context(|| {
                format!("--profile {name}: there is none of that name; it must be one of {}", names())
            })?;
    }
    (s.blt, s.tree) = correlated(matches)?;
    if s.profile != NoiseOn::Central {
        for (given, name) in [(s.blt.is_some(), "blt"), (s.tree.is_some(), "tree")] {
            if given {
                bail!("--{name}: only the server's noise is correlated over rounds; leave --profile out");
            }
        }
    }
    set(matches, "seed", &mut s.seed)?;
    set(matches, "dim", &mut s.dim)?;
    set(matches, "devices", &mut s.devices)?;
    set(matches, "rounds", &mut s.rounds)?;
    set(matches, "canaries", &mut s.canaries)?;
    set(matches, "ordinary", &mut s.ordinary)?;
    set(matches, "canary-dim", &mut s.canary_dim)?;
    set(matches, "canary-rounds", &mut s.canary_rounds)?;
    set(matches, "coins", &mut s.coins)?;
    if let Some(list) = matches.get_one::<String>("levels") {
        let level = |name: &str| match name.trim() {
            "1" => Ok(Level::Unit),
            "2" => Ok(Level::Canary),
            "3" => Ok(Level::OneRun),
            other => bail!("--levels {list}: `{other}` is no level; it must be 1, 2 or 3"),
        };
        s.levels = list.split(',').map(level).collect::<Result<_, _>>()?;
        s.levels.sort();
        s.levels.dedup();
    }
    Ok(s)
}

fn names() -> String {
    NoiseOn::NAMES.map(|(name, _)| name).join(", ")
}

fn correlated(matches: &ArgMatches) -> anyhow::Result<(Option<BltSettings>, Option<TreeSettings>)> {
    let (mut min_separation, mut participations, mut buffers) = (4, 3, 0);
    set(matches, "blt", &mut buffers)?;
    set(matches, "min-separation", &mut min_separation)?;
    set(matches, "participations", &mut participations)?;
    let tree = match matches.get_one::<String>("tree").map(String::as_str) {
        None => None,
        Some("binary") => Some(Tree::Binary),
        Some("honaker") => Some(Tree::Honaker),
        Some(other) => bail!("--tree {other}: there is none of that name; it must be binary or honaker"),
    };
    match (matches.contains_id("blt"), tree) {
        (true, Some(_)) => bail!("--blt and --tree: noise is correlated by one of them"),
        (true, None) => Ok((Some(BltSettings { buffers, min_separation, participations }), None)),
        (false, Some(tree)) => Ok((None, Some(TreeSettings { tree, min_separation, participations }))),
        (false, None) => {
            match ["min-separation", "participations"].into_iter().find(|name| matches.contains_id(name)) {
                Some(name) => bail!("--{name}: it means something with --blt or --tree only"),
                None => Ok((None, None)),
            }
        }
    }
}

fn set<T: FromStr>(matches: &ArgMatches, name: &str, to: &mut T) -> anyhow::Result<()> {
    if let Some(text) = matches.get_one::<String>(name) {
        *to = text.parse().map_err(|_| {
            let kind =
                if std::any::type_name::<T>().starts_with('f') { "a number" } else { "a whole number, not negative," };
            anyhow::anyhow!("--{name} {text}: {kind} belongs here")
        })?;
    }
    Ok(())
}

fn bar(quiet: bool) -> ProgressBar {
    // Hidden by itself where stderr is no terminal.
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(8) };
    let style = ProgressStyle::with_template("{bar:32.green/dim} {pos}/{len}  {msg}  {elapsed:.dim}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("\u{2501}\u{2578}\u{2500}");
    let bar = ProgressBar::with_draw_target(Some(1), target).with_style(style);
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    bar
}

fn table(report: &AuditReport) -> String {
    let s = &report.settings;
    let mut text = format!(
        "{}\nclaimed: noise multiplier {}, clip norm {}; seed {}\n",
        report.mechanism, s.noise_multiplier, s.clip_norm, s.seed
    );
    for level in Level::ALL {
        let checks: Vec<&Check> = report.checks.iter().filter(|c| c.level == level).collect();
        if checks.is_empty() {
            continue;
        }
        text += &format!("\nlevel {}: {}\n", level.number(), level.name());
        for check in checks {
            text += &row(check);
        }
        text += &wrapped("  cannot see: ", level.misses());
    }
    let (passed, all) = (report.checks.iter().filter(|c| c.passed).count(), report.checks.len());
    text + &format!(
        "\n{passed} of {all} checks passed; a statistical one fails below p = {:.1e} (alpha {:e} over their number)\n",
        report.least_probability, s.alpha
    )
}

fn row(check: &Check) -> String {
    let mark = if check.passed { "ok  " } else { "FAIL" };
    let p = match check.verdict {
        Verdict::Probability(p) => format!("p = {p:.2e}"),
        Verdict::Exact(_) => "exact".to_owned(),
    };
    format!("  {mark} {}\n         {}; claimed: {}; {p}\n", check.name, check.seen, check.claimed)
}

/// Lines of at most a hundred characters, the first behind `head`, the others as far in.
fn wrapped(head: &str, text: &str) -> String {
    let indent = " ".repeat(head.len());
    let (mut lines, mut line) = (String::new(), head.to_owned());
    for word in text.split_whitespace() {
        if line.len() + word.len() > 100 {
            lines += line.trim_end();
            lines.push('\n');
            line = indent.clone();
        }
        line += word;
        line.push(' ');
    }
    lines + line.trim_end() + "\n"
}
