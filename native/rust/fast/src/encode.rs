//! Text to ids: pre-tokens in batches, the caches of the thread, the shared tables, merges.
//!
//! ```text
//!     for each batch of pre-tokens
//!         boundaries                    windows of 64 bytes, or the plain way
//!         keys, lines, prefetch         one pass
//!         look up in the front cache    one pass without branches; what is not in it is noted
//!         the rest                      the other caches, the vocabulary, merges; results go into the caches
//!         out                           both, in order
//! ```
//!
//! A batch goes on over the ends of documents, so that short ones cost no more than long ones.
//! Tests: `fast_equals_naive_equals_the_judge`, `batches_equal_their_documents`.
use crate::bpe::{Bpe, Job, PIECE_DOUBTFUL, SMALL, Scratch, prefetch};
use crate::cache::{
    BATCH, Batch, CHUNK, FRONT_IDS, Front, ID, Late, Passes, SLACK, Sixteen, WIDE_IDS, Wide, wide_hash,
    wide_key,
};
#[cfg(target_arch = "x86_64")]
use crate::lanes::{self, LANES, LONGEST, Lanes};
use crate::memory::Carver;
use crate::pretoken::{Pattern, han_or_kana};
use crate::unicode::{self as u, decode};
use crate::window::{self, Level, Portable};
use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};

/// What a thread keeps between calls: caches of one tokenizer and room for a batch. The caches grow while text shows
/// that they are too small, up to the bytes it was made for; beyond, it grows only with the longest pre-token it met.
pub struct ThreadState {
    pub(crate) owner: u64,
    front: Front,
    wide: Wide,
    /// What the caches take, and may take.
    bytes: usize,
    most: usize,
    /// Since that was last looked at: pre-tokens, and those that had to be merged.
    seen: usize,
    merged: usize,
    room: Box<Room>,
    jobs: Box<[(Job, u32); JOBS]>,
    scratch: Scratch,
    pub(crate) text: String,
    pub(crate) blank: String,
}

#[repr(C, align(64))]
struct Room {
    batch: Batch,
    /// Of what was missed: the hash,
    hashes: [u64; BATCH + SLACK],
    /// where in `found` its ids are, and how many.
    results: [(u32, u32); BATCH + SLACK],
    found: [u32; (BATCH + SLACK) * SMALL],
    queue: [u16; BATCH + SLACK],
    /// What was queued: by a hash, the number of the miss and 1.
    queued: [u16; QUEUED],
    /// Misses that are the same pre-token as a queued one: both.
    same: [(u16, u16); BATCH + SLACK],
    #[cfg(target_arch = "x86_64")]
    lanes: [Lanes; 2],
    /// The documents that end in this batch: behind which pre-token; then how many of `ids` and `missed` are theirs
    /// and those before them.
    ends: [(u32, u32, u32); BATCH],
}

