//! A thread's caches of pre-tokens and their ids, and the two passes over a batch that most pre-tokens end in:
//! all keys, then all look-ups, without a branch that depends on the text.
//!
//! A pre-token of up to 15 bytes is its own key, with its length in the last byte: equal keys are equal pre-tokens,
//! so what the cache says is what would be computed again, whatever was evicted in between. Longer ones, up to 31
//! bytes, and those of many ids stand in `Wide`. Results are copied out before the next look-up; nothing keeps a
//! pointer into a cache. Tests: `front_gives_what_came_in`, `wide_gives_what_came_in`,
//! `caches_and_threads_change_nothing`.
use crate::bpe::{hash_key, prefetch};
use crate::memory::{Carver, Table};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::window;
use crate::window::Portable;

/// Pre-tokens a batch: many, since what is merged is merged sixteen at a time.
pub const BATCH: usize = 1024;
/// Pre-tokens whose lines are asked for before they are looked at: they have to stay in the first-level cache.
pub const CHUNK: usize = 256;
/// What one window (or one stop of the plain way) may add to a full batch, and the end.
pub const SLACK: usize = 64 + 64 + 1;
/// Ids an entry of the front cache holds.
pub const FRONT_IDS: usize = 4;
/// Ids an entry of the wide cache holds: in one slot, in both of its bucket.
const SLOT_IDS: usize = 8;
pub const WIDE_IDS: usize = 23;
/// The number of ids stands in the first one's top bits.
pub const COUNT_SHIFT: u32 = 28;
pub const ID: u32 = (1 << COUNT_SHIFT) - 1;

/// A batch of pre-tokens on its way to ids.
#[repr(C, align(64))]
pub struct Batch {
    pub keys: [u128; BATCH + SLACK],
    /// Where each pre-token's line of the front cache is, in bytes.
    pub lines: [u32; BATCH + SLACK + 4],
    /// Begins, relative to the batch's base; the one behind the last is its end.
    pub starts: [u32; BATCH + SLACK + 64],
    /// The ids of what the front cache knew, without gaps.
    pub ids: [u32; (BATCH + SLACK) * FRONT_IDS + FRONT_IDS],
    /// What it did not know: which pre-token, and how many of `ids` come before it.
    pub missed: [(u32, u32); BATCH + SLACK],
}

/// Two entries, the newer one first.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub struct FrontLine([FrontEntry; 2]);
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub struct FrontEntry {
    key: u128,
    /// The first one's top bits are their number. None: they are in the wide cache.
    ids: [u32; FRONT_IDS],
}

/// What `Front::late` knows.
pub enum Late {
    Ids(usize),
    Wide,
    Unknown,
}

/// Short pre-tokens. Each has two lines: its first is what the pass over a batch looks at; an entry that another
/// pushes out of there moves to its second, which only what was missed is looked up in.
pub struct Front {
    lines: Table<FrontLine>,
}

