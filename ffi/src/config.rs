//! What the app decides.

use crate::guard::{Out, guard, read_versioned};
use crate::result::{Failure, siskin_result};
use core::ffi::c_char;
use siskin::checkin::{Limits, MAX_POPULATION, Policy, Population, Profiles};
use siskin::session::{Config, MIN_FRAME};

/// Longest frame that can be configured, bytes.
const MAX_FRAME: u32 = 1 << 20;

/// What the app decides, the same for every session. Fill it with `siskin_config_default`, then set the population and the
/// two fields of the privacy floor that have no default. The library copies what it needs: the struct and the text need not
/// outlive the call that they are given to.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct siskin_config {
    /// `sizeof(siskin_config)`, set by the caller.
    pub struct_size: u32,
    /// Longest frame in either direction, bytes, from 1024 to 1048576. Two of them lie in the arena. Default: 16384.
    pub max_frame: u32,
    /// Name of the learning problem, UTF-8, not NUL-terminated. Default: NULL.
    pub population: *const c_char,
    /// Its length, from 1 to 48 bytes.
    pub population_len: usize,
    /// After this long without an answer a request is repeated, milliseconds, at least 1. Default: 5000.
    pub timeout_ms: u32,
    /// Repetitions before the session gives up, at most 255. Default: 3.
    pub retries: u32,
    /// The app's floor: a plan with a larger clip norm is refused. Above 0, in units of the parameters. No default.
    pub largest_clip_norm: f32,
    /// The app's floor: a plan that promises a smaller noise multiplier is refused; 0 accepts plans without noise. No
    /// default.
    pub least_noise_multiplier: f32,
    /// Which profiles a plan may have: `SISKIN_PROFILE_CENTRAL`, `SISKIN_PROFILE_LOCAL`, `SISKIN_PROFILE_DISTRIBUTED`, added
    /// up; 0 is all of them. Default: 0.
    pub profiles: u32,
    /// Not 0: only plans that give every report the same weight, so that the number of examples stays on the device.
    /// Default: 1.
    pub uniform_weight: u32,
    /// A plan that allows larger reports is refused, bytes. Default: 4 MiB.
    pub largest_upload: u32,
    /// A larger checkpoint is refused, bytes. Default: 32 MiB.
    pub largest_download: u32,
    /// Not 0: also plans that ask for a growth probe, which says where the gradient of one batch of examples is largest,
    /// neither clipped nor noised. Default: 0.
    pub growth_probe: u32,
    /// A round must come at least so many rounds after the last one of the population in which the device took part; 0: no
    /// bound. From here on the fields bound all rounds together: where one is set, a session needs a ledger (see
    /// `siskin_session_use_ledger`), and without one gives its task back. Default: 0.
    pub min_separation: u32,
    /// Most participations in the population; 0: no bound. Default: 0.
    pub most_participations: u32,
    /// Most participations in all populations together; 0: no bound. Default: 0.
    pub most_participations_in_all: u32,
    /// At least so long after the last participation in the population, milliseconds; 0: no bound. Default: 0.
    pub min_separation_ms: u64,
    /// Length of a period, milliseconds. One begins with the first participation after the last one ended; 0: every
    /// participation is a period of its own. Default: 86400000, a day.
    pub period_ms: u64,
    /// Largest epsilon of a period at `dp_delta`, over all populations; 0: no bound. Default: 0.
    pub largest_epsilon_per_period: f64,
    /// Largest epsilon of all participations at `dp_delta`, over all populations; 0: no bound. Default: 0.
    pub largest_epsilon: f64,
    /// The probability at which both are stated, above 0 and below 1. The device assumes no sampling and independent noise: each
    /// participation costs `1 / (2 * noise_multiplier^2)` of zero-concentrated differential privacy. Default: 1e-10.
    pub dp_delta: f64,
}

/// The server sees each clipped change and adds the noise to the sum.
pub const SISKIN_PROFILE_CENTRAL: u32 = 1;
/// Each device adds all of the noise.
pub const SISKIN_PROFILE_LOCAL: u32 = 2;
/// Each device adds its share of the noise.
pub const SISKIN_PROFILE_DISTRIBUTED: u32 = 4;
const _: () = assert!(
    SISKIN_PROFILE_CENTRAL == Profiles::CENTRAL.bits() as u32
        && SISKIN_PROFILE_LOCAL == Profiles::LOCAL.bits() as u32
        && SISKIN_PROFILE_DISTRIBUTED == Profiles::DISTRIBUTED.bits() as u32
);

