//! What a store acknowledged survives `kill -9` at any instant.
//!
//! The test runs itself again as a child, which enrols, renames, erases and appends events, and says on its standard
//! output what was acknowledged. The parent kills it at a random instant, opens the store, and looks for all of it. A
//! kill spares the page cache, so this shows that each change is whole or absent, not that the disk was told to sync:
//! that `synchronous` is FULL is tested beside the store.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use facelatch::digest::Digest;
use facelatch::face::encoding::Encoding;
use facelatch::gallery::{Changes, MasterKey, NewPerson, NewTemplate};
use facelatch::gate::record::{Outcome, Reason, Record};
use facelatch::hw::store::{Act, EventQuery, Store};
use facelatch::person::{Name, PersonId};
use facelatch::sim::rng::Rng;
use facelatch::time::Wall;

use crate::testing::{SEED, cases, is_emulated, seed};

/// Tells the test that it is the child, and where the store lies.
const CHILD: &str = "FACELATCH_CRASH_STORE";

const KILLS: u64 = 220;
/// After so many kills a store is left, and the next one is made under fire.
const KILLS_A_STORE: u64 = 22;
/// The longest that a child lives once it has begun, where the disk is fast.
const LONGEST: Duration = Duration::from_millis(120);
/// So much slower is an emulator, with a machine that does other things besides.
const EMULATED: u32 = 20;

const KEY: [u8; 32] = [0x5a; 32];
const NOW: Wall = Wall::from_unix_millis(1_790_000_000_000);
const ACT: Act = Act { at: NOW, by_uid: None };

/// What the store must hold, as far as the child heard it acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// Number, name, templates of everybody there.
    people: BTreeMap<u32, (String, u32)>,
    erased: Vec<u32>,
    /// The hash by number of each event.
    events: BTreeMap<u64, String>,
    /// How many changes.
    lines: u64,
}

impl Acknowledged {
    fn hear(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        let id = words[1].parse().expect("the child says what it did to whom");
        match words[..] {
            ["event", seq, hash] => drop(self.events.insert(seq.parse().unwrap(), hash.into())),
            ["enrolled", _, name] => drop(self.people.insert(id, (name.into(), 1))),
            ["added", _] => self.people.get_mut(&id).unwrap().1 += 1,
            ["renamed", _, name] => self.people.get_mut(&id).unwrap().0 = name.into(),
            ["erased", _] => {
                self.people.remove(&id);
                self.erased.push(id);
            }
            _ => panic!("the child said {line}"),
        }
        self.lines += 1;
    }

    /// Looks for everything; then takes what the child did and could not say any more for acknowledged, too.
    fn check(&mut self, store: &Store) {
        let chain = store.verify_chain().unwrap();
        assert_eq!(chain.broken, None, "the chain of events is broken");
        if let Some((&last, _)) = self.events.last_key_value() {
            assert!(chain.head.seq >= last, "event {last} was acknowledged, and the last one is {}", chain.head.seq);
        }
        let mut people_by_events = BTreeSet::new();
        for event in store.events(&EventQuery::default()).unwrap() {
            let hash = Digest(event.hash).to_string();
            assert_eq!(*self.events.entry(event.seq).or_insert(hash.clone()), hash, "event {}", event.seq);
            match (&*event.outcome, event.person) {
                ("enrolled", Some(id)) => drop(people_by_events.insert(id.get())),
                ("erased", Some(id)) => drop(people_by_events.remove(&id.get())),
                _ => {}
            }
        }
        let there: BTreeMap<_, _> =
            store.people().unwrap().into_iter().map(|p| (p.id.get(), (p.name.to_string(), p.templates))).collect();
        let differ = |id: &&u32| there.get(id) != self.people.get(id);
        let unsaid = there.keys().chain(self.people.keys()).filter(differ).collect::<BTreeSet<_>>();
        assert!(unsaid.len() <= 1, "more than the one change under way differs: {unsaid:?}");
        assert!(there.keys().eq(&people_by_events), "a change and its event are not one");
        assert!(self.erased.iter().all(|id| !there.contains_key(id)), "somebody erased is back");
        // Every template opens: no row is half written.
        let templates: u32 = there.values().map(|(_, templates)| templates).sum();
        assert_eq!(store.templates().unwrap().len(), templates as usize);
        self.people = there;
    }
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill_at_any_instant() {
    let seed = seed();
    println!("{SEED}={seed}");
    let mut random = Rng::new(seed);
    let key = MasterKey::from_bytes(KEY);
    let longest = longest(&key);
    let (mut lines, mut events) = (0, 0);
    let stores = cases(KILLS / KILLS_A_STORE);
    for _ in 0..stores {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gallery.db");
        let mut acknowledged = Acknowledged::default();
        for _ in 0..KILLS_A_STORE {
            for line in run_and_kill(&path, longest, &mut random) {
                acknowledged.hear(&line);
            }
            acknowledged.check(&Store::open(&path, &key).unwrap());
        }
        (lines, events) = (lines + acknowledged.lines, events + acknowledged.events.len());
    }
    let kills = stores * KILLS_A_STORE;
    println!("{kills} kills, {lines} changes acknowledged, {events} events in whole chains");
    assert!(lines > kills, "the children were killed before they did anything");
}

/// Long enough for some dozens of changes on this disk, as three of them take now.
fn longest(key: &MasterKey) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&dir.path().join("gallery.db"), key).unwrap();
    let begun = Instant::now();
    for _ in 0..3 {
        store.append_event(&Record::new(NOW, Outcome::Started)).unwrap();
    }
    let least = if is_emulated() { LONGEST * EMULATED } else { LONGEST };
    least.max(begun.elapsed() * 16)
}

