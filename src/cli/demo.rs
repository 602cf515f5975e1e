//! `demo`: the whole daemon without hardware, told line by line.
//!
//! Photographs come to the door one after another, filmed by a camera that isn't there; the strike only remembers what it
//! would have done. Everything in between is what runs on a board: threads, networks, gallery, gate, ledger.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use log::LevelFilter;

use super::context::Context;
use super::exit::{Code, Failure, Verdict};
use super::run::{no_table, thresholds};
use crate::control::server::event_line;
use crate::daemon::{Daemon, Keeper, Parts, Recogniser, Shared, Written};
use crate::face::photo;
use crate::face::pipeline::Faces;
use crate::frame::RgbImage;
use crate::gallery::{MasterKey, NewPerson, NewTemplate};
use crate::gate::{LivenessPolicy, Outcome, Policy, Reason, Verdict as LivenessVerdict};
use crate::hw::clock::BootClock;
use crate::hw::journal;
use crate::hw::store::Store;
use crate::infer::Decode;
use crate::person::Name;
use crate::ports::{Camera, CameraError, Clock, Input, Inputs};
use crate::sim::inputs::{Hand, ScriptedInputs};
use crate::sim::strike::{RecordingStrike, StrikeLog};
use crate::sim::visitors::{ScriptedLiveness, Stage, Visit, VisitorCamera};
use crate::time::Instant;

/// How often the screen is brought up to date.
const LOOK: Duration = Duration::from_millis(50);
/// After the last visit the gate still ends its attempt.
const AFTERMATH: Duration = Duration::from_secs(2);
/// Someone admitted opens the door so soon …
const OPENS_AFTER: Duration = Duration::from_millis(800);
/// … and it falls shut again.
const SHUTS_AFTER: Duration = Duration::from_millis(2000);
/// Folders of people that are looked through at most for the three photographs.
const MAX_PEOPLE: usize = 10_000;
/// Of the camera's noise: every demo films the same.
const SEED: u64 = 1;

/// Exits with 0 where the known face opened the door and nothing else did.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A folder with a folder of photographs for each person: one with two or more photographs is enrolled, another is
    /// the stranger
    #[arg(long, value_name = "DIR")]
    photos: Option<PathBuf>,
}

/// Who plays.
struct Cast {
    name: Name,
    /// What they are enrolled by.
    passport: PathBuf,
    /// What they look like today.
    today: PathBuf,
    stranger: PathBuf,
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    journal::init(LevelFilter::Error);
    let mut faces = ctx.faces_for(640, 480)?;
    let cast = args.photos.as_deref().ok_or_else(no_photographs).and_then(choose)?;
    let scene = Scratch::new()?;
    let store = enrol(&cast, &mut faces, &scene)?;
    let clock: Arc<dyn Clock> = Arc::new(BootClock);
    let model = faces.embedder();
    let Decode::Embedding { dims } = model.decode else {
        return Err(Failure::said(Code::Data, format!("{} is no network that encodes faces", model.name)));
    };
    let Some(calibration) = ctx.calibration(model)? else {
        return Err(Failure::said(Code::Data, no_table(&model.name)));
    };
    let keeper = Keeper::new(store, model.sha256.0, dims, thresholds(Some(calibration), &ctx.config), None);
    let began = clock.now().mono;
    let (visits, lines) = script(&cast)?;
    let stage = Stage::new(visits, began);
    let strike = RecordingStrike::new(Arc::clone(&clock));
    let inputs = ScriptedInputs::at_rest(Arc::clone(&clock));
    let (log, hand) = (strike.log(), inputs.hand());
    let parts = Parts {
        policy: Policy { liveness: LivenessPolicy::Required, ..ctx.config.policy() },
        camera: once(VisitorCamera::new(Arc::clone(&stage), Arc::clone(&clock), SEED), CameraError::Ended),
        perception: Box::new(Recogniser::new(faces, ctx.config.limits())),
        liveness: Some(Box::new(ScriptedLiveness::new(Arc::clone(&stage)))),
        inputs: Some(once_inputs(inputs)),
        strike: Box::new(strike),
        keeper,
        control: None,
        reload: Box::new(|| Err("the demo has no configuration to read again".into())),
    };
    let daemon = Daemon::start(clock, parts)?;
    let Some(events) = daemon.shared().watchers.follow() else {
        return Err(Failure::said(Code::Software, "the demo can't follow its own daemon"));
    };
    let teller = Teller { ctx, began, stage, lines, hand, log, events };
    let granted = teller.tell(daemon.shared(), &cast)?;
    daemon.stop()?;
    ctx.out.line("\nThe strike is locked. Nothing was kept: people, templates and events of this demo are gone.")?;
    Ok(Verdict::from(granted == Granted { known: 1, others: 0 }))
}

fn no_photographs() -> Failure {
    Failure::said(
        Code::NoInput,
        "the demo needs photographs, and facelatch carries none of anybody: name a folder with a folder a person, one of \
         them with two photographs or more: facelatch demo --photos DIR",
    )
}