/// Sets every field but `struct_size`. The privacy floor has no default: until the app has chosen `largest_clip_norm` and
/// `least_noise_multiplier`, `siskin_session_create` refuses the configuration.
///
/// Any thread.
///
/// # Safety
/// `config` is NULL or points to a `siskin_config` whose `struct_size` is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_config_default(config: *mut siskin_config) -> siskin_result {
    guard(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::versioned(config, "config") }?;
        out.write(siskin_config {
            struct_size: 0,
            max_frame: 16 * 1024,
            population: core::ptr::null(),
            population_len: 0,
            timeout_ms: 5_000,
            retries: 3,
            largest_clip_norm: -1.0,
            least_noise_multiplier: -1.0,
            profiles: 0,
            uniform_weight: 1,
            largest_upload: 4 << 20,
            largest_download: 32 << 20,
            growth_probe: 0,
            min_separation: 0,
            most_participations: 0,
            most_participations_in_all: 0,
            min_separation_ms: 0,
            period_ms: 86_400_000,
            largest_epsilon_per_period: 0.0,
            largest_epsilon: 0.0,
            dp_delta: Limits::NONE.dp_delta,
        });
        Ok(())
    })
}

/// Checks every number.
///
/// # Safety
/// `config` is NULL or points to a `siskin_config` that was filled in.
#[allow(clippy::neg_cmp_op_on_partial_ord, reason = "a NaN must refuse")]
pub(crate) unsafe fn config_from(config: *const siskin_config) -> Result<Config, Failure> {
    // SAFETY: the caller's promise.
    let config = unsafe { read_versioned(config, "config") }?;
    // SAFETY: the caller's promise.
    let name = unsafe { crate::guard::bytes_from(config.population.cast(), config.population_len, "population") }?;
    let name = core::str::from_utf8(name).map_err(|_| Failure::argument("`population` is not UTF-8"))?;
    if name.is_empty() {
        return Err(Failure::argument("`population` is empty"));
    }
    let population = Population::try_from(name).map_err(|_| {
        let text = format!("`population` has {} bytes, at most {MAX_POPULATION} are possible", name.len());
        Failure::argument(text).with(MAX_POPULATION as f64, name.len() as f64)
    })?;
    let max_frame = max_frame_from(config.max_frame)?;
    let Ok(retries) = u8::try_from(config.retries) else {
        let text = format!("`retries` is {}, at most 255 are possible", config.retries);
        return Err(Failure::argument(text).with(255.0, config.retries.into()));
    };
    if config.timeout_ms == 0 {
        return Err(Failure::argument("`timeout_ms` is 0"));
    }
    // Written so that a NaN is refused too.
    if !(config.largest_clip_norm > 0.0) {
        return Err(Failure::argument("`largest_clip_norm` is not set: the app must choose its floor"));
    }
    if !(config.least_noise_multiplier >= 0.0) {
        return Err(Failure::argument("`least_noise_multiplier` is not set: the app must choose its floor"));
    }
    let policy = Policy {
        largest_clip_norm: config.largest_clip_norm,
        least_noise_multiplier: config.least_noise_multiplier,
        profiles: profiles_from(&config)?,
        uniform_weight: config.uniform_weight != 0,
        growth_probe: config.growth_probe != 0,
        largest_upload: config.largest_upload,
        largest_download: config.largest_download,
        limits: limits_from(&config)?,
    };
    Ok(Config { population, policy, max_frame, timeout_ms: config.timeout_ms, retries })
}

fn profiles_from(config: &siskin_config) -> Result<Profiles, Failure> {
    let all = u32::from(Profiles::ALL.bits());
    let chosen = if config.profiles == 0 { all } else { config.profiles };
    u8::try_from(chosen).ok().and_then(Profiles::from_bits).ok_or_else(|| {
        let text = format!("`profiles` is {chosen}, the sum of all is {all}");
        Failure::argument(text).with(all.into(), chosen.into())
    })
}

fn limits_from(config: &siskin_config) -> Result<Limits, Failure> {
    let epsilon = |name: &str, value: f64| match value {
        0.0 => Ok(f64::INFINITY),
        value if value > 0.0 => Ok(value),
        value => Err(Failure::argument(format!("`{name}` is {value}, it must be above 0, or 0 for no bound"))),
    };
    let count = |value: u32| if value == 0 { u32::MAX } else { value };
    let limits = Limits {
        min_separation: config.min_separation,
        min_separation_ms: config.min_separation_ms,
        most_participations: count(config.most_participations),
        most_participations_in_all: count(config.most_participations_in_all),
        period_ms: config.period_ms,
        largest_epsilon_per_period: epsilon("largest_epsilon_per_period", config.largest_epsilon_per_period)?,
        largest_epsilon: epsilon("largest_epsilon", config.largest_epsilon)?,
        dp_delta: config.dp_delta,
    };
    let has_epsilon = limits.largest_epsilon.is_finite() || limits.largest_epsilon_per_period.is_finite();
    if has_epsilon && !(config.dp_delta > 0.0 && config.dp_delta < 1.0) {
        let text = format!("`dp_delta` is {}, it must be above 0 and below 1", config.dp_delta);
        return Err(Failure::argument(text));
    }
    Ok(limits)
}

pub(crate) fn max_frame_from(max_frame: u32) -> Result<usize, Failure> {
    if !(MIN_FRAME as u32..=MAX_FRAME).contains(&max_frame) {
        let text = format!("`max_frame` is {max_frame}, it must be from {MIN_FRAME} to {MAX_FRAME}");
        return Err(Failure::argument(text).with(MIN_FRAME as f64, max_frame.into()));
    }
    Ok(max_frame as usize)
}
