//! The answering side: a thread that accepts, and a thread for each of a few clients.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{EventLine, Refusal, Request, Response, StatusLine, read_request, rfc3339};
use crate::daemon::{Follower, Gallery, HeardAtStep, MAX_WATCHERS, Shared, Written};
use crate::draft::parent;
use crate::gate::{Event, Fault, MAX_SHARING, Outcome, Reason};
use crate::hw::socket;
use crate::person::NAME_MAX_BYTES;
use crate::time::Wall;
use crate::units::Similarity;

/// Clients at a time; a further one is told to come again.
const MAX_CLIENTS: usize = 8;
const _: () = assert!(MAX_CLIENTS <= MAX_SHARING + 1, "whoever asks for a release shares it");
const _: () = assert!(MAX_CLIENTS <= MAX_WATCHERS, "whoever asks for something follows what comes of it");
/// Places that whoever only watches leaves to those who open: `unlock`, and a card reader's `claim`.
const FOR_ACTS: usize = 2;
/// How long a client may take to say what it wants, and to take its answer.
const CLIENT_PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether the daemon stops, or the client has gone.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the last events may take to be written, and then told, once the daemon stops.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// What a refused client has still sent is read, so that it isn't kept from reading why: so much, for so long. More
/// than that is nobody's mistake.
const REST_BYTES: u64 = 64 * 1024;
const REST_PATIENCE: Duration = Duration::from_millis(100);
/// Of what is wrong with a request.
const SHOWN_CHARS: usize = 200;
/// A claim and its ledger entry are over by then: the policy's longest claim, and the ledger's longest time.
const MAX_CLAIM_WAIT: Duration = Duration::from_secs(70);

/// Where the socket is and who may move the door through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlConfig {
    pub socket: PathBuf,
    /// Besides root and the daemon's own user; then the socket lets everybody connect, and the kernel tells who it is.
    pub allowed_uids: Vec<u32>,
    /// Or the group that may, by the socket's mode; then `allowed_uids` is empty.
    pub gid: Option<u32>,
}

/// Why the socket can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("control socket {path}: {source}{}", advice(source))]
    Bind { path: PathBuf, source: std::io::Error },
    #[error("control socket {path}: another facelatch answers there: stop it first (systemctl stop facelatch)")]
    Taken { path: PathBuf },
    /// Whoever isn't root may give a file to a group of their own alone.
    #[error("control socket {path}: it can't be given to control.group, number {gid} ({source})")]
    Group { path: PathBuf, gid: u32, source: std::io::Error },
}

fn advice(error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => "; the folder must exist and be the daemon's (RuntimeDirectory=facelatch)",
        _ => "",
    }
}

/// A bound socket; its file goes with it.
pub struct Server {
    listener: UnixListener,
    config: ControlConfig,
}

impl Server {
    /// Binds the socket, in place of one that a daemon left behind; a living daemon's is not taken, nor anything else
    /// that lies there. A folder that is missing is made.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn bind(config: ControlConfig) -> Result<Self, ControlError> {
        let path = config.socket.clone();
        let failed = |source| ControlError::Bind { path: path.clone(), source };
        if UnixStream::connect(&path).is_ok() {
            return Err(ControlError::Taken { path });
        }
        let folder = parent(&path);
        let is_made = !folder.is_dir();
        socket::make_way(&path).map_err(failed)?;
        let listener = UnixListener::bind(&path).map_err(failed)?;
        if let Some(gid) = config.gid {
            let refused = |source| ControlError::Group { path: path.clone(), gid, source };
            std::os::unix::fs::chown(&path, None, Some(gid)).map_err(refused)?;
        }
        let mode = match (config.gid, config.allowed_uids.is_empty()) {
            (Some(_), _) => 0o660,
            (None, false) => 0o666,
            (None, true) => 0o600,
        };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
        if is_made && mode != 0o600 {
            // As the service's is (RuntimeDirectoryMode=): others must get to the socket.
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
        }
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self { listener, config })
    }

    /// Answers until the daemon stops. `sensors` are those that `status` tells.
    pub fn run(&self, shared: &Arc<Shared>, sensors: &Arc<[String]>) {
        let clients = Arc::new(AtomicUsize::new(0));
        while !shared.is_stopping() {
            match self.listener.accept() {
                Ok((stream, _)) => self.serve(stream, shared, sensors, &clients),
                Err(_) => shared.sleep(ACCEPT_PAUSE),
            }
        }
        // Whoever waits or follows is told how it ends.
        let end = Instant::now() + LAST_WORDS + ACCEPT_PAUSE;
        while clients.load(Ordering::Acquire) > 0 && Instant::now() < end {
            std::thread::sleep(ACCEPT_PAUSE / 10);
        }
    }

    fn serve(&self, stream: UnixStream, shared: &Arc<Shared>, sensors: &Arc<[String]>, clients: &Arc<AtomicUsize>) {
        let seat = Seat::take(clients);
        let uid = peer_uid(&stream);
        let uid = uid.filter(|uid| self.is_allowed(*uid));
        let mut client = Client { stream, shared: Arc::clone(shared), sensors: Arc::clone(sensors) };
        let Some(uid) = uid else {
            client.refuse(Refusal::NotAllowed, "you are not among those whom control.allowed_uids names");
            return;
        };
        let Some(seat) = seat else {
            client.refuse(Refusal::Busy, "too many clients; try again");
            return;
        };
        let spawned = std::thread::Builder::new().name("control".into()).spawn(move || {
            let _seat = seat;
            // A client that hangs up is no event.
            let _gone = client.answer(uid);
        });
        if let Err(error) = spawned {
            log::warn!("control: no thread for a client: {error}");
        }
    }

    fn is_allowed(&self, uid: u32) -> bool {
        // With a group, the socket's mode has let in nobody but its members.
        let own = rustix::process::geteuid().as_raw();
        uid == 0 || uid == own || self.config.allowed_uids.contains(&uid) || self.config.gid.is_some()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_file(&self.config.socket);
    }
}

