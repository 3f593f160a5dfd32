//! Merges of sixteen pre-tokens at once, one a lane of AVX-512's registers.
//!
//! Row p of `symbols` has what each pre-token has at its byte p, row p of `made` what that and the next symbol make,
//! with p below it, so that the smallest of a lane is its leftmost pair of lowest rank. A symbol keeps the row of its
//! first byte; `alive` has a bit for each row in use. A step merges one pair in each lane and looks up the two pairs
//! that it brings about: it is `Job::select` sixteen times, word by word.
//! Test: `lanes_equal_jobs`.
use crate::bpe::Bpe;
use crate::pairs::{FACTORS, NONE, VALUE_BITS};
use std::arch::x86_64::*;

pub const LANES: usize = 16;
/// Bytes of the longest pre-token of a lane.
pub const LONGEST: usize = 32;
const PLACE_BITS: u32 = LONGEST.trailing_zeros();

#[repr(C, align(64))]
pub struct Lanes {
    symbols: [[u32; LANES]; LONGEST],
    made: [[u32; LANES]; LONGEST],
    bytes: [[u8; LONGEST]; LANES],
    /// What is read behind the last lane's bytes.
    _behind: [u8; 4],
    lengths: [u32; LANES],
    alive: [u32; LANES],
    /// The greatest length.
    longest: usize,
}

