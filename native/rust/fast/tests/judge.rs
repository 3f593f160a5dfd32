//! The fast engine against its judge, Hugging Face's crate, and its specification (tests/common/naive.rs),
//! over generated hard text.
//!
//! Every run prints its seed; QUERN_SEED repeats it. Without more this is the short run. The long one:
//!
//! ```text
//!     QUERN_DOCUMENTS=10000000 cargo test --release -p quern-fast --test judge -- --nocapture
//! ```
//!
//! compares that many documents a family (README.md says how long it takes; QUERN_FAMILY=NAME takes one
//! family). QUERN_TOKENIZERS=FOLDER takes the tokenizers of FOLDER/NAME/tokenizer.json and FOLDER/NAME.tiktoken
//! too.
mod common;

use common::naive::{Naive, NaiveRanks, byte_char};
use common::*;
use quern_fast::{FastTokenizer, Options, Simd, SpecialInText, ThreadState, patterns};
use std::collections::HashMap;
use std::fmt::Write;

type Specification = Box<dyn Fn(&str) -> Vec<u32>>;

/// A tokenizer with everything it is compared with.
struct Case {
    name: String,
    engines: Vec<FastTokenizer>,
    /// For each engine a state so small that it evicts all the time, and one of the usual size.
    states: Vec<[ThreadState; 2]>,
    judge: tokenizers::Tokenizer,
    naive: Specification,
    guarded: Guarded,
    compared: usize,
}

impl Case {
    fn new(name: &str, json: &str, special: SpecialInText) -> Case {
        let naive = Naive::new(json, special);
        Case::with(
            format!("{name} {special:?}"),
            |options| FastTokenizer::from_json(json.as_bytes(), options).unwrap(),
            judge(json, special),
            Box::new(move |text| naive.encode(text)),
            special,
        )
    }

    fn with(
        name: String,
        load: impl Fn(&Options) -> FastTokenizer,
        judge: tokenizers::Tokenizer,
        naive: Specification,
        special: SpecialInText,
    ) -> Case {
        let levels = Simd::all();
        let engine = |simd: &Simd| load(&Options { special_in_text: special, simd: Some(*simd) });
        Case {
            name,
            engines: levels.iter().map(engine).collect(),
            states: levels.iter().map(|_| [ThreadState::new(0), ThreadState::new(8 << 20)]).collect(),
            judge,
            naive,
            guarded: Guarded::new(),
            compared: 0,
        }
    }

    /// Every level with both caches, in memory that ends where the text does; now and then a state of its
    /// own, the specification and the places of the ids.
    fn compare(&mut self, text: &str) {
        let wanted = self.judge.encode_fast(text, false).unwrap();
        let wanted = wanted.get_ids();
        let name = &self.name;
        let guarded = self.guarded.put(text);
        for (t, states) in self.engines.iter().zip(&mut self.states) {
            for state in states.iter_mut() {
                let got = t.encode(state, guarded).unwrap();
                assert!(got == wanted, "{name} {:?} {text:?}: {got:?} and not {wanted:?}", t.simd());
            }
        }
        self.compared += 1;
        let t = &self.engines[self.compared % self.engines.len()];
        if self.compared.is_multiple_of(16) && text.len() < 4096 {
            let naive = (self.naive)(text);
            assert!(
                naive == wanted,
                "{name} {text:?}: the specification says {naive:?}, the judge {wanted:?}"
            );
            let state = &mut self.states[0][0];
            assert_eq!(t.count(state, guarded).unwrap(), wanted.len(), "{name} {text:?}");
            let wanted = self.judge.encode(text, false).unwrap();
            let wanted = wanted.get_ids().iter().zip(wanted.get_offsets()).map(|(id, o)| (*id, o.0, o.1));
            let spans = t.encode_with_spans(state, guarded).unwrap();
            assert!(spans.iter().copied().eq(wanted), "{name} {text:?}: {spans:?}");
        }
        if self.compared.is_multiple_of(128) {
            let got = t.encode(&mut ThreadState::new(0), guarded).unwrap();
            assert!(got == wanted, "{name} {:?}, a fresh state: {text:?}", t.simd());
        }
    }

    /// Mostly short documents, that fill and evict the caches; every hundredth has many batches.
    fn compare_generated(&mut self, r: &mut Random, documents: usize) {
        for i in 0..documents {
            let text = if i % 100 == 0 { text(r, 400) } else { text(r, 9) };
            self.compare(&text);
        }
    }
}

