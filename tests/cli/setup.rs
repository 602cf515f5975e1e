//! `setup` from outside: answers out of a file and typed at a terminal, what it writes, and what it leaves alone.

use std::io::Read as _;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;

use facelatch::config::Config;

use super::*;

/// How often setup is stopped by each signal.
const STOPS: u32 = 25;

/// A home without a configuration, and pictures of Ada that play in a camera's place.
fn bare() -> (Home, String) {
    let home = Home::new();
    fs::remove_file(home.path("door.toml")).unwrap();
    fs::create_dir(home.path("frames")).unwrap();
    for name in ["ada-1.jpg", "ada-2.jpg"] {
        fs::copy(picture(name), home.path("frames").join(name)).unwrap();
    }
    let camera = format!("camera.device = {:?}\n", home.path("frames"));
    (home, camera)
}

impl Home {
    fn set_up(&self, answers: &str, options: &[&str]) -> Said {
        let file = self.write("answers.toml", answers.as_bytes());
        self.run(&[&["setup", "--answers", &file], options].concat())
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o7777
    }

    fn names(&self) -> Vec<String> {
        let listed = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn answers_from_a_file_make_a_door_that_the_doctor_finds_well() {
    let (home, camera) = bare();
    let answers = format!("{camera}person.name = \"Ada\"\nperson.consent = \"in person, 2026-11-28\"\n");
    let shown = home.set_up(&answers, &["--dry-run"]);
    assert_eq!((shown.code, home.names()), (0, ["answers.toml", "frames"].map(String::from).to_vec()), "{}", shown.err);
    let made = home.set_up(&answers, &[]);
    assert_eq!(made.code, 0, "{}{}", made.out, made.err);
    assert!(made.out.contains("All is well: no line begins with NO") && !made.out.contains("\nNO "), "{}", made.out);
    assert!(made.err.contains("stand before the camera") && made.err.contains("5 of 5 taken"), "{}", made.err);
    assert!(made.err.contains("Keep a copy away from the board"), "{}", made.err);
    let text = fs::read_to_string(home.path("door.toml")).unwrap();
    assert_eq!(text, shown.out, "the dry run shows what is written");
    let config = Config::load(&home.path("door.toml")).unwrap();
    assert_eq!(config.replay.map(|replay| replay.path), Some(home.path("frames")));
    assert_eq!(config.store.state_dir, Some(home.path("state")));
    let modes = ["door.toml", "facelatch.key", "state"].map(|name| home.mode(name));
    assert_eq!(modes, [0o644, 0o600, 0o700]);
    assert_eq!(home.names(), ["answers.toml", "door.toml", "facelatch.key", "frames", "state"]);
    let ada = home.run(&["people", "show", "Ada", "--json"]).json();
    assert_eq!(ada["consent"], "in person, 2026-11-28", "{ada}");
    assert_eq!(home.run(&["identify", &picture("ada-3.jpg")]).code, 0);
}

#[test]
fn a_configuration_that_is_there_is_replaced_only_where_it_is_said_and_the_key_never() {
    let (home, camera) = bare();
    home.configure("[gate]\nagree = 2\n");
    home.set_up(&camera, &[])
        .fails(65, &["answers.toml, line 1: camera.device: there is a configuration", "replace = true"]);
    assert_eq!(home.names(), ["answers.toml", "door.toml", "frames"], "nothing was made");
    let replaced = home.set_up(&format!("replace = true\n{camera}"), &[]);
    assert_eq!(replaced.code, 0, "{}{}", replaced.out, replaced.err);
    assert!(replaced.err.contains("Not taken over") && replaced.err.contains(": gate.agree\n"), "{}", replaced.err);
    assert_eq!(fs::read_to_string(home.path("door.toml.old")).unwrap(), "[gate]\nagree = 2\n");
    let key = fs::read(home.path("facelatch.key")).unwrap();
    let again = home.set_up(&format!("replace = true\n{camera}"), &[]);
    assert!(
        again.code == 0 && again.out.contains("door.toml.old.2") && again.out.contains("as before"),
        "{}",
        again.out
    );
    assert_eq!(fs::read(home.path("facelatch.key")).unwrap(), key);
    let kept = home.set_up("", &["--json"]);
    assert_eq!(kept.code, 0, "{}{}", kept.out, kept.err);
    let first: Value = serde_json::from_str(kept.out.lines().next().unwrap()).unwrap();
    assert_eq!((&first["copy"], &first["key"]), (&Value::Null, &home.path("facelatch.key").to_str().into()));
    home.configure("[gat]\n");
    home.set_up("", &[]).fails(65, &["replace: it can't be kept as it is", "line 1: gat"]);
}

#[test]
fn a_sample_that_says_nothing_makes_way_and_is_kept() {
    let (home, camera) = bare();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/facelatch.toml");
    fs::copy(&sample, home.path("door.toml")).unwrap();
    assert_eq!(home.set_up(&camera, &[]).code, 0);
    assert_eq!(fs::read(home.path("door.toml.old")).unwrap(), fs::read(sample).unwrap());
}

#[test]
fn wrong_answers_are_named_with_their_line_and_nothing_is_made() {
    let (home, camera) = bare();
    let wrong = |answers: &str, sentence: &[&str]| home.set_up(answers, &[]).fails(65, sentence);
    wrong("[strike]\nlime = 17\n", &["answers.toml, line 2: strike.lime: there is no such question", "strike.line"]);
    wrong(&format!("{camera}strike.line = 4000000\n"), &["line 2: strike.line: there is no line 4000000"]);
    wrong(&format!("{camera}strike.fail = \"safe\"\n"), &["line 2: strike.fail: asked only where a strike is wired"]);
    wrong(&format!("{camera}person.name = \"Ada\"\n"), &["person.consent: it needs an answer"]);
    wrong(&format!("{camera}sensors = \"nose\"\n"), &["line 2: sensors: ", "KIND:DRIVER:DEVICE"]);
    wrong("camera.device = \"/dev/video987\"\n", &["line 1: camera.device: /dev/video987 is no camera"]);
    wrong("camera.device = \"/nowhere\"\n", &["line 1: camera.device: /nowhere isn't there"]);
    wrong("camera = \n", &["answers.toml, line 1"]);
    home.run(&["setup", "--answers", "/nowhere.toml"]).fails(66, &["/nowhere.toml"]);
    home.run(&["setup"]).fails(2, &["no terminal", "--answers FILE", "--questions"]);
    assert_eq!(home.names(), ["answers.toml", "frames"]);
}

#[test]
fn what_is_not_well_is_told_and_ends_with_no() {
    let (home, _) = bare();
    fs::create_dir(home.path("empty")).unwrap();
    let answers = format!(
        "camera.device = {:?}\nperson.name = \"Ada\"\nperson.consent = \"paper\"\nperson.photos = [{:?}]\n",
        home.path("empty"),
        picture("ada-1.jpg")
    );
    let made = home.set_up(&answers, &[]);
    assert_eq!(made.code, 1, "{}{}", made.out, made.err);
    assert!(made.out.contains("NO  camera") && made.out.contains("Each line with NO says what to do"), "{}", made.out);
    assert!(made.out.contains("Ada is enrolled: 1 kept") && home.path("door.toml").exists(), "{}", made.out);
    let stranger = home.write("empty.jpg", &jpeg());
    let answers = format!("person.name = \"Ben\"\nperson.consent = \"paper\"\nperson.photos = {stranger:?}\n");
    let kept = home.set_up(&answers, &[]);
    assert!(kept.code == 1 && kept.out.contains("The first person is not enrolled"), "{}", kept.out);
}

#[test]
fn without_its_key_a_gallery_is_left_alone_and_so_is_the_configuration() {
    let (home, camera) = bare();
    home.enrol("Ana", 1.0);
    let gallery = fs::read(home.path("state/facelatch.db")).unwrap();
    let lost = home.set_up(&camera, &[]);
    lost.fails(66, &["restore the key from its copy"]);
    assert_eq!(fs::read(home.path("state/facelatch.db")).unwrap(), gallery);
    assert_eq!(home.names(), ["answers.toml", "frames", "state"]);
    fs::copy(home.path("state/facelatch.key"), home.path("facelatch.key")).unwrap();
    fs::set_permissions(home.path("facelatch.key"), fs::Permissions::from_mode(0o644)).unwrap();
    home.set_up(&camera, &[]).fails(77, &["chmod 600"]);
    assert!(!home.path("door.toml").exists());
}

#[test]
fn a_key_that_systemd_alone_opens_is_told_before_an_answer_is_read() {
    let (home, _) = bare();
    home.write("facelatch.key.cred", b"sealed");
    let wrong = "[strike]\nlime = 17\n";
    let sealed = ["facelatch.key: no key file there, but a sealed one", "LoadCredentialEncrypted=", "docs/upkeep.md"];
    home.set_up(wrong, &[]).fails(66, &sealed);
    fs::create_dir(home.path("handed")).unwrap();
    home.write("handed/facelatch.key", "ab".repeat(32).as_bytes());
    let answers = home.path("answers.toml").display().to_string();
    let mut by_systemd = home.command(&["setup", "--answers", &answers]);
    by_systemd.env("CREDENTIALS_DIRECTORY", home.path("handed"));
    said(by_systemd).fails(65, &["answers.toml, line 2: strike.lime"]);
    fs::copy(home.path("handed/facelatch.key"), home.path("facelatch.key")).unwrap();
    fs::set_permissions(home.path("facelatch.key"), fs::Permissions::from_mode(0o600)).unwrap();
    home.set_up(wrong, &[]).fails(65, &["answers.toml, line 2: strike.lime"]);
}

#[test]
fn questions_are_a_file_to_be_filled_in() {
    let (home, camera) = bare();
    let questions = home.run(&["setup", "--questions"]);
    assert_eq!(questions.code, 0);
    assert!(questions.out.contains("#person.consent = \"\"") && questions.out.contains("#strike.line = \"none\""));
    let filled: String = questions
        .out
        .lines()
        .filter(|line| !line.starts_with("camera.device"))
        .fold(camera, |text, line| text + line + "\n");
    assert_eq!(home.set_up(&filled, &["--dry-run"]).code, 0);
    assert!(
        home.run(&["setup", "--questions", "--json"]).json()["answers"].as_str().unwrap().contains("store.key_file")
    );
}

/// Signalled at instants up to thrice the time that it takes until the new configuration stands: how often the old one
/// was left, and how often the new.
fn stopped_by(signal: rustix::process::Signal) -> (u32, u32, Vec<String>) {
    let (home, camera) = bare();
    let old = "[gate]\nagree = 2\n";
    home.configure(old);
    let file = home.write("answers.toml", format!("replace = true\n{camera}").as_bytes());
    let new = home.run(&["setup", "--answers", &file, "--dry-run"]).out;
    let start = || {
        home.configure(old);
        for name in home.names().iter().filter(|name| name.contains(".old") || *name == "facelatch.key") {
            fs::remove_file(home.path(name)).unwrap();
        }
        let mut command = home.command(&["setup", "--answers", &file]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let (begun, mut whole) = (Instant::now(), start());
    while fs::read_to_string(home.path("door.toml")).unwrap() != new {
        assert!(begun.elapsed() < PATIENCE, "it writes nothing");
        std::thread::sleep(Duration::from_millis(1));
    }
    let takes = begun.elapsed();
    whole.kill().unwrap();
    whole.wait().unwrap();
    let (mut olds, mut news) = (0, 0);
    for stop in 0..STOPS {
        let mut child = start();
        std::thread::sleep(takes * 3 * stop / STOPS);
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        child.wait().unwrap();
        let found = fs::read_to_string(home.path("door.toml")).unwrap();
        assert!(found == old || found == new, "half a configuration: {found:?}");
        (olds, news) = if found == old { (olds + 1, news) } else { (olds, news + 1) };
        let key = fs::read(home.path("facelatch.key")).unwrap_or_else(|_| vec![b'0'; 65]);
        assert_eq!(key.len(), 65, "half a key");
    }
    assert!(olds > 0 && news > 0, "no stop before it was written, or none after: {olds} and {news} in {takes:?}");
    (olds, news, home.names())
}

#[test]
fn killed_at_any_instant_it_leaves_the_old_configuration_or_the_new() {
    let (olds, news, _) = stopped_by(rustix::process::Signal::KILL);
    println!("{STOPS} kills: {olds} left the old configuration, {news} the new");
}

#[test]
fn interrupted_at_any_instant_it_leaves_no_draft_either() {
    let (olds, news, names) = stopped_by(rustix::process::Signal::INT);
    println!("{STOPS} interruptions: {olds} left the old configuration, {news} the new");
    assert!(!names.iter().any(|name| name.contains("draft")), "{names:?}");
}

/// Both ends of a pseudo-terminal.
pub(super) fn pseudo_terminal() -> (fs::File, OwnedFd) {
    let (mut ours, mut theirs) = (0, 0);
    let none = std::ptr::null_mut();
    // SAFETY: two integers to be written to; the other arguments may be null (openpty(3)).
    let made = unsafe { libc::openpty(&raw mut ours, &raw mut theirs, none, none.cast(), none.cast()) };
    assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: both were opened just now and belong to nobody else.
    unsafe { (fs::File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) }
}

/// Setup at a terminal. Answers when `asked` was read, and returns all that was shown.
fn typed(home: &Home, answers: &[(&str, &str)], then: impl FnOnce(&mut Child)) -> (String, std::process::ExitStatus) {
    let (mut terminal, theirs) = pseudo_terminal();
    let mut command = home.command(&["setup"]);
    command.stdin(theirs.try_clone().unwrap()).stdout(theirs.try_clone().unwrap()).stderr(theirs);
    let mut child = command.spawn().unwrap();
    // The other end is the child's alone now, so reading ends when the child does.
    drop(command);
    let mut shown = Vec::new();
    let mut seen = 0;
    for (asked, answer) in answers {
        let begun = Instant::now();
        while !String::from_utf8_lossy(&shown[seen..]).contains(asked) {
            let mut bytes = [0; 4096];
            let n = terminal.read(&mut bytes).unwrap_or(0);
            assert!(n > 0 && begun.elapsed() < PATIENCE, "not asked {asked:?}: {}", String::from_utf8_lossy(&shown));
            shown.extend_from_slice(&bytes[..n]);
        }
        seen = shown.len();
        terminal.write_all(format!("{answer}\n").as_bytes()).unwrap();
    }
    then(&mut child);
    // EIO is how a pseudo-terminal says that nobody is left at the other end.
    let _ends_with_the_child = terminal.read_to_end(&mut shown);
    (String::from_utf8_lossy(&shown).into_owned(), child.wait().unwrap())
}

#[test]
fn a_person_at_a_terminal_is_asked_shown_what_comes_of_it_and_led_to_the_end() {
    let (home, _) = bare();
    let frames = home.path("frames").display().to_string();
    let answers = [
        ("Which camera looks at the door?", "/dev/nothing"),
        ("That won't do", &frames),
        ("Which GPIO line does the relay", ""),
        ("exit button", ""),
        ("door contact", ""),
        ("Which sensors", ""),
        ("Where are people", ""),
        ("Where is the key", ""),
        ("Who is enrolled first?", "Ada"),
        ("How and when did they agree", "in person"),
        ("From the door's camera", ""),
        ("Write it?", ""),
    ];
    let (shown, status) = typed(&home, &answers, |_| ());
    assert_eq!(status.code(), Some(0), "{shown}");
    assert!(
        shown.contains("[replay]") && shown.contains("Ada is enrolled: ") && shown.contains("All is well"),
        "{shown}"
    );
    assert_eq!(home.mode("facelatch.key"), 0o600);
}

#[test]
fn breaking_off_at_the_terminal_leaves_nothing() {
    let (home, _) = bare();
    let frames = home.path("frames").display().to_string();
    let answers = [("Which camera looks at the door?", &*frames), ("Which GPIO line does the relay", "")];
    let interrupt = |child: &mut Child| {
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    };
    let (shown, status) = typed(&home, &answers, interrupt);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGINT), "{shown}");
    assert_eq!(home.names(), ["frames"]);
}
