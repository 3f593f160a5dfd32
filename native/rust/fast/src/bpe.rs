//! Byte-level BPE: from a vocabulary and merges to the tables that encode with them.
//!
//! # Pruned merges
//! Take any merge list, each pair with its rank, and merge the leftmost pair of lowest rank until none is
//! left. While no merge crosses the borders of a substring, what happens inside of it depends on nothing
//! outside: the lowest pair of the whole, when it lies inside, is the lowest of the inside. So whenever a
//! token t is made, its bytes were merged just as they are when t's bytes are the whole text, and its last
//! merge is always the same pair. Every other pair that spells t is never used and may be left out, and t
//! may be numbered by the rank of its one pair: a pair's table entry is the number of the token it makes,
//! and that is its rank too. A token that its own bytes don't lead to is never made by merges at all; with
//! ignore_merges it is found when it is a whole pre-token, and only then.
//! Test: `fast_equals_naive_equals_the_judge`, with merges in any order.
//!
//! # Cuts
//! A boundary that no token spans (with the bytes around it) is crossed by no merge, in any order; so both
//! sides may be encoded alone. See `Joints`. Test: `long_documents`.
use crate::Unsupported;
use crate::memory::{Carver, Table};
use crate::pairs::{NONE, Pairs, Ranks, TOKEN_BITS, VALUE_BITS};
use aho_corasick::AhoCorasick;
use std::sync::Mutex;

/// A token's number inside of the engine: bytes first, then by rank.
pub type Inner = u32;
/// In what `short` and `long` give: the token is one only of a whole pre-token, and it could be taken for a
/// piece of one.
pub const PIECE_DOUBTFUL: u32 = 1 << 30;

/// What the files say: tokens as bytes, merges as pairs of indices into them, first rank first.
pub struct Vocabulary {
    pub bytes: Vec<u8>,
    /// Begin and length in `bytes`, and the id; `whole` is false for what text never is (a token with
    /// characters that are no bytes).
    pub tokens: Vec<Token>,
    pub merges: Vec<[u32; 3]>,
    /// Whole pre-tokens are looked up first (Hugging Face's ignore_merges, and always with tiktoken).
    pub ignore_merges: bool,
}

#[derive(Clone, Copy)]
pub struct Token {
    pub begin: u32,
    pub len: u32,
    pub id: u32,
}

impl Vocabulary {
    #[inline(always)]
    pub fn text(&self, t: &Token) -> &[u8] {
        &self.bytes[t.begin as usize..][..t.len as usize]
    }
}

/// Hash of a byte string, eight at a time.
#[inline(always)]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut h = bytes.len() as u64 ^ K;
    let mut chunks = bytes.chunks_exact(8);
    for c in &mut chunks {
        h = fold(h ^ u64::from_le_bytes(c.try_into().unwrap()), K);
    }
    let rest = chunks.remainder();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(h ^ u64::from_le_bytes(last), 0xd6e8_feb8_6659_fd93)
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let p = a as u128 * b as u128;
    p as u64 ^ (p >> 64) as u64
}

/// Byte string -> index in a vocabulary, while loading. A slot is 32 bits of hash and the index.
pub struct Index {
    /// Two tokens have the same bytes.
    pub doubled: bool,
    slots: Table<u64>,
    mask: usize,
}

impl Index {
    pub fn new(v: &Vocabulary) -> Index {
        let size = (v.tokens.len() * 2).next_power_of_two().max(16);
        let mut index = Index { doubled: false, slots: Table::new(size), mask: size - 1 };
        for (i, t) in v.tokens.iter().enumerate() {
            let hash = hash_bytes(v.text(t));
            let at = match index.find(v, v.text(t), hash) {
                Ok(taken) => {
                    index.doubled = true;
                    taken
                }
                Err(free) => free,
            };
            index.slots[at] = hash >> 32 << 32 | (i as u64 + 1);
        }
        index
    }
    /// The slot it stands in, or the free one where it would.
    #[inline(always)]
    fn find(&self, v: &Vocabulary, text: &[u8], hash: u64) -> Result<usize, usize> {
        let mut at = hash as usize & self.mask;
        loop {
            let s = self.slots[at];
            if s == 0 {
                return Err(at);
            }
            if s >> 32 == hash >> 32 && v.text(&v.tokens[s as u32 as usize - 1]) == text {
                return Ok(at);
            }
            at = (at + 1) & self.mask;
        }
    }
    pub fn get(&self, v: &Vocabulary, text: &[u8]) -> Option<u32> {
        self.get_hashed(v, text, hash_bytes(text))
    }
    #[inline(always)]
    pub fn get_hashed(&self, v: &Vocabulary, text: &[u8], hash: u64) -> Option<u32> {
        self.find(v, text, hash).ok().map(|at| self.slots[at] as u32 - 1)
    }
    /// Before `get_hashed`, much before; then `prefetch_token`.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        prefetch(self.slots.as_ptr().wrapping_add(hash as usize & self.mask).cast());
    }
    #[inline(always)]
    pub fn prefetch_token(&self, v: &Vocabulary, hash: u64) {
        let slot = self.slots[hash as usize & self.mask];
        prefetch(v.tokens.as_ptr().wrapping_add((slot as u32 as usize).wrapping_sub(1)).cast());
    }
}

