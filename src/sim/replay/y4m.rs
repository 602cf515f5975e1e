//! YUV4MPEG2, the uncompressed video of mjpegtools (yuv4mpeg(5)): one line of header, then for each frame a line and
//! its planes. 8-bit 4:2:0 becomes NV12, 4:2:2 YUYV, and mono GREY; all else is refused with how to convert it.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::{ReplayError, Source, Trouble};
use crate::frame::{Geometry, PixelFormat};
use crate::time::Duration;

/// Longest line of a header; real ones take a hundred bytes.
const MAX_LINE: usize = 512;
const MAGIC: &str = "YUV4MPEG2";
const FRAME: &str = "FRAME";
/// Where a file says that it doesn't know its rate.
const DEFAULT_RATE: (u32, u32) = (25, 1);
/// A rate outside this range is a broken header.
const RATES: std::ops::RangeInclusive<f64> = 0.01..=1000.0;

/// Why bytes are no Y4M.
#[derive(Debug, thiserror::Error)]
pub(super) enum Y4mError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the file breaks off within a frame")]
    Truncated,
    #[error("{0}")]
    Malformed(String),
}

/// How samples of colour are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chroma {
    /// One of each for four pixels; where in them it lies (jpeg, mpeg2, paldv) makes no difference to a face.
    Yuv420,
    /// One of each for two pixels.
    Yuv422,
    Mono,
}

/// What the first line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub geometry: Geometry,
    pub interval: Duration,
    chroma: Chroma,
    full_range: bool,
}

impl Header {
    /// Parses `YUV4MPEG2 W640 H480 F30:1 Ip A1:1 C420jpeg XYSCSS=420JPEG`.
    fn parse(line: &str) -> Result<Self, Y4mError> {
        let malformed = |what: &str| Y4mError::Malformed(format!("its first line {what}"));
        let mut words = line.split(' ');
        if words.next() != Some(MAGIC) {
            return Err(malformed("is no YUV4MPEG2 header"));
        }
        let (mut width, mut height, mut rate) = (None, None, DEFAULT_RATE);
        let (mut chroma, mut full_range) = (Chroma::Yuv420, None);
        for word in words.filter(|word| !word.is_empty()) {
            let (tag, value) = word.split_at_checked(1).ok_or_else(|| malformed("is not ASCII"))?;
            match tag {
                "W" => width = value.parse().ok(),
                "H" => height = value.parse().ok(),
                "F" => rate = parse_rate(value).ok_or_else(|| malformed(&format!("has the rate {value}")))?,
                "I" if !matches!(value, "p" | "?") => {
                    return Err(malformed("says interlaced; `ffmpeg -i IN -vf yadif OUT.y4m` makes it progressive"));
                }
                "C" => chroma = parse_chroma(value).map_err(Y4mError::Malformed)?,
                "X" if value == "COLORRANGE=FULL" => full_range = Some(true),
                "X" if value == "COLORRANGE=LIMITED" => full_range = Some(false),
                // Aspect of a pixel, comments, and what later versions may add.
                _ => {}
            }
        }
        let (Some(width), Some(height)) = (width, height) else {
            return Err(malformed("has no width and height"));
        };
        let format = match chroma {
            Chroma::Yuv420 => PixelFormat::Nv12,
            Chroma::Yuv422 => PixelFormat::Yuyv,
            Chroma::Mono => PixelFormat::Grey,
        };
        let geometry = Geometry::packed(format, width, height);
        geometry.required_bytes().map_err(|e| malformed(&format!("makes no sense: {e}")))?;
        let interval = Duration::from_secs_f64(f64::from(rate.1) / f64::from(rate.0));
        // ffmpeg writes grey in full range and says nothing about it.
        let full_range = full_range.unwrap_or(chroma == Chroma::Mono);
        Ok(Self { geometry, interval, chroma, full_range })
    }

    /// Bytes of the planes of one frame.
    fn frame_bytes(&self) -> usize {
        let pixels = self.geometry.width as usize * self.geometry.height as usize;
        match self.chroma {
            Chroma::Yuv420 => pixels / 2 * 3,
            Chroma::Yuv422 => pixels * 2,
            Chroma::Mono => pixels,
        }
    }
}

/// `30000:1001`; `0:0` is unknown.
fn parse_rate(text: &str) -> Option<(u32, u32)> {
    let (numerator, denominator) = text.split_once(':')?;
    match (numerator.parse().ok()?, denominator.parse().ok()?) {
        (0, 0) => Some(DEFAULT_RATE),
        (n, d) => RATES.contains(&(f64::from(n) / f64::from(d))).then_some((n, d)),
    }
}

