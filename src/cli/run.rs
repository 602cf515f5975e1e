//! `run`: the daemon on the hardware that the configuration names.

use std::sync::Arc;
use std::time::Duration;

use log::LevelFilter;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::context::{Context, dims, found_key};
use super::doctor::group::{gid_of, join};
use super::exit::{Code, Failure, Verdict};
use super::known;
use crate::config::Config;
use crate::control::server::{ControlConfig, ControlError, Server};
use crate::daemon::{
    Daemon, DaemonError, Demand, Keeper, MatchThresholds, Message, NETWORK_GRACE, OpenCamera, OpenInputs, Parts,
    Recogniser, Reloaded, StoreState,
};
use crate::digest::Digest;
use crate::frame::Frame;
use crate::gallery::calibrate::Calibration;
use crate::gallery::{Decider, Index};
use crate::gate::{Face, Mode};
use crate::hw::camera::V4lCamera;
use crate::hw::clock::BootClock;
use crate::hw::inputs::GpioInput;
use crate::hw::store::Store;
use crate::hw::{journal, notify, sensors, strike};
use crate::liveness::camera::CameraTap;
use crate::liveness::judge::Judge;
use crate::liveness::watch::{TrackQueue, Watch};
use crate::person::PersonId;
use crate::ports::{Camera, CameraError, Clock, Inputs, Liveness, Perception, PerceptionError, Strike};
use crate::sim::replay::{Pace, ReplayCamera};
use crate::sim::strike::RecordingStrike;
use crate::units::Fmr;

/// How often signals and dead threads are looked for.
const LOOK: Duration = Duration::from_millis(100);
/// How often the line of `systemctl status` is renewed.
const STATUS_EVERY: u32 = 50;

/// The configuration says everything.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    journal::init(LevelFilter::Info);
    if let Some(note) = crate::kernels::note() {
        log::warn!("{note}");
    }
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(|error| Failure::said(Code::Os, format!("no signal can be received: {error}")))?;
    let clock: Arc<dyn Clock> = Arc::new(BootClock);
    // Before anything else: whatever fails from here on, the door is locked.
    let strike = open_strike(&ctx.config, &clock)?;
    log::info!("strike: {}", strike.describe());
    if ctx.config.photograph_opens() {
        journal::insecure(
            "liveness is off: a photograph of somebody enrolled opens this door, as the configuration accepts",
        );
    }
    if ctx.config.camera_alone_opens() {
        // What a table that can't be read means for the door is told below.
        let point =
            ctx.liveness_demands().ok().and_then(|demands| demands.point(demands.sources).map(ToString::to_string));
        let point = point.unwrap_or_else(|| "nothing is known of it".to_owned());
        journal::insecure(&format!("liveness goes by the camera alone, as the configuration accepts: {point}"));
    }
    if ctx.config.recording_opens() {
        journal::insecure("a recording in the camera's place opens this door, whoever stands there: take out [replay]");
    }
    let (sight, blind) = match Sight::open(ctx) {
        Ok(sight) => (sight, None),
        // What the configuration itself has wrong: systemd doesn't try that again.
        Err(failure) if matches!(failure.code(), Code::Usage | Code::Config) => return Err(failure),
        Err(failure) => (Sight::none(ctx, &failure), Some(failure)),
    };
    let reload = Reload { of: ctx, calibration: sight.calibration.clone() };
    let parts = parts(ctx, sight, blind.is_some(), strike, &clock)?;
    let daemon = Daemon::start(clock, parts)?;
    let ended = oversee(&daemon, signals, ctx, &reload, blind);
    notify::stopping();
    daemon.stop()?;
    ended.map(|()| Verdict::Yes)
}

fn open_strike(config: &Config, clock: &Arc<dyn Clock>) -> Result<Box<dyn Strike>, Failure> {
    let wired = strike::open(&config.strike)?;
    Ok(wired.unwrap_or_else(|| Box::new(RecordingStrike::new(Arc::clone(clock)))))
}

