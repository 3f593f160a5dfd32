//! Text to ids: pre-tokens in batches, a small cache of the thread, the shared tables, merges.
//!
//! ```text
//!     for each batch of pre-tokens
//!         boundaries                    windows of 64 bytes, or the plain way
//!         keys, hashes, prefetch        one pass
//!         probe the front cache         one pass without branches; what is not in it is noted
//!         the rest, in order            vocabulary, wide cache, merges; results go into the caches
//! ```
//!
//! A pre-token of up to 15 bytes is its own key, with its length: equal keys are equal pre-tokens, so what
//! the cache says is what would be computed again, whatever was evicted in between. Results are copied out
//! of the caches before the next look-up; nothing keeps a pointer into them.
//! Tests: `fast_equals_the_judge`, `caches_and_batches_change_nothing`.
use crate::bpe::{Bpe, Job, PIECE_DOUBTFUL, SMALL, Scratch, prefetch};
use crate::memory::{Carver, Table};
use crate::pretoken::Pattern;
use crate::unicode::{self as u, decode};
use crate::window::{self, Level, Portable};
use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};

/// With feature `stats`: pre-tokens, front misses, vocabulary hits, wide hits, merged, merged of > 32 bytes,
/// bytes merged.
pub static STATS: [std::sync::atomic::AtomicU64; 8] = [const { std::sync::atomic::AtomicU64::new(0) }; 8];
#[inline(always)]
fn count(what: usize, n: usize) {
    if cfg!(feature = "stats") {
        STATS[what].fetch_add(n as u64, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Pre-tokens a batch.
const BATCH: usize = 256;
/// What one window (or one stop of the plain way) may add to a full batch, and the end.
const SLACK: usize = 64 + 64 + 1;
/// Ids an entry of the front cache holds.
const FRONT_IDS: usize = 4;
const WIDE_IDS: usize = 24;
const COUNT_SHIFT: u32 = 28;
const ID: u32 = (1 << COUNT_SHIFT) - 1;
/// All of an entry's ids without the count (little endian: ids are stored as they lie in a number).
const IDS: u128 = !(0xf << COUNT_SHIFT);

/// Two entries: a key and up to four ids, the first one's top bits their number.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct FrontLine([FrontEntry; 2]);
#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct FrontEntry {
    key: [u64; 2],
    /// Four ids of 32 bits, the first one lowest.
    ids: u128,
}
/// Up to 31 bytes, the length in the last one, and up to 24 ids: runs of blanks where the vocabulary has no
/// tokens for them, scripts that it knows as bytes, identifiers.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct WideEntry {
    key: [u8; 32],
    ids: [u32; WIDE_IDS],
}

/// What a thread keeps between calls: caches of one tokenizer and room for a batch. It grows only with the
/// longest pre-token it met.
pub struct ThreadState {
    pub(crate) owner: u64,
    front: Table<FrontLine>,
    wide: Table<WideEntry>,
    room: Box<Room>,
    jobs: Box<[(Job, u32); JOBS]>,
    scratch: Scratch,
    pub(crate) text: String,
    pub(crate) blank: String,
}

#[repr(C, align(64))]
struct Room {
    keys: [[u64; 2]; BATCH + SLACK],
    ids: [u32; (BATCH + SLACK) * FRONT_IDS + FRONT_IDS],
    hashes: [u64; BATCH + SLACK],
    starts: [u32; BATCH + SLACK + 64],
    missed: [(u32, u32); BATCH + SLACK],
    /// Where in `found` the ids of each missed pre-token are, and how many.
    results: [(u32, u32); BATCH + SLACK],
    found: [u32; (BATCH + SLACK) * SMALL],
    queue: [u16; BATCH + SLACK],
}

impl ThreadState {
    /// `bytes`: at most this much memory, at least half a MiB.
    pub fn new(bytes: usize) -> ThreadState {
        // Room and jobs take a quarter of a MiB at most; of the rest a quarter is the wide cache's.
        let budget = bytes.max(1 << 19) - (1 << 18);
        let wide = (budget / 4) & !127;
        let front = (budget - wide) & !63;
        let mut memory = Carver::new(front + wide);
        // SAFETY: all of it may be zero bytes.
        let room = unsafe {
            let layout = Layout::new::<Room>();
            let at = alloc_zeroed(layout);
            if at.is_null() {
                handle_alloc_error(layout)
            }
            Box::from_raw(at.cast::<Room>())
        };
        ThreadState {
            owner: 0,
            front: memory.table(front / size_of::<FrontLine>()),
            wide: memory.table(wide / size_of::<WideEntry>()),
            room,
            jobs: Box::new(std::array::from_fn(|_| (Job::default(), IDLE))),
            scratch: Scratch::default(),
            text: String::new(),
            blank: String::new(),
        }
    }
    /// Gives back what a long text made it grow by.
    pub fn shrink(&mut self) {
        self.scratch = Scratch::default();
        self.text = String::new();
    }
    /// Forgets what another tokenizer left.
    pub(crate) fn own(&mut self, owner: u64) {
        if self.owner != owner {
            self.front.clear();
            self.wide.clear();
            self.owner = owner;
        }
    }
}

/// Where ids go: the caller's memory, up to its capacity; behind that they are only counted.
pub struct Out {
    at: *mut u32,
    capacity: usize,
    pub len: usize,
}

impl Out {
    /// # Safety
    /// `at` is valid for writes of `capacity` values as long as this lives.
    pub unsafe fn new(at: *mut u32, capacity: usize) -> Out {
        Out { at, capacity, len: 0 }
    }
    #[inline(always)]
    pub fn push(&mut self, id: u32) {
        if self.len < self.capacity {
            // SAFETY: below the capacity.
            unsafe { *self.at.add(self.len) = id };
        }
        self.len += 1;
    }
    #[inline(always)]
    fn extend(&mut self, ids: &[u32]) {
        if self.len + ids.len() <= self.capacity {
            // SAFETY: below the capacity; the caller's memory is not the engine's.
            unsafe { std::ptr::copy_nonoverlapping(ids.as_ptr(), self.at.add(self.len), ids.len()) };
        }
        self.len += ids.len();
    }
}

/// The instructions in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Simd {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Simd {
    pub fn best() -> Simd {
        Simd::all().pop().unwrap()
    }
    /// What this CPU can run, the best last.
    pub fn all() -> Vec<Simd> {
        #[allow(unused_mut)]
        let mut all = vec![Simd::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if window::x86::Avx2::new().is_some() {
                all.push(Simd::Avx2);
            }
            if window::x86::Avx512::new().is_some() {
                all.push(Simd::Avx512);
            }
        }
        all
    }
}

