//! Whether what a denial says is so.

use super::super::evidence::{agree_too_late, is_ambiguous};
use super::*;

impl Judge {
    pub(super) fn denied(&mut self, step: &Step<'_>, record: &Record) -> Verdicts {
        if self.is_notice(step, record)? {
            return Ok(());
        }
        self.begin_unseen(step)?;
        self.is_true(step, record)?;
        let is_doubted = self.open.take().is_some_and(|open| open.is_doubted);
        self.grant = None;
        self.tally.attempts += 1;
        let is_guess = match record.outcome {
            Outcome::NotRecognised | Outcome::Ambiguous | Outcome::Spoof => {
                !record.reasons.iter().any(|why| matches!(why, Reason::TooFewFrames | Reason::NoLongerEnrolled))
            }
            Outcome::LivenessInconclusive => is_doubted,
            _ => false,
        };
        if is_guess {
            let window = millis(self.policy.lockout_window);
            self.denials.retain(|at| step.now - at < window);
            self.denials.push(step.now);
            self.lockout_owed = self.denials.len() >= self.policy.lockout_after.into();
            if self.lockout_owed {
                self.denials.clear();
            }
        }
        Ok(())
    }

    /// Whether a denial ends no attempt: a fault by itself, an operator's release that failed, a claim turned away.
    pub(super) fn is_notice(&mut self, step: &Step<'_>, record: &Record) -> Result<bool, String> {
        use Outcome as O;
        let only = |reason: Reason| record.reasons[..] == [reason];
        if record.outcome == O::Fault && record.person.is_none() {
            let manual = self.manual.as_ref();
            let is_late = only(Reason::LedgerLate) && manual.is_some_and(|manual| step.now >= manual.until);
            let is_unwritten = only(Reason::Fault(Fault::Store))
                && matches!(step.event, Event::Recorded { ticket, written: false } if manual.is_some_and(|m| m.ticket == *ticket));
            if is_late || is_unwritten {
                (self.manual, self.sharing) = (None, 0);
                return Ok(true);
            }
            return Ok(self.open.is_none() && matches!(step.event, Event::Fault(fault) if only(Reason::Fault(*fault))));
        }
        let &Event::Claim(person) = step.event else { return Ok(false) };
        if record.person != Some(person) {
            return Ok(false);
        }
        let claimed = self.open.as_ref().and_then(|open| open.claimed);
        let is_theirs =
            claimed == Some(person) || self.grant.as_ref().is_some_and(|grant| grant.person == Some(person));
        let is_busy = (claimed.is_some() || self.grant.is_some()) && !is_theirs;
        Ok(match record.outcome {
            O::NotRecognised => is_busy && only(Reason::ClaimNotConfirmed),
            O::LockedOut => step.now < self.locked_until && only(Reason::TooManyDenials(self.policy.lockout_after)),
            O::Fault => self.faults.iter().any(|fault| only(Reason::Fault(*fault))),
            _ => false,
        })
    }

    /// Whether what a denial says is so.
    pub(super) fn is_true(&self, step: &Step<'_>, record: &Record) -> Verdicts {
        use Outcome as O;
        let open = self.open.as_ref().ok_or_else(|| format!("an outcome without an attempt: {record:?}"))?;
        let (policy, end) = (&self.policy, self.attempt_end(open));
        let is_over = step.now >= end;
        // A frame that comes after the end belongs to the next attempt.
        let frames = |first: usize| self.frames[first..].iter().filter(|frame| frame.told < end);
        let good = || frames(open.compared).filter(|frame| matches!(frame.face, Face::Seen(_)));
        let says = |reason: fn(&Reason) -> bool| record.reasons.iter().any(reason);
        if record.outcome != O::Fault {
            let may_take_back = match step.event {
                Event::Recorded { .. } => record.outcome != O::Spoof,
                Event::Liveness(_) => record.outcome == O::Spoof,
                _ => false,
            };
            must!(self.grant.is_none() || may_take_back, "a grant taken back");
        }
        match record.outcome {
            O::NotRecognised if self.grant.is_some() => {
                must!(record.person.is_some_and(|person| self.people.get(person).is_none()), "still enrolled");
            }
            O::NotRecognised => {
                must!(is_over, "too early");
                let good: Vec<_> = good().cloned().collect();
                let too_few =
                    good.len() < policy.agree.into() || agree_too_late(&good, open.claimed, &self.people, policy);
                must!(too_few == record.reasons.contains(&Reason::TooFewFrames), "{} good frames", good.len());
            }
            O::Ambiguous => {
                must!(is_over && good().any(|f| is_ambiguous(&f.face, &self.people, policy)), "nothing ambiguous");
            }
            O::Spoof => {
                let is_now = self.report.is_some_and(|report| {
                    report.verdict == Verdict::Spoof && is_about(&report, open.began, step.now, policy)
                });
                must!(is_now, "liveness says {:?}", self.report);
            }
            O::LivenessInconclusive => {
                must!(is_over && policy.liveness == LivenessPolicy::Required, "liveness was not what was missing");
                let person = record.person.ok_or("inconclusive of nobody")?;
                let shows_them = |frame: &&Told| {
                    shows(&frame.face, open.claimed, &self.people, policy).is_some_and(|(who, _)| who == person)
                };
                let shown = good().filter(shows_them).count();
                must!(shown >= policy.agree.into(), "only {shown} frames");
            }
            O::PoorQuality => {
                let mut measures = frames(open.first).filter_map(|frame| match frame.face {
                    Face::Poor(measure) => Some(Reason::Poor(measure)),
                    _ => None,
                });
                must!(is_over && measures.next_back() == record.reasons.first().copied(), "no such measure");
            }
            O::Expired | O::OutOfSchedule => {
                let person = record.person.ok_or("nobody expired")?;
                must!(!self.people.permits(person, step.wall), "{person} may come in");
                let entry = self.people.get(person).ok_or("not enrolled")?;
                must!(record.outcome != O::Expired || entry.expires.is_some(), "{person} never expires");
            }
            O::Fault => {
                let is_fault =
                    matches!(step.event, Event::Fault(fault) if record.reasons[..] == [Reason::Fault(*fault)]);
                let is_late = self.grant.as_ref().is_some_and(|grant| step.now >= grant.until);
                let is_unwritten = matches!(step.event, Event::Recorded { ticket, written: false }
                    if self.grant.as_ref().is_some_and(|grant| grant.ticket == *ticket));
                let ledger_failed = is_late && says(|reason| *reason == Reason::LedgerLate)
                    || is_unwritten && says(|reason| *reason == Reason::Fault(Fault::Store));
                must!(is_fault || ledger_failed, "no such fault");
            }
            other => return Err(format!("{other} ends no attempt")),
        }
        Ok(())
    }
}