/// Whole pre-tokens of up to 15 bytes that are one token: lines of 64 bytes, three keys and ids each.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line {
    keys: [u128; 3],
    ids: [u32; 4],
}

struct Short {
    lines: Table<Line>,
}

/// A pre-token of up to 15 bytes as one number, its length in the top byte; no two have the same.
#[inline(always)]
pub fn key_of(text: &[u8]) -> u128 {
    debug_assert!(text.len() < 16);
    let mut k = [0; 16];
    k[..text.len()].copy_from_slice(text);
    k[15] = text.len() as u8;
    u128::from_le_bytes(k)
}

#[inline(always)]
pub fn hash_key(key: u128) -> u64 {
    let (lo, hi) = (key as u64, (key >> 64) as u64);
    fold(lo ^ 0x9e37_79b9_7f4a_7c15, hi ^ 0xd6e8_feb8_6659_fd93)
}

impl Short {
    fn lines(n: usize) -> usize {
        n * 4 / 9 + 2
    }
    fn new(n: usize, memory: &mut Carver) -> Short {
        Short { lines: memory.table(Short::lines(n)) }
    }
    /// Key 0 is no pre-token's: nothing is inserted.
    fn insert(&mut self, key: u128, id: u32) {
        if key == 0 {
            return;
        }
        let mut at = self.lines.index(hash_key(key));
        loop {
            let line = &mut self.lines[at];
            // No pre-token is empty: key 0 is a free place.
            if let Some(i) = line.keys.iter().position(|k| *k == 0 || *k == key) {
                line.keys[i] = key;
                line.ids[i] = id;
                return;
            }
            at = if at + 1 == self.lines.len() { 0 } else { at + 1 };
        }
    }
    #[inline(always)]
    fn get(&self, key: u128, hash: u64) -> u32 {
        let mut at = self.lines.index(hash);
        loop {
            let line = &self.lines[at];
            for i in 0..3 {
                if line.keys[i] == key {
                    return line.ids[i];
                }
            }
            if line.keys[2] == 0 {
                return NONE;
            }
            at = if at + 1 == self.lines.len() { 0 } else { at + 1 };
        }
    }
}

/// Which neighbours of three-byte characters some token spans: a filter with a bit a hash, so a clear bit is
/// sure. Tokens with a part of a character on a side of such a boundary set the bits of all characters that
/// the part may belong to.
pub struct Joints {
    bits: Table<u64>,
    /// By the last byte of the left and the first two of the right character: for tokens that have too
    /// little of both to list the characters.
    coarse: Table<u64>,
}

const JOINT_BITS: u32 = 19;

impl Joints {
    #[inline(always)]
    fn slot(left: u32, right: u32) -> u32 {
        (left.wrapping_mul(0x9e37_79b1) ^ right.wrapping_mul(0x85eb_ca6b).rotate_left(15))
            >> (32 - JOINT_BITS)
    }
    /// The characters as the code points of their three bytes.
    #[inline(always)]
    pub fn spanned(&self, left: u32, right: u32) -> bool {
        let s = Joints::slot(left, right);
        let c = (left & 63) << 10 | right >> 6;
        (self.bits[(s >> 6) as usize] >> (s & 63) | self.coarse[(c >> 6) as usize & 1023] >> (c & 63)) & 1
            != 0
    }
    /// `spanned` of 16 pairs of characters; a bit each of `which`.
    ///
    /// # Safety
    /// The CPU has AVX-512; the code points are below 2^16.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub unsafe fn spanned_16(
        &self,
        left: std::arch::x86_64::__m512i,
        right: std::arch::x86_64::__m512i,
        which: u16,
    ) -> u16 {
        use std::arch::x86_64::*;
        // SAFETY: slots have JOINT_BITS bits, those of `coarse` 16; the CPU has the instructions.
        unsafe {
            let set = |x: u32| _mm512_set1_epi32(x as i32);
            let test = |bits: &Table<u64>, slot: __m512i| {
                let zero = _mm512_setzero_si512();
                let words = _mm512_srli_epi32::<5>(slot);
                let words = _mm512_mask_i32gather_epi32::<4>(zero, which, words, bits.as_ptr().cast());
                let bit = _mm512_sllv_epi32(set(1), _mm512_and_si512(slot, set(31)));
                _mm512_test_epi32_mask(words, bit)
            };
            let slot = _mm512_xor_si512(
                _mm512_mullo_epi32(left, set(0x9e37_79b1)),
                _mm512_rol_epi32::<15>(_mm512_mullo_epi32(right, set(0x85eb_ca6b))),
            );
            let fine = test(&self.bits, _mm512_srli_epi32::<{ 32 - JOINT_BITS }>(slot));
            let coarse = _mm512_or_si512(
                _mm512_slli_epi32::<10>(_mm512_and_si512(left, set(63))),
                _mm512_srli_epi32::<6>(right),
            );
            fine | test(&self.coarse, coarse)
        }
    }
    fn add(&mut self, left: u32, right: u32) {
        let s = Joints::slot(left, right);
        self.bits[(s >> 6) as usize] |= 1 << (s & 63);
    }
    /// All boundaries inside of a token.
    fn cover(&mut self, token: &[u8]) {
        for at in 1..token.len() {
            let (before, after) = (&token[..at], &token[at..]);
            // A boundary between characters: what follows is no continuation byte.
            if after[0] & 0xc0 == 0x80 {
                continue;
            }
            let Some(right) = beginning(after) else { continue };
            let Some(left) = ending(before) else { continue };
            let (lefts, rights) = ((left.1 - left.0) / left.2 as u32, right.1 - right.0);
            if lefts * rights > 1 << 13 {
                let mut l = left.0;
                while l < left.1 {
                    for r in right.0 >> 6..(right.1 + 63) >> 6 {
                        let c = (l & 63) << 10 | r;
                        self.coarse[(c >> 6) as usize] |= 1 << (c & 63);
                    }
                    l += left.2 as u32;
                }
                continue;
            }
            let mut l = left.0;
            while l < left.1 {
                for r in right.0..right.1 {
                    self.add(l, r);
                }
                l += left.2 as u32;
            }
        }
    }
}