impl ThreadState {
    /// `bytes`: at most this much memory, at least half a MiB.
    pub fn new(bytes: usize) -> ThreadState {
        let most = bytes.max(1 << 19) - size_of::<Room>() - size_of::<[(Job, u32); JOBS]>() - 4096;
        let at_first = most.min(CACHES_AT_FIRST);
        let (front, wide) = caches(at_first);
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
            front,
            wide,
            bytes: at_first,
            most,
            seen: 0,
            merged: 0,
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
    /// Before each text: forgets what another tokenizer left, and has the caches grow if they should.
    pub(crate) fn own(&mut self, owner: u64) {
        if self.owner != owner {
            self.front.clear();
            self.wide.clear();
            self.owner = owner;
            (self.seen, self.merged) = (0, 0);
        } else if self.merged > self.bytes / BYTES_A_MERGE {
            self.look();
        }
    }
    /// Enough was merged to fill the caches: either they were empty, or what they held was pushed out and came again.
    #[cold]
    fn look(&mut self) {
        if self.bytes < self.most && self.merged > self.seen / SELDOM {
            // The old ones go first, so that there is never more than the bytes allowed. What was in them is merged
            // once more.
            (self.front, self.wide) = caches(1 << 10);
            self.bytes = self.most.min(self.bytes * 4);
            (self.front, self.wide) = caches(self.bytes);
        }
        (self.seen, self.merged) = (0, 0);
    }
}

/// What caches take at first: enough for a text of some megabytes in one language, and soon made.
const CACHES_AT_FIRST: usize = 8 << 20;
/// The caches are looked at after a merge for so many of their bytes.
const BYTES_A_MERGE: usize = 64;
/// A merge for so many pre-tokens is not worth more memory: it takes some dozen times what a look-up does.
const SELDOM: usize = 512;

/// Empty caches of so many bytes; a quarter is the wide one's.
fn caches(bytes: usize) -> (Front, Wide) {
    let wide = (bytes / 4) & !127;
    let front = (bytes - wide) & !127;
    let mut memory = Carver::new(front + wide);
    (Front::new(front, &mut memory), Wide::new(wide, &mut memory))
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
    /// `ids[at..at + n]`.
    #[inline(always)]
    fn extend(&mut self, ids: &[u32], at: usize, n: usize) {
        debug_assert!(at + n <= ids.len());
        let end = self.len + n;
        // SAFETY: below the capacity, and of `ids`; the caller's memory is not the engine's. In sixteens while they fit:
        // most copies are short, and of no length that the compiler could know.
        unsafe {
            let from = ids.as_ptr().add(at);
            if end + 16 <= self.capacity && at + n + 16 <= ids.len() {
                let mut i = 0;
                while i < n {
                    self.at
                        .add(self.len + i)
                        .cast::<[u32; 16]>()
                        .write_unaligned(from.add(i).cast::<[u32; 16]>().read_unaligned());
                    i += 16;
                }
            } else if end <= self.capacity {
                std::ptr::copy_nonoverlapping(from, self.at.add(self.len), n);
            }
        }
        self.len = end;
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
    #[cfg(target_arch = "aarch64")]
    Neon,
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
        // Every CPU of this architecture has it.
        #[cfg(target_arch = "aarch64")]
        all.push(Simd::Neon);
        all
    }
}

/// Texts one behind the other, each encoded alone: from `begin` to the first end, and so on.
pub struct Documents<'t> {
    pub text: &'t [u8],
    pub begin: usize,
    /// Ascending, at most the text's length.
    pub ends: &'t [i64],
}

impl Documents<'_> {
    /// Whether a pre-token is cut before `at`, an end of one of its pieces.
    fn cut(&self, s: &Segmenter<'_>, at: usize) -> bool {
        let document = self.ends.partition_point(|end| *end as usize <= at);
        let begin = if document == 0 { self.begin } else { self.ends[document - 1] as usize };
        document < self.ends.len() && s.cut_at(&self.text[begin..self.ends[document] as usize], at - begin)
    }
}

/// Texts without added tokens, normalized: their pre-tokens and ids.
#[derive(Clone, Copy)]
pub struct Segmenter<'a> {
    pub bpe: &'a Bpe,
    pub pattern: Pattern,
    pub simd: Simd,
}

/// Bytes of text that are asked for before a window gets there.
const AHEAD: usize = 1024;

/// Where the boundaries are up to.
struct Cursor {
    /// Which document, and where in the text.
    document: usize,
    at: usize,
    /// The end of the pre-token that `at` lies in, when it is cut in pieces; else `at` or less.
    hard_end: usize,
}

