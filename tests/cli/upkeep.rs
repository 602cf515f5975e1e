//! What docs/upkeep.md promises: a door on another board, and a door with another network.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A door with Ada, her consent, and configuration and key where setup puts them.
fn with_ada() -> Home {
    let home = Home::new();
    configure_at_home(&home, "");
    home.run(&["enroll", "Ada", &picture("ada-1.jpg"), &picture("ada-2.jpg"), "--consent", "paper 7"]).fails(0, &[]);
    home
}

fn configure_at_home(home: &Home, more: &str) {
    let (key, socket) = (home.path("etc.key"), home.path("control.sock"));
    home.configure(&format!("[store]\nkey_file = {key:?}\n[control]\nsocket = {socket:?}\n{more}"));
}

fn scores(home: &Home) -> Value {
    let doctor = home.run(&["doctor", "--json"]);
    let mut findings = doctor.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    findings.find(|finding| finding["check"] == "scores").unwrap()
}

#[test]
fn state_and_key_on_another_board_are_the_same_door() {
    let (old, new) = (with_ada(), Home::new());
    let head = old.run(&["events", "--verify", "--json"]).json();
    fs::create_dir(new.path("state")).unwrap();
    for entry in fs::read_dir(old.path("state")).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, new.path("state").join(from.file_name().unwrap())).unwrap();
    }
    configure_at_home(&new, "");
    new.run(&["identify", &picture("ada-3.jpg")]).fails(66, &["restore the key from its copy"]);
    fs::copy(old.path("etc.key"), new.path("etc.key")).unwrap();
    drop(old);
    let answer = new.run(&["identify", &picture("ada-3.jpg"), "--json"]).json();
    assert_eq!(answer["name"], "Ada", "{answer}");
    assert_eq!(new.run(&["events", "--verify", "--json"]).json(), head);
    let kept = new.run(&["setup", "--answers", &new.write("answers.toml", b"")]);
    assert!(kept.out.contains("1 person, 2 templates") && kept.out.contains("as before"), "{}{}", kept.out, kept.err);
}

#[test]
fn another_encoder_recognises_nobody_until_they_are_enrolled_again_and_keeps_what_was_said_of_them() {
    let home = with_ada();
    configure_at_home(&home, "[faces]\nmodel = \"facelatch-encoder-small\"\n");
    let found = scores(&home);
    assert_eq!(found["level"], "wrong", "{found}");
    let says = found["says"].as_str().unwrap();
    assert!(says.contains("2 templates of 1 people were made by another model"), "{found}");
    assert!(says.contains("; they are Ada"), "{found}");
    let nobody = home.run(&["identify", &picture("ada-3.jpg")]);
    assert!(nobody.code == 1 && nobody.out.contains("no template of the present model"), "{}", nobody.out);
    let unknown = home.run(&["verify", "Ada", &picture("ada-3.jpg")]);
    assert!(
        unknown.code == 1 && unknown.out.contains("Nothing says whether this is Ada: no template"),
        "{}",
        unknown.out
    );
    let again = home.run(&["enroll", "Ada", &picture("ada-1.jpg")]);
    assert!(again.code == 0 && again.out.contains("replaces 2 of the old network"), "{}{}", again.out, again.err);
    assert_eq!(scores(&home)["level"], "ok");
    assert_eq!(home.run(&["identify", &picture("ada-3.jpg"), "--json"]).json()["name"], "Ada");
    let ada = home.run(&["people", "show", "Ada", "--json"]).json();
    assert_eq!((&ada["consent"], &ada["templates"]), (&"paper 7".into(), &1.into()), "{ada}");
}

#[test]
fn enrolling_with_a_network_that_is_not_the_doors_takes_nobody_from_the_door() {
    let home = with_ada();
    let enroll = |name: &str| {
        home.run(&["enroll", name, &picture("ada-1.jpg"), "--model", "facelatch-encoder-small", "--consent", "paper 8"])
    };
    let other = "the configuration's network is facelatch-encoder: the door would not recognise ";
    enroll("Ada").fails(2, &[&format!("{other}Ada; leave --model out, or set faces.model")]);
    enroll("Ben").fails(2, &[&format!("{other}Ben")]);
    let ada = home.run(&["people", "show", "Ada", "--json"]).json();
    assert_eq!((&ada["consent"], &ada["templates"]), (&"paper 7".into(), &2.into()), "{ada}");
    assert_eq!(home.run(&["identify", &picture("ada-3.jpg"), "--json"]).json()["name"], "Ada");
    let own = ["enroll", "Ada", &picture("ada-3.jpg"), "--model", "facelatch-encoder"];
    home.run(&own).fails(0, &[]);
}

