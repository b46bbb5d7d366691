//! One bit a coordinate (Seide, Fu, Droppo, Li, Yu 2014): is it negative; and the means of both halves. Their error feedback, which
//! needs a state on the device, is left out.

use super::Sent;

/// Means of the negative coordinates and of the others; 0 where there are none.
pub fn means(x: &[f64]) -> [f64; 2] {
    [true, false].map(|negative| {
        let half = x.iter().filter(|x| (**x < 0.0) == negative);
        let count = half.clone().count();
        if count == 0 { 0.0 } else { half.sum::<f64>() / count as f64 }
    })
}

/// A bit a coordinate and two `f32`.
pub fn send(x: &[f64]) -> Sent {
    let [below, above] = means(x);
    Sent { bits: x.len() + 64, estimate: x.iter().map(|x| if *x < 0.0 { below } else { above }).collect() }
}