const POLICIES: [SpecialInText; 2] = [SpecialInText::Text, SpecialInText::Token];

#[test]
fn fast_equals_naive_equals_the_judge() {
    let mut r = Random(seed());
    let all = documents();
    let only = std::env::var("QUERN_FAMILY").ok();
    for (name, normalizer, pre) in families() {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let begin = std::time::Instant::now();
        let mut compared = 0;
        // Vocabularies of many kinds: in the order of their merges or not, reachable or not.
        let n = all.unwrap_or(1000);
        let vocabularies = (n / 20_000).clamp(4, 40);
        for round in 0..vocabularies {
            let json = small(&mut r, normalizer, &pre, round % 2 == 0, round % 4 > 1);
            for special in POLICIES {
                let mut case = Case::new(name, &json, special);
                case.compare_generated(&mut r, n.div_ceil(vocabularies * 2));
                compared += case.compared;
            }
        }
        println!("{name}: {compared} documents, no difference, {:.0} s", begin.elapsed().as_secs_f64());
    }
}

#[test]
fn real_vocabularies() {
    let Some(folder) = std::env::var_os("QUERN_TOKENIZERS") else { return };
    let mut r = Random(seed());
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let n = documents().unwrap_or(1000);
        let mut cases = Vec::new();
        if path.extension().is_some_and(|e| e == "tiktoken") {
            let ranks = ranks(&std::fs::read_to_string(&path).unwrap());
            for (pattern, plain) in tiktoken_patterns(&name) {
                cases.push(rank_case(&name, &ranks, pattern, plain));
            }
        } else if let Ok(json) = std::fs::read_to_string(path.join("tokenizer.json")) {
            match FastTokenizer::from_json(json.as_bytes(), &Options::default()) {
                Ok(_) => cases.extend(POLICIES.map(|special| Case::new(&name, &json, special))),
                Err(e) => println!("{name}: {e}"),
            }
        }
        let each = n.div_ceil(cases.len().max(1));
        for mut case in cases {
            let begin = std::time::Instant::now();
            case.compare_generated(&mut r, each);
            let seconds = begin.elapsed().as_secs_f64();
            println!("{}: {} documents, no difference, {seconds:.0} s", case.name, case.compared);
        }
    }
}

/// A rank file's lines: a token in base64, a blank, its rank.
fn ranks(file: &str) -> HashMap<Vec<u8>, u32> {
    use base64::Engine;
    let line = |l: &str| {
        let (token, rank) = l.split_once(' ').unwrap();
        (base64::engine::general_purpose::STANDARD.decode(token).unwrap(), rank.parse().unwrap())
    };
    file.lines().filter(|l| !l.is_empty()).map(line).collect()
}

/// tiktoken's own texts of a vocabulary's pattern, each with one that Oniguruma reads as tiktoken's regex
/// library does: `\z` for `$`, and no `+` behind braces.
fn tiktoken_patterns(name: &str) -> Vec<(&'static str, &'static str)> {
    const OLD_GPT2: &str = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    match name {
        n if n.starts_with("o200k") => vec![(patterns::O200K, patterns::O200K)],
        n if n.starts_with("cl100k") => vec![
            (
                r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
                r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++\z|\s*[\r\n]|\s+(?!\S)|\s",
            ),
            (patterns::CL100K, patterns::CL100K),
        ],
        _ => vec![
            (
                r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
                r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++\z|\s+(?!\S)|\s",
            ),
            (OLD_GPT2, OLD_GPT2),
        ],
    }
}

/// A rank file under a pattern, beside it tiktoken's rules in plain words and Hugging Face's crate set up to
/// do as tiktoken: merges are all splits of a token into two, by the token's rank; whole pre-tokens first.
fn rank_case(name: &str, ranks: &HashMap<Vec<u8>, u32>, pattern: &str, plain: &str) -> Case {
    use base64::Engine;
    let mut by_rank: Vec<(&Vec<u8>, u32)> = ranks.iter().map(|(t, r)| (t, *r)).collect();
    by_rank.sort_by_key(|(_, r)| *r);
    let mut file = String::new();
    let mut vocabulary = serde_json::Map::new();
    let mut merges = Vec::new();
    let text = |t: &[u8]| -> String { t.iter().map(|b| byte_char(*b)).collect() };
    for (token, rank) in by_rank {
        writeln!(file, "{} {rank}", base64::engine::general_purpose::STANDARD.encode(token)).unwrap();
        vocabulary.insert(text(token), rank.into());
        for (a, b) in (1..token.len()).map(|i| token.split_at(i)) {
            if ranks.contains_key(a) && ranks.contains_key(b) {
                merges.push(vec![text(a), text(b)]);
            }
        }
    }
    let pre: serde_json::Value = serde_json::from_str(&split(plain)).unwrap();
    let model =
        serde_json::json!({"type": "BPE", "ignore_merges": true, "vocab": vocabulary, "merges": merges});
    let json = serde_json::json!({"version": "1.0", "pre_tokenizer": pre, "model": model}).to_string();
    let naive = NaiveRanks::new(ranks, plain);
    Case::with(
        format!("{name} {pattern}"),
        |options| FastTokenizer::from_tiktoken(file.as_bytes(), pattern, &[], options).unwrap(),
        judge(&json, SpecialInText::Text),
        Box::new(move |text| naive.encode(text)),
        SpecialInText::Text,
    )
}

