//! `siskin account curve`.

use super::{asked, dp_delta, help, mechanism, needed, option, print, rounds, text, with_mechanism, write_picture};
use anyhow::Context;
use clap::{ArgMatches, Command};
use serde::Serialize;
use siskin_accounting::Adjacency;
use siskin_simulator::account::{AccountError, Curve, Kind, count, list, of_curves, rounded_up};

pub(super) fn command() -> Command {
    with_mechanism(Command::new("curve").about("Epsilon over the rounds: a table, JSON and a picture"))
        .mut_arg("noise", |arg| arg.help("as for epsilon; several with commas between are several lines"))
        .arg(option("points", "N", "points of a line, up to 1000 (default 20)"))
        .arg(option("out", "FILE.svg", "where the picture goes (default siskin-curve.svg)"))
        .after_help(help::with_table(help::CURVE))
}

#[derive(Serialize)]
struct Curves {
    mechanism: &'static str,
    adjacency: Adjacency,
    unit: &'static str,
    dp_delta: f64,
    curves: Vec<Curve>,
    assumptions: Vec<String>,
    picture: String,
}

pub(super) fn main(matches: &ArgMatches) -> anyhow::Result<()> {
    let (known, adjacency, given) = asked(matches)?;
    let noises = list("noise", needed(matches, "noise", known.noise)?, Kind::NotNegative)?;
    let rounds = rounds(matches)?.context("--rounds is missing: the end of the line")?;
    let dp_delta = dp_delta(matches)?;
    if text(matches, "accountant").is_some() {
        anyhow::bail!("--accountant: a curve is always that of the tightest one");
    }
    let points = count("points", text(matches, "points").unwrap_or("20"))?;
    if points > 1000 {
        let refused =
            AccountError::Flag { flag: "points", value: points.to_string(), message: "must be at most 1000".into() };
        return Err(refused.into());
    }
    let mut at: Vec<u64> =
        (1..=points).map(|i| (u128::from(rounds) * u128::from(i)).div_ceil(points.into()) as u64).collect();
    at.dedup();
    let mut curves = Vec::new();
    let mut assumptions = Vec::new();
    for noise in noises {
        let mut one = given.clone();
        one.set("noise", noise.to_string());
        let mechanism = mechanism(known, &one, rounds)?;
        // What the account refuses, such as an adjacency, the curve does too.
        mechanism.account(adjacency, rounds, dp_delta, siskin_accounting::Method::default())?;
        curves.push(Curve { noise, points: mechanism.curve(adjacency, &at, dp_delta)? });
        assumptions = mechanism.assumptions(adjacency);
    }
    let picture = text(matches, "out").unwrap_or("siskin-curve.svg").to_owned();
    let title = format!("Epsilon of {} over rounds", known.name);
    let note = format!("dp_delta {dp_delta:e}, a user with all examples, adjacency {adjacency}");
    write_picture(&picture, &of_curves(&curves, &title, &note))?;
    let table = table(&curves, dp_delta) + &format!("written {picture}\n");
    let unit = "user";
    let json = Curves { mechanism: known.name, adjacency, unit, dp_delta, curves, assumptions, picture };
    print(matches, &json, &table)
}

fn table(curves: &[Curve], dp_delta: f64) -> String {
    let mut text = format!("epsilon at dp_delta {dp_delta:e}\n{:>12}", "rounds");
    for curve in curves {
        text += &format!("  {:>14}", format!("noise {}", curve.noise));
    }
    text.push('\n');
    let rows = curves.first().map_or(0, |curve| curve.points.len());
    for row in 0..rows {
        text += &format!("{:>12}", curves[0].points[row].rounds);
        for curve in curves {
            text += &format!("  {:>14}", rounded_up(curve.points[row].epsilon));
        }
        text.push('\n');
    }
    text
}
