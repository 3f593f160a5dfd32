//! The fast engine behind the seam: the crate `quern-fast`, for the tokenizers whose every part it knows.
//!
//! What it is asked gives exactly what the reference engine would; the test `every_call_is_the_references` holds the two
//! together. Where it can't, the file is the reference's: see [`Refusal`].

use std::cell::Cell;
use std::sync::{Arc, Weak};

use quern_fast::{FastTokenizer, SpecialFound, SpecialInText, ThreadState};

use crate::error::Error;
use crate::options::{Format, Options, SpecialTokensInText};
use crate::reference::{Outline, reachable, sections, special_token, unknown_id, without_content};
use crate::{Engine, Span, tiktoken};

pub(crate) struct Fast {
    tokenizer: FastTokenizer,
    format: Format,
    /// What a thread may keep.
    cache_bytes: usize,
    /// As long as this tokenizer is there, so that threads know when what they keep for it is of no more use.
    alive: Arc<()>,
}

/// Why this engine does not serve a file.
pub(crate) enum Refusal {
    /// A part that it does not know, in words without the file's content.
    Part(String),
    /// Not what a tokenizer.json looks like: the reference engine has the better message.
    Unreadable,
    /// Wrong for every engine.
    Wrong(Error),
}

impl Fast {
    pub(crate) fn load(file: &[u8], options: &Options, notices: &mut Vec<String>) -> Result<Fast, Refusal> {
        let special_in_text = match options.special_tokens_in_text {
            SpecialTokensInText::Text => SpecialInText::Text,
            SpecialTokensInText::Token => SpecialInText::Token,
            SpecialTokensInText::Error => SpecialInText::Error,
        };
        let how = quern_fast::Options { special_in_text, simd: None };
        let part = |unsupported: quern_fast::Unsupported| Refusal::Part(without_content(&unsupported.part));
        let tokenizer = match options.format {
            Format::HuggingFace => {
                let mut tokenizer = FastTokenizer::from_json(file, &how).map_err(|unsupported| {
                    Outline::of(file).map_or(Refusal::Unreadable, |_| part(unsupported))
                })?;
                let outline = Outline::of(tokenizer.take_outline().as_bytes()).ok_or(Refusal::Unreadable)?;
                if options.truncation && outline.truncation.is_some() {
                    return Err(Refusal::Part("truncation, which was asked for".into()));
                }
                if options.padding && outline.padding {
                    return Err(Refusal::Part("padding, which was asked for".into()));
                }
                if !tokenizer.decodes_bytes() {
                    return Err(Refusal::Part("a decoder that is not ByteLevel".into()));
                }
                notices.extend(sections(outline.truncation, outline.padding, options));
                if special_in_text == SpecialInText::Text {
                    notices.extend(special_tokens_from_plain_text(&tokenizer, &outline));
                }
                tokenizer
            }
            Format::Tiktoken => {
                tiktoken::check(file, options).map_err(Refusal::Wrong)?;
                let special: Vec<(String, u32)> = options.special_tokens.clone().into_iter().collect();
                let pattern = options.pattern.as_deref().expect("checked with the options");
                FastTokenizer::from_tiktoken(file, pattern, &special, &how).map_err(part)?
            }
        };
        let cache_bytes = usize::try_from(options.cache_bytes_per_thread).expect("checked with the options");
        Ok(Fast { tokenizer, format: options.format, cache_bytes, alive: Arc::new(()) })
    }

    fn template(&self, add_special_tokens: bool) -> (&[u32], &[u32]) {
        if add_special_tokens { self.tokenizer.template() } else { (&[], &[]) }
    }

    /// Calls `body` with this thread's state for this tokenizer. `longest`: bytes of the longest text.
    fn with_state<T>(
        &self,
        longest: usize,
        body: impl FnOnce(&mut ThreadState) -> Result<T, SpecialFound>,
    ) -> Result<T, Error> {
        // Taken out for the while: after a panic nothing of it is used again.
        let mut states = STATES.take().unwrap_or_default();
        let state = states.of(self);
        let result = body(state);
        if longest > LONG_TEXT_BYTES {
            state.shrink();
        }
        STATES.set(Some(states));
        result.map_err(|found| special_token(found.position))
    }
}

