//! Scores that are computed when they are asked for: no tensor of scores is ever stored.

/// The score of each entry of a tensor, by flat (row-major) index. The higher, the more it deserves to live.
#[derive(Clone, Copy, Debug)]
pub struct Scores<F> {
    len: usize,
    score: F,
}

impl<F: Fn(usize) -> f32> Scores<F> {
    /// `len` scores; `score` is called several times for each index below `len` and must be pure.
    pub fn new(len: usize, score: F) -> Self {
        Self { len, score }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.len
    }

    /// None at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The score of entry `i`; `None` beyond the last.
    pub fn get(&self, i: usize) -> Option<f32> {
        (i < self.len).then(|| self.of(i))
    }

    /// The score of entry `i`, which must be below [`len`](Self::len).
    pub(super) fn of(&self, i: usize) -> f32 {
        debug_assert!(i < self.len);
        (self.score)(i)
    }
}
