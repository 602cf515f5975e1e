//! The whole daemon without hardware or networks: real threads, real queues, a real store and socket.
//!
//! Times are waited for with limits far beyond what is needed, so that a loaded machine passes as well; none is
//! measured.

mod reload;
mod senses;
mod socket;
mod trouble;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use facelatch::control::server::{ControlConfig, Server};
use facelatch::control::{Request, Response, client};
use facelatch::daemon::{Daemon, Keeper, MatchThresholds, OpenCamera, OpenInputs, Parts, StoreState};
use facelatch::digest::Digest;
use facelatch::face::encoding::Encoding;
use facelatch::gallery::{Changes, Comparisons, Decider, MasterKey, NewPerson, NewTemplate, PairHead};
use facelatch::gate::{LivenessPolicy, MAX_PULSE, Outcome, Policy};
use facelatch::hw::clock::BootClock;
use facelatch::hw::store::{Act, EventQuery, Store, StoreError, Trouble};
use facelatch::liveness::watch::TrackQueue;
use facelatch::person::{Name, PersonId};
use facelatch::ports::{Camera, CameraError, Clock, Input, Inputs, Liveness, Strike};
use facelatch::sim::fault::{Episode, FaultInjector, Schedule, StrikeFault};
use facelatch::sim::inputs::{Hand, ScriptedInputs};
use facelatch::sim::perception::{Doorstep, DoorstepHandle, ScriptedPerception};
use facelatch::sim::strike::{RecordingStrike, StrikeLog};
use facelatch::sim::synthetic::SyntheticCamera;
use facelatch::time::Wall;
use facelatch::units::Similarity;
use trouble::{Mortal, Ordered};

const MODEL: Digest = Digest([7; 32]);
const DIMS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(20);
const ACT: Act = Act { at: Wall::from_unix_millis(1_790_000_000_000), by_uid: None };

/// A face that is like no other of these.
fn face(axis: usize) -> Encoding {
    let mut raw = [0.0; DIMS];
    raw[axis] = 1.0;
    Encoding::from_raw(&raw).unwrap()
}

fn enrol(store: &mut Store, name: &str, axis: usize) -> PersonId {
    let template = NewTemplate { encoding: face(axis), model_sha256: MODEL, created: ACT.at, quality: 1.0 };
    store.enrol(&NewPerson::new(Name::new(name).unwrap()), &[template], 8, ACT).unwrap().0
}

/// Liveness, and where it hears what frames show.
type Senses = (TrackQueue, Box<dyn Liveness>);

/// A running door, and everything that a test needs to push it about.
struct House {
    daemon: Option<Daemon>,
    store: Store,
    doorstep: DoorstepHandle,
    strike: StrikeLog,
    /// Whether the strike's last order was to lock: it locks by itself when it is dropped, too.
    told_to_lock: Arc<AtomicBool>,
    hand: Hand,
    /// Set, it makes vision panic.
    vision_dies: Arc<AtomicBool>,
    dir: tempfile::TempDir,
}

fn policy() -> Policy {
    Policy {
        liveness: LivenessPolicy::NotRequired,
        pulse: Duration::from_millis(400),
        retry_after: Duration::from_millis(200),
        attempt_timeout: Duration::from_millis(700),
        ..Policy::default()
    }
}

fn camera(clock: &Arc<dyn Clock>) -> SyntheticCamera {
    SyntheticCamera::new(64, 48, 30, Arc::clone(clock)).unwrap()
}

/// A camera that goes on and on, opened as often as anybody likes.
fn steady(clock: &Arc<dyn Clock>) -> OpenCamera {
    let clock = Arc::clone(clock);
    Box::new(move || Ok(Box::new(camera(&clock)) as Box<dyn Camera>))
}

impl House {
    fn new() -> Self {
        Self::with(steady)
    }

    fn with(open_camera: impl FnOnce(&Arc<dyn Clock>) -> OpenCamera) -> Self {
        Self::whose(open_camera, StoreState::Open)
    }

    /// With a store_state for the store, which has Ana in it.
    fn whose(
        open_camera: impl FnOnce(&Arc<dyn Clock>) -> OpenCamera,
        store_state: impl FnOnce(Store) -> StoreState,
    ) -> Self {
        Self::wired(open_camera, store_state, None, |strike, _| Box::new(strike))
    }

