//! What a caller may ask for when loading a tokenizer, as the JSON object that crosses the C ABI.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Kind};

/// The kind of tokenizer file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A `tokenizer.json` of Hugging Face's tokenizers library.
    HuggingFace,
    /// A rank file of OpenAI's tiktoken: a line `<base64 of the token's bytes> <rank>` for each token.
    Tiktoken,
}

/// Which implementation is to serve the tokenizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineChoice {
    /// The fastest one that gives exactly the reference's ids: our own where it knows every part of the tokenizer.
    #[default]
    Auto,
    /// Our own engine. A tokenizer with a part that it does not know is an error that names the part.
    Fast,
    /// Hugging Face's crate.
    Reference,
}

/// What happens to text that reads like a special token of the tokenizer, such as `<|endoftext|>`.
///
/// One default for both file kinds, `Text`: a corpus is data, and a document that contains `<|endoftext|>` (this one
/// does) must not end the document for the model that is trained on it. Hugging Face's own default is `Token`;
/// tiktoken's `encode` raises an error unless told otherwise, and its `encode_ordinary` is `Text`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpecialTokensInText {
    /// It is encoded like any other text.
    #[default]
    Text,
    /// It becomes the special token's id.
    Token,
    /// The document is refused, with the byte position of the first occurrence.
    Error,
}

/// The options of [`crate::Tokenizer::load`]. Unknown keys are errors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The kind of file. Required.
    pub format: Format,
    #[serde(default)]
    pub engine: EngineChoice,
    #[serde(default)]
    pub special_tokens_in_text: SpecialTokensInText,
    /// tiktoken only, and required there: the regular expression that cuts text into pre-tokens.
    #[serde(default)]
    pub pattern: Option<String>,
    /// tiktoken only: the special tokens and their ids.
    #[serde(default)]
    pub special_tokens: BTreeMap<String, u32>,
    /// Hugging Face only: apply the file's truncation section. Off by default, since a corpus would silently lose text.
    #[serde(default)]
    pub truncation: bool,
    /// Hugging Face only: apply the file's padding section. Off by default.
    #[serde(default)]
    pub padding: bool,
    /// How much memory the fast engine may keep in each thread, caches and all; they grow to it as text needs it. Changes no
    /// id.
    #[serde(default = "cache_bytes_per_thread")]
    pub cache_bytes_per_thread: u64,
}

fn cache_bytes_per_thread() -> u64 {
    32 << 20
}

/// What the smallest cache takes with the room to work in.
const LEAST_CACHE_BYTES: u64 = 512 << 10;
/// Beyond what any cache of a processor makes use of.
const MOST_CACHE_BYTES: u64 = 1 << 30;

impl Options {
    /// The defaults for one kind of file.
    pub fn new(format: Format) -> Options {
        Options {
            format,
            engine: EngineChoice::default(),
            special_tokens_in_text: SpecialTokensInText::default(),
            pattern: None,
            special_tokens: BTreeMap::new(),
            truncation: false,
            padding: false,
            cache_bytes_per_thread: cache_bytes_per_thread(),
        }
    }

    /// Reads the JSON object and checks that the options fit together.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for anything that is not such an object, unknown keys included.
    pub fn from_json(json: &[u8]) -> Result<Options, Error> {
        let options: Options = serde_json::from_slice(json).map_err(|error| {
            Error::new(
                Kind::InvalidArgument,
                format!(
                    "the load options are not what is expected: {error}; the only key required is \"format\""
                ),
            )
        })?;
        options.check()?;
        Ok(options)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let refused = |what: &str| Err(Error::new(Kind::InvalidArgument, what));
        if !(LEAST_CACHE_BYTES..=MOST_CACHE_BYTES).contains(&self.cache_bytes_per_thread) {
            return Err(Error::new(
                Kind::InvalidArgument,
                format!(
                    "the option \"cache_bytes_per_thread\" is {}; give from {LEAST_CACHE_BYTES} (512 KiB) to \
                     {MOST_CACHE_BYTES} (1 GiB)",
                    self.cache_bytes_per_thread
                ),
            ));
        }
        match self.format {
            Format::HuggingFace if self.pattern.is_some() => refused(
                "the option \"pattern\" is for tiktoken files; a tokenizer.json has its own: leave it out",
            ),
            Format::HuggingFace if !self.special_tokens.is_empty() => refused(
                "the option \"special_tokens\" is for tiktoken files; a tokenizer.json has its own: leave it out",
            ),
            Format::Tiktoken if self.pattern.is_none() => refused(
                "a tiktoken file has no pre-tokenizer: the option \"pattern\" must give its regular expression",
            ),
            Format::Tiktoken if self.truncation || self.padding => refused(
                "a tiktoken file has neither truncation nor padding: leave \"truncation\" and \"padding\" out",
            ),
            _ => Ok(()),
        }
    }

