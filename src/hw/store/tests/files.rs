//! The file itself: foreign, damaged, full, shared.

use super::*;

#[test]
fn a_link_to_a_disk_that_is_not_mounted_says_where_it_leads() {
    let room = Room::new();
    std::os::unix::fs::symlink("/mnt/disk/gallery.db", room.path()).unwrap();
    assert!(matches!(room.trouble(), Trouble::Dangling(to) if to == Path::new("/mnt/disk/gallery.db")));
}

#[test]
fn another_key_is_refused_and_nothing_is_changed() {
    let mut room = Room::new();
    enrol(&mut room.store(), "Ana", 0.0);
    let before = fs::read(room.path()).unwrap();
    let right = std::mem::replace(&mut room.key, MasterKey::generate().unwrap());
    assert!(matches!(room.trouble(), Trouble::WrongKey));
    let read_only = Store::open_read_only(&room.path(), Some(&room.key));
    assert!(matches!(read_only.err().unwrap().what, Trouble::WrongKey));
    assert!(fs::read(room.path()).unwrap() == before);
    room.key = right;
    assert_eq!(room.store().templates().unwrap().len(), 1);
}

#[test]
fn reading_alone_needs_the_key_for_templates_only_and_writes_nothing() {
    let room = Room::new();
    assert!(matches!(Store::open_read_only(&room.path(), None).err().unwrap().what, Trouble::Missing));
    enrol(&mut room.store(), "Ana", 0.0);
    let mut store = Store::open_read_only(&room.path(), None).unwrap();
    assert_eq!(store.people().unwrap().len(), 1);
    assert!(store.verify_chain().unwrap().broken.is_none());
    assert!(matches!(store.templates().unwrap_err().what, Trouble::NoKey));
    assert!(matches!(store.append_event(&Record::new(NOW, Outcome::Exit)).unwrap_err().what, Trouble::ReadOnly));
    assert_eq!(Store::open_read_only(&room.path(), Some(&room.key)).unwrap().templates().unwrap().len(), 1);
}

#[test]
fn what_is_no_database_is_named_for_what_it_is() {
    let room = Room::new();
    fs::create_dir(room.path()).unwrap();
    assert!(matches!(room.trouble(), Trouble::NotAFile));
    fs::remove_dir(room.path()).unwrap();
    fs::write(room.path(), "not a database, but long enough to look like one".repeat(100)).unwrap();
    assert!(matches!(room.trouble(), Trouble::Damaged(_)));
    fs::remove_file(room.path()).unwrap();
    rusqlite::Connection::open(room.path()).unwrap().execute_batch("CREATE TABLE bookmarks (url)").unwrap();
    assert!(matches!(room.trouble(), Trouble::Foreign));
    let nowhere = room.dir.path().join("nowhere/gallery.db");
    let error = Store::open(&nowhere, &room.key).err().unwrap();
    assert!(error.to_string().contains("nowhere/gallery.db: its directory does not exist"), "{error}");
}

#[test]
fn a_newer_schema_is_refused_and_left_as_it_is() {
    let room = Room::new();
    room.store().conn.pragma_update(None, "user_version", schema::VERSION + 1).unwrap();
    let before = fs::read(room.path()).unwrap();
    let trouble = room.trouble();
    assert!(trouble.to_string().contains("newer facelatch"), "{trouble}");
    assert!(fs::read(room.path()).unwrap() == before);
}

#[test]
fn a_damaged_file_gives_an_error_or_whole_rows_and_never_a_panic() {
    let room = Room::new();
    let mut store = room.store();
    let people: Vec<_> = (0..30).map(|i| enrol(&mut store, &format!("person {i}"), i as f32)).collect();
    store.erase(people[3], ACT).unwrap();
    store.checkpoint().unwrap();
    drop(store);
    let whole = fs::read(room.path()).unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let (mut opened, mut refused) = (0, 0);
    for round in 0..300 {
        let mut bytes = whole.clone();
        match round % 3 {
            0 => bytes.truncate(next(whole.len())),
            1 => (0..1 + next(4)).for_each(|_| bytes[next(whole.len())] ^= 1 << next(8)),
            _ => {
                let (at, length) = (next(whole.len()), next(600));
                bytes[at..].iter_mut().take(length).for_each(|byte| *byte = next(256) as u8);
            }
        }
        fs::write(room.path(), &bytes).unwrap();
        match Store::open(&room.path(), &room.key) {
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("gallery.db: "), "{error}");
            }
            Ok(mut store) => {
                opened += 1;
                let _any =
                    (store.people(), store.templates(), store.events(&EventQuery::default()), store.verify_chain());
                let _any = store.append_event(&Record::new(NOW, Outcome::Exit));
                let _any = store.erase(people[5], ACT);
            }
        }
        for side in ["gallery.db-wal", "gallery.db-shm", "gallery.db-journal"] {
            let _absent = fs::remove_file(room.dir.path().join(side));
        }
    }
    assert!(opened > 10 && refused > 100, "{opened} opened, {refused} refused");
}

#[test]
fn a_full_disk_is_said_and_leaves_everything_as_it_was() {
    let room = Room::new();
    let mut store = room.store();
    enrol(&mut store, "Ana", 0.0);
    let pages: i64 = store.conn.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    store.conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    let fill = |store: &mut Store| (0..500).find_map(|_| store.append_event(&Record::new(NOW, Outcome::Exit)).err());
    assert!(matches!(fill(&mut store).unwrap().what, Trouble::Full));
    let (events, report) = (store.events(&EventQuery::default()).unwrap(), store.verify_chain().unwrap());
    assert_eq!((report.broken, report.intact), (None, events.len() as u64));
    store.conn.pragma_update_and_check(None, "max_page_count", pages + 100, |_| Ok(())).unwrap();
    assert_eq!(store.append_event(&Record::new(NOW, Outcome::Exit)).unwrap(), events.len() as u64 + 1);
}

#[test]
fn several_threads_making_one_store_at_once_all_get_it_and_share_one_chain() {
    let room = Room::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut store = room.store();
                for _ in 0..25 {
                    store.append_event(&Record::new(NOW, Outcome::Exit)).unwrap();
                }
            });
        }
    });
    assert_eq!(room.store().verify_chain().unwrap().intact, 100);
}

#[test]
fn the_files_are_for_their_owner_alone() {
    use std::os::unix::fs::MetadataExt;
    let room = Room::new();
    let mut store = room.store();
    enrol(&mut store, "Ana", 0.0);
    for file in fs::read_dir(room.dir.path()).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_gallery_that_root_makes_anew_in_the_daemons_directory_is_the_daemons_with_its_log() {
    use std::os::unix::fs::MetadataExt;
    const DAEMON: u32 = 54_321;
    let room = Room::new();
    if !crate::testing::give_away(room.dir.path(), DAEMON) {
        return;
    }
    let mut store = room.store();
    enrol(&mut store, "Ana", 0.0);
    let files: Vec<_> = fs::read_dir(room.dir.path()).unwrap().map(|file| file.unwrap().metadata().unwrap()).collect();
    assert_eq!(files.len(), 3, "database, log and its index");
    assert!(files.iter().all(|meta| (meta.uid(), meta.gid()) == (DAEMON, DAEMON)));
}

#[test]
fn each_connection_is_as_durable_as_it_must_be() {
    let room = Room::new();
    let store = room.store();
    for conn in [&store.conn, &room.store().conn] {
        let pragma = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!((pragma("synchronous"), pragma("foreign_keys"), pragma("secure_delete")), (2, 1, 1));
        let mode: String = conn.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
    }
}
