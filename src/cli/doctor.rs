//! `doctor`: what the door needs, looked at piece by piece, each with what to do.

mod camera;
pub mod group;
mod key;
mod lines;
mod networks;
mod program;
mod sensors;
mod state;
mod swap;
mod unit;

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use self::key::{is_absent, places};
use super::Globals;
use super::context::{Context, dims, no_store};
use super::counted;
use super::exit::{Failure, Verdict};
use super::known::{Scale, no_table};
use crate::config::{ACCEPT_KEY, CAMERA_ONLY_KEY};
use crate::control::client::ClientError;
use crate::control::{Request, Response, StatusLine, client};
use crate::draft::parent;
use crate::gallery::{Index, Person};
use crate::gate::{Fault, Schedule};
use crate::hw::clock::BootClock;
use crate::hw::sensors::Driver;
use crate::hw::store::Store;
use crate::liveness::Source;
use crate::ports::Clock;
use crate::units::{Fmr, Similarity};

/// What the service has for its socket while it runs (RuntimeDirectory=).
const SERVICE_RUN: &str = "/run/facelatch";
/// Liveness that lets more than one in ten windows of some attack pass is worth a complaint.
const LOOSE: f64 = 0.1;
/// Of an AMG8833, which no table was measured with.
const OTHER_ARRAY: &str = "; an MLX90640's figures (32x24, 55°), and this door has an AMG8833 (8x8, 60°): it turns living people away several \
                           times as often";

/// The daemon looks for changes of the gallery twice a second.
const GALLERY_READ: Duration = Duration::from_secs(2);
/// A table is read at the start, and a rate at a reload, too.
const OTHER_SCORES: &str = "the running daemon goes by another table or rate than the one on disk: systemctl reload facelatch for a rate, \
                            restart for a table";

/// Exits with 1 where something is wrong.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// List the networks' layers as well, and what computes each
    #[arg(long)]
    pub layers: bool,
}

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    /// It works, and somebody should know.
    Complaint,
    Wrong,
}

#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    level: Level,
    says: String,
}

/// What was found so far, shown as it is found.
struct Visit<'a> {
    ctx: &'a Context,
    is_well: bool,
}

type Checked = Result<String, String>;

pub fn run(args: &Args, globals: Globals) -> Result<Verdict, Failure> {
    let loaded = Context::new(globals.clone());
    let (ctx, config) = match loaded {
        Ok(ctx) => {
            let from = ctx.config_path.as_ref().map(|path| path.display().to_string());
            (ctx, Ok(from.unwrap_or_else(|| "no file, the defaults hold".into())))
        }
        Err(failure) => (Context::without_config(globals), Err(failure.to_string())),
    };
    let mut visit = Visit { ctx: &ctx, is_well: true };
    let (level, says) = program::this();
    visit.show(Finding { check: "program", level, says })?;
    if let Some(note) = crate::kernels::note() {
        visit.show(Finding { check: "kernels", level: Level::Complaint, says: note.to_owned() })?;
    }
    let is_configured = config.is_ok();
    visit.tell("configuration", config)?;
    visit.tell("clock", clock())?;
    let (level, says) = swap::check(Path::new("/"));
    visit.show(Finding { check: "swap", level, says })?;
    // By the defaults it would be another door, and what to do about that one would harm this.
    if !is_configured {
        let says = "the rest is looked at once the configuration can be read".to_owned();
        visit.show(Finding { check: "rest", level: Level::Complaint, says })?;
        return Ok(Verdict::No);
    }
    visit.state(Path::new("/"))?;
    let asked = daemon(&ctx);
    let daemon = asked.as_ref().ok().map(|(status, _)| status);
    let key = key::check(&ctx);
    let store = key.as_ref().map_err(|_| "can't be opened without the key".to_owned());
    let store = store.and_then(|_| open_store(&ctx, daemon));
    visit.key(key)?;
    let store = store.as_ref().map(Option::as_ref);
    visit.tell("gallery", store.map_or_else(|why| Err(why.clone()), gallery))?;
    if let Ok(Some(store)) = store {
        visit.erasure(store)?;
    }
    visit.tell("ledger", store.map_or_else(|why| Err(why.clone()), ledger))?;
    visit.networks()?;
    if args.layers {
        visit.layers()?;
    }
    visit.tell("scores", store.map_or_else(|why| Err(why.clone()), |store| scores(&ctx, store, daemon)))?;
    visit.tell("camera", camera::check(&ctx, daemon))?;
    visit.recording()?;
    visit.strike()?;
    visit.tell("inputs", lines::inputs(&ctx))?;
    visit.sensors(daemon)?;
    visit.liveness()?;
    if let Some(group) = &ctx.config.control.group {
        visit.tell("control", group::check(group))?;
    }
    visit.unit(Path::new("/"))?;
    visit.journal(Path::new("/"))?;
    visit.daemon(&asked)?;
    Ok(visit.is_well.into())
}

