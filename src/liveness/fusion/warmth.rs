//! What a thermal array says of a face: how warm it is, where and how evenly, and what is warm beside it.
//!
//! No array is mounted quite as the camera looks: of two degrees between their axes, a face at a metre moves by half
//! the distance between the eyes. So the warmth is looked for first, near the place that the picture tells, and parts
//! of the face are told from there. Hair, glasses and beards are colder than skin; what a tenth of the face exceeds is
//! skin.

use super::cells::{CENTRE, Cell, Cells, Part, median, quantile, sort};
use crate::liveness::Channel;

/// Pixels that count as the face's at the least: the nearest, where the face covers fewer.
const MIN_PIXELS: usize = 6;
/// Pixels about the face, or beside it, without which nothing is said of them.
const MIN_AROUND: usize = 3;
/// Left and right of the face: so near its centre, in distances between the eyes.
const BESIDE_ACROSS: f32 = 3.0;
const BESIDE_DOWN: f32 = 0.8;
/// Of the pixels under a face in order: skin, that nothing covers.
const PEAK: f32 = 0.9;
/// In distances between the eyes, so far beside the face in the picture may the warmth lie that is taken for it, either
/// way.
const FURTHEST: f32 = 1.2;
/// Kelvins between face and surroundings, without which nothing warm has a place.
const MIN_CONTRAST: f32 = 1.0;
/// In which warmth is weighed to find where it is.
const HALO: Part = Part { across: 2.2, from: -1.9, to: 1.9 };
const PARTS: [(Channel, Part); 4] = [
    (Channel::WarmEyesC, Part { across: 0.85, from: -0.3, to: 0.3 }),
    (Channel::WarmNoseC, Part { across: 0.35, from: 0.3, to: 0.9 }),
    (Channel::WarmBrowC, Part { across: 0.6, from: -0.95, to: -0.35 }),
    (Channel::WarmChinC, Part { across: 0.6, from: 0.95, to: 1.6 }),
];
/// Within so many times the face's ellipse its wearer shows around a mask.
const RIM: f32 = 1.35;

/// Says what `all` pixels about a face tell.
pub(super) fn tell(mut all: Cells, mut say: impl FnMut(Channel, f32)) {
    let told = sort(&mut all, MIN_PIXELS);
    let (warm, cold) = (quantile(told.face.iter(), PEAK), median(told.around.iter()));
    if let (Some(warm), Some(cold)) = (warm, cold)
        && let Some((x, y)) = middle_of_warmth(&all, warm, cold)
    {
        say(Channel::WarmX, x);
        say(Channel::WarmY, y);
        let (x, y) = (x.clamp(-FURTHEST, FURTHEST), (y - CENTRE).clamp(-FURTHEST, FURTHEST));
        all.iter_mut().for_each(|cell| *cell = Cell { x: cell.x - x, y: cell.y - y, ..*cell });
    }
    let cells = sort(&mut all, MIN_PIXELS);
    let Some(face) = median(cells.face.iter()) else { return };
    say(Channel::WarmFaceC, face);
    let n = cells.face.len() as f32;
    let mean = cells.face.iter().map(|cell| cell.value).sum::<f32>() / n;
    let variance = cells.face.iter().map(|cell| (cell.value - mean).powi(2)).sum::<f32>() / n;
    say(Channel::WarmSpreadC, variance.sqrt());
    if let Some(peak) = quantile(cells.face.iter(), PEAK) {
        say(Channel::WarmPeakC, peak);
    }
    for (channel, part) in PARTS {
        if let Some(mean) = part.mean(&all) {
            say(channel, mean - face);
        }
    }
    if let Some(rim) = quantile(all.iter().filter(|cell| 1.0 < cell.radius() && cell.radius() <= RIM), PEAK) {
        say(Channel::WarmRimC, rim - face);
    }
    if cells.around.len() < MIN_AROUND {
        return;
    }
    let Some(around) = median(cells.around.iter()) else { return };
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
    let is_beside = |cell: &&Cell| cell.x.abs() <= BESIDE_ACROSS && (cell.y - CENTRE).abs() <= BESIDE_DOWN;
    if let Some((beside, n)) = share(&mut cells.around.iter().filter(is_beside))
        && n >= MIN_AROUND
    {
        say(Channel::WarmBeside, beside);
    }
}

/// Where the middle is of what is as warm as the face, from the middle of the eyes, in distances between the eyes. A
/// pixel weighs 0 half way from the surroundings' temperature to the face's, and 1 at the face's.
fn middle_of_warmth(all: &[Cell], warm: f32, cold: f32) -> Option<(f32, f32)> {
    let tells = (warm - cold).abs() >= MIN_CONTRAST;
    let seen = all.iter().filter(|cell| tells && HALO.has(cell) && cell.value.is_finite());
    let (sum, x, y) = seen.fold((0.0, 0.0, 0.0), |(sum, x, y), cell| {
        let weight = (2.0 * (cell.value - cold) / (warm - cold) - 1.0).clamp(0.0, 1.0);
        (sum + weight, x + weight * cell.x, y + weight * cell.y)
    });
    (sum > 0.0).then(|| (x / sum, y / sum))
}
