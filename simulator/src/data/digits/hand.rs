//! A virtual writer's hand: how an original looks when that writer draws it.

use super::{PIXELS, SHAPE, random::Random};

const SIDE: usize = SHAPE.width;
/// Empty pixels on each side of the canvas that is sampled, so that its edge needs no special case.
const MARGIN: usize = 2;
const CANVAS: usize = SIDE + 2 * MARGIN;
/// Ink is kept in 1/240: full ink is 16 * 15, which leaves the blurred plane its fractions.
const INK: f32 = 240.0;

/// An original and its three variants of stroke, one byte a pixel.
#[derive(Debug)]
pub(super) struct Original {
    pub(super) label: u8,
    /// As it is; dilated; eroded (both with the four neighbours); blurred (binomial, 3x3).
    planes: [[u8; PIXELS]; 4],
}

impl Original {
    /// From `PIXELS` values of ink, 0 to 16.
    pub(super) fn new(image: &[u8], label: u8) -> Self {
        let at = |x: i32, y: i32| -> u8 {
            let inside = (0..SIDE as i32).contains(&x) && (0..SIDE as i32).contains(&y);
            if inside { image[y as usize * SIDE + x as usize] * 15 } else { 0 }
        };
        let mut planes = [[0; PIXELS]; 4];
        for i in 0..PIXELS {
            let (x, y) = ((i % SIDE) as i32, (i / SIDE) as i32);
            let cross = [at(x, y), at(x - 1, y), at(x + 1, y), at(x, y - 1), at(x, y + 1)];
            planes[0][i] = cross[0];
            planes[1][i] = cross.into_iter().fold(0, u8::max);
            planes[2][i] = cross.into_iter().fold(u8::MAX, u8::min);
            let mut sum = 0;
            for (dy, row) in [(-1, 1), (0, 2), (1, 1)] {
                for (dx, column) in [(-1, 1), (0, 2), (1, 1)] {
                    sum += row * column * u32::from(at(x + dx, y + dy));
                }
            }
            planes[3][i] = ((sum + 8) / 16) as u8;
        }
        Self { label, planes }
    }
}

/// What makes one writer differ from another. A hand with every number 0 and the rest 1 copies the originals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hand {
    /// Columns that a stroke leans to the left for each row that it goes down.
    pub slant: f64,
    /// Turn, in radians, positive clockwise on the screen.
    pub turn: f64,
    /// Size across and down, 1 as in the original.
    pub size: [f64; 2],
    /// Pixels to the right and down.
    pub shift: [f64; 2],
    /// Share of the dilated image (above 0) or, negated, of the eroded one (below 0).
    pub stroke: f64,
    /// Share of the blurred image in what the stroke leaves.
    pub blur: f64,
    /// Ink at full pressure, 1 as in the original.
    pub contrast: f64,
}

impl Hand {
    /// A hand whose habits spread `strength` times as far as usual.
    pub(super) fn of(random: &mut Random, strength: f64) -> Self {
        // Normal, cut at two deviations: no writer is illegible.
        let mut habit = |spread: f64| strength * spread * random.normal().clamp(-2.0, 2.0);
        let slant = habit(0.15);
        let turn = habit(0.08);
        let size = [libm::exp(habit(0.08)), libm::exp(habit(0.08))];
        let shift = [habit(0.35), habit(0.35)];
        let share = strength.min(1.0);
        Self {
            slant,
            turn,
            size,
            shift,
            stroke: share * random.uniform(-0.5, 0.5),
            blur: share * random.uniform(0.0, 0.4),
            contrast: 1.0 - share * random.uniform(0.0, 0.35),
        }
    }

    /// The hand as `draw` wants it.
    pub(super) fn pen(&self) -> Pen {
        let (sin, cos) = (libm::sin(self.turn), libm::cos(self.turn));
        let [across, down] = self.size;
        // Forward: size, then slant, then turn, about the centre; [[a, b], [c, d]] takes an original's point to the drawing.
        let (a, b) = (cos * across, (-cos * self.slant - sin) * down);
        let (c, d) = (sin * across, (-sin * self.slant + cos) * down);
        // A pixel of the drawing looks back. The determinant is the product of the sizes: never 0.
        let scale = 1.0 / (a * d - b * c);
        let back = [d * scale, -b * scale, -c * scale, a * scale];
        let centre = (SIDE as f64 - 1.0) / 2.0;
        let from = [centre + self.shift[0], centre + self.shift[1]];
        let origin = [
            centre - back[0] * from[0] - back[1] * from[1] + MARGIN as f64,
            centre - back[2] * from[0] - back[3] * from[1] + MARGIN as f64,
        ];
        let rest = 1.0 - self.stroke.abs();
        let shares = [rest * (1.0 - self.blur), self.stroke.max(0.0), (-self.stroke).max(0.0), rest * self.blur];
        Pen {
            back: back.map(|v| v as f32),
            origin: origin.map(|v| v as f32),
            shares: shares.map(|s| (s * self.contrast / f64::from(INK)) as f32),
        }
    }
}

/// A hand, ready to draw: 40 bytes.
#[derive(Debug)]
pub(super) struct Pen {
    /// `[[xx, xy], [yx, yy]]`: from a pixel of the drawing to a point of the canvas.
    back: [f32; 4],
    /// The point of the canvas for pixel (0, 0).
    origin: [f32; 2],
    /// Weight of each plane; contrast and 1/240 are in it.
    shares: [f32; 4],
}

impl Pen {
    /// Draws `original` with bilinear sampling; ink is in [0, 1], up to rounding.
    pub(super) fn draw(&self, original: &Original, drawing: &mut [f32; PIXELS]) {
        let mut canvas = [[0f32; CANVAS]; CANVAS];
        let [plain, thick, thin, soft] = &original.planes;
        let [w0, w1, w2, w3] = self.shares;
        for (y, row) in canvas[MARGIN..MARGIN + SIDE].iter_mut().enumerate() {
            for (x, ink) in row[MARGIN..MARGIN + SIDE].iter_mut().enumerate() {
                let i = y * SIDE + x;
                *ink = f32::from(plain[i]) * w0
                    + f32::from(thick[i]) * w1
                    + f32::from(thin[i]) * w2
                    + f32::from(soft[i]) * w3;
            }
        }
        // One pixel past the image there is no ink; a point farther out is as empty as that one.
        let (low, high) = ((MARGIN - 1) as f32, (MARGIN + SIDE) as f32);
        let [xx, xy, yx, yy] = self.back;
        for (i, ink) in drawing.iter_mut().enumerate() {
            let (column, row) = ((i % SIDE) as f32, (i / SIDE) as f32);
            let x = (self.origin[0] + xx * column + xy * row).clamp(low, high);
            let y = (self.origin[1] + yx * column + yy * row).clamp(low, high);
            let (left, top) = (x as usize, y as usize);
            let (dx, dy) = (x - left as f32, y - top as f32);
            let (above, below) = (&canvas[top], &canvas[top + 1]);
            let upper = above[left] + (above[left + 1] - above[left]) * dx;
            let lower = below[left] + (below[left + 1] - below[left]) * dx;
            *ink = upper + (lower - upper) * dy;
        }
    }
}
