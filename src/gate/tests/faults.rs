//! What happens when something does not work, the ledger first of all.

use super::*;

#[test]
fn every_fault_closes_recognition_and_its_end_opens_it_again() {
    for fault in Fault::ALL {
        let mut door = Script::new();
        let (failed, cleared) =
            (format!("0 fault [fault {}]", fault.as_str()), format!("10 fault_cleared [fault {}]", fault.as_str()));
        door.event(Event::Fault(fault)).show(face(ANA), 10_000).says([failed.as_str()]);
        assert_eq!(door.gate.status().state, "faulted");
        door.event(Event::Cleared(fault)).show(face(ANA), 600);
        door.says([&cleared, "10.5 granted? #1 0.800 [frames_agreed 5, needed 3]", "10.52 release"]);
    }
}

#[test]
fn faulted_the_last_of_several_faults_must_clear_and_repetitions_are_not_news() {
    let mut door = Script::new();
    for fault in [Fault::Network, Fault::Network, Fault::Sensor] {
        door.event(Event::Fault(fault));
    }
    door.says(["0 fault [fault network]", "0 fault [fault sensor]"]);
    door.event(Event::Cleared(Fault::Network))
        .event(Event::Cleared(Fault::Network))
        .event(Event::Cleared(Fault::Store));
    door.show(face(ANA), 1000).says(["0 fault_cleared [fault network]"]);
    door.event(Event::Cleared(Fault::Sensor)).show(face(ANA), 600).wait(100);
    door.says(["1 fault_cleared [fault sensor]", "1.5 granted? #1 0.800 [frames_agreed 5, needed 3]", "1.52 release"]);
}

#[test]
fn faulted_all_at_once_fits_into_the_actions() {
    let mut door = Script::new();
    door.event(Event::Claim(ANA));
    for fault in Fault::ALL {
        door.event(Event::Fault(fault));
    }
    assert_eq!(door.gate.status().faults.len(), Fault::ALL.len());
}

#[test]
fn observing_a_fault_ends_the_attempt_with_it() {
    let mut door = Script::new();
    door.show(face(ANA), 300).event(Event::Fault(Fault::Network)).wait(10_000).says(["0.3 fault [fault network]"]);
    let mut door = Script::new();
    door.event(Event::Claim(ANA)).event(Event::Fault(Fault::Network)).wait(20_000);
    door.says(["0 expect #1", "0 fault #1 [fault network]", "0 expect nobody"]);
}

#[test]
fn observing_faults_however_many_make_nobody_wait_longer_than_one() {
    let mut door = Script::new();
    for _ in 0..10 {
        door.show(face(ANA), 300).event(Event::Fault(Fault::CameraLost)).event(Event::Cleared(Fault::CameraLost));
        door.wait(2000);
    }
    door.skip().show(face(ANA), 600).says(["23.5 granted? #1 0.800 [frames_agreed 5, needed 3]", "23.52 release"]);
}

#[test]
fn recording_a_fault_takes_the_grant_back() {
    let mut door = Script::new();
    door.ledger = Ledger::Writes(1000);
    door.show(face(ANA), 700).event(Event::Fault(Fault::CameraLost)).wait(10_000);
    door.says(["0.5 granted? #1 0.800 [frames_agreed 5, needed 3]", "0.7 fault #1 [fault camera_lost]"]);
}

#[test]
fn recording_a_grant_that_could_not_be_written_opens_nothing() {
    let mut door = Script::new();
    door.ledger = Ledger::Fails;
    door.show(face(ANA), 600).wait(10_000);
    door.says(["0.5 granted? #1 0.800 [frames_agreed 5, needed 3]", "0.52 fault #1 [fault store]"]);
}

#[test]
fn recording_a_ledger_that_answers_late_or_never_opens_nothing() {
    for ledger in [Ledger::Writes(2000), Ledger::Writes(2500), Ledger::Silent] {
        let mut door = Script::new();
        door.ledger = ledger;
        door.show(face(ANA), 600).wait(10_000);
        door.says(["0.5 granted? #1 0.800 [frames_agreed 5, needed 3]", "2.5 fault #1 [ledger_late]"]);
    }
    let mut door = Script::new();
    door.ledger = Ledger::Writes(1999);
    door.show(face(ANA), 600).wait(2000);
    door.says(["0.5 granted? #1 0.800 [frames_agreed 5, needed 3]", "2.499 release"]);
}

