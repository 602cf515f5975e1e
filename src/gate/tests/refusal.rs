//! Who doesn't come in, with the outcome and its reasons.

use super::*;

#[test]
fn observing_a_stranger_is_not_recognised_when_the_time_is_up() {
    Script::new()
        .show(stranger(), 5100)
        .says(["5 not_recognised 0.200 [frames_agreed 0, needed 3, similarity 0.200 below 0.500]"]);
}

#[test]
fn observing_a_stranger_who_walks_on_is_noted_when_gone() {
    Script::new()
        .show(stranger(), 1000)
        .show(Face::Absent, 3000)
        .says(["1.9 not_recognised 0.200 [frames_agreed 0, needed 3, similarity 0.200 below 0.500]"]);
}

#[test]
fn observing_somebody_who_only_passes_by_has_shown_too_little() {
    Script::new()
        .show(face(ANA), 200)
        .show(Face::Absent, 3000)
        .says(["1.1 not_recognised 0.800 [frames_agreed 2, needed 3, too_few_frames]"]);
}

#[test]
fn observing_a_camera_that_falls_silent_ends_the_attempt_all_the_same() {
    Script::new()
        .show(stranger(), 500)
        .wait(3000)
        .says(["1.4 not_recognised 0.200 [frames_agreed 0, needed 3, similarity 0.200 below 0.500]"]);
}

#[test]
fn observing_look_alikes_are_ambiguous() {
    Script::new()
        .show(between((ANA, 0.80), (BEN, 0.78)), 5100)
        .says(["5 ambiguous #1 0.800 [runner_up #2 only 0.020 behind, 0.050 needed, frames_agreed 0, needed 3]"]);
}

#[test]
fn observing_a_runner_up_who_is_the_same_person_is_no_match() {
    Script::new()
        .show(between((ANA, 0.8), (ANA, 0.1)), 5100)
        .says(["5 ambiguous #1 0.800 [runner_up #1 only 0.700 behind, 0.050 needed, frames_agreed 0, needed 3]"]);
}

#[test]
fn observing_two_people_who_take_turns_never_agree() {
    let mut door = Script::new();
    for i in 0..50 {
        door.show(
            face(if i % 3 == 0 {
                ANA
            } else if i % 3 == 1 {
                BEN
            } else {
                GUS
            }),
            100,
        );
    }
    door.wait(100).says(["5 not_recognised 0.800 [frames_agreed 2, needed 3]"]);
}

#[test]
fn observing_a_poor_face_is_refused_with_its_measure() {
    for (measure, name) in [
        (PoorMeasure::Size, "too_small"),
        (PoorMeasure::Sharpness, "blurred"),
        (PoorMeasure::TooDark, "too_dark"),
        (PoorMeasure::TooBright, "too_bright"),
        (PoorMeasure::Pose, "turned_away"),
        (PoorMeasure::DetectorScore, "unclear"),
    ] {
        let expected = format!("5 poor_quality [{name}]");
        Script::new().show(Face::Poor(measure), 5100).says([expected.as_str()]);
    }
}

#[test]
fn observing_too_few_good_frames_among_poor_ones_are_poor_quality_and_not_a_non_match() {
    Script::new().show(face(ANA), 200).show(Face::Poor(PoorMeasure::TooDark), 4900).says(["5 poor_quality [too_dark]"]);
}

#[test]
fn observing_an_attack_is_a_spoof_at_once() {
    let mut door = Script::new();
    door.verdict = Some(Verdict::Spoof);
    door.show(face(ANA), 1000).says(["0.5 spoof #1 0.800 [liveness_spoof, frames_agreed 5, needed 3]"]);
    let mut door = Script::new();
    door.verdict = Some(Verdict::Spoof);
    door.show(stranger(), 1000).says(["0.5 spoof [liveness_spoof]"]);
}

#[test]
fn observing_an_attack_before_the_face_matched_spoils_the_attempt() {
    let mut door = Script::new();
    door.verdict = None;
    door.show(Face::Poor(PoorMeasure::Size), 500).show(face(ANA), 500);
    door.liveness(0, 1000, Verdict::Spoof).says(["1 spoof #1 0.800 [liveness_spoof, frames_agreed 5, needed 3]"]);
}

