//! The commands that ask the daemon, where it answers, refuses, is something else, or is not there.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn without_a_daemon_the_door_does_not_answer() {
    let home = Home::new();
    for args in [&["status"][..], &["watch"], &["unlock"], &["claim", "Ana"]] {
        home.run(args).fails(69, &["no daemon answers at", "control.sock"]);
    }
}

/// Killed when dropped, so that a failed test leaves no daemon behind.
struct Daemon(Child);

impl Daemon {
    /// Before whose camera Ada stands for ever, at a door that takes a photograph for her; what it logs goes to `log`.
    fn starts(home: &Home, log: Stdio) -> Self {
        configure(home, true);
        Self::starts_as_configured(home, log)
    }

    fn starts_as_configured(home: &Home, log: Stdio) -> Self {
        let frames = home.path("frames");
        fs::create_dir(&frames).unwrap();
        fs::copy(picture("ada-1.jpg"), frames.join("1.jpg")).unwrap();
        let mut command = home.command(&["run"]);
        command.stdout(Stdio::null()).stderr(log);
        let mut daemon = Self(command.spawn().unwrap());
        wait_until("it answers", || {
            assert!(daemon.0.try_wait().unwrap().is_none(), "the daemon did not start");
            home.run(&["status"]).code != 69
        });
        daemon
    }

    fn told(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), signal).unwrap();
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn configure(home: &Home, photographs_open: bool) {
    let (frames, socket) = (home.path("frames"), home.path("control.sock"));
    home.configure(&format!(
        "[replay]\npath = {frames:?}\nloop = true\n[control]\nsocket = {socket:?}\n[liveness]\ni_accept_that_a_photograph_opens_this_door = {photographs_open}\n"
    ));
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn the_daemon_answers_its_commands_and_ends_when_it_is_told_to() {
    let home = Home::new();
    let socket = home.path("control.sock");
    assert_eq!(home.run(&["enroll", "Ana", &picture("ada-2.jpg")]).code, 0);
    let mut daemon = Daemon::starts(&home, Stdio::null());
    let status = home.run(&["status", "--json"]).json();
    assert!(status["state"].is_string() && status["people"] == 1, "{status}");
    let doctor = home.run(&["doctor"]);
    // An emulator is the program that the kernel sees.
    let runs = if crate::testing::is_emulated() { "another program" } else { "this very program" };
    assert!(doctor.out.contains(runs) && doctor.out.contains("; from no package"), "{}{}", doctor.out, doctor.err);
    home.run(&["claim", "Nobody"]).fails(66, &["nobody here is called 'Nobody'"]);
    home.run(&["setup"]).fails(69, &["systemctl stop facelatch"]);
    let second = home.run(&["run"]);
    second.fails(69, &["another facelatch answers there: stop it first"]);
    assert!(!second.err.contains("must exist"), "{}", second.err);
    home.run(&["claim", "#9"]).fails(66, &["nobody here is called '#9'"]);
    let unlocked = home.run(&["unlock", "--json"]);
    assert_eq!((unlocked.code, &unlocked.json()["outcome"]), (0, &"manual_release".into()));
    let events = home.run(&["events", "--json", "--outcome", "manual_release"]).json();
    assert!(events["reasons"][0].as_str().unwrap().starts_with("by_uid "), "{events}");
    daemon.told(rustix::process::Signal::TERM);
    assert_eq!(daemon.0.wait().unwrap().code(), Some(0));
    assert_eq!(home.run(&["events", "--verify"]).code, 0);
    assert!(!socket.exists(), "the socket goes with the daemon");
}

#[test]
fn a_demo_that_is_broken_off_leaves_nobodys_name_behind() {
    use std::os::unix::process::ExitStatusExt as _;

    use rustix::process::Signal;
    let home = Home::new();
    let tmp = home.path("tmp");
    fs::create_dir(&tmp).unwrap();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let left = || fs::read_dir(&tmp).unwrap().count();
        let mut command = home.command(&["demo"]);
        command.env("TMPDIR", &tmp).stdout(Stdio::null()).stderr(Stdio::null());
        let mut demo = Daemon(command.spawn().unwrap());
        wait_until("it enrols", || left() > 0);
        demo.told(signal);
        assert_eq!(demo.0.wait().unwrap().signal(), Some(signal.as_raw()));
        assert_eq!(left(), 0, "{signal:?}");
    }
}

