//! OpenAI's tiktoken files on the reference engine.
//!
//! A rank file has a line `<base64 of a token's bytes> <rank>` for each token; the rank is both the id and the order of
//! merging. The pattern and the special tokens are not in the file: the options bring them. What makes Hugging Face's BPE
//! give tiktoken's ids:
//! - The vocabulary is spelled in the byte-level alphabet (one character for each byte), as GPT-2's is.
//! - Merges: tiktoken joins the two neighbours whose bytes together are the entry of the lowest rank. Every split of an
//!   entry into two entries would be a merge of that rank. One split is enough: see [`merges`].
//! - `ignore_merges`: tiktoken looks a whole pre-token up before it merges anything.
//! - Special tokens never enter the Hugging Face tokenizer, which would give them the next free ids with only a warning
//!   (100256 instead of 100257 for cl100k_base). The text is cut at them here, and the pieces are encoded. So their ids
//!   are exactly those given, and under the policy "text" nothing can produce one.
//!
//! Where a pattern leaves text out, tiktoken drops that text; here it is encoded as a pre-token of its own, since a corpus
//! must not lose text silently. The patterns of OpenAI's own vocabularies leave nothing out.

use std::collections::{BTreeMap, HashMap};

use ahash::AHashMap;
use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokenizers::Tokenizer;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;

use crate::error::{Error, Kind};
use crate::options::{Options, SpecialTokensInText};
use crate::reference::{encode, encode_with_offsets, special_token, unknown_id};
use crate::{Engine, Span, pattern};

/// The longest entry accepted. OpenAI's longest have 128 bytes. Finding the merge of an entry takes time with the square
/// of its length, so a malicious file must not bring one of megabytes.
const MAX_ENTRY_BYTES: usize = 1024;

pub(crate) struct Tiktoken {
    tokenizer: Tokenizer,
    ranks: Ranks,
    special: BTreeMap<String, u32>,
    special_texts: HashMap<u32, String>,
    policy: SpecialTokensInText,
    /// Finds the special tokens in a text, the longest of those that begin at the same place; none to find under "text".
    finder: Option<AhoCorasick>,
    /// The ids of the finder's patterns, in its order.
    finder_ids: Vec<u32>,
}

/// Refuses what `Tiktoken::load` refuses of a rank file and its special tokens.
pub(crate) fn check(file: &[u8], options: &Options) -> Result<(), Error> {
    check_special_tokens(&Ranks::parse(file)?, &options.special_tokens).map(drop)
}

/// The entries of a rank file: each one's bytes, by rank.
struct Ranks {
    bytes: Vec<u8>,
    /// (rank, begin, end) with the place in `bytes`, by ascending rank.
    entries: Vec<(u32, u32, u32)>,
}

impl Tiktoken {
    pub(crate) fn load(
        file: &[u8],
        options: &Options,
        _notices: &mut Vec<String>,
    ) -> Result<Tiktoken, Error> {
        let ranks = Ranks::parse(file)?;
        let special_texts = check_special_tokens(&ranks, &options.special_tokens)?;
        let (finder, finder_ids) = match options.special_tokens_in_text {
            SpecialTokensInText::Text => (None, Vec::new()),
            _ if options.special_tokens.is_empty() => (None, Vec::new()),
            _ => {
                let finder = AhoCorasick::builder()
                    .match_kind(MatchKind::LeftmostLongest)
                    .build(options.special_tokens.keys())
                    .map_err(|error| Error::new(Kind::Unsupported, format!("the special tokens: {error}")))?;
                (Some(finder), options.special_tokens.values().copied().collect())
            }
        };
        let pattern = options.pattern.as_deref().expect("checked with the options");
        Ok(Tiktoken {
            tokenizer: build(&ranks, pattern)?,
            ranks,
            special: options.special_tokens.clone(),
            special_texts,
            policy: options.special_tokens_in_text,
            finder,
            finder_ids,
        })
    }

