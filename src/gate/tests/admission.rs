//! Who comes in, and when exactly.

use super::*;

#[test]
fn idle_a_live_resident_is_written_down_and_let_in_and_the_door_locks_again() {
    Script::new().show(face(ANA), 1000).wait(10_000).says([
        "0.5 granted? #1 0.800 [frames_agreed 5, needed 3]",
        "0.52 release",
        "5.52 secure",
    ]);
}

#[test]
fn idle_without_required_liveness_the_third_frame_is_enough() {
    Script::with(pictures_pass()).show(face(ANA), 1000).wait(10_000).says([
        "0.2 granted? #1 0.800 [frames_agreed 3, needed 3, liveness_not_required]",
        "0.22 release",
        "5.22 secure",
    ]);
}

#[test]
fn idle_a_policy_of_one_frame_admits_by_the_first_and_waits_for_liveness_where_that_is_required() {
    let first = Policy { agree: 1, of: 1, ..pictures_pass() };
    Script::with(first.clone())
        .frame(face(BEN))
        .wait(20)
        .says(["0 granted? #2 0.800 [frames_agreed 1, needed 1, liveness_not_required]", "0.02 release"]);
    let live = Policy { liveness: LivenessPolicy::Required, ..first };
    Script::with(live).show(face(BEN), 600).says(["0.5 granted? #2 0.800 [frames_agreed 1, needed 1]", "0.52 release"]);
}

#[test]
fn idle_whoever_has_not_yet_expired_is_admitted() {
    Script::new().show(face(GUS), 600).says(["0.5 granted? #5 0.800 [frames_agreed 5, needed 3]", "0.52 release"]);
}

#[test]
fn idle_a_gallery_of_one_needs_no_runner_up() {
    let alone = Face::Seen(Seen { best: Some(candidate(ANA, 0.6)), runner_up: None, claimed: None });
    Script::new().show(alone, 600).says(["0.5 granted? #1 0.600 [frames_agreed 5, needed 3]", "0.52 release"]);
}

#[test]
fn observing_exactly_at_the_threshold_and_margin_admits_and_a_hair_below_does_not() {
    let margin = Policy { margin: 0.25, ..Policy::default() };
    let mut door = Script::with(margin);
    door.show(between((ANA, 0.5), (BEN, 0.25)), 600);
    door.says(["0.5 granted? #1 0.500 [frames_agreed 5, needed 3]", "0.52 release"]);
    let mut below = Script::with(Policy { margin: 0.25, ..Policy::default() });
    below.show(between((ANA, 0.499_999), (BEN, 0.1)), 5100);
    below.says(["5 not_recognised 0.500 [frames_agreed 0, needed 3, similarity 0.500 below 0.500]"]);
    let mut close = Script::with(Policy { margin: 0.25, ..Policy::default() });
    close.show(between((ANA, 0.5), (BEN, 0.250_001)), 5100);
    close.says(["5 ambiguous #1 0.500 [runner_up #2 only 0.250 behind, 0.250 needed, frames_agreed 0, needed 3]"]);
}

#[test]
fn observing_a_few_bad_frames_among_good_ones_do_not_matter() {
    let mut door = Script::new();
    for face in [face(ANA), stranger(), face(ANA), Face::Poor(PoorMeasure::Pose), Face::Absent, face(ANA)] {
        door.frame(face).wait(100);
    }
    door.liveness(0, 600, Verdict::Live).says(["0.6 granted? #1 0.800 [frames_agreed 3, needed 3]"]);
}

#[test]
fn observing_liveness_alone_decides_as_soon_as_it_comes() {
    let mut door = Script::new();
    door.verdict = None;
    door.show(face(ANA), 1000).says([]);
    door.liveness(100, 900, Verdict::Inconclusive).says([]);
    door.liveness(100, 950, Verdict::Live).says(["1 granted? #1 0.800 [frames_agreed 5, needed 3]"]);
}

#[test]
fn recording_more_frames_and_verdicts_of_life_change_nothing() {
    let mut door = Script::new();
    door.ledger = Ledger::Writes(1000);
    door.show(face(ANA), 1400).says(["0.5 granted? #1 0.800 [frames_agreed 5, needed 3]"]);
    door.show(stranger(), 200).says(["1.5 release"]);
}

#[test]
fn unlocked_a_face_begins_no_attempt_and_after_the_relock_only_after_a_quiet_time() {
    let mut door = Script::new();
    door.show(face(ANA), 600).skip();
    assert_eq!(door.gate.status().state, "unlocked");
    // Ana stays before the door: her next attempt begins two seconds after it has locked.
    door.show(face(ANA), 9000).says([
        "5.52 secure",
        "8.1 granted? #1 0.800 [frames_agreed 5, needed 3]",
        "8.12 release",
    ]);
}