#[test]
fn observing_somebody_elses_attack_from_before_is_not_held_against_this_person() {
    let mut door = Script::new();
    door.verdict = None;
    door.wait(3000).show(face(ANA), 500).liveness(2999, 3500, Verdict::Spoof).says([]);
    door.liveness(3000, 3500, Verdict::Live).says(["3.5 granted? #1 0.800 [frames_agreed 5, needed 3]"]);
}

#[test]
fn observing_missing_liveness_is_inconclusive_and_never_a_spoof() {
    for verdict in [None, Some(Verdict::Inconclusive)] {
        let mut door = Script::new();
        door.verdict = verdict;
        door.show(face(ANA), 5100);
        door.says(["5 liveness_inconclusive #1 0.800 [liveness_missing, frames_agreed 5, needed 3]"]);
    }
}

#[test]
fn observing_a_resident_who_leaves_before_liveness_speaks_is_inconclusive_however_old_the_frames_are_by_then() {
    let quickly_stale = Policy { stale_after: Duration::from_millis(400), ..Policy::default() };
    let mut door = Script::with(quickly_stale);
    door.verdict = None;
    door.show(face(ANA), 800).show(Face::Absent, 2000);
    door.says(["1.7 liveness_inconclusive #1 0.800 [liveness_missing, frames_agreed 3, needed 3]"]);
}

#[test]
fn observing_an_expired_person_is_told_apart_from_a_stranger() {
    let expected = format!("0.2 expired #3 0.800 [expired_at {}, frames_agreed 3, needed 3]", MONDAY - 1);
    Script::new().show(face(EVA), 1000).says([expected.as_str()]);
}

#[test]
fn observing_a_person_outside_their_hours_is_told_so() {
    Script::new()
        .show(face(TOM), 1000)
        .says(["0.2 out_of_schedule #4 0.800 [outside_schedule, frames_agreed 3, needed 3]"]);
}

#[test]
fn observing_hours_begin_when_the_clock_says_so() {
    let mut door = Script::new();
    // Saturday, 09:00.
    door.wall_offset = 5 * 86_400_000 - 16_400_000;
    door.show(face(TOM), 600).says(["0.5 granted? #4 0.800 [frames_agreed 5, needed 3]", "0.52 release"]);
}

#[test]
fn observing_a_clock_that_was_never_set_denies_whoever_depends_on_it_and_nobody_else() {
    for (person, outcome) in [(EVA, "expired"), (GUS, "expired"), (TOM, "out_of_schedule")] {
        let mut door = Script::new();
        door.wall_offset = -MONDAY;
        let expected = format!("0.2 {outcome} {person} 0.800 [clock_not_set, frames_agreed 3, needed 3]");
        door.show(face(person), 1000).says([expected.as_str()]);
    }
    let mut door = Script::new();
    door.wall_offset = -MONDAY;
    door.show(face(ANA), 600).says(["0.5 granted? #1 0.800 [frames_agreed 5, needed 3]", "0.52 release"]);
}

#[test]
fn observing_nobody_is_recognised_by_an_empty_gallery_or_without_a_threshold() {
    let mut door = Script::new();
    door.event(Event::Roster(Arc::default())).show(face(ANA), 5100);
    door.says(["5 not_recognised 0.800 [frames_agreed 0, needed 3, no_threshold, nobody_enrolled]"]);
    let mut door = Script::new();
    let mut without = roster();
    without.identify_threshold = None;
    door.event(Event::Roster(Arc::new(without))).show(face(ANA), 5100);
    door.says(["5 not_recognised 0.800 [frames_agreed 0, needed 3, no_threshold]"]);
}

#[test]
fn observing_a_person_erased_meanwhile_is_a_stranger_and_not_a_question_of_liveness() {
    let mut door = Script::new();
    door.verdict = None;
    door.show(face(ANA), 400).event(Event::Roster(roster_without(&[ANA])));
    door.verdict = Some(Verdict::Live);
    door.show(face(ANA), 4700).says(["5 not_recognised 0.800 [frames_agreed 0, needed 3]"]);
}

