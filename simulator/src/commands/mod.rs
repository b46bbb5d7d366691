//! `siskin run | serve | account | device | prune | compare-pruning | compare-privacy | audit | codec | bench`, and with the feature
//! `onnx` `import | export | fine-tune`.

mod account;
mod audit;
mod bench;
mod codec;
mod compare;
mod compare_privacy;
mod device;
#[cfg(feature = "onnx")]
mod export;
#[cfg(feature = "onnx")]
mod fine_tune;
#[cfg(feature = "onnx")]
mod import;
mod prune;
mod run;
mod serve;

use clap::{Arg, ArgMatches, Command};
use std::process::ExitCode;

/// Reads the command line and does what it says. The exit code is 1 where an audit failed.
pub(crate) fn main() -> anyhow::Result<ExitCode> {
    let cli = run::with_flags(
        Command::new("siskin")
            .version(env!("CARGO_PKG_VERSION"))
            .about("Federated learning in simulation: virtual devices run siskin's client core against its server")
            .after_help(EXAMPLES)
            .args_conflicts_with_subcommands(true)
            .subcommand(
                run::with_flags(Command::new("run").about("Run rounds and write a report (the default)"))
                    .after_help(EXAMPLES),
            )
            .subcommand(serve::command())
            .subcommand(account::command())
            .subcommand(device::command())
            .subcommand(prune::command())
            .subcommand(compare::command())
            .subcommand(audit::command())
            .subcommand(codec::command())
            .subcommand(compare_privacy::command())
            .subcommand(bench::command()),
    );
    #[cfg(feature = "onnx")]
    let cli = cli.subcommand(import::command()).subcommand(export::command()).subcommand(fine_tune::command());
    // Usage errors of clap exit with 2 as well.
    let matches = cli.get_matches();
    match matches.subcommand() {
        Some(("run", run)) => run::main(run),
        Some(("serve", serve)) => serve::main(serve),
        Some(("account", account)) => account::main(account),
        Some(("device", device)) => device::main(device),
        Some(("prune", prune)) => prune::main(prune),
        Some(("compare-pruning", compare)) => compare::main(compare),
        Some(("audit", audit)) => return audit::main(audit),
        Some(("codec", codec)) => codec::main(codec),
        Some(("compare-privacy", compare)) => compare_privacy::main(compare),
        Some(("bench", bench)) => bench::main(bench),
        #[cfg(feature = "onnx")]
        Some(("import", import)) => import::main(import),
        #[cfg(feature = "onnx")]
        Some(("export", export)) => export::main(export),
        #[cfg(feature = "onnx")]
        Some(("fine-tune", fine_tune)) => fine_tune::main(fine_tune),
        _ => run::main(&matches),
    }
    .map(|()| ExitCode::SUCCESS)
}

const EXAMPLES: &str = "\
Examples:
  siskin                                        the embedded digits, 2,000 virtual writers
  siskin run --rounds 20 --cohort 100 --seed 7  fewer rounds, another seed
  siskin run --data DIR                         IDX files: images, labels, users (gzipped or not)
  siskin run --data FILE.tsv                    text: users' columns, then `text` (gzipped or not)
  siskin run --noise-multiplier 0 --out plain   without privacy noise, for comparison
  siskin run --bits-per-param 0.1               the step follows reports' sizes to a budget
  siskin run --noise-multiplier 0 --bits-per-param 0.03   without privacy, a part of the params a report
  siskin run --step-schedule halving:20:0.5     the step by the number of the round
  siskin run --noise-multiplier 0 --rate-slope 4   the error that one more bit must save
  siskin run --print-config > run.toml          the effective settings as a file
  siskin run --config run.toml                  the same again
  siskin serve --help                           devices on serial lines among the virtual ones
  siskin account --help                         what mechanisms cost in privacy: epsilon, noise, rounds
  siskin device --plan siskin-out/model.plan    what the plan costs on a device
  siskin prune --help                           masks of tensors in a file
  siskin compare-pruning --data DIR             dense and pruned runs side by side
  siskin audit --quick                          does the mechanism release what its claim says
  siskin codec --help                           the codec beside published ones
  siskin compare-privacy --data FILE.tsv        example- against user-level sampling at equal compute
  siskin bench a1 --data DIR                    the side-by-side workload of simulators
  siskin bench sparse                           layers' training steps, sparse against dense

Files: report.html to look at, report.json for programs, model.safetensors, model.plan.
Exit code: 0 done, 2 something in the command, the settings or the data is wrong (the message says what and where).";

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(clap::ArgAction::SetTrue)
}

fn is_set(matches: &ArgMatches, name: &str) -> bool {
    matches.get_flag(name)
}