/// The code points of three bytes whose bytes begin as `text` does: [begin, end). None: no such.
fn beginning(text: &[u8]) -> Option<(u32, u32)> {
    if text[0] >> 4 != 0xe {
        return None;
    }
    let mut code = (text[0] as u32 & 15) << 12;
    let mut free = 12;
    for b in text[1..].iter().take(2) {
        if b & 0xc0 != 0x80 {
            return None;
        }
        free -= 6;
        code |= (*b as u32 & 63) << free;
    }
    Some((code, code + (1 << free)))
}

/// The code points of three bytes whose bytes end as `text` does: begin, end and step.
fn ending(text: &[u8]) -> Option<(u32, u32, usize)> {
    let n = text.len();
    let tail = text.iter().rev().take_while(|b| **b & 0xc0 == 0x80).count();
    match tail {
        2.. if n > 2 && tail == 2 => {
            let first = text[n - 3];
            (first >> 4 == 0xe).then(|| {
                let c = (first as u32 & 15) << 12 | (text[n - 2] as u32 & 63) << 6 | text[n - 1] as u32 & 63;
                (c, c + 1, 1)
            })
        }
        2 => {
            let low = (text[n - 2] as u32 & 63) << 6 | text[n - 1] as u32 & 63;
            Some((low, 0x1_0000 + low, 1 << 12))
        }
        1 if n == 1 => {
            let low = text[0] as u32 & 63;
            Some((low, 0x1_0000 + low, 1 << 6))
        }
        _ => None,
    }
}

/// Scratch for the merges of a thread.
#[derive(Default)]
pub struct Scratch {
    tokens: Vec<u32>,
    next: Vec<u32>,
    prev: Vec<u32>,
    heap: std::collections::BinaryHeap<std::cmp::Reverse<u64>>,
}

pub struct Bpe {
    /// What two bytes merge to.
    byte_pairs: Table<u32>,
    pairs: Pairs,
    /// The id of each inner token, and its length in bytes.
    ids: Table<u32>,
    lengths: Box<[u16]>,
    short: Short,
    /// Longer whole pre-tokens: index into `long_tokens` by hash.
    long: Box<[u32]>,
    long_tokens: Vec<(u32, u32, u32)>,
    long_bytes: Vec<u8>,
    /// All tokens for the way back: by id, begin and length in `spelling`.
    tokens: Box<[Token]>,
    spelling: Box<[u8]>,
    pub joints: Joints,
}

/// Merges of more symbols than this go through a heap.
pub const SMALL: usize = 64;
/// And of more than this through a list for each rank: a heap of them would be larger than the caches.
const HEAP: usize = 1 << 13;

/// The merges of one short text. Nothing moves: a symbol keeps the place of its first byte, `alive` has the
/// places in use, and `made[i]` is what the symbol at i and the next one make, with i below it, so that the
/// smallest is the leftmost pair of lowest rank.
///
/// Most of the time goes by waiting for the pairs' table. So a job stops where it has to look something up,
/// asks for the memory, and goes on when it is called again: several jobs in turn wait together.
#[derive(Clone)]
pub struct Job {
    symbols: [u32; SMALL],
    /// Behind the places of symbols: one for what is not wanted.
    made: [u32; SMALL + 16],
    alive: u64,
    /// Sixteens of `made` in use.
    rows: usize,
    /// The two pairs to be looked up: place in `made`, line and key.
    waiting: [(u32, usize, u64); 2],
}

impl Default for Job {
    fn default() -> Job {
        Job {
            symbols: [0; SMALL],
            made: [NONE; SMALL + 16],
            alive: 0,
            rows: 0,
            waiting: [(SMALL as u32, 0, 0); 2],
        }
    }
}

const PLACE_BITS: u32 = SMALL.trailing_zeros();

