//! The exit button, the operator's release, the contact and its alarms.

use super::*;

/// Brings the gate into every state there is.
fn in_every_state(scene: impl Fn(&str, &mut Script)) {
    let slow = Policy { lockout_after: 1, ..Policy::default() };
    let mut idle = Script::new();
    let mut observing = Script::new();
    observing.show(stranger(), 300);
    let mut recording = Script::new();
    recording.ledger = Ledger::Silent;
    recording.show(face(ANA), 600);
    let mut locked_out = Script::with(slow);
    locked_out.show(stranger(), 5100);
    let mut faulted = Script::new();
    for fault in Fault::ALL {
        faulted.event(Event::Fault(fault));
    }
    let mut unlocked = Script::new();
    unlocked.show(face(ANA), 600);
    for (state, door) in [
        ("idle", &mut idle),
        ("observing", &mut observing),
        ("recording", &mut recording),
        ("locked_out", &mut locked_out),
        ("faulted", &mut faulted),
        ("unlocked", &mut unlocked),
    ] {
        assert_eq!(door.gate.status().state, state);
        scene(state, door.skip());
    }
}

#[test]
fn in_every_state_the_exit_button_lets_out_at_once_and_is_written_down() {
    in_every_state(|_, door| {
        let at = door.seconds();
        door.exit().says([&format!("{at} release"), &format!("{at} exit")]);
        assert_eq!(door.gate.status().state, "unlocked");
        door.wait(30_000);
        assert!(door.lines.contains(&format!("{} secure", at + 5.0)), "{:?}", door.lines);
    });
}

#[test]
fn in_every_state_an_operator_releases_once_the_ledger_has_it() {
    in_every_state(|_, door| {
        door.ledger = Ledger::Writes(100);
        let (asked, written) = (door.seconds(), (door.now + 100) as f64 / 1000.0);
        door.event(Event::ManualRelease { uid: 1000 }).wait(100);
        door.says([&format!("{asked} manual_release? [by_uid 1000]"), &format!("{written} release")]);
    });
}

#[test]
fn observing_an_exit_does_not_end_the_attempt() {
    let mut door = Script::new();
    door.show(stranger(), 1000).exit().show(stranger(), 4100);
    door.says([
        "1 release",
        "1 exit",
        "5 not_recognised 0.200 [frames_agreed 0, needed 3, similarity 0.200 below 0.500]",
    ]);
}

#[test]
fn an_operators_release_that_the_ledger_lacks_opens_nothing_and_says_so() {
    let mut door = Script::new();
    door.ledger = Ledger::Fails;
    door.event(Event::ManualRelease { uid: 0 }).wait(100);
    door.says(["0 manual_release? [by_uid 0]", "0.02 fault [fault store]"]);
    door.ledger = Ledger::Writes(2000);
    door.event(Event::ManualRelease { uid: 0 }).wait(5000);
    door.says(["0.1 manual_release? [by_uid 0]", "2.1 fault [ledger_late]"]);
}

#[test]
fn two_operators_at_once_share_a_release_and_both_are_written_down() {
    let mut door = Script::new();
    door.event(Event::ManualRelease { uid: 1 }).event(Event::ManualRelease { uid: 2 }).wait(100);
    door.says(["0 manual_release? [by_uid 1]", "0.02 release", "0.02 manual_release [by_uid 2]"]);
}

#[test]
fn two_operators_whose_release_the_ledger_never_confirms_share_its_fault_and_are_not_written_down() {
    for (ledger, fault) in [(Ledger::Silent, "2 fault [ledger_late]"), (Ledger::Fails, "0.02 fault [fault store]")] {
        let mut door = Script::new();
        door.ledger = ledger;
        door.event(Event::ManualRelease { uid: 1 }).event(Event::ManualRelease { uid: 2 }).wait(3000);
        door.says(["0 manual_release? [by_uid 1]", fault]);
    }
}

#[test]
fn operators_beyond_those_whom_the_socket_serves_are_not_written_down_as_if_they_had_released() {
    let mut door = Script::new();
    for uid in 0..=MAX_SHARING as u32 + 5 {
        door.event(Event::ManualRelease { uid });
    }
    door.wait(100);
    let last = format!("0.02 manual_release [by_uid {MAX_SHARING}]");
    assert_eq!(door.lines.len(), 2 + MAX_SHARING, "the first asked for, the release, and those who share it");
    assert_eq!(door.lines.last(), Some(&last));
}

