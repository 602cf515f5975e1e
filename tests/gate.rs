//! The gate under a million random stories, each judged by an oracle that shares no code with it.
//!
//! `FACELATCH_SEED` chooses the stories and `FACELATCH_STORIES` how many; both are printed. Story `n` of seed `s` is
//! the first story of seed `s + n`, which is what a failure names, together with the shortest version of it that still
//! fails.

/// Objects with a sentence unless the condition holds.
macro_rules! must {
    ($condition:expr, $($sentence:tt)+) => {
        if !$condition { return Err(format!($($sentence)+)); }
    };
}

mod evidence;
mod judge;
mod leaf;
mod story;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use facelatch::gate::{Action, Event, Gate, LivenessReport, Outcome, Reason, Sighting, Ticket};
use facelatch::sim::rng::Rng;
use facelatch::time::{Instant, Now, Wall};

use crate::testing::{SEED, cases, number, seed};
use judge::{Judge, Tally};
use story::{Beat, Number, Story, What, Which};
use world::People;

const STORIES: u64 = 1_000_000;
const THREADS: u64 = 2;
/// When every story begins, in milliseconds since boot.
const START: u64 = 3_600_000;
/// Deadlines between two events at most: a gate that asks for more turns in circles.
const MAX_TICKS: usize = 32;

/// A gate, its judge, and the clocks between them.
struct Door<'a> {
    galleries: &'a [Rc<People>],
    gate: Gate,
    judge: Judge,
    now: u64,
    wall_offset: i64,
    number: u32,
    open_tickets: Vec<Ticket>,
    answered: Option<Ticket>,
}

impl<'a> Door<'a> {
    fn new(story: &Story, galleries: &'a [Rc<People>]) -> Result<Self, String> {
        let now = Now { mono: Instant::from_millis(START), wall: Wall::from_unix_millis(world::EVENING) };
        let (gate, first) = Gate::new(story.policy.clone(), now);
        let is_locked = matches!(first.first(), Some(Action::Secure));
        let is_noted =
            matches!(&first[1..], [Action::Record { record, ticket: None }] if record.outcome == Outcome::Started);
        if !(is_locked && is_noted) {
            return Err(format!("a start with {first:?}"));
        }
        let judge = Judge::new(story.policy.clone(), Rc::clone(&galleries[0]));
        let (open_tickets, answered) = (Vec::new(), None);
        let mut door = Self { galleries, gate, judge, now: START, wall_offset: 0, number: 0, open_tickets, answered };
        door.enrol(0)?;
        Ok(door)
    }

    fn step(&mut self, event: Event) -> Result<(), String> {
        let wall = world::EVENING + (self.now - START) as i64 + self.wall_offset;
        let now = Now { mono: Instant::from_millis(self.now), wall: Wall::from_unix_millis(wall) };
        let actions = self.gate.step(now, event.clone());
        self.open_tickets.extend(actions.iter().filter_map(|action| match action {
            Action::Record { ticket, .. } => *ticket,
            _ => None,
        }));
        let poll_at = self.gate.poll_at().map(|at| at.as_nanos().div_ceil(1_000_000));
        self.judge.hear(now, &event, &actions, self.gate.status().state, poll_at)
    }

    fn enrol(&mut self, which: usize) -> Result<(), String> {
        let people = Rc::clone(&self.galleries[which]);
        let roster = people.roster.clone();
        self.judge.enrol(people);
        self.step(Event::Roster(roster))
    }

    /// Meets every deadline up to `until`, at its time.
    fn pass(&mut self, until: u64) -> Result<(), String> {
        for _ in 0..MAX_TICKS {
            let Some(due) = self.gate.poll_at().map(|at| at.as_nanos().div_ceil(1_000_000)).filter(|at| *at <= until)
            else {
                self.now = self.now.max(until);
                return Ok(());
            };
            self.now = self.now.max(due);
            self.step(Event::Tick)?;
        }
        Err(format!("the gate asks for {:?} again and again", self.gate.poll_at()))
    }

