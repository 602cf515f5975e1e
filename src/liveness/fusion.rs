//! What a sensor's reading and the face's place in the picture say together: samples of the sensor's channels.
//!
//! Camera and grids look the same way from the same spot (they sit in one housing), so a zone's axis has a place in the
//! picture whatever the distance. The recipes' simulator has the same formulas; models/golden/liveness-fusion.json holds
//! both to them.

use heapless::Vec;

use super::camera::{FaceSample, Look};
use super::channels::Channel;
use super::{Place, Sample};
use crate::ports::{Grid, Reading, Value};
use crate::time::{Duration, Instant};

/// The largest grid that is taken in: 32 x 24 thermal pixels.
pub const MAX_CELLS: usize = 1024;
/// A face's place in the picture is of use for so long: within it a face that walks moves by less than itself.
const PLACE_FOR: Duration = Duration::from_millis(400);
/// The face about the middle of the eyes, in distances between the eyes: centre below it, half axes across and down (a head is
/// about 2.1 such distances wide, and 2.9 from the brow's hair to the chin).
const CENTRE: f32 = 0.35;
const ACROSS: f32 = 1.05;
const DOWN: f32 = 1.45;
/// Where the face certainly ends: its ellipse so many times.
const CLEAR_OF: f32 = 1.5;
/// Left and right of the face: so near its centre, in distances between the eyes.
const BESIDE_ACROSS: f32 = 3.0;
const BESIDE_DOWN: f32 = 0.8;
/// Cells that count as the face's at the least: the nearest, where the face covers fewer.
const LEAST_ZONES: usize = 4;
const LEAST_PIXELS: usize = 6;
/// Cells about the face without which nothing is said of them.
const LEAST_AROUND: usize = 3;
/// A plane has three unknowns; with twice as many zones its residuals mean something.
const LEAST_FOR_PLANE: usize = 6;

/// Most samples that one reading gives.
pub const MAX_SAMPLES: usize = 5;
pub type Samples = Vec<Sample, MAX_SAMPLES>;

/// Where sensors look relative to the camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fusion {
    /// 2 tan(half the camera's horizontal field of view): the frame's width at distance 1.
    width_at_1: f32,
    /// The face in sight, and its luminance.
    face: Option<(Place, f32)>,
}

impl Fusion {
    /// For a camera that sees so many degrees across, more than 0 and less than 180.
    pub fn new(camera_view_deg: f32) -> Self {
        Self { width_at_1: 2.0 * (camera_view_deg.to_radians() / 2.0).tan(), face: None }
    }

    /// What a frame showed.
    pub fn look(&mut self, look: &Look) {
        match look.face() {
            Some(FaceSample { place, samples }) => {
                let luminance = samples.iter().find(|sample| sample.channel == Channel::Luminance);
                self.face(*place, luminance.map_or(f32::NAN, |sample| sample.value));
            }
            None if look.forgets() => self.nobody(),
            None => {}
        }
    }

    /// A face was seen there, so bright.
    pub fn face(&mut self, place: Place, luminance: f32) {
        self.face = Some((place, luminance));
    }

    /// No face is there any more.
    pub fn nobody(&mut self) {
        self.face = None;
    }

    /// The samples that a reading gives. What needs the face's place is only said while that is known.
    pub fn samples(&self, reading: &Reading<'_>) -> Samples {
        let at = reading.at;
        let face = self.face.filter(|(place, _)| apart(place.at, at) <= PLACE_FOR);
        let place = face.map(|(place, _)| place);
        let mut samples = Samples::new();
        let mut say = |channel, value| {
            let _there_is_room = samples.push(Sample { at, channel, value });
        };
        match reading.value {
            Value::Distance(mm) => {
                say(Channel::DistanceMm, mm);
                if let Some(place) = place {
                    say(Channel::EyeGapMm, self.eye_gap_mm(place, mm));
                }
            }
            Value::Depth(grid) => {
                if let Some(place) = place {
                    self.depth(&grid, place, say);
                }
            }
            Value::Thermometer { object, ambient } => {
                say(Channel::ObjectC, object);
                say(Channel::AmbientC, ambient);
                say(Channel::ObjectOverAmbientC, object - ambient);
            }
            Value::Thermal(grid) => {
                if let Some(place) = place {
                    self.thermal(&grid, place, say);
                }
            }
            Value::Proximity { lit, dark } => {
                say(Channel::NirReflected, lit - dark);
                say(Channel::NirAmbient, dark);
            }
            Value::Light(lux) => {
                say(Channel::AmbientLogLux, lux.log10());
                if let Some((_, luminance)) = face {
                    say(Channel::LuminanceOverLight, luminance.log10() - lux.log10());
                }
            }
            Value::Touch(share) => say(Channel::Touch, share),
            Value::Acceleration(_) => {}
        }
        samples
    }

