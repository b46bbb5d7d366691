//! Strategies of correlated noise side by side: `cargo run --release -p siskin-accounting --example strategies [n b k]`.
//!
//! First at unit noise multiplier, then the root mean square error, in clip norms, at equal epsilon and dp_delta 1e-10.

use siskin_accounting::Adjacency;
use siskin_accounting::correlated::{Blt, Objective, Participation, Plan, Strategy, StrategyError, Toeplitz, Tree};
use std::time::Instant;

fn strategies(rule: Participation) -> Result<Vec<(Strategy, u32, f64)>, StrategyError> {
    let (n, b) = (rule.rounds(), rule.min_separation());
    let mut all = vec![
        (Strategy::Toeplitz(Toeplitz::independent()), 0, 0.0),
        (Strategy::Tree(Tree::Binary), Tree::levels(n), 0.0),
        (Strategy::Tree(Tree::Honaker), Tree::levels(n), 0.0),
        (Strategy::Toeplitz(Toeplitz::square_root(n)?), n, 0.0),
    ];
    let since = Instant::now();
    let banded = Toeplitz::banded(n, b, Objective::Rms)?;
    all.push((Strategy::Toeplitz(banded), b, since.elapsed().as_secs_f64()));
    for buffers in 1..=4 {
        let since = Instant::now();
        let blt = Blt::optimized(rule, buffers, Objective::Max)?;
        all.push((Strategy::Blt(blt), buffers as u32, since.elapsed().as_secs_f64()));
    }
    Ok(all)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers = std::env::args().skip(1).map(|word| word.parse()).collect::<Result<Vec<u32>, _>>()?;
    let rule = match numbers[..] {
        [] => Participation::new(2000, 400, 5)?,
        [n, b, k] => Participation::new(n, b, k)?,
        _ => return Err("give rounds, minimum separation and most participations, or nothing".into()),
    };
    let all = strategies(rule)?;
    println!("{:<45} {:>8} {:>8} {:>8} {:>6} {:>9}", "strategy", "sens", "rms", "max", "state", "optimised");
    for (strategy, state, seconds) in &all {
        let (sens, error) = (strategy.sensitivity(rule).get(), strategy.error(rule.rounds()));
        let (rms, max) = (sens * error.rms, sens * error.max);
        let name = strategy.kind().to_string();
        println!("{name:<45} {sens:>8.3} {rms:>8.3} {max:>8.3} {state:>6} {seconds:>7.2} s");
    }
    println!("\n{:<45} {:>8} {:>8} {:>8} {:>8}", "rms at epsilon", 1, 2, 4, 8);
    for (strategy, ..) in &all {
        print!("{:<45}", strategy.kind().to_string());
        for epsilon in [1.0, 2.0, 4.0, 8.0] {
            let plan = Plan::calibrated(strategy.clone(), rule, Adjacency::ZeroOut, epsilon, 1e-10)?;
            print!(" {:>8.1}", plan.zeta() * strategy.error(rule.rounds()).rms);
        }
        println!();
    }
    let since = Instant::now();
    let plan = Plan::new(Strategy::Tree(Tree::Binary), rule, 1.0)?;
    let certain = plan.sensitivity().exact;
    println!("\nsensitivity of a tree: {:.4} s, exact: {certain}", since.elapsed().as_secs_f64());
    Ok(())
}
