//! Quern's tokenizer: a tokenizer file and options in, then text in and token ids out.
//!
//! A plain library: no C ABI, no unsafe code, and no word about allocators (a test of the ffi crate keeps it so). Only
//! the `ffi` crate and other binaries may depend on it.
//!
//! [`Tokenizer`] is what callers see. Behind it stands one [`Engine`]: `fast.rs` where the fast engine knows every part of
//! the tokenizer; else the reference engine, Hugging Face's crate, in `reference.rs` for `tokenizer.json` and in
//! `tiktoken.rs` for rank files. Both give the same answers to every call.
//!
//! Positions and offsets are bytes. Token ids are `u32` below 2^31, so that they fit Java's `int`.

mod error;
mod fast;
mod options;
mod pattern;
mod reference;
mod tiktoken;
mod utf8;

use serde::Serialize;

pub use error::{Error, Kind};
use fast::Refusal;
pub use options::{EngineChoice, Format, Options, SpecialTokensInText};

/// A span of the text that a token stands for: begin and end in bytes.
pub type Span = [i64; 2];

/// What every engine can do. Shared by all threads of a process: whatever an engine needs for one call, it keeps on the
/// stack or per thread.
///
/// Ids go into the caller's slice, and the answer is the number of ids there are. When that is more than the slice holds,
/// what was written is of no use, and the caller comes again with a larger one.
trait Engine: Send + Sync {
    /// "reference" or "fast".
    fn name(&self) -> &'static str {
        "reference"
    }

    /// The vector instructions in use: "avx512", "avx2", "neon", "portable"; "none" for an engine without.
    fn simd(&self) -> &'static str {
        "none"
    }

    fn encode(&self, text: &str, add_special_tokens: bool, ids: &mut [u32]) -> Result<usize, Error>;

    /// As [`Tokenizer::encode_batch`], of valid texts and if this engine has a faster way than one after the other.
    /// None: it has not, or not for these, or one of them is an error.
    fn encode_batch(
        &self,
        _text: &str,
        _offsets: &[i64],
        _add_special_tokens: bool,
        _ids: &mut [u32],
        _id_offsets: &mut [i64],
    ) -> Option<usize> {
        None
    }

    /// Like `encode`; `spans` is as long as `ids`.
    fn encode_with_offsets(
        &self,
        text: &str,
        add_special_tokens: bool,
        ids: &mut [u32],
        spans: &mut [Span],
    ) -> Result<usize, Error>;

    /// The number of ids that `encode` gives.
    fn count(&self, text: &str, add_special_tokens: bool) -> Result<usize, Error> {
        self.encode(text, add_special_tokens, &mut [])
    }

    /// As [`Tokenizer::cut`].
    fn cut(&self, _text: &[u8]) -> usize {
        0
    }

    fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<Vec<u8>, Error>;

    fn token_id(&self, token: &[u8]) -> Option<u32>;

    /// BPE, WordPiece, Unigram or WordLevel.
    fn model(&self) -> &'static str;

    /// The number of entries with an id, special tokens included. Ids may have gaps, so this is not the largest id + 1.
    fn vocabulary_size(&self) -> usize;
}

/// How one text is to be encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encode {
    /// Add what the tokenizer's post-processor adds around a document (`[CLS]` and the like). tiktoken files have none.
    pub add_special_tokens: bool,
    /// Replace invalid UTF-8 by U+FFFD, as the WHATWG Encoding Standard says, instead of refusing the text.
    pub replace_invalid: bool,
}

/// A loaded tokenizer, read-only and usable from any number of threads at once.
pub struct Tokenizer {
    engine: Box<dyn Engine>,
    format: Format,
    /// Why this engine.
    reason: String,
    content_hash: String,
    notices: Vec<String>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tokenizer").field("content_hash", &self.content_hash).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Description<'t> {
    format: Format,
    engine: &'static str,
    engine_reason: &'t str,
    simd: &'static str,
    model: &'static str,
    vocabulary_size: usize,
    content_hash: &'t str,
    notices: &'t [String],
}

impl Tokenizer {
    /// Reads a tokenizer file.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if the file is not a tokenizer of that format or the engine asked for cannot serve it;
    /// [`Kind::InvalidArgument`] if the options don't fit together. Messages never echo the file's content.
    pub fn load(file: &[u8], options: &Options) -> Result<Tokenizer, Error> {
        Tokenizer::load_hashed(file, options, options.content_hash(file))
    }

