//! What `events` shows of a long ledger, and from where it follows one.

use super::*;

/// So many strangers' attempts after what the ledger has, as another hand would write them: without the chain.
fn strangers(home: &Home, count: u64) {
    let db = rusqlite::Connection::open(home.path("state/facelatch.db")).unwrap();
    let attempts = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
        INSERT INTO events SELECT (SELECT max(seq) FROM events) + i, 1790000000000, 'not_recognised', NULL, NULL, '[]', zeroblob(32) FROM n";
    db.execute(attempts, [count]).unwrap();
}

#[test]
fn a_limit_beyond_what_one_query_gives_shows_as_many_as_it_says() {
    let home = Home::new();
    home.enrol("Ana", 1.0);
    strangers(&home, 10_001);
    let count = |args: &[&str]| {
        let said = home.run(&[&["events"], args].concat());
        assert_eq!((said.code, &*said.err), (0, ""));
        said.out.lines().count()
    };
    assert_eq!(count(&["--limit", "10001"]), 10_001);
    assert_eq!(count(&["--limit", "20000"]), 10_002, "all that there are");
    assert_eq!(count(&["--limit", "20000", "--outcome", "enrolled"]), 1);
    assert_eq!(count(&["--limit", "0"]), 0);
}

#[test]
fn following_without_what_was_begins_with_what_comes() {
    let home = Home::new();
    home.enrol("Ana", 1.0);
    let mut follower = home.command(&["events", "--follow", "--limit", "0", "--json"]).spawn().unwrap();
    let mut lines = std::io::BufReader::new(follower.stdout.take().unwrap()).lines();
    let (tell, told) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || tell.send(lines.next().unwrap().unwrap()).unwrap());
    // Whoever is enrolled before it looks for the first time is of before, too; it has looked by the time that it shows
    // somebody.
    let begun = Instant::now();
    let first = (0..).find_map(|number| {
        assert!(begun.elapsed() < PATIENCE, "it shows nobody");
        home.enrol(&format!("Ben {number}"), -1.0);
        told.recv_timeout(Duration::from_secs(1)).ok()
    });
    follower.kill().unwrap();
    follower.wait().unwrap();
    reader.join().unwrap();
    let first: Value = serde_json::from_str(&first.unwrap()).unwrap();
    assert!(first["person"].as_str().unwrap().starts_with("Ben "), "{first}");
}

/// What follows the ledger as it is written, line by line.
struct Follower(Child, std::sync::mpsc::Receiver<Value>);

impl Follower {
    fn starts(home: &Home) -> Self {
        let mut follower = home.command(&["events", "--follow", "--json"]).spawn().unwrap();
        let lines = std::io::BufReader::new(follower.stdout.take().unwrap()).lines();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).try_for_each(|line| tell.send(serde_json::from_str(&line).unwrap()))
        });
        Self(follower, told)
    }

    /// The next event's outcome and person.
    fn next(&self) -> (String, String) {
        let event = self.1.recv_timeout(PATIENCE).unwrap();
        (event["outcome"].as_str().unwrap().into(), event["person"].as_str().unwrap().into())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn whoever_follows_hears_of_people_by_the_name_that_they_have_and_of_a_store_that_is_gone() {
    let home = Home::new();
    home.enrol("Ana", 1.0);
    let mut follower = Follower::starts(&home);
    let event = |outcome: &str, person: &str| (outcome.to_owned(), person.to_owned());
    assert_eq!(follower.next(), event("enrolled", "Ana"));
    home.run(&["people", "rename", "Ana", "Bea"]).fails(0, &[]);
    assert_eq!(follower.next(), event("renamed", "Bea"));
    home.run(&["people", "erase", "Bea", "--yes"]).fails(0, &[]);
    assert_eq!(follower.next(), event("erased", "#1"));
    fs::rename(home.path("state"), home.path("elsewhere")).unwrap();
    home.enrol("Cy", 1.0);
    assert_eq!(follower.0.wait().unwrap().code(), Some(66));
}

#[test]
fn events_of_somebody_erased_are_found_by_their_number() {
    let home = Home::new();
    home.enrol("Ana", 1.0);
    home.enrol("Ben", -1.0);
    home.run(&["people", "erase", "Ana", "--yes"]).fails(0, &[]);
    let events = home.run(&["events", "--person", "#1", "--json"]);
    assert_eq!((events.code, events.out.lines().count()), (0, 2), "{}{}", events.out, events.err);
    home.run(&["events", "--person", "Ana"]).fails(66, &["nobody here is called 'Ana'"]);
}

#[test]
fn what_another_hand_wrote_into_an_event_moves_no_cursor_and_begins_no_line() {
    let home = Home::new();
    home.enrol("Ana", 1.0);
    let db = rusqlite::Connection::open(home.path("state/facelatch.db")).unwrap();
    let forged = r#"["\u001b[1A\u001b[2K\n     3  granted"]"#;
    let sql = "INSERT INTO events VALUES (2, 1790000000000, 'fault', NULL, NULL, ?1, zeroblob(32))";
    db.execute(sql, [forged]).unwrap();
    let shown = home.run(&["events"]).out;
    assert!(shown.lines().count() == 2 && shown.contains(r"\u{1b}[1A\u{1b}[2K\n     3  granted"), "{shown}");
}

#[test]
fn a_noted_head_is_found_in_its_chain_and_told_once_it_was_cut_off_or_replaced() {
    let home = Home::new();
    home.enrol("Ana", 1.0);
    let head = home.run(&["events", "--verify", "--json"]).json()["head"].clone();
    let noted = format!("{}:{}", head["seq"], head["hash"].as_str().unwrap());
    for name in ["Ben", "Cy"] {
        home.enrol(name, -1.0);
    }
    let verify = |noted: &str| home.run(&["events", "--verify", "--noted", noted]);
    let said = verify(&noted);
    assert_eq!((said.code, &*said.err), (0, ""), "{}", said.out);
    assert!(said.out.contains("3 events from event 1 of 20") && said.out.contains("Event 1 is there"), "{}", said.out);
    let other = verify(&format!("2:{}", "0".repeat(64)));
    assert!(other.code == 1 && other.out.contains("Event 2 is not there as it was noted"), "{}", other.out);
    assert_eq!(verify("1").code, 2);
    // As retention does it, or another hand.
    let db = rusqlite::Connection::open(home.path("state/facelatch.db")).unwrap();
    let cut = "UPDATE ledger SET anchor_seq = 2, anchor_hash = (SELECT hash FROM events WHERE seq = 2);
        DELETE FROM events WHERE seq <= 2";
    db.execute_batch(cut).unwrap();
    home.configure("[store]\nretention_days = 1000000\n");
    let said = verify(&noted);
    assert!(said.code == 1 && said.out.contains("Event 1 was cut off with all up to event 2"), "{}", said.out);
    let said = home.run(&["events", "--verify"]);
    assert!(said.code == 0 && said.out.contains("1 events from event 3 of 20"), "{}", said.out);
    assert!(said.err.contains("or another hand cut the beginning off"), "{}", said.err);
    assert_eq!(home.run(&["events", "--verify", "--json"]).json()["noted"], Value::Null);
}