impl Visit<'_> {
    fn tell(&mut self, check: &'static str, found: Checked) -> Result<(), Failure> {
        match found {
            Ok(says) => self.show(Finding { check, level: Level::Ok, says }),
            Err(says) => self.show(Finding { check, level: Level::Wrong, says }),
        }
    }

    fn show(&mut self, finding: Finding) -> Result<(), Failure> {
        self.is_well &= finding.level != Level::Wrong;
        self.ctx.out.json(&finding)?;
        let (sign, colour) = match finding.level {
            Level::Ok => ("ok", 32),
            Level::Complaint => ("!!", 33),
            Level::Wrong => ("NO", 31),
        };
        self.ctx.out.signed(sign, colour, format_args!("{:<14} {}", finding.check, finding.says))
    }

    fn networks(&mut self) -> Result<(), Failure> {
        let (level, says) = networks::check(self.ctx).unwrap_or_else(|says| (Level::Wrong, says));
        self.show(Finding { check: "networks", level, says })
    }

    /// One finding for each layer of each network; a network that doesn't load was told of before.
    fn layers(&mut self) -> Result<(), Failure> {
        let Ok(faces) = self.ctx.faces() else { return Ok(()) };
        let liveness = self.ctx.liveness_head().map(|head| head.layers()).unwrap_or_default();
        let layers = faces.layers().into_iter().chain([liveness]);
        for (check, layers) in ["detector", "landmarks", "encoder", "liveness"].into_iter().zip(layers) {
            for layer in layers {
                let by = if layer.is_int8 { crate::kernels::active().as_str() } else { "tract" };
                self.show(Finding { check, level: Level::Ok, says: format!("{by:<12} {}", layer.what) })?;
            }
        }
        Ok(())
    }

    /// Told where there is something to tell.
    fn erasure(&mut self, store: &Store) -> Result<(), Failure> {
        let says = match store.unscrubbed() {
            Ok(None) => return Ok(()),
            Ok(Some(_)) => format!(
                "bytes of somebody erased may still be on the disk, in {}: see that there is space for a second copy of it, then \
                 systemctl restart facelatch",
                store.path().display()
            ),
            Err(error) => error.to_string(),
        };
        self.show(Finding { check: "erasure", level: Level::Complaint, says })
    }

    /// Told where there is something to tell.
    fn recording(&mut self) -> Result<(), Failure> {
        let config = &self.ctx.config;
        let Some(replay) = config.replay.as_ref().filter(|_| config.recording_opens()) else { return Ok(()) };
        let says = format!(
            "in the camera's place, and it moves a real strike, whoever stands at the door: {}; take [replay] out of the configuration",
            replay.path.display()
        );
        self.show(Finding { check: "recording", level: Level::Complaint, says })
    }

    fn liveness(&mut self) -> Result<(), Failure> {
        let (level, says) = if self.ctx.config.photograph_opens() {
            let says = format!(
                "off: whoever holds up a photograph of somebody enrolled opens this door ({ACCEPT_KEY} stands in the \
                 configuration); don't rely on it where that matters"
            );
            (Level::Complaint, says)
        } else if self.ctx.config.liveness_required() {
            match in_force(self.ctx) {
                Ok((_, says)) if self.ctx.config.camera_alone_opens() => {
                    (Level::Complaint, format!("{says}; {CAMERA_ONLY_KEY} stands in the configuration"))
                }
                Ok(found) => found,
                Err(says) => (Level::Wrong, says),
            }
        } else {
            (Level::Ok, "not required; nothing moves".into())
        };
        self.show(Finding { check: "liveness", level, says })
    }

    fn daemon(&mut self, asked: &Result<(StatusLine, Option<i32>), String>) -> Result<(), Failure> {
        let (level, says) = match asked {
            Ok((status, process)) => program::daemons(status, *process),
            Err(why) => match no_place(&self.ctx.config.control.socket) {
                Some(why) => (Level::Wrong, why),
                None => (Level::Complaint, why.clone()),
            },
        };
        self.show(Finding { check: "daemon", level, says })
    }
}

