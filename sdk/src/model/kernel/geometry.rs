//! Shapes of the layers that slide a window.

use core::ops::Range;

/// A convolution over two axes, with weights `[out_channels, in_channels / groups, kernel_h, kernel_w]`.
///
/// A convolution over one axis has height 1. With as many groups as input channels it is depthwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvGeometry {
    /// Channels of the input.
    pub in_channels: usize,
    /// Height of the input in pixels.
    pub in_h: usize,
    /// Width of the input in pixels.
    pub in_w: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Height and width of the kernel, at least 1.
    pub kernel: [usize; 2],
    /// Steps of the window down and to the right, at least 1.
    pub stride: [usize; 2],
    /// Pixels of padding at the top, left, bottom and right.
    pub padding: [usize; 4],
    /// Distance of neighbouring kernel positions in pixels, downwards and to the right; 1 leaves no holes.
    pub dilation: [usize; 2],
    /// Output channel `oc` sees only the input channels of its group, `oc / (out_channels / groups)`. Divides both numbers
    /// of channels.
    pub groups: usize,
}

impl ConvGeometry {
    /// Height of the output, `(in_h + top + bottom - dilation (kernel - 1) - 1) / stride + 1`; `None` if the kernel does not
    /// fit, a number except padding is 0, groups do not divide the channels, or a number overflows.
    pub fn out_h(&self) -> Option<usize> {
        Some(self.axis(0)?.out)
    }

    /// Width of the output, see [`out_h`](Self::out_h).
    pub fn out_w(&self) -> Option<usize> {
        Some(self.axis(1)?.out)
    }

    /// Weights of one output channel; 0 without groups.
    pub fn taps(&self) -> usize {
        let channels = self.in_channels.checked_div(self.groups).unwrap_or(0);
        channels.saturating_mul(self.kernel[0]).saturating_mul(self.kernel[1])
    }

    /// Both axes, heights first; `None` also if the size of the output overflows.
    #[inline(always)]
    pub(super) fn axes(&self) -> Option<[Axis; 2]> {
        let [rows, columns] = [self.axis(0)?, self.axis(1)?];
        rows.out.checked_mul(columns.out)?.checked_mul(self.out_channels)?;
        Some([rows, columns])
    }

    #[inline(always)]
    fn axis(&self, axis: usize) -> Option<Axis> {
        let grouped =
            self.in_channels.checked_rem(self.groups)? == 0 && self.out_channels.checked_rem(self.groups)? == 0;
        let some = self.in_channels > 0 && self.out_channels > 0;
        self.in_h.checked_mul(self.in_w)?.checked_mul(self.in_channels)?;
        let channels = self.in_channels.checked_div(self.groups)?.checked_mul(self.out_channels)?;
        channels.checked_mul(self.kernel[0])?.checked_mul(self.kernel[1])?;
        let padding = [self.padding[axis], self.padding[axis + 2]];
        let size = [self.in_h, self.in_w][axis];
        let axis = Axis::new(size, self.kernel[axis], self.stride[axis], self.dilation[axis], padding)?;
        (grouped && some).then_some(axis)
    }

    /// Whether every output pixel sees its own input pixel alone.
    #[inline(always)]
    pub(super) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0; 4]
    }

    /// The same layer with all pixels in one row, if it is [pointwise](Self::is_pointwise).
    #[inline(always)]
    pub(super) fn in_one_row(&self) -> Self {
        Self { in_h: 1, in_w: self.in_h * self.in_w, dilation: [1, 1], ..*self }
    }
}

/// Pooling over windows. Rounds down: what does not fill a window at the lower and right edge is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolGeometry {
    /// Channels of input and output.
    pub channels: usize,
    /// Height of the input in pixels.
    pub in_h: usize,
    /// Width of the input in pixels.
    pub in_w: usize,
    /// Height and width of the window, at least 1.
    pub kernel: [usize; 2],
    /// Steps of the window down and to the right, at least 1.
    pub stride: [usize; 2],
    /// Pixels of padding at the top, left, bottom and right: never the largest of a window, and 0 in a sum.
    pub padding: [usize; 4],
    /// Distance of neighbouring window positions in pixels, downwards and to the right; 1 leaves no holes.
    pub dilation: [usize; 2],
}

impl PoolGeometry {
    /// Height of the output, as that of a convolution; `None` if the window does not fit, a number except padding is 0, a
    /// number overflows, or a window lies wholly in the padding. Among the last count all geometries with padding at the
    /// top, more than one row in the window, and a dilation greater than the input's height.
    pub fn out_h(&self) -> Option<usize> {
        Some(self.axis(0)?.out)
    }

