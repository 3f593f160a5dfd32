//! The reference engine: Hugging Face's own crate. It judges what the right ids are, so nothing here decides an id.
//!
//! What is done differently from a plain `Tokenizer::from_bytes` and `encode`:
//! - **No caches.** The crate keeps a cache per loaded tokenizer in every thread that used it, and never drops it when
//!   the tokenizer goes: threads of a JVM live for hours, so every load would leak. `resize_cache(0)` turns the cache
//!   off (`clear_cache` would only start a new one).
//! - **No `encode_batch`.** It runs on rayon's global thread pool, which competes with Spark for the cores and never ends.
//! - **Truncation and padding** are not applied unless asked for; a notice says so.
//! - **Special tokens in the text** follow one option, the same for both kinds of file.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use aho_corasick::AhoCorasick;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::{
    AddedToken, Decoder, DecoderWrapper, Model, ModelWrapper, NormalizerWrapper, OffsetReferential,
    OffsetType, PaddingParams, PostProcessorWrapper, PreTokenizerWrapper, Tokenizer, TokenizerBuilder,
    TruncationParams,
};

use crate::error::{Error, Kind};
use crate::options::{Options, SpecialTokensInText};
use crate::{Engine, Span};

pub(crate) struct HuggingFace {
    tokenizer: Tokenizer,
    /// Present when a special token in the text is an error.
    refuse: Option<SpecialTokens>,
}

/// What to look for in a text when special tokens are refused.
struct SpecialTokens {
    /// Finds the special tokens that are matched as they are, before any normalization.
    plain: AhoCorasick,
    /// There are special tokens that are matched after normalization, which `plain` can't find.
    normalized: bool,
}

/// A tokenizer.json, with the model left as text. The crate refuses unknown keys, so they are errors here too.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'f> {
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    truncation: Option<TruncationParams>,
    #[serde(default)]
    padding: Option<PaddingParams>,
    #[serde(default)]
    added_tokens: Vec<Declared>,
    #[serde(default)]
    normalizer: Option<NormalizerWrapper>,
    #[serde(default)]
    pre_tokenizer: Option<PreTokenizerWrapper>,
    #[serde(default)]
    post_processor: Option<PostProcessorWrapper>,
    #[serde(default)]
    decoder: Option<DecoderWrapper>,
    #[serde(borrow)]
    model: &'f RawValue,
}

#[derive(Deserialize)]
struct Declared {
    id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

#[derive(Deserialize)]
struct ModelSection {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    dropout: Option<f64>,
    #[serde(default)]
    unk_token: Option<String>,
}

impl HuggingFace {
    pub(crate) fn load(
        file: &[u8],
        options: &Options,
        notices: &mut Vec<String>,
    ) -> Result<HuggingFace, Error> {
        let mut tokenizer = read(file, notices)?;
        let truncation = tokenizer.get_truncation().map(|section| section.max_length);
        notices.extend(sections(truncation, tokenizer.get_padding().is_some(), options));
        if !options.truncation {
            tokenizer.with_truncation(None).map_err(|error| unreadable(&error.to_string()))?;
        }
        if !options.padding {
            tokenizer.with_padding(None);
        }
        tokenizer.set_encode_special_tokens(options.special_tokens_in_text == SpecialTokensInText::Text);
        let refuse = match options.special_tokens_in_text {
            SpecialTokensInText::Text => {
                notices.extend(special_tokens_from_plain_text(&tokenizer));
                None
            }
            SpecialTokensInText::Token => None,
            SpecialTokensInText::Error => Some(SpecialTokens::of(&tokenizer)?),
        };
        Ok(HuggingFace { tokenizer, refuse })
    }

