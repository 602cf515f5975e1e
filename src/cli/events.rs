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
use crate::gallery::template::hex;
use crate::gate::Outcome;
use crate::hw::clock::BootClock;
use crate::hw::store::{EventQuery, EventRow, MAX_EVENTS_A_QUERY, Store};
use crate::person::PersonId;
use crate::ports::Clock as _;
use crate::time::Wall;

/// How often `--follow` looks for new events.
const FOLLOW_PAUSE: Duration = Duration::from_millis(500);

/// The last events, oldest first; works with the daemon and without it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Check the chain of hashes from end to end; exits with 1 where it is broken
    #[arg(long, conflicts_with_all = ["follow", "since", "limit", "outcome", "person"])]
    verify: bool,
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
    /// Only this person
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
}

fn parse_outcome(text: &str) -> Result<Outcome, String> {
    let names = || Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect::<Vec<_>>().join(", ");
    Outcome::parse(text).ok_or_else(|| format!("outcomes are {}", names()))
}

pub fn run(args: &Args, ctx: &Context) -> Result<Verdict, Failure> {
    let store = ctx.store_for_reading()?;
    if args.verify {
        return verify(&store, ctx);
    }
    let person = args.person.as_ref().map(|name| people::find(&store, name)).transpose()?.map(|person| person.id);
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
        let news = store.events(&query)?;
        if news.iter().any(|event| event.person.is_some_and(|id| !names.contains_key(&id))) {
            names = self::names(&store)?;
        }
        for event in news {
            query.from = event.seq + 1;
            door::show(&line(&event, &names), ctx)?;
        }
    }
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

/// Goes through the whole ledger: one query gives no more than [`MAX_EVENTS_A_QUERY`], and clocks are set back now and then, so
/// times need not rise with numbers.
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
        hash: Some(hex(&event.hash)),
    }
}

#[derive(Serialize)]
struct Chain {
    intact: bool,
    events: u64,
    /// What the oldest event stands on.
    anchor: End,
    /// The last event that holds.
    head: End,
    broken_at: Option<u64>,
}

#[derive(Serialize)]
struct End {
    seq: u64,
    hash: String,
}

fn verify(store: &Store, ctx: &Context) -> Result<Verdict, Failure> {
    let report = store.verify_chain()?;
    let end = |link: crate::gallery::chain::Link| End { seq: link.seq, hash: hex(&link.hash) };
    let chain = Chain {
        intact: report.broken.is_none(),
        events: report.intact,
        anchor: end(report.anchor),
        head: end(report.head),
        broken_at: report.broken,
    };
    ctx.out.json(&chain)?;
    ctx.out.line(match chain.broken_at {
        None => format!("{} events, the chain is whole. Head: event {} {}", chain.events, chain.head.seq, chain.head.hash),
        Some(seq) => format!(
            "The chain is broken at event {seq}: it was changed, removed or added by another hand; {} events before it hold.",
            chain.events
        ),
    })?;
    Ok(chain.intact.into())
}