/// As the function of that name in reference.rs, which says why.
fn special_tokens_from_plain_text(tokenizer: &FastTokenizer, outline: &Outline) -> Option<String> {
    let mut state = ThreadState::new(0);
    let reached = tokenizer
        .special_tokens()
        .filter(|(text, _)| Some(*text) != outline.unknown_token.as_deref())
        .filter(|(text, id)| {
            let spans = tokenizer.encode_with_spans(&mut state, text);
            spans.is_ok_and(|spans| spans.iter().any(|(found, begin, end)| found == id && begin < end))
        })
        .count();
    reachable(reached)
}

impl Engine for Fast {
    fn name(&self) -> &'static str {
        "fast"
    }

    fn simd(&self) -> &'static str {
        self.tokenizer.simd().name()
    }

    fn encode(&self, text: &str, add_special_tokens: bool, ids: &mut [u32]) -> Result<usize, Error> {
        let (before, after) = self.template(add_special_tokens);
        let front = before.len().min(ids.len());
        let count =
            self.with_state(text.len(), |state| self.tokenizer.encode_to(state, text, &mut ids[front..]))?;
        let all = before.len() + count + after.len();
        if all <= ids.len() {
            ids[..front].copy_from_slice(before);
            ids[front + count..all].copy_from_slice(after);
        }
        Ok(all)
    }

    fn encode_batch(
        &self,
        text: &str,
        offsets: &[i64],
        add_special_tokens: bool,
        ids: &mut [u32],
        id_offsets: &mut [i64],
    ) -> Option<usize> {
        if self.template(add_special_tokens) != (&[], &[]) {
            return None;
        }
        // A document that is an error is found again, and told, by going through them one by one.
        let batch = |state: &mut ThreadState| {
            self.tokenizer.encode_batch(state, text, offsets, ids, id_offsets).map_err(|(_, found)| found)
        };
        let longest = offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize).max().unwrap_or(0);
        self.with_state(longest, batch).ok()
    }

    fn encode_with_offsets(
        &self,
        text: &str,
        add_special_tokens: bool,
        ids: &mut [u32],
        spans: &mut [Span],
    ) -> Result<usize, Error> {
        let (before, after) = self.template(add_special_tokens);
        let found = self.with_state(text.len(), |state| self.tokenizer.encode_with_spans(state, text))?;
        let all = before.len() + found.len() + after.len();
        if all <= ids.len() {
            let added = |ids: &'_ [u32]| ids.iter().map(|id| (*id, 0, 0)).collect::<Vec<_>>();
            let tokens = added(before).into_iter().chain(found).chain(added(after));
            for ((place, span), (id, begin, end)) in ids.iter_mut().zip(spans).zip(tokens) {
                *place = id;
                *span = [begin as i64, end as i64];
            }
        }
        Ok(all)
    }

    fn count(&self, text: &str, add_special_tokens: bool) -> Result<usize, Error> {
        let (before, after) = self.template(add_special_tokens);
        let count = self.with_state(text.len(), |state| self.tokenizer.count(state, text))?;
        Ok(before.len() + count + after.len())
    }

    fn cut(&self, text: &[u8]) -> usize {
        self.tokenizer.cut(text)
    }

    fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(4 * ids.len());
        for (index, id) in ids.iter().enumerate() {
            let token = self.tokenizer.token_bytes(*id).ok_or_else(|| unknown_id(index))?;
            if !(skip_special_tokens && self.tokenizer.is_special(*id)) {
                bytes.extend_from_slice(token);
            }
        }
        Ok(match self.format {
            Format::Tiktoken => bytes,
            // As the crate's ByteLevel decoder does.
            Format::HuggingFace => match String::from_utf8(bytes) {
                Ok(text) => text.into_bytes(),
                Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned().into_bytes(),
            },
        })
    }

    fn token_id(&self, token: &[u8]) -> Option<u32> {
        self.tokenizer.token_id(token)
    }

    fn model(&self) -> &'static str {
        "BPE"
    }

    fn vocabulary_size(&self) -> usize {
        self.tokenizer.vocabulary_size()
    }
}

/// A longer text may have made a state grow beyond its share, by pre-tokens of megabytes or the text's normalized form.
const LONG_TEXT_BYTES: usize = 256 << 10;

/// The smallest state that is of use, and the most of them that a thread keeps.
const LEAST_STATE_BYTES: usize = 512 << 10;
const MOST_STATES: usize = 4;

