//! A real FFT of a power-of-two length whose result is the same on every machine.
//!
//! Well-kept crates exist, but they choose their algorithm by the CPU's features, and take sines from the platform: the
//! last places of an epsilon in a report would depend on where it was computed. This one is a radix-4 Stockham transform
//! with a fixed order of operations and sines from `libm`.

use core::f64::consts::PI;

/// Real and imaginary parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Complex {
    pub(super) re: Vec<f64>,
    pub(super) im: Vec<f64>,
}

impl Complex {
    pub(super) fn zeros(len: usize) -> Self {
        Self { re: vec![0.0; len], im: vec![0.0; len] }
    }
}

/// Tables for one length.
#[derive(Debug)]
pub(super) struct RealFft {
    len: usize,
    /// exp(-2 pi i k / len) for k below len / 2.
    roots: Complex,
}

impl RealFft {
    /// `len` is a power of two, at least 4.
    pub(super) fn new(len: usize) -> Self {
        debug_assert!(len.is_power_of_two() && len >= 4);
        // Products of a coarse and a fine root: two rounding errors instead of a sine each.
        let half = len / 2;
        let fine = 1 << (half.trailing_zeros() / 2);
        let root = |k: usize| {
            let angle = 2.0 * PI * (k as f64 / len as f64);
            (libm::cos(angle), -libm::sin(angle))
        };
        let low: Vec<_> = (0..fine).map(root).collect();
        let mut roots = Complex::zeros(half);
        let blocks = roots.re.chunks_exact_mut(fine).zip(roots.im.chunks_exact_mut(fine));
        for (block, (re, im)) in blocks.enumerate() {
            let (a, b) = root(block * fine);
            for ((re, im), &(c, d)) in re.iter_mut().zip(im).zip(&low) {
                (*re, *im) = (a * c - b * d, a * d + b * c);
            }
        }
        Self { len, roots }
    }

    /// The first len / 2 + 1 frequencies of `signal`.
    pub(super) fn forward(&self, signal: &[f64]) -> Complex {
        let half = self.len / 2;
        let mut z = Complex::zeros(half);
        for (i, pair) in signal.chunks_exact(2).enumerate() {
            (z.re[i], z.im[i]) = (pair[0], pair[1]);
        }
        let z = self.transform(z);
        let mut out = Complex::zeros(half + 1);
        for k in 0..=half {
            let (a, b) = (k & (half - 1), (half - k) & (half - 1));
            let (even_re, even_im) = (0.5 * (z.re[a] + z.re[b]), 0.5 * (z.im[a] - z.im[b]));
            let (odd_re, odd_im) = (0.5 * (z.im[a] + z.im[b]), -0.5 * (z.re[a] - z.re[b]));
            let (c, s) = if k == half { (-1.0, 0.0) } else { (self.roots.re[k], self.roots.im[k]) };
            out.re[k] = even_re + c * odd_re - s * odd_im;
            out.im[k] = even_im + c * odd_im + s * odd_re;
        }
        out
    }

    /// The signal of these len / 2 + 1 frequencies.
    pub(super) fn inverse(&self, spectrum: &Complex) -> Vec<f64> {
        let half = self.len / 2;
        let mut z = Complex::zeros(half);
        for k in 0..half {
            let m = half - k;
            let (even_re, even_im) = (0.5 * (spectrum.re[k] + spectrum.re[m]), 0.5 * (spectrum.im[k] - spectrum.im[m]));
            let (diff_re, diff_im) = (0.5 * (spectrum.re[k] - spectrum.re[m]), 0.5 * (spectrum.im[k] + spectrum.im[m]));
            // Times the conjugate root: the odd samples' spectrum.
            let (c, s) = (self.roots.re[k], -self.roots.im[k]);
            let (odd_re, odd_im) = (diff_re * c - diff_im * s, diff_re * s + diff_im * c);
            // Conjugated, so that the forward transform inverts.
            z.re[k] = even_re - odd_im;
            z.im[k] = -(even_im + odd_re);
        }
        let z = self.transform(z);
        let scale = 1.0 / half as f64;
        let mut out = vec![0.0; self.len];
        for (i, pair) in out.chunks_exact_mut(2).enumerate() {
            (pair[0], pair[1]) = (z.re[i] * scale, -z.im[i] * scale);
        }
        out
    }

    /// A complex transform of length len / 2, out of place between two buffers.
    fn transform(&self, mut from: Complex) -> Complex {
        let n = self.len / 2;
        let mut to = Complex::zeros(n);
        let (mut blocks, mut stride) = (n, 1);
        while blocks > 1 {
            // A root of order `blocks` is one of order len to the power len / blocks.
            let step = self.len / blocks;
            if blocks % 4 == 0 {
                self.radix4(&from, &mut to, blocks / 4, stride, step);
                (blocks, stride) = (blocks / 4, stride * 4);
            } else {
                self.radix2(&from, &mut to, blocks / 2, stride, step);
                (blocks, stride) = (blocks / 2, stride * 2);
            }
            core::mem::swap(&mut from, &mut to);
        }
        from
    }

    fn radix2(&self, from: &Complex, to: &mut Complex, blocks: usize, stride: usize, step: usize) {
        for p in 0..blocks {
            let (c, s) = self.root(p * step);
            for q in 0..stride {
                let (a, b) = (q + stride * p, q + stride * (p + blocks));
                let (out, next) = (q + stride * 2 * p, q + stride * (2 * p + 1));
                let (re, im) = (from.re[a] - from.re[b], from.im[a] - from.im[b]);
                to.re[out] = from.re[a] + from.re[b];
                to.im[out] = from.im[a] + from.im[b];
                to.re[next] = re * c - im * s;
                to.im[next] = re * s + im * c;
            }
        }
    }

