//! The reference engine against plain calls of Hugging Face's crate, for a small tokenizer of every family.
//!
//! The tokenizers are trained here, so there are no files to keep in step with the crate. Texts are random; each test
//! prints the line that repeats it.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use quern_engine::{Encode, EngineChoice, Format, Kind, Options, SpecialTokensInText, Tokenizer};
use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::unigram::{Unigram, UnigramTrainer};
use tokenizers::models::wordlevel::{WordLevel, WordLevelTrainer};
use tokenizers::models::wordpiece::{WordPiece, WordPieceTrainer};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::pre_tokenizers::whitespace::Whitespace;
use tokenizers::processors::sequence::Sequence as Processors;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::{AddedToken, ModelWrapper};

type Judge = tokenizers::Tokenizer;

struct Random(u64);

impl Random {
    /// Seeded anew each time, or by QUERN_SEED; prints how to repeat.
    fn new(test: &str) -> Random {
        let seed = std::env::var("QUERN_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed
            .unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_nanos() as u64 | 1));
        println!("to repeat: QUERN_SEED={seed} cargo test -p quern-engine --test judge {test}");
        Random(seed)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    /// A text of what has gone wrong in tokenizers before: see the list of pieces.
    fn text(&mut self) -> String {
        let pieces = [
            "the",
            "Quick",
            " brown",
            " fox",
            "fox's",
            "WE'LL",
            "don\u{2019}t",
            "ſ",
            "'\u{17f}",
            " ",
            "  ",
            "\n",
            "\r\n",
            "\t",
            "\u{a0}",
            "\u{3000}",
            "1",
            "1234567",
            "٣",
            "½",
            "é",
            "e\u{301}",
            "ﬁ",
            "日本語",
            "한국어",
            "ключ",
            "हिन्दी",
            "😀",
            "👩\u{200d}👩",
            "<s>",
            "</s>",
            "[CLS]",
            "[SEP]",
            " [MASK] ",
            "<|x|>",
            "<|x",
            "<|x|>é",
            "<mask>",
            "<é>",
            "<e\u{301}>",
            "<日本>",
            "<add>",
            "adds",
            "\u{0}",
            "\u{fffd}",
            "\u{feff}",
            "{}();",
            "==",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "ß",
            "İ",
            "\u{1fbd}",
            "\u{10ffff}",
            "_",
            "-",
            "▁",
            "Ġ",
            "##a",
        ];
        (0..self.below(30)).map(|_| pieces[self.below(pieces.len())]).collect()
    }
}

fn training_text() -> Vec<String> {
    let mut random = Random(7);
    (0..300).map(|_| random.text()).collect()
}

fn train(judge: &mut Judge, trainer: impl Into<TrainerWrapper>) {
    let mut trainer: TrainerWrapper = trainer.into();
    judge.train(&mut trainer, training_text().into_iter()).unwrap();
}

fn special(content: &str) -> AddedToken {
    AddedToken::from(content, true)
}

