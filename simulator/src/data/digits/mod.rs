//! The embedded data set: handwritten digits, redrawn by thousands of virtual writers.
//!
//! Originals: the 1,797 images of 8x8 pixels of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin, Kaynak), as the
//! crate `smartcore` carries them. 36 of each digit, 360 images, a fifth, are set aside before any device sees one. Each
//! device is a writer with
//! - its own **hand**: slant, turn, size, place, stroke and contrast, all from the seed ([`Hand`]);
//! - its own **mix** of digits: Dirichlet(`alpha`), 0.3 unless told otherwise;
//! - its own **number** of examples: uniform in a range, 20 to 60 unless told otherwise.
//!
//! An example is a training original drawn through the hand; a device has no original twice before it has had all of that
//! digit. The test set is the 360 originals as they are; a device's personal test is some of them through its own hand, in
//! its own mix.
//!
//! Nothing drawn is stored: a device costs 48 bytes and 2 an example, and [`super::Federated::fill`] resamples (well below
//! 2 microseconds in a release build). All of it is the same on every platform and in any order of calls.

mod hand;
mod random;

pub use hand::Hand;

use super::{DataError, Examples, Federated, InputShape, Scale, TestSet, Values};
use hand::{Original, Pen};
use random::Random;

/// One channel of 8x8.
pub const SHAPE: InputShape = InputShape { channels: 1, height: 8, width: 8 };
/// The digits.
pub const CLASSES: u32 = 10;
/// Originals of each digit that are held out.
pub const HELD_OUT_PER_DIGIT: usize = 36;

const PIXELS: usize = SHAPE.features();

/// What the virtual writers are like.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Decides everything: split, hands, mixes, numbers.
    pub seed: u64,
    /// Writers; 1 to 10,000,000.
    pub devices: usize,
    /// Concentration of the Dirichlet distribution of digits: small means that each writer writes few digits. 0.001 to 1000.
    pub alpha: f64,
    /// Least and most training examples of a writer; 1 to 10,000.
    pub examples: (u32, u32),
    /// Examples of each writer's personal test; at most 10,000.
    pub personal_tests: u32,
    /// Factor on the spread of the hands: 0 leaves the originals as they are, 1 is the default, at most 2.
    pub strength: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 1, devices: 2_000, alpha: 0.3, examples: (20, 60), personal_tests: 20, strength: 1.0 }
    }
}

impl Options {
    fn check(&self) -> Result<(), DataError> {
        let (least, most) = self.examples;
        let examples = self.devices as u64 * (u64::from(most) + u64::from(self.personal_tests));
        let checks = [
            ("devices", self.devices.to_string(), (1..=10_000_000).contains(&self.devices), "1 to 10,000,000"),
            ("alpha", self.alpha.to_string(), (0.001..=1000.0).contains(&self.alpha), "0.001 to 1000"),
            (
                "examples",
                format!("{least} to {most}"),
                1 <= least && least <= most && most <= 10_000,
                "1 to 10,000, the least first",
            ),
            ("personal_tests", self.personal_tests.to_string(), self.personal_tests <= 10_000, "0 to 10,000"),
            (
                "devices",
                self.devices.to_string(),
                examples <= u64::from(u32::MAX),
                "so that there are fewer than 2^32 examples",
            ),
            ("strength", self.strength.to_string(), (0.0..=2.0).contains(&self.strength), "0 to 2"),
        ];
        match checks.into_iter().find(|(_, _, good, _)| !good) {
            Some((name, value, _, allowed)) => Err(DataError::Setting { name, value, allowed }),
            None => Ok(()),
        }
    }
}

/// What one device owns.
#[derive(Debug)]
struct Writer {
    pen: Pen,
    /// Of its picks.
    first: u32,
    train: u16,
    personal: u16,
}

/// All virtual writers over one copy of the originals.
#[derive(Debug)]
pub(super) struct Writers {
    originals: Vec<Original>,
    writers: Vec<Writer>,
    /// Original of each example: a writer's training examples, then its personal test.
    picks: Vec<u16>,
}

impl Writers {
    pub(super) fn devices(&self) -> usize {
        self.writers.len()
    }

    pub(super) fn examples(&self, device: usize) -> usize {
        usize::from(self.writers[device].train)
    }

    pub(super) fn personal_tests(&self, device: usize) -> usize {
        usize::from(self.writers[device].personal)
    }

    fn original(&self, writer: &Writer, pick: usize) -> &Original {
        &self.originals[usize::from(self.picks[writer.first as usize + pick])]
    }

    pub(super) fn label(&self, device: usize, example: usize) -> u32 {
        let writer = &self.writers[device];
        assert!(example < usize::from(writer.train), "device {device} has {} examples, not {example}", writer.train);
        u32::from(self.original(writer, example).label)
    }

    pub(super) fn fill(&self, device: usize, example: usize, features: &mut [f32]) -> u32 {
        let writer = &self.writers[device];
        assert!(example < usize::from(writer.train), "device {device} has {} examples, not {example}", writer.train);
        self.draw(writer, example, features)
    }

