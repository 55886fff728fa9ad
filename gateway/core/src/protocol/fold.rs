//! Tells keys that some upstream takes for another key. In: two keys. Out: whether readers that ignore case mix them up.
//!
//! Go's `encoding/json` and others match keys case-insensitively and take the last match, so `{"name":…,"Name":…}` is
//! one tool to the gateway and another to them.

/// Whether `key` is not `wanted` but a reader that ignores case takes it for `wanted`. ASCII letters are compared so, and the four
/// outside ASCII that simple case folding or case mapping lands in it: ſ, K (Kelvin), İ and ı.
pub fn is_variant(key: &str, wanted: &str) -> bool {
    if key.is_ascii() {
        return key.eq_ignore_ascii_case(wanted) && key != wanted;
    }
    key != wanted && key.len() >= wanted.len() && key.chars().map(fold).eq(wanted.chars().map(fold))
}

/// Whether `key` is such a variant of any of `known`.
pub fn is_variant_of_any(key: &str, known: &[&str]) -> bool {
    known.iter().any(|wanted| is_variant(key, wanted))
}

fn fold(character: char) -> char {
    match character {
        '\u{17F}' => 's',
        '\u{212A}' => 'k',
        '\u{130}' | '\u{131}' => 'i',
        other => other.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_differs_only_in_case_is_a_variant() {
        let check = |key, wanted, expected| assert_eq!(is_variant(key, wanted), expected, "`{key}` for `{wanted}`");
        check("Name", "name", true);
        check("NAME", "name", true);
        check("param\u{17F}", "params", true);
        check("tas\u{212A}id", "taskId", true);
        check("ur\u{131}", "uri", true);
        check("_META", "_meta", true);
        check("name", "name", false);
        check("names", "name", false);
        check("nam", "name", false);
        check("name ", "name", false);
        // A name outside ASCII, as an argument's may be, is no variant of itself.
        check("größe", "größe", false);
        check("GRößE", "größe", true);
    }
}
