//! Memory for tables. Look-ups go to random places of megabytes: on pages of 4 KiB each of them would also
//! miss the TLB (and walk two page tables in a virtual machine), so tables lie together in regions that ask
//! for huge pages: a hint, without which everything works, slower.
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::Arc;

const HUGE: usize = 1 << 21;

/// Zeroed memory.
pub struct Region {
    at: NonNull<u8>,
    bytes: usize,
    #[cfg(target_os = "linux")]
    mapped: Option<(*mut libc::c_void, usize)>,
}

// SAFETY: it owns its memory, like a Vec, and gives no access by itself.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    pub fn new(bytes: usize) -> Region {
        #[cfg(target_os = "linux")]
        if bytes >= HUGE / 2 {
            // alloc_zeroed would touch all of it, in small pages, before the advice.
            let size = bytes.next_multiple_of(HUGE) + HUGE;
            // SAFETY: a fresh mapping; what is not needed for the alignment is never touched.
            unsafe {
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
                let map =
                    libc::mmap(std::ptr::null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
                if map != libc::MAP_FAILED {
                    let at = map.cast::<u8>().add(map.cast::<u8>().align_offset(HUGE));
                    libc::madvise(at.cast(), bytes / HUGE * HUGE, libc::MADV_HUGEPAGE);
                    return Region { at: NonNull::new_unchecked(at), bytes, mapped: Some((map, size)) };
                }
            }
        }
        let layout = Region::layout(bytes);
        // SAFETY: the size is not zero.
        let at = unsafe { alloc_zeroed(layout) };
        Region {
            at: NonNull::new(at).unwrap_or_else(|| handle_alloc_error(layout)),
            bytes,
            #[cfg(target_os = "linux")]
            mapped: None,
        }
    }
    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes.max(64), 64).unwrap()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some((map, size)) = self.mapped {
            // SAFETY: mapped by `new`, and no table is left (each holds the region).
            unsafe { libc::munmap(map, size) };
            return;
        }
        // SAFETY: allocated by `new` with this layout.
        unsafe { dealloc(self.at.as_ptr(), Region::layout(self.bytes)) }
    }
}

/// A number of values in a region, zero at first.
pub struct Table<T> {
    at: NonNull<T>,
    len: usize,
    _region: Arc<Region>,
}

// SAFETY: it is the only one with its part of the region, like a Vec.
unsafe impl<T: Send> Send for Table<T> {}
// SAFETY: shared references only read.
unsafe impl<T: Sync> Sync for Table<T> {}

/// Hands out a region's parts.
pub struct Carver {
    region: Arc<Region>,
    used: usize,
}

impl Carver {
    pub fn new(bytes: usize) -> Carver {
        Carver { region: Arc::new(Region::new(bytes)), used: 0 }
    }
    /// What a table takes.
    pub fn size<T>(len: usize) -> usize {
        (len.max(1) * size_of::<T>()).next_multiple_of(64)
    }
    /// T may be all zero bytes, and needs no more than 64 bytes of alignment.
    pub fn table<T: Copy>(&mut self, len: usize) -> Table<T> {
        let size = Carver::size::<T>(len);
        assert!(self.used + size <= self.region.bytes && align_of::<T>() <= 64);
        // SAFETY: inside of the region, and no other table's.
        let at = unsafe { self.region.at.add(self.used) }.cast();
        self.used += size;
        Table { at, len, _region: self.region.clone() }
    }
}

impl<T: Copy> Table<T> {
    /// A table with a region of its own. T may be all zero bytes.
    pub fn new(len: usize) -> Table<T> {
        Carver::new(Carver::size::<T>(len)).table(len)
    }
    pub fn clear(&mut self) {
        // SAFETY: all of it is ours, and T may be all zero bytes.
        unsafe { self.at.as_ptr().write_bytes(0, self.len) }
    }
    pub fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }
    /// A place by a hash's upper half; any length will do.
    #[inline(always)]
    pub fn index(&self, hash: u64) -> usize {
        (((hash >> 32) * self.len as u64) >> 32) as usize
    }
    #[inline(always)]
    pub fn slot(&self, hash: u64) -> *mut T {
        // SAFETY: the index is below the length.
        unsafe { self.at.as_ptr().add(self.index(hash)) }
    }
}

impl<T> std::ops::Deref for Table<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: len values that were zeroed when it was made.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl<T> std::ops::DerefMut for Table<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and this is the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}