    /// The position of the first special token that this text would get if special tokens were recognised.
    fn special_token_position(&self, text: &str) -> Option<usize> {
        let refuse = self.refuse.as_ref()?;
        if !refuse.normalized && !refuse.plain.is_match(text) {
            return None; // the usual case, at the price of one scan
        }
        // Whether a token matches depends on its neighbours too (single_word, the longest at a place), so ask the crate.
        let added = self.tokenizer.get_added_vocabulary();
        let pieces = added.extract_and_normalize(self.tokenizer.get_normalizer(), text);
        let tokens = added.get_added_tokens_decoder();
        let pieces = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
        pieces.into_iter().find_map(|(_, (begin, end), found)| {
            let token = tokens.get(&found.as_ref()?.first()?.id)?;
            if !token.special {
                return None;
            }
            // A token with lstrip takes the white space before it along; the position is that of the token.
            let within = text.get(begin..end).and_then(|piece| piece.find(&token.content)).unwrap_or(0);
            Some(begin + within)
        })
    }

    fn check(&self, text: &str) -> Result<(), Error> {
        match self.special_token_position(text) {
            Some(position) => Err(special_token(position)),
            None => Ok(()),
        }
    }
}

impl Engine for HuggingFace {
    fn encode(&self, text: &str, add_special_tokens: bool, ids: &mut [u32]) -> Result<usize, Error> {
        self.check(text)?;
        encode(&self.tokenizer, text, add_special_tokens, ids)
    }

    fn encode_with_offsets(
        &self,
        text: &str,
        add_special_tokens: bool,
        ids: &mut [u32],
        spans: &mut [Span],
    ) -> Result<usize, Error> {
        self.check(text)?;
        encode_with_offsets(&self.tokenizer, text, add_special_tokens, ids, spans)
    }

    // As the crate's own `decode`, but for ids that are not in the vocabulary: it drops them without a word.
    fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<Vec<u8>, Error> {
        let added = self.tokenizer.get_added_vocabulary();
        let mut tokens = Vec::with_capacity(ids.len());
        for (index, id) in ids.iter().enumerate() {
            let token = added.simple_id_to_token(*id).or_else(|| self.tokenizer.get_model().id_to_token(*id));
            let token = token.ok_or_else(|| unknown_id(index))?;
            if !(skip_special_tokens && added.is_special_token(&token)) {
                tokens.push(token);
            }
        }
        let text = match self.tokenizer.get_decoder() {
            Some(decoder) => decoder.decode(tokens).map_err(|error| refused(error.as_ref()))?,
            None => tokens.join(" "),
        };
        Ok(text.into_bytes())
    }

    fn token_id(&self, token: &[u8]) -> Option<u32> {
        self.tokenizer.token_to_id(std::str::from_utf8(token).ok()?)
    }

    fn model(&self) -> &'static str {
        match self.tokenizer.get_model() {
            ModelWrapper::BPE(_) => "BPE",
            ModelWrapper::WordPiece(_) => "WordPiece",
            ModelWrapper::WordLevel(_) => "WordLevel",
            ModelWrapper::Unigram(_) => "Unigram",
        }
    }

    fn vocabulary_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }
}

impl SpecialTokens {
    fn of(tokenizer: &Tokenizer) -> Result<SpecialTokens, Error> {
        let tokens = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
        let special = || tokens.values().filter(|token| token.special);
        let plain = AhoCorasick::new(special().map(|token| &token.content))
            .map_err(|error| unreadable(&error.to_string()))?;
        Ok(SpecialTokens { plain, normalized: special().any(|token| token.normalized) })
    }
}

fn read(file: &[u8], notices: &mut Vec<String>) -> Result<Tokenizer, Error> {
    // Some malformed files make the crate panic instead of returning an error.
    let contradiction = |_| unreadable("its parts contradict each other");
    let unreadable = |error: Box<dyn std::error::Error + Send + Sync>| unreadable(&error.to_string());
    let parts: Result<File<'_>, _> = serde_json::from_slice(file);
    if let Ok(parts) = parts {
        notices.extend(random(parts.model));
        let declared: Vec<(u32, String)> =
            parts.added_tokens.iter().map(|declared| (declared.id, declared.token.content.clone())).collect();
        let lean = catch_unwind(AssertUnwindSafe(|| assemble(parts))).map_err(contradiction)?;
        let tokenizer = match lean {
            Some(tokenizer) => tokenizer.map_err(unreadable)?,
            None => whole(file).map_err(contradiction)?.map_err(unreadable)?,
        };
        notices.extend(renumbered(&tokenizer, &declared));
        return Ok(tokenizer);
    }
    // Not what we expect of a file; the crate has the last word, and the better message.
    whole(file).map_err(contradiction)?.map_err(unreadable)
}

