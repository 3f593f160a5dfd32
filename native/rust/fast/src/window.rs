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
use crate::bpe::Joints;
use crate::pretoken::{self, Pattern};
use crate::unicode::{self as u, decode};

/// What a level of SIMD has to do.
pub trait Level: Copy {
    /// The masks of the ASCII bytes of `text[..len]`, `len` <= 64, and that of the bytes >= 0x80.
    /// Not one byte behind `len` is read.
    ///
    /// # Safety
    /// `text` is valid for reads of `len` bytes, and the CPU has the level's instructions.
    unsafe fn ascii<const P: u8>(self, text: *const u8, len: usize) -> Masks;
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
    /// All characters of `text[..len]`, where some are beyond ASCII; `ascii` are the masks of the others.
    ///
    /// # Safety
    /// `text` is valid for reads of `len` bytes and UTF-8 from its begin on, and the CPU has the level's instructions.
    #[inline(always)]
    unsafe fn beyond<const P: u8>(self, text: *const u8, len: usize, ascii: Masks) -> Beyond {
        // SAFETY: the caller vouches for it.
        let bytes = unsafe { std::slice::from_raw_parts(text, len) };
        let mut m = ascii;
        let (continuation, cut, three) = slow_classes::<P>(&mut m, bytes);
        let lead = below(cut as u32) & !continuation;
        // SAFETY: the CPU has the level's instructions.
        let e = |bits| unsafe { self.extract(bits, lead) };
        let masks = Masks {
            high: m.high,
            upper: e(m.upper),
            lower: e(m.lower),
            plain: e(m.plain),
            number: e(m.number),
            space: e(m.space),
            newline: e(m.newline),
            blank: e(m.blank),
            apostrophe: e(m.apostrophe),
            slash: e(m.slash),
            hard: e(m.hard),
            zone: e(m.zone),
        };
        Beyond { masks, lead, three }
    }
    /// Which of `met` no token spans: bits at first bytes of letters of three bytes that have another one right before
    /// them. `three`: all letters of three bytes in `text[..len]`.
    ///
    /// # Safety
    /// As of `beyond`.
    #[inline(always)]
    unsafe fn cuts(self, text: *const u8, _len: usize, three: u64, met: u64, joints: &Joints) -> u64 {
        let (mut todo, mut cuts, mut left) = (three, 0, 0);
        while todo != 0 {
            let at = todo.trailing_zeros() as usize;
            todo &= todo - 1;
            // SAFETY: `three` has a bit only where all three bytes are below len.
            let byte = |i: usize| unsafe { *text.add(at + i) as u32 };
            let right = (byte(0) & 15) << 12 | (byte(1) & 63) << 6 | byte(2) & 63;
            cuts |= (!joints.spanned(left, right) as u64) << at;
            left = right;
        }
        cuts & met
    }
}

/// What `Level::beyond` tells: the masks of the whole characters with a bit a character (`high` with a bit a byte);
/// a bit at the first byte of each whole character; the letters without case of three bytes among these.
pub struct Beyond {
    pub masks: Masks,
    pub lead: u64,
    pub three: u64,
}

