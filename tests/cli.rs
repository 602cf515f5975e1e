//! The binary from outside: what it answers, with which exit code, and what it says about bad input.
//!
//! The people are the demo's, whom nobody has ever met.

mod bench;
mod deciders;
mod door;
mod events;
mod faces;
mod keeping;
mod liveness;
mod release;
mod setup;
mod upkeep;

use std::fs;
use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use facelatch::digest::Digest;
use facelatch::face::encoding::Encoding;
use facelatch::gallery::{KeyPlaces, NewPerson, NewTemplate};
use facelatch::hw::store::{Act, Store};
use facelatch::person::Name;
use facelatch::time::Wall;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with a configuration and a state directory of its own.
struct Home(tempfile::TempDir);

struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let socket = home.path("control.sock");
        home.configure(&format!("[control]\nsocket = {socket:?}\n"));
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn configure(&self, text: &str) {
        fs::write(self.path("door.toml"), text).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = crate::testing::command(env!("CARGO_BIN_EXE_facelatch"));
        command.args(args).arg("--config").arg(self.path("door.toml")).arg("--state").arg(self.path("state"));
        for name in ["FACELATCH_MODELS", "STATE_DIRECTORY", "CREDENTIALS_DIRECTORY", "XDG_STATE_HOME"] {
            command.env_remove(name);
        }
        command.current_dir(self.0.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> Said {
        said(self.command(args))
    }

    /// Somebody enrolled by a made-up encoding.
    fn enrol(&self, name: &str, seed: f32) {
        let state = self.path("state");
        fs::create_dir_all(&state).unwrap();
        let path = state.join("facelatch.db");
        let key = KeyPlaces { credentials: None, file: state.join("facelatch.key") }.find(&path).unwrap().key;
        let act = Act { at: Wall::from_unix_millis(1_790_000_000_000), by_uid: None };
        let encoding = Encoding::from_raw(&[seed, 1.0, 0.5]).unwrap();
        let template = NewTemplate { encoding, model_sha256: Digest([7; 32]), created: act.at, quality: 1.0 };
        let mut store = Store::open(&path, &key).unwrap();
        store.enrol(&NewPerson::new(Name::new(name).unwrap()), &[template], 8, act).unwrap();
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name).display().to_string()
    }
}

/// Without what lets root read every file and give files away: modes and owners hold for it as for anybody.
fn unprivileged(mut command: Command) -> Command {
    use std::os::unix::process::CommandExt as _;
    const CHOWN: libc::c_ulong = 0;
    const DAC_OVERRIDE: libc::c_ulong = 1;
    const DAC_READ_SEARCH: libc::c_ulong = 2;
    let drop = || {
        for capability in [CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH] {
            // SAFETY: prctl(2) with numbers alone. It fails where this isn't root, who has nothing to drop.
            let _nothing_to_drop = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        }
        Ok(())
    };
    // SAFETY: between fork and exec nothing but a system call is made.
    unsafe { command.pre_exec(drop) };
    command
}

fn said(mut command: Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

impl Said {
    /// Checks the code, and that standard error says each of these and nothing of a panic.
    #[track_caller]
    fn fails(&self, code: i32, sentence: &[&str]) {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        for part in sentence {
            assert!(self.err.contains(part), "no {part:?} in: {}", self.err);
        }
    }

    #[track_caller]
    fn json(&self) -> Value {
        let lines: Vec<_> = self.out.lines().collect();
        assert_eq!(lines.len(), 1, "one object: {}{}", self.out, self.err);
        serde_json::from_str(lines[0]).unwrap()
    }
}

/// A picture of one of the demo's people.
fn picture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo").join(name).display().to_string()
}

fn jpeg() -> Vec<u8> {
    let image = image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8 * 4, y as u8 * 4, 128]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