    /// What a face of this size in the picture measures from eye to eye at a distance (pinhole camera).
    fn eye_gap_mm(&self, place: Place, distance_mm: f32) -> f32 {
        place.eye_gap * self.width_at_1 * distance_mm
    }

    fn depth(&self, grid: &Grid<'_>, place: Place, mut say: impl FnMut(Channel, f32)) {
        let cells = self.sort(grid, place, LEAST_ZONES);
        let face = median(cells.face.iter().map(|cell| cell.value));
        let Some(face) = face else { return };
        say(Channel::DepthFaceMm, face);
        say(Channel::DepthEyeGapMm, self.eye_gap_mm(place, face));
        if let Some(mut residuals) = off_plane(&cells.face) {
            let n = residuals.len() as f32;
            say(Channel::PlanarityMm, (residuals.iter().map(|r| r * r).sum::<f32>() / n).sqrt());
            residuals.sort_unstable_by(f32::total_cmp);
            say(Channel::ReliefMm, quantile(&residuals, 0.9) - quantile(&residuals, 0.1));
        }
        if cells.around.len() >= LEAST_AROUND
            && let Some(around) = median(cells.around.iter().map(|cell| cell.value))
        {
            say(Channel::StepMm, around - face);
        }
    }

    fn thermal(&self, grid: &Grid<'_>, place: Place, mut say: impl FnMut(Channel, f32)) {
        let cells = self.sort(grid, place, LEAST_PIXELS);
        let Some(face) = median(cells.face.iter().map(|cell| cell.value)) else { return };
        say(Channel::WarmFaceC, face);
        let n = cells.face.len() as f32;
        let mean = cells.face.iter().map(|cell| cell.value).sum::<f32>() / n;
        let variance = cells.face.iter().map(|cell| (cell.value - mean).powi(2)).sum::<f32>() / n;
        say(Channel::WarmSpreadC, variance.sqrt());
        if cells.around.len() < LEAST_AROUND {
            return;
        }
        let Some(around) = median(cells.around.iter().map(|cell| cell.value)) else { return };
        say(Channel::WarmContrastC, face - around);
        let share = |of: &mut dyn Iterator<Item = &Cell>| {
            let (warm, n) = of.fold((0, 0), |(warm, n), cell| {
                let is_warm = (cell.value - face).abs() <= (cell.value - around).abs();
                (warm + usize::from(is_warm), n + 1)
            });
            (n > 0).then(|| (warm as f32 / n as f32, n))
        };
        if let Some((fill, _)) = share(&mut cells.face.iter()) {
            say(Channel::WarmFill, fill);
        }
        let is_beside =
            |cell: &&Cell| cell.x.abs() <= BESIDE_ACROSS * place.eye_gap && cell.y.abs() <= BESIDE_DOWN * place.eye_gap;
        if let Some((beside, n)) = share(&mut cells.around.iter().filter(is_beside))
            && n >= LEAST_AROUND
        {
            say(Channel::WarmBeside, beside);
        }
    }

    /// The cells that saw something: those under the face, and those clear of it. Which are under it is a matter of where they
    /// look, whether they saw something or not.
    fn sort(&self, grid: &Grid<'_>, place: Place, least: usize) -> Cells {
        let (centre_x, centre_y) = (place.x, place.y + CENTRE * place.eye_gap);
        let at = |i: usize, n: usize, view: f32| {
            let angle = ((i as f32 + 0.5) / n as f32 - 0.5) * view;
            angle.to_radians().tan() / self.width_at_1
        };
        let mut all: Vec<Cell, MAX_CELLS> = Vec::new();
        for (i, &value) in grid.cells.iter().enumerate().take(grid.columns * grid.rows) {
            let x = at(i % grid.columns, grid.columns, grid.view[0]) - centre_x;
            let y = at(i / grid.columns, grid.rows, grid.view[1]) - centre_y;
            let _there_is_room = all.push(Cell { x, y, value });
        }
        let radius = |cell: &Cell| (cell.x / (ACROSS * place.eye_gap)).hypot(cell.y / (DOWN * place.eye_gap));
        let is_small = all.iter().filter(|cell| radius(cell) <= 1.0).count() < least;
        if is_small {
            all.sort_unstable_by(|a, b| a.x.hypot(a.y).total_cmp(&b.x.hypot(b.y)));
        }
        let mut cells = Cells::default();
        for (n, cell) in all.into_iter().enumerate() {
            if !cell.value.is_finite() {
                continue;
            }
            // Of a small face the nearest cells, which count as its own, may lie clear of it as well.
            if if is_small { n < least } else { radius(&cell) <= 1.0 } {
                let _there_is_room = cells.face.push(cell);
            }
            if radius(&cell) > CLEAR_OF {
                let _there_is_room = cells.around.push(cell);
            }
        }
        cells
    }
}

