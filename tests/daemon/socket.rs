//! What the control socket answers, and to whom.

use std::io::Write as _;
use std::os::unix::net::UnixStream;

use super::*;

#[test]
fn the_socket_releases_for_its_owner_and_confirms_only_the_claimed_person() {
    let house = House::new();
    house.await_outcome(Outcome::Started);
    assert!(matches!(house.ask(&Request::Unlock), Response::Event(e) if e.outcome == "manual_release"));
    wait_for("released by hand", || house.strike.releases() == 1);
    assert!(matches!(house.ask(&Request::Claim { name: "Nobody".into() }), Response::Refused { .. }));
    wait_for("locked", || !house.strike.is_released());
    assert!(matches!(house.claims("Ana Ruiz", 0), Response::Event(e) if e.outcome == "granted"));
}

#[test]
fn two_claims_of_the_same_person_at_once_are_both_answered_by_what_came_of_the_attempt() {
    let house = House::new();
    house.await_outcome(Outcome::Started);
    let (socket, claim) = (house.dir.path().join("control"), Request::Claim { name: "Ana Ruiz".into() });
    std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| client::request(&socket, &claim).unwrap()));
        // Nothing shows that the second was heard, which takes milliseconds.
        std::thread::sleep(Duration::from_millis(300));
        house.doorstep.put(Doorstep::Somebody(Box::new(face(0))));
        for answer in both {
            assert!(matches!(answer.join().unwrap(), Response::Event(e) if e.outcome == "granted"));
        }
    });
    assert!(!house.outcomes().contains(&Outcome::NotRecognised), "{:?}", house.outcomes());
}

#[test]
fn a_claim_and_a_release_that_the_ledger_cannot_take_are_answered_by_the_fault() {
    let house = House::whose(steady, |store| {
        // A disk that has room for all but what a decision hangs on.
        let database = rusqlite::Connection::open(store.path()).unwrap();
        let of_decisions = "NEW.outcome IN ('granted', 'manual_release')";
        let full = format!(
            "CREATE TRIGGER full BEFORE INSERT ON events WHEN {of_decisions} BEGIN SELECT RAISE(FAIL, 'full'); END"
        );
        database.execute_batch(&full).unwrap();
        Shelf::Open(store)
    });
    let outcome = |answer| match answer {
        Response::Event(event) => event.outcome,
        other => panic!("{other:?}"),
    };
    assert_eq!(outcome(house.ask(&Request::Unlock)), "fault");
    wait_for("idle", || matches!(house.ask(&Request::Status), Response::Status(s) if s.state == "idle"));
    assert_eq!(outcome(house.claims("Ana Ruiz", 0)), "fault");
    assert_eq!(house.strike.releases(), 0);
}

#[test]
fn two_releases_that_the_ledger_cannot_take_are_both_answered_by_the_fault_and_neither_is_written_later() {
    let house = House::new();
    house.await_outcome(Outcome::Started);
    let blocker = rusqlite::Connection::open(house.dir.path().join("test.db")).unwrap();
    blocker.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let unlock = || match house.ask(&Request::Unlock) {
        Response::Event(event) => event.outcome,
        other => panic!("{other:?}"),
    };
    std::thread::scope(|scope| {
        let both = [scope.spawn(unlock), scope.spawn(unlock)];
        assert_eq!(both.map(|asked| asked.join().unwrap()), ["fault", "fault"]);
    });
    assert_eq!(house.strike.releases(), 0);
    blocker.execute_batch("ROLLBACK").unwrap();
    house.await_outcome(Outcome::FaultCleared);
    assert!(!house.outcomes().contains(&Outcome::ManualRelease), "{:?}", house.outcomes());
}

#[test]
fn whoever_stopped_watching_leaves_their_place_though_nothing_happens() {
    let house = House::new();
    house.await_outcome(Outcome::Started);
    let watch = || {
        let mut stream = UnixStream::connect(house.dir.path().join("control")).unwrap();
        stream.write_all(b"{\"op\":\"watch\"}\n").unwrap();
        stream
    };
    for _ in 0..3 {
        let watching: Vec<_> = (0..6).map(|_| watch()).collect();
        assert!(matches!(house.ask(&Request::Claim { name: "Nobody".into() }), Response::Refused { .. }));
        drop(watching);
    }
    wait_for(
        "a release",
        || matches!(house.ask(&Request::Unlock), Response::Event(e) if e.outcome == "manual_release"),
    );
}