#[test]
fn help_documents_the_exit_codes_and_a_wrong_argument_is_usage() {
    let home = Home::new();
    let help = home.run(&["--help"]);
    assert_eq!(help.code, 0);
    for line in ["Exit codes:", "   0  yes, or done", "  65  ", "  66  ", "  69  ", "  77  not allowed", "  78  "] {
        assert!(help.out.contains(line), "{line}: {}", help.out);
    }
    said(crate::testing::command(env!("CARGO_BIN_EXE_facelatch"))).fails(2, &["Usage: facelatch"]);
    home.run(&["open-sesame"]).fails(2, &["open-sesame"]);
    home.run(&["enroll", "Ana"]).fails(2, &["PHOTOS"]);
    home.run(&["events", "--outcome", "opened"]).fails(2, &["granted"]);
    home.run(&["people", "expire", "Ana", "someday"]).fails(2, &["someday", "2026-12-31"]);
    home.run(&["enroll", "Ana", "ana.jpg", "--shots", "3"]).fails(2, &["--shots"]);
}

#[test]
fn man_pages_and_completions_come_from_the_command_line_itself() {
    let home = Home::new();
    let dir = home.path("man");
    for which in ["made", "there"] {
        home.run(&["man", &dir.display().to_string()]).fails(0, &[]);
        assert!(fs::read_dir(&dir).unwrap().count() > 20, "{which}");
    }
    let page = fs::read_to_string(dir.join("facelatch.1")).unwrap();
    assert!(page.contains("Exit codes") && page.contains("enroll"), "{page}");
    assert!(dir.join("facelatch-enroll.1").exists());
    home.run(&["man", "/nowhere/at/all"]).fails(66, &["/nowhere/at/all"]);
    for shell in ["bash", "zsh", "fish"] {
        assert!(home.run(&["completions", shell]).out.contains("identify"), "{shell}");
    }
}

#[test]
fn a_configuration_that_is_wrong_is_refused_with_its_line() {
    let home = Home::new();
    home.configure("[gate]\nagree = 2\npuls_ms = 5\n");
    home.run(&["people", "list"]).fails(78, &["door.toml, line 3: gate.puls_ms: there is no such key", "pulse_ms"]);
    home.configure("[strike]\nkind = \"gpiochip\"\nline = 17\n");
    home.run(&["run"]).fails(78, &["camera_only_opens_the_door = true"]);
    let wired = |chip: &str| {
        home.configure(&format!(
            "[liveness]\ncamera_only_opens_the_door = true\n[strike]\nkind = \"gpiochip\"\nchip = {chip:?}\nline = 17\n"
        ));
        home.run(&["run"])
    };
    wired("/dev/gpiochip987").fails(66, &["/dev/gpiochip987 line 17", "gpiodetect"]);
    wired("/dev/null").fails(66, &["/dev/null is no GPIO chip"]);
    fs::remove_file(home.path("door.toml")).unwrap();
    home.run(&["status"]).fails(78, &["door.toml: there is no configuration; sudo facelatch setup writes one"]);
    fs::create_dir(home.path("door.toml")).unwrap();
    home.run(&["status"]).fails(78, &["check that it is a file"]);
}

#[test]
fn a_photograph_that_is_none_is_refused_with_what_to_do() {
    let home = Home::new();
    let good = home.write("good.jpg", &jpeg());
    let dir = home.0.path().display().to_string();
    home.run(&["compare", &good, &dir]).fails(65, &["is a folder; name the photos in it"]);
    let cut = home.write("cut.jpg", &jpeg()[..jpeg().len() / 2]);
    home.run(&["verify", "Ana", &cut]).fails(65, &["cut.jpg", "ends before its picture does"]);
    let mut wide = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(20_000, 2).write_to(&mut wide, image::ImageFormat::Png).unwrap();
    let wide = home.write("wide.png", wide.get_ref());
    home.run(&["identify", &wide]).fails(65, &["20000x2 pixels are too many; scale it down"]);
    let text = home.write("text.jpg", b"no picture at all");
    home.run(&["enroll", "Ana", &good, &text]).fails(65, &["text.jpg", "not a picture"]);
    home.run(&["identify", "/nowhere.jpg"]).fails(66, &["/nowhere.jpg"]);
    assert!(!home.path("state").exists(), "nothing was made for input that was refused");
}