/// What a cell of a grid saw, and where: from the face's centre, in shares of the frame's width.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    x: f32,
    y: f32,
    value: f32,
}

#[derive(Default)]
struct Cells {
    face: Vec<Cell, MAX_CELLS>,
    around: Vec<Cell, MAX_CELLS>,
}

/// What the plane z = a + b x + c y nearest to the cells (least squares) leaves of each; `None` for too few, or for cells in one
/// line.
fn off_plane(cells: &[Cell]) -> Option<Vec<f32, MAX_CELLS>> {
    if cells.len() < LEAST_FOR_PLANE {
        return None;
    }
    let n = cells.len() as f64;
    let mean = |of: fn(&Cell) -> f32| cells.iter().map(|cell| f64::from(of(cell))).sum::<f64>() / n;
    let (x, y, z) = (mean(|c| c.x), mean(|c| c.y), mean(|c| c.value));
    let (mut xx, mut xy, mut yy, mut xz, mut yz) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for cell in cells {
        let (dx, dy, dz) = (f64::from(cell.x) - x, f64::from(cell.y) - y, f64::from(cell.value) - z);
        (xx, xy, yy, xz, yz) = (xx + dx * dx, xy + dx * dy, yy + dy * dy, xz + dx * dz, yz + dy * dz);
    }
    let determinant = xx * yy - xy * xy;
    // Cells in one line determine no plane; the measure is relative, as x and y are shares of a picture.
    if determinant <= 1e-9 * xx * yy {
        return None;
    }
    let (b, c) = ((xz * yy - yz * xy) / determinant, (yz * xx - xz * xy) / determinant);
    let residual =
        |cell: &Cell| (f64::from(cell.value) - z - b * (f64::from(cell.x) - x) - c * (f64::from(cell.y) - y)) as f32;
    Some(cells.iter().map(residual).collect())
}

/// The middle value; the mean of the two middle ones of an even number.
fn median(values: impl Iterator<Item = f32>) -> Option<f32> {
    let mut sorted: Vec<f32, MAX_CELLS> = values.collect();
    sorted.sort_unstable_by(f32::total_cmp);
    (!sorted.is_empty()).then(|| quantile(&sorted, 0.5))
}