    /// With one more wire, and a strike that does what it likes.
    fn wired(
        open_camera: impl FnOnce(&Arc<dyn Clock>) -> OpenCamera,
        store_state: impl FnOnce(Store) -> StoreState,
        wire: Option<OpenInputs>,
        strike_of: impl FnOnce(RecordingStrike, Arc<dyn Clock>) -> Box<dyn Strike>,
    ) -> Self {
        Self::judging(open_camera, store_state, wire, strike_of, (policy(), None))
    }

    /// With a gate of this policy, and liveness that is told of every face.
    fn judging(
        open_camera: impl FnOnce(&Arc<dyn Clock>) -> OpenCamera,
        store_state: impl FnOnce(Store) -> StoreState,
        wire: Option<OpenInputs>,
        strike_of: impl FnOnce(RecordingStrike, Arc<dyn Clock>) -> Box<dyn Strike>,
        (policy, liveness): (Policy, Option<Senses>),
    ) -> Self {
        let (updates, liveness) = liveness.unzip();
        let dir = tempfile::tempdir().unwrap();
        let key = MasterKey::generate().unwrap();
        let mut store = Store::open(&dir.path().join("test.db"), &key).unwrap();
        enrol(&mut store, "Ana Ruiz", 0);
        let clock: Arc<dyn Clock> = Arc::new(BootClock);
        let strike = RecordingStrike::new(Arc::clone(&clock));
        let inputs = ScriptedInputs::at_rest(Arc::clone(&clock));
        let perception = ScriptedPerception::default();
        let (log, hand, doorstep) = (strike.log(), inputs.hand(), perception.handle());
        let told_to_lock = Arc::new(AtomicBool::new(false));
        let vision_dies = Arc::new(AtomicBool::new(false));
        let half = Similarity::new(0.5);
        let keeper_store = Store::open(store.path(), &key).unwrap();
        let control = ControlConfig { socket: dir.path().join("control"), allowed_uids: vec![], gid: None };
        let mut inputs = Some(inputs);
        let scripted: OpenInputs = Box::new(move || {
            inputs.take().map(|inputs| Box::new(inputs) as Box<dyn Inputs>).ok_or("opened twice".into())
        });
        let wires = wire.map(|wire| ("another", wire)).into_iter().chain([("scripted", scripted)]);
        let parts = Parts {
            policy,
            camera: open_camera(&clock),
            perception: Box::new(Mortal { inner: perception, updates, dies: Arc::clone(&vision_dies) }),
            liveness,
            inputs: wires.collect(),
            strike: Box::new(Ordered {
                strike: strike_of(strike, Arc::clone(&clock)),
                to_lock: Arc::clone(&told_to_lock),
            }),
            keeper: Keeper::new(
                store_state(keeper_store),
                MODEL,
                DIMS,
                Box::new(move |_| MatchThresholds { identify: half, verify: half, searches: true }),
                None,
            ),
            control: Server::bind(control).ok(),
        };
        let daemon = Some(Daemon::start(clock, parts).unwrap());
        Self { daemon, store, doorstep, strike: log, told_to_lock, hand, vision_dies, dir }
    }

    fn ask(&self, request: &Request) -> Response {
        client::request(&self.dir.path().join("control"), request).unwrap()
    }

    /// Somebody claims a name, and steps up once that was heard: a face that is seen before may be recognised without
    /// it.
    fn claims(&self, name: &str, axis: usize) -> Response {
        let (socket, claim) = (self.dir.path().join("control"), Request::Claim { name: name.into() });
        let answer = std::thread::spawn(move || client::request(&socket, &claim).unwrap());
        wait_for("heard", || matches!(self.ask(&Request::Status {}), Response::Status(s) if s.state == "observing"));
        self.doorstep.put(Doorstep::Somebody(Box::new(face(axis))));
        answer.join().unwrap()
    }