/// What liveness judges by, and what it lets through of the worst attack that was measured, if it judges.
fn in_force(ctx: &Context) -> Result<(Level, String), String> {
    ctx.liveness_head().map_err(|failure| failure.to_string())?;
    let demands = ctx.liveness_demands().map_err(|failure| failure.to_string())?;
    let Some(point) = demands.point(demands.sources) else {
        let why = format!(
            "no table says what a score is worth by {} at target_bpcer = {}: nobody is called alive",
            demands.sources, demands.target_bpcer
        );
        return Err(why);
    };
    let (sources, required, evaluation) = (demands.sources, demands.required, &demands.thresholds.evaluation);
    let worst = point.apcer_worst.max(point.apcer_worst_held_out.unwrap_or(0.0));
    let is_coarse = ctx.config.sensors.iter().any(|sensor| sensor.driver == Driver::Amg8833);
    // A table of the installer's own is taken to be of their own sensors.
    let other = match is_coarse && sources.contains(Source::Thermal) && ctx.config.liveness.table.is_none() {
        true => OTHER_ARRAY,
        false => "",
    };
    // Written positively: a rate that isn't known is worth a complaint.
    let level = if worst <= LOOSE && other.is_empty() { Level::Ok } else { Level::Complaint };
    Ok((level, format!("by {sources}, required {required}: {point}; {evaluation}{other}")))
}

fn clock() -> Checked {
    let now = BootClock.now().wall;
    match now.is_plausible() {
        true => Ok(crate::control::rfc3339(now)),
        false => Err(format!(
            "{}: never set, so nobody with a schedule or an expiry is admitted; let systemd-timesyncd set it, or add a clock with \
             a battery",
            crate::control::rfc3339(now)
        )),
    }
}

/// `None` where nobody was ever enrolled. A daemon makes its gallery when it starts: one that misses it has lost it.
fn open_store(ctx: &Context, daemon: Option<&StatusLine>) -> Result<Option<Store>, String> {
    let (places, path) = places(ctx)?;
    if is_absent(&path) {
        let misses_it = daemon.is_some_and(|daemon| daemon.has(Fault::Store));
        return if misses_it && ctx.has_key() { Err(no_store(&path)) } else { Ok(None) };
    }
    let found = places.find(&path).map_err(|error| error.to_string())?;
    Store::open_read_only(&path, Some(&found.key)).map(Some).map_err(|error| error.to_string())
}

fn gallery(store: Option<&Store>) -> Checked {
    let Some(store) = store else { return Ok("nobody is enrolled yet: facelatch enroll NAME PHOTO".into()) };
    let people = store.people().map_err(|error| error.to_string())?;
    let templates = store.templates().map_err(|error| error.to_string())?;
    let path = store.path();
    let mode = std::fs::metadata(path).map(|meta| meta.mode() & 0o077).unwrap_or(0);
    if mode != 0 {
        return Err(format!("{} can be read by others: chmod 600 {}", path.display(), path.display()));
    }
    is_its_directorys(path)?;
    hours(&people)?;
    let people = counted(people.len(), "person", "people");
    Ok(format!("{people}, {} in {}", counted(templates.len(), "template", "templates"), path.display()))
}

/// What was stored could be read once; a time zone may lose its name when the system is renewed.
fn hours(people: &[Person]) -> Result<(), String> {
    let error = |person: &Person| Some(format!("{}: {}", person.name, Schedule::parse(&person.schedule).err()?));
    let unread: Vec<_> = people.iter().filter_map(error).collect();
    match unread.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "hours that can't be read, so that these are not admitted ({}): facelatch people schedule NAME \"…\"; time zones' old names \
             are in the package tzdata-legacy since Debian 13",
            unread.join("; ")
        )),
    }
}

/// Root opens whatever there is, and the daemon only its own.
fn is_its_directorys(path: &Path) -> Result<(), String> {
    let dir = parent(path);
    let uid = |path: &Path| {
        std::fs::metadata(path).map(|meta| meta.uid()).map_err(|error| format!("{}: {error}", path.display()))
    };
    let (own, directorys) = (uid(path)?, uid(dir)?);
    if own == directorys {
        return Ok(());
    }
    // A pattern would be the shell's of somebody who may not look into the directory. The latter two are SQLite's.
    let files = ["", "-wal", "-shm"].map(|ending| format!("{}{ending}", path.display()));
    let files: Vec<_> = files.into_iter().filter(|file| Path::new(file).exists()).collect();
    let (path, dir) = (path.display(), dir.display());
    Err(format!(
        "{path} belongs to user {own} and its directory to user {directorys}, so the daemon can't open it: chown --reference={dir} {}",
        files.join(" ")
    ))
}

