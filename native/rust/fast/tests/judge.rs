//! The fast engine against its judge: Hugging Face's crate, over generated hard text.
//!
//! Every run prints its seed; QUERN_SEED repeats it. QUERN_DOCUMENTS sets how many documents a family gets
//! (default 1500; the long run is 10000000). QUERN_TOKENIZERS names a folder with tokenizers to use beside
//! the small ones made here: NAME/tokenizer.json each.
use quern_fast::{FastTokenizer, Options, Simd, SpecialInText, ThreadState};
use std::collections::HashMap;
use std::fmt::Write;

/// xorshift64*.
struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }
    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

fn seed() -> u64 {
    let seed = std::env::var("QUERN_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64 | 1
    });
    println!("QUERN_SEED={seed}");
    seed
}

fn documents() -> usize {
    std::env::var("QUERN_DOCUMENTS").ok().and_then(|s| s.parse().ok()).unwrap_or(1500)
}

const WORDS: &[&str] = &[
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

fn text(r: &mut Random, most: usize) -> String {
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

fn byte_char(b: u8) -> char {
    let printable = |b: u8| matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    if printable(b) {
        return b as char;
    }
    let n = (0..b).filter(|x| !printable(*x)).count();
    char::from_u32(256 + n as u32).unwrap()
}

fn escape(bytes: &[u8]) -> String {
    let text: String = bytes.iter().map(|b| byte_char(*b)).collect();
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// A tokenizer.json with a small vocabulary trained on WORDS (greedily, by count), and some that merges
/// don't reach; `order` mixes the merges' ranks, so that a token's parts may come after it.
fn small(r: &mut Random, normalizer: &str, pre: &str, ignore_merges: bool, order: bool) -> String {
    let mut tokens: Vec<Vec<u8>> = (0..=255u8).map(|b| vec![b]).collect();
    let mut merges: Vec<(usize, usize)> = Vec::new();
    let mut words: Vec<Vec<usize>> = Vec::new();
    for _ in 0..400 {
        words.push(text(r, 3).bytes().map(usize::from).collect());
    }
    for _ in 0..500 {
        let mut counts: HashMap<(usize, usize), usize> = HashMap::new();
        for w in &words {
            for p in w.windows(2) {
                *counts.entry((p[0], p[1])).or_default() += 1;
            }
        }
        let mut best: Vec<_> = counts.into_iter().collect();
        best.sort_by_key(|(p, n)| (std::cmp::Reverse(*n), *p));
        let (a, b) = best[r.below(best.len().min(8))].0;
        let mut made = tokens[a].clone();
        made.extend(&tokens[b]);
        let id = tokens.iter().position(|t| *t == made).unwrap_or_else(|| {
            tokens.push(made);
            tokens.len() - 1
        });
        merges.push((a, b));
        for w in &mut words {
            let mut i = 0;
            while i + 1 < w.len() {
                if w[i] == a && w[i + 1] == b {
                    w[i] = id;
                    w.remove(i + 1);
                }
                i += 1;
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
    let n = tokens.len();
    let vocab: Vec<String> =
        tokens.iter().enumerate().map(|(i, t)| format!("\"{}\":{i}", escape(t))).collect();
    let merges: Vec<String> = merges
        .iter()
        .map(|(a, b)| format!("[\"{}\",\"{}\"]", escape(&tokens[*a]), escape(&tokens[*b])))
        .collect();
    let mut added = String::new();
    let mut next = n;
    for (i, (content, special, strip)) in [
        ("<|endoftext|>", true, "\"lstrip\":false,\"rstrip\":false"),
        ("<think>", false, "\"lstrip\":true,\"rstrip\":true"),
        ("<|im_start|>", true, "\"lstrip\":false,\"rstrip\":true"),
    ]
    .iter()
    .enumerate()
    {
        // The vocabulary's id if it is there, else the next free one, as Hugging Face does.
        let id = tokens.iter().position(|t| t == content.as_bytes()).unwrap_or_else(|| {
            next += 1;
            next - 1
        });
        write!(
            added,
            "{}{{\"id\":{},\"content\":\"{content}\",\"single_word\":false,{strip},\"normalized\":false,\"special\":{special}}}",
            if i > 0 { "," } else { "" },
            id
        )
        .unwrap();
    }
    let post = r#"{"type":"ByteLevel","add_prefix_space":TRUE,"trim_offsets":TRIM,"use_regex":true}"#
        .replace("TRUE", if order { "true" } else { "false" })
        .replace("TRIM", if ignore_merges { "true" } else { "false" });
    format!(
        r#"{{"version":"1.0","truncation":null,"padding":null,"added_tokens":[{added}],"normalizer":{normalizer},"pre_tokenizer":{pre},"post_processor":{post},"decoder":null,"model":{{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"ignore_merges":{ignore_merges},"vocab":{{{}}},"merges":[{}]}}}}"#,
        vocab.join(","),
        merges.join(",")
    )
}

fn split(regex: &str) -> String {
    format!(
        r#"{{"type":"Sequence","pretokenizers":[{},{{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}}]}}"#,
        splits(&[regex])
    )
}

fn splits(regexes: &[&str]) -> String {
    let one = |r: &&str| {
        format!(
            r#"{{"type":"Split","pattern":{{"Regex":"{}"}},"behavior":"Isolated","invert":false}}"#,
            r.replace('\\', "\\\\").replace('"', "\\\"")
        )
    };
    regexes.iter().map(one).collect::<Vec<_>>().join(",")
}

/// (name, normalizer, pre_tokenizer)
fn families() -> Vec<(&'static str, &'static str, String)> {
    use quern_fast::patterns as p;
    let byte_level = |prefix: bool| {
        format!(r#"{{"type":"ByteLevel","add_prefix_space":{prefix},"trim_offsets":true,"use_regex":true}}"#)
    };
    vec![
        ("gpt2", "null", byte_level(false)),
        ("prefix", "null", byte_level(true)),
        (
            "starcoder",
            "null",
            format!(
                r#"{{"type":"Sequence","pretokenizers":[{{"type":"Digits","individual_digits":true}},{}]}}"#,
                byte_level(false)
            ),
        ),
        ("cl100k", "null", split(p::CL100K)),
        ("qwen", r#"{"type":"NFC"}"#, split(p::QWEN2)),
        ("o200k", "null", split(p::O200K)),
        ("tekken", "null", split(p::TEKKEN)),
        (
            "deepseek",
            r#"{"type":"Sequence","normalizers":[]}"#,
            format!(
                r#"{{"type":"Sequence","pretokenizers":[{},{{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}}]}}"#,
                splits(&p::DEEPSEEK3)
            ),
        ),
    ]
}

fn judge(json: &str, special: SpecialInText) -> tokenizers::Tokenizer {
    let mut t: tokenizers::Tokenizer = json.parse().unwrap();
    t.set_encode_special_tokens(special == SpecialInText::Text);
    t
}

/// Exactly as long as the text and ending at an unreadable page: reading behind it ends the test.
struct Guarded(*mut u8, usize);
impl Guarded {
    fn new() -> Guarded {
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
    fn put<'g>(&'g mut self, text: &str) -> &'g str {
        assert!(text.len() <= self.1);
        // SAFETY: within the mapping; the bytes are those of a str.
        unsafe {
            let at = self.0.add(self.1 - text.len());
            std::ptr::copy_nonoverlapping(text.as_ptr(), at, text.len());
            std::str::from_utf8_unchecked(std::slice::from_raw_parts(at, text.len()))
        }
    }
}

fn compare(name: &str, json: &str, r: &mut Random, documents: usize) {
    let mut guarded = Guarded::new();
    for special in [SpecialInText::Text, SpecialInText::Token] {
        let judge = judge(json, special);
        let engines: Vec<FastTokenizer> = Simd::all()
            .into_iter()
            .map(|simd| {
                FastTokenizer::from_json(
                    json.as_bytes(),
                    &Options { special_in_text: special, simd: Some(simd) },
                )
                .unwrap()
            })
            .collect();
        // A warm cache of the usual size and one so small that it evicts all the time.
        let mut states: Vec<ThreadState> = engines.iter().map(|_| ThreadState::new(1 << 20)).collect();
        for i in 0..documents / 2 {
            let text = if i % 5 == 0 { text(r, 400) } else { text(r, 12) };
            let wanted = judge.encode(text.as_str(), false).unwrap();
            for (t, state) in engines.iter().zip(&mut states) {
                let got = t.encode(state, guarded.put(&text)).unwrap();
                assert_eq!(got, wanted.get_ids(), "{name} {:?} {special:?} {text:?}", t.simd());
                assert_eq!(t.count(state, &text).unwrap(), got.len());
            }
            let spans = engines[0].encode_with_spans(&mut states[0], &text).unwrap();
            let wanted = wanted.get_ids().iter().zip(wanted.get_offsets()).map(|(id, o)| (*id, o.0, o.1));
            assert!(spans.iter().copied().eq(wanted), "{name} {special:?} {text:?}");
        }
    }
}

#[test]
fn fast_equals_the_judge() {
    let mut r = Random(seed());
    for (name, normalizer, pre) in families() {
        for ignore_merges in [false, true] {
            let json = small(&mut r, normalizer, &pre, ignore_merges, false);
            compare(name, &json, &mut r, documents() / 2);
        }
    }
}

#[test]
fn merges_out_of_order() {
    let mut r = Random(seed());
    for round in 0..6 {
        let (name, normalizer, pre) = families().swap_remove(3 + round % 4);
        let json = small(&mut r, normalizer, &pre, round % 2 == 0, true);
        compare(name, &json, &mut r, documents() / 5);
    }
}

#[test]
fn real_vocabularies() {
    let Some(folder) = std::env::var_os("QUERN_TOKENIZERS") else { return };
    let mut r = Random(seed());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path().join("tokenizer.json");
        let Ok(json) = std::fs::read_to_string(&path) else { continue };
        match FastTokenizer::from_json(json.as_bytes(), &Options::default()) {
            Ok(_) => compare(&path.display().to_string(), &json, &mut r, documents()),
            Err(e) => println!("{}: {e}", path.display()),
        }
    }
}

/// Every code point alone, doubled, and between letters, digits, blanks and signs.
#[test]
fn every_code_point() {
    let mut r = Random(seed());
    for (name, normalizer, pre) in families() {
        let json = small(&mut r, normalizer, &pre, false, false);
        let judge = judge(&json, SpecialInText::Text);
        let t = FastTokenizer::from_json(json.as_bytes(), &Options::default()).unwrap();
        let mut state = ThreadState::new(1 << 20);
        let step = if std::env::var_os("QUERN_DOCUMENTS").is_some() { 1 } else { 97 };
        let skip = r.below(step);
        let mut text = String::new();
        for c in (0..0x11_0000)
            .skip(skip)
            .step_by(step)
            .chain(0..0x400)
            .chain(0x2000..0x2100)
            .filter_map(char::from_u32)
        {
            write!(text, "{c}{c}a{c}b 1{c}2  {c} !{c}\n{c}{c}'s{c}A{c}中{c}が").unwrap();
            if text.len() > 4000 {
                let wanted = judge.encode(text.as_str(), false).unwrap();
                assert_eq!(t.encode(&mut state, &text).unwrap(), wanted.get_ids(), "{name} {text:?}");
                text.clear();
            }
        }
    }
}

/// The same ids whatever was encoded before, in whatever pieces of memory, and by several threads.
#[test]
fn caches_and_batches_change_nothing() {
    let mut r = Random(seed());
    let json = small(&mut r, "null", &families()[3].2, true, false);
    let t = FastTokenizer::from_json(json.as_bytes(), &Options::default()).unwrap();
    let other = FastTokenizer::from_json(
        small(&mut r, "null", &families()[5].2, false, false).as_bytes(),
        &Options::default(),
    )
    .unwrap();
    let texts: Vec<String> = (0..300).map(|_| text(&mut r, 200)).collect();
    let cold: Vec<Vec<u32>> = texts.iter().map(|x| t.encode(&mut ThreadState::new(0), x).unwrap()).collect();
    std::thread::scope(|s| {
        for from in 0..3 {
            let (t, other, texts, cold) = (&t, &other, &texts, &cold);
            s.spawn(move || {
                let mut state = ThreadState::new(0);
                for pass in 0..2 {
                    for i in (0..texts.len()).map(|i| (i + from * 100) % texts.len()) {
                        assert_eq!(t.encode(&mut state, &texts[i]).unwrap(), cold[i]);
                        if i % 50 == 0 && pass == 1 {
                            other.encode(&mut state, &texts[i]).unwrap();
                        }
                    }
                }
            });
        }
    });
    // Room for some of the ids: the number needed, and nothing behind the room.
    for (x, ids) in texts.iter().zip(&cold).take(50) {
        let room = r.below(ids.len() + 2);
        let mut out = vec![std::mem::MaybeUninit::new(77); room + 8];
        assert_eq!(t.encode_into(&mut ThreadState::new(0), x, &mut out[..room]).unwrap(), ids.len());
        // SAFETY: initialized above.
        assert!(out[room..].iter().all(|v| unsafe { v.assume_init() } == 77));
    }
}

/// A million characters of one kind take a time that grows with their number, not its square; the ids are
/// right on a length the judge can do too.
#[test]
fn long_documents() {
    let mut r = Random(seed());
    for (name, normalizer, pre) in families() {
        let json = small(&mut r, normalizer, &pre, false, false);
        let judge = judge(&json, SpecialInText::Text);
        let t = FastTokenizer::from_json(json.as_bytes(), &Options::default()).unwrap();
        let mut state = ThreadState::new(0);
        for unit in [
            "a",
            " ",
            "\n",
            "1",
            "中",
            "日本語",
            "aB3",
            "!",
            "\u{301}",
            "é",
            "中A",
            "' ",
            "e\u{301}",
            "\u{1}",
        ] {
            let text = unit.repeat(3000 / unit.len());
            assert_eq!(
                t.encode(&mut state, &text).unwrap(),
                judge.encode(text.as_str(), false).unwrap().get_ids(),
                "{name} {unit:?}"
            );
            t.count(&mut state, &unit.repeat(300_000 / unit.len())).unwrap();
        }
    }
}

#[test]
fn special_tokens_that_are_errors() {
    let mut r = Random(seed());
    let json = small(&mut r, "null", &families()[3].2, true, false);
    let options = Options { special_in_text: SpecialInText::Error, simd: None };
    let t = FastTokenizer::from_json(json.as_bytes(), &options).unwrap();
    let found = t.encode(&mut ThreadState::new(0), "a <think> <|endoftext|>").unwrap_err();
    assert_eq!(found.position, 10);
}

#[test]
fn what_is_not_recognised_is_named() {
    let mut r = Random(seed());
    let part =
        |json: String| FastTokenizer::from_json(json.as_bytes(), &Options::default()).err().unwrap().part;
    assert_eq!(part(small(&mut r, r#"{"type":"NFKC"}"#, &families()[0].2, false, false)), "normalizer NFKC");
    assert_eq!(
        part(small(&mut r, "null", &split(r"\p{L}+"), false, false)),
        "the regex of pre_tokenizer Split"
    );
    assert_eq!(part(small(&mut r, "null", "null", false, false)), "no pre_tokenizer");
}
