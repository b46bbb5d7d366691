//! Contestants that take turns.

use super::{DENSE, PARTS, Row, SGEMM};
use std::time::Instant;

/// A layer with everything that a step needs.
pub(super) trait Layer {
    fn forward(&mut self);
    fn input_grad(&mut self);
    /// With the update of the weights.
    fn weight_grad(&mut self);
    /// Both gradients, as training makes them.
    fn backward(&mut self) {
        self.input_grad();
        self.weight_grad();
    }
    /// Weights, outputs, gradient of the inputs.
    #[cfg(test)]
    fn results(&mut self) -> (&mut [f32], &[f32], &[f32]);
}

fn run_part(layer: &mut dyn Layer, part: usize) {
    match part {
        0 => layer.forward(),
        1 => layer.input_grad(),
        2 => layer.weight_grad(),
        _ => {
            layer.forward();
            layer.backward();
        }
    }
}

#[derive(Default)]
pub(super) struct Contest {
    entries: Vec<Entry>,
}

struct Entry {
    format: &'static str,
    density: f64,
    layer: Box<dyn Layer>,
    repeats: [u32; 4],
    least_us: [f64; 4],
}

impl Contest {
    /// Of entries of the same format and density, the fastest counts, part by part.
    pub(super) fn enter(&mut self, format: &'static str, density: f64, layer: Box<dyn Layer>) {
        let (repeats, least_us) = ([1; 4], [f64::INFINITY; 4]);
        self.entries.push(Entry { format, density, layer, repeats, least_us });
    }

    pub(super) fn run(mut self, name: &str, batch: usize, passes: u32, turn_us: f64) -> Vec<Row> {
        for pass in 0..=passes {
            for entry in &mut self.entries {
                for part in 0..PARTS.len() {
                    let layer = entry.layer.as_mut();
                    // Brings its data into the caches.
                    run_part(layer, part);
                    let start = Instant::now();
                    for _ in 0..entry.repeats[part] {
                        run_part(layer, part);
                    }
                    let us = start.elapsed().as_secs_f64() * 1e6 / f64::from(entry.repeats[part]);
                    entry.least_us[part] = entry.least_us[part].min(us);
                    if pass == 0 {
                        entry.repeats[part] = (turn_us / us.max(0.01)).clamp(1.0, 1e5) as u32;
                    }
                }
            }
        }
        let mut rows: Vec<Row> = Vec::new();
        for Entry { format, density, least_us, .. } in self.entries {
            match rows.iter_mut().find(|row| row.format == format && row.density == density) {
                Some(row) => row.us = core::array::from_fn(|part| row.us[part].min(least_us[part])),
                None => rows.push(Row {
                    layer: name.to_owned(),
                    batch,
                    format,
                    density,
                    us: least_us,
                    to_sgemm: [0.0; 4],
                    to_dense: [0.0; 4],
                }),
            }
        }
        let of = |format: &str| rows.iter().find(|row| row.format == format).map_or([f64::NAN; 4], |row| row.us);
        let (sgemm, dense) = (of(SGEMM), of(DENSE));
        for row in &mut rows {
            row.to_sgemm = core::array::from_fn(|part| sgemm[part] / row.us[part]);
            row.to_dense = core::array::from_fn(|part| dense[part] / row.us[part]);
        }
        rows
    }
}

/// Checks that all ways that have all weights compute the same as the first one. `arrange` puts weights in row-major order
/// into the order of the named way.
#[cfg(test)]
pub(super) fn agree(
    enter: impl Fn(&mut dyn FnMut(&'static str, f64, Box<dyn Layer>)),
    arrange: impl Fn(&str, &[f32]) -> Vec<f32>,
) {
    let close = |name: &str, got: &[f32], want: &[f32]| {
        let scale = want.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        assert!(scale > 0.0 && got.len() == want.len());
        for (g, w) in got.iter().zip(want) {
            assert!((g - w).abs() <= 1e-5 * scale, "{name}: {g} for {w}");
        }
    };
    let mut first: Option<[Vec<f32>; 4]> = None;
    let mut seen = Vec::new();
    enter(&mut |name, density, mut layer| {
        if density < 1.0 {
            return;
        }
        seen.push(name);
        let w = first.as_ref().map_or_else(|| layer.results().0.to_vec(), |[w, ..]| arrange(name, w));
        layer.results().0.copy_from_slice(&w);
        layer.forward();
        layer.input_grad();
        let (weights, y, dx) = layer.results();
        let (y, dx) = (y.to_vec(), dx.to_vec());
        // A step from zero is not rounded away.
        weights.fill(0.0);
        layer.weight_grad();
        let step = layer.results().0.to_vec();
        let [_, want_y, want_dx, want_step] = first.get_or_insert_with(|| [w, y.clone(), dx.clone(), step.clone()]);
        close(name, &y, want_y);
        close(name, &dx, want_dx);
        close(name, &step, &arrange(name, want_step));
    });
    assert!(["sgemm", "dense", "CSR", "4x1 blocks"].iter().all(|name| seen.contains(name)), "{seen:?}");
}