impl Lanes {
    /// `text` has 2 to LONGEST bytes.
    #[inline(always)]
    pub fn set(&mut self, lane: usize, text: &[u8]) {
        let (n, to) = (text.len(), &mut self.bytes[lane]);
        debug_assert!((2..=LONGEST).contains(&n));
        // Two copies of a fixed length each, which may overlap.
        if n >= 16 {
            let (a, b): ([u8; 16], [u8; 16]) =
                (text[..16].try_into().unwrap(), text[n - 16..].try_into().unwrap());
            to[..16].copy_from_slice(&a);
            to[n - 16..n].copy_from_slice(&b);
        } else if n >= 8 {
            let (a, b): ([u8; 8], [u8; 8]) =
                (text[..8].try_into().unwrap(), text[n - 8..].try_into().unwrap());
            to[..8].copy_from_slice(&a);
            to[n - 8..n].copy_from_slice(&b);
        } else if n >= 4 {
            let (a, b): ([u8; 4], [u8; 4]) =
                (text[..4].try_into().unwrap(), text[n - 4..].try_into().unwrap());
            to[..4].copy_from_slice(&a);
            to[n - 4..n].copy_from_slice(&b);
        } else {
            to[..n].copy_from_slice(text);
        }
        self.lengths[lane] = n as u32;
        self.longest = self.longest.max(n);
    }
    /// All lanes without a text.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.lengths = [1; LANES];
        self.longest = 1;
    }
    /// The ids of a lane, after `merge`. -> how many.
    #[inline(always)]
    pub fn ids(&self, lane: usize, to: &mut [u32]) -> usize {
        let (mut alive, mut n) = (self.alive[lane], 0);
        while alive != 0 {
            to[n] = self.symbols[alive.trailing_zeros() as usize & (LONGEST - 1)][lane];
            n += 1;
            alive &= alive - 1;
        }
        n
    }

    /// Puts the words in rows. -> the first merge of each lane, and the rows in use.
    #[inline(always)]
    unsafe fn start(&mut self, bpe: &Bpe) -> (__m512i, __m512i) {
        // SAFETY: loads and stores of whole rows; gathers of `bytes` end four bytes behind it at most, those of the byte
        // pairs are below 2^16; the caller vouches for the CPU.
        unsafe {
            let set = |x: u32| _mm512_set1_epi32(x as i32);
            let none = set(NONE);
            let lengths = _mm512_loadu_si512(self.lengths.as_ptr().cast());
            let byte_places = _mm512_slli_epi32::<PLACE_BITS>(lane_numbers());
            let mut best = none;
            for p in 0..self.longest {
                let at = _mm512_add_epi32(byte_places, set(p as u32));
                let text = _mm512_i32gather_epi32::<1>(at, self.bytes.as_ptr().cast());
                let left = _mm512_and_si512(text, set(0xff));
                _mm512_storeu_si512(self.symbols[p].as_mut_ptr().cast(), left);
                let paired = _mm512_cmpgt_epu32_mask(lengths, set(p as u32 + 1));
                let right = _mm512_and_si512(_mm512_srli_epi32::<8>(text), set(0xff));
                let both = _mm512_or_si512(_mm512_slli_epi32::<8>(left), right);
                let made =
                    _mm512_mask_i32gather_epi32::<4>(none, paired, both, bpe.byte_pairs().as_ptr().cast());
                let made = with_place(made, set(p as u32));
                _mm512_storeu_si512(self.made[p].as_mut_ptr().cast(), made);
                best = _mm512_min_epu32(best, made);
            }
            (best, _mm512_srlv_epi32(none, _mm512_sub_epi32(set(32), lengths)))
        }
    }

    /// Merges the best pair of each lane and looks the new neighbours up.
    #[inline(always)]
    unsafe fn step(&mut self, bpe: &Bpe, best: __m512i, alive: &mut __m512i) -> Step {
        // SAFETY: gathers and the scatter of `symbols` are at a row below LONGEST and a lane; the caller vouches for the
        // CPU.
        unsafe {
            let set = |x: u32| _mm512_set1_epi32(x as i32);
            let zero = _mm512_setzero_si512();
            let symbols = self.symbols.as_mut_ptr().cast::<i32>();
            // The place of the highest bit; of the lowest one alone.
            let highest = |bits: __m512i| _mm512_sub_epi32(set(31), _mm512_lzcnt_epi32(bits));
            let lowest = |bits: __m512i| _mm512_and_si512(bits, _mm512_sub_epi32(zero, bits));
            let symbol_place = |row: __m512i| {
                _mm512_add_epi32(_mm512_slli_epi32::<{ LANES.trailing_zeros() }>(row), lane_numbers())
            };
            let active = _mm512_cmpneq_epu32_mask(best, set(NONE));
            let at = _mm512_and_si512(best, set(LONGEST as u32 - 1));
            let token = _mm512_srli_epi32::<PLACE_BITS>(best);
            let bit = _mm512_sllv_epi32(set(1), at);
            let below = _mm512_sub_epi32(bit, set(1));
            let behind = _mm512_andnot_si512(_mm512_or_si512(bit, below), *alive);
            let gone = lowest(behind);
            *alive = _mm512_mask_xor_epi32(*alive, active, *alive, gone);
            let behind = _mm512_xor_si512(behind, gone);
            let before = _mm512_and_si512(*alive, below);
            let next = highest(lowest(behind));
            let previous = highest(before);
            let has_next = _mm512_mask_test_epi32_mask(active, behind, behind);
            let has_previous = _mm512_mask_test_epi32_mask(active, before, before);
            let right = _mm512_mask_i32gather_epi32::<4>(zero, has_next, symbol_place(next), symbols);
            let left = _mm512_mask_i32gather_epi32::<4>(zero, has_previous, symbol_place(previous), symbols);
            _mm512_mask_i32scatter_epi32::<4>(symbols, active, symbol_place(at), token);
            // A row that is none.
            let nowhere = set(63);
            Step {
                here: with_place(find(bpe, token, right, has_next), at),
                there: with_place(find(bpe, left, token, has_previous), previous),
                at: _mm512_mask_mov_epi32(nowhere, active, at),
                gone: _mm512_mask_mov_epi32(nowhere, active, highest(gone)),
                previous: _mm512_mask_mov_epi32(nowhere, has_previous, previous),
            }
        }
    }

    /// Takes in what a step found. -> the next merge of each lane.
    #[inline(always)]
    unsafe fn take_in(&mut self, step: Step) -> __m512i {
        // SAFETY: loads and stores of whole rows; the caller vouches for the CPU.
        unsafe {
            let none = _mm512_set1_epi32(NONE as i32);
            let mut best = none;
            for p in 0..self.longest {
                let row = _mm512_set1_epi32(p as i32);
                let made = _mm512_loadu_si512(self.made[p].as_ptr().cast());
                let made = _mm512_mask_mov_epi32(made, _mm512_cmpeq_epu32_mask(step.at, row), step.here);
                let made = _mm512_mask_mov_epi32(made, _mm512_cmpeq_epu32_mask(step.gone, row), none);
                let made =
                    _mm512_mask_mov_epi32(made, _mm512_cmpeq_epu32_mask(step.previous, row), step.there);
                _mm512_storeu_si512(self.made[p].as_mut_ptr().cast(), made);
                best = _mm512_min_epu32(best, made);
            }
            best
        }
    }

    /// Symbols become ids.
    #[inline(always)]
    unsafe fn finish(&mut self, bpe: &Bpe, alive: __m512i) {
        // SAFETY: loads and stores of whole rows; symbols are tokens' numbers; the caller vouches for the CPU.
        unsafe {
            for p in 0..self.longest {
                let is = _mm512_test_epi32_mask(alive, _mm512_set1_epi32(1 << p));
                if is != 0 {
                    let row = _mm512_loadu_si512(self.symbols[p].as_ptr().cast());
                    let ids =
                        _mm512_mask_i32gather_epi32::<4>(row, is, row, bpe.ids_by_number().as_ptr().cast());
                    _mm512_storeu_si512(self.symbols[p].as_mut_ptr().cast(), ids);
                }
            }
            _mm512_storeu_si512(self.alive.as_mut_ptr().cast(), alive);
        }
    }
}