impl Segmenter<'_> {
    /// One text.
    pub fn encode(&self, state: &mut ThreadState, text: &[u8], out: &mut Out) {
        if !text.is_empty() {
            self.encode_all(state, &Documents { text, begin: 0, ends: &[text.len() as i64] }, out, &mut [0]);
        }
    }

    /// Several; `id_ends` gets where each one's ids end.
    pub fn encode_all(
        &self,
        state: &mut ThreadState,
        documents: &Documents<'_>,
        out: &mut Out,
        id_ends: &mut [i64],
    ) {
        macro_rules! by_pattern {
            ($f:ident, $level:expr) => {
                match self.pattern.windows() {
                    // SAFETY: the level was built by its constructor, so the CPU has its instructions.
                    Some(p) => unsafe {
                        match p {
                            window::GPT2 => {
                                $f::<{ window::GPT2 }>(*self, $level, state, documents, out, id_ends)
                            }
                            window::GPT2_DIGITS => {
                                $f::<{ window::GPT2_DIGITS }>(*self, $level, state, documents, out, id_ends)
                            }
                            window::CL100K_3 => {
                                $f::<{ window::CL100K_3 }>(*self, $level, state, documents, out, id_ends)
                            }
                            window::CL100K_3_TAIL => {
                                $f::<{ window::CL100K_3_TAIL }>(*self, $level, state, documents, out, id_ends)
                            }
                            window::CL100K_1 => {
                                $f::<{ window::CL100K_1 }>(*self, $level, state, documents, out, id_ends)
                            }
                            window::O200K => {
                                $f::<{ window::O200K }>(*self, $level, state, documents, out, id_ends)
                            }
                            window::QWEN35 => {
                                $f::<{ window::QWEN35 }>(*self, $level, state, documents, out, id_ends)
                            }
                            window::DEEPSEEK => {
                                $f::<{ window::DEEPSEEK }>(*self, $level, state, documents, out, id_ends)
                            }
                            _ => $f::<{ window::TEKKEN }>(*self, $level, state, documents, out, id_ends),
                        }
                    },
                    // SAFETY: the portable level needs nothing.
                    None => unsafe { portable::<PLAIN>(*self, Portable, state, documents, out, id_ends) },
                }
            };
        }
        match self.simd {
            Simd::Portable => by_pattern!(portable, Portable),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => by_pattern!(avx2, window::x86::Avx2::new().unwrap()),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => by_pattern!(avx512, window::x86::Avx512::new().unwrap()),
            #[cfg(target_arch = "aarch64")]
            Simd::Neon => by_pattern!(neon, window::aarch64::Neon),
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

const PLAIN: u8 = 255;

/// Fills the batch's starts, relative to `base`: at least BATCH of them unless the documents end, or more of them end
/// than the batch can note. -> how many pre-tokens, how many ends.
#[inline(always)]
unsafe fn boundaries<L: Level, const P: u8>(
    s: &Segmenter<'_>,
    level: L,
    documents: &Documents<'_>,
    cursor: &mut Cursor,
    base: usize,
    room: &mut Room,
) -> (usize, usize) {
    let starts = &mut room.batch.starts;
    let (mut n, mut ended) = (0, 0);
    while cursor.document < documents.ends.len() && ended < BATCH {
        // What is behind the document's end is another one's.
        let text = &documents.text[..documents.ends[cursor.document] as usize];
        // Whether the pre-token before `at` goes on there.
        let mut inside = false;
        // The positions are 32 bits wide from the batch's base on; a batch ends before they don't fit.
        while n < BATCH && cursor.at < text.len() && (inside || cursor.at - base < 1 << 30) {
            if P != PLAIN && cursor.hard_end <= cursor.at {
                // The windows wait for each other, so the memory behind them is asked for early.
                prefetch(text.as_ptr().wrapping_add(cursor.at + AHEAD));
                // SAFETY: at is below the end; the caller vouches for the CPU.
                let w = unsafe { window::window::<L, P>(level, text, cursor.at) };
                if w.step != 0 {
                    let mut bits = w.starts;
                    if w.met != 0 {
                        let rest = &text[cursor.at..];
                        // SAFETY: as above.
                        bits |= unsafe {
                            level.cuts(rest.as_ptr(), rest.len().min(64), w.three, w.met, &s.bpe.joints)
                        };
                    }
                    // The window's first start stands there already, or is none; the last one is the next window's.
                    bits &= window::below(w.step + w.inside as u32) & !(inside as u64);
                    inside = w.inside;
                    // SAFETY: n is below BATCH, and 64 values fit behind it.
                    unsafe { level.positions(bits, (cursor.at - base) as u32, starts.as_mut_ptr().add(n)) };
                    n += bits.count_ones() as usize;
                    cursor.at += w.step as usize;
                    continue;
                }
            }
            // The plain way: one pre-token, and its cuts as far as the batch has room.
            if cursor.hard_end <= cursor.at {
                cursor.hard_end = s.pattern.end(text, cursor.at);
            }
            if !inside {
                starts[n] = (cursor.at - base) as u32;
                n += 1;
            }
            inside = false;
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
        if inside {
            // The batch is full: what is not all in it is the next one's.
            n -= 1;
            cursor.at = base + starts[n] as usize;
        }
        if cursor.at < text.len() {
            break;
        }
        room.ends[ended].0 = n as u32;
        ended += 1;
        cursor.document += 1;
        cursor.hard_end = 0;
    }
    starts[n] = (cursor.at - base) as u32;
    (n, ended)
}

/// # Safety
/// The CPU has the level's instructions.
#[inline(always)]
unsafe fn run<L: Level + Passes + Misses, const P: u8>(
    s: Segmenter<'_>,
    level: L,
    state: &mut ThreadState,
    documents: &Documents<'_>,
    out: &mut Out,
    id_ends: &mut [i64],
) {
    let text = documents.text;
    let sixteen = Sixteen::new(text);
    let mut cursor = Cursor { document: 0, at: documents.begin, hard_end: 0 };
    while cursor.document < documents.ends.len() {
        let (base, document) = (cursor.at, cursor.document);
        let room = &mut *state.room;
        // SAFETY: the caller vouches for the CPU.
        let (n, ended) = unsafe { boundaries::<L, P>(&s, level, documents, &mut cursor, base, room) };
        let (mut used, mut missed, mut from, mut end) = (0usize, 0usize, 0, 0);
        while from < n || end < ended {
            let chunk = n.min(from + CHUNK);
            // SAFETY: the starts are places in the text, chunk <= n; the caller vouches for the CPU.
            unsafe { level.keys(&mut room.batch, from, chunk, &sixteen, base, &state.front) };
            loop {
                let to = if end < ended { chunk.min(room.ends[end].0 as usize) } else { chunk };
                // SAFETY: to <= chunk, and the keys are there; the caller vouches for the CPU.
                unsafe { level.probe(&mut room.batch, from, to, &mut used, &mut missed, &state.front) };
                from = to;
                if end == ended || room.ends[end].0 as usize > to {
                    break;
                }
                (room.ends[end].1, room.ends[end].2) = (used as u32, missed as u32);
                end += 1;
            }
        }
        state.seen += n;
        if missed > 0 {
            // SAFETY: the caller vouches for the CPU.
            unsafe { level.resolve(&s, state, documents, base, missed) };
        }
        let (mut copied, mut m) = (0, 0);
        for end in 0..=ended {
            let (ids, misses) = match state.room.ends[..ended].get(end) {
                Some(end) => (end.1 as usize, end.2 as usize),
                None => (used, missed),
            };
            while m < misses {
                let room = &*state.room;
                let (i, to) = (room.batch.missed[m].0 as usize, room.batch.missed[m].1 as usize);
                out.extend(&room.batch.ids, copied, to - copied);
                copied = to;
                let (at, n) = room.results[m];
                if n == LARGE {
                    let starts = &room.batch.starts;
                    let (begin, end) = (base + starts[i] as usize, base + starts[i + 1] as usize);
                    s.bpe.merge(&text[begin..end], &mut state.scratch, |id, _| out.push(id));
                } else {
                    out.extend(&room.found, at as usize, n as usize);
                }
                m += 1;
            }
            out.extend(&state.room.batch.ids, copied, ids - copied);
            copied = ids;
            if end < ended {
                id_ends[document + end] = out.len as i64;
            }
        }
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
        documents: &Documents<'_>,
        base: usize,
        missed: usize,
    );
}

/// `run` and `resolve` of a level, compiled with its instructions: those that its constructor looks for.
macro_rules! compiled {
    ($run:ident, $level:ty, $lanes:literal, $($feature:literal)?) => {
        /// # Safety
        /// The CPU has the level's instructions.
        $(#[target_feature(enable = $feature)])?
        unsafe fn $run<const P: u8>(
            s: Segmenter<'_>, level: $level, state: &mut ThreadState, documents: &Documents<'_>, out: &mut Out,
            id_ends: &mut [i64],
        ) {
            // SAFETY: the caller vouches for the CPU.
            unsafe { run::<$level, P>(s, level, state, documents, out, id_ends) }
        }

        impl Misses for $level {
            #[inline(always)]
            unsafe fn resolve(
                self, s: &Segmenter<'_>, state: &mut ThreadState, documents: &Documents<'_>, base: usize,
                missed: usize,
            ) {
                #[inline(never)]
                $(#[target_feature(enable = $feature)])?
                unsafe fn compiled(
                    s: &Segmenter<'_>, state: &mut ThreadState, documents: &Documents<'_>, base: usize,
                    missed: usize,
                ) {
                    resolve::<$lanes>(s, state, documents, base, missed)
                }
                // SAFETY: the caller vouches for the CPU.
                unsafe { compiled(s, state, documents, base, missed) }
            }
        }
    };
}
compiled!(portable, Portable, false,);
#[cfg(target_arch = "x86_64")]
compiled!(avx2, window::x86::Avx2, false, "avx2,bmi1,bmi2,popcnt,lzcnt,sse4.2");
#[cfg(target_arch = "x86_64")]
compiled!(
    avx512,
    window::x86::Avx512,
    true,
    "avx2,bmi1,bmi2,popcnt,lzcnt,sse4.2,avx512f,avx512bw,avx512vl,avx512dq,avx512cd,avx512vbmi,avx512vbmi2,aes,vaes"
);
#[cfg(target_arch = "aarch64")]
compiled!(neon, window::aarch64::Neon, false,);

/// Fills `results` for the pre-tokens of this batch that are not in the front cache: from the other caches and the
/// vocabulary in a first pass, by merging several at a time in a second one.
#[inline(always)]
fn resolve<const WITH_LANES: bool>(
    s: &Segmenter<'_>,
    state: &mut ThreadState,
    documents: &Documents<'_>,
    base: usize,
    missed: usize,
) {
    let text = documents.text;
    let room = &mut *state.room;
    let Batch { keys, lines, starts, missed: misses, .. } = &room.batch;
    let place = |m: usize| {
        let i = misses[m].0 as usize;
        (i, base + starts[i] as usize, base + starts[i + 1] as usize)
    };
    // Of up to 31 bytes: the key in the wide cache.
    let key = |m: usize| {
        let (i, begin, end) = place(m);
        if end - begin < 16 { [keys[i], 0] } else { wide_key(&text[begin..end]) }
    };
    for m in 0..missed {
        let (i, begin, end) = place(m);
        let len = end - begin;
        room.hashes[m] = if len < 16 {
            let hash = crate::bpe::hash_key(keys[i]);
            if state.front.is_wide(keys[i], lines[i], hash) {
                state.wide.prefetch(hash);
            } else {
                s.bpe.prefetch_short(hash);
            }
            hash
        } else if len < 32 {
            let hash = wide_hash(&key(m));
            state.wide.prefetch(hash);
            hash
        } else {
            0
        };
    }
    room.queued.fill(0);
    let (mut used, mut queue, mut same) = (0usize, 0, 0);
    for m in 0..missed {
        let (i, begin, end) = place(m);
        let (len, hash) = (end - begin, room.hashes[m]);
        let found = room.found[used..].as_mut_ptr();
        let mut done = |n: usize| {
            room.results[m] = (used as u32, n as u32);
            used += n;
        };
        let mut wide = len < 32;
        let mut id = u32::MAX;
        if len < 16 {
            // SAFETY: `found` has room for SMALL ids a missed pre-token.
            match unsafe { state.front.late(keys[i], lines[i], hash, found) } {
                Late::Ids(n) => {
                    done(n);
                    continue;
                }
                Late::Wide => {}
                Late::Unknown => {
                    wide = false;
                    id = s.bpe.short(keys[i], hash);
                }
            }
        }
        let whole = |id: u32| {
            // A token that merges don't make is one only as a whole pre-token, never as a piece of one; the
            // cache does not know which it is, so it does not hold those that may be either.
            let doubtful = id != u32::MAX && id & PIECE_DOUBTFUL != 0;
            let is = id != u32::MAX && (!doubtful || !documents.cut(s, begin) && !documents.cut(s, end));
            (is, doubtful)
        };
        let (is, mut doubtful) = whole(id);
        if is {
            if !doubtful {
                state.front.insert(keys[i], lines[i], &[id]);
            }
            // SAFETY: as above.
            unsafe { *found = id & ID };
            done(1);
            continue;
        }
        if wide && !doubtful {
            // SAFETY: as above.
            let n = unsafe { state.wide.find(&key(m), hash, found) };
            if n > 0 {
                done(n);
                continue;
            }
        }
        if len >= 16 {
            let id = s.bpe.long(&text[begin..end]);
            let (is, in_doubt) = whole(id);
            doubtful = in_doubt;
            if is {
                if len < 32 && !doubtful {
                    state.wide.insert(&key(m), hash, &[id & ID]);
                }
                // SAFETY: as above.
                unsafe { *found = id & ID };
                done(1);
                continue;
            }
        }
        if len > SMALL {
            room.results[m].1 = LARGE;
            continue;
        }
        // The same pre-token may be waiting already.
        let at = (hash >> 20) as usize % QUEUED;
        if len < 32 && !doubtful {
            let other = room.queued[at] as usize;
            if other > 0 {
                let (_, b, e) = place(other - 1);
                if text[b..e] == text[begin..end] {
                    room.same[same] = (m as u16, other as u16 - 1);
                    same += 1;
                    continue;
                }
            }
            room.queued[at] = m as u16 + 1;
        }
        // To be merged: at most an id a byte.
        room.results[m] = (used as u32, 0);
        used += len;
        room.queue[queue] = m as u16 | if doubtful { DOUBTFUL } else { 0 };
        queue += 1;
    }
    state.merged += queue;
    // Each result to its place and into a cache.
    macro_rules! done {
        ($of:expr, $n:expr) => {{
            let (of, n): (u16, usize) = ($of, $n);
            let m = (of & !DOUBTFUL) as usize;
            let (i, begin, end) = place(m);
            let at = room.results[m].0 as usize;
            room.results[m].1 = n as u32;
            let ids = &room.found[at..][..n];
            if of & DOUBTFUL != 0 {
            } else if end - begin < 16 && n <= FRONT_IDS {
                state.front.insert(keys[i], lines[i], ids);
            } else if end - begin < 32 && n <= WIDE_IDS {
                if end - begin < 16 {
                    state.front.insert_wide(keys[i], lines[i]);
                }
                state.wide.insert(&key(m), room.hashes[m], ids);
            }
        }};
    }
    #[cfg(target_arch = "x86_64")]
    if WITH_LANES && queue > 3 {
        // By length, so that the lanes of a group end together; the longest ones stay for the jobs.
        let length = |of: u16| {
            let (_, begin, end) = place((of & !DOUBTFUL) as usize);
            end - begin
        };
        room.queue[..queue].sort_unstable_by_key(|of| std::cmp::Reverse(length(*of)));
        let long = room.queue[..queue].partition_point(|of| length(*of) > LONGEST);
        let mut at = long;
        while at < queue {
            let count = (queue - at).min(2 * LANES);
            // Two groups if one is not enough, of about the same length.
            let groups = count.div_ceil(LANES);
            let each = count.div_ceil(groups);
            for (g, lanes) in room.lanes[..groups].iter_mut().enumerate() {
                lanes.clear();
                for (lane, of) in room.queue[at..at + count].iter().skip(g * each).take(each).enumerate() {
                    let (_, begin, end) = place((of & !DOUBTFUL) as usize);
                    lanes.set(lane, &text[begin..end]);
                }
            }
            // SAFETY: WITH_LANES is for a level that has the instructions, which the caller vouches for.
            unsafe { lanes::merge(&mut room.lanes[..groups], s.bpe) };
            for i in 0..count {
                let of = room.queue[at + i];
                let to = room.results[(of & !DOUBTFUL) as usize].0 as usize;
                let n = room.lanes[i / each].ids(i % each, &mut room.found[to..]);
                done!(of, n);
            }
            at += count;
        }
        queue = long;
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
                let at = room.results[(*of as u16 & !DOUBTFUL) as usize].0 as usize;
                let mut n = 0;
                s.bpe.ids(job, |id, _| {
                    room.found[at + n] = id;
                    n += 1;
                });
                done!(*of as u16, n);
                *of = IDLE;
                working -= 1;
            }
            if next < queue {
                *of = room.queue[next] as u32;
                next += 1;
                let (_, begin, end) = place((*of as u16 & !DOUBTFUL) as usize);
                s.bpe.start(job, &text[begin..end]);
            }
        }
    }
    for (m, other) in &room.same[..same] {
        room.results[*m as usize] = room.results[*other as usize];
    }
}

/// Places for the hashes of what is queued.
const QUEUED: usize = 512;

/// In the queue of merges: the result stays out of the caches.
const DOUBTFUL: u16 = 1 << 15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Random, seed};
    use crate::{FastTokenizer, Options};
    use base64::{Engine, prelude::BASE64_STANDARD};

    /// Text of which every pre-token has to be merged makes the caches grow, step by step up to what they may have and
    /// no further; what they hold makes no difference to ids; and text that they have room for leaves them as they are.
    #[test]
    fn caches_grow_while_they_are_too_small() {
        let ranks: String = (0..=255u8).map(|b| format!("{} {b}\n", BASE64_STANDARD.encode([b]))).collect();
        let t =
            FastTokenizer::from_tiktoken(ranks.as_bytes(), crate::patterns::CL100K, &[], &Options::default());
        let t = t.unwrap();
        let mut r = Random(seed());
        let mut text = |words: usize| -> String {
            let word =
                |r: &mut Random| (0..8).map(|_| (b'a' + r.below(26) as u8) as char).collect::<String>();
            (0..words).map(|_| word(&mut r) + " ").collect()
        };
        let bytes = |text: &str| text.bytes().map(u32::from).collect::<Vec<_>>();

        let mut state = ThreadState::new(40 << 20);
        let few = text(1000);
        for _ in 0..1000 {
            assert!(t.encode(&mut state, &few).unwrap() == bytes(&few));
        }
        assert_eq!(state.bytes, CACHES_AT_FIRST);
        let mut sizes = vec![state.bytes];
        for _ in 0..2000 {
            let new = text(1000);
            assert!(t.encode(&mut state, &new).unwrap() == bytes(&new));
            assert!(t.encode(&mut state, &few).unwrap() == bytes(&few));
            if sizes.last() != Some(&state.bytes) {
                sizes.push(state.bytes);
            }
        }
        assert_eq!(sizes, [CACHES_AT_FIRST, 4 * CACHES_AT_FIRST, state.most]);
        assert!(state.most < 40 << 20);

        let mut small = ThreadState::new(1 << 20);
        for _ in 0..100 {
            let new = text(1000);
            assert!(t.encode(&mut small, &new).unwrap() == bytes(&new));
        }
        assert!(small.bytes == small.most && small.most < 1 << 20);
    }
}