    /// The identity of the tokenizer that these options make of a file: 64 hexadecimal digits.
    ///
    /// The SHA-256 of the file alone when no option changes an id (so that it can be checked with `sha256sum`), else
    /// the SHA-256 of that hash's hexadecimal text, a line feed, and the options that do as JSON with sorted keys. Two
    /// loads with the same hash give the same ids. The engine is not part of it, since every engine gives the same ids.
    pub fn content_hash(&self, file: &[u8]) -> String {
        let of_file = hexadecimal(&Sha256::digest(file));
        let mut changing = serde_json::Map::new();
        if let Some(pattern) = &self.pattern {
            changing.insert("pattern".into(), pattern.as_str().into());
        }
        if !self.special_tokens.is_empty() {
            let tokens =
                self.special_tokens.iter().map(|(token, id)| (token.clone(), (*id).into())).collect();
            changing.insert("special_tokens".into(), serde_json::Value::Object(tokens));
        }
        match self.special_tokens_in_text {
            SpecialTokensInText::Text => None,
            SpecialTokensInText::Token => changing.insert("special_tokens_in_text".into(), "token".into()),
            SpecialTokensInText::Error => changing.insert("special_tokens_in_text".into(), "error".into()),
        };
        for (name, set) in [("padding", self.padding), ("truncation", self.truncation)] {
            if set {
                changing.insert(name.into(), true.into());
            }
        }
        if changing.is_empty() {
            return of_file;
        }
        let canonical = serde_json::Value::Object(changing).to_string();
        hexadecimal(&Sha256::digest(format!("{of_file}\n{canonical}")))
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_key() {
        let options = Options::from_json(
            br#"{"format":"tiktoken","engine":"reference","special_tokens_in_text":"error","pattern":"\\S+|\\s+",
                "special_tokens":{"<|x|>":7},"truncation":false,"padding":false}"#,
        )
        .unwrap();
        assert_eq!(options.format, Format::Tiktoken);
        assert_eq!(options.engine, EngineChoice::Reference);
        assert_eq!(options.special_tokens_in_text, SpecialTokensInText::Error);
        assert_eq!(options.pattern.as_deref(), Some(r"\S+|\s+"));
        assert_eq!(options.special_tokens["<|x|>"], 7);
        let defaults = Options::from_json(br#"{"format":"huggingface"}"#).unwrap();
        assert_eq!(defaults, Options::new(Format::HuggingFace));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for (json, part) in [
            ("", "EOF"),
            ("{}", "missing field `format`"),
            ("[]", "format"),
            (r#"{"format":"sentencepiece"}"#, "unknown variant `sentencepiece`"),
            (r#"{"format":"huggingface","trunctation":true}"#, "unknown field `trunctation`"),
            (r#"{"format":"huggingface","pattern":"a"}"#, "\"pattern\" is for tiktoken"),
            (r#"{"format":"huggingface","special_tokens":{"a":1}}"#, "\"special_tokens\" is for tiktoken"),
            (r#"{"format":"tiktoken"}"#, "\"pattern\" must give"),
            (r#"{"format":"tiktoken","pattern":"a","padding":true}"#, "neither truncation nor padding"),
            (r#"{"format":"tiktoken","pattern":"a","special_tokens":{"a":-1}}"#, "invalid value"),
        ] {
            let error = Options::from_json(json.as_bytes()).unwrap_err();
            assert_eq!(error.kind, Kind::InvalidArgument, "{json}");
            assert!(error.message.contains(part), "{json}: {}", error.message);
        }
    }

    #[test]
    fn content_hash_is_the_files_own_at_the_defaults() {
        // printf abc | sha256sum
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let mut options = Options::new(Format::HuggingFace);
        assert_eq!(options.content_hash(b"abc"), abc);
        options.engine = EngineChoice::Reference;
        assert_eq!(options.content_hash(b"abc"), abc);
        let mut seen = vec![abc.to_string()];
        let changes: [fn(&mut Options); 5] = [
            |o| o.special_tokens_in_text = SpecialTokensInText::Token,
            |o| o.special_tokens_in_text = SpecialTokensInText::Error,
            |o| o.truncation = true,
            |o| o.padding = true,
            |o| o.pattern = Some("a".into()),
        ];
        for change in changes {
            change(&mut options);
            seen.push(options.content_hash(b"abc"));
        }
        options.special_tokens.insert("x".into(), 3);
        seen.push(options.content_hash(b"abc"));
        assert_eq!(seen.last(), Some(&options.clone().content_hash(b"abc")));
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }
}
