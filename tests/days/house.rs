//! A house for a day: the gate, the real interpreter, devices in trouble, and people who follow a plan.
//!
//! Everything runs in the order of simulated time on one thread. What must never happen is checked as it would happen.

mod rules;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use facelatch::daemon::interpreter::Interpreter;
use facelatch::gate::{
    Action, Actions, Event, Face, Fault, Gate, LivenessReport, MAX_PULSE, Outcome, Policy, PoorMeasure, Record,
    Sighting, Ticket, Verdict,
};
use facelatch::person::PersonId;
use facelatch::ports::{Clock, Input};
use facelatch::sim::clock::SimClock;
use facelatch::sim::fault::{CameraFault, FaultInjector, InputsFault, LedgerFault, Schedule, SensorFault, StrikeFault};
use facelatch::sim::rng::Rng;
use facelatch::sim::strike::{RecordingStrike, StrikeLog};
use facelatch::time::{Duration, Instant, Wall};

use super::parts::{Eye, Glimpse, HouseEffects, Keeper, Scene, Taken, Touch, Wires};
use super::town::{Chore, DAY, MIDNIGHT, Plan, SECOND, Town, Visit, Who};

const FRAME: Duration = Duration::from_millis(100);
const SENSE: Duration = Duration::from_millis(200);
/// Between frames while nobody is there; the day would take long otherwise.
const IDLE_FRAME: Duration = Duration::from_secs(1);
const LIVENESS_WINDOW: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(500);
/// Somebody known, in good light, before a door without trouble, is in by then.
const WELCOME: Duration = Duration::from_secs(12);
/// Trouble may be felt for so long after it has ended: a hanging disk takes up to ten seconds.
const AFTERMATH: Duration = Duration::from_secs(15);
/// Between a grant and its release lies a write that may take two seconds; by then the person may have turned away.
const JUST_LEFT: Duration = Duration::from_secs(3);

/// Things that happen at the same instant at most.
const MAX_STEPS: u32 = 1000;

/// What can be wrong with a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NetworkFault {
    /// Every score is NaN, which the networks' adapter reports as an error.
    NotANumber,
    /// A frame takes up to three seconds.
    Slow,
}

/// Something to do at a time.
#[derive(Debug, Clone)]
enum Todo {
    Capture,
    Tell(Event),
    Sense,
    Listen,
    Retry,
    Arrive(usize),
    Leave(usize),
    Chore(Chore),
    /// Somebody pulls the door, and has it open for so long.
    Pull(Duration, &'static str),
}

/// The schedules again, to know when a visit had bad luck.
struct Luck {
    camera: Schedule<CameraFault>,
    network: Schedule<NetworkFault>,
    ledger: Schedule<LedgerFault>,
    strike: Schedule<StrikeFault>,
    inputs: Schedule<InputsFault>,
    sensor: Schedule<SensorFault>,
}

impl Luck {
    fn new(rng: &mut Rng) -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        Self {
            camera: Schedule::seeded(rng.next_u64(), minutes(180), minutes(1), &CameraFault::ALL),
            network: Schedule::seeded(
                rng.next_u64(),
                minutes(300),
                minutes(1),
                &[NetworkFault::NotANumber, NetworkFault::Slow],
            ),
            ledger: Schedule::seeded(rng.next_u64(), minutes(240), minutes(2), &LedgerFault::ALL),
            strike: Schedule::seeded(rng.next_u64(), minutes(180), minutes(1), &StrikeFault::ALL),
            inputs: Schedule::seeded(rng.next_u64(), minutes(120), minutes(3), &InputsFault::ALL),
            sensor: Schedule::seeded(rng.next_u64(), minutes(240), minutes(2), &SensorFault::ALL),
        }
    }

    fn is_bad(&mut self, now: Instant) -> bool {
        let (camera, network) = (self.camera.at(now).is_some(), self.network.at(now).is_some());
        let (ledger, strike) = (self.ledger.at(now).is_some(), self.strike.at(now).is_some());
        let (inputs, sensor) = (self.inputs.at(now).is_some(), self.sensor.at(now).is_some());
        camera || network || ledger || strike || inputs || sensor
    }
}

/// Counts over a day.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Tally {
    pub visits: usize,
    pub grants: usize,
    pub exits: usize,
    pub manual: usize,
    pub denials: usize,
    pub lockouts: usize,
    pub faults: usize,
    pub break_ins: usize,
    pub held_open: usize,
    /// Visits of people who should have been let in, and were.
    pub welcome: usize,
}

