//! What the control socket answers, and to whom.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;

use super::*;

/// The outcomes that the same request, made twice at once, is answered with; `then` happens once both have been heard.
fn twice(house: &House, request: &Request, then: impl FnOnce()) -> [String; 2] {
    let socket = house.dir.path().join("control");
    let outcome = || match client::request(&socket, request).unwrap() {
        Response::Event(event) => event.outcome,
        other => panic!("{other:?}"),
    };
    std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(outcome));
        // Nothing shows that the second was heard, which takes milliseconds.
        std::thread::sleep(Duration::from_millis(300));
        then();
        both.map(|asked| asked.join().unwrap())
    })
}

const CLAIM: &[u8] = b"{\"op\":\"claim\",\"name\":\"Ana Ruiz\"}\n";

/// A client that has asked for something, and goes no further.
fn asks(house: &House, request: &[u8]) -> UnixStream {
    let mut stream = UnixStream::connect(house.dir.path().join("control")).unwrap();
    stream.write_all(request).unwrap();
    stream
}

#[test]
fn the_socket_releases_for_its_owner_and_confirms_only_the_claimed_person() {
    let house = House::new();
    house.await_outcome(Outcome::Started);
    assert!(matches!(house.ask(&Request::Unlock {}), Response::Event(e) if e.outcome == "manual_release"));
    wait_for("released by hand", || house.strike.releases() == 1);
    assert!(matches!(house.ask(&Request::Claim { name: "Nobody".into() }), Response::Refused { .. }));
    wait_for("locked", || !house.strike.is_released());
    assert!(matches!(house.claims("Ana Ruiz", 0), Response::Event(e) if e.outcome == "granted"));
}

#[test]
fn two_claims_of_the_same_person_at_once_are_both_answered_by_what_came_of_the_attempt() {
    let house = House::new();
    house.await_outcome(Outcome::Started);
    let claim = Request::Claim { name: "Ana Ruiz".into() };
    let steps_up = || house.doorstep.put(Doorstep::Somebody(Box::new(face(0))));
    assert_eq!(twice(&house, &claim, steps_up), ["granted", "granted"]);
    assert!(!house.outcomes().contains(&Outcome::NotRecognised), "{:?}", house.outcomes());
}

#[test]
fn a_claim_and_a_release_that_the_ledger_cannot_take_are_answered_by_the_fault() {
    let house = House::whose(steady, |store| {
        // A disk that has room for all but what a decision hangs on.
        let database = rusqlite::Connection::open(store.path()).unwrap();
        let of_others = "CHECK (outcome NOT IN ('granted', 'manual_release'))";
        database.execute_batch(&format!("ALTER TABLE events ADD COLUMN room INTEGER {of_others}")).unwrap();
        StoreState::Open(store)
    });
    let outcome = |answer| match answer {
        Response::Event(event) => event.outcome,
        other => panic!("{other:?}"),
    };
    assert_eq!(outcome(house.ask(&Request::Unlock {})), "fault");
    wait_for("idle", || matches!(house.ask(&Request::Status {}), Response::Status(s) if s.state == "idle"));
    assert_eq!(outcome(house.claims("Ana Ruiz", 0)), "fault");
    assert_eq!(house.strike.releases(), 0);
}

#[test]
fn two_releases_that_the_ledger_cannot_take_are_both_answered_by_the_fault_and_neither_is_written_later() {
    let house = House::new();
    house.await_outcome(Outcome::Started);
    let blocker = house.keeps_the_ledger_waiting();
    assert_eq!(twice(&house, &Request::Unlock {}, || ()), ["fault", "fault"]);
    assert_eq!(house.strike.releases(), 0);
    // An answer doesn't wait for SQLite, which gives up later: until then it could still write.
    let is_given_up = |faults: &[String]| faults.iter().any(|fault| fault == "store");
    wait_for("given up", || matches!(house.ask(&Request::Status {}), Response::Status(s) if is_given_up(&s.faults)));
    blocker.execute_batch("ROLLBACK").unwrap();
    house.await_outcome(Outcome::FaultCleared);
    assert!(!house.outcomes().contains(&Outcome::ManualRelease), "{:?}", house.outcomes());
}