#[test]
fn recording_the_answer_to_another_ticket_opens_nothing() {
    let mut door = Script::new();
    door.ledger = Ledger::Silent;
    door.show(face(ANA), 600).skip();
    for ticket in [0, 2, u32::MAX] {
        door.event(Event::Recorded { ticket: Ticket(ticket), written: true });
    }
    door.says([]);
    door.event(Event::Recorded { ticket: Ticket(1), written: true }).says(["0.6 release"]);
    door.event(Event::Recorded { ticket: Ticket(1), written: true }).says([]);
}

#[test]
fn idle_an_answer_that_nobody_waits_for_opens_nothing() {
    let mut door = Script::new();
    for ticket in 0..3 {
        door.event(Event::Recorded { ticket: Ticket(ticket), written: true });
    }
    door.says([]);
}

#[test]
fn recording_whoever_is_erased_expires_or_leaves_their_hours_meanwhile_stays_outside() {
    let granted = |person| format!("0.5 granted? {person} 0.800 [frames_agreed 5, needed 3]");
    let mut door = Script::with(Policy { lockout_after: 1, ..Policy::default() });
    door.ledger = Ledger::Writes(500);
    door.show(face(ANA), 600).event(Event::Roster(roster_without(&[ANA]))).wait(10_000);
    door.says([&granted(ANA), "1 not_recognised #1 [no_longer_enrolled]"]);

    let mut door = Script::new();
    door.ledger = Ledger::Writes(500);
    door.wall_offset = 86_400_000 - 900;
    door.show(face(GUS), 600).wait(10_000);
    let expired = format!("1 expired #5 [expired_at {}]", MONDAY + 86_400_000);
    door.says([&granted(GUS), &expired]);
}

#[test]
fn recording_an_attack_takes_the_grant_back_and_counts_and_one_of_before_does_not() {
    let mut door = Script::with(Policy { lockout_after: 1, ..Policy::default() });
    door.ledger = Ledger::Writes(500);
    door.wait(3000).show(face(ANA), 600).liveness(2900, 3600, Verdict::Spoof).liveness(3000, 3600, Verdict::Spoof);
    door.wait(10_000).says([
        "3.5 granted? #1 0.800 [frames_agreed 5, needed 3]",
        "3.6 spoof #1 0.800 [liveness_spoof]",
        "3.6 locked_out [denials 1]",
    ]);
    let mut door = Script::new();
    door.ledger = Ledger::Writes(500);
    door.wait(3000).show(face(ANA), 600).liveness(2900, 3600, Verdict::Spoof).wait(500);
    door.says(["3.5 granted? #1 0.800 [frames_agreed 5, needed 3]", "4 release"]);
}

#[test]
fn a_lockout_goes_on_behind_a_fault() {
    let mut door = Script::with(Policy { lockout_after: 1, ..Policy::default() });
    door.show(stranger(), 5100).skip();
    door.event(Event::Fault(Fault::CameraFrozen)).wait(4900).event(Event::Cleared(Fault::CameraFrozen));
    door.says(["5.1 fault [fault camera_frozen]", "10 fault_cleared [fault camera_frozen]"]);
    assert_eq!(door.gate.status().state, "locked_out");
    door.show(face(ANA), 25_000).says([]);
    door.show(face(ANA), 600).says(["35.5 granted? #1 0.800 [frames_agreed 5, needed 3]", "35.52 release"]);
}

#[test]
fn stopping_locks_and_writes_down_what_was_going_on() {
    let mut door = Script::new();
    door.event(Event::Claim(ANA)).exit().event(Event::ManualRelease { uid: 7 }).skip();
    let last = door.gate.stop(door.clocks());
    door.note(last);
    door.says(["0 secure", "0 fault [stopping]", "0 fault #1 [stopping]", "0 expect nobody", "0 stopped"]);
    // What the ledger still answers opens nothing.
    door.wait(30_000).says([]);
}
