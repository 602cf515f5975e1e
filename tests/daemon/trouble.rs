//! Cameras that fail, and threads that die.

use facelatch::daemon::DaemonError;
use facelatch::frame::Frame;
use facelatch::gallery::Index;
use facelatch::gate::Face;
use facelatch::ports::{DeviceError, Perception, PerceptionError};
use facelatch::sim::fault::CameraFault;
use facelatch::time::Instant;

use super::*;

/// A camera that is in trouble as long as somebody says so.
struct Troubled {
    well: SyntheticCamera,
    ill: FaultInjector<SyntheticCamera, CameraFault>,
    is_ill: Arc<AtomicBool>,
}

impl Camera for Troubled {
    fn next_frame(&mut self, timeout: Duration) -> Result<Frame<'_>, CameraError> {
        match self.is_ill.load(Ordering::Relaxed) {
            true => self.ill.next_frame(timeout),
            false => self.well.next_frame(timeout),
        }
    }

    fn describe(&self) -> String {
        "a camera with a loose plug".to_owned()
    }
}

/// Sees what is scripted until it dies.
pub struct Mortal {
    pub inner: ScriptedPerception,
    /// Who is told of every face.
    pub updates: Option<TrackQueue>,
    pub dies: Arc<AtomicBool>,
}

impl Perception for Mortal {
    fn perceive(
        &mut self,
        frame: &Frame<'_>,
        gallery: &Index,
        expected: Option<PersonId>,
    ) -> Result<Face, PerceptionError> {
        assert!(!self.dies.load(Ordering::Relaxed), "vision dies, as the test wants it to");
        let face = self.inner.perceive(frame, gallery, expected)?;
        let is_there = face != Face::Absent;
        self.updates
            .iter()
            .filter(|_| is_there)
            .for_each(|updates| updates.put(&senses::same_face(frame.captured_at())));
        Ok(face)
    }
}

/// Notes whether a strike's last order was to lock, whatever becomes of that.
pub struct Ordered {
    pub strike: Box<dyn Strike>,
    pub to_lock: Arc<AtomicBool>,
}

impl Strike for Ordered {
    fn release(&mut self) -> Result<(), DeviceError> {
        self.to_lock.store(false, Ordering::Relaxed);
        self.strike.release()
    }

    fn secure(&mut self) -> Result<(), DeviceError> {
        self.to_lock.store(true, Ordering::Relaxed);
        self.strike.secure()
    }

    fn describe(&self) -> String {
        self.strike.describe()
    }
}

/// A strike that panics at its second release.
struct Fragile {
    strike: RecordingStrike,
    was_released: bool,
}

impl Strike for Fragile {
    fn release(&mut self) -> Result<(), DeviceError> {
        assert!(!std::mem::replace(&mut self.was_released, true), "the gate dies, as the test wants it to");
        self.strike.release()
    }

    fn secure(&mut self) -> Result<(), DeviceError> {
        self.strike.secure()
    }

    fn describe(&self) -> String {
        self.strike.describe()
    }
}

#[test]
fn a_camera_that_gives_nothing_or_one_picture_is_a_fault_of_its_name_and_a_face_opens_once_it_is_well() {
    for (fault, name) in [
        (CameraFault::Gone, "camera_lost"),
        (CameraFault::Silent, "camera_lost"),
        (CameraFault::Short, "camera_lost"),
        (CameraFault::FrozenPicture, "camera_frozen"),
        (CameraFault::FrozenFrame, "camera_frozen"),
    ] {
        let is_ill = Arc::new(AtomicBool::new(false));
        let ill_too = Arc::clone(&is_ill);
        let house = House::with(|clock| {
            let clock = Arc::clone(clock);
            Box::new(move || {
                let always = Episode { from: Instant::BOOT, until: Instant::from_nanos(u64::MAX), fault };
                let ill = FaultInjector::new(camera(&clock), Arc::clone(&clock), Schedule::listed([always]), 1);
                Ok(Box::new(Troubled { well: camera(&clock), ill, is_ill: Arc::clone(&ill_too) }) as Box<dyn Camera>)
            })
        });
        house.await_outcome(Outcome::Started);
        is_ill.store(true, Ordering::Relaxed);
        house.await_outcome(Outcome::Fault);
        assert!(matches!(house.ask(&Request::Status {}), Response::Status(s) if s.faults == [name]), "{fault:?}");
        is_ill.store(false, Ordering::Relaxed);
        house.await_outcome(Outcome::FaultCleared);
        house.doorstep.put(Doorstep::Somebody(Box::new(face(0))));
        wait_for("released", || house.strike.releases() == 1);
    }
}

#[test]
fn a_thread_that_panics_is_named_and_the_daemon_ends_with_a_locked_door() {
    let mut house = House::new();
    house.await_outcome(Outcome::Started);
    house.vision_dies.store(true, Ordering::Relaxed);
    let daemon = house.daemon.take().unwrap();
    wait_for("vision is dead", || daemon.dead() == Some("vision"));
    house.hand.set(Input::ExitButton(true));
    wait_for("released", || house.strike.releases() == 1);
    assert!(matches!(daemon.stop(), Err(DaemonError::Died("vision"))));
    assert!(house.is_told_to_lock());
    assert!(house.outcomes().contains(&Outcome::Stopped), "{:?}", house.outcomes());
}

#[test]
fn a_gate_that_panics_is_named_and_its_strike_locks() {
    let strike = |strike, _| Box::new(Fragile { strike, was_released: false }) as Box<dyn Strike>;
    let mut house = House::wired(steady, StoreState::Open, None, strike);
    house.hand.set(Input::ExitButton(true));
    wait_for("released", || house.strike.releases() == 1);
    house.hand.set(Input::ExitButton(false));
    house.hand.set(Input::ExitButton(true));
    let daemon = house.daemon.take().unwrap();
    wait_for("the gate is dead", || daemon.dead() == Some("gate"));
    assert!(!house.strike.is_released());
    assert!(matches!(daemon.stop(), Err(DaemonError::Died("gate"))));
}