    /// As [`Tokenizer::load`], for who knows the file's [`Options::content_hash`] already.
    ///
    /// # Errors
    /// As [`Tokenizer::load`].
    pub fn load_hashed(file: &[u8], options: &Options, content_hash: String) -> Result<Tokenizer, Error> {
        options.check()?;
        let mut notices = Vec::new();
        let (engine, reason): (Box<dyn Engine>, String) = if options.engine == EngineChoice::Reference {
            (reference(file, options, &mut notices)?, "asked for".into())
        } else {
            match fast::Fast::load(file, options, &mut notices) {
                Ok(engine) => (Box::new(engine), "it knows every part of the tokenizer".into()),
                Err(Refusal::Wrong(error)) => return Err(error),
                Err(refusal) => {
                    let part = match refusal {
                        Refusal::Part(part) if options.engine == EngineChoice::Fast => {
                            return Err(refused(&part));
                        }
                        Refusal::Part(part) => part,
                        _ => "the structure of the file".into(),
                    };
                    notices.clear();
                    let engine = reference(file, options, &mut notices)?;
                    if options.engine == EngineChoice::Fast {
                        return Err(refused(&part));
                    }
                    (engine, format!("the fast engine does not know a part of the tokenizer: {part}"))
                }
            }
        };
        Ok(Tokenizer { engine, format: options.format, reason, content_hash, notices })
    }

    /// What was loaded, as a JSON object: `format`, `engine`, `engine_reason`, `simd`, `model`,
    /// `vocabulary_size`, `content_hash`, `notices` (sentences a user should see once: what in the file was not applied, and why).
    pub fn description(&self) -> String {
        let description = Description {
            format: self.format,
            engine: self.engine.name(),
            engine_reason: &self.reason,
            simd: self.engine.simd(),
            model: self.engine.model(),
            vocabulary_size: self.engine.vocabulary_size(),
            content_hash: &self.content_hash,
            notices: &self.notices,
        };
        serde_json::to_string(&description).expect("strings and numbers always serialize")
    }

    /// 64 hexadecimal digits; see [`Options::content_hash`].
    pub fn content_hash(&self) -> &str {
        &self.content_hash
    }

    /// Encodes one text. Returns the number of ids there are; with more than `ids` holds, what was written is of no use.
    ///
    /// # Errors
    /// [`Kind::InvalidUtf8`] and [`Kind::SpecialToken`] with the byte position, [`Kind::Encode`] if the tokenizer has no
    /// ids for the text.
    pub fn encode(&self, text: &[u8], how: Encode, ids: &mut [u32]) -> Result<usize, Error> {
        if !how.replace_invalid {
            return self.engine.encode(utf8::strict(text)?, how.add_special_tokens, ids);
        }
        let replaced = utf8::replace(text);
        self.engine
            .encode(&replaced.text, how.add_special_tokens, ids)
            .map_err(|error| in_source(error, &replaced))
    }

    /// Encodes many texts: the one from `offsets[i]` to `offsets[i + 1]` of `text` has the ids from `id_offsets[i]` to
    /// `id_offsets[i + 1]`. Returns the number of ids there are; `ids` as in [`Tokenizer::encode`]. Short texts are
    /// faster this way.
    ///
    /// `offsets` ascend within the text, `id_offsets` has as many entries, or this panics.
    ///
    /// # Errors
    /// The first text with one, and its error as of [`Tokenizer::encode`].
    pub fn encode_batch(
        &self,
        text: &[u8],
        offsets: &[i64],
        how: Encode,
        ids: &mut [u32],
        id_offsets: &mut [i64],
    ) -> Result<usize, (usize, Error)> {
        assert_eq!(offsets.len(), id_offsets.len(), "an entry for each");
        let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else { return Ok(0) };
        // Valid as a whole and cut between characters: each of them is valid.
        let begin = *first as usize;
        if let Ok(all) = utf8::strict(&text[begin..*last as usize])
            && offsets.iter().all(|at| all.is_char_boundary(*at as usize - begin))
        {
            let shifted;
            let offsets = if begin == 0 {
                offsets
            } else {
                shifted = offsets.iter().map(|at| at - first).collect::<Vec<_>>();
                &shifted
            };
            let done = self.engine.encode_batch(all, offsets, how.add_special_tokens, ids, id_offsets);
            if let Some(count) = done {
                return Ok(count);
            }
        }
        let mut count = 0;
        for (index, pair) in offsets.windows(2).enumerate() {
            id_offsets[index] = count as i64;
            let rest = count.min(ids.len());
            count += self
                .encode(&text[pair[0] as usize..pair[1] as usize], how, &mut ids[rest..])
                .map_err(|error| (index, error))?;
        }
        id_offsets[offsets.len() - 1] = count as i64;
        Ok(count)
    }

