//! Reads tokenizer.json and .tiktoken files part by part; a part that is not recognised is named.
use crate::Unsupported;
use crate::bpe::{Index, Token, Vocabulary, hash_bytes, join};
use crate::pretoken::{self, Pattern};
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A tokenizer, taken apart.
pub struct Parts {
    pub vocabulary: Vocabulary,
    pub index: Index,
    pub pattern: Pattern,
    pub nfc: bool,
    pub prefix_space: bool,
    pub added: Vec<Added>,
    /// Entries of the vocabulary that are no bytes in GPT-2's alphabet: no text can give them.
    pub others: Vec<(String, u32)>,
    /// Entries of the vocabulary, and added tokens that are not among them.
    pub size: usize,
    /// Tokens are spelled in GPT-2's alphabet, as in a tokenizer.json; else they are bytes.
    pub spelled: bool,
    /// Decoding gives the bytes of the tokens.
    pub byte_decoder: bool,
    /// The post-processor's steps that take blanks off the spans, each with its `add_prefix_space`.
    pub trim: Vec<bool>,
    /// Ids before and after a text when special tokens are asked for.
    pub template: (Vec<u32>, Vec<u32>),
    /// The file without its vocabulary and merges.
    pub outline: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Added {
    pub id: u32,
    pub content: String,
    #[serde(default)]
    pub single_word: bool,
    #[serde(default)]
    pub lstrip: bool,
    #[serde(default)]
    pub rstrip: bool,
    #[serde(default)]
    pub normalized: bool,
    #[serde(default)]
    pub special: bool,
}

/// A tokenizer.json. The vocabulary and the merges, nearly all of it, are read into their final form at once. Hugging
/// Face's crate refuses keys that it does not know.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    #[serde(borrow, default)]
    version: Option<&'a RawValue>,
    #[serde(borrow, default)]
    truncation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    padding: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    added_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    normalizer: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pre_tokenizer: Option<&'a RawValue>,
    #[serde(borrow, default)]
    post_processor: Option<&'a RawValue>,
    #[serde(borrow, default)]
    decoder: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Model<'a>,
}

#[derive(Deserialize, Serialize)]
struct Model<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(default)]
    dropout: Option<f64>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    byte_fallback: Option<bool>,
    #[serde(default)]
    ignore_merges: Option<bool>,
    #[serde(skip_serializing)]
    vocab: Entries,
    #[serde(default, skip_serializing)]
    merges: Option<Merges>,
}

/// Also null is a value.
fn there<'de, D: Deserializer<'de>>(d: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(d).map(Some)
}

fn no(part: impl Into<String>) -> Unsupported {
    Unsupported::new(part)
}

/// The bytes that GPT-2's alphabet writes as characters.
fn byte_of(c: u32) -> Option<u8> {
    Some(match c {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => c as u8,
        0x100..=0x120 => (c - 0x100) as u8,
        0x121..=0x142 => (c - 0x121 + 0x7f) as u8,
        0x143 => 0xad,
        _ => return None,
    })
}

/// Appends the bytes of a token's text; false (and nothing appended) if a character is no byte.
pub fn append(out: &mut Vec<u8>, text: &str) -> bool {
    let begin = out.len();
    let all = append_some(out, text) == text.len();
    if !all {
        out.truncate(begin);
    }
    all
}

/// Appends bytes up to the first character that is none. -> where that is.
fn append_some(out: &mut Vec<u8>, text: &str) -> usize {
    let bytes = text.as_bytes();
    // Nearly all are a blank or none, and a few letters: without a branch that depends on which.
    let blank = bytes.starts_with("Ġ".as_bytes());
    let rest = &bytes[2 * blank as usize..];
    let mut letters = [b'a'; 16];
    if let Some(few) = letters.get_mut(..rest.len()) {
        few.copy_from_slice(rest);
        if letters.iter().fold(true, |all, b| all & b.is_ascii_graphic()) {
            let end = out.len() + blank as usize + rest.len();
            out.push(b' ');
            out.truncate(out.len() - !blank as usize);
            out.extend_from_slice(&letters);
            out.truncate(end);
            return bytes.len();
        }
    }
    out.reserve(bytes.len());
    let mut at = 0;
    loop {
        match bytes[at..] {
            [b @ 0x21..=0x7e, ..] => {
                out.push(b);
                at += 1;
            }
            // Of two bytes: c2 to c5.
            [a @ 0xc2..=0xc5, b, ..] => match byte_of((a as u32 & 31) << 6 | b as u32 & 63) {
                Some(b) => {
                    out.push(b);
                    at += 2;
                }
                None => return at,
            },
            _ => return at,
        }
    }
}

