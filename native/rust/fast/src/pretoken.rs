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
    /// DeepSeek V3: numbers, then Chinese and kana, then the rest, each a text of its own for the next.
    DeepSeek3,
}

pub const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
pub const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub const DEEPSEEK3: [&str; 3] = [
    r"\p{N}{1,3}",
    "[一-龥\u{3040}-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
];
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
    Some(match regex {
        GPT2 => Pattern::Gpt2 { digits: false },
        CL100K => Pattern::Cl100k { digits: 3, tail: false },
        QWEN2 => Pattern::Cl100k { digits: 1, tail: false },
        O200K => Pattern::O200k { digits: 3, contractions: true },
        TEKKEN => Pattern::O200k { digits: 1, contractions: false },
        other if tiktoken => return TIKTOKEN.iter().find(|(text, _)| *text == other).map(|(_, p)| *p),
        _ => return None,
    })
}

/// Upper, title and uncased letters and marks: what may begin a word of o200k.
const HEAD: u16 = set(&[u::UPPER, u::LETTER, u::MARK]);
/// Lower and uncased letters and marks: what may follow.
const REST: u16 = set(&[u::LOWER, u::LETTER, u::MARK]);
const PUNCTUATION: u16 = set(&[u::PUNCTUATION, u::SYMBOL, u::APOSTROPHE, u::SLASH]);
const NEWLINES: u16 = set(&[u::NEWLINE]);
const NUMBERS: u16 = set(&[u::NUMBER]);
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
        let (c, n) = at(text, from);
        match self {
            Pattern::Gpt2 { digits } => gpt2(text, from, c, n, digits),
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
            Pattern::DeepSeek3 => deepseek(text, from, c, n),
        }
    }
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

fn gpt2(text: &[u8], from: usize, c: u8, n: usize, digits: bool) -> usize {
    // Digits of StarCoder are cut off first, by Rust's own idea of what is numeric.
    let numeric = |i: usize| digits && i < text.len() && is_numeric(text, i);
    if digits && numeric(from) {
        return from + n;
    }
    let run = |mut i: usize, classes: u16| {
        loop {
            let (c, n) = at(text, i);
            if !is(c, classes) || numeric(i) {
                return i;
            }
            i += n;
        }
    };
    if c == u::APOSTROPHE {
        let n = contraction(text, from, false);
        if n > 0 {
            return from + n;
        }
    }
    let begin = from + (c == u::BLANK) as usize;
    let (first, _) = at(text, begin);
    for classes in [LETTERS, NUMBERS, SIGNS] {
        if is(first, classes) && !numeric(begin) {
            return run(begin, classes);
        }
    }
    white(text, from, false, false, numeric)
}

fn is_numeric(text: &[u8], at: usize) -> bool {
    char::from_u32(decode(text, at).0).is_some_and(char::is_numeric)
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

/// 0 for a number, 1 for Chinese and kana, 2 for the rest: the three kinds of pieces.
fn zone(code: u32, class: u8) -> u8 {
    match code {
        0x4e00..=0x9fa5 | 0x3040..=0x30ff => 1,
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
    const WORD: u16 = LETTERS | set(&[u::MARK]);
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
