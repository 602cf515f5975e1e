use super::*;
use crate::liveness::session::instant;
use crate::liveness::{Label, Origin, Sample};
use crate::sim::rng::Rng;
use std::path::Path;

/// Twelve seconds at an uneven 30 a second: a wave with its double, drift, and noise of so much.
fn wave(per_minute: f64, noise: f64, seed: u64) -> Vec<(f64, f32)> {
    let mut rng = Rng::new(seed);
    let mut random = move || (rng.next_u64() % 2001) as f64 / 1000.0 - 1.0;
    let at = |i: usize, jitter: f64| i as f64 / 30.0 + 0.008 * jitter;
    let value = |t: f64| {
        let angle = std::f64::consts::TAU * per_minute / 60.0 * t;
        angle.sin() + 0.4 * (2.0 * angle).cos() + 2.0 * (0.15 * t).sin() + 0.3 * t
    };
    let sample = |i| {
        let (t, more) = (at(i, random()), noise * random());
        (t, (value(t) + more) as f32)
    };
    (0..360).map(sample).collect()
}

#[test]
fn a_wave_of_any_rate_is_found_through_drift_and_noise() {
    for (seed, per_minute) in [48.0, 61.0, 75.0, 100.0, 140.0, 190.0].into_iter().enumerate() {
        let Beat { per_minute: got, quality } = beat(&wave(per_minute, 0.5, seed as u64)).unwrap();
        assert!((f64::from(got) - per_minute).abs() < 2.0, "{per_minute}: {got}");
        assert!(quality > 0.7, "{per_minute}: {quality}");
    }
    let noise: Vec<_> = wave(60.0, 200.0, 9);
    assert!(beat(&noise).unwrap().quality < 0.5);
}

/// Skin at 30 frames a second from one second to another, under light that flickers ten times as much as it beats.
fn face(seconds: std::ops::Range<u32>, per_minute: f64) -> Vec<(f64, [f32; 3])> {
    // Blood takes green more than blue and red (de Haan & van Leest 2014, doi 10.1088/0967-3334/35/9/1913); light takes
    // all alike.
    (30 * seconds.start..30 * seconds.end)
        .map(|i| f64::from(i) / 30.0)
        .map(|t| {
            let beat = 0.004 * (std::f64::consts::TAU * per_minute / 60.0 * t).sin();
            let light = 1.0 + 0.04 * (std::f64::consts::TAU * 0.9 * t).sin();
            let colour = [(150.0, 0.33), (110.0, 0.77), (90.0, 0.53)];
            (t, colour.map(|(level, share)| (level * light * (1.0 + share * beat)) as f32))
        })
        .collect()
}

/// A session in which these channels were seen.
fn session<const N: usize>(channels: [Channel; N], series: &[(f64, [f32; N])]) -> Session {
    let samples = series.iter().flat_map(|(t, values)| {
        let at = instant(*t).unwrap();
        channels.into_iter().zip(*values).map(move |(channel, value)| Sample { at, channel, value })
    });
    Session { label: Label::Live, origin: Origin::Recorded, note: String::new(), samples: samples.collect() }
}

const SKIN: [Channel; 3] = [Channel::SkinR, Channel::SkinG, Channel::SkinB];

#[test]
fn a_sessions_rate_is_that_of_its_longest_stretch_with_a_face() {
    let two = [face(0..9, 100.0), face(10..22, 72.0)].concat();
    let Hearts { skin, finger } = Hearts::of(&session(SKIN, &two));
    assert!((skin.unwrap().per_minute - 72.0).abs() < 1.5 && finger.is_none(), "{skin:?} {finger:?}");
    let light: Vec<_> = wave(75.0, 0.0, 3).into_iter().map(|(t, light)| (t.max(0.0), [light])).collect();
    let Hearts { skin, finger } = Hearts::of(&session([Channel::Touch], &light));
    assert!((finger.unwrap().per_minute - 75.0).abs() < 2.0 && skin.is_none(), "{skin:?} {finger:?}");
}

#[test]
fn a_session_that_is_short_or_grey_or_of_noise_alone_shows_no_rate() {
    let mut rng = Rng::new(5);
    let mut noise = move || (rng.next_u64() % 2001) as f32 / 10_000.0 - 0.1;
    let still = |i: u32| (f64::from(i) / 30.0, [150.0, 110.0, 90.0].map(|level| level + noise()));
    let still: Vec<_> = (0..570).map(still).collect();
    let green: Vec<_> = face(0..12, 72.0).into_iter().map(|(t, [_, green, _])| (t, [green])).collect();
    for session in
        [session(SKIN, &face(0..7, 72.0)), session([Channel::SkinG], &green), session(SKIN, &still), session(SKIN, &[])]
    {
        assert_eq!(Hearts::of(&session), Hearts::default());
    }
}