    /// Cuts the text at its special tokens: calls `piece` with (begin, text) of each stretch of plain text that is not
    /// empty, and `special` with (id, begin, end), in order.
    fn each<S>(
        &self,
        text: &str,
        state: &mut S,
        mut piece: impl FnMut(&mut S, usize, &str) -> Result<(), Error>,
        mut special: impl FnMut(&mut S, u32, usize, usize),
    ) -> Result<(), Error> {
        let mut begin = 0;
        if let Some(finder) = &self.finder {
            for found in finder.find_iter(text) {
                if self.policy == SpecialTokensInText::Error {
                    return Err(special_token(found.start()));
                }
                if begin < found.start() {
                    piece(state, begin, &text[begin..found.start()])?;
                }
                special(state, self.finder_ids[found.pattern().as_usize()], found.start(), found.end());
                begin = found.end();
            }
        }
        if begin < text.len() {
            piece(state, begin, &text[begin..])?;
        }
        Ok(())
    }
}

impl Engine for Tiktoken {
    fn encode(&self, text: &str, _add_special_tokens: bool, ids: &mut [u32]) -> Result<usize, Error> {
        let mut written = (0, ids);
        self.each(
            text,
            &mut written,
            |(count, ids), _, piece| {
                let room = (*count).min(ids.len());
                *count += encode(&self.tokenizer, piece, false, &mut ids[room..])?;
                Ok(())
            },
            |(count, ids), id, _, _| {
                if let Some(place) = ids.get_mut(*count) {
                    *place = id;
                }
                *count += 1;
            },
        )?;
        Ok(written.0)
    }

    fn encode_with_offsets(
        &self,
        text: &str,
        _add_special_tokens: bool,
        ids: &mut [u32],
        spans: &mut [Span],
    ) -> Result<usize, Error> {
        let mut written = (0, ids, spans);
        self.each(
            text,
            &mut written,
            |(count, ids, spans), begin, piece| {
                let room = (*count).min(ids.len());
                let spans = &mut spans[room..];
                let found = encode_with_offsets(&self.tokenizer, piece, false, &mut ids[room..], spans)?;
                for position in spans.iter_mut().take(found).flatten() {
                    *position += begin as i64;
                }
                *count += found;
                Ok(())
            },
            |(count, ids, spans), id, begin, end| {
                if let Some(place) = ids.get_mut(*count) {
                    *place = id;
                    spans[*count] = [begin as i64, end as i64];
                }
                *count += 1;
            },
        )?;
        Ok(written.0)
    }

    fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(4 * ids.len());
        for (index, id) in ids.iter().enumerate() {
            if let Some(entry) = self.ranks.bytes_of(*id) {
                bytes.extend_from_slice(entry);
            } else {
                let text = self.special_texts.get(id).ok_or_else(|| unknown_id(index))?;
                if !skip_special_tokens {
                    bytes.extend_from_slice(text.as_bytes());
                }
            }
        }
        Ok(bytes)
    }

    fn token_id(&self, token: &[u8]) -> Option<u32> {
        let special = std::str::from_utf8(token).ok().and_then(|text| self.special.get(text));
        special.copied().or_else(|| self.tokenizer.token_to_id(&spelled(token, &byte_alphabet())))
    }

    fn model(&self) -> &'static str {
        "BPE"
    }

    fn vocabulary_size(&self) -> usize {
        self.ranks.entries.len() + self.special.len()
    }
}