impl Front {
    pub fn new(bytes: usize, memory: &mut Carver) -> Front {
        // Offsets of lines are 32 bits wide.
        let lines = (bytes.min(u32::MAX as usize) / size_of::<FrontLine>()).max(1);
        Front { lines: memory.table(lines) }
    }
    pub fn clear(&mut self) {
        self.lines.clear()
    }
    #[inline(always)]
    fn line(&self, offset: u32) -> *mut FrontLine {
        // SAFETY: `lines` of a batch, and `second`, are offsets of lines.
        unsafe { self.lines.as_ptr().cast_mut().byte_add(offset as usize) }
    }
    /// The offset of a pre-token's second line, from `hash_key`.
    #[inline(always)]
    fn second(&self, hash: u64) -> u32 {
        (self.lines.index(hash.rotate_left(32)) * size_of::<FrontLine>()) as u32
    }
    /// Whether a pre-token that was missed has its entry in its first line all the same: then it is in the wide cache.
    /// If not, its second line is on its way.
    #[inline(always)]
    pub fn is_wide(&self, key: u128, line: u32, hash: u64) -> bool {
        // SAFETY: a line of the table, which only this thread has.
        let first = unsafe { &(*self.line(line)).0 };
        let here = first[0].key == key || first[1].key == key;
        if !here {
            prefetch(self.line(self.second(hash)).cast());
        }
        here
    }
    /// What the cache knows of a pre-token that the pass over the batch did not find: it may have come in since then, or
    /// stand in its second line. Ids are copied to `to` (four of them, whatever is behind the last).
    ///
    /// # Safety
    /// `line` is the key's of a batch; `to` is valid for writes of FRONT_IDS values.
    #[inline(always)]
    pub unsafe fn late(&mut self, key: u128, line: u32, hash: u64, to: *mut u32) -> Late {
        // SAFETY: lines of the table, which only this thread has.
        let (first, second) = unsafe { (&*self.line(line), &*self.line(self.second(hash))) };
        let known = |e: &&FrontEntry| e.key == key;
        let (entry, promote) = match first.0.iter().find(known) {
            Some(entry) => (*entry, false),
            None => match second.0.iter().find(known) {
                Some(entry) => (*entry, true),
                None => return Late::Unknown,
            },
        };
        if promote {
            self.put(key, line, entry.ids);
        }
        // SAFETY: as the caller's.
        unsafe { to.cast::<[u32; FRONT_IDS]>().write_unaligned(without_count(entry.ids)) };
        match entry.ids[0] >> COUNT_SHIFT {
            0 => Late::Wide,
            n => Late::Ids(n as usize),
        }
    }
    /// An entry that says: look in the wide cache.
    #[inline(always)]
    pub fn insert_wide(&mut self, key: u128, line: u32) {
        self.put(key, line, [0; FRONT_IDS]);
    }
    /// A new entry of at most FRONT_IDS ids; `line` is the key's of a batch.
    #[inline(always)]
    pub fn insert(&mut self, key: u128, line: u32, ids: &[u32]) {
        let mut all = [0; FRONT_IDS];
        all[..ids.len()].copy_from_slice(ids);
        all[0] |= (ids.len() as u32) << COUNT_SHIFT;
        self.put(key, line, all);
    }
    #[inline(always)]
    fn put(&mut self, key: u128, line: u32, ids: [u32; FRONT_IDS]) {
        // SAFETY: lines of the table, which only this thread has; one reference at a time.
        unsafe {
            let first = &mut *self.line(line);
            let old = first.0[1];
            first.0[1] = first.0[0];
            first.0[0] = FrontEntry { key, ids };
            // One id: the vocabulary knows it.
            if old.ids[0] >> COUNT_SHIFT != 1 && old.key != 0 && old.key != key {
                let second = self.second(hash_key(old.key));
                if second != line {
                    // Without a look at what is there: it would have to be waited for.
                    (*self.line(second)).0[1] = old;
                }
            }
        }
    }
}

#[inline(always)]
fn without_count([first, b, c, d]: [u32; FRONT_IDS]) -> [u32; FRONT_IDS] {
    [first & ID, b, c, d]
}

/// A slot: the key, the ids. An entry of more than SLOT_IDS ids has its whole bucket: then the second slot's key is
/// one that no text has, and all but that word of it are ids.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Slot {
    key: [u128; 2],
    ids: [u32; SLOT_IDS],
}
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Bucket([Slot; 2]);

/// Pre-tokens of up to 31 bytes with up to WIDE_IDS ids: runs of blanks where the vocabulary has no tokens for them,
/// scripts that it knows as bytes, identifiers.
pub struct Wide {
    buckets: Table<Bucket>,
}

/// In the first byte of the second half of a key, where a length is: the slot belongs to the one before.
const TAKEN: u128 = 0xff;

/// The key of 16 to 31 bytes: the first 16 and the last 16, where the length takes the place of one that both have.
#[inline(always)]
pub fn wide_key(text: &[u8]) -> [u128; 2] {
    debug_assert!((16..32).contains(&text.len()));
    let n = text.len();
    let first = u128::from_le_bytes(text[..16].try_into().unwrap());
    let last = u128::from_le_bytes(text[n - 16..].try_into().unwrap());
    [first, last & !0xff | n as u128]
}