#[test]
fn a_pulse_in_the_skin_is_found_under_light_that_flickers_ten_times_as_much() {
    let series = face(0..15, 72.0);
    let Beat { per_minute, quality } = beat_of_skin(&series).unwrap();
    assert!((per_minute - 72.0).abs() < 1.5 && quality > 0.8, "{per_minute} {quality}");
    let green: Vec<_> = series.iter().map(|(t, colour)| (*t, colour[1])).collect();
    assert!((beat(&green).unwrap().per_minute - 54.0).abs() < 1.5, "green alone follows the light");
}

#[test]
fn a_series_that_is_short_broken_constant_or_no_number_has_no_rate() {
    let whole = wave(70.0, 0.0, 1);
    assert!(beat(&whole).is_some());
    assert_eq!(beat(&[]), None);
    assert_eq!(beat(&whole[..200]), None);
    let gap: Vec<_> = whole.iter().copied().filter(|(t, _)| !(5.0..5.6).contains(t)).collect();
    assert_eq!(beat(&gap), None);
    let flat: Vec<_> = whole.iter().map(|(t, _)| (*t, 0.5)).collect();
    assert_eq!(beat(&flat), None);
    let mut back = whole.clone();
    back.swap(50, 60);
    assert_eq!(beat(&back), None);
    let mut nan = whole.clone();
    nan[7].1 = f32::NAN;
    assert_eq!(beat(&nan), None);
    let mut never = whole;
    never[7].0 = f64::NAN;
    assert_eq!(beat(&never), None);
    let dark: Vec<_> = flat.iter().map(|(t, _)| (*t, [0.0; 3])).collect();
    assert_eq!(beat_of_skin(&dark), None);
}

/// Windows of ten seconds, one every five.
const WINDOW_S: f64 = 10.0;
const EVERY_S: f64 = 5.0;

/// A recording's colours over time, and the reference's mean rate.
fn recording(dir: &Path) -> (Vec<(f64, [f32; 3])>, f64) {
    let csv = std::fs::read_to_string(dir.join("PPG.csv")).unwrap();
    let row = |line: &str| {
        let mut cells = line.split(',').map(|cell| cell.parse::<f64>().unwrap());
        let mut next = || cells.next().unwrap();
        (next() / 1000.0, [next() as f32, next() as f32, next() as f32])
    };
    let intervals = std::fs::read_to_string(dir.join("RR.txt")).unwrap();
    let intervals: Vec<f64> = intervals.split_whitespace().map(|ms| ms.parse().unwrap()).collect();
    (csv.lines().skip(1).map(row).collect(), 60_000.0 * intervals.len() as f64 / intervals.iter().sum::<f64>())
}

/// The clearest of these colours' rate in each window, and of these the median.
fn median_rate(series: &[(f64, [f32; 3])], colours: std::ops::Range<usize>) -> f64 {
    let last = series.last().unwrap().0;
    let starts = (0..).map(|i| series[0].0 + f64::from(i) * EVERY_S).take_while(|start| start + WINDOW_S <= last);
    let rate = |start: f64| {
        let window = series.iter().filter(|(t, _)| (start..start + WINDOW_S).contains(t));
        let colour = |c: usize| window.clone().map(|(t, colour)| (*t, colour[c])).collect::<Vec<_>>();
        let clearest = colours.clone().filter_map(|c| beat(&colour(c))).max_by(|a, b| a.quality.total_cmp(&b.quality));
        clearest.map(|beat| f64::from(beat.per_minute))
    };
    let mut rates: Vec<f64> = starts.filter_map(rate).collect();
    rates.sort_unstable_by(f64::total_cmp);
    rates[rates.len() / 2]
}

#[test]
fn recorded_fingers_beat_as_the_chest_strap_says() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/sensors/welltory-ppg/data");
    let Ok(entries) = std::fs::read_dir(&dir) else {
        return crate::testing::skipped(format_args!("there are no recordings in {}", dir.display()));
    };
    let mut dirs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    dirs.sort();
    let (mut clearest, mut red) = (0.0, 0.0);
    for dir in &dirs {
        let (series, reference) = recording(dir);
        let [any, first] = [0..3, 0..1].map(|colours| median_rate(&series, colours));
        println!("{}: {any:.1}, red {first:.1}, reference {reference:.1}", dir.file_name().unwrap().display());
        clearest += (any - reference).abs() / dirs.len() as f64;
        red += (first - reference).abs() / dirs.len() as f64;
    }
    println!(
        "mean absolute error over {} recordings, beats a minute: {clearest:.2}, of red alone {red:.2}",
        dirs.len()
    );
    assert!(dirs.len() >= 20 && clearest <= 3.0, "{clearest}");
}