impl Ranks {
    fn parse(file: &[u8]) -> Result<Ranks, Error> {
        let mut bytes = Vec::with_capacity(file.len() / 2);
        let mut entries = Vec::new();
        let mut position = 0;
        for (index, line) in file.split(|byte| *byte == b'\n').enumerate() {
            let refused = |what: &str| {
                Error::at(
                    Kind::Unsupported,
                    position,
                    format!(
                        "line {} of the tiktoken file {what}; each line must be the base64 of a token's bytes, a space \
                         and its rank",
                        index + 1
                    ),
                )
            };
            let line = line.trim_ascii();
            if !line.is_empty() {
                let mut fields = line.split(u8::is_ascii_whitespace);
                let (token, rank) = match (fields.next(), fields.next(), fields.next()) {
                    (Some(token), Some(rank), None) => (token, rank),
                    _ => return Err(refused("does not have two fields")),
                };
                let begin = bytes.len();
                BASE64.decode_vec(token, &mut bytes).map_err(|_| refused("has invalid base64"))?;
                let length = bytes.len() - begin;
                if length == 0 || length > MAX_ENTRY_BYTES {
                    return Err(refused(&format!(
                        "has a token of {length} bytes (1 to {MAX_ENTRY_BYTES} are supported)"
                    )));
                }
                let rank = std::str::from_utf8(rank).ok().and_then(|rank| rank.parse::<u32>().ok());
                let rank = rank.filter(|rank| *rank <= i32::MAX as u32);
                let rank =
                    rank.ok_or_else(|| refused("has a rank that is not a number from 0 to 2147483647"))?;
                let place = |at: usize| u32::try_from(at).map_err(|_| refused("is past 4 GiB of tokens"));
                entries.push((rank, place(begin)?, place(bytes.len())?));
            }
            position += line.len() + 1;
        }
        entries.sort_unstable();
        bytes.shrink_to_fit();
        entries.shrink_to_fit();
        let ranks = Ranks { bytes, entries };
        ranks.check()?;
        Ok(ranks)
    }

    fn check(&self) -> Result<(), Error> {
        let refused = |what: String| Err(Error::new(Kind::Unsupported, format!("the tiktoken file {what}")));
        if self.entries.is_empty() {
            return refused(
                "has no lines; give the rank file itself, not an empty or a compressed one".into(),
            );
        }
        if let Some(pair) = self.entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return refused(format!("has rank {} twice; every token must have a rank of its own", pair[0].0));
        }
        let mut single = [false; 256];
        for (_, entry) in self.iter() {
            if let [byte] = entry {
                single[usize::from(*byte)] = true;
            }
        }
        // Text with such a byte would have no ids; Hugging Face's crate would leave the byte out silently.
        match single.iter().position(|there| !there) {
            Some(byte) => {
                refused(format!("has no token for the single byte {byte:#04x}; all 256 are needed"))
            }
            None => Ok(()),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.entries.iter().map(|&(rank, begin, end)| (rank, &self.bytes[begin as usize..end as usize]))
    }

    fn bytes_of(&self, rank: u32) -> Option<&[u8]> {
        // Ranks are nearly always 0, 1, 2, ... without a gap.
        let guess = self.entries.get(rank as usize).filter(|entry| entry.0 == rank);
        let found = guess.or_else(|| {
            let index = self.entries.binary_search_by_key(&rank, |entry| entry.0).ok()?;
            Some(&self.entries[index])
        });
        found.map(|&(_, begin, end)| &self.bytes[begin as usize..end as usize])
    }
}

fn check_special_tokens(
    ranks: &Ranks,
    special: &BTreeMap<String, u32>,
) -> Result<HashMap<u32, String>, Error> {
    let mut texts = HashMap::new();
    for (text, id) in special {
        let refused = |what: &str| {
            Err(Error::new(Kind::InvalidArgument, format!("the option \"special_tokens\": {text:?} {what}")))
        };
        if text.is_empty() {
            return refused("is empty; leave it out");
        }
        if *id > i32::MAX as u32 {
            return refused("has an id above 2147483647, which no output type can hold");
        }
        if ranks.bytes_of(*id).is_some() {
            return refused("has an id that is also the rank of a token in the file; give it one of its own");
        }
        if texts.insert(*id, text.clone()).is_some() {
            return refused("has the id of another special token; give it one of its own");
        }
    }
    Ok(texts)
}

