//! The specification: what the ids of a text are, as plainly as it can be said.
//!
//! The parts of the file are taken as they stand and put to work one after the other on strings; regexes are
//! Oniguruma's, merges a search for the lowest rank, again and again. Nothing is shared with the engine but
//! the tables of Unicode that both have from the judge's crates. Time grows with the square of a pre-token.
use onig::Regex;
use quern_fast::SpecialInText;
use serde_json::Value;
use std::collections::HashMap;
use unicode_categories::UnicodeCategories;
use unicode_normalization_alignments::UnicodeNormalization;

pub struct Naive {
    added: Vec<Value>,
    nfc: bool,
    steps: Vec<Step>,
    vocabulary: HashMap<String, u32>,
    /// Rank by pair; of equal pairs the last one counts.
    merges: HashMap<(String, String), usize>,
    ignore_merges: bool,
    special: SpecialInText,
}

enum Step {
    /// Each match stands alone; so does what is between them, unless `only`.
    Split { regex: Regex, only: bool },
    /// Numeric characters: each alone, or in runs.
    Digits { each: bool },
    /// Runs of punctuation, and of the rest.
    Punctuation,
    /// A blank in front; the regex; then every byte becomes a character.
    ByteLevel { prefix: bool, regex: Option<Regex> },
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// The character that stands for a byte: itself where it is printed, else the next one from U+0100 on.
pub fn byte_char(b: u8) -> char {
    let printed = |b: u8| matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    if printed(b) {
        return b as char;
    }
    char::from_u32(256 + (0..b).filter(|x| !printed(*x)).count() as u32).unwrap()
}

impl Naive {
    /// A tokenizer.json of byte-level BPE.
    pub fn new(json: &str, special: SpecialInText) -> Naive {
        let file: Value = serde_json::from_str(json).unwrap();
        let list = |v: &Value, of: &str| match v["type"].as_str() {
            None => vec![],
            Some("Sequence") => v[of].as_array().unwrap().clone(),
            _ => vec![v.clone()],
        };
        let steps = list(&file["pre_tokenizer"], "pretokenizers");
        let steps = steps.iter().map(|v| match v["type"].as_str().unwrap() {
            "Split" => Step::Split {
                regex: Regex::new(v["pattern"]["Regex"].as_str().unwrap()).unwrap(),
                only: match (v["behavior"].as_str().unwrap(), v["invert"] == true) {
                    ("Isolated", _) => false,
                    ("Removed", true) => true,
                    other => panic!("{other:?}"),
                },
            },
            "Digits" => Step::Digits { each: v["individual_digits"] == true },
            "Punctuation" if v["behavior"] == "Contiguous" => Step::Punctuation,
            "ByteLevel" => Step::ByteLevel {
                prefix: v["add_prefix_space"] != false,
                regex: (v["use_regex"] != false).then(|| Regex::new(GPT2).unwrap()),
            },
            other => panic!("{other}"),
        });
        let model = &file["model"];
        let merge = |m: &Value| match m {
            Value::String(line) => {
                let (a, b) = line.split_once(' ').unwrap();
                (a.to_owned(), b.to_owned())
            }
            pair => (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().unwrap().to_owned()),
        };
        Naive {
            added: file["added_tokens"].as_array().cloned().unwrap_or_default(),
            nfc: list(&file["normalizer"], "normalizers").iter().any(|n| n["type"] == "NFC"),
            steps: steps.collect(),
            vocabulary: serde_json::from_value(model["vocab"].clone()).unwrap(),
            merges: model["merges"].as_array().unwrap().iter().map(merge).zip(0..).collect(),
            ignore_merges: model["ignore_merges"] == true,
            special,
        }
    }

    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        for piece in self.added_tokens(text, false) {
            let text = match piece {
                Ok(id) => {
                    ids.push(id);
                    continue;
                }
                Err(text) if self.nfc => text.nfc().map(|c| c.0).collect(),
                Err(text) => text,
            };
            for piece in self.added_tokens(&text, true) {
                match piece {
                    Ok(id) => ids.push(id),
                    Err(text) => self.words(text).iter().for_each(|w| ids.extend(self.merged(w))),
                }
            }
        }
        ids
    }