#[test]
fn a_network_that_is_not_here_is_named_with_how_to_get_it() {
    let home = Home::new();
    let photo = home.write("photo.jpg", &jpeg());
    let sentence = ["yunet", "SHA-256 8f2383e4", "facelatch models add face_detection_yunet_2023mar.onnx"];
    home.run(&["identify", &photo, "--detector", "yunet"]).fails(66, &sentence);
    home.run(&["identify", &photo, "--detector", "retina"])
        .fails(66, &["retina", "known are facelatch-detector, yunet"]);
    let junk = home.write("mine.onnx", b"no network");
    home.run(&["models", "add", &junk]).fails(65, &["mine.onnx", "mine.toml"]);
    let damaged = home.write("face_detection_yunet_2023mar.onnx", b"half a download");
    home.run(&["models", "add", &damaged]).fails(65, &["damaged"]);
    home.run(&["models", "add", &home.0.path().display().to_string()]).fails(65, &["not a file"]);
    let list = home.run(&["models", "list", "--json"]);
    assert!(list.out.lines().all(|line| serde_json::from_str::<Value>(line).unwrap()["sha256"].is_string()));
    assert_eq!(list.out.matches("\"built_in\":true").count(), 5, "{}", list.out);
    let list = home.run(&["models", "list"]).out;
    assert!(list.lines().any(|line| line.starts_with("yunet ") && line.contains(" not here, from https://")), "{list}");
}

#[test]
fn a_state_directory_that_cannot_be_is_named() {
    let home = Home::new();
    home.run(&["people", "list"]).fails(66, &["there is no gallery yet"]);
    // A file in its place: not even root gets past that.
    fs::write(home.path("state"), "").unwrap();
    home.run(&["people", "rename", "Ana", "Bea"]).fails(73, &["state", "can't be made"]);
    let doctor = home.run(&["doctor"]);
    assert_eq!(doctor.code, 1);
    assert!(doctor.out.contains("is no directory"), "{}", doctor.out);
}

#[test]
fn people_are_listed_changed_exported_and_erased() {
    let home = Home::new();
    home.enrol("Ana Ruiz", 1.0);
    home.enrol("Ben", -1.0);
    let list = home.run(&["people", "list", "--json"]);
    assert_eq!((list.code, list.out.lines().count()), (0, 2));
    let renamed = home.run(&["people", "rename", "Ben", "Benito", "--json"]).json();
    assert_eq!((&renamed["person"], &renamed["id"]), (&"Benito".into(), &2.into()));
    home.run(&["people", "rename", "Benito", "Ana Ruiz"]).fails(65, &["enrolled already"]);
    home.run(&["people", "show", "Ben"]).fails(66, &["nobody here is called 'Ben'"]);
    let expired = home.run(&["people", "expire", "#2", "2026-12-31T18:00:00Z", "--json"]).json();
    assert_eq!(expired["expires"], "2026-12-31T18:00:00.000Z");
    assert!(home.run(&["people", "expire", "Benito", "never", "--json"]).json()["expires"].is_null());
    home.run(&["people", "schedule", "Benito", "Mon 7-9"]).fails(2, &["time zone"]);
    let schedule = home.run(&["people", "schedule", "Benito", "Sat 08:00-12:00 UTC", "--json"]).json();
    assert_eq!(schedule["schedule"], "Sat 08:00-12:00 UTC");
    let file = home.path("benito.json");
    assert_eq!(home.run(&["people", "export", "Benito", "--out", &file.display().to_string()]).code, 0);
    let export: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(export["templates"][0]["encoding"].as_array().unwrap().len(), 3);
    let erased = home.run(&["people", "erase", "Benito", "--yes", "--json"]).json();
    assert_eq!((&erased["person"], &erased["templates"]), (&"Benito".into(), &1.into()));
    home.run(&["people", "erase", "Benito", "--yes"]).fails(66, &["nobody here"]);
}