/// What is said about a file's truncation (to so many tokens) and padding sections.
pub(crate) fn sections(truncation: Option<usize>, padding: bool, options: &Options) -> Vec<String> {
    let mut notices = Vec::new();
    match (truncation, options.truncation) {
        (Some(max_length), false) => notices.push(format!(
            "truncation to {max_length} tokens in the file is ignored, since a corpus would lose text; \
             set the option \"truncation\" to apply it"
        )),
        (None, true) => {
            notices.push("the option \"truncation\" has no effect: the file has no such section".into())
        }
        _ => {}
    }
    match (padding, options.padding) {
        (true, false) => notices.push(
            "padding in the file is ignored, since a corpus would gain tokens that no document has; \
             set the option \"padding\" to apply it"
                .into(),
        ),
        (false, true) => {
            notices.push("the option \"padding\" has no effect: the file has no such section".into())
        }
        _ => {}
    }
    notices
}

/// What of a tokenizer.json is outside its model, as far as another engine needs it.
pub(crate) struct Outline {
    /// To so many tokens.
    pub truncation: Option<usize>,
    pub padding: bool,
    pub unknown_token: Option<String>,
}

impl Outline {
    /// None: the crate would not read the file's parts, or in another way than it says.
    pub(crate) fn of(file: &[u8]) -> Option<Outline> {
        let parts: File<'_> = serde_json::from_slice(file).ok()?;
        let section: ModelSection = serde_json::from_str(parts.model.get()).ok()?;
        (parts.version.as_deref() == Some("1.0")).then_some(Outline {
            truncation: parts.truncation.map(|section| section.max_length),
            padding: parts.padding.is_some(),
            unknown_token: section.unk_token,
        })
    }
}

/// The crate's own reader.
fn whole(file: &[u8]) -> std::thread::Result<tokenizers::Result<Tokenizer>> {
    catch_unwind(|| {
        let mut tokenizer = Tokenizer::from_bytes(file)?;
        disable_caches(&mut tokenizer);
        Ok(tokenizer)
    })
}

/// Does what the crate's reader does with the parts of a file, but reads a large model straight from the text.
///
/// The crate first makes two trees of JSON values of the model, and leaves no way to turn its cache off but to copy it.
/// For Llama 3.1's file that is most of the time and memory that loading takes. None: left to the crate. Held by the
/// test `reading_lean_is_reading_whole`.
fn assemble(parts: File<'_>) -> Option<tokenizers::Result<Tokenizer>> {
    if parts.version.as_deref() != Some("1.0") {
        return None;
    }
    let section: ModelSection = serde_json::from_str(parts.model.get()).ok()?;
    let model: ModelWrapper = match section.kind.as_deref()? {
        "BPE" => {
            let mut model: BPE = serde_json::from_str(parts.model.get()).ok()?;
            model.resize_cache(0);
            model.into()
        }
        "Unigram" => {
            let mut model: Unigram = serde_json::from_str(parts.model.get()).ok()?;
            model.resize_cache(0);
            model.into()
        }
        _ => return None,
    };
    let built = TokenizerBuilder::new()
        .with_model(model)
        .with_normalizer(parts.normalizer)
        .with_pre_tokenizer(parts.pre_tokenizer)
        .with_post_processor(parts.post_processor)
        .with_decoder(parts.decoder)
        .with_truncation(parts.truncation)
        .with_padding(parts.padding)
        .build();
    let added = parts.added_tokens.into_iter().map(|declared| declared.token);
    Some(built.and_then(|mut tokenizer| {
        tokenizer.add_tokens(added)?;
        Ok(tokenizer.into())
    }))
}

