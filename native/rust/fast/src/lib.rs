//! The fast engine: byte-level BPE under a recognised pre-tokenizer, ids exactly Hugging Face's.
//!
//! ```text
//!     text -> added tokens -> normalizer -> pre-tokenizer -> model -> template
//! ```
//!
//! `load` takes a file apart and names the part that is not recognised; `normalize`, `pretoken` (with
//! `window`), `bpe` are the parts; `encode` is the way through them.
mod bpe;
mod cache;
mod encode;
#[cfg(target_arch = "x86_64")]
mod lanes;
mod load;
mod memory;
mod normalize;
mod pairs;
mod pretoken;
mod unicode;
mod unicode_tables;
mod window;

pub use encode::{STATS, Simd, ThreadState};
pub use pretoken::Pattern;
/// The texts of the regexes that are recognised.
pub mod patterns {
    pub use crate::pretoken::{CL100K, DEEPSEEK3, GPT2, O200K, QWEN2, TEKKEN};
}

use aho_corasick::{AhoCorasick, MatchKind};
use encode::{Out, Segmenter};
use std::sync::atomic::{AtomicU64, Ordering};

/// A part of a tokenizer that this engine does not know; the reference engine serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    pub part: String,
}

impl Unsupported {
    pub(crate) fn new(part: impl Into<String>) -> Unsupported {
        Unsupported { part: part.into() }
    }
}

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "not recognised: {}", self.part)
    }
}
impl std::error::Error for Unsupported {}

/// What a special token in a text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SpecialInText {
    #[default]
    Text,
    Token,
    Error,
}

/// The text has a special token and the policy is Error: where, in bytes of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialFound {
    pub position: usize,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    pub special_in_text: SpecialInText,
    /// None: the best this CPU has.
    pub simd: Option<Simd>,
}

struct Matcher {
    automaton: AhoCorasick,
    /// Indices into the added tokens, by pattern.
    tokens: Vec<usize>,
}

/// Ids, each with begin and end in bytes.
pub type Spans = Vec<(u32, usize, usize)>;

/// A loaded tokenizer: read-only, shared by all threads.
pub struct FastTokenizer {
    number: u64,
    bpe: bpe::Bpe,
    pattern: Pattern,
    simd: Simd,
    nfc: bool,
    prefix_space: bool,
    special: SpecialInText,
    added: Vec<load::Added>,
    /// Tokens that are looked for before normalizing, and after.
    raw: Option<Matcher>,
    normalized: Option<Matcher>,
    template: (Vec<u32>, Vec<u32>),
}

impl FastTokenizer {
    /// From a tokenizer.json.
    pub fn from_json(file: &[u8], options: &Options) -> Result<FastTokenizer, Unsupported> {
        FastTokenizer::new(load::json(file)?, options)
    }
    /// From a rank file, its pattern and its special tokens.
    pub fn from_tiktoken(
        ranks: &[u8],
        pattern: &str,
        special: &[(String, u32)],
        options: &Options,
    ) -> Result<FastTokenizer, Unsupported> {
        FastTokenizer::new(load::tiktoken(ranks, pattern, special)?, options)
    }

    fn new(parts: load::Parts, options: &Options) -> Result<FastTokenizer, Unsupported> {
        // Special tokens that are text take part in no match that counts, but they may hide others: they
        // are left out only when there are no others.
        let ignored = options.special_in_text == SpecialInText::Text && parts.added.iter().all(|t| t.special);
        let matcher = |normalized: bool| -> Result<Option<Matcher>, Unsupported> {
            let tokens: Vec<usize> = (0..parts.added.len())
                .filter(|i| parts.added[*i].normalized == normalized && !ignored)
                .collect();
            if tokens.is_empty() {
                return Ok(None);
            }
            let texts = tokens.iter().map(|i| {
                let text = &parts.added[*i].content;
                if normalized && parts.nfc { normalize::nfc(text) } else { text.clone() }
            });
            let automaton = AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(texts)
                .map_err(|e| Unsupported::new(format!("added tokens ({e})")))?;
            Ok(Some(Matcher { automaton, tokens }))
        };
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        Ok(FastTokenizer {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            raw: matcher(false)?,
            normalized: matcher(true)?,
            bpe: bpe::Bpe::new(parts.vocabulary, parts.index)?,
            pattern: parts.pattern,
            simd: options.simd.unwrap_or_else(Simd::best),
            nfc: parts.nfc,
            prefix_space: parts.prefix_space,
            special: options.special_in_text,
            added: parts.added,
            template: parts.template,
        })
    }

