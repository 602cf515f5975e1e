//! People and templates: kept, changed, forgotten.

use super::*;

/// Nothing is said anew about somebody who is enrolled again.
const NO_CHANGES: Changes = Changes { expires: None, schedule: None, consent: None };

#[test]
fn somebody_enrolled_is_there_after_reopening_with_their_template_bit_for_bit() {
    let room = Room::new();
    let new = NewPerson {
        expires: Some(NOW),
        schedule: "daily".into(),
        consent: "paper".into(),
        ..NewPerson::new(name("Ana"))
    };
    let (id, kept) = room.store().enrol(&new, &[template(30.0)], CAP, ACT).unwrap();
    assert_eq!((kept.added.len(), kept.not_needed, kept.replaced.len()), (1, 0, 0));
    let store = room.store();
    let ana = store.person_named(&new.name).unwrap().unwrap();
    assert_eq!(Some(&ana), store.person(id).unwrap().as_ref());
    assert_eq!(vec![ana.clone()], store.people().unwrap());
    assert_eq!((ana.expires, &*ana.schedule, &*ana.consent, ana.templates), (Some(NOW), "daily", "paper", 1));
    let templates = store.templates().unwrap();
    assert_eq!(templates, store.templates_of(id).unwrap());
    assert_eq!(
        (templates[0].id, templates[0].person, &templates[0].encoding),
        (kept.added[0], id, &template(30.0).encoding)
    );
}

#[test]
fn every_change_appends_its_event_without_a_name() {
    let room = Room::new();
    let mut store = room.store();
    let id = enrol(&mut store, "Zacharias", 0.0);
    store.enrol_again(id, &NO_CHANGES, &[template(20.0)], CAP, ACT).unwrap();
    store.rename(id, &name("Balthasar"), ACT).unwrap();
    store.set_expiry(id, Some(NOW), ACT).unwrap();
    store.set_schedule(id, "always", ACT).unwrap();
    store.set_consent(id, "paper 8", ACT).unwrap();
    assert_eq!(store.person(id).unwrap().unwrap().consent, "paper 8");
    store.erase(id, ACT).unwrap();
    let expected = ["enrolled", "enrolled", "renamed", "expiry_changed", "schedule_changed", "enrolled", "erased"];
    assert_eq!(outcomes(&store), expected);
    for event in store.events(&EventQuery::default()).unwrap() {
        assert_eq!((event.person, event.reasons), (Some(id), vec!["by_uid 1000".to_owned()]));
    }
    assert_eq!(store.verify_chain().unwrap().broken, None);
}

#[test]
fn what_was_decided_by_an_older_gallery_is_not_written_unless_it_is_asked_for_again() {
    let room = Room::new();
    let (mut one, mut other) = (room.store(), room.store());
    one.only_as_seen();
    enrol(&mut one, "Ana", 0.0);
    enrol(&mut one, "Ben", 90.0);
    other.append_event(&Record::new(NOW, Outcome::NotRecognised)).unwrap();
    enrol(&mut one, "Cy", 180.0);
    enrol(&mut other, "Dee", 270.0);
    let late = one.enrol(&NewPerson::new(name("Eva")), &[template(270.0)], CAP, ACT).unwrap_err();
    assert!(matches!(late.what, Trouble::ChangedMeanwhile), "{late}");
    assert_eq!(one.people().unwrap().len(), 4);
    assert!(one.changed().unwrap());
    enrol(&mut one, "Eva", 30.0);
}

