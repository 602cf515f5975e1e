//! The keeper's thread: the only one that touches the store. It writes the ledger, and loads the gallery when somebody
//! has changed it.
//!
//! The gate never waits for it: records come through a bounded inbox, and those that a decision hangs on are answered
//! with [`Event::Recorded`]. A store that fails is a fault of the door; what could not be written meanwhile is kept, up
//! to a limit, and written first when the store is back. A grant that could not be written is never written later: it
//! was never given.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use heapless::Deque;

use super::inbox::{Entry, INBOX, Job, Journal, PendingTicket, write_down};
use super::shared::{LedgerAnswer, Message, Shared, WatchedThread};
use super::watchers::Written;
use crate::digest::Digest;
use crate::gallery::search::IndexError;
use crate::gallery::{Comparisons, Decider, Index, Person, Template};
use crate::gate::{Event, Fault, Member, Record, Roster, Schedule};
use crate::hw::journal;
use crate::hw::store::{Store, StoreError, Trouble};
use crate::person::{Name, PersonId};
use crate::ports::Ledger;
use crate::time::{Duration, Instant, Now};
use crate::units::Similarity;

/// Records kept while the store fails; beyond, the newest are only in the journal.
pub const BACKLOG: usize = 128;
/// How often the gallery is asked for changes, a failed store tried again, and a stop noticed.
const PERIOD: Duration = Duration::from_millis(500);
/// So many of what waited for the store are written in one go; between two it is looked for changes of the gallery.
const AT_ONCE: usize = 8;
/// A store that has failed in so many rounds in a row is opened anew: its file system may have gone away and come back,
/// and what was open before stays dead.
const MAX_FAILED_ROUNDS: u32 = 10;
/// The gallery is loaded so often though nothing has changed in it: the rules of somebody's time zone may have, by an
/// update of the system's.
const RELOAD_PERIOD: Duration = Duration::from_secs(24 * 3600);
/// How often old events are cut off.
const RETENTION_PERIOD: Duration = Duration::from_secs(24 * 3600);
/// How often it is asked whether something is left of somebody erased. Whoever erased them had this long to see to it.
const SCRUB_PERIOD: Duration = Duration::from_secs(600);
/// Nothing is cut off before the clock has run for so long without being set: what is gone is gone, and a board may
/// boot with any time at all and hear the right one minutes later.
const STEADY_FOR: Duration = Duration::from_secs(3600);
/// Nor across a longer gap than this before it has run on for as long: whoever answers in the time server's place may
/// set the clock ahead, and then everything is old. A door that starts more often has an event of each start.
const MAX_GAP: Duration = Duration::from_secs(7 * 24 * 3600);
/// A clock that differs by more than this from where it would be had it run on was set.
const MAX_DRIFT: Duration = Duration::from_secs(60);

/// The similarities to demand; `None` admits nobody that way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MatchThresholds {
    /// Of recognition (1:N).
    pub identify: Option<Similarity>,
    /// Of verification (1:1).
    pub verify: Option<Similarity>,
    /// Whether this door searches at all. One that only hears claims lacks nothing without `identify`.
    pub searches: bool,
}

/// What to demand of a gallery that counts as so many comparisons.
pub type Demand = Box<dyn Fn(Comparisons) -> MatchThresholds + Send>;

/// Everybody whom the door knows, as of the last change.
pub struct Gallery {
    pub index: Index,
    /// By number, rising.
    names: Vec<(PersonId, Name)>,
}

impl Gallery {
    pub fn name(&self, id: PersonId) -> Option<&str> {
        let at = self.names.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.names.get(at).map(|(_, name)| name.as_str())
    }

    /// Who is called so, or has this number, written `#3`.
    pub fn find(&self, name: &str) -> Option<PersonId> {
        let (name, id) = (Name::new(name).or_else(|_| Name::kept(name)).ok()?, PersonId::parse(name.trim()));
        let is_it = |(known, called): &&(PersonId, Name)| id.map_or(*called == name, |id| *known == id);
        self.names.iter().find(is_it).map(|(id, _)| *id)
    }
}

/// Why there is no gallery.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Opens the store, as often as needed; a sentence where it can't be opened.
pub type OpenStore = Box<dyn FnMut() -> Result<Store, String> + Send>;

/// The store, or the hope of one. A door starts without: whatever is wrong with a disk, it must not keep people in.
pub enum StoreState {
    Open(Store),
    /// Nobody is known until it opens; what happens meanwhile is kept as when a store fails.
    Awaited(OpenStore),
}

impl From<Store> for StoreState {
    fn from(store: Store) -> Self {
        Self::Open(store)
    }
}

