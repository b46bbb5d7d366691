//! ReLU.

use super::*;
use crate::model::kernel::{relu_backward, relu_forward};

#[test]
fn relu() {
    let mut y = [-1.0, -0.0, 0.0, 2.5, f32::NAN, f32::NEG_INFINITY, f32::INFINITY];
    relu_forward(&mut y);
    assert_eq!(bits(&y), bits(&[0.0, 0.0, 0.0, 2.5, f32::NAN, 0.0, f32::INFINITY]));
    let mut dy = [1.0, 2.0, 3.0, -4.0, 5.0, 6.0, -0.0];
    relu_backward(&y, &mut dy);
    assert_eq!(bits(&dy), bits(&[0.0, 0.0, 0.0, -4.0, 0.0, 0.0, -0.0]));
}
