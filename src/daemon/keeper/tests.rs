use super::*;
use crate::daemon::inbox::inbox;
use crate::daemon::inbox::tests::{TODAY, entry, exit, ticket};
use crate::face::encoding::Encoding;
use crate::gallery::{MasterKey, NewPerson, NewTemplate};
use crate::gate::{Outcome, Reason};
use crate::hw::store::{Act, EventQuery};
use crate::ports::Clock;
use crate::sim::clock::SimClock;
use crate::time::Wall;

const DAY: Duration = Duration::from_secs(24 * 3600);

struct Desk {
    clock: SimClock,
    shared: Shared,
    keeper: Keeper,
    reader: Store,
    key: MasterKey,
    dir: tempfile::TempDir,
}

impl Desk {
    /// Keeps events for ninety days, and has one that is a day older than that and one that is a day younger.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = MasterKey::generate().unwrap();
        let mut store = Store::open(&dir.path().join("test.db"), &key).unwrap();
        let ago = |days: i64| Wall::from_unix_millis(TODAY.unix_millis() - days * DAY.as_millis() as i64);
        for days in [91, 89] {
            store.append(&exit(ago(days))).unwrap();
        }
        let (clock, reader) = (SimClock::new(TODAY), Store::open(store.path(), &key).unwrap());
        let shared = Shared::new(Arc::new(clock.clone()), nobody());
        let demand = Box::new(|_| MatchThresholds { identify: None, verify: None, searches: true });
        let keeper = Keeper::new(store, Digest([0; 32]), 1, demand, Some(90 * DAY));
        Self { clock, shared, keeper, reader, key, dir }
    }

    /// Takes the store's files away, and what is left in their place.
    fn moves_the_files(&self) -> usize {
        let away = self.dir.path().join("away");
        std::fs::create_dir(&away).unwrap();
        for name in ["test.db", "test.db-wal", "test.db-shm"] {
            std::fs::rename(self.dir.path().join(name), away.join(name)).unwrap();
        }
        self.files()
    }

    /// How many files lie where the store is.
    fn files(&self) -> usize {
        std::fs::read_dir(self.dir.path()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file()).count()
    }

    /// What the gate hears of a manual release that it waits for until then: its number.
    fn asks(&mut self, until: Instant) -> Option<u64> {
        let release = Record::new(TODAY, Outcome::ManualRelease);
        let job = Job::Write(entry(release, Some(PendingTicket { ticket: ticket(), until })));
        self.keeper.take(&self.shared, job);
        // Roster and faults are told as well.
        let told = std::iter::from_fn(|| self.shared.queue.take(Duration::ZERO));
        let answers =
            told.filter_map(|message| if let Message::LedgerAnswer(answer) = message { Some(answer) } else { None });
        answers.last().unwrap().seq
    }

    fn writes(&mut self, record: Record) {
        self.keeper.take(&self.shared, Job::Write(entry(record, None)));
    }

    fn enrols(&self, store: &mut Store, name: &str) -> PersonId {
        enrol(store, &NewPerson::new(Name::new(name).unwrap()))
    }

    fn maintains(&mut self) {
        self.clock.advance(PERIOD);
        self.keeper.maintain(&self.shared);
    }

    fn events_after(&mut self, time: Duration) -> usize {
        self.clock.advance(time);
        self.keeper.maintain(&self.shared);
        self.reader.events(&EventQuery::default()).unwrap().len()
    }
}

fn enrol(store: &mut Store, person: &NewPerson) -> PersonId {
    let encoding = Encoding::from_raw(&[1.0]).unwrap();
    let template = NewTemplate { encoding, model_sha256: Digest([0; 32]), created: TODAY, quality: 1.0 };
    store.enrol(person, &[template], 8, Act { at: TODAY, by_uid: None }).unwrap().0
}