thread_local! {
    /// Goes with the thread.
    static STATES: Cell<Option<Box<States>>> = const { Cell::new(None) };
}

/// What a thread keeps between calls: a state for each of the tokenizers it uses in turn, the last one used first. Together
/// they take what one tokenizer may: a query with two tokenizers halves their caches but does not clear them in each row.
#[derive(Default)]
struct States(Vec<Kept>);

struct Kept {
    /// The tokenizer's, see [`FastTokenizer::number`].
    number: u64,
    alive: Weak<()>,
    bytes: usize,
    state: ThreadState,
}

impl States {
    fn of(&mut self, fast: &Fast) -> &mut ThreadState {
        let number = fast.tokenizer.number();
        match self.0.iter().position(|kept| kept.number == number) {
            Some(0) => {}
            Some(at) => self.0[..=at].rotate_right(1),
            None => self.add(fast),
        }
        &mut self.0[0].state
    }

    #[cold]
    fn add(&mut self, fast: &Fast) {
        let states = &mut self.0;
        states.retain(|kept| kept.alive.strong_count() > 0);
        let most = (fast.cache_bytes / LEAST_STATE_BYTES).clamp(1, MOST_STATES);
        let bytes = fast.cache_bytes / (states.len() + 1).min(most).next_power_of_two();
        let bytes = bytes.max(LEAST_STATE_BYTES);
        // Larger ones are made anew, smaller, when their tokenizers come again.
        states.retain(|kept| kept.bytes <= bytes);
        states.truncate(most - 1);
        let (number, alive) = (fast.tokenizer.number(), Arc::downgrade(&fast.alive));
        states.insert(0, Kept { number, alive, bytes, state: ThreadState::new(bytes) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes as entries, in GPT-2's alphabet.
    fn small(cache_bytes_per_thread: u64) -> Fast {
        let alphabet = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
        let vocabulary =
            alphabet.into_iter().zip(0_u32..).map(|(letter, id)| (letter.to_string(), id.into()));
        let vocabulary: serde_json::Map<String, serde_json::Value> = vocabulary.collect();
        let byte_level =
            r#"{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":true}"#;
        let file = format!(
            r#"{{"version":"1.0","pre_tokenizer":{byte_level},"decoder":{byte_level},"model":{{"type":"BPE","vocab":{},
                "merges":[]}}}}"#,
            serde_json::Value::Object(vocabulary)
        );
        let options = Options { cache_bytes_per_thread, ..Options::new(Format::HuggingFace) };
        Fast::load(file.as_bytes(), &options, &mut Vec::new()).ok().expect("every part is known")
    }

    fn kept() -> Vec<(u64, usize)> {
        let states = STATES.take().unwrap_or_default();
        let kept = states.0.iter().map(|kept| (kept.number, kept.bytes)).collect();
        STATES.set(Some(states));
        kept
    }

    #[test]
    fn the_tokenizers_of_a_thread_share_its_memory() {
        const MIB: usize = 1 << 20;
        let all: Vec<Fast> = (0..6).map(|_| small(8 << 20)).collect();
        let number = |at: usize| all[at].tokenizer.number();
        let encode = |fast: &Fast| assert_eq!(fast.count("ab c", false), Ok(4));
        encode(&all[0]);
        encode(&all[0]);
        assert_eq!(kept(), [(number(0), 8 * MIB)]);
        for _ in 0..3 {
            encode(&all[1]);
            encode(&all[0]);
        }
        assert_eq!(kept(), [(number(0), 4 * MIB), (number(1), 4 * MIB)]);
        for _ in 0..3 {
            all.iter().for_each(encode);
            assert!(kept().iter().map(|(_, bytes)| bytes).sum::<usize>() <= 8 * MIB);
        }
        assert_eq!(kept(), [5, 4, 3, 2].map(|at| (number(at), 2 * MIB)));
        drop(all);
        let last = small(512 << 10);
        encode(&last);
        assert_eq!(kept(), [(last.tokenizer.number(), MIB / 2)], "what is gone leaves its memory to others");
        let other = small(512 << 10);
        encode(&other);
        assert_eq!(kept(), [(other.tokenizer.number(), MIB / 2)]);
        std::thread::spawn(|| assert_eq!(kept(), [])).join().unwrap();
    }
}
