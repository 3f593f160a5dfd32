//! Pre-token boundaries of 64 bytes at a time, as bit masks.
//!
//! A window begins where a pre-token begins, so it needs nothing from the text before it. Each class of
//! characters is a mask with a bit a character; every alternative of the regex is some shifts and ands on
//! them. A start is decided by the characters up to it and the one behind, but for white space (which needs
//! its whole run) and contractions (two letters more): starts that the window's end leaves open are dropped,
//! the last one that is left is where the next window begins, and when only the first is left, or a
//! character needs more thought than this (see `hard` below), the plain way takes that pre-token.
//!
//! The test `windows_equal_the_plain_way` compares with `Pattern::end` over generated text, at every level.
use crate::pretoken::Pattern;
use crate::unicode::{self as u, decode};

/// What a level of SIMD has to do.
pub trait Level: Copy {
    /// The masks of the ASCII bytes of `text[..len]`, `len` <= 64, and that of the bytes >= 0x80.
    /// Not one byte behind `len` is read.
    ///
    /// # Safety
    /// `text` is valid for reads of `len` bytes, and the CPU has the level's instructions.
    unsafe fn ascii(self, text: *const u8, len: usize) -> Masks;
    /// # Safety
    /// The CPU has the level's instructions.
    unsafe fn extract(self, bits: u64, mask: u64) -> u64;
    /// # Safety
    /// The CPU has the level's instructions.
    unsafe fn deposit(self, bits: u64, mask: u64) -> u64;
    /// Writes base + i for each bit i of `bits`, in order, and up to 64 entries of anything behind them.
    ///
    /// # Safety
    /// `out` is valid for writes of 64 values, and the CPU has the level's instructions.
    unsafe fn positions(self, bits: u64, base: u32, out: *mut u32);
}

/// A bit a character for each class.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Masks {
    pub high: u64,
    pub upper: u64,
    pub lower: u64,
    /// Letters without case.
    pub plain: u64,
    pub number: u64,
    /// White space but newlines, the blank included.
    pub space: u64,
    pub newline: u64,
    pub blank: u64,
    pub apostrophe: u64,
    pub slash: u64,
    /// Marks (for o200k) and what StarCoder's digits may see differently: the window ends here.
    pub hard: u64,
}

#[inline(always)]
pub fn below(n: u32) -> u64 {
    if n >= 64 { !0 } else { (1 << n) - 1 }
}

/// The masks of a plain loop: the portable level, and what the others are tested against.
#[derive(Clone, Copy)]
pub struct Portable;

const ASCII_CLASS: [u8; 128] = {
    let mut t = [0; 128];
    let mut i = 0;
    while i < 128 {
        t[i] = crate::unicode_tables::BLOCKS[crate::unicode_tables::INDEX[i >> 6] as usize][i & 63] & 15;
        i += 1;
    }
    t
};

impl Level for Portable {
    #[inline(always)]
    unsafe fn ascii(self, text: *const u8, len: usize) -> Masks {
        let mut m = Masks::default();
        for i in 0..len {
            // SAFETY: i < len, which the caller vouches for.
            let b = unsafe { *text.add(i) };
            let bit = 1u64 << i;
            if b >= 0x80 {
                m.high |= bit;
                continue;
            }
            add(&mut m, ASCII_CLASS[b as usize], bit);
        }
        m
    }
    #[inline(always)]
    unsafe fn extract(self, bits: u64, mut mask: u64) -> u64 {
        let (mut out, mut n) = (0, 0);
        while mask != 0 {
            out |= (bits >> mask.trailing_zeros() & 1) << n;
            n += 1;
            mask &= mask - 1;
        }
        out
    }
    #[inline(always)]
    unsafe fn deposit(self, mut bits: u64, mut mask: u64) -> u64 {
        let mut out = 0;
        while mask != 0 {
            out |= (bits & 1) << mask.trailing_zeros();
            bits >>= 1;
            mask &= mask - 1;
        }
        out
    }
    #[inline(always)]
    unsafe fn positions(self, mut bits: u64, base: u32, out: *mut u32) {
        let mut n = 0;
        while bits != 0 {
            // SAFETY: n < 64, which the caller vouches for.
            unsafe { *out.add(n) = base + bits.trailing_zeros() };
            n += 1;
            bits &= bits - 1;
        }
    }
}