/// A tokenizer.json of each family, by name.
fn families() -> Vec<(&'static str, String)> {
    let mut families = Vec::new();
    let mut add = |name, judge: &Judge| families.push((name, judge.to_string(false).unwrap()));

    let mut byte_level = Judge::new(BPE::default());
    byte_level.with_normalizer(Some(NFC)).unwrap();
    byte_level.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    byte_level.with_decoder(Some(ByteLevel::default()));
    byte_level.with_post_processor(Some(ByteLevel::new(false, true, true)));
    let alphabet = ByteLevel::alphabet().into_iter().collect();
    train(
        &mut byte_level,
        BpeTrainer::builder().vocab_size(500).initial_alphabet(alphabet).show_progress(false).build(),
    );
    byte_level.add_special_tokens([special("<|x|>"), special("<mask>").lstrip(true)]).unwrap();
    byte_level
        .add_tokens([AddedToken::from("<add>", false), AddedToken::from("aaa", false).single_word(true)])
        .unwrap();
    add("byte-level BPE", &byte_level);

    let mut whole_words = byte_level.clone();
    let ModelWrapper::BPE(mut model) = byte_level.get_model().clone() else { unreachable!() };
    model.ignore_merges = true;
    whole_words.with_model(model);
    add("byte-level BPE with ignore_merges", &whole_words);

    families.extend(byte_level_families(&byte_level));
    let mut add = |name, judge: &Judge| families.push((name, judge.to_string(false).unwrap()));

    let bytes: Vec<AddedToken> =
        (0..=255_u8).map(|byte| AddedToken::from(format!("<{byte:#04X}>"), false)).collect();
    let mut sentence_piece = Judge::new(BPE::builder().unk_token("<unk>".into()).build().unwrap());
    sentence_piece.with_pre_tokenizer(Some(Metaspace::new('▁', PrependScheme::First, false)));
    let mut start = vec![special("<unk>"), special("<s>"), special("</s>")];
    start.extend(bytes);
    train(
        &mut sentence_piece,
        BpeTrainer::builder()
            .vocab_size(600)
            .limit_alphabet(60)
            .special_tokens(start)
            .show_progress(false)
            .build(),
    );
    let ModelWrapper::BPE(model) = sentence_piece.get_model() else { unreachable!() };
    let mut model = model.clone();
    model.byte_fallback = true;
    model.fuse_unk = true;
    // The 256 bytes are for the model alone: as added tokens they would match in the text.
    let vocabulary = serde_json_value(&ModelWrapper::BPE(model));
    let mut sentence_piece = Judge::new(serde_model(vocabulary));
    sentence_piece.with_pre_tokenizer(Some(Metaspace::new('▁', PrependScheme::First, false)));
    let decoders: Vec<DecoderWrapper> =
        vec![ByteFallback::default().into(), Metaspace::new('▁', PrependScheme::First, false).into()];
    sentence_piece.with_decoder(Some(Decoders::new(decoders)));
    sentence_piece.add_special_tokens([special("<unk>"), special("<s>"), special("</s>")]).unwrap();
    let (bos, eos) =
        (sentence_piece.token_to_id("<s>").unwrap(), sentence_piece.token_to_id("</s>").unwrap());
    sentence_piece.with_post_processor(Some(template("<s> $A </s>", &[("<s>", bos), ("</s>", eos)])));
    add("SentencePiece BPE", &sentence_piece);

    let mut word_piece = Judge::new(WordPiece::builder().unk_token("[UNK]".into()).build().unwrap());
    word_piece.with_normalizer(Some(BertNormalizer::default())).unwrap();
    word_piece.with_pre_tokenizer(Some(BertPreTokenizer));
    word_piece.with_decoder(Some(WordPieceDecoder::default()));
    let start = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(special).to_vec();
    train(
        &mut word_piece,
        WordPieceTrainer::builder().vocab_size(300).special_tokens(start).show_progress(false).build(),
    );
    let (cls, sep) = (word_piece.token_to_id("[CLS]").unwrap(), word_piece.token_to_id("[SEP]").unwrap());
    word_piece.with_post_processor(Some(template("[CLS] $A [SEP]", &[("[CLS]", cls), ("[SEP]", sep)])));
    add("WordPiece", &word_piece);

    let mut unigram = Judge::new(Unigram::default());
    unigram.with_pre_tokenizer(Some(Metaspace::new('▁', PrependScheme::Always, true)));
    unigram.with_decoder(Some(Metaspace::new('▁', PrependScheme::Always, true)));
    let start = ["<unk>", "<s>", "</s>"].map(special).to_vec();
    let trainer = UnigramTrainer::builder()
        .vocab_size(300)
        .special_tokens(start)
        .unk_token(Some("<unk>".into()))
        .show_progress(false)
        .build()
        .unwrap();
    train(&mut unigram, trainer);
    let eos = unigram.token_to_id("</s>").unwrap();
    unigram.with_post_processor(Some(template("$A </s>", &[("</s>", eos)])));
    add("Unigram", &unigram);

    let mut word_level = Judge::new(WordLevel::builder().unk_token("[UNK]".into()).build().unwrap());
    word_level.with_pre_tokenizer(Some(Whitespace {}));
    let start = vec![special("[UNK]"), special("[SEP]")];
    train(
        &mut word_level,
        WordLevelTrainer::builder()
            .vocab_size(100)
            .special_tokens(start)
            .show_progress(false)
            .build()
            .unwrap(),
    );
    add("WordLevel", &word_level);
    families
}