/// What a step of sixteen lanes changes in `made`: at which row there is what, 63 for nowhere.
#[derive(Clone, Copy)]
struct Step {
    at: __m512i,
    here: __m512i,
    previous: __m512i,
    there: __m512i,
    gone: __m512i,
}

/// Merges what `set` gave. Two groups wait for memory together.
///
/// # Safety
/// The CPU has AVX-512 F, BW, CD, DQ and VL.
#[inline(always)]
pub unsafe fn merge(groups: &mut [Lanes], bpe: &Bpe) {
    // SAFETY: as the caller's.
    unsafe {
        let none = _mm512_set1_epi32(NONE as i32);
        let busy = |best: __m512i| _mm512_cmpneq_epu32_mask(best, none) != 0;
        match groups {
            [a] => {
                let (mut best, mut alive) = a.start(bpe);
                while busy(best) {
                    let step = a.step(bpe, best, &mut alive);
                    best = a.take_in(step);
                }
                a.finish(bpe, alive);
            }
            [a, b] => {
                let (mut best_a, mut alive_a) = a.start(bpe);
                let (mut best_b, mut alive_b) = b.start(bpe);
                while busy(_mm512_and_si512(best_a, best_b)) {
                    let step_a = a.step(bpe, best_a, &mut alive_a);
                    let step_b = b.step(bpe, best_b, &mut alive_b);
                    best_a = a.take_in(step_a);
                    best_b = b.take_in(step_b);
                }
                a.finish(bpe, alive_a);
                b.finish(bpe, alive_b);
            }
            _ => unreachable!("one group or two"),
        }
    }
}

#[inline(always)]
unsafe fn lane_numbers() -> __m512i {
    // SAFETY: the caller vouches for the CPU.
    unsafe { _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0) }
}

/// What is made, with its place below it; NONE stays NONE.
#[inline(always)]
unsafe fn with_place(made: __m512i, place: __m512i) -> __m512i {
    // SAFETY: the caller vouches for the CPU.
    unsafe {
        let none = _mm512_set1_epi32(-1);
        let is = _mm512_cmpneq_epu32_mask(made, none);
        _mm512_mask_or_epi32(none, is, _mm512_slli_epi32::<PLACE_BITS>(made), place)
    }
}

