//! Verification: somebody says who they are first.

use super::*;

#[test]
fn idle_a_claim_that_its_face_confirms_is_admitted_by_the_threshold_of_one_to_one() {
    let mut door = Script::new();
    door.event(Event::Claim(ANA)).show(scored(ANA, 0.45), 600);
    door.says([
        "0 expect #1",
        "0.5 expect nobody",
        "0.5 granted? #1 0.450 [frames_agreed 5, needed 3]",
        "0.52 release",
    ]);
}

#[test]
fn observing_a_face_without_a_claim_is_admitted_no_more_once_the_policy_asks_for_one() {
    let mut door = Script::with(Policy { lockout_after: 1, ..Policy::default() });
    door.show(face(ANA), 200);
    let actions = door.gate.set_policy(door.clocks(), Policy { mode: Mode::Verification, ..Policy::default() });
    door.note(actions);
    door.show(face(ANA), 1000).says(["0.2 not_recognised [claim_not_confirmed, too_few_frames]"]);
    assert_eq!(door.gate.status().since, Instant::from_millis(START + 200));
}

#[test]
fn observing_a_claim_goes_on_under_a_policy_that_asks_for_one() {
    let mut door = Script::new();
    door.event(Event::Claim(ANA)).show(scored(ANA, 0.45), 200).skip();
    let actions = door.gate.set_policy(door.clocks(), Policy { mode: Mode::Verification, ..Policy::default() });
    door.note(actions);
    door.show(scored(ANA, 0.45), 600).skip();
    assert_eq!(door.gate.status().state, "unlocked");
}

#[test]
fn idle_a_claim_that_another_face_makes_is_refused() {
    let mut door = Script::new();
    door.event(Event::Claim(ANA)).show(scored(ANA, 0.2), 10_100);
    door.says([
        "0 expect #1",
        "10 not_recognised #1 0.200 [frames_agreed 0, needed 3, similarity 0.200 below 0.400, claim_not_confirmed]",
        "10 expect nobody",
    ]);
}

#[test]
fn idle_scores_of_somebody_else_confirm_no_claim_not_even_a_perfect_search() {
    let mut door = Script::new();
    let both = Seen { best: Some(candidate(BEN, 0.9)), runner_up: None, claimed: Some(candidate(BEN, 0.9)) };
    door.event(Event::Claim(ANA)).show(Face::Seen(both), 10_100);
    door.says([
        "0 expect #1",
        "10 not_recognised #1 0.900 [frames_agreed 0, needed 3, claim_not_confirmed]",
        "10 expect nobody",
    ]);
}

#[test]
fn idle_a_claim_that_nobody_comes_for_ends_and_locks_nobody_out() {
    let mut door = Script::with(Policy { lockout_after: 1, ..Policy::default() });
    door.event(Event::Claim(ANA)).show(Face::Absent, 11_000);
    door.says([
        "0 expect #1",
        "10 not_recognised #1 [frames_agreed 0, needed 3, claim_not_confirmed, too_few_frames]",
        "10 expect nobody",
    ]);
}

#[test]
fn observing_a_claim_waits_for_its_face_although_others_walk_by_and_ends_once_that_has_left() {
    for other in [face(BEN), Face::Poor(PoorMeasure::Size)] {
        let mut door = Script::new();
        door.event(Event::Claim(ANA)).frame(other).show(Face::Absent, 2000).show(scored(ANA, 0.8), 600);
        door.says([
            "0 expect #1",
            "2.5 expect nobody",
            "2.5 granted? #1 0.800 [frames_agreed 5, needed 3]",
            "2.52 release",
        ]);
    }
    let mut door = Script::new();
    door.event(Event::Claim(ANA)).show(scored(ANA, 0.8), 200).show(Face::Absent, 2000);
    door.says([
        "0 expect #1",
        "1.1 not_recognised #1 0.800 [frames_agreed 2, needed 3, claim_not_confirmed, too_few_frames]",
        "1.1 expect nobody",
    ]);
}

#[test]
fn idle_a_claim_does_not_excuse_anybody_from_liveness_expiry_or_hours() {
    let mut door = Script::new();
    door.verdict = None;
    door.event(Event::Claim(ANA)).show(scored(ANA, 0.8), 10_100);
    door.says([
        "0 expect #1",
        "10 liveness_inconclusive #1 0.800 [liveness_missing, frames_agreed 5, needed 3]",
        "10 expect nobody",
    ]);
    let expired = format!("0.2 expired #3 0.800 [expired_at {}, frames_agreed 3, needed 3]", MONDAY - 1);
    let hours = "0.2 out_of_schedule #4 0.800 [outside_schedule, frames_agreed 3, needed 3]";
    for (person, line) in [(EVA, expired.as_str()), (TOM, hours)] {
        let expect = format!("0 expect {person}");
        let mut door = Script::new();
        door.event(Event::Claim(person)).show(scored(person, 0.8), 300);
        door.says([&expect, line, "0.2 expect nobody"]);
    }
}

