//! `events`: the ledger, shown or checked.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::Serialize;

use super::context::Context;
use super::door;
use super::exit::{Failure, Verdict};
use super::when::parse_since;
use super::{counted, note, people};
use crate::control::{EventLine, rfc3339};
use crate::digest::Digest;
use crate::gallery::chain::Link;
use crate::gate::Outcome;
use crate::hw::clock::BootClock;
use crate::hw::store::{ChainReport, EventQuery, EventRow, MAX_EVENTS_A_QUERY, Store, StoreError, Trouble};
use crate::person::PersonId;
use crate::ports::Clock as _;
use crate::time::Wall;

/// How often `--follow` looks for new events.
const FOLLOW_PAUSE: Duration = Duration::from_millis(500);
const DAY_MS: i64 = 86_400_000;

/// The last events, oldest first; works with the daemon and without it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Check the chain of hashes from end to end; exits with 1 where it is broken
    #[arg(long, conflicts_with_all = ["follow", "since", "limit", "outcome", "person"])]
    verify: bool,
    /// Number and hash of the head that an earlier --verify gave: exits with 1 unless the chain has it still
    #[arg(long, requires = "verify", value_name = "SEQ:HASH", value_parser = parse_noted)]
    noted: Option<Link>,
    /// Go on with new ones as they come
    #[arg(long)]
    follow: bool,
    /// Not before: a day, an instant, or how long ago (2h, 7d)
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// At most so many, the last ones
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Only this outcome, such as granted
    #[arg(long, value_name = "OUTCOME", value_parser = parse_outcome)]
    outcome: Option<Outcome>,
    /// Only this person, by name or #NUMBER; by the latter also somebody erased
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
}

fn parse_outcome(text: &str) -> Result<Outcome, String> {
    let names = || Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect::<Vec<_>>().join(", ");
    Outcome::parse(text).ok_or_else(|| format!("outcomes are {}", names()))
}

fn parse_noted(text: &str) -> Result<Link, String> {
    let parts = text.split_once(':').and_then(|(seq, hash)| Some((seq.parse::<u64>().ok()?, Digest::parse(hash)?)));
    let none = || "a noted head is the event's number, a colon and 64 hexadecimal digits".to_owned();
    parts.map(|(seq, hash)| Link { seq, hash: hash.0 }).ok_or_else(none)
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    let mut store = ctx.store_for_reading()?;
    if args.verify {
        return verify(&store, args.noted, ctx);
    }
    let person = args.person.as_ref().map(|name| whom(&store, name)).transpose()?;
    let since = args.since.as_ref().map(|text| parse_since(text, BootClock.now().wall)).transpose()?;
    let mut query = EventQuery {
        // At least one, as its number says where those begin that are new.
        limit: args.limit.max(1),
        last: true,
        outcome: args.outcome,
        person,
        ..EventQuery::default()
    };
    let mut names = names(&store)?;
    let found = match since {
        None if args.limit <= MAX_EVENTS_A_QUERY => Found::last(store.events(&query)?, args.limit),
        _ => last_since(&store, &query, since, args.limit)?,
    };
    for event in &found.events {
        door::show(&line(event, &names), ctx)?;
    }
    if since.is_some() && found.earlier > 0 {
        let (earlier, all) =
            (counted(found.earlier, "earlier event", "earlier events"), found.earlier + found.events.len());
        note(format_args!("facelatch: {earlier} since then not shown; --limit {all} shows all"));
    }
    query.from = found.next;
    if !args.follow {
        return Ok(Verdict::Yes);
    }
    (query.last, query.limit) = (false, MAX_EVENTS_A_QUERY);
    // Until a signal ends it, or its reader goes.
    loop {
        std::thread::sleep(FOLLOW_PAUSE);
        if !store.is_there() {
            return Err(StoreError { path: store.path().to_owned(), what: Trouble::Gone }.into());
        }
        let news = store.events(&query)?;
        // After them, so that whoever they are about is in it, by the name that they have now.
        if store.changed()? {
            names = self::names(&store)?;
        }
        for event in news {
            query.from = event.seq + 1;
            door::show(&line(&event, &names), ctx)?;
        }
    }
}