    pub(super) fn fill_personal(&self, device: usize, example: usize, features: &mut [f32]) -> u32 {
        let writer = &self.writers[device];
        assert!(example < usize::from(writer.personal), "device {device} has {} tests, not {example}", writer.personal);
        self.draw(writer, usize::from(writer.train) + example, features)
    }

    fn draw(&self, writer: &Writer, pick: usize, features: &mut [f32]) -> u32 {
        let features: &mut [f32; PIXELS] = features.try_into().expect("room for one example of 64 pixels");
        let original = self.original(writer, pick);
        writer.pen.draw(original, features);
        u32::from(original.label)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(self.originals.as_slice())
            + size_of_val(self.writers.as_slice())
            + size_of_val(self.picks.as_slice())
    }
}

/// Which originals are left to be picked, digit by digit; a digit that runs out starts again.
struct Decks<'a> {
    full: &'a [Vec<u16>],
    left: Vec<Vec<u16>>,
}

impl<'a> Decks<'a> {
    fn new(full: &'a [Vec<u16>]) -> Self {
        Self { full, left: vec![Vec::new(); full.len()] }
    }

    fn pick(&mut self, digit: usize, random: &mut Random) -> u16 {
        let left = &mut self.left[digit];
        if left.is_empty() {
            left.extend_from_slice(&self.full[digit]);
        }
        left.swap_remove(random.below(left.len() as u32) as usize)
    }

    fn reset(&mut self) {
        self.left.iter_mut().for_each(Vec::clear);
    }
}

/// The hand of `device`, as [`load`] gives it; to explain why one device fares worse than another.
///
/// # Errors
/// [`DataError::Setting`] if an option is out of its range.
pub fn hand(options: &Options, device: usize) -> Result<Hand, DataError> {
    options.check()?;
    Ok(Hand::of(&mut writer_random(options, device), options.strength))
}

/// Stream 0 splits; stream d + 1 is writer d, who therefore does not depend on how many others there are.
fn writer_random(options: &Options, device: usize) -> Random {
    Random::new(options.seed, device as u64 + 1)
}

/// Draws the virtual writers.
///
/// # Errors
/// [`DataError::Setting`] if an option is out of its range.
pub fn load(options: &Options) -> Result<Federated, DataError> {
    options.check()?;
    let digits = smartcore::dataset::digits::load_dataset();
    // The values are whole numbers from 0 to 16.
    let pixels: Vec<u8> = digits.data.iter().map(|&v| v as u8).collect();
    let labels: Vec<u8> = digits.target.iter().map(|&v| v as u8).collect();

    let mut random = Random::new(options.seed, 0);
    let mut train = vec![Vec::new(); CLASSES as usize];
    for (i, &label) in labels.iter().enumerate() {
        train[usize::from(label)].push(i as u16);
    }
    let mut held_out = Vec::new();
    for digit in &mut train {
        random.shuffle(digit);
        held_out.push(digit.split_off(digit.len() - HELD_OUT_PER_DIGIT));
    }

    let (mut decks, mut personal_decks) = (Decks::new(&train), Decks::new(&held_out));
    let (mut writers, mut picks) = (Vec::with_capacity(options.devices), Vec::new());
    let (least, most) = options.examples;
    for device in 0..options.devices {
        let mut random = writer_random(options, device);
        let pen = Hand::of(&mut random, options.strength).pen();
        let mix = random.dirichlet::<{ CLASSES as usize }>(options.alpha);
        let count = least + random.below(most - least + 1);
        // `check` saw to it that all of them fit.
        let first = picks.len() as u32;
        decks.reset();
        personal_decks.reset();
        for _ in 0..count {
            picks.push(decks.pick(random.weighted(&mix), &mut random));
        }
        for _ in 0..options.personal_tests {
            picks.push(personal_decks.pick(random.weighted(&mix), &mut random));
        }
        writers.push(Writer { pen, first, train: count as u16, personal: options.personal_tests as u16 });
    }
    picks.shrink_to_fit();

    let mut test_values = Vec::with_capacity(CLASSES as usize * HELD_OUT_PER_DIGIT * PIXELS);
    let mut test_labels = Vec::new();
    for (digit, images) in held_out.iter().enumerate() {
        for &image in images {
            test_values.extend_from_slice(&pixels[usize::from(image) * PIXELS..][..PIXELS]);
            test_labels.push(digit as u16);
        }
    }
    let test = TestSet::new(
        Examples::new(&SHAPE, Values::U8(test_values), test_labels, Scale::uniform(1, 1.0 / 16.0, 0.0)),
        Vec::new(),
    );
    let originals =
        pixels.chunks_exact(PIXELS).zip(&labels).map(|(image, &label)| Original::new(image, label)).collect();
    let split = format!(
        "360 of 1,797 originals, {HELD_OUT_PER_DIGIT} of each digit, held out before any was drawn (seed {}); personal tests \
         are held-out originals in the writer's hand",
        options.seed
    );
    let scaling = "ink 0..16 / 16".into();
    let set = Federated::drawn(Writers { originals, writers, picks }, split, scaling, test);
    set.check()?;
    Ok(set)
}

#[cfg(test)]
mod tests;
