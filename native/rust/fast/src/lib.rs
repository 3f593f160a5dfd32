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
mod cut;
mod encode;
#[cfg(target_arch = "x86_64")]
mod lanes;
mod load;
mod long;
mod memory;
mod normalize;
mod pairs;
mod pretoken;
#[cfg(test)]
#[path = "../tests/common/random.rs"]
mod random;
mod unicode;
mod unicode_tables;
mod window;

pub use encode::{Simd, ThreadState};
pub use pretoken::Pattern;
/// The texts of the regexes that are recognised.
pub mod patterns {
    pub use crate::pretoken::{CL100K, DEEPSEEK3, FALCON_DIGITS, GPT2, O200K, QWEN2, QWEN35, TEKKEN};
}

use aho_corasick::{AhoCorasick, MatchKind};
use encode::{Documents, Out, Segmenter};
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

impl Simd {
    /// As the record of a run names it.
    pub fn name(self) -> &'static str {
        match self {
            Simd::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Simd::Neon => "neon",
        }
    }
}

struct Matcher {
    automaton: AhoCorasick,
    /// Indices into the added tokens, by pattern.
    tokens: Vec<usize>,
}

/// Ids, each with begin and end in bytes.
pub type Spans = Vec<(u32, usize, usize)>;

/// An entry that is not spelled in bytes: an added token, or one that no text can give.
struct Named {
    id: u32,
    /// As the tokenizer spells it.
    text: String,
    /// What decoding makes of it.
    bytes: Box<[u8]>,
    special: bool,
}

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
    /// By id.
    named: Vec<Named>,
    size: usize,
    spelled: bool,
    byte_decoder: bool,
    trim: Vec<bool>,
    /// Tokens that are looked for before normalizing, and after.
    raw: Option<Matcher>,
    normalized: Option<Matcher>,
    template: (Vec<u32>, Vec<u32>),
    outline: String,
    cuts: cut::Places,
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
        let matched = |token: &load::Added| match &token.content {
            text if token.normalized && parts.nfc => normalize::nfc(text),
            text => text.clone(),
        };
        let looked_for = parts.added.iter().filter(|_| !ignored).map(|token| (token, matched(token)));
        let cuts = cut::Places::of(parts.prefix_space, looked_for);
        let matcher = |normalized: bool| -> Result<Option<Matcher>, Unsupported> {
            let tokens: Vec<usize> = (0..parts.added.len())
                .filter(|i| parts.added[*i].normalized == normalized && !ignored)
                .collect();
            if tokens.is_empty() {
                return Ok(None);
            }
            let texts = tokens.iter().map(|i| matched(&parts.added[*i]));
            let automaton = AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(texts)
                .map_err(|e| Unsupported::new(format!("added tokens ({e})")))?;
            Ok(Some(Matcher { automaton, tokens }))
        };
        // As Hugging Face's AddedVocabulary::simple_id_to_token and is_special_token.
        let special = |text: &String| parts.added.iter().any(|t| t.special && t.content == *text);
        let of_added = parts.added.iter().map(|t| {
            let text = matched(t);
            (t.id, special(&text), text)
        });
        let others = parts.others.into_iter().filter(|o| parts.added.iter().all(|t| t.id != o.1));
        let mut named: Vec<Named> = of_added
            .chain(others.map(|(text, id)| (id, false, text)))
            .map(|(id, special, text)| {
                let mut bytes = Vec::new();
                if !parts.spelled || !load::append(&mut bytes, &text) {
                    bytes = text.as_bytes().to_vec();
                }
                Named { id, text, bytes: bytes.into(), special }
            })
            .collect();
        named.sort_by_key(|n| n.id);
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
            named,
            size: parts.size,
            spelled: parts.spelled,
            byte_decoder: parts.byte_decoder,
            trim: parts.trim,
            template: parts.template,
            outline: parts.outline,
            cuts,
        })
    }

    fn named(&self, id: u32) -> Option<&Named> {
        self.named.binary_search_by_key(&id, |n| n.id).ok().map(|at| &self.named[at])
    }
    /// What decoding makes of an id, if `decodes_bytes`; None: no token has the id.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.named(id).map(|n| &*n.bytes).or_else(|| self.bpe.spelling(id))
    }
    /// Whether an id is of a special token.
    pub fn is_special(&self, id: u32) -> bool {
        self.named(id).is_some_and(|n| n.special)
    }
    /// The id of a token: of an added one by its text, of another as the file spells it (from a rank file, its
    /// bytes).
    pub fn token_id(&self, token: &[u8]) -> Option<u32> {
        let added = self.added.iter().find(|t| t.content.as_bytes() == token).map(|t| t.id);
        added.or_else(|| {
            if !self.spelled {
                return self.bpe.id_of(token);
            }
            let (text, mut bytes) = (std::str::from_utf8(token).ok()?, Vec::new());
            if load::append(&mut bytes, text) {
                return self.bpe.id_of(&bytes);
            }
            self.named.iter().find(|n| n.text == text).map(|n| n.id)
        })
    }
    /// Entries of the vocabulary and added tokens that are not in it.
    pub fn vocabulary_size(&self) -> usize {
        self.size
    }
    /// Whether the text of ids is what the bytes of their tokens give (`token_bytes`), without further ado.
    pub fn decodes_bytes(&self) -> bool {
        self.byte_decoder
    }
    /// Text and id of each special token.
    pub fn special_tokens(&self) -> impl Iterator<Item = (&str, u32)> {
        self.added.iter().filter(|t| t.special).map(|t| (t.content.as_str(), t.id))
    }
    /// Tells this tokenizer from all others of the process: what a `ThreadState` remembers.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The last place within a text at which a longer one that begins like it may be cut: the ids of the two parts, one
    /// behind the other, are those of the whole, without the template. In bytes; 0 if none is known.
    pub fn cut(&self, text: &[u8]) -> usize {
        self.cuts.last(text)
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
    /// The tokenizer.json it was loaded from without the vocabulary and the merges, which are all but some kilobytes of
    /// it; only once.
    pub fn take_outline(&mut self) -> String {
        std::mem::take(&mut self.outline)
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

    /// As `encode_into`, to memory that is initialized.
    pub fn encode_to(
        &self,
        state: &mut ThreadState,
        text: &str,
        out: &mut [u32],
    ) -> Result<usize, SpecialFound> {
        // SAFETY: the slice is the caller's as long as this call lasts, and only values are written.
        let mut out = unsafe { Out::new(out.as_mut_ptr(), out.len()) };
        self.encode_out(state, text, &mut out)?;
        Ok(out.len)
    }

    /// Encodes many texts, each alone: the one from `offsets[i]` to `offsets[i + 1]` of `text` gets the ids up to
    /// `id_offsets[i + 1]`. -> how many ids there are in all, as `encode_into`. Short texts are as fast as long ones:
    /// what is done for many pre-tokens at once goes on over the ends of texts.
    ///
    /// `offsets` ascend from 0 or more to the text's length or less, at characters' boundaries, or this panics;
    /// `id_offsets` has as many entries. A special token that is an error says in which text it is.
    pub fn encode_batch(
        &self,
        state: &mut ThreadState,
        text: &str,
        offsets: &[i64],
        out: &mut [u32],
        id_offsets: &mut [i64],
    ) -> Result<usize, (usize, SpecialFound)> {
        assert_eq!(offsets.len(), id_offsets.len());
        assert!(offsets.is_sorted() && offsets.iter().all(|at| text.is_char_boundary(*at as usize)));
        let Some((begin, ends)) = offsets.split_first() else { return Ok(0) };
        let (first, id_ends) = id_offsets.split_first_mut().expect("as long as the offsets");
        *first = 0;
        // SAFETY: the slice is the caller's as long as this call lasts, and only values are written.
        let mut out = unsafe { Out::new(out.as_mut_ptr(), out.len()) };
        state.own(self.number);
        let (mut begin, mut at) = (*begin as usize, 0);
        while at < ends.len() {
            // As many as need nothing but pre-tokens.
            let mut end = begin;
            let plain = ends[at..].iter().take_while(|next| {
                let document = &text[std::mem::replace(&mut end, **next as usize)..**next as usize];
                self.is_plain(document)
            });
            let plain = at + plain.count();
            if at < plain {
                let documents = Documents { text: text.as_bytes(), begin, ends: &ends[at..plain] };
                self.segmenter().encode_all(state, &documents, &mut out, &mut id_ends[at..plain]);
                (at, begin) = (plain, ends[plain - 1] as usize);
            }
            if at < ends.len() {
                let document = &text[begin..ends[at] as usize];
                self.encode_out(state, document, &mut out).map_err(|found| (at, found))?;
                begin = ends[at] as usize;
                id_ends[at] = out.len as i64;
                at += 1;
            }
        }
        Ok(out.len)
    }

    /// Whether there is nothing to do for a text before the pre-tokenizer.
    fn is_plain(&self, text: &str) -> bool {
        let without =
            |matcher: &Option<Matcher>| matcher.as_ref().is_none_or(|m| !m.automaton.is_match(text));
        !self.prefix_space
            && without(&self.raw)
            && (!self.nfc || normalize::is_nfc(text))
            && without(&self.normalized)
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

    /// Ids with the bytes of `text` each stands for, exactly Hugging Face's: a token that is part of a character has
    /// all of it, text that the normalizer changed is where the crate's alignments say, and the post-processor
    /// may have taken blanks off. Without the template, whose ids have 0, 0.
    pub fn encode_with_spans(&self, state: &mut ThreadState, text: &str) -> Result<Spans, SpecialFound> {
        state.own(self.number);
        let mut all = Spans::new();
        let mut alignment = Alignment::default();
        let segmenter = self.segmenter();
        self.pieces(state, text, |state, piece| match piece {
            Piece::Token(token, slice, place) => {
                let (begin, end) = alignment.span(text, &place, 0, slice.len());
                let blank = |c: &char| c.is_whitespace() || *c == '\u{120}'; // a blank in GPT-2's alphabet
                let leading = slice.chars().take_while(blank).count();
                let trailing = slice.chars().rev().take_while(blank).count();
                all.push(self.trimmed(token.id, begin, end, leading, trailing, all.is_empty()));
            }
            Piece::Text(piece, place) => segmenter.spans(state, piece.as_bytes(), |id, b, e| {
                let (begin, end) = alignment.span(text, &place, b, e);
                let token = &piece.as_bytes()[b..e];
                let leading = token.iter().take_while(|c| **c == b' ').count();
                let trailing = token.iter().rev().take_while(|c| **c == b' ').count();
                all.push(self.trimmed(id, begin, end, leading, trailing, all.is_empty()));
            }),
        })?;
        Ok(all)
    }

    /// Hugging Face's byte_level::process_offsets.
    fn trimmed(
        &self,
        id: u32,
        mut begin: usize,
        mut end: usize,
        leading: usize,
        trailing: usize,
        first: bool,
    ) -> (u32, usize, usize) {
        for prefix_space in &self.trim {
            if !(leading == 1 && *prefix_space && (first || begin == 0)) {
                begin = (begin + leading).min(end);
            }
            if trailing > 0 && end >= trailing {
                end = (end - trailing).max(begin);
            }
        }
        (id, begin, end)
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
            Piece::Token(token, ..) => out.push(token.id),
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
            let piece = &text[begin..end];
            let place = |at, changed, blank| Place { begin, end, at, changed, blank };
            if let Some(token) = token {
                self.refuse(token, text, begin, end)?;
                put(state, Piece::Token(token, piece, place(0, false, false)));
                return Ok(());
            }
            if (!self.nfc || normalize::is_nfc(piece)) && !self.prefix_space {
                return self.split(&self.normalized, piece, |b, e, token| {
                    let place = place(b, false, false);
                    let piece = match token {
                        Some(token) => {
                            self.refuse(token, text, begin + b, begin + e)?;
                            Piece::Token(token, &piece[b..e], place)
                        }
                        None => Piece::Text(&piece[b..e], place),
                    };
                    put(state, piece);
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
            let mut blank = std::mem::take(&mut state.blank);
            let done = self.split(&self.normalized, &changed, |b, e, token| {
                let piece = &changed[b..e];
                let piece = match token {
                    Some(token) => {
                        let place = place(b, self.nfc, false);
                        if self.special == SpecialInText::Error && token.special {
                            let (begin, end) = Alignment::default().span(text, &place, 0, e - b);
                            self.refuse(token, text, begin, end)?;
                        }
                        Piece::Token(token, piece, place)
                    }
                    None if self.prefix_space && !piece.starts_with(' ') => {
                        blank.clear();
                        blank.push(' ');
                        blank.push_str(piece);
                        Piece::Text(&blank, place(b, self.nfc, true))
                    }
                    None => Piece::Text(piece, place(b, self.nfc, false)),
                };
                put(state, piece);
                Ok(())
            });
            // What a huge text took does not stay with the thread.
            for (buffer, place) in [(changed, &mut state.text), (blank, &mut state.blank)] {
                if buffer.capacity() <= KEPT {
                    *place = buffer;
                }
            }
            done
        })
    }

    /// A special token at these bytes of the text (blanks around it included) may be an error.
    fn refuse(&self, token: &load::Added, text: &str, begin: usize, end: usize) -> Result<(), SpecialFound> {
        if token.special && self.special == SpecialInText::Error {
            let within = text.get(begin..end).and_then(|piece| piece.find(&token.content)).unwrap_or(0);
            return Err(SpecialFound { position: begin + within });
        }
        Ok(())
    }

    /// Hugging Face's AddedVocabulary::find_matches: leftmost longest; a special token that is text still
    /// takes its place in the search.
    fn split<'s>(
        &'s self,
        matcher: &Option<Matcher>,
        text: &str,
        mut put: impl FnMut(usize, usize, Option<&'s load::Added>) -> Result<(), SpecialFound>,
    ) -> Result<(), SpecialFound> {
        let mut done = 0;
        if let Some(m) = matcher {
            for found in m.automaton.find_iter(text) {
                let token = &self.added[m.tokens[found.pattern().as_usize()]];
                if token.special && self.special == SpecialInText::Text {
                    continue;
                }
                let (mut start, mut stop) = (found.start(), found.end());
                let word = |c: Option<char>| c.is_some_and(regex_syntax::is_word_character);
                if token.single_word
                    && (word(text[..start].chars().next_back()) || word(text[stop..].chars().next()))
                {
                    continue;
                }
                if token.lstrip {
                    start = text[..start].trim_end().len().max(done);
                }
                if token.rstrip {
                    stop += text[stop..].len() - text[stop..].trim_start().len();
                }
                if done < start {
                    put(done, start, None)?;
                }
                // The token before this one may have taken all of its white space.
                if start < stop {
                    put(start, stop, Some(token))?;
                }
                done = stop;
            }
        }
        if done < text.len() {
            put(done, text.len(), None)?;
        }
        Ok(())
    }
}

/// Bytes of changed text that a thread's state may keep room for.
const KEPT: usize = 1 << 20;

/// A part of a text: an added token with the text it was found as, or text; both normalized.
enum Piece<'t> {
    Token(&'t load::Added, &'t str, Place),
    Text(&'t str, Place),
}

/// Where a piece is from.
struct Place {
    /// The bytes of the text that were normalized together.
    begin: usize,
    end: usize,
    /// Where the piece begins in what became of them.
    at: usize,
    /// The normalizer changed them, or may have.
    changed: bool,
    /// The piece has a blank more, in front.
    blank: bool,
}

/// From bytes of normalized text to bytes of the text: Hugging Face's NormalizedString, as far as it is needed.
#[derive(Default)]
struct Alignment {
    /// What `bytes` was made for.
    of: Option<(usize, usize)>,
    /// For each byte of the normalized text the character of the text it is from.
    bytes: Vec<(usize, usize)>,
}

impl Alignment {
    /// Where in the text bytes `from` to `to` (at least one) of a piece are from, as whole characters.
    fn span(&mut self, text: &str, place: &Place, from: usize, to: usize) -> (usize, usize) {
        // The blank is where the character behind it is.
        let of = |at: usize| place.at + if place.blank { at.saturating_sub(1) } else { at };
        let (first, last) = (of(from), of(to - 1));
        if place.changed {
            if self.of != Some((place.begin, place.end)) {
                self.bytes = normalize::alignment(&text[place.begin..place.end], place.begin);
                self.of = Some((place.begin, place.end));
            }
            return (self.bytes[first].0, self.bytes[last].1);
        }
        let (mut begin, mut end) = (place.begin + first, place.begin + last + 1);
        while !text.is_char_boundary(begin) {
            begin -= 1;
        }
        while !text.is_char_boundary(end) {
            end += 1;
        }
        (begin, end)
    }
}