/// A text without added tokens, normalized: its pre-tokens and ids.
#[derive(Clone, Copy)]
pub struct Segmenter<'a> {
    pub bpe: &'a Bpe,
    pub pattern: Pattern,
    pub simd: Simd,
}

/// Where a segment's boundaries are up to.
struct Cursor {
    at: usize,
    /// The end of the pre-token that `at` lies in, when it is cut in pieces; else `at` or less.
    hard_end: usize,
}

impl Segmenter<'_> {
    pub fn encode(&self, state: &mut ThreadState, text: &[u8], out: &mut Out) {
        macro_rules! by_pattern {
            ($f:ident $(, $level:expr)?) => {
                match self.pattern.windows() {
                    // SAFETY: the level was built by its constructor, so the CPU has its instructions.
                    Some(p) => unsafe {
                        match p {
                            window::GPT2 => $f::<{ window::GPT2 }>(*self, $($level,)? state, text, out),
                            window::GPT2_DIGITS => $f::<{ window::GPT2_DIGITS }>(*self, $($level,)? state, text, out),
                            window::CL100K_3 => $f::<{ window::CL100K_3 }>(*self, $($level,)? state, text, out),
                            window::CL100K_3_TAIL => {
                                $f::<{ window::CL100K_3_TAIL }>(*self, $($level,)? state, text, out)
                            }
                            window::CL100K_1 => $f::<{ window::CL100K_1 }>(*self, $($level,)? state, text, out),
                            window::O200K => $f::<{ window::O200K }>(*self, $($level,)? state, text, out),
                            _ => $f::<{ window::TEKKEN }>(*self, $($level,)? state, text, out),
                        }
                    },
                    // SAFETY: the portable level needs nothing.
                    None => unsafe { portable::<PLAIN>(*self, state, text, out) },
                }
            };
        }
        if text.is_empty() {
            return;
        }
        match self.simd {
            Simd::Portable => by_pattern!(portable),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => by_pattern!(avx2, window::x86::Avx2::new().unwrap()),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => by_pattern!(avx512, window::x86::Avx512::new().unwrap()),
        }
    }

    /// Each id with its bytes in `text`: the same pre-tokens and merges, without the caches.
    pub fn spans(&self, state: &mut ThreadState, text: &[u8], mut put: impl FnMut(u32, usize, usize)) {
        let mut at = 0;
        while at < text.len() {
            let end = self.pattern.end(text, at);
            let whole = if end - at < 16 {
                let key = crate::bpe::key_of(&text[at..end]);
                self.bpe.short(key, crate::bpe::hash_key(key))
            } else {
                self.bpe.long(&text[at..end])
            };
            if whole != u32::MAX {
                put(whole & ID, at, end);
            } else {
                let mut begin = at;
                self.bpe.merge(&text[at..end], &mut state.scratch, |id, n| {
                    put(id, begin, begin + n);
                    begin += n;
                });
            }
            at = end;
        }
    }

    /// Whether a pre-token is cut before `at`: no token spans the two letters that meet there.
    #[inline(always)]
    fn cut_at(&self, text: &[u8], at: usize) -> bool {
        if at < 3 || at + 3 > text.len() || text[at] >> 4 != 0xe || text[at - 3] >> 4 != 0xe {
            return false;
        }
        let (left, right) = (decode(text, at - 3).0, decode(text, at).0);
        u::class(left) == u::LETTER
            && u::class(right) == u::LETTER
            && !self.bpe.joints.spanned(left, right)
            && (self.pattern != Pattern::DeepSeek3 || han_or_kana(left) == han_or_kana(right))
            && self.pattern != Pattern::Falcon
    }
}