#[inline(always)]
pub fn wide_hash(key: &[u128; 2]) -> u64 {
    hash_key(key[0]) ^ hash_key(key[1]).rotate_left(17)
}

impl Wide {
    pub fn new(bytes: usize, memory: &mut Carver) -> Wide {
        Wide { buckets: memory.table((bytes / size_of::<Bucket>()).max(1)) }
    }
    pub fn clear(&mut self) {
        self.buckets.clear()
    }
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        let bucket = self.buckets.slot(hash.rotate_left(16)).cast::<u8>();
        prefetch(bucket);
        prefetch(bucket.wrapping_add(64));
    }
    /// Copies an entry's ids to `to`. -> how many, 0: not here.
    ///
    /// # Safety
    /// `to` is valid for writes of WIDE_IDS values.
    #[inline(always)]
    pub unsafe fn find(&self, key: &[u128; 2], hash: u64, to: *mut u32) -> usize {
        // SAFETY: a bucket of the table, which only this thread has.
        let bucket = unsafe { &*self.buckets.slot(hash.rotate_left(16)) };
        let at = if bucket.0[0].key == *key {
            0
        } else if bucket.0[1].key == *key {
            1
        } else {
            return 0;
        };
        let slot = &bucket.0[at];
        // SAFETY: as the caller's.
        unsafe { to.cast::<[u32; SLOT_IDS]>().write_unaligned(slot.ids) };
        let mut n = slot.ids[0] >> COUNT_SHIFT;
        if n == 15 {
            n = slot.ids[1] >> COUNT_SHIFT | slot.ids[2] >> COUNT_SHIFT << 4;
            let more = &bucket.0[1];
            let words = |key: u128| [0, 32, 64, 96].map(|shift| (key >> shift) as u32);
            let ([a, b, c, d], [_, e, f, g]) = (words(more.key[0]), words(more.key[1]));
            // SAFETY: as the caller's: 8 + 7 + 8 values.
            unsafe {
                to.add(8).cast::<[u32; 7]>().write_unaligned([a, b, c, d, e, f, g]);
                to.add(15).cast::<[u32; SLOT_IDS]>().write_unaligned(more.ids);
            }
        }
        for i in 0..3 {
            // SAFETY: as the caller's.
            unsafe { *to.add(i) &= ID };
        }
        n as usize
    }
    /// An entry of up to WIDE_IDS ids, below 2^28 each.
    #[inline(always)]
    pub fn insert(&mut self, key: &[u128; 2], hash: u64, ids: &[u32]) {
        // SAFETY: a bucket of the table, which only this thread has.
        let bucket = unsafe { &mut *self.buckets.slot(hash.rotate_left(16)) };
        let mut slot = Slot { key: *key, ids: [0; SLOT_IDS] };
        let n = ids.len().min(SLOT_IDS);
        slot.ids[..n].copy_from_slice(&ids[..n]);
        let count = ids.len() as u32;
        if count <= SLOT_IDS as u32 {
            slot.ids[0] |= count << COUNT_SHIFT;
            bucket.0[1] = if bucket.0[1].key[1] & 0xff == TAKEN { EMPTY } else { bucket.0[0] };
        } else {
            slot.ids[0] |= 15 << COUNT_SHIFT;
            slot.ids[1] |= (count & 15) << COUNT_SHIFT;
            slot.ids[2] |= count >> 4 << COUNT_SHIFT;
            let mut more = [0; 15];
            more[..ids.len() - n].copy_from_slice(&ids[n..]);
            let word = |i: usize| more[i] as u128;
            bucket.0[1] = Slot {
                key: [
                    word(0) | word(1) << 32 | word(2) << 64 | word(3) << 96,
                    TAKEN | word(4) << 32 | word(5) << 64 | word(6) << 96,
                ],
                ids: more[7..].try_into().unwrap(),
            };
        }
        bucket.0[0] = slot;
    }
}

const EMPTY: Slot = Slot { key: [0; 2], ids: [0; SLOT_IDS] };

