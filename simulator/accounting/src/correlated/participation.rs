//! Who may be in which rounds, and who was.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{StrategyError, Violation};

/// (k, b)-min-sep: in `rounds` rounds a user takes part at most `max_participations` times, in rounds that are at least
/// `min_separation` apart (1: in neighbouring ones too). Choquette-Choo et al. 2023 (arXiv 2306.08153), section 2.
///
/// Both are things that a device can make sure of by itself, unlike a secret coin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Rule", into = "Rule")]
pub struct Participation {
    /// Each at least 1.
    rule: Rule,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Rule {
    rounds: u32,
    min_separation: u32,
    max_participations: u32,
}

impl Participation {
    /// The checked rule.
    ///
    /// # Errors
    /// [`StrategyError::NoRounds`], [`StrategyError::Separation`], [`StrategyError::MaxParticipations`] for a 0.
    pub fn new(rounds: u32, min_separation: u32, max_participations: u32) -> Result<Self, StrategyError> {
        if rounds == 0 {
            return Err(StrategyError::NoRounds);
        }
        if min_separation == 0 {
            return Err(StrategyError::Separation { got: 0 });
        }
        if max_participations == 0 {
            return Err(StrategyError::MaxParticipations { got: 0 });
        }
        Ok(Self { rule: Rule { rounds, min_separation, max_participations } })
    }

    /// n.
    pub fn rounds(self) -> u32 {
        self.rule.rounds
    }

    /// b.
    pub fn min_separation(self) -> u32 {
        self.rule.min_separation
    }

    /// k, as it was asked for.
    pub fn max_participations(self) -> u32 {
        self.rule.max_participations
    }

    /// How often a user can take part in fact: min(k, ceil(n / b)).
    pub fn most(self) -> u32 {
        self.rule.max_participations.min(self.rule.rounds.div_ceil(self.rule.min_separation))
    }

    /// The same rule over another number of rounds.
    ///
    /// # Errors
    /// [`StrategyError::NoRounds`] for 0.
    pub fn over(self, rounds: u32) -> Result<Self, StrategyError> {
        Self::new(rounds, self.rule.min_separation, self.rule.max_participations)
    }

    /// The rounds 0, b, 2b, ... of a user who comes as early and as often as the rule allows.
    pub fn earliest(self) -> impl Iterator<Item = u32> {
        (0..self.most()).map(move |i| i * self.rule.min_separation)
    }

    /// The greatest sum of `of(round)` over the rounds of one user, `of` being at least 0. Exact: with F_k(i) the most
    /// that k participations from round i on are worth, F_k(i) = max(of(i) + F_{k-1}(i + b), F_k(i + 1)). O(n k).
    pub fn most_of(self, of: impl Fn(u32) -> f64) -> f64 {
        let (n, b) = (self.rule.rounds as usize, self.rule.min_separation as usize);
        let worth: Vec<f64> = (0..self.rule.rounds).map(of).collect();
        let mut fewer = vec![0.0; n + 1];
        for _ in 0..self.most() {
            let mut now = vec![0.0_f64; n + 1];
            for i in (0..n).rev() {
                now[i] = now[i + 1].max(worth[i] + fewer[(i + b).min(n)]);
            }
            fewer = now;
        }
        fewer[0]
    }

    /// An upper bound of the sum of `gram(i, j) >= 0` over all pairs of rounds of one user: the rounds i and, for each,
    /// the rounds j are chosen separately. Choquette-Choo et al. 2023, theorem 2's bound. O(n^2 k).
    pub fn most_of_pairs(self, gram: impl Fn(u32, u32) -> f64) -> f64 {
        let rows: Vec<f64> = (0..self.rule.rounds).map(|i| self.most_of(|j| gram(i, j))).collect();
        self.most_of(|i| rows[i as usize])
    }
}

impl TryFrom<Rule> for Participation {
    type Error = StrategyError;