pub struct House {
    clock: SimClock,
    rng: Rng,
    gate: Gate,
    interpreter: Interpreter<FaultInjector<RecordingStrike, StrikeFault>, HouseEffects>,
    strike: StrikeLog,
    eye: Eye,
    touch: Touch,
    wires: Wires,
    keeper: Keeper,
    scene: Scene,
    town: Town,
    plan: Plan,
    agenda: BinaryHeap<Reverse<(Instant, u64)>>,
    todos: std::collections::HashMap<u64, Todo>,
    next_todo: u64,
    network: Schedule<NetworkFault>,
    network_failures: u32,
    luck: Luck,
    last_trouble: Option<Instant>,
    /// Why the present visit can't be expected to succeed.
    excuse: bool,
    last_visit: Option<(usize, Instant)>,
    admitted: bool,
    granted: Option<(Ticket, PersonId)>,
    asked_manual: Vec<Ticket>,
    faults: Vec<Fault>,
    open_until: Option<Instant>,
    is_retrying: bool,
    strike_trouble: Schedule<StrikeFault>,
    pub tally: Tally,
    pub lines: Vec<String>,
}

fn policy() -> Policy {
    Policy::default().check().expect("the default is in range")
}

impl House {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let plan = super::town::plan(&mut rng);
        let clock = SimClock::new(Wall::from_unix_millis(if plan.is_unset { 0 } else { MIDNIGHT }));
        let luck = Luck::new(&mut rng);
        let scene = Scene::empty();
        let strike = RecordingStrike::new(Arc::new(clock.clone()));
        let log = strike.log();
        let strike = FaultInjector::new(strike, Arc::new(clock.clone()), luck.strike.clone(), rng.next_u64());
        let (gate, first) = Gate::new(policy(), clock.now());
        let mut house = Self {
            eye: Eye::new(scene.clone(), luck.camera.clone(), rng.next_u64()),
            touch: Touch::new(scene.clone(), luck.sensor.clone(), rng.next_u64()),
            wires: Wires::new(luck.inputs.clone(), rng.next_u64()),
            keeper: Keeper::new(luck.ledger.clone(), rng.next_u64()),
            interpreter: Interpreter::new(strike, HouseEffects::default()),
            network: luck.network.clone(),
            network_failures: 0,
            town: Town { is_leaver_erased: false },
            agenda: BinaryHeap::new(),
            todos: std::collections::HashMap::new(),
            next_todo: 0,
            last_trouble: None,
            excuse: false,
            last_visit: None,
            admitted: false,
            granted: None,
            asked_manual: Vec::new(),
            faults: Vec::new(),
            open_until: None,
            is_retrying: false,
            strike_trouble: luck.strike.clone(),
            tally: Tally::default(),
            lines: Vec::new(),
            strike: log,
            clock,
            rng,
            gate,
            scene,
            plan,
            luck,
        };
        house.carry_out(None, first);
        house.step(Event::Roster(Arc::new(house.town.roster())));
        house
    }

    fn now(&self) -> Instant {
        self.clock.now().mono
    }

    fn todo(&mut self, at: Instant, todo: Todo) {
        self.todos.insert(self.next_todo, todo);
        self.agenda.push(Reverse((at, self.next_todo)));
        self.next_todo += 1;
    }

    fn say(&mut self, who: &str, what: &str) {
        let ms = self.now().as_millis();
        let (s, m, h) = (ms / 1000 % 60, ms / 60_000 % 60, ms / 3_600_000);
        self.lines.push(format!("{h:02}:{m:02}:{s:02}.{:03} {who:<6} {what}", ms % 1000));
    }

    /// Lives through the day.
    pub fn live(&mut self) {
        for (i, at) in self.plan.visits.iter().map(|visit| visit.at).enumerate().collect::<Vec<_>>() {
            self.todo(at, Todo::Arrive(i));
        }
        for (at, chore) in self.plan.chores.clone() {
            self.todo(at, Todo::Chore(chore));
        }
        self.todo(Instant::BOOT, Todo::Capture);
        self.todo(Instant::BOOT, Todo::Listen);
        let end = Instant::BOOT + DAY;
        let mut steps = 0;
        loop {
            let todo = self.agenda.peek().map(|Reverse((at, _))| *at);
            let due = [self.gate.poll_at(), self.interpreter.poll_at()].into_iter().flatten().min();
            let next = todo.into_iter().chain(due).min().unwrap_or(end);
            if next >= end {
                break;
            }
            steps = if next > self.now() { 0 } else { steps + 1 };
            assert!(steps < MAX_STEPS, "time stands still:\n{}", self.last_lines());
            self.clock.advance_to(next);
            if self.luck.is_bad(self.now()) {
                self.last_trouble = Some(self.now());
            }
            if due.is_some_and(|due| due <= next) {
                if let Some(event) = self.interpreter.tick(self.now()) {
                    self.step(event);
                }
                self.step(Event::Tick);
            } else if let Some(Reverse((_, id))) = self.agenda.pop()
                && let Some(todo) = self.todos.remove(&id)
            {
                self.act(todo);
            }
        }
        self.clock.advance_to(end);
        let last = self.gate.stop(self.clock.now());
        self.carry_out(None, last);
        if self.last_trouble.is_none_or(|at| end.since(at) > AFTERMATH) {
            self.relay_was_bounded();
        }
    }

    fn act(&mut self, todo: Todo) {
        let now = self.now();
        match todo {
            Todo::Capture => self.capture(),
            Todo::Tell(event) => self.step(event),
            Todo::Sense => self.sense(),
            Todo::Listen => {
                let (heard, again) = self.wires.listen(now);
                for (at, event) in heard {
                    self.todo(at, Todo::Tell(event));
                }
                if again {
                    self.todo(now + RETRY, Todo::Listen);
                }
            }
            Todo::Retry => {
                self.is_retrying = false;
                let (at, events) = self.keeper.retry(now);
                self.after_keeper(at, events);
            }
            Todo::Arrive(i) => self.arrive(i),
            Todo::Leave(i) => self.leave(i),
            Todo::Chore(chore) => self.chore(chore),
            Todo::Pull(stays, who) => self.pull(stays, who),
        }
    }

    /// By the board's own clock.
    fn permits(&self, person: PersonId) -> bool {
        self.town.permits(person, self.clock.now().wall.unix_millis())
    }

    fn visit(&self, i: usize) -> Visit {
        self.plan.visits[i]
    }

    fn arrive(&mut self, i: usize) {
        let (now, visit) = (self.now(), self.visit(i));
        self.say("door", &format!("{} steps up{}", visit.who, if visit.is_dark { ", in the dark" } else { "" }));
        self.tally.visits += 1;
        self.scene.set(Some(i));
        self.admitted = false;
        self.excuse = self.last_trouble.is_some_and(|at| now.since(at) < AFTERMATH)
            || !matches!(self.gate.status().state, "idle" | "faulted")
            || matches!(visit.who, Who::Member(person) if !self.permits(person))
            || visit.is_dark;
        if let (true, Who::Member(person)) = (visit.claims, visit.who) {
            self.step(Event::Claim(person));
        }
        self.todo(now, Todo::Sense);
        self.todo(now + visit.patience, Todo::Leave(i));
    }

    fn leave(&mut self, i: usize) {
        if self.scene.get() != Some(i) {
            return;
        }
        self.scene.set(None);
        self.touch.leave();
        let (now, visit) = (self.now(), self.visit(i));
        self.last_visit = Some((i, now));
        if self.admitted {
            self.say("door", &format!("{} goes in", visit.who));
            return;
        }
        self.say("door", &format!("{} goes away", visit.who));
        let Who::Member(person) = visit.who else { return };
        let is_welcome = self.permits(person);
        let had_luck = !self.excuse && self.last_trouble.is_none_or(|at| at < visit.at);
        assert!(
            !(is_welcome && had_luck && visit.patience >= WELCOME),
            "{person} stood before a door without trouble from {:?} and was not let in:\n{}",
            visit.at,
            self.last_lines()
        );
    }

    fn capture(&mut self) {
        let (taken, events) = self.eye.capture(self.now());
        for event in events {
            self.todo(taken.at, Todo::Tell(event));
        }
        let mut done = taken.at;
        let is_lost = taken.glimpse == Glimpse::Nothing;
        if !is_lost {
            done = self.perceive(&taken);
        }
        let pause = match (is_lost, self.scene.get()) {
            (true, _) => SECOND,
            (false, Some(_)) => FRAME,
            (false, None) => IDLE_FRAME,
        };
        self.todo(done + pause, Todo::Capture);
    }

    /// Vision: what the picture shows, told when the network is done with it.
    fn perceive(&mut self, taken: &Taken) -> Instant {
        let fault = self.network.at(taken.at);
        if fault == Some(NetworkFault::NotANumber) && taken.glimpse != Glimpse::Nobody {
            self.network_failures += 1;
            if self.network_failures == 3 {
                self.todo(taken.at, Todo::Tell(Event::Fault(Fault::Network)));
            }
            return taken.at;
        }
        if std::mem::take(&mut self.network_failures) >= 3 {
            self.todo(taken.at, Todo::Tell(Event::Cleared(Fault::Network)));
        }
        let expected = self.interpreter.effects().expected;
        let face = match taken.glimpse {
            // A spoilt picture shows a detector something now and then.
            Glimpse::Unclear if self.rng.chance(0.1) => Face::Poor(PoorMeasure::DetectorScore),
            Glimpse::Nothing | Glimpse::Unclear | Glimpse::Nobody => Face::Absent,
            Glimpse::Visit(i) => match self.plan.visits.get(i) {
                Some(visit) => self.town.face(visit, expected, &mut self.rng),
                // The highest bits of a number and of its check sum may be spoilt together, and then it is nobody's.
                None => Face::Absent,
            },
        };
        let slow = fault == Some(NetworkFault::Slow);
        let takes = if slow { self.rng.between(SECOND / 10, 3 * SECOND) } else { SECOND / 50 };
        let done = taken.at + takes;
        let Taken { captured_at, sequence, .. } = *taken;
        self.todo(done, Todo::Tell(Event::Sighting(Sighting { captured_at, sequence, face })));
        done
    }

    fn sense(&mut self) {
        let now = self.now();
        let Some(i) = self.scene.get() else { return };
        let (near_since, event) = self.touch.feel(now);
        if let Some(event) = event {
            self.step(event);
        }
        let window = near_since.filter(|since| now.since(*since) >= LIVENESS_WINDOW);
        if window.is_some() {
            let verdict = match self.visit(i).who {
                Who::Photo(_) if self.rng.chance(0.8) => Verdict::Spoof,
                Who::Photo(_) => Verdict::Inconclusive,
                _ if self.rng.chance(0.05) => Verdict::Inconclusive,
                _ => Verdict::Live,
            };
            let from = now.before(LIVENESS_WINDOW);
            self.step(Event::Liveness(LivenessReport { from, until: now, verdict, evidence: [None; 4] }));
        }
        self.todo(now + SENSE, Todo::Sense);
    }

    fn chore(&mut self, chore: Chore) {
        let now = self.now();
        match chore {
            Chore::Exit => {
                let (pull, stays) =
                    (self.rng.between(SECOND / 2, 2 * SECOND), self.rng.between(2 * SECOND, 6 * SECOND));
                self.press(now);
                self.todo(now + pull, Todo::Pull(stays, "whoever wants out"));
            }
            Chore::Delivery(stays) => {
                self.press(now);
                self.todo(now + SECOND, Todo::Pull(stays, "whoever awaits a parcel"));
            }
            Chore::Operator => self.step(Event::ManualRelease { uid: 1000 }),
            Chore::BreakIn => {
                self.say("door", "somebody breaks in");
                self.walk(now, now + 10 * SECOND);
            }
            Chore::Jump(millis) => {
                self.excuse = true;
                self.clock.jump_wall(millis);
                self.say("clock", &format!("jumps by {millis} ms"));
            }
            Chore::SetClock => {
                self.excuse = true;
                self.clock.set_wall(Wall::from_unix_millis(MIDNIGHT + now.as_millis() as i64));
                self.say("clock", "is set");
            }
            Chore::Erase => {
                self.say("people", &format!("{} is erased", super::town::LEAVER));
                self.town.is_leaver_erased = true;
                self.excuse = true;
                self.step(Event::Roster(Arc::new(self.town.roster())));
            }
        }
    }

    fn press(&mut self, at: Instant) {
        self.wires.move_at(at, Input::ExitButton(true));
        self.wires.move_at(at + SECOND / 4, Input::ExitButton(false));
        self.todo(at, Todo::Listen);
        self.todo(at + SECOND / 4, Todo::Listen);
    }

    /// The leaf opens and closes, unless somebody else has it open already.
    fn walk(&mut self, opens: Instant, closes: Instant) {
        if self.open_until.is_some_and(|until| opens <= until + 2 * SECOND) {
            return;
        }
        self.open_until = Some(closes);
        for (at, open) in [(opens, true), (closes, false)] {
            self.wires.move_at(at, Input::DoorContact(open));
            self.todo(at, Todo::Listen);
        }
    }
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.visits += other.visits;
        self.grants += other.grants;
        self.exits += other.exits;
        self.manual += other.manual;
        self.denials += other.denials;
        self.lockouts += other.lockouts;
        self.faults += other.faults;
        self.break_ins += other.break_ins;
        self.held_open += other.held_open;
        self.welcome += other.welcome;
    }
}
