//! Sensors that are of no use.

use facelatch::infer::InferError;
use facelatch::liveness::camera::{FaceSample, TrackUpdate};
use facelatch::liveness::head::{Class, Score};
use facelatch::liveness::judge::{Demands, Judge, Scorer};
use facelatch::liveness::series::Window;
use facelatch::liveness::watch::Watch;
use facelatch::liveness::{Channel, Place, Sample, Source, SourceSet, Thresholds};
use facelatch::ports::{Grid, Value};
use facelatch::sim::sensors::ScriptedSensor;
use facelatch::time::Instant;

use super::*;

/// What liveness takes from a frame with a face that is near.
pub fn same_face(at: Instant) -> TrackUpdate {
    let size = Sample { at, channel: Channel::FaceSize, value: 0.1 };
    let place = Place { at, x: 0.0, y: 0.0, eye_gap: 0.1 };
    TrackUpdate::Same(FaceSample { place, size_px: 60.0, samples: [size].into_iter().collect() })
}

/// Calls everything alive.
struct Credulous;

impl Scorer for Credulous {
    fn score(&mut self, _window: &Window) -> Result<Score, InferError> {
        Ok(Score { log_odds: 9.0, attack: Class::Print })
    }

    fn weights(&mut self, _window: &Window) -> Result<Vec<(Channel, f32)>, InferError> {
        Ok(Vec::new())
    }
}

#[test]
fn a_resident_whom_a_depth_sensor_does_not_reach_is_told_so_and_the_door_goes_on() {
    let sources = SourceSet::default().with(Source::Camera).with(Source::Depth);
    let thresholds = Thresholds::builtin();
    let demands = Demands { sources, required: sources, target_bpcer: 0.01, thresholds };
    let nothing = |_| Value::Depth(Grid { columns: 1, rows: 1, cells: &[f32::NAN], view: [45.0, 45.0] });
    let depth = ScriptedSensor::constant(nothing, Duration::from_millis(40), 0.0);
    let updates = TrackQueue::default();
    let judge = Judge::new(demands, Box::new(Credulous), 60.0);
    let watch: Box<dyn Liveness> = Box::new(Watch::new(judge, updates.clone(), vec![Box::new(depth)], 18.0));
    // Half a second longer than by default, so that none of the two comes first by chance.
    let liveness = LivenessPolicy::Required;
    let policy = Policy { liveness, attempt_timeout: Duration::from_millis(5500), ..policy() };
    let house =
        House::judging(steady, StoreState::Open, None, |strike, _| Box::new(strike), (policy, Some((updates, watch))));
    house.doorstep.put(Doorstep::Somebody(Box::new(face(0))));
    house.await_outcome(Outcome::LivenessInconclusive);
    assert!(!house.outcomes().contains(&Outcome::Fault), "{:?}", house.outcomes());
    assert_eq!(house.strike.releases(), 0);
}