    fn live(&mut self, beat: &Beat) -> Result<(), String> {
        let until = self.now + beat.after;
        if beat.is_late {
            self.now = until;
        } else {
            self.pass(until)?;
        }
        let ago = |age: i64| Instant::from_millis(self.now.saturating_add_signed(-age));
        let event = match beat.what {
            What::Frame { age, number, face } => {
                self.number = match number {
                    Number::Next => self.number + 1,
                    Number::Same => self.number,
                    Number::Restarted => 0,
                };
                Event::Sighting(Sighting { captured_at: ago(age), sequence: self.number, face })
            }
            What::Liveness { from, until, verdict, score } => {
                let evidence = [Some(Reason::LooksLike { what: "print", score, needed: 0.0 }), None, None, None];
                Event::Liveness(LivenessReport { from: ago(from), until: ago(until), verdict, evidence })
            }
            What::Answer { which, written } => {
                let ticket = match which {
                    Which::AnsweredBefore => self.answered,
                    Which::NewestOpen => self.open_tickets.pop(),
                    Which::OldestOpen => (!self.open_tickets.is_empty()).then(|| self.open_tickets.remove(0)),
                };
                let Some(ticket) = ticket else { return self.step(Event::Tick) };
                self.answered = Some(ticket);
                Event::Recorded { ticket, written }
            }
            What::Gallery(which) => return self.enrol(which),
            What::Wall(jump) => {
                self.wall_offset += jump;
                Event::Tick
            }
            What::Fault(fault) => Event::Fault(fault),
            What::Cleared(fault) => Event::Cleared(fault),
            What::Claim(person) => Event::Claim(person),
            What::Exit(pressed) => Event::ExitButton { pressed },
            What::Contact(open) => Event::DoorContact { open },
            What::Manual => Event::ManualRelease { uid: 1000 },
            What::Tick => Event::Tick,
        };
        self.step(event)
    }
}

/// Plays a story to its end and beyond: the door closes, and all deadlines pass.
fn play(story: &Story, galleries: &[Rc<People>]) -> Result<Tally, String> {
    let mut door = Door::new(story, galleries)?;
    for beat in &story.beats {
        door.live(beat)?;
    }
    door.step(Event::DoorContact { open: false })?;
    door.pass(u64::MAX / 2_000_000)?;
    door.judge.rest()?;
    Ok(door.judge.tally)
}

fn play_unpanicked(story: &Story, galleries: &[Rc<People>]) -> Result<Tally, String> {
    catch_unwind(AssertUnwindSafe(|| play(story, galleries))).unwrap_or_else(|_| Err("the gate panicked".into()))
}

/// The story with every beat left out that it fails without.
fn shorten(mut story: Story, galleries: &[Rc<People>]) -> (Story, String) {
    let mut objection = play_unpanicked(&story, galleries).expect_err("this story fails");
    let mut i = 0;
    while i < story.beats.len() {
        let mut shorter = story.clone();
        let left_out = shorter.beats.remove(i);
        if let Some(next) = shorter.beats.get_mut(i) {
            next.after += left_out.after;
        }
        match play_unpanicked(&shorter, galleries) {
            Err(other) => (story, objection) = (shorter, other),
            Ok(_) => i += 1,
        }
    }
    (story, objection)
}

#[derive(Default)]
struct Total {
    tally: Tally,
    stories_with_grant: u64,
    events: u64,
}

fn galleries() -> Vec<Rc<People>> {
    world::galleries().into_iter().map(Rc::new).collect()
}

#[test]
fn no_order_of_events_unlocks_without_everything_the_policy_requires() {
    let (seed, stories) = (seed(), number("FACELATCH_STORIES").unwrap_or_else(|| cases(STORIES)));
    println!("{SEED}={seed} FACELATCH_STORIES={stories}");
    let (next, total) = (AtomicU64::new(0), Mutex::new(Total::default()));
    let work = || {
        let galleries = galleries();
        let mut mine = Total::default();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= stories {
                break;
            }
            let story = story::tell(&mut Rng::new(seed.wrapping_add(index)));
            let Ok(tally) = play_unpanicked(&story, &galleries) else {
                next.store(stories, Ordering::Relaxed);
                let (story, objection) = shorten(story, &galleries);
                panic!("FACELATCH_SEED={} FACELATCH_STORIES=1: {objection}\n{story}", seed.wrapping_add(index));
            };
            mine.events += story.beats.len() as u64;
            mine.stories_with_grant += u64::from(tally.grants > 0);
            mine.tally.add(&tally);
        }
        let mut total = total.lock().expect("nobody panics while adding");
        total.tally.add(&mine.tally);
        total.events += mine.events;
        total.stories_with_grant += mine.stories_with_grant;
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
    let total = total.into_inner().expect("every thread ended well");
    println!("{} events, {} stories with a grant, {}", total.events, total.stories_with_grant, total.tally);
    if stories >= 10_000 {
        assert!(total.stories_with_grant * 4 > stories, "the stories grant too rarely to prove anything");
        let common = &Outcome::ALL[..Outcome::ALL.iter().position(|o| *o == Outcome::Started).unwrap()];
        for (outcome, count) in common.iter().zip(total.tally.outcomes) {
            assert!(count > stories / 1000, "{outcome} came up {count} times only");
        }
    }
}