/// Row n: a mask of the first n of 16 bytes, and what the length makes of the last one. Row 16: too long, the last
/// byte is one that no entry has.
#[repr(C, align(64))]
struct KeyMasks([[u128; 2]; 17]);
static KEY_MASKS: KeyMasks = {
    let mut t = [[0; 2]; 17];
    let mut i = 0;
    while i < 17 {
        t[i] = [(1 << (8 * if i < 15 { i } else { 15 })) - 1, (i as u128) << 120];
        i += 1;
    }
    KeyMasks(t)
};

/// The 16 bytes at a place of a text, also at its end.
pub struct Sixteen<'t> {
    text: &'t [u8],
    tail: [u8; 32],
    tail_from: usize,
}

impl<'t> Sixteen<'t> {
    pub fn new(text: &'t [u8]) -> Sixteen<'t> {
        let mut tail = [0u8; 32];
        let tail_from = text.len().saturating_sub(16);
        tail[..text.len() - tail_from].copy_from_slice(&text[tail_from..]);
        Sixteen { text, tail, tail_from }
    }
    /// A pointer to 16 readable bytes: those at `at` (below the text's length), zeros behind the text.
    #[inline(always)]
    fn at(&self, at: usize) -> *const u8 {
        debug_assert!(at < self.text.len());
        if at + 16 <= self.text.len() {
            self.text.as_ptr().wrapping_add(at)
        } else {
            self.tail.as_ptr().wrapping_add(at - self.tail_from)
        }
    }
}

/// The two passes, for a level of SIMD: the plain ones, unless it has its own.
pub trait Passes: Copy {
    /// Keys and lines of the pre-tokens from `from` to `to` of a batch that begins at `base`, and the lines are on their
    /// way.
    ///
    /// # Safety
    /// The batch's starts are places in the text, and the CPU has the level's instructions.
    #[inline(always)]
    unsafe fn keys(
        self,
        batch: &mut Batch,
        from: usize,
        to: usize,
        text: &Sixteen<'_>,
        base: usize,
        front: &Front,
    ) {
        for i in from..to {
            let start = batch.starts[i];
            let len = (batch.starts[i + 1] - start).min(16) as usize;
            // SAFETY: 16 bytes are readable there.
            let bytes = unsafe { text.at(base + start as usize).cast::<u128>().read_unaligned() }.to_le();
            let [mask, length] = KEY_MASKS.0[len];
            let key = bytes & mask | length;
            let line = (front.lines.index(hash_key(key)) * size_of::<FrontLine>()) as u32;
            prefetch(front.line(line).cast());
            batch.keys[i] = key;
            batch.lines[i] = line;
        }
    }
    /// Looks up the pre-tokens from `from` to `to`; `found` and `missed` go on from what they are.
    ///
    /// # Safety
    /// `keys` has done them, and the CPU has the level's instructions.
    #[inline(always)]
    unsafe fn probe(
        self,
        batch: &mut Batch,
        from: usize,
        to: usize,
        found: &mut usize,
        missed: &mut usize,
        front: &Front,
    ) {
        let (mut used, mut gone) = (*found, *missed);
        for i in from..to {
            let key = batch.keys[i];
            let line = front.line(batch.lines[i]).cast::<FrontEntry>();
            // SAFETY: a line has two entries, inside of the table; used <= i * FRONT_IDS, gone <= i. No branches: they
            // would be mispredicted all the time.
            unsafe {
                let differs = |e: *const FrontEntry| {
                    let x = (*e).key ^ key;
                    x as u64 | (x >> 64) as u64
                };
                let (a, b) = (differs(line) == 0, differs(line.add(1)) == 0);
                let ids = (*line.add(b as usize)).ids;
                let hit = (a | b) as usize;
                batch
                    .ids
                    .as_mut_ptr()
                    .add(used)
                    .cast::<[u32; FRONT_IDS]>()
                    .write_unaligned(without_count(ids));
                *batch.missed.as_mut_ptr().add(gone) = (i as u32, used as u32);
                let count = (ids[0] >> COUNT_SHIFT) as usize & hit.wrapping_neg();
                used += count;
                gone += (count == 0) as usize;
            }
        }
        (*found, *missed) = (used, gone);
    }
}

impl Passes for Portable {}
#[cfg(target_arch = "x86_64")]
impl Passes for window::x86::Avx2 {}
#[cfg(target_arch = "aarch64")]
impl Passes for window::aarch64::Neon {}

/// Four keys at a time, hashed by two rounds of AES; a line is compared at once. The hash differs from the other
/// levels', which shows in nothing but which line an entry is in.
#[cfg(target_arch = "x86_64")]
impl Passes for window::x86::Avx512 {
    #[inline(always)]
    unsafe fn keys(
        self,
        batch: &mut Batch,
        from: usize,
        to: usize,
        text: &Sixteen<'_>,
        base: usize,
        front: &Front,
    ) {
        // How many have all of their 16 bytes in the text.
        let mut safe = to;
        while safe > from && base + batch.starts[safe - 1] as usize + 16 > text.text.len() {
            safe -= 1;
        }
        let mut i = from;
        while i + 4 <= safe {
            // SAFETY: i + k < to, a pre-token of the batch.
            let start = |k: usize| unsafe { *batch.starts.as_ptr().add(i + k) } as usize;
            let place = |k: usize| text.text.as_ptr().wrapping_add(base + start(k));
            // SAFETY: 16 bytes are readable at the places; i < n; the CPU has the instructions.
            unsafe { four_keys(batch, i, [place(0), place(1), place(2), place(3)], front) };
            i += 4;
        }
        while i < to {
            let place = |k: usize| text.at(base + batch.starts[(i + k).min(to - 1)] as usize);
            // SAFETY: 16 bytes are readable at the places; i < n; the CPU has the instructions.
            unsafe { four_keys(batch, i, [place(0), place(1), place(2), place(3)], front) };
            i += 4;
        }
    }