#[test]
fn a_change_that_fails_leaves_neither_itself_nor_its_event() {
    let room = Room::new();
    let mut store = room.store();
    let id = enrol(&mut store, "Ana", 0.0);
    let ben = enrol(&mut store, "Ben", 90.0);
    let taken = store.enrol(&NewPerson::new(name("Ana")), &[template(0.0)], CAP, ACT).unwrap_err();
    assert!(matches!(taken.what, Trouble::NameTaken { id: by, .. } if by == id), "{taken}");
    assert!(matches!(store.rename(ben, &name("Ana"), ACT).unwrap_err().what, Trouble::NameTaken { .. }));
    let nobody = PersonId::new(99);
    assert!(matches!(store.rename(nobody, &name("X"), ACT).unwrap_err().what, Trouble::NoPerson(_)));
    assert!(matches!(store.erase(nobody, ACT).unwrap_err().what, Trouble::NoPerson(_)));
    assert!(matches!(store.set_expiry(nobody, None, ACT).unwrap_err().what, Trouble::NoPerson(_)));
    assert!(matches!(
        store.enrol_again(nobody, &NO_CHANGES, &[template(0.0)], CAP, ACT).unwrap_err().what,
        Trouble::NoPerson(_)
    ));
    assert!(matches!(store.set_schedule(id, &"x".repeat(513), ACT).unwrap_err().what, Trouble::Long { .. }));
    assert!(matches!(store.enrol(&NewPerson::new(name("C")), &[], CAP, ACT).unwrap_err().what, Trouble::NoTemplate));
    let two = [template(0.0), NewTemplate { model_sha256: Digest([2; 32]), ..template(1.0) }];
    assert!(matches!(store.enrol_again(id, &NO_CHANGES, &two, CAP, ACT).unwrap_err().what, Trouble::SeveralModels));
    let many = vec![template(0.0); 300];
    assert!(matches!(
        store.enrol_again(id, &NO_CHANGES, &many, CAP, ACT).unwrap_err().what,
        Trouble::ManyTemplates { .. }
    ));
    assert_eq!(outcomes(&store), ["enrolled", "enrolled"]);
    assert_eq!(store.people().unwrap().len(), 2);
    store.rename(id, &name("Ana"), ACT).expect("to their own name");
}

#[test]
fn somebody_is_enrolled_again_with_all_that_is_said_or_not_at_all() {
    let room = Room::new();
    let mut store = room.store();
    let id = enrol(&mut store, "Ana", 0.0);
    let said = Changes { expires: Some(Some(NOW)), schedule: Some("daily".into()), consent: Some("paper 9".into()) };
    let before = (store.person(id).unwrap(), store.templates().unwrap());
    let long = Changes { consent: Some("x".repeat(1025)), ..said.clone() };
    let refused = store.enrol_again(id, &long, &[template(40.0)], CAP, ACT).unwrap_err();
    assert!(matches!(refused.what, Trouble::Long { what: "a consent note", .. }), "{refused}");
    assert_eq!((store.person(id).unwrap(), store.templates().unwrap()), before);
    assert_eq!(outcomes(&store), ["enrolled"]);
    store.enrol_again(id, &said, &[template(40.0)], CAP, ACT).unwrap();
    let ana = store.person(id).unwrap().unwrap();
    assert_eq!((ana.expires, &*ana.schedule, &*ana.consent, ana.templates), (Some(NOW), "daily", "paper 9", 2));
    assert_eq!(outcomes(&store), ["enrolled", "enrolled", "expiry_changed", "schedule_changed"]);
}

#[test]
fn beyond_the_cap_the_least_useful_template_goes_and_another_models_make_room() {
    let room = Room::new();
    let mut store = room.store();
    let id = enrol(&mut store, "Ana", 0.0);
    let kept = store.enrol_again(id, &NO_CHANGES, &[template(40.0), template(41.0), template(80.0)], 3, ACT).unwrap();
    assert_eq!((kept.added.len(), kept.not_needed), (2, 1));
    let better = NewTemplate { quality: 0.9, ..template(1.0) };
    let kept = store.enrol_again(id, &NO_CHANGES, std::slice::from_ref(&better), 3, ACT).unwrap();
    assert_eq!((kept.added.len(), kept.replaced.len()), (1, 1), "the poorer one at 0° goes");
    assert_eq!(store.person(id).unwrap().unwrap().templates, 3);
    let kept =
        store.enrol_again(id, &NO_CHANGES, &[NewTemplate { model_sha256: Digest([2; 32]), ..better }], 3, ACT).unwrap();
    assert_eq!((kept.added.len(), kept.replaced.len()), (1, 3));
    assert_eq!(store.templates().unwrap().len(), 1);
}