    fn try_from(rule: Rule) -> Result<Self, StrategyError> {
        Self::new(rule.rounds, rule.min_separation, rule.max_participations)
    }
}

impl From<Participation> for Rule {
    fn from(participation: Participation) -> Self {
        participation.rule
    }
}

/// Who took part when, by numbers that the caller gives to users. 4 bytes a participation and some 50 a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Entries", into = "Entries")]
pub struct ParticipationLog {
    /// Rounds that are over.
    rounds: u32,
    /// Rounds below `rounds`, in their order, at least one a user.
    of: BTreeMap<u64, Vec<u32>>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Entries {
    rounds: u32,
    users: Vec<(u64, Vec<u32>)>,
}

impl ParticipationLog {
    /// Of no rounds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends a round in which these users' reports were counted; who is in it twice took part twice.
    pub fn end_round(&mut self, users: impl IntoIterator<Item = u64>) {
        for user in users {
            self.of.entry(user).or_default().push(self.rounds);
        }
        self.rounds = self.rounds.saturating_add(1);
    }

    /// Rounds that are over.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    /// Users who ever took part.
    pub fn users(&self) -> usize {
        self.of.len()
    }

    /// The rounds of a user.
    pub fn of(&self, user: u64) -> &[u32] {
        self.of.get(&user).map_or(&[], |rounds| &rounds[..])
    }

    /// The rounds of each user who took part.
    pub fn patterns(&self) -> impl Iterator<Item = &[u32]> {
        self.of.values().map(|rounds| &rounds[..])
    }

    /// The most participations of a user.
    pub fn most_participations(&self) -> u32 {
        self.patterns().map(|rounds| rounds.len() as u32).max().unwrap_or(0)
    }

    /// The fewest rounds between one participation of a user and the next; none if nobody came twice.
    pub fn least_separation(&self) -> Option<u32> {
        self.patterns().flat_map(|rounds| rounds.windows(2).map(|pair| pair[1] - pair[0])).min()
    }

    /// That `user` may take part in the next round.
    ///
    /// # Errors
    /// The [`Violation`] that it would be.
    pub fn admits(&self, user: u64, rule: Participation) -> Result<(), Violation> {
        let rounds = self.of(user);
        let (most, min_separation) = (rule.max_participations(), rule.min_separation());
        match rounds.last() {
            Some(&round) if self.rounds - round < min_separation => {
                Err(Violation::Separation { user, round, again: self.rounds, min_separation })
            }
            _ if rounds.len() as u64 >= u64::from(most) => {
                Err(Violation::Participations { user, got: rounds.len() as u32 + 1, most })
            }
            _ => Ok(()),
        }
    }

    /// That everybody kept to the rule; in how many rounds is not asked.
    ///
    /// # Errors
    /// The first [`Violation`], by user.
    pub fn keeps(&self, rule: Participation) -> Result<(), Violation> {
        for (&user, rounds) in &self.of {
            let (most, got) = (rule.max_participations(), rounds.len() as u32);
            let min_separation = rule.min_separation();
            if let Some(pair) = rounds.windows(2).find(|pair| pair[1] - pair[0] < min_separation) {
                return Err(Violation::Separation { user, round: pair[0], again: pair[1], min_separation });
            }
            if got > most {
                return Err(Violation::Participations { user, got, most });
            }
        }
        Ok(())
    }
}

impl From<ParticipationLog> for Entries {
    fn from(log: ParticipationLog) -> Self {
        Self { rounds: log.rounds, users: log.of.into_iter().collect() }
    }
}

impl TryFrom<Entries> for ParticipationLog {
    type Error = StrategyError;

    fn try_from(Entries { rounds, users }: Entries) -> Result<Self, StrategyError> {
        let mut of: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for (user, more) in users {
            let mine = of.entry(user).or_default();
            for got in more {
                match mine.last() {
                    _ if got >= rounds => return Err(StrategyError::Round { rounds, got }),
                    Some(&last) if got < last => return Err(StrategyError::Order { last, got }),
                    _ => mine.push(got),
                }
            }
        }
        of.retain(|_, rounds| !rounds.is_empty());
        Ok(Self { rounds, of })
    }
}