#[test]
fn denied_who_stays_is_denied_ever_more_rarely_and_who_comes_back_is_looked_at_soon() {
    let mut door = Script::new();
    door.show(face(EVA), 60_000);
    let times: Vec<_> = door.lines.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(times, ["0.2", "2.4", "6.6", "14.8", "31"], "{:?}", door.lines);
    door.skip().show(Face::Absent, 1000).show(face(ANA), 600);
    door.says(["61.5 granted? #1 0.800 [frames_agreed 5, needed 3]", "61.52 release"]);
}

#[test]
fn denied_a_stranger_who_stays_keeps_nobody_waiting_who_is_known() {
    let mut door = Script::new();
    // Denied at 5, 12 and 21 s: the stranger's next attempt begins at 29 s.
    door.show(stranger(), 22_000).skip().show(face(ANA), 1000);
    door.says(["22.5 granted? #1 0.800 [frames_agreed 5, needed 3]", "22.52 release"]);
    let mut door = Script::with(Policy { lockout_after: 4, ..Policy::default() });
    door.show(stranger(), 22_000).skip();
    door.verdict = Some(Verdict::Spoof);
    door.show(face(ANA), 1000);
    door.says(["22.5 spoof #1 0.800 [liveness_spoof, frames_agreed 5, needed 3]", "22.5 locked_out [denials 4]"]);
}

#[test]
fn denied_two_who_take_turns_are_denied_no_more_often_than_one_may_try() {
    let mut door = Script::new();
    for _ in 0..20 {
        door.show(face(EVA), 300).show(face(TOM), 300);
    }
    let denials = door.lines.len();
    assert!((2..=6).contains(&denials), "{denials} in 12 s: {:?}", door.lines);
}

#[test]
fn denied_a_release_in_between_lengthens_nobodys_wait() {
    let mut door = Script::new();
    // Denied at 5, 12 and 21 s. Whoever wants out is let out at 22 s, and the door locks at 27 s: the next begins at 29
    // s.
    door.show(stranger(), 22_000).exit().show(stranger(), 13_000).skip();
    assert_eq!(door.gate.status().state, "idle", "denied at 34 s");
    assert_eq!(door.gate.status().since, Instant::from_millis(START + 34_000));
}

#[test]
fn denied_strangers_lock_the_door_against_guessing_and_a_lockout_ends() {
    let mut door = Script::with(Policy { lockout_after: 2, ..Policy::default() });
    door.verdict = Some(Verdict::Spoof);
    for _ in 0..2 {
        door.show(face(ANA), 600).show(Face::Absent, 2000);
    }
    door.says([
        "0.5 spoof #1 0.800 [liveness_spoof, frames_agreed 5, needed 3]",
        "3.1 spoof #1 0.800 [liveness_spoof, frames_agreed 5, needed 3]",
        "3.1 locked_out [denials 2]",
    ]);
    assert_eq!(door.gate.status().state, "locked_out");
    door.verdict = Some(Verdict::Live);
    // Until 33.1 nobody is looked at; who stands there then is.
    door.show(face(ANA), 28_000).says([]);
    door.show(face(ANA), 600).says(["33.7 granted? #1 0.800 [frames_agreed 5, needed 3]", "33.72 release"]);
}

#[test]
fn denied_only_strangers_and_attacks_count_towards_a_lockout() {
    let mut door = Script::with(Policy { lockout_after: 1, ..Policy::default() });
    door.show(face(EVA), 400).show(Face::Absent, 3000);
    door.show(face(TOM), 400).show(Face::Absent, 3000);
    door.show(Face::Poor(PoorMeasure::Size), 5100).show(Face::Absent, 3000);
    // A passer-by has shown too little to be a guess.
    door.show(stranger(), 200).show(Face::Absent, 3000);
    door.verdict = None;
    door.show(face(ANA), 5100).show(Face::Absent, 3000);
    assert!(!door.lines.iter().any(|line| line.contains("locked_out")), "{:?}", door.lines);
    door.show(between((ANA, 0.80), (BEN, 0.78)), 5100);
    assert!(door.lines.iter().any(|line| line.contains("locked_out")), "{:?}", door.lines);
}