/// Networks, what their scores mean, and what judges who is alive.
struct Sight {
    model: Digest,
    dims: usize,
    decider: Decider,
    calibration: Option<Calibration>,
    perception: Box<dyn Perception>,
    liveness: Option<Box<dyn Liveness>>,
}

impl Sight {
    fn open(ctx: &Context) -> Result<Self, Failure> {
        let config = &ctx.config;
        let faces = ctx.faces_for(config.camera.width, config.camera.height)?;
        let model = faces.encoder.spec();
        let (sha256, dims) = (model.sha256, dims(model)?);
        let decider = ctx.decider(model)?;
        let calibration = ctx.table(model, &decider)?;
        if calibration.is_none() {
            log::error!("{}", known::no_table(&model.name, &decider));
        }
        log::info!("encoder: {}, decider: {}", model.name, decider.kind());
        let recogniser = Recogniser::new(faces, config.limits());
        let (recogniser, liveness) = match config.liveness_required() {
            true => {
                let (tap, watch) = watch(ctx)?;
                (recogniser.tapped_by(tap), Some(watch))
            }
            false => (recogniser, None),
        };
        Ok(Self { model: sha256, dims, decider, calibration, perception: Box::new(recogniser), liveness })
    }

    /// A door that sees nobody, where a file that it sees by is gone or damaged: it stays locked, and people get out by
    /// its exit button.
    fn none(ctx: &Context, failure: &Failure) -> Self {
        log::error!("{failure}; nobody is admitted by face");
        let known = ctx.encoder().ok().and_then(|model| Some((model.spec.sha256, dims(&model.spec).ok()?)));
        let (model, dims) = known.unwrap_or((Digest([0; 32]), 1));
        let perception = Box::new(Blind(failure.to_string()));
        Self { model, dims, decider: Decider::Threshold, calibration: None, perception, liveness: None }
    }
}

/// What [`Sight::none`] makes of each frame: why it can't be judged.
struct Blind(String);

impl Perception for Blind {
    fn perceive(&mut self, _: &Frame<'_>, _: &Index, _: Option<PersonId>) -> Result<Face, PerceptionError> {
        Err(PerceptionError::Network(self.0.clone()))
    }
}

fn parts(
    ctx: &Context,
    sight: Sight,
    is_blind: bool,
    strike: Box<dyn Strike>,
    clock: &Arc<dyn Clock>,
) -> Result<Parts, Failure> {
    let config = &ctx.config;
    let Sight { model, dims, decider, calibration, perception, liveness } = sight;
    let demand = thresholds(calibration, config);
    let keeper =
        Keeper::new(store_state(ctx)?, model, dims, demand, config.retention()).decided_by(decider).blind(is_blind);
    Ok(Parts {
        policy: config.policy(),
        camera: camera(config, clock),
        perception,
        liveness,
        inputs: inputs(config, clock),
        strike,
        keeper,
        control: control(config)?,
    })
}

/// What `systemctl reload` takes over of a configuration that has changed.
struct Reload<'a> {
    /// What the daemon was started with.
    of: &'a Context,
    calibration: Option<Calibration>,
}

impl Reload<'_> {
    /// Reads the file again; a sentence where it can't be taken over.
    fn read(&self) -> Result<Reloaded, String> {
        let path = self.of.config_path.as_ref().ok_or("there is no configuration file to read again")?;
        let (old, new) = (&self.of.config, Config::load(path).map_err(|error| error.to_string())?);
        match (old.liveness_required(), new.liveness_required()) {
            (false, true) => return Err("it asks for liveness now, which doesn't run: restart the daemon".into()),
            // Nothing that the start refuses or complains about was looked at for a door that is already wired.
            (true, false) => return Err("it asks for no liveness any more: restart the daemon".into()),
            (true, true) | (false, false) => {}
        }
        let changed = [
            ("[camera]", old.camera != new.camera || old.replay != new.replay),
            ("[faces]", old.faces != new.faces),
            ("[strike]", old.strike != new.strike),
            ("[inputs]", old.inputs != new.inputs),
            ("[store]", old.store != new.store),
            ("[control]", old.control != new.control),
            ("[liveness] and its sensors", old.liveness != new.liveness || old.sensors != new.sensors),
        ];
        for (section, _) in changed.into_iter().filter(|(_, has_changed)| *has_changed) {
            log::warn!("{section} has changed since the daemon was started, which takes a restart");
        }
        Ok(Reloaded { policy: new.policy(), demand: thresholds(self.calibration.clone(), &new) })
    }
}

