//! Windows of token sequences: the next token is the target at each position.

use super::InputShape;
use siskin::model::kernel::IGNORE;

/// Windows that follow each other over sequences of tokens, without overlap.
///
/// A sequence is stored once, behind the token that leads it: a window's inputs are `length` tokens, its targets the tokens one
/// further on. The positions of a last window that the sequence does not fill have [`Windows::pad`] for input and no target.
#[derive(Debug, Clone)]
pub struct Windows {
    /// Positions of a window, at least 1.
    length: usize,
    pad: u16,
    /// Sequence after sequence, each behind its leading token.
    tokens: Vec<u16>,
    windows: Vec<Window>,
}

/// One window: positions `first..first + targets` are inputs that have a target.
#[derive(Debug, Clone, Copy)]
struct Window {
    first: u32,
    /// From 1 to `length`.
    targets: u32,
}

impl Windows {
    /// No window yet.
    ///
    /// # Panics
    /// If `length` is 0.
    #[must_use]
    pub fn new(length: usize, pad: u16) -> Self {
        assert!(length > 0, "a window has positions");
        Self { length, pad, tokens: Vec::new(), windows: Vec::new() }
    }

    /// Cuts `sequence` into windows; every token of it is a target once, the first one behind the input `lead`. Returns how
    /// many windows it became, or `None` if there would be more than 2^32 tokens in all: it is then not taken.
    pub fn push(&mut self, lead: u16, sequence: &[u16]) -> Option<u32> {
        let (first, count) = (self.tokens.len(), sequence.len().div_ceil(self.length));
        u32::try_from(first + sequence.len() + 1).ok()?;
        for w in 0..count {
            let done = w * self.length;
            let targets = self.length.min(sequence.len() - done);
            self.windows.push(Window { first: (first + done) as u32, targets: targets as u32 });
        }
        if count > 0 {
            self.tokens.push(lead);
            self.tokens.extend_from_slice(sequence);
        }
        u32::try_from(count).ok()
    }

    /// Input of a position behind the end of a sequence.
    #[must_use]
    pub fn pad(&self) -> u16 {
        self.pad
    }

    /// Positions of a window.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Windows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// True if there is no window.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Targets of all windows together, padding not counted.
    #[must_use]
    pub fn targets(&self) -> u64 {
        self.windows.iter().map(|w| u64::from(w.targets)).sum()
    }

    /// Gives away what was reserved but not used.
    pub fn shrink(&mut self) {
        self.tokens.shrink_to_fit();
        self.windows.shrink_to_fit();
    }

    /// The inputs of window `i` that have a target, and those targets.
    fn pairs(&self, i: usize) -> (&[u16], &[u16]) {
        let Window { first, targets } = self.windows[i];
        let (first, targets) = (first as usize, targets as usize);
        let tokens = &self.tokens[first..=first + targets];
        (&tokens[..targets], &tokens[1..])
    }

    pub(super) fn each_target(&self, i: usize, see: &mut impl FnMut(u32)) {
        self.pairs(i).1.iter().for_each(|&t| see(u32::from(t)));
    }

    pub(super) fn fill(&self, i: usize, features: &mut [f32], targets: &mut [u32]) {
        assert!(features.len() == self.length && targets.len() == self.length, "room for one window");
        let (inputs, next) = self.pairs(i);
        let (own, padding) = features.split_at_mut(inputs.len());
        own.iter_mut().zip(inputs).for_each(|(to, &token)| *to = f32::from(token));
        padding.fill(f32::from(self.pad));
        let (own, padding) = targets.split_at_mut(next.len());
        own.iter_mut().zip(next).for_each(|(to, &token)| *to = u32::from(token));
        padding.fill(IGNORE);
    }

    /// The first thing that is wrong, if any.
    pub(super) fn fault(&self, shape: &InputShape, classes: u32) -> Option<String> {
        if (shape.channels, shape.height, shape.width) != (1, self.length, 1) {
            return Some(format!("windows of {} are not of shape {shape}", self.length));
        }
        let wrong = self.tokens.iter().chain([&self.pad]).find(|&&t| u32::from(t) >= classes)?;
        Some(format!("token {wrong} is none of a vocabulary of {classes}"))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.tokens.capacity() * 2 + self.windows.capacity() * size_of::<Window>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_a_target_once() {
        let mut windows = Windows::new(3, 9);
        assert_eq!(windows.push(0, &[1, 2, 3, 4, 5, 6, 7]), Some(3));
        assert_eq!(windows.push(0, &[]), Some(0));
        assert_eq!(windows.push(5, &[8]), Some(1));
        assert_eq!((windows.len(), windows.targets()), (4, 8));
        let (mut x, mut y) = ([0.0; 3], [0; 3]);
        let mut at = |i| {
            windows.fill(i, &mut x, &mut y);
            (x, y)
        };
        assert_eq!(at(0), ([0.0, 1.0, 2.0], [1, 2, 3]));
        assert_eq!(at(1), ([3.0, 4.0, 5.0], [4, 5, 6]));
        assert_eq!(at(2), ([6.0, 9.0, 9.0], [7, IGNORE, IGNORE]));
        assert_eq!(at(3), ([5.0, 9.0, 9.0], [8, IGNORE, IGNORE]), "nothing of the sequence before");
        let shape = |height| InputShape { channels: 1, height, width: 1 };
        assert_eq!(windows.fault(&shape(3), 10), None);
        assert!(windows.fault(&shape(3), 9).is_some_and(|f| f.contains("token 9")));
        assert!(windows.fault(&shape(2), 10).is_some_and(|f| f.contains("not of shape 1x2x1")));
    }
}