/// Somebody erased goes by their number alone, and so do their events.
fn whom(store: &Store, name: &str) -> Result<PersonId, Failure> {
    PersonId::parse(name).map_or_else(|| people::find(store, name).map(|person| person.id), Ok)
}

/// The last events of a span, and how many of it come before them.
struct Found {
    events: VecDeque<EventRow>,
    earlier: usize,
    /// The number that follows the last one that was looked at.
    next: u64,
}

impl Found {
    fn last(events: Vec<EventRow>, limit: usize) -> Self {
        let (next, earlier) = (events.last().map_or(0, |event| event.seq + 1), events.len() - limit.min(events.len()));
        Self { events: events.into_iter().skip(earlier).collect(), earlier, next }
    }
}

/// Goes through the whole ledger: one query gives no more than [`MAX_EVENTS_A_QUERY`], and clocks are set back now and
/// then, so times need not rise with numbers.
fn last_since(store: &Store, query: &EventQuery, since: Option<Wall>, limit: usize) -> Result<Found, Failure> {
    let mut found = Found::last(Vec::new(), limit);
    loop {
        let page = EventQuery { from: found.next, last: false, limit: MAX_EVENTS_A_QUERY, ..*query };
        let events = store.events(&page)?;
        let Some(last) = events.last() else { return Ok(found) };
        found.next = last.seq + 1;
        for event in events.into_iter().filter(|event| since.is_none_or(|since| event.at >= since)) {
            found.events.push_back(event);
            if found.events.len() > limit {
                found.events.pop_front();
                found.earlier += 1;
            }
        }
    }
}

fn names(store: &Store) -> Result<HashMap<PersonId, String>, Failure> {
    Ok(store.people()?.into_iter().map(|person| (person.id, person.name.to_string())).collect())
}

fn line(event: &EventRow, names: &HashMap<PersonId, String>) -> EventLine {
    EventLine {
        seq: Some(event.seq),
        at: rfc3339(event.at),
        outcome: event.outcome.clone(),
        person: event.person.map(|id| names.get(&id).cloned().unwrap_or_else(|| id.to_string())),
        similarity: event.similarity.map(|s| s.get()),
        reasons: event.reasons.clone(),
        hash: Some(Digest(event.hash).to_string()),
    }
}

#[derive(Serialize)]
struct Chain {
    intact: bool,
    events: u64,
    /// What the oldest event stands on.
    anchor: End,
    /// When the oldest event was.
    oldest: Option<String>,
    /// The last event that holds.
    head: End,
    broken_at: Option<u64>,
    noted: Option<Noted>,
}

#[derive(Serialize)]
struct End {
    seq: u64,
    hash: String,
}

/// What became of a head that was noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Noted {
    Holds,
    /// It is older than the oldest event.
    CutOff,
    Absent,
}

fn verify(store: &Store, noted: Option<Link>, ctx: &Context) -> Result<Verdict, Failure> {
    let mut holds = false;
    let report = store.walk_chain(|link| holds |= noted == Some(link))?;
    let end = |link: Link| End { seq: link.seq, hash: Digest(link.hash).to_string() };
    let became = noted.map(|noted| match holds {
        true => Noted::Holds,
        false if noted.seq < report.anchor.seq => Noted::CutOff,
        false => Noted::Absent,
    });
    let chain = Chain {
        intact: report.broken.is_none(),
        events: report.intact,
        anchor: end(report.anchor),
        oldest: report.oldest.map(rfc3339),
        head: end(report.head),
        broken_at: report.broken,
        noted: became,
    };
    ctx.out.json(&chain)?;
    let from = chain.oldest.as_ref().map(|at| format!(" from event {} of {at} on", chain.anchor.seq + 1));
    ctx.out.line(match chain.broken_at {
        None => format!(
            "{} events{}, the chain is whole. Head: event {} {}",
            chain.events,
            from.unwrap_or_default(),
            chain.head.seq,
            chain.head.hash
        ),
        Some(seq) => format!(
            "The chain is broken at event {seq}: it was changed, removed or added by another hand; {} events before it hold.",
            chain.events
        ),
    })?;
    if let Some((noted, became)) = noted.zip(became) {
        ctx.out.line(of_noted(noted.seq, became, chain.anchor.seq))?;
    }
    if let Some(doubt) = doubt(&report, BootClock.now().wall, ctx.config.store.retention_days) {
        note(format_args!("facelatch: {doubt}"));
    }
    Ok((chain.intact && matches!(became, None | Some(Noted::Holds))).into())
}

