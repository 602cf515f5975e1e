//! What every command works with: the configuration, the directories, the networks, the store.

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Globals;
use super::exit::{Code, Failure};
use super::output::{Output, note};
use crate::config::{self, Config, DEFAULT_PATH};
use crate::face::detect::Canvas;
use crate::face::pipeline::{Faces, ModelChoice, Placing};
use crate::gallery::calibrate::{Calibration, MAX_TABLE_BYTES};
use crate::gallery::pair_head::MAX_HEAD_BYTES;
use crate::gallery::{Decider, DeciderKind, Found, KeyPlaces, PairHead, Template};
use crate::hw::clock::BootClock;
use crate::hw::owner;
use crate::hw::store::{Act, Store, Trouble};
use crate::infer::manifest::{Kind, Manifest, ManifestError, ModelFile, ModelSpec};
use crate::infer::{Decode, builtin, use_cores};
use crate::liveness::antispoof::Antispoof;
use crate::liveness::judge::Demands;
use crate::liveness::{Head, Thresholds, head};
use crate::ports::{Camera, Clock};

/// Where the service keeps its state.
pub const SERVICE_STATE: &str = "/var/lib/facelatch";
/// The gallery and ledger, in the state directory.
const STORE_FILE: &str = "facelatch.db";
/// Where a package puts networks.
const SHARED_MODELS: &str = "/usr/share/facelatch/models";
/// The key file's name, in the state directory unless the configuration says otherwise.
const KEY_FILE: &str = "facelatch.key";

/// The options that hold for every command, and what follows from them.
#[derive(Debug)]
pub struct Context {
    pub globals: Globals,
    pub config: Config,
    /// The file that the configuration came from; without one the defaults hold.
    pub config_path: Option<PathBuf>,
    pub out: Output,
}

/// As [`Context::found_key`], for whoever asks again and again.
///
/// # Errors
/// It can't be had.
pub fn found_key(places: &KeyPlaces, gallery: &Path) -> Result<Found, Failure> {
    let found = places.find(gallery)?;
    if found.notice.is_some() {
        owner::hand_over_at(&found.from).map_err(Failure::io(&found.from))?;
    }
    Ok(found)
}

/// What to do about a camera that opens, and why nothing came of it.
pub fn no_picture(camera: &str, why: &str) -> String {
    format!("{camera}: opens and gives no picture ({why}): unplug it and plug it in again")
}

/// What to do where there is a key and no gallery.
pub fn no_store(path: &Path) -> String {
    format!(
        "{}: there is a key and no gallery: if there was one, mount its file system or put the file back; if not, enrol somebody",
        path.display()
    )
}

/// How many numbers an encoding of this network has.
///
/// # Errors
/// It encodes no faces.
pub fn dims(model: &ModelSpec) -> Result<usize, Failure> {
    let Decode::Embedding { dims } = model.decode else {
        return Err(Failure::said(Code::Data, format!("{} is no network that encodes faces", model.name)));
    };
    Ok(dims)
}

impl Context {
    /// Reads the configuration that the options name, or the usual one where it exists.
    ///
    /// # Errors
    /// It can't be read or makes no sense.
    pub fn new(globals: Globals) -> Result<Self, Failure> {
        let usual = || Some(PathBuf::from(DEFAULT_PATH)).filter(|path| path.exists());
        let config_path = globals.config.clone().or_else(usual);
        let config = config_path.as_deref().map(Config::load).transpose()?.unwrap_or_default();
        use_cores(config.faces.threads as usize).map_err(|error| {
            Failure::said(Code::Os, format!("no threads for the networks ({error}): set faces.threads = 1"))
        })?;
        Ok(Self { out: Output { json: globals.json }, globals, config, config_path })
    }

    /// The defaults, for a command that goes on although the configuration is wrong: of the door it can say nothing.
    pub fn without_config(globals: Globals) -> Self {
        Self { out: Output { json: globals.json }, globals, config: Config::default(), config_path: None }
    }

    /// Where people, templates and events are kept.
    ///
    /// # Errors
    /// Nothing says where, and there is no home directory either.
    pub fn state_dir(&self) -> Result<PathBuf, Failure> {
        let env = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let service = || Some(PathBuf::from(SERVICE_STATE)).filter(|dir| dir.is_dir());
        let user = || env("XDG_STATE_HOME").or_else(|| Some(env("HOME")?.join(".local/state")));
        let said = self.globals.state.clone().or_else(|| self.config.store.state_dir.clone());
        said.or_else(|| env("STATE_DIRECTORY"))
            .or_else(service)
            .or_else(|| Some(user()?.join("facelatch")))
            .ok_or_else(|| Failure::Usage("there is no state directory: name one with --state DIR".into()))
    }

