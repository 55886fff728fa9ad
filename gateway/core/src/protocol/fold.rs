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
    known.iter().any(|wanted| is_variant(key, wanted))
}

/// Names in ASCII alone that many keys are held against.
pub struct Names<const COUNT: usize> {
    names: [&'static str; COUNT],
    /// A bit for each length that one of them has.
    lengths: u64,
}

impl<const COUNT: usize> Names<COUNT> {
    /// In a constant: the build fails where a name is not ASCII or has 64 bytes.
    #[expect(clippy::indexing_slicing, reason = "out of bounds would fail the build")]
    pub const fn new(names: [&'static str; COUNT]) -> Self {
        let (mut lengths, mut at) = (0, 0);
        while at < COUNT {
            assert!(names[at].is_ascii() && names[at].len() < 64, "a name must be ASCII and shorter than 64 bytes");
            lengths |= 1 << names[at].len();
            at += 1;
        }
        Self { names, lengths }
    }

    /// Whether `key` is a variant of any of them. Between ASCII texts nothing but the case of letters can differ, so most fall out by their length.
    #[inline]
    pub fn have_variant(&self, key: &str) -> bool {
        if !key.is_ascii() {
            return is_variant_of_any(key, &self.names);
        }
        let is_length = key.len() < 64 && self.lengths & 1 << key.len() != 0;
        is_length && self.names.iter().any(|name| name.len() == key.len() && folds_to(key, name))
    }
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

    #[test]
    fn many_names_have_the_variants_that_each_has() {
        const NAMES: Names<5> = Names::new(["name", "params", "_meta", "taskId", "uri"]);
        for key in [
            "Name",
            "name",
            "names",
            "nam",
            "param\u{17F}",
            "PARAMS",
            "params",
            "tas\u{212A}id",
            "taskid",
            "taskId",
            "ur\u{131}",
            "URI",
            "_META",
            "",
            "a",
            "größe",
            "tasKid",
            &"x".repeat(70),
        ] {
            assert_eq!(NAMES.have_variant(key), is_variant_of_any(key, &NAMES.names), "`{key}`");
        }
        assert!(NAMES.have_variant("NAME") && NAMES.have_variant("tas\u{212A}id") && !NAMES.have_variant("name"));
    }
}
