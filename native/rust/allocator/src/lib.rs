//! Which allocator serves a Quern binary. This is the only place that knows; the engine never sees it.
//!
//! The choice is process-wide for all the Rust code of a binary, so a library must not make it for its users: only
//! binaries depend on this crate (`use quern_allocator as _;`, or the linker leaves it out).
//!
//! **Why an allocator at all.** Hugging Face's tokenizer, which serves as the reference engine, makes dozens of small
//! allocations for every encoding, so the allocator decides its speed. The experiment this follows (Hugging Face
//! tokenizers, pull request 2073) reports 35 to 56 % more throughput under mimalloc at one thread, on three machines, and
//! 9 to 97 % at all threads.
//!
//! **What it costs.** The same experiment reports a resident memory of 2.97 times the system allocator's at one thread and
//! 2.83 times at 88 threads, after 50 calls. Part of that are transparent huge pages, which the feature `no_thp` leaves
//! out. On two cores of x86_64 (bench/record, at commit 039af32) the gain is there, 33 to 50 %, and the cost is not: 0.69 and 0.76
//! times the system's memory in that experiment, 1.15 in batches of Quern's reference engine (1.41 with huge pages), and 5
//! MiB for the fast engine, which hardly allocates and gains nothing. What holds for your corpus is what the record of a
//! run shows: both builds are packaged, and every executor reports its memory against its throughput.
//!
//! **Why these targets.** x86_64 and aarch64 Linux with the GNU C library, and macOS on Apple silicon, are those of the
//! experiment. README.md (Platforms) says on which of them Quern's own tests have run. Elsewhere mimalloc is known to be
//! trouble: older cross compilers reject a warning flag of its build (s390x, ppc64le, armv7, riscv64, 32-bit x86), and with
//! MSVC its C run-time clashes with that of the tokenizers crate. There nothing is pulled in, and the system allocator
//! serves.
//!
//! **How to opt out.** `cargo build --no-default-features` builds without it everywhere. At run time the JVM side chooses
//! between the two builds with `spark.quern.allocator = mimalloc | system`.

/// The name of the allocator that made `block`, found out by asking about its address, not from a constant.
///
/// `"mimalloc"` if the address lies in memory that mimalloc manages, else `"system"`. `block` is compared, never read.
pub fn name_of(block: *const u8) -> &'static str {
    if backend::made(block) { "mimalloc" } else { "system" }
}

/// Bytes that the allocator has in use, or 0 where it cannot say.
///
/// mimalloc: bytes it has made usable for this library's Rust code, freed ones that it keeps included; on Linux this is
/// nearly a high-water mark, since memory that it gives back with madvise still counts (resident memory shows that). GNU
/// C library: bytes handed out by malloc and not freed yet, in the whole process, the JVM's own included. Other: 0.
pub fn allocated_bytes() -> u64 {
    backend::allocated_bytes()
}

/// Gives freed memory that the allocator still holds back to the operating system, as far as it can.
///
/// Costs milliseconds. mimalloc: what the calling thread and threads that have ended have freed. GNU C library: all
/// arenas of the process. Other systems: does nothing.
pub fn collect() {
    backend::collect();
}

#[cfg(quern_mimalloc)]
mod backend {
    use std::alloc::{GlobalAlloc, Layout};
    use std::ptr::null_mut;

    use libmimalloc_sys as mi;

    struct MiMalloc;

    #[global_allocator]
    static GLOBAL: MiMalloc = MiMalloc;

    // SAFETY: each method passes size and alignment on as they are to the function of mimalloc with the same contract:
    // the aligned functions return null or a block of that size and alignment (a power of two, as Layout ensures), and
    // mi_free and mi_realloc_aligned take any block that these returned.
    unsafe impl GlobalAlloc for MiMalloc {
        #[inline]
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: any size and any power of two are allowed.
            unsafe { mi::mi_malloc_aligned(layout.size(), layout.align()).cast() }
        }

        #[inline]
        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            // SAFETY: as in alloc.
            unsafe { mi::mi_zalloc_aligned(layout.size(), layout.align()).cast() }
        }

        #[inline]
        unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
            // SAFETY: the caller passes a block of this allocator, once.
            unsafe { mi::mi_free(block.cast()) }
        }

        #[inline]
        unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
            // SAFETY: the caller passes a block of this allocator and its alignment.
            unsafe { mi::mi_realloc_aligned(block.cast(), new_size, layout.align()).cast() }
        }
    }

    pub fn made(block: *const u8) -> bool {
        // SAFETY: mi_is_in_heap_region looks the address up in mimalloc's own page map and never reads the block.
        unsafe { mi::mi_is_in_heap_region(block.cast()) }
    }

    pub fn allocated_bytes() -> u64 {
        let mut committed = 0;
        // SAFETY: every argument may be null; the one given is a valid address.
        unsafe {
            mi::mi_process_info(
                null_mut(),
                null_mut(),
                null_mut(),
                null_mut(),
                null_mut(),
                &raw mut committed,
                null_mut(),
                null_mut(),
            );
        }
        committed as u64
    }

    pub fn collect() {
        // SAFETY: may be called at any time from any thread.
        unsafe { mi::mi_collect(true) }
    }
}

