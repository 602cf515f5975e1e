//! What `explain` draws: for each map the picture, the map over it, and the scale of its colours, as PNG.

use std::io::Cursor;

use image::{ImageFormat, Rgb};

use crate::face::geometry::{Rect, Sampler, square};
use crate::face::occlusion::{GRID, Map};
use crate::frame::RgbImage;
use crate::kernels::colour::exact_luma;

/// The side of a picture and of a map, in pixels: an aligned face twice as large.
const TILE: usize = 224;
const GAP: usize = 12;
const BAR: usize = 16;
/// For the numbers beside the scale.
const NUMBERS: usize = 64;
const PAPER: Rgb<u8> = Rgb([250; 3]);
const INK: Rgb<u8> = Rgb([30; 3]);
/// Ends of the scale: what carried the score, what spoke against it. Told apart with any kind of colour vision.
const CARRIED: [f32; 3] = [205.0, 25.0, 40.0];
const AGAINST: [f32; 3] = [20.0, 90.0, 215.0];
/// How much of the picture shows through the strongest colour.
const SHOWS_THROUGH: f32 = 0.25;
/// 3 x 5 pixels each, the top row in the highest three bits.
const GLYPHS: [(char, u16); 13] = [
    ('0', 0b111_101_101_101_111),
    ('1', 0b010_110_010_010_111),
    ('2', 0b111_001_111_100_111),
    ('3', 0b111_001_111_001_111),
    ('4', 0b101_101_111_001_001),
    ('5', 0b111_100_111_001_111),
    ('6', 0b111_100_111_101_111),
    ('7', 0b111_001_010_010_010),
    ('8', 0b111_101_111_101_111),
    ('9', 0b111_101_111_001_111),
    ('.', 0b000_000_000_000_010),
    ('-', 0b000_000_111_000_000),
    ('+', 0b000_010_111_010_000),
];
/// Pixels of the sheet for one of a glyph.
const GLYPH_SCALE: usize = 2;

/// One line of the sheet. `is_face` is asked in the map's coordinates.
pub struct Row<'a> {
    /// What the map shows, of any size.
    pub picture: &'a RgbImage,
    pub map: &'a Map,
    pub is_face: &'a dyn Fn([f32; 2]) -> bool,
}

/// What a square of a photo shows, as large as it is drawn; black beyond the photo's edges.
pub fn view(photo: &RgbImage, shown: &Rect) -> RgbImage {
    let mut out = RgbImage::new(TILE, TILE);
    if let Some(map) = square(shown.centre(), shown.width, TILE, false) {
        Sampler::default().sample(photo, &map, &mut out);
    }
    out
}

/// The sheet, one row below the other.
pub fn png(rows: &[Row]) -> Vec<u8> {
    let (width, height) = (4 * GAP + 2 * TILE + BAR + NUMBERS, GAP + rows.len() * (TILE + GAP));
    let mut sheet = image::RgbImage::from_pixel(width as u32, height as u32, PAPER);
    for (i, row) in rows.iter().enumerate() {
        draw(&mut sheet, row, GAP + i * (TILE + GAP));
    }
    let mut bytes = Cursor::new(Vec::new());
    sheet.write_to(&mut bytes, ImageFormat::Png).expect("a picture in memory of this size can be written into memory");
    bytes.into_inner()
}

fn draw(sheet: &mut image::RgbImage, row: &Row, top: usize) {
    let (extent, lefts) = (row.map.extent(), [GAP, 2 * GAP + TILE, 3 * GAP + 2 * TILE]);
    let at_tile = |x: usize, y: usize| {
        let ([cx, cy], side) = row.map.places.square();
        [(x, cx), (y, cy)].map(|(i, c)| c - side / 2.0 + (i as f32 + 0.5) * side / TILE as f32)
    };
    for y in 0..TILE {
        for x in 0..TILE {
            let pixel = row.picture.pixel(x * row.picture.width() / TILE, y * row.picture.height() / TILE);
            put(sheet, lefts[0] + x, top + y, Rgb(pixel));
            let is_face = (row.is_face)(at_tile(x, y));
            let is_edge = [(x + 1, y), (x, y + 1)].into_iter().any(|(x, y)| (row.is_face)(at_tile(x, y)) != is_face);
            let value = if extent > 0.0 { between(row.map, x, y) / extent } else { 0.0 };
            let colour = if is_edge { Rgb([255; 3]) } else { tint(exact_luma(pixel), value) };
            put(sheet, lefts[1] + x, top + y, colour);
        }
        let value = 1.0 - 2.0 * y as f32 / (TILE - 1) as f32;
        (0..BAR).for_each(|x| put(sheet, lefts[2] + x, top + y, tint(160.0, value)));
    }
    let numbers = lefts[2] + BAR + GAP / 2;
    let glyph_height = 5 * GLYPH_SCALE;
    for (value, y) in [(extent, 0), (0.0, (TILE - glyph_height) / 2), (-extent, TILE - glyph_height)] {
        write(sheet, numbers, top + y, &format!("{value:+.3}"));
    }
}