/// Runs a child for a random while and kills it; returns the whole lines it wrote.
fn run_and_kill(path: &Path, longest: Duration, random: &mut Rng) -> Vec<String> {
    let mut child = crate::testing::command(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--nocapture", "--test-threads=1"])
        .env(CHILD, path)
        .env(SEED, random.next_u64().to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while line != "begin\n" {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0, "the child never began: {}", complaint(&mut child));
    }
    std::thread::sleep(random.between(Duration::ZERO, longest));
    // Anything else than a running child means that it failed by itself.
    assert!(child.try_wait().unwrap().is_none(), "the child ended by itself: {}", complaint(&mut child));
    child.kill().unwrap();
    child.wait().unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    rest.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
}

fn complaint(child: &mut std::process::Child) -> String {
    let mut text = String::new();
    let _unreadable = child.stderr.take().map(|mut err| err.read_to_string(&mut text));
    text
}

/// Does nothing unless the test above runs it.
#[test]
fn child() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let mut random = Rng::new(seed());
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()).unwrap();
    };
    say("\nbegin".into());
    // Opening is under fire as well.
    let mut store = Store::open(Path::new(&path), &MasterKey::from_bytes(KEY)).unwrap();
    loop {
        say(act(&mut store, &mut random));
    }
}

/// One random change; what to say once it was acknowledged.
fn act(store: &mut Store, random: &mut Rng) -> String {
    let people = store.people().unwrap();
    let somebody = people.get(random.below(people.len())).map(|person| person.id);
    let name = |random: &mut Rng| format!("person-{:016x}", random.next_u64());
    match (random.below(10), somebody) {
        (0, Some(id)) if people.len() > 3 => {
            store.erase(id, ACT).unwrap();
            format!("erased {}", id.get())
        }
        (1, Some(id)) => {
            let name = name(random);
            store.rename(id, &Name::new(&name).unwrap(), ACT).unwrap();
            format!("renamed {} {name}", id.get())
        }
        (2, Some(id)) if people.iter().any(|person| person.id == id && person.templates < 8) => {
            store.enrol_again(id, &Changes::default(), &[template(random)], 8, ACT).unwrap();
            format!("added {}", id.get())
        }
        (0..4, _) => {
            let name = name(random);
            let new = NewPerson::new(Name::new(&name).unwrap());
            let (id, _) = store.enrol(&new, &[template(random)], 8, ACT).unwrap();
            format!("enrolled {} {name}", id.get())
        }
        _ => {
            let person = PersonId::new(random.below(100) as u32);
            let record = Record::new(NOW, Outcome::Granted).person(person).because(Reason::LivenessNotRequired);
            let seq = store.append_event(&record).unwrap();
            let event = store.events(&EventQuery { from: seq, limit: 1, ..EventQuery::default() }).unwrap().remove(0);
            format!("event {seq} {}", Digest(event.hash))
        }
    }
}

fn template(random: &mut Rng) -> NewTemplate {
    let raw: Vec<f32> = (0..128).map(|_| random.below(2001) as f32 - 1000.0).collect();
    let encoding = Encoding::from_raw(&raw).expect("128 random numbers have a direction");
    NewTemplate { encoding, model_sha256: Digest([7; 32]), quality: 0.5, created: NOW }
}
