//! What another configuration changes of a running door.

use facelatch::daemon::{Message, Reloaded};
use facelatch::gate::Mode;

use super::*;

/// The configuration is read again and demands this; it is in force once this returns.
fn reload(house: &House, policy: Policy, threshold: Option<Similarity>) {
    let is_loaded = Arc::new(AtomicBool::new(false));
    let loaded = Arc::clone(&is_loaded);
    let demand = Box::new(move |_| {
        loaded.store(true, Ordering::Relaxed);
        MatchThresholds { identify: threshold, verify: threshold, searches: true }
    });
    let shared = house.daemon.as_ref().unwrap().shared();
    shared.send(Message::Reload(Reloaded { policy, demand }));
    wait_for("loaded", || is_loaded.load(Ordering::Relaxed));
}

#[test]
fn a_reload_that_demands_another_similarity_is_in_force_for_whoever_comes_next() {
    let house = House::new();
    house.await_outcome(Outcome::Started);
    reload(&house, policy(), None);
    house.doorstep.put(Doorstep::Somebody(Box::new(face(0))));
    house.await_outcome(Outcome::NotRecognised);
    assert_eq!(house.strike.releases(), 0);
    reload(&house, policy(), Similarity::new(0.5));
    house.await_outcome(Outcome::Granted);
}

#[test]
fn a_reload_that_demands_a_claim_lets_a_known_face_in_by_one_alone() {
    let house = House::new();
    house.await_outcome(Outcome::Started);
    reload(&house, Policy { mode: Mode::Verification, ..policy() }, Similarity::new(0.5));
    let frames = || match house.ask(&Request::Status {}) {
        Response::Status(status) => status.frames_seen,
        other => panic!("{other:?}"),
    };
    house.doorstep.put(Doorstep::Somebody(Box::new(face(0))));
    // Many times as many as must agree.
    let enough = frames() + 30;
    wait_for("frames", || frames() >= enough);
    assert_eq!(house.strike.releases(), 0, "{:?}", house.outcomes());
    house.doorstep.put(Doorstep::Nobody);
    assert!(matches!(house.claims("Ana Ruiz", 0), Response::Event(e) if e.outcome == "granted"));
}