impl Job {
    /// `symbols` are set.
    #[inline(always)]
    fn start(&mut self, text: &[u8], byte_pairs: &[u32], empty: usize) {
        let n = text.len();
        self.rows = n.div_ceil(16);
        self.made[..self.rows * 16].fill(NONE);
        for i in 0..n - 1 {
            let m = byte_pairs[(text[i] as usize) << 8 | text[i + 1] as usize];
            self.made[i] = if m == NONE { NONE } else { m << PLACE_BITS | i as u32 };
        }
        self.alive = !0 >> (64 - n);
        self.waiting = [(SMALL as u32, empty, 0); 2];
    }

    /// Takes in what was looked up. Not right before `select`: that loads sixteen places at once, which
    /// waits until stores to single ones have left the store buffer.
    #[inline(always)]
    fn take_in(&mut self, pairs: &Pairs) {
        for (place, line, key) in self.waiting {
            let m = pairs.find(line, key);
            self.made[place as usize] = if m == NONE { NONE } else { m << PLACE_BITS | place };
        }
    }

    /// The next merge, and what to look up after it. True: there is none.
    #[inline(always)]
    fn select(&mut self, pairs: &Pairs) -> bool {
        let mut row = [NONE; 16];
        for r in 0..self.rows {
            for (i, x) in row.iter_mut().enumerate() {
                *x = (*x).min(self.made[r * 16 + i]);
            }
        }
        let best = row.iter().fold(NONE, |a, b| a.min(*b));
        if best == NONE {
            return true;
        }
        let at = best as usize & (SMALL - 1);
        let token = best >> PLACE_BITS;
        let behind = self.alive & (!1 << at);
        let gone = behind.trailing_zeros() as usize & (SMALL - 1);
        self.alive &= !(1 << gone);
        self.symbols[at] = token;
        self.made[gone] = NONE;
        let behind = behind & behind.wrapping_sub(1);
        let before = self.alive & ((1 << at) - 1);
        let next = behind.trailing_zeros() as usize & (SMALL - 1);
        let previous = 63 - (before | 1).leading_zeros() as usize;
        let (line, key) = pairs.place(token, self.symbols[next], behind != 0);
        self.waiting[0] = (at as u32, line, key);
        let (line, key) = pairs.place(self.symbols[previous], token, before != 0);
        let place = if before != 0 { previous } else { SMALL };
        self.waiting[1] = (place as u32, line, key);
        for (_, line, _) in self.waiting {
            pairs.prefetch(line);
        }
        false
    }
}

impl Bpe {
    pub fn new(v: Vocabulary, index: Index) -> Result<Bpe, Unsupported> {
        if v.tokens.len() >= (1 << TOKEN_BITS) - 1 || v.merges.len() >= 1 << VALUE_BITS {
            return Err(Unsupported::new("a vocabulary of more than a million tokens"));
        }
        if v.tokens.iter().any(|t| t.id >= 1 << 28) {
            return Err(Unsupported::new("a token id of 2^28 or more"));
        }
        let mut of_byte = [NONE; 256];
        for b in 0..=255u8 {
            of_byte[b as usize] = index
                .get(&v, &[b])
                .ok_or_else(|| Unsupported::new(format!("a vocabulary without the byte 0x{b:02x}")))?;
        }
        let derivations = Derivations { v: &v, of_byte: &of_byte, ranks: &Ranks::new(&v.merges) };
        let Derived { mut made, mut unreachable } = derivations.all();
        // Of tokens that are spelt alike the last one counts.
        unreachable.retain(|i| index.get(&v, v.text(&v.tokens[*i as usize])) == Some(*i));
        made.sort_unstable();
        let mut inner = vec![NONE; v.tokens.len()];
        let mut ids: Vec<u32> = of_byte.iter().map(|i| v.tokens[*i as usize].id).collect();
        let mut lengths = vec![1u16; 256];
        for (b, i) in of_byte.iter().enumerate() {
            inner[*i as usize] = b as u32;
        }
        for (n, (_, i)) in made.iter().enumerate() {
            inner[*i as usize] = 256 + n as u32;
            ids.push(v.tokens[*i as usize].id);
            lengths.push(
                v.tokens[*i as usize].len.try_into().map_err(|_| Unsupported::new("a token of 64 KiB"))?,
            );
        }
        let whole: Vec<u32> = if v.ignore_merges { unreachable } else { Vec::new() };
        let count = 256 + made.len() + whole.len();
        let mut memory = Carver::new(
            Pairs::bytes(made.len())
                + Carver::size::<u32>(1 << 16)
                + Carver::size::<u32>(ids.len())
                + Carver::size::<u64>(1 << (JOINT_BITS - 6))
                + Carver::size::<u64>(1 << 10)
                + Carver::size::<Line>(Short::lines(count)),
        );
        let mut used = Vec::with_capacity(made.len());
        let mut byte_pairs = memory.table::<u32>(1 << 16);
        byte_pairs.fill(NONE);
        let mut id_table = memory.table::<u32>(ids.len());
        id_table.copy_from_slice(&ids);
        let mut joints = Joints { bits: memory.table(1 << (JOINT_BITS - 6)), coarse: memory.table(1 << 10) };
        for (n, (rank, _)) in made.iter().enumerate() {
            let [a, b, _] = v.merges[*rank as usize];
            let (a, b) = (inner[a as usize], inner[b as usize]);
            debug_assert!(a != NONE && b != NONE);
            used.push((a, b, 256 + n as u32));
            if a < 256 && b < 256 {
                byte_pairs[(a << 8 | b) as usize] = 256 + n as u32;
            }
        }
        let mut short = Short::new(count, &mut memory);
        let (pairs, (long, long_tokens, long_bytes)) = join(
            || Pairs::new(&used, &mut memory),
            || {
                let text = |i: &u32| v.text(&v.tokens[*i as usize]);
                made.iter().map(|(_, i)| i).chain(&whole).for_each(|i| joints.cover(text(i)));
                let entries = of_byte.iter().chain(made.iter().map(|(_, i)| i)).chain(&whole);
                whole_tokens(
                    entries.map(|i| (text(i), v.tokens[*i as usize].id)),
                    256 + made.len(),
                    &mut short,
                )
            },
        );
        let pairs =
            pairs.ok_or_else(|| Unsupported::new("merges that the pairs' hashes can't keep apart"))?;
        drop(used);
        let mut by_id = v.tokens.into_boxed_slice();
        by_id.sort_by_key(|t| t.id);
        Ok(Bpe {
            byte_pairs,
            pairs,
            ids: id_table,
            lengths: lengths.into_boxed_slice(),
            short,
            long,
            long_tokens,
            long_bytes,
            tokens: by_id,
            spelling: v.bytes.into_boxed_slice(),
            joints,
        })
    }