    /// Another process' transaction, which nothing can be written during: until `ROLLBACK`.
    fn keeps_the_ledger_waiting(&self) -> rusqlite::Connection {
        let blocker = rusqlite::Connection::open(self.dir.path().join("test.db")).unwrap();
        blocker.execute_batch("BEGIN EXCLUSIVE").unwrap();
        blocker
    }

    fn is_told_to_lock(&self) -> bool {
        self.told_to_lock.load(Ordering::Relaxed)
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let rows = self.store.events(&EventQuery::default()).unwrap();
        rows.iter().filter_map(|row| Outcome::parse(&row.outcome)).collect()
    }

    fn await_outcome(&self, outcome: Outcome) {
        wait_for(&format!("{outcome} in {:?}", self.outcomes()), || self.outcomes().contains(&outcome));
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            assert_eq!(daemon.dead(), None);
            daemon.stop().unwrap();
            assert!(self.is_told_to_lock(), "a stopped door is locked");
            assert_eq!(self.store.verify_chain().unwrap().broken, None);
        }
    }
}

fn wait_for(what: &str, mut is_true: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !is_true() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_known_face_opens_and_the_door_locks_again_by_itself() {
    let house = House::new();
    house.doorstep.put(Doorstep::Somebody(Box::new(face(0))));
    wait_for("released", || house.strike.releases() == 1);
    assert!(house.outcomes().contains(&Outcome::Granted), "written before the strike moved");
    house.doorstep.put(Doorstep::Nobody);
    wait_for("locked", || !house.strike.is_released());
    let released_for = house.strike.longest_release(BootClock.now().mono);
    assert!((policy().pulse / 2..=MAX_PULSE).contains(&released_for), "{released_for:?}");
}

#[test]
fn a_door_whose_disk_is_full_from_the_start_lets_people_out_and_knows_everybody_once_there_is_room() {
    let room = Arc::new(AtomicBool::new(false));
    let has_room = Arc::clone(&room);
    let house = House::whose(steady, |store| {
        let mut store = Some(store);
        StoreState::Awaited(Box::new(move || match has_room.load(Ordering::Relaxed) {
            true => Ok(store.take().unwrap()),
            false => Err(StoreError { path: "full.db".into(), what: Trouble::Full }.to_string()),
        }))
    });
    house.doorstep.put(Doorstep::Somebody(Box::new(face(0))));
    house.hand.set(Input::ExitButton(true));
    wait_for("released", || house.strike.releases() == 1);
    house.hand.set(Input::ExitButton(false));
    assert_eq!(house.outcomes(), [Outcome::Enrolled], "nothing can be written");
    room.store(true, Ordering::Relaxed);
    house.await_outcome(Outcome::Granted);
    let outcomes = house.outcomes();
    assert_eq!(outcomes.get(1), Some(&Outcome::Started), "what waited is written first: {outcomes:?}");
    assert!(outcomes.contains(&Outcome::Exit), "{outcomes:?}");
}

#[test]
fn a_door_with_a_damaged_template_lets_people_out_and_knows_everybody_once_it_is_gone() {
    let mut house = House::whose(steady, |mut store| {
        enrol(&mut store, "Bea Kurz", 3);
        let database = rusqlite::Connection::open(store.path()).unwrap();
        let damaged = "UPDATE templates SET sealed = zeroblob(length(sealed)) WHERE person = 2";
        assert_eq!(database.execute(damaged, []).unwrap(), 1);
        StoreState::Open(store)
    });
    house.doorstep.put(Doorstep::Somebody(Box::new(face(0))));
    house.hand.set(Input::ExitButton(true));
    wait_for("released", || house.strike.releases() == 1);
    house.hand.set(Input::ExitButton(false));
    house.await_outcome(Outcome::Fault);
    assert!(!house.outcomes().contains(&Outcome::Granted), "{:?}", house.outcomes());
    house.store.erase(PersonId::new(2), ACT).unwrap();
    house.await_outcome(Outcome::Granted);
}

#[test]
fn a_stranger_is_not_recognised_and_nothing_moves() {
    let house = House::new();
    house.doorstep.put(Doorstep::Somebody(Box::new(face(5))));
    house.await_outcome(Outcome::NotRecognised);
    assert_eq!(house.strike.releases(), 0);
}

#[test]
fn the_exit_button_works_with_camera_network_and_ledger_all_hanging() {
    let house = House::with(|_| {
        Box::new(|| {
            std::thread::sleep(Duration::from_secs(3));
            Err(CameraError::Lost { device: "a camera".into(), reason: "hangs".into() })
        })
    });
    house.await_outcome(Outcome::Started);
    let blocker = house.keeps_the_ledger_waiting();
    house.hand.set(Input::ExitButton(true));
    wait_for("released without the ledger", || house.strike.releases() == 1);
    wait_for("locked without the ledger", || !house.strike.is_released());
    blocker.execute_batch("ROLLBACK").unwrap();
    house.await_outcome(Outcome::Exit);
}

#[test]
fn the_exit_button_works_while_the_door_contact_cannot_be_read_and_a_face_opens_once_it_can() {
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = Arc::clone(&is_mended);
    let contact: OpenInputs = Box::new(move || match mended.load(Ordering::Relaxed) {
        true => Ok(Box::new(ScriptedInputs::new(Arc::new(BootClock), [])) as Box<dyn Inputs>),
        false => Err("a cut wire".into()),
    });
    let house = House::wired(steady, StoreState::Open, Some(contact), |strike, _| Box::new(strike));
    house.await_outcome(Outcome::Fault);
    house.hand.set(Input::ExitButton(true));
    wait_for("released", || house.strike.releases() == 1);
    house.hand.set(Input::ExitButton(false));
    house.await_outcome(Outcome::Exit);
    assert!(matches!(house.ask(&Request::Status {}), Response::Status(s) if s.faults == ["inputs"]));
    is_mended.store(true, Ordering::Relaxed);
    house.await_outcome(Outcome::FaultCleared);
    house.doorstep.put(Doorstep::Somebody(Box::new(face(0))));
    house.await_outcome(Outcome::Granted);
}

#[test]
fn a_face_is_not_admitted_while_the_ledger_hangs_and_is_afterwards() {
    let house = House::new();
    house.await_outcome(Outcome::Started);
    let blocker = house.keeps_the_ledger_waiting();
    house.doorstep.put(Doorstep::Somebody(Box::new(face(0))));
    // Longer than policy.ledger_timeout, shorter than the store's own patience with another process.
    std::thread::sleep(Duration::from_millis(3000));
    assert_eq!(house.strike.releases(), 0);
    blocker.execute_batch("ROLLBACK").unwrap();
    wait_for("released", || house.strike.releases() >= 1);
}

#[test]
fn a_camera_whose_frames_cannot_be_decoded_is_opened_again_and_a_face_opens_once_they_can() {
    let opened = Arc::new(AtomicU32::new(0));
    let openings = Arc::clone(&opened);
    let house = House::with(|clock| {
        let clock = Arc::clone(clock);
        Box::new(move || {
            openings.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(camera(&clock)) as Box<dyn Camera>)
        })
    });
    house.doorstep.put(Doorstep::Torn);
    house.await_outcome(Outcome::Fault);
    wait_for("opened again", || opened.load(Ordering::Relaxed) >= 3);
    assert!(
        matches!(house.ask(&Request::Status {}), Response::Status(s) if s.camera == "lost"),
        "frames alone are no camera"
    );
    assert!(!house.outcomes().contains(&Outcome::FaultCleared), "{:?}", house.outcomes());
    house.doorstep.put(Doorstep::Somebody(Box::new(face(0))));
    wait_for("released", || house.strike.releases() == 1);
    assert!(house.outcomes().contains(&Outcome::FaultCleared));
}

