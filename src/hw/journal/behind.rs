//! A logger that keeps nobody waiting: lines go through a bounded queue to a thread that writes them.
//!
//! The journal's socket blocks when the journal does: stopped, or writing to a card that fails. The gate's thread must
//! lock a door then all the same, so lines that find no room are counted and left out.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use log::kv::{Key, Value, VisitSource};
use log::{Level, Log, Metadata};

/// Lines on their way at most.
const MAX_LINES: usize = 256;
/// How long a flush waits for what is on its way: the program ends then.
const MAX_FLUSH: Duration = Duration::from_secs(1);
/// How often it looks for room meanwhile.
const FLUSH_PAUSE: Duration = Duration::from_millis(5);

enum Job {
    Line(Line),
    /// Everything before this is written.
    Flush(SyncSender<()>),
}

/// A [`log::Record`] of its own.
struct Line {
    level: Level,
    target: String,
    sentence: String,
    module: Option<&'static str>,
    file: Option<&'static str>,
    line: Option<u32>,
    fields: Vec<(String, String)>,
}

/// See the module.
pub struct Behind {
    lines: SyncSender<Job>,
    lost: AtomicU64,
}

impl Behind {
    /// Lets a thread of its own write to `to`.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn new(to: impl Log + 'static) -> io::Result<Self> {
        let (lines, jobs) = sync_channel(MAX_LINES);
        std::thread::Builder::new().name("log".into()).spawn(move || write(&jobs, &to))?;
        Ok(Self { lines, lost: AtomicU64::new(0) })
    }

    /// Puts a line; before it, if any were lost, how many.
    fn put(&self, line: Line) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let told = lost == 0 || self.lines.try_send(Job::Line(Line::of_loss(lost))).is_ok();
        let put = told && self.lines.try_send(Job::Line(line)).is_ok();
        self.lost.fetch_add(u64::from(!put) + if told { 0 } else { lost }, Ordering::Relaxed);
    }
}

impl Log for Behind {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            self.put(Line::of(record));
        }
    }

    fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        let until = Instant::now() + MAX_FLUSH;
        while self.lines.try_send(Job::Flush(done.clone())).is_err() && Instant::now() < until {
            std::thread::sleep(FLUSH_PAUSE);
        }
        let _or_never = is_done.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

fn write(jobs: &Receiver<Job>, to: &impl Log) {
    for job in jobs {
        match job {
            Job::Line(line) => line.write(to),
            Job::Flush(done) => {
                to.flush();
                let _nobody_waits_any_more = done.try_send(());
            }
        }
    }
}

impl Line {
    fn of(record: &log::Record<'_>) -> Self {
        let mut fields = Fields::default();
        let _infallible = record.key_values().visit(&mut fields);
        Self {
            level: record.level(),
            target: record.target().to_owned(),
            sentence: record.args().to_string(),
            module: record.module_path_static(),
            file: record.file_static(),
            line: record.line(),
            fields: fields.0,
        }
    }

    fn of_loss(lines: u64) -> Self {
        Self {
            level: Level::Error,
            target: "facelatch".into(),
            sentence: format!("{lines} lines are lost: they came faster than they could be written"),
            module: None,
            file: None,
            line: None,
            fields: Vec::new(),
        }
    }

    fn write(&self, to: &impl Log) {
        to.log(
            &log::Record::builder()
                .level(self.level)
                .target(&self.target)
                .args(format_args!("{}", self.sentence))
                .module_path_static(self.module)
                .file_static(self.file)
                .line(self.line)
                .key_values(&self.fields.as_slice())
                .build(),
        );
    }
}

/// A record's fields, as text, which is how the journal has them.
#[derive(Default)]
struct Fields(Vec<(String, String)>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        self.0.push((key.to_string(), value.to_string()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex, PoisonError};

    /// Remembers lines, and takes none while somebody holds the lock.
    #[derive(Clone, Default)]
    struct Journal(Arc<Mutex<Vec<String>>>);

    impl Log for Journal {
        fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            let mut fields = Fields::default();
            record.key_values().visit(&mut fields).unwrap();
            let line = format!("{} {} {:?}", record.level(), record.args(), fields.0);
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }

        fn flush(&self) {}
    }

    fn line(n: usize) -> Line {
        let pairs = [("OUTCOME", Value::from("exit")), ("PERSON", Value::from(3))];
        let sentence = format!("line {n}");
        let args = format_args!("{sentence}");
        Line::of(&log::Record::builder().level(Level::Info).args(args).key_values(&pairs.as_slice()).build())
    }

    #[test]
    fn a_line_is_written_with_its_fields() {
        let journal = Journal::default();
        let log = Behind::new(journal.clone()).unwrap();
        log.put(line(1));
        log.flush();
        assert_eq!(*journal.0.lock().unwrap(), [r#"INFO line 1 [("OUTCOME", "exit"), ("PERSON", "3")]"#]);
    }

    #[test]
    fn a_journal_that_hangs_keeps_nobody_waiting_and_hears_how_many_lines_it_missed() {
        let journal = Journal::default();
        let log = Behind::new(journal.clone()).unwrap();
        let hung = journal.0.lock().unwrap();
        // One may be on its way already, between queue and journal.
        for n in 0..MAX_LINES + 11 {
            log.put(line(n));
        }
        let lost = log.lost.load(Ordering::Relaxed);
        assert!((10..=11).contains(&lost), "{lost}");
        drop(hung);
        log.flush();
        log.put(line(999));
        log.flush();
        let lines = journal.0.lock().unwrap();
        let told: Vec<_> = lines.iter().rev().take(2).rev().map(|line| line.split(" [").next().unwrap()).collect();
        assert_eq!(
            told,
            [&format!("ERROR {lost} lines are lost: they came faster than they could be written"), "INFO line 999"]
        );
        assert_eq!(lines.len() as u64, MAX_LINES as u64 + 11 - lost + 2);
    }
}