fn ledger(store: Option<&Store>) -> Checked {
    let Some(store) = store else { return Ok("no events yet".into()) };
    let report = store.verify_chain().map_err(|error| error.to_string())?;
    match report.broken {
        None => Ok(format!("{} events, the chain is whole", report.intact)),
        Some(seq) => Err(format!(
            "the chain is broken at event {seq}: somebody changed the ledger; keep a copy of {} and ask who could write it",
            store.path().display()
        )),
    }
}

fn short(digest: &impl ToString) -> String {
    digest.to_string().chars().take(8).collect()
}

/// Whether the table of the network reaches the rates that the configuration demands, for this gallery.
fn scores(ctx: &Context, store: Option<&Store>, daemon: Option<&StatusLine>) -> Checked {
    let model = ctx.encoder().map_err(|failure| failure.to_string())?.spec;
    let dims = dims(&model).map_err(|failure| failure.to_string())?;
    let templates = match store {
        Some(store) => store.templates().map_err(|error| error.to_string())?,
        None => Vec::new(),
    };
    let index = Index::of_people(&model.sha256, dims, &templates).map_err(|error| error.to_string())?;
    let scale = Scale::new(ctx, &model, index.comparisons()).map_err(|failure| failure.to_string());
    let (people, target) = (index.people().len(), ctx.config.gate.target_fmr);
    let reached = scale.and_then(|scale| match goes_by_others(ctx, &scale, daemon) {
        true => Err(OTHER_SCORES.to_owned()),
        false => reached(&scale, &model.name, people, target),
    });
    let Some(other) = index.other_model() else { return reached };
    let people = store.map_or(Ok(Vec::new()), Store::people).map_err(|error| error.to_string())?;
    let names: Vec<_> =
        people.iter().filter(|person| other.people.contains(&person.id)).map(|person| person.name.as_str()).collect();
    let other = format!("{other}; they are {}", names.join(", "));
    match reached {
        Ok(_) => Err(other),
        // Whoever came by again would not be recognised by that either.
        Err(why) => Err(format!("{other}; and {why}")),
    }
}

/// Whether the running daemon demands other scores than these, also once it has read a gallery that changed.
fn goes_by_others(ctx: &Context, scale: &Scale, status: Option<&StatusLine>) -> bool {
    status.is_some_and(|status| is_at_odds(scale, status)) && {
        std::thread::sleep(GALLERY_READ);
        daemon(ctx).is_ok_and(|(status, _)| is_at_odds(scale, &status))
    }
}

/// One without a gallery or a network goes by none, and says so as a fault.
fn is_at_odds(scale: &Scale, status: &StatusLine) -> bool {
    let [identify, verify] = [scale.identify, scale.verify].map(|score| score.map(Similarity::get));
    let is_whole = !status.has(Fault::Store) && !status.has(Fault::Network);
    is_whole && (identify, verify) != (status.identify, status.verify)
}

/// The scores that are demanded of so many people, and how far the table reaches.
fn reached(scale: &Scale, model: &str, people: usize, target: Fmr) -> Checked {
    let Some(table) = &scale.calibration else { return Err(no_table(model, &scale.decider)) };
    let people = counted(people, "person", "people");
    let least = table.least();
    let enough = counted(target.comparisons(least), "person", "people");
    let ends = format!("the table ends at {least}, enough at gate.target_fmr for {enough} by one photograph each");
    match (scale.identify, scale.verify) {
        (Some(identify), Some(verify)) => Ok(format!(
            "{} {identify} among {people} for gate.target_fmr = {target}, {verify} for a claim; {ends}",
            scale.decider.measure()
        )),
        (None, Some(verify)) if !scale.searches => Ok(format!(
            "{} {verify} among {people} for a claim, and this door hears nothing else; {ends}",
            scale.decider.measure()
        )),
        _ => Err(format!(
            "the table of {model} doesn't reach {} among {people}: ask for a larger rate, or calibrate with more people; {ends}",
            scale.unreached().join(" and ")
        )),
    }
}