#[inline(always)]
fn add(m: &mut Masks, class: u8, bit: u64) {
    match class {
        u::UPPER => m.upper |= bit,
        u::LOWER => m.lower |= bit,
        u::LETTER => m.plain |= bit,
        u::NUMBER => m.number |= bit,
        u::SPACE => m.space |= bit,
        u::NEWLINE => m.newline |= bit,
        u::BLANK => {
            m.space |= bit;
            m.blank |= bit
        }
        u::APOSTROPHE => m.apostrophe |= bit,
        u::SLASH => m.slash |= bit,
        _ => {}
    }
}

/// One window's answer.
pub struct Window {
    /// The starts, a bit a byte; bit 0 is always set.
    pub starts: u64,
    /// Where two neighbouring three-byte letters meet, a bit at the second one's first byte.
    pub joints: u64,
    /// Whether the text ends in this window and all of its starts are decided.
    pub last: bool,
}

/// The starts in `text[from..]`, where a pre-token begins at `from`.
///
/// # Safety
/// from < text.len(), and the CPU has the level's instructions.
#[inline(always)]
pub unsafe fn window<L: Level, const P: u8>(level: L, text: &[u8], from: usize) -> Window {
    let rest = text.len() - from;
    let len = rest.min(64);
    // SAFETY: from + len <= text.len().
    let mut m = unsafe { level.ascii(text.as_ptr().add(from), len) };
    let mut lead = below(len as u32);
    let mut joints = 0;
    let mut valid = lead;
    let mut more = rest > 64;
    if m.high != 0 {
        let bytes = &text[from..from + len];
        let (continuation, cut, met) = slow_classes::<P>(&mut m, bytes);
        lead &= !continuation & below(cut as u32);
        joints = met;
        // SAFETY: the CPU has the level's instructions.
        unsafe {
            let e = |bits| level.extract(bits, lead);
            valid = below(lead.count_ones());
            m.upper = e(m.upper);
            m.lower = e(m.lower);
            m.plain = e(m.plain);
            m.number = e(m.number);
            m.space = e(m.space);
            m.newline = e(m.newline);
            m.blank = e(m.blank);
            m.apostrophe = e(m.apostrophe);
            m.slash = e(m.slash);
            m.hard = e(m.hard);
        }
        if m.hard != 0 {
            valid = below(m.hard.trailing_zeros());
            more = true;
        }
    }
    // Where a character of the window stands in the text.
    let place = |i: u32| {
        if m.high == 0 {
            return from + i as usize;
        }
        // SAFETY: the CPU has the level's instructions.
        from + unsafe { level.deposit(1 << i, lead) }.trailing_zeros() as usize
    };
    let starts = match P {
        GPT2 => gpt2(&m, valid, more, false, text, place),
        GPT2_DIGITS => gpt2(&m, valid, more, true, text, place),
        CL100K_3 => cl100k(&m, valid, more, 3, false, text, place),
        CL100K_3_TAIL => cl100k(&m, valid, more, 3, true, text, place),
        CL100K_1 => cl100k(&m, valid, more, 1, false, text, place),
        O200K => o200k(&m, valid, more, 3, true, text, place),
        _ => o200k(&m, valid, more, 1, false, text, place),
    };
    let (starts, more) = (starts.0 | 1, more || starts.1);
    // SAFETY: the CPU has the level's instructions.
    let starts = if m.high == 0 { starts } else { unsafe { level.deposit(starts, lead) } };
    Window { starts, joints, last: !more }
}

pub const GPT2: u8 = 0;
pub const GPT2_DIGITS: u8 = 1;
pub const CL100K_3: u8 = 2;
pub const CL100K_3_TAIL: u8 = 3;
pub const CL100K_1: u8 = 4;
pub const O200K: u8 = 5;
pub const TEKKEN: u8 = 6;

impl Pattern {
    /// The constant of the pattern's windows; None: it has only the plain way.
    pub fn windows(self) -> Option<u8> {
        Some(match self {
            Pattern::Gpt2 { digits: false } => GPT2,
            Pattern::Gpt2 { digits: true } => GPT2_DIGITS,
            Pattern::Cl100k { digits: 3, tail: false } => CL100K_3,
            Pattern::Cl100k { digits: 3, tail: true } => CL100K_3_TAIL,
            Pattern::Cl100k { digits: 1, tail: false } => CL100K_1,
            Pattern::O200k { digits: 3, contractions: true } => O200K,
            Pattern::O200k { digits: 1, contractions: false } => TEKKEN,
            _ => return None,
        })
    }
}

