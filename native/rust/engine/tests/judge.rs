//! The reference engine against plain calls of Hugging Face's crate, for a small tokenizer of every family.
//!
//! The tokenizers are trained here, so there are no files to keep in step with the crate. Texts are random; each test
//! prints the line that repeats it.

use std::collections::HashMap;

use quern_engine::{Encode, Format, Kind, Options, SpecialTokensInText, Tokenizer};
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
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::whitespace::Whitespace;
use tokenizers::processors::template::TemplateProcessing;
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
            "<mask>",
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
                    let within = text[*begin..*end].find(&special[id]).unwrap();
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
fn the_fast_engine_is_refused() {
    let (_, json) = families().pop().unwrap();
    let options = Options { engine: quern_engine::EngineChoice::Fast, ..Options::new(Format::HuggingFace) };
    let error = Tokenizer::load(json.as_bytes(), &options).unwrap_err();
    assert_eq!(error.kind, Kind::Unsupported);
    assert!(error.message.contains("\"fast\""));
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
