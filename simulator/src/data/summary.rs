//! Who has how much of what: the partition, for reports.

use super::Federated;
use std::fmt;

/// Counts over a whole data set.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// [`Federated::name`].
    pub name: String,
    /// `[channels, height, width]` of an example.
    pub shape: [usize; 3],
    /// [`Federated::classes`].
    pub classes: u32,
    /// Targets of an example, those included that are none.
    pub targets: usize,
    /// Devices that train.
    pub users: usize,
    /// Training examples of all users.
    pub examples: usize,
    /// Fewest training examples of a user.
    pub least: usize,
    /// Median over users (the lower of the two in the middle).
    pub median: usize,
    /// Most training examples of a user.
    pub most: usize,
    /// Targets of training examples that are this label; an example has more than one where [`Self::targets`] is above 1.
    pub labels: Vec<usize>,
    /// Median over users of the number of labels that a user has.
    pub median_labels_per_user: usize,
    /// Held-out examples on the users' own devices.
    pub personal_tests: usize,
    /// Examples that no device has.
    pub test_examples: usize,
    /// Users whom those belong to; 0 if the source does not tell.
    pub test_users: usize,
    /// Of the test users, how many also train.
    pub test_users_that_train: usize,
    /// The same of the test examples.
    pub test_labels: Vec<usize>,
    /// Labels to be tested that no device has an example of.
    pub labels_only_in_test: usize,
    /// [`Federated::split`].
    pub split: String,
    /// [`Federated::scaling`].
    pub scaling: String,
}

/// Lower median; 0 of nothing.
fn median(values: &mut [usize]) -> usize {
    values.sort_unstable();
    values.len().checked_sub(1).map_or(0, |last| values[last / 2])
}

impl Summary {
    pub(super) fn of(set: &Federated) -> Self {
        let classes = set.classes as usize;
        let mut labels = vec![0; classes];
        // Which user was last seen with a label: spares clearing a table of classes for every user.
        let mut seen_by = vec![usize::MAX; classes];
        let (mut sizes, mut kinds) = (Vec::new(), Vec::new());
        for device in 0..set.devices() {
            sizes.push(set.examples(device));
            let mut distinct = 0;
            for example in 0..set.examples(device) {
                set.each_target(device, example, |label| {
                    let label = label as usize;
                    labels[label] += 1;
                    distinct += usize::from(seen_by[label] != device);
                    seen_by[label] = device;
                });
            }
            kinds.push(distinct);
        }
        let mut test_labels = vec![0; classes];
        for i in 0..set.test.len() {
            set.test.each_target(i, |label| test_labels[label as usize] += 1);
        }
        let train_users: std::collections::BTreeSet<i64> = (0..set.devices()).map(|d| set.user(d)).collect();
        let median_size = median(&mut sizes);
        Self {
            name: set.name.clone(),
            shape: [set.shape.channels, set.shape.height, set.shape.width],
            classes: set.classes,
            targets: set.targets_per_example(),
            users: set.devices(),
            examples: sizes.iter().sum(),
            least: sizes.first().copied().unwrap_or(0),
            median: median_size,
            most: sizes.last().copied().unwrap_or(0),
            median_labels_per_user: median(&mut kinds),
            personal_tests: (0..set.devices()).map(|d| set.personal_tests(d)).sum(),
            test_examples: set.test.len(),
            test_users: set.test.users().len(),
            test_users_that_train: set.test.users().iter().filter(|u| train_users.contains(&u.user)).count(),
            labels_only_in_test: labels
                .iter()
                .zip(&test_labels)
                .filter(|&(&train, &test)| train == 0 && test > 0)
                .count(),
            labels,
            test_labels,
            split: set.split.clone(),
            scaling: set.scaling.clone(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [channels, height, width] = self.shape;
        writeln!(f, "{}: {channels}x{height}x{width}, {} classes", self.name, self.classes)?;
        writeln!(
            f,
            "  training   {} users, {} examples (a user: {} / {} / {} min / median / max; {} labels in the median)",
            self.users, self.examples, self.least, self.median, self.most, self.median_labels_per_user
        )?;
        write!(f, "  test       {} examples", self.test_examples)?;
        if self.test_users > 0 {
            write!(f, " of {} users, {} of whom train", self.test_users, self.test_users_that_train)?;
        }
        writeln!(f, "; {} on the users' own devices", self.personal_tests)?;
        if self.targets > 1 {
            let [train, test] = [&self.labels, &self.test_labels].map(|labels| labels.iter().sum::<usize>());
            writeln!(f, "  targets    at most {} an example: {train} of training, {test} of test", self.targets)?;
        }
        if self.labels_only_in_test > 0 {
            writeln!(f, "  attention  {} labels of the test have no training example", self.labels_only_in_test)?;
        }
        if self.classes <= 32 {
            writeln!(f, "  labels     {:?}", self.labels)?;
            writeln!(f, "  tested     {:?}", self.test_labels)?;
        }
        writeln!(f, "  split      {}", self.split)?;
        write!(f, "  scaling    {}", self.scaling)
    }
}