#[test]
fn while_the_disk_hangs_a_release_is_answered_and_whoever_watches_sees_who_leaves() {
    let (goes_on, hangs) = mpsc::channel::<()>();
    let is_open = Arc::new(AtomicBool::new(false));
    let opened = Arc::clone(&is_open);
    let house = House::whose(steady, |store| {
        let mut store = Some(store);
        StoreState::Awaited(Box::new(move || {
            // Not for ever, so that a test that fails comes to its end.
            let _goes_on = hangs.recv_timeout(2 * PATIENCE);
            opened.store(true, Ordering::Relaxed);
            store.take().ok_or_else(|| "opened twice".to_owned())
        }))
    });
    let watching = asks(&house, b"{\"op\":\"watch\"}\n");
    watching.set_read_timeout(Some(PATIENCE)).unwrap();
    let Response::Event(answer) = house.ask(&Request::Unlock {}) else { panic!("no event") };
    assert_eq!((answer.outcome.as_str(), answer.reasons), ("fault", vec!["ledger_late".to_owned()]));
    house.hand.set(Input::ExitButton(true));
    let mut lines = BufReader::new(watching).lines().map(Result::unwrap);
    let exit = lines.find(|line| line.contains("\"outcome\":\"exit\"")).unwrap();
    assert!(exit.contains("\"seq\":null"), "{exit}");
    wait_for("the fault", || matches!(house.ask(&Request::Status {}), Response::Status(s) if s.faults == ["store"]));
    assert!(!is_open.load(Ordering::Relaxed), "it still hangs");
    goes_on.send(()).unwrap();
    house.await_outcome(Outcome::Exit);
    assert!(!house.outcomes().contains(&Outcome::ManualRelease), "{:?}", house.outcomes());
}

#[test]
fn while_the_disk_is_slow_whoever_watches_sees_who_leaves_before_it_is_back() {
    let house = House::new();
    house.await_outcome(Outcome::Started);
    let watching = asks(&house, b"{\"op\":\"watch\"}\n");
    watching.set_read_timeout(Some(PATIENCE)).unwrap();
    // Nothing shows that it was heard, which takes milliseconds.
    std::thread::sleep(Duration::from_millis(300));
    let blocker = house.keeps_the_ledger_waiting();
    house.hand.set(Input::ExitButton(true));
    let mut lines = BufReader::new(watching).lines().map(Result::unwrap);
    let exit = lines.find(|line| line.contains("\"outcome\":\"exit\"")).unwrap();
    assert!(exit.contains("\"seq\":null"), "{exit}");
    // Else it would be the keeper who tells, once it has given up.
    assert!(!house.daemon.as_ref().unwrap().shared().is_store_failing());
    blocker.execute_batch("ROLLBACK").unwrap();
    house.await_outcome(Outcome::Exit);
}

#[test]
fn a_release_that_waits_behind_a_slow_disk_when_the_daemon_stops_is_never_written() {
    let mut house = House::new();
    house.await_outcome(Outcome::Started);
    let blocker = house.keeps_the_ledger_waiting();
    // What the keeper is busy with when the release comes.
    house.hand.set(Input::ExitButton(true));
    wait_for("released", || house.strike.releases() == 1);
    drop(asks(&house, b"{\"op\":\"unlock\"}\n"));
    // Nothing shows that it was heard, which takes milliseconds.
    std::thread::sleep(Duration::from_millis(300));
    let daemon = house.daemon.take().unwrap();
    let shared = Arc::clone(daemon.shared());
    let stopping = std::thread::spawn(move || daemon.stop());
    wait_for("the gate has ended", || shared.is_stopping());
    blocker.execute_batch("ROLLBACK").unwrap();
    stopping.join().unwrap().unwrap();
    let outcomes = house.outcomes();
    assert!(outcomes.contains(&Outcome::Exit) && outcomes.contains(&Outcome::Stopped), "{outcomes:?}");
    assert!(!outcomes.contains(&Outcome::ManualRelease), "{outcomes:?}");
}

