//! The liveness thread: asks for a judgement at the rate of liveness' channels, and tells the gate.

use super::shared::Shared;
use crate::gate::{Event, Fault};
use crate::liveness::series::TICK;
use crate::ports::Liveness;

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
        shared.sleep(TICK);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::daemon::keeper::nobody;
    use crate::daemon::shared::Message;
    use crate::sim::clock::SimClock;
    use crate::time::{Duration, Instant};

    /// Judges as a script says, and ends the daemon with the last of it.
    struct Scripted<'a> {
        shared: &'a Shared,
        script: Vec<Result<(), String>>,
    }

    impl Liveness for Scripted<'_> {
        fn sources(&self) -> Vec<String> {
            Vec::new()
        }

        fn judge(&mut self, _now: Instant, _tell: &mut dyn FnMut(Event)) -> Result<(), String> {
            let judged = self.script.remove(0);
            if self.script.is_empty() {
                self.shared.stop();
            }
            judged
        }
    }

    #[test]
    fn a_required_sensor_that_does_not_answer_is_told_once_and_so_is_its_coming_back_each_time() {
        let shared = Shared::new(Arc::new(SimClock::default()), nobody());
        let sick = || Err("it does not answer".to_owned());
        let script = vec![Ok(()), sick(), sick(), Ok(()), Ok(()), sick(), Ok(())];
        run(&shared, &mut Scripted { shared: &shared, script });
        let told = std::iter::from_fn(|| shared.queue.take(Duration::ZERO)).map(|message| match message {
            Message::Event(Event::Fault(Fault::Sensor)) => "sick",
            Message::Event(Event::Cleared(Fault::Sensor)) => "well",
            other => panic!("{other:?}"),
        });
        assert_eq!(told.collect::<Vec<_>>(), ["sick", "well", "sick", "well"]);
    }
}
