//! The composition root: the threads, what runs between them, and the one loop that carries out what the gate says.
//!
//! ```text
//!  capture ──mailbox──▶ vision ─┐                        ┌─▶ strike
//!                     liveness ─┼──bounded queue──▶ gate ─┼─▶ keeper (ledger, gallery)
//!            inputs, control ───┘        ▲               └─▶ vision (whom to expect)
//!                                        └── recorded ── keeper
//! ```
//!
//! The gate's thread waits on one queue until the gate's own next deadline, and on nothing else: not on a camera, a
//! network, a disk or a client. So the door locks again on time whatever hangs.

#![forbid(unsafe_code)]

mod capture;
mod effects;
mod inbox;
mod inputs;
pub mod interpreter;
mod keeper;
mod liveness;
mod mailbox;
mod queue;
mod recogniser;
mod shared;
mod vision;
mod watchdog;
mod watchers;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

pub use capture::{MAX_FIRST_FRAME, MAX_SILENCE, OpenCamera};
use effects::GateEffects;
pub use inputs::OpenInputs;
use interpreter::Interpreter;
pub use keeper::{BACKLOG, Demand, Gallery, Keeper, KeeperError, MatchThresholds, OpenStore, StoreState};
pub use recogniser::Recogniser;
pub use shared::{HeardAtStep, LedgerAnswer, Message, Reloaded, Shared};
pub use vision::NETWORK_GRACE;
use vision::Slowness;
use watchdog::{KeeperStall, Watchdog};
pub use watchers::{Follower, MAX_WATCHERS, Step, Watchers, Written};

use crate::control::server::Server;
use crate::gate::{Actions, Event, Gate, Policy};
use crate::hw::journal;
use crate::ports::{Clock, Liveness, Perception, Strike};
use crate::time::Now;