#[cfg(all(not(quern_mimalloc), target_os = "linux", target_env = "gnu"))]
mod backend {
    use std::ffi::CStr;
    use std::ptr::null_mut;

    pub fn made(_block: *const u8) -> bool {
        false // no code of mimalloc is linked into this build that could have made it
    }

    // mallinfo has 32-bit counters, and mallinfo2 is younger (2.33) than the C library of many clusters: a reference to
    // it would keep the whole library from loading there. malloc_info is old and says the same, as XML.
    pub fn allocated_bytes() -> u64 {
        let mut text = null_mut();
        let mut length = 0;
        // SAFETY: open_memstream gives a stream or null; the stream is closed once, after which `text` is null or a
        // NUL-terminated block that belongs to us and is freed once.
        unsafe {
            let stream = libc::open_memstream(&raw mut text, &raw mut length);
            if stream.is_null() {
                return 0;
            }
            libc::malloc_info(0, stream);
            libc::fclose(stream);
            if text.is_null() {
                return 0;
            }
            let bytes = super::in_use(&CStr::from_ptr(text).to_string_lossy());
            libc::free(text.cast());
            bytes
        }
    }

    pub fn collect() {
        // SAFETY: may be called at any time from any thread.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

#[cfg(all(not(quern_mimalloc), not(all(target_os = "linux", target_env = "gnu"))))]
mod backend {
    pub fn made(_block: *const u8) -> bool {
        false
    }

    pub fn allocated_bytes() -> u64 {
        0
    }

    pub fn collect() {}
}

/// Bytes in use according to the XML of glibc's malloc_info: got from the system, plus mapped, minus free.
///
/// The totals over all arenas stand behind the last arena. Anything unexpected counts as 0.
#[cfg(any(test, all(not(quern_mimalloc), target_os = "linux", target_env = "gnu")))]
fn in_use(xml: &str) -> u64 {
    let totals = xml.rsplit("</heap>").next().unwrap_or("");
    let size = |element: &str| {
        let line = totals.lines().find(|line| line.starts_with(element))?;
        let (_, rest) = line.split_once(" size=\"")?;
        rest.split_once('"')?.0.parse::<u64>().ok()
    };
    let total = |element| size(element).unwrap_or(0);
    (total("<system type=\"current\"") + total("<total type=\"mmap\""))
        .saturating_sub(total("<total type=\"fast\"") + total("<total type=\"rest\""))
}

#[cfg(test)]
mod tests {
    #[test]
    fn asks_about_the_block() {
        let block = Box::new([0_u8; 64]);
        let expected = if cfg!(quern_mimalloc) { "mimalloc" } else { "system" };
        assert_eq!(super::name_of(block.as_ptr()), expected);
        let large = vec![0_u8; 64 << 20];
        assert_eq!(super::name_of(large.as_ptr()), expected);
        // What no allocator made is not mimalloc's, in either build.
        static NOT_ALLOCATED: u8 = 0;
        assert_eq!(super::name_of(&raw const NOT_ALLOCATED), "system");
        assert_eq!(super::name_of(std::ptr::null()), "system");
    }

    #[test]
    #[cfg(any(quern_mimalloc, all(target_os = "linux", target_env = "gnu")))]
    fn allocated_bytes_follow_a_large_block() {
        // The tests run at once: half of the block is more than the others make of, or give back to, the figure.
        const HALF: u64 = 128 << 20;
        let before = super::allocated_bytes();
        let block = vec![1_u8; 256 << 20];
        let with_block = super::allocated_bytes();
        assert!(with_block >= before + HALF, "{before} -> {with_block}");
        drop(block);
        super::collect();
        // mimalloc may go on counting what it has given back.
        let after = super::allocated_bytes();
        assert!(cfg!(quern_mimalloc) || after < with_block - HALF, "{with_block} -> {after}");
    }

    #[test]
    fn reads_the_totals_of_malloc_info() {
        let xml = "<malloc version=\"1\">\n<heap nr=\"0\">\n<system type=\"current\" size=\"7\"/>\n</heap>\n\
            <total type=\"fast\" count=\"1\" size=\"10\"/>\n<total type=\"rest\" count=\"2\" size=\"200\"/>\n\
            <total type=\"mmap\" count=\"1\" size=\"5000\"/>\n<system type=\"current\" size=\"1000\"/>\n\
            <system type=\"max\" size=\"9000\"/>\n</malloc>\n";
        assert_eq!(super::in_use(xml), 1000 + 5000 - 10 - 200);
        assert_eq!(super::in_use(""), 0);
        assert_eq!(super::in_use("<heap nr=\"0\"></heap><system"), 0);
    }
}
