//! Bytes to text, with the two ways to treat bytes that are not UTF-8.

use std::borrow::Cow;

use crate::error::{Error, Kind};

/// The bytes as text.
///
/// # Errors
/// [`Kind::InvalidUtf8`] with the position of the first byte that is not part of a valid character.
pub(crate) fn strict(bytes: &[u8]) -> Result<&str, Error> {
    // The standard library takes a fifth of the fast engine's time for text beyond ASCII.
    simdutf8::compat::from_utf8(bytes).map_err(|error| {
        let position = error.valid_up_to();
        Error::at(
            Kind::InvalidUtf8,
            position,
            format!(
                "the text is not UTF-8: invalid byte at position {position}; \
                 clean the text, or choose to replace invalid bytes by U+FFFD"
            ),
        )
    })
}

/// Text in which every invalid part was replaced by U+FFFD, with the way back to positions in the bytes it came from.
pub(crate) struct Replaced<'b> {
    pub text: Cow<'b, str>,
    /// For each replacement, its end in the text and the end of the invalid part in the bytes, both ascending.
    ends: Vec<(usize, usize)>,
}

/// Replaces as the WHATWG Encoding Standard says: one U+FFFD for each maximal prefix of a character that could have been
/// valid, as `String::from_utf8_lossy` does. Valid bytes are borrowed, not copied.
pub(crate) fn replace(bytes: &[u8]) -> Replaced<'_> {
    if let Ok(text) = simdutf8::basic::from_utf8(bytes) {
        return Replaced { text: Cow::Borrowed(text), ends: Vec::new() };
    }
    let mut text = String::with_capacity(bytes.len() + 16);
    let mut ends = Vec::new();
    let mut source = 0;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        source += chunk.valid().len() + chunk.invalid().len();
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
            ends.push((text.len(), source));
        }
    }
    Replaced { text: Cow::Owned(text), ends }
}

impl Replaced<'_> {
    /// The position in the bytes of a position in the text that lies on a character boundary.
    pub(crate) fn source_position(&self, position: usize) -> usize {
        match self.ends.partition_point(|&(end, _)| end <= position) {
            0 => position,
            after => {
                let (end, source) = self.ends[after - 1];
                source + (position - end)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_names_the_first_bad_byte_at_every_position() {
        let text = "añ日😀".repeat(3);
        for position in 0..=text.len() {
            let mut bytes = text.as_bytes()[..position].to_vec();
            // A character cut short counts from where it begins.
            let expected = std::str::from_utf8(&bytes).map_or_else(|error| error.valid_up_to(), str::len);
            bytes.push(0xFF);
            bytes.extend_from_slice(b"tail");
            let error = strict(&bytes).unwrap_err();
            assert_eq!((error.kind, error.position), (Kind::InvalidUtf8, Some(expected)));
        }
    }

    #[test]
    fn replaces_as_whatwg_says_and_finds_the_way_back() {
        // (bytes, text, byte position of each character boundary of the text)
        let cases: [(&[u8], &str, &[usize]); 8] = [
            (b"plain", "plain", &[0, 1, 2, 3, 4, 5]),
            (b"\xFF", "\u{FFFD}", &[0, 1]),
            (b"a\xC3", "a\u{FFFD}", &[0, 1, 2]),
            // A truncated character of three bytes is one replacement.
            (b"a\xE6\x97b", "a\u{FFFD}b", &[0, 1, 3, 4]),
            // A surrogate in CESU style is three.
            (b"\xED\xA0\x80", "\u{FFFD}\u{FFFD}\u{FFFD}", &[0, 1, 2, 3]),
            // Overlong and out of range.
            (b"\xC0\xAF", "\u{FFFD}\u{FFFD}", &[0, 1, 2]),
            (b"\xF4\x90\x80\x80", "\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}", &[0, 1, 2, 3, 4]),
            // A real U+FFFD keeps its own three bytes.
            (b"\xEF\xBF\xBD\x80\xC3\xA9", "\u{FFFD}\u{FFFD}\u{E9}", &[0, 3, 4, 6]),
        ];
        for (bytes, text, positions) in cases {
            let replaced = replace(bytes);
            assert_eq!(replaced.text, text);
            assert_eq!(replaced.text, String::from_utf8_lossy(bytes));
            let boundaries = (0..=text.len()).filter(|at| text.is_char_boundary(*at));
            let found: Vec<usize> = boundaries.map(|at| replaced.source_position(at)).collect();
            assert_eq!(found, positions, "{bytes:?}");
        }
    }
}