#[test]
fn rank_files_as_tiktoken_reads_them() {
    let mut r = Random(seed());
    for name in ["r50k", "cl100k", "o200k"] {
        for (pattern, plain) in tiktoken_patterns(name) {
            let json: serde_json::Value =
                serde_json::from_str(&small(&mut r, "null", &split(patterns::CL100K), true, false)).unwrap();
            let byte: HashMap<char, u8> = (0..=255).map(|b| (byte_char(b), b)).collect();
            let vocabulary = json["model"]["vocab"].as_object().unwrap().iter();
            let ranks = vocabulary
                .map(|(t, id)| (t.chars().map(|c| byte[&c]).collect(), id.as_u64().unwrap() as u32));
            let mut case = rank_case(name, &ranks.collect(), pattern, plain);
            case.compare_generated(&mut r, documents().unwrap_or(600));
        }
    }
}

/// Every code point alone, doubled, and between letters, digits, blanks and signs.
#[test]
fn every_code_point() {
    let mut r = Random(seed());
    for (name, normalizer, pre) in families() {
        let json = small(&mut r, normalizer, &pre, false, false);
        let mut case = Case::new(name, &json, SpecialInText::Text);
        let step = if documents().is_some() { 1 } else { 997 };
        let skip = r.below(step);
        let some = (0..0x11_0000).skip(skip).step_by(step);
        let mut text = String::new();
        for c in some.chain(0..0x300).chain(0x2000..0x2070).filter_map(char::from_u32) {
            let end = text.len();
            write!(text, "{c}{c}a{c}b 1{c}2  {c} !{c}\n{c}{c}'s{c}A{c}中{c}が").unwrap();
            if (c as u32).is_multiple_of(16) {
                case.compare(&text[end..]);
                case.compare(c.encode_utf8(&mut [0; 4]));
            }
            if text.len() > 4000 {
                case.compare(&text);
                text.clear();
            }
        }
    }
}

/// Every added token's text, what is left of it at either end, one character changed, next to itself,
/// words, blanks and others.
#[test]
fn what_looks_like_an_added_token() {
    let mut r = Random(seed());
    for (name, normalizer, pre) in families() {
        let ignore_merges = r.below(2) == 0;
        let json = small(&mut r, normalizer, &pre, ignore_merges, false);
        for special in POLICIES {
            let mut case = Case::new(name, &json, special);
            for token in ADDED {
                let mut like: Vec<String> = token.char_indices().map(|(i, _)| token[i..].into()).collect();
                like.extend(token.char_indices().map(|(i, _)| token[..i].into()));
                like.extend(token.chars().map(|c| token.replacen(c, "x", 1)));
                like.push(token.to_uppercase());
                for t in &like {
                    for (a, b) in
                        [("", ""), ("a", "b"), (" ", " "), ("\u{301}", "_"), (" \n", "\u{301}"), ("1", "é")]
                    {
                        case.compare(&format!("{a}{t}{b}"));
                    }
                    case.compare(&format!("{t}{t} {t} x"));
                    case.compare(&format!("{token}{t}{token}  {}{t}", r.one(ADDED)));
                }
            }
        }
    }
}

/// White space that one token takes to its right and the next one to its left, which has no text then.
#[test]
fn added_tokens_without_text() {
    let mut r = Random(seed());
    let mut json: serde_json::Value =
        serde_json::from_str(&small(&mut r, "null", &families()[3].2, true, false)).unwrap();
    let size = json["model"]["vocab"].as_object().unwrap().len();
    json["added_tokens"] = serde_json::json!([
        {"id": size, "content": "\t\t", "special": false, "normalized": false, "single_word": false, "lstrip": true, "rstrip": true},
    ]);
    let mut case = Case::new("blank", &json.to_string(), SpecialInText::Text);
    for text in ["\t\t", "\t\t\t\t", "a \t\t\t\t", "a \t\t\t\t b", " \t\tx\t\t\t\t"] {
        case.compare(text);
    }
}