/// Adds the characters beyond ASCII. -> the continuation bytes, where the characters end that are whole, and
/// the first bytes of letters of three bytes that have another one right before them.
#[inline(always)]
fn slow_classes<const P: u8>(m: &mut Masks, bytes: &[u8]) -> (u64, usize, u64) {
    let mut todo = m.high;
    let (mut continuation, mut cut) = (0u64, bytes.len());
    let mut joints = 0;
    while todo != 0 {
        let i = todo.trailing_zeros() as usize;
        let first = bytes[i];
        let n = if first < 0xe0 {
            2
        } else if first < 0xf0 {
            3
        } else {
            4
        };
        if i + n > bytes.len() {
            cut = i;
            break;
        }
        let bit = 1u64 << i;
        let tail = (bit << n).wrapping_sub(bit << 1);
        continuation |= tail;
        todo &= !(tail | bit);
        // U+5000 to U+9FFF, U+B000 to U+CFFF: letters without case, all of them (tested).
        let class = if (0xe5..=0xe9).contains(&first) || first == 0xec || first == 0xeb {
            u::LETTER
        } else {
            u::class(decode(bytes, i).0)
        };
        match class {
            u::MARK if P == O200K || P == TEKKEN => m.hard |= bit,
            u::NUMBER | u::OTHER if P == GPT2_DIGITS => m.hard |= bit,
            _ => add(m, class, bit),
        }
        if n == 3 && class == u::LETTER {
            joints |= bit;
        }
    }
    (continuation, cut, joints & joints << 3)
}

/// The run of white space that reaches the end of `valid`, if it is not the text's end, and with it all
/// starts that are not decided.
#[inline(always)]
fn drop_open(starts: u64, white: u64, open: u64, valid: u64, more: bool) -> u64 {
    if !more {
        return starts & valid;
    }
    // The highest valid character that is no white space.
    let solid = valid & !white;
    let keep = if solid == 0 { 1 } else { !0u64 >> solid.leading_zeros() };
    let starts = starts & keep;
    // Contractions within the last three characters may go on behind the window.
    let end = valid.count_ones();
    let open = open & !below(end.saturating_sub(3));
    if open != 0 { starts & below(open.trailing_zeros()) } else { starts }
}

/// 's 't 'm 'd 're 've 'll at an apostrophe: how many characters, the apostrophe included.
#[inline(always)]
fn contraction(text: &[u8], at: usize, fold: bool) -> u32 {
    let byte = |i: usize| match text.get(at + i) {
        Some(b) if fold && b.is_ascii_uppercase() => b | 32,
        Some(b) => *b,
        None => 0,
    };
    match (byte(1), byte(2)) {
        (b's' | b't' | b'm' | b'd', _) => 2,
        (b'r' | b'v', b'e') | (b'l', b'l') => 3,
        (0xc5, 0xbf) if fold => 2,
        _ => 0,
    }
}

#[inline(always)]
fn gpt2(
    m: &Masks,
    valid: u64,
    more: bool,
    digits: bool,
    text: &[u8],
    place: impl Fn(u32) -> usize,
) -> (u64, bool) {
    let letters = m.upper | m.lower | m.plain;
    let white = m.space | m.newline;
    let signs = valid & !(letters | m.number | white);
    let begins = |x: u64| x & !(x << 1);
    let after_blank = m.blank << 1;
    let signs_begin = begins(signs) & !after_blank;
    let numbers = if digits { m.number } else { begins(m.number) & !after_blank };
    let mut starts = begins(letters) & !after_blank | signs_begin | numbers | begins(white);
    let ends_before = if digits { valid & !m.number } else { valid };
    starts |= white & !(white >> 1) & (ends_before >> 1);
    let candidates = signs_begin & m.apostrophe & (letters >> 1);
    let mut todo = candidates;
    while todo != 0 {
        let i = todo.trailing_zeros();
        todo &= todo - 1;
        let n = contraction(text, place(i), false);
        if n > 0 && i + n <= 64 {
            starts &= !(1u64 << (i + 1));
            if i + n < 64 {
                starts |= (1u64 << (i + n)) & letters;
            }
        }
    }
    (drop_open(starts, white, candidates, valid, more), false)
}