    /// Added tokens, leftmost and of them the longest, and the text between them.
    fn added_tokens(&self, text: &str, normalized: bool) -> Vec<Result<u32, String>> {
        let mut out = Vec::new();
        let (mut done, mut at) = (0, 0);
        while at < text.len() {
            let content = |t: &Value| -> String {
                let content = t["content"].as_str().unwrap();
                if normalized && self.nfc { content.nfc().map(|c| c.0).collect() } else { content.into() }
            };
            let here = self.added.iter().filter(|t| (t["normalized"] == true) == normalized);
            let found = here.filter(|t| text[at..].starts_with(&content(t))).max_by_key(|t| content(t).len());
            let Some(t) = found else {
                at += text[at..].chars().next().unwrap().len_utf8();
                continue;
            };
            let (mut start, mut stop) = (at, at + content(t).len());
            // Taken or not, the search goes on behind it.
            at = stop;
            if t["special"] == true && self.special == SpecialInText::Text {
                continue;
            }
            let word = |c: Option<char>| c.is_some_and(regex_syntax::is_word_character);
            let beside = word(text[..start].chars().last()) || word(text[stop..].chars().next());
            if t["single_word"] == true && beside {
                continue;
            }
            if t["lstrip"] == true {
                start = text[..start].trim_end().len().max(done);
            }
            if t["rstrip"] == true {
                stop = text.len() - text[stop..].trim_start().len();
            }
            if done < start {
                out.push(Err(text[done..start].to_owned()));
            }
            out.push(Ok(t["id"].as_u64().unwrap() as u32));
            done = stop;
        }
        if done < text.len() {
            out.push(Err(text[done..].to_owned()));
        }
        out
    }

    /// The pre-tokens, a character a byte.
    fn words(&self, text: String) -> Vec<String> {
        let mut words = vec![text];
        for step in &self.steps {
            words = words.iter().flat_map(|w| step.cut(w)).collect();
        }
        words
    }

    fn merged(&self, word: &str) -> Vec<u32> {
        if self.ignore_merges
            && let Some(id) = self.vocabulary.get(word)
        {
            return vec![*id];
        }
        let mut symbols: Vec<String> = word.chars().map(String::from).collect();
        loop {
            let pairs = symbols.windows(2).enumerate();
            let ranked =
                pairs.filter_map(|(i, w)| Some((self.merges.get(&(w[0].clone(), w[1].clone()))?, i)));
            let Some((_, at)) = ranked.min() else { break };
            let right = symbols.remove(at + 1);
            symbols[at] += &right;
        }
        symbols.iter().map(|s| self.vocabulary[s]).collect()
    }
}

impl Step {
    fn cut(&self, text: &str) -> Vec<String> {
        match self {
            Step::Split { regex, only } => matches(text, regex, *only),
            Step::Digits { each } => runs(text, char::is_numeric, *each),
            Step::Punctuation => runs(text, |c| c.is_ascii_punctuation() || c.is_punctuation(), false),
            Step::ByteLevel { prefix, regex } => {
                let text = if *prefix && !text.starts_with(' ') { format!(" {text}") } else { text.into() };
                let words = match regex {
                    Some(regex) => matches(&text, regex, false),
                    None => vec![text],
                };
                words.iter().map(|w| w.bytes().map(byte_char).collect()).collect()
            }
        }
    }
}

fn matches(text: &str, regex: &Regex, only: bool) -> Vec<String> {
    let mut out = Vec::new();
    let mut done = 0;
    for (begin, end) in regex.find_iter(text) {
        if done < begin && !only {
            out.push(text[done..begin].to_owned());
        }
        out.push(text[begin..end].to_owned());
        done = end;
    }
    if done < text.len() && !only {
        out.push(text[done..].to_owned());
    }
    out
}

fn runs(text: &str, of: impl Fn(char) -> bool, each: bool) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut before = None;
    for c in text.chars() {
        let is = of(c);
        match out.last_mut() {
            Some(last) if before == Some(is) && !(is && each) => last.push(c),
            _ => out.push(c.into()),
        }
        before = Some(is);
    }
    out
}

/// The same for a rank file as tiktoken reads it: a whole pre-token first, then of all neighbours that are
/// a token together those of the lowest rank.
pub struct NaiveRanks {
    pub regex: Regex,
    pub ranks: HashMap<Vec<u8>, u32>,
}

impl NaiveRanks {
    /// `pattern`: as Oniguruma reads it (`\z` for `$`, no possessive quantifier behind braces).
    pub fn new(ranks: &HashMap<Vec<u8>, u32>, pattern: &str) -> NaiveRanks {
        NaiveRanks { regex: Regex::new(pattern).unwrap(), ranks: ranks.clone() }
    }
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        for word in matches(text, &self.regex, false) {
            if let Some(id) = self.ranks.get(word.as_bytes()) {
                ids.push(*id);
                continue;
            }
            let mut symbols: Vec<Vec<u8>> = word.bytes().map(|b| vec![b]).collect();
            loop {
                let pairs = symbols.windows(2).enumerate();
                let ranked =
                    pairs.filter_map(|(i, w)| Some((self.ranks.get(&[&w[0][..], &w[1]].concat())?, i)));
                let Some((_, at)) = ranked.min() else { break };
                let right = symbols.remove(at + 1);
                symbols[at].extend(right);
            }
            ids.extend(symbols.iter().map(|s| self.ranks[s]));
        }
        ids
    }
}