/// Lengths around those of lanes and tables, in memory that ends with the text.
#[test]
fn lengths() {
    let mut r = Random(seed());
    let units =
        ["a", " ", "\n", "1", "中", "é", "!", "'s", "aB", "\u{301}", "𠀀", "の", "中a", " x", "\r\n "];
    for (name, normalizer, pre) in families() {
        let ignore_merges = r.below(2) == 0;
        let json = small(&mut r, normalizer, &pre, ignore_merges, false);
        let mut case = Case::new(name, &json, SpecialInText::Text);
        for unit in units {
            for n in (1..=66usize).chain(126..=130).chain(190..=194).chain(254..=258) {
                let mut text = unit.repeat(n.div_ceil(unit.len()));
                text.truncate((0..=n).rev().find(|i| text.is_char_boundary(*i)).unwrap());
                case.compare(&text);
                // The same length with something else at the front, and at the end.
                case.compare(&format!("a {text}"));
                case.compare(&format!(
                    "{text}{}",
                    r.one(&["a", " ", "\n", "1", "中", "!", "'", "'l", "\u{301}"])
                ));
            }
        }
        let unit = r.one(&units);
        for n in [65_535, 65_536, 65_537] {
            let mut text = unit.repeat(n / unit.len() + 1);
            text.truncate((0..=n).rev().find(|i| text.is_char_boundary(*i)).unwrap());
            case.compare(&text);
        }
    }
}

/// Whatever stands before it, in whatever place of a window or batch it comes, a text has the same ids.
#[test]
fn windows_and_batches_begin_anywhere() {
    let mut r = Random(seed());
    for (name, normalizer, pre) in families() {
        let ignore_merges = r.below(2) == 0;
        let json = small(&mut r, normalizer, &pre, ignore_merges, true);
        let mut case = Case::new(name, &json, SpecialInText::Text);
        let tail = text(&mut r, 20);
        for n in 0..70 {
            case.compare(&format!("{}{tail}", "a".repeat(n)));
            case.compare(&format!("{}{tail}", " a".repeat(n)));
        }
        // Pre-tokens are looked up 256 at a time, and a batch is 1024 of them.
        for edge in [256, 1024] {
            for n in 0..40 {
                case.compare(&format!("{}{tail}", "a ".repeat(edge + 4 - n)));
                case.compare(&format!("{}{tail}", "中\n".repeat(edge + 4 - n)));
            }
        }
    }
}

