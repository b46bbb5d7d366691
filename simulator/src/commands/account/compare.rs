//! `siskin account compare`.

use super::{dp_delta, help, option, print, text, write_picture};
use crate::commands::switch;
use clap::{ArgMatches, Command};
use siskin_simulator::account::{AccountError, Comparison, Kind, compare, count, list, number, of_comparison};

pub(super) fn command() -> Command {
    Command::new("compare")
        .about("User-level against example-level sampling at equal compute")
        .arg(option("users", "N", "users, each with as many examples as the largest group (default 100000)"))
        .arg(option("budget", "B", "gradients a step (default 4096)"))
        .arg(option("rounds", "T", "steps (default 2000)"))
        .arg(option("dp-delta", "D", "the probability at which epsilon is stated, above 0 and below 1"))
        .arg(option("epsilon", "LIST", "targets, with commas between (default 1,4)"))
        .arg(option("groups", "LIST", "examples of a user that count (default 1,4,16,64)"))
        .arg(option("correlation", "RHO", "mean cosine of two gradients of a user, 0 to 1 (default 0.1)"))
        .arg(option("out", "FILE.svg", "where the picture goes (default siskin-compare.svg)"))
        .arg(switch("json", "print JSON on standard output"))
        .after_help(help::COMPARE)
}

pub(super) fn main(matches: &ArgMatches) -> anyhow::Result<()> {
    let or = |name: &str, default: &'static str| text(matches, name).unwrap_or(default).to_owned();
    let size = (
        count("users", &or("users", "100000"))?,
        count("budget", &or("budget", "4096"))?,
        count("rounds", &or("rounds", "2000"))?,
    );
    let correlation = number("correlation", &or("correlation", "0.1"), Kind::Probability)?;
    let epsilons = list("epsilon", &or("epsilon", "1,4"), Kind::Positive)?;
    let groups = or("groups", "1,4,16,64").split(',').map(|one| count("groups", one)).collect::<Result<Vec<_>, _>>()?;
    for (flag, many) in [("epsilon", epsilons.len()), ("groups", groups.len())] {
        if many > 32 {
            let refused =
                AccountError::Flag { flag, value: format!("with {many} values"), message: "at most 32".into() };
            return Err(refused.into());
        }
    }
    let compared = compare(size, dp_delta(matches)?, correlation, &epsilons, &groups)?;
    let picture = or("out", "siskin-compare.svg");
    write_picture(&picture, &of_comparison(&compared))?;
    print(matches, &compared, &(table(&compared) + &format!("written {picture}\n")))
}

fn table(compared: &Comparison) -> String {
    let mut text = format!(
        "{} users, {} gradients a step, {} steps, dp_delta {:e}; noise: standard deviation in the mean gradient x 1e4, in the \
         bound of one example's gradient\n{:>8}{:>6}{:>12}{:>11}{:>10}{:>12}{:>11}{:>11}{:>12}{:>12}\n{:>8}{:>6}{:>12}{:>11}{:>10}{:>12}{:>11}{:>11}{:>12}{:>12}\n",
        compared.users,
        compared.budget,
        compared.rounds,
        compared.dp_delta,
        "epsilon",
        "G",
        "example-l.",
        "",
        "user-l.",
        "",
        "noise,",
        format!("rho={}", compared.correlation),
        "",
        "user-l. less",
        "",
        "",
        "sigma",
        "noise",
        "users",
        "sigma",
        "parallel",
        "",
        "orthogonal",
        "below rho"
    );
    for row in &compared.rows {
        text += &format!(
            "{:>8}{:>6}{:>12.4}{:>11.3}{:>10.1}{:>12.4}{:>11.3}{:>11.3}{:>12.3}{:>12.3}\n",
            row.epsilon,
            row.group,
            row.els.noise_multiplier,
            1e4 * row.els.noise,
            row.uls.cohort,
            row.uls.noise_multiplier,
            1e4 * row.uls.noise_parallel,
            1e4 * row.uls.noise,
            1e4 * row.uls.noise_orthogonal,
            row.break_even_correlation
        );
    }
    for line in &compared.conclusions {
        text += line;
        text.push('\n');
    }
    text
}
