//! `demo`: the whole daemon without hardware, told line by line.
//!
//! People come to the door one after another, filmed by a camera that isn't there; the strike only remembers what it
//! would have done. Everything in between is what runs on a board: threads, networks, gallery, gate, ledger.

mod cast;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use log::LevelFilter;

use cast::{Cast, Scene};

use super::context::{Context, dims};
use super::exit::{Code, Failure, Verdict};
use super::known::no_table;
use super::liveness::Judges;
use super::run::thresholds;
use super::scratch::Scratch;
use crate::config::Config;
use crate::control::server::event_line;
use crate::daemon::{Daemon, Follower, Keeper, Parts, Recogniser, Shared, Written};
use crate::face::pipeline::{Faces, Role};
use crate::frame::RgbImage;
use crate::gallery::calibrate::Calibration;
use crate::gallery::{Decider, MasterKey, NewPerson, NewTemplate};
use crate::gate::{LivenessPolicy, Outcome, Policy, Reason};
use crate::hw::clock::BootClock;
use crate::hw::journal;
use crate::hw::store::{Act, Store};
use crate::infer::ModelSpec;
use crate::liveness::Source;
use crate::person::Name;
use crate::ports::{Camera, CameraError, Clock, Input, Inputs};
use crate::sim::inputs::{Hand, ScriptedInputs};
use crate::sim::strike::{RecordingStrike, StrikeLog};
use crate::sim::visitors::{PlayedLiveness, Stage, VisitorCamera};
use crate::time::Instant;

/// How often the screen is brought up to date.
const LOOK: Duration = Duration::from_millis(50);
/// After the last visit the gate still ends its attempt.
const AFTERMATH: Duration = Duration::from_secs(2);
/// Someone admitted opens the door so soon …
const OPENS_AFTER: Duration = Duration::from_millis(800);
/// … and it falls shut again.
const SHUTS_AFTER: Duration = Duration::from_millis(2000);
/// Of the camera's noise: every demo films the same.
const SEED: u64 = 1;

/// Exits with 0 where every visit ended as it had to, and the door opened for the known face alone.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Photographs in place of the people that facelatch brings along, a folder a person: one with two or more is
    /// enrolled, another is the stranger
    #[arg(long, value_name = "DIR")]
    photos: Option<PathBuf>,
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    journal::init(LevelFilter::Error);
    let mut faces = ctx.faces_for(640, 480)?;
    let Cast { enrolled, scenes } = args.photos.as_deref().map_or_else(Cast::own, Cast::from_photos)?;
    let scratch = Scratch::new()?;
    let store = enrol(&enrolled, &mut faces, &scratch)?;
    let clock: Arc<dyn Clock> = Arc::new(BootClock);
    let model = faces.encoder.spec();
    let decider = ctx.decider(model)?;
    let table = table(ctx, model, &decider)?;
    // Not the board's: a door that waits for claims, say, would admit nobody here.
    let door = Config::default();
    let thresholds = thresholds(Some(table), &door);
    let keeper = Keeper::new(store, model.sha256, dims(model)?, thresholds, None).decided_by(decider);
    let began = clock.now().mono;
    let judge = Judges::new(ctx)?.of([Source::Camera, Source::Depth, Source::Thermal].into_iter().collect());
    let stage = Stage::new(scenes.iter().map(|scene| scene.visit.clone()).collect(), began);
    let strike = RecordingStrike::new(Arc::clone(&clock));
    let inputs = ScriptedInputs::at_rest(Arc::clone(&clock));
    let (log, hand) = (strike.log(), inputs.hand());
    let parts = Parts {
        policy: Policy { liveness: LivenessPolicy::Required, ..door.policy() },
        camera: once(VisitorCamera::new(Arc::clone(&stage), Arc::clone(&clock), SEED), CameraError::Ended),
        perception: Box::new(Recogniser::new(faces, ctx.config.limits())),
        liveness: Some(Box::new(PlayedLiveness::new(Arc::clone(&stage), judge))),
        inputs: vec![("inputs", once_inputs(inputs))],
        strike: Box::new(strike),
        keeper,
        control: None,
    };
    let daemon = Daemon::start(clock, parts)?;
    let Some(events) = daemon.shared().watchers.follow(0) else {
        return Err(Failure::said(Code::Software, "the demo can't follow its own daemon"));
    };
    let as_told = Teller { ctx, began, stage, scenes, hand, log, events }.tell(daemon.shared(), enrolled.len())?;
    daemon.stop()?;
    ctx.out.line("\nThe strike is locked. Nothing was kept: people, templates and events of this demo are gone.")?;
    Ok(Verdict::from(as_told))
}

/// The table that comes with facelatch, if there is one for these: what was measured at this board's door is the
/// door's, in a directory that whoever tries the demo may not look into.
fn table(ctx: &Context, model: &ModelSpec, decider: &Decider) -> Result<Calibration, Failure> {
    let builtin = match decider {
        Decider::Threshold => Calibration::builtin(&model.sha256),
        Decider::PairHead(_) => None,
    };
    let table = builtin.map_or_else(|| ctx.table(model, decider), |table| Ok(Some(table)))?;
    table.ok_or_else(|| Failure::said(Code::Data, no_table(&model.name, decider)))
}