/// See the module.
pub struct Keeper {
    store_state: StoreState,
    model: Digest,
    dims: usize,
    decider: Decider,
    demand: Demand,
    journal: Journal,
    /// Events older than this are cut off; `None` keeps them all.
    retention: Option<Duration>,
    retained_at: Option<Instant>,
    /// When it was last asked, each [`SCRUB_PERIOD`], whether bytes of somebody erased are still in the store's files,
    /// and the event of that erasure, if any. Where the next answer is the same, they are scrubbed.
    scrub_asked_at: Option<(Instant, Option<u64>)>,
    steady: Option<Steady>,
    backlog: Deque<Record, BACKLOG>,
    /// Which [`Part`] does not work.
    is_ledger_failing: bool,
    is_gallery_failing: bool,
    /// Rounds of maintenance in a row in which the ledger failed.
    failed_rounds: u32,
    /// The gallery has changed and is not loaded yet.
    is_outdated: bool,
    loaded_at: Option<Instant>,
    is_blind: bool,
}

/// A clock that has run on since then without being set.
#[derive(Debug, Clone, Copy)]
struct Steady {
    since: Instant,
    /// Civil time when the board booted, by that clock.
    booted_at_ms: i64,
}

/// The two halves of the store, which fail and recover by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Ledger,
    Gallery,
}

impl Keeper {
    pub fn new(
        store_state: impl Into<StoreState>,
        model: Digest,
        dims: usize,
        demand: Demand,
        retention: Option<Duration>,
    ) -> Self {
        Self {
            store_state: store_state.into(),
            model,
            dims,
            decider: Decider::Threshold,
            demand,
            journal: journal::outcome,
            retention,
            retained_at: None,
            scrub_asked_at: None,
            steady: None,
            backlog: Deque::new(),
            is_ledger_failing: false,
            is_gallery_failing: false,
            failed_rounds: 0,
            is_outdated: false,
            loaded_at: None,
            is_blind: false,
        }
    }

    /// Of a door that sees nobody, which was told of: what its networks and table would make of the gallery is nothing
    /// to tell.
    #[must_use]
    pub fn blind(self, is_blind: bool) -> Self {
        Self { is_blind, ..self }
    }

    /// Compares by this decider, whose table the thresholds come from, in place of the plain one.
    #[must_use]
    pub fn decided_by(self, decider: Decider) -> Self {
        Self { decider, ..self }
    }