#[test]
fn a_daemon_whose_key_is_gone_starts_and_knows_everybody_once_it_is_back_and_refuses_to_turn_liveness_on() {
    let home = Home::new();
    assert_eq!(home.run(&["enroll", "Ana", &picture("ada-2.jpg")]).code, 0);
    let (key, away) = (home.path("state/facelatch.key"), home.path("away.key"));
    fs::rename(&key, &away).unwrap();
    let log = home.path("log");
    let daemon = Daemon::starts(&home, fs::File::create(&log).unwrap().into());
    let status = || home.run(&["status", "--json"]).json();
    // A picture that never changes is a fault of its own.
    let is_failing = || status()["faults"].as_array().unwrap().contains(&"store".into());
    wait_until("the fault", is_failing);
    assert_eq!(status()["people"], 0);
    fs::rename(&away, &key).unwrap();
    wait_until("Ana is known", || status()["people"] == 1 && !is_failing());
    configure(&home, false);
    daemon.told(rustix::process::Signal::HUP);
    let logged = |what: &str| fs::read_to_string(&log).unwrap().contains(what);
    wait_until("the refusal", || logged("the configuration in force stays: it asks for liveness now"));
    assert!(logged("nobody is admitted by face until it opens"));
}

#[test]
fn a_daemon_that_asks_for_liveness_refuses_to_turn_it_off_while_it_runs() {
    let home = Home::new();
    let log = home.path("log");
    configure(&home, false);
    let daemon = Daemon::starts_as_configured(&home, fs::File::create(&log).unwrap().into());
    configure(&home, true);
    daemon.told(rustix::process::Signal::HUP);
    let logged = |what: &str| fs::read_to_string(&log).unwrap().contains(what);
    wait_until("an answer", || logged("the configuration in force stays") || logged("configuration read again"));
    assert!(logged("the configuration in force stays: it asks for no liveness any more"));
}

#[test]
fn a_daemon_that_goes_by_another_rate_than_the_configuration_on_disk_is_complained_of() {
    let home = Home::new();
    assert_eq!(home.run(&["enroll", "Ana", &picture("ada-2.jpg")]).code, 0);
    let _daemon = Daemon::starts(&home, Stdio::null());
    let scores = || {
        let doctor = home.run(&["doctor"]).out;
        doctor.lines().find(|line| line.contains("  scores ")).unwrap_or_else(|| panic!("{doctor}")).to_owned()
    };
    assert!(scores().starts_with("ok"), "{}", scores());
    let socket = home.path("control.sock");
    home.configure(&format!("[gate]\nverify_target_fmr = 1e-3\n[control]\nsocket = {socket:?}\n"));
    let other = scores();
    assert!(other.starts_with("NO") && other.contains("another table or rate") && other.contains("reload"), "{other}");
}