/// Turns the caches of the models that have one off; see the head of this file. The crate gives no mutable access to a
/// model, so it is copied once.
fn disable_caches(tokenizer: &mut Tokenizer) {
    match tokenizer.get_model() {
        ModelWrapper::BPE(model) => {
            let mut model = model.clone();
            model.resize_cache(0);
            tokenizer.with_model(model);
        }
        ModelWrapper::Unigram(model) => {
            let mut model = model.clone();
            model.resize_cache(0);
            tokenizer.with_model(model);
        }
        ModelWrapper::WordPiece(_) | ModelWrapper::WordLevel(_) => {}
    }
}

fn random(model: &RawValue) -> Option<String> {
    let section: ModelSection = serde_json::from_str(model.get()).ok()?;
    let dropout = section.dropout.filter(|dropout| *dropout > 0.0)?;
    Some(format!(
        "the file asks for a dropout of {dropout} when encoding: ids are random, as in Hugging Face's library; set \
         \"dropout\" to null in the file for ids that can be made again"
    ))
}

/// The crate gives an added token that the model doesn't know the next free id, whatever the file says.
fn renumbered(tokenizer: &Tokenizer, declared: &[(u32, String)]) -> Option<String> {
    let differing: Vec<(u32, u32)> = declared
        .iter()
        .filter_map(|(id, content)| Some((*id, tokenizer.token_to_id(content)?)))
        .filter(|(declared, given)| declared != given)
        .collect();
    let (declared, given) = differing.first()?;
    Some(format!(
        "{} added token(s) don't get the id that the file declares, since Hugging Face's library numbers them anew: the \
         first is declared as {declared} and gets {given}",
        differing.len()
    ))
}

/// Under the policy "text" the crate does not look for special tokens, but a model whose own vocabulary has them as
/// entries (Unigram above all) can still arrive at one from plain text.
fn special_tokens_from_plain_text(tokenizer: &Tokenizer) -> Option<String> {
    // Its id says that the text is unknown, whatever the text.
    let unknown = match tokenizer.get_model() {
        ModelWrapper::BPE(model) => model.unk_token.as_deref(),
        ModelWrapper::WordPiece(model) => Some(model.unk_token.as_str()),
        ModelWrapper::WordLevel(model) => Some(model.unk_token.as_str()),
        ModelWrapper::Unigram(_) => None,
    };
    let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
    let special = added.iter().filter(|(_, token)| token.special && Some(token.content.as_str()) != unknown);
    let reached = special
        .filter(|(id, token)| {
            let encoding = catch_unwind(AssertUnwindSafe(|| tokenizer.encode(token.content.as_str(), false)));
            let Ok(Ok(encoding)) = encoding else { return false };
            // Padding, which may have been asked for, stands for no text.
            let mut tokens = encoding.get_ids().iter().zip(encoding.get_offsets());
            tokens.any(|(found, (begin, end))| found == *id && begin < end)
        })
        .count();
    reachable(reached)
}

/// What is said when plain text can give so many special tokens.
pub(crate) fn reachable(special_tokens: usize) -> Option<String> {
    (special_tokens > 0).then(|| {
        format!(
            "{special_tokens} special token(s) are also entries that the model itself can produce from plain text, as in \
             Hugging Face's library; set special_tokens_in_text to \"error\" to refuse such documents"
        )
    })
}

pub(crate) fn encode(
    tokenizer: &Tokenizer,
    text: &str,
    add_special_tokens: bool,
    ids: &mut [u32],
) -> Result<usize, Error> {
    let encoding = guarded(|| tokenizer.encode_fast(text, add_special_tokens))?;
    let found = encoding.get_ids();
    let room = ids.len().min(found.len());
    ids[..room].copy_from_slice(&found[..room]);
    Ok(found.len())
}

