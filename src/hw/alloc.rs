//! An allocator that counts, so that "a frame costs no allocation" is a number and not a hope.
//!
//! The binary installs it: `#[global_allocator] static ALLOCATOR: Counting = Counting;`. It costs two additions an
//! allocation and nothing else.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

static ALL: AtomicU64 = AtomicU64::new(0);

thread_local! {
    // Const and without a destructor: reading it never allocates, nor fails while a thread ends.
    static HERE: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator with a count of allocations. Growing and shrinking count as one each, freeing does not.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counting;

/// Allocations of the whole process so far; 0 where [`Counting`] isn't installed.
pub fn allocations() -> u64 {
    ALL.load(Ordering::Relaxed)
}

/// Allocations of the calling thread so far; 0 where [`Counting`] isn't installed.
pub fn allocations_here() -> u64 {
    HERE.with(Cell::get)
}

fn count() {
    ALL.fetch_add(1, Ordering::Relaxed);
    HERE.with(|n| n.set(n.get().wrapping_add(1)));
}

// SAFETY: every call is passed on unchanged to `System`, which keeps the contract; counting touches no memory of the
// caller's and does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises about `layout` are System's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: `at` came from `System` through us with this `layout`, as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_through_it_is_counted_once_and_freed_free() {
        let layout = Layout::from_size_align(64, 8).unwrap();
        let before = allocations_here();
        // SAFETY: a layout of non-zero size, and each pointer is used with the layout it was made with.
        unsafe {
            let at = Counting.alloc(layout);
            assert!(!at.is_null());
            let at = Counting.realloc(at, layout, 128);
            Counting.dealloc(at, Layout::from_size_align(128, 8).unwrap());
        }
        assert_eq!(allocations_here() - before, 2);
        assert!(allocations() >= 2);
    }

    #[test]
    fn another_thread_has_its_own_count() {
        let before = allocations_here();
        let layout = Layout::from_size_align(8, 8).unwrap();
        std::thread::spawn(move || {
            // SAFETY: a layout of non-zero size, freed with the same.
            unsafe { Counting.dealloc(Counting.alloc(layout), layout) };
            assert!(allocations_here() >= 1);
        })
        .join()
        .unwrap();
        // Where a test binary installs Counting, spawning counts here too; our direct call does not.
        assert!(allocations_here() - before < 64);
    }
}
