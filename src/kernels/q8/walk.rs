//! How the depthwise kernels of x86 go through a picture.

#![forbid(unsafe_code)]

use super::Window;

/// Taps are taken four at a time. Where an output and the one below it share all rows but one of three, fours run down
/// the window's columns and serve both: the first three of four rows, and the last three. Otherwise they run along its
/// rows.
///
/// Channels are taken a block at a time. Where few channels leave room in it, neighbouring outputs fill it.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "read by kernels of x86 alone"))]
pub(super) struct Walk {
    pub is_tall: bool,
    /// Outputs side by side in a block.
    pub pixels: usize,
    /// Columns of the window, or rows, and taps in each.
    pub lines: usize,
    pub deep: usize,
    /// Bytes from line to line, and from four taps to the next four.
    pub a_line: usize,
    pub a_quad: usize,
    /// Where a quad's taps are, and those of a line's last quad: beyond the window they repeat its last tap, on a
    /// weight of zero.
    pub taps: [usize; 4],
    pub last: [usize; 4],
}

impl Walk {
    /// With so many channels in a block.
    pub fn new(window: Window, channels: usize, block: usize) -> Self {
        let is_tall = window.kernel[0] == 3 && window.stride[0] == 1 && window.dilation[0] == 1;
        let fits = channels.is_multiple_of(16) && block.is_multiple_of(channels) && window.stride[1] == 1;
        let apart = [window.dilation[0] * window.width * channels, window.dilation[1] * channels];
        let (line, tap) = if is_tall { (1, 0) } else { (0, 1) };
        let (deep, a_tap) = (window.kernel[tap], apart[tap]);
        Self {
            is_tall,
            pixels: if fits { block / channels } else { 1 },
            lines: window.kernel[line],
            deep,
            a_line: apart[line],
            a_quad: 4 * a_tap,
            taps: [0, 1, 2, 3].map(|tap| tap * a_tap),
            last: [0, 1, 2, 3].map(|tap| ((deep - 1) % 4).min(tap) * a_tap),
        }
    }

    /// Fours of taps in a line.
    pub fn quads(&self) -> usize {
        self.deep.div_ceil(4)
    }

    /// Whose weight is the `tap`th (of 0 to 3) of a quad, by its index in the window; `None` beyond the line's end.
    pub fn tap(&self, quad: usize, tap: usize) -> Option<usize> {
        let (line, at) = (quad / self.quads(), quad % self.quads() * 4 + tap);
        let index = if self.is_tall { at * self.lines + line } else { line * self.deep + at };
        (at < self.deep).then_some(index)
    }
}