fn build(ranks: &Ranks, pattern: &str) -> Result<Tokenizer, Error> {
    let unsupported = |reason: String| {
        Error::new(
            Kind::Unsupported,
            format!("the option \"pattern\" can't be used: {reason}; see the engine's pattern.rs"),
        )
    };
    let pattern = pattern::for_onig(pattern).map_err(unsupported)?;
    let split = Split::new(SplitPattern::Regex(pattern), SplitDelimiterBehavior::Isolated, false)
        .map_err(|error| unsupported(error.to_string()))?;
    let alphabet = byte_alphabet();
    let mut vocabulary = Vocab::with_capacity(ranks.entries.len());
    for (rank, entry) in ranks.iter() {
        if vocabulary.insert(spelled(entry, &alphabet), rank).is_some() {
            return Err(Error::new(
                Kind::Unsupported,
                format!(
                    "the tiktoken file has the token of rank {rank} twice; every token must have one rank"
                ),
            ));
        }
    }
    let merges =
        merges(ranks).map(|(left, right)| (spelled(left, &alphabet), spelled(right, &alphabet))).collect();
    // A capacity of 0 means no cache, whose reason is at the head of reference.rs.
    let model =
        BPE::builder().vocab_and_merges(vocabulary, merges).ignore_merges(true).cache_capacity(0).build();
    let model =
        model.map_err(|error| Error::new(Kind::Unsupported, format!("the tiktoken file: {error}")))?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![
        split.into(),
        ByteLevel::new(false, false, false).into(),
    ])));
    Ok(tokenizer)
}

/// The merge that makes each entry, by ascending rank: the last two parts when the entry's own bytes are encoded. Entries
/// that no merge reaches have none.
///
/// Why one split is enough, where tiktoken would take any: let an entry T appear somewhere in a text. Up to that moment
/// no merge crossed T's borders, so the merges inside happened in the order of their ranks among themselves, leftmost
/// first, whatever happened outside: exactly as when T's bytes stand alone. So the last two parts are always the same two.
/// They may have a higher rank than T: files have such entries, so it would be wrong to stop at T's own rank. With every
/// split there would be several times as many merges. Held by the test `one_split_is_enough`.
fn merges(ranks: &Ranks) -> impl Iterator<Item = (&[u8], &[u8])> {
    let by_bytes: AHashMap<&[u8], u32> = ranks.iter().map(|(rank, entry)| (entry, rank)).collect();
    let mut ends = Vec::new();
    let mut joined = Vec::new();
    ranks.iter().filter_map(move |(_, entry)| {
        let split = last_split(entry, &by_bytes, &mut ends, &mut joined)?;
        Some(entry.split_at(split))
    })
}

/// Where the last merge joins `entry`, by tiktoken's algorithm; `ends` and `joined` are scratch space.
fn last_split(
    entry: &[u8],
    ranks: &AHashMap<&[u8], u32>,
    ends: &mut Vec<usize>,
    joined: &mut Vec<u32>,
) -> Option<usize> {
    const NONE: u32 = u32::MAX;
    // Part i ends at ends[i]; joined[i] is the rank of parts i and i + 1 together.
    let rank_of = |begin: usize, end: usize| ranks.get(&entry[begin..end]).copied().unwrap_or(NONE);
    ends.clear();
    ends.extend(1..=entry.len());
    joined.clear();
    joined.extend((0..entry.len().saturating_sub(1)).map(|at| rank_of(at, at + 2)));
    let mut split = None;
    // min_by_key takes the first of equals: the leftmost.
    while let Some((at, rank)) = joined.iter().copied().enumerate().min_by_key(|(_, rank)| *rank) {
        if rank == NONE {
            return None;
        }
        split = Some(ends[at]);
        ends.remove(at);
        joined.remove(at);
        let begin_of = |part: usize, ends: &[usize]| if part == 0 { 0 } else { ends[part - 1] };
        if at < joined.len() {
            joined[at] = rank_of(begin_of(at, ends), ends[at + 1]);
        }
        if at > 0 {
            joined[at - 1] = rank_of(begin_of(at - 1, ends), ends[at]);
        }
    }
    split
}