    /// Reads the people and their templates as they are now; nobody while the store is awaited.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub fn load(&self) -> Result<(Gallery, Roster), KeeperError> {
        match &self.store_state {
            StoreState::Open(store) => self.assemble(store.people()?, &store.templates()?),
            StoreState::Awaited(_) => self.assemble(Vec::new(), &[]),
        }
    }

    /// What a door starts with: as [`Keeper::load`], and nobody where that fails, until it succeeds.
    ///
    /// # Errors
    /// What no other store would mend: the decider is another encoder's.
    pub fn load_at_start(&mut self) -> Result<(Gallery, Roster), KeeperError> {
        self.load().or_else(|error| {
            log::error!("{error}; nobody is admitted by face");
            self.is_outdated = true;
            self.assemble(Vec::new(), &[])
        })
    }

    fn assemble(&self, people: Vec<Person>, templates: &[Template]) -> Result<(Gallery, Roster), KeeperError> {
        let index = Index::of_people(&self.model, self.dims, templates)?.decided_by(self.decider.clone())?;
        if let Some(other) = index.other_model().filter(|_| !self.is_blind) {
            log::warn!("{other}");
        }
        let MatchThresholds { identify, verify, searches } = (self.demand)(index.comparisons());
        let known = index.people().len();
        let demanded = [("target_fmr", searches, identify), ("verify_target_fmr", true, verify)];
        for (key, is_asked, at) in demanded {
            if is_asked && at.is_none() && known > 0 && !self.is_blind {
                log::error!(
                    "no score table that was read reaches gate.{key} among {known} people: nobody is admitted by it"
                );
            }
        }
        let members = people.iter().map(|person| Member {
            id: person.id,
            expires: person.expires,
            schedule: Schedule::parse(&person.schedule)
                .inspect_err(|error| log::error!("{}'s schedule: {error}; they are not admitted", person.name))
                .ok(),
        });
        let roster = Roster::new(members.collect(), identify, verify);
        let names = people.into_iter().map(|person| (person.id, person.name)).collect();
        Ok((Gallery { index, names }, roster))
    }

    /// Writes and loads until the daemon stops and every record is out of the inbox.
    pub fn run(mut self, shared: &Shared, jobs: &Receiver<Job>) {
        let mut maintain_at = shared.now().mono + PERIOD;
        loop {
            match jobs.recv_timeout(maintain_at.since(shared.now().mono)) {
                Ok(job) => self.take(shared, job),
                Err(RecvTimeoutError::Timeout) if shared.is_stopping() => break,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // Also where one record follows the other: whoever is erased must not be let in for that.
            if shared.now().mono >= maintain_at {
                self.maintain(shared);
                // What still waits for a store that works is gone on with at once.
                let pause = if self.backlog.is_empty() || self.is_ledger_failing { PERIOD } else { Duration::ZERO };
                maintain_at = shared.now().mono + pause;
            }
            shared.beat(WatchedThread::Keeper);
        }
        // The gate has gone, and its last words may still wait.
        for job in jobs.try_iter().take(INBOX) {
            self.take(shared, job);
        }
        for _ in 0..BACKLOG / AT_ONCE {
            if self.catch_up(shared) || self.is_ledger_failing {
                break;
            }
        }
    }

    fn take(&mut self, shared: &Shared, job: Job) {
        let Entry { record, ticket, step, told } = match job {
            Job::Write(entry) => entry,
            Job::Demand(demand) => {
                self.demand = demand;
                self.is_outdated = true;
                return self.maintain(shared);
            }
        };
        let is_late = || ticket.is_some_and(|pending| shared.is_closing() || shared.now().mono >= pending.until);
        // Asked again once what waited is written, which takes its time.
        let may_write = !is_late() && self.catch_up(shared) && !is_late();
        let seq = if may_write { self.append(shared, &record) } else { None };
        let Some(PendingTicket { ticket, .. }) = ticket else {
            if seq.is_none() && self.backlog.push_back(record.clone()).is_err() {
                log::error!("the ledger's backlog is full: this event is in the journal alone");
            }
            if told.claim() {
                shared.watchers.tell(&Written { seq, stands: true, step, record });
            }
            return;
        };
        if seq.is_some() {
            write_down(self.journal, &record, &shared.gallery());
        }
        // Whether it comes to pass is for the gate to say, and so is telling of it.
        shared.send(Message::LedgerAnswer(LedgerAnswer { ticket, seq, record: Box::new(record) }));
    }

    /// Writes what waited for the store, or a part of it; whether nothing waits any more.
    fn catch_up(&mut self, shared: &Shared) -> bool {
        for _ in 0..AT_ONCE {
            let Some(record) = self.backlog.front().cloned() else { break };
            if self.append(shared, &record).is_none() {
                return false;
            }
            self.backlog.pop_front();
            shared.beat(WatchedThread::Keeper);
        }
        self.backlog.is_empty()
    }

    /// The store, opened now where it was awaited.
    fn store(&mut self) -> Result<&mut Store, String> {
        if let StoreState::Awaited(open) = &mut self.store_state {
            self.store_state = StoreState::Open(open()?);
            self.is_outdated = true;
        }
        match &mut self.store_state {
            StoreState::Open(store) => Ok(store),
            StoreState::Awaited(_) => Err("it is not open".into()),
        }
    }

    fn append(&mut self, shared: &Shared, record: &Record) -> Option<u64> {
        let appended = self.store().and_then(|store| store.append(record));
        self.report(shared, Part::Ledger, appended)
    }

    /// What is due without a record: changes of the gallery, a store that may be back, old events.
    fn maintain(&mut self, shared: &Shared) {
        self.failed_rounds = if self.is_ledger_failing { self.failed_rounds + 1 } else { 0 };
        self.let_go();
        if !self.catch_up(shared) && self.is_ledger_failing {
            return;
        }
        let changed = self.store().and_then(|store| store.changed().map_err(|error| error.to_string()));
        self.is_outdated |= self.report(shared, Part::Ledger, changed) == Some(true);
        let now = shared.now().mono;
        self.is_outdated |= now.since(*self.loaded_at.get_or_insert(now)) >= RELOAD_PERIOD;
        // Whoever is known stays so while the store is away.
        if self.is_outdated && matches!(self.store_state, StoreState::Open(_)) {
            let loaded = self.load().map_err(|error| error.to_string());
            if let Some((gallery, roster)) = self.report(shared, Part::Gallery, loaded) {
                log::info!("gallery: {} people, {} templates", roster.len(), gallery.index.templates());
                shared.set_gallery(Arc::new(gallery));
                shared.tell(Event::Roster(Arc::new(roster)));
                self.is_outdated = false;
                self.loaded_at = Some(now);
            }
        }
        self.retain(shared);
        self.scrub(now);
    }

    /// Closes a store whose file has gone or is another by now, and one that keeps failing, before it is opened anew:
    /// SQLite shares what it knows of a file among all who have it open.
    fn let_go(&mut self) {
        let StoreState::Open(store) = &self.store_state else { return };
        let is_there = store.is_there();
        if is_there && self.failed_rounds < MAX_FAILED_ROUNDS {
            return;
        }
        // One that only fails has been told of.
        if !is_there {
            log::warn!("{}: the file that was open isn't there any more", store.path().display());
        }
        let mut reopen = store.to_reopen();
        self.store_state = StoreState::Awaited(Box::new(move || reopen().map_err(|error| error.to_string())));
        self.failed_rounds = 0;
    }

    /// Completes an erasure that could not be when it was asked for. What keeps it from being completed is no fault of
    /// the door: events are written all the same.
    fn scrub(&mut self, now: Instant) {
        let StoreState::Open(store) = &self.store_state else { return };
        if self.scrub_asked_at.is_some_and(|(at, _)| now.since(at) < SCRUB_PERIOD) {
            return;
        }
        let Ok(left) = store.unscrubbed() else { return };
        let before = self.scrub_asked_at.replace((now, left)).and_then(|(_, left)| left);
        if left.is_none() || left != before {
            return;
        }
        match store.scrub_rest() {
            Ok(_) => log::info!("what was left of somebody erased is gone from the store's files"),
            Err(error) => log::warn!(
                "something of somebody erased is still in the store's files ({error}); tried again every {} minutes",
                SCRUB_PERIOD.as_secs() / 60
            ),
        }
    }

    fn retain(&mut self, shared: &Shared) {
        let now = shared.now();
        let (Some(retention), StoreState::Open(store)) = (self.retention, &mut self.store_state) else { return };
        let is_due = self.retained_at.is_none_or(|at| now.mono.since(at) >= RETENTION_PERIOD);
        // By a clock that was never set everything or nothing is old.
        let steady = Steady::of(&mut self.steady, now);
        if !(steady >= STEADY_FOR && is_due && now.wall.is_plausible()) {
            return;
        }
        self.retained_at = Some(now.mono);
        match store.retain_events(retention, now.wall, (steady < MAX_GAP).then_some(MAX_GAP)) {
            Ok(0) => {}
            Ok(cut) => log::info!("{cut} events were older than {} days and are cut off", retention.as_secs() / 86_400),
            // Not the disk's failure: what a new event needs is there, and so it isn't the door's fault.
            Err(StoreError { what: Trouble::BrokenChain(_), .. }) => {
                log::error!("the chain of events is broken, so old ones are not cut off: `facelatch events --verify`");
            }
            Err(error) => {
                let _told = self.report::<()>(shared, Part::Ledger, Err(error.to_string()));
            }
        }
    }

    /// Tells the gate when the store begins to fail and when all of it works again.
    fn report<T>(&mut self, shared: &Shared, part: Part, result: Result<T, String>) -> Option<T> {
        let was_failing = self.is_ledger_failing || self.is_gallery_failing;
        let of_part = match part {
            Part::Ledger => &mut self.is_ledger_failing,
            Part::Gallery => &mut self.is_gallery_failing,
        };
        let failed_before = std::mem::replace(of_part, result.is_err());
        let is_failing = self.is_ledger_failing || self.is_gallery_failing;
        shared.set_store_failing(is_failing);
        match result {
            Ok(done) => {
                if was_failing && !is_failing {
                    shared.tell(Event::Cleared(Fault::Store));
                }
                Some(done)
            }
            Err(reason) => {
                if !failed_before {
                    log::error!("the store fails: {reason}");
                    shared.tell(Event::Fault(Fault::Store));
                }
                None
            }
        }
    }
}

impl Steady {
    /// For how long the clock has run on, as of `now`.
    fn of(steady: &mut Option<Self>, now: Now) -> Duration {
        let booted_at_ms = now.wall.unix_millis().saturating_sub(now.mono.as_millis() as i64);
        let runs_on =
            steady.filter(|steady| Duration::from_millis(steady.booted_at_ms.abs_diff(booted_at_ms)) <= MAX_DRIFT);
        let Self { since, .. } = *steady.insert(runs_on.unwrap_or(Self { since: now.mono, booted_at_ms }));
        now.mono.since(since)
    }
}

/// A gallery without people.
#[cfg(test)]
pub(super) fn nobody() -> Gallery {
    Gallery { index: Index::of_people(&Digest([0; 32]), 1, &[]).unwrap(), names: Vec::new() }
}

#[cfg(test)]
mod tests;
