//! Streaming by mapped buffers.
//!
//! Crate v4l has a stream of its own, which does not fit a door: after a timeout it queues the same buffer again and
//! fails for good, it waits for ever by default, hands out whole buffers whatever they hold, and panics when it is
//! dropped after an error, twice if both of its parts fail, which aborts and would leave the strike as it is. So the
//! five calls that streaming takes are made here, on the crate's structures and numbers; dropping never panics.
//! (V4L2 specification, "Streaming I/O (Memory Mapping)".)

#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::ptr::NonNull;
use std::sync::Arc;

use v4l::device::Handle;
use v4l::v4l_sys::{
    V4L2_BUF_FLAG_ERROR, V4L2_BUF_FLAG_TIMESTAMP_MASK, V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC,
    v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE, v4l2_buffer, v4l2_memory_V4L2_MEMORY_MMAP, v4l2_requestbuffers,
};
use v4l::v4l2::{self, vidioc};

use super::stamp;
use crate::time::Duration;

/// Buffers that are asked for: one is read, one is filled, two wait in between.
const BUFFERS: u32 = 4;
/// Most buffers that a driver may insist on (VIDEO_MAX_FRAME of videodev2.h).
const MAX_BUFFERS: usize = 32;
/// A driver may wake us for nothing; one that does so again and again would keep a core busy.
const MAX_EMPTY_WAKES: u32 = 8;

/// A running stream. At most one buffer is ours; all others are the driver's.
pub(super) struct Stream {
    // Unmapped before the descriptor closes: fields drop in order.
    maps: heapless::Vec<Map, MAX_BUFFERS>,
    handle: Arc<Handle>,
    /// The buffer that is ours.
    held: Option<u32>,
    empty_wakes: u32,
}

/// What a wait gave.
pub(super) enum Take<'a> {
    Buffer(Buffer<'a>),
    /// No picture in time.
    Nothing,
}

/// A buffer that the driver has filled.
pub(super) struct Buffer<'a> {
    /// Cut to what the driver says it has written.
    pub data: &'a [u8],
    /// The driver marks the data as corrupt.
    pub flagged: bool,
    /// Nanoseconds of CLOCK_MONOTONIC, where that is what the driver stamps with.
    pub stamp: Option<u64>,
    pub sequence: u32,
}

impl Stream {
    pub(super) fn start(handle: Arc<Handle>) -> io::Result<Self> {
        let mut stream = Self { maps: heapless::Vec::new(), handle, held: None, empty_wakes: 0 };
        let count = stream.request_buffers()?;
        for index in 0..count {
            let map = stream.map(index)?;
            if stream.maps.push(map).is_err() {
                return Err(io::Error::other(format!("the driver insists on more than {MAX_BUFFERS} buffers")));
            }
        }
        for index in 0..count {
            stream.queue(index)?;
        }
        stream.switch(vidioc::VIDIOC_STREAMON)?;
        Ok(stream)
    }

