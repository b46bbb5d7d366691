//! What `--help` says below the options.

use siskin_simulator::account::KNOWN;

pub(super) const ACCOUNT: &str = "\
Examples:
  siskin account epsilon --mechanism uls --noise 1 --sampling 0.01 --rounds 1000 --dp-delta 1e-6
  siskin account calibrate --mechanism els --group 8 --sampling 0.01 --rounds 1000 --epsilon 4 --dp-delta 1e-6
  siskin account curve --noise 0.8,1,2 --sampling 0.01 --rounds 1000 --dp-delta 1e-6 --out curve.svg
  siskin account compare --users 100000 --budget 4096 --rounds 2000 --dp-delta 1e-6
  siskin account events composition.json --dp-delta 1e-6 --json

Every epsilon is that of a user with all examples. Exit code: 0 done, 2 something is wrong (the message says what and where).";

pub(super) const EPSILON: &str = "\
Examples:
  siskin account epsilon --mechanism uls --noise 1 --sampling 0.01 --rounds 1000 --dp-delta 1e-6
  siskin account epsilon --mechanism els --noise 4 --sampling 0.01 --group 8 \\
      --rounds 1000 --dp-delta 1e-6 --json
  siskin account epsilon --mechanism two-stage --noise 4 --sampling 0.01 \\
      --example-sampling 0.5 --group 8 --rounds 1000 --dp-delta 1e-6
  siskin account epsilon --mechanism mixture --noise 6 --norms 1,2 --weights 0.7,0.3 \\
      --rounds 50 --dp-delta 1e-6
  siskin account epsilon --mechanism truncated --noise 1 --sampling 0.01 --users 100000 \\
      --cap 1030 --rounds 1000 --dp-delta 1e-6
  siskin account epsilon --mechanism blt --noise 4 --separation 400 --participations 5 \\
      --rounds 2000 --dp-delta 1e-10

--noise of correlated mechanisms is z: the standard deviation over C and the sensitivity.";

pub(super) const CALIBRATE: &str = "\
Examples:
  siskin account calibrate --epsilon 2 --sampling 0.01 --rounds 1000 --dp-delta 1e-6   noise
  siskin account calibrate --epsilon 2 --sampling 0.01 --noise 1.2 --dp-delta 1e-6     rounds
  siskin account calibrate --mechanism blt --epsilon 1 --separation 100 --rounds 500 --dp-delta 1e-6";

pub(super) const CURVE: &str = "\
Examples:
  siskin account curve --noise 1 --sampling 0.01 --rounds 1000 --dp-delta 1e-6
  siskin account curve --mechanism els --group 8 --noise 2,4 --sampling 0.01 --rounds 2000 \\
      --points 50 --dp-delta 1e-6 --out els.svg --json";

pub(super) const COMPARE: &str = "\
Example:
  siskin account compare --epsilon 1,4 --groups 1,4,16,64 --correlation 0.2 --dp-delta 1e-6

Example-level: each of the N G examples by a coin of probability B / (N G), clipped one by one.
User-level: each user by a coin of probability B / (G N), the mean of G gradients clipped to
L sqrt(rho + (1 - rho) / G). Users with fewer than G examples make example-level sampling worse
than the table says.";

pub(super) const EVENTS: &str = "\
The file:
  {
    \"adjacency\": \"add_or_remove\",
    \"events\": [
      {\"rounds\": 500, \"release\": {\"mechanism\": \"uls\", \"noise_multiplier\": 1.0, \"rate\": 0.01}},
      {\"rounds\": 500, \"release\": {\"mechanism\": \"els\", \"noise_multiplier\": 4.0, \"rate\": 0.01, \"group\": 8}}
    ]
  }

Adjacency is add_or_remove, zero_out or replace_one. The README of siskin-accounting has every mechanism and its numbers.

Example:
  siskin account events composition.json --dp-delta 1e-6 --json";

/// With the table of mechanisms.
pub(super) fn with_table(examples: &str) -> String {
    let mut text = String::from("Mechanisms, what --noise is of each, and what it needs [and takes]:\n");
    for known in KNOWN {
        let needs: String = known.needs.iter().map(|name| format!(" --{name}")).collect();
        let takes: String = known.takes.iter().map(|name| format!(" [--{name}]")).collect();
        text += &format!(
            "  {:<18}{}; {}; noise: {}\n                   {}{takes}\n",
            known.name,
            known.about,
            known.adjacency,
            known.noise,
            if needs.is_empty() { "(nothing)" } else { needs.trim_start() }
        );
    }
    format!("{text}\n{examples}")
}
