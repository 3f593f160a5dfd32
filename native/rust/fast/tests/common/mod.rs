//! What the tests share: generated text, small tokenizers of every family, the specification.
#![allow(dead_code)]
pub mod naive;
pub mod random;

use naive::byte_char;
use quern_fast::SpecialInText;
pub use random::{Random, seed};
use std::collections::HashMap;

/// Documents a family; None: the short run.
pub fn documents() -> Option<usize> {
    std::env::var("QUERN_DOCUMENTS").ok().and_then(|s| s.parse().ok())
}

pub const WORDS: &[&str] = &[
    "the",
    "The",
    "THE",
    "hello",
    "camelCaseWord",
    "HTMLParser",
    "ABCdef",
    "naïve",
    "straße",
    "it's",
    "IT'S",
    "don't",
    "we'll",
    "I've",
    "'re",
    "'Ll",
    "x'sx's",
    "''s",
    "'ſ",
    "a'ſb",
    "'",
    "''",
    "’s",
    "12",
    "1234567",
    "٣٤٥٦",
    "²",
    "½",
    "a1b2",
    "é",
    "e\u{301}",
    "\u{301}",
    "\u{301}\u{327}",
    "Å",
    "한국어",
    "각",
    "\u{1100}\u{1161}",
    "\u{1161}",
    "日本語",
    "使用Java编程",
    "中文ABC",
    "中文Abc",
    "a中A",
    "カタカナ",
    "が",
    "か\u{3099}",
    "ー",
    "ﾊﾟ",
    "русский",
    "ДОМ",
    "Дом",
    "ǅ",
    "ʰ",
    "ªb",
    "नमस्ते",
    "ไทย",
    "עברית",
    "🙂",
    "👩‍👩‍👧",
    "\u{200d}",
    "\u{feff}",
    "\u{0}",
    "\u{1}\u{2}",
    "\u{85}",
    "\u{a0}",
    "\u{3000}",
    "\u{2028}",
    " ",
    "  ",
    "   ",
    "\t",
    "\n",
    "\r\n",
    "\n\n",
    " \n ",
    "\n \n",
    "\u{b}",
    "!",
    "!!",
    "//",
    "/*",
    "!\n",
    "!\n/",
    ";\n// x",
    "/\n/\n",
    "<|endoftext|>",
    "<|endoftext",
    "<think>",
    "<think",
    "<|im_start|>",
    "<|",
    "|>",
    "_x",
    "$x",
    "(a",
    " (a",
    "\t(a",
    "\"q\"",
    "--",
    "...",
    "http://a.b/c?d=e",
    "\u{1fbd}",
    "\u{212b}",
    "\u{1d2c0}",
    "\u{10ffff}",
    "々",
    "〆",
    "㐀",
    "𠀀",
    "가나다",
    "１２３",
];

pub fn text(r: &mut Random, most: usize) -> String {
    let mut out = String::new();
    let joiner = r.below(4);
    for _ in 0..r.below(most) + 1 {
        match r.below(40) {
            0 => {
                let c = r.one(&["a", " ", "\n", "1", "!", "中", "A", "é", "x!", " \n", "aA", "中文", "'s"]);
                for _ in 0..r.below(90) {
                    out.push_str(c);
                }
            }
            1 => out.extend(char::from_u32(r.below(0x3000) as u32)),
            2 => out.extend(char::from_u32(r.below(0x11_0000) as u32)),
            3 => out.extend((0..r.below(30)).map(|_| (b'a' + r.below(26) as u8) as char)),
            4 => out.extend((0..r.below(30)).map(|_| (32 + r.below(95) as u8) as char)),
            5 => out.extend((0..r.below(30)).map(|_| char::from_u32(0x4e00 + r.below(900) as u32).unwrap())),
            6 => out.extend((0..r.below(20)).map(|_| char::from_u32(0x3040 + r.below(190) as u32).unwrap())),
            7 => {
                out.extend((0..r.below(20)).map(|_| char::from_u32(0xac00 + r.below(11172) as u32).unwrap()))
            }
            _ => out.push_str(r.one(WORDS)),
        }
        if joiner < 2 || r.below(4) == 0 {
            out.push_str(r.one(&["", " ", " ", "\n", "'"]));
        }
    }
    out
}

