//! Grids as they are mounted: mirrored, turned, and with the view that this leaves them.

use super::config::SensorConfig;
use crate::ports::{Grid, MAX_CELLS};

/// How a grid's picture becomes upright as seen from the door.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mounting {
    /// Before turning.
    mirror: bool,
    /// Quarter turns clockwise.
    quarters: u16,
    /// Across and down once it stands upright, degrees.
    view: [f32; 2],
}

impl Mounting {
    /// `chip_view` is across and down as the chip's own rows and columns lie; a view in the configuration is as
    /// mounted.
    pub fn new(config: &SensorConfig, chip_view: [f32; 2]) -> Self {
        let quarters = config.rotate / 90 % 4;
        let turned = if quarters % 2 == 1 { [chip_view[1], chip_view[0]] } else { chip_view };
        Self { mirror: config.mirror, quarters, view: config.view_deg.unwrap_or(turned) }
    }

    /// Writes the upright grid into `upright`, whose memory is used again. `cells` are `columns` × `rows`, row by row
    /// as the chip gives them; `None` where they aren't.
    pub fn apply<'a>(&self, columns: usize, rows: usize, cells: &[f32], upright: &'a mut Vec<f32>) -> Option<Grid<'a>> {
        if columns == 0 || rows == 0 || columns.checked_mul(rows) != Some(cells.len()) || cells.len() > MAX_CELLS {
            return None;
        }
        let (width, height) = if self.quarters % 2 == 1 { (rows, columns) } else { (columns, rows) };
        upright.clear();
        for y in 0..height {
            for x in 0..width {
                // Where the cell at (x, y) was before turning.
                let (column, row) = match self.quarters {
                    0 => (x, y),
                    1 => (y, rows - 1 - x),
                    2 => (columns - 1 - x, rows - 1 - y),
                    _ => (columns - 1 - y, x),
                };
                let column = if self.mirror { columns - 1 - column } else { column };
                upright.push(cells[row * columns + column]);
            }
        }
        Some(Grid { columns: width, rows: height, cells: upright, view: self.view })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::sensors::config::Driver;
    use crate::ports::SensorKind;

    /// 1 2 3
    /// 4 5 6
    const CELLS: [f32; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];

    fn turned(rotate: u16, mirror: bool) -> (usize, usize, Vec<f32>, [f32; 2]) {
        let base = SensorConfig::new(SensorKind::Thermal, Driver::Grid, "x");
        let mounting = Mounting::new(&SensorConfig { rotate, mirror, ..base }, [55.0, 35.0]);
        let mut cells = Vec::new();
        let grid = mounting.apply(3, 2, &CELLS, &mut cells).unwrap();
        (grid.columns, grid.rows, grid.cells.to_vec(), grid.view)
    }

    #[test]
    fn a_grid_is_mirrored_and_then_turned_clockwise() {
        assert_eq!(turned(0, false), (3, 2, CELLS.to_vec(), [55.0, 35.0]));
        assert_eq!(turned(90, false), (2, 3, vec![4.0, 1.0, 5.0, 2.0, 6.0, 3.0], [35.0, 55.0]));
        assert_eq!(turned(180, false), (3, 2, vec![6.0, 5.0, 4.0, 3.0, 2.0, 1.0], [55.0, 35.0]));
        assert_eq!(turned(270, false), (2, 3, vec![3.0, 6.0, 2.0, 5.0, 1.0, 4.0], [35.0, 55.0]));
        assert_eq!(turned(0, true), (3, 2, vec![3.0, 2.0, 1.0, 6.0, 5.0, 4.0], [55.0, 35.0]));
        assert_eq!(turned(90, true), (2, 3, vec![6.0, 3.0, 5.0, 2.0, 4.0, 1.0], [35.0, 55.0]));
    }

    #[test]
    fn a_grid_that_does_not_have_its_cells_is_none() {
        let base = SensorConfig::new(SensorKind::Depth, Driver::Grid, "x");
        let mounting = Mounting::new(&base, [45.0, 45.0]);
        let mut cells = Vec::new();
        for (columns, rows, count) in [(3, 2, 5), (0, 0, 0), (usize::MAX, 2, 6), (64, 64, 4096)] {
            assert_eq!(mounting.apply(columns, rows, &vec![0.0; count], &mut cells), None);
        }
    }
}