/// What the daemon says of itself, and its process where the kernel tells; or why it says nothing.
fn daemon(ctx: &Context) -> Result<(StatusLine, Option<i32>), String> {
    let socket = &ctx.config.control.socket;
    match client::request_and_process(socket, &Request::Status {}) {
        Ok((Response::Status(status), process)) => Ok((status, process)),
        Ok((Response::Refused { reason, .. }, _)) => Err(format!("it runs and refuses to answer: {reason}")),
        Ok((Response::Event(_), _)) => Err(format!("{}: the daemon there answers something else", socket.display())),
        Err(ClientError::Connect { .. }) => Err("not running: systemctl start facelatch".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Why no daemon can answer at this place, whoever starts it.
fn no_place(socket: &Path) -> Option<String> {
    let (shown, folder) = (socket.display(), parent(socket));
    if std::fs::symlink_metadata(socket).is_ok_and(|meta| !meta.file_type().is_socket()) {
        return Some(format!("control.socket: what lies at {shown} is no socket: move it away, or name another place"));
    }
    // The service's own is there while it runs.
    (is_absent(folder) && folder != Path::new(SERVICE_RUN)).then(|| {
        let folder = folder.display();
        format!("control.socket: {folder} isn't there: make it, the daemon's own, or name {SERVICE_RUN}/control.sock")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gallery::Comparisons;
    use crate::gate::Mode;
    use crate::hw::sensors::SensorConfig;
    use crate::ports::SensorKind;

    #[test]
    fn a_thermal_array_that_the_figures_are_not_of_is_told() {
        let says = |driver| {
            let mut ctx = Context::without_config(Globals::default());
            ctx.config.sensors = vec![SensorConfig::new(SensorKind::Thermal, driver, "/dev/i2c-1")];
            in_force(&ctx).unwrap()
        };
        let ((level, other), (_, measured)) = (says(Driver::Amg8833), says(Driver::Mlx90640));
        assert!(other.contains("an MLX90640's figures") && level == Level::Complaint, "{other}");
        assert!(!measured.contains("AMG8833"), "{measured}");
    }

    #[test]
    fn a_daemon_that_goes_by_other_scores_than_those_on_disk_is_told_and_not_one_that_has_none_because_of_a_fault() {
        let state = tempfile::tempdir().unwrap();
        let mut ctx = Context::without_config(Globals::default());
        ctx.config.store.state_dir = Some(state.path().to_owned());
        let scale = Scale::new(&ctx, &ctx.encoder().unwrap().spec, Comparisons::ONE).unwrap();
        let of = |verify: Option<f32>, faults: &[&str]| -> StatusLine {
            let line = serde_json::json!({
                "state": "idle", "since_s": 1.0, "since": "", "camera": "ok", "sensors": [], "door": "closed",
                "alarm": "silent", "faults": faults, "people": 0, "frames_seen": 1, "version": "",
                "identify": scale.identify.map(Similarity::get), "verify": verify,
            });
            serde_json::from_str(&line.to_string()).unwrap()
        };
        let same = scale.verify.map(Similarity::get);
        let at_odds = [of(same, &[]), of(Some(0.1), &[]), of(None, &[]), of(None, &["network"])]
            .map(|status| is_at_odds(&scale, &status));
        assert_eq!(at_odds, [false, true, true, false]);
    }

    #[test]
    fn how_far_the_built_in_table_reaches_is_told_and_the_readme_says_the_same() {
        let state = tempfile::tempdir().unwrap();
        let mut ctx = Context::without_config(Globals::default());
        ctx.config.store.state_dir = Some(state.path().to_owned());
        let says = scores(&ctx, None, None).unwrap();
        let readme = include_str!("../../README.md");
        let most = readme.split("**Not more than ").nth(1).and_then(|rest| rest.split('*').next()).unwrap();
        assert!(says.ends_with(&format!("for {most} by one photograph each")), "{most}: {says}");
        ctx.config.gate.target_fmr = Fmr::new(1e-9).unwrap();
        let says = scores(&ctx, None, None).unwrap_err();
        assert!(says.contains("doesn't reach gate.target_fmr = 1.0e-9") && says.contains("for 0 people by"), "{says}");
        ctx.config.gate.mode = Mode::Verification;
        let says = scores(&ctx, None, None).unwrap();
        assert!(says.contains("for a claim, and this door hears nothing else"), "{says}");
    }
}