#[test]
fn a_grant_and_an_operators_release_waiting_together_are_told_apart() {
    let mut door = Script::new();
    door.ledger = Ledger::Silent;
    door.show(face(ANA), 600).event(Event::ManualRelease { uid: 1 }).skip();
    door.event(Event::Recorded { ticket: Ticket(2), written: true }).says(["0.6 release"]);
    door.wait(3000).says(["2.5 fault #1 [ledger_late]"]);
}

#[test]
fn a_bouncing_exit_button_is_one_exit_and_the_next_release_has_one_of_its_own() {
    let mut door = Script::new();
    for _ in 0..4 {
        door.exit().wait(5);
    }
    door.says(["0 release", "0 exit", "0.005 release", "0.01 release", "0.015 release"]);
    door.wait(10_000).exit().says(["5.015 secure", "10.02 release", "10.02 exit"]);
}

#[test]
fn a_release_that_the_strike_refuses_leaves_the_door_locked() {
    let mut door = Script::new();
    door.closes().exit().event(Event::Fault(Fault::Strike));
    door.says(["0 release", "0 exit", "0 fault [fault strike]"]);
    assert_eq!(door.gate.status().state, "faulted");
    door.wait(100).opens().says(["0.1 door_forced", "0.1 alarm Forced"]);
    door.closes().wait(10_000).says(["1.1 door_closed", "1.1 alarm Silent"]);
    // The same again while the fault stands, and once it is over.
    door.exit().event(Event::Fault(Fault::Strike)).says(["10.1 release", "10.1 exit"]);
    assert_eq!(door.gate.status().state, "faulted");
    door.event(Event::Cleared(Fault::Strike)).exit().wait(10_000);
    door.says(["10.1 fault_cleared [fault strike]", "10.1 release", "10.1 exit", "15.1 secure"]);
}

#[test]
fn a_release_that_the_strike_fails_to_go_on_with_has_been_one_until_then() {
    let mut door = Script::new();
    door.closes().exit().wait(3000).exit().event(Event::Fault(Fault::Strike));
    door.says(["0 release", "0 exit", "3 release", "3 fault [fault strike]"]);
    door.wait(1999).opens().says([]);
    door.wait(1000).says([]);
}

#[test]
fn a_grant_that_the_strike_refuses_is_not_tried_again_at_once() {
    let mut door = Script::new();
    door.show(face(ANA), 600).event(Event::Fault(Fault::Strike)).event(Event::Cleared(Fault::Strike)).skip();
    door.show(face(ANA), 1900).says([]);
    assert_eq!(door.gate.status().state, "idle");
    door.show(face(ANA), 200);
    assert_eq!(door.gate.status().state, "observing");
}

#[test]
fn an_exit_button_held_by_a_stone_releases_once() {
    let mut door = Script::new();
    door.event(Event::ExitButton { pressed: true }).wait(3_600_000).says(["0 release", "0 exit", "5 secure"]);
}

#[test]
fn unlocked_renewed_releases_end_at_the_hard_maximum() {
    let mut door = Script::new();
    for _ in 0..30 {
        door.exit().wait(1000);
    }
    let releases = door.lines.iter().filter(|line| line.ends_with("release")).count();
    assert_eq!(releases, 30);
    door.lines.retain(|line| !line.ends_with("release"));
    door.says(["0 exit", "30 secure"]);
}

#[test]
fn closed_a_door_that_opens_without_release_is_forced_and_stays_so_until_it_closes() {
    let mut door = Script::new();
    door.closes().wait(1000).opens().wait(60_000).closes().wait(60_000);
    door.says(["1 door_forced", "1 alarm Forced", "62 door_closed", "62 alarm Silent"]);
}

#[test]
fn closed_a_handle_already_turned_when_the_door_locks_is_no_break_in() {
    let mut door = Script::new();
    door.closes().exit().wait(6999).opens().says(["0 release", "0 exit", "5 secure"]);
    let mut door = Script::new();
    door.closes().exit().wait(7000).opens().skip().closes().wait(1000);
    door.says(["8 door_closed", "8 alarm Silent"]);
}

#[test]
fn open_for_long_warns_then_alarms_and_closing_ends_it() {
    let mut door = Script::new();
    door.closes().exit().wait(1000).opens().wait(60_000).closes().wait(1000);
    door.says([
        "0 release",
        "0 exit",
        "1 secure",
        "21 door_held_open_soon",
        "21 alarm HeldOpenSoon",
        "31 door_held_open",
        "31 alarm HeldOpen",
        "62 door_closed",
        "62 alarm Silent",
    ]);
}