    /// The state directory, made for its owner alone where it doesn't exist.
    ///
    /// # Errors
    /// It can't be made, or is no directory.
    pub fn made_state_dir(&self) -> Result<PathBuf, Failure> {
        use std::os::unix::fs::DirBuilderExt as _;
        let dir = self.state_dir()?;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|error| {
            let sentence = format!(
                "{}: the state directory can't be made ({error}); make it, or name another with --state DIR",
                dir.display()
            );
            Failure::said(Code::CantCreate, sentence)
        })?;
        Ok(dir)
    }

    /// Where the master key may be.
    ///
    /// # Errors
    /// There is no state directory.
    pub fn key_places(&self) -> Result<KeyPlaces, Failure> {
        let file = match &self.config.store.key_file {
            Some(file) => file.clone(),
            None => self.state_dir()?.join(KEY_FILE),
        };
        Ok(KeyPlaces::from_env(file))
    }

    /// The gallery's file.
    ///
    /// # Errors
    /// There is no state directory.
    pub fn store_path(&self) -> Result<PathBuf, Failure> {
        Ok(self.state_dir()?.join(STORE_FILE))
    }

    /// Whether anybody was ever enrolled here.
    ///
    /// # Errors
    /// There is no state directory, or this user may not look.
    pub fn has_store(&self) -> Result<bool, Failure> {
        let path = self.store_path()?;
        // A link to a disk that isn't mounted leads to somebody.
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            looked => looked.map(|_| true).map_err(Failure::io(&path)),
        }
    }

    /// Everybody's templates; none, and no store is made, where nobody was ever enrolled.
    ///
    /// # Errors
    /// The store, or its key, can't be read.
    pub fn templates(&self) -> Result<Vec<Template>, Failure> {
        if self.has_store()? { Ok(self.store()?.templates()?) } else { Ok(Vec::new()) }
    }

    /// The store with its key, both made where there are none yet.
    ///
    /// # Errors
    /// Either can't be had.
    pub fn store(&self) -> Result<Store, Failure> {
        self.made_state_dir()?;
        let path = self.store_path()?;
        let found = self.found_key()?;
        if let Some(notice) = &found.notice {
            note(format_args!("facelatch: {notice}"));
        }
        Ok(Store::open(&path, &found.key)?)
    }

    /// The key, made where there is neither key nor gallery; in a directory of the daemon's user it is that user's.
    ///
    /// # Errors
    /// It can't be had.
    pub fn found_key(&self) -> Result<Found, Failure> {
        found_key(&self.key_places()?, &self.store_path()?)
    }

    /// The store for what needs no key: people and events.
    ///
    /// # Errors
    /// There is none, or it can't be read.
    pub fn store_for_reading(&self) -> Result<Store, Failure> {
        let path = self.store_path()?;
        Store::open_read_only(&path, None).map_err(|error| match error.what {
            Trouble::Missing if self.has_key() => Failure::said(Code::NoInput, no_store(&path)),
            _ => error.into(),
        })
    }

    /// Whether a key file is there, or a sealed one: whoever was enrolled has made one, and setup does.
    pub fn has_key(&self) -> bool {
        self.key_places().is_ok_and(|places| places.file.exists() || places.sealed().is_some())
    }

    /// The same with its key, for what reads templates; neither is made.
    ///
    /// # Errors
    /// There is none, or either can't be read.
    pub fn store_for_reading_templates(&self) -> Result<Store, Failure> {
        if let Ok(false) = self.has_store() {
            return self.store_for_reading();
        }
        let path = self.store_path()?;
        let key = self.key_places()?.find(&path)?.key;
        Ok(Store::open_read_only(&path, Some(&key))?)
    }

    /// Now, and who asks.
    pub fn act(&self) -> Act {
        Act { at: BootClock.now().wall, by_uid: Some(rustix::process::getuid().as_raw()) }
    }

    /// The configured camera, or the recording in its place.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn open_camera(&self) -> Result<Box<dyn Camera>, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(BootClock);
        Ok(super::run::camera(&self.config, &clock)()?)
    }

    /// Detector, second look and encoder for photographs.
    ///
    /// # Errors
    /// A network isn't here or can't run.
    pub fn faces(&self) -> Result<Faces, Failure> {
        self.faces_on(Canvas::PHOTO)
    }

    /// The same for pictures of a camera, which a canvas of their shape fits better.
    ///
    /// # Errors
    /// A network isn't here or can't run.
    pub fn faces_for(&self, width: u32, height: u32) -> Result<Faces, Failure> {
        let longer = self.config.faces.detect_px as usize;
        self.faces_on(Canvas::for_pictures(width as usize, height as usize, longer))
    }

    fn faces_on(&self, canvas: Canvas) -> Result<Faces, Failure> {
        Ok(Faces::load(&ModelChoice { canvas, ..self.model_choice()? })?)
    }

    /// The networks for photographs, read and known but not yet compiled.
    ///
    /// # Errors
    /// A network isn't here.
    pub fn model_choice(&self) -> Result<ModelChoice, Failure> {
        let (detector, landmarks, encoder) = (self.detector()?, self.landmarks()?, self.encoder()?);
        Ok(ModelChoice { detector, landmarks, encoder, canvas: Canvas::PHOTO })
    }

    /// What the configuration lets judge whether two encodings of this network are one person's.
    ///
    /// # Errors
    /// The pair head can't be read, or is another network's.
    pub fn decider(&self, model: &ModelSpec) -> Result<Decider, Failure> {
        self.decider_of(self.config.faces.decider, model)
    }

    /// The same for a decider that an option names.
    ///
    /// # Errors
    /// As [`Context::decider`].
    pub fn decider_of(&self, kind: DeciderKind, model: &ModelSpec) -> Result<Decider, Failure> {
        let decider = match kind {
            DeciderKind::Threshold => Decider::Threshold,
            DeciderKind::PairHead => Decider::PairHead(Arc::new(self.pair_head()?)),
        };
        let wrong = |error| Failure::said(Code::Data, format!("{error}"));
        decider.judges(&model.sha256, dims(model)?).map_err(wrong)?;
        Ok(decider)
    }

    fn pair_head(&self) -> Result<PairHead, Failure> {
        let Some(path) = &self.config.faces.pair_head else { return Ok(PairHead::builtin()) };
        let text = read_text(path, MAX_HEAD_BYTES).map_err(Failure::io(path))?;
        PairHead::parse(&text).map_err(|error| Failure::said(Code::Data, format!("{}: {error}", path.display())))
    }

    /// The table from this decider's score to false match rate: a pair head has its own, the plain decider's is the
    /// network's.
    ///
    /// # Errors
    /// As [`Context::calibration`].
    pub fn table(&self, model: &ModelSpec, decider: &Decider) -> Result<Option<Calibration>, Failure> {
        match decider {
            Decider::Threshold => self.calibration(model),
            Decider::PairHead(head) => Ok(head.table().cloned()),
        }
    }

    /// The table from similarity to false match rate: the one that `calibrate --keep` measured, else the one that comes
    /// with facelatch; `None` where there is neither.
    ///
    /// # Errors
    /// The kept one can't be read; falling back on another in silence would change who is admitted.
    pub fn calibration(&self, model: &ModelSpec) -> Result<Option<Calibration>, Failure> {
        let path = self.kept_calibration(model)?;
        match read_text(&path, MAX_TABLE_BYTES) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Calibration::builtin(&model.sha256)),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let sentence = format!(
                    "{}: the score table may lie there, and not for this user ({error}): run as root (sudo)",
                    path.display()
                );
                Err(Failure::said(Code::NoPermission, sentence))
            }
            Err(error) => Err(Failure::io(&path)(error)),
            Ok(text) => {
                let table = Calibration::parse(&text).and_then(|table| table.of_encoder(&model.sha256));
                table.map(Some).map_err(|error| Failure::said(Code::Data, format!("{}: {error}", path.display())))
            }
        }
    }

    /// Where `calibrate --keep` puts a network's table.
    ///
    /// # Errors
    /// There is no state directory.
    pub fn kept_calibration(&self, model: &ModelSpec) -> Result<PathBuf, Failure> {
        Ok(self.state_dir()?.join("calibration").join(format!("{}.toml", model.sha256)))
    }

    /// Where networks are looked for, in this order.
    pub fn models_dirs(&self) -> Vec<PathBuf> {
        let said = [self.globals.models.clone(), std::env::var_os("FACELATCH_MODELS").map(PathBuf::from)];
        let state = self.state_dir().ok().map(|dir| dir.join("models"));
        said.into_iter()
            .flatten()
            .chain(self.config.faces.models_dir.clone())
            .chain(state)
            .chain([PathBuf::from("models"), PathBuf::from(SHARED_MODELS)])
            .collect()
    }

    /// The network that finds faces.
    ///
    /// # Errors
    /// There is none; the sentence says how to get it.
    pub fn detector(&self) -> Result<ModelFile, Failure> {
        let choice = self.globals.detector.as_ref().or(self.config.faces.detector.as_ref());
        self.network(choice.map_or(builtin::DETECTOR, String::as_str), Kind::Detector)
    }

    /// What places the points that faces are aligned by.
    ///
    /// # Errors
    /// A network is asked for, and there is none; the sentence says how to get it.
    pub fn landmarks(&self) -> Result<Placing, Failure> {
        let choice = self.globals.landmarks.as_ref().or(self.config.faces.landmarks.as_ref());
        match choice.map_or(builtin::LANDMARKS, String::as_str) {
            config::Faces::NO_LANDMARKS => Ok(Placing::Detector),
            config::Faces::SECOND_LOOK => Ok(Placing::SecondLook),
            name => self.network(name, Kind::Landmarks).map(|file| Placing::Network(Box::new(file))),
        }
    }

    /// The network that encodes faces.
    ///
    /// # Errors
    /// There is none; the sentence says how to get it.
    pub fn encoder(&self) -> Result<ModelFile, Failure> {
        match &self.globals.model {
            Some(choice) => self.network(choice, Kind::Encoder),
            None => self.door_encoder(),
        }
    }

    /// The network that the daemon encodes faces with, whatever the command line says.
    ///
    /// # Errors
    /// As [`Context::encoder`].
    pub fn door_encoder(&self) -> Result<ModelFile, Failure> {
        self.network(self.config.faces.model.as_deref().unwrap_or(builtin::ENCODER), Kind::Encoder)
    }

    /// The network that judges whether somebody is alive.
    ///
    /// # Errors
    /// There is none, or it can't run; the sentence says why.
    pub fn liveness_head(&self) -> Result<Head, Failure> {
        let choice = self.config.liveness.head.as_deref().unwrap_or(builtin::LIVENESS);
        Ok(Head::load(&self.network(choice, Kind::Liveness)?)?)
    }

    /// What the head's scores are worth: the table that the configuration names, or the one of the built-in head.
    ///
    /// # Errors
    /// It can't be read; a head of one's own has no table until the configuration names one.
    pub fn liveness_table(&self) -> Result<Thresholds, Failure> {
        let config = &self.config.liveness;
        let parsed = |text: &str, path: &Path| {
            Thresholds::parse(text).map_err(|error| Failure::said(Code::Data, format!("{}: {error}", path.display())))
        };
        match (&config.table, &config.head) {
            (Some(path), _) => parsed(&read_text(path, head::MAX_TABLE_BYTES).map_err(Failure::io(path))?, path),
            (None, None) => Ok(Thresholds::builtin()),
            (None, Some(_)) => {
                let why = "liveness.head needs liveness.table, what its scores are worth (models/train/README.md)";
                Err(Failure::said(Code::Config, why))
            }
        }
    }

    /// What this door demands of liveness.
    ///
    /// # Errors
    /// As [`Context::liveness_table`].
    pub fn liveness_demands(&self) -> Result<Demands, Failure> {
        let (config, door) = (&self.config.liveness, self.config.sources());
        let (sources, required) = (config.sources(door), config.required(door));
        let thresholds = self.liveness_table()?;
        Ok(Demands { sources, required, target_bpcer: config.target_bpcer, thresholds })
    }

    /// The networks that judge single frames, where the configuration names some.
    ///
    /// # Errors
    /// One isn't here, is for something else, or can't run.
    pub fn antispoof(&self) -> Result<Option<Antispoof>, Failure> {
        let names = &self.config.liveness.antispoof;
        let files = names.iter().map(|name| self.network(name, Kind::AntiSpoof)).collect::<Result<Vec<_>, _>>()?;
        Ok(Antispoof::load(&files)?)
    }

    fn network(&self, name_or_file: &str, kind: Kind) -> Result<ModelFile, Failure> {
        let (manifest, dirs) = (Manifest::builtin(), self.models_dirs());
        for dir in &dirs {
            match manifest.resolve(dir, name_or_file) {
                Err(ManifestError::NoSuch { .. }) => {}
                found => return Ok(found?.expect(kind)?),
            }
        }
        Err(Failure::said(Code::NoInput, no_such_network(&manifest, name_or_file, kind, &dirs)))
    }
}

/// A text of at most `max` bytes; of a longer one the first `max + 1`, which whoever parses it refuses.
pub fn read_text(path: &Path, max: usize) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(max as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// How to get a network that isn't there.
fn no_such_network(manifest: &Manifest, name: &str, kind: Kind, dirs: &[PathBuf]) -> String {
    let looked = dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ");
    match manifest.find_by_name(name) {
        Some(spec) => format!(
            "the {kind} {name} isn't here (looked in {looked}).\n  Get {} from {}\n  (SHA-256 {}), then run: facelatch models add {}",
            spec.file, spec.source, spec.sha256, spec.file
        ),
        None => {
            let known = manifest.models().iter().filter(|spec| spec.kind() == kind).map(|spec| spec.name.as_str());
            let known = known.collect::<Vec<_>>().join(", ");
            format!(
                "there is no {kind} {name} in {looked}; known are {known}; or name an ONNX file with a .toml beside it"
            )
        }
    }
}