#[test]
fn whoever_shares_a_release_that_the_strike_does_not_obey_is_not_written_down_as_having_released() {
    let house = jammed();
    house.await_outcome(Outcome::Started);
    let blocker = house.keeps_the_ledger_waiting();
    let shared = twice(&house, &Request::Unlock {}, || blocker.execute_batch("ROLLBACK").unwrap());
    assert_eq!(shared, ["fault", "fault"]);
    // Whatever else follows from it has been written by then.
    house.await_outcome(Outcome::FaultCleared);
    let released = house.outcomes().iter().filter(|outcome| **outcome == Outcome::ManualRelease).count();
    assert_eq!(released, 1, "{:?}", house.outcomes());
}

/// A house whose strike locks and doesn't release.
fn jammed() -> House {
    House::wired(steady, StoreState::Open, None, |strike, clock| {
        let now = clock.now().mono;
        let jammed = Episode { from: now, until: now + Duration::from_secs(3600), fault: StrikeFault::Locked };
        Box::new(FaultInjector::new(strike, clock, Schedule::listed([jammed]), 1))
    })
}

#[test]
fn a_release_and_a_claim_that_the_strike_does_not_obey_are_answered_by_its_fault_however_long_it_stands() {
    let house = jammed();
    house.await_outcome(Outcome::Started);
    let reasons = |answer| match answer {
        Response::Event(event) if event.outcome == "fault" => event.reasons,
        other => panic!("{other:?}"),
    };
    // Until the line is driven to its locked level, which it obeys, the fault stands.
    for _ in 0..3 {
        assert_eq!(reasons(house.ask(&Request::Unlock {})), ["fault strike"]);
    }
    house.await_outcome(Outcome::FaultCleared);
    assert_eq!(twice(&house, &Request::Unlock {}, || ()), ["fault", "fault"]);
    wait_for("idle", || matches!(house.ask(&Request::Status {}), Response::Status(s) if s.state == "idle"));
    assert_eq!(reasons(house.claims("Ana Ruiz", 0)), ["fault strike"]);
    assert_eq!(house.strike.releases(), 0);
}

#[test]
fn a_release_is_not_answered_by_the_end_of_an_earlier_one_that_the_ledger_was_too_slow_for() {
    let house = House::new();
    house.await_outcome(Outcome::Started);
    let blocker = house.keeps_the_ledger_waiting();
    drop(asks(&house, b"{\"op\":\"unlock\"}\n"));
    // Longer than policy.ledger_timeout: the gate gives it up, which nobody can write down yet.
    std::thread::sleep(Duration::from_millis(2500));
    let socket = house.dir.path().join("control");
    let asked = std::thread::spawn(move || client::request(&socket, &Request::Unlock {}).unwrap());
    // Nothing shows that it was heard, which takes milliseconds.
    std::thread::sleep(Duration::from_millis(300));
    blocker.execute_batch("ROLLBACK").unwrap();
    let Response::Event(answer) = asked.join().unwrap() else { panic!("no event") };
    // A door that opens after its operator was told that it wouldn't does so in milliseconds.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(house.strike.releases(), u64::from(answer.outcome == "manual_release"), "{answer:?}");
    let late = house.outcomes().iter().filter(|outcome| **outcome == Outcome::ManualRelease).count();
    assert!(late >= 1, "the first was written, too late, and moved nothing: {:?}", house.outcomes());
}

#[test]
fn a_client_that_closes_its_sending_half_gets_its_answer_all_the_same() {
    let house = House::new();
    house.await_outcome(Outcome::Started);
    let mut stream = asks(&house, CLAIM);
    stream.shutdown(Shutdown::Write).unwrap();
    // Longer than it takes to see that somebody has gone.
    std::thread::sleep(Duration::from_millis(500));
    house.doorstep.put(Doorstep::Somebody(Box::new(face(0))));
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"outcome\":\"granted\""), "{answer:?}");
}