pub(crate) fn encode_with_offsets(
    tokenizer: &Tokenizer,
    text: &str,
    add_special_tokens: bool,
    ids: &mut [u32],
    spans: &mut [Span],
) -> Result<usize, Error> {
    let encoding = guarded(|| tokenizer.encode(text, add_special_tokens))?;
    let found = encoding.get_ids();
    let room = ids.len().min(found.len());
    ids[..room].copy_from_slice(&found[..room]);
    for (span, (begin, end)) in spans.iter_mut().zip(encoding.get_offsets()) {
        *span = [*begin as i64, *end as i64];
    }
    Ok(found.len())
}

/// Runs the crate's encoding. Its regex engine gives up on a text that makes it backtrack too often, and the crate panics
/// then: that is an error of this document. Any other panic goes on to the border of the library.
fn guarded<T>(encode: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(encode)) {
        Ok(result) => result.map_err(|error| refused(error.as_ref())),
        Err(panic) => match panic.downcast_ref::<String>() {
            Some(text) if text.starts_with("Onig:") => Err(Error::new(
                Kind::Encode,
                "the tokenizer's regular expression gave up on this document (too much backtracking, as on tens of \
                 megabytes of white space); split the document or set it aside",
            )),
            _ => resume_unwind(panic),
        },
    }
}

pub(crate) fn special_token(position: usize) -> Error {
    Error::at(
        Kind::SpecialToken,
        position,
        format!(
            "the text has a special token at byte {position}; set special_tokens_in_text to \"text\" to encode it as \
             plain text or to \"token\" to get the special token"
        ),
    )
}

pub(crate) fn unknown_id(index: usize) -> Error {
    Error::at(
        Kind::UnknownId,
        index,
        format!(
            "the id at index {index} is not in the tokenizer's vocabulary; decode with the tokenizer that made the ids"
        ),
    )
}

fn refused(error: &(dyn std::error::Error + Send + Sync)) -> Error {
    let reason = without_content(&error.to_string());
    Error::new(
        Kind::Encode,
        format!(
            "the tokenizer has no ids for this text: {reason}; check that its unknown token is in its vocabulary"
        ),
    )
}

fn unreadable(reason: &str) -> Error {
    let reason = without_content(reason);
    Error::new(
        Kind::Unsupported,
        format!(
            "the file can't be loaded as a Hugging Face tokenizer.json: {reason}; it must be one that the tokenizers \
             library, version 0.23, can read"
        ),
    )
}

/// A message of the crate without what it quotes from the file: whoever may name a file to load must not be able to read
/// any file through the errors. What stands after "expected" or "missing field" comes from the crate and stays.
pub(crate) fn without_content(message: &str) -> String {
    let of_serde = ["invalid ", "unknown ", "data did not"].iter().any(|start| message.starts_with(start));
    let (mut head, tail) = match message.rfind(", expected ") {
        Some(at) if of_serde => message.split_at(at),
        _ => (message, ""),
    };
    let mut cleaned = String::new();
    while let Some(open) = head.find(['"', '`', '\'']) {
        let (before, quoted) = head.split_at(open);
        let mark = &quoted[..1];
        // The closing mark is the last one there is: content may hold marks of its own.
        let close = quoted.rfind(mark).filter(|close| *close > 0);
        cleaned.push_str(before);
        let after = close.map_or("", |close| &quoted[close + 1..]);
        if before.ends_with("missing field ") {
            cleaned.push_str(&quoted[..quoted.len() - after.len()]);
        } else {
            cleaned.push('…');
        }
        head = after;
    }
    cleaned.push_str(head);
    cleaned.push_str(tail);
    cleaned
}

#[cfg(test)]
mod tests {
    use super::{File, assemble, without_content};