#[test]
fn a_network_that_fails_admits_nobody_until_it_works() {
    let house = House::new();
    house.doorstep.put(Doorstep::Broken);
    house.await_outcome(Outcome::Fault);
    assert_eq!(house.strike.releases(), 0);
    house.doorstep.put(Doorstep::Somebody(Box::new(face(0))));
    wait_for("released", || house.strike.releases() == 1);
    assert!(house.outcomes().contains(&Outcome::FaultCleared));
}

#[test]
fn whoever_is_enrolled_or_erased_meanwhile_is_known_or_unknown_at_once() {
    let mut house = House::new();
    house.await_outcome(Outcome::Started);
    let bea = enrol(&mut house.store, "Bea Kurz", 3);
    wait_for("two people", || matches!(house.ask(&Request::Status {}), Response::Status(s) if s.people == 2));
    house.doorstep.put(Doorstep::Somebody(Box::new(face(3))));
    wait_for("Bea opens", || house.strike.releases() == 1);
    house.doorstep.put(Doorstep::Nobody);
    house.store.erase(bea, ACT).unwrap();
    wait_for("one person", || matches!(house.ask(&Request::Status {}), Response::Status(s) if s.people == 1));
    house.doorstep.put(Doorstep::Somebody(Box::new(face(3))));
    house.await_outcome(Outcome::NotRecognised);
    assert_eq!(house.strike.releases(), 1);
}