/// The map at a pixel of its tile: linear between the middles of its places, constant beyond the outermost.
fn between(map: &Map, x: usize, y: usize) -> f32 {
    let along = |i: usize| {
        let at = ((i as f32 + 0.5) * GRID as f32 / TILE as f32 - 0.5).clamp(0.0, (GRID - 1) as f32);
        let low = (at as usize).min(GRID - 2);
        (low, at - low as f32)
    };
    let ((column, right), (row, down)) = (along(x), along(y));
    let across = |row: usize| map.drops[row][column] * (1.0 - right) + map.drops[row][column + 1] * right;
    across(row) * (1.0 - down) + across(row + 1) * down
}

/// A grey level under the colour of a value from -1 to 1.
fn tint(grey: f32, value: f32) -> Rgb<u8> {
    let end = if value >= 0.0 { CARRIED } else { AGAINST };
    let share = value.abs().min(1.0) * (1.0 - SHOWS_THROUGH);
    // Casting saturates, and NaN becomes 0.
    Rgb(end.map(|end| (grey + (end - grey) * share).round() as u8))
}

fn put(sheet: &mut image::RgbImage, x: usize, y: usize, colour: Rgb<u8>) {
    if let Some(pixel) = sheet.get_pixel_mut_checked(x as u32, y as u32) {
        *pixel = colour;
    }
}

fn write(sheet: &mut image::RgbImage, left: usize, top: usize, text: &str) {
    for (i, letter) in text.chars().enumerate() {
        let Some((_, glyph)) = GLYPHS.iter().find(|(known, _)| *known == letter) else { continue };
        for bit in (0..15).filter(|bit| glyph >> (14 - bit) & 1 == 1) {
            let (x, y) = (left + (4 * i + bit % 3) * GLYPH_SCALE, top + bit / 3 * GLYPH_SCALE);
            for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                put(sheet, x + dx, y + dy, INK);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::occlusion::Places;

    fn map(drops: [[f32; GRID]; GRID]) -> Map {
        Map { places: Places::ALIGNED, drops }
    }

    #[test]
    fn what_carried_the_score_is_red_what_spoke_against_it_blue_and_the_rest_grey() {
        let mut drops = [[0.0; GRID]; GRID];
        (drops[2][3], drops[10][11]) = (0.5, -0.25);
        let (picture, map) = (RgbImage::new(112, 112), map(drops));
        let bytes = png(&[Row { picture: &picture, map: &map, is_face: &|_| false }]);
        let sheet = image::load_from_memory(&bytes).unwrap().into_rgb8();
        let at = |row: usize, column: usize| {
            let [x, y] = [column, row].map(|n| n * TILE / GRID + TILE / GRID / 2);
            sheet.get_pixel((2 * GAP + TILE + x) as u32, (GAP + y) as u32).0
        };
        let ([red, _, _], [r, _, blue], grey) = (at(2, 3), at(10, 11), at(6, 6));
        assert!(red > 120 && blue > 60 && r < 20 && grey == [0; 3], "{red} {blue} {r} {grey:?}");
    }

    #[test]
    fn a_map_of_nothing_and_one_of_nan_are_drawn_all_the_same() {
        for value in [0.0, f32::NAN] {
            let (picture, map) = (RgbImage::new(1, 1), map([[value; GRID]; GRID]));
            let bytes = png(&[Row { picture: &picture, map: &map, is_face: &|_| true }]);
            assert!(image::load_from_memory(&bytes).is_ok());
        }
    }

    #[test]
    fn between_two_places_the_map_is_their_mean() {
        let mut drops = [[0.0; GRID]; GRID];
        drops[0] = std::array::from_fn(|column| column as f32);
        drops[1] = drops[0];
        // Pixels 15 and 16 lie half a pixel before and behind the border of the first two places.
        let mean = f32::midpoint(between(&map(drops), 15, 0), between(&map(drops), 16, 0));
        assert!((mean - 0.5).abs() < 1e-6, "{mean}");
    }
}
