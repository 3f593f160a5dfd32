//! Where a document may be cut, so that the ids of the parts, one behind the other, are those of the whole: callers that
//! have to copy text can then do with little memory for documents of any length.
//!
//! Two kinds of places, which any prose, code or table has every few lines:
//!
//! ```text
//!     a| b        before a space between two letters of ASCII
//!     ?\n|b       behind a newline between what is no white space and a letter of ASCII or an ideograph
//! ```
//!
//! Why nothing changes there, part by part:
//!
//! - Added tokens: none of those that are looked for could have the place inside of it, or see another neighbour beyond
//!   it ([`Places::of`]). A token with `single_word` sees no letter there in both cases.
//! - NFC: nothing composes with a space or a newline, nor is moved over one.
//! - Pre-tokenizers: no pattern looks behind. None lets a space follow a letter, nor a letter or an ideograph follow a
//!   newline, within one pre-token: one ends at the place, and the next begins there. Whether it ends there does not
//!   depend on what follows: letters end before a space as they do at the end of the text, and the only look ahead,
//!   `\s+(?!\S)`, has one newline to take, which `\s+` takes otherwise, or an earlier alternative in both cases. (With
//!   white space before the newline GPT-2's would differ: `\n\n|b` is two pre-tokens, and `\n\n` at the end is one.)
//! - A blank in front of the text (`add_prefix_space`) would stand in front of each part: no place at all.
//!
//! The test `documents_may_be_cut` holds this against whole documents, for every family and added tokens of all kinds.
use crate::load::Added;

/// The kinds of places that a tokenizer allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    before_space: bool,
    behind_newline: bool,
}

impl Places {
    /// For a tokenizer that looks for these added tokens, with the text that is matched.
    pub(crate) fn of<'t>(prefix_space: bool, added: impl Iterator<Item = (&'t Added, String)>) -> Places {
        let mut places = Places { before_space: !prefix_space, behind_newline: !prefix_space };
        for (token, text) in added {
            let text = text.as_bytes();
            let inside = text.windows(2).any(|pair| pair[0].is_ascii_alphabetic() && pair[1] == b' ');
            let takes = token.rstrip && text.last().is_some_and(u8::is_ascii_alphabetic);
            let sees = token.single_word && text.first() == Some(&b' ');
            places.before_space &= !(inside || takes || sees);
            // What is no ASCII may be a letter and a mark in the document, of which NFC makes one.
            let begins = |byte: &u8| byte.is_ascii_alphabetic() || !byte.is_ascii();
            let takes = token.lstrip && text.first().is_some_and(begins);
            places.behind_newline &= !(text.contains(&b'\n') || takes);
        }
        places
    }

    /// The last place in the text that is not its end, in bytes; 0 if there is none. The text may be the beginning of a
    /// longer one, cut anywhere, and need not be UTF-8.
    pub(crate) fn last(self, text: &[u8]) -> usize {
        let here = |at: usize| match text[at] {
            b' ' if self.before_space => {
                (text[at - 1].is_ascii_alphabetic() && text[at + 1].is_ascii_alphabetic()).then_some(at)
            }
            b'\n' if self.behind_newline => {
                (begins_line(text[at + 1]) && ends_visibly(&text[..at])).then_some(at + 1)
            }
            _ => None,
        };
        (1..text.len().saturating_sub(1)).rev().find_map(here).unwrap_or(0)
    }
}

/// A letter of ASCII, or the first byte of U+4000 to U+9FFF: ideographs and some signs, no marks and no white space.
fn begins_line(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || (0xE4..=0xE9).contains(&byte)
}

/// Whether the last character is there and no white space.
fn ends_visibly(text: &[u8]) -> bool {
    let tail = &text[text.len().saturating_sub(4)..];
    let begin = tail.iter().rposition(|byte| byte & 0xC0 != 0x80).unwrap_or(0);
    let last = std::str::from_utf8(&tail[begin..]).ok().and_then(|last| last.chars().next());
    last.is_some_and(|last| !last.is_whitespace())
}
