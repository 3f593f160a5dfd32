//! The pre-tokenizers that are recognised, and the plain way through each: where does the pre-token that
//! begins here end? One character after the other, no tables but the classes of `unicode`.
//!
//! `window` does the same 64 bytes at a time and comes back to this for what it can't decide; the tests
//! `pretokens_equal_the_judges` and `windows_equal_the_plain_way` hold both to Oniguruma.
use crate::unicode::{self as u, LETTERS, WHITE, decode, set};

/// How text is cut into pre-tokens. Each names the regex it stands for; a pattern that is not one of these
/// texts is not recognised, however much it looks like one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// GPT-2, r50k, p50k. `digits`: every numeric character stands alone first, as a text of its own
    /// (StarCoder, SmolLM).
    Gpt2 { digits: bool },
    /// cl100k and its heirs Llama 3 (three digits) and Qwen 2 (one). `tail`: white space at the end of the
    /// text is one pre-token even if it has newlines (tiktoken's newer text, `\s++$`).
    Cl100k { digits: u8, tail: bool },
    /// o200k (contractions, three digits) and Mistral's tekken (none, one digit).
    O200k { digits: u8, contractions: bool },
    /// Qwen 3.5: cl100k with one digit, whose letters are letters and marks.
    Qwen35,
    /// DeepSeek V3: numbers, then Chinese and kana, then the rest, each a text of its own for the next.
    DeepSeek3,
    /// Falcon: punctuation stands apart, the rest is cut as GPT-2's; then, byte by byte, numeric ones apart
    /// and digits in threes. Its bytes are characters of GPT-2's alphabet by then, and those of B2, B3, B9,
    /// BC, BD and BE are numeric (superscripts and fractions): pre-tokens begin inside of characters.
    Falcon,
}

pub const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
pub const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub const DEEPSEEK3: [&str; 3] = [
    r"\p{N}{1,3}",
    "[一-龥\u{3040}-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
];
/// The last step of Falcon.
pub const FALCON_DIGITS: &str = "[0-9][0-9][0-9]";
/// tiktoken's texts, for patterns that come without a tokenizer.json. Possessive quantifiers change the time
/// and not the match here: what follows each of them can't begin inside of what it took.
const TIKTOKEN: [(&str, Pattern); 3] = [
    (
        r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
        Pattern::Gpt2 { digits: false },
    ),
    (
        r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        Pattern::Gpt2 { digits: false },
    ),
    (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
        Pattern::Cl100k { digits: 3, tail: true },
    ),
];

/// The pattern that a single regex stands for. Texts of tiktoken only are recognised with `tiktoken`
/// (Oniguruma reads possessive quantifiers and `$` differently).
pub fn recognise_regex(regex: &str, tiktoken: bool) -> Option<Pattern> {
    // Some files have CR and LF in a class as themselves.
    let regex = escaped(regex);
    Some(match &*regex {
        GPT2 => Pattern::Gpt2 { digits: false },
        CL100K => Pattern::Cl100k { digits: 3, tail: false },
        QWEN2 => Pattern::Cl100k { digits: 1, tail: false },
        QWEN35 => Pattern::Qwen35,
        O200K => Pattern::O200k { digits: 3, contractions: true },
        TEKKEN => Pattern::O200k { digits: 1, contractions: false },
        other if tiktoken => return TIKTOKEN.iter().find(|(text, _)| *text == other).map(|(_, p)| *p),
        _ => return None,
    })
}

/// CR and LF as regexes write them: as characters they mean the same.
pub fn escaped(regex: &str) -> String {
    regex.replace('\r', r"\r").replace('\n', r"\n")
}

/// Upper, title and uncased letters and marks: what may begin a word of o200k.
const HEAD: u16 = set(&[u::UPPER, u::LETTER, u::MARK]);
/// Lower and uncased letters and marks: what may follow.
const REST: u16 = set(&[u::LOWER, u::LETTER, u::MARK]);
const PUNCTUATION: u16 = set(&[u::PUNCTUATION, u::SYMBOL, u::APOSTROPHE, u::SLASH]);
const NEWLINES: u16 = set(&[u::NEWLINE]);
const NUMBERS: u16 = set(&[u::NUMBER]);
/// [\p{L}\p{M}]
const WORD: u16 = LETTERS | set(&[u::MARK]);
/// [^\s\p{L}\p{N}]
const SIGNS: u16 = !(LETTERS | WHITE | NUMBERS | set(&[u::END]));

