use super::*;
use crate::daemon::inbox::tests::{TODAY, exit, ticket};
use crate::gallery::MasterKey;
use crate::gate::Outcome;
use crate::hw::store::EventQuery;
use crate::sim::clock::SimClock;
use crate::time::Wall;

const DAY: Duration = Duration::from_secs(24 * 3600);

struct Desk {
    clock: SimClock,
    shared: Shared,
    keeper: Keeper,
    reader: Store,
    _dir: tempfile::TempDir,
}

impl Desk {
    /// Keeps events for ninety days, and has one that is a hundred days old and one of today.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&dir.path().join("test.db"), &MasterKey::generate().unwrap()).unwrap();
        let ago = |days: i64| Wall::from_unix_millis(TODAY.unix_millis() - days * DAY.as_millis() as i64);
        for days in [100, 0] {
            store.append(&exit(ago(days))).unwrap();
        }
        let (clock, reader) = (SimClock::new(TODAY), store.open_again().unwrap());
        let shared = Shared::new(Arc::new(clock.clone()), nobody());
        let demand = Box::new(|_| Thresholds { identify: None, verify: None });
        let keeper = Keeper::new(store, [0; 32], 1, demand, Some(90 * DAY));
        Self { clock, shared, keeper, reader, _dir: dir }
    }

    fn events_after(&mut self, time: Duration) -> usize {
        self.clock.advance(time);
        self.keeper.look_around(&self.shared);
        self.reader.events(&EventQuery::default()).unwrap().len()
    }
}

#[test]
fn old_events_are_cut_off_once_the_clock_has_run_for_an_hour() {
    let mut desk = Desk::new();
    assert_eq!(desk.events_after(Duration::ZERO), 2);
    assert_eq!(desk.events_after(Duration::from_secs(3599)), 2);
    assert_eq!(desk.events_after(Duration::from_secs(1)), 1);
}

#[test]
fn a_clock_that_boots_decades_ahead_and_is_set_minutes_later_cuts_nothing_of_today() {
    let mut desk = Desk::new();
    desk.clock.jump_wall(40 * 365 * DAY.as_millis() as i64);
    assert_eq!(desk.events_after(Duration::ZERO), 2);
    assert_eq!(desk.events_after(Duration::from_secs(600)), 2);
    desk.clock.jump_wall(-40 * 365 * DAY.as_millis() as i64);
    assert_eq!(desk.events_after(Duration::from_secs(3000)), 2, "an hour after the start, and not after the setting");
    assert_eq!(desk.events_after(Duration::from_secs(3600)), 1);
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
fn a_release_that_comes_too_late_to_the_keeper_is_neither_written_nor_told() {
    let mut desk = Desk::new();
    let follower = desk.shared.watchers.follow(0).unwrap();
    let until = Instant::from_millis(2000);
    let mut write = |ms| {
        desk.clock.advance_to(Instant::from_millis(ms));
        let ticket = Some(Asked { ticket: ticket(), until });
        desk.keeper.take(&desk.shared, Job::Write { record: exit(TODAY), ticket });
        let told = follower.try_iter().map(|written| (written.seq, written.stands)).collect::<Vec<_>>();
        (told, desk.reader.events(&EventQuery::default()).unwrap().len())
    };
    assert_eq!(write(1999), (vec![(Some(3), true)], 3));
    assert_eq!(write(2000), (vec![], 3));
}

#[test]
fn a_release_that_the_gate_no_longer_waits_for_because_it_stops_is_neither_written_nor_told() {
    let mut desk = Desk::new();
    let follower = desk.shared.watchers.follow(0).unwrap();
    let ticket = Some(Asked { ticket: ticket(), until: Instant::from_millis(2000) });
    desk.shared.close();
    desk.keeper.take(&desk.shared, Job::Write { record: exit(TODAY), ticket });
    desk.keeper.take(&desk.shared, Job::Write { record: Record::new(TODAY, Outcome::Stopped), ticket: None });
    let told: Vec<_> = follower.try_iter().map(|written| written.record.outcome).collect();
    assert_eq!(told, [Outcome::Stopped]);
    assert_eq!(desk.reader.events(&EventQuery::default()).unwrap().len(), 3);
}
