//! From a file's values to a table: channels first, in a given order of records, and scaled.

use super::{Idx, Kind, Layout, Scaling};
use crate::data::{DataError, DeviceRows, InputShape, Scale, Values};
use std::path::Path;

/// `auto` resolved.
fn layout(x: &Idx, layout: Layout) -> Layout {
    match (layout, x.dims.len(), x.kind) {
        (Layout::Auto, 4, _) | (Layout::Auto, 3, Kind::U8) => Layout::Image,
        (Layout::Auto, ..) => Layout::Series,
        _ => layout,
    }
}

/// Shape of a record.
pub(super) fn shape(file: &Path, x: &Idx, auto: Layout) -> Result<InputShape, DataError> {
    let (channels, height, width) = match (&x.dims[1..], layout(x, auto)) {
        ([], _) => (1, 1, 1),
        (&[features], _) => (1, 1, features),
        (&[height, width], Layout::Image) => (1, height, width),
        (&[height, width, channels], Layout::Image) => (channels, height, width),
        (&[channels, time], Layout::ChannelFirst) => (channels, 1, time),
        (&[channels, height, width], Layout::ChannelFirst) => (channels, height, width),
        (&[time, channels], _) => (channels, 1, time),
        _ => {
            let why = "a series is [records, time, channels]; choose the layout Image or ChannelFirst";
            return Err(DataError::Dims { file: file.into(), dims: x.dims.clone(), role: "examples", why });
        }
    };
    let shape = InputShape { channels, height, width };
    if shape.features() == 0 {
        let why = "an example must have at least one feature";
        return Err(DataError::Dims { file: file.into(), dims: x.dims.clone(), role: "examples", why });
    }
    Ok(shape)
}

/// The values of the records in `order`, each `[channels, height, width]`.
pub(super) fn values(
    file: &Path,
    x: &Idx,
    shape: &InputShape,
    auto: Layout,
    order: &[u32],
) -> Result<Values, DataError> {
    let (n, plane, channels) = (shape.features(), shape.height * shape.width, shape.channels);
    let channel_first = layout(x, auto) == Layout::ChannelFirst;
    // Where in a record the file has the table's k-th value.
    let place = |k| if channel_first { k } else { k % plane * channels + k / plane };
    let within: Vec<usize> = (0..n).map(place).collect();
    let places = order.iter().flat_map(|&record| within.iter().map(move |&k| (record as usize * n + k, k)));
    let count = order.len() * n;
    Ok(match x.kind {
        Kind::U8 => Values::U8(collect(count, places.map(|(i, _)| x.bytes[i]))),
        Kind::I8 | Kind::I16 => {
            // Both fit by their type.
            Values::I16(collect(count, places.map(|(i, _)| x.integer(i).unwrap_or_default() as i16)))
        }
        Kind::I32 => Values::F32(collect(count, places.map(|(i, _)| x.real(i) as f32))),
        Kind::F32 | Kind::F64 => {
            let mut reals = Vec::with_capacity(count);
            for (i, feature) in places {
                let value = x.real(i);
                if !(value as f32).is_finite() {
                    let (file, record) = (file.to_path_buf(), i / n);
                    return Err(DataError::NotFinite { file, record, feature, offset: x.offset(i), value });
                }
                reals.push(value as f32);
            }
            Values::F32(reals)
        }
    })
}

/// `flat_map` cannot say how much is to come; the file is there, so `count` is true.
fn collect<T>(count: usize, values: impl Iterator<Item = T>) -> Vec<T> {
    let mut all = Vec::with_capacity(count);
    all.extend(values);
    all
}