    /// The id of a pre-token (or, with `piece`, of a part that was cut from one) that is one token; NONE.
    #[inline(always)]
    pub fn short(&self, key: u128, hash: u64) -> u32 {
        self.short.get(key, hash)
    }
    #[inline(always)]
    pub fn prefetch_short(&self, hash: u64) {
        prefetch(self.short.lines.slot(hash).cast());
    }
    #[inline]
    pub fn long(&self, text: &[u8]) -> u32 {
        let mask = self.long.len() - 1;
        let mut at = hash_bytes(text) as usize & mask;
        loop {
            let n = self.long[at];
            if n == NONE {
                return NONE;
            }
            let (begin, len, id) = self.long_tokens[n as usize];
            if len as usize == text.len() && &self.long_bytes[begin as usize..][..len as usize] == text {
                return id;
            }
            at = (at + 1) & mask;
        }
    }
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn pairs(&self) -> &Pairs {
        &self.pairs
    }
    /// By the left byte times 256 and the right one.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn byte_pairs(&self) -> &[u32] {
        &self.byte_pairs
    }
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn ids_by_number(&self) -> &[u32] {
        &self.ids
    }
    #[inline(always)]
    fn pair(&self, left: Inner, right: Inner) -> u32 {
        self.pairs.get(left, right)
    }

    /// Merges `text` (one byte or more) and gives each token's id and length in bytes to `put`.
    #[inline(always)]
    pub fn merge(&self, text: &[u8], scratch: &mut Scratch, put: impl FnMut(u32, usize)) {
        if text.len() <= SMALL && text.len() > 1 {
            self.merge_small(text, put)
        } else {
            self.merge_large(text, scratch, put)
        }
    }

    /// Starts the merges of `text` (2 to SMALL bytes).
    #[inline(always)]
    pub fn start(&self, job: &mut Job, text: &[u8]) {
        for (i, b) in text.iter().enumerate() {
            job.symbols[i] = *b as u32;
        }
        job.start(text, &self.byte_pairs, self.pairs.nothing());
    }
    /// Takes in what a job waited for.
    #[inline(always)]
    pub fn take_in(&self, job: &mut Job) {
        job.take_in(&self.pairs)
    }
    /// The job's next merge. True: there is none, it is done. False: it waits for memory.
    #[inline(always)]
    pub fn select(&self, job: &mut Job) -> bool {
        job.select(&self.pairs)
    }
    /// The ids of a job that is done.
    #[inline(always)]
    pub fn ids(&self, job: &Job, mut put: impl FnMut(u32, usize)) {
        let mut alive = job.alive;
        while alive != 0 {
            let x = job.symbols[alive.trailing_zeros() as usize & (SMALL - 1)] as usize;
            put(self.ids[x], self.lengths[x] as usize);
            alive &= alive - 1;
        }
    }

    #[inline(never)]
    fn merge_small(&self, text: &[u8], put: impl FnMut(u32, usize)) {
        let mut job = Job::default();
        self.start(&mut job, text);
        while !self.select(&mut job) {
            self.take_in(&mut job);
        }
        self.ids(&job, put);
    }

    /// Any length, n log n for any text.
    #[inline(never)]
    fn merge_large(&self, text: &[u8], s: &mut Scratch, mut put: impl FnMut(u32, usize)) {
        let n = text.len();
        assert!(n < NONE as usize, "a pre-token of 4 GiB");
        s.tokens.clear();
        s.tokens.extend(text.iter().map(|b| *b as u32));
        s.next.clear();
        s.next.extend(1..=n as u32);
        s.prev.clear();
        s.prev.extend((0..n as u32).map(|i| i.wrapping_sub(1)));
        if n > HEAP {
            crate::long::merge(&mut s.tokens, &mut s.next, &mut s.prev, |a, b| self.pair(a, b));
        } else {
            self.merge_by_heap(text, s);
        }
        let mut at = 0;
        while at < n {
            let x = s.tokens[at] as usize;
            put(self.ids[x], self.lengths[x] as usize);
            at = s.next[at] as usize;
        }
        // What a huge pre-token took does not stay with the thread.
        if n > 1 << 16 {
            *s = Scratch::default();
        }
    }

    /// A heap of (rank, position): n log n for any text. An entry is out of date when the pair at its
    /// position does not make its token any more.
    fn merge_by_heap(&self, text: &[u8], s: &mut Scratch) {
        let n = text.len();
        s.heap.clear();
        let mut heap = std::mem::take(&mut s.heap).into_vec();
        for i in 0..n - 1 {
            let m = self.byte_pairs[(text[i] as usize) << 8 | text[i + 1] as usize];
            if m != NONE {
                heap.push(std::cmp::Reverse((m as u64) << 32 | i as u64));
            }
        }
        s.heap = heap.into();
        const GONE: u32 = NONE;
        while let Some(std::cmp::Reverse(top)) = s.heap.pop() {
            let (made, at) = ((top >> 32) as u32, top as u32 as usize);
            let left = s.tokens[at];
            let next = s.next[at] as usize;
            if left == GONE || next >= n || self.pair(left, s.tokens[next]) != made {
                continue;
            }
            s.tokens[at] = made;
            s.tokens[next] = GONE;
            let after = s.next[next] as usize;
            s.next[at] = after as u32;
            if after < n {
                s.prev[after] = at as u32;
                let m = self.pair(made, s.tokens[after]);
                if m != NONE {
                    s.heap.push(std::cmp::Reverse((m as u64) << 32 | at as u64));
                }
            }
            let before = s.prev[at];
            if before != NONE {
                let m = self.pair(s.tokens[before as usize], made);
                if m != NONE {
                    s.heap.push(std::cmp::Reverse((m as u64) << 32 | before as u64));
                }
            }
        }
    }

    /// A token's bytes.
    pub fn spelling(&self, id: u32) -> Option<&[u8]> {
        // Ids are nearly always 0, 1, 2, ... without a gap.
        let t =
            self.tokens.get(id as usize).filter(|t| t.id == id).or_else(|| {
                self.tokens.binary_search_by_key(&id, |t| t.id).ok().map(|at| &self.tokens[at])
            })?;
        Some(&self.spelling[t.begin as usize..][..t.len as usize])
    }
    /// The id of a token by its bytes: a search through all of them.
    pub fn id_of(&self, bytes: &[u8]) -> Option<u32> {
        let spelt = |t: &&Token| &self.spelling[t.begin as usize..][..t.len as usize] == bytes;
        self.tokens.iter().filter(spelt).map(|t| t.id).next_back()
    }

    /// Bytes of the tables.
    pub fn bytes(&self) -> usize {
        self.byte_pairs.len() * 4
            + self.pairs.table_bytes()
            + self.ids.len() * 6
            + self.spelling.len()
            + self.tokens.len() * 12
            + self.short.lines.bytes()
            + self.long.len() * 4
            + self.long_tokens.len() * 12
            + self.long_bytes.len()
            + self.joints.bits.len() * 8
    }
}

