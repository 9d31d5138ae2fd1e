//! Where Python's objects lie: in a region of its own, so that what all forks have in common is in large pages, and what each
//! of them makes for itself begins beside that and not in its gaps. A fork copies one entry for a large page and not 512; and
//! for an object that it makes it need not copy a page first. Where Python has objects of another allocator nothing changes.
//!
//! Python's own default gives memory of no certain place (`_PyObject_Arena`, `Objects/obmalloc.c`); the hook for another is
//! public since 3.4.
#![expect(unsafe_code, reason = "an allocator is made of pointers")]

use std::ffi::c_void;
use std::mem::transmute;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::param::page_size;

use crate::sys::{self, LARGE_PAGE};

/// Address space of the region, in bytes. What comes when it is full lies anywhere, as without it.
const REGION: usize = 64 << 20;

/// No object that Python has in arenas is larger, in bytes (`SMALL_REQUEST_THRESHOLD`).
const OBJECT_MAX: usize = 512;

/// Sizes of objects are rounded up to a multiple of it (`ALIGNMENT`).
const OBJECT_UNIT: usize = 16;

/// The most that is filled of one size, in bytes: some arenas, each a MiB.
const FILL_MAX: usize = 4 << 20;

/// `PyObjectArenaAllocator`.
#[repr(C)]
struct Allocator {
    context: *mut c_void,
    alloc: extern "C" fn(*mut c_void, usize) -> *mut c_void,
    free: extern "C" fn(*mut c_void, *mut c_void, usize),
}

/// The region's first byte; 0 where there is none.
static START: AtomicUsize = AtomicUsize::new(0);
/// The next byte that nobody has.
static NEXT: AtomicUsize = AtomicUsize::new(0);
/// The first byte after it.
static END: AtomicUsize = AtomicUsize::new(0);

/// Memory for one more arena. Interpreters with a lock of their own (Python 3.12) call it at the same time.
extern "C" fn alloc(_context: *mut c_void, size: usize) -> *mut c_void {
    next_of_region(size).unwrap_or_else(|| sys::map(size).unwrap_or(ptr::null_mut()))
}

fn next_of_region(size: usize) -> Option<*mut c_void> {
    let end = END.load(Ordering::Relaxed);
    // Whole pages: what lies beside it is another's, who may open it at this moment.
    let size = size.checked_next_multiple_of(page_size())?;
    let after = |next: usize| next.checked_add(size).filter(|after| next != 0 && *after <= end);
    let own = NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after).ok()?;
    sys::open_reserved(own, size).ok()?;
    Some(ptr::with_exposed_provenance_mut(own))
}

extern "C" fn free(_context: *mut c_void, arena: *mut c_void, size: usize) {
    sys::unmap(arena, size);
}

/// From here on Python's objects come to lie in the region.
pub(super) fn settle() {
    let Some(set) = sys::find_function(c"PyObject_SetArenaAllocator") else { return };
    let Some(start) = sys::reserve(REGION) else { return };
    for place in [&START, &NEXT] {
        place.store(start, Ordering::Relaxed);
    }
    END.store(start + REGION, Ordering::Relaxed);
    // SAFETY: `void PyObject_SetArenaAllocator(PyObjectArenaAllocator *)`, which copies what it is given.
    let set: extern "C" fn(*const Allocator) = unsafe { transmute(set) };
    set(&Allocator { context: ptr::null_mut(), alloc, free });
}

/// Before it is forked: what there is becomes full and is joined, and the next objects begin beside it.
pub(super) fn join() {
    let start = START.load(Ordering::Relaxed);
    if start == 0 {
        return;
    }
    let next = NEXT.load(Ordering::Relaxed);
    let fresh = next.next_multiple_of(LARGE_PAGE);
    // Where large pages come by themselves a fork would have two MiB zeroed for its first object.
    sys::keep_small(fresh, END.load(Ordering::Relaxed).saturating_sub(fresh));
    // Up to there, so that no page is in the way.
    if fill(fresh) && sys::open_reserved(next, fresh - next).is_ok() {
        sys::join(start, fresh - start);
    }
}

/// Takes whatever is free in the arenas that are there, for good; false where that is too much.
fn fill(fresh: usize) -> bool {
    let Some(take) = sys::find_function(c"PyObject_Malloc") else { return false };
    // SAFETY: `void *PyObject_Malloc(size_t)`.
    let take: extern "C" fn(usize) -> *mut c_void = unsafe { transmute(take) };
    NEXT.store(fresh, Ordering::Relaxed);
    let all = fresh..END.load(Ordering::Relaxed);
    (1..=OBJECT_MAX / OBJECT_UNIT).rev().map(|units| units * OBJECT_UNIT).all(|size| {
        // The largest first: these open the new arena, and smaller ones fill what is left then.
        (0..FILL_MAX / size).any(|_| all.contains(&take(size).addr()))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ptr;
    use std::sync::atomic::Ordering;
    use std::thread;

    use super::{END, NEXT, REGION, alloc, next_of_region};
    use crate::sys;

    #[test]
    fn interpreters_that_ask_at_the_same_time_get_memory_of_their_own() {
        const SIZE: usize = 64 << 10;
        let start = sys::reserve(REGION).unwrap();
        NEXT.store(start, Ordering::Relaxed);
        END.store(start + REGION, Ordering::Relaxed);
        let asks =
            || (0..REGION / SIZE / 8).map(|_| next_of_region(SIZE).unwrap().addr()).collect::<Vec<_>>();
        let taken: Vec<usize> = thread::scope(|scope| {
            let asking: Vec<_> = (0..8).map(|_| scope.spawn(asks)).collect();
            asking.into_iter().flat_map(|one| one.join().unwrap()).collect()
        });
        let all: BTreeSet<usize> = taken.iter().copied().collect();
        assert_eq!(all, (start..start + REGION).step_by(SIZE).collect());
        for place in taken {
            let last: *mut u8 = ptr::with_exposed_provenance_mut(place + SIZE - 1);
            // SAFETY: it may be written to, and nobody else has it.
            unsafe { last.write(7) };
        }
        // What comes when it is full lies elsewhere.
        assert!(next_of_region(SIZE).is_none() && !alloc(ptr::null_mut(), SIZE).is_null());
    }
}
