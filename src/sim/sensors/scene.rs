//! What stands before the door, and the grids of depth and temperature that look at it: a head and shoulders in front
//! of a wall, with noise. Enough for the demo and the simulated days; error rates are measured on the recipes'
//! simulator.

use crate::ports::{DeviceError, Grid, Reading, Sensor, SensorKind, Value};
use crate::sim::rng::Rng;
use crate::time::{Duration, Instant};

/// The camera's horizontal field of view, degrees, which a head's place is told in.
const CAMERA_VIEW: f32 = 70.0;
/// Draws whose sum has nearly a normal distribution, of deviation 1 (Irwin and Hall).
const DRAWS: usize = 12;

/// What a grid can see.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scene {
    /// Whoever or whatever stands there.
    pub head: Option<Head>,
    /// To the wall behind, millimetres.
    pub wall_mm: f32,
    /// Of the wall, degrees Celsius.
    pub room_c: f32,
}

/// A head, or what is held up as one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Head {
    /// The middle of the eyes from the frame's middle, to the right and downwards, shares of the frame's width.
    pub x: f32,
    pub y: f32,
    /// Distance between the eyes, share of the frame's width.
    pub eye_gap: f32,
    /// To the tip of the nose, millimetres.
    pub distance_mm: f32,
    /// How much further away its edge is than its middle, millimetres: 60 for a head, 0 for a picture.
    pub relief_mm: f32,
    /// Of its middle, degrees Celsius.
    pub warm_c: f32,
}

impl Default for Scene {
    /// An empty room.
    fn default() -> Self {
        Self { head: None, wall_mm: 2500.0, room_c: 21.0 }
    }
}

impl Head {
    /// Somebody alive at this distance, looking straight ahead: eyes are 63 mm apart.
    pub fn alive(distance_mm: f32) -> Self {
        let width = 2.0 * (CAMERA_VIEW / 2.0).to_radians().tan() * distance_mm;
        Self { x: 0.0, y: -0.05, eye_gap: 63.0 / width, distance_mm, relief_mm: 60.0, warm_c: 33.5 }
    }

    /// The same as a picture: flat, and as warm as the room.
    pub fn picture(distance_mm: f32, room_c: f32) -> Self {
        Self { relief_mm: 0.0, warm_c: room_c, ..Self::alive(distance_mm) }
    }

    /// What a ray at (x, y) of the camera's picture meets of it: how far out from the middle of the face (0) to its
    /// edge (1), or the body below (`None` of the inner).
    fn meets(&self, x: f32, y: f32) -> Option<Option<f32>> {
        let e = self.eye_gap;
        let (dx, dy) = (x - self.x, y - self.y - 0.35 * e);
        let out = ((dx / (1.05 * e)).powi(2) + (dy / (1.45 * e)).powi(2)).sqrt();
        if out <= 1.0 {
            return Some(Some(out));
        }
        (dy > 1.3 * e && dx.abs() < 3.2 * e).then_some(None)
    }
}

/// A grid that sees a scene, sampled at a rate.
#[derive(Debug, Clone)]
pub struct SceneSensor {
    kind: SensorKind,
    columns: usize,
    rows: usize,
    view: [f32; 2],
    /// Deviation of each cell from reading to reading, in its unit.
    noise: f32,
    period: Duration,
    course: Vec<(Instant, Scene)>,
    next: Instant,
    rng: Rng,
    cells: Vec<f32>,
}

impl SceneSensor {
    /// 8x8 distances as a VL53L5CX sees them, 45° by 45°. A scene holds from its time until the next; before the first
    /// nothing comes. `seed` decides the noise.
    pub fn depth(period: Duration, course: Vec<(Instant, Scene)>, seed: u64) -> Self {
        Self::new(SensorKind::Depth, (8, 8), [45.0, 45.0], 4.0, period, course, seed)
    }

    /// 32x24 temperatures as an MLX90640 sees them, 55° by 35°.
    pub fn thermal(period: Duration, course: Vec<(Instant, Scene)>, seed: u64) -> Self {
        Self::new(SensorKind::Thermal, (32, 24), [55.0, 35.0], 0.25, period, course, seed)
    }

    fn new(
        kind: SensorKind,
        (columns, rows): (usize, usize),
        view: [f32; 2],
        noise: f32,
        period: Duration,
        mut course: Vec<(Instant, Scene)>,
        seed: u64,
    ) -> Self {
        course.sort_by_key(|(at, _)| *at);
        let (next, rng) = (Instant::BOOT, Rng::new(seed));
        Self { kind, columns, rows, view, noise, period, course, next, rng, cells: Vec::new() }
    }

