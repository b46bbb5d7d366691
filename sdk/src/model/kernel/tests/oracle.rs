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

/// Where position `k` of the window of output `o` lies along an axis, if not in the padding.
fn meets(o: usize, k: usize, stride: usize, dilation: usize, before: usize, size: usize) -> Option<usize> {
    let at = (o * stride + k * dilation).checked_sub(before)?;
    (at < size).then_some(at)
}

/// Calls `f(k, output pixel, input pixel, ox)` for every term of the convolution that is not in the padding.
pub(super) fn terms(s: &Sparse, g: &ConvGeometry, mut f: impl FnMut(usize, usize, usize, usize)) {
    let ([kernel_h, kernel_w], [top, left, ..]) = (g.kernel, g.padding);
    let (out_h, out_w) = (g.out_h().unwrap(), g.out_w().unwrap());
    for oc in 0..g.out_channels {
        let group = oc / (g.out_channels / g.groups);
        for (k, col) in s.row(oc) {
            let (ic, ky, kx) = (col / kernel_w / kernel_h, col / kernel_w % kernel_h, col % kernel_w);
            let channel = group * (g.in_channels / g.groups) + ic;
            for oy in 0..out_h {
                for ox in 0..out_w {
                    let iy = meets(oy, ky, g.stride[0], g.dilation[0], top, g.in_h);
                    let ix = meets(ox, kx, g.stride[1], g.dilation[1], left, g.in_w);
                    if let (Some(iy), Some(ix)) = (iy, ix) {
                        f(k, (oc * out_h + oy) * out_w + ox, (channel * g.in_h + iy) * g.in_w + ix, ox);
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

/// The input pixels of every window that are not in the padding, window after window, row by row.
pub(super) fn windows(g: &PoolGeometry) -> Vec<Vec<usize>> {
    let (mut windows, [top, left, ..]) = (vec![], g.padding);
    for c in 0..g.channels {
        for oy in 0..g.out_h().unwrap() {
            for ox in 0..g.out_w().unwrap() {
                let mut window = vec![];
                for ky in 0..g.kernel[0] {
                    for kx in 0..g.kernel[1] {
                        let iy = meets(oy, ky, g.stride[0], g.dilation[0], top, g.in_h);
                        let ix = meets(ox, kx, g.stride[1], g.dilation[1], left, g.in_w);
                        if let (Some(iy), Some(ix)) = (iy, ix) {
                            window.push((c * g.in_h + iy) * g.in_w + ix);
                        }
                    }
                }
                windows.push(window);
            }
        }
    }
    windows
}

/// Output and gradient of the input.
pub(super) fn max_pool(g: &PoolGeometry, x: &[f32], dy: &[f32], batch: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut y, mut dx) = (vec![], vec![0.0; x.len()]);
    for window in windows(g) {
        for b in 0..batch {
            let window = window.iter().map(|pixel| pixel * batch + b);
            let best = match window.clone().find(|&i| x[i].is_nan()) {
                Some(first_nan) => first_nan,
                None => window.reduce(|best, i| if x[i] > x[best] { i } else { best }).unwrap(),
            };
            dx[best] += dy[y.len()];
            y.push(x[best]);
        }
    }
    (y, dx)
}

/// Output and gradient of the input.
pub(super) fn avg_pool(g: &PoolGeometry, padded: bool, x: &[f32], dy: &[f32], batch: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut y, mut dx) = (vec![], vec![0.0; x.len()]);
    for window in windows(g) {
        let count = if padded { g.kernel[0] * g.kernel[1] } else { window.len() } as f32;
        for b in 0..batch {
            let mut sum = 0.0;
            for pixel in &window {
                sum += x[pixel * batch + b];
                dx[pixel * batch + b] += dy[y.len()] / count;
            }
            y.push(sum / count);
        }
    }
    (y, dx)
}
