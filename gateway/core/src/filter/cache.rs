//! Keeps narrowed answers out of shared caches. In: a modern answer. Out: the same, private and short-lived.
//!
//! MCP 2026-07-28: `cacheScope: "public"` lets others serve an answer to other callers, `ttlMs` says for how long. An answer
//! narrowed for one caller is private, and a revoked grant must disappear soon. What is absent stays absent.

use super::splice::{Edit, FilterError, apply, holder, locate, refuse_variants};
use crate::protocol::json::Value;
use crate::protocol::reply::write_integer;

/// Appends `body` to `out` with `cacheScope`, if present, `"private"`, and `ttlMs`, if present, at most `ttl_ms_max`.
/// `root` is what was read from `body`: a response or its result. On an error `out` is as it was.
pub fn make_private(body: &[u8], root: Value<'_>, ttl_ms_max: u32, out: &mut Vec<u8>) -> Result<(), FilterError> {
    let (result, path) = holder(root)?;
    refuse_variants(result, &[SCOPE, TTL])?;
    let mut ttl = Vec::new();
    write_integer(i64::from(ttl_ms_max), &mut ttl);
    let scope_edit = result.get(SCOPE).map(|_| find(body, path, SCOPE, b"\"private\"")).transpose()?;
    // Whatever is not a whole number within the bound is replaced, nonsense included.
    let too_long = result.get(TTL).filter(|value| value.as_u64().is_none_or(|ttl| ttl > u64::from(ttl_ms_max)));
    let ttl_edit = too_long.map(|_| find(body, path, TTL, &ttl)).transpose()?;
    match (scope_edit, ttl_edit) {
        (Some(scope), Some(ttl)) if scope.range.start < ttl.range.start => apply(body, &[scope, ttl], out),
        (Some(scope), Some(ttl)) => apply(body, &[ttl, scope], out),
        (Some(edit), None) | (None, Some(edit)) => apply(body, &[edit], out),
        (None, None) => apply(body, &[], out),
    }
}

fn find<'e>(body: &[u8], path: &[&str], key: &str, with: &'e [u8]) -> Result<Edit<'e>, FilterError> {
    Ok(Edit { range: locate(body, path, key)?, with })
}

const SCOPE: &str = "cacheScope";
const TTL: &str = "ttlMs";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::{JsonLimits, Scratch, read};

    fn private(body: &str) -> Result<String, FilterError> {
        let mut scratch = Scratch::new();
        let document = read(&mut scratch, body.as_bytes(), &JsonLimits { bytes_max: 1 << 20, depth_max: 64 }).unwrap();
        let mut out = Vec::new();
        make_private(body.as_bytes(), document.root(), 5000, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_second_scope_in_another_case_is_refused() {
        for body in [r#"{"result":{"CacheScope":"public"}}"#, r#"{"TTLMS":9}"#, r#"{"Result":{"cacheScope":"public"}}"#]
        {
            assert_eq!(private(body), Err(FilterError::CaseVariant), "given {body}");
        }
    }

    #[test]
    fn a_narrowed_answer_is_private_and_short_lived() {
        let check = |body: &str, expected: &str| assert_eq!(private(body).as_deref(), Ok(expected), "given {body}");
        check(
            r#"{"result":{"ttlMs": 60000 ,"tools":[{"cacheScope":"public"}],"cacheScope":"public"}}"#,
            r#"{"result":{"ttlMs": 5000 ,"tools":[{"cacheScope":"public"}],"cacheScope":"private"}}"#,
        );
        check(r#"{"cacheScope":"public","ttlMs":5001}"#, r#"{"cacheScope":"private","ttlMs":5000}"#);
        check(r#"{"result":{"ttlMs":5000}}"#, r#"{"result":{"ttlMs":5000}}"#);
        check(r#"{"result":{"ttlMs":0,"cacheScope":"private"}}"#, r#"{"result":{"ttlMs":0,"cacheScope":"private"}}"#);
        check(r#"{"result":{"tools":[]}}"#, r#"{"result":{"tools":[]}}"#);
        for nonsense in ["1e9", "-1", "\"9\"", "null", "18446744073709551615"] {
            check(&format!(r#"{{"result":{{"ttlMs":{nonsense}}}}}"#), r#"{"result":{"ttlMs":5000}}"#);
        }
    }
}