/// Pre-tokens that are one token, those of bytes and of merges (the first `merged` of `entries`) and others: the short ones
/// into their table, the longer ones into one that is made: `Bpe::long` and what belongs to it.
#[expect(clippy::type_complexity, reason = "three fields of Bpe")]
fn whole_tokens<'v>(
    entries: impl Iterator<Item = (&'v [u8], u32)>,
    merged: usize,
    short: &mut Short,
) -> (Box<[u32]>, Vec<(u32, u32, u32)>, Vec<u8>) {
    // A piece that was cut begins or ends with a letter of three bytes: only such a token could be taken
    // for a whole pre-token where it is a piece.
    let doubtful = |text: &[u8]| text[0] >> 4 == 0xe || text.len() > 2 && text[text.len() - 3] >> 4 == 0xe;
    let (mut long_tokens, mut long_bytes) = (Vec::new(), Vec::new());
    // Inserted with a delay, while their memory is on its way.
    let mut waiting = [(0, 0); 16];
    let mut shorts = 0;
    for (n, (text, mut id)) in entries.enumerate() {
        if text.is_empty() {
            continue;
        }
        if n >= merged && doubtful(text) {
            id |= PIECE_DOUBTFUL;
        }
        if text.len() < 16 {
            let key = key_of(text);
            prefetch(short.lines.slot(hash_key(key)).cast());
            let (key, id) = std::mem::replace(&mut waiting[shorts % 16], (key, id));
            short.insert(key, id);
            shorts += 1;
        } else {
            long_tokens.push((long_bytes.len() as u32, text.len() as u32, id));
            long_bytes.extend_from_slice(text);
        }
    }
    (0..16).for_each(|n| short.insert(waiting[(shorts + n) % 16].0, waiting[(shorts + n) % 16].1));
    let size = (long_tokens.len() * 2).next_power_of_two().max(16);
    let mut long = vec![NONE; size].into_boxed_slice();
    for (n, (begin, len, _)) in long_tokens.iter().enumerate() {
        let mut at = hash_bytes(&long_bytes[*begin as usize..][..*len as usize]) as usize & (size - 1);
        while long[at] != NONE {
            at = (at + 1) & (size - 1);
        }
        long[at] = n as u32;
    }
    (long, long_tokens, long_bytes)
}

