//! Shapes of the layers that slide a window.

/// A two-dimensional convolution, `[out_channels, in_channels, kernel_h, kernel_w]`, same stride and zero padding on both
/// axes.
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
    /// Height of the kernel, at least 1.
    pub kernel_h: usize,
    /// Width of the kernel, at least 1.
    pub kernel_w: usize,
    /// Step of the window, at least 1.
    pub stride: usize,
    /// Rows and columns of zeros on each side.
    pub padding: usize,
}

impl ConvGeometry {
    /// Height of the output, `(in_h + 2 padding - kernel_h) / stride + 1`; `None` if the kernel does not fit, the stride
    /// is 0 or a number overflows.
    pub fn out_h(&self) -> Option<usize> {
        positions(self.in_h, self.padding, self.kernel_h, self.stride)
    }

    /// Width of the output, see [`out_h`](Self::out_h).
    pub fn out_w(&self) -> Option<usize> {
        positions(self.in_w, self.padding, self.kernel_w, self.stride)
    }

    /// Weights of one output channel.
    pub fn taps(&self) -> usize {
        self.in_channels * self.kernel_h * self.kernel_w
    }
}

/// Max pooling over square windows, without padding: what does not fill a window at the lower and right edge is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolGeometry {
    /// Channels of input and output.
    pub channels: usize,
    /// Height of the input in pixels.
    pub in_h: usize,
    /// Width of the input in pixels.
    pub in_w: usize,
    /// Side of the window, at least 1.
    pub window: usize,
    /// Step of the window, at least 1.
    pub stride: usize,
}

impl PoolGeometry {
    /// Height of the output, `(in_h - window) / stride + 1`; `None` if the window does not fit or the stride is 0.
    pub fn out_h(&self) -> Option<usize> {
        positions(self.in_h, 0, self.window, self.stride)
    }

    /// Width of the output, see [`out_h`](Self::out_h).
    pub fn out_w(&self) -> Option<usize> {
        positions(self.in_w, 0, self.window, self.stride)
    }
}

fn positions(size: usize, padding: usize, window: usize, stride: usize) -> Option<usize> {
    let room = size.checked_add(padding.checked_mul(2)?)?.checked_sub(window)?;
    if window == 0 { None } else { Some(room.checked_div(stride)? + 1) }
}