/// One of [`MAX_CLIENTS`] places, given back when dropped.
struct Seat(Arc<AtomicUsize>);

impl Seat {
    fn take(clients: &Arc<AtomicUsize>) -> Option<Self> {
        let free = |taken| (taken < MAX_CLIENTS).then_some(taken + 1);
        clients.fetch_update(Ordering::AcqRel, Ordering::Acquire, free).ok().map(|_| Self(Arc::clone(clients)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn peer_uid(stream: &UnixStream) -> Option<u32> {
    rustix::net::sockopt::socket_peercred(stream).ok().map(|credentials| credentials.uid.as_raw())
}

/// What a client says by a deadline. A stream's own timeout begins anew with each byte, and so never ends for one that
/// trickles.
struct Patient<'a> {
    stream: &'a UnixStream,
    until: Instant,
}

impl<'a> Patient<'a> {
    fn with(stream: &'a UnixStream, patience: Duration) -> Self {
        Self { stream, until: Instant::now() + patience }
    }
}

impl Read for Patient<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(into)
    }
}

struct Client {
    stream: UnixStream,
    shared: Arc<Shared>,
    sensors: Arc<[String]>,
}

impl Client {
    fn answer(&mut self, uid: u32) -> std::io::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_write_timeout(Some(CLIENT_PATIENCE))?;
        let request = match read_request(Patient::with(&self.stream, CLIENT_PATIENCE)) {
            Ok(request) => request.map_err(|error| error.to_string()),
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                Err(format!("no whole line came within {} s", CLIENT_PATIENCE.as_secs()))
            }
            Err(error) => Err(error.to_string()),
        };
        match request {
            Ok(Request::Status {}) => {
                let status = self.status();
                self.send(&status)
            }
            Ok(Request::Watch {}) => self.watch(),
            Ok(Request::Unlock {}) => self.unlock(uid),
            Ok(Request::Claim { name }) => self.claim(&name),
            Err(why) => {
                // It may repeat what was sent, and an answer is a line of MAX_LINE_BYTES at most.
                let why: String = why.chars().take(SHOWN_CHARS).collect();
                self.refuse(Refusal::NoRequest, &format!("no request: {why}"));
                self.stream.shutdown(Shutdown::Write)?;
                let mut rest = Patient::with(&self.stream, REST_PATIENCE).take(REST_BYTES);
                std::io::copy(&mut rest, &mut std::io::sink()).map(drop)
            }
        }
    }

    fn send(&mut self, response: &Response) -> std::io::Result<()> {
        let mut line = serde_json::to_string(response)?;
        line.push('\n');
        self.stream.write_all(line.as_bytes())
    }

    fn refuse(&mut self, code: Refusal, reason: &str) {
        let _gone_already = self.send(&Response::Refused { reason: reason.to_owned(), code });
    }

    fn status(&self) -> Response {
        let shared = &self.shared;
        let Some(status) = shared.status() else {
            return Response::Refused { reason: "the gate has not started yet; try again".into(), code: Refusal::Busy };
        };
        let now = shared.now();
        let age = now.mono.since(status.since);
        let since = Wall::from_unix_millis(now.wall.unix_millis() - i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let camera_lost = shared.why_camera_lost().filter(|_| !shared.has_recording_ended());
        let camera = match (shared.has_recording_ended(), &camera_lost) {
            (true, _) => "ended",
            (false, Some(_)) => "lost",
            (false, None) => "ok",
        };
        Response::Status(StatusLine {
            state: status.state.to_owned(),
            since_s: age.as_secs_f64(),
            since: rfc3339(since),
            camera: camera.to_owned(),
            camera_lost,
            sensors: self.sensors.to_vec(),
            door: status.door.to_owned(),
            alarm: status.alarm.as_str().to_owned(),
            faults: status.faults.iter().map(|fault| fault.as_str().to_owned()).collect(),
            people: status.roster.len(),
            identify: status.roster.identify_threshold.map(Similarity::get),
            verify: status.roster.verify_threshold.map(Similarity::get),
            frames_seen: shared.counters.frames_seen.load(Ordering::Relaxed),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    fn watch(&mut self) -> std::io::Result<()> {
        let Some(events) = self.follow(FOR_ACTS) else { return Ok(()) };
        let mut ending = None;
        while !self.is_over(&mut ending) {
            match events.recv_timeout(ACCEPT_PAUSE) {
                Ok(written) => {
                    let line = event_line(&written, &self.shared.gallery());
                    self.send(&Response::Event(line))?;
                    if written.record.outcome == Outcome::Stopped {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) if self.has_hung_up() => break,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(())
    }

    /// Whether the daemon stops, and has had its time for the last events since `ending`, when that was first seen.
    fn is_over(&self, ending: &mut Option<Instant>) -> bool {
        self.shared.is_stopping() && ending.get_or_insert_with(Instant::now).elapsed() >= LAST_WORDS
    }

    /// Whether the client has gone, seen without waiting. One that only has nothing more to say still listens.
    fn has_hung_up(&self) -> bool {
        let mut end = [PollFd::new(&self.stream, PollFlags::empty())];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut end, Some(&at_once)).is_ok() && end[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }

    fn unlock(&mut self, uid: u32) -> std::io::Result<()> {
        let Some(events) = self.follow(0) else { return Ok(()) };
        let heard = self.shared.ask(Event::ManualRelease { uid });
        self.await_event(&events, &heard, |written| match written.record.outcome {
            Outcome::ManualRelease => written.stands && written.record.reasons.contains(&Reason::ByUid(uid)),
            Outcome::Fault => ends_release(written),
            _ => false,
        })
    }

    fn claim(&mut self, name: &str) -> std::io::Result<()> {
        let Some(person) = self.shared.gallery().find(name) else {
            let called = if name.len() <= NAME_MAX_BYTES { format!("'{name}'") } else { "so".to_owned() };
            let why = format!("nobody here is called {called}; `facelatch people list` tells who is");
            self.refuse(Refusal::Nobody, &why);
            return Ok(());
        };
        let Some(events) = self.follow(0) else { return Ok(()) };
        let heard = self.shared.ask(Event::Claim(person));
        self.await_event(&events, &heard, |written| {
            let is_of_them = written.record.person == Some(person) && ends_attempt(written.record.outcome);
            // The strike's fault is nobody's, and one attempt runs at a time.
            let is_unmoved = written.step.answers == Some(Outcome::Granted) && is_because(written, Fault::Strike);
            written.stands && (is_of_them || is_unmoved)
        })
    }

    /// Answers with the first event that is it, of those that came of what was asked or after.
    fn await_event(
        &mut self,
        events: &Follower,
        heard: &HeardAtStep,
        is_it: impl Fn(&Written) -> bool,
    ) -> std::io::Result<()> {
        let deadline = Instant::now() + MAX_CLAIM_WAIT;
        let mut ending = None;
        while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|_| !self.is_over(&mut ending)) {
            match events.recv_timeout(left.min(ACCEPT_PAUSE)) {
                Ok(written) if written.step.number >= heard.load(Ordering::Acquire) && is_it(&written) => {
                    let line = event_line(&written, &self.shared.gallery());
                    return self.send(&Response::Event(line));
                }
                // An asker who has gone gives the seat back.
                Err(RecvTimeoutError::Timeout) if self.has_hung_up() => return Ok(()),
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.refuse(Refusal::Busy, "the gate gave no answer in time");
        Ok(())
    }

    fn follow(&mut self, spare: usize) -> Option<Follower> {
        let events = self.shared.watchers.follow(spare);
        if events.is_none() {
            self.refuse(Refusal::Busy, "too many follow the events already; try again");
        }
        events
    }
}

/// One line of `events --json` out of a live record.
pub fn event_line(written: &Written, gallery: &Gallery) -> EventLine {
    let record = &written.record;
    EventLine {
        seq: written.seq,
        at: rfc3339(record.at),
        outcome: record.outcome.as_str().to_owned(),
        person: record.person.map(|id| gallery.name(id).map_or_else(|| id.to_string(), str::to_owned)),
        similarity: record.similarity.map(crate::units::Similarity::get),
        reasons: record.reasons.iter().map(ToString::to_string).collect(),
        hash: None,
    }
}

/// Whether a fault is why a manual release doesn't come to pass. The ledger's and the strike's are only where it was
/// the release that they failed: others' pass by, and it may come to pass all the same.
fn ends_release(written: &Written) -> bool {
    let Written { record, step, .. } = written;
    let is_given_up = record.reasons.iter().any(|reason| matches!(reason, Reason::LedgerLate | Reason::Stopping));
    let has_failed = is_because(written, Fault::Store) || is_because(written, Fault::Strike);
    (record.person.is_none() && is_given_up) || (step.answers == Some(Outcome::ManualRelease) && has_failed)
}

fn is_because(written: &Written, fault: Fault) -> bool {
    written.record.outcome == Outcome::Fault && written.record.reasons.contains(&Reason::Fault(fault))
}

const fn ends_attempt(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Granted
            | Outcome::NotRecognised
            | Outcome::Ambiguous
            | Outcome::Spoof
            | Outcome::LivenessInconclusive
            | Outcome::PoorQuality
            | Outcome::Expired
            | Outcome::OutOfSchedule
            | Outcome::LockedOut
            | Outcome::Fault
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_the_configuration_names_may_connect_and_ask_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let (own, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let (named, other) = (own + 1000, own + 2000);
        for (allowed_uids, gid, mode, is_named_in, is_other_in) in [
            (vec![], None, 0o600, false, false),
            (vec![named], None, 0o666, true, false),
            // Whom the mode lets connect is in the group.
            (vec![], Some(group), 0o660, true, true),
        ] {
            let socket = dir.path().join("control");
            let server = Server::bind(ControlConfig { socket: socket.clone(), allowed_uids, gid }).unwrap();
            assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, mode, "{mode:o}");
            let may_ask = [0, own, named, other].map(|uid| server.is_allowed(uid));
            assert_eq!(may_ask, [true, true, is_named_in, is_other_in], "{mode:o}");
        }
    }

    #[test]
    fn what_lies_in_the_sockets_place_and_is_nobodys_leftover_stays_and_a_leftover_goes() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        let bind =
            |name: &str| Server::bind(ControlConfig { socket: place(name), allowed_uids: Vec::new(), gid: None });
        std::fs::write(place("file"), "precious").unwrap();
        assert!(matches!(bind("file"), Err(ControlError::Bind { .. })));
        assert_eq!(std::fs::read(place("file")).unwrap(), b"precious");
        let _other = std::os::unix::net::UnixDatagram::bind(place("other")).unwrap();
        let error = bind("other").err().unwrap().to_string();
        assert!(error.contains("another program") && !error.contains("RuntimeDirectory"), "{error}");
        drop(UnixListener::bind(place("left")).unwrap());
        let server = bind("left").unwrap();
        assert!(matches!(bind("left"), Err(ControlError::Taken { .. })));
        drop(server);
        bind("facelatch/control.sock").unwrap();
        let error = bind("nowhere/at/all.sock").err().unwrap().to_string();
        assert!(error.contains("RuntimeDirectory=facelatch"), "{error}");
    }

    #[test]
    fn a_request_has_a_deadline_as_a_whole_however_small_the_pauses_in_it() {
        let says = |request: &'static str, pause: Duration| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let client = std::thread::spawn(move || {
                for byte in request.bytes() {
                    std::thread::sleep(pause);
                    // Whoever isn't listened to any more finds the stream closed.
                    let _gone = theirs.write_all(&[byte]);
                }
            });
            let heard = read_request(Patient::with(&ours, Duration::from_millis(400)));
            drop(ours);
            client.join().unwrap();
            heard.map(Result::unwrap)
        };
        const STATUS: &str = "{\"op\":\"status\"}\n";
        assert_eq!(says(STATUS, Duration::ZERO).unwrap(), Request::Status {});
        assert!(says(STATUS, Duration::from_millis(50)).is_err());
    }
}