/// A string, borrowed where the file has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A model's vocabulary, in the file's order.
#[derive(Default)]
struct Entries {
    bytes: Vec<u8>,
    tokens: Vec<Token>,
    /// Those that are no bytes in GPT-2's alphabet.
    others: Vec<(String, u32)>,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Entries;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("an object of tokens and ids")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Entries, M::Error> {
                let mut all = Entries::default();
                while let Some((key, id)) = map.next_entry::<Text<'de>, u32>()? {
                    let begin = all.bytes.len() as u32;
                    if append(&mut all.bytes, &key.0) {
                        all.tokens.push(Token { begin, len: all.bytes.len() as u32 - begin, id });
                    } else {
                        all.others.push((key.0.into_owned(), id));
                    }
                }
                Ok(all)
            }
            // Unigram's: the model's type will be refused.
            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Entries, S::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Entries::default())
            }
        }
        d.deserialize_any(V)
    }
}

/// "a b" or ["a", "b"].
enum Merge<'a> {
    One(Cow<'a, str>),
    Two(Cow<'a, str>, Cow<'a, str>),
}

impl<'de> Deserialize<'de> for Merge<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Merge<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a merge: \"a b\" or [\"a\", \"b\"]")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Merge<'de>, E> {
                Ok(Merge::One(Cow::Borrowed(v)))
            }
            fn visit_str<E>(self, v: &str) -> Result<Merge<'de>, E> {
                Ok(Merge::One(Cow::Owned(v.to_owned())))
            }
            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Merge<'de>, S::Error> {
                let missing = || serde::de::Error::custom("a merge of fewer than two tokens");
                let a = seq.next_element::<Text<'de>>()?.ok_or_else(missing)?;
                let b = seq.next_element::<Text<'de>>()?.ok_or_else(missing)?;
                if seq.next_element::<Text<'de>>()?.is_some() {
                    return Err(serde::de::Error::custom("a merge of more than two tokens"));
                }
                Ok(Merge::Two(a.0, b.0))
            }
        }
        d.deserialize_any(V)
    }
}

/// A model's merges as bytes, first rank first.
#[derive(Default)]
struct Merges {
    /// Left and right of each, one behind the other.
    bytes: Vec<u8>,
    lengths: Vec<[u32; 2]>,
    /// One has no bytes, or is spelled with characters that are none.
    odd: bool,
}

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Merges;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a list of merges")
            }
            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Merges, S::Error> {
                let mut all = Merges::default();
                let mut first = true;
                while let Some(merge) = seq.next_element::<Merge<'de>>()? {
                    let begin = all.bytes.len();
                    let (a, b) = match &merge {
                        Merge::Two(a, b) => (&**a, &**b),
                        Merge::One(line) => {
                            if std::mem::take(&mut first) && line.starts_with("#version") {
                                continue;
                            }
                            let blank = line.bytes().position(|b| b == b' ');
                            match blank.map(|at| (&line[..at], &line[at + 1..])) {
                                Some((a, b)) if !b.as_bytes().contains(&b' ') => (a, b),
                                _ => return Err(serde::de::Error::custom("a merge that is not two tokens")),
                            }
                        }
                    };
                    all.odd |= !append(&mut all.bytes, a);
                    let middle = all.bytes.len();
                    all.odd |= !append(&mut all.bytes, b);
                    let [left, right] = [middle - begin, all.bytes.len() - middle];
                    all.odd |= left == 0 || right == 0;
                    all.lengths.push([left as u32, right as u32]);
                }
                Ok(all)
            }
        }
        d.deserialize_seq(V)
    }
}

impl Merges {
    /// As indices into the vocabulary: left, right, and what they make. None: there is no such token.
    fn resolve(self, v: &Vocabulary, index: &Index) -> Option<Vec<[u32; 3]>> {
        if self.odd {
            return None;
        }
        let (first, second) = self.lengths.split_at(self.lengths.len() / 2);
        let middle: usize = first.iter().flatten().map(|length| *length as usize).sum();
        let (first, second) = join(
            || resolve(&self.bytes[..middle], first, v, index),
            || resolve(&self.bytes[middle..], second, v, index),
        );
        let mut all = first?;
        all.extend(second?);
        Some(all)
    }
}