#[test]
fn a_daemon_whose_network_is_damaged_lets_people_out_and_sees_nobody() {
    let home = Home::new();
    assert_eq!(home.run(&["enroll", "Ana", &picture("ada-2.jpg")]).code, 0);
    let builtin =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/calibration/encoder.toml")).unwrap();
    let sha256 = builtin.lines().find_map(|line| line.strip_prefix("sha256 = ")).unwrap().trim_matches('"').to_owned();
    fs::create_dir(home.path("state/calibration")).unwrap();
    let table = home.path("state/calibration").join(sha256 + ".toml");
    fs::write(&table, "cut sho").unwrap();
    let log = home.path("log");
    let _daemon = Daemon::starts(&home, fs::File::create(&log).unwrap().into());
    let status = || home.run(&["status", "--json"]).json();
    wait_until("the fault", || status()["faults"].as_array().unwrap().contains(&"network".into()));
    assert_eq!(status()["people"], 1);
    let logged = fs::read_to_string(&log).unwrap();
    assert!(logged.contains(".toml: not a calibration") && logged.contains("nobody is admitted by face"), "{logged}");
    assert!(!logged.contains("no score table"), "{logged}");
    home.run(&["unlock"]).fails(0, &[]);
    let events = home.run(&["events"]).out;
    assert!(events.contains("fault network") && !events.contains("granted"), "{events}");
}

#[test]
fn a_gallery_that_went_away_under_a_daemon_is_told_as_gone_and_not_as_one_to_be_made() {
    let home = Home::new();
    assert_eq!(home.run(&["enroll", "Ana", &picture("ada-2.jpg")]).code, 0);
    let _daemon = Daemon::starts(&home, Stdio::null());
    fs::create_dir(home.path("away")).unwrap();
    for name in ["facelatch.db", "facelatch.db-wal", "facelatch.db-shm"] {
        fs::rename(home.path("state").join(name), home.path("away").join(name)).unwrap();
    }
    let faults = || home.run(&["status", "--json"]).json()["faults"].clone();
    wait_until("the fault", || faults().as_array().unwrap().contains(&"store".into()));
    let gone = "there is a key and no gallery: if there was one, mount its file system or put the file back";
    home.run(&["people", "list"]).fails(66, &[gone]);
    let doctor = home.run(&["doctor"]).out;
    for check in ["gallery", "ledger"] {
        let begins = format!("NO  {check} ");
        assert!(doctor.lines().any(|line| line.starts_with(&begins) && line.contains(gone)), "{doctor}");
    }
}

#[test]
fn a_daemon_whose_network_is_misspelt_says_that_and_nothing_of_the_people() {
    let home = Home::new();
    home.enrol("Ana", 1.0);
    configure(&home, true);
    let text = fs::read_to_string(home.path("door.toml")).unwrap();
    home.configure(&(text + "[faces]\nmodel = \"facelatch-encodr\"\n"));
    let log = home.path("log");
    let _daemon = Daemon::starts_as_configured(&home, fs::File::create(&log).unwrap().into());
    let logged = fs::read_to_string(&log).unwrap();
    assert!(logged.contains("facelatch-encodr") && logged.contains("nobody is admitted by face"), "{logged}");
    assert!(!logged.contains("enrol these people again") && !logged.contains("no score table"), "{logged}");
}

/// The section of a thermal sensor that nobody sends anything for.
fn silent_sensor(home: &Home) -> String {
    let device = format!("unix:{}", home.path("thermal.sock").display());
    format!("[[sensor]]\nkind = \"thermal\"\ndriver = \"grid\"\ndevice = {device:?}\n")
}

#[test]
fn a_sensor_that_liveness_requires_and_that_says_nothing_is_a_fault() {
    let home = Home::new();
    configure(&home, false);
    home.configure(&(fs::read_to_string(home.path("door.toml")).unwrap() + &silent_sensor(&home)));
    let _daemon = Daemon::starts_as_configured(&home, Stdio::null());
    let faults = || home.run(&["status", "--json"]).json()["faults"].clone();
    wait_until("the fault", || faults().as_array().unwrap().contains(&"sensor".into()));
}