#[inline(always)]
fn is(class: u8, classes: u16) -> bool {
    classes >> class & 1 != 0
}

/// The class and length of the character at `at`; END and 0 behind the text.
#[inline(always)]
fn at(text: &[u8], at: usize) -> (u8, usize) {
    if at >= text.len() {
        return (u::END, 0);
    }
    let (code, n) = decode(text, at);
    (u::class(code), n)
}

/// The end of the run of `classes` that begins at `from`.
fn run(text: &[u8], mut from: usize, classes: u16) -> usize {
    loop {
        let (c, n) = at(text, from);
        if !is(c, classes) {
            return from;
        }
        from += n;
    }
}

/// The end of at most `most` characters of `classes`.
fn run_of(text: &[u8], mut from: usize, classes: u16, most: u8) -> usize {
    for _ in 0..most {
        let (c, n) = at(text, from);
        if !is(c, classes) {
            break;
        }
        from += n;
    }
    from
}

/// `'s|'t|'re|'ve|'m|'ll|'d` at `from`, where an apostrophe stands: its length or 0. With `fold`, in either
/// case, and the long s (U+017F) for s as well.
fn contraction(text: &[u8], from: usize, fold: bool) -> usize {
    let byte = |i: usize| {
        let b = text.get(from + i).copied().unwrap_or(0);
        if fold && b.is_ascii_uppercase() { b | 32 } else { b }
    };
    match (byte(1), byte(2)) {
        (b's' | b't' | b'm' | b'd', _) => 2,
        (b'r' | b'v', b'e') | (b'l', b'l') => 3,
        (0xc5, 0xbf) if fold => 3,
        _ => 0,
    }
}

/// White space that begins at `from`: `\s*[\r\n]+` (if `newlines`), `\s+(?!\S)`, `\s+`. `ends` says whether
/// the text of the regex ends before the character at a position (another piece begins).
fn white(text: &[u8], from: usize, newlines: bool, tail: bool, ends: impl Fn(usize) -> bool) -> usize {
    let (mut i, mut last, mut behind_newline) = (from, from, 0);
    loop {
        let (c, n) = at(text, i);
        if !is(c, WHITE) || (i > from && ends(i)) {
            break;
        }
        last = i;
        i += n;
        if c == u::NEWLINE {
            behind_newline = i;
        }
    }
    if tail && i == text.len() {
        i
    } else if newlines && behind_newline > 0 {
        behind_newline
    } else if i == text.len() || last == from || ends(i) {
        i
    } else {
        last
    }
}

impl Pattern {
    /// Where the pre-token ends that begins at `from` (a boundary below `text.len()`). `text` is what the
    /// pre-tokenizer gets as one text; the answer is greater than `from`.
    pub fn end(self, text: &[u8], from: usize) -> usize {
        if self == Pattern::Falcon {
            return falcon(text, from);
        }
        let (c, n) = at(text, from);
        match self {
            Pattern::Gpt2 { digits: false } => gpt2(text, from, c, |_| false),
            Pattern::Gpt2 { digits: true } => {
                // Digits are cut off first, by Rust's own idea of what is numeric.
                if is_numeric(text, from) {
                    return from + n;
                }
                gpt2(text, from, c, |i| is_numeric(text, i))
            }
            Pattern::Cl100k { digits, tail } => {
                if c == u::APOSTROPHE {
                    let n = contraction(text, from, true);
                    if n > 0 {
                        return from + n;
                    }
                }
                if is(c, LETTERS) {
                    return run(text, from, LETTERS);
                }
                if !is(c, NUMBERS | NEWLINES) {
                    let end = run(text, from + n, LETTERS);
                    if end > from + n {
                        return end;
                    }
                }
                signs_and_white(text, from, c, digits, NEWLINES, tail)
            }
            Pattern::O200k { digits, contractions } => match word(text, from, c, n) {
                Some(end) if contractions && text.get(end) == Some(&b'\'') => {
                    end + contraction(text, end, true)
                }
                Some(end) => end,
                None => signs_and_white(text, from, c, digits, set(&[u::NEWLINE, u::SLASH]), false),
            },
            Pattern::Qwen35 => {
                if c == u::APOSTROPHE {
                    let n = contraction(text, from, true);
                    if n > 0 {
                        return from + n;
                    }
                }
                if !is(c, NUMBERS | NEWLINES) {
                    let begin = if is(c, WORD) { from } else { from + n };
                    let end = run(text, begin, WORD);
                    if end > begin {
                        return end;
                    }
                }
                marks_and_white(text, from, c)
            }
            Pattern::DeepSeek3 => deepseek(text, from, c, n),
            Pattern::Falcon => unreachable!(),
        }
    }
}

