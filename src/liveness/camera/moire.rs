//! Whether a regular fine pattern lies over the face: the pixels of a screen or the dots of a print, beaten with the
//! camera's own pixels.

use crate::face::Landmarks;
use crate::frame::RgbImage;
use crate::kernels::colour;

/// The side of the patch in pixels of the frame, a power of two.
const SIDE: usize = 64;
/// Frequencies of a row's half spectrum.
const HALF: usize = SIDE / 2 + 1;
/// A face whose eyes are nearer to each other than so many pixels is smaller than the patch.
const MIN_EYES_PX: f32 = 32.0;
/// Rings of the spectrum, in cycles a patch: from 0.16 to 0.5 cycles a pixel, where a face has little. Each peak is
/// compared with its own ring, so that a spectrum that falls with frequency, as those of pictures do, has no peak.
const RINGS: [std::ops::Range<usize>; 5] = [10..14, 14..18, 18..22, 22..27, 27..32];
const MAX_BINS: usize = HALF * SIDE;

/// Tables and memory for a spectrum of [`SIDE`] x [`SIDE`].
pub(super) struct Moire {
    hann: [f32; SIDE],
    /// e^(−2πik/SIDE).
    turns: [[f32; 2]; SIDE / 2],
    /// The patch, then the half spectrum of each row, by columns so that these are contiguous.
    columns: [[[f32; 2]; SIDE]; HALF],
    power: [f32; MAX_BINS],
}

impl Default for Moire {
    fn default() -> Self {
        let angle = |k: usize, n: f32| k as f32 * std::f32::consts::TAU / n;
        Self {
            hann: std::array::from_fn(|k| 0.5 - 0.5 * angle(2 * k + 1, 2.0 * SIDE as f32).cos()),
            turns: std::array::from_fn(|k| [angle(k, SIDE as f32).cos(), -angle(k, SIDE as f32).sin()]),
            columns: [[[0.0; 2]; SIDE]; HALF],
            power: [0.0; MAX_BINS],
        }
    }
}

impl Moire {
    /// The greatest power of any frequency over the median power of its ring, decibels, of the luma around the nose:
    /// about 10 for noise alone (the greatest of n exponential variables is near ln n times their mean). `None` for a
    /// face that is smaller than the patch or reaches out of the frame, and for one that is flat.
    pub(super) fn measure(&mut self, image: &RgbImage, landmarks: &Landmarks) -> Option<f32> {
        let corner = |at: f32, side: usize| {
            let first = (at - SIDE as f32 / 2.0).round();
            (first >= 0.0 && first + SIDE as f32 <= side as f32).then_some(first as usize)
        };
        let [x, y] = landmarks.0[2];
        let (left, top) = (corner(x, image.width())?, corner(y, image.height())?);
        (landmarks.eye_distance() >= MIN_EYES_PX).then_some(())?;
        self.transform(|column, row| colour::exact_luma(image.pixel(left + column, top + row)));
        self.peak()
    }

    /// The spectrum of what `luma` says of a column and row, its mean taken out, under a Hann window.
    fn transform(&mut self, luma: impl Fn(usize, usize) -> f32) {
        let mut mean = 0.0;
        for (row, column) in (0..SIDE).flat_map(|row| (0..SIDE).map(move |column| (row, column))) {
            mean += luma(column, row) / (SIDE * SIDE) as f32;
        }
        // Two real rows are one complex one: z = a + ib, from whose spectrum both follow by symmetry.
        for row in (0..SIDE).step_by(2) {
            let at = |column: usize, row: usize| (luma(column, row) - mean) * self.hann[column] * self.hann[row];
            let mut both: [[f32; 2]; SIDE] = std::array::from_fn(|column| [at(column, row), at(column, row + 1)]);
            fft(&mut both, &self.turns);
            for (k, column) in self.columns.iter_mut().enumerate() {
                let ([re, im], [re_back, im_back]) = (both[k], both[(SIDE - k) % SIDE]);
                column[row] = [(re + re_back) / 2.0, (im - im_back) / 2.0];
                column[row + 1] = [(im + im_back) / 2.0, (re_back - re) / 2.0];
            }
        }
        self.columns.iter_mut().for_each(|column| fft(column, &self.turns));
    }

    fn peak(&mut self) -> Option<f32> {
        let mut best: Option<f32> = None;
        for ring in RINGS {
            let (inner, outer) = (ring.start * ring.start, ring.end * ring.end);
            let mut count = 0;
            for (across, column) in self.columns.iter().enumerate() {
                for (row, [re, im]) in column.iter().enumerate() {
                    let down = row.min(SIDE - row);
                    if (inner..outer).contains(&(across * across + down * down)) {
                        self.power[count] = re * re + im * im;
                        count += 1;
                    }
                }
            }
            let powers = &mut self.power[..count];
            let (_, median, above) = powers.select_nth_unstable_by(count / 2, f32::total_cmp);
            let peak = above.iter().copied().fold(*median, f32::max);
            let decibels = 10.0 * (peak / *median).log10();
            if *median > 0.0 && decibels.is_finite() {
                best = Some(best.map_or(decibels, |best| best.max(decibels)));
            }
        }
        best
    }
}