#[test]
fn a_sensor_that_came_into_the_configuration_since_the_start_is_not_the_running_daemons() {
    let thermal = |home: &Home| {
        let doctor = home.run(&["doctor"]).out;
        doctor.lines().find(|line| line.contains("  thermal ")).unwrap_or_else(|| panic!("{doctor}")).to_owned()
    };
    for (is_there_at_the_start, begins, says) in
        [(false, "!!", "is not the running daemon's: systemctl restart facelatch"), (true, "ok", "the daemon has it")]
    {
        let home = Home::new();
        configure(&home, false);
        let without = fs::read_to_string(home.path("door.toml")).unwrap();
        let with = without.clone() + &silent_sensor(&home);
        home.configure(if is_there_at_the_start { &with } else { &without });
        let _daemon = Daemon::starts_as_configured(&home, Stdio::null());
        home.configure(&with);
        let line = thermal(&home);
        assert!(line.starts_with(begins) && line.contains(says), "{line}");
    }
}

/// Something that answers one request on the home's control socket.
fn answering(home: &Home, answer: &'static str) -> std::thread::JoinHandle<()> {
    let socket = home.path("control.sock");
    let _there_from_the_one_before = fs::remove_file(&socket);
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::BufReader::new(&stream).read_line(&mut String::new()).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
    })
}

#[test]
fn what_is_no_daemon_is_told_apart() {
    let home = Home::new();
    for command in ["status", "watch"] {
        let other = answering(&home, "220 smtp ready\n");
        home.run(&[command]).fails(69, &["no facelatch of this version"]);
        other.join().unwrap();
    }
}

#[test]
fn a_refusal_is_a_no_with_its_reason_and_the_doctor_tells_it() {
    let home = Home::new();
    for command in [&["status"][..], &["watch"], &["unlock"], &["claim", "Ana"], &["doctor"]] {
        let daemon = answering(&home, "{\"re\":\"refused\",\"reason\":\"too many clients; try again\"}\n");
        let said = home.run(command);
        daemon.join().unwrap();
        assert_eq!(said.code, 1, "{command:?}: {}{}", said.out, said.err);
        let says =
            if command == ["doctor"] { "refuses to answer: too many clients" } else { "Refused: too many clients" };
        assert!(said.out.contains(says), "{command:?}: {}", said.out);
    }
}

#[test]
fn a_refusal_exits_with_what_its_code_says() {
    let home = Home::new();
    for (answer, code) in [
        ("{\"re\":\"refused\",\"reason\":\"why\",\"code\":\"no_request\"}\n", 65),
        ("{\"re\":\"refused\",\"reason\":\"why\",\"code\":\"nobody\"}\n", 66),
        ("{\"re\":\"refused\",\"reason\":\"why\",\"code\":\"busy\"}\n", 69),
        ("{\"re\":\"refused\",\"reason\":\"why\",\"code\":\"not_allowed\"}\n", 77),
    ] {
        let daemon = answering(&home, answer);
        home.run(&["claim", "Ana"]).fails(code, &["refused: why"]);
        daemon.join().unwrap();
    }
}

#[test]
fn a_socket_that_can_not_be_made_is_a_no_of_the_doctors_and_the_door_does_without() {
    let home = Home::new();
    configure(&home, true);
    let place = home.write("control.sock", b"precious");
    let frames = home.path("frames");
    fs::create_dir(&frames).unwrap();
    fs::copy(picture("ada-1.jpg"), frames.join("1.jpg")).unwrap();
    let log = home.path("log");
    let mut command = home.command(&["run"]);
    command.stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
    let daemon = Daemon(command.spawn().unwrap());
    wait_until("it runs", || home.run(&["events"]).out.contains("started"));
    let logged = fs::read_to_string(&log).unwrap();
    assert!(logged.contains("no socket") && logged.contains("status, watch, unlock and claim don't work"), "{logged}");
    assert_eq!(fs::read(&place).unwrap(), b"precious");
    drop(daemon);
    let says = |home: &Home| {
        let doctor = home.run(&["doctor"]).out;
        doctor.lines().find(|line| line.contains("  daemon ")).unwrap_or_else(|| panic!("{doctor}")).to_owned()
    };
    let file = says(&home);
    assert!(file.starts_with("NO") && file.contains("no socket: move it away"), "{file}");
    home.configure(&format!("[control]\nsocket = {:?}\n", home.path("no/where/control.sock")));
    let nowhere = says(&home);
    assert!(nowhere.starts_with("NO") && nowhere.contains("isn't there"), "{nowhere}");
}

