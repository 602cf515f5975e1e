//! A thread for each of the door's own wires, exit button and door contact, which tells the gate what they say.

use std::sync::Mutex;

use super::shared::{Shared, WAIT, lock};
use crate::backoff::Backoff;
use crate::gate::{Event, Fault};
use crate::ports::{Input, Inputs};
use crate::time::Duration;

/// A wire that failed works again once it could be read for so long. One that answers for a moment each time that it is
/// opened would else fill the ledger with its fault.
const WELL_AFTER: Duration = Duration::from_secs(2);

/// Opens a wire, as often as needed.
pub type OpenInputs = Box<dyn FnMut() -> Result<Box<dyn Inputs>, String> + Send>;

/// How many wires can't be read. It is one fault for all of them, which ends with the last.
#[derive(Debug, Default)]
pub struct Failing(Mutex<usize>);

impl Failing {
    /// A wire fails, for the first time or again.
    fn fails(&self, shared: &Shared, is_news: bool) {
        // The gate is told while the lock is held, so that it hears of one wire's failure and another's recovery in
        // their order.
        let mut wires = lock(&self.0);
        *wires += usize::from(is_news);
        shared.tell(Event::Fault(Fault::Inputs));
    }

    /// One that failed works again.
    fn works(&self, shared: &Shared) {
        let mut wires = lock(&self.0);
        *wires -= 1;
        if *wires == 0 {
            shared.tell(Event::Cleared(Fault::Inputs));
        }
    }
}

/// Runs until the daemon stops. A wire that fails is opened again after growing pauses.
pub fn run(shared: &Shared, name: &str, mut open: OpenInputs, failing: &Failing) {
    let mut backoff = Backoff::default();
    let mut is_faulty = false;
    while !shared.is_stopping() {
        let works = || {
            if std::mem::take(&mut is_faulty) {
                failing.works(shared);
            }
            backoff.succeeded();
        };
        let failed = match open() {
            Ok(mut inputs) => listen(shared, inputs.as_mut(), works),
            Err(reason) => Some(reason),
        };
        let Some(reason) = failed else { return };
        let is_news = !std::mem::replace(&mut is_faulty, true);
        if is_news {
            log::error!("{name}: {reason}");
        }
        failing.fails(shared, is_news);
        shared.sleep(backoff.failed());
    }
}

/// Passes changes on until the daemon stops (`None`) or the wire fails; `works` hears of each time that it could be
/// read, once it could be for a while. Opening alone is no sign of it: a chip behind a bus may grant a line without
/// asking the bus.
fn listen(shared: &Shared, inputs: &mut dyn Inputs, mut works: impl FnMut()) -> Option<String> {
    let opened_at = shared.now().mono;
    while !shared.is_stopping() {
        match inputs.wait(WAIT) {
            Ok(Some(Input::ExitButton(pressed))) => shared.tell(Event::ExitButton { pressed }),
            Ok(Some(Input::DoorContact(open))) => shared.tell(Event::DoorContact { open }),
            Ok(None) => {}
            Err(reason) => return Some(reason),
        }
        if shared.now().mono.since(opened_at) >= WELL_AFTER {
            works();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::Message;
    use crate::daemon::keeper::nobody;
    use crate::sim::clock::SimClock;
    use std::sync::Arc;

    const FAULT: &str = "Event(Fault(Inputs))";
    const OPEN: &str = "Event(DoorContact { open: true })";

    /// Can be opened; what it holds is what it says then, from the end, one a second, and once nothing is left it can't
    /// be read.
    struct Wire(Vec<Input>, SimClock);

    impl Inputs for Wire {
        fn wait(&mut self, _timeout: Duration) -> Result<Option<Input>, String> {
            self.1.advance(Duration::from_secs(1));
            self.0.pop().map(Some).ok_or_else(|| "the bus does not answer".to_owned())
        }
    }

    /// What the gate hears of a wire that can be read so often each time that it is opened.
    fn hears(readings: &'static [usize]) -> Vec<String> {
        let clock = SimClock::default();
        let shared = Arc::new(Shared::new(Arc::new(clock.clone()), nobody()));
        let (failing, mut readings) = (Failing::default(), readings.iter().copied());
        let stopping = Arc::clone(&shared);
        let open = move || {
            if readings.len() <= 1 {
                stopping.stop();
            }
            let says = vec![Input::DoorContact(true); readings.next().unwrap_or_default()];
            Ok(Box::new(Wire(says, clock.clone())) as Box<dyn Inputs>)
        };
        run(&shared, "door contact", Box::new(open), &failing);
        let told = std::iter::from_fn(|| shared.queue.take(Duration::ZERO));
        told.map(|message| format!("{message:?}")).collect()
    }

    #[test]
    fn a_wire_that_opens_and_can_not_be_read_is_one_fault_that_does_not_clear() {
        assert_eq!(hears(&[0, 0, 0, 0]), [FAULT; 3], "of a fault that stands the gate makes one record");
        let heard = hears(&[0, 1, 1, 0]);
        assert_eq!(heard, [FAULT, OPEN, FAULT, OPEN, FAULT], "nor one that answers for a moment");
    }

    #[test]
    fn a_wire_that_can_be_read_again_for_two_seconds_is_no_fault_any_more() {
        assert_eq!(hears(&[0, 2, 0]), [FAULT, OPEN, OPEN, "Event(Cleared(Inputs))", FAULT]);
    }

    #[test]
    fn the_fault_of_two_wires_ends_with_the_second() {
        let shared = Shared::new(Arc::new(SimClock::default()), nobody());
        let failing = Failing::default();
        let told = || match shared.queue.take(Duration::ZERO) {
            Some(Message::Event(event)) => Some(format!("{event:?}")),
            _ => None,
        };
        for is_news in [true, true, false] {
            failing.fails(&shared, is_news);
            assert_eq!(told().as_deref(), Some("Fault(Inputs)"));
        }
        failing.works(&shared);
        assert_eq!(told(), None);
        failing.works(&shared);
        assert_eq!(told().as_deref(), Some("Cleared(Inputs)"));
    }
}
