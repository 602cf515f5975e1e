//! What a frame costs, with the networks that are built in.

use super::*;

#[test]
fn a_frame_allocates_nothing_outside_the_networks_runtime_once_warm() {
    if crate::testing::is_emulated() {
        eprintln!("SKIPPED: an emulator takes minutes for these frames");
        return;
    }
    let bench = Home::new().run(&["bench", "--rounds", "20", "--largest-gallery", "0", "--json"]);
    bench.fails(0, &[]);
    assert_eq!(bench.json()["allocations_per_frame"], 0.0, "{}", bench.out);
}