#[test]
fn whoever_makes_the_gallery_larger_than_the_table_reaches_is_not_enrolled() {
    let home = Home::new();
    // The built-in table ends at 1.7e-7 for one comparison: enough for one person, and not for two.
    configure_at_home(&home, "[gate]\ntarget_fmr = 2.5e-7\nverify_target_fmr = 1e-6\n");
    let poor = home.write("empty.jpg", &jpeg());
    let (ada, again) = (picture("ada-1.jpg"), picture("ada-2.jpg"));
    home.run(&["enroll", "Ada", &ada]).fails(0, &[]);
    let same = home.run(&["enroll", "Ada", &ada, "--json"]).json();
    assert_eq!((&same["templates"], &same["added"], &same["replaced"]), (&1.into(), &1.into(), &1.into()), "{same}");
    let late = "doesn't reach gate.target_fmr = 2.5e-7 any more";
    home.run(&["enroll", "Ada", &again]).fails(1, &["one more photograph of Ada", late, "calibrate --keep"]);
    home.run(&["enroll", "Ben", &picture("bela-1.jpg")])
        .fails(1, &["with Ben the score table", late, "would recognise nobody"]);
    configure_at_home(&home, "[gate]\nverify_target_fmr = 2.5e-7\n");
    home.run(&["enroll", "Ada", &again])
        .fails(1, &["gate.verify_target_fmr = 2.5e-7 any more, and the door would admit no claim"]);
    let nothing = home.run(&["enroll", "Ada", &poor, "--expires", "2030-01-01"]);
    assert!(nothing.code == 1 && nothing.out.contains("nothing of Ada has changed"), "{}{}", nothing.out, nothing.err);
    let people: Vec<_> = home.run(&["people", "list", "--json"]).out.lines().map(str::to_owned).collect();
    assert!(people.len() == 1 && people[0].contains("\"templates\":1"), "{people:?}");
    assert_eq!(home.run(&["identify", &ada, "--json"]).json()["name"], "Ada");
}

#[test]
fn more_photographs_than_one_enrolment_compares_are_refused_before_any_is_read() {
    let home = Home::new();
    let photos: Vec<_> = (0..257).map(|i| format!("/nowhere/{i}.jpg")).collect();
    let args: Vec<_> = ["enroll", "Ada"].into_iter().chain(photos.iter().map(String::as_str)).collect();
    home.run(&args).fails(2, &["257 photographs are more than 256"]);
}

#[test]
fn a_camera_that_gives_no_picture_is_what_keeps_somebody_from_being_enrolled() {
    let home = Home::new();
    fs::create_dir(home.path("frames")).unwrap();
    home.write("frames/1.jpg", b"half a picture");
    home.configure(&format!("[replay]\npath = {:?}\n", home.path("frames")));
    home.run(&["enroll", "Ada", "--camera"]).fails(69, &["gives no picture (a bad frame: ", "1.jpg"]);
}

#[test]
fn consent_is_renewed_with_photographs_and_without() {
    let home = with_ada();
    let consent = || home.run(&["people", "show", "Ada", "--json"]).json()["consent"].clone();
    home.run(&["enroll", "Ada", &picture("ada-3.jpg")]).fails(0, &[]);
    assert_eq!(consent(), "paper 7", "who says nothing of it changes nothing");
    home.run(&["enroll", "Ada", &picture("ada-3.jpg"), "--consent", "paper 8"]).fails(0, &[]);
    assert_eq!(consent(), "paper 8");
    let changed = home.run(&["people", "consent", "Ada", "paper 9", "--json"]).json();
    assert_eq!(changed["consent"], "paper 9");
    home.run(&["people", "consent", "Ada", &"x".repeat(2000)]).fails(65, &["consent note", "shorten it"]);
}

#[test]
fn the_last_event_is_noted_while_the_daemon_that_was_copied_is_still_stopped() {
    let guide = include_str!("../../docs/upkeep.md");
    let backup = guide.split("## ").find(|part| part.starts_with("Backup")).unwrap();
    let at = |command: &str| backup.find(command).unwrap_or_else(|| panic!("no {command:?} in {backup}"));
    let order = ["systemctl stop facelatch", "tar -C / -czf", "events --verify", "systemctl start facelatch"].map(at);
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn the_backup_is_its_makers_alone_and_holds_everything_but_the_key() {
    let guide = include_str!("../../docs/upkeep.md");
    let line = guide.lines().find(|line| line.contains("tar -C / -czf")).unwrap().trim_start_matches("sudo ");
    let home = Home::new();
    let root = home.path("root");
    let kept = [
        "etc/facelatch/facelatch.toml",
        "etc/facelatch/pair-head.toml",
        "var/lib/facelatch/calibration/a.toml",
        "var/lib/facelatch/facelatch.db",
    ];
    let keys = ["etc/facelatch/facelatch.key", "etc/facelatch/facelatch.key.cred", "var/lib/facelatch/facelatch.key"];
    for name in kept.iter().chain(&keys) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    let line = line.replace("-C / ", &format!("-C {} ", root.display()));
    let shell = |line: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(home.0.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        said(command)
    };
    let made = shell(&line);
    assert_eq!(made.code, 0, "{}", made.err);
    let mode = fs::metadata(home.path("door.tar.gz")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let listed = shell("tar -tzf door.tar.gz").out;
    let mut files: Vec<_> = listed.lines().filter(|name| !name.ends_with('/')).collect();
    files.sort_unstable();
    assert_eq!(files, kept);
}
