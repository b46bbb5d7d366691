//! `siskin serve`.

use super::{is_set, run};
use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use siskin_simulator::config::resolve;
use siskin_simulator::run::{load_data, serve};
use siskin_simulator::serve::{Lines, Traffic, write_device_files};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

pub(super) fn command() -> Command {
    run::with_flags(Command::new("serve").about("Run rounds with devices at the other end of a byte stream, such as boards on a UART"))
        .arg(
            Arg::new("serial")
                .long("serial")
                .value_name("PORT")
                .required(true)
                .action(ArgAction::Append)
                .help("listen on [HOST:]PORT for one device (TCP); once for each: the first is device 0, the second device 1; port 0 takes a free one"),
        )
        .arg(
            Arg::new("patience")
                .long("patience")
                .value_name("SECONDS")
                .default_value("120")
                .help("a device of which nothing is heard for this long has dropped out of the round"),
        )
        .arg(
            Arg::new("device-files")
                .long("device-files")
                .value_name("DIR")
                .help("write what each of these devices learns from, and its seed, into DIR before the first round (for tests)"),
        )
        .after_help(EXAMPLES)
}

const EXAMPLES: &str = "\
All other devices of the population are virtual, as in `siskin run`; a run gives the same model, to the bit, whether a device is virtual or
on a line, if both have the same examples and randomness (--device-files).

Examples:
  siskin serve --serial 7001 --rounds 5              device 0 on port 7001 of this machine
  siskin serve --serial 7001 --serial 7002 --devices 202 --cohort 202 --over-selection 1 --dropout 0 --device-files boards
  qemu-system-arm -M olimex-stm32-h405 -chardev socket,id=uart,host=127.0.0.1,port=7001 -serial chardev:uart ...

Exit code: 0 done, 2 something in the command, the settings or the data is wrong (the message says what and where).";

pub(super) fn main(matches: &ArgMatches) -> anyhow::Result<()> {
    let layers = run::layers(matches)?;
    let data = load_data(&resolve(&layers, None)?)?;
    let config = resolve(&layers, Some(data.problem()))?;
    if is_set(matches, "print-config") {
        return run::print_config(&config.calibrated(data.devices())?);
    }
    let patience = matches.get_one::<String>("patience").map_or("", String::as_str);
    let patience = match patience.parse::<f64>() {
        Ok(seconds) if (1.0..=1e6).contains(&seconds) => Duration::from_secs_f64(seconds),
        _ => bail!("--patience {patience}: seconds between 1 and 1000000 belong here"),
    };
    let addresses: Vec<String> = matches.get_many::<String>("serial").into_iter().flatten().cloned().collect();
    if addresses.len() > data.devices() {
        bail!("--serial is there {} times, but the population has {} devices", addresses.len(), data.devices());
    }
    let mut lines = Lines::listen(&addresses, patience)?;
    if let Some(folder) = matches.get_one::<String>("device-files") {
        write_device_files(Path::new(folder), &data, lines.len(), config.run.seed, config.fleet.rounds)?;
    }
    for (device, address) in lines.addresses().enumerate() {
        eprintln!("device {device} is expected on {address}");
    }
    let finished = serve(&config, &data, std::env::args().collect(), &mut lines)?;
    let traffic: Vec<Traffic> = lines.traffic().collect();
    run::show(&finished, is_set(matches, "json"))?;
    let mut out = std::io::stderr().lock();
    for (device, Traffic { connections, up, down, reports }) in traffic.into_iter().enumerate() {
        let rounds = config.fleet.rounds;
        writeln!(out, "device {device}: {reports} reports in {rounds} rounds, {up} bytes up, {down} down, {connections} connections")
            .context("cannot write to standard error")?;
    }
    Ok(())
}