/// Between order statistics in a straight line: the value at place (n − 1) q of n sorted ones, at least one.
fn quantile(sorted: &[f32], q: f32) -> f32 {
    let place = (sorted.len() - 1) as f32 * q;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

fn apart(a: Instant, b: Instant) -> Duration {
    a.since(b).max(b.since(a))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Instant = Instant::from_millis(5000);

    /// A face in the middle of a camera that sees 60 degrees, at so many millimetres.
    fn watching(mm: f32) -> Fusion {
        let mut fusion = Fusion::new(60.0);
        let eye_gap = 63.0 / (mm * fusion.width_at_1);
        fusion.face(Place { at: AT, x: 0.0, y: -CENTRE * eye_gap, eye_gap }, 100.0);
        fusion
    }

    fn value(samples: &Samples, channel: Channel) -> Option<f32> {
        samples.iter().find(|sample| sample.channel == channel).map(|sample| sample.value)
    }

    /// 8 x 8 zones over 45 degrees, each as `mm` says of its axis' tangents.
    fn depth(mm: impl Fn(f32, f32) -> f32) -> [f32; 64] {
        std::array::from_fn(|i| {
            let tangent = |i: usize| (((i as f32 + 0.5) / 8.0 - 0.5) * 45.0f32).to_radians().tan();
            mm(tangent(i % 8), tangent(i / 8))
        })
    }

    fn look(fusion: &Fusion, cells: &[f32]) -> Samples {
        let grid = Grid { columns: 8, rows: 8, cells, view: [45.0, 45.0] };
        fusion.samples(&Reading { at: AT, value: Value::Depth(grid) })
    }

    #[test]
    fn a_tilted_picture_is_flat_and_a_head_is_not() {
        let (fusion, head) = (watching(400.0), |x: f32, y: f32| (x / 0.2).hypot(y / 0.27));
        let behind = |x: f32, y: f32, near: f32| if head(x, y) <= 1.0 { near } else { 1500.0 };
        let picture = look(&fusion, &depth(|x, y| behind(x, y, 400.0 + 150.0 * x - 60.0 * y)));
        let face = look(&fusion, &depth(|x, y| behind(x, y, 400.0 + 60.0 * head(x, y).powi(2))));
        for (samples, flat) in [(&picture, true), (&face, false)] {
            let (relief, planarity) =
                (value(samples, Channel::ReliefMm).unwrap(), value(samples, Channel::PlanarityMm).unwrap());
            assert_eq!((relief < 1.0, planarity < 0.5), (flat, flat), "{relief} {planarity}");
            assert!((value(samples, Channel::StepMm).unwrap() - 1090.0).abs() < 30.0, "{samples:?}");
        }
        assert!((value(&picture, Channel::DepthEyeGapMm).unwrap() - 63.0).abs() < 1.0);
    }

    #[test]
    fn zones_that_saw_nothing_are_left_out_and_too_few_say_nothing_of_relief() {
        let fusion = watching(400.0);
        let mut cells = [f32::NAN; 64];
        assert!(look(&fusion, &cells).is_empty());
        [27, 28, 35].into_iter().for_each(|i| cells[i] = 410.0);
        let samples = look(&fusion, &cells);
        assert_eq!(value(&samples, Channel::DepthFaceMm), Some(410.0));
        assert_eq!(samples.len(), 2, "neither plane nor surroundings: {samples:?}");
    }

    #[test]
    fn a_warm_face_stands_out_and_a_warm_hand_beside_it_shows() {
        let fusion = watching(500.0);
        let grid = |warm: &dyn Fn(usize, usize) -> bool| -> [f32; 768] {
            std::array::from_fn(|i| if warm(i % 32, i / 32) { 34.0 } else { 21.0 })
        };
        let look = |cells: &[f32; 768]| {
            let grid = Grid { columns: 32, rows: 24, cells, view: [55.0, 35.0] };
            fusion.samples(&Reading { at: AT, value: Value::Thermal(grid) })
        };
        let head = |x: usize, y: usize| (x as f32 - 15.5).hypot((y as f32 - 11.5) * 0.72) <= 4.6;
        let alone = look(&grid(&head));
        let held = look(&grid(&|x, y| head(x, y) || (9..23).contains(&y) && (20..32).contains(&x)));
        assert_eq!(value(&alone, Channel::WarmFaceC), Some(34.0));
        assert_eq!(value(&alone, Channel::WarmContrastC), Some(13.0));
        assert!(value(&alone, Channel::WarmFill).unwrap() > 0.8, "{alone:?}");
        let beside = |samples| value(samples, Channel::WarmBeside).unwrap();
        assert!(beside(&alone) < 0.1 && beside(&held) > 0.3, "{} {}", beside(&alone), beside(&held));
    }

    #[test]
    fn without_a_face_in_sight_only_what_needs_no_place_is_said() {
        let mut fusion = watching(600.0);
        let distance = Reading { at: AT, value: Value::Distance(600.0) };
        assert!((value(&fusion.samples(&distance), Channel::EyeGapMm).unwrap() - 63.0).abs() < 0.1);
        let later = Reading { at: AT + PLACE_FOR * 2, ..distance };
        assert_eq!(fusion.samples(&later).len(), 1);
        fusion.nobody();
        assert_eq!(fusion.samples(&distance).len(), 1);
        assert!(look(&fusion, &[500.0; 64]).is_empty());
    }

    #[test]
    fn no_light_and_no_number_is_nothing_that_a_series_takes() {
        let fusion = watching(600.0);
        for lux in [0.0, f32::NAN] {
            let samples = fusion.samples(&Reading { at: AT, value: Value::Light(lux) });
            let within = |sample: &Sample| {
                let [low, high] = sample.channel.spec().limits;
                low <= sample.value && sample.value <= high
            };
            assert!(!samples.iter().any(within), "{samples:?}");
        }
    }
}
