//! `siskin bench`.

use clap::{ArgMatches, Command};

pub(super) fn command() -> Command {
    Command::new("bench").about("Measure").subcommand_required(true)
}

pub(super) fn main(_: &ArgMatches) -> anyhow::Result<()> {
    Ok(())
}