    /// Gives the last buffer back and waits at most `timeout` for another, the newest that there is. After an error the
    /// stream is to be dropped.
    pub(super) fn take(&mut self, timeout: Duration) -> io::Result<Take<'_>> {
        if let Some(index) = self.held.take() {
            self.queue(index)?;
        }
        let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        match self.handle.poll(libc::POLLIN, millis) {
            Ok(0) => return Ok(Take::Nothing),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(Take::Nothing),
            other => other?,
        };
        let Some(buffer) = self.newest()? else {
            // Woken for nothing.
            self.empty_wakes += 1;
            if self.empty_wakes > MAX_EMPTY_WAKES {
                return Err(io::Error::other("the driver says again and again that it has a picture, and has none"));
            }
            return Ok(Take::Nothing);
        };
        self.empty_wakes = 0;
        let Some(map) = self.maps.get(buffer.index as usize) else {
            return Err(io::Error::other(format!("the driver gave buffer {}, which does not exist", buffer.index)));
        };
        self.held = Some(buffer.index);
        let monotonic = buffer.flags & V4L2_BUF_FLAG_TIMESTAMP_MASK == V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
        // The fields are narrower where time_t is.
        #[allow(clippy::useless_conversion)]
        let (seconds, micros) = (i64::from(buffer.timestamp.tv_sec), i64::from(buffer.timestamp.tv_usec));
        Ok(Take::Buffer(Buffer {
            data: map.first(buffer.bytesused as usize),
            flagged: is_flagged(buffer.flags),
            stamp: monotonic.then(|| stamp::nanos(seconds, micros)).flatten(),
            sequence: buffer.sequence,
        }))
    }

    /// The last of the buffers that are filled, so that a reader who was held up gets no backlog, and of those that the
    /// driver doesn't call corrupt where there is one; the others go back. `None` where none is filled.
    fn newest(&self) -> io::Result<Option<v4l2_buffer>> {
        let mut newest = None;
        for _ in 0..self.maps.len() {
            let mut buffer = descriptor(0);
            match self.call(vidioc::VIDIOC_DQBUF, &mut buffer) {
                Ok(()) => {
                    let is_worse = newest.is_some_and(|before: v4l2_buffer| is_worse(buffer.flags, before.flags));
                    let back = if is_worse { Some(buffer) } else { newest.replace(buffer) };
                    if let Some(back) = back {
                        self.queue(back.index)?;
                    }
                }
                // The descriptor doesn't block.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(newest)
    }

    fn request_buffers(&self) -> io::Result<u32> {
        // SAFETY: a C structure of integers, for which zero is a value.
        let mut request: v4l2_requestbuffers = unsafe { mem::zeroed() };
        request.count = BUFFERS;
        request.type_ = v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE;
        request.memory = v4l2_memory_V4L2_MEMORY_MMAP;
        self.call(vidioc::VIDIOC_REQBUFS, &mut request)?;
        // With one buffer the driver has none to fill while we read.
        if request.count < 2 {
            return Err(io::Error::other(format!("the driver has memory for {} buffers, 2 are needed", request.count)));
        }
        Ok(request.count)
    }

    fn map(&self, index: u32) -> io::Result<Map> {
        let mut buffer = descriptor(index);
        self.call(vidioc::VIDIOC_QUERYBUF, &mut buffer)?;
        let length = buffer.length as usize;
        // SAFETY: for memory of kind MMAP, which the descriptor says, the kernel has filled in `offset`.
        let offset = unsafe { buffer.m.offset };
        // SAFETY: no address is asked for, so nothing that exists is mapped over; the kernel checks offset and length.
        let start = unsafe {
            v4l2::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                self.handle.fd(),
                offset as libc::off_t,
            )
        }?;
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("a buffer was mapped at zero"))?;
        Ok(Map { start, length })
    }

    fn queue(&self, index: u32) -> io::Result<()> {
        self.call(vidioc::VIDIOC_QBUF, &mut descriptor(index))
    }

    fn switch(&self, on_or_off: vidioc::_IOC_TYPE) -> io::Result<()> {
        let mut kind = v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE;
        self.call(on_or_off, &mut kind)
    }

    /// One call; `request` must be one whose argument is a `T`, which the five callers above see to.
    fn call<T>(&self, request: vidioc::_IOC_TYPE, argument: &mut T) -> io::Result<()> {
        // SAFETY: the descriptor is open as long as the handle lives, and `argument` is a valid, exclusive structure of
        // the type and size that the request's number encodes.
        unsafe { v4l2::ioctl(self.handle.fd(), request, std::ptr::from_mut(argument).cast()) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // An unplugged camera refuses this, and closing the descriptor, which follows, stops any other.
        let _closing_stops_it_too = self.switch(vidioc::VIDIOC_STREAMOFF);
    }
}

/// What every call about a buffer starts from.
fn descriptor(index: u32) -> v4l2_buffer {
    // SAFETY: a C structure of integers and unions of integers and pointers, for which zero is a value.
    let mut buffer: v4l2_buffer = unsafe { mem::zeroed() };
    buffer.index = index;
    buffer.type_ = v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE;
    buffer.memory = v4l2_memory_V4L2_MEMORY_MMAP;
    buffer
}

fn is_flagged(flags: u32) -> bool {
    flags & V4L2_BUF_FLAG_ERROR != 0
}

/// Whether a buffer is corrupt and the one before it isn't, by their flags.
fn is_worse(flags: u32, before: u32) -> bool {
    is_flagged(flags) && !is_flagged(before)
}

/// A buffer of the driver's in our address space.
struct Map {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and only its owner reads it.
unsafe impl Send for Map {}

impl Map {
    /// The first `used` bytes. Called for the one buffer that is ours, and the stream is borrowed as long as they are,
    /// so that it can't be given back meanwhile.
    fn first(&self, used: usize) -> &[u8] {
        // SAFETY: `length` bytes from `start` are mapped as long as `self` lives, and the driver does not write into a
        // buffer between DQBUF and QBUF.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), used.min(self.length)) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: exactly what `mmap` gave, unmapped once; no slice outlives `self`.
        let _nothing_else_can_be_done = unsafe { v4l2::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_buffer_is_taken_but_no_corrupt_one_in_a_good_ones_place() {
        let (good, bad) = (V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC, V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC | V4L2_BUF_FLAG_ERROR);
        assert!(is_worse(bad, good));
        assert!(![(good, good), (good, bad), (bad, bad)].into_iter().any(|(flags, before)| is_worse(flags, before)));
    }
}
