//! What a frame costs, with the networks that are built in.

use super::*;

#[test]
fn a_frame_allocates_nothing_outside_the_networks_runtime_once_warm() {
    if crate::testing::is_emulated() {
        return crate::testing::skipped("an emulator takes minutes for these frames");
    }
    let home = Home::new();
    home.run(&["enroll", "Ada", &picture("ada-2.jpg")]).fails(0, &[]);
    fs::create_dir(home.path("frames")).unwrap();
    fs::copy(picture("ada-1.jpg"), home.path("frames/ada-1.jpg")).unwrap();
    let bench = home.run(&["bench", "--frames", "frames", "--rounds", "20", "--largest-gallery", "0", "--json"]);
    bench.fails(0, &[]);
    let answer = bench.json();
    assert_eq!(answer["faces"], 20);
    assert_eq!(answer["allocations_per_frame"], 0.0, "{answer}");
}

#[test]
fn the_benchmark_without_a_network_says_what_it_left_out() {
    let home = Home::new();
    let without = ["--detector", "yunet"];
    let bench = home.run(&[&["bench", "--rounds", "3", "--largest-gallery", "1000", "--json"], &without[..]].concat());
    bench.fails(0, &["is left out"]);
    let answer = bench.json();
    assert!(answer["stages"]["convert"]["p50_us"].is_number() && answer["stages"]["append"]["p95_us"].is_number());
    assert!(answer["stages"]["detect"].is_null() && answer["rss_mib"].is_number() && answer["start_ms"].is_number());
    assert_eq!(answer["search"][0]["templates"], 1000);
    home.run(&["bench", "--frames", "/nowhere.y4m"]).fails(66, &["/nowhere.y4m"]);
    home.run(&["liveness", "record", "x.csv", "--video", "/nowhere.y4m"]).fails(66, &["/nowhere.y4m"]);
    home.run(&["bench", "--frames", &home.write("text.y4m", b"no video")]).fails(65, &["text.y4m"]);
}

#[test]
fn frames_that_are_long_in_coming_are_no_part_of_the_start() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    home.write("film.mp4", b"");
    let player =
        home.write("ffmpeg", b"#!/bin/sh\nsleep 4\nprintf 'YUV4MPEG2 W2 H2 F25:1 C420\\nFRAME\\n'; printf '%06d' 0\n");
    fs::set_permissions(player, fs::Permissions::from_mode(0o755)).unwrap();
    let what = ["--frames", "film.mp4", "--rounds", "1", "--largest-gallery", "0", "--detector", "yunet", "--json"];
    let mut bench = home.command(&[&["bench"], &what[..]].concat());
    bench.env("PATH", format!("{}:{}", home.0.path().display(), std::env::var("PATH").unwrap()));
    let answer = said(bench).json();
    assert_eq!(answer["frames"], "film.mp4");
    assert!(answer["start_ms"].as_f64().unwrap() < 4000.0, "{answer}");
}
