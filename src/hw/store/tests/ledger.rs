//! The ledger: numbered, chained, kept for a time.

use super::*;

#[test]
fn another_connections_change_of_the_gallery_is_noticed_once_and_its_events_are_not() {
    let room = Room::new();
    let (mut daemon, mut cli) = (room.store(), room.store());
    assert!(!daemon.changed().unwrap());
    let id = enrol(&mut cli, "Ana", 0.0);
    assert!(daemon.changed().unwrap());
    assert!(!daemon.changed().unwrap());
    cli.append_event(&Record::new(NOW, Outcome::Exit)).unwrap();
    daemon.append_event(&Record::new(NOW, Outcome::Exit)).unwrap();
    assert!(!daemon.changed().unwrap());
    // A change of its own is known; one of another's in between still is news.
    daemon.set_expiry(id, None, ACT).unwrap();
    assert!(!daemon.changed().unwrap());
    cli.set_expiry(id, Some(NOW), ACT).unwrap();
    daemon.set_expiry(id, None, ACT).unwrap();
    assert!(daemon.changed().unwrap());
}

#[test]
fn events_are_numbered_filtered_and_bounded() {
    let room = Room::new();
    let mut store = room.store();
    let ana = PersonId::new(5);
    for i in 0..20 {
        let outcome = if i % 2 == 0 { Outcome::Granted } else { Outcome::PoorQuality };
        let record = Record::new(Wall::from_unix_millis(i), outcome)
            .similarity(Similarity::new(-0.0))
            .because(Reason::Poor(PoorMeasure::TooDark));
        let record = if i % 4 == 0 { record.person(ana) } else { record };
        assert_eq!(Ledger::append(&mut store, &record), Ok(i as u64 + 1));
    }
    let numbers = |query: EventQuery| store.events(&query).unwrap().iter().map(|e| e.seq).collect::<Vec<_>>();
    let all = EventQuery::default();
    assert_eq!(numbers(EventQuery { from: 19, ..all }), [19, 20]);
    assert_eq!(numbers(EventQuery { limit: 2, ..all }), [1, 2]);
    assert_eq!(numbers(EventQuery { limit: 2, last: true, ..all }), [19, 20]);
    assert_eq!(numbers(EventQuery { person: Some(ana), from: 2, ..all }), [5, 9, 13, 17]);
    assert_eq!(numbers(EventQuery { outcome: Some(Outcome::PoorQuality), limit: 3, ..all }), [2, 4, 6]);
    assert!(numbers(EventQuery { from: u64::MAX, ..all }).is_empty());
    let event = &store.events(&all).unwrap()[4];
    assert_eq!(
        (event.at.unix_millis(), event.person, &event.reasons[..]),
        (4, Some(ana), &["too_dark".to_owned()][..])
    );
    assert_eq!(event.similarity, Similarity::new(0.0));
    assert_eq!(store.verify_chain().unwrap().intact, 20);
}

#[test]
fn any_change_to_the_ledger_from_outside_breaks_the_chain_where_it_was_made() {
    let changes = [
        ("UPDATE events SET at = at + 1 WHERE seq = 3", 3),
        ("UPDATE events SET outcome = 'granted' WHERE seq = 3", 3),
        ("UPDATE events SET person = 2 WHERE seq = 3", 3),
        ("UPDATE events SET person = -1 WHERE seq = 3", 3),
        ("UPDATE events SET similarity = NULL WHERE seq = 3", 3),
        ("UPDATE events SET similarity = similarity + 1e-12 WHERE seq = 3", 3),
        ("UPDATE events SET reasons = '[]' WHERE seq = 3", 3),
        ("UPDATE events SET reasons = '[\"too_dark\" ]' WHERE seq = 3", 3),
        ("UPDATE events SET reasons = CAST(x'ff' AS TEXT) WHERE seq = 3", 3),
        ("UPDATE events SET hash = zeroblob(32) WHERE seq = 3", 3),
        ("DELETE FROM events WHERE seq = 3", 3),
        ("DELETE FROM events WHERE seq = 5", 5),
        ("DELETE FROM events", 1),
        ("UPDATE events SET seq = 9 WHERE seq = 3", 3),
        ("INSERT INTO events SELECT 6, at, outcome, person, similarity, reasons, hash FROM events WHERE seq = 5", 6),
        ("UPDATE ledger SET head_hash = zeroblob(32)", 6),
        ("UPDATE ledger SET anchor_hash = randomblob(32)", 1),
    ];
    for (change, at) in changes {
        let room = Room::new();
        let mut store = room.store();
        for _ in 0..5 {
            let record =
                Record::new(NOW, Outcome::PoorQuality).person(PersonId::new(1)).similarity(Similarity::new(0.4));
            store.append_event(&record.because(Reason::Poor(PoorMeasure::TooDark))).unwrap();
        }
        store.conn.execute(change, []).unwrap();
        let report = store.verify_chain().unwrap();
        assert_eq!((report.broken, report.intact), (Some(at), at - 1), "{change}");
    }
}

