//! Memory that the caller lends, and the exact plan of where everything lies in it.
//!
//! The core allocates nothing. A session works in one byte slice; [`MemoryPlan`] says, before anything is
//! downloaded, how many bytes a plan needs and for what. The front of the slice is *persistent* (it is what
//! [`save`](crate::session::Session::save) writes), the back is *scratch* (its contents mean nothing between two polls).

mod layout;

pub use layout::{MemoryPlan, Region, required_bytes};

use bytemuck::Pod;

/// Alignment, in bytes, that the caller's memory must have. Where the processor has a data cache, memory on a multiple of 64 trains
/// faster: batches that are a multiple of 16 then lie in whole cache lines.
pub const ALIGNMENT: usize = 8;

/// A block of `N` bytes with the alignment that a session needs, for a `static` or the stack.
///
/// ```
/// let mut memory = siskin::arena::Memory::<4096>::new();
/// assert_eq!(memory.bytes().len(), 4096);
/// ```
#[derive(Debug)]
#[repr(align(8))]
pub struct Memory<const N: usize>([u8; N]);

impl<const N: usize> Memory<N> {
    /// `N` zero bytes.
    pub const fn new() -> Self {
        Self([0; N])
    }

    /// The bytes, aligned to [`ALIGNMENT`].
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl<const N: usize> Default for Memory<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// Why the lent memory cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ArenaError {
    /// The slice is shorter than the plan needs.
    TooSmall {
        /// Bytes that the plan needs.
        required: usize,
        /// Bytes that were lent.
        lent: usize,
    },
    /// The slice does not start on a multiple of [`ALIGNMENT`].
    Misaligned {
        /// Address modulo [`ALIGNMENT`].
        offset: usize,
    },
}

impl core::fmt::Display for ArenaError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooSmall { required, lent } => write!(f, "the arena has {lent} bytes, the plan needs {required}"),
            Self::Misaligned { offset } => write!(f, "the arena starts {offset} bytes past a multiple of {ALIGNMENT}"),
        }
    }
}

impl core::error::Error for ArenaError {}

/// The lent memory.
#[derive(Debug)]
pub struct Arena<'a> {
    bytes: &'a mut [u8],
}

impl<'a> Arena<'a> {
    /// Takes the caller's bytes.
    ///
    /// # Errors
    /// [`ArenaError::Misaligned`] if they do not start on a multiple of [`ALIGNMENT`].
    pub fn new(bytes: &'a mut [u8]) -> Result<Self, ArenaError> {
        let offset = bytes.as_ptr().addr() % ALIGNMENT;
        if offset == 0 { Ok(Self { bytes }) } else { Err(ArenaError::Misaligned { offset }) }
    }

    /// Bytes lent.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True if nothing was lent.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Checks that `required` bytes are there.
    ///
    /// # Errors
    /// [`ArenaError::TooSmall`] with both numbers.
    pub fn check(&self, required: usize) -> Result<(), ArenaError> {
        if self.bytes.len() < required {
            return Err(ArenaError::TooSmall { required, lent: self.bytes.len() });
        }
        Ok(())
    }

    /// The bytes of one region.
    ///
    /// # Panics
    /// If the region does not lie within the lent memory; regions come from a [`MemoryPlan`] that was checked.
    pub fn bytes(&self, region: Region) -> &[u8] {
        &self.bytes[region.range()]
    }

    /// The bytes of one region, to write.
    pub fn bytes_mut(&mut self, region: Region) -> &mut [u8] {
        &mut self.bytes[region.range()]
    }

    /// A typed view of one region.
    pub fn view<T: Pod>(&self, region: Region) -> &[T] {
        bytemuck::cast_slice(self.bytes(region))
    }

    /// A typed view of one region, to write.
    pub fn view_mut<T: Pod>(&mut self, region: Region) -> &mut [T] {
        bytemuck::cast_slice_mut(self.bytes_mut(region))
    }

    /// Several regions at once, to write.
    ///
    /// # Panics
    /// If two of them overlap; the layout's own regions of one moment never do.
    pub fn split<const N: usize>(&mut self, regions: [Region; N]) -> [&mut [u8]; N] {
        match self.bytes.get_disjoint_mut(regions.map(|r| r.range())) {
            Ok(parts) => parts,
            Err(_) => unreachable!("regions of one moment are disjoint and inside the arena"),
        }
    }
}

/// Reinterprets bytes of a region as numbers.
pub(crate) fn cast<T: Pod>(bytes: &mut [u8]) -> &mut [T] {
    bytemuck::cast_slice_mut(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misaligned_or_small_slice_is_refused_with_numbers() {
        let mut memory = Memory::<64>::new();
        assert!(Arena::new(&mut memory.bytes()[..]).is_ok());
        assert_eq!(Arena::new(&mut memory.bytes()[3..]).unwrap_err(), ArenaError::Misaligned { offset: 3 });
        let arena = Arena::new(memory.bytes()).unwrap();
        assert_eq!(arena.check(65), Err(ArenaError::TooSmall { required: 65, lent: 64 }));
        assert_eq!(arena.check(64), Ok(()));
    }

    #[test]
    fn regions_can_be_held_together() {
        let mut memory = Memory::<64>::new();
        let mut arena = Arena::new(memory.bytes()).unwrap();
        let (a, b) = (Region::new(0, 16), Region::new(16, 8));
        let [x, y] = arena.split([a, b]);
        cast::<f32>(x)[3] = 2.5;
        cast::<u32>(y)[0] = 7;
        assert_eq!(arena.view::<f32>(a), &[0.0, 0.0, 0.0, 2.5]);
        assert_eq!(arena.view::<u32>(b), &[7, 0]);
    }
}
