//! Regular expressions of tiktoken, in the dialect of the regex engine that Hugging Face's crate uses.
//!
//! tiktoken's patterns are written for Rust's fancy-regex; onig reads Ruby's dialect. Most of it is the same; where the
//! same text means something else, it is rewritten here, or refused where it can't be:
//!
//! | text | fancy-regex | Ruby | here |
//! |---|---|---|---|
//! | `X{n,m}+` | possessive | `X{n,m}` repeated | `(?>X{n,m})` |
//! | `X{n}?` | exactly n | n or none | `X{n}` |
//! | `$`, `^` | end, begin of the text | of a line | `\z`, `\A` |
//! | `(?i)`, `(?i:...)` | no case | no case | as it is |
//! | other inline flags | | other meaning | refused |
//! | `[[:alpha:]]` | ASCII | Unicode | refused |
//! | `--`, `~~` in a class | difference | characters | refused |
//! | `\w`, `\W`, `\b`, `\B` | ZWNJ and ZWJ are of words | they are not | classes and look-around that say so |
//! | `\u00e9`, `\U0001F600` | a character | four digits, the letter U | `\x{...}` |
//! | `\<`, `\>` | begin, end of a word | characters | refused |
//!
//! Groups and classes nested deeper than [`DEEPEST`] are refused: onig reads them recursively.
//!
//! Possessive `?+`, `*+` and `++` mean the same in both, as do groups, look-around, escapes and `\p{...}`.

/// How deep groups and classes may be nested. onig has a limit too, which is above what a thread's stack may hold.
const DEEPEST: usize = 200;

/// `\w` as Rust reads it: with ZERO WIDTH NON-JOINER and ZERO WIDTH JOINER, which onig leaves out.
const WORD: &str = r"[\w\x{200c}\x{200d}]";
const NO_WORD: &str = r"[^\w\x{200c}\x{200d}]";

/// The pattern in onig's dialect.
///
/// # Errors
/// What is not supported, with its byte position in the pattern.
pub(crate) fn for_onig(pattern: &str) -> Result<String, String> {
    let mut rewriter = Rewriter { pattern, at: 0, out: String::with_capacity(pattern.len() + 16) };
    rewriter.run()?;
    Ok(rewriter.out)
}

struct Rewriter<'p> {
    pattern: &'p str,
    at: usize,
    out: String,
}