/// Merges whose tokens are so long and stand one behind the other in `bytes`.
fn resolve(bytes: &[u8], lengths: &[[u32; 2]], v: &Vocabulary, index: &Index) -> Option<Vec<[u32; 3]>> {
    let mut found = Vec::with_capacity(lengths.len());
    let (mut rest, mut made) = (bytes, 0);
    for lengths in lengths.chunks(32) {
        // Many at a time, since each look-up waits for memory.
        let mut parts = [(&[][..], 0); 64];
        for (pair, lengths) in parts.chunks_mut(2).zip(lengths) {
            for (part, length) in pair.iter_mut().zip(lengths) {
                let (text, behind) = rest.split_at(*length as usize);
                let hash = hash_bytes(text);
                index.prefetch(hash);
                *part = (text, hash);
                rest = behind;
            }
        }
        for (_, hash) in &parts[..2 * lengths.len()] {
            index.prefetch_token(v, *hash);
        }
        for (pair, [left, right]) in parts.chunks(2).zip(lengths) {
            let begin = pair[0].0.as_ptr() as usize - bytes.as_ptr() as usize;
            let text = &bytes[begin..][..(left + right) as usize];
            // Most often the token that the last merge made, made in another way, or the next one.
            let is = |i: &u32| v.tokens.get(*i as usize).is_some_and(|t| v.text(t) == text);
            made = match [made, made + 1].into_iter().find(is) {
                Some(known) => known,
                None => index.get(v, text)?,
            };
            let [left, right] = [0, 1].map(|i| index.get_hashed(v, pair[i].0, pair[i].1));
            found.push([left?, right?, made]);
        }
    }
    Some(found)
}

/// The parts of a tokenizer.json.
pub fn json(text: &[u8]) -> Result<Parts, Unsupported> {
    // Once for all strings.
    let text = simdutf8::basic::from_utf8(text).map_err(|_| no("the file's structure (not UTF-8)"))?;
    let mut file: File = serde_json::from_str(text).map_err(|e| no(format!("the file's structure ({e})")))?;
    let outline = serde_json::to_string(&file).map_err(|e| no(format!("the file's structure ({e})")))?;
    let entries = std::mem::take(&mut file.model.vocab);
    let m = file.model;
    let default = |s: &Option<String>| s.as_deref().is_none_or(str::is_empty);
    // A model without a type is taken for what fits; the reference engine may guess.
    if m.kind.as_deref() != Some("BPE") {
        let known = ["WordPiece", "WordLevel", "Unigram"].into_iter().find(|k| m.kind.as_deref() == Some(k));
        return Err(no(format!("model {}", known.unwrap_or("of no known type"))));
    }
    if m.dropout.is_some_and(|d| d != 0.0) {
        return Err(no("model option dropout"));
    }
    if !default(&m.continuing_subword_prefix) {
        return Err(no("model option continuing_subword_prefix"));
    }
    if !default(&m.end_of_word_suffix) {
        return Err(no("model option end_of_word_suffix"));
    }
    if m.byte_fallback == Some(true) {
        return Err(no("model option byte_fallback"));
    }
    // unk_token and fuse_unk never matter: every byte is in the vocabulary (Bpe::new checks).
    let _ = m.unk_token;
    let (pattern, prefix_space) = pre_tokenizer(file.pre_tokenizer)?;
    let nfc = normalizer(file.normalizer)?;
    let byte_decoder = value(file.decoder, "decoder")?["type"] == "ByteLevel";
    let added: Vec<Added> = match file.added_tokens {
        None => Vec::new(),
        Some(raw) => serde_json::from_str(raw.get()).map_err(|e| no(format!("added_tokens ({e})")))?,
    };
    let Entries { bytes, tokens, others } = entries;
    let size = tokens.len() + others.len();
    let mut vocabulary =
        Vocabulary { bytes, tokens, merges: Vec::new(), ignore_merges: m.ignore_merges == Some(true) };
    let index = Index::new(&vocabulary);
    let mut ids: Vec<u32> =
        vocabulary.tokens.iter().map(|t| t.id).chain(others.iter().map(|t| t.1)).collect();
    ids.sort_unstable();
    if index.doubled || ids.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(no("a vocabulary with an entry or an id that stands twice"));
    }
    drop(ids);
    if let Some(merges) = m.merges {
        vocabulary.merges = merges
            .resolve(&vocabulary, &index)
            .ok_or_else(|| no("a merge of tokens that are not in the vocabulary"))?;
    }
    // Hugging Face takes the id of an added token from the vocabulary, else the next free one.
    let mut next = size as u32;
    let mut bytes = Vec::new();
    for (i, t) in added.iter().enumerate() {
        if t.content.is_empty() || added[..i].iter().any(|o| o.content == t.content || o.id == t.id) {
            return Err(no("an added token that is empty or stands twice"));
        }
        bytes.clear();
        let known = if append(&mut bytes, &t.content) {
            index.get(&vocabulary, &bytes).map(|i| vocabulary.tokens[i as usize].id)
        } else {
            others.iter().find(|(s, _)| *s == t.content).map(|(_, id)| *id)
        };
        let id = known.unwrap_or_else(|| {
            next += 1;
            next - 1
        });
        if id != t.id {
            return Err(no("an added token whose id is not the one Hugging Face gives it"));
        }
    }
    let (template, trim) = post_processor(file.post_processor)?;
    let size = next as usize;
    Ok(Parts {
        vocabulary,
        index,
        pattern,
        nfc,
        prefix_space,
        added,
        others,
        size,
        spelled: true,
        byte_decoder,
        trim,
        template,
        outline,
    })
}