#[test]
fn denied_whoever_steps_back_before_enough_windows_make_an_attack_is_counted_all_the_same() {
    let window = |score| Some(Reason::LooksLike { what: "print", score, needed: -1.0 });
    let mut door = Script::with(Policy { lockout_after: 2, ..Policy::default() });
    door.verdict = Some(Verdict::Inconclusive);
    door.evidence[0] = window(-3.0);
    for _ in 0..2 {
        door.show(face(ANA), 2600).show(Face::Absent, 1000);
    }
    let why = "liveness_missing, frames_agreed 5, needed 3, looks_like print, log odds -3.00, needed -1.00";
    let denial = |at: &str| format!("{at} liveness_inconclusive #1 0.800 [{why}]");
    door.says([&denial("3.5"), &denial("7.1"), "7.1 locked_out [denials 2]"]);

    let missing = Some(Reason::SensorMissing { sensor: "depth", why: "stuck" });
    for evidence in [window(-0.5), missing] {
        let mut door = Script::with(Policy { lockout_after: 1, ..Policy::default() });
        door.verdict = Some(Verdict::Inconclusive);
        door.evidence[0] = evidence;
        door.show(face(ANA), 2600).show(Face::Absent, 1000);
        assert_eq!(door.lines.len(), 1, "no attack: {:?}", door.lines);
    }
}

#[test]
fn denied_one_window_of_many_that_is_too_low_counts_although_the_last_was_not() {
    let mut door = Script::with(Policy { lockout_after: 1, ..Policy::default() });
    door.verdict = None;
    door.show(face(ANA), 2600);
    for (until, score) in [(2200, -3.0), (2400, 2.0)] {
        door.evidence[0] = Some(Reason::LooksLike { what: "print", score, needed: -1.0 });
        door.liveness(until - 2000, until, Verdict::Inconclusive);
    }
    door.show(Face::Absent, 1000);
    assert_eq!(door.lines.last().unwrap(), "3.5 locked_out [denials 1]");
}

#[test]
fn denied_whose_frames_agree_and_are_judged_too_slowly_to_be_fresh_together_is_no_stranger_and_locks_nobody_out() {
    for (pace, agreed) in [(600, 3), (800, 2)] {
        let mut door = Script::new();
        for _ in 0..5 {
            for _ in 0..7 {
                door.wait(pace).sequence += 1;
                let (captured, sequence) = (door.now - pace, door.sequence);
                door.odd_frame(captured, sequence, face(ANA));
            }
            door.show(Face::Absent, 3000);
        }
        let denial = format!(" not_recognised 0.800 [frames_agreed {agreed}, needed 3, too_few_frames]");
        let are_so = door.lines.iter().all(|line| line.ends_with(&denial));
        assert!(are_so && door.lines.len() == 5, "{:?}", door.lines);
    }
}

#[test]
fn denied_strangers_whose_frames_are_judged_slowly_count_all_the_same() {
    let mut door = Script::with(Policy { lockout_after: 1, ..Policy::default() });
    for _ in 0..7 {
        door.wait(600).sequence += 1;
        let (captured, sequence) = (door.now - 600, door.sequence);
        door.odd_frame(captured, sequence, stranger());
    }
    door.wait(3000);
    assert_eq!(door.lines.last().unwrap(), "5.2 locked_out [denials 1]");
}

#[test]
fn denied_a_grant_forgives_the_denials_before_it() {
    let mut door = Script::with(Policy { lockout_after: 2, ..Policy::default() });
    door.show(stranger(), 500).show(Face::Absent, 3000);
    door.show(face(ANA), 600).wait(10_000);
    door.show(stranger(), 500).show(Face::Absent, 3000);
    assert!(!door.lines.iter().any(|line| line.contains("locked_out")), "{:?}", door.lines);
}
