//! The one error type of the engine.

use std::fmt;

/// What went wrong, in the terms a caller can act on. The ffi crate gives each a status number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The caller asked for something that makes no sense, whatever the file or the text.
    InvalidArgument,
    /// The text is not UTF-8; the position is that of the first bad byte.
    InvalidUtf8,
    /// The text has a special token and the option `special_tokens_in_text` is `error`.
    SpecialToken,
    /// The tokenizer file cannot be loaded, or the engine asked for cannot serve it.
    Unsupported,
    /// The tokenizer refused the text.
    Encode,
    /// An id to decode is not in the vocabulary; the position is its index among the ids.
    UnknownId,
}

/// An error: what was wrong, where, and what to do about it. Never holds content of a tokenizer file or a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: Kind,
    pub message: String,
    /// Byte position in the text (or index of the id, or byte position in the file), where there is one.
    pub position: Option<usize>,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), position: None }
    }

    pub(crate) fn at(kind: Kind, position: usize, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), position: Some(position) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