/// Those that the fast engine serves, with the model of `trained`: in the style of GPT-2, Llama 3, Qwen and others.
fn byte_level_families(trained: &Judge) -> Vec<(&'static str, String)> {
    let ModelWrapper::BPE(model) = trained.get_model().clone() else { unreachable!() };
    let split = |pattern: &str| -> PreTokenizerWrapper {
        let pattern = SplitPattern::Regex(pattern.into());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false).unwrap();
        Sequence::new(vec![split.into(), ByteLevel::new(false, true, false).into()]).into()
    };
    let mut families = Vec::new();
    for (name, pre_tokenizer) in [
        ("GPT-2", ByteLevel::new(false, true, true).into()),
        ("a blank in front", ByteLevel::new(true, true, true).into()),
        ("Llama 3", split(CL100K)),
        ("Qwen", split(&CL100K.replace("{1,3}", ""))),
        ("o200k", split(O200K)),
    ] {
        let mut model = model.clone();
        model.ignore_merges = matches!(name, "Llama 3" | "o200k");
        let mut judge = Judge::new(model);
        judge.with_pre_tokenizer(Some(pre_tokenizer));
        judge.with_decoder(Some(ByteLevel::default()));
        if name == "Qwen" {
            judge.with_normalizer(Some(NFC)).unwrap();
        }
        // Of all kinds: entries of the vocabulary, beginnings of each other, in and out of the bytes' alphabet.
        judge
            .add_special_tokens([
                special("<|x|>"),
                special("<mask>").lstrip(true),
                special("<s>").rstrip(true),
                special("<é>").normalized(name == "Qwen"),
            ])
            .unwrap();
        judge
            .add_tokens([
                AddedToken::from("<add>", false).lstrip(true).rstrip(true),
                AddedToken::from("adds", false),
                AddedToken::from("the", false).normalized(false),
                AddedToken::from("<|x", false).normalized(false),
                AddedToken::from("<日本>", false),
            ])
            .unwrap();
        let (bos, eos) = (judge.token_to_id("<s>").unwrap(), judge.token_to_id("<|x|>").unwrap());
        let ends = template("<s> $A <|x|> <s>", &[("<s>", bos), ("<|x|>", eos)]);
        match name {
            "Llama 3" => {
                let steps = vec![ByteLevel::new(true, true, true).into(), ends.into()];
                judge.with_post_processor(Some(Processors::new(steps)))
            }
            "o200k" => judge.with_post_processor(Some(ends)),
            _ => judge.with_post_processor(Some(ByteLevel::new(name != "GPT-2", name != "Qwen", true))),
        };
        families.push((name, judge.to_string(false).unwrap()));
    }
    families
}

const GPT2: &str = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// tiktoken's texts since its version 0.8.
const NEW_GPT2: &str = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s";
const NEW_CL100K: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s";

/// Files that the fast engine serves, and their options.
fn fast_files() -> Vec<(String, Vec<u8>, Options)> {
    let families = families();
    let find = |wanted: &str| families.iter().find(|(name, _)| *name == wanted).unwrap().1.clone();
    let mut files = Vec::new();
    for name in ["GPT-2", "a blank in front", "Llama 3", "Qwen", "o200k"] {
        files.push((name.to_string(), find(name).into_bytes(), Options::new(Format::HuggingFace)));
    }
    // The same entries as ranks.
    let judge = Judge::from_bytes(find("GPT-2")).unwrap();
    let mut entries: Vec<(u32, String)> =
        judge.get_vocab(false).into_iter().map(|(entry, id)| (id, entry)).collect();
    entries.sort();
    let ranks: String = entries
        .iter()
        .map(|(id, entry)| {
            let bytes: Vec<u8> = entry.chars().map(byte_of).collect();
            format!("{} {id}\n", BASE64.encode(bytes))
        })
        .collect();
    for (name, pattern) in [
        ("r50k", GPT2),
        ("cl100k", CL100K),
        ("o200k", O200K),
        ("r50k, new text", NEW_GPT2),
        ("cl100k, new text", NEW_CL100K),
    ] {
        let special = ["<|x|>", "<|x", "<mask>", "<é>", "the"];
        let special_tokens = special.iter().zip(5000..).map(|(token, id)| (token.to_string(), id));
        let options = Options {
            pattern: Some(pattern.into()),
            special_tokens: special_tokens.collect(),
            ..Options::new(Format::Tiktoken)
        };
        files.push((format!("tiktoken, {name}"), ranks.clone().into_bytes(), options));
    }
    files
}

/// The byte that a character of GPT-2's alphabet stands for.
fn byte_of(letter: char) -> u8 {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..);
    match u8::try_from(letter) {
        Ok(byte) => byte,
        Err(_) => (0..=255).filter(|byte| !printable(byte)).nth(letter as usize - 256).unwrap(),
    }
}

