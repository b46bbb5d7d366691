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
        let [plain, thick, thin, soft] = &mut planes;
        for (i, plain) in plain.iter_mut().enumerate() {
            let (x, y) = ((i % SIDE) as i32, (i / SIDE) as i32);
            let cross = [at(x, y), at(x - 1, y), at(x + 1, y), at(x, y - 1), at(x, y + 1)];
            *plain = cross[0];
            thick[i] = cross.into_iter().fold(0, u8::max);
            thin[i] = cross.into_iter().fold(u8::MAX, u8::min);
            let mut sum = 0;
            for (dy, row) in [(-1, 1), (0, 2), (1, 1)] {
                for (dx, column) in [(-1, 1), (0, 2), (1, 1)] {
                    sum += row * column * u32::from(at(x + dx, y + dy));
                }
            }
            soft[i] = ((sum + 8) / 16) as u8;
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
            back: back.map(fixed),
            origin: origin.map(fixed),
            shares: shares.map(|s| (s * self.contrast / f64::from(INK)) as f32),
        }
    }
}

/// A hand, ready to draw: 40 bytes. Coordinates are integers in 1/65536 of a pixel.
#[derive(Debug)]
pub(super) struct Pen {
    /// `[[xx, xy], [yx, yy]]`: from a pixel of the drawing to a point of the canvas.
    back: [i32; 4],
    /// The point of the canvas for pixel (0, 0).
    origin: [i32; 2],
    /// Weight of each plane; contrast and 1/240 are in it.
    shares: [f32; 4],
}

impl Pen {
    /// Draws `original` with bilinear sampling; ink is in [0, 1], up to rounding.
    pub(super) fn draw(&self, original: &Original, drawing: &mut [f32; PIXELS]) {
        // Longer than the canvas: whatever eight bits and a neighbour below address is inside, without a check.
        let mut canvas = [0f32; 256 + CANVAS + 1];
        let [plain, thick, thin, soft] = &original.planes;
        let [w0, w1, w2, w3] = self.shares;
        for y in 0..SIDE {
            let row = &mut canvas[(y + MARGIN) * CANVAS + MARGIN..][..SIDE];
            let planes = plain[y * SIDE..][..SIDE].iter().zip(&thick[y * SIDE..]).zip(&thin[y * SIDE..]);
            for (ink, (((&a, &b), &c), &d)) in row.iter_mut().zip(planes.zip(&soft[y * SIDE..])) {
                *ink = f32::from(a) * w0 + f32::from(b) * w1 + f32::from(c) * w2 + f32::from(d) * w3;
            }
        }
        // One pixel past the image there is no ink; a point farther out is as empty as that one.
        let (low, high) = (fixed((MARGIN - 1) as f64), fixed((MARGIN + SIDE) as f64));
        let [xx, xy, yx, yy] = self.back;
        for (row, drawing) in (0..).zip(drawing.chunks_exact_mut(SIDE)) {
            let (x0, y0) = (self.origin[0] + xy * row, self.origin[1] + yy * row);
            for (column, ink) in (0..).zip(drawing) {
                let x = (x0 + xx * column).clamp(low, high);
                let y = (y0 + yx * column).clamp(low, high);
                let at = ((y >> 16) * CANVAS as i32 + (x >> 16)) as usize & 255;
                let (dx, dy) = ((x & 0xffff) as f32 * UNIT, (y & 0xffff) as f32 * UNIT);
                let upper = canvas[at] + (canvas[at + 1] - canvas[at]) * dx;
                let (left, right) = (canvas[at + CANVAS], canvas[at + CANVAS + 1]);
                let lower = left + (right - left) * dx;
                *ink = upper + (lower - upper) * dy;
            }
        }
    }
}

const UNIT: f32 = 1.0 / 65536.0;

/// To the nearest 1/65536. No coordinate of a hand reaches 1000 pixels, so that eight steps of it fit.
const fn fixed(pixels: f64) -> i32 {
    (pixels * 65536.0 + if pixels < 0.0 { -0.5 } else { 0.5 }) as i32
}
