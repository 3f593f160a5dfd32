//! The long run: the fast engine against Hugging Face's crate over many short documents, encoded in batches.
//!
//! ```text
//!     QUERN_DOCUMENTS=10000000 cargo test --release -p quern-fast --test long -- --ignored --nocapture
//! ```
//!
//! compares that many documents a family; QUERN_FAMILY=NAME takes one family, QUERN_TOKENIZERS=FOLDER the
//! tokenizers of FOLDER/NAME/tokenizer.json (QUERN_FAMILY=NAME: one of them) in place of small ones. The judge
//! takes nearly all of the time: a document is encoded once by it, and once by every level. Every run prints its
//! seed; QUERN_SEED repeats it.
mod common;

use common::*;
use quern_fast::{FastTokenizer, Options, Simd, SpecialInText, ThreadState};
use std::collections::HashMap;
use std::time::Instant;
use tokenizers::{Model, OffsetReferential, OffsetType, PreTokenizer, Tokenizer};

/// Documents of a batch, unless they are long ones.
const BATCH: usize = 4096;
/// Bytes of the caches: the least there is, which evicts all the time; the second level's size; the usual one.
const CACHES: [usize; 3] = [0, 1 << 20, 8 << 20];
/// Batches until the states are new ones.
const WARM: usize = 48;
/// Documents of one small vocabulary.
const VOCABULARY: usize = 250_000;
/// Documents until the judge's parts are held to the whole.
const WHOLE: usize = 64;
/// Pre-tokens whose ids are kept.
const KEPT: usize = 1 << 16;
const POLICIES: [SpecialInText; 2] = [SpecialInText::Text, SpecialInText::Token];

/// Hugging Face's crate, its parts called as `encode_fast` calls them. Left out is what makes no ids; ids that
/// its model gave for a pre-token are kept, as its own cache keeps them.
struct Judge {
    whole: Tokenizer,
    pre_tokens: HashMap<String, Box<[u32]>>,
    asked: usize,
}

impl Judge {
    fn new(json: &str, special: SpecialInText) -> Judge {
        Judge { whole: judge(json, special), pre_tokens: HashMap::new(), asked: 0 }
    }

    /// Appends the ids of a document.
    fn encode(&mut self, text: &str, ids: &mut Vec<u32>) {
        let t = &self.whole;
        let mut pieces = t.get_added_vocabulary().extract_and_normalize(t.get_normalizer(), text);
        t.get_pre_tokenizer().unwrap().pre_tokenize(&mut pieces).unwrap();
        let begin = ids.len();
        for (piece, _, tokens) in pieces.get_splits(OffsetReferential::Normalized, OffsetType::None) {
            if let Some(tokens) = tokens {
                ids.extend(tokens.iter().map(|t| t.id));
            } else if let Some(known) = self.pre_tokens.get(piece) {
                ids.extend(known);
            } else {
                let made = t.get_model().tokenize(piece).unwrap();
                ids.extend(made.iter().map(|t| t.id));
                if self.pre_tokens.len() < KEPT {
                    self.pre_tokens.insert(piece.into(), made.iter().map(|t| t.id).collect());
                }
            }
        }
        self.asked += 1;
        if self.asked.is_multiple_of(WHOLE) {
            assert_eq!(t.encode_fast(text, false).unwrap().get_ids(), &ids[begin..], "{text:?}");
        }
    }
}

/// What a family has seen.
#[derive(Default)]
struct Seen {
    documents: usize,
    bytes: usize,
    ids: usize,
    vocabularies: usize,
}