/// Finds each token's last merge.
struct Derivations<'v> {
    v: &'v Vocabulary,
    of_byte: &'v [u32; 256],
    ranks: &'v Ranks,
}

/// Of tokens of two bytes or more.
#[derive(Default)]
struct Derived {
    /// The rank of a token's last merge, and its index.
    made: Vec<(u32, u32)>,
    unreachable: Vec<u32>,
}

/// A token while the merges that make others are found: its own merge's rank and one (0: a byte, NONE: not made), and
/// what that merges.
#[derive(Clone, Copy)]
struct Made {
    at: u32,
    left: u32,
    right: u32,
}

impl Derivations<'_> {
    /// Goes through the merges, lowest rank first, and takes those of what was made by lower ranks. Of these, the ones that
    /// are used in a text come in the order of their ranks, so the tokens to both sides of a boundary at any time are known:
    /// going back in time, the one that was made last comes apart. So the bytes of a and b become a and b, and then what
    /// their merge makes, if at no time the two at their boundary are merged before one of them is merged with its
    /// other neighbour (`meet`).
    ///
    /// That leaves merges of what is made only by higher ranks. Look at the first of them that is used in a text, and at the
    /// bytes of its token t alone, which get as far without it. If t was made above, they become t by another merge; so
    /// they never were this one's two tokens. Else merging all of t's bytes tells. So every token that was not made is
    /// merged byte by byte, and then those that have one of them inside, whose merges may come in another order.
    /// Test: `all_is_one_by_one`.
    fn all(&self) -> Derived {
        let v = self.v;
        let mut all = vec![Made { at: NONE, left: NONE, right: NONE }; v.tokens.len()];
        self.of_byte.iter().for_each(|i| all[*i as usize].at = 0);
        for (rank, [a, b, t]) in v.merges.iter().enumerate() {
            if let Some(ahead) = v.merges.get(rank + 8) {
                ahead.iter().for_each(|i| prefetch(all.as_ptr().wrapping_add(*i as usize).cast()));
            }
            let made = |i: &u32| all[*i as usize].at != NONE;
            if made(a)
                && made(b)
                && !made(t)
                && self.meet(&all, *a, *b)
                && self.ranks.get(*a, *b) == rank as u32
            {
                all[*t as usize] = Made { at: rank as u32 + 1, left: *a, right: *b };
            }
        }
        let mut derived = Derived::default();
        let mut late = Vec::new();
        let long = |i: &usize| v.tokens[*i].len > 1;
        for i in (0..all.len()).filter(long).filter(|i| all[*i].at == NONE) {
            match self.one(i as u32) {
                None => derived.unreachable.push(i as u32),
                Some(rank) => {
                    derived.made.push((rank, i as u32));
                    late.push(v.text(&v.tokens[i]));
                }
            }
        }
        let late = (!late.is_empty()).then(|| AhoCorasick::new(late).expect("less than a vocabulary"));
        for i in (0..all.len()).filter(long).filter(|i| all[*i].at != NONE) {
            let doubtful = late.as_ref().is_some_and(|late| late.is_match(v.text(&v.tokens[i])));
            match if doubtful { self.one(i as u32) } else { Some(all[i].at - 1) } {
                None => derived.unreachable.push(i as u32),
                Some(rank) => derived.made.push((rank, i as u32)),
            }
        }
        derived
    }

    /// Whether the bytes of two tokens become these two tokens.
    fn meet(&self, all: &[Made], mut a: u32, mut b: u32) -> bool {
        // The ranks by which they are merged with their other neighbours.
        let (mut of_left, mut of_right) = (NONE, NONE);
        loop {
            let (left, right) = (all[a as usize], all[b as usize]);
            // Of the same merge twice the left one comes first.
            if left.at > right.at {
                (a, of_left) = (left.right, left.at - 1);
            } else if right.at > 0 {
                (b, of_right) = (right.left, right.at - 1);
            } else {
                return true;
            }
            let rank = self.ranks.get(a, b);
            let in_order = rank >= all[a as usize].at.max(all[b as usize].at);
            if rank != NONE && in_order && rank < of_left && rank <= of_right {
                return false;
            }
        }
    }

    /// Merges the bytes of one token. -> the rank of the last merge; None: it has another end.
    fn one(&self, token: u32) -> Option<u32> {
        let text = self.v.text(&self.v.tokens[token as usize]);
        let mut symbols: Vec<u32> = text.iter().map(|b| self.of_byte[*b as usize]).collect();
        let mut last = None;
        let mut ranks: Vec<u32> = symbols.windows(2).map(|w| self.ranks.get(w[0], w[1])).collect();
        loop {
            let (mut best, mut at) = (NONE, 0);
            for (i, r) in ranks.iter().enumerate() {
                if *r < best {
                    best = *r;
                    at = i;
                }
            }
            if best == NONE {
                return last.filter(|_| symbols == [token]);
            }
            last = Some(best);
            symbols[at] = self.v.merges[best as usize][2];
            symbols.remove(at + 1);
            ranks.remove(at);
            if at > 0 {
                ranks[at - 1] = self.ranks.get(symbols[at - 1], symbols[at]);
            }
            if at < ranks.len() {
                ranks[at] = self.ranks.get(symbols[at], symbols[at + 1]);
            }
        }
    }
}