impl Rewriter<'_> {
    fn rest(&self) -> &str {
        &self.pattern[self.at..]
    }

    fn copy(&mut self, bytes: usize) {
        self.out.push_str(&self.pattern[self.at..self.at + bytes]);
        self.at += bytes;
    }

    fn run(&mut self) -> Result<(), String> {
        // Where in `out` the open groups begin, and where the last complete item does (what a quantifier applies to).
        let mut groups = Vec::new();
        let mut item = None;
        while let Some(next) = self.rest().chars().next() {
            let begin = self.out.len();
            match next {
                '(' => {
                    groups.push(begin);
                    self.check_depth(groups.len())?;
                    self.open_group()?;
                    item = None;
                }
                ')' => {
                    item = Some(groups.pop().ok_or_else(|| self.refuse("a closing parenthesis too many"))?);
                    self.copy(1);
                }
                '|' => {
                    self.copy(1);
                    item = None;
                }
                '[' => {
                    self.class(groups.len())?;
                    item = Some(begin);
                }
                '\\' => {
                    self.escape(false)?;
                    item = Some(begin);
                }
                '^' | '$' => {
                    self.at += 1;
                    self.out.push_str(if next == '^' { r"\A" } else { r"\z" });
                    item = Some(begin);
                }
                '*' | '+' | '?' => self.copy(1 + self.suffix(1)),
                '{' => self.interval(item)?,
                _ => {
                    self.copy(next.len_utf8());
                    item = Some(begin);
                }
            }
        }
        if groups.is_empty() { Ok(()) } else { Err(self.refuse("an open group")) }
    }

    /// The length of the `?` or `+` after a quantifier of `length` bytes.
    fn suffix(&self, length: usize) -> usize {
        usize::from(self.rest()[length..].starts_with(['?', '+']))
    }

    fn open_group(&mut self) -> Result<(), String> {
        let rest = self.rest();
        let Some(kind) = rest.strip_prefix("(?") else {
            self.copy(1);
            return Ok(());
        };
        // The two that begin with an = or ! after a < are look-behinds; every other < begins a name.
        let plain = [":", "=", "!", ">", "<=", "<!"].iter().find(|start| kind.starts_with(**start));
        if let Some(start) = plain {
            self.copy(2 + start.len());
            return Ok(());
        }
        if kind.starts_with("P<") || kind.starts_with('<') {
            return Err(self.refuse("a named group"));
        }
        if kind.starts_with('#') {
            return Err(self.refuse("a comment"));
        }
        let length = kind.find([':', ')']).ok_or_else(|| self.refuse("an open group"))?;
        // Without a colon the flag holds to the end of the group around it, in both dialects.
        if !matches!(&kind[..length], "i" | "-i") {
            return Err(self.refuse("an inline flag other than i"));
        }
        if kind[length..].starts_with(':') {
            self.copy(2 + length + 1);
        } else {
            // In Ruby a flag between alternatives takes them all along: `a(?i)b|c` is `a(?i:b|c)`.
            if self.at > 0 {
                return Err(
                    self.refuse("an inline flag that is neither at the start nor in a group of its own")
                );
            }
            self.copy(2 + length);
        }
        Ok(())
    }

    fn check_depth(&self, depth: usize) -> Result<(), String> {
        if depth > DEEPEST {
            return Err(self.refuse(&format!("more than {DEEPEST} groups and classes in each other")));
        }
        Ok(())
    }

    /// Writes a part whose characters have no case, so that onig adds none to it.
    fn caseless(&mut self, part: &str) {
        if self.pattern.contains("(?i") {
            self.out.push_str(&format!("(?-i:{part})"));
        } else {
            self.out.push_str(part);
        }
    }

    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        let mut characters = self.rest().chars().skip(1);
        let escaped = characters.next().ok_or_else(|| self.refuse("a backslash at the end"))?;
        let simple = 1 + escaped.len_utf8();
        if matches!(escaped, 'p' | 'P' | 'x' | 'u' | 'U') && characters.next() == Some('{') {
            let length = self.rest().find('}').ok_or_else(|| self.refuse("an open brace"))? + 1;
            let inside = &self.rest()[simple + 1..length - 1];
            match escaped {
                // \u{...} is \x{...} in Ruby, where \u takes four digits.
                'u' | 'U' => {
                    let inside = format!(r"\x{{{inside}}}");
                    self.out.push_str(&inside);
                    self.at += length;
                }
                _ => self.copy(length),
            }
            return Ok(());
        }
        match escaped {
            // One-letter classes (\pL) need braces in Ruby.
            'p' | 'P' => {
                let name = self.rest().chars().nth(2).ok_or_else(|| self.refuse("an open class"))?;
                self.out.push_str(&format!(r"\{escaped}{{{name}}}"));
                self.at += 2 + name.len_utf8();
                Ok(())
            }
            // Ruby reads \x80 to \xFF as a byte, not as a character, and knows no \U.
            'x' | 'u' | 'U' => {
                let length = match escaped {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                let digits = self.rest()[2..].bytes().take(length);
                if digits.filter(u8::is_ascii_hexdigit).count() < length {
                    return Err(self.refuse("an escape of too few hexadecimal digits"));
                }
                let digits = self.rest()[2..2 + length].to_string();
                self.out.push_str(&format!(r"\x{{{digits}}}"));
                self.at += 2 + length;
                Ok(())
            }
            'w' | 'W' => {
                let class = if escaped == 'w' { WORD } else { NO_WORD };
                if in_class {
                    self.out.push_str(class);
                } else {
                    self.caseless(class);
                }
                self.at += simple;
                Ok(())
            }
            'b' | 'B' if !in_class => {
                let (ahead, not_ahead) = if escaped == 'b' { ("?!", "?=") } else { ("?=", "?!") };
                self.caseless(&format!("(?:(?<={WORD})({ahead}{WORD})|(?<!{WORD})({not_ahead}{WORD}))"));
                self.at += simple;
                Ok(())
            }
            'b' | 'B' => Err(self.refuse("a word boundary in a class")),
            '<' | '>' if !in_class => {
                Err(self.refuse("a boundary of words (write < or > for the character)"))
            }
            'Z' => Err(self.refuse(r"\Z")),
            '0'..='9' | 'k' | 'g' => Err(self.refuse("a reference to a group")),
            'N' | 'O' | 'R' | 'X' | 'K' | 'G' | 'y' | 'Y' | 'c' | 'C' | 'M' | 'e' => {
                Err(self.refuse("an escape that the two dialects read differently"))
            }
            _ => {
                self.copy(simple);
                Ok(())
            }
        }
    }

    /// A class in brackets, with the classes inside it.
    fn class(&mut self, groups: usize) -> Result<(), String> {
        let mut depth = 0_usize;
        loop {
            let Some(next) = self.rest().chars().next() else {
                return Err(self.refuse("an open class"));
            };
            match next {
                '[' if self.rest().starts_with("[:") => return Err(self.refuse("a POSIX class")),
                '[' => {
                    depth += 1;
                    self.check_depth(groups + depth)?;
                    self.copy(1);
                    if self.rest().starts_with('^') {
                        self.copy(1);
                    }
                    // A bracket right at the start is a character in one dialect and an empty class in the other.
                    if self.rest().starts_with(']') {
                        return Err(self.refuse("a class that begins with a bracket (write \\])"));
                    }
                }
                ']' => {
                    self.copy(1);
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                '\\' => self.escape(true)?,
                '-' if self.rest().starts_with("--") => return Err(self.refuse("a difference of classes")),
                '~' if self.rest().starts_with("~~") => return Err(self.refuse("a difference of classes")),
                _ => self.copy(next.len_utf8()),
            }
        }
    }

    /// `{n}`, `{n,}` or `{n,m}` and what follows it. Any other brace is a character, to be escaped for Ruby.
    fn interval(&mut self, item: Option<usize>) -> Result<(), String> {
        let length = self.rest().find('}').map(|end| end + 1);
        let counts = length.map(|length| &self.rest()[1..length - 1]);
        let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (Some(length), Some(counts)) = (length, counts) else {
            return Err(self.refuse("an open brace (write \\{ for the character)"));
        };
        let fixed = number(counts);
        let range =
            counts.split_once(',').is_some_and(|(from, to)| number(from) && (to.is_empty() || number(to)));
        if !fixed && !range {
            return Err(self.refuse("a brace that is no repetition (write \\{ for the character)"));
        }
        let item = item.ok_or_else(|| self.refuse("a repetition of nothing"))?;
        match self.rest()[length..].chars().next() {
            Some('+') => {
                self.out.insert_str(item, "(?>");
                self.copy(length);
                self.out.push(')');
                self.at += 1;
            }
            Some('?') if fixed => {
                self.copy(length);
                self.at += 1;
            }
            Some('?') => self.copy(length + 1),
            _ => self.copy(length),
        }
        Ok(())
    }

    fn refuse(&self, what: &str) -> String {
        format!("{what} at byte {} of the pattern", self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::for_onig;

    /// The patterns of tiktoken's openai_public.py, current and older.
    const O200K: &str = concat!(
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    );
    const R50K: &str = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s";
    const CL100K: &str = concat!(
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+",
        r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    );

    #[test]
    fn rewrites() {
        for (pattern, expected) in [
            ("", ""),
            (O200K, O200K),
            (R50K, R50K.replace('$', r"\z").as_str()),
            (CL100K, CL100K.replace('$', r"\z").replace(r"\p{N}{1,3}+", r"(?>\p{N}{1,3})").as_str()),
            (r"a{2,3}+", r"(?>a{2,3})"),
            (r"ba{2,}+c", r"b(?>a{2,})c"),
            (r"a{2}+", r"(?>a{2})"),
            (r"a{2}?", r"a{2}"),
            (r"a{2,3}?b", r"a{2,3}?b"),
            (r"é{1,2}+", r"(?>é{1,2})"),
            (r"(ab|c{1,2}+){3,4}+d", r"(?>(ab|(?>c{1,2})){3,4})d"),
            (r"(?:a(b)){1,2}+", r"(?>(?:a(b)){1,2})"),
            (r"x(?=a{1,2}+)", r"x(?=(?>a{1,2}))"),
            (r"(?<!a)b(?<=c)d(?>e)", r"(?<!a)b(?<=c)d(?>e)"),
            (r"[a{1,2}+]{1,2}+", r"(?>[a{1,2}+]{1,2})"),
            (r"[^\]$^(){}|]{1,2}+", r"(?>[^\]$^(){}|]{1,2})"),
            (r"[a[bc]&&[^d]]{1,2}+", r"(?>[a[bc]&&[^d]]{1,2})"),
            (r"\{1,2}+", r"\{1,2}+"),
            (r"\p{Lu}{1,2}+\P{L}\pN", r"(?>\p{Lu}{1,2})\P{L}\p{N}"),
            (r"\\{1,2}+", r"(?>\\{1,2})"),
            (r"\x{1F600}{1,2}+\u{e9}\xe9", r"(?>\x{1F600}{1,2})\x{e9}\x{e9}"),
            (
                r"\u00e9{1,2}+[\u00e9-\U0001F600]\U{1F600}",
                r"(?>\x{00e9}{1,2})[\x{00e9}-\x{0001F600}]\x{1F600}",
            ),
            (r"\w{1,2}+\W", r"(?>[\w\x{200c}\x{200d}]{1,2})[^\w\x{200c}\x{200d}]"),
            (r"(?i)\w[^\W_]", r"(?i)(?-i:[\w\x{200c}\x{200d}])[^[^\w\x{200c}\x{200d}]_]"),
            (r"^a$|\$\^", r"\Aa\z|\$\^"),
            (r"(?i)abc", r"(?i)abc"),
            (r"(?i:a)(?-i:b)", r"(?i:a)(?-i:b)"),
            (r"a*+b++c?+d*?", r"a*+b++c?+d*?"),
        ] {
            assert_eq!(for_onig(pattern).as_deref(), Ok(expected), "{pattern}");
        }
    }

    #[test]
    fn refuses_with_the_position() {
        for (pattern, expected) in [
            (r"ab(c", "an open group at byte 4"),
            (r"abc)", "a closing parenthesis too many at byte 3"),
            (r"a[bc", "an open class at byte 4"),
            (r"a[[:alpha:]]", "a POSIX class at byte 2"),
            (r"[a--b]", "a difference of classes at byte 2"),
            (r"[]a]", "a class that begins with a bracket"),
            (r"(?m)^a", "an inline flag other than i at byte 0"),
            (r"(?s:a.)", "an inline flag other than i at byte 0"),
            (r"a(?i)b", "an inline flag that is neither"),
            (r"(?P<n>a)", "a named group at byte 0"),
            (r"(a)\1", "a reference to a group at byte 3"),
            (r"a{x}", "a brace that is no repetition"),
            (r"a{1", "an open brace"),
            (r"{1,2}+", "a repetition of nothing"),
            (r"\", "a backslash at the end"),
            (r"\p{L", "an open brace at byte 0"),
            (r"a\u00e", "an escape of too few hexadecimal digits at byte 1"),
            (r"\U1F600", "an escape of too few hexadecimal digits at byte 0"),
            (r"\u00é9", "an escape of too few hexadecimal digits at byte 0"),
            (r"[\b]", "a word boundary in a class at byte 1"),
            (r"\<a", "a boundary of words"),
        ] {
            let refusal = for_onig(pattern).expect_err(pattern);
            assert!(refusal.starts_with(expected), "{pattern}: {refusal}");
        }
    }

    /// What is a word's character, and where words begin and end, as Rust's regex crate says.
    #[test]
    fn words_are_those_of_rust() {
        let found = |pattern: &str, text: &str| -> Vec<(usize, usize)> {
            let regex = tokenizers::utils::SysRegex::new(&for_onig(pattern).unwrap()).unwrap();
            regex.find_iter(text).collect()
        };
        for (character, word) in [
            ('a', true),
            ('Z', true),
            ('7', true),
            ('_', true),
            ('é', true),
            ('ß', true),
            ('ſ', true),
            ('中', true),
            ('\u{301}', true),  // a combining mark
            ('\u{661}', true),  // an Arabic digit
            ('\u{203f}', true), // a connector
            ('\u{24b6}', true), // a letter in a circle
            ('\u{200c}', true), // ZWNJ
            ('\u{200d}', true), // ZWJ
            ('\u{200b}', false),
            ('\u{200e}', false),
            ('\u{b2}', false), // a digit that is not decimal
            ('-', false),
            (' ', false),
            ('\u{a0}', false),
            ('€', false),
        ] {
            let text = character.to_string();
            for (pattern, expected) in [
                (r"\w", word),
                (r"\W", !word),
                (r"[\w]", word),
                (r"[^\w]", !word),
                (r"[\W]", !word),
                (r"[^\W]", word),
                (r"(?i)\w", word),
                (r"(?i)[^\W]", word),
                (r"\b.", word),
                (r"(?i)\B.", !word),
            ] {
                assert_eq!(found(pattern, &text).len(), usize::from(expected), "{pattern} {character:?}");
            }
        }
        let text = "a\u{200d}b c";
        assert_eq!(found(r"\w+|\W+", text), [(0, 5), (5, 6), (6, 7)]);
        assert_eq!(found(r"\b.", text), [(0, 1), (5, 6), (6, 7)]);
        assert_eq!(found(r"(?i).\b", text), [(4, 5), (5, 6), (6, 7)]);
        assert_eq!(found(r"\B.", text), [(1, 4), (4, 5)]);
        assert_eq!(found(r"(?i)\w", "ss"), [(0, 1), (1, 2)]);
        assert_eq!(found(r"[\u00e9\U0001F600]", "é😀"), [(0, 2), (2, 6)]);
    }

    #[test]
    fn deep_nesting_is_refused() {
        for (open, close) in [("(", ")"), ("(?:", ")"), ("[a", "]"), ("(?=[a", "])")] {
            let nested = |depth| format!("{}x{}", open.repeat(depth), close.repeat(depth));
            let levels = open.matches(['(', '[']).count();
            assert!(levels == 2 || for_onig(&nested(200)).is_ok(), "{open}");
            let refusal = for_onig(&nested(201)).expect_err(open);
            assert!(refusal.starts_with("more than 200 groups and classes"), "{refusal}");
        }
    }
}
