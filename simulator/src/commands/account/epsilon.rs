//! `siskin account epsilon`.

use super::{asked, dp_delta, help, mechanism, method, needed, print, rounds, with_mechanism};
use anyhow::Context;
use clap::{ArgMatches, Command};

pub(super) fn command() -> Command {
    with_mechanism(Command::new("epsilon").about("The epsilon of so many rounds of a mechanism"))
        .after_help(help::with_table(help::EPSILON))
}

pub(super) fn main(matches: &ArgMatches) -> anyhow::Result<()> {
    let (known, adjacency, given) = asked(matches)?;
    needed(matches, "noise", known.noise)?;
    let rounds = rounds(matches)?.context("--rounds is missing: how often the mechanism releases something")?;
    let statement =
        mechanism(known, &given, rounds)?.account(adjacency, rounds, dp_delta(matches)?, method(matches)?)?;
    print(matches, &statement, &statement.text())
}
