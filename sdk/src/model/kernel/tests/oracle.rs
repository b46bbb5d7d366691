//! The definitions.

use super::*;

/// A lane sum.
#[derive(Default)]
struct LaneSum([f32; 8]);

impl LaneSum {
    fn add(&mut self, t: usize, term: f32) {
        self.0[t % 8] += term;
    }

    fn end(&self) -> f32 {
        let s = &self.0;
        ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
    }
}

pub(super) fn forward(s: &Sparse, bias: &[f32], x: &[f32], outputs: usize, batch: usize) -> Vec<f32> {
    let mut y = vec![];
    for o in 0..outputs {
        for b in 0..batch {
            let mut sum = bias.get(o).copied().unwrap_or(0.0);
            for (k, i) in s.row(o) {
                sum += s.w[k] * x[i * batch + b];
            }
            y.push(sum);
        }
    }
    y
}

pub(super) fn input_grad(s: &Sparse, dy: &[f32], inputs: usize, outputs: usize, batch: usize) -> Vec<f32> {
    let mut dx = vec![0.0; inputs * batch];
    for o in 0..outputs {
        for (k, i) in s.row(o) {
            for b in 0..batch {
                dx[i * batch + b] += s.w[k] * dy[o * batch + b];
            }
        }
    }
    dx
}

pub(super) fn dense_weight_grad(dy: &[f32], x: &[f32], inputs: usize, outputs: usize, batch: usize) -> Vec<f32> {
    let mut grad = vec![];
    for o in 0..outputs {
        for i in 0..inputs {
            let mut sum = 0.0;
            for b in 0..batch {
                sum += dy[o * batch + b] * x[i * batch + b];
            }
            grad.push(sum);
        }
    }
    grad
}

pub(super) fn bias_grad(dy: &[f32], outputs: usize, lanes: usize) -> Vec<f32> {
    let mut grad = vec![];
    for o in 0..outputs {
        let mut sum = LaneSum::default();
        for t in 0..lanes {
            sum.add(t, dy[o * lanes + t]);
        }
        grad.push(sum.end());
    }
    grad
}

pub(super) fn csr_weight_grad(s: &Sparse, dy: &[f32], x: &[f32], outputs: usize, batch: usize) -> Vec<f32> {
    let mut grad = vec![];
    for o in 0..outputs {
        for (_, i) in s.row(o) {
            let mut sum = LaneSum::default();
            for b in 0..batch {
                sum.add(b, dy[o * batch + b] * x[i * batch + b]);
            }
            grad.push(sum.end());
        }
    }
    grad
}

/// Calls `f(k, output pixel, input pixel, ox)` for every term of the convolution that is not in the padding.
fn terms(s: &Sparse, g: &ConvGeometry, mut f: impl FnMut(usize, usize, usize, usize)) {
    let (out_h, out_w) = (g.out_h().unwrap(), g.out_w().unwrap());
    for oc in 0..g.out_channels {
        for (k, col) in s.row(oc) {
            let (ic, ky, kx) = (col / g.kernel_w / g.kernel_h, col / g.kernel_w % g.kernel_h, col % g.kernel_w);
            for oy in 0..out_h {
                for ox in 0..out_w {
                    let iy = (oy * g.stride + ky) as isize - g.padding as isize;
                    let ix = (ox * g.stride + kx) as isize - g.padding as isize;
                    if (0..g.in_h as isize).contains(&iy) && (0..g.in_w as isize).contains(&ix) {
                        let from = (ic * g.in_h + iy as usize) * g.in_w + ix as usize;
                        f(k, (oc * out_h + oy) * out_w + ox, from, ox);
                    }
                }
            }
        }
    }
}

pub(super) fn conv_forward(s: &Sparse, g: &ConvGeometry, bias: &[f32], x: &[f32], batch: usize) -> Vec<f32> {
    let plane = g.out_h().unwrap() * g.out_w().unwrap() * batch;
    let mut y: Vec<f32> = (0..g.out_channels * plane).map(|t| bias[t / plane]).collect();
    terms(s, g, |k, to, from, _| {
        for b in 0..batch {
            y[to * batch + b] += s.w[k] * x[from * batch + b];
        }
    });
    y
}

pub(super) fn conv_input_grad(s: &Sparse, g: &ConvGeometry, dy: &[f32], batch: usize) -> Vec<f32> {
    let mut dx = vec![0.0; g.in_channels * g.in_h * g.in_w * batch];
    terms(s, g, |k, to, from, _| {
        for b in 0..batch {
            dx[from * batch + b] += s.w[k] * dy[to * batch + b];
        }
    });
    dx
}

pub(super) fn conv_weight_grad(s: &Sparse, g: &ConvGeometry, dy: &[f32], x: &[f32], batch: usize) -> Vec<f32> {
    let mut sums: Vec<LaneSum> = s.w.iter().map(|_| LaneSum::default()).collect();
    terms(s, g, |k, to, from, ox| {
        for b in 0..batch {
            sums[k].add(ox * batch + b, dy[to * batch + b] * x[from * batch + b]);
        }
    });
    sums.iter().map(LaneSum::end).collect()
}

/// Output and gradient of the input.
pub(super) fn pool(g: &PoolGeometry, x: &[f32], dy: &[f32], batch: usize) -> (Vec<f32>, Vec<f32>) {
    let (out_h, out_w) = (g.out_h().unwrap(), g.out_w().unwrap());
    let (mut y, mut dx) = (vec![], vec![0.0; x.len()]);
    for c in 0..g.channels {
        for oy in 0..out_h {
            for ox in 0..out_w {
                for b in 0..batch {
                    let mut window = vec![];
                    for wy in 0..g.window {
                        for wx in 0..g.window {
                            window.push(((c * g.in_h + oy * g.stride + wy) * g.in_w + ox * g.stride + wx) * batch + b);
                        }
                    }
                    let best = match window.iter().find(|&&i| x[i].is_nan()) {
                        Some(&first_nan) => first_nan,
                        None => window.into_iter().reduce(|best, i| if x[i] > x[best] { i } else { best }).unwrap(),
                    };
                    dx[best] += dy[y.len()];
                    y.push(x[best]);
                }
            }
        }
    }
    (y, dx)
}