/// Numbers in groups of `digits` from the begin of their run.
#[inline(always)]
fn groups(number: u64, digits: u8) -> u64 {
    if digits == 1 {
        return number;
    }
    let mut starts = number & !(number << 1);
    let long = number & number << 1 & number << 2 & number << 3;
    if long != 0 {
        // Bit i: characters i - 3 to i are numbers.
        let mut next = starts << 3 & long;
        while next != 0 {
            starts |= next;
            next = next << 3 & long;
        }
    }
    starts
}

/// Starts by white space: the begin of a run, the begin of what follows its last newline, the last
/// character if it is no newline and something follows. Newlines that a run of signs took are not in it.
#[inline(always)]
fn white_starts(space: u64, newline: u64, valid: u64) -> u64 {
    let white = space | newline;
    let ends = space & !(space >> 1);
    let mut starts = white & !(white << 1);
    starts |= ends & !(newline >> 1) & (valid >> 1);
    let behind_newline = space & !(space << 1) & newline << 1;
    let before_newline = ends & newline >> 1;
    if behind_newline != 0 {
        // The runs of space that a newline follows: all of each, from its end to its begin.
        let (mut flood, mut p) = (before_newline, space);
        if flood != 0 {
            for shift in [1, 2, 4, 8, 16, 32] {
                flood |= p & flood >> shift;
                p &= p >> shift;
            }
        }
        starts |= behind_newline & !flood;
    }
    starts
}

#[inline(always)]
fn cl100k(
    m: &Masks,
    valid: u64,
    more: bool,
    digits: u8,
    tail: bool,
    text: &[u8],
    place: impl Fn(u32) -> usize,
) -> (u64, bool) {
    let letters = m.upper | m.lower | m.plain;
    let signs = valid & !(letters | m.number | m.space | m.newline);
    // Newlines right behind signs belong to them.
    let first = m.newline & signs << 1;
    let taken = m.newline & !m.newline.wrapping_add(first);
    let newline = m.newline & !taken;
    let white = m.space | newline;
    let signs_begin = signs & !(signs << 1) & !(m.blank << 1);
    // A sign that stands alone goes with the letters behind it.
    let alone = signs_begin & !(signs >> 1);
    let mut starts = signs_begin
        | letters & !(letters << 1) & !((alone | m.space) << 1)
        | groups(m.number, digits)
        | white_starts(m.space, newline, valid);
    let candidates = alone & m.apostrophe & (letters >> 1);
    let mut todo = candidates;
    while todo != 0 {
        let i = todo.trailing_zeros();
        todo &= todo - 1;
        let n = contraction(text, place(i), true);
        if n > 0 && i + n < 64 {
            starts |= (1u64 << (i + n)) & letters;
        }
    }
    if tail && !more {
        // The white space that ends the text is one pre-token.
        let solid = valid & !white;
        let last = if solid == 0 { valid } else { valid & !(!0u64 >> solid.leading_zeros()) };
        starts &= !last | (white & !(white << 1));
    }
    (drop_open(starts, m.space | m.newline, candidates, valid, more), false)
}

#[inline(always)]
fn o200k(
    m: &Masks,
    valid: u64,
    more: bool,
    digits: u8,
    contractions: bool,
    text: &[u8],
    place: impl Fn(u32) -> usize,
) -> (u64, bool) {
    // Upper behind uncased: how far a word goes depends on all of it. The window ends there.
    let doubt = m.upper & m.plain << 1 & valid;
    let (valid, more, cut) =
        if doubt != 0 { (below(doubt.trailing_zeros()), true, true) } else { (valid, more, false) };
    let letters = (m.upper | m.lower | m.plain) & valid;
    let (number, space) = (m.number & valid, m.space & valid);
    let all_newlines = m.newline & valid;
    let mut signs = valid & !(letters | number | space | all_newlines);
    let mut starts = m.upper & letters & m.lower << 1;
    // Contractions belong to the word before them, once.
    let (mut clear, mut set) = (0u64, 0u64);
    let mut open = 0;
    if contractions {
        let candidates = m.apostrophe & signs & letters << 1 & letters >> 1;
        open = m.apostrophe & signs & letters << 1;
        let (mut todo, mut end) = (candidates, 64);
        while todo != 0 {
            let i = todo.trailing_zeros();
            todo &= todo - 1;
            if i == end {
                // Right behind another contraction: a word of its own.
                continue;
            }
            let n = contraction(text, place(i), true);
            if n > 0 {
                signs &= !(1 << i);
                clear |= below(i + n) & !below(i);
                if i + n < 64 {
                    set |= 1 << (i + n);
                }
                end = i + n;
            }
        }
    }
    // Newlines right behind signs belong to them, and what follows of newlines and slashes.
    let first = all_newlines & signs << 1;
    let mut taken = 0;
    if first != 0 {
        let more_of_it = all_newlines | m.slash & signs;
        taken = more_of_it & !more_of_it.wrapping_add(first) | first;
        signs &= !taken;
    }
    let newline = all_newlines & !taken;
    let signs_begin = signs & !(signs << 1) & !(m.blank << 1);
    let alone = signs_begin & !(signs >> 1);
    starts |= signs_begin
        | letters & !(letters << 1) & !((alone | space) << 1)
        | groups(number, digits)
        | white_starts(space, newline, valid);
    // What follows a taken character begins; so does what follows a contraction.
    starts |= taken << 1 & !taken & valid;
    starts &= !taken;
    starts = starts & !clear | set & valid;
    (drop_open(starts, space | all_newlines, open, valid, more), cut)
}