/// A bit a character for each class.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Masks {
    pub high: u64,
    pub upper: u64,
    pub lower: u64,
    /// Letters without case, and marks where they are as letters (see `marks`).
    pub plain: u64,
    pub number: u64,
    /// White space but newlines, the blank included.
    pub space: u64,
    pub newline: u64,
    pub blank: u64,
    pub apostrophe: u64,
    pub slash: u64,
    /// Marks (for o200k), what StarCoder's digits may see differently, what DeepSeek's regex does not match alone: the
    /// window ends here.
    pub hard: u64,
    /// DeepSeek's Chinese and kana.
    pub zone: u64,
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
    unsafe fn ascii<const P: u8>(self, text: *const u8, len: usize) -> Masks {
        let mut m = Masks::default();
        for i in 0..len {
            // SAFETY: i < len, which the caller vouches for.
            let b = unsafe { *text.add(i) };
            let bit = 1u64 << i;
            if b >= 0x80 {
                m.high |= bit;
                continue;
            }
            match ASCII_CLASS[b as usize] {
                u::OTHER if P == DEEPSEEK => m.hard |= bit,
                class => add(&mut m, class, bit),
            }
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
            // In fours, whatever is behind the last: fewer turns that no one can foretell.
            for i in 0..4 {
                // SAFETY: n < 64 is a multiple of four; the caller vouches for 64.
                unsafe { *out.add(n + i) = base + bits.trailing_zeros() };
                bits &= bits.wrapping_sub(1);
            }
            n += 4;
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
    /// The letters without case of three bytes, a bit at the first byte; and those that have another one right before them.
    pub three: u64,
    pub met: u64,
    /// How far the next window begins: the text's end if all starts are decided, the last start, or (if `inside`) a letter
    /// of `met` behind it, in the same pre-token, from which on everything is as if one began there. 0: no progress.
    pub step: u32,
    pub inside: bool,
}

/// The starts in `text[from..]`, where a pre-token begins at `from`, or goes on with a letter at which the window
/// before this one was `inside`.
///
/// # Safety
/// from < text.len(), and the CPU has the level's instructions.
#[inline(always)]
pub unsafe fn window<L: Level, const P: u8>(level: L, text: &[u8], from: usize) -> Window {
    let rest = text.len() - from;
    let len = rest.min(64);
    // SAFETY: from + len <= text.len().
    let m = unsafe { level.ascii::<P>(text.as_ptr().add(from), len) };
    if m.high == 0 {
        let (mut valid, mut more) = (below(len as u32), rest > 64);
        if P == DEEPSEEK && m.hard != 0 {
            valid = below(m.hard.trailing_zeros());
            more = true;
        }
        // Where a character of the window stands in the text.
        let place = |i: u32| from + i as usize;
        let (starts, _, more) = starts_of::<P>(&m, valid, more, text, place);
        let starts = starts | 1;
        let step = if more { 63 - starts.leading_zeros() } else { len as u32 };
        return Window { starts, three: 0, met: 0, step, inside: false };
    }
    // SAFETY: as above; the text is UTF-8, and `from` one of its boundaries.
    let b = unsafe { level.beyond::<P>(text.as_ptr().add(from), len, m) };
    let mut m = b.masks;
    let mut valid = below(b.lead.count_ones());
    let mut more = rest > 64;
    if P == O200K || P == TEKKEN {
        // Marks behind letters are as letters without case; others may be signs, or the first character of a word.
        let first = m.hard & (m.upper | m.lower | m.plain) << 1;
        let soft = m.hard & !m.hard.wrapping_add(first);
        m.plain |= soft;
        m.hard &= !soft;
    }
    if m.hard != 0 {
        valid &= below(m.hard.trailing_zeros());
        more = true;
    }
    if P == DEEPSEEK {
        // A bit a character from here on.
        // SAFETY: the CPU has the level's instructions.
        m.high = unsafe { level.extract(m.high, b.lead) };
    }
    // SAFETY: the CPU has the level's instructions.
    let place = |i: u32| from + unsafe { level.deposit(1 << i, b.lead) }.trailing_zeros() as usize;
    let (starts, valid, more) = starts_of::<P>(&m, valid, more, text, place);
    let starts = starts | 1;
    let top = 63 - starts.leading_zeros();
    // SAFETY: the CPU has the level's instructions.
    let (starts, decided) = unsafe { (level.deposit(starts, b.lead), level.deposit(valid, b.lead)) };
    let met = b.three & b.three << 3;
    if !more {
        return Window { starts, three: b.three, met, step: len as u32, inside: false };
    }
    // Two letters without case in a row are in one pre-token, whatever comes next. In o200k that depends on whether
    // a lower-case letter came before them.
    let last = 63 - (decided | 1).leading_zeros();
    let one = match P {
        O200K | TEKKEN => m.lower & valid & !below(top) == 0,
        // DeepSeek's Chinese and kana are in another one than the letters beside them.
        DEEPSEEK => starts >> last & 1 == 0,
        _ => true,
    };
    let inside = met >> last & 1 != 0 && one;
    let step = if inside { last } else { 63 - starts.leading_zeros() };
    Window { starts, three: b.three, met, step, inside }
}

/// -> the starts that are decided; which characters are; whether there are more of them.
#[inline(always)]
fn starts_of<const P: u8>(
    m: &Masks,
    valid: u64,
    more: bool,
    text: &[u8],
    place: impl Fn(u32) -> usize,
) -> (u64, u64, bool) {
    match P {
        GPT2 => gpt2(m, valid, more, false, text, place),
        GPT2_DIGITS => gpt2(m, valid, more, true, text, place),
        CL100K_3 => cl100k(m, valid, more, 3, false, text, place),
        CL100K_3_TAIL => cl100k(m, valid, more, 3, true, text, place),
        CL100K_1 => cl100k(m, valid, more, 1, false, text, place),
        QWEN35 => cl100k(m, valid, more, 1, false, text, place),
        DEEPSEEK => deepseek(m, valid, more),
        O200K => o200k(m, valid, more, 3, true, text, place),
        _ => o200k(m, valid, more, 1, false, text, place),
    }
}

pub const GPT2: u8 = 0;
pub const GPT2_DIGITS: u8 = 1;
pub const CL100K_3: u8 = 2;
pub const CL100K_3_TAIL: u8 = 3;
pub const CL100K_1: u8 = 4;
pub const O200K: u8 = 5;
pub const TEKKEN: u8 = 6;
pub const QWEN35: u8 = 7;
pub const DEEPSEEK: u8 = 8;

/// Whether marks are as letters without case wherever they stand.
const fn marks(pattern: u8) -> bool {
    pattern == QWEN35 || pattern == DEEPSEEK
}

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
            Pattern::Qwen35 => QWEN35,
            Pattern::DeepSeek3 => DEEPSEEK,
            _ => return None,
        })
    }
}

/// Adds the characters beyond ASCII. -> the continuation bytes, where the characters end that are whole, and
/// the first bytes of letters without case of three bytes.
#[inline(always)]
fn slow_classes<const P: u8>(m: &mut Masks, bytes: &[u8]) -> (u64, usize, u64) {
    let mut todo = m.high;
    let (mut continuation, mut cut) = (0u64, bytes.len());
    let mut three = 0;
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
            u::MARK if marks(P) => m.plain |= bit,
            u::NUMBER | u::OTHER if P == GPT2_DIGITS => m.hard |= bit,
            u::OTHER if P == DEEPSEEK => m.hard |= bit,
            _ => add(m, class, bit),
        }
        if n == 3 && class == u::LETTER {
            three |= bit;
        }
        if P == DEEPSEEK && pretoken::han_or_kana(decode(bytes, i).0) {
            m.zone |= bit;
        }
    }
    (continuation, cut, three)
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
) -> (u64, u64, bool) {
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
    let candidates = signs_begin & m.apostrophe & (m.upper | m.lower) >> 1;
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
    (drop_open(starts, white, candidates, valid, more), valid, more)
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
) -> (u64, u64, bool) {
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
    let candidates = alone & m.apostrophe & (m.upper | m.lower) >> 1;
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
    (drop_open(starts, m.space | m.newline, candidates, valid, more), valid, more)
}

