//! Looks at names as eyes and models do. In: a name or description. Out: what is hidden in it, and what it would be taken for. Never here: judgement on tools.

/// The first character of `text` that a reader does not see but a model does: tag characters, zero-width characters, bidirectional controls.
pub fn hidden(text: &str) -> Option<char> {
    text.chars().find(|letter| is_hidden(*letter))
}

/// Two names with the same skeleton are taken for each other: hidden characters and white space are dropped, case is folded.
pub fn skeleton(name: &str) -> String {
    name.chars().filter(|letter| !is_hidden(*letter) && !letter.is_whitespace()).flat_map(char::to_lowercase).collect()
}

/// The name with every hidden and control character spelled out, fit for a terminal.
pub fn visible(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for letter in name.chars() {
        if is_hidden(letter) || letter.is_control() {
            out.extend(letter.escape_unicode());
        } else {
            out.push(letter);
        }
    }
    out
}

fn is_hidden(letter: char) -> bool {
    matches!(u32::from(letter),
        0x00AD              // soft hyphen
        | 0x034F            // combining grapheme joiner
        | 0x061C            // Arabic letter mark
        | 0x115F..=0x1160   // Hangul fillers
        | 0x17B4..=0x17B5   // Khmer inherent vowels
        | 0x180B..=0x180F   // Mongolian selectors and vowel separator
        | 0x200B..=0x200F   // zero width, left-to-right and right-to-left marks
        | 0x202A..=0x202E   // bidirectional embeddings and overrides
        | 0x2060..=0x206F   // word joiner, invisible operators, bidirectional isolates
        | 0x3164            // Hangul filler
        | 0xFE00..=0xFE0F   // variation selectors
        | 0xFEFF            // byte order mark
        | 0xFFA0            // half-width Hangul filler
        | 0xFFF9..=0xFFFB   // interlinear annotations
        | 0xE0000..=0xE0FFF // tags and supplementary variation selectors
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_found_and_spelled_out() {
        let rows = [
            ("read_table", None),
            ("lire données ✓", None),
            ("read\u{200B}table", Some('\u{200B}')),
            ("x\u{E0041}", Some('\u{E0041}')),
            ("a\u{202E}b", Some('\u{202E}')),
        ];
        for (text, expected) in rows {
            assert_eq!(hidden(text), expected, "{text:?}");
        }
        assert_eq!(visible("a\u{202E}b\n"), "a\\u{202e}b\\u{a}");
        assert_eq!(skeleton("Read Table"), skeleton("read\u{A0}\u{200B}table"));
    }
}