/// The first person with two photographs, and the first other one, in the order of their names.
fn choose(dir: &Path) -> Result<Cast, Failure> {
    let mut known: Option<(Name, PathBuf, PathBuf)> = None;
    let mut stranger = None;
    for folder in sorted(dir)?.into_iter().filter(|path| path.is_dir()).take(MAX_PEOPLE) {
        let photos = sorted(&folder)?;
        let label = folder.file_name().unwrap_or_default().to_string_lossy().replace('_', " ");
        match (photos.as_slice(), Name::new(&label)) {
            ([passport, today, ..], Ok(name)) if known.is_none() => {
                known = Some((name, passport.clone(), today.clone()));
            }
            ([first, ..], _) if stranger.is_none() => stranger = Some(first.clone()),
            _ => {}
        }
        if let (Some((name, passport, today)), Some(stranger)) = (&known, &stranger) {
            let (passport, today) = (passport.clone(), today.clone());
            return Ok(Cast { name: name.clone(), passport, today, stranger: stranger.clone() });
        }
    }
    let sentence = format!(
        "{}: the demo needs two folders of people here, one of them with two photographs or more",
        dir.display()
    );
    Err(Failure::said(Code::Data, sentence))
}

fn sorted(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = std::fs::read_dir(dir).map_err(Failure::io(dir))?;
    let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort();
    Ok(paths)
}

/// A store of its own, with one person by one photograph.
fn enrol(cast: &Cast, faces: &mut Faces, scene: &Scratch) -> Result<Store, Failure> {
    let image = photo::load(&cast.passport)?;
    let Some(face) = faces.portray_principal(&image)? else {
        let sentence = format!("{}: no face was found; the demo needs another photograph", cast.passport.display());
        return Err(Failure::said(Code::Data, sentence));
    };
    let key = MasterKey::generate().map_err(|error| Failure::said(Code::Os, error.to_string()))?;
    let mut store = Store::open(&scene.0.join("demo.db"), &key)?;
    let template = NewTemplate {
        encoding: face.encoding,
        model_sha256: faces.embedder().sha256.0,
        created: BootClock.now().wall,
        quality: face.quality.score(),
    };
    let act = crate::hw::store::Act { at: BootClock.now().wall, by_uid: None };
    store.enrol(&NewPerson::new(cast.name.clone()), &[template], 1, act)?;
    Ok(store)
}

/// The visits, and what is said when each begins.
fn script(cast: &Cast) -> Result<(Vec<Visit>, Vec<String>), Failure> {
    let (today, stranger) = (photo::load(&cast.today)?, photo::load(&cast.stranger)?);
    let name = &cast.name;
    let visit = |picture: Option<&RgbImage>, seconds, verdict| Visit {
        picture: picture.cloned(),
        lasts: Duration::from_secs(seconds),
        verdict,
    };
    let nobody = |seconds| visit(None, seconds, LivenessVerdict::Inconclusive);
    let script = [
        (nobody(2), "nobody is at the door".to_owned()),
        (visit(Some(&today), 4, LivenessVerdict::Live), format!("{name} steps up, alive")),
        (nobody(3), "nobody is at the door".to_owned()),
        (visit(Some(&stranger), 6, LivenessVerdict::Live), "a stranger steps up, alive".to_owned()),
        (nobody(3), "nobody is at the door".to_owned()),
        (visit(Some(&today), 4, LivenessVerdict::Spoof), format!("a photograph of {name} is held up")),
        (nobody(3), "nobody is at the door; somebody inside presses the exit button".to_owned()),
    ];
    Ok(script.into_iter().unzip())
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

#[derive(Debug, Default, PartialEq, Eq)]
struct Granted {
    known: usize,
    others: usize,
}

/// Says what happens while it happens.
struct Teller<'a> {
    ctx: &'a Context,
    began: Instant,
    stage: Arc<Stage>,
    lines: Vec<String>,
    hand: Hand,
    log: StrikeLog,
    events: Receiver<Written>,
}

impl Teller<'_> {
    fn tell(self, shared: &Shared, cast: &Cast) -> Result<Granted, Failure> {
        self.say(shared, &format!("{} is enrolled by one photograph; the strike is locked", cast.name))?;
        let mut granted = Granted::default();
        let (mut visit, mut strike_was_released, mut ended_at) = (None, false, None);
        loop {
            let now = shared.now().mono;
            let on_stage = self.stage.on_stage();
            if on_stage != visit {
                visit = on_stage;
                if let Some(line) = visit.and_then(|visit| self.lines.get(visit)) {
                    self.say(shared, line)?;
                }
                if visit.is_some_and(|visit| visit + 1 == self.lines.len()) {
                    self.hand.set_at(now + Duration::from_secs(1), Input::ExitButton(true));
                    self.hand.set_at(now + Duration::from_millis(1300), Input::ExitButton(false));
                }
            }
            for written in self.events.try_iter() {
                self.event(shared, &written)?;
                if written.record.outcome == Outcome::Granted {
                    let is_known = visit == Some(1);
                    granted.known += usize::from(is_known);
                    granted.others += usize::from(!is_known);
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
                return Ok(granted);
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

/// A directory that goes when the demo does.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt as _;
        let dir = std::env::temp_dir().join(format!("facelatch-demo-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&dir).map_err(Failure::io(&dir))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _left_to_the_system = std::fs::remove_dir_all(&self.0);
    }
}