/// GPT-2's characters for the 256 bytes: printable ones stand for themselves, the others are numbered from U+0100 on.
fn byte_alphabet() -> [char; 256] {
    let mut next = 0x100;
    std::array::from_fn(|byte| {
        let byte = byte as u8;
        if matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF) {
            return char::from(byte);
        }
        next += 1;
        char::from_u32(next - 1).expect("below U+0200 every number is a character")
    })
}

fn spelled(bytes: &[u8], alphabet: &[char; 256]) -> String {
    bytes.iter().map(|byte| alphabet[usize::from(*byte)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Format;

    /// Rank files are made up here: the 256 bytes, then entries that are two earlier ones joined, or (`odd`) any bytes,
    /// which no merge may reach.
    struct Random(u64);

    impl Random {
        fn next(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % limit as u64) as usize
        }

        fn ranks(&mut self, entries: usize, odd: bool) -> Vec<Vec<u8>> {
            // Few letters, so that entries overlap and compete.
            let mut ranks: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
            let alphabet = b"ab c";
            let mut pool: Vec<Vec<u8>> = alphabet.iter().map(|byte| vec![*byte]).collect();
            while ranks.len() < 256 + entries {
                let mut entry = pool[self.next(pool.len())].clone();
                if odd && self.next(5) == 0 {
                    entry.extend((0..self.next(6)).map(|_| alphabet[self.next(alphabet.len())]));
                } else {
                    entry.extend_from_slice(&pool[self.next(pool.len())].clone());
                }
                if entry.len() <= 12 && !ranks.contains(&entry) {
                    ranks.push(entry.clone());
                    pool.push(entry);
                }
            }
            ranks
        }

        fn text(&mut self, length: usize) -> String {
            (0..length).map(|_| ['a', 'b', 'b', ' ', 'c', 'é'][self.next(6)]).collect()
        }
    }

    fn seed() -> u64 {
        let seed = std::env::var("QUERN_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed
            .unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_nanos() as u64 | 1));
        println!("to repeat: QUERN_SEED={seed} cargo test -p quern-engine tiktoken");
        seed
    }

    fn file(ranks: &[Vec<u8>]) -> Vec<u8> {
        let lines =
            ranks.iter().enumerate().map(|(rank, entry)| format!("{} {rank}\n", BASE64.encode(entry)));
        lines.collect::<String>().into_bytes()
    }

    fn options(special: &[(&str, u32)]) -> Options {
        Options {
            pattern: Some(r" ?[^\s]+|\s+".into()),
            special_tokens: special.iter().map(|(text, id)| (text.to_string(), *id)).collect(),
            ..Options::new(Format::Tiktoken)
        }
    }

    fn load(file: &[u8], options: &Options) -> Result<Tiktoken, Error> {
        Tiktoken::load(file, options, &mut Vec::new())
    }

    fn ids(tokenizer: &dyn Engine, text: &str) -> Vec<u32> {
        let mut ids = vec![0; 2 * text.len() + 8];
        let count = tokenizer.encode(text, false, &mut ids).unwrap();
        ids.truncate(count);
        ids
    }

    /// tiktoken's algorithm as its documentation tells it: join the neighbours whose bytes have the lowest rank, the
    /// leftmost of equals, until no neighbours have one.
    fn naive(piece: &[u8], ranks: &[Vec<u8>]) -> Vec<u32> {
        let rank = |bytes: &[u8]| ranks.iter().position(|entry| entry == bytes);
        if let Some(whole) = rank(piece) {
            return vec![whole as u32];
        }
        let mut parts: Vec<Vec<u8>> = piece.iter().map(|byte| vec![*byte]).collect();
        loop {
            let joined =
                parts.windows(2).enumerate().filter_map(|(at, pair)| Some((rank(&pair.concat())?, at)));
            let Some((_, at)) = joined.min() else { break };
            let right = parts.remove(at + 1);
            parts[at].extend(right);
        }
        parts.iter().map(|part| rank(part).unwrap() as u32).collect()
    }

    #[test]
    fn one_split_is_enough() {
        let mut random = Random(seed());
        for round in 0..12 {
            let entries = 40 + 20 * round;
            let list = random.ranks(entries, round % 2 == 1);
            let tokenizer = load(&file(&list), &options(&[])).unwrap();
            let ranks = Ranks::parse(&file(&list)).unwrap();
            let merged = merges(&ranks).count();
            assert!(merged <= entries);
            assert!(round % 2 == 1 || merged > 0);
            for _ in 0..40 {
                // One pre-token: no white space.
                let length = 1 + random.next(60);
                let text = random.text(length).replace(' ', "b");
                assert_eq!(ids(&tokenizer, &text), naive(text.as_bytes(), &list), "{text:?} with {list:?}");
            }
        }
    }

    #[test]
    fn decode_gives_the_bytes_back() {
        let mut random = Random(seed());
        let list = random.ranks(100, false);
        let tokenizer = load(&file(&list), &options(&[("<|end|>", 9000)])).unwrap();
        for _ in 0..50 {
            let text = random.text(200);
            assert_eq!(tokenizer.decode(&ids(&tokenizer, &text), false).unwrap(), text.as_bytes());
        }
        // Part of a character is just its bytes.
        assert_eq!(tokenizer.decode(&[0xC3], false).unwrap(), b"\xC3");
        assert_eq!(tokenizer.decode(&[97, 9000, 98], false).unwrap(), b"a<|end|>b");
        assert_eq!(tokenizer.decode(&[97, 9000, 98], true).unwrap(), b"ab");
        let error = tokenizer.decode(&[97, 8999], false).unwrap_err();
        assert_eq!((error.kind, error.position), (Kind::UnknownId, Some(1)));
    }

    #[test]
    fn special_tokens_follow_the_policy_with_the_ids_given() {
        let list: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
        let special = [("<|a|>", 300), ("<|a|>b", 7000), ("<|c|>", 299), ("é é", 2_000_000_000)];
        let mut options = options(&special);
        let text = "x<|a|><|a|>bé é<|c|";
        let plain = load(&file(&list), &options).unwrap();
        assert_eq!(ids(&plain, text), text.bytes().map(u32::from).collect::<Vec<_>>());

        options.special_tokens_in_text = SpecialTokensInText::Token;
        let token = load(&file(&list), &options).unwrap();
        let bytes = |text: &str| text.bytes().map(u32::from).collect::<Vec<_>>();
        let expected = [bytes("x"), vec![300, 7000, 2_000_000_000], bytes("<|c|")].concat();
        assert_eq!(ids(&token, text), expected);
        let mut found = vec![0; 20];
        let mut spans = vec![[0, 0]; 20];
        let count = token.encode_with_offsets(text, false, &mut found, &mut spans).unwrap();
        assert_eq!(found[..count], expected);
        assert_eq!(spans[..5], [[0, 1], [1, 6], [6, 12], [12, 17], [17, 18]]);
        assert_eq!(token.encode(text, false, &mut []), Ok(expected.len()));
        for room in 0..expected.len() {
            let mut some = vec![u32::MAX; room];
            assert_eq!(token.encode(text, false, &mut some), Ok(expected.len()));
            assert_eq!(some, expected[..room]);
        }
        assert_eq!(token.token_id("<|a|>b".as_bytes()), Some(7000));
        assert_eq!(token.token_id(b"\xFF"), Some(255));
        assert_eq!(token.token_id(b"ab"), None);

        options.special_tokens_in_text = SpecialTokensInText::Error;
        let error = load(&file(&list), &options).unwrap();
        let refused = error.encode(text, false, &mut []).unwrap_err();
        assert_eq!((refused.kind, refused.position), (Kind::SpecialToken, Some(1)));
        assert!(error.encode("<|a|", false, &mut []).is_ok());
    }

    #[test]
    fn refuses_bad_files_with_the_line() {
        let good: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
        let with = |line: &str| [file(&good), line.as_bytes().to_vec()].concat();
        for (bad, part) in [
            (b"".to_vec(), "has no lines"),
            (b"\n\r\n".to_vec(), "has no lines"),
            (b"\x1f\x8b\x08\x00".to_vec(), "line 1 of the tiktoken file does not have two fields"),
            (file(&good[..255]), "no token for the single byte 0xff"),
            (with("YWI="), "line 257 of the tiktoken file does not have two fields"),
            (with("YWI= 256 x"), "line 257 of the tiktoken file does not have two fields"),
            (with("YW*= 256"), "line 257 of the tiktoken file has invalid base64"),
            (with("YWI= -1"), "line 257 of the tiktoken file has a rank"),
            (with("YWI= 2147483648"), "line 257 of the tiktoken file has a rank"),
            (with("YWI= 255"), "has rank 255 twice"),
            (with("YQ== 256"), "has the token of rank 256 twice"),
            (with(&format!("{} 256", BASE64.encode([b'a'; 1025]))), "has a token of 1025 bytes"),
        ] {
            let error = load(&bad, &options(&[])).err().unwrap();
            assert_eq!(error.kind, Kind::Unsupported);
            assert!(error.message.contains(part), "{part}: {}", error.message);
        }
        assert!(load(&with("YWI= 256\r\n\r\n"), &options(&[])).is_ok());
        assert!(load(&with("YWI= 2147483647\n"), &options(&[])).is_ok(), "ranks may have gaps");
    }

    #[test]
    fn refuses_bad_special_tokens_and_patterns() {
        let list: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
        for (special, part) in [
            (vec![("", 300)], "is empty"),
            (vec![("<a>", 255)], "also the rank of a token"),
            (vec![("<a>", 300), ("<b>", 300)], "the id of another special token"),
            (vec![("<a>", u32::MAX)], "above 2147483647"),
        ] {
            let error = load(&file(&list), &options(&special)).err().unwrap();
            assert_eq!(error.kind, Kind::InvalidArgument);
            assert!(error.message.contains(part), "{}", error.message);
        }
        for pattern in [r"\p{NoSuchClass}+", r"(?m)a", "("] {
            let options = Options { pattern: Some(pattern.into()), ..options(&[]) };
            let error = load(&file(&list), &options).err().unwrap();
            assert_eq!(error.kind, Kind::Unsupported);
            assert!(error.message.contains("the option \"pattern\" can't be used"), "{}", error.message);
        }
    }

    #[test]
    fn possessive_intervals_are_possessive() {
        let list: Vec<Vec<u8>> = (0..=255)
            .map(|byte| vec![byte])
            .chain([b"123".to_vec(), b"12".to_vec(), b"1234".to_vec()])
            .collect();
        let mut options = options(&[]);
        options.pattern = Some(r"\p{N}{1,3}+|[^\p{N}]+".into());
        let tokenizer = load(&file(&list), &options).unwrap();
        assert_eq!(ids(&tokenizer, "1234"), [256, u32::from(b'4')]);
    }

    #[test]
    fn text_that_the_pattern_leaves_out_is_kept() {
        let list: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
        let options = Options { pattern: Some("a+".into()), ..options(&[]) };
        let tokenizer = load(&file(&list), &options).unwrap();
        assert_eq!(ids(&tokenizer, "xaay"), [120, 97, 97, 121]);
    }
}