#[test]
fn whoever_is_erased_is_unknown_soon_though_records_keep_coming() {
    let mut house = House::new();
    house.await_outcome(Outcome::Started);
    let (socket, is_over) = (house.dir.path().join("control"), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                client::request(&socket, &Request::Unlock {}).unwrap();
            }
        });
        house.store.erase(PersonId::new(1), ACT).unwrap();
        let is_known = || matches!(house.ask(&Request::Status {}), Response::Status(s) if s.people == 1);
        let begun = std::time::Instant::now();
        while is_known() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        // Before anything fails: the scope waits for whoever asks.
        is_over.store(true, Ordering::Relaxed);
        assert!(!is_known(), "never: nobody is known");
    });
}

#[test]
fn a_person_of_several_photographs_is_searched_once_and_demands_what_two_comparisons_do() {
    let dir = tempfile::tempdir().unwrap();
    let key = MasterKey::generate().unwrap();
    let mut store = Store::open(&dir.path().join("test.db"), &key).unwrap();
    let ana = enrol(&mut store, "Ana Ruiz", 0);
    enrol(&mut store, "Ben Okafor", 1);
    let asked: Arc<Mutex<Vec<usize>>> = Arc::default();
    let load = |store: &Store| {
        let noted = Arc::clone(&asked);
        let demand = Box::new(move |Comparisons { search, claim }| {
            noted.lock().unwrap().extend([search, claim]);
            MatchThresholds { identify: None, verify: None, searches: true }
        });
        let (gallery, _) =
            Keeper::new(Store::open(store.path(), &key).unwrap(), MODEL, DIMS, demand, None).load().unwrap();
        (gallery.index.len(), gallery.index.templates(), std::mem::take(&mut *asked.lock().unwrap()))
    };
    assert_eq!(load(&store), (2, 2, vec![2, 1]));
    for at in [2, 3] {
        let template = NewTemplate { encoding: face(at), model_sha256: MODEL, created: ACT.at, quality: 0.5 };
        store.enrol_again(ana, &Changes::default(), &[template], 8, ACT).unwrap();
    }
    assert_eq!(load(&store), (2, 4, vec![3, 2]));
}

#[test]
fn the_gallery_is_searched_by_the_configured_decider_and_a_pair_head_of_another_encoder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let key = MasterKey::generate().unwrap();
    let mut store = Store::open(&dir.path().join("test.db"), &key).unwrap();
    let ana = enrol(&mut store, "Ana Ruiz", 0);
    let keeper = |encoder| {
        let head = PairHead::new(encoder, 5.0, vec![-1.0; DIMS], None).unwrap();
        let demand = Box::new(|_| MatchThresholds { identify: None, verify: None, searches: true });
        let store = Store::open(store.path(), &key).unwrap();
        Keeper::new(store, MODEL, DIMS, demand, None).decided_by(Decider::PairHead(Arc::new(head)))
    };
    let (gallery, _) = keeper(MODEL).load().unwrap();
    let similarity = gallery.index.verify(ana, &face(1)).unwrap();
    assert_eq!(Some(similarity), gallery.index.decider().similarity(&face(0), &face(1)));
    assert_ne!(Some(similarity), face(0).similarity(&face(1)), "the cosine of the two");
    let refused = keeper(Digest([8; 32])).load().err().unwrap().to_string();
    assert!(refused.contains("set faces.model"), "{refused}");
}
