//! Narrows a list. In: the answer to a list request and who may see which entry. Out: the answer without the others.
//!
//! What stays is copied byte for byte: numbers, unknown fields, key order and schemas are those of the upstream.

use super::splice::{FilterError, Filtered, Keep, holder, locate, refuse_variants};
use crate::protocol::json::{Kind, Value};
use crate::protocol::span;

/// Appends `body` to `out` without the entries of the list `key` that `keep` drops. `root` is what was read from `body`: a
/// response with that list in its result, or such a result itself. `keep` gets each entry and its bytes. Where nothing
/// is dropped the bytes are exactly those of `body`; on an error `out` is as it was.
pub fn filter_list(
    body: &[u8],
    root: Value<'_>,
    key: &str,
    keep: &mut dyn FnMut(Value<'_>, &[u8]) -> Keep,
    out: &mut Vec<u8>,
) -> Result<Filtered, FilterError> {
    let before = out.len();
    let filtered = splice_list(body, root, key, keep, out);
    match filtered {
        Ok(Filtered { dropped: 0, .. }) => {
            out.truncate(before);
            out.extend_from_slice(body);
        }
        Ok(_) => {}
        Err(_) => out.truncate(before),
    }
    filtered
}

fn splice_list(
    body: &[u8],
    root: Value<'_>,
    key: &str,
    keep: &mut dyn FnMut(Value<'_>, &[u8]) -> Keep,
    out: &mut Vec<u8>,
) -> Result<Filtered, FilterError> {
    let (result, path) = holder(root)?;
    refuse_variants(result, &[key])?;
    let list = result.get(key).filter(|list| list.kind() == Kind::Array).ok_or(FilterError::Shape)?;
    let place = locate(body, path, key)?;
    out.extend_from_slice(body.get(..place.start).ok_or(FilterError::Misaligned)?);
    out.push(b'[');
    let mut filtered = Filtered::default();
    let mut ranges = span::elements(body, place.clone());
    for item in list.items() {
        let bytes = ranges.next().and_then(|range| body.get(range)).ok_or(FilterError::Misaligned)?;
        match keep(item, bytes) {
            Keep::Keep => {
                if filtered.kept > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(bytes);
                filtered.kept += 1;
            }
            Keep::Drop => filtered.dropped += 1,
        }
    }
    if ranges.next().is_some() || filtered.kept + filtered.dropped != list.len() {
        return Err(FilterError::Misaligned);
    }
    out.push(b']');
    out.extend_from_slice(body.get(place.end..).ok_or(FilterError::Misaligned)?);
    Ok(filtered)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::json::{JsonLimits, Scratch, read, samples};

    const LIMITS: JsonLimits = JsonLimits { bytes_max: 1 << 20, depth_max: 64 };

    /// Keeps the entries whose `name` does not start with `x`.
    fn narrowed(body: &str, key: &str) -> Result<(String, Filtered), FilterError> {
        let mut scratch = Scratch::new();
        let document = read(&mut scratch, body.as_bytes(), &LIMITS).unwrap();
        let mut out = b"before ".to_vec();
        let mut keep = |item: Value<'_>, _: &[u8]| match item.get("name").and_then(Value::as_str) {
            Some(name) if !name.starts_with('x') => Keep::Keep,
            Some(_) | None => Keep::Drop,
        };
        let filtered = filter_list(body.as_bytes(), document.root(), key, &mut keep, &mut out);
        let out = String::from_utf8(out).unwrap();
        let rest = out.strip_prefix("before ").unwrap().to_owned();
        if filtered.is_err() {
            assert_eq!(rest, "", "an error leaves nothing behind");
        }
        Ok((rest, filtered?))
    }

    #[test]
    fn an_answer_without_the_list_or_with_a_second_one_is_refused() {
        let check =
            |body: &str, expected: FilterError| assert_eq!(narrowed(body, "tools"), Err(expected), "given {body}");
        check("{}", FilterError::Shape);
        check("[]", FilterError::Shape);
        check(r#"{"result":{"tools":{}}}"#, FilterError::Shape);
        check(r#"{"result":{"tools":null}}"#, FilterError::Shape);
        check(r#"{"result":{"prompts":[]}}"#, FilterError::Shape);
        check(r#"{"error":{"code":1,"message":""}}"#, FilterError::Shape);
        check(r#"{"result":{"tools":[],"Tools":[{"name":"x"}]}}"#, FilterError::CaseVariant);
        check(r#"{"result":{"tool\u017f":[{"name":"x"}]}}"#, FilterError::CaseVariant);
        check(r#"{"Result":{"tools":[{"name":"x"}]},"result":{"tools":[]}}"#, FilterError::CaseVariant);
    }

    #[test]
    fn tape_and_bytes_of_different_texts_are_refused() {
        let mut scratch = Scratch::new();
        let document = read(&mut scratch, br#"{"tools":[1,2]}"#, &LIMITS).unwrap();
        for body in [&br#"{"tools":[1]}"#[..], br#"{"tools":[1,2,3]}"#, br#"{"tool":[1,2]}"#, b""] {
            let mut out = Vec::new();
            let got = filter_list(body, document.root(), "tools", &mut |_, _| Keep::Drop, &mut out);
            assert_eq!((got, out.len()), (Err(FilterError::Misaligned), 0));
        }
    }

    #[test]
    fn what_stays_is_untouched() {
        let check = |body: &str, expected: &str, kept: usize, dropped: usize| {
            let got = narrowed(body, "tools");
            assert_eq!(got, Ok((expected.to_owned(), Filtered { kept, dropped })), "given {body}");
        };
        let whole =
            r#"{"jsonrpc":"2.0", "id":1.0, "result": {"tools": [ {"name":"a"} , {"name":"b"} ], "nextCursor":"c"}}"#;
        check(whole, whole, 2, 0);
        check(
            r#"{"id":"\u0041","result":{"a":1e2, "t\u006fols": [ {"name":"x1"} , { "name" : "a", "n":1.50 },{"name":"x"}, {"name":"b"}] , "ttlMs":5}}"#,
            r#"{"id":"\u0041","result":{"a":1e2, "t\u006fols": [{ "name" : "a", "n":1.50 },{"name":"b"}] , "ttlMs":5}}"#,
            2,
            2,
        );
        check(r#" {"tools":[{"name":"x"},7]} "#, r#" {"tools":[]} "#, 0, 2);
        check(r#"{"tools":[]}"#, r#"{"tools":[]}"#, 0, 0);
    }

    proptest! {
        #[test]
        fn the_rest_reads_as_the_filtered_value(
            items in proptest::collection::vec(samples::text_and_paths().prop_map(|(text, _)| text), 0..6),
            verdicts in proptest::collection::vec(any::<bool>(), 6),
        ) {
            let body = format!(r#" {{"jsonrpc":"2.0","result":{{"_meta":{{"tools":[1]}}, "tools" :[{}],"z":1.0}}}}"#, items.join(","));
            let mut scratch = Scratch::new();
            let document = read(&mut scratch, body.as_bytes(), &LIMITS).unwrap();
            let (mut out, mut index) = (Vec::new(), 0);
            let filtered = filter_list(body.as_bytes(), document.root(), "tools", &mut |_, bytes| {
                assert_eq!(bytes, items[index].trim().as_bytes());
                index += 1;
                if verdicts[index - 1] { Keep::Keep } else { Keep::Drop }
            }, &mut out).unwrap();
            let mut expected: serde_json::Value = serde_json::from_str(&body).unwrap();
            let list = expected["result"]["tools"].as_array_mut().unwrap();
            let mut verdicts = verdicts.iter();
            list.retain(|_| *verdicts.next().unwrap());
            prop_assert_eq!(filtered, Filtered { kept: list.len(), dropped: items.len() - list.len() });
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&out).unwrap(), expected);
        }
    }
}