    fn measure(&mut self, scene: &Scene) {
        self.cells.clear();
        let across = |i: usize, count: usize, view: f32| ((i as f32 + 0.5) / count as f32 - 0.5) * view;
        let share = |degrees: f32| degrees.to_radians().tan() / (2.0 * (CAMERA_VIEW / 2.0).to_radians().tan());
        for row in 0..self.rows {
            for column in 0..self.columns {
                let x = share(across(column, self.columns, self.view[0]));
                let y = share(across(row, self.rows, self.view[1]));
                let met = scene.head.and_then(|head| Some((head, head.meets(x, y)?)));
                let value = match (self.kind, met) {
                    (SensorKind::Depth, None) => scene.wall_mm,
                    (SensorKind::Depth, Some((head, Some(out)))) => head.distance_mm + head.relief_mm * out * out,
                    (SensorKind::Depth, Some((head, None))) => head.distance_mm + 1.5 * head.relief_mm,
                    (_, None) => scene.room_c,
                    // Cheeks and chin are cooler than forehead and eyes; clothes halfway to the room.
                    (_, Some((head, Some(out)))) => head.warm_c - 0.12 * (head.warm_c - scene.room_c) * out * out,
                    (_, Some((head, None))) => (head.warm_c + scene.room_c) / 2.0,
                };
                let normal = (0..DRAWS).map(|_| self.rng.unit()).sum::<f64>() - DRAWS as f64 / 2.0;
                self.cells.push(value + self.noise * normal as f32);
            }
        }
    }
}

impl Sensor for SceneSensor {
    fn kind(&self) -> SensorKind {
        self.kind
    }

    fn poll(&mut self, now: Instant) -> Result<Option<Reading<'_>>, DeviceError> {
        if now < self.next {
            return Ok(None);
        }
        self.next = now + self.period;
        let past = self.course.partition_point(|(at, _)| *at <= now);
        let Some((_, scene)) = past.checked_sub(1).and_then(|last| self.course.get(last)).copied() else {
            return Ok(None);
        };
        self.measure(&scene);
        let grid = Grid { columns: self.columns, rows: self.rows, cells: &self.cells, view: self.view };
        let value = if self.kind == SensorKind::Depth { Value::Depth(grid) } else { Value::Thermal(grid) };
        Ok(Some(Reading { at: now, value }))
    }

    fn describe(&self) -> String {
        format!("a simulated {}x{} grid", self.columns, self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Instant = Instant::from_millis(100);

    fn cells(mut sensor: SceneSensor) -> Vec<f32> {
        match sensor.poll(SEEN).unwrap().unwrap().value {
            Value::Depth(grid) | Value::Thermal(grid) => grid.cells.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    fn scene(head: Head) -> Vec<(Instant, Scene)> {
        vec![(Instant::BOOT, Scene { head: Some(head), ..Scene::default() })]
    }

    #[test]
    fn a_head_stands_out_from_the_wall_in_depth_and_warmth() {
        let depth = cells(SceneSensor::depth(Duration::ZERO, scene(Head::alive(600.0)), 1));
        // The middle four zones and a corner at the top.
        assert!((depth[27] - 610.0).abs() < 40.0 && (depth[0] - 2500.0).abs() < 30.0, "{} {}", depth[27], depth[0]);
        let warm = cells(SceneSensor::thermal(Duration::ZERO, scene(Head::alive(600.0)), 1));
        let middle = warm[12 * 32 + 16];
        assert!((middle - 33.0).abs() < 2.0 && (warm[0] - 21.0).abs() < 2.0, "{middle} {}", warm[0]);
    }

    #[test]
    fn a_picture_is_flat_and_as_warm_as_the_room() {
        let head = Head::picture(600.0, 21.0);
        let depth = cells(SceneSensor::depth(Duration::ZERO, scene(head), 1));
        let under: Vec<_> = depth.iter().filter(|mm| **mm < 1000.0).collect();
        assert!(under.len() >= 8 && under.iter().all(|mm| (**mm - 600.0).abs() < 25.0), "{under:?}");
        let warm = cells(SceneSensor::thermal(Duration::ZERO, scene(head), 1));
        assert!(warm.iter().all(|c| (c - 21.0).abs() < 1.6));
    }

    #[test]
    fn scenes_follow_each_other_at_the_rate_and_before_the_first_nothing_comes() {
        let course = vec![
            (Instant::from_millis(2000), Scene::default()),
            (Instant::from_millis(1000), scene(Head::alive(500.0))[0].1),
        ];
        let mut sensor = SceneSensor::depth(Duration::from_millis(100), course, 1);
        let mut nearest = |ms| {
            let reading = sensor.poll(Instant::from_millis(ms)).unwrap()?;
            let Value::Depth(grid) = reading.value else { panic!("{reading:?}") };
            Some(grid.cells.iter().copied().fold(f32::INFINITY, f32::min) < 1000.0)
        };
        assert_eq!([900, 1000, 1050, 1100, 2000].map(&mut nearest), [None, Some(true), None, Some(true), Some(false)]);
    }
}
