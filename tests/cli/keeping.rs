//! What is kept in the state directory: rid of who was erased, changed whole, and its owner's.

use super::*;

fn finding(home: &Home, check: &str) -> Option<Value> {
    let doctor = home.run(&["doctor", "--json"]);
    let mut findings = doctor.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    findings.find(|finding| finding["check"] == check)
}

#[test]
fn an_erasure_that_leaves_bytes_on_the_disk_is_no_success_and_the_doctor_complains_until_they_are_gone() {
    let home = Home::new();
    home.enrol("Ana", 1.0);
    let reader = rusqlite::Connection::open(home.path("state/facelatch.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM people").unwrap();
    let erased = home.run(&["people", "erase", "Ana", "--yes"]);
    erased.fails(
        69,
        &[
            "Ana and 1 template are erased, but bytes of them may still be on the disk",
            "facelatch.db is rewritten (another",
        ],
    );
    assert!(!erased.out.contains("destroyed"), "{}", erased.out);
    let complaint = finding(&home, "erasure").unwrap();
    assert_eq!(complaint["level"], "complaint", "{complaint}");
    reader.execute_batch("COMMIT").unwrap();
    home.enrol("Ben", -1.0);
    assert_eq!(finding(&home, "erasure"), None);
    home.run(&["people", "erase", "Ana", "--yes"]).fails(66, &["nobody here"]);
}

/// A user who exists nowhere.
const DAEMON: u32 = 54_321;

#[test]
fn what_is_known_of_somebody_and_that_nobody_was_erased_is_told_to_programs_in_one_line() {
    let home = Home::new();
    home.enrol("Ana", 1.0);
    assert_eq!(home.run(&["people", "export", "Ana", "--json"]).json()["name"], "Ana");
    let file = home.path("ana.json").display().to_string();
    assert_eq!(home.run(&["people", "export", "Ana", "--out", &file, "--json"]).json()["file"], *file);
    let (mut terminal, theirs) = setup::pseudo_terminal();
    terminal.write_all(b"n\n").unwrap();
    let mut command = home.command(&["people", "erase", "Ana", "--json"]);
    command.stdin(theirs);
    let kept = said(command);
    let answer = kept.json();
    assert_eq!((kept.code, &answer["person"], &answer["erased"]), (1, &"Ana".into(), &false.into()), "{answer}");
    assert_eq!(home.run(&["people", "show", "Ana"]).code, 0);
}

fn owner_of(path: &Path) -> u32 {
    std::os::unix::fs::MetadataExt::uid(&fs::metadata(path).unwrap())
}

/// A state directory that belongs to the daemon's user, as the service leaves it; `None`, said aloud, where this may
/// not give it away.
fn home_of_the_daemon() -> Option<Home> {
    let home = Home::new();
    fs::create_dir(home.path("state")).unwrap();
    crate::testing::give_away(&home.path("state"), DAEMON).then_some(home)
}

#[test]
fn what_root_makes_in_the_daemons_state_directory_is_the_daemons() {
    let Some(home) = home_of_the_daemon() else { return };
    home.run(&["enroll", "Ada", &picture("ada-1.jpg")]).fails(0, &[]);
    let detector = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/detector.onnx");
    let added = home.run(&["models", "add", &detector.display().to_string(), "--json"]).json();
    assert_eq!(owner_of(Path::new(added["path"].as_str().unwrap())), DAEMON, "{added}");
    for made in ["facelatch.db", "facelatch.key", "models"] {
        assert_eq!(owner_of(&home.path("state").join(made)), DAEMON, "{made}");
    }
    for check in ["key", "gallery"] {
        assert_eq!(finding(&home, check).unwrap()["level"], "ok");
    }
}

#[test]
fn a_gallery_or_a_key_that_the_daemon_cannot_open_is_wrong_though_root_can() {
    let Some(home) = home_of_the_daemon() else { return };
    home.enrol("Ana", 1.0);
    for (file, check) in [("facelatch.db", "gallery"), ("facelatch.key", "key")] {
        let path = home.path("state").join(file);
        std::os::unix::fs::chown(&path, Some(0), Some(0)).unwrap();
        let found = finding(&home, check).unwrap();
        let says = found["says"].as_str().unwrap();
        assert!(found["level"] == "wrong" && says.contains("chown --reference="), "{found}");
        let command = says.split_once("can't open it: ").unwrap().1;
        assert!(!command.contains('*'), "a pattern is the shell's, who may not look into the directory: {command}");
        assert!(Command::new("sh").args(["-c", command]).status().unwrap().success());
        assert_eq!(finding(&home, check).unwrap()["level"], "ok");
    }
}

#[test]
fn somebody_enrolled_again_with_a_note_that_is_too_long_is_as_before() {
    let home = Home::new();
    home.run(&["enroll", "Ada", &picture("ada-1.jpg")]).fails(0, &[]);
    let before = home.run(&["people", "show", "Ada", "--json"]).json();
    let long = "x".repeat(1025);
    let again = ["enroll", "Ada", &picture("ada-2.jpg"), "--expires", "2030-01-01", "--consent", &long];
    home.run(&again).fails(65, &["a consent note of 1025 bytes is longer than 1024"]);
    assert_eq!(home.run(&["people", "show", "Ada", "--json"]).json(), before);
}

#[test]
fn a_table_that_could_not_be_kept_is_refused_before_any_photograph_is_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    home.enrol("Ana", 1.0);
    for person in 1..=12 {
        fs::create_dir_all(home.path(&format!("people/{person}"))).unwrap();
        home.write(&format!("people/{person}/1.jpg"), b"no photograph");
    }
    let people = home.path("people").display().to_string();
    let calibrate = || said(unprivileged(home.command(&["calibrate", &people, "--keep"])));
    let mode = |mode| fs::set_permissions(home.path("state"), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o500);
    calibrate().fails(77, &["state: Permission denied", "sudo"]);
    mode(0o700);
    fs::rename(home.path("state/facelatch.key"), home.path("away.key")).unwrap();
    calibrate().fails(66, &["restore the key from its copy"]);
    fs::rename(home.path("away.key"), home.path("state/facelatch.key")).unwrap();
    calibrate().fails(65, &["too few people were found, 0 in all; to begin with,", "people/1/1.jpg: not a picture"]);
}

#[test]
fn hours_that_can_not_be_read_any_more_are_wrong_with_whose_they_are_and_what_to_do() {
    let home = Home::new();
    home.enrol("Ana", 1.0);
    home.enrol("Ben", -1.0);
    let changed = "UPDATE people SET schedule = 'daily 07:00-19:00 US/Nowhere' WHERE name = 'Ben'";
    rusqlite::Connection::open(home.path("state/facelatch.db")).unwrap().execute(changed, []).unwrap();
    let found = finding(&home, "gallery").unwrap();
    let says = found["says"].as_str().unwrap();
    assert!(found["level"] == "wrong" && says.contains("(Ben: 'US/Nowhere' names no time zone"), "{found}");
    assert!(says.contains("facelatch people schedule") && says.contains("tzdata-legacy"), "{found}");
    home.run(&["people", "schedule", "Ben", "always"]).fails(0, &[]);
    assert_eq!(finding(&home, "gallery").unwrap()["level"], "ok");
}