/// The discrete Fourier transform in place: decimation in time, radix two (Cooley and Tukey 1965).
fn fft(values: &mut [[f32; 2]; SIDE], turns: &[[f32; 2]; SIDE / 2]) {
    const BITS: u32 = SIDE.trailing_zeros();
    for i in 0..SIDE {
        let mirrored = i.reverse_bits() >> (usize::BITS - BITS);
        if i < mirrored {
            values.swap(i, mirrored);
        }
    }
    let mut half = 1;
    while half < SIDE {
        let step = SIDE / (2 * half);
        for block in values.chunks_exact_mut(2 * half) {
            let (even, odd) = block.split_at_mut(half);
            for ((a, b), [cos, sin]) in even.iter_mut().zip(odd).zip(turns.iter().step_by(step)) {
                let turned = [b[0] * cos - b[1] * sin, b[0] * sin + b[1] * cos];
                *b = [a[0] - turned[0], a[1] - turned[1]];
                *a = [a[0] + turned[0], a[1] + turned[1]];
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::align::TEMPLATE_112;
    use crate::sim::rng::Rng;

    /// A face that looks ahead from the middle of a picture of 200 x 200.
    fn measure(pixel: impl FnMut((usize, usize)) -> u8) -> Option<f32> {
        let pixels = (0..200 * 200).map(|i| (i % 200, i / 200)).map(pixel).flat_map(|luma| [luma; 3]).collect();
        let image = RgbImage::from_rgb8(200, 200, pixels).unwrap();
        Moire::default().measure(&image, &TEMPLATE_112.map(|[x, y]| [x + 40.0, y + 40.0]))
    }

    #[test]
    fn the_spectrum_is_that_of_the_definition() {
        let mut rng = Rng::new(3);
        let patch: Vec<f32> = (0..SIDE * SIDE).map(|_| (rng.next_u64() % 256) as f32).collect();
        let mut moire = Moire::default();
        moire.transform(|x, y| patch[y * SIDE + x]);
        let mean = patch.iter().sum::<f32>() / patch.len() as f32;
        for (across, down) in [(0, 1), (1, 0), (7, 13), (31, 40), (32, 63)] {
            let (mut re, mut im) = (0.0, 0.0);
            for (i, luma) in patch.iter().enumerate() {
                let (x, y) = (i % SIDE, i / SIDE);
                let angle = -std::f64::consts::TAU * ((across * x + down * y) % SIDE) as f64 / SIDE as f64;
                let value = f64::from((luma - mean) * moire.hann[x] * moire.hann[y]);
                re += value * angle.cos();
                im += value * angle.sin();
            }
            let [got_re, got_im] = moire.columns[across][down].map(f64::from);
            assert!(
                (got_re - re).abs() < 0.1 && (got_im - im).abs() < 0.1,
                "{across} {down}: {got_re} {re}, {got_im} {im}"
            );
        }
    }

    #[test]
    fn a_grid_over_noise_stands_out_and_noise_does_not() {
        let mut rng = Rng::new(1);
        let mut noise = move || 100 + (rng.next_u64() % 9) as u8;
        let plain = measure(|_| noise()).unwrap();
        assert!((7.0..16.0).contains(&plain), "{plain}");
        let mut rng = Rng::new(1);
        let grid = |x: usize| (3.0 * (x as f32 * std::f32::consts::TAU / 3.7).sin()) as i16;
        let screen = measure(|(x, _)| (100 + (rng.next_u64() % 9) as i16 + grid(x)) as u8).unwrap();
        assert!(screen > plain + 8.0, "{screen} {plain}");
    }

    #[test]
    fn a_flat_small_or_cut_off_face_has_none() {
        assert_eq!(measure(|_| 100), None);
        let image = RgbImage::new(200, 200);
        let mut moire = Moire::default();
        assert_eq!(moire.measure(&image, &TEMPLATE_112), None);
        assert_eq!(moire.measure(&image, &TEMPLATE_112.map(|[x, y]| [x / 2.0 + 50.0, y / 2.0 + 50.0])), None);
        assert_eq!(moire.measure(&image, &TEMPLATE_112.map(|[x, _]| [x, f32::NAN])), None);
        assert_eq!(moire.measure(&image, &TEMPLATE_112.map(|[x, y]| [x - 60.0, y])), None);
    }
}
