//! `siskin account calibrate`.

use super::{asked, dp_delta, epsilon_target, help, mechanism, method, option, print, rounds, with_mechanism};
use anyhow::{Context, bail};
use clap::{ArgMatches, Command};
use serde::Serialize;
use siskin_simulator::account::Statement;

pub(super) fn command() -> Command {
    with_mechanism(Command::new("calibrate").about("The least noise for an epsilon, or the most rounds with a noise"))
        .arg(option("epsilon", "E", "the target"))
        .after_help(help::with_table(help::CALIBRATE))
}

#[derive(Serialize)]
struct Calibrated {
    target_epsilon: f64,
    noise: f64,
    rounds: u64,
    /// `noise` or `rounds`: what was looked for.
    found: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<Statement>,
}

pub(super) fn main(matches: &ArgMatches) -> anyhow::Result<()> {
    let (known, adjacency, given) = asked(matches)?;
    let (epsilon, dp_delta, method) = (epsilon_target(matches)?, dp_delta(matches)?, method(matches)?);
    match (given.has("noise"), rounds(matches)?) {
        (true, Some(rounds)) => {
            bail!("--noise and --rounds {rounds}: one of them is to be found, so only the other can be given")
        }
        (false, None) => bail!("--rounds is missing: it gives the noise for so many rounds; with --noise, the rounds"),
        (false, Some(rounds)) => {
            let noise = mechanism(known, &given, rounds)?.noise_for(adjacency, rounds, (epsilon, dp_delta), method)?;
            let mut with = given.clone();
            with.set("noise", noise.to_string());
            let account = mechanism(known, &with, rounds)?.account(adjacency, rounds, dp_delta, method)?;
            let text = format!("noise       {noise} ({}) for epsilon {epsilon}\n{}", known.noise, account.text());
            let found = Calibrated { target_epsilon: epsilon, noise, rounds, found: "noise", account: Some(account) };
            print(matches, &found, &text)
        }
        (true, None) => {
            let noise = given.number("noise")?.context("--noise is missing")?;
            let one = mechanism(known, &given, 1)?;
            let rounds = one.rounds_for(adjacency, (epsilon, dp_delta), method)?;
            let account = match rounds {
                0 | u64::MAX => None,
                rounds => Some(one.account(adjacency, rounds, dp_delta, method)?),
            };
            let text = match (rounds, &account) {
                (0, _) => format!("rounds      0: a single one exceeds epsilon {epsilon} at dp_delta {dp_delta:e}\n"),
                (_, None) => "rounds      without end: nothing is released\n".to_owned(),
                (_, Some(account)) => format!("rounds      {rounds} within epsilon {epsilon}\n{}", account.text()),
            };
            let found = Calibrated { target_epsilon: epsilon, noise, rounds, found: "rounds", account };
            print(matches, &found, &text)
        }
    }
}