/// Two engines, one tokenizer: the answer to every call is the same, errors and their positions included.
#[test]
fn every_call_is_the_references() {
    let mut random = Random::new("every_call_is_the_references");
    for (name, file, options) in fast_files() {
        for policy in [SpecialTokensInText::Text, SpecialTokensInText::Token, SpecialTokensInText::Error] {
            let with = |engine| {
                let options = Options { engine, special_tokens_in_text: policy, ..options.clone() };
                Tokenizer::load(&file, &options).unwrap_or_else(|error| panic!("{name}: {error:?}"))
            };
            let auto = with(EngineChoice::Auto).description();
            assert!(auto.contains(r#""engine":"fast""#), "{name}: {auto}");
            let (fast, reference) = (with(EngineChoice::Fast), with(EngineChoice::Reference));
            let [of_fast, of_reference] = [&fast, &reference].map(|tokenizer| {
                serde_json::from_str::<serde_json::Value>(&tokenizer.description()).unwrap()
            });
            for key in ["format", "model", "vocabulary_size", "content_hash", "notices"] {
                assert_eq!(of_fast[key], of_reference[key], "{name}: {key}");
            }
            assert_eq!(
                (&of_reference["engine"], &of_reference["simd"]),
                (&"reference".into(), &"none".into())
            );
            assert!(["avx512", "avx2", "neon", "portable"].contains(&of_fast["simd"].as_str().unwrap()));
            for _ in 0..200 {
                let text = random.text();
                let mut bytes = text.clone().into_bytes();
                if random.below(4) == 0 && !bytes.is_empty() {
                    bytes[random.below(text.len())] = random.below(256) as u8;
                }
                for add_special_tokens in [false, true] {
                    for replace_invalid in [false, true] {
                        let how = Encode { add_special_tokens, replace_invalid };
                        let [(found, counted), (expected, _)] = [&fast, &reference].map(|tokenizer| {
                            let mut ids = vec![0; 4 * bytes.len() + 16];
                            let mut spans = vec![[-1, -1]; ids.len()];
                            let plain = tokenizer.encode(&bytes, how, &mut ids).inspect(|n| ids.truncate(*n));
                            let mut again = vec![0; spans.len()];
                            let count = tokenizer.encode_with_offsets(&bytes, how, &mut again, &mut spans);
                            assert_eq!(plain, count, "{name}: {bytes:?}");
                            if let Ok(n) = count {
                                assert_eq!(ids, again[..n], "{name}: {bytes:?}");
                                spans.truncate(n);
                                // Too little room is told by the number, and nothing behind the room is written.
                                let mut little = vec![7; n + 3];
                                let room = n.saturating_sub(1);
                                assert_eq!(tokenizer.encode(&bytes, how, &mut little[..room]), Ok(n));
                                assert!(little[room..].iter().all(|id| *id == 7));
                            }
                            (plain.map(|_| (ids, spans)), tokenizer.count(&bytes, how))
                        });
                        assert_eq!(found, expected, "{name}, {policy:?}, {how:?}: {text:?} {bytes:?}");
                        assert_eq!(counted, expected.map(|(ids, _)| ids.len()), "{name}: {bytes:?}");
                    }
                }
                let ids: Vec<u32> = (0..random.below(20)).map(|_| random.below(520) as u32).collect();
                for skip in [false, true] {
                    assert_eq!(fast.decode(&ids, skip), reference.decode(&ids, skip), "{name}: {ids:?}");
                }
            }
            for id in (0..600).chain(4990..5010) {
                for skip in [false, true] {
                    let token = reference.decode(&[id], skip);
                    assert_eq!(fast.decode(&[id], skip), token, "{name}: {id}");
                }
            }
            let judge = Judge::from_bytes(&fast_files()[0].1).unwrap();
            let entries =
                judge.get_vocab(true).into_keys().chain(["", " ", "é", "no token"].map(String::from));
            for entry in entries {
                for token in [entry.as_bytes(), &entry.chars().map(|c| c as u8).collect::<Vec<_>>()] {
                    assert_eq!(fast.token_id(token), reference.token_id(token), "{name}: {token:?}");
                }
            }
        }
    }
}

/// A batch is its documents one by one, by either engine: ids and where they end, or the first that is refused and why.
#[test]
fn a_batch_is_its_documents() {
    let mut random = Random::new("a_batch_is_its_documents");
    let (mut invalid, mut special) = (0, 0);
    for (name, file, options) in fast_files() {
        for policy in [SpecialTokensInText::Text, SpecialTokensInText::Token, SpecialTokensInText::Error] {
            let [fast, reference] = [EngineChoice::Fast, EngineChoice::Reference].map(|engine| {
                let options = Options { engine, special_tokens_in_text: policy, ..options.clone() };
                Tokenizer::load(&file, &options).unwrap_or_else(|error| panic!("{name}: {error:?}"))
            });
            for round in 0..30 {
                let mut bytes = random.text().into_bytes();
                let mut offsets = vec![bytes.len() as i64];
                for _ in 0..random.below(20) {
                    match random.below(4) {
                        0 => {}
                        1 => bytes.extend(random.text().chars().take(1).collect::<String>().bytes()),
                        _ => bytes.extend(random.text().bytes()),
                    }
                    offsets.push(bytes.len() as i64);
                }
                let (begin, end) = (offsets[0] as usize, bytes.len());
                match round % 4 {
                    // A byte that is wrong where it is, or a document that ends inside of a character: of both.
                    0 if begin < end => {
                        bytes[begin + random.below(end - begin)] = 128 + random.below(128) as u8
                    }
                    1 if offsets.len() > 2 => {
                        let at = 1 + random.below(offsets.len() - 2);
                        offsets[at] -= (offsets[at] - offsets[at - 1]).min(1);
                    }
                    _ => {}
                }
                bytes.extend(random.text().bytes());
                for (add_special_tokens, replace_invalid) in
                    [(false, false), (false, true), (true, false), (true, true)]
                {
                    let how = Encode { add_special_tokens, replace_invalid };
                    let mut expected = Ok((Vec::<u32>::new(), vec![0_i64]));
                    for (index, pair) in offsets.windows(2).enumerate() {
                        let document = &bytes[pair[0] as usize..pair[1] as usize];
                        let mut alone = vec![0; 4 * document.len() + 16];
                        match reference.encode(document, how, &mut alone) {
                            Ok(n) => {
                                let (ids, ends) = expected.as_mut().unwrap();
                                ids.extend(&alone[..n]);
                                ends.push(ids.len() as i64);
                            }
                            Err(error) => {
                                invalid += (error.kind == Kind::InvalidUtf8) as usize;
                                special += (error.kind == Kind::SpecialToken) as usize;
                                expected = Err((index, error));
                                break;
                            }
                        }
                    }
                    let all = expected.as_ref().map_or(bytes.len(), |(ids, _)| ids.len());
                    for tokenizer in [&fast, &reference] {
                        for room in [all + 5, all, random.below(all + 1), 0] {
                            let mut ids = vec![u32::MAX; room + 5];
                            let mut ends = vec![-1; offsets.len()];
                            let found =
                                tokenizer.encode_batch(&bytes, &offsets, how, &mut ids[..room], &mut ends);
                            let what = || {
                                format!("{name}, {policy:?}, {how:?}, room for {room}: {offsets:?} {bytes:?}")
                            };
                            assert!(ids[room..].iter().all(|id| *id == u32::MAX), "{}", what());
                            match &expected {
                                Err(error) => assert_eq!(found.as_ref(), Err(error), "{}", what()),
                                Ok((expected, all_ends)) => {
                                    assert_eq!(found, Ok(all), "{}", what());
                                    assert_eq!(&ends, all_ends, "{}", what());
                                    assert!(room < all || ids[..all] == *expected, "{}", what());
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(invalid > 100 && special > 100, "the documents must have errors: {invalid}, {special}");
}

#[test]
fn a_part_that_the_fast_engine_does_not_know_is_named() {
    for (name, json) in families() {
        let options = Options { engine: EngineChoice::Fast, ..Options::new(Format::HuggingFace) };
        let part = match name {
            "SentencePiece BPE" => "byte_fallback",
            "WordPiece" | "Unigram" | "WordLevel" => name,
            _ => continue,
        };
        let error = Tokenizer::load(json.as_bytes(), &options).unwrap_err();
        assert_eq!(error.kind, Kind::Unsupported);
        assert!(error.message.contains(part) && error.message.contains("\"reference\""), "{}", error.message);
        let auto = load(&json, SpecialTokensInText::Text).description();
        assert!(auto.contains(r#""engine":"reference""#) && auto.contains(part), "{auto}");
    }
    // A file that no engine can read has the same message from all.
    for engine in [EngineChoice::Auto, EngineChoice::Fast, EngineChoice::Reference] {
        let options = Options { engine, ..Options::new(Format::HuggingFace) };
        let error = Tokenizer::load(b"{}", &options).unwrap_err();
        assert!(error.message.starts_with("the file can't be loaded"), "{}", error.message);
    }
    // What is asked for decides too.
    let (_, file, options) = fast_files().swap_remove(2);
    let mut judge = Judge::from_bytes(&file).unwrap();
    judge.with_padding(Some(tokenizers::PaddingParams::default()));
    let file = judge.to_string(false).unwrap();
    let auto = |padding| {
        Tokenizer::load(file.as_bytes(), &Options { padding, ..options.clone() }).unwrap().description()
    };
    assert!(
        auto(false).contains(r#""engine":"fast""#) && auto(false).contains("padding in the file is ignored")
    );
    assert!(
        auto(true).contains(r#""engine":"reference""#)
            && auto(true).contains("a part of the tokenizer: padding")
    );
    judge.with_decoder(None::<DecoderWrapper>);
    let error = Tokenizer::load(
        judge.to_string(false).unwrap().as_bytes(),
        &Options { engine: EngineChoice::Fast, ..options.clone() },
    );
    assert!(error.unwrap_err().message.contains("a decoder that is not ByteLevel"));
}

fn template(pattern: &str, tokens: &[(&str, u32)]) -> TemplateProcessing {
    let tokens: Vec<(String, u32)> = tokens.iter().map(|(token, id)| (token.to_string(), *id)).collect();
    TemplateProcessing::builder().try_single(pattern).unwrap().special_tokens(tokens).build().unwrap()
}

fn serde_json_value(model: &ModelWrapper) -> String {
    serde_json::to_string(model).unwrap()
}

fn serde_model(json: String) -> ModelWrapper {
    serde_json::from_str(&json).unwrap()
}

fn options(policy: SpecialTokensInText) -> Options {
    Options { special_tokens_in_text: policy, ..Options::new(Format::HuggingFace) }
}

fn load(json: &str, policy: SpecialTokensInText) -> Tokenizer {
    Tokenizer::load(json.as_bytes(), &options(policy)).unwrap()
}

fn ids(tokenizer: &Tokenizer, text: &str, how: Encode) -> Vec<u32> {
    let mut ids = vec![0; 4 * text.len() + 16];
    let count = tokenizer.encode(text.as_bytes(), how, &mut ids).unwrap();
    ids.truncate(count);
    ids
}

const PLAIN: Encode = Encode { add_special_tokens: false, replace_invalid: false };
const WITH_SPECIAL: Encode = Encode { add_special_tokens: true, replace_invalid: false };

#[test]
fn ids_and_offsets_are_the_judges() {
    let mut random = Random::new("ids_and_offsets_are_the_judges");
    for (name, json) in families() {
        for policy in [SpecialTokensInText::Text, SpecialTokensInText::Token] {
            // Straight from the file, caches and all.
            let mut judge = Judge::from_bytes(&json).unwrap();
            judge.set_encode_special_tokens(policy == SpecialTokensInText::Text);
            let tokenizer = load(&json, policy);
            for _ in 0..150 {
                let text = random.text();
                for how in [PLAIN, WITH_SPECIAL] {
                    let expected = judge.encode(text.as_str(), how.add_special_tokens).unwrap();
                    assert_eq!(
                        ids(&tokenizer, &text, how),
                        expected.get_ids(),
                        "{name}, {policy:?}: {text:?}"
                    );
                    assert_eq!(tokenizer.count(text.as_bytes(), how), Ok(expected.len()));
                    let mut found = vec![0; expected.len()];
                    let mut spans = vec![[-1, -1]; expected.len()];
                    let count = tokenizer.encode_with_offsets(text.as_bytes(), how, &mut found, &mut spans);
                    assert_eq!(count, Ok(expected.len()));
                    assert_eq!(found, expected.get_ids(), "{name}, {policy:?}: {text:?}");
                    let offsets: Vec<[i64; 2]> = expected
                        .get_offsets()
                        .iter()
                        .map(|(begin, end)| [*begin as i64, *end as i64])
                        .collect();
                    assert_eq!(spans, offsets, "{name}, {policy:?}: {text:?}");
                }
            }
        }
    }
}

#[test]
fn decoding_is_the_judges_but_for_unknown_ids() {
    let mut random = Random::new("decoding_is_the_judges_but_for_unknown_ids");
    for (name, json) in families() {
        let judge = Judge::from_bytes(&json).unwrap();
        let tokenizer = load(&json, SpecialTokensInText::Text);
        let size = judge.get_vocab_size(true);
        for _ in 0..100 {
            // Any ids, not only those that a text gives: parts of characters too.
            let ids: Vec<u32> = (0..random.below(20)).map(|_| random.below(size) as u32).collect();
            for skip in [false, true] {
                let expected = judge.decode(&ids, skip).unwrap();
                assert_eq!(tokenizer.decode(&ids, skip).unwrap(), expected.as_bytes(), "{name}: {ids:?}");
            }
        }
        let error = tokenizer.decode(&[0, 0, u32::MAX], false).unwrap_err();
        assert_eq!((error.kind, error.position), (Kind::UnknownId, Some(2)), "{name}");
        for (token, id) in judge.get_vocab(true) {
            assert_eq!(tokenizer.token_id(token.as_bytes()), Some(id));
        }
        assert_eq!(tokenizer.token_id(b"no such token"), None);
        assert_eq!(tokenizer.token_id(b"\xFF"), None);
    }
}

/// "error" refuses exactly the texts in which "token" finds a special token, and names the place.
#[test]
fn the_policy_error_refuses_what_the_policy_token_finds() {
    let mut random = Random::new("the_policy_error_refuses_what_the_policy_token_finds");
    let mut refused = 0;
    for (name, json) in families() {
        let mut judge = Judge::from_bytes(&json).unwrap();
        // It would trim the offsets, and by characters where bytes are meant.
        judge.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
        let special: HashMap<u32, String> = judge
            .get_added_tokens_decoder()
            .into_iter()
            .filter(|(_, token)| token.special)
            .map(|(id, token)| (id, token.content))
            .collect();
        let unknown = judge.token_to_id("<unk>").or(judge.token_to_id("[UNK]"));
        let tokenizer = load(&json, SpecialTokensInText::Error);
        for _ in 0..300 {
            let text = random.text();
            // A model gives its unknown token for other reasons too, and the texts never spell it.
            let expected = judge.encode(text.as_str(), false).unwrap();
            let first = expected
                .get_ids()
                .iter()
                .zip(expected.get_offsets())
                .find(|(id, _)| special.contains_key(id) && Some(**id) != unknown);
            match tokenizer.count(text.as_bytes(), PLAIN) {
                Ok(count) => {
                    assert_eq!(count, expected.len());
                    assert!(first.is_none(), "{name}: {text:?} was not refused");
                }
                Err(error) => {
                    refused += 1;
                    let (id, (begin, end)) = first.unwrap_or_else(|| panic!("{name}: {text:?} was refused"));
                    // Not as it is spelled where the normalizer has made it so.
                    let within = text[*begin..*end].find(&special[id]).unwrap_or(0);
                    assert_eq!(
                        (error.kind, error.position),
                        (Kind::SpecialToken, Some(begin + within)),
                        "{name}: {text:?}"
                    );
                }
            }
        }
    }
    assert!(refused > 50, "the texts must have special tokens: {refused}");
}

#[test]
fn replaced_text_keeps_the_positions_of_its_bytes() {
    for (name, json) in families() {
        let tokenizer = load(&json, SpecialTokensInText::Text);
        let bytes = b"fox\xFF the \xE6\x97 fox\xF0\x9F";
        let how = Encode { add_special_tokens: false, replace_invalid: true };
        let text = String::from_utf8_lossy(bytes).into_owned();
        let mut expected = (vec![0; 100], vec![[0, 0]; 100]);
        let mut found = (vec![0; 100], vec![[0, 0]; 100]);
        let count =
            tokenizer.encode_with_offsets(text.as_bytes(), PLAIN, &mut expected.0, &mut expected.1).unwrap();
        assert_eq!(tokenizer.encode_with_offsets(bytes, how, &mut found.0, &mut found.1), Ok(count));
        assert_eq!(found.0, expected.0, "{name}");
        // Text: fox U+FFFD " the " U+FFFD " fox" U+FFFD; the replacements have 3 bytes there, and 1, 2 and 2 before.
        let source = |position: i64| match position {
            ..=3 => position,
            6..=11 => position - 2,
            14..=18 => position - 3,
            21 => 17,
            _ => panic!("{name}: no boundary of a character: {position}"),
        };
        for (found, expected) in found.1[..count].iter().zip(&expected.1) {
            assert_eq!(*found, expected.map(source), "{name}");
        }
        let error = tokenizer.count(bytes, PLAIN).unwrap_err();
        assert_eq!((error.kind, error.position), (Kind::InvalidUtf8, Some(3)));
    }
}

#[test]
fn truncation_and_padding_only_when_asked() {
    let (_, json) = families().into_iter().find(|(name, _)| *name == "WordPiece").unwrap();
    let mut judge = Judge::from_bytes(&json).unwrap();
    judge
        .with_truncation(Some(tokenizers::TruncationParams { max_length: 5, ..Default::default() }))
        .unwrap()
        .with_padding(Some(tokenizers::PaddingParams {
            strategy: tokenizers::PaddingStrategy::Fixed(12),
            pad_id: 3,
            ..Default::default()
        }));
    let json = judge.to_string(false).unwrap();
    let text = "the quick brown fox the quick brown fox";
    let plain = load(&json, SpecialTokensInText::Text);
    let description = plain.description();
    assert!(description.contains("truncation to 5 tokens in the file is ignored"), "{description}");
    assert!(description.contains("padding in the file is ignored"), "{description}");
    let mut bare = judge.clone();
    bare.with_truncation(None).unwrap().with_padding(None);
    assert_eq!(ids(&plain, text, WITH_SPECIAL), bare.encode(text, true).unwrap().get_ids());
    assert!(ids(&plain, text, PLAIN).len() > 5);

    let asked = Options { truncation: true, padding: true, ..Options::new(Format::HuggingFace) };
    let tokenizer = Tokenizer::load(json.as_bytes(), &asked).unwrap();
    assert!(tokenizer.description().contains("\"notices\":[]"));
    assert_ne!(tokenizer.content_hash(), plain.content_hash());
    for how in [PLAIN, WITH_SPECIAL] {
        assert_eq!(ids(&tokenizer, text, how), judge.encode(text, how.add_special_tokens).unwrap().get_ids());
        assert_eq!(ids(&tokenizer, text, how).len(), 12);
    }
}

#[test]
fn notices_tell_what_the_crate_does_silently() {
    let json = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[
        {"id":1,"content":"b","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},
        {"id":77,"content":"<x>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
        "normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":null,
        "model":{"type":"BPE","dropout":0.5,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,
        "fuse_unk":false,"byte_fallback":false,"ignore_merges":false,"vocab":{"a":0,"b":1},"merges":[]}}"#;
    let tokenizer = load(json, SpecialTokensInText::Text);
    let description = tokenizer.description();
    for part in [
        "1 added token(s) don't get the id that the file declares",
        "the first is declared as 77 and gets 2",
        "a dropout of 0.5",
        "1 special token(s) are also entries that the model itself can produce",
    ] {
        assert!(description.contains(part), "{part}: {description}");
    }
    // The crate is the judge: its id, not the file's.
    assert_eq!(tokenizer.token_id(b"<x>"), Some(2));
}

#[test]
fn bad_files_are_unsupported_and_never_echoed() {
    let model = |model: &str| {
        format!(
            r#"{{"version":"1.0","added_tokens":[],"normalizer":null,"pre_tokenizer":null,"post_processor":null,
            "decoder":null,"model":{model}}}"#
        )
    };
    let secret = "c0ntent";
    for file in [
        String::new(),
        "{".into(),
        secret.into(),
        format!("\"{secret}\""),
        format!("{{\"version\":\"{secret}\"}}"),
        format!("{{\"version\":\"1.0\",\"truncation\":\"{secret}, expected {secret}\"}}"),
        format!("{{\"version\":\"1.0\",\"added_tokens\":[{{\"id\":\"{secret}\"}}]}}"),
        model("null"),
        model("{}"),
        model(&format!(r#"{{"type":"{secret}"}}"#)),
        model(&format!(r#"{{"type":"BPE","vocab":{{"a":0}},"merges":["a {secret}"]}}"#)),
        model(&format!(r#"{{"type":"BPE","vocab":{{"a":0}},"merges":["{secret}"]}}"#)),
        // The crate panics on these: a merge longer than every entry.
        model(r#"{"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b"]}"#),
        model(
            r###"{"type":"BPE","continuing_subword_prefix":"##","vocab":{"a":0,"b":1},"merges":["a b"]}"###,
        ),
        model(r#"{"type":"Unigram","unk_id":7,"vocab":[["a",0.0]]}"#),
        "[".repeat(100_000),
    ] {
        let error = Tokenizer::load(file.as_bytes(), &Options::new(Format::HuggingFace)).unwrap_err();
        let shown: String = file.chars().take(200).collect();
        assert_eq!(error.kind, Kind::Unsupported, "{shown}");
        assert!(error.message.starts_with("the file can't be loaded"), "{}", error.message);
        assert!(!error.message.contains(secret), "{}", error.message);
        println!("{}", error.message);
    }
    let binary: Vec<u8> = (0..=255).collect();
    assert!(Tokenizer::load(&binary, &Options::new(Format::HuggingFace)).is_err());
}

#[test]
fn a_text_without_ids_is_an_error_of_the_text() {
    let json = r#"{"version":"1.0","added_tokens":[],"normalizer":null,"pre_tokenizer":null,"post_processor":null,
        "decoder":null,"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"CONT",
        "max_input_chars_per_word":10,"vocab":{"a":0}}}"#;
    let tokenizer = load(json, SpecialTokensInText::Text);
    assert_eq!(tokenizer.count(b"a", PLAIN), Ok(1));
    let error = tokenizer.count(b"x", PLAIN).unwrap_err();
    assert_eq!(error.kind, Kind::Encode);
    assert!(error.message.contains("[UNK]"), "{}", error.message);
}

/// The regex engine gives up after ten million steps of backtracking; the crate panics then.
#[test]
fn a_text_that_exhausts_the_regex_engine_is_an_error_of_the_text() {
    let json = r#"{"version":"1.0","added_tokens":[],"normalizer":null,"pre_tokenizer":{"type":"Split",
        "pattern":{"Regex":"(?:a|a)*[^a]"},"behavior":"Isolated","invert":false},"post_processor":null,
        "decoder":null,"model":{"type":"WordLevel","vocab":{"?":0},"unk_token":"?"}}"#;
    let tokenizer = load(json, SpecialTokensInText::Text);
    assert_eq!(tokenizer.count(b"aab", PLAIN), Ok(1));
    let error = tokenizer.count("a".repeat(60).as_bytes(), PLAIN).unwrap_err();
    assert_eq!(error.kind, Kind::Encode);
    assert!(error.message.contains("gave up"), "{}", error.message);
    assert_eq!(tokenizer.count(b"aab", PLAIN), Ok(1), "and the tokenizer stays usable");
}

#[test]
fn threads_share_one_tokenizer() {
    let mut random = Random::new("threads_share_one_tokenizer");
    for (name, json) in families() {
        let tokenizer = load(&json, SpecialTokensInText::Text);
        let texts: Vec<String> = (0..200).map(|_| random.text()).collect();
        let expected: Vec<Vec<u32>> = texts.iter().map(|text| ids(&tokenizer, text, WITH_SPECIAL)).collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for (text, expected) in texts.iter().zip(&expected) {
                        assert_eq!(&ids(&tokenizer, text, WITH_SPECIAL), expected, "{name}: {text:?}");
                    }
                });
            }
        });
    }
}