/// The same ids whatever was encoded before, in whatever pieces of memory, and by several threads.
#[test]
fn caches_and_threads_change_nothing() {
    let mut r = Random(seed());
    for (name, normalizer, pre) in families() {
        let json = small(&mut r, normalizer, &pre, true, false);
        let t = FastTokenizer::from_json(json.as_bytes(), &Options::default()).unwrap();
        let other = small(&mut r, "null", &families()[5].2, false, false);
        let other = FastTokenizer::from_json(other.as_bytes(), &Options::default()).unwrap();
        let texts: Vec<String> = (0..120).map(|_| text(&mut r, 100)).collect();
        let alone = |x: &String| t.encode(&mut ThreadState::new(0), x).unwrap();
        let cold: Vec<Vec<u32>> = texts.iter().map(alone).collect();
        std::thread::scope(|s| {
            for from in 0..3 {
                let (t, other, texts, cold) = (&t, &other, &texts, &cold);
                s.spawn(move || {
                    let mut state = ThreadState::new(0);
                    for pass in 0..2 {
                        for i in (0..texts.len()).map(|i| (i + from * 40) % texts.len()) {
                            assert_eq!(t.encode(&mut state, &texts[i]).unwrap(), cold[i], "{name}");
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
}

/// Documents for a batch: empty ones and such of a character, also in hundreds; what is generated; one text cut
/// anywhere, so that they end inside of runs and added tokens; such that fill a batch of pre-tokens, or nearly.
fn some_documents(r: &mut Random) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let cut = |r: &mut Random, all: &mut Vec<String>, text: &str, longest: usize| {
        let mut begin = 0;
        while begin < text.len() {
            let mut end = (begin + r.below(longest + 1)).min(text.len());
            while !text.is_char_boundary(end) {
                end += 1;
            }
            all.push(text[begin..end].into());
            begin = end;
        }
    };
    for _ in 0..1 + r.below(4) {
        match r.below(9) {
            0 => all.extend((0..r.below(20)).map(|_| String::new())),
            // More ends than a batch notes.
            1 if r.below(4) == 0 => {
                let tiny = r.one(&["", "a", " ", "中", "\n"]);
                all.extend((0..1000 + r.below(300)).map(|_| tiny.into()));
            }
            1 | 2 => all.extend((0..r.below(300)).map(|_| {
                let text = text(r, 1);
                let n = r.below(3);
                text.chars().take(n).collect::<String>()
            })),
            3 => {
                let (text, longest) = (text(r, 300), 1 + r.below(60));
                cut(r, &mut all, &text, longest);
            }
            4 => {
                let run = r.one(&[
                    " ",
                    "\n",
                    "中",
                    "!",
                    "a",
                    "1",
                    "\u{301}",
                    "の",
                    " \n",
                    "中文",
                    "日本語",
                    "  x",
                    "<|endoftext|>",
                ]);
                let (run, longest) = (run.repeat(1 + r.below(200)), 1 + r.below(90));
                cut(r, &mut all, &run, longest);
            }
            5 => {
                let (a, b) = (r.one(ADDED), r.one(ADDED));
                let all_of_them = format!("{a}{b} {a}x{b}\n{a}");
                let longest = 1 + r.below(20);
                cut(r, &mut all, &all_of_them, longest);
            }
            // So many pre-tokens that the batch ends about where the document does.
            6 if r.below(3) == 0 => all.push(r.one(&["a ", "中\n", "! "]).repeat(1000 + r.below(40))),
            _ => all.extend((0..r.below(12)).map(|_| text(r, 12))),
        }
    }
    all
}

/// A batch is its documents, each alone: ids and ends, or which one is refused and where.
#[test]
fn batches_equal_their_documents() {
    let mut r = Random(seed());
    let mut guarded = Guarded::new();
    let rounds = documents().map_or(2, |n| (n / 20_000).clamp(2, 300));
    let (mut batches, mut refused, mut many) = (0, 0, 0);
    for (name, normalizer, pre) in families() {
        for round in 0..rounds {
            let order = r.below(2) == 0;
            let json = small(&mut r, normalizer, &pre, round % 2 == 0, order);
            for special in [SpecialInText::Text, SpecialInText::Token, SpecialInText::Error] {
                let load = |simd: &Simd| {
                    let options = Options { special_in_text: special, simd: Some(*simd) };
                    FastTokenizer::from_json(json.as_bytes(), &options).unwrap()
                };
                let engines: Vec<FastTokenizer> = Simd::all().iter().map(load).collect();
                let mut states: Vec<[ThreadState; 2]> =
                    engines.iter().map(|_| [ThreadState::new(0), ThreadState::new(8 << 20)]).collect();
                let judge = judge(&json, special);
                for _ in 0..3 {
                    let documents = some_documents(&mut r);
                    // Before the first and behind the last one is text that is none of theirs.
                    let any = |r: &mut Random| if r.below(2) == 0 { String::new() } else { text(r, 3) };
                    let (mut all, behind) = (any(&mut r), any(&mut r));
                    let mut offsets = vec![all.len() as i64];
                    for document in &documents {
                        all += document;
                        offsets.push(all.len() as i64);
                    }
                    all += &behind;
                    let all = guarded.put(&all);
                    // Each alone, as the judge has it, or with a state of its own where the judge knows no errors.
                    let (mut wanted, mut ends, mut error) = (Vec::new(), vec![0], None);
                    for (i, document) in documents.iter().enumerate() {
                        let alone = || engines[i % engines.len()].encode(&mut ThreadState::new(0), document);
                        match special {
                            SpecialInText::Error => match alone() {
                                Ok(ids) => wanted.extend(ids),
                                Err(found) => {
                                    error = Some((i, found));
                                    break;
                                }
                            },
                            _ => {
                                let of_judge = judge.encode_fast(&**document, false).unwrap();
                                if i % 16 == 0 {
                                    assert_eq!(alone().unwrap(), of_judge.get_ids(), "{name}: {document:?}");
                                }
                                wanted.extend(of_judge.get_ids());
                            }
                        }
                        ends.push(wanted.len() as i64);
                    }
                    batches += 1;
                    refused += error.is_some() as usize;
                    many += (documents.len() > 1024) as usize;
                    for (t, states) in engines.iter().zip(&mut states) {
                        let mut fresh = ThreadState::new(0);
                        // The first time they may be cold, the second time they are not.
                        for state in states.iter_mut().chain([&mut fresh]) {
                            for room in
                                [wanted.len() + r.below(40), wanted.len(), r.below(wanted.len() + 1), 0]
                            {
                                let mut ids = vec![u32::MAX; room + 17];
                                let mut id_offsets = vec![-1; offsets.len()];
                                let got =
                                    t.encode_batch(state, all, &offsets, &mut ids[..room], &mut id_offsets);
                                let what = || {
                                    format!(
                                        "{name} {:?} {special:?}, room for {room}: {documents:?}",
                                        t.simd()
                                    )
                                };
                                assert!(ids[room..].iter().all(|id| *id == u32::MAX), "{}", what());
                                if let Some(error) = error {
                                    assert_eq!(got, Err(error), "{}", what());
                                    continue;
                                }
                                assert_eq!(got, Ok(wanted.len()), "{}", what());
                                assert_eq!(id_offsets, ends, "{}", what());
                                assert!(room < wanted.len() || ids[..wanted.len()] == wanted, "{}", what());
                            }
                        }
                    }
                }
            }
        }
    }
    println!("{batches} batches, {refused} refused, {many} of more than 1024 documents");
    assert!(refused > 0 && many > 0);
}

/// What is no list of documents is a panic and not a text of somebody else's.
#[test]
fn batches_need_offsets_that_ascend() {
    let mut r = Random(seed());
    let json = small(&mut r, "null", &split(patterns::CL100K), false, false);
    let t = FastTokenizer::from_json(json.as_bytes(), &Options::default()).unwrap();
    let mut state = ThreadState::new(0);
    let mut batch = |offsets: &[i64], ends: usize| {
        let (mut ids, mut id_offsets) = ([0; 20], vec![-1; ends]);
        let mut run = || t.encode_batch(&mut state, "a é b", offsets, &mut ids, &mut id_offsets);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(&mut run)).ok().map(|n| (n, id_offsets))
    };
    assert_eq!(batch(&[], 0), Some((Ok(0), vec![])));
    assert_eq!(batch(&[6], 1), Some((Ok(0), vec![0])));
    assert_eq!(batch(&[2, 2, 2], 3), Some((Ok(0), vec![0, 0, 0])));
    for (offsets, ends) in [
        (&[0, 6][..], 3),
        (&[0, 6], 1),
        (&[], 1),
        (&[0, 7], 2),
        (&[-1, 6], 2),
        (&[i64::MIN, i64::MAX], 2),
        (&[0, 3, 6], 3),
        (&[3, 6], 2),
        (&[4, 2, 6], 3),
    ] {
        assert_eq!(batch(offsets, ends), None, "{offsets:?}");
    }
}

/// Long texts of one kind: as the judge has them where it can, and as merges by a heap where it can't. What
/// takes the square of the length would not end here.
#[test]
fn long_documents() {
    let mut r = Random(seed());
    let long = if documents().is_some() { 10_000_000 } else { 40_000 };
    let code = "for(var a=0;a<b.length;a++){if(c[a]!==null&&d.e(f)){g+=h[a]||\"\";}}";
    for (name, normalizer, pre) in families() {
        let ignore_merges = r.below(2) == 0;
        let json = small(&mut r, normalizer, &pre, ignore_merges, false);
        let mut case = Case::new(name, &json, SpecialInText::Text);
        let base64: String =
            (0..3000).map(|_| (b'A' + r.below(26) as u8 + 32 * r.below(2) as u8) as char).collect();
        let han: String = (0..1000).map(|_| char::from_u32(0x4e00 + r.below(3000) as u32).unwrap()).collect();
        let units = [
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
            "丼",
            "½1",
            code,
            &base64,
            &han,
        ];
        for unit in units {
            let text = unit.repeat((4000 / unit.len()).max(1));
            case.compare(&text);
            let t = case.engines.last().unwrap();
            let text = unit.repeat(long / unit.len());
            let begin = std::time::Instant::now();
            let count = t.count(&mut case.states[0][0], &text).unwrap();
            if documents().is_some() {
                let speed = text.len() as f64 / 1e6 / begin.elapsed().as_secs_f64();
                let unit: String = unit.chars().take(12).collect();
                println!("{name} {unit:?} {} bytes: {count} ids, {speed:.1} MB/s", text.len());
            }
        }
    }
}

/// One pre-token of any length is merged as by a plain heap.
#[test]
fn long_pre_tokens() {
    let mut r = Random(seed());
    let n = if documents().is_some() { 10_000_000 } else { 200_000 };
    let json = small(&mut r, "null", &split(patterns::CL100K), false, true);
    let mut file: serde_json::Value = serde_json::from_str(&json).unwrap();
    // One of them may be in the texts, which are to be one pre-token.
    file["added_tokens"] = serde_json::json!([]);
    let t = FastTokenizer::from_json(file.to_string().as_bytes(), &Options::default()).unwrap();
    let id = |s: &str| file["model"]["vocab"][s].as_u64().unwrap() as u32;
    let mut merges = HashMap::new();
    for (rank, m) in (0u32..).zip(file["model"]["merges"].as_array().unwrap()) {
        let (a, b) = (m[0].as_str().unwrap(), m[1].as_str().unwrap());
        merges.insert((id(a), id(b)), (rank, id(&format!("{a}{b}"))));
    }
    let letters: Vec<char> = "etaoinshr日本語中文русскийéABC".chars().collect();
    let mut any = |n: usize| -> String {
        let mut text = String::new();
        while text.len() < n {
            text.push(letters[r.below(letters.len())]);
        }
        text
    };
    let texts = [
        "a".repeat(n),
        "日本語".repeat(n / 9),
        any(n),
        "the".repeat(n / 3),
        any(8193),
        any(9000),
        any(65_537),
    ];
    for text in texts {
        let mut symbols: Vec<u32> = text.bytes().map(|b| id(&byte_char(b).to_string())).collect();
        heap_merge(&mut symbols, &merges);
        assert!(t.encode(&mut ThreadState::new(0), &text).unwrap() == symbols, "{}...", &text[..3]);
    }
}

/// Lowest rank first, of equal ones the leftmost, n log n.
fn heap_merge(symbols: &mut Vec<u32>, merges: &HashMap<(u32, u32), (u32, u32)>) {
    use std::cmp::Reverse;
    const GONE: u32 = u32::MAX;
    let n = symbols.len();
    let (mut next, mut before): (Vec<usize>, Vec<usize>) =
        ((1..=n).collect(), (0..n).map(|i| i.wrapping_sub(1)).collect());
    let mut heap = std::collections::BinaryHeap::new();
    let push = |heap: &mut std::collections::BinaryHeap<_>, symbols: &[u32], a: usize, b: usize| {
        if a < n
            && b < n
            && let Some((rank, made)) = merges.get(&(symbols[a], symbols[b]))
        {
            heap.push(Reverse((*rank, a, symbols[a], symbols[b], *made)));
        }
    };
    (1..n).for_each(|i| push(&mut heap, symbols, i - 1, i));
    while let Some(Reverse((_, a, left, right, made))) = heap.pop() {
        let b = next[a];
        if b >= n || symbols[a] != left || symbols[b] != right {
            continue;
        }
        (symbols[a], symbols[b]) = (made, GONE);
        next[a] = next[b];
        if next[a] < n {
            before[next[a]] = a;
        }
        push(&mut heap, symbols, a, next[a]);
        push(&mut heap, symbols, before[a], a);
    }
    symbols.retain(|s| *s != GONE);
}

/// An added token takes the newline before it, and begins with a letter only where NFC has not been yet.
#[test]
fn no_cut_before_a_letter_that_nfc_changes() {
    let (_, normalizer, pre) = families().into_iter().find(|(name, ..)| *name == "qwen").unwrap();
    let mut file: serde_json::Value =
        serde_json::from_str(&small(&mut Random(seed()), normalizer, &pre, false, false)).unwrap();
    let id = file["model"]["vocab"].as_object().unwrap().len() as u32;
    file["added_tokens"] = serde_json::json!([{
        "id": id, "content": "e\u{301}", "single_word": false, "lstrip": true, "rstrip": false,
        "normalized": true, "special": false,
    }]);
    let json = file.to_string();
    let t = FastTokenizer::from_json(json.as_bytes(), &Options::default()).unwrap();
    let text = "x\ne\u{301}the";
    let ids = t.encode(&mut ThreadState::new(0), text).unwrap();
    assert_eq!(ids, judge(&json, SpecialInText::Text).encode_fast(text, false).unwrap().get_ids());
    assert_eq!(ids[1], id);
    assert_eq!(t.cut(text.as_bytes()), 0);
}

/// At every place that is offered the ids of the parts are those of the whole.
#[test]
fn documents_may_be_cut() {
    let mut r = Random(seed());
    let pieces = [
        " ",
        "\n",
        " ",
        "\n",
        "a",
        "The",
        "b's",
        "中",
        "。",
        "é",
        "e\u{301}",
        "\u{212a}",
        "1",
        "!",
        "'",
        "'re",
        "/",
        "\u{3000}",
        "\u{85}",
        "\r",
        "\t",
        "\u{301}",
        "<|endoftext|>",
        "the",
        " x",
        "  ",
        "\n\n",
        "丿",
        "\u{4dc0}",
        "\u{9fff}",
    ];
    for (name, normalizer, pre) in families() {
        let mut places = [0, 0];
        for round in 0..8 {
            let json = small(&mut r, normalizer, &pre, round % 2 == 0, round % 4 > 1);
            let special = POLICIES[round / 4];
            let options = Options { special_in_text: special, simd: None };
            let t = FastTokenizer::from_json(json.as_bytes(), &options).unwrap();
            let state = &mut ThreadState::new(0);
            for _ in 0..documents().map_or(150, |n| n / 8) {
                let dense: String = (0..r.below(60)).map(|_| r.one(&pieces)).collect();
                let document = if r.below(2) == 0 { dense } else { text(&mut r, 20) };
                let whole = t.encode(state, &document).unwrap();
                let mut before = 0;
                for end in 0..=document.len() {
                    // Also where the beginning ends within a character.
                    let at = t.cut(&document.as_bytes()[..end]);
                    assert!(at == 0 || (before <= at && at < end), "{name} {document:?}: {at} of {end}");
                    if at > before {
                        let (first, second) = document.split_at(at);
                        let mut parts = t.encode(state, first).unwrap();
                        parts.extend(t.encode(state, second).unwrap());
                        assert!(
                            parts == whole,
                            "{name} {special:?} {first:?} {second:?}: {parts:?}, not {whole:?}"
                        );
                        places[usize::from(second.starts_with(' '))] += 1;
                    }
                    before = at;
                }
            }
        }
        println!("{name}: {places:?} places");
        assert!(
            places.iter().all(|n| (*n > 20) != pre.contains(r#""add_prefix_space":true"#)),
            "{name}: {places:?}"
        );
    }
}

#[test]
fn special_tokens_that_are_errors() {
    let mut r = Random(seed());
    let mut json: serde_json::Value =
        serde_json::from_str(&small(&mut r, "null", &families()[3].2, true, false)).unwrap();
    let size = json["model"]["vocab"].as_object().unwrap().len();
    json["added_tokens"] = serde_json::json!([
        {"id": size, "content": "<|stop|>", "special": true, "normalized": false},
        {"id": size + 1, "content": "<|thought|>", "special": false, "normalized": false},
    ]);
    let options = Options { special_in_text: SpecialInText::Error, simd: None };
    let t = FastTokenizer::from_json(json.to_string().as_bytes(), &options).unwrap();
    let found = t.encode(&mut ThreadState::new(0), "a <|thought|> <|stop|>").unwrap_err();
    assert_eq!(found.position, 14);
}

#[test]
fn what_is_not_recognised_is_named() {
    let mut r = Random(seed());
    let part =
        |json: String| FastTokenizer::from_json(json.as_bytes(), &Options::default()).err().unwrap().part;
    let mut with = |normalizer: &str, pre: &str| part(small(&mut r, normalizer, pre, false, false));
    let cl100k = &families()[3].2;
    assert_eq!(with(r#"{"type":"NFKC"}"#, cl100k), "normalizer NFKC");
    assert_eq!(with("null", &split(r"\p{L}+")), "the regex of pre_tokenizer Split");
    assert_eq!(with("null", "null"), "no pre_tokenizer");
    let merged = cl100k.replace("Isolated", "MergedWithPrevious");
    assert_eq!(with("null", &merged), "pre_tokenizer [Split, ByteLevel]");
    // DeepSeek's regexes leave some characters out, so it makes a difference what is done with those.
    let removed = families()[7].2.replace(r#"Isolated","invert":false"#, r#"Removed","invert":true"#);
    assert_eq!(with("null", &removed), "pre_tokenizer [Split, Split, Split, ByteLevel]");
    let mut twice: serde_json::Value =
        serde_json::from_str(&small(&mut r, "null", cl100k, false, false)).unwrap();
    twice["model"]["vocab"]["a"] = 98.into();
    assert_eq!(part(twice.to_string()), "a vocabulary with an entry or an id that stands twice");
}