/// A store of its own, with one template a person.
fn enrol(people: &[(Name, RgbImage)], faces: &mut Faces, scratch: &Scratch) -> Result<Store, Failure> {
    let key = MasterKey::generate().map_err(|error| Failure::said(Code::Os, error.to_string()))?;
    let mut store = Store::open(&scratch.path().join("demo.db"), &key)?;
    for (name, image) in people {
        let Some(face) = faces.portray_principal(image, Role::Template)? else {
            let sentence = format!("no face was found in {name}'s picture; the demo needs another one");
            return Err(Failure::said(Code::Data, sentence));
        };
        let template = NewTemplate {
            encoding: face.encoding,
            model_sha256: faces.encoder.spec().sha256,
            created: BootClock.now().wall,
            quality: face.quality.score(),
        };
        let act = Act { at: BootClock.now().wall, by_uid: None };
        store.enrol(&NewPerson::new(name.clone()), &[template], 1, act)?;
    }
    Ok(store)
}

/// A camera that can be opened once; from then on `after` says why not.
fn once(camera: VisitorCamera, after: CameraError) -> crate::daemon::OpenCamera {
    let (mut camera, mut after) = (Some(camera), Some(after));
    Box::new(move || match camera.take() {
        Some(camera) => Ok(Box::new(camera) as Box<dyn Camera>),
        None => Err(after.take().unwrap_or(CameraError::Ended)),
    })
}

fn once_inputs(inputs: ScriptedInputs) -> crate::daemon::OpenInputs {
    let mut inputs = Some(inputs);
    Box::new(move || {
        inputs.take().map(|inputs| Box::new(inputs) as Box<dyn Inputs>).ok_or_else(|| "the script is over".into())
    })
}

/// Says what happens while it happens.
struct Teller<'a> {
    ctx: &'a Context,
    began: Instant,
    stage: Arc<Stage>,
    scenes: Vec<Scene>,
    hand: Hand,
    log: StrikeLog,
    events: Follower,
}

impl Teller<'_> {
    /// Whether every scene ended as it had to and nobody was let in by another.
    fn tell(self, shared: &Shared, enrolled: usize) -> Result<bool, Failure> {
        let who = if enrolled == 1 { "1 person is".to_owned() } else { format!("{enrolled} people are") };
        self.say(shared, &format!("{who} enrolled by one picture each; the strike is locked"))?;
        let (mut seen, mut is_wrong) = (vec![false; self.scenes.len()], false);
        let (mut scene, mut strike_was_released, mut ended_at) = (None, false, None);
        loop {
            let now = shared.now().mono;
            let on_stage = self.stage.on_stage();
            if on_stage != scene {
                scene = on_stage;
                if let Some(begun) = scene.and_then(|scene| self.scenes.get(scene)) {
                    self.say(shared, &begun.told)?;
                }
                if scene.is_some_and(|scene| scene + 1 == self.scenes.len()) {
                    self.hand.set_at(now + Duration::from_secs(1), Input::ExitButton(true));
                    self.hand.set_at(now + Duration::from_millis(1300), Input::ExitButton(false));
                }
            }
            for written in self.events.try_iter() {
                self.event(shared, &written)?;
                let outcome = written.record.outcome;
                let ends = scene.and_then(|scene| self.scenes[scene].ends);
                if let Some(seen) = scene.and_then(|scene| seen.get_mut(scene)).filter(|_| ends == Some(outcome)) {
                    *seen = true;
                }
                if outcome == Outcome::Granted {
                    is_wrong |= ends != Some(Outcome::Granted);
                    self.hand.set_at(now + OPENS_AFTER, Input::DoorContact(true));
                    self.hand.set_at(now + SHUTS_AFTER, Input::DoorContact(false));
                }
            }
            let is_released = self.log.is_released();
            if is_released != strike_was_released {
                strike_was_released = is_released;
                self.say(shared, if is_released { "  ▶ the strike releases" } else { "  ■ the strike locks" })?;
            }
            if shared.has_recording_ended() && now.since(*ended_at.get_or_insert(now)) >= AFTERMATH {
                let as_told = self.scenes.iter().zip(seen).all(|(scene, seen)| seen || scene.ends.is_none());
                return Ok(as_told && !is_wrong);
            }
            std::thread::sleep(LOOK);
        }
    }

    fn event(&self, shared: &Shared, written: &Written) -> Result<(), Failure> {
        let line = event_line(written, &shared.gallery());
        self.ctx.out.json(&line)?;
        let person = line.person.map(|person| format!(" {person}")).unwrap_or_default();
        let mut text = format!("    {}{person}", line.outcome.replace('_', " "));
        if let Some(similarity) = written.record.similarity {
            text.push_str(&format!(", similarity {similarity}"));
        }
        let shown = |reason: &&Reason| !matches!(reason, Reason::LivenessNotRequired);
        for reason in written.record.reasons.iter().filter(shown) {
            text.push_str(&format!(", {reason}"));
        }
        self.say(shared, &text)
    }

    fn say(&self, shared: &Shared, line: &str) -> Result<(), Failure> {
        let elapsed = shared.now().mono.since(self.began).as_secs_f32();
        self.ctx.out.line(format_args!("{elapsed:>5.1} s  {line}"))
    }
}
