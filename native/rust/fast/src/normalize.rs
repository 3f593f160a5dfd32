//! NFC, exactly the judge's (its crate), after a quick look that most text passes.
//!
//! A character whose quick check is Yes and whose combining class is 0 neither changes nor takes part in a
//! composition with what stands before it; a text of such characters is its own NFC. The test
//! `nfc_quick_look_is_exact` compares over all code points and pairs of the doubtful ones.
use crate::unicode::{decode, entry};
use unicode_normalization_alignments::UnicodeNormalization;

/// Whether each first byte has doubtful characters (bit 7 of the table).
static DOUBTFUL: [bool; 256] = {
    let mut t = [false; 256];
    let mut code = 0x80u32;
    while code < 0x11_0000 {
        let index = crate::unicode_tables::INDEX[(code >> 6) as usize] as usize;
        if crate::unicode_tables::BLOCKS[index][(code & 63) as usize] & 0x80 != 0 {
            let first = if code < 0x800 {
                0xc0 | code >> 6
            } else if code < 0x1_0000 {
                0xe0 | code >> 12
            } else {
                0xf0 | code >> 18
            };
            t[first as usize] = true;
        }
        code += 1;
    }
    t
};

/// True: the text is its own NFC. False: it may not be.
pub fn is_nfc(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        // Nothing below U+0300 is doubtful, and its first bytes are below 0xCC.
        let chunk = &bytes[at..bytes.len().min(at + 64)];
        if !chunk.iter().fold(false, |any, b| any | (*b >= 0xcc)) {
            at += chunk.len();
            continue;
        }
        for (i, b) in chunk.iter().enumerate() {
            if *b >= 0xcc && DOUBTFUL[*b as usize] && entry(decode(bytes, at + i).0) & 0x80 != 0 {
                return false;
            }
        }
        at += chunk.len();
    }
    true
}

pub fn nfc_into(text: &str, out: &mut String) {
    out.extend(text.nfc().map(|c| c.0));
}

pub fn nfc(text: &str) -> String {
    text.nfc().map(|c| c.0).collect()
}

/// For each byte of the text's NFC, begin and end (plus `shift`) of the character of the text that Hugging Face's
/// NormalizedString::transform takes it to be from.
pub fn alignment(text: &str, shift: usize) -> Vec<(usize, usize)> {
    let mut old = text.char_indices();
    let of = |at: usize| {
        let begin = (0..=at).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        (shift + begin, shift + begin + text[begin..].chars().next().map_or(0, char::len_utf8))
    };
    let mut bytes = Vec::with_capacity(text.len());
    // Where the next character of the text stands that nothing was made of yet.
    let mut at = 0;
    for (c, change) in text.nfc() {
        let from = match change > 0 {
            // One more than there were: it belongs to the one before it.
            true if at == 0 => (shift, shift),
            true => of(at - 1),
            false => of(at.min(text.len())),
        };
        if change <= 0 {
            // In place of one, and of as many more as the change says.
            let gone = old.by_ref().take(1 + change.unsigned_abs());
            at += gone.map(|(_, c)| c.len_utf8()).sum::<usize>();
        }
        bytes.extend(std::iter::repeat_n(from, c.len_utf8()));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of every code point, and of pairs of the doubtful ones with letters before and behind.
    #[test]
    fn nfc_quick_look_is_exact() {
        let mut doubtful = Vec::new();
        for c in (0..0x11_0000).filter_map(char::from_u32) {
            let text = format!("a{c}");
            if is_nfc(&text) {
                assert_eq!(nfc(&text), text);
            } else {
                doubtful.push(c);
            }
        }
        for (i, a) in doubtful.iter().enumerate().step_by(7) {
            let b = doubtful[(i * 31 + 5) % doubtful.len()];
            let text = format!("e{a}{b}가");
            let mut out = String::new();
            nfc_into(&text, &mut out);
            assert_eq!(out, nfc(&text));
        }
    }
}