#[cfg(target_arch = "x86_64")]
pub mod x86 {
    use super::*;
    use std::arch::x86_64::*;

    /// AVX2 and BMI: two halves of 32 bytes, a compare a class.
    #[derive(Clone, Copy)]
    pub struct Avx2(());
    impl Avx2 {
        /// None where the CPU does not have it: holding one is the proof that its instructions may run.
        pub fn new() -> Option<Avx2> {
            (is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("popcnt")
                && is_x86_feature_detected!("lzcnt")
                && is_x86_feature_detected!("sse4.2"))
            .then_some(Avx2(()))
        }
    }

    impl Level for Avx2 {
        #[inline(always)]
        unsafe fn ascii(self, text: *const u8, len: usize) -> Masks {
            let mut copy = [0u8; 64];
            let text = if len < 64 {
                // SAFETY: the caller vouches for len bytes.
                unsafe { std::ptr::copy_nonoverlapping(text, copy.as_mut_ptr(), len) };
                copy.as_ptr()
            } else {
                text
            };
            // SAFETY: 64 bytes are readable at `text` now; the CPU has AVX2.
            let half = |at: usize| unsafe {
                let v = _mm256_loadu_si256(text.add(at).cast());
                let mask = |x: __m256i| _mm256_movemask_epi8(x) as u32 as u64;
                let eq = |b: u8| _mm256_cmpeq_epi8(v, _mm256_set1_epi8(b as i8));
                // Signed compares: bytes >= 0x80 are below every bound.
                let within = |lo: u8, hi: u8| {
                    _mm256_and_si256(
                        _mm256_cmpgt_epi8(v, _mm256_set1_epi8(lo as i8 - 1)),
                        _mm256_cmpgt_epi8(_mm256_set1_epi8(hi as i8 + 1), v),
                    )
                };
                let newline = _mm256_or_si256(eq(b'\n'), eq(b'\r'));
                let blank = mask(eq(b' '));
                let newline = mask(newline);
                Masks {
                    high: mask(v),
                    upper: mask(within(b'A', b'Z')),
                    lower: mask(within(b'a', b'z')),
                    plain: 0,
                    number: mask(within(b'0', b'9')),
                    space: mask(within(9, 13)) & !newline | blank,
                    newline,
                    blank,
                    apostrophe: mask(eq(b'\'')),
                    slash: mask(eq(b'/')),
                    hard: 0,
                }
            };
            let (a, b) = (half(0), half(32));
            Masks {
                high: a.high | b.high << 32,
                upper: a.upper | b.upper << 32,
                lower: a.lower | b.lower << 32,
                plain: 0,
                number: a.number | b.number << 32,
                space: a.space | b.space << 32,
                newline: a.newline | b.newline << 32,
                blank: a.blank | b.blank << 32,
                apostrophe: a.apostrophe | b.apostrophe << 32,
                slash: a.slash | b.slash << 32,
                hard: 0,
            }
        }
        #[inline(always)]
        unsafe fn extract(self, bits: u64, mask: u64) -> u64 {
            // SAFETY: the CPU has BMI2.
            unsafe { _pext_u64(bits, mask) }
        }
        #[inline(always)]
        unsafe fn deposit(self, bits: u64, mask: u64) -> u64 {
            // SAFETY: the CPU has BMI2.
            unsafe { _pdep_u64(bits, mask) }
        }
        #[inline(always)]
        unsafe fn positions(self, bits: u64, base: u32, out: *mut u32) {
            // SAFETY: as the caller's.
            unsafe { Portable.positions(bits, base, out) }
        }
    }

