//! What goes together with a rate that moves.

use super::{Budget, Rate};
use crate::round::settings::within;
use crate::round::{Settings, SettingsError};
use siskin::checkin::{Clipping, Profile, Rounding};

/// Least budget where each device adds its own noise: of at least two steps' deviation, which alone has an entropy of
/// `log2(2 sqrt(2 pi e))` = 3.05 bits.
const LEAST_WITH_LOCAL_NOISE: f64 = 3.1;

impl Rate {
    pub(in crate::round) fn check(&self, settings: &Settings) -> Result<(), SettingsError> {
        if settings.sends_signs() {
            self.check_signs(settings)?;
        }
        check_rounding(settings)?;
        let (name, got) = match *self {
            Self::Fixed => return Ok(()),
            Self::Schedule(schedule) => {
                schedule.check()?;
                ("step schedule, first step", f64::from(settings.quantization.step))
            }
            Self::Bits(Budget { bits, keep }) => {
                within("bits per param", bits, 1e-4, 16.0)?;
                if let Some(keep) = keep {
                    within("keep", f64::from(keep), 1.0 / 65_536.0, 1.0)?;
                }
                ("bits per param", bits)
            }
            Self::Slope(slope) => {
                within("rate slope", slope, 1e-30, 1e30)?;
                ("rate slope", slope)
            }
        };
        let refuse = |range: &str| Err(SettingsError { name, got, range: range.to_owned() });
        let privacy = &settings.privacy;
        if privacy.distributed().is_some() {
            return refuse(
                "left out under the distributed profile: its words are not compressed, and its grid follows from the modulus \
                 (modulus bits, cohort and noise)",
            );
        }
        let noised = privacy.noise_multiplier > 0.0;
        if noised && matches!(privacy.clipping, Clipping::Examples { .. }) {
            return refuse(
                "left out where examples are clipped: the step is a part of what one example may move; a fixed step",
            );
        }
        match *self {
            Self::Bits(_) if noised && settings.noise.participation().is_some() => refuse(
                "left out with correlated noise, which has no account of report sizes: a fixed step or a schedule",
            ),
            Self::Bits(Budget { bits, .. })
                if noised && privacy.profile == Profile::Local && bits < LEAST_WITH_LOCAL_NOISE =>
            {
                refuse(
                    "at least 3.1 where each device adds its own noise, which itself takes so many; or the central profile",
                )
            }
            Self::Bits(Budget { keep: Some(keep), .. }) if keep < 1.0 && !privacy.leaves_room() => {
                let range =
                    "1 with noise, which is accounted for whole reports; a coarser step, or no noise".to_owned();
                Err(SettingsError { name: "keep", got: f64::from(keep), range })
            }
            Self::Slope(_) if matches!(settings.quantization.rounding, Rounding::Optimised { .. }) => refuse(
                "left out with optimised rounding, whose price is a slope itself: a budget of bits, or a fixed step",
            ),
            Self::Slope(_) if noised => refuse(
                "left out with noise, as the error that it weighs is then the noise's: a budget of bits, or a fixed step",
            ),
            _ => Ok(()),
        }
    }
}

/// Dither hides nothing, and what is optimised is worth nothing once noise is on it; of a part, what stays would be priced too.
fn check_rounding(settings: &Settings) -> Result<(), SettingsError> {
    let (privacy, grid) = (&settings.privacy, &settings.quantization);
    let what = match grid.rounding {
        Rounding::Dithered => "dithered",
        Rounding::Optimised { .. } => "optimised",
        _ => return Ok(()),
    };
    let error = |name, got: f64, range: String| Err(SettingsError { name, got, range });
    if !privacy.leaves_room() {
        let range = format!("0, and no shares of noise, for {what} rounding; another rounding");
        return error("noise multiplier", f64::from(privacy.noise_multiplier), range);
    }
    let keep = match settings.rate {
        Rate::Bits(Budget { keep: Some(keep), .. }) => keep,
        _ => grid.keep,
    };
    if what == "optimised" && keep < 1.0 {
        return error("keep", f64::from(keep), "1 with optimised rounding; or another rounding".to_owned());
    }
    Ok(())
}