#[test]
fn what_is_loaded_demands_of_each_way_its_own_similarity_and_admits_nobody_past_their_time_or_hours() {
    let mut desk = Desk::new();
    let (identify, verify) = (Similarity::new(0.6), Similarity::new(0.4));
    desk.keeper.demand = Box::new(move |_| MatchThresholds { identify, verify, searches: true });
    let mut enrols = |name, expires, schedule: &str| {
        let person = NewPerson { expires, schedule: schedule.into(), ..NewPerson::new(Name::new(name).unwrap()) };
        enrol(&mut desk.reader, &person)
    };
    let ana = enrols("Ana Ruiz", None, "always");
    let eva = enrols("Eva Lind", Some(TODAY), "always");
    // It is a Monday.
    let tom = enrols("Tom Berg", None, "Sat 08:00-12:00 UTC");
    let zoe = enrols("Zoe Roth", None, "whenever she likes");
    let (_, roster) = desk.keeper.load().unwrap();
    assert_eq!((roster.identify_threshold, roster.verify_threshold), (identify, verify));
    let permits = |id| roster.get(id).unwrap().permits(desk.clock.now());
    let outside = Err((Outcome::OutOfSchedule, Reason::OutsideSchedule));
    assert_eq!([ana, tom, zoe].map(permits), [Ok(()), outside, outside]);
    assert_eq!(permits(eva), Err((Outcome::Expired, Reason::ExpiredAt(TODAY))));
}

#[test]
fn old_events_are_cut_off_once_the_clock_has_run_for_an_hour() {
    let mut desk = Desk::new();
    assert_eq!(desk.events_after(Duration::ZERO), 2);
    assert_eq!(desk.events_after(Duration::from_secs(3599)), 2);
    assert_eq!(desk.events_after(Duration::from_secs(1)), 1);
}

#[test]
fn a_clock_that_boots_decades_ahead_and_is_set_minutes_later_cuts_nothing_that_is_not_old() {
    let mut desk = Desk::new();
    desk.clock.jump_wall(40 * 365 * DAY.as_millis() as i64);
    assert_eq!(desk.events_after(Duration::ZERO), 2);
    assert_eq!(desk.events_after(Duration::from_secs(600)), 2);
    desk.clock.jump_wall(-40 * 365 * DAY.as_millis() as i64);
    assert_eq!(desk.events_after(Duration::from_secs(3000)), 2, "an hour after the start, and not after the setting");
    assert_eq!(desk.events_after(Duration::from_secs(3600)), 1);
}

#[test]
fn a_clock_that_is_set_years_ahead_cuts_nothing_from_before_until_it_has_run_for_a_week() {
    let mut desk = Desk::new();
    desk.events_after(Duration::ZERO);
    desk.clock.jump_wall(10 * 365 * DAY.as_millis() as i64);
    assert_eq!(desk.events_after(Duration::ZERO), 2);
    assert_eq!(desk.events_after(Duration::from_secs(3600)), 2);
    desk.writes(Record::new(desk.clock.now().wall, Outcome::Started));
    assert_eq!(desk.events_after(DAY), 3, "nor where a start by that clock comes next");
    assert_eq!(desk.events_after(6 * DAY), 1);
}

#[test]
fn a_broken_chain_is_no_failure_of_the_store() {
    let mut desk = Desk::new();
    let path = desk.reader.path().to_owned();
    let changed = "UPDATE events SET outcome = 'granted' WHERE seq = 1";
    assert_eq!(rusqlite::Connection::open(path).unwrap().execute(changed, []).unwrap(), 1);
    desk.events_after(Duration::ZERO);
    assert_eq!(desk.events_after(Duration::from_secs(3600)), 2);
    assert!(!desk.shared.is_store_failing());
}

#[test]
fn what_is_left_of_somebody_erased_goes_once_whoever_erased_them_had_a_while_for_it() {
    let mut desk = Desk::new();
    let other = rusqlite::Connection::open(desk.reader.path()).unwrap();
    desk.events_after(Duration::ZERO);
    other.execute("UPDATE gallery SET unscrubbed = 2", []).unwrap();
    desk.events_after(SCRUB_PERIOD);
    assert_eq!(desk.reader.unscrubbed().unwrap(), Some(2), "it may be under way");
    other.execute_batch("BEGIN; SELECT * FROM people").unwrap();
    desk.events_after(SCRUB_PERIOD);
    assert_eq!(desk.reader.unscrubbed().unwrap(), Some(2), "somebody reads");
    assert!(!desk.shared.is_store_failing());
    other.execute_batch("COMMIT").unwrap();
    desk.events_after(Duration::from_secs(599));
    assert_eq!(desk.reader.unscrubbed().unwrap(), Some(2));
    desk.events_after(Duration::from_secs(1));
    assert_eq!(desk.reader.unscrubbed().unwrap(), None);
}

#[test]
fn a_release_that_comes_too_late_to_the_keeper_is_not_written_and_the_gate_hears_it() {
    let mut desk = Desk::new();
    let until = Instant::from_millis(2000);
    let mut write = |ms| {
        desk.clock.advance_to(Instant::from_millis(ms));
        (desk.asks(until), desk.reader.events(&EventQuery::default()).unwrap().len())
    };
    assert_eq!(write(1999), (Some(3), 3));
    assert_eq!(write(2000), (None, 3));
}