    /// AVX-512 with byte permutes and compresses (Ice Lake, Zen 4 and later).
    #[derive(Clone, Copy)]
    pub struct Avx512(());
    impl Avx512 {
        /// None where the CPU does not have it: holding one is the proof that its instructions may run.
        pub fn new() -> Option<Avx512> {
            (Avx2::new().is_some()
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512cd")
                && is_x86_feature_detected!("avx512vbmi")
                && is_x86_feature_detected!("avx512vbmi2")
                && is_x86_feature_detected!("aes")
                && is_x86_feature_detected!("vaes"))
            .then_some(Avx512(()))
        }
    }

    /// A bit a class: upper, lower, number, space, newline, blank, apostrophe, slash.
    static FLAGS: [u8; 128] = {
        let mut t = [0; 128];
        let mut i = 0;
        while i < 128 {
            t[i] = match ASCII_CLASS[i] {
                u::UPPER => 1,
                u::LOWER => 2,
                u::NUMBER => 4,
                u::SPACE => 8,
                u::NEWLINE => 16,
                u::BLANK => 8 | 32,
                u::APOSTROPHE => 64,
                u::SLASH => 128,
                _ => 0,
            };
            i += 1;
        }
        t
    };
    static COUNT: [u8; 64] = {
        let mut t = [0; 64];
        let mut i = 0;
        while i < 64 {
            t[i] = i as u8;
            i += 1;
        }
        t
    };

    impl Level for Avx512 {
        #[inline(always)]
        unsafe fn ascii(self, text: *const u8, len: usize) -> Masks {
            // SAFETY: the mask keeps the load within len bytes; FLAGS has 128; the CPU has the instructions.
            unsafe {
                let valid = below(len as u32);
                let v = _mm512_maskz_loadu_epi8(valid, text.cast());
                let lo = _mm512_loadu_si512(FLAGS.as_ptr().cast());
                let hi = _mm512_loadu_si512(FLAGS.as_ptr().add(64).cast());
                let high = _mm512_movepi8_mask(v);
                let flags = _mm512_maskz_permutex2var_epi8(!high, lo, v, hi);
                let of = |bit: u8| _mm512_test_epi8_mask(flags, _mm512_set1_epi8(bit as i8));
                Masks {
                    high,
                    upper: of(1),
                    lower: of(2),
                    plain: 0,
                    number: of(4),
                    space: of(8),
                    newline: of(16),
                    blank: of(32),
                    apostrophe: of(64),
                    slash: of(128),
                    hard: 0,
                }
            }
        }
        #[inline(always)]
        unsafe fn extract(self, bits: u64, mask: u64) -> u64 {
            // SAFETY: the CPU has BMI2.
            unsafe { _pext_u64(bits, mask) }
        }
        #[inline(always)]
        unsafe fn deposit(self, bits: u64, mask: u64) -> u64 {
            // SAFETY: the CPU has BMI2.
            unsafe { _pdep_u64(bits, mask) }
        }
        #[inline(always)]
        unsafe fn positions(self, bits: u64, base: u32, out: *mut u32) {
            // SAFETY: the caller's 64 values; the CPU has the instructions.
            unsafe {
                let at = _mm512_maskz_compress_epi8(bits, _mm512_loadu_si512(COUNT.as_ptr().cast()));
                let base = _mm512_set1_epi32(base as i32);
                let put = |quarter: __m128i, i: usize| {
                    let p = _mm512_add_epi32(_mm512_cvtepu8_epi32(quarter), base);
                    _mm512_storeu_si512(out.add(i).cast(), p);
                };
                put(_mm512_castsi512_si128(at), 0);
                put(_mm512_extracti32x4_epi32::<1>(at), 16);
                if bits.count_ones() > 32 {
                    put(_mm512_extracti32x4_epi32::<2>(at), 32);
                    put(_mm512_extracti32x4_epi32::<3>(at), 48);
                }
            }
        }
    }
}