#[test]
fn observing_a_claim_takes_over_the_attempt_and_starts_its_evidence_anew() {
    let mut door = Script::new();
    door.verdict = None;
    door.show(face(ANA), 500).event(Event::Claim(ANA)).says(["0.5 expect #1"]);
    door.liveness(0, 500, Verdict::Live).says([]);
    door.show(scored(ANA, 0.8), 300).liveness(400, 800, Verdict::Live).says([]);
    door.liveness(500, 800, Verdict::Live);
    door.says(["0.8 expect nobody", "0.8 granted? #1 0.800 [frames_agreed 3, needed 3]"]);
}

#[test]
fn observing_a_second_claim_is_refused_and_the_first_goes_on() {
    let mut door = Script::new();
    door.event(Event::Claim(ANA)).event(Event::Claim(BEN)).show(scored(ANA, 0.8), 600);
    door.says([
        "0 expect #1",
        "0 not_recognised #2 [claim_not_confirmed]",
        "0.5 expect nobody",
        "0.5 granted? #1 0.800 [frames_agreed 5, needed 3]",
        "0.52 release",
    ]);
}

#[test]
fn observing_and_recording_a_second_claim_of_the_same_person_joins_the_first() {
    let mut door = Script::new();
    door.ledger = Ledger::Writes(500);
    door.event(Event::Claim(ANA)).wait(300).event(Event::Claim(ANA)).show(scored(ANA, 0.8), 600);
    door.event(Event::Claim(ANA)).wait(500);
    door.says(["0 expect #1", "0.8 expect nobody", "0.8 granted? #1 0.800 [frames_agreed 5, needed 3]", "1.3 release"]);
    assert_eq!(door.gate.status().state, "unlocked");
    let mut door = Script::new();
    door.event(Event::Claim(ANA)).wait(9000).event(Event::Claim(ANA)).wait(20_000);
    door.says([
        "0 expect #1",
        "10 not_recognised #1 [frames_agreed 0, needed 3, claim_not_confirmed, too_few_frames]",
        "10 expect nobody",
    ]);
}

#[test]
fn recording_locked_out_and_faulted_refuse_claims_with_the_reason() {
    let mut door = Script::new();
    door.ledger = Ledger::Silent;
    door.show(face(ANA), 600).skip().event(Event::Claim(BEN)).says(["0.6 not_recognised #2 [claim_not_confirmed]"]);

    let mut door = Script::with(Policy { lockout_after: 1, ..Policy::default() });
    door.show(stranger(), 5100).skip().event(Event::Claim(BEN)).says(["5.1 locked_out #2 [denials 1]"]);

    let mut door = Script::new();
    door.event(Event::Fault(Fault::CameraLost)).skip();
    door.event(Event::Claim(BEN)).says(["0 fault #2 [fault camera_lost]"]);
}

#[test]
fn unlocked_a_claim_is_heard_all_the_same() {
    let mut door = Script::new();
    door.exit().skip();
    door.event(Event::Claim(ANA)).show(scored(ANA, 0.8), 600);
    door.says([
        "0 expect #1",
        "0.5 expect nobody",
        "0.5 granted? #1 0.800 [frames_agreed 5, needed 3]",
        "0.52 release",
    ]);
    door.wait(10_000).says(["5.52 secure"]);
}

#[test]
fn a_door_that_verifies_only_looks_at_nobody_without_a_claim() {
    let mut door = Script::with(Policy { mode: Mode::Verification, ..Policy::default() });
    door.show(face(ANA), 10_000).says([]);
    door.event(Event::Claim(ANA)).show(scored(ANA, 0.8), 600);
    door.says([
        "10 expect #1",
        "10.5 expect nobody",
        "10.5 granted? #1 0.800 [frames_agreed 5, needed 3]",
        "10.52 release",
    ]);
}

#[test]
fn a_claim_of_somebody_who_is_not_enrolled_ends_as_not_recognised() {
    let mut door = Script::new();
    let nobody = PersonId::new(99);
    door.event(Event::Claim(nobody)).show(scored(nobody, 0.9), 10_100);
    door.says([
        "0 expect #99",
        "10 not_recognised #99 0.900 [frames_agreed 0, needed 3, claim_not_confirmed]",
        "10 expect nobody",
    ]);
}