#[test]
fn without_a_terminal_nobody_is_erased_unless_it_is_said() {
    let home = Home::new();
    home.enrol("Ana", 1.0);
    for answer in ["n\n", "y\n", ""] {
        let file = home.write("answer", answer.as_bytes());
        let mut command = home.command(&["people", "erase", "Ana"]);
        command.stdin(fs::File::open(file).unwrap());
        said(command).fails(2, &["no terminal", "Ana", "--yes"]);
    }
    assert_eq!(home.run(&["people", "show", "Ana"]).code, 0);
}

#[test]
fn a_name_that_looks_like_a_number_is_refused_and_an_old_one_goes_by_its_number() {
    let home = Home::new();
    home.enrol("Ana", 1.0);
    home.enrol("Ben", -1.0);
    home.run(&["people", "rename", "Ben", "#1"]).fails(2, &["can't begin with #"]);
    home.run(&["enroll", "#1", &picture("ada-1.jpg")]).fails(2, &["can't begin with #"]);
    let db = rusqlite::Connection::open(home.path("state/facelatch.db")).unwrap();
    db.execute("UPDATE people SET name = '#1' WHERE id = 2", []).unwrap();
    drop(db);
    assert_eq!(home.run(&["people", "show", "#1", "--json"]).json()["person"], "Ana");
    assert_eq!(home.run(&["people", "show", "#2", "--json"]).json()["person"], "#1");
    assert_eq!(home.run(&["people", "rename", "#2", "Ben", "--json"]).json()["person"], "Ben");
}

#[test]
fn a_changed_ledger_is_found_out() {
    let home = Home::new();
    home.enrol("Ana", 1.0);
    home.enrol("Ben", -1.0);
    let events = home.run(&["events", "--json", "--person", "Ben"]).json();
    assert_eq!((&events["outcome"], &events["person"]), (&"enrolled".into(), &"Ben".into()));
    assert_eq!(events["hash"].as_str().unwrap().len(), 64);
    assert_eq!(home.run(&["events", "--since", "2020-01-01"]).out.lines().count(), 2);
    let cut = home.run(&["events", "--since", "2020-01-01", "--limit", "1", "--json"]);
    assert_eq!(cut.json()["person"], "Ben", "the last one");
    assert!(cut.err.contains("1 earlier event since then not shown; --limit 2 shows all"), "{}", cut.err);
    let all = home.run(&["events", "--since", "2020-01-01", "--limit", "2"]);
    assert_eq!((all.out.lines().count(), &*all.err), (2, ""));
    assert_eq!(home.run(&["events", "--verify"]).code, 0);
    let db = rusqlite::Connection::open(home.path("state/facelatch.db")).unwrap();
    db.execute("UPDATE events SET outcome = 'granted' WHERE seq = 2", []).unwrap();
    drop(db);
    let broken = home.run(&["events", "--verify", "--json"]);
    assert_eq!((broken.code, &broken.json()["broken_at"]), (1, &2.into()));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    home.enrol("Ana", 1.0);
    fs::set_permissions(home.path("state/facelatch.key"), fs::Permissions::from_mode(0o644)).unwrap();
    home.run(&["people", "export", "Ana"]).fails(77, &["can be read by others", "chmod 600"]);
    fs::remove_file(home.path("state/facelatch.key")).unwrap();
    home.run(&["people", "export", "Ana"]).fails(66, &["restore the key from its copy"]);
    home.write("state/facelatch.key.cred", b"sealed");
    home.run(&["people", "export", "Ana"]).fails(66, &["a sealed one", "systemd-run", "facelatch.key.cred"]);
    let doctor = home.run(&["doctor"]).out;
    assert!(doctor.lines().any(|line| line.starts_with("NO  key") && line.contains("systemd-run")), "{doctor}");
}

