//! Tells keys that some upstream takes for another key. In: two keys. Out: whether readers that ignore case mix them up.
//!
//! Go's `encoding/json` and others match keys case-insensitively and take the last match, so `{"name":…,"Name":…}` is
//! one tool to the gateway and another to them.

/// Whether `key` is not `wanted` but a reader that ignores case takes it for `wanted`: by Unicode's case mappings, which say more than
/// the simple folding that Go compares by, and with the dot of İ left out, as some do.
#[inline]
pub fn is_variant(key: &str, wanted: &str) -> bool {
    // Nearly every key falls out here: what is mapped to another character begins with a byte above ASCII.
    match (key.as_bytes().first(), wanted.as_bytes().first()) {
        (Some(key), Some(wanted)) if (key | wanted).is_ascii() && !key.eq_ignore_ascii_case(wanted) => false,
        _ => folds_to(key, wanted),
    }
}

/// Whether `key` is such a variant of any of `known`.
#[inline]
pub fn is_variant_of_any(key: &str, known: &[&str]) -> bool {
    // A mapping that changes how many bytes there are has a character beyond ASCII on one side.
    let is_ascii = key.is_ascii();
    known.iter().any(|wanted| (!is_ascii || key.len() == wanted.len() || !wanted.is_ascii()) && is_variant(key, wanted))
}

fn folds_to(key: &str, wanted: &str) -> bool {
    if key == wanted {
        return false;
    }
    // Between ASCII texts nothing but the case of letters can differ, and no mapping changes how many there are.
    if key.is_ascii() && wanted.is_ascii() {
        return key.eq_ignore_ascii_case(wanted);
    }
    folded(key).eq(folded(wanted))
}

fn folded(text: &str) -> impl Iterator<Item = char> {
    let plain = |character| if character == '\u{130}' { 'i' } else { character };
    text.chars().map(plain).flat_map(char::to_lowercase).flat_map(char::to_uppercase).flat_map(char::to_lowercase)
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
        check("\u{17F}s", "ss", true);
        check("s", "\u{17F}", true);
        check("GRÖẞE", "größe", true);
        check("Größen", "größe", false);
        check("\u{130}d", "id", true);
        check("", "", false);
        check("", "a", false);
        check("a", "", false);
    }
}
