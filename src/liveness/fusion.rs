//! What a sensor's reading and the face's place in the picture say together: samples of the sensor's channels.
//!
//! Camera and grids look the same way from the same spot (they sit in one housing), so a zone's axis has a place in the
//! picture whatever the distance. The recipes' simulator has the same formulas; models/golden/liveness-fusion.json
//! holds both to them.

mod cells;
#[cfg(test)]
mod tests;
mod warmth;

use heapless::Vec;

use cells::{Cell, Cells, Part, about, between, median, sort};

use super::camera::{FaceSample, TrackUpdate};
use super::channels::Channel;
use super::{Place, Sample};
use crate::ports::{Grid, MAX_CELLS, Reading, Value};
use crate::time::{Duration, Instant};

/// A face's place in the picture is of use for so long: within it a face that walks moves by less than itself.
const PLACE_FOR: Duration = Duration::from_millis(400);
/// Zones that count as the face's at the least: the nearest, where the face covers fewer.
const MIN_ZONES: usize = 4;
/// Zones about the face without which nothing is said of them.
const MIN_AROUND: usize = 3;
/// A plane has three unknowns; with twice as many zones its residuals mean something.
const MIN_FOR_PLANE: usize = 6;
/// Lux that darkness counts as: a BH1750 gives 0 at night, whose logarithm is no number, and less than this is as dark.
const DARKEST_LUX: f32 = 0.01;
/// Below the face, where somebody's chest is that holds nothing before them.
const CHEST: Part = Part { across: 1.6, from: 2.3, to: 4.2 };

/// Most samples that one reading gives.
pub const MAX_SAMPLES: usize = 13;
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
    pub fn update(&mut self, update: &TrackUpdate) {
        match update.face() {
            Some(FaceSample { place, samples, .. }) => {
                let luminance = samples.iter().find(|sample| sample.channel == Channel::Luminance);
                self.face(*place, luminance.map_or(f32::NAN, |sample| sample.value));
            }
            None if update.forgets() => self.nobody(),
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
                    warmth::tell(about(&grid, place, self.width_at_1), say);
                }
            }
            Value::Proximity { lit, dark } => {
                say(Channel::NirReflected, lit - dark);
                say(Channel::NirAmbient, dark);
            }
            Value::Light(lux) => {
                // `max` would make a light of NaN.
                let log_lux = if (0.0..DARKEST_LUX).contains(&lux) { DARKEST_LUX } else { lux }.log10();
                say(Channel::AmbientLogLux, log_lux);
                if let Some((_, luminance)) = face {
                    say(Channel::LuminanceOverLight, luminance.log10() - log_lux);
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
        let mut all = about(grid, place, self.width_at_1);
        let cells = sort(&mut all, MIN_ZONES);
        // Of a zone or two that met something, nobody knows whether it was the face.
        let is_seen = 2 * cells.face.len() >= cells.under;
        let Some(face) = median(cells.face.iter()).filter(|_| is_seen) else { return };
        say(Channel::DepthFaceMm, face);
        say(Channel::DepthEyeGapMm, self.eye_gap_mm(place, face));
        if let Some(mut residuals) = off_plane(&cells.face) {
            let n = residuals.len() as f32;
            say(Channel::PlanarityMm, (residuals.iter().map(|r| r * r).sum::<f32>() / n).sqrt());
            residuals.sort_unstable_by(f32::total_cmp);
            say(Channel::ReliefMm, between(&residuals, 0.9) - between(&residuals, 0.1));
        }
        if cells.around.len() >= MIN_AROUND
            && let Some(around) = median(cells.around.iter())
        {
            say(Channel::StepMm, around - face);
        }
        if let Some(chest) = median(all.iter().filter(|cell| CHEST.has(cell))) {
            say(Channel::ChestMm, chest - face);
        }
    }
}

/// What the plane z = a + b x + c y nearest to the cells (least squares) leaves of each; `None` for too few, or for
/// cells in one line.
fn off_plane(cells: &Cells) -> Option<Vec<f32, MAX_CELLS>> {
    if cells.len() < MIN_FOR_PLANE {
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

fn apart(a: Instant, b: Instant) -> Duration {
    a.since(b).max(b.since(a))
}