#[test]
fn a_second_daemon_is_told_that_the_first_answers() {
    let home = Home::new();
    let _first = Daemon::starts(&home, Stdio::null());
    let second = home.run(&["run"]);
    second.fails(69, &["another facelatch answers there"]);
    assert!(!second.err.contains("RuntimeDirectory"), "{}", second.err);
}

#[test]
fn whom_the_socket_is_not_for_is_told_so() {
    let home = Home::new();
    let _listener = std::os::unix::net::UnixListener::bind(home.path("control.sock")).unwrap();
    fs::set_permissions(home.path("control.sock"), fs::Permissions::from_mode(0o000)).unwrap();
    let run = |command: &str| said(unprivileged(home.command(&[command])));
    run("status").fails(77, &["may not ask the daemon", "sudo", "control.group"]);
    let doctor = run("doctor").out;
    assert!(doctor.lines().any(|line| line.starts_with("!!  daemon") && line.contains("may not ask")), "{doctor}");
}

#[test]
fn whom_allowed_uids_names_may_release_the_door_and_another_user_may_not() {
    use std::os::unix::process::CommandExt as _;
    if !rustix::process::geteuid().is_root() {
        return crate::testing::skipped("only root can ask as somebody else");
    }
    // They exist nowhere.
    let [named, other] = [54_321, 54_322];
    let home = Home::new();
    configure(&home, true);
    let text = fs::read_to_string(home.path("door.toml")).unwrap();
    home.configure(&text.replace("[control]\n", &format!("[control]\nallowed_uids = [{named}]\n")));
    for (path, mode) in [(home.0.path().to_owned(), 0o755), (home.path("door.toml"), 0o644)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let unlock_as = |uid| {
        let mut command = home.command(&["unlock"]);
        command.uid(uid).gid(uid);
        command
    };
    // The second where a container has no such user.
    let refusals = [std::io::ErrorKind::PermissionDenied, std::io::ErrorKind::InvalidInput];
    if let Some(error) = unlock_as(other).output().err().filter(|error| refusals.contains(&error.kind())) {
        return crate::testing::skipped(format_args!("nobody else may run what lies where this was built ({error})"));
    }
    let _daemon = Daemon::starts_as_configured(&home, Stdio::null());
    let refused = said(unlock_as(other));
    refused.fails(77, &["not among those whom control.allowed_uids names"]);
    let released = said(unlock_as(named));
    released.fails(0, &[]);
    assert!(released.out.contains("manual_release") && released.out.contains("by_uid 54321"), "{}", released.out);
}

#[test]
fn a_socket_that_is_not_the_daemons_to_give_away_is_told_with_who_must_join() {
    let home = Home::new();
    let socket = home.path("control.sock");
    // A group that every Debian has and nobody is in.
    home.configure(&format!("[control]\nsocket = {socket:?}\ngroup = \"daemon\"\n"));
    let run = said(unprivileged(home.command(&["run"])));
    run.fails(78, &["control.sock", "can't be given to control.group", "usermod -aG daemon facelatch"]);
}

#[test]
fn a_recording_that_moves_a_real_strike_is_a_complaint_of_the_doctors() {
    let home = Home::new();
    let (chip, film) = (home.write("chip", b""), home.path("day.y4m"));
    home.configure(&format!(
        "[replay]\npath = {film:?}\n[strike]\nkind = \"gpiochip\"\nchip = {chip:?}\nline = 17\n\
         [liveness]\ncamera_only_opens_the_door = true\n"
    ));
    let doctor = home.run(&["doctor"]).out;
    assert!(doctor.lines().any(|line| line.starts_with("!!  recording") && line.contains("day.y4m")), "{doctor}");
}