fn value(part: Option<&RawValue>, name: &str) -> Result<serde_json::Value, Unsupported> {
    match part {
        None => Ok(serde_json::Value::Null),
        Some(raw) => serde_json::from_str(raw.get()).map_err(|e| no(format!("{name} ({e})"))),
    }
}

fn normalizer(part: Option<&RawValue>) -> Result<bool, Unsupported> {
    fn one(v: &serde_json::Value) -> Result<bool, Unsupported> {
        match v["type"].as_str() {
            _ if v.is_null() => Ok(false),
            Some("NFC") => Ok(true),
            Some("Sequence") => {
                let mut nfc = false;
                for v in v["normalizers"].as_array().into_iter().flatten() {
                    nfc |= one(v)?;
                }
                Ok(nfc)
            }
            other => Err(no(format!("normalizer {}", other.unwrap_or("without a type")))),
        }
    }
    one(&value(part, "normalizer")?)
}

/// -> the pattern and whether a blank goes before the text.
fn pre_tokenizer(part: Option<&RawValue>) -> Result<(Pattern, bool), Unsupported> {
    let v = value(part, "pre_tokenizer")?;
    let mut steps = Vec::new();
    flatten(&v, &mut steps);
    let kind = |v: &serde_json::Value| v["type"].as_str().unwrap_or("").to_owned();
    let unknown =
        || no(format!("pre_tokenizer [{}]", steps.iter().map(|s| kind(s)).collect::<Vec<_>>().join(", ")));
    // What a Split cuts at, each match alone. To remove what is no match is the same with a regex that leaves
    // nothing out, as all do that are recognised alone (`whole`).
    let split = |v: &serde_json::Value, whole: bool| -> Option<String> {
        let isolated = v["behavior"] == "Isolated" && v["invert"] == false;
        let removed = v["behavior"] == "Removed" && v["invert"] == true;
        (kind(v) == "Split" && (isolated || removed && whole))
            .then(|| v["pattern"]["Regex"].as_str().map(str::to_owned))
            .flatten()
    };
    // Falcon's ends with a Split.
    if let [a, b, c, d] = &steps[..]
        && kind(a) == "Punctuation"
        && a["behavior"] == "Contiguous"
        && kind(b) == "ByteLevel"
        && b["add_prefix_space"] == false
        && b["use_regex"] != false
        && kind(c) == "Digits"
        && c["individual_digits"] == false
        && split(d, false).as_deref() == Some(pretoken::FALCON_DIGITS)
    {
        return Ok((Pattern::Falcon, false));
    }
    let Some((last, before)) = steps.split_last() else { return Err(no("no pre_tokenizer")) };
    if kind(last) != "ByteLevel" {
        return Err(unknown());
    }
    let regex = last["use_regex"] != false;
    let prefix = last["add_prefix_space"] != false;
    if prefix && !(before.is_empty() && regex) {
        return Err(no("pre_tokenizer ByteLevel with add_prefix_space behind another step"));
    }
    match before {
        [] if regex => Ok((Pattern::Gpt2 { digits: false }, prefix)),
        [digits] if regex && kind(digits) == "Digits" && digits["individual_digits"] == true => {
            Ok((Pattern::Gpt2 { digits: true }, false))
        }
        [one] if !regex => {
            let regex = split(one, true).ok_or_else(unknown)?;
            let pattern = pretoken::recognise_regex(&regex, false)
                .ok_or_else(|| no("the regex of pre_tokenizer Split"))?;
            Ok((pattern, false))
        }
        [a, b, c] if !regex => {
            let found = [a, b, c].map(|s| split(s, false).map(|regex| pretoken::escaped(&regex)));
            if found.iter().zip(pretoken::DEEPSEEK3).all(|(f, d)| f.as_deref() == Some(d)) {
                Ok((Pattern::DeepSeek3, false))
            } else {
                Err(unknown())
            }
        }
        _ => Err(unknown()),
    }
}