#[test]
fn a_file_with_triggers_or_rules_of_another_hand_keeps_no_event_out_unnoticed() {
    let hides_7 = "CREATE TRIGGER a BEFORE INSERT ON events WHEN NEW.person = 7 BEGIN SELECT RAISE(IGNORE); END;
        CREATE TRIGGER b BEFORE UPDATE ON ledger WHEN NEW.head_seq > OLD.head_seq
        AND NOT EXISTS (SELECT 1 FROM events WHERE seq = NEW.head_seq) BEGIN SELECT RAISE(IGNORE); END";
    let takes_7_once = "DROP TABLE events; CREATE TABLE events (seq INTEGER PRIMARY KEY, at INTEGER, outcome TEXT,
        person INTEGER UNIQUE ON CONFLICT IGNORE, similarity REAL, reasons TEXT, hash BLOB)";
    let granted = Record::new(NOW, Outcome::Granted).person(PersonId::new(7));
    for (forged, refused) in [(hides_7, 0), (takes_7_once, 1)] {
        let room = Room::new();
        drop(room.store());
        rusqlite::Connection::open(room.path()).unwrap().execute_batch(forged).unwrap();
        let mut store = room.store();
        let said = [(); 2].map(|()| store.append_event(&granted));
        let troubles: Vec<_> = said.into_iter().filter_map(Result::err).map(|error| error.what).collect();
        assert!(
            troubles.len() == refused && troubles.iter().all(|what| matches!(what, Trouble::Damaged(_))),
            "{troubles:?}"
        );
        let report = store.verify_chain().unwrap();
        assert_eq!((report.broken, report.intact), (None, 2 - refused as u64), "{forged}");
    }
}

#[test]
fn a_view_in_the_place_of_the_events_is_refused() {
    let room = Room::new();
    drop(room.store());
    let forged = "ALTER TABLE events RENAME TO kept; CREATE VIEW events AS SELECT * FROM kept WHERE person <> 7";
    rusqlite::Connection::open(room.path()).unwrap().execute_batch(forged).unwrap();
    let mut store = room.store();
    assert!(store.append_event(&Record::new(NOW, Outcome::Exit)).is_err());
    assert!(store.verify_chain().is_err() && store.events(&EventQuery::default()).is_err());
}

#[test]
fn retention_removes_the_old_and_the_chain_still_holds() {
    let room = Room::new();
    let mut store = room.store();
    let days_ago = |days: i64| Wall::from_unix_millis(NOW.unix_millis() - days * 86_400_000);
    for days in [40, 35, 20, 1] {
        store.append_event(&Record::new(days_ago(days), Outcome::Exit)).unwrap();
    }
    let tip = store.verify_chain().unwrap().head;
    assert_eq!(store.retain_events(30 * DAY, NOW, None).unwrap(), 2);
    assert_eq!(store.retain_events(30 * DAY, NOW, None).unwrap(), 0);
    let report = store.verify_chain().unwrap();
    assert_eq!((report.anchor.seq, report.intact, report.head, report.broken), (2, 2, tip, None));
    assert_eq!(store.retain_events(Duration::ZERO, Wall::from_unix_millis(NOW.unix_millis() + 1), None).unwrap(), 2);
    assert_eq!(store.append_event(&Record::new(NOW, Outcome::Exit)).unwrap(), 5, "numbers go on");
    assert_eq!(store.verify_chain().unwrap().anchor, tip);
}

#[test]
fn retention_neither_believes_a_wrong_clock_nor_hides_a_broken_chain() {
    let room = Room::new();
    let mut store = room.store();
    let old = Wall::from_unix_millis(NOW.unix_millis() - 40 * 86_400_000);
    let ahead = Wall::from_unix_millis(NOW.unix_millis() + 86_400_000);
    let unset = Wall::from_unix_millis(0);
    for at in [unset, old, ahead, unset, old, unset, NOW] {
        store.append_event(&Record::new(at, Outcome::Exit)).unwrap();
    }
    assert!(matches!(store.retain_events(DAY, unset, None).unwrap_err().what, Trouble::ClockNotSet));
    assert_eq!(store.retain_events(Duration::MAX, NOW, None).unwrap(), 0);
    assert_eq!(store.retain_events(30 * DAY, NOW, None).unwrap(), 5, "up to the last old one");
    store.conn.execute("UPDATE events SET outcome = 'granted' WHERE seq = 6", []).unwrap();
    let error = store.retain_events(Duration::ZERO, ahead, None).unwrap_err();
    assert!(matches!(error.what, Trouble::BrokenChain(6)), "{error}");
}

#[test]
fn retention_leaves_what_a_gap_lies_behind_where_it_is_told_to() {
    let room = Room::new();
    let mut store = room.store();
    let days_on = |days: i64| Wall::from_unix_millis(NOW.unix_millis() + days * 86_400_000);
    for days in [0, 2, 5] {
        store.append_event(&Record::new(days_on(days), Outcome::Exit)).unwrap();
    }
    let mut retain = |now, gap: u32| store.retain_events(30 * DAY, days_on(now), Some(DAY * gap)).unwrap();
    assert_eq!(retain(33, 2), 0, "three days lie behind the second");
    assert_eq!(retain(33, 3), 2);
    assert_eq!(retain(3650, 3), 0, "and years behind the last");
    assert_eq!(store.retain_events(30 * DAY, days_on(3650), None).unwrap(), 1);
}