/// The store, or, where it or its key can't be read, what tries again: people must get out meanwhile.
fn store_state(ctx: &Context) -> Result<StoreState, Failure> {
    let (path, places) = (ctx.store_path()?, ctx.key_places()?);
    Ok(ctx.store().map_or_else(
        |failure| {
            log::error!("{failure}; nobody is admitted by face until it opens");
            StoreState::Awaited(Box::new(move || {
                let key = found_key(&places, &path).map_err(|failure| failure.to_string())?.key;
                Store::open(&path, &key).map_err(|error| error.to_string())
            }))
        },
        StoreState::Open,
    ))
}

/// What takes liveness' channels from each frame, and what judges by them and the sensors.
fn watch(ctx: &Context) -> Result<(CameraTap, Box<dyn Liveness>), Failure> {
    let (demands, view) = (ctx.liveness_demands()?, ctx.config.liveness.camera_view_deg);
    match demands.point(demands.sources) {
        Some(point) => log::info!("liveness by {}: {point}", demands.sources),
        None => log::error!("liveness: no table says what a score is worth by {}: nobody is let in", demands.sources),
    }
    let judge = Judge::new(demands, Box::new(ctx.liveness_head()?), view);
    let updates = TrackQueue::default();
    let sensors = sensors::open(&ctx.config.sensors);
    sensors.iter().for_each(|sensor| log::info!("sensor: {}", sensor.describe()));
    let tell = updates.clone();
    let tap = CameraTap::new(ctx.antispoof()?, Box::new(move |update| tell.put(update)));
    let min_size_px = ctx.config.limits().min_size_px;
    Ok((tap, Box::new(Watch::new(judge, updates, sensors, min_size_px))))
}

/// The similarities that the configuration's rates ask for, by the decider's own table.
pub fn thresholds(calibration: Option<Calibration>, config: &Config) -> Demand {
    let (target, verify_target) = (config.gate.target_fmr, config.gate.verify_target_fmr);
    let searches = config.gate.mode == Mode::Recognition;
    Box::new(move |comparisons| {
        let reaching = |fmr: Fmr, n| calibration.as_ref()?.similarity_for(fmr.per_comparison(n));
        MatchThresholds {
            identify: reaching(target, comparisons.search),
            verify: reaching(verify_target, comparisons.claim),
            searches,
        }
    })
}

/// The camera or recording that the configuration names, to be opened as often as needed.
pub fn camera(config: &Config, clock: &Arc<dyn Clock>) -> OpenCamera {
    let Some(replay) = config.replay.clone() else {
        let camera = config.camera.clone();
        return Box::new(move || {
            let opened = V4lCamera::open(&camera);
            opened.map(|camera| Box::new(camera) as Box<dyn Camera>).map_err(CameraError::from)
        });
    };
    let clock = Arc::clone(clock);
    Box::new(move || {
        let opened = ReplayCamera::open(&replay.path, Pace::RealTime, replay.looped, Arc::clone(&clock));
        opened
            .map(|camera| Box::new(camera) as Box<dyn Camera>)
            .map_err(|error| CameraError::Lost { device: replay.path.display().to_string(), reason: error.to_string() })
    })
}