fn flatten<'v>(v: &'v serde_json::Value, steps: &mut Vec<&'v serde_json::Value>) {
    match v["type"].as_str() {
        _ if v.is_null() => {}
        Some("Sequence") => {
            v["pretokenizers"].as_array().into_iter().flatten().for_each(|v| flatten(v, steps))
        }
        _ => steps.push(v),
    }
}

/// Ids that go before and after a text.
type Template = (Vec<u32>, Vec<u32>);

/// -> the template, and what takes blanks off the spans (`Parts::trim`).
fn post_processor(part: Option<&RawValue>) -> Result<(Template, Vec<bool>), Unsupported> {
    let v = value(part, "post_processor")?;
    let steps: Vec<&serde_json::Value> = match v["type"].as_str() {
        _ if v.is_null() => vec![],
        Some("Sequence") => v["processors"].as_array().into_iter().flatten().collect(),
        _ => vec![&v],
    };
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut templates = 0;
    let mut trim = Vec::new();
    for step in steps {
        match step["type"].as_str().unwrap_or("") {
            "ByteLevel" if step["trim_offsets"] != false => trim.push(step["add_prefix_space"] != false),
            "ByteLevel" => {}
            "TemplateProcessing" => {
                templates += 1;
                let mut texts = 0;
                for piece in step["single"].as_array().into_iter().flatten() {
                    if piece["Sequence"]["id"] == "A" {
                        texts += 1;
                        continue;
                    }
                    let name = piece["SpecialToken"]["id"].as_str().unwrap_or("");
                    let ids = step["special_tokens"][name]["ids"].as_array();
                    let ids = ids.ok_or_else(|| no("post_processor TemplateProcessing"))?;
                    let to = if texts == 0 { &mut before } else { &mut after };
                    to.extend(ids.iter().filter_map(|i| i.as_u64()).map(|i| i as u32));
                }
                if texts != 1 || templates > 1 {
                    return Err(no("post_processor TemplateProcessing"));
                }
            }
            other => return Err(no(format!("post_processor {other}"))),
        }
    }
    Ok(((before, after), trim))
}

/// The parts of a .tiktoken file: lines of a token in base64 and its rank, which is its id. Merges are every
/// split of a token into two tokens, in the order of the token's rank; whole pre-tokens come first.
pub fn tiktoken(ranks: &[u8], pattern: &str, special: &[(String, u32)]) -> Result<Parts, Unsupported> {
    use base64::Engine;
    let pattern = pretoken::recognise_regex(pattern, true).ok_or_else(|| no("the pattern"))?;
    let mut vocabulary =
        Vocabulary { bytes: Vec::new(), tokens: Vec::new(), merges: Vec::new(), ignore_merges: true };
    for (n, line) in ranks.split(|b| *b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let bad = || no(format!("line {} of the rank file", n + 1));
        let space = line.iter().position(|b| *b == b' ').ok_or_else(bad)?;
        let begin = vocabulary.bytes.len() as u32;
        base64::engine::general_purpose::STANDARD
            .decode_vec(&line[..space], &mut vocabulary.bytes)
            .map_err(|_| bad())?;
        let id = std::str::from_utf8(&line[space + 1..]).ok().and_then(|s| s.parse().ok()).ok_or_else(bad)?;
        vocabulary.tokens.push(Token { begin, len: vocabulary.bytes.len() as u32 - begin, id });
    }
    vocabulary.tokens.sort_by_key(|t| t.id);
    let index = Index::new(&vocabulary);
    if index.doubled {
        return Err(no("a token that stands twice in the rank file"));
    }
    let mut merges = Vec::with_capacity(vocabulary.tokens.len() * 4);
    for (i, t) in vocabulary.tokens.iter().enumerate() {
        let text = vocabulary.text(t);
        for at in 1..text.len() {
            let (a, b) = text.split_at(at);
            // The second look-up is not made where the first finds nothing.
            let parts = index.get(&vocabulary, a).and_then(|a| Some((a, index.get(&vocabulary, b)?)));
            if let Some((a, b)) = parts {
                merges.push([a, b, i as u32]);
            }
        }
    }
    vocabulary.merges = merges;
    let size = vocabulary.tokens.len() + special.len();
    let added = special
        .iter()
        .map(|(content, id)| Added {
            id: *id,
            content: content.clone(),
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: false,
            special: true,
        })
        .collect();
    Ok(Parts {
        vocabulary,
        index,
        pattern,
        nfc: false,
        prefix_space: false,
        others: Vec::new(),
        size,
        spelled: false,
        byte_decoder: true,
        trim: Vec::new(),
        added,
        template: Default::default(),
        outline: String::new(),
    })
}