fn parse_chroma(text: &str) -> Result<Chroma, String> {
    match text {
        "420" | "420jpeg" | "420mpeg2" | "420paldv" => Ok(Chroma::Yuv420),
        "422" => Ok(Chroma::Yuv422),
        "mono" => Ok(Chroma::Mono),
        other => Err(format!("its colour is C{other}; `ffmpeg -i IN -pix_fmt yuv420p OUT.y4m` makes it C420")),
    }
}

/// Takes frames out of a stream of bytes. An error of the stream, such as a timeout, leaves it where it was, so that
/// the next call goes on; nothing is allocated after the header.
pub(super) struct Decoder {
    header: Header,
    line: heapless::Vec<u8, MAX_LINE>,
    planes: Vec<u8>,
    /// Bytes of `planes` that have come; `None` while the frame's line is awaited.
    filled: Option<usize>,
    picture: Vec<u8>,
    luma: Option<[u8; 256]>,
    chroma: Option<[u8; 256]>,
}

impl Decoder {
    /// Reads the header.
    pub(super) fn new(input: &mut impl Read) -> Result<Self, Y4mError> {
        let mut line = heapless::Vec::new();
        if !read_line(input, &mut line)? {
            return Err(Y4mError::Malformed("the file is empty".to_owned()));
        }
        let text =
            std::str::from_utf8(&line).map_err(|_| Y4mError::Malformed("its first line is not text".to_owned()))?;
        let header = Header::parse(text)?;
        line.clear();
        let size = header.geometry.required_bytes().map_err(|e| Y4mError::Malformed(e.to_string()))?;
        // Frames are limited range, but grey is full; see PixelFormat.
        let (luma, chroma) = match (header.chroma, header.full_range) {
            (Chroma::Mono, false) => (Some(table(|y| (y - 16.0) * 255.0 / 219.0)), None),
            (Chroma::Mono, true) | (_, false) => (None, None),
            (_, true) => {
                (Some(table(|y| 16.0 + y * 219.0 / 255.0)), Some(table(|c| 128.0 + (c - 128.0) * 224.0 / 255.0)))
            }
        };
        let planes = vec![0; header.frame_bytes()];
        Ok(Self { header, line, planes, filled: None, picture: vec![0; size], luma, chroma })
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    pub(super) fn picture(&self) -> (Geometry, &[u8]) {
        (self.header.geometry, &self.picture)
    }

    /// The next frame; `false` at an end between frames.
    pub(super) fn advance(&mut self, input: &mut impl Read) -> Result<bool, Y4mError> {
        let mut filled = match self.filled {
            Some(filled) => filled,
            None => {
                if !read_line(input, &mut self.line)? {
                    return Ok(false);
                }
                let is_frame =
                    self.line.starts_with(FRAME.as_bytes()) && matches!(self.line.get(FRAME.len()), None | Some(b' '));
                self.line.clear();
                if !is_frame {
                    return Err(Y4mError::Malformed("a frame does not begin with FRAME".to_owned()));
                }
                0
            }
        };
        while filled < self.planes.len() {
            self.filled = Some(filled);
            match input.read(&mut self.planes[filled..]) {
                Ok(0) => return Err(Y4mError::Truncated),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.filled = None;
        self.repack();
        Ok(true)
    }

    /// Forgets a frame that was begun: the stream is at its beginning again.
    fn restart(&mut self) {
        self.filled = None;
        self.line.clear();
    }

    /// From planes to the layout of [`PixelFormat`], and to its range.
    fn repack(&mut self) {
        if let Some(table) = &self.luma {
            let pixels = self.header.geometry.width as usize * self.header.geometry.height as usize;
            let (luma, chroma) = self.planes.split_at_mut(pixels);
            luma.iter_mut().for_each(|y| *y = table[usize::from(*y)]);
            if let Some(table) = &self.chroma {
                chroma.iter_mut().for_each(|c| *c = table[usize::from(*c)]);
            }
        }
        let pixels = self.header.geometry.width as usize * self.header.geometry.height as usize;
        let (y, uv) = self.planes.split_at(pixels);
        let (u, v) = uv.split_at(uv.len() / 2);
        match self.header.chroma {
            Chroma::Mono => self.picture.copy_from_slice(y),
            Chroma::Yuv420 => {
                let (luma, chroma) = self.picture.split_at_mut(pixels);
                luma.copy_from_slice(y);
                for ((out, u), v) in chroma.chunks_exact_mut(2).zip(u).zip(v) {
                    out.copy_from_slice(&[*u, *v]);
                }
            }
            Chroma::Yuv422 => {
                for (((out, y), u), v) in self.picture.chunks_exact_mut(4).zip(y.chunks_exact(2)).zip(u).zip(v) {
                    out.copy_from_slice(&[y[0], *u, y[1], *v]);
                }
            }
        }
    }
}

fn table(of: impl Fn(f32) -> f32) -> [u8; 256] {
    std::array::from_fn(|i| of(i as f32).round().clamp(0.0, 255.0) as u8)
}

/// Adds the bytes up to a line feed to `line`; `false` at an end before the first. What has come stays in `line` when
/// the stream fails. One byte at a time: the stream is buffered.
fn read_line(input: &mut impl Read, line: &mut heapless::Vec<u8, MAX_LINE>) -> Result<bool, Y4mError> {
    let mut byte = [0];
    loop {
        match input.read(&mut byte) {
            Ok(0) if line.is_empty() => return Ok(false),
            Ok(0) => return Err(Y4mError::Truncated),
            Ok(_) if byte[0] == b'\n' => return Ok(true),
            Ok(_) => line.push(byte[0]).map_err(|_| {
                Y4mError::Malformed(format!("a line is longer than {MAX_LINE} bytes: this is no YUV4MPEG2"))
            })?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// A .y4m on disk.
pub(super) struct Y4mFile {
    input: BufReader<File>,
    decoder: Decoder,
    first_frame: u64,
    is_over: bool,
}

impl Y4mFile {
    pub(super) fn open(path: &Path) -> Result<Self, ReplayError> {
        let unreadable = |source| ReplayError::Unreadable { path: path.to_owned(), source };
        let mut input = BufReader::new(File::open(path).map_err(unreadable)?);
        let decoder = Decoder::new(&mut input).map_err(|e| match e {
            Y4mError::Io(source) => unreadable(source),
            other => ReplayError::Malformed { path: path.to_owned(), reason: other.to_string() },
        })?;
        let first_frame = input.stream_position().map_err(unreadable)?;
        Ok(Self { input, decoder, first_frame, is_over: false })
    }
}

impl Source for Y4mFile {
    fn advance(&mut self, _timeout: Duration) -> Result<bool, Trouble> {
        if self.is_over {
            return Ok(false);
        }
        self.decoder.advance(&mut self.input).map_err(|error| {
            // Where the next frame begins is anyone's guess.
            self.is_over = true;
            match error {
                Y4mError::Io(e) => Trouble::Dead(e.to_string()),
                other => Trouble::Bad(other.to_string()),
            }
        })
    }

    fn rewind(&mut self) -> Result<(), Trouble> {
        self.decoder.restart();
        self.is_over = false;
        let sought = self.input.seek(SeekFrom::Start(self.first_frame));
        sought.map(drop).map_err(|e| Trouble::Dead(e.to_string()))
    }

    fn picture(&self) -> (Geometry, &[u8]) {
        self.decoder.picture()
    }

    fn interval(&self) -> Duration {
        self.decoder.header().interval
    }

    fn describe(&self) -> String {
        let Geometry { width, height, format, .. } = self.decoder.header().geometry;
        format!("Y4M, {width}x{height} {format:?} at {:.2} a second", 1.0 / self.interval().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<Vec<u8>, Y4mError> {
        let mut input = bytes;
        let mut decoder = Decoder::new(&mut input)?;
        let mut all = Vec::new();
        while decoder.advance(&mut input)? {
            all.extend_from_slice(decoder.picture().1);
        }
        Ok(all)
    }

    /// A file of the given header and frames.
    fn file(header: &str, frames: &[&[u8]]) -> Vec<u8> {
        let mut bytes = format!("{header}\n").into_bytes();
        for frame in frames {
            bytes.extend_from_slice(b"FRAME\n");
            bytes.extend_from_slice(frame);
        }
        bytes
    }

    #[test]
    fn planes_become_the_layouts_of_a_camera() {
        let nv12 =
            decode(&file("YUV4MPEG2 W4 H2 F30:1 C420jpeg", &[&[1, 2, 3, 4, 5, 6, 7, 8, 20, 21, 30, 31]])).unwrap();
        assert_eq!(nv12, [1, 2, 3, 4, 5, 6, 7, 8, 20, 30, 21, 31]);
        let yuyv = decode(&file("YUV4MPEG2 W4 H1 F30:1 C422", &[&[1, 2, 3, 4, 20, 21, 30, 31]])).unwrap();
        assert_eq!(yuyv, [1, 20, 2, 30, 3, 21, 4, 31]);
        let grey = decode(&file("YUV4MPEG2 W3 H1 F30:1 Cmono", &[&[1, 2, 3], &[4, 5, 6]])).unwrap();
        assert_eq!(grey, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn full_range_is_brought_to_the_range_of_a_camera() {
        let full = "YUV4MPEG2 W2 H2 F30:1 C420jpeg XCOLORRANGE=FULL";
        assert_eq!(decode(&file(full, &[&[0, 255, 128, 0, 0, 255]])).unwrap(), [16, 235, 126, 16, 16, 240]);
        let limited = "YUV4MPEG2 W3 H1 F30:1 Cmono XCOLORRANGE=LIMITED";
        assert_eq!(decode(&file(limited, &[&[16, 235, 0]])).unwrap(), [0, 255, 0]);
    }

    #[test]
    fn a_header_is_read_in_any_order_and_what_is_unknown_passed_over() {
        let header = Header::parse("YUV4MPEG2 H480 XSOMETHING A1:1 W640 Ip F30000:1001").unwrap();
        assert_eq!((header.geometry.width, header.geometry.height), (640, 480));
        assert_eq!(header.interval, Duration::from_nanos(33_366_667));
        assert_eq!(Header::parse("YUV4MPEG2 W2 H2 F0:0").unwrap().interval, Duration::from_millis(40));
    }

    #[test]
    fn a_header_that_makes_no_sense_is_a_sentence() {
        for (header, expected) in [
            ("RIFF", "no YUV4MPEG2"),
            ("YUV4MPEG2 W640", "no width and height"),
            ("YUV4MPEG2 W-1 H2", "no width and height"),
            ("YUV4MPEG2 W99999 H2", "1 to 8192"),
            ("YUV4MPEG2 W3 H2", "even sides"),
            ("YUV4MPEG2 W2 H2 F0:1", "the rate 0:1"),
            ("YUV4MPEG2 W2 H2 F1:0", "the rate 1:0"),
            ("YUV4MPEG2 W2 H2 It", "yadif"),
            ("YUV4MPEG2 W2 H2 C444", "-pix_fmt yuv420p"),
            ("YUV4MPEG2 W2 H2 C420p10", "-pix_fmt yuv420p"),
            ("YUV4MPEG2 W2 H2 \u{e9}", "not ASCII"),
        ] {
            let error = Header::parse(header).unwrap_err().to_string();
            assert!(error.contains(expected), "{header}: {error}");
        }
    }

    #[test]
    fn a_file_cut_anywhere_gives_its_whole_frames_and_no_panic() {
        let whole = file("YUV4MPEG2 W2 H2 F30:1", &[&[1; 6], &[2; 6]]);
        let header = whole.len() - 2 * 12;
        for cut in 0..whole.len() {
            let result = decode(&whole[..cut]);
            let between_frames = cut >= header && (cut - header).is_multiple_of(12);
            assert_eq!(result.is_ok(), between_frames, "cut at {cut}: {result:?}");
        }
    }

    #[test]
    fn an_endless_line_and_a_lost_frame_mark_are_refused() {
        assert!(decode(&[b'x'; 4096]).unwrap_err().to_string().contains("longer than 512"));
        let mut bytes = file("YUV4MPEG2 W2 H2 F30:1", &[&[1; 6]]);
        bytes.extend_from_slice(b"FRAMES\n");
        assert!(decode(&bytes).unwrap_err().to_string().contains("begin with FRAME"));
    }

    /// Gives one byte, then has none for a while, then one again.
    struct Stuttering<'a>(&'a [u8], bool);

    impl Read for Stuttering<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.0.read(&mut into[..1])
        }
    }

    #[test]
    fn a_stream_that_stutters_loses_nothing() {
        let bytes = file("YUV4MPEG2 W2 H2 F30:1", &[&[1; 6], &[2; 6]]);
        let (header, frames) = bytes.split_at(bytes.len() - 24);
        let mut decoder = Decoder::new(&mut &*header).unwrap();
        let mut input = Stuttering(frames, false);
        let mut pictures = Vec::new();
        for _ in 0..200 {
            match decoder.advance(&mut input) {
                Ok(true) => pictures.push(decoder.picture().1.to_vec()),
                Ok(false) => break,
                Err(Y4mError::Io(e)) if e.kind() == io::ErrorKind::TimedOut => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(pictures, [[1; 6], [2; 6]]);
    }
}
