//! Any video, through an installed ffmpeg that turns it into Y4M on a pipe: nothing of its formats is our business.

use std::ffi::OsString;
use std::io::{self, BufReader, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Instant as Patience;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::y4m::{Decoder, Y4mError};
use super::{ReplayError, Source, Trouble};
use crate::frame::Geometry;
use crate::time::Duration;

/// How long ffmpeg may take to find a picture in a file.
const MAX_START: Duration = Duration::from_secs(20);
/// How long it may take to end once it has closed its output, and how often that is looked at.
const MAX_END: Duration = Duration::from_secs(2);
const END_POLL: Duration = Duration::from_millis(5);
/// How much of what ffmpeg complains of is kept.
const MAX_COMPLAINT: usize = 2048;
/// Sides made even, as 4:2:0 needs, and colours as a camera has them: BT.601, limited range.
const FILTER: &str = "scale=trunc(iw/2)*2:trunc(ih/2)*2:out_color_matrix=bt601:out_range=tv,format=yuv420p";

/// A video that ffmpeg decodes as fast as it is read.
pub(super) struct Video {
    path: PathBuf,
    player: Player,
}

impl Video {
    pub(super) fn open(path: &Path) -> Result<Self, ReplayError> {
        Ok(Self { path: path.to_owned(), player: Player::start("ffmpeg", path)? })
    }
}

impl Source for Video {
    fn advance(&mut self, timeout: Duration) -> Result<bool, Trouble> {
        self.player.advance(timeout)
    }

    fn rewind(&mut self) -> Result<(), Trouble> {
        self.player = Player::start("ffmpeg", &self.path).map_err(|e| Trouble::Dead(e.to_string()))?;
        Ok(())
    }

    fn picture(&self) -> (Geometry, &[u8]) {
        self.player.decoder.picture()
    }

    fn interval(&self) -> Duration {
        self.player.decoder.header().interval
    }

    fn describe(&self) -> String {
        let Geometry { width, height, .. } = self.player.decoder.header().geometry;
        format!("video through ffmpeg, {width}x{height} at {:.2} a second", 1.0 / self.interval().as_secs_f64())
    }
}

/// One run of ffmpeg.
struct Player {
    process: Process,
    output: BufReader<Pipe>,
    decoder: Decoder,
    is_over: bool,
}

impl Player {
    fn start(program: &str, path: &Path) -> Result<Self, ReplayError> {
        let unreadable = |source| ReplayError::Unreadable { path: path.to_owned(), source };
        let mut child = command(program, path).spawn().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => ReplayError::NoFfmpeg(path.to_owned()),
            _ => unreadable(e),
        })?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut process = Process { child, complaint: stderr.map(listen) };
        let stdout = stdout.ok_or_else(|| unreadable(io::Error::other("ffmpeg was started without a pipe")))?;
        let mut output = BufReader::new(Pipe { stdout, until: Patience::now() + MAX_START });
        match Decoder::new(&mut output) {
            Ok(decoder) => Ok(Self { process, output, decoder, is_over: false }),
            Err(Y4mError::Io(e)) if e.kind() == io::ErrorKind::TimedOut => {
                let reason = format!("ffmpeg found no picture in {MAX_START:?}");
                Err(ReplayError::Malformed { path: path.to_owned(), reason })
            }
            Err(error) => {
                // What ffmpeg says of the video tells more than that its output is empty.
                let reason = process.end().unwrap_or_else(|| format!("what ffmpeg makes of it: {error}"));
                Err(ReplayError::Malformed { path: path.to_owned(), reason })
            }
        }
    }

    fn advance(&mut self, timeout: Duration) -> Result<bool, Trouble> {
        if self.is_over {
            return Ok(false);
        }
        self.output.get_mut().until = Patience::now() + timeout;
        match self.decoder.advance(&mut self.output) {
            Ok(true) => Ok(true),
            Ok(false) => {
                self.is_over = true;
                self.process.end().map_or(Ok(false), |complaint| Err(Trouble::Dead(complaint)))
            }
            Err(Y4mError::Io(e)) if e.kind() == io::ErrorKind::TimedOut => Err(Trouble::Timeout),
            Err(error) => {
                self.is_over = true;
                Err(Trouble::Dead(self.process.end().unwrap_or_else(|| error.to_string())))
            }
        }
    }
}

/// Local files only: no protocol that reaches a network, and no name that is taken for an option or another protocol.
fn command(program: &str, path: &Path) -> Command {
    let mut file = OsString::from("file:");
    file.push(path);
    let mut command = Command::new(program);
    command
        .args(["-nostdin", "-hide_banner", "-loglevel", "error", "-protocol_whitelist", "file,pipe", "-i"])
        .arg(file)
        .args(["-map", "0:v:0", "-vf", FILTER, "-f", "yuv4mpegpipe", "pipe:1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The child, which does not outlive us, and a thread that keeps its standard error from filling up.
struct Process {
    child: Child,
    complaint: Option<JoinHandle<String>>,
}

impl Process {
    /// Waits for ffmpeg, whose output has ended or is beyond us, and tells what went wrong; `None` where nothing did.
    fn end(&mut self) -> Option<String> {
        let given_up = Patience::now() + MAX_END;
        while matches!(self.child.try_wait(), Ok(None)) && Patience::now() < given_up {
            std::thread::sleep(END_POLL);
        }
        // One that still runs waits for us to read what we can't make sense of.
        let _it_may_have_ended = self.child.kill();
        let status = self.child.wait();
        let complaint = self.complaint.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        if status.as_ref().is_ok_and(ExitStatus::success) {
            return None;
        }
        Some(match (complaint.trim(), status) {
            ("", Ok(status)) => format!("ffmpeg failed ({status})"),
            ("", Err(error)) => format!("ffmpeg failed ({error})"),
            (said, _) => format!("ffmpeg says: {}", said.replace('\n', "; ")),
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _it_may_have_ended = self.child.kill();
        let _there_is_nobody_to_tell = self.child.wait();
    }
}

/// Keeps the first [`MAX_COMPLAINT`] bytes and reads on to the end.
fn listen(mut stderr: ChildStderr) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let mut chunk = [0; 512];
        while let Ok(n @ 1..) = stderr.read(&mut chunk) {
            let room = MAX_COMPLAINT - kept.len();
            kept.extend_from_slice(&chunk[..n.min(room)]);
        }
        String::from_utf8_lossy(&kept).into_owned()
    })
}

/// ffmpeg's output, read with patience. A child's time is the machine's, whatever clock the simulation has.
struct Pipe {
    stdout: ChildStdout,
    until: Patience,
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Patience::now());
        let limit = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut fds = [PollFd::from_borrowed_fd(self.stdout.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&limit)) {
            Ok(0) => Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => self.stdout.read(into),
            Err(e) => Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_ffmpeg_the_package_is_named() {
        if crate::testing::is_emulated() {
            return crate::testing::skipped("under an emulator a program that is missing looks like one that failed");
        }
        let error = Player::start("ffmpeg-that-is-not-installed", Path::new("video.mp4")).err().unwrap();
        assert!(error.to_string().contains("apt install ffmpeg"), "{error}");
    }

    #[test]
    fn a_program_that_says_nothing_is_a_sentence() {
        let error = Player::start("false", Path::new("video.mp4")).err().unwrap();
        assert!(error.to_string().contains("ffmpeg failed (exit status: 1)"), "{error}");
        let error = Player::start("true", Path::new("video.mp4")).err().unwrap();
        assert!(error.to_string().contains("the file is empty"), "{error}");
    }
}
