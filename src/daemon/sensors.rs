//! The sensors' thread: asks liveness for its judgement at the rate of its channels, and tells the gate.

use super::shared::Shared;
use crate::gate::{Event, Fault};
use crate::ports::Liveness;
use crate::time::Duration;

/// 25 Hz, the rate of liveness' time series.
const PERIOD: Duration = Duration::from_millis(40);

/// Runs until the daemon stops.
pub fn run(shared: &Shared, liveness: &mut dyn Liveness) {
    let mut is_faulty = false;
    while !shared.is_stopping() {
        match liveness.judge(shared.now().mono, &mut |event| shared.tell(event)) {
            Ok(()) => {
                if std::mem::take(&mut is_faulty) {
                    shared.tell(Event::Cleared(Fault::Sensor));
                }
            }
            Err(reason) => {
                if !std::mem::replace(&mut is_faulty, true) {
                    log::error!("liveness: {reason}");
                    shared.tell(Event::Fault(Fault::Sensor));
                }
            }
        }
        shared.sleep(PERIOD);
    }
}