#[test]
fn a_release_that_the_gate_no_longer_waits_for_because_it_stops_is_neither_written_nor_told() {
    let mut desk = Desk::new();
    let follower = desk.shared.watchers.follow(0).unwrap();
    desk.shared.close();
    assert_eq!(desk.asks(Instant::from_millis(2000)), None);
    desk.writes(Record::new(TODAY, Outcome::Stopped));
    let told: Vec<_> = follower.try_iter().map(|written| written.record.outcome).collect();
    assert_eq!(told, [Outcome::Stopped]);
    assert_eq!(desk.reader.events(&EventQuery::default()).unwrap().len(), 3);
}

#[test]
fn what_the_followers_have_heard_already_is_written_and_not_told_again() {
    let mut desk = Desk::new();
    let follower = desk.shared.watchers.follow(0).unwrap();
    for is_told in [true, false] {
        let entry = entry(exit(TODAY), None);
        assert!(!is_told || entry.told.claim());
        desk.keeper.take(&desk.shared, Job::Write(entry));
    }
    assert_eq!(follower.try_iter().map(|written| written.seq).collect::<Vec<_>>(), [Some(4)]);
}

/// A disk so slow that the time passes between two looks at the clock.
struct Slow(SimClock);

impl Clock for Slow {
    fn now(&self) -> Now {
        self.0.advance(Duration::from_millis(100));
        self.0.now()
    }
}

#[test]
fn a_store_that_comes_back_is_caught_up_with_in_parts_and_a_release_that_is_late_by_then_is_not_written() {
    let mut desk = Desk::new();
    desk.maintains();
    desk.shared = Shared::new(Arc::new(Slow(desk.clock.clone())), nobody());
    let rest = |desk: &mut Desk, n| desk.keeper.backlog.extend(std::iter::repeat_n(exit(TODAY), n));
    let written = |desk: &Desk| desk.reader.events(&EventQuery::default()).unwrap().len() - 2;
    rest(&mut desk, AT_ONCE);
    let now = desk.clock.now().mono;
    assert_eq!(desk.asks(now + Duration::from_millis(500)), None, "there was time when it began");
    assert_eq!(written(&desk), AT_ONCE);
    assert!(desk.shared.last_beat(WatchedThread::Keeper) > now, "it lives meanwhile");
    rest(&mut desk, AT_ONCE + 1);
    let mut other = Store::open(desk.reader.path(), &desk.key).unwrap();
    desk.enrols(&mut other, "Ana Ruiz");
    desk.maintains();
    assert_eq!((desk.keeper.backlog.len(), written(&desk)), (1, 2 * AT_ONCE + 1));
    assert!(desk.shared.gallery().find("Ana Ruiz").is_some(), "the gallery doesn't wait for the rest");
    desk.writes(Record::new(TODAY, Outcome::Stopped));
    assert_eq!((desk.keeper.backlog.len(), written(&desk)), (0, 2 * AT_ONCE + 3));
}

thread_local! {
    static JOURNAL: std::cell::RefCell<Vec<Outcome>> = const { std::cell::RefCell::new(Vec::new()) };
}

#[test]
fn the_keeper_journals_what_it_was_asked_to_write_and_leaves_the_rest_to_the_gate() {
    let mut desk = Desk::new();
    desk.keeper.journal = |record, _| JOURNAL.with_borrow_mut(|journal| journal.push(record.outcome));
    desk.writes(Record::new(TODAY, Outcome::Started));
    assert_eq!(desk.asks(Instant::from_millis(2000)), Some(4));
    assert_eq!(desk.asks(Instant::BOOT), None);
    assert_eq!(JOURNAL.take(), [Outcome::ManualRelease]);
}

