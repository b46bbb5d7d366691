//! Events of the round as `defmt` or `log` records; without either feature they cost nothing.

/// `event!(level, "format", arguments)`; the format may use what both `defmt` and `log` understand: `{}` alone.
macro_rules! event {
    ($level:ident, $format:literal $(, $argument:expr)* $(,)?) => {{
        #[cfg(feature = "defmt")]
        ::defmt::$level!($format $(, $argument)*);
        #[cfg(feature = "log")]
        ::log::$level!($format $(, $argument)*);
        #[cfg(not(any(feature = "defmt", feature = "log")))]
        { $(let _ = &$argument;)* }
    }};
}

pub(crate) use event;