/// `Pairs::get` in each lane that is wanted, NONE in the others.
#[inline(always)]
unsafe fn find(bpe: &Bpe, left: __m512i, right: __m512i, wanted: __mmask16) -> __m512i {
    // SAFETY: indices are below the tables' lengths by their shifts and masks, a number behind the last displacement
    // may be read; the caller vouches for the CPU.
    unsafe {
        let pairs = bpe.pairs();
        let set = |x: u32| _mm512_set1_epi32(x as i32);
        let times = |x: __m512i, y: u32| _mm512_mullo_epi32(x, set(y));
        let none = set(NONE);
        let [a, b, c, d, e, f, g, h] = FACTORS;
        let one = _mm512_xor_si512(times(left, a), times(right, b));
        let one = times(_mm512_xor_si512(one, _mm512_srli_epi32::<16>(one)), c);
        let one = _mm512_xor_si512(one, _mm512_srli_epi32::<15>(one));
        let word = _mm512_srlv_epi32(one, set(pairs.filter_shift));
        let word = _mm512_mask_i32gather_epi32::<4>(
            _mm512_setzero_si512(),
            wanted,
            word,
            pairs.filter.as_ptr().cast(),
        );
        let bit = _mm512_srlv_epi32(word, _mm512_and_si512(one, set(31)));
        let known = _mm512_mask_test_epi32_mask(wanted, bit, set(1));
        if known == 0 {
            return none;
        }
        let two = _mm512_add_epi32(times(left, d), times(right, e));
        let two = times(_mm512_xor_si512(two, _mm512_srli_epi32::<15>(two)), f);
        let bucket = _mm512_and_si512(_mm512_srli_epi32::<5>(one), set(pairs.bucket_mask));
        let displacement = _mm512_mask_i32gather_epi32::<2>(
            _mm512_setzero_si512(),
            known,
            bucket,
            pairs.displacements.as_ptr().cast(),
        );
        let displacement = _mm512_and_si512(displacement, set(0xffff));
        let slot = times(_mm512_xor_si512(two, times(displacement, g)), h);
        let slot = _mm512_srlv_epi32(slot, set(pairs.slot_shift));
        // Eight lanes of 64 bits at a time.
        macro_rules! half {
            ($slot:expr, $left:expr, $right:expr, $known:expr) => {{
                let found = _mm512_mask_i32gather_epi64::<8>(
                    _mm512_set1_epi64(-1),
                    $known,
                    $slot,
                    pairs.slots.as_ptr().cast(),
                );
                let key = _mm512_or_si512(
                    _mm512_slli_epi64::<44>(_mm512_cvtepu32_epi64($left)),
                    _mm512_slli_epi64::<VALUE_BITS>(_mm512_cvtepu32_epi64($right)),
                );
                let made = _mm512_xor_si512(found, key);
                let is = _mm512_mask_cmplt_epu64_mask($known, made, _mm512_set1_epi64(1 << VALUE_BITS));
                (_mm512_cvtepi64_epi32(made), is)
            }};
        }
        let low = |x: __m512i| _mm512_castsi512_si256(x);
        let high = |x: __m512i| _mm512_extracti64x4_epi64::<1>(x);
        let (made, is) = half!(low(slot), low(left), low(right), known as u8);
        let (made_high, is_high) = half!(high(slot), high(left), high(right), (known >> 8) as u8);
        let made = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(made), made_high);
        _mm512_mask_mov_epi32(none, is as u16 | (is_high as u16) << 8, made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpe::{Index, Job, Scratch, Token, Vocabulary};
    use crate::random::{Random, seed};
    use std::collections::HashMap;

    /// The bytes and what some random merges of few letters make, in any order, some of them in several ways.
    fn vocabulary(r: &mut Random) -> Vocabulary {
        let mut texts: Vec<Vec<u8>> = (0..=255).map(|b| vec![b]).collect();
        let letters = 2 + r.below(6);
        let mut merges = Vec::new();
        for _ in 0..r.below(400) {
            let mut any = || {
                // Mostly letters and what was made of them, so that merges meet.
                let made = texts.len() - 256;
                if r.below(40) == 0 {
                    r.below(256)
                } else if made > 0 && r.below(2) == 0 {
                    256 + r.below(made)
                } else {
                    b'a' as usize + r.below(letters)
                }
            };
            let (a, b) = (any(), any());
            let text = [&texts[a][..], &texts[b]].concat();
            if text.len() > LONGEST {
                continue;
            }
            let made = texts.iter().position(|t| *t == text).unwrap_or_else(|| {
                texts.push(text);
                texts.len() - 1
            });
            merges.push([a as u32, b as u32, made as u32]);
        }
        if r.below(2) == 0 {
            for i in (1..merges.len()).rev() {
                merges.swap(i, r.below(i + 1));
            }
        }
        let mut v = Vocabulary { bytes: Vec::new(), tokens: Vec::new(), merges, ignore_merges: false };
        for (i, text) in texts.iter().enumerate() {
            let (begin, len) = (v.bytes.len() as u32, text.len() as u32);
            v.tokens.push(Token { begin, len, id: 7 + 3 * i as u32 });
            v.bytes.extend(text);
        }
        v
    }

    #[target_feature(
        enable = "avx2,bmi1,bmi2,popcnt,lzcnt,avx512f,avx512bw,avx512vl,avx512dq,avx512cd,avx512vbmi,avx512vbmi2"
    )]
    unsafe fn merge_compiled(groups: &mut [Lanes], bpe: &Bpe) {
        // SAFETY: as the caller's.
        unsafe { merge(groups, bpe) }
    }

    #[test]
    fn lanes_equal_jobs() {
        if crate::window::x86::Avx512::new().is_none() {
            println!("without AVX-512 there are no lanes");
            return;
        }
        let mut r = Random(seed());
        // SAFETY: numbers, which may be zero.
        let mut groups: Box<[Lanes; 2]> = Box::new(unsafe { std::mem::zeroed() });
        let mut merged = 0;
        for _ in 0..60 {
            let v = vocabulary(&mut r);
            let ranks: HashMap<(u32, u32), (usize, u32)> =
                v.merges.iter().enumerate().map(|(rank, [a, b, made])| ((*a, *b), (rank, *made))).collect();
            let ids: Vec<u32> = v.tokens.iter().map(|t| t.id).collect();
            let naive = |text: &[u8]| -> Vec<u32> {
                let mut symbols: Vec<u32> = text.iter().map(|b| *b as u32).collect();
                let lowest = |symbols: &[u32]| {
                    let pairs = symbols.windows(2).enumerate();
                    pairs
                        .filter_map(|(i, w)| ranks.get(&(w[0], w[1])).map(|(rank, made)| (*rank, i, *made)))
                        .min()
                };
                while let Some((_, at, made)) = lowest(&symbols) {
                    symbols[at] = made;
                    symbols.remove(at + 1);
                }
                symbols.iter().map(|s| ids[*s as usize]).collect()
            };
            let index = Index::new(&v);
            let letters = 2 + r.below(6);
            let bpe = Bpe::new(
                Vocabulary {
                    bytes: v.bytes.clone(),
                    tokens: v.tokens.clone(),
                    merges: v.merges.clone(),
                    ..v
                },
                index,
            )
            .unwrap();
            for _ in 0..60 {
                let mut texts: [Vec<Vec<u8>>; 2] = Default::default();
                let used = 1 + r.below(2);
                for (lanes, texts) in groups[..used].iter_mut().zip(&mut texts) {
                    lanes.clear();
                    let longest = 2 + r.below(LONGEST - 1);
                    for lane in 0..r.below(LANES + 1) {
                        let n = if r.below(4) == 0 { longest } else { 2 + r.below(longest - 1) };
                        let byte = |r: &mut Random| match r.below(30) {
                            0 => r.below(256) as u8,
                            _ => b'a' + r.below(letters) as u8,
                        };
                        let text: Vec<u8> = (0..n).map(|_| byte(&mut r)).collect();
                        lanes.set(lane, &text);
                        texts.push(text);
                    }
                }
                // SAFETY: the level says that the CPU has the instructions.
                unsafe { merge_compiled(&mut groups[..used], &bpe) };
                for (lanes, texts) in groups.iter().zip(&texts) {
                    for (lane, text) in texts.iter().enumerate() {
                        let wanted = naive(text);
                        merged += text.len() - wanted.len();
                        let mut of_lane = [0; LONGEST];
                        let n = lanes.ids(lane, &mut of_lane);
                        assert_eq!(of_lane[..n], wanted, "lane {lane}: {text:?}");
                        let mut job = Job::default();
                        bpe.start(&mut job, text);
                        while !bpe.select(&mut job) {
                            bpe.take_in(&mut job);
                        }
                        let (mut of_job, mut bytes) = (Vec::new(), 0);
                        bpe.ids(&job, |id, n| {
                            of_job.push(id);
                            bytes += n;
                        });
                        assert_eq!((&of_job, bytes), (&wanted, text.len()), "{text:?}");
                        let mut alone = Vec::new();
                        bpe.merge(text, &mut Scratch::default(), |id, _| alone.push(id));
                        assert_eq!(alone, wanted, "{text:?}");
                    }
                }
            }
        }
        assert!(merged > 10_000, "the texts must have something to merge: {merged}");
    }
}
