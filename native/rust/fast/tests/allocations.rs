//! No allocation between a text and its ids, once a thread's state is there.
use quern_fast::{FastTokenizer, Options, ThreadState, patterns};
use std::alloc::{GlobalAlloc, Layout, System};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
struct Counting;
// SAFETY: the system's allocator, counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller's.
        unsafe { System.dealloc(at, layout) }
    }
}
#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn the_hot_path_does_not_allocate() {
    let ranks: String = (0..=255u8)
        .map(|b| {
            use base64::Engine;
            format!("{} {b}\n", base64::engine::general_purpose::STANDARD.encode([b]))
        })
        .chain([("dGhl", 256), ("dGg=", 257)].map(|(t, id)| format!("{t} {id}\n")))
        .collect();
    let t =
        FastTokenizer::from_tiktoken(ranks.as_bytes(), patterns::CL100K, &[], &Options::default()).unwrap();
    let mut state = ThreadState::new(8 << 20);
    let text = "the theme of this then, 1234 中文 русский\n\n  x".repeat(500);
    let mut out = vec![MaybeUninit::uninit(); text.len()];
    t.encode_into(&mut state, "a", &mut out).unwrap();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for i in 0..50 {
        t.encode_into(
            &mut state,
            &text[(0..=i).rev().find(|i| text.is_char_boundary(*i)).unwrap()..],
            &mut out,
        )
        .unwrap();
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), before);
}