    /// Like [`Tokenizer::encode`], with the span of each token in bytes of `text` as given, before any replacement.
    ///
    /// Spans are what Hugging Face's crate gives: of a token that is only part of a character, those of the whole
    /// character; of an added special token, 0..0. `spans` must be as long as `ids`.
    pub fn encode_with_offsets(
        &self,
        text: &[u8],
        how: Encode,
        ids: &mut [u32],
        spans: &mut [Span],
    ) -> Result<usize, Error> {
        assert_eq!(ids.len(), spans.len(), "one span for each id");
        if !how.replace_invalid {
            let text = utf8::strict(text)?;
            return self.engine.encode_with_offsets(text, how.add_special_tokens, ids, spans);
        }
        let replaced = utf8::replace(text);
        let count = self
            .engine
            .encode_with_offsets(&replaced.text, how.add_special_tokens, ids, spans)
            .map_err(|error| in_source(error, &replaced))?;
        for position in spans.iter_mut().take(count).flatten() {
            *position = replaced.source_position(*position as usize) as i64;
        }
        Ok(count)
    }

    /// The number of ids that [`Tokenizer::encode`] gives.
    pub fn count(&self, text: &[u8], how: Encode) -> Result<usize, Error> {
        if !how.replace_invalid {
            return self.engine.count(utf8::strict(text)?, how.add_special_tokens);
        }
        let replaced = utf8::replace(text);
        let count = self.engine.count(&replaced.text, how.add_special_tokens);
        count.map_err(|error| in_source(error, &replaced))
    }

    /// The last place within the text, in bytes, at which a longer text that begins like it may be cut: encoded one after
    /// the other without added special tokens, the two parts have the ids of the whole. 0: the engine knows no such place.
    pub fn cut(&self, text: &[u8]) -> usize {
        self.engine.cut(text)
    }

    /// The text that ids stand for. From a tiktoken file these are exactly the tokens' bytes, which need not be UTF-8
    /// when the ids are part of a document; from a `tokenizer.json` they are what its decoder makes, always UTF-8.
    ///
    /// # Errors
    /// [`Kind::UnknownId`] with the index of the first id that is not in the vocabulary.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<Vec<u8>, Error> {
        self.engine.decode(ids, skip_special_tokens)
    }

    /// The id of an entry: an added or special token by its text, another entry as the file spells it (for a tiktoken
    /// file, the token's bytes).
    pub fn token_id(&self, token: &[u8]) -> Option<u32> {
        self.engine.token_id(token)
    }
}

fn reference(file: &[u8], options: &Options, notices: &mut Vec<String>) -> Result<Box<dyn Engine>, Error> {
    Ok(match options.format {
        Format::HuggingFace => Box::new(reference::HuggingFace::load(file, options, notices)?),
        Format::Tiktoken => Box::new(tiktoken::Tiktoken::load(file, options, notices)?),
    })
}

fn refused(part: &str) -> Error {
    Error::new(
        Kind::Unsupported,
        format!(
            "the engine \"fast\" does not know a part of the tokenizer: {part}; set the option \"engine\" to \"auto\" or \
             \"reference\""
        ),
    )
}

/// A position in replaced text becomes one in the bytes the caller gave.
fn in_source(mut error: Error, replaced: &utf8::Replaced<'_>) -> Error {
    error.position = error.position.map(|position| replaced.source_position(position));
    error
}

/// A block that this crate has just allocated: what to ask about to learn which allocator really serves the engine.
pub fn fresh_block() -> Box<[u8]> {
    vec![0; 64].into_boxed_slice()
}