    #[inline(always)]
    unsafe fn probe(
        self,
        batch: &mut Batch,
        from: usize,
        to: usize,
        found: &mut usize,
        missed: &mut usize,
        front: &Front,
    ) {
        use std::arch::x86_64::*;
        let (mut used, mut gone) = (*found, *missed);
        for i in from..to {
            // SAFETY: i < to, a pre-token of the batch; a line of the table; used <= i * FRONT_IDS, gone <= i; the CPU has
            // the instructions.
            unsafe {
                let line = front.line(*batch.lines.as_ptr().add(i));
                let key = _mm512_broadcast_i32x4(_mm_load_si128(batch.keys.as_ptr().add(i).cast()));
                let equal = _mm512_cmpeq_epi64_mask(key, _mm512_load_si512(line.cast())) as u32;
                // Bit 0: the first entry is it; bit 4: the second one.
                let hit = equal & equal >> 1 & 0x11;
                let ids = line.cast::<u8>().add(16 + (hit & 0x10) as usize * 2);
                let all = _mm_load_si128(ids.cast());
                let plain = _mm_and_si128(all, _mm_set_epi32(-1, -1, -1, ID as i32));
                _mm_storeu_si128(batch.ids.as_mut_ptr().add(used).cast(), plain);
                *batch.missed.as_mut_ptr().add(gone).cast::<u64>() = i as u64 | (used as u64) << 32;
                let count = (_mm_cvtsi128_si32(all) as u32 >> COUNT_SHIFT) as usize;
                let count = if hit != 0 { count } else { 0 };
                used += count;
                gone += (count == 0) as usize;
            }
        }
        (*found, *missed) = (used, gone);
    }
}

/// Any numbers: keys of the hash.
#[cfg(target_arch = "x86_64")]
const K: [i64; 2] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344];