#[test]
fn unlocked_whoever_was_denied_before_waits_no_longer_than_others_after_the_relock() {
    let mut door = Script::new();
    // Denied at five and at twelve seconds: the next attempt begins four seconds after the second.
    door.verdict = None;
    door.show(face(ANA), 12_000).skip();
    door.verdict = Some(Verdict::Live);
    door.show(face(ANA), 12_200).says([
        "16.5 granted? #1 0.800 [frames_agreed 5, needed 3]",
        "16.52 release",
        "21.52 secure",
        "24.1 granted? #1 0.800 [frames_agreed 5, needed 3]",
        "24.12 release",
    ]);
}

#[test]
fn unlocked_an_opening_door_is_locked_at_once_where_the_policy_says_so_and_else_at_the_pulses_end() {
    let mut door = Script::new();
    door.closes().show(face(ANA), 600).skip();
    door.wait(1000).opens().wait(900).closes().wait(20_000).says(["1.6 secure"]);

    let mut door = Script::with(Policy { relock_on_open: false, ..Policy::default() });
    door.closes().show(face(ANA), 600).skip();
    door.wait(1000).opens().wait(900).closes().wait(20_000).says(["5.52 secure"]);
}

#[test]
fn swap_a_live_stranger_does_not_vouch_for_the_picture_held_up_next() {
    let mut door = Script::new();
    door.show(stranger(), 2000).says([]);
    // The window that proves life ends before the picture comes, or reaches back to the stranger.
    door.verdict = None;
    door.show(face(ANA), 300).says([]);
    door.liveness(1500, 2200, Verdict::Live).says([]);
    door.liveness(2000, 2300, Verdict::Live).says(["2.3 granted? #1 0.800 [frames_agreed 3, needed 3]"]);
}

#[test]
fn swap_life_shown_while_the_picture_was_away_does_not_count() {
    for between in [stranger(), Face::Poor(PoorMeasure::TooBright)] {
        let mut door = Script::new();
        door.verdict = None;
        door.frame(face(ANA)).wait(100).show(between, 2000);
        door.show(face(ANA), 300).liveness(0, 2300, Verdict::Live).says([]);
        door.liveness(2000, 2400, Verdict::Live).says([]);
        door.liveness(2100, 2400, Verdict::Live).says(["2.4 granted? #1 0.800 [frames_agreed 3, needed 3]"]);
    }
}

#[test]
fn swap_a_picture_that_is_shown_now_and_then_does_not_borrow_the_life_of_who_holds_it() {
    let held_up = || {
        let (mut door, hooded) = (Script::new(), Face::Poor(PoorMeasure::TooDark));
        door.verdict = None;
        // Never away for as long as a frame stays fresh, so that Ana counts as in sight since 0.
        door.frame(face(ANA)).wait(100).show(hooded, 1300).show(face(ANA), 300).show(hooded, 500);
        door.liveness(0, 2200, Verdict::Live).says([]);
        door
    };
    let why = "3.1 liveness_inconclusive #1 0.800 [few_recognised, frames_agreed 3, needed 3]";
    held_up().wait(1000).says([why]);
    let mut door = held_up();
    // Half is not most.
    door.show(face(ANA), 500).liveness(1700, 2600, Verdict::Live).says([]);
    door.liveness(1900, 2600, Verdict::Live).says(["2.7 granted? #1 0.800 [frames_agreed 5, needed 3]"]);
}

/// Frames of these faces one after another at 60 a second.
fn at_60_a_second(door: &mut Script, faces: &[(Face, usize)]) {
    let each = faces.iter().flat_map(|(face, times)| std::iter::repeat_n(*face, *times));
    for (i, face) in each.enumerate() {
        door.wait(if i % 3 == 0 { 16 } else { 17 }).frame(face);
    }
}

#[test]
fn swap_a_picture_in_less_than_half_of_a_fast_cameras_frames_borrows_no_life_either() {
    let hooded = Face::Poor(PoorMeasure::TooDark);
    let mut door = Script::new();
    at_60_a_second(&mut door, &[(face(ANA), 1), (hooded, 34), (face(ANA), 1), (hooded, 47), (face(ANA), 49)]);
    door.liveness(door.now - 2160, door.now, Verdict::Live).says([]);
    let mut door = Script::new();
    at_60_a_second(&mut door, &[(face(ANA), 132)]);
    door.liveness(door.now - 2160, door.now, Verdict::Live);
    door.says(["2.2 granted? #1 0.800 [frames_agreed 5, needed 3]"]);
}