#[test]
fn whoever_waits_for_a_claim_and_hangs_up_leaves_their_place() {
    let house = House::new();
    house.await_outcome(Outcome::Started);
    let state = || match client::request(&house.dir.path().join("control"), &Request::Status {}) {
        Ok(Response::Status(status)) => Some(status.state),
        // Whoever finds no place may see its request refused, or unread.
        _ => None,
    };
    // As many as are served at a time.
    let waiting: Vec<_> = (0..8).map(|_| asks(&house, CLAIM)).collect();
    wait_for("no place", || state().is_none());
    drop(waiting);
    wait_for("a place while the claim still runs", || state().as_deref() == Some("observing"));
}

#[test]
fn whoever_stopped_watching_leaves_their_place_though_nothing_happens() {
    let house = House::new();
    house.await_outcome(Outcome::Started);
    for _ in 0..3 {
        let watching: Vec<_> = (0..6).map(|_| asks(&house, b"{\"op\":\"watch\"}\n")).collect();
        assert!(matches!(house.ask(&Request::Claim { name: "Nobody".into() }), Response::Refused { .. }));
        drop(watching);
    }
    wait_for(
        "a release",
        || matches!(house.ask(&Request::Unlock {}), Response::Event(e) if e.outcome == "manual_release"),
    );
}

#[test]
fn a_door_whose_control_socket_can_not_be_made_lets_people_out() {
    let house = House::whose(steady, |store| {
        std::fs::write(store.path().with_file_name("control"), "somebody else's").unwrap();
        StoreState::Open(store)
    });
    house.hand.set(Input::ExitButton(true));
    wait_for("released", || house.strike.releases() == 1);
    let place = house.dir.path().join("control");
    assert!(client::request(&place, &Request::Status {}).is_err());
    assert_eq!(std::fs::read(place).unwrap(), b"somebody else's");
}

#[test]
fn whoever_watches_sees_that_the_daemon_stops() {
    let mut house = House::new();
    house.await_outcome(Outcome::Started);
    let watching = asks(&house, b"{\"op\":\"watch\"}\n");
    watching.set_read_timeout(Some(PATIENCE)).unwrap();
    // Nothing shows that it was heard, which takes milliseconds.
    std::thread::sleep(Duration::from_millis(300));
    house.daemon.take().unwrap().stop().unwrap();
    let lines: Vec<_> = BufReader::new(watching).lines().map(Result::unwrap).collect();
    assert!(lines.last().is_some_and(|line| line.contains("\"outcome\":\"stopped\"")), "{lines:?}");
}

#[test]
fn whatever_is_no_request_is_refused_in_a_line_that_says_why() {
    let house = House::new();
    let long = [b"{\"op\":\"".as_slice(), &[b'x'; 10_000], b"\"}\n"].concat();
    for (said, why) in [
        (b"\xff\xfe\n".as_slice(), "UTF-8"),
        (&long, "no request"),
        (b"{\"op\":\"unlock\",\"door\":2}\n", "door"),
        (b"{\"op\":\"sta", "no whole line came within 5 s"),
    ] {
        let mut answer = String::new();
        asks(&house, said).read_to_string(&mut answer).unwrap();
        assert!(answer.contains("\"code\":\"no_request\"") && answer.contains(why), "{answer:?}");
        assert!(answer.ends_with('\n') && answer.len() < 1000, "{answer:?}");
    }
    let nobody = format!("{{\"op\":\"claim\",\"name\":\"{}\"}}\n", "\\u0007".repeat(600));
    let mut answer = String::new();
    asks(&house, nobody.as_bytes()).read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"code\":\"nobody\"") && answer.len() < 1000, "{answer:?}");
    assert_eq!(house.strike.releases(), 0);
}

#[test]
fn somebody_can_be_claimed_by_their_number() {
    let house = House::new();
    house.await_outcome(Outcome::Started);
    assert!(matches!(house.claims("#1", 0), Response::Event(e) if e.person.as_deref() == Some("Ana Ruiz")));
    assert!(matches!(house.ask(&Request::Claim { name: "#2".into() }), Response::Refused { .. }));
}