#[test]
fn a_quality_that_is_no_number_is_kept_as_zero() {
    let room = Room::new();
    let mut store = room.store();
    let id = enrol(&mut store, "Ana", 0.0);
    store.enrol_again(id, &NO_CHANGES, &[NewTemplate { quality: f32::NAN, ..template(90.0) }], CAP, ACT).unwrap();
    assert_eq!(store.templates().unwrap()[1].quality, 0.0);
}

#[test]
fn numbers_never_come_back_even_after_the_last_was_erased() {
    let room = Room::new();
    let mut store = room.store();
    let (ana, first) = (enrol(&mut store, "Ana", 0.0), store.templates().unwrap()[0].id);
    store.erase(ana, ACT).unwrap();
    drop(store);
    let mut store = room.store();
    assert!(enrol(&mut store, "Ana", 0.0) > ana);
    assert!(store.templates().unwrap()[0].id > first);
}

#[test]
fn what_was_erased_is_in_none_of_the_files_while_others_have_them_open() {
    let room = Room::new();
    let mut store = room.store();
    let watching = room.store();
    // Enough people with long notes that rows move between pages as these grow and shrink.
    let note = |i: usize| format!("consent-{i:04}-{}", "n".repeat(i * 7 % 900));
    let people: Vec<_> = (0..120)
        .map(|i| NewPerson { consent: note(i), ..NewPerson::new(name(&format!("unmistakable person {i:04}"))) })
        .map(|new| store.enrol(&new, &[template(new.consent.len() as f32)], CAP, ACT).unwrap().0)
        .collect();
    let secrets: Vec<(Vec<u8>, Vec<u8>)> = people
        .iter()
        .map(|id| {
            let row = |sql| store.conn.query_row(sql, [id.get()], |row| row.get(0)).unwrap();
            (row("SELECT data_key FROM people WHERE id = ?1"), row("SELECT sealed FROM templates WHERE person = ?1"))
        })
        .collect();
    for (i, id) in people.iter().enumerate().filter(|(i, _)| i % 3 != 0) {
        let erased = store.erase(*id, ACT).unwrap();
        assert!(erased.templates == 1 && erased.remains.is_none(), "{i}: {erased:?}");
    }
    let bytes = room.bytes();
    for (i, (key, sealed)) in secrets.iter().enumerate() {
        let kept = i % 3 == 0;
        assert_eq!(contains(&bytes, format!("unmistakable person {i:04}").as_bytes()), kept, "name {i}");
        assert_eq!(contains(&bytes, format!("consent-{i:04}").as_bytes()), kept, "note {i}");
        assert_eq!(contains(&bytes, &key[24..]), kept, "key {i}");
        assert_eq!(contains(&bytes, &sealed[24..]), kept, "template {i}");
    }
    assert_eq!(watching.people().unwrap().len(), 40);
}

#[test]
fn an_encoding_is_never_in_the_files_in_the_clear() {
    let room = Room::new();
    let mut store = room.store();
    enrol(&mut store, "Ana", 33.0);
    let plain: Vec<u8> = template(33.0).encoding.as_slice().iter().flat_map(|x| x.to_le_bytes()).collect();
    assert!(!contains(&room.bytes(), &plain));
}

#[test]
fn an_erasure_with_a_reader_in_the_way_says_so_and_scrubbing_later_completes_it() {
    let room = Room::new();
    let mut store = room.store();
    let id = enrol(&mut store, "unmistakable", 0.0);
    store.conn.busy_timeout(Duration::from_millis(10)).unwrap();
    let reader = room.store();
    let snapshot = reader.conn.unchecked_transaction().unwrap();
    assert_eq!(snapshot.query_row("SELECT count(*) FROM people", [], |row| row.get(0)), Ok(1));
    let remains = store.erase(id, ACT).unwrap().remains;
    assert!(matches!(remains.unwrap().what, Trouble::Busy));
    assert!(store.people().unwrap().is_empty());
    assert!(store.unscrubbed().unwrap().is_some() && contains(&room.bytes(), b"unmistakable"));
    drop(snapshot);
    assert!(store.scrub_rest().unwrap());
    assert!(store.unscrubbed().unwrap().is_none() && !contains(&room.bytes(), b"unmistakable"));
    assert!(!store.scrub_rest().unwrap(), "nothing is left to do");
}