/// What both give; at once, where the system has a thread to spare.
pub fn join<A: Send, B>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B) -> (A, B) {
    let waiting = Mutex::new(Some(a));
    let take = || waiting.lock().expect("taken, never held").take();
    std::thread::scope(|scope| {
        let spawned = std::thread::Builder::new().spawn_scoped(scope, || take().map(|a| a()));
        let b = b();
        let a = match take() {
            Some(a) => a(),
            None => spawned.expect("who took it").join().expect("a panic there is one here").expect("taken"),
        };
        (a, b)
    })
}

#[inline(always)]
pub fn prefetch(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch touches no memory in any way that shows.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Random, seed};

    #[test]
    fn all_is_one_by_one() {
        let mut r = Random(seed());
        let mut early = 0;
        for round in 0..600 {
            // Bytes, of which three are common, and what merges of any two make.
            let mut v = Vocabulary { bytes: vec![], tokens: vec![], merges: vec![], ignore_merges: false };
            let mut texts: Vec<Vec<u8>> = (0..=255).map(|b| vec![b]).collect();
            for _ in 0..r.below(200) {
                let mut one = || match r.below(3) {
                    0 => 97 + r.below(3),
                    _ => 97 + r.below(texts.len() - 97).min(r.below(texts.len() - 97)),
                };
                let (a, b) = (one(), one());
                let text = [&texts[a][..], &texts[b][..]].concat();
                if text.len() > 100 {
                    continue;
                }
                let t = texts.iter().position(|t| *t == text).unwrap_or(texts.len());
                if t == texts.len() {
                    texts.push(text);
                }
                v.merges.push([a as u32, b as u32, t as u32]);
            }
            // Every split of every token, as a rank file has them.
            if round % 2 == 0 {
                let find = |text: &[u8]| texts.iter().position(|t| t == text).map(|i| i as u32);
                v.merges.clear();
                for (t, text) in texts.iter().enumerate() {
                    let splits = (1..text.len()).map(|at| text.split_at(at));
                    let parts = splits.filter_map(|(a, b)| Some([find(a)?, find(b)?, t as u32]));
                    v.merges.extend(parts);
                }
            }
            // None, some, or all of them somewhere else.
            let swaps = [0, v.merges.len() / 16, v.merges.len()][round % 3];
            for _ in 0..swaps {
                let (i, j) = (r.below(v.merges.len()), r.below(v.merges.len()));
                v.merges.swap(i, j);
            }
            for (i, text) in texts.iter().enumerate() {
                let begin = v.bytes.len() as u32;
                v.bytes.extend_from_slice(text);
                v.tokens.push(Token { begin, len: text.len() as u32, id: i as u32 });
            }
            let of_byte: [u32; 256] = std::array::from_fn(|b| b as u32);
            let derivations = Derivations { v: &v, of_byte: &of_byte, ranks: &Ranks::new(&v.merges) };
            let mut found = derivations.all();
            found.made.sort_unstable();
            found.unreachable.sort_unstable();
            let tokens = 256..v.tokens.len() as u32;
            let mut made: Vec<_> =
                tokens.clone().filter_map(|i| derivations.one(i).map(|rank| (rank, i))).collect();
            made.sort_unstable();
            assert_eq!(found.made, made);
            let unreachable: Vec<u32> = tokens.filter(|i| made.iter().all(|(_, m)| m != i)).collect();
            assert_eq!(found.unreachable, unreachable);
            // Merges that are used though a part of theirs has a higher rank.
            let rank_of = |i: u32| made.iter().find(|(_, m)| *m == i).map(|(rank, _)| *rank);
            let is_early = |(rank, _): &(u32, u32)| {
                v.merges[*rank as usize][..2].iter().any(|i| rank_of(*i).is_some_and(|of| of > *rank))
            };
            early += made.iter().any(is_early) as u32;
        }
        assert!(early > 100, "{early}");
    }
}