/// What Qwen 3.5 has behind the words: `\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|...`.
fn marks_and_white(text: &[u8], from: usize, c: u8) -> usize {
    if c == u::NUMBER {
        return run_of(text, from, NUMBERS, 1);
    }
    let begin = from + (c == u::BLANK) as usize;
    let end = run(text, begin, SIGNS & !WORD);
    if end > begin {
        return run(text, end, NEWLINES);
    }
    white(text, from, true, false, |_| false)
}

/// What cl100k and o200k share behind the words: `\p{N}{1,d}| ?[^\s\p{L}\p{N}]+[after]*|\s*[\r\n]+|...`.
fn signs_and_white(text: &[u8], from: usize, c: u8, digits: u8, after: u16, tail: bool) -> usize {
    if c == u::NUMBER {
        return run_of(text, from, NUMBERS, digits);
    }
    let begin = from + (c == u::BLANK) as usize;
    let end = run(text, begin, SIGNS);
    if end > begin {
        return run(text, end, after);
    }
    white(text, from, true, tail, |_| false)
}

/// GPT-2's regex. `ends` says whether its text ends before a position behind `from`.
fn gpt2(text: &[u8], from: usize, c: u8, ends: impl Fn(usize) -> bool) -> usize {
    let run = |mut i: usize, classes: u16| {
        loop {
            let (c, n) = at(text, i);
            if !is(c, classes) || ends(i) {
                return i;
            }
            i += n;
        }
    };
    if c == u::APOSTROPHE && !ends(from + 1) {
        let n = contraction(text, from, false);
        if n > 0 {
            return from + n;
        }
    }
    let begin = from + (c == u::BLANK) as usize;
    let (first, n) = at(text, begin);
    for classes in [LETTERS, NUMBERS, SIGNS] {
        if is(first, classes) && (begin == from || !ends(begin)) {
            return run(begin + n, classes);
        }
    }
    white(text, from, false, false, ends)
}

/// False behind the text.
fn is_numeric(text: &[u8], at: usize) -> bool {
    at < text.len() && char::from_u32(decode(text, at).0).is_some_and(char::is_numeric)
}

/// What the pre-tokenizer Punctuation takes for punctuation, by the table of the judge's crate (an older
/// Unicode version than its regexes have). Test: `every_code_point_has_the_judges_class`.
pub fn is_punctuation(code: u32, class: u8) -> bool {
    use unicode_categories::UnicodeCategories;
    const MAYBE: u16 = PUNCTUATION | set(&[u::OTHER, u::MARK]);
    is(class, MAYBE)
        && char::from_u32(code)
            .is_some_and(|c| c.is_ascii_punctuation() || !c.is_ascii() && c.is_punctuation())
}

/// Behind the cut at punctuation, contractions can't match: the apostrophe stands apart. So wherever a
/// pre-token begins, at what GPT-2's regex matches or inside of it, that regex ends alike.
fn falcon(text: &[u8], from: usize) -> usize {
    let mut first = from;
    while text[first] & 0xc0 == 0x80 {
        first -= 1;
    }
    let numeric = |b: u8| matches!(b, b'0'..=b'9' | 0xb2 | 0xb3 | 0xb9 | 0xbc..=0xbe);
    let punctuation = |i: usize| {
        let (code, _) = decode(text, i);
        is_punctuation(code, u::class(code))
    };
    let (here, is_number) = (punctuation(first), numeric(text[from]));
    // It ends anyway where the bytes change; not to look further keeps the whole linear. White space has
    // no numeric bytes, so the end of its run is not hidden. Of numbers only three digits are of interest.
    let ends = |i: usize| {
        i < text.len() && punctuation(i) != here
            || i > from && text[from.max(i - 4.min(i))..i].iter().any(|b| numeric(*b) != is_number)
            || is_number && i >= from + 8
    };
    let end = gpt2(text, first, at(text, first).0, ends);
    let bytes = &text[from..end];
    if !is_number {
        return from + bytes.iter().position(|b| numeric(*b)).unwrap_or(bytes.len());
    }
    let parts = bytes.iter().take_while(|b| numeric(**b) && !b.is_ascii_digit()).count();
    let digits = bytes[parts..].iter().take_while(|b| b.is_ascii_digit()).count();
    match (parts, digits) {
        (0, 3..) => from + 3,
        (_, 3..) => from + parts,
        _ => from + parts + digits,
    }
}

