//! The inputs' thread: the exit button and the door contact, told to the gate.

use super::shared::Shared;
use crate::gate::{Event, Fault};
use crate::hw::camera::Backoff;
use crate::ports::{Input, Inputs};
use crate::time::Duration;

/// How long one wait for an edge lasts, and so how soon a stop is noticed.
const WAIT: Duration = Duration::from_millis(250);

/// Opens the lines, as often as needed.
pub type OpenInputs = Box<dyn FnMut() -> Result<Box<dyn Inputs>, String> + Send>;

/// Runs until the daemon stops. Lines that fail are opened again after growing pauses.
pub fn run(shared: &Shared, mut open: OpenInputs) {
    let mut backoff = Backoff::default();
    let mut is_faulty = false;
    while !shared.is_stopping() {
        let failed = match open() {
            Ok(mut inputs) => {
                if std::mem::take(&mut is_faulty) {
                    shared.tell(Event::Cleared(Fault::Inputs));
                }
                listen(shared, inputs.as_mut(), &mut backoff)
            }
            Err(reason) => Some(reason),
        };
        let Some(reason) = failed else { return };
        if !std::mem::replace(&mut is_faulty, true) {
            log::error!("exit button and door contact: {reason}");
        }
        shared.tell(Event::Fault(Fault::Inputs));
        shared.sleep(backoff.failed());
    }
}

/// Passes changes on until the daemon stops (`None`) or the lines fail.
fn listen(shared: &Shared, inputs: &mut dyn Inputs, backoff: &mut Backoff) -> Option<String> {
    while !shared.is_stopping() {
        match inputs.wait(WAIT) {
            Ok(Some(Input::ExitButton(pressed))) => shared.tell(Event::ExitButton { pressed }),
            Ok(Some(Input::DoorContact(open))) => shared.tell(Event::DoorContact { open }),
            Ok(None) => {}
            Err(reason) => return Some(reason),
        }
        backoff.succeeded();
    }
    None
}