#[test]
fn open_that_closes_after_the_warning_raises_no_alarm() {
    let mut door = Script::new();
    door.closes().exit().opens().skip().wait(25_000).closes().wait(60_000).says([
        "20 door_held_open_soon",
        "20 alarm HeldOpenSoon",
        "26 door_closed",
        "26 alarm Silent",
    ]);
}

#[test]
fn open_without_a_warning_of_its_own_or_with_one_from_the_start() {
    let mut door = Script::with(Policy { held_open_prealert: Duration::ZERO, ..Policy::default() });
    door.exit().opens().skip().wait(60_000).says(["30 door_held_open", "30 alarm HeldOpen"]);
    let mut door = Script::with(Policy { held_open_prealert: Duration::from_secs(30), ..Policy::default() });
    door.exit().opens().skip().wait(60_000).says([
        "0 door_held_open_soon",
        "0 alarm HeldOpenSoon",
        "30 door_held_open",
        "30 alarm HeldOpen",
    ]);
}

#[test]
fn open_at_the_start_is_no_break_in() {
    let mut door = Script::new();
    door.opens().wait(40_000).says([
        "20 door_held_open_soon",
        "20 alarm HeldOpenSoon",
        "30 door_held_open",
        "30 alarm HeldOpen",
    ]);
}

#[test]
fn a_bouncing_contact_on_a_released_door_is_no_break_in() {
    let mut door = Script::new();
    door.closes().exit().skip();
    for _ in 0..5 {
        door.wait(5).opens().wait(5).closes();
    }
    door.opens().says(["0.005 secure"]);
}

#[test]
fn open_a_leaf_that_falls_back_from_the_frame_was_never_closed() {
    let mut door = Script::new();
    door.closes().exit().wait(1000).opens().skip().wait(28_000);
    door.closes().wait(500).opens().wait(10_000).says([
        "21 door_held_open_soon",
        "21 alarm HeldOpenSoon",
        "31 door_held_open",
        "31 alarm HeldOpen",
    ]);
}

#[test]
fn open_an_alarm_outlasts_a_contact_that_flaps_and_ends_once_with_the_closing() {
    let mut door = Script::new();
    door.closes().wait(1000).opens().says(["1 door_forced", "1 alarm Forced"]);
    for _ in 0..50 {
        door.closes().wait(10).opens().wait(10);
    }
    assert_eq!(door.gate.status().alarm, Alarm::Forced);
    door.closes().wait(60_000).says(["3 door_closed", "3 alarm Silent"]);
}

#[test]
fn open_a_contact_that_flaps_cuts_nobodys_release_short() {
    let mut door = Script::new();
    door.closes().exit().opens().skip().wait(10_000);
    door.closes().wait(100).exit().opens().says(["10.1 release", "10.1 exit"]);
    for _ in 0..50 {
        door.closes().wait(10).opens().wait(10);
    }
    door.wait(5000).says(["15.1 secure"]);
}

#[test]
fn open_that_is_told_again_is_no_further_opening() {
    let mut door = Script::new();
    door.closes().exit().opens().skip();
    door.exit().wait(1000).opens().wait(5000).says(["0 release", "0 exit", "5 secure"]);
}

#[test]
fn closed_for_long_enough_the_next_opening_locks_again() {
    let mut door = Script::new();
    door.closes().exit().opens().wait(1000).closes().wait(1000).skip();
    door.exit().wait(100).opens().says(["2 release", "2 exit", "2.1 secure"]);
}

#[test]
fn open_the_exit_button_releases_again_for_whoever_follows() {
    let mut door = Script::new();
    door.closes().exit().wait(1000).opens().skip();
    door.exit().wait(6000).says(["1 release", "1 exit", "6 secure"]);
}

#[test]
fn every_deadline_at_once_and_an_event_on_top_fit_into_the_actions() {
    let mut door = Script::with(Policy { lockout_after: 1, ..Policy::default() });
    door.ledger = Ledger::Silent;
    door.closes().exit().event(Event::ManualRelease { uid: 1 }).event(Event::Claim(ANA));
    door.show(scored(ANA, 0.1), 500).opens().exit().skip();
    // The daemon was stopped for an hour in between.
    door.now = 3_600_000;
    door.closes();
    door.says([
        "3600 secure",
        "3600 door_held_open",
        "3600 alarm HeldOpen",
        "3600 fault [ledger_late]",
        "3600 not_recognised #1 0.100 [frames_agreed 0, needed 3, similarity 0.100 below 0.400, claim_not_confirmed]",
        "3600 expect nobody",
        "3600 locked_out [denials 1]",
    ]);
    door.wait(1000).says(["3601 door_closed", "3601 alarm Silent"]);
}