/// Keys and lines of the pre-tokens i to i + 3.
///
/// # Safety
/// 16 bytes are readable at each of the places, i is one of the batch's pre-tokens, and the CPU has AVX-512 (VBMI) and
/// VAES.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn four_keys(batch: &mut Batch, i: usize, places: [*const u8; 4], front: &Front) {
    use std::arch::x86_64::*;
    // SAFETY: as the caller's; the batch has room for three more.
    unsafe {
        let at = |k: usize| _mm_loadu_si128(places[k].cast());
        let low = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(at(0)), at(1));
        let high = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(at(2)), at(3));
        let bytes = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
        let begin = _mm_loadu_si128(batch.starts.as_ptr().add(i).cast());
        let end = _mm_loadu_si128(batch.starts.as_ptr().add(i + 1).cast());
        let len = _mm_min_epu32(_mm_sub_epi32(end, begin), _mm_set1_epi32(16));
        // Each length in all 16 bytes of its lane.
        let lens = _mm512_shuffle_epi8(
            _mm512_permutexvar_epi32(
                _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0),
                _mm512_castsi128_si512(len),
            ),
            _mm512_setzero_si512(),
        );
        let counting =
            _mm512_broadcast_i32x4(_mm_set_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
        let key = _mm512_maskz_mov_epi8(_mm512_cmplt_epu8_mask(counting, lens), bytes);
        let key = _mm512_mask_mov_epi8(key, 0x8000_8000_8000_8000, lens);
        _mm512_storeu_si512(batch.keys.as_mut_ptr().add(i).cast(), key);
        let round = _mm512_set_epi64(K[1], K[0], K[1], K[0], K[1], K[0], K[1], K[0]);
        let hash = _mm512_aesenc_epi128(_mm512_aesenc_epi128(key, round), round);
        // The upper half of (32 bits * number of lines) is the line.
        let line = _mm512_srli_epi64::<32>(_mm512_mul_epu32(
            hash,
            _mm512_set1_epi64(front.lines.len() as u32 as i64),
        ));
        let line = _mm512_slli_epi64::<6>(line);
        let lines = _mm512_castsi512_si128(_mm512_permutexvar_epi32(
            _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 8, 4, 0),
            line,
        ));
        _mm_storeu_si128(batch.lines.as_mut_ptr().add(i).cast(), lines);
        for k in 0..4 {
            prefetch(front.line(*batch.lines.as_ptr().add(i + k)).cast());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpe::key_of;
    use crate::random::{Random, seed};
    use std::collections::HashMap;

    /// What a tokenizer would make of a pre-token, the same each time: `most` ids at most, the greatest ones too.
    fn ids(generation: u64, text: &[u8], most: usize) -> Vec<u32> {
        let mut r = Random(crate::bpe::hash_bytes(text) ^ generation | 1);
        r.next();
        let n = 1 + r.below(most);
        (0..n).map(|_| if r.below(8) == 0 { ID } else { r.below(1 << COUNT_SHIFT) as u32 }).collect()
    }

    /// Pre-tokens that differ in little: in length, in the last byte, in a zero more.
    fn pre_tokens(r: &mut Random, n: usize, longest: usize) -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> = Vec::new();
        while all.len() < n {
            let mut text: Vec<u8> = match all.len() {
                0 => vec![],
                old if r.below(2) == 0 => all[r.below(old)].clone(),
                _ => (0..r.below(longest)).map(|_| r.below(256) as u8).collect(),
            };
            text.push([0, 0xff, b' ', b'a', r.below(256) as u8][r.below(5)]);
            if text.len() <= longest {
                all.push(text);
            }
        }
        all
    }

    fn levels(
        mut test: impl FnMut(&mut dyn FnMut(&mut Batch, usize, &[u8], usize, &Front) -> (usize, usize)),
    ) {
        macro_rules! with {
            ($level:expr) => {{
                let level = $level;
                test(&mut |batch, n, text, base, front| {
                    let (mut found, mut missed) = (0, 0);
                    let sixteen = Sixteen::new(text);
                    for from in (0..n).step_by(CHUNK) {
                        // SAFETY: the starts are places in the text; holding the level proves that the CPU has the
                        // instructions.
                        unsafe {
                            level.keys(batch, from, n.min(from + CHUNK), &sixteen, base, front);
                            // In two steps, as where a document ends.
                            let middle = from + (n.min(from + CHUNK) - from) / 3;
                            level.probe(batch, from, middle, &mut found, &mut missed, front);
                            level.probe(batch, middle, n.min(from + CHUNK), &mut found, &mut missed, front);
                        }
                    }
                    (found, missed)
                })
            }};
        }
        with!(Portable);
        #[cfg(target_arch = "x86_64")]
        if let Some(level) = window::x86::Avx2::new() {
            with!(level);
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(level) = window::x86::Avx512::new() {
            with!(level);
        }
    }

    /// Batches go through the front cache as in an encoding. Whatever it finds is what came in, and it finds.
    #[test]
    fn front_gives_what_came_in() {
        let mut r = Random(seed());
        // SAFETY: numbers, which may be zero.
        let mut batch: Box<Batch> = Box::new(unsafe { std::mem::zeroed() });
        for (lines, pool) in [(1, 30), (7, 100), (64, 300), (5000, 600)] {
            let pool = pre_tokens(&mut r, pool, 20);
            levels(|passes| {
                let mut front = Front::new(lines * 64, &mut Carver::new(lines * 64));
                let (mut hits, mut late, mut promoted, mut wide, mut unknown) = (0, 0, 0, 0, 0);
                for round in 0..60 {
                    let generation = round / 20;
                    if round % 20 == 0 {
                        front.clear();
                    }
                    let (base, n) = (r.below(5), r.below(BATCH + 1));
                    let mut text = vec![b'.'; base];
                    for i in 0..n {
                        batch.starts[i] = (text.len() - base) as u32;
                        text.extend(&pool[r.below(pool.len())]);
                    }
                    batch.starts[n] = (text.len() - base) as u32;
                    text.extend(&b"behind the last one"[r.below(20)..]);
                    let (found, missed) = passes(&mut batch, n, &text, base, &front);
                    let place = |batch: &Batch, i: usize| {
                        &text[base + batch.starts[i] as usize..base + batch.starts[i + 1] as usize]
                    };
                    // Of more than FRONT_IDS ids: in the wide cache.
                    let of = |text: &[u8]| ids(generation, text, 6);
                    let (mut m, mut at) = (0, 0);
                    for i in 0..n {
                        let text = place(&batch, i);
                        assert_eq!(text.len() < 16, batch.keys[i] >> 120 < 16);
                        if text.len() < 16 {
                            assert_eq!(batch.keys[i], key_of(text));
                        }
                        if m < missed && batch.missed[m].0 as usize == i {
                            assert_eq!(batch.missed[m].1 as usize, at);
                            m += 1;
                            continue;
                        }
                        let wanted = of(text);
                        assert!(text.len() < 16 && wanted.len() <= FRONT_IDS);
                        assert_eq!(batch.ids[at..at + wanted.len()], wanted);
                        at += wanted.len();
                        hits += 1;
                    }
                    assert_eq!((m, at), (missed, found));
                    for (i, _) in &batch.missed[..missed] {
                        let (text, key, line) =
                            (place(&batch, *i as usize), batch.keys[*i as usize], batch.lines[*i as usize]);
                        if text.len() >= 16 {
                            continue;
                        }
                        let (hash, wanted) = (hash_key(key), of(text));
                        let in_first = front.is_wide(key, line, hash);
                        let mut out = [7; FRONT_IDS];
                        // SAFETY: room for FRONT_IDS values.
                        match unsafe { front.late(key, line, hash, out.as_mut_ptr()) } {
                            Late::Ids(n) => {
                                assert_eq!(out[..n], wanted);
                                late += 1;
                                promoted += !in_first as usize;
                            }
                            Late::Wide => {
                                assert!(wanted.len() > FRONT_IDS);
                                wide += 1;
                            }
                            Late::Unknown => {
                                assert!(!in_first);
                                match wanted.len() {
                                    ..=FRONT_IDS => front.insert(key, line, &wanted),
                                    _ => front.insert_wide(key, line),
                                }
                                unknown += 1;
                            }
                        }
                        assert!(front.is_wide(key, line, hash), "it stands in its first line now");
                    }
                }
                println!(
                    "{lines}: {hits} hits, {late} late, {promoted} promoted, {wide} wide, {unknown} unknown"
                );
                assert!(hits > 1000 / pool.len() && late > 0 && wide > 0 && unknown > 0);
                assert!(promoted > 0 || lines == 1 || lines == 5000);
                // With room for all of them each comes in once a generation, and hardly more.
                assert!(lines < 5000 || unknown < 4 * pool.len());
            });
        }
    }

    /// What two others push out of its first line is found in its second one, and comes back; of one id it is gone.
    #[test]
    fn front_gives_a_second_chance() {
        for (n, again) in [(1, false), (2, true), (FRONT_IDS, true)] {
            let mut front = Front::new(64 * 64, &mut Carver::new(64 * 64));
            let (key, line) = (key_of(b"pushed out"), 5 * 64);
            let hash = hash_key(key);
            assert_ne!(front.second(hash), line);
            let wanted = &[1, 2, 3, ID][..n];
            front.insert(key, line, wanted);
            front.insert(key_of(b"x"), line, &[5]);
            front.insert(key_of(b"y"), line, &[6]);
            assert!(!front.is_wide(key, line, hash));
            let mut out = [7; FRONT_IDS];
            // SAFETY: room for FRONT_IDS values.
            let found = unsafe { front.late(key, line, hash, out.as_mut_ptr()) };
            match found {
                Late::Ids(found) => assert_eq!((&out[..found], again), (wanted, true)),
                _ => assert!(!again && matches!(found, Late::Unknown)),
            }
            assert_eq!(front.is_wide(key, line, hash), again);
        }
    }

    #[test]
    fn wide_gives_what_came_in() {
        let mut r = Random(seed());
        for (buckets, pool) in [(1, 20), (2, 40), (300, 400), (4000, 400)] {
            let mut wide =
                Wide::new(buckets * size_of::<Bucket>(), &mut Carver::new(buckets * size_of::<Bucket>()));
            let pool = pre_tokens(&mut r, pool, 31);
            let (mut found_in_all, mut not_found, mut both) = (0, 0, 0);
            for generation in 0..3 {
                wide.clear();
                let mut known: HashMap<&[u8], Vec<u32>> = HashMap::new();
                let mut last: Option<&[u8]> = None;
                for _ in 0..4000 {
                    let text = &pool[r.below(pool.len())][..];
                    let place = |text: &[u8]| {
                        let key = if text.len() < 16 { [key_of(text), 0] } else { wide_key(text) };
                        let hash = if text.len() < 16 { hash_key(key[0]) } else { wide_hash(&key) };
                        (key, hash)
                    };
                    let find = |wide: &Wide, text: &[u8]| {
                        let (key, hash) = place(text);
                        let mut out = [7; WIDE_IDS + 1];
                        // SAFETY: room for WIDE_IDS values.
                        let n = unsafe { wide.find(&key, hash, out.as_mut_ptr()) };
                        assert_eq!(out[WIDE_IDS], 7);
                        out[..n].to_vec()
                    };
                    let found = find(&wide, text);
                    if !found.is_empty() {
                        assert_eq!(Some(&found), known.get(text), "{text:?}");
                        found_in_all += 1;
                        continue;
                    }
                    not_found += 1;
                    let wanted = ids(generation, text, WIDE_IDS);
                    let (key, hash) = place(text);
                    wide.insert(&key, hash, &wanted);
                    assert_eq!(find(&wide, text), wanted, "{text:?}");
                    // Two small ones have room in a bucket.
                    if let Some(last) = last
                        && buckets == 1
                        && wanted.len() <= SLOT_IDS
                        && known[last].len() <= SLOT_IDS
                    {
                        assert_eq!(find(&wide, last), known[last]);
                        both += 1;
                    }
                    known.insert(text, wanted);
                    last = Some(text);
                }
            }
            println!("{buckets}: {found_in_all} found, {not_found} not");
            assert!(found_in_all > 0 && not_found > 0 && (buckets > 1 || both > 0));
            assert!(buckets < 4000 || found_in_all > 5 * not_found);
        }
    }
}
