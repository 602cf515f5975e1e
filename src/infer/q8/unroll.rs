//! Windows of a picture as rows of a matrix, so that any convolution is a dense layer.

use std::ops::Range;

use super::program::Layout;

/// How windows become rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unroll {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Rows and columns of the output.
    pub out: [usize; 2],
    /// Channels of a group.
    pub channels: usize,
    /// Windows at a time.
    pub chunk: usize,
}

impl Unroll {
    pub fn depth(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.channels
    }

    /// Writes the windows `windows` of an image with its border, whose channels begin at `first`, as rows of
    /// [`Self::depth`] bytes.
    pub fn rows(&self, image: &[u8], layout: &Layout, first: usize, windows: Range<usize>, rows: &mut [u8]) {
        let channels = layout.sides[2];
        // Taps that lie side by side are copied together; nine bytes are those of a first layer, three pixels of three
        // colours.
        let is_whole = self.channels == channels && self.dilation[1] == 1;
        match (is_whole, self.kernel[1] * channels) {
            // Sixteen bytes at a time, which are one instruction; the next line's overwrite what is beyond.
            (true, 9) if self.kernel[0] == 3 => {
                self.copy(image, layout, windows, rows, |[first, second, third], row| {
                    row[..16].copy_from_slice(&image[first..][..16]);
                    row[9..25].copy_from_slice(&image[second..][..16]);
                    row[18..27].copy_from_slice(&image[third..][..9]);
                })
            }
            (true, span) => self.copy(image, layout, windows, rows, |[first, second, _], row| {
                for (line, to) in row.chunks_exact_mut(span).enumerate() {
                    to.copy_from_slice(&image[first + line * (second - first)..][..span]);
                }
            }),
            (false, _) => self.copy(image, layout, windows, rows, |[top, second, _], row| {
                for (line, row) in row.chunks_exact_mut(self.kernel[1] * self.channels).enumerate() {
                    for (tap, to) in row.chunks_exact_mut(self.channels).enumerate() {
                        let from = top + line * (second - top) + tap * self.dilation[1] * channels + first;
                        to.copy_from_slice(&image[from..][..self.channels]);
                    }
                }
            }),
        }
    }

    /// Calls `fill` with where the kernel's first three lines begin in the image, if it has so many, and the bytes to
    /// fill.
    fn copy(
        &self,
        image: &[u8],
        layout: &Layout,
        windows: Range<usize>,
        rows: &mut [u8],
        fill: impl Fn([usize; 3], &mut [u8]),
    ) {
        let (pixel, line) = (layout.sides[2], layout.width() * layout.sides[2]);
        let mut rows = rows.chunks_exact_mut(self.depth());
        let (first, column) = (windows.start / self.out[1], windows.start % self.out[1]);
        let mut left = windows.len();
        for row in first..self.out[0] {
            let columns = if row == first { column..self.out[1] } else { 0..self.out[1] };
            let top = row * self.stride[0] * line;
            let apart = self.dilation[0] * line;
            debug_assert!(top + (self.kernel[0] - 1) * apart < image.len());
            for (column, row) in columns.take(left).zip(&mut rows) {
                let at = top + column * self.stride[1] * pixel;
                fill([at, at + apart, at + 2 * apart], row);
                left -= 1;
            }
            if left == 0 {
                return;
            }
        }
    }
}