/// The scale, and a line that says what it does.
pub(super) fn scale(
    values: &Values,
    shape: &InputShape,
    kind: Kind,
    wanted: Scaling,
    devices: &[DeviceRows],
) -> (Scale, String) {
    let name = kind.name();
    match (wanted, kind) {
        (Scaling::Auto, Kind::U8) => (Scale::uniform(shape.channels, 1.0 / 255.0, 0.0), format!("{name} / 255")),
        (Scaling::AsIs, _) | (Scaling::Auto, Kind::F32 | Kind::F64) => {
            (Scale::uniform(shape.channels, 1.0, 0.0), format!("{name} as it is"))
        }
        _ => {
            let (mean, deviation) = match values {
                Values::U8(v) => integer_moments(v, shape, devices),
                Values::I16(v) => integer_moments(v, shape, devices),
                Values::F32(v) => real_moments(v, shape, devices),
            };
            let examples: u64 = devices.iter().map(|d| u64::from(d.train)).sum();
            let mut text = format!(
                "{name}, each of {} channel(s) to mean 0, standard deviation 1 over {examples} training examples",
                shape.channels
            );
            if shape.channels <= 8 {
                let list = |v: &[f64]| v.iter().map(|x| format!("{x:.3}")).collect::<Vec<_>>().join(" ");
                text += &format!(" (raw means {}; deviations {})", list(&mean), list(&deviation));
            }
            if mean.iter().zip(&deviation).any(|(&m, &d)| Scale::is_constant(m, d)) {
                text += "; a constant channel is only centred";
            }
            (Scale::standardise(&mean, &deviation), text)
        }
    }
}

/// Calls `visit(channel, values)` for every channel of every training example.
fn each_plane<T>(values: &[T], shape: &InputShape, devices: &[DeviceRows], mut visit: impl FnMut(usize, &[T])) {
    let (n, plane) = (shape.features(), shape.height * shape.width);
    for device in devices {
        let first = device.first as usize;
        for example in values[first * n..(first + device.train as usize) * n].chunks_exact(n) {
            for (channel, values) in example.chunks_exact(plane).enumerate() {
                visit(channel, values);
            }
        }
    }
}

/// Values of one channel over all training examples.
fn count(shape: &InputShape, devices: &[DeviceRows]) -> i128 {
    let examples: i128 = devices.iter().map(|d| i128::from(d.train)).sum();
    examples * (shape.height * shape.width) as i128
}

/// Mean and standard deviation of each channel, from exact sums.
fn integer_moments<T: Copy + Into<i64>>(
    values: &[T],
    shape: &InputShape,
    devices: &[DeviceRows],
) -> (Vec<f64>, Vec<f64>) {
    let mut sums = vec![(0i64, 0i64); shape.channels];
    each_plane(values, shape, devices, |channel, values| {
        let (sum, squares) = &mut sums[channel];
        for &v in values {
            let v: i64 = v.into();
            // Below 2^32 values (MAX_BYTES) of at most 2^30 squared: below 2^62.
            *sum += v;
            *squares += v * v;
        }
    });
    let n = count(shape, devices);
    let moments = sums.iter().map(|&(sum, squares)| {
        // n * squares - sum^2 is exact: below 2^32 * 2^62.
        let spread = n * i128::from(squares) - i128::from(sum) * i128::from(sum);
        (sum as f64 / n as f64, libm::sqrt(spread as f64) / n as f64)
    });
    moments.unzip()
}

/// Mean and standard deviation of each channel, in two passes; sums run in row order.
fn real_moments(values: &[f32], shape: &InputShape, devices: &[DeviceRows]) -> (Vec<f64>, Vec<f64>) {
    let n = count(shape, devices) as f64;
    let mut mean = vec![0.0; shape.channels];
    each_plane(values, shape, devices, |c, v| mean[c] += v.iter().map(|&x| f64::from(x)).sum::<f64>());
    mean.iter_mut().for_each(|m| *m /= n);
    let mut squares = vec![0.0; shape.channels];
    each_plane(values, shape, devices, |c, v| {
        squares[c] += v.iter().map(|&x| (f64::from(x) - mean[c]) * (f64::from(x) - mean[c])).sum::<f64>();
    });
    let deviation = squares.iter().map(|s| libm::sqrt(s / n)).collect();
    (mean, deviation)
}
