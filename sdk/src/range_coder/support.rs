//! Which coordinates of a tensor are live, in which order they are coded, and in which column each stands.

use core::fmt;

/// Live coordinates of one tensor `[rows, columns]`, row by row. A bias of n is `Dense { rows: 1, cols: n }`.
///
/// The coder checks a support before it uses it, so one that was built by hand is refused, never trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support<'a> {
    /// Every coordinate lives.
    Dense {
        /// Number of rows (`out` of a weight `[out, in]`).
        rows: u32,
        /// Length of a row (`in`).
        cols: u32,
    },
    /// Compressed sparse rows.
    Csr {
        /// Row `r` owns positions `row_ptr[r] .. row_ptr[r + 1]` of `cols`; starts with 0, ends with `cols.len()`.
        row_ptr: &'a [u32],
        /// Column of each live coordinate.
        cols: &'a [u16],
        /// Number of columns, `> max(cols)`.
        width: u32,
    },
    /// Compressed sparse rows of which several neighbours are the same: those of [`Csr`](Self::Csr), each repeated.
    Blocks {
        /// As of [`Csr`](Self::Csr), an entry for each `height` rows.
        row_ptr: &'a [u32],
        /// As of [`Csr`](Self::Csr).
        cols: &'a [u16],
        /// As of [`Csr`](Self::Csr).
        width: u32,
        /// Rows with the same columns.
        height: u32,
    },
}

/// What is wrong with a [`Support`].
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SupportError {
    /// `rows * cols` is more than `usize` holds.
    TooLarge {
        /// As in the support.
        rows: u32,
        /// As in the support.
        cols: u32,
    },
    /// `row_ptr` is empty or does not start with 0.
    RowStart,
    /// Row `row` ends before it starts.
    RowOrder {
        /// Which row.
        row: usize,
    },
    /// `row_ptr` ends with another number than that of the columns.
    Length {
        /// Last entry of `row_ptr`.
        expected: usize,
        /// `cols.len()`.
        got: usize,
    },
    /// A column outside the tensor.
    Column {
        /// Which entry of `cols`.
        position: usize,
        /// Its value.
        got: u16,
        /// Number of columns.
        width: u32,
    },
}

impl fmt::Display for SupportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { rows, cols } => write!(f, "{rows} x {cols} coordinates are too many"),
            Self::RowStart => write!(f, "row_ptr does not start with 0"),
            Self::RowOrder { row } => write!(f, "row {row} ends before it starts"),
            Self::Length { expected, got } => write!(f, "row_ptr ends with {expected}, but there are {got} columns"),
            Self::Column { position, got, width } => write!(f, "column {got} at {position} is not below {width}"),
        }
    }
}

impl core::error::Error for SupportError {}

impl<'a> Support<'a> {
    /// All coordinates of `[rows, cols]`.
    ///
    /// # Errors
    /// [`SupportError::TooLarge`].
    pub fn dense(rows: u32, cols: u32) -> Result<Self, SupportError> {
        let support = Self::Dense { rows, cols };
        support.check().map(|()| support)
    }

    /// Those of compressed sparse rows.
    ///
    /// # Errors
    /// Any but `TooLarge`.
    pub fn csr(row_ptr: &'a [u32], cols: &'a [u16], width: u32) -> Result<Self, SupportError> {
        let support = Self::Csr { row_ptr, cols, width };
        support.check().map(|()| support)
    }

    /// Number of live coordinates, `usize::MAX` if `usize` cannot hold it.
    pub fn live(&self) -> usize {
        match *self {
            Self::Dense { rows, cols } => (rows as usize).saturating_mul(cols as usize),
            Self::Csr { cols, .. } => cols.len(),
            Self::Blocks { cols, height, .. } => cols.len().saturating_mul(height as usize),
        }
    }

    /// Number of columns, dead ones too.
    pub fn width(&self) -> u32 {
        match *self {
            Self::Dense { cols, .. } => cols,
            Self::Csr { width, .. } | Self::Blocks { width, .. } => width,
        }
    }

    /// Rows that share a list of columns.
    pub(super) fn height(&self) -> usize {
        match *self {
            Self::Blocks { height, .. } => height as usize,
            Self::Dense { .. } | Self::Csr { .. } => 1,
        }
    }

    /// Checks what the variants' documentation promises; linear in the size of the slices.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(&self) -> Result<(), SupportError> {
        match *self {
            Self::Dense { rows, cols } => {
                (rows as usize).checked_mul(cols as usize).map(drop).ok_or(SupportError::TooLarge { rows, cols })
            }
            Self::Csr { row_ptr, cols, width } | Self::Blocks { row_ptr, cols, width, .. } => {
                if row_ptr.first() != Some(&0) {
                    return Err(SupportError::RowStart);
                }
                if let Some(row) = row_ptr.windows(2).position(|pair| pair[1] < pair[0]) {
                    return Err(SupportError::RowOrder { row });
                }
                let expected = row_ptr.last().map_or(0, |&end| end as usize);
                if expected != cols.len() {
                    return Err(SupportError::Length { expected, got: cols.len() });
                }
                // The maximum first: it vectorises, and the position is wanted only when something is wrong.
                if u32::from(cols.iter().fold(0, |max, &c| max.max(c))) >= width && !cols.is_empty() {
                    let (position, &got) =
                        cols.iter().enumerate().find(|&(_, &c)| u32::from(c) >= width).unwrap_or((0, &0));
                    return Err(SupportError::Column { position, got, width });
                }
                match *self {
                    Self::Blocks { height, .. } if cols.len().checked_mul(height as usize).is_none() => {
                        Err(SupportError::TooLarge { rows: height, cols: cols.len() as u32 })
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}