    /// A token's bytes, an added token's text included; None: no token has the id.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        let added = self.added.iter().find(|t| t.id == id).map(|t| t.content.as_bytes());
        added.or_else(|| self.bpe.spelling(id))
    }
    /// Whether an id is of a special token.
    pub fn is_special(&self, id: u32) -> bool {
        self.added.iter().any(|t| t.special && t.id == id)
    }
    /// The id of a token by its bytes or an added token's text.
    pub fn token_id(&self, token: &[u8]) -> Option<u32> {
        let added = self.added.iter().find(|t| t.content.as_bytes() == token).map(|t| t.id);
        added.or_else(|| self.bpe.id_of(token))
    }
    /// Entries of the vocabulary and added tokens that are not in it.
    pub fn vocabulary_size(&self) -> usize {
        self.bpe.size() + self.added.iter().filter(|t| self.bpe.spelling(t.id).is_none()).count()
    }

    pub fn pattern(&self) -> Pattern {
        self.pattern
    }
    pub fn simd(&self) -> Simd {
        self.simd
    }
    /// Ids that go before and after a text when special tokens are asked for.
    pub fn template(&self) -> (&[u32], &[u32]) {
        (&self.template.0, &self.template.1)
    }
    /// Bytes of the shared tables.
    pub fn table_bytes(&self) -> usize {
        self.bpe.bytes()
    }

    /// Writes the ids of `text` to `out`, without the template. -> how many ids there are: more than fit
    /// mean that what was written is of no use.
    pub fn encode_into(
        &self,
        state: &mut ThreadState,
        text: &str,
        out: &mut [std::mem::MaybeUninit<u32>],
    ) -> Result<usize, SpecialFound> {
        // SAFETY: the slice is the caller's as long as this call lasts.
        let mut out = unsafe { Out::new(out.as_mut_ptr().cast(), out.len()) };
        self.encode_out(state, text, &mut out)?;
        Ok(out.len)
    }

    /// How many ids `encode_into` has, without writing them.
    pub fn count(&self, state: &mut ThreadState, text: &str) -> Result<usize, SpecialFound> {
        self.encode_into(state, text, &mut [])
    }

    pub fn encode(&self, state: &mut ThreadState, text: &str) -> Result<Vec<u32>, SpecialFound> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 16);
        loop {
            let n = self.encode_into(state, text, ids.spare_capacity_mut())?;
            if n <= ids.capacity() {
                // SAFETY: encode_into wrote n values.
                unsafe { ids.set_len(n) };
                return Ok(ids);
            }
            ids.reserve(n);
        }
    }

    /// Ids with the bytes of `text` each stands for. Text that the normalizer changes has none here
    /// (None: the reference engine serves it).
    pub fn encode_with_spans(
        &self,
        state: &mut ThreadState,
        text: &str,
    ) -> Result<Option<Spans>, SpecialFound> {
        state.own(self.number);
        let mut all = Vec::new();
        let mut changed = false;
        let segmenter = self.segmenter();
        self.pieces(state, text, |state, piece| match piece {
            Piece::Token(id, begin, end) => all.push((id, begin, end)),
            Piece::Text(piece, Some(begin)) => {
                segmenter.spans(state, piece.as_bytes(), |id, b, e| all.push((id, begin + b, begin + e)))
            }
            Piece::Text(..) => changed = true,
        })?;
        Ok((!changed).then_some(all))
    }

    fn segmenter(&self) -> Segmenter<'_> {
        Segmenter { bpe: &self.bpe, pattern: self.pattern, simd: self.simd }
    }

    fn encode_out(&self, state: &mut ThreadState, text: &str, out: &mut Out) -> Result<(), SpecialFound> {
        state.own(self.number);
        let segmenter = self.segmenter();
        if self.raw.is_none() && self.normalized.is_none() && !self.nfc && !self.prefix_space {
            segmenter.encode(state, text.as_bytes(), out);
            return Ok(());
        }
        self.pieces(state, text, |state, piece| match piece {
            Piece::Token(id, ..) => out.push(id),
            Piece::Text(piece, _) => segmenter.encode(state, piece.as_bytes(), out),
        })
    }

    /// Added tokens and what stands between them, normalized.
    fn pieces(
        &self,
        state: &mut ThreadState,
        text: &str,
        mut put: impl FnMut(&mut ThreadState, Piece<'_>),
    ) -> Result<(), SpecialFound> {
        self.split(&self.raw, text, |begin, end, token| {
            if let Some(id) = token {
                put(state, Piece::Token(id, begin, end));
                return Ok(());
            }
            let piece = &text[begin..end];
            if (!self.nfc || normalize::is_nfc(piece)) && !self.prefix_space {
                return self.split(&self.normalized, piece, |b, e, token| {
                    put(
                        state,
                        match token {
                            Some(id) => Piece::Token(id, begin + b, begin + e),
                            None => Piece::Text(&piece[b..e], Some(begin + b)),
                        },
                    );
                    Ok(())
                });
            }
            // The changed text lives in the state, taken out of it for the while.
            let mut changed = std::mem::take(&mut state.text);
            changed.clear();
            if self.nfc {
                normalize::nfc_into(piece, &mut changed)
            } else {
                changed.push_str(piece)
            }
            let mut blank = String::new();
            let done = self.split(&self.normalized, &changed, |b, e, token| {
                let piece = &changed[b..e];
                let piece = match token {
                    Some(id) => Piece::Token(id, begin, end),
                    None if self.prefix_space && !piece.starts_with(' ') => {
                        blank.clear();
                        blank.push(' ');
                        blank.push_str(piece);
                        Piece::Text(&blank, None)
                    }
                    None => Piece::Text(piece, None),
                };
                put(state, piece);
                Ok(())
            });
            state.text = changed;
            done
        })
    }

    /// Hugging Face's AddedVocabulary::find_matches: leftmost longest; a special token that is text still
    /// takes its place in the search.
    fn split(
        &self,
        matcher: &Option<Matcher>,
        text: &str,
        mut put: impl FnMut(usize, usize, Option<u32>) -> Result<(), SpecialFound>,
    ) -> Result<(), SpecialFound> {
        let mut done = 0;
        if let Some(m) = matcher {
            for found in m.automaton.find_iter(text) {
                let token = &self.added[m.tokens[found.pattern().as_usize()]];
                if token.special {
                    match self.special {
                        SpecialInText::Text => continue,
                        SpecialInText::Error => return Err(SpecialFound { position: found.start() }),
                        SpecialInText::Token => {}
                    }
                }
                let (mut start, mut stop) = (found.start(), found.end());
                if token.lstrip {
                    start = text[..start].trim_end().len().max(done);
                }
                if token.rstrip {
                    stop += text[stop..].len() - text[stop..].trim_start().len();
                }
                if done < start {
                    put(done, start, None)?;
                }
                put(start, stop, Some(token.id))?;
                done = stop;
            }
        }
        if done < text.len() {
            put(done, text.len(), None)?;
        }
        Ok(())
    }
}

/// A part of a text: an added token, or text with its place if it is as it was.
enum Piece<'t> {
    Token(u32, usize, usize),
    Text(&'t str, Option<usize>),
}
impl FastTokenizer {
    pub fn pre(&self, text: &str, mut f: impl FnMut(&[u8])) {
        let t = text.as_bytes();
        let mut at = 0;
        while at < t.len() {
            let e = self.pattern.end(t, at);
            let mut b = at;
            let mut i = at;
            loop {
                i += unicode::decode(t, i).1;
                if i >= e {
                    break;
                }
                if self.segmenter().cut_at(t, i) {
                    f(&t[b..i]);
                    b = i;
                }
            }
            f(&t[b..e]);
            at = e;
        }
    }
    pub fn nids(&self, state: &mut ThreadState, text: &[u8]) -> usize {
        let mut n = 0;
        self.segmenter().spans(state, text, |_, _, _| n += 1);
        n
    }
}