    fn radix4(&self, from: &Complex, to: &mut Complex, blocks: usize, stride: usize, step: usize) {
        let quarter = blocks * stride;
        if stride == 1 {
            // The first pass, without loops of length 1.
            let [ar, br, cr, dr] = [0, 1, 2, 3].map(|k| &from.re[k * quarter..][..quarter]);
            let [ai, bi, ci, di] = [0, 1, 2, 3].map(|k| &from.im[k * quarter..][..quarter]);
            let outputs = to.re.chunks_exact_mut(4).zip(to.im.chunks_exact_mut(4));
            for (p, (re, im)) in outputs.enumerate() {
                let roots = self.three_roots(p * step);
                let inputs = [(ar[p], ai[p]), (br[p], bi[p]), (cr[p], ci[p]), (dr[p], di[p])];
                let out = butterfly(inputs, roots);
                for k in 0..4 {
                    (re[k], im[k]) = out[k];
                }
            }
            return;
        }
        for p in 0..blocks {
            let roots = self.three_roots(p * step);
            let at = stride * p;
            let [ar, br, cr, dr] = [0, 1, 2, 3].map(|k| &from.re[at + k * quarter..][..stride]);
            let [ai, bi, ci, di] = [0, 1, 2, 3].map(|k| &from.im[at + k * quarter..][..stride]);
            let out = 4 * stride * p..4 * stride * (p + 1);
            let (o_re, o_im) = (&mut to.re[out.clone()], &mut to.im[out]);
            let (r0, rest) = o_re.split_at_mut(stride);
            let (r1, rest) = rest.split_at_mut(stride);
            let (r2, r3) = rest.split_at_mut(stride);
            let (i0, rest) = o_im.split_at_mut(stride);
            let (i1, rest) = rest.split_at_mut(stride);
            let (i2, i3) = rest.split_at_mut(stride);
            for q in 0..stride {
                let inputs = [(ar[q], ai[q]), (br[q], bi[q]), (cr[q], ci[q]), (dr[q], di[q])];
                let out = butterfly(inputs, roots);
                (r0[q], i0[q]) = out[0];
                (r1[q], i1[q]) = out[1];
                (r2[q], i2[q]) = out[2];
                (r3[q], i3[q]) = out[3];
            }
        }
    }

    /// The root of index k, its square and its cube.
    fn three_roots(&self, k: usize) -> [(f64, f64); 3] {
        let (c, s) = self.root(k);
        let square = (c * c - s * s, 2.0 * c * s);
        [(c, s), square, (c * square.0 - s * square.1, c * square.1 + s * square.0)]
    }

    /// exp(-2 pi i k / len) for k below len.
    pub(super) fn root(&self, k: usize) -> (f64, f64) {
        let half = self.len / 2;
        if k < half {
            (self.roots.re[k], self.roots.im[k])
        } else {
            (-self.roots.re[k - half], -self.roots.im[k - half])
        }
    }
}

/// A transform of length 4 whose outputs 1, 2, 3 are turned by the roots.
#[inline(always)]
fn butterfly(inputs: [(f64, f64); 4], roots: [(f64, f64); 3]) -> [(f64, f64); 4] {
    let [a, b, c, d] = inputs;
    let (sum_ac, diff_ac) = ((a.0 + c.0, a.1 + c.1), (a.0 - c.0, a.1 - c.1));
    let sum_bd = (b.0 + d.0, b.1 + d.1);
    // -i (b - d)
    let turned_bd = (b.1 - d.1, d.0 - b.0);
    let turn = |x: (f64, f64), by: (f64, f64)| (x.0 * by.0 - x.1 * by.1, x.0 * by.1 + x.1 * by.0);
    [
        (sum_ac.0 + sum_bd.0, sum_ac.1 + sum_bd.1),
        turn((diff_ac.0 + turned_bd.0, diff_ac.1 + turned_bd.1), roots[0]),
        turn((sum_ac.0 - sum_bd.0, sum_ac.1 - sum_bd.1), roots[1]),
        turn((diff_ac.0 - turned_bd.0, diff_ac.1 - turned_bd.1), roots[2]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_definition_and_inverts() {
        for len in [4, 8, 16, 32, 64, 128] {
            let signal: Vec<f64> = (0..len).map(|i| libm::sin(1.0 + (i * i % 37) as f64)).collect();
            let fft = RealFft::new(len);
            let spectrum = fft.forward(&signal);
            for k in 0..=len / 2 {
                let (mut re, mut im) = (0.0, 0.0);
                for (i, x) in signal.iter().enumerate() {
                    let angle = -2.0 * PI * ((i * k) % len) as f64 / len as f64;
                    re += x * libm::cos(angle);
                    im += x * libm::sin(angle);
                }
                let error = (re - spectrum.re[k]).abs() + (im - spectrum.im[k]).abs();
                assert!(error < 1e-13 * len as f64, "len {len}, frequency {k}: {error:e}");
            }
            let back = fft.inverse(&spectrum);
            assert!(back.iter().zip(&signal).all(|(a, b)| (a - b).abs() < 1e-14), "len {len}");
        }
    }
}