#[test]
fn an_erasure_waits_for_whoever_is_in_its_way_for_a_moment() {
    let room = Room::new();
    let mut store = room.store();
    let id = enrol(&mut store, "unmistakable", 0.0);
    // As where the log is being moved into the database: SQLite doesn't wait for that either.
    store.conn.busy_timeout(Duration::ZERO).unwrap();
    let (reader, (reads, is_read)) = (room.store(), std::sync::mpsc::channel());
    let moment = std::thread::spawn(move || {
        let snapshot = reader.conn.unchecked_transaction().unwrap();
        assert_eq!(snapshot.query_row("SELECT count(*) FROM people", [], |row| row.get(0)), Ok(1));
        reads.send(()).unwrap();
        std::thread::sleep(Duration::from_millis(300));
    });
    is_read.recv().unwrap();
    assert!(store.erase(id, ACT).unwrap().remains.is_none());
    moment.join().unwrap();
    assert!(!contains(&room.bytes(), b"unmistakable"));
}

/// Of as many databases as SQLite takes, so that none is left for the copy that a rewriting goes through.
fn without_room_to_rewrite(store: &Store) {
    for i in 0..10 {
        store.conn.execute(&format!("ATTACH ':memory:' AS other{i}"), []).unwrap();
    }
}

#[test]
fn an_erasure_that_cannot_rewrite_the_file_cuts_the_log_all_the_same_and_the_next_opening_completes_it() {
    let room = Room::new();
    let mut store = room.store();
    let watching = room.store();
    let id = enrol(&mut store, "unmistakable", 0.0);
    store.checkpoint().unwrap();
    without_room_to_rewrite(&store);
    let erased = store.erase(id, ACT).unwrap();
    assert!(erased.remains.is_some());
    assert!(!contains(&room.bytes(), b"unmistakable"), "the deleted row is overwritten in the database itself");
    drop(store);
    let left = watching.unscrubbed().unwrap();
    assert_eq!(left, Some(watching.verify_chain().unwrap().head.seq), "it survives whoever erased");
    room.store();
    assert_eq!(watching.unscrubbed().unwrap(), None);
}

#[test]
fn a_row_moved_to_another_person_or_a_changed_one_is_not_opened() {
    let room = Room::new();
    let mut store = room.store();
    let (ana, ben) = (enrol(&mut store, "Ana", 0.0), enrol(&mut store, "Ben", 90.0));
    store.conn.execute("UPDATE templates SET person = ?1 WHERE person = ?2", [ben.get(), ana.get()]).unwrap();
    assert!(matches!(store.templates().unwrap_err().what, Trouble::Template { person, .. } if person == ben));
    store
        .conn
        .execute("UPDATE people SET data_key = (SELECT data_key FROM people WHERE id = ?1)", [ana.get()])
        .unwrap();
    let error = store.templates().unwrap_err();
    assert!(matches!(error.what, Trouble::DataKey { person, .. } if person == ben), "{error}");
    assert!(error.to_string().contains("enrol #2 again"), "{error}");
}

#[test]
fn an_export_holds_all_there_is_about_one_person() {
    let room = Room::new();
    let mut store = room.store();
    let id = enrol(&mut store, "Ana", 0.0);
    enrol(&mut store, "Ben", 90.0);
    let json = serde_json::to_value(store.export(id).unwrap()).unwrap();
    assert_eq!(json["name"], "Ana");
    assert_eq!(json["templates"][0]["encoding"], serde_json::json!([1.0, 0.0]));
    assert_eq!(json["templates"][0]["model_sha256"], "01".repeat(32));
    assert_eq!(json["templates"].as_array().unwrap().len(), 1);
    assert!(matches!(store.export(PersonId::new(9)).unwrap_err().what, Trouble::NoPerson(_)));
}