    /// Two readers, one tokenizer: everything that the crate can write out is the same, merges and added tokens included.
    #[test]
    fn reading_lean_is_reading_whole() {
        let parts = r###""version":"1.0","truncation":{"direction":"Right","max_length":5,"strategy":"LongestFirst","stride":0},
            "padding":{"strategy":"BatchLongest","direction":"Right","pad_to_multiple_of":null,"pad_id":1,"pad_type_id":0,
            "pad_token":"b"},"added_tokens":[{"id":9,"content":"<x>","single_word":true,"lstrip":false,"rstrip":true,
            "normalized":true,"special":true},{"id":0,"content":"a","single_word":false,"lstrip":true,"rstrip":false,
            "normalized":false,"special":false}],"normalizer":{"type":"Lowercase"},"pre_tokenizer":{"type":"Whitespace"},
            "post_processor":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":false,"use_regex":true},
            "decoder":{"type":"ByteFallback"}"###;
        for model in [
            r#"{"type":"BPE","dropout":0.25,"unk_token":"b","continuing_subword_prefix":"","end_of_word_suffix":"",
                "fuse_unk":true,"byte_fallback":true,"ignore_merges":true,
                "vocab":{"a":0,"b":1,"ab":2,"\u0061b\u00e9":7,"\u00e9":3},"merges":["a b","ab é","a b"]}"#,
            r#"{"vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]],"type":"BPE"}"#,
            r#"{"type":"BPE","vocab":{"a":0,"b":1,"a":5},"merges":[]}"#,
            r#"{"type":"Unigram","unk_id":0,"vocab":[["b",0.0],["a",-1.25],["ab",-2e0]],"byte_fallback":true}"#,
            r#"{"type":"Unigram","unk_id":null,"vocab":[["b",0]]}"#,
        ] {
            let file = format!("{{\"model\":{model},{parts}}}");
            let split: File<'_> =
                serde_json::from_str(&file).unwrap_or_else(|error| panic!("{error}: {file}"));
            let lean = assemble(split).expect("a model that is read lean").unwrap();
            let whole =
                tokenizers::Tokenizer::from_bytes(&file).unwrap_or_else(|error| panic!("{error}: {file}"));
            assert_eq!(lean.to_string(true).unwrap(), whole.to_string(true).unwrap());
            assert_eq!(lean.get_model(), whole.get_model());
        }
        for model in
            [r#"{"vocab":{"a":0},"merges":[]}"#, r#"{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}"#]
        {
            let file = format!("{{\"model\":{model},{parts}}}");
            let split: File<'_> = serde_json::from_str(&file).unwrap();
            assert!(assemble(split).is_none(), "left to the crate: {model}");
        }
        let unknown = format!(
            "{{\"model\":{{\"type\":\"BPE\",\"vocab\":{{}},\"merges\":[]}},\"unknown\":[1],{parts}}}"
        );
        assert!(serde_json::from_str::<File<'_>>(&unknown).is_err());
        assert!(tokenizers::Tokenizer::from_bytes(&unknown).is_err());
    }

    #[test]
    fn messages_lose_what_they_quote() {
        for (message, expected) in [
            ("expected value at line 1 column 1", "expected value at line 1 column 1"),
            ("missing field `type` at line 3", "missing field `type` at line 3"),
            (
                "invalid type: string \"secret\", expected u32 at line 1",
                "invalid type: string …, expected u32 at line 1",
            ),
            (
                "unknown variant `secret`, expected one of `A`, `B`",
                "unknown variant …, expected one of `A`, `B`",
            ),
            ("invalid type: string \"a, expected b\", expected c", "invalid type: string …, expected c"),
            ("Token `sec`ret` out of vocabulary", "Token … out of vocabulary"),
            ("Token `x, expected secret` out of vocabulary", "Token … out of vocabulary"),
            ("Unknown tokenizer version 'secret'", "Unknown tokenizer version …"),
            ("open \"secret", "open …"),
        ] {
            assert_eq!(without_content(message), expected);
        }
    }
}