#[test]
fn what_this_user_may_not_read_is_not_taken_for_absent() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let key = home.path("door.key");
    home.configure(&format!("[store]\nkey_file = {key:?}\n"));
    home.enrol("Ana", 1.0);
    fs::rename(home.path("state/facelatch.key"), &key).unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let run = |args: &[&str]| said(unprivileged(home.command(args)));
    for shut in [home.path("state"), home.path("state/facelatch.db")] {
        let before = fs::metadata(&shut).unwrap().permissions().mode();
        mode(&shut, 0);
        for args in [&["people", "list"][..], &["events"], &["events", "--verify"]] {
            run(args).fails(77, &["facelatch.db", "may not open", "sudo"]);
        }
        let doctor = run(&["doctor"]);
        for check in ["gallery", "ledger"] {
            assert!(doctor.out.contains(&format!("NO  {check:<14} {}", home.0.path().display())), "{}", doctor.out);
        }
        mode(&shut, before);
    }
    mode(&key, 0);
    run(&["people", "export", "Ana"]).fails(77, &["door.key", "sudo"]);
    let doctor = run(&["doctor"]).out;
    assert!(doctor.contains("NO  key") && doctor.contains("NO  gallery") && doctor.contains("NO  ledger"), "{doctor}");
}

#[test]
fn the_doctor_says_what_to_do_about_each_thing() {
    let home = Home::new();
    let (chip, device) = (home.write("chip", b""), home.path("video9"));
    let socket = home.path("control.sock");
    home.configure(&format!(
        "[camera]\ndevice = {device:?}\n[faces]\ndetector = \"yunet\"\n[strike]\nkind = \"gpiochip\"\nchip = {chip:?}\nline = 17\n\
         [control]\nsocket = {socket:?}\n[liveness]\ni_accept_that_a_photograph_opens_this_door = true\n"
    ));
    let doctor = home.run(&["doctor", "--json"]);
    assert_eq!(doctor.code, 1, "{}", doctor.err);
    let findings: Vec<Value> = doctor.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |check: &str| findings.iter().find(|finding| finding["check"] == check).unwrap();
    assert_eq!(of("configuration")["level"], "ok");
    assert_eq!(of("clock")["level"], "ok");
    assert!(of("camera")["says"].as_str().unwrap().contains("no such device: plug the camera in"), "{}", of("camera"));
    assert!(of("strike")["says"].as_str().unwrap().contains("is no GPIO chip"), "{}", of("strike"));
    assert!(of("networks")["says"].as_str().unwrap().contains("facelatch models add"), "{}", of("networks"));
    assert_eq!(of("liveness")["level"], "complaint");
    home.configure("[gat]\n");
    let doctor = home.run(&["doctor", "--json"]);
    assert!(doctor.code == 1 && doctor.out.contains("line 1: gat: there is no such key"), "{}", doctor.out);
    let findings: Vec<Value> = doctor.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let checks = findings.iter().map(|finding| finding["check"].as_str().unwrap()).filter(|check| *check != "kernels");
    assert!(checks.eq(["program", "configuration", "clock", "swap", "rest"]), "of the default door: {}", doctor.out);
}