#[test]
fn a_store_that_is_moved_away_is_a_fault_and_none_is_made_in_its_place_and_another_that_is_put_there_is_the_doors() {
    let mut desk = Desk::new();
    desk.maintains();
    assert_eq!(desk.moves_the_files(), 0);
    for _ in 0..2 {
        desk.maintains();
        assert!(desk.shared.is_store_failing());
        assert_eq!(desk.files(), 0, "a bare mount point stays bare");
    }
    desk.writes(exit(TODAY));
    std::fs::write(desk.dir.path().join("test.db"), []).unwrap();
    desk.maintains();
    assert!(desk.shared.is_store_failing(), "an empty file is none, either");
    std::fs::remove_file(desk.dir.path().join("test.db")).unwrap();
    let mut other = Store::open(&desk.dir.path().join("test.db"), &desk.key).unwrap();
    let ana = desk.enrols(&mut other, "Ana Ruiz");
    desk.maintains();
    assert!(!desk.shared.is_store_failing());
    assert_eq!(desk.shared.gallery().find("Ana Ruiz"), Some(ana));
    assert_eq!([" Ana  Ruiz", "#1", "#9"].map(|name| desk.shared.gallery().find(name)), [Some(ana), Some(ana), None]);
    let outcomes = |store: &Store| {
        let rows = store.events(&EventQuery::default()).unwrap();
        rows.iter().filter_map(|row| Outcome::parse(&row.outcome)).collect::<Vec<_>>()
    };
    assert_eq!(outcomes(&other), [Outcome::Enrolled, Outcome::Exit], "what happened meanwhile is in the new one");
    assert_eq!(outcomes(&desk.reader), [Outcome::Exit; 2], "and not in the one that was moved away");
}

#[test]
fn a_reload_while_the_store_is_away_forgets_nobody_and_counts_once_it_is_back() {
    let mut desk = Desk::new();
    let mut other = Store::open(desk.reader.path(), &desk.key).unwrap();
    let ana = desk.enrols(&mut other, "Ana Ruiz");
    desk.maintains();
    desk.moves_the_files();
    desk.maintains();
    let (asked, is_asked) = std::sync::mpsc::channel();
    let demand = Box::new(move |_| {
        asked.send(()).unwrap();
        MatchThresholds { identify: None, verify: None, searches: true }
    });
    desk.keeper.take(&desk.shared, Job::Demand(demand));
    desk.maintains();
    assert!(desk.shared.is_store_failing());
    assert_eq!(desk.shared.gallery().find("Ana Ruiz"), Some(ana));
    assert_eq!(is_asked.try_iter().count(), 0);
    for name in ["test.db", "test.db-wal", "test.db-shm"] {
        std::fs::rename(desk.dir.path().join("away").join(name), desk.dir.path().join(name)).unwrap();
    }
    desk.maintains();
    assert!(!desk.shared.is_store_failing());
    assert_eq!(desk.shared.gallery().find("Ana Ruiz"), Some(ana));
    assert_eq!(is_asked.try_iter().count(), 1);
}

#[test]
fn the_gallery_is_loaded_once_a_day_though_nobody_changes_it() {
    let mut desk = Desk::new();
    let rosters_after = |desk: &mut Desk, time| {
        desk.events_after(time);
        let told = std::iter::from_fn(|| desk.shared.queue.take(Duration::ZERO));
        told.filter(|message| matches!(message, Message::Event(Event::Roster(_)))).count()
    };
    rosters_after(&mut desk, Duration::ZERO);
    assert_eq!(rosters_after(&mut desk, DAY - Duration::from_secs(1)), 0);
    assert_eq!(rosters_after(&mut desk, Duration::from_secs(1)), 1);
    assert_eq!(rosters_after(&mut desk, DAY - Duration::from_secs(1)), 0);
}

#[test]
fn a_store_that_keeps_failing_though_its_file_is_there_is_opened_anew() {
    let mut desk = Desk::new();
    desk.maintains();
    // What a file system leaves behind that has gone away: it is read, and can't be written any more.
    let StoreState::Open(store) = &mut desk.keeper.store_state else { panic!("open") };
    *store = Store::open_read_only(desk.reader.path(), Some(&desk.key)).unwrap();
    desk.writes(exit(TODAY));
    for _ in 0..MAX_FAILED_ROUNDS - 1 {
        desk.maintains();
        assert!(desk.shared.is_store_failing());
    }
    desk.maintains();
    assert!(!desk.shared.is_store_failing());
    assert_eq!(desk.reader.events(&EventQuery::default()).unwrap().len(), 3);
}

#[test]
fn what_still_waits_for_the_store_when_the_daemon_stops_is_written_to_the_last() {
    let Desk { shared, mut keeper, reader, dir: _dir, .. } = Desk::new();
    keeper.backlog.extend(std::iter::repeat_n(exit(TODAY), BACKLOG));
    let (gate, jobs) = inbox();
    drop(gate);
    keeper.run(&shared, &jobs);
    assert_eq!(reader.events(&EventQuery::default()).unwrap().len(), 2 + BACKLOG);
}