impl Seen {
    /// Compares so many generated documents under one vocabulary.
    fn compare(&mut self, name: &str, json: &str, special: SpecialInText, r: &mut Random, documents: usize) {
        let mut judge = Judge::new(json, special);
        let engine = |simd| {
            FastTokenizer::from_json(json.as_bytes(), &Options { special_in_text: special, simd }).unwrap()
        };
        let engines: Vec<FastTokenizer> = Simd::all().into_iter().map(|s| engine(Some(s))).collect();
        let fresh = || engines.iter().map(|_| CACHES.map(ThreadState::new)).collect::<Vec<_>>();
        let mut states = fresh();
        let mut guarded = Guarded::new();
        let (mut text, mut wanted) = (String::new(), vec![]);
        let (mut ids, mut id_offsets) = (vec![0; 1 << 20], vec![]);
        let (mut done, mut batch) = (0, 0);
        while done < documents {
            text.clear();
            wanted.clear();
            let (mut offsets, mut ends) = (vec![0], vec![0]);
            while offsets.len() <= BATCH.min(documents - done) && text.len() < 1 << 19 {
                let begin = text.len();
                short(r, &mut text);
                judge.encode(&text[begin..], &mut wanted);
                offsets.push(text.len() as i64);
                ends.push(wanted.len() as i64);
            }
            if batch % WARM == WARM - 1 {
                states = fresh();
            }
            let guarded = guarded.put(&text);
            id_offsets.resize(offsets.len(), 0);
            ids.resize(ids.len().max(wanted.len()), 0);
            for (i, (t, states)) in engines.iter().zip(&mut states).enumerate() {
                let state = &mut states[(batch + i) % CACHES.len()];
                let n = t.encode_batch(state, guarded, &offsets, &mut ids, &mut id_offsets).unwrap();
                if n != wanted.len() || ids[..n] != wanted || id_offsets != ends {
                    let got = |i: usize| ids.get(id_offsets[i] as usize..id_offsets[i + 1] as usize);
                    let right = |i: usize| &wanted[ends[i] as usize..ends[i + 1] as usize];
                    let first = (0..ends.len() - 1).find(|i| got(*i) != Some(right(*i))).unwrap();
                    let document = &text[offsets[first] as usize..offsets[first + 1] as usize];
                    differs(name, t, special, done + first, document, got(first), right(first));
                }
            }
            done += offsets.len() - 1;
            batch += 1;
            self.bytes += text.len();
            self.ids += wanted.len();
        }
        self.documents += done;
        self.vocabularies += 1;
    }

    fn report(&self, name: &str, seed: u64, begin: Instant) {
        let seconds = begin.elapsed().as_secs_f64();
        println!(
            "{name}: {} documents, {} bytes, {} ids, {} vocabularies, levels {:?}, seed {seed}: no difference, \
             {seconds:.0} s, {:.1} us a document",
            self.documents,
            self.bytes,
            self.ids,
            self.vocabularies,
            Simd::all(),
            seconds * 1e6 / self.documents as f64,
        );
    }
}

/// Appends a document of up to five pieces: mostly 5 to 40 bytes, some of hundreds, a few empty.
fn short(r: &mut Random, text: &mut String) {
    if r.below(500) > 0 {
        text.push_str(&common::text(r, 5));
    }
}

fn differs(
    name: &str,
    t: &FastTokenizer,
    special: SpecialInText,
    number: usize,
    document: &str,
    got: Option<&[u32]>,
    wanted: &[u32],
) -> ! {
    let alone = t.encode(&mut ThreadState::new(0), document).unwrap();
    panic!(
        "{name} {:?} {special:?}, document {number} of its vocabulary: {document:?}\n  {got:?}\nand not\n  \
         {wanted:?}\nalone, with a fresh state:\n  {alone:?}",
        t.simd()
    );
}

/// Families and seeds do not depend on one another: a seed with QUERN_FAMILY repeats a family.
fn random(seed: u64, name: &str) -> Random {
    let mixed = name.bytes().fold(seed, |s, b| (s ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    Random(mixed | 1)
}

#[test]
#[ignore = "long: README.md says how it is run"]
fn short_documents_in_batches() {
    let seed = seed();
    let documents = documents().unwrap_or(20_000);
    let only = std::env::var("QUERN_FAMILY").ok();
    let asked = |name: &str| only.as_ref().is_none_or(|only| only == name);
    if let Some(folder) = std::env::var_os("QUERN_TOKENIZERS") {
        let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap().to_str().unwrap();
            let Ok(json) = std::fs::read_to_string(path.join("tokenizer.json")) else { continue };
            if !asked(name) {
                continue;
            }
            if let Err(e) = FastTokenizer::from_json(json.as_bytes(), &Options::default()) {
                println!("{name}: {e}");
                continue;
            }
            let (begin, mut seen, mut r) = (Instant::now(), Seen::default(), random(seed, name));
            for special in POLICIES {
                seen.compare(name, &json, special, &mut r, documents.div_ceil(2));
            }
            seen.report(name, seed, begin);
        }
        return;
    }
    for (name, normalizer, pre) in families().iter().filter(|f| asked(f.0)) {
        let (begin, mut seen, mut r) = (Instant::now(), Seen::default(), random(seed, name));
        let vocabularies = documents.div_ceil(VOCABULARY).max(4);
        for i in 0..vocabularies {
            let json = small(&mut r, normalizer, pre, i % 2 == 0, i % 4 > 1);
            let special = POLICIES[(i / 4 + i) % 2];
            seen.compare(name, &json, special, &mut r, documents.div_ceil(vocabularies));
        }
        seen.report(name, seed, begin);
    }
}