#[test]
fn the_doctor_shows_what_each_sensor_measures_or_what_is_wrong_with_it() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let home = Home::new();
    let socket = home.path("thermal.sock");
    home.configure(&format!(
        "[[sensor]]\nkind = \"distance\"\ndriver = \"iio\"\ndevice = \"nothing-like-it\"\n\
         [[sensor]]\nkind = \"thermal\"\ndriver = \"grid\"\ndevice = \"unix:{}\"\nmirror = true\n",
        socket.display()
    ));
    let body = "thermal 3 1 0 20.5 21 34";
    let line = format!("{body}*{:02x}", body.bytes().fold(0, |sum, byte| sum ^ byte));
    let is_over = AtomicBool::new(false);
    let doctor = std::thread::scope(|scope| {
        scope.spawn(|| {
            let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
            sender.set_nonblocking(true).unwrap();
            while !is_over.load(Ordering::Relaxed) {
                let _not_there_yet_or_full = sender.send_to(line.as_bytes(), &socket);
                std::thread::yield_now();
            }
        });
        let doctor = home.run(&["doctor"]);
        is_over.store(true, Ordering::Relaxed);
        doctor
    });
    assert_eq!(doctor.code, 1, "{}", doctor.err);
    let line_of = |start: &str| doctor.out.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
    assert!(line_of("NO  distance").contains("nothing-like-it: the kernel has no such IIO device"), "{}", doctor.out);
    assert!(line_of("ok  thermal").contains("3x1, 20.5 to 34.0 °C"), "{}", doctor.out);
    assert_eq!(line_of("      |"), "      |@..|", "as the door sees it");
    assert!(!socket.exists());
}

#[test]
fn a_reader_that_has_gone_ends_it_in_silence_and_a_full_disk_does_not() {
    let home = Home::new();
    for args in [&["completions", "bash"][..], &["models", "list"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = home.command(args);
        command.stdout(writer);
        let said = said(command);
        assert_eq!((said.code, said.err.as_str()), (74, ""));
    }
    let mut command = home.command(&["models", "list"]);
    command.stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    said(command).fails(74, &["standard output: No space left"]);
}

#[test]
fn kernels_that_there_are_none_of_are_told_by_the_doctor_and_by_the_daemon() {
    let home = Home::new();
    home.configure("[control]\ngroup = \"nobody-like-it\"\n");
    let with_wish = |args: &[&str]| {
        let mut command = home.command(args);
        command.env("FACELATCH_KERNELS", "avx9");
        said(command)
    };
    with_wish(&["run"]).fails(78, &["FACELATCH_KERNELS=avx9: no kernels have that name; the scalar kernels run"]);
    let doctor = with_wish(&["doctor", "--layers"]).out;
    assert!(doctor.contains("!!  kernels        FACELATCH_KERNELS=avx9: no kernels"), "{doctor}");
    assert!(doctor.lines().any(|line| line.starts_with("ok  encoder        scalar")), "{doctor}");
}

#[test]
fn the_demo_opens_the_door_for_the_known_face_and_ends_every_visit_as_it_must_whoever_tries_it() {
    use std::os::unix::fs::PermissionsExt as _;
    // As on a board that is set up, for somebody who isn't root.
    let home = Home::new();
    fs::create_dir(home.path("state")).unwrap();
    let mode = |mode| fs::set_permissions(home.path("state"), fs::Permissions::from_mode(mode)).unwrap();
    // The board's door is not the demo's.
    home.configure("[gate]\nmode = \"verification\"\ntarget_fmr = 1e-9\n");
    mode(0);
    let mut demo = home.command(&["demo"]);
    demo.env("FACELATCH_LOG", "loud");
    let demo = said(unprivileged(demo));
    assert!(demo.err.contains("FACELATCH_LOG=loud: a level is off, error,"), "{}", demo.err);
    let compared = said(unprivileged(home.command(&["compare", &picture("ada-1.jpg"), &picture("ada-2.jpg")])));
    mode(0o700);
    compared.fails(77, &["calibration", "run as root (sudo)"]);
    if crate::testing::is_emulated() {
        let few =
            "an emulator judges too few frames in the time that somebody stands there, so nobody had to be let in";
        crate::testing::skipped(few);
        assert!(demo.out.matches("granted").count() <= 1 && demo.out.contains("    exit"), "{}{}", demo.out, demo.err);
        return;
    }
    assert_eq!(demo.code, 0, "{}{}", demo.out, demo.err);
    assert_eq!(demo.out.matches("granted").count(), 1, "{}", demo.out);
}
