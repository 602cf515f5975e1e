//! Memory whose end is watched: a byte read or written beyond it stops the test.

#[cfg(not(miri))]
use std::ops::{Deref, DerefMut};

/// A copy that ends with a page of memory, the next of which nobody may touch.
#[cfg(not(miri))]
pub(super) fn guarded(bytes: &[u8]) -> Guarded {
    Guarded::new(bytes)
}

/// A copy: Miri watches all memory.
#[cfg(miri)]
pub(super) fn guarded(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

#[cfg(not(miri))]
pub(super) struct Guarded {
    pages: *mut u8,
    mapped: usize,
    start: usize,
    len: usize,
}

#[cfg(not(miri))]
impl Guarded {
    fn new(bytes: &[u8]) -> Self {
        // SAFETY: asking for the size of a page is always allowed.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).expect("a size");
        let room = bytes.len().next_multiple_of(page);
        let (mapped, protection) = (room + page, libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: new memory, wherever the kernel has it.
        let pages = unsafe {
            libc::mmap(std::ptr::null_mut(), mapped, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
        };
        assert_ne!(pages, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        // SAFETY: the last page of what was mapped.
        let closed = unsafe { libc::mprotect(pages.byte_add(room), page, libc::PROT_NONE) };
        assert_eq!(closed, 0, "{}", std::io::Error::last_os_error());
        let mut guarded = Self { pages: pages.cast(), mapped, start: room - bytes.len(), len: bytes.len() };
        guarded.copy_from_slice(bytes);
        guarded
    }
}

#[cfg(not(miri))]
impl Deref for Guarded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: mapped for reading, zero or written, and ours alone.
        unsafe { std::slice::from_raw_parts(self.pages.add(self.start), self.len) }
    }
}

#[cfg(not(miri))]
impl DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: mapped for reading and writing, and ours alone.
        unsafe { std::slice::from_raw_parts_mut(self.pages.add(self.start), self.len) }
    }
}

#[cfg(not(miri))]
impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: what was mapped, and nobody borrows it any more.
        unsafe { libc::munmap(self.pages.cast(), self.mapped) };
    }
}
