//! No allocation between a text and its ids, once a thread's state is there, and nothing that stays or grows.
mod common;

use common::*;
use quern_fast::{FastTokenizer, Options, SpecialInText, ThreadState};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::mem::MaybeUninit;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
}
struct Counting;
// SAFETY: the system's allocator, counted for each thread (the test runner has one of its own).
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        LIVE.set(LIVE.get() + layout.size() as isize);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - layout.size() as isize);
        // SAFETY: as the caller's.
        unsafe { System.dealloc(at, layout) }
    }
}
#[global_allocator]
static COUNTING: Counting = Counting;

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|l| l.starts_with("VmRSS")).unwrap_or("VmRSS unknown").into()
}

/// Every family, with added tokens, text that NFC changes and
/// that gets a blank in front.
#[test]
fn the_hot_path_does_not_allocate() {
    let mut r = Random(seed());
    let usual = "the theme of this then, 1234 中文 русский\n\n  x <|endoftext|> e\u{301}".repeat(200);
    let mut texts: Vec<String> = (0..100).map(|_| text(&mut r, 60)).collect();
    texts.push(usual);
    for (name, normalizer, pre) in families() {
        let json = small(&mut r, normalizer, &pre, false, false);
        let options = Options { special_in_text: SpecialInText::Token, simd: None };
        let t = FastTokenizer::from_json(json.as_bytes(), &options).unwrap();
        let mut state = ThreadState::new(1 << 20);
        let mut out = vec![MaybeUninit::uninit(); texts.iter().map(String::len).max().unwrap() * 3];
        // The crate that normalizes has room for a few marks in a row and allocates for more.
        let texts = if normalizer == "null" { &texts[..] } else { &texts[texts.len() - 1..] };
        let mut pass = || {
            for text in texts {
                t.encode_into(&mut state, text, &mut out).unwrap();
                t.count(&mut state, text).unwrap();
            }
        };
        // The state grows with the longest text that is changed and the longest pre-token.
        pass();
        let before = ALLOCATIONS.get();
        for _ in 0..10 {
            pass();
        }
        assert_eq!(ALLOCATIONS.get(), before, "{name}");
        let (after_ten, live) = (resident(), LIVE.get());
        let passes = if documents().is_some() { 1000 } else { 10 };
        for _ in 0..passes {
            pass();
        }
        assert_eq!(LIVE.get(), live, "{name}: bytes that stay");
        println!("{name}: after 10 passes {after_ten}, after {passes} more {}", resident());
    }
}
