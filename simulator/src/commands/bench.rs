//! `siskin bench`.

use clap::{ArgMatches, Command};

pub fn command() -> Command {
    Command::new("bench").about("Measure").subcommand_required(true)
}

pub fn main(_: &ArgMatches) -> anyhow::Result<()> {
    Ok(())
}