fn inputs(config: &Config, clock: &Arc<dyn Clock>) -> Vec<(&'static str, OpenInputs)> {
    let open = |(name, wire)| -> (_, OpenInputs) {
        let clock = Arc::clone(clock);
        let opener = move || {
            let opened = GpioInput::open(&wire, Arc::clone(&clock));
            opened.map(|input| Box::new(input) as Box<dyn Inputs>).map_err(|error| error.to_string())
        };
        (name, Box::new(opener))
    };
    config.inputs.wires().map(open).collect()
}

/// The control socket; `None` where it can't be had, because the exit button and the faces do without.
fn control(config: &Config) -> Result<Option<Server>, Failure> {
    let control = &config.control;
    let gid = control.group.as_deref().map(gid_of).transpose();
    let gid = gid.map_err(|sentence| Failure::said(Code::Config, sentence))?;
    let bound =
        Server::bind(ControlConfig { socket: control.socket.clone(), allowed_uids: control.allowed_uids.clone(), gid });
    match (bound, &control.group) {
        (Ok(server), _) => Ok(Some(server)),
        // Trying again doesn't help, and systemd doesn't after this code.
        (Err(error @ ControlError::Group { .. }), Some(group)) => {
            Err(Failure::said(Code::Config, format!("{error}: {}", join(group))))
        }
        (Err(error @ ControlError::Taken { .. }), _) => Err(Failure::said(Code::Unavailable, error.to_string())),
        (Err(error), _) => {
            log::error!(
                "{error}; status, watch, unlock and claim don't work until that is mended and the daemon restarted"
            );
            Ok(None)
        }
    }
}

/// Waits until the daemon is told to stop, dies, or has played its recording. A daemon that is `blind` ends by that
/// after a while, to be started anew: whatever was missing may be there again.
fn oversee(
    daemon: &Daemon,
    mut signals: Signals,
    ctx: &Context,
    reload: &Reload<'_>,
    mut blind: Option<Failure>,
) -> Result<(), Failure> {
    let shared = daemon.shared();
    let began = shared.now().mono;
    let policy = ctx.config.policy();
    // A recording's last attempt is written down by then.
    let aftermath = policy.attempt_timeout.max(policy.claim_timeout).max(policy.absent_after) + policy.ledger_timeout;
    let mut owes_ready = false;
    let mut ended_at = None;
    for round in 0_u32.. {
        for signal in signals.pending() {
            if signal != SIGHUP {
                return Ok(());
            }
            notify::reloading();
            match reload.read() {
                Ok(reloaded) => {
                    shared.send(Message::Reload(reloaded));
                    log::info!("configuration read again");
                }
                Err(reason) => log::error!("the configuration in force stays: {reason}"),
            }
            owes_ready = true;
        }
        // The manager may have no room for it at the moment.
        owes_ready = owes_ready && !notify::ready();
        if let Some(name) = daemon.dead() {
            return Err(DaemonError::Died(name).into());
        }
        if shared.now().mono.since(began) >= NETWORK_GRACE
            && let Some(failure) = blind.take()
        {
            return Err(failure);
        }
        if shared.has_recording_ended() {
            let at = *ended_at.get_or_insert(shared.now().mono);
            if shared.now().mono.since(at) >= aftermath {
                return blind.map_or(Ok(()), Err);
            }
        }
        if round.is_multiple_of(STATUS_EVERY)
            && let Some(status) = shared.status()
        {
            notify::status(&format!("{}, {} people", status.state.replace('_', " "), status.roster.len()));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_socket_that_can_not_be_had_is_done_without_and_one_that_a_daemon_has_is_a_refusal() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        for place in ["no/where/control.sock", "file"] {
            std::fs::write(dir.path().join("file"), "").unwrap();
            config.control.socket = dir.path().join(place);
            assert!(control(&config).unwrap().is_none(), "{place}");
        }
        config.control.socket = dir.path().join("control.sock");
        let server = control(&config).unwrap();
        assert!(server.is_some());
        let refused = control(&config).err().unwrap();
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(refused.to_string().contains("another facelatch answers there"), "{refused}");
    }
}
