//! What facelatch reads from outside, damaged at random: an error each time, and no panic.
//!
//! `FACELATCH_SEED` chooses the damage and is printed. Iteration `n` of seed `s` is the first one of seed `s + n`,
//! which is what a failure names. The same feeds are targets of `cargo fuzz`, in fuzz/.

mod feeds;
mod mutate;
mod seeds;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use facelatch::sim::rng::Rng;

use crate::testing::{SEED, cases, seed};
use seeds::Seeds;

/// Names a folder to which the seeds are written, as `cargo fuzz` wants them: a folder for each feed.
const CORPUS: &str = "FACELATCH_CORPUS";
/// Of what a reader failed on, so much is shown.
const SHOWN_BYTES: usize = 512;

fn keep(dir: &Path, seeds: &Seeds) {
    std::fs::create_dir_all(dir).unwrap();
    for (i, bytes) in seeds.sound.iter().chain(&seeds.tempting).enumerate() {
        std::fs::write(dir.join(i.to_string()), bytes).unwrap();
    }
}

/// Feeds the seeds as they are, and then `iterations` damaged ones.
fn fuzz(feed: fn(&[u8]) -> bool, Seeds { sound, tempting }: &Seeds, iterations: u64) {
    let seed = seed();
    println!("{SEED}={seed}");
    for (i, bytes) in sound.iter().enumerate() {
        // Else nothing beyond the first check would be tested.
        assert!(try_feed(feed, bytes, || format!("sound seed {i}")), "sound seed {i} is refused");
    }
    for (i, bytes) in tempting.iter().enumerate() {
        try_feed(feed, bytes, || format!("tempting seed {i}"));
    }
    let (iterations, mut taken) = (cases(iterations), 0);
    for i in 0..iterations {
        let seed = seed.wrapping_add(i);
        let bytes = mutate::mutate(&mut Rng::new(seed), sound);
        taken += u64::from(try_feed(feed, &bytes, || format!("iteration {i}, {SEED}={seed}")));
    }
    println!("{iterations} damaged inputs: {taken} taken, {} refused", iterations - taken);
}

fn try_feed(feed: fn(&[u8]) -> bool, bytes: &[u8], which: impl Fn() -> String) -> bool {
    catch_unwind(AssertUnwindSafe(|| feed(bytes))).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let shown: String = bytes.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect();
        panic!("{}: {}\n{} bytes: {shown}", which(), said.unwrap_or("a panic"), bytes.len())
    })
}

/// A test for each feed: its name, the seeds, how many damaged inputs.
macro_rules! feeds {
    ($($test:ident: $feed:ident, $seeds:ident, $iterations:expr;)*) => {$(
        #[test]
        fn $test() {
            let seeds = seeds::$seeds();
            if let Some(corpus) = std::env::var_os(CORPUS) {
                keep(&Path::new(&corpus).join(stringify!($feed)), &seeds);
            }
            fuzz(feeds::$feed, &seeds, $iterations);
        }
    )*};
}

feeds! {
    a_damaged_frame_is_refused_or_converted_whole: frame, frames, 40_000;
    a_damaged_jpeg_frame_is_refused_or_converted_whole: jpeg, jpegs, 40_000;
    a_damaged_photo_is_an_error: photo, photos, 40_000;
    a_damaged_recording_is_an_error: y4m, y4ms, 6_000;
    a_damaged_configuration_is_an_error: config, configs, 20_000;
    a_damaged_schedule_is_an_error: schedule, schedules, 40_000;
    a_damaged_message_is_an_error: control, messages, 3_000;
    a_damaged_network_is_an_error: model, models, 6_000;
    points_of_no_face_are_not_aligned: points, points, 300;
    a_damaged_database_is_an_error: database, databases, 1_500;
    a_damaged_template_is_an_error: template, templates, 100_000;
    a_damaged_seal_does_not_open: sealed, sealed, 20_000;
    a_damaged_key_file_is_an_error: key_file, key_files, 5_000;
    a_damaged_list_of_pairs_is_an_error: pairs, pairs, 40_000;
    a_damaged_calibration_is_an_error: calibration, calibrations, 20_000;
    a_damaged_pair_head_is_an_error: pair_head, pair_heads, 20_000;
    a_damaged_session_is_an_error: session, sessions, 20_000;
    a_damaged_line_of_a_grid_is_an_error: grid_line, grid_lines, 40_000;
    a_damaged_form_of_a_buffer_is_an_error: scan, scans, 40_000;
}