/// The two word alternatives of o200k without the contraction: `P?H*R+|P?H+R*` with P what is no letter,
/// number or newline, H = HEAD, R = REST. The regex tries them with P taken, then without, and gives H*
/// back one by one until R+ has a character: the run of H ends before a lower-case letter, or else R+ gets
/// the last character of the run that is in both.
fn word(text: &[u8], from: usize, c: u8, n: usize) -> Option<usize> {
    if is(c, NUMBERS | NEWLINES) {
        return None;
    }
    // -> (end of P?H*R+ if it matches, end of H* from here)
    let first = |begin: usize| {
        let (mut i, mut both) = (begin, None);
        loop {
            let (c, n) = at(text, i);
            if c == u::LOWER {
                return (Some(run(text, i, REST)), i);
            }
            if !is(c, HEAD) {
                return (both, i);
            }
            i += n;
            if c != u::UPPER {
                both = Some(i);
            }
        }
    };
    let prefix = !is(c, LETTERS);
    let begin = if prefix { from + n } else { from };
    let (end, head) = first(begin);
    if end.is_some() {
        return end;
    }
    if c == u::MARK {
        return first(from).0;
    }
    (head > begin).then_some(head)
}

/// DeepSeek's second piece of text: a pre-token may end between these and other letters.
#[inline(always)]
pub fn han_or_kana(code: u32) -> bool {
    matches!(code, 0x4e00..=0x9fa5 | 0x3040..=0x30ff)
}

/// 0 for a number, 1 for Chinese and kana, 2 for the rest: the three kinds of pieces.
fn zone(code: u32, class: u8) -> u8 {
    match code {
        _ if han_or_kana(code) => 1,
        _ if class == u::NUMBER => 0,
        _ => 2,
    }
}

fn deepseek(text: &[u8], from: usize, c: u8, n: usize) -> usize {
    let here = zone(decode(text, from).0, c);
    if c == u::NUMBER {
        return run_of(text, from, NUMBERS, 3);
    }
    // The class at a position of this piece, END behind it.
    let at = |i: usize| {
        let (c, n) = at(text, i);
        if c == u::END || zone(decode(text, i).0, c) != here { (u::END, 0) } else { (c, n) }
    };
    let run = |mut i: usize, classes: u16| {
        loop {
            let (c, n) = at(i);
            if !is(c, classes) {
                return i;
            }
            i += n;
        }
    };
    let matched = |from: usize, c: u8, n: usize| {
        if text[from].is_ascii_punctuation() {
            let letters = text[from + 1..].iter().take_while(|b| b.is_ascii_alphabetic()).count();
            if letters > 0 {
                return from + 1 + letters;
            }
        }
        if is(c, WORD) {
            return run(from, WORD);
        }
        if !is(c, NEWLINES | PUNCTUATION) {
            let end = run(from + n, WORD);
            if end > from + n {
                return end;
            }
        }
        let begin = from + (c == u::BLANK) as usize;
        let end = run(begin, PUNCTUATION);
        if end > begin {
            return run(end, NEWLINES);
        }
        if is(c, WHITE) { white(text, from, true, false, |i| at(i).0 == u::END) } else { from }
    };
    // What no alternative matches stays together up to the next match.
    let (mut i, mut c, mut n) = (from, c, n);
    loop {
        let end = matched(i, c, n);
        if end > i {
            return if i > from { i } else { end };
        }
        i += n;
        (c, n) = at(i);
        if c == u::END {
            return i;
        }
    }
}