    /// Width of the output, see [`out_h`](Self::out_h).
    pub fn out_w(&self) -> Option<usize> {
        Some(self.axis(1)?.out)
    }

    /// Both axes, heights first; `None` also if the size of the output overflows.
    #[inline(always)]
    pub(super) fn axes(&self) -> Option<[Axis; 2]> {
        let [rows, columns] = [self.axis(0)?, self.axis(1)?];
        rows.out.checked_mul(columns.out)?.checked_mul(self.channels)?;
        Some([rows, columns])
    }

    #[inline(always)]
    fn axis(&self, axis: usize) -> Option<Axis> {
        self.in_h.checked_mul(self.in_w)?.checked_mul(self.channels)?;
        self.kernel[0].checked_mul(self.kernel[1])?;
        let padding = [self.padding[axis], self.padding[axis + 2]];
        let size = [self.in_h, self.in_w][axis];
        let axis = Axis::new(size, self.kernel[axis], self.stride[axis], self.dilation[axis], padding)?;
        // The first window reaches the input, none before it steps over it, and the last one starts within it.
        let reaches = axis.before <= axis.reach();
        let steps_over = axis.before > 0 && axis.kernel > 1 && axis.dilation > size;
        let starts_within = (axis.out - 1) * axis.stride < size + axis.before;
        (self.channels > 0 && reaches && !steps_over && starts_within).then_some(axis)
    }
}

/// One axis of a sliding window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// Positions of the input.
    pub(super) size: usize,
    /// Positions of the window.
    pub(super) kernel: usize,
    /// Step of the window.
    pub(super) stride: usize,
    /// Distance of neighbouring positions of the window.
    pub(super) dilation: usize,
    /// Padding before the input.
    pub(super) before: usize,
    /// Positions of the output.
    pub(super) out: usize,
}

impl Axis {
    #[inline(always)]
    fn new(size: usize, kernel: usize, stride: usize, dilation: usize, padding: [usize; 2]) -> Option<Self> {
        let [before, after] = padding;
        if dilation == 0 || size == 0 {
            return None;
        }
        let reach = kernel.checked_sub(1)?.checked_mul(dilation)?;
        let room = size.checked_add(before)?.checked_add(after)?.checked_sub(reach)?.checked_sub(1)?;
        Some(Self { size, kernel, stride, dilation, before, out: room.checked_div(stride)? + 1 })
    }

    /// From the first position of the window to the last.
    #[inline(always)]
    pub(super) fn reach(&self) -> usize {
        (self.kernel - 1) * self.dilation
    }

    /// The outputs for which every position of the window meets the input.
    #[inline(always)]
    pub(super) fn inner(&self) -> Range<usize> {
        let lo = self.before.div_ceil(self.stride).min(self.out);
        let hi = match (self.size + self.before).checked_sub(self.reach() + 1) {
            Some(room) => (room / self.stride + 1).min(self.out),
            None => lo,
        };
        lo..hi.max(lo)
    }

    /// All outputs, in runs for which the same positions of the window meet the input: the inner ones together, and each of
    /// the others. Not in order.
    #[inline(always)]
    pub(super) fn runs(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let inner = self.inner();
        let edges = (0..inner.start).chain(inner.end..self.out).map(|o| o..o + 1);
        core::iter::once(inner).filter(|run| !run.is_empty()).chain(edges)
    }

    /// The outputs for which position `k` of the window meets the input.
    #[inline(always)]
    pub(super) fn meeting(&self, k: usize) -> Range<usize> {
        let lo = self.before.saturating_sub(k * self.dilation).div_ceil(self.stride);
        let hi = (self.size + self.before).saturating_sub(k * self.dilation).div_ceil(self.stride).min(self.out);
        lo.min(hi)..hi
    }

    /// The positions of the window that meet the input for output `o`.
    #[inline(always)]
    pub(super) fn window(&self, o: usize) -> Range<usize> {
        let lo = self.before.saturating_sub(o * self.stride).div_ceil(self.dilation);
        let hi = (self.size + self.before).saturating_sub(o * self.stride).div_ceil(self.dilation).min(self.kernel);
        lo.min(hi)..hi
    }

    /// Where position `k` of the window of output `o` lies in the input; the two must meet.
    #[inline(always)]
    pub(super) fn input(&self, o: usize, k: usize) -> usize {
        o * self.stride + k * self.dilation - self.before
    }

    /// The axis of the gradient of the input, which is a convolution of the output's gradient with positions in reverse.
    /// `None` with a stride greater than 1 or a window that can lie before the input.
    #[inline(always)]
    pub(super) fn reversed(&self) -> Option<Self> {
        let before = self.reach().checked_sub(self.before)?;
        (self.stride == 1).then_some(Self { size: self.out, before, out: self.size, ..*self })
    }
}
