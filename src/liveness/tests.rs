//! What the recipes and this program must agree on: the table of channels, and models/golden/liveness-fusion.json,
//! which the recipes wrote.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::channels::{CHANNELS, Input, VALUE_ROWS};
use super::fusion::Fusion;
use super::series::{PULSE_ROW, ROWS, Series, TICKS, Window};
use super::{Channel, Place, Sample};
use crate::ports::{Grid, Reading, Value};
use crate::time::{Duration, Instant};

#[derive(Deserialize)]
struct Golden {
    channels: Vec<String>,
    fusion: Vec<Fused>,
    sessions: Vec<Drawn>,
}

/// What a sensor's grid and the face's place give.
#[derive(Deserialize)]
struct Fused {
    sensor: String,
    hfov_deg: f32,
    /// face_size, face_x, face_y.
    face: [f32; 3],
    grid: Vec<Option<f32>>,
    values: BTreeMap<String, Option<f32>>,
}

/// What a session's window looks like at its end.
#[derive(Deserialize)]
struct Drawn {
    end_s: f64,
    channels: BTreeMap<String, Course>,
    rows: Vec<f32>,
}

#[derive(Deserialize)]
struct Course {
    t: Vec<f64>,
    v: Vec<f32>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../models/golden/liveness-fusion.json")).unwrap()
}

/// A minute in, so that a window reaches back to before the session.
fn at(seconds: f64) -> Instant {
    Instant::from_nanos(60_000_000_000 + (seconds * 1e9).round() as u64)
}

#[test]
fn fusion_says_of_a_grid_what_the_simulator_says() {
    let golden = golden();
    assert!(golden.fusion.len() > 20);
    for (n, case) in golden.fusion.iter().enumerate() {
        let cells: Vec<f32> = case.grid.iter().map(|cell| cell.unwrap_or(f32::NAN)).collect();
        let [eye_gap, x, y] = case.face;
        let mut fusion = Fusion::new(case.hfov_deg);
        fusion.face(Place { at: at(0.0), x, y, eye_gap }, 100.0);
        let value = match case.sensor.as_str() {
            "depth" => Value::Depth(Grid { columns: 8, rows: 8, cells: &cells, view: [45.0, 45.0] }),
            "thermal" => Value::Thermal(Grid { columns: 32, rows: 24, cells: &cells, view: [55.0, 35.0] }),
            other => panic!("{other}"),
        };
        let samples = fusion.samples(&Reading { at: at(0.0), value });
        for (name, wanted) in &case.values {
            let got = samples.iter().find(|sample| sample.channel.name() == name).map(|sample| sample.value);
            let is_same = match (got, wanted) {
                (Some(got), Some(wanted)) => (got - wanted).abs() <= 1e-3 * wanted.abs().max(1.0),
                (got, wanted) => got.is_none() && wanted.is_none(),
            };
            assert!(is_same, "case {n}, {name}: {got:?}, not {wanted:?}");
        }
    }
}

#[test]
fn a_window_is_drawn_as_the_recipes_draw_it() {
    let golden = golden();
    assert_eq!(golden.channels, Channel::all().map(Channel::name).collect::<Vec<_>>());
    for (n, case) in golden.sessions.iter().enumerate() {
        let mut series = Series::default();
        for (name, Course { t, v }) in &case.channels {
            let channel = Channel::parse(name).unwrap();
            t.iter().zip(v).for_each(|(t, &value)| series.push(Sample { at: at(*t), channel, value }));
        }
        let mut window = Window::default();
        series.draw(at(case.end_s), &mut window);
        assert_eq!(case.rows.len(), ROWS * TICKS);
        for (i, (got, wanted)) in window.rows().iter().zip(&case.rows).enumerate() {
            let (row, tick) = (i / TICKS, i % TICKS);
            // The pulse is the difference of nearly equal numbers: single precision leaves it a hundredth.
            let tolerance = if (PULSE_ROW..=PULSE_ROW + 2).contains(&row) { 0.02 } else { 0.004 };
            assert!((got - wanted).abs() <= tolerance, "session {n}, row {row}, tick {tick}: {got}, not {wanted}");
        }
    }
}

#[derive(Deserialize)]
struct Table {
    channel: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    sensor: String,
    unit: String,
    limits: [f32; 2],
    hold_ms: u64,
    inputs: Inputs,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    absolute: Option<[f32; 2]>,
    centred: Option<f32>,
    relative: Option<f32>,
}

#[test]
fn the_table_is_that_of_the_recipes() {
    let Table { channel: rows } = toml::from_str(include_str!("../../models/liveness-channels.toml")).unwrap();
    assert_eq!(rows.len(), CHANNELS);
    for (row, channel) in rows.into_iter().zip(Channel::all()) {
        let Inputs { absolute: a, centred: c, relative: r } = row.inputs;
        let inputs: Vec<_> = [
            a.map(|[offset, scale]| Input::Absolute { offset, scale }),
            c.map(|scale| Input::Centred { scale }),
            r.map(|scale| Input::Relative { scale }),
        ]
        .into_iter()
        .flatten()
        .collect();
        let spec = channel.spec();
        assert_eq!(spec.channel, channel);
        assert_eq!((spec.name, spec.unit, spec.source.as_str()), (&*row.name, &*row.unit, &*row.sensor));
        assert_eq!((spec.limits, spec.source.hold()), (row.limits, Duration::from_millis(row.hold_ms)), "{}", row.name);
        assert_eq!(spec.inputs, inputs, "{}", row.name);
        assert_eq!(Channel::parse(&row.name), Some(channel));
    }
    assert_eq!(Channel::all().map(|channel| channel.spec().inputs.len()).sum::<usize>(), VALUE_ROWS);
}