/// DeepSeek's second piece of text: a pre-token may end between these and other letters.
fn han_or_kana(code: u32) -> bool {
    matches!(code, 0x4e00..=0x9fa5 | 0x3040..=0x30ff)
}

const PLAIN: u8 = 255;

unsafe fn portable<const P: u8>(s: Segmenter<'_>, state: &mut ThreadState, text: &[u8], out: &mut Out) {
    // SAFETY: the portable level needs nothing of the CPU.
    unsafe { run::<Portable, P>(s, Portable, state, text, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt,sse4.2")]
unsafe fn avx2<const P: u8>(
    s: Segmenter<'_>,
    level: window::x86::Avx2,
    state: &mut ThreadState,
    text: &[u8],
    out: &mut Out,
) {
    // SAFETY: holding the level proves that the CPU has the instructions.
    unsafe { run::<window::x86::Avx2, P>(s, level, state, text, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(
    enable = "avx2,bmi1,bmi2,popcnt,lzcnt,sse4.2,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vbmi2"
)]
unsafe fn avx512<const P: u8>(
    s: Segmenter<'_>,
    level: window::x86::Avx512,
    state: &mut ThreadState,
    text: &[u8],
    out: &mut Out,
) {
    // SAFETY: holding the level proves that the CPU has the instructions.
    unsafe { run::<window::x86::Avx512, P>(s, level, state, text, out) }
}

/// Fills `starts` with begins relative to `base`: at least BATCH of them unless the text ends. -> how many;
/// the one behind them is the end of the last.
#[inline(always)]
unsafe fn boundaries<L: Level, const P: u8>(
    s: &Segmenter<'_>,
    level: L,
    text: &[u8],
    cursor: &mut Cursor,
    base: usize,
    starts: &mut [u32; BATCH + SLACK + 64],
) -> usize {
    let mut n = 0;
    // The positions are 32 bits wide from the batch's base on; a batch ends before they don't fit.
    while n < BATCH && cursor.at < text.len() && cursor.at - base < 1 << 30 {
        if P != PLAIN && cursor.hard_end <= cursor.at {
            // SAFETY: at is below the end; the caller vouches for the CPU.
            let w = unsafe { window::window::<L, P>(level, text, cursor.at) };
            let mut bits = w.starts;
            let mut step = text.len() - cursor.at;
            if !w.last {
                let top = 63 - bits.leading_zeros();
                bits &= window::below(top);
                step = top as usize;
            }
            if bits != 0 {
                let mut joints = w.joints & !w.starts & window::below(step.min(64) as u32);
                while joints != 0 {
                    let i = joints.trailing_zeros() as usize;
                    joints &= joints - 1;
                    let at = cursor.at + i;
                    let (left, right) = (decode(text, at - 3).0, decode(text, at).0);
                    bits |= (!s.bpe.joints.spanned(left, right) as u64) << i;
                }
                // SAFETY: n is below BATCH, and 64 values fit behind it.
                unsafe { level.positions(bits, (cursor.at - base) as u32, starts.as_mut_ptr().add(n)) };
                n += bits.count_ones() as usize;
                cursor.at += step;
                continue;
            }
        }
        // The plain way: one pre-token, and its cuts as far as the batch has room.
        if cursor.hard_end <= cursor.at {
            cursor.hard_end = s.pattern.end(text, cursor.at);
        }
        starts[n] = (cursor.at - base) as u32;
        n += 1;
        if s.pattern == Pattern::Falcon {
            // It may end inside of a character, and is not cut further.
            cursor.at = cursor.hard_end;
            continue;
        }
        let mut at = cursor.at;
        loop {
            at += decode(text, at).1;
            if at >= cursor.hard_end || s.cut_at(text, at) {
                break;
            }
        }
        cursor.at = at;
    }
    starts[n] = (cursor.at - base) as u32;
    n
}

/// Row n: a mask of the first n of 16 bytes, and what the length makes of the last one. Row 16: too long,
/// the last byte is one that no entry has.
#[repr(C, align(64))]
struct KeyMasks([[u128; 2]; 17]);
static KEY_MASKS: KeyMasks = {
    let mut t = [[0; 2]; 17];
    let mut i = 0;
    while i < 16 {
        t[i] = [(1 << (8 * i)) - 1, (i as u128) << 120];
        i += 1;
    }
    t[16] = [(1 << 120) - 1, 0xff << 120];
    KeyMasks(t)
};

/// # Safety
/// The CPU has the level's instructions.
#[inline(always)]
unsafe fn run<L: Level + Misses, const P: u8>(
    s: Segmenter<'_>,
    level: L,
    state: &mut ThreadState,
    text: &[u8],
    out: &mut Out,
) {
    // Keys are read 16 bytes at a time; those of the text's last bytes from a copy with room behind it.
    let mut tail = [0u8; 32];
    let tail_from = text.len().saturating_sub(16);
    tail[..text.len() - tail_from].copy_from_slice(&text[tail_from..]);
    let mut cursor = Cursor { at: 0, hard_end: 0 };
    while cursor.at < text.len() {
        let base = cursor.at;
        let room = &mut *state.room;
        // SAFETY: the caller vouches for the CPU.
        let n = unsafe { boundaries::<L, P>(&s, level, text, &mut cursor, base, &mut room.starts) };
        count(0, n);
        let mut start = room.starts[0];
        for i in 0..n {
            let end = room.starts[i + 1];
            let len = (end - start).min(16) as usize;
            let at = base + start as usize;
            let from = if at + 16 <= text.len() {
                text.as_ptr().wrapping_add(at)
            } else {
                tail.as_ptr().wrapping_add(at.wrapping_sub(tail_from))
            };
            // SAFETY: 16 bytes are readable: of the text, or of the copy of its last 16 (and zeros), since
            // at >= tail_from then.
            let bytes = unsafe { from.cast::<u128>().read_unaligned() }.to_le();
            let [mask, or] = KEY_MASKS.0[len];
            let key = bytes & mask | or;
            let hash = crate::bpe::hash_key(key);
            prefetch(state.front.slot(hash).cast());
            room.keys[i] = [key as u64, (key >> 64) as u64];
            room.hashes[i] = hash;
            start = end;
        }
        let (mut used, mut missed) = (0usize, 0usize);
        for i in 0..n {
            let key = room.keys[i];
            let line = state.front.slot(room.hashes[i]).cast::<FrontEntry>();
            // SAFETY: a line has two entries, inside of the table, which only this thread has;
            // used <= i * FRONT_IDS, missed <= i. No branches: they would be mispredicted all the time.
            unsafe {
                let differs = |e: *const FrontEntry| ((*e).key[0] ^ key[0]) | ((*e).key[1] ^ key[1]);
                let (a, b) = (differs(line) == 0, differs(line.add(1)) == 0);
                let ids = (*line.add(b as usize)).ids;
                let hit = (a | b) as usize;
                room.ids.as_mut_ptr().add(used).cast::<u128>().write_unaligned(ids & IDS);
                *room.missed.as_mut_ptr().add(missed) = (i as u32, used as u32);
                used += (ids as u32 >> COUNT_SHIFT) as usize & hit.wrapping_neg();
                missed += hit ^ 1;
            }
        }
        count(1, missed);
        if missed > 0 {
            // SAFETY: the caller vouches for the CPU.
            unsafe { level.resolve(&s, state, text, base, missed) };
        }
        let mut copied = 0;
        for m in 0..missed {
            let room = &*state.room;
            let (i, to) = (room.missed[m].0 as usize, room.missed[m].1 as usize);
            out.extend(&room.ids[copied..to]);
            copied = to;
            let (at, n) = room.results[m];
            if n == LARGE {
                let (begin, end) = (base + room.starts[i] as usize, base + room.starts[i + 1] as usize);
                s.bpe.merge(&text[begin..end], &mut state.scratch, |id, _| out.push(id));
            } else {
                out.extend(&room.found[at as usize..][..n as usize]);
            }
        }
        out.extend(&state.room.ids[copied..used]);
    }
}

/// Merges in flight.
const JOBS: usize = 8;
const IDLE: u32 = u32::MAX;
/// In place of a number of ids: too long for a job.
const LARGE: u32 = u32::MAX;

/// `resolve` compiled for each level.
trait Misses {
    /// # Safety
    /// The CPU has the level's instructions.
    unsafe fn resolve(
        self,
        s: &Segmenter<'_>,
        state: &mut ThreadState,
        text: &[u8],
        base: usize,
        missed: usize,
    );
}

macro_rules! misses {
    ($level:ty, $($feature:literal)?) => {
        impl Misses for $level {
            #[inline(always)]
            unsafe fn resolve(
                self, s: &Segmenter<'_>, state: &mut ThreadState, text: &[u8], base: usize, missed: usize,
            ) {
                #[inline(never)]
                $(#[target_feature(enable = $feature)])?
                unsafe fn compiled(
                    s: &Segmenter<'_>, state: &mut ThreadState, text: &[u8], base: usize, missed: usize,
                ) {
                    resolve(s, state, text, base, missed)
                }
                // SAFETY: the caller vouches for the CPU.
                unsafe { compiled(s, state, text, base, missed) }
            }
        }
    };
}
misses!(Portable,);
#[cfg(target_arch = "x86_64")]
misses!(window::x86::Avx2, "avx2,bmi1,bmi2,popcnt,lzcnt,sse4.2");
#[cfg(target_arch = "x86_64")]
misses!(
    window::x86::Avx512,
    "avx2,bmi1,bmi2,popcnt,lzcnt,sse4.2,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vbmi2"
);

/// Fills `results` for the pre-tokens of this batch that are not in the front cache: from the vocabulary and
/// the wide cache in a first pass, by merging several at a time in a second one.
#[inline(always)]
fn resolve(s: &Segmenter<'_>, state: &mut ThreadState, text: &[u8], base: usize, missed: usize) {
    let room = &mut *state.room;
    for m in &room.missed[..missed] {
        let hash = room.hashes[m.0 as usize];
        s.bpe.prefetch_short(hash);
        prefetch(state.wide.slot(hash.rotate_left(32)).cast());
    }
    let mut used = 0usize;
    let mut queue = 0;
    for m in 0..missed {
        let i = room.missed[m].0 as usize;
        let (begin, end) = (base + room.starts[i] as usize, base + room.starts[i + 1] as usize);
        let len = end - begin;
        let (key, hash) = (room.keys[i], room.hashes[i]);
        room.results[m] = (used as u32, 1);
        let id = if len < 16 {
            let line = state.front.slot(hash);
            // The same pre-token may have been missing before in this batch.
            // SAFETY: the slot is inside of the table; only this thread has it.
            if let Some(e) = unsafe { &(*line).0 }.iter().find(|e| e.key == key) {
                let n = e.ids as u32 >> COUNT_SHIFT;
                // SAFETY: `found` has room for SMALL ids a missed pre-token.
                unsafe { room.found.as_mut_ptr().add(used).cast::<u128>().write_unaligned(e.ids & IDS) };
                room.results[m].1 = n;
                used += n as usize;
                continue;
            }
            s.bpe.short(key[0] as u128 | (key[1] as u128) << 64, hash)
        } else {
            s.bpe.long(&text[begin..end])
        };
        // A token that merges don't make is one only as a whole pre-token, never as a piece of one; the
        // cache does not know which it is, so it does not hold those that may be either.
        let doubtful = id != u32::MAX && id & PIECE_DOUBTFUL != 0;
        if id != u32::MAX && (!doubtful || !s.cut_at(text, begin) && !s.cut_at(text, end)) {
            count(2, 1);
            if len < 16 && !doubtful {
                insert(state.front.slot(hash), key, (id | 1 << COUNT_SHIFT) as u128);
            }
            room.found[used] = id & ID;
            used += 1;
            continue;
        }
        if len > SMALL {
            room.results[m].1 = LARGE;
            continue;
        }
        if len < 32 && !doubtful {
            let (key, slot) = wide_slot(&state.wide, &text[begin..end], hash);
            // SAFETY: the slot is inside of the table; only this thread has it.
            let e = unsafe { &*slot };
            if e.key == key {
                count(3, 1);
                // The number of ids: four bits each on top of the first two.
                let n = (e.ids[0] >> COUNT_SHIFT | e.ids[1] >> COUNT_SHIFT << 4) as usize;
                room.found[used..used + WIDE_IDS].copy_from_slice(&e.ids);
                room.found[used] &= ID;
                room.found[used + 1] &= ID;
                room.results[m].1 = n as u32;
                used += n;
                continue;
            }
        }
        count(4, 1);
        count(6, len);
        // To be merged: at most an id a byte.
        room.results[m].1 = 0;
        used += len;
        room.queue[queue] = m as u16 | if doubtful { DOUBTFUL } else { 0 };
        queue += 1;
    }
    let (mut next, mut working) = (0, queue);
    while working > 0 {
        for (job, of) in state.jobs.iter_mut() {
            if *of != IDLE {
                s.bpe.take_in(job);
            }
        }
        for (job, of) in state.jobs.iter_mut() {
            if *of != IDLE {
                if !s.bpe.select(job) {
                    continue;
                }
                let m = (*of & !(DOUBTFUL as u32)) as usize;
                let i = room.missed[m].0 as usize;
                let at = room.results[m].0 as usize;
                let mut n = 0;
                s.bpe.ids(job, |id, _| {
                    room.found[at + n] = id;
                    n += 1;
                });
                room.results[m].1 = n as u32;
                let (begin, end) = (base + room.starts[i] as usize, base + room.starts[i + 1] as usize);
                let ids = &room.found[at..];
                if *of & DOUBTFUL as u32 != 0 {
                } else if end - begin < 16 && n <= FRONT_IDS {
                    let all = ids[..n].iter().rev().fold(0, |all, id| all << 32 | *id as u128);
                    insert(state.front.slot(room.hashes[i]), room.keys[i], all | (n as u128) << COUNT_SHIFT);
                } else if end - begin < 32 && n <= WIDE_IDS {
                    let (key, slot) = wide_slot(&state.wide, &text[begin..end], room.hashes[i]);
                    let mut e = WideEntry { key, ids: [0; WIDE_IDS] };
                    e.ids[..n].copy_from_slice(&ids[..n]);
                    e.ids[0] |= (n as u32 & 15) << COUNT_SHIFT;
                    e.ids[1] |= (n as u32 >> 4) << COUNT_SHIFT;
                    // SAFETY: the slot is inside of the table; only this thread has it.
                    unsafe { *slot = e };
                }
                *of = IDLE;
                working -= 1;
            }
            if next < queue {
                let m = room.queue[next];
                next += 1;
                let i = room.missed[(m & !DOUBTFUL) as usize].0 as usize;
                let (begin, end) = (base + room.starts[i] as usize, base + room.starts[i + 1] as usize);
                s.bpe.start(job, &text[begin..end]);
                *of = m as u32;
            }
        }
    }
}

/// In the queue of merges: the result stays out of the caches.
const DOUBTFUL: u16 = 1 << 15;

/// The key and the place in the wide cache of a text of up to 31 bytes.
#[inline(always)]
fn wide_slot(wide: &Table<WideEntry>, text: &[u8], hash: u64) -> ([u8; 32], *mut WideEntry) {
    let mut key = [0u8; 32];
    key[..text.len()].copy_from_slice(text);
    key[31] = text.len() as u8;
    let hash = if text.len() < 16 { hash.rotate_left(32) } else { crate::bpe::hash_bytes(&key) };
    (key, wide.slot(hash))
}

/// The newest entry first; the older one goes.
#[inline(always)]
fn insert(line: *mut FrontLine, key: [u64; 2], ids: u128) {
    // SAFETY: a slot of this thread's table.
    let line = unsafe { &mut *line };
    line.0[1] = line.0[0];
    line.0[0] = FrontEntry { key, ids };
}