#[test]
fn swap_life_of_longer_ago_than_faces_are_remembered_counts_for_nobody() {
    let ms = Duration::from_millis;
    let patient = Policy { stale_after: ms(3000), attempt_timeout: ms(20_000), ..Policy::default() };
    let mut door = Script::with(patient);
    // Remembered are 5.3 s: every second frame of 60 a second.
    let hooded = Face::Poor(PoorMeasure::TooDark);
    at_60_a_second(&mut door, &[(face(ANA), 1), (hooded, 150), (face(ANA), 249)]);
    door.liveness(100, 4000, Verdict::Live).says([]);
    door.liveness(4500, 6600, Verdict::Live).says(["6.666 granted? #1 0.800 [frames_agreed 5, needed 3]"]);
}

#[test]
fn swap_life_of_the_resident_before_is_not_life_of_the_next() {
    let mut door = Script::new();
    door.verdict = None;
    door.show(face(ANA), 1000).show(face(BEN), 500);
    door.liveness(0, 1500, Verdict::Live).says([]);
    door.liveness(900, 1500, Verdict::Live).says([]);
    door.liveness(1000, 1500, Verdict::Live).says(["1.5 granted? #2 0.800 [frames_agreed 5, needed 3]"]);
}

#[test]
fn swap_two_faces_that_alternate_never_gather_life() {
    let mut door = Script::with(Policy { agree: 2, of: 4, ..Policy::default() });
    door.verdict = None;
    for i in 0..20 {
        door.frame(face(if i % 2 == 0 { ANA } else { BEN })).wait(100);
        door.liveness(door.now.saturating_sub(500), door.now, Verdict::Live);
    }
    door.says([]);
}

#[test]
fn swap_people_enrolled_while_somebody_stands_there_make_no_evidence_of_what_was_seen_before() {
    let mut door = Script::new();
    door.verdict = None;
    door.event(Event::Roster(roster_without(&[ANA]))).show(stranger(), 1000).show(face(ANA), 500);
    door.event(Event::Roster(Arc::new(roster()))).liveness(0, 1500, Verdict::Live).says([]);
    door.show(face(ANA), 300).liveness(1000, 1800, Verdict::Live).says([]);
    door.liveness(1500, 1800, Verdict::Live).says(["1.8 granted? #1 0.800 [frames_agreed 3, needed 3]"]);
}

#[test]
fn old_life_does_not_count() {
    let mut door = Script::new();
    door.verdict = None;
    door.show(face(ANA), 1000).liveness(0, 1000, Verdict::Inconclusive).show(face(ANA), 2000);
    door.liveness(0, 1499, Verdict::Live).says([]);
    door.liveness(3000, 2990, Verdict::Live).liveness(0, 3001, Verdict::Live).says([]);
    door.liveness(0, 1500, Verdict::Live).says(["3 granted? #1 0.800 [frames_agreed 5, needed 3]"]);
}

#[test]
fn frames_from_the_past_the_future_and_the_same_one_again_count_for_nothing() {
    let mut door = Script::with(pictures_pass());
    door.wait(5000);
    door.odd_frame(3499, 1, face(ANA)).odd_frame(5001, 2, face(ANA)).says([]);
    assert_eq!(door.gate.status().state, "idle");
    door.odd_frame(5000, 3, face(ANA)).wait(100);
    // The same time, the same number, and a frame from before the last.
    door.odd_frame(5000, 4, face(ANA)).odd_frame(5100, 3, face(ANA)).odd_frame(4999, 5, face(ANA));
    door.odd_frame(5050, 6, face(ANA)).says([]);
    // A camera that was opened again counts from zero.
    door.odd_frame(5090, 0, face(ANA))
        .says(["5.1 granted? #1 0.800 [frames_agreed 3, needed 3, liveness_not_required]"]);
}

#[test]
fn frames_too_far_apart_never_agree() {
    let mut door = Script::with(Policy { absent_after: Duration::from_secs(5), ..pictures_pass() });
    for _ in 0..6 {
        door.frame(face(ANA)).wait(800);
    }
    door.wait(300).says(["5 not_recognised 0.800 [frames_agreed 2, needed 3]"]);
}

#[test]
fn wall_clock_jumps_move_no_deadline() {
    let mut door = Script::new();
    door.show(face(ANA), 600).skip();
    door.wall_offset = 40 * 86_400_000;
    door.wait(2000);
    door.wall_offset = -MONDAY;
    door.wait(10_000).says(["5.52 secure"]);
}

#[test]
fn time_that_runs_backwards_is_no_time() {
    let mut door = Script::new();
    door.show(face(ANA), 600).skip();
    let early = Now { mono: Instant::BOOT, ..door.clocks() };
    let actions = door.gate.step(early, Event::Tick);
    assert!(actions.is_empty());
    door.wait(10_000).says(["5.52 secure"]);
}