fn of_noted(seq: u64, became: Noted, cut: u64) -> String {
    match became {
        Noted::Holds => format!("Event {seq} is there as it was noted: nothing before it was changed since."),
        Noted::CutOff => format!(
            "Event {seq} was cut off with all up to event {cut}, by retention or by another hand: that note proves nothing any more."
        ),
        Noted::Absent => format!(
            "Event {seq} is not there as it was noted: another hand changed the chain, or put an older copy in its place."
        ),
    }
}

/// Why the beginning of a chain deserves a look: retention cuts off no more than what is older than it says.
fn doubt(report: &ChainReport, now: Wall, keep_days: u32) -> Option<String> {
    let oldest = report.oldest.filter(|at| at.is_plausible() && now.is_plausible())?;
    if report.anchor.seq == 0 {
        return None;
    }
    if keep_days == 0 {
        let why = "it was set otherwise once, or another hand cut them off";
        return Some(format!(
            "store.retention_days = 0, and the events up to event {} are gone: {why}",
            report.anchor.seq
        ));
    }
    // One from the future is none.
    let age = usize::try_from((now.unix_millis() - oldest.unix_millis()) / DAY_MS).unwrap_or(0);
    let quiet = (keep_days as usize).saturating_sub(age);
    (quiet > 1).then(|| {
        let (age, quiet) = (counted(age, "day", "days"), counted(quiet, "day", "days"));
        format!(
            "store.retention_days = {keep_days}, and the oldest event is {age} old: in the {quiet} before it nothing happened, or \
             another hand cut the beginning off"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gallery::chain::GENESIS;

    #[test]
    fn a_beginning_that_retention_does_not_explain_is_told() {
        let now = Wall::from_unix_millis(1_790_000_000_000);
        let told = |cut, days: i64, keep_days| {
            let anchor = Link { seq: cut, ..GENESIS };
            let oldest = Some(Wall::from_unix_millis(now.unix_millis() - days * DAY_MS));
            doubt(&ChainReport { anchor, oldest, intact: 3, head: anchor, broken: None }, now, keep_days)
        };
        assert!(told(7, 3, 90).unwrap().contains("3 days old: in the 87 days before it nothing happened"));
        assert!(told(7, -1, 90).unwrap().contains("0 days old"), "a stamp ahead of the clock explains nothing");
        assert!(told(7, 3, 0).unwrap().contains("up to event 7 are gone"));
        let explained = [told(0, 3, 90), told(0, 3, 0), told(7, 90, 90), told(7, 89, 90), told(7, 3, 3)];
        assert!(explained.iter().all(Option::is_none), "{explained:?}");
        let unset = ChainReport {
            anchor: Link { seq: 7, ..GENESIS },
            oldest: Some(now),
            intact: 1,
            head: GENESIS,
            broken: None,
        };
        assert_eq!(doubt(&unset, Wall::default(), 90), None, "by a clock that was never set everything has any age");
    }

    #[test]
    fn a_noted_head_is_a_number_and_a_hash() {
        let hash = "ab".repeat(32);
        assert_eq!(parse_noted(&format!("12:{hash}")), Ok(Link { seq: 12, hash: [0xab; 32] }));
        for wrong in ["12", &hash, &format!("x:{hash}"), "12:abcd", &format!("-1:{hash}")] {
            assert!(parse_noted(wrong).is_err(), "{wrong}");
        }
    }
}