pub fn escape(bytes: &[u8]) -> String {
    let text: String = bytes.iter().map(|b| byte_char(*b)).collect();
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Texts of added tokens: prefixes of one another, inside of words, blanks, what NFC changes.
pub const ADDED: &[&str] = &[
    "<|endoftext|>",
    "<|endoftext",
    "<think>",
    "<|im_start|>",
    "<",
    "<|",
    "|>",
    "the",
    "nai\u{308}ve",
    " x",
    "  ",
    "\n\n",
    "\u{304b}\u{3099}",
    "'s",
    "12",
    "中文",
    "🙂",
    "e\u{301}",
    "a",
];

/// Some of them with any options; of every third tokenizer only special ones.
fn added_tokens(r: &mut Random, tokens: &[Vec<u8>]) -> String {
    let usual = r.below(3) == 0;
    let mut next = tokens.len();
    let mut added = Vec::new();
    for (i, content) in ADDED.iter().enumerate() {
        if if usual { i != 0 && i != 3 } else { i > 3 && r.below(6) > 0 } {
            continue;
        }
        // The vocabulary's id if it is there, else the next free one, as Hugging Face does.
        let is = |t: &Vec<u8>| t.iter().map(|b| byte_char(*b)).eq(content.chars());
        let id = tokens.iter().position(is).unwrap_or_else(|| {
            next += 1;
            next - 1
        });
        let mut any = |of: usize| !usual && r.below(of) == 0;
        // Where a token before it takes more white space than this one has, the judge panics.
        let blank = content.trim().is_empty();
        added.push(serde_json::json!({
            "id": id, "content": content, "single_word": any(3), "lstrip": any(3) && !blank, "rstrip": any(3),
            "normalized": any(2), "special": usual || i == 0 || any(2),
        }));
    }
    serde_json::Value::from(added).to_string()
}

/// A tokenizer.json with a small vocabulary trained on WORDS (greedily, by count), and some that merges
/// don't reach; `order` mixes the merges' ranks, so that a token's parts may come after it.
pub fn small(r: &mut Random, normalizer: &str, pre: &str, ignore_merges: bool, order: bool) -> String {
    let mut tokens: Vec<Vec<u8>> = (0..=255u8).map(|b| vec![b]).collect();
    let mut merges: Vec<(usize, usize)> = Vec::new();
    let mut words: Vec<Vec<usize>> = Vec::new();
    for _ in 0..400 {
        words.push(text(r, 3).bytes().map(usize::from).collect());
    }
    let mut counts: HashMap<(usize, usize), usize> = HashMap::new();
    for p in words.iter().flat_map(|w| w.windows(2)) {
        *counts.entry((p[0], p[1])).or_default() += 1;
    }
    for _ in 0..500 {
        let mut best: Vec<_> = counts.iter().map(|(p, n)| (std::cmp::Reverse(*n), *p)).collect();
        let few = best.len().min(8);
        best.select_nth_unstable(few - 1);
        best[..few].sort_unstable();
        let (a, b) = best[r.below(few)].1;
        let mut made = tokens[a].clone();
        made.extend(&tokens[b]);
        let id = tokens.iter().position(|t| *t == made).unwrap_or_else(|| {
            tokens.push(made);
            tokens.len() - 1
        });
        merges.push((a, b));
        for w in words.iter_mut().filter(|w| w.windows(2).any(|p| p == [a, b])) {
            for p in w.windows(2) {
                let count = counts.get_mut(&(p[0], p[1])).unwrap();
                *count -= 1;
                if *count == 0 {
                    counts.remove(&(p[0], p[1]));
                }
            }
            let mut i = 0;
            while i + 1 < w.len() {
                if w[i] == a && w[i + 1] == b {
                    w[i] = id;
                    w.remove(i + 1);
                }
                i += 1;
            }
            for p in w.windows(2) {
                *counts.entry((p[0], p[1])).or_default() += 1;
            }
        }
    }
    if order {
        for _ in 0..60 {
            let (i, j) = (r.below(merges.len()), r.below(merges.len()));
            merges.swap(i, j);
        }
    }
    for w in ["日本語カ", "unreachable", " hello", "中文", "русский", "한국어", "の中"] {
        if !tokens.iter().any(|t| t == w.as_bytes()) {
            tokens.push(w.as_bytes().to_vec());
        }
    }
    let vocab: Vec<String> =
        tokens.iter().enumerate().map(|(i, t)| format!("\"{}\":{i}", escape(t))).collect();
    let merges: Vec<String> = merges
        .iter()
        .map(|(a, b)| format!("[\"{}\",\"{}\"]", escape(&tokens[*a]), escape(&tokens[*b])))
        .collect();
    let added = added_tokens(r, &tokens);
    let post = r#"{"type":"ByteLevel","add_prefix_space":TRUE,"trim_offsets":TRIM,"use_regex":true}"#
        .replace("TRUE", if order { "true" } else { "false" })
        .replace("TRIM", if ignore_merges { "true" } else { "false" });
    format!(
        r#"{{"version":"1.0","truncation":null,"padding":null,"added_tokens":{added},"normalizer":{normalizer},"pre_tokenizer":{pre},"post_processor":{post},"decoder":null,"model":{{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"ignore_merges":{ignore_merges},"vocab":{{{}}},"merges":[{}]}}}}"#,
        vocab.join(","),
        merges.join(",")
    )
}

const BYTES: &str = r#"{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}"#;

/// A Split at one regex, behind it ByteLevel.
pub fn split(regex: &str) -> String {
    splits(&[regex])
}

pub fn splits(regexes: &[&str]) -> String {
    let one = |r: &&str| {
        let regex = serde_json::Value::from(*r);
        format!(r#"{{"type":"Split","pattern":{{"Regex":{regex}}},"behavior":"Isolated","invert":false}}"#)
    };
    let all = regexes.iter().map(one).collect::<Vec<_>>().join(",");
    format!(r#"{{"type":"Sequence","pretokenizers":[{all},{BYTES}]}}"#)
}

/// (name, normalizer, pre_tokenizer), as the families' own files have them.
pub fn families() -> Vec<(&'static str, &'static str, String)> {
    use quern_fast::patterns as p;
    const NFC: &str = r#"{"type":"NFC"}"#;
    let gpt2 = |prefix: bool| {
        format!(r#"{{"type":"ByteLevel","add_prefix_space":{prefix},"trim_offsets":true,"use_regex":true}}"#)
    };
    let all = |steps: &[&str]| format!(r#"{{"type":"Sequence","pretokenizers":[{}]}}"#, steps.join(","));
    let digits = r#"{"type":"Digits","individual_digits":true}"#;
    let falcon = [
        r#"{"type":"Punctuation","behavior":"Contiguous"}"#,
        &gpt2(false),
        r#"{"type":"Digits","individual_digits":false}"#,
        r#"{"type":"Split","pattern":{"Regex":"[0-9][0-9][0-9]"},"behavior":"Isolated","invert":false}"#,
    ];
    // DeepSeek's file has CR and LF in the classes, and not as escapes.
    let plain = p::DEEPSEEK3.map(|regex| regex.replace(r"\r", "\r").replace(r"\n", "\n"));
    let removed = r#""behavior":"Removed","invert":true"#;
    vec![
        ("gpt2", "null", gpt2(false)),
        ("prefix", "null", gpt2(true)),
        ("starcoder", "null", all(&[digits, &gpt2(false)])),
        ("cl100k", "null", split(p::CL100K)),
        ("qwen", NFC, split(p::QWEN2)),
        ("o200k", "null", split(p::O200K)),
        ("tekken", "null", split(p::TEKKEN)),
        ("deepseek", r#"{"type":"Sequence","normalizers":[]}"#, splits(&plain.each_ref().map(|s| &**s))),
        ("falcon", "null", all(&falcon)),
        ("qwen3.5", NFC, split(p::QWEN35)),
        ("gpt4o", "null", split(p::O200K).replace(r#""behavior":"Isolated","invert":false"#, removed)),
        ("nfc prefix", NFC, gpt2(true)),
    ]
}

pub fn judge(json: &str, special: SpecialInText) -> tokenizers::Tokenizer {
    let mut t: tokenizers::Tokenizer = json.parse().unwrap();
    t.set_encode_special_tokens(special == SpecialInText::Text);
    t
}

/// Exactly as long as the text and ending at an unreadable page: reading behind it ends the test.
pub struct Guarded(*mut u8, usize);
impl Guarded {
    pub fn new() -> Guarded {
        let size = 1 << 20;
        // SAFETY: a fresh mapping; its last page is made unreadable.
        unsafe {
            let at = libc::mmap(
                std::ptr::null_mut(),
                size + 4096,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert!(at != libc::MAP_FAILED);
            assert_eq!(libc::mprotect(at.cast::<u8>().add(size).cast(), 4096, libc::PROT_NONE), 0);
            Guarded(at.cast(), size)
        }
    }
    pub fn put<'g>(&'g mut self, text: &str) -> &'g str {
        assert!(text.len() <= self.1);
        // SAFETY: within the mapping; the bytes are those of a str.
        unsafe {
            let at = self.0.add(self.1 - text.len());
            std::ptr::copy_nonoverlapping(text.as_ptr(), at, text.len());
            std::str::from_utf8_unchecked(std::slice::from_raw_parts(at, text.len()))
        }
    }
}
