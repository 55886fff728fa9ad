//! Splits a policy file into its rules without parsing them. In: a file's text. Out: where each rule stands, or nothing where that is not certain. Never here: what a rule means.
//!
//! A rule ends at its `;`, which Cedar has no other use for, and which means nothing inside a text in quotes or a comment. Whatever here could be
//! read otherwise than Cedar's own lexer reads it is left to Cedar.

use std::ops::Range;

/// Where one rule stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its bytes, from its first token to its `;`.
    pub span: Range<usize>,
    /// The line it begins on, from 1.
    pub line: u32,
}

/// The rules of a file, in their order; none where it is not certain where they begin and end.
pub fn split(text: &str) -> Option<Vec<Piece>> {
    let bytes = text.as_bytes();
    let (mut pieces, mut begun) = (Vec::new(), None);
    let (mut at, mut line) = (0_usize, 1_u32);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' => line = line.saturating_add(1),
            b' ' | b'\t' | b'\r' | 0x0b | 0x0c => {}
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at +=
                    bytes.get(at..)?.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(bytes.len() - at);
                continue;
            }
            b'"' => {
                begun.get_or_insert((at, line));
                let end = quoted(bytes, at)?;
                line = line.saturating_add(breaks(bytes.get(at..end)?));
                at = end;
                continue;
            }
            b';' => {
                let (start, line) = begun.take()?;
                pieces.push(Piece { span: start..at + 1, line });
            }
            // Outside of texts and comments Cedar takes some of these for white space and none for a token.
            0x80.. => return None,
            _ => {
                begun.get_or_insert((at, line));
            }
        }
        at += 1;
    }
    begun.is_none().then_some(pieces)
}

/// One past the end of the text in quotes that begins at `at`. A backslash takes the next character with it, which cannot be a line break.
fn quoted(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' if *bytes.get(at + 1)? == b'\n' => return None,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn breaks(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.iter().filter(|byte| **byte == b'\n').count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&[(&str, u32)]>) {
        let pieces = split(text);
        let shown: Option<Vec<(&str, u32)>> =
            pieces.as_ref().map(|pieces| pieces.iter().map(|piece| (&text[piece.span.clone()], piece.line)).collect());
        assert_eq!(shown.as_deref(), expected, "{text:?}");
    }

    #[test]
    fn what_is_not_certain_is_left_to_cedar() {
        for text in ["a", "a;b", ";", "a;;", "\"a;", "\"a\\", "\"a\\\n\";", "a\u{a0};", "\u{feff}a;", "é;"] {
            check(text, None);
        }
    }

    #[test]
    fn a_rule_ends_at_its_semicolon_and_nowhere_else() {
        check("", Some(&[]));
        check(" \n// a; b\n", Some(&[]));
        check("// é;", Some(&[]));
        check("a;\n b ;c;", Some(&[("a;", 1), ("b ;", 2), ("c;", 2)]));
        check("a \";\" b; c;", Some(&[("a \";\" b;", 1), ("c;", 1)]));
        check("a \"\\\";\" b;", Some(&[("a \"\\\";\" b;", 1)]));
        check("a \"\\\\\"; \"b\";", Some(&[("a \"\\\\\";", 1), ("\"b\";", 1)]));
        check("a \"é\\é;\";", Some(&[("a \"é\\é;\";", 1)]));
        check("a // ; \"\n b;\r\n// x\r c;", Some(&[("a // ; \"\n b;", 1), ("c;", 3)]));
        check("a / b;", Some(&[("a / b;", 1)]));
        check("\"//\" a;", Some(&[("\"//\" a;", 1)]));
        check("@id(\"x\ny\")\na;\nb;", Some(&[("@id(\"x\ny\")\na;", 1), ("b;", 4)]));
    }
}