/// What a door is made of, on hardware or in simulation.
pub struct Parts {
    pub policy: Policy,
    pub camera: OpenCamera,
    pub perception: Box<dyn Perception>,
    pub liveness: Option<Box<dyn Liveness>>,
    /// By name. Each is read by a thread of its own, so that one that fails takes no other with it.
    pub inputs: Vec<(&'static str, OpenInputs)>,
    /// Opened, and so locked, before anything else.
    pub strike: Box<dyn Strike>,
    pub keeper: Keeper,
    pub control: Option<Server>,
}

/// Why a daemon ends other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error(transparent)]
    Gallery(#[from] KeeperError),
    #[error("no thread for {name}: {source}")]
    Spawn { name: &'static str, source: std::io::Error },
    #[error("the {0} thread ended unexpectedly; the strike is locked")]
    Died(&'static str),
}

/// A running door.
pub struct Daemon {
    shared: Arc<Shared>,
    threads: Vec<(&'static str, JoinHandle<()>)>,
    gate: JoinHandle<()>,
}

/// What the gate's thread works with: the gate, and what it does beside it.
struct GateThread {
    gate: Gate,
    interpreter: Interpreter<Box<dyn Strike>, GateEffects>,
    watchdog: Watchdog,
    keeper_stall: KeeperStall,
    slowness: Slowness,
}

impl Daemon {
    /// Loads the gallery and starts every thread. The strike was locked when it was opened, and the gate locks it
    /// again.
    ///
    /// # Errors
    /// [`DaemonError`]; the strike is dropped, and so locked, then.
    pub fn start(clock: Arc<dyn Clock>, parts: Parts) -> Result<Self, DaemonError> {
        let Parts { policy, camera, mut perception, liveness, inputs, strike, mut keeper, control } = parts;
        let (gallery, roster) = keeper.load_at_start()?;
        let shared = Arc::new(Shared::new(clock, gallery));
        shared.tell(Event::Roster(Arc::new(roster)));
        let (gate, first) = Gate::new(policy, shared.now());
        let (ledger, jobs) = inbox::inbox();
        let effects = GateEffects::new(Arc::clone(&shared), ledger, gate.policy().ledger_timeout, journal::outcome);
        let interpreter = Interpreter::new(strike, effects);
        let keeper_stall = KeeperStall::new(shared.now().mono);
        let (watchdog, slowness) = (Watchdog::from_environment(), Slowness::default());
        let mut gate_thread = GateThread { gate, interpreter, watchdog, keeper_stall, slowness };
        let sources = liveness.as_ref().map_or_else(Vec::new, |liveness| liveness.sources());

        let mut threads = Threads { shared: &shared, running: Vec::new() };
        threads.spawn("keeper", move |shared| keeper.run(shared, &jobs))?;
        threads.spawn("capture", move |shared| capture::run(shared, camera))?;
        threads.spawn("vision", move |shared| vision::run(shared, perception.as_mut()))?;
        if let Some(mut liveness) = liveness {
            threads.spawn("liveness", move |shared| liveness::run(shared, liveness.as_mut()))?;
        }
        let failing = Arc::new(inputs::Failing::default());
        for (name, open) in inputs {
            let failing = Arc::clone(&failing);
            threads.spawn(name, move |shared| inputs::run(shared, name, open, &failing))?;
        }
        if let Some(server) = control {
            let sources: Arc<[String]> = sources.into();
            threads.spawn("control", move |shared| server.run(shared, &sources))?;
        }
        let gate = threads.start("gate", move |shared| gate_thread.run(shared, first))?;
        let running = threads.running;
        Ok(Self { shared, threads: running, gate })
    }

    /// What the threads share, for whoever follows or asks.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whether a thread has ended that should be running.
    pub fn dead(&self) -> Option<&'static str> {
        // First, because the keeper ends with it.
        if self.gate.is_finished() {
            return Some("gate");
        }
        let ended = self.threads.iter().find(|(name, thread)| {
            let is_replay_done = *name == "capture" && self.shared.has_recording_ended();
            thread.is_finished() && !is_replay_done
        });
        ended.map(|(name, _)| *name)
    }

    /// Locks, writes down that it stops, and ends every thread.
    ///
    /// # Errors
    /// [`DaemonError::Died`] where a thread had panicked.
    pub fn stop(self) -> Result<(), DaemonError> {
        self.shared.close();
        self.shared.send(Message::Stop);
        let gate = self.gate.join().map_err(|_| DaemonError::Died("gate"));
        self.shared.stop();
        let mut result = gate;
        for (name, thread) in self.threads {
            if thread.join().is_err() && result.is_ok() {
                result = Err(DaemonError::Died(name));
            }
        }
        result
    }
}

struct Threads<'a> {
    shared: &'a Arc<Shared>,
    running: Vec<(&'static str, JoinHandle<()>)>,
}

impl Threads<'_> {
    fn spawn(
        &mut self,
        name: &'static str,
        work: impl FnOnce(&Arc<Shared>) + Send + 'static,
    ) -> Result<(), DaemonError> {
        let thread = self.start(name, work)?;
        self.running.push((name, thread));
        Ok(())
    }

    /// Where there is no thread to be had, those that run are stopped.
    fn start(
        &self,
        name: &'static str,
        work: impl FnOnce(&Arc<Shared>) + Send + 'static,
    ) -> Result<JoinHandle<()>, DaemonError> {
        let shared = Arc::clone(self.shared);
        thread::Builder::new().name(name.into()).spawn(move || work(&shared)).map_err(|source| {
            self.shared.stop();
            DaemonError::Spawn { name, source }
        })
    }
}

impl GateThread {
    fn run(&mut self, shared: &Shared, first: Actions) {
        self.act(shared, shared.now(), first, None);
        loop {
            let now = shared.now();
            let others = [self.gate.poll_at(), self.interpreter.poll_at(), self.watchdog.poll_at()];
            let due = others.into_iter().flatten().fold(self.keeper_stall.poll_at(), Ord::min);
            let message = shared.queue.take(due.since(now.mono));
            let now = shared.now();
            if let Some(event) = self.interpreter.tick(now.mono) {
                self.step(shared, now, event);
            }
            if let Some(event) = self.keeper_stall.poll(shared, now.mono) {
                self.step(shared, now, event);
            }
            self.interpreter.effects().ledger.flush();
            self.interpreter.effects().poll(now.mono);
            match message {
                Some(Message::Event(event)) => {
                    self.warn_if_slow(now, &event);
                    self.step(shared, now, event);
                }
                Some(Message::Ask { event, heard }) => {
                    // What was due before is nobody's answer.
                    self.step(shared, now, Event::Tick);
                    heard.store(self.interpreter.effects().next_step(), Ordering::Release);
                    self.step(shared, now, event);
                }
                Some(Message::LedgerAnswer(answer)) => {
                    let event = Event::Recorded { ticket: answer.ticket, written: answer.seq.is_some() };
                    let actions = self.gate.step(now, event);
                    self.act(shared, now, actions, Some(answer));
                }
                Some(Message::Reload(reloaded)) => self.reload(shared, now, reloaded),
                None => self.step(shared, now, Event::Tick),
                Some(Message::Stop) => {
                    let last = self.gate.stop(now);
                    self.act(shared, now, last, None);
                    return;
                }
            }
            self.watchdog.poll(shared, now.mono);
        }
    }

    /// Says what the gate passes over in silence.
    fn warn_if_slow(&mut self, now: Now, event: &Event) {
        let stale_after = self.gate.policy().stale_after;
        if let Event::Sighting(sighting) = event
            && self.slowness.count(now.mono, sighting, stale_after)
        {
            log::error!(
                "frames take longer to judge than gate.stale_after_ms ({} ms), so nobody is admitted by face: `facelatch doctor` times \
                 the networks",
                stale_after.as_millis()
            );
        }
    }

    fn step(&mut self, shared: &Shared, now: Now, event: Event) {
        let actions = self.gate.step(now, event);
        self.act(shared, now, actions, None);
    }

    /// Carries actions out. `answer` is what the keeper has said, where that is what brought them about.
    fn act(&mut self, shared: &Shared, now: Now, actions: Actions, answer: Option<LedgerAnswer>) {
        self.interpreter.effects().begin(now, answer);
        self.interpreter.apply_all(&mut self.gate, now, actions);
        self.interpreter.effects().end();
        shared.set_status(self.gate.status());
    }

    fn reload(&mut self, shared: &Shared, now: Now, Reloaded { policy, demand }: Reloaded) {
        let effects = self.interpreter.effects();
        effects.ledger_timeout = policy.ledger_timeout;
        effects.ledger.demand(demand);
        let actions = self.gate.set_policy(now, policy);
        self.act(shared, now, actions, None);
    }
}