/// Numbers, Chinese with kana, and the rest are texts of their own: none sees what is in another one.
#[inline(always)]
fn deepseek(m: &Masks, valid: u64, more: bool) -> (u64, u64, bool) {
    let words = (m.upper | m.lower | m.plain) & valid;
    // What is of no class at all is hard, so signs are punctuation and symbols.
    let signs = valid & !(words | m.number | m.space | m.newline);
    let rest = valid & !(m.zone | m.number);
    let rest_signs = signs & rest;
    // Newlines right behind signs belong to them.
    let first = m.newline & rest_signs << 1;
    let newline = m.newline & m.newline.wrapping_add(first);
    let signs_begin = rest_signs & !(rest_signs << 1) & !(m.blank << 1);
    // A sign of ASCII that stands alone goes with the letters of ASCII behind it, and with no others.
    let letters = (m.upper | m.lower) & !m.high & valid;
    let leads = signs_begin & !m.high & letters >> 1;
    let behind = letters.wrapping_add(leads << 1) & !letters;
    let zone_signs = signs & m.zone;
    let starts = signs_begin
        | zone_signs & !(zone_signs << 1)
        | (m.zone ^ m.zone << 1) & valid
        | words & !(words << 1) & !((leads | m.space) << 1)
        | behind & words
        | groups(m.number & valid, 3)
        | white_starts(m.space & valid, newline & valid, rest);
    (drop_open(starts, m.space | m.newline, 0, valid, more), valid, more)
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
) -> (u64, u64, bool) {
    // Upper behind uncased: how far a word goes depends on all of it. The window ends there.
    let doubt = m.upper & m.plain << 1 & valid;
    let (valid, more) = if doubt != 0 { (below(doubt.trailing_zeros()), true) } else { (valid, more) };
    let letters = (m.upper | m.lower | m.plain) & valid;
    let (number, space) = (m.number & valid, m.space & valid);
    let all_newlines = m.newline & valid;
    let mut signs = valid & !(letters | number | space | all_newlines);
    let mut starts = m.upper & letters & m.lower << 1;
    // Contractions belong to the word before them, once.
    let (mut clear, mut set) = (0u64, 0u64);
    let mut open = 0;
    if contractions {
        // The letters of contractions have case; one that may be behind the window is open.
        open = m.apostrophe & signs & letters << 1 & !(m.plain >> 1);
        let candidates = open & letters >> 1;
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
    (drop_open(starts, space | all_newlines, open, valid, more), valid, more)
}

#[cfg(target_arch = "x86_64")]
pub mod x86 {
    use super::*;
    use crate::unicode_tables::{BLOCKS, INDEX};
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

    /// The masks of 32 bytes. (Not a closure: called twice it would not be inlined, nor would what it calls.)
    ///
    /// # Safety
    /// `text` is valid for reads of 32 bytes, and the CPU has AVX2.
    #[inline(always)]
    unsafe fn half(text: *const u8) -> Masks {
        // SAFETY: as the caller's.
        unsafe {
            let v = _mm256_loadu_si256(text.cast());
            let newline = mask(_mm256_or_si256(equal(v, b'\n'), equal(v, b'\r')));
            let blank = mask(equal(v, b' '));
            Masks {
                high: mask(v),
                upper: mask(within(v, b'A', b'Z')),
                lower: mask(within(v, b'a', b'z')),
                plain: 0,
                number: mask(within(v, b'0', b'9')),
                space: mask(within(v, 9, 13)) & !newline | blank,
                newline,
                blank,
                apostrophe: mask(equal(v, b'\'')),
                slash: mask(equal(v, b'/')),
                hard: mask(_mm256_or_si256(within(v, 0, 31), equal(v, 127))) & !mask(within(v, 9, 13)),
                zone: 0,
            }
        }
    }
    /// # Safety
    /// The CPU has AVX2.
    #[inline(always)]
    unsafe fn mask(x: __m256i) -> u64 {
        // SAFETY: as the caller's.
        unsafe { _mm256_movemask_epi8(x) as u32 as u64 }
    }
    /// # Safety
    /// The CPU has AVX2.
    #[inline(always)]
    unsafe fn equal(v: __m256i, b: u8) -> __m256i {
        // SAFETY: as the caller's.
        unsafe { _mm256_cmpeq_epi8(v, _mm256_set1_epi8(b as i8)) }
    }
    /// Signed compares: for ASCII bounds bytes >= 0x80 are below, for bounds beyond it ASCII is above.
    ///
    /// # Safety
    /// The CPU has AVX2.
    #[inline(always)]
    unsafe fn within(v: __m256i, lo: u8, hi: u8) -> __m256i {
        // SAFETY: as the caller's.
        unsafe {
            _mm256_and_si256(
                _mm256_cmpgt_epi8(v, _mm256_set1_epi8((lo as i8).wrapping_sub(1))),
                _mm256_cmpgt_epi8(_mm256_set1_epi8(hi as i8 + 1), v),
            )
        }
    }
    /// Both halves.
    ///
    /// # Safety
    /// The CPU has AVX2.
    #[inline(always)]
    unsafe fn both(v: __m256i, w: __m256i, lo: u8, hi: u8) -> u64 {
        // SAFETY: as the caller's.
        unsafe { mask(within(v, lo, hi)) | mask(within(w, lo, hi)) << 32 }
    }
    /// Classes: upper, lower, letter, mark, number, space, other.
    ///
    /// # Safety
    /// The CPU has AVX2.
    #[inline(always)]
    unsafe fn half_classes(classes: *const u8) -> [u64; 7] {
        // SAFETY: as the caller's.
        unsafe {
            let v = _mm256_loadu_si256(classes.cast());
            [
                mask(equal(v, u::UPPER)),
                mask(equal(v, u::LOWER)),
                mask(equal(v, u::LETTER)),
                mask(equal(v, u::MARK)),
                mask(equal(v, u::NUMBER)),
                mask(equal(v, u::SPACE)),
                mask(equal(v, u::OTHER)),
            ]
        }
    }

    impl Level for Avx2 {
        #[inline(always)]
        unsafe fn ascii<const P: u8>(self, text: *const u8, len: usize) -> Masks {
            let mut copy = [0u8; 64];
            let text = if len < 64 {
                // SAFETY: the caller vouches for len bytes.
                unsafe { std::ptr::copy_nonoverlapping(text, copy.as_mut_ptr(), len) };
                copy.as_ptr()
            } else {
                text
            };
            // SAFETY: 64 bytes are readable at `text` now; the CPU has AVX2.
            let (a, b) = unsafe { (half(text), half(text.add(32))) };
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
                hard: if P == DEEPSEEK { (a.hard | b.hard << 32) & below(len as u32) } else { 0 },
                zone: 0,
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
        unsafe fn beyond<const P: u8>(self, text: *const u8, len: usize, ascii: Masks) -> Beyond {
            // SAFETY: reads of `text` are at the bytes of whole characters, of which each block of the tables is one; the
            // CPU has the instructions.
            unsafe {
                // A class a byte; those without a character beyond ASCII have one that is not asked for.
                let mut classes = [u::END; 64];
                let mut copy = [0u8; 64];
                let vectors = if len < 64 {
                    std::ptr::copy_nonoverlapping(text, copy.as_mut_ptr(), len);
                    copy.as_ptr()
                } else {
                    text
                };
                let (v, w) = (_mm256_loadu_si256(vectors.cast()), _mm256_loadu_si256(vectors.add(32).cast()));
                let first2 = mask(within(v, 0xc0, 0xdf)) | mask(within(w, 0xc0, 0xdf)) << 32;
                let first3 = mask(within(v, 0xe0, 0xef)) | mask(within(w, 0xe0, 0xef)) << 32;
                let first4 = mask(within(v, 0xf0, 0xf7)) | mask(within(w, 0xf0, 0xf7)) << 32;
                let end = len as u32;
                let whole = below(end);
                let over = first2 & !below(end - 1)
                    | first3 & !below(end.saturating_sub(2))
                    | first4 & !below(end.saturating_sub(3));
                let lead = whole & !(ascii.high & !(first2 | first3 | first4)) & !over;
                // U+5000 to U+9FFF, U+B000 to U+CFFF: letters without case, all of them (tested).
                let uniform = (mask(within(v, 0xe5, 0xe9)) | mask(within(w, 0xe5, 0xe9)) << 32)
                    | (mask(within(v, 0xeb, 0xec)) | mask(within(w, 0xeb, 0xec)) << 32);
                let uniform = uniform & lead;
                let class = |block: u32, last: u8| {
                    let row = *INDEX.get_unchecked(block as usize) as usize;
                    BLOCKS.get_unchecked(row)[(last & 63) as usize] & 15
                };
                let mut todo = first2 & lead;
                while todo != 0 {
                    let i = todo.trailing_zeros() as usize & 63;
                    todo &= todo - 1;
                    classes[i] = class(*text.add(i) as u32 & 31, *text.add(i + 1));
                }
                let mut todo = first3 & lead & !uniform;
                while todo != 0 {
                    let i = todo.trailing_zeros() as usize & 63;
                    todo &= todo - 1;
                    let block = (*text.add(i) as u32 & 15) << 6 | *text.add(i + 1) as u32 & 63;
                    classes[i] = class(block, *text.add(i + 2));
                }
                let mut todo = first4 & lead;
                while todo != 0 {
                    let i = todo.trailing_zeros() as usize & 63;
                    todo &= todo - 1;
                    let four = std::slice::from_raw_parts(text.add(i), 4);
                    classes[i] = u::class(decode(four, 0).0);
                }
                let (a, b) = (half_classes(classes.as_ptr()), half_classes(classes.as_ptr().add(32)));
                let letters = a[2] | b[2] << 32 | uniform;
                let hard = match P {
                    O200K | TEKKEN => a[3] | b[3] << 32,
                    GPT2_DIGITS => a[4] | a[6] | (b[4] | b[6]) << 32,
                    DEEPSEEK => ascii.hard | a[6] | b[6] << 32,
                    _ => 0,
                };
                let plain = if marks(P) { letters | a[3] | b[3] << 32 } else { letters };
                let zone = if P == DEEPSEEK {
                    // E3 81..83; E4 B8..BF; E5 to E8; E9 up to E9 BE A5.
                    let (e3, e4, e9) =
                        (both(v, w, 0xe3, 0xe3), both(v, w, 0xe4, 0xe4), both(v, w, 0xe9, 0xe9));
                    let last = both(v, w, 0xbf, 0xbf) | both(v, w, 0xbe, 0xbe) & both(v, w, 0xa6, 0xbf) >> 1;
                    e3 & both(v, w, 0x81, 0x83) >> 1
                        | e4 & both(v, w, 0xb8, 0xbf) >> 1
                        | both(v, w, 0xe5, 0xe8)
                        | e9 & !(last >> 1)
                } else {
                    0
                };
                let masks = Masks {
                    high: ascii.high,
                    upper: _pext_u64(ascii.upper | a[0] | b[0] << 32, lead),
                    lower: _pext_u64(ascii.lower | a[1] | b[1] << 32, lead),
                    plain: _pext_u64(plain, lead),
                    number: _pext_u64(ascii.number | a[4] | b[4] << 32, lead),
                    space: _pext_u64(ascii.space | a[5] | b[5] << 32, lead),
                    newline: _pext_u64(ascii.newline, lead),
                    blank: _pext_u64(ascii.blank, lead),
                    apostrophe: _pext_u64(ascii.apostrophe, lead),
                    slash: _pext_u64(ascii.slash, lead),
                    hard: _pext_u64(hard, lead),
                    zone: _pext_u64(zone, lead),
                };
                Beyond { masks, lead, three: letters & first3 }
            }
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
    /// A bit a class beyond ASCII: upper, lower, number, space, plain, mark, other.
    static FLAGS_BEYOND: [u8; 16] = {
        let mut t = [0; 16];
        t[u::UPPER as usize] = 1;
        t[u::LOWER as usize] = 2;
        t[u::NUMBER as usize] = 4;
        t[u::SPACE as usize] = 8;
        t[u::LETTER as usize] = 16;
        t[u::MARK as usize] = 32;
        t[u::OTHER as usize] = 64;
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
        unsafe fn ascii<const P: u8>(self, text: *const u8, len: usize) -> Masks {
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
                    hard: if P == DEEPSEEK {
                        let low = _mm512_cmplt_epu8_mask(v, _mm512_set1_epi8(32));
                        (low | _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8(127))) & !of(8 | 16) & valid
                    } else {
                        0
                    },
                    zone: 0,
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
        /// Classes of all characters of a page (256 code points) at once: most windows have few different ones.
        #[inline(always)]
        unsafe fn beyond<const P: u8>(self, text: *const u8, len: usize, ascii: Masks) -> Beyond {
            // SAFETY: the masks keep the loads within len bytes; pages are below 256; the CPU has the instructions.
            unsafe {
                let whole = below(len as u32);
                let set = |b: u8| _mm512_set1_epi8(b as i8);
                let v = _mm512_maskz_loadu_epi8(whole, text.cast());
                let next = _mm512_maskz_loadu_epi8(whole >> 1, text.wrapping_add(1).cast());
                let third = _mm512_maskz_loadu_epi8(whole >> 2, text.wrapping_add(2).cast());
                let first = _mm512_cmpge_epu8_mask(v, set(0xc0));
                let first34 = _mm512_cmpge_epu8_mask(v, set(0xe0));
                let first4 = _mm512_cmpge_epu8_mask(v, set(0xf0));
                // The character that reaches over the end.
                let end = len as u32;
                let over = first & !below(end - 1)
                    | first34 & !below(end.saturating_sub(2))
                    | first4 & !below(end.saturating_sub(3));
                let lead = whole & !(ascii.high & !first) & !over;
                let first4 = first4 & lead;
                let first3 = first34 & lead & !first4;
                let first23 = first & lead & !first4;
                // code >> 8 and code & 255.
                let page3 = _mm512_ternarylogic_epi32::<0xe4>(
                    _mm512_slli_epi16::<4>(v),
                    _mm512_srli_epi16::<2>(next),
                    set(0xf0),
                );
                let page2 = _mm512_and_si512(_mm512_srli_epi16::<2>(v), set(7));
                let page = _mm512_mask_blend_epi8(first3, page2, page3);
                let low = _mm512_ternarylogic_epi32::<0xe4>(
                    _mm512_slli_epi16::<6>(_mm512_mask_blend_epi8(first3, v, next)),
                    _mm512_mask_blend_epi8(first3, next, third),
                    set(0xc0),
                );
                // Letters without case, all of them (tested): U+4E00 to U+9FFF, U+AC00 to U+D6FF.
                let han =
                    _mm512_mask_cmple_epu8_mask(first3, _mm512_sub_epi8(page, set(0x4e)), set(0x9f - 0x4e));
                let uniform = han
                    | _mm512_mask_cmple_epu8_mask(first3, _mm512_sub_epi8(page, set(0xac)), set(0xd6 - 0xac));
                let zone = if P == DEEPSEEK {
                    let kana = _mm512_mask_cmpeq_epi8_mask(first3, page, set(0x30));
                    let end = _mm512_mask_cmpeq_epi8_mask(han, page, set(0x9f));
                    _mm512_mask_cmpge_epu8_mask(kana, low, set(0x40))
                        | han & !_mm512_mask_cmpgt_epu8_mask(end, low, set(0xa5))
                } else {
                    0
                };
                let mut classes = _mm512_maskz_mov_epi8(uniform, set(u::LETTER));
                let mut todo = first23 & !uniform;
                let bit7 = _mm512_movepi8_mask(low);
                let bit6 = _mm512_test_epi8_mask(low, set(0x40));
                while todo != 0 {
                    let i = todo.trailing_zeros() as usize;
                    let (a, b) = (*text.add(i) as usize, *text.add(i + 1) as usize);
                    let p = if a < 0xe0 { a >> 2 & 7 } else { (a & 15) << 4 | b >> 2 & 15 };
                    let here = _mm512_mask_cmpeq_epi8_mask(todo, page, set(p as u8));
                    todo &= !here;
                    let row = |i: usize| {
                        let block = *INDEX.get_unchecked(p * 4 + i) as usize;
                        _mm512_loadu_si512(BLOCKS.get_unchecked(block).as_ptr().cast())
                    };
                    classes = _mm512_mask_permutexvar_epi8(classes, here & !bit7 & !bit6, low, row(0));
                    classes = _mm512_mask_permutexvar_epi8(classes, here & !bit7 & bit6, low, row(1));
                    classes = _mm512_mask_permutexvar_epi8(classes, here & bit7 & !bit6, low, row(2));
                    classes = _mm512_mask_permutexvar_epi8(classes, here & bit7 & bit6, low, row(3));
                }
                let mut todo = first4;
                while todo != 0 {
                    let i = todo.trailing_zeros() as usize;
                    let c = u::class(decode(std::slice::from_raw_parts(text.add(i), 4), 0).0);
                    classes = _mm512_mask_mov_epi8(classes, todo & todo.wrapping_neg(), set(c));
                    todo &= todo - 1;
                }
                let beyond = _mm512_broadcast_i32x4(_mm_loadu_si128(FLAGS_BEYOND.as_ptr().cast()));
                let beyond = _mm512_shuffle_epi8(beyond, _mm512_and_si512(classes, set(15)));
                let lo = _mm512_loadu_si512(FLAGS.as_ptr().cast());
                let hi = _mm512_loadu_si512(FLAGS.as_ptr().add(64).cast());
                let flags = _mm512_mask_mov_epi8(_mm512_permutex2var_epi8(lo, v, hi), ascii.high, beyond);
                let three = _mm512_mask_test_epi8_mask(first3, flags, set(16));
                // From here on a bit a character.
                let flags = _mm512_maskz_compress_epi8(lead, flags);
                let of = |bit: u8| _mm512_test_epi8_mask(flags, set(bit));
                let high = _pext_u64(ascii.high, lead);
                let (f4, f16, f32, f64) = (of(4), of(16), of(32), of(64));
                let masks = Masks {
                    high: ascii.high,
                    upper: of(1),
                    lower: of(2),
                    plain: if marks(P) { (f16 | f32) & high } else { f16 & high },
                    number: f4,
                    space: of(8),
                    newline: f16 & !high,
                    blank: f32 & !high,
                    apostrophe: f64 & !high,
                    slash: of(128),
                    hard: match P {
                        O200K | TEKKEN => f32 & high,
                        GPT2_DIGITS => (f4 | f64) & high,
                        DEEPSEEK => f64 & high | _pext_u64(ascii.hard, lead),
                        _ => 0,
                    },
                    zone: _pext_u64(zone, lead),
                };
                Beyond { masks, lead, three }
            }
        }
        #[inline(always)]
        unsafe fn cuts(self, text: *const u8, len: usize, three: u64, met: u64, joints: &Joints) -> u64 {
            // SAFETY: as in `beyond`; the filter's words are read within it.
            unsafe {
                let v = _mm512_maskz_loadu_epi8(below(len as u32), text.cast());
                let at = _mm512_maskz_compress_epi8(three, _mm512_loadu_si512(COUNT.as_ptr().cast()));
                let n = three.count_ones();
                // The code points of 16 of the letters, at most 21.
                let codes = |at: __m128i| {
                    let at = _mm512_mullo_epi16(_mm512_cvtepu8_epi32(at), _mm512_set1_epi32(0x0101));
                    let at = _mm512_or_si512(at, _mm512_slli_epi32::<16>(at));
                    let bytes =
                        _mm512_permutexvar_epi8(_mm512_add_epi32(at, _mm512_set1_epi32(0x0002_0100)), v);
                    let bytes = _mm512_and_si512(bytes, _mm512_set1_epi32(0x003f_3f0f));
                    let pairs = _mm512_maddubs_epi16(bytes, _mm512_set1_epi32(0x0001_0140));
                    _mm512_madd_epi16(pairs, _mm512_set1_epi32(0x0001_0040))
                };
                let a = codes(_mm512_castsi512_si128(at));
                let b = codes(_mm512_extracti32x4_epi32::<1>(at));
                let mut spanned =
                    joints.spanned_16(a, _mm512_alignr_epi32::<1>(b, a), below(n.saturating_sub(1)) as u16)
                        as u64;
                if n > 17 {
                    let right = _mm512_alignr_epi32::<1>(b, b);
                    spanned |= (joints.spanned_16(b, right, below(n - 17) as u16) as u64) << 16;
                }
                met & !_pdep_u64(spanned << 1, three)
            }
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

#[cfg(target_arch = "aarch64")]
pub mod aarch64 {
    use super::*;
    use std::arch::aarch64::*;

    /// NEON, which every aarch64 that runs an operating system has: the ASCII masks, a compare a class. The rest is the
    /// portable way: there is no instruction that extracts or deposits bits.
    #[derive(Clone, Copy)]
    pub struct Neon;

    /// 64 bytes.
    type Vectors = [uint8x16_t; 4];

    /// A bit for each byte of ones: each keeps the bit of its place in eight, and three rounds of adding neighbours make
    /// a byte of each eight.
    #[inline(always)]
    fn mask(x: Vectors) -> u64 {
        const PLACES: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
        // SAFETY: 16 bytes are read of an array of 16; aarch64 has NEON.
        unsafe {
            let places = vld1q_u8(PLACES.as_ptr());
            let [a, b, c, d] = x.map(|v| vandq_u8(v, places));
            let sum = vpaddq_u8(vpaddq_u8(a, b), vpaddq_u8(c, d));
            vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(sum, sum))).to_le()
        }
    }
    #[inline(always)]
    fn equal(x: Vectors, b: u8) -> u64 {
        // SAFETY: aarch64 has NEON.
        mask(x.map(|v| unsafe { vceqq_u8(v, vdupq_n_u8(b)) }))
    }
    #[inline(always)]
    fn within(x: Vectors, lo: u8, hi: u8) -> u64 {
        // SAFETY: aarch64 has NEON.
        mask(x.map(|v| unsafe { vcleq_u8(vsubq_u8(v, vdupq_n_u8(lo)), vdupq_n_u8(hi - lo)) }))
    }

    impl Level for Neon {
        #[inline(always)]
        unsafe fn ascii<const P: u8>(self, text: *const u8, len: usize) -> Masks {
            let mut copy = [0u8; 64];
            let text = if len < 64 {
                // SAFETY: the caller vouches for len bytes.
                unsafe { std::ptr::copy_nonoverlapping(text, copy.as_mut_ptr(), len) };
                copy.as_ptr()
            } else {
                text
            };
            // SAFETY: 64 bytes are readable at `text` now; aarch64 has NEON.
            let v = [0, 16, 32, 48].map(|i| unsafe { vld1q_u8(text.add(i)) });
            let newline = equal(v, b'\n') | equal(v, b'\r');
            let blank = equal(v, b' ');
            let white = within(v, 9, 13);
            // Control characters; where nothing was copied there is none.
            let hard = if P == DEEPSEEK {
                (within(v, 0, 31) & !white | equal(v, 127)) & below(len as u32)
            } else {
                0
            };
            Masks {
                high: within(v, 0x80, 0xff),
                upper: within(v, b'A', b'Z'),
                lower: within(v, b'a', b'z'),
                plain: 0,
                number: within(v, b'0', b'9'),
                space: white & !newline | blank,
                newline,
                blank,
                apostrophe: equal(v, b'\''),
                slash: equal(v, b'/'),
                hard,
                zone: 0,
            }
        }
        #[inline(always)]
        unsafe fn extract(self, bits: u64, mask: u64) -> u64 {
            // SAFETY: the portable level needs nothing of the CPU.
            unsafe { Portable.extract(bits, mask) }
        }
        #[inline(always)]
        unsafe fn deposit(self, bits: u64, mask: u64) -> u64 {
            // SAFETY: as above.
            unsafe { Portable.deposit(bits, mask) }
        }
        #[inline(always)]
        unsafe fn positions(self, bits: u64, base: u32, out: *mut u32) {
            // SAFETY: as the caller's.
            unsafe { Portable.positions(bits, base, out) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::Simd;
    use crate::pretoken::Pattern;

    /// A seed of its own for each run, printed with the failure.
    fn seed() -> u64 {
        std::env::var("QUERN_SEED").ok().map(|s| s.parse().unwrap()).unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            now.as_nanos() as u64 | 1
        })
    }
    struct Random(u64);
    impl Random {
        fn below(&mut self, n: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
        }
        fn one<T: Copy>(&mut self, of: &[T]) -> T {
            of[self.below(of.len())]
        }
    }

    const PATTERNS: [Pattern; 9] = [
        Pattern::Gpt2 { digits: false },
        Pattern::Gpt2 { digits: true },
        Pattern::Cl100k { digits: 3, tail: false },
        Pattern::Cl100k { digits: 3, tail: true },
        Pattern::Cl100k { digits: 1, tail: false },
        Pattern::O200k { digits: 3, contractions: true },
        Pattern::O200k { digits: 1, contractions: false },
        Pattern::Qwen35,
        Pattern::DeepSeek3,
    ];

    #[inline(always)]
    unsafe fn starts<L: Level, const P: u8>(level: L, text: &[u8], pattern: Pattern) -> Vec<usize> {
        let (mut at, mut all, mut inside) = (0, Vec::new(), false);
        while at < text.len() {
            // SAFETY: at is below the end; the caller vouches for the CPU.
            let w = unsafe { window::<L, P>(level, text, at) };
            assert!(w.starts & 1 != 0 && at + w.step as usize <= text.len(), "{:?}", w.step);
            if w.step == 0 {
                if !inside {
                    all.push(at);
                }
                at = pattern.end(text, at);
                inside = false;
                continue;
            }
            let bits = w.starts & below(w.step) & !(inside as u64);
            all.extend((0..64).filter(|i| bits >> i & 1 != 0).map(|i| at + i));
            at += w.step as usize;
            inside = w.inside;
        }
        assert!(!inside);
        all
    }
    /// SAFETY of the calls below: a level is there only if the CPU has its instructions.
    unsafe fn by_pattern<L: Level>(level: L, text: &[u8], pattern: Pattern) -> Vec<usize> {
        // SAFETY: the caller vouches for the CPU.
        unsafe {
            match pattern.windows().unwrap() {
                GPT2 => starts::<L, GPT2>(level, text, pattern),
                GPT2_DIGITS => starts::<L, GPT2_DIGITS>(level, text, pattern),
                CL100K_3 => starts::<L, CL100K_3>(level, text, pattern),
                CL100K_3_TAIL => starts::<L, CL100K_3_TAIL>(level, text, pattern),
                CL100K_1 => starts::<L, CL100K_1>(level, text, pattern),
                O200K => starts::<L, O200K>(level, text, pattern),
                TEKKEN => starts::<L, TEKKEN>(level, text, pattern),
                QWEN35 => starts::<L, QWEN35>(level, text, pattern),
                DEEPSEEK => starts::<L, DEEPSEEK>(level, text, pattern),
                p => panic!("pattern {p}"),
            }
        }
    }

    /// Every level and pattern. The text is copied to the end of its memory: reads behind it are a tool's to find.
    fn check(text: &str, context: &dyn Fn() -> String) {
        let text = text.as_bytes().to_vec().into_boxed_slice();
        for pattern in PATTERNS {
            let (mut at, mut plain) = (0, Vec::new());
            while at < text.len() {
                plain.push(at);
                at = pattern.end(&text, at);
            }
            for simd in Simd::all() {
                // SAFETY: the constructors look at the CPU.
                let windows = unsafe {
                    match simd {
                        Simd::Portable => by_pattern(Portable, &text, pattern),
                        #[cfg(target_arch = "x86_64")]
                        Simd::Avx2 => by_pattern(x86::Avx2::new().unwrap(), &text, pattern),
                        #[cfg(target_arch = "x86_64")]
                        Simd::Avx512 => by_pattern(x86::Avx512::new().unwrap(), &text, pattern),
                        #[cfg(target_arch = "aarch64")]
                        Simd::Neon => by_pattern(aarch64::Neon, &text, pattern),
                    }
                };
                assert!(
                    windows == plain,
                    "{pattern:?} {simd:?}: {windows:?}, plain {plain:?} of {:?} ({})",
                    std::str::from_utf8(&text).unwrap(),
                    context()
                );
            }
        }
    }

    #[test]
    fn windows_equal_the_plain_way() {
        let seed = seed();
        let mut r = Random(seed);
        // Characters of every class and length; the letters of contractions; blocks with all kinds of classes.
        let common: Vec<char> = "aAzZ09 \t\n\r'’/.-sStTdDmMrReElLvVſßÉéñΩωЖж中文字符、。，ひらカー한국어กำहि\u{301}\u{3000}\u{a0}\u{2028}ǅʰªⅧ²½・\u{3099}゛龥龦(<\u{1}😀𝐀𠀀\u{200d}\u{fe0f}\u{e000}ＡａꙀ１"
            .chars()
            .collect();
        let runs: [&[char]; 16] = [
            &['中', '文', '国'],
            &['ひ', 'カ', '中'],
            &['한', '국'],
            &['中', '文', '字', 'A'],
            &['中', '字', 'a', 'B'],
            &['中', '、', '\'', 's'],
            &['Ж', 'ж', ' '],
            &['e', 'é', ' ', '\''],
            &['ह', 'ि', 'न', '्', ' '],
            &['ก', 'ำ', 'ั'],
            &[' ', '\u{3000}', '\n'],
            &['1', '１', '²', '中'],
            &['カ', '・', '(', 'a', 'é'],
            &['한', '中', '・', ' '],
            &['(', 'a', 'é', '\u{301}', '\n'],
            &['a', ' ', '\u{1}', '“', '\u{301}'],
        ];
        for round in 0..10_000 {
            let mut text = String::new();
            let most = r.one(&[1, 5, 20, 70, 200, 400]);
            let pages: Vec<u32> = (0..4).map(|_| r.below(0x32000 / 256) as u32 * 256).collect();
            while text.chars().count() < most {
                match r.below(8) {
                    0..3 => {
                        let run = r.one(&runs);
                        let most = r.one(&[4, 30, 60]);
                        for _ in 0..1 + r.below(most) {
                            text.push(r.one(run));
                        }
                    }
                    3 => {
                        let page = r.one(&pages);
                        for _ in 0..1 + r.below(20) {
                            text.extend(char::from_u32(page + r.below(256) as u32));
                        }
                    }
                    4 => text.extend(std::iter::repeat_n(r.one(&common), 1 + r.below(70))),
                    5 => text.extend(char::from_u32(r.below(0x32000) as u32)),
                    _ => text.push(r.one(&common)),
                }
            }
            check(&text, &|| format!("round {round}, QUERN_SEED={seed}"));
        }
    }

    /// Each code point alone, and in words, numbers, signs and white space, at some offset of a window.
    #[test]
    fn windows_know_every_code_point() {
        let seed = seed();
        let mut r = Random(seed);
        for c in
            (0x80..0x32000u32).chain(0xe0000..0xe0200).chain(0x10fff0..0x110000).filter_map(char::from_u32)
        {
            let before = "Aa1. ".repeat(13);
            let before = &before[..r.below(64)];
            let (a, b) = (
                r.one(&["", "a", "A", "1", " ", "!", "中", "\n", "'"]),
                r.one(&["", "a", "A", "1", " ", "!", "中", "\n", "'s"]),
            );
            check(&format!("{before}{a}{c}{b} {c}{c}a{c}"), &|| {
                format!("U+{:04X}, QUERN_SEED={seed}", c as u32)
            });
        }
    }
}
