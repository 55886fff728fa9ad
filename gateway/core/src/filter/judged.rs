//! Puts what a call brings before the rules over results. In: an answer as its server gave it, the rules it has to meet. Out: nothing to object, or
//! why it is withheld. Never here: what of it passes, which is `redact`'s.
//!
//! Rules read `structuredContent`. An error says no more than that it failed, and a task or an acknowledgement brings no result yet: of both
//! `redact` lets nothing pass that a rule could be about. Everything else owes the rules something to read.

use crate::policy::result::{Results, Withheld};
use crate::protocol::json::{Kind, Value};
use crate::protocol::method::Method;

/// What an answer is to bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brings {
    /// The result of a call, or a task that will.
    Result,
    /// News of a task, and its result where it has ended.
    Task,
}

impl Brings {
    /// What the answer to `method` is to bring.
    pub fn of(method: Option<Method>) -> Self {
        match method {
            Some(Method::TasksGet | Method::TasksCancel | Method::TasksUpdate) => Self::Task,
            Some(
                Method::ToolsCall
                | Method::TasksResult
                | Method::TasksList
                | Method::Initialize
                | Method::Discover
                | Method::Ping
                | Method::SetLevel
                | Method::ToolsList
                | Method::ResourcesList
                | Method::ResourceTemplatesList
                | Method::ResourcesRead
                | Method::ResourcesSubscribe
                | Method::ResourcesUnsubscribe
                | Method::PromptsList
                | Method::PromptsGet
                | Method::Complete
                | Method::SubscriptionsListen,
            )
            | None => Self::Result,
        }
    }
}

/// Judges the message at `root`, an answer as its server gave it.
///
/// # Errors
/// Why its result is withheld.
pub fn answer(root: Value<'_>, brings: Brings, results: &Results) -> Result<(), Withheld> {
    match root.get("result") {
        Some(result) => judge(result, brings, results),
        None => Ok(()),
    }
}

/// Every structured content that passes is judged, the result of an ended task too; depth is bounded by the strict reading.
fn judge(result: Value<'_>, brings: Brings, results: &Results) -> Result<(), Withheld> {
    let member = |name: &str| result.get(name).filter(|value| !value.is_null());
    let content = member("structuredContent");
    if content.is_some() {
        results.judge(content)?;
    }
    let ended = member("result");
    if let Some(ended) = ended {
        judge(ended, Brings::Result, results)?;
    }
    let failed = member("isError").and_then(Value::as_bool) == Some(true);
    let task = member("task").or_else(|| member("taskId")).is_some() || ended.is_some();
    let owes = member("content").is_some() || (brings == Brings::Result && !task);
    if content.is_none() && owes && !failed && result.kind() == Kind::Object {
        return results.judge(None);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::judging;
    use crate::protocol::json::{JsonLimits, Scratch, read};

    fn check(brings: Brings, result: &str, expected: &str) {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        let mut scratch = Scratch::new();
        let document = read(&mut scratch, body.as_bytes(), &JsonLimits { bytes_max: 1 << 20, depth_max: 32 }).unwrap();
        let results = judging::small();
        let got = answer(document.root(), brings, &results).err().map_or("passes", |withheld| withheld.cause.name());
        assert_eq!(got, expected, "{brings:?} {result}");
    }

    #[test]
    fn what_a_rule_cannot_read_or_forbids_is_withheld() {
        use Brings::{Result, Task};
        let large = r#"{"total":101}"#;
        for (brings, result, expected) in [
            (Result, format!(r#"{{"content":[],"structuredContent":{large}}}"#), "result_forbidden"),
            (Result, format!(r#"{{"isError":true,"structuredContent":{large}}}"#), "result_forbidden"),
            (Result, format!(r#"{{"taskId":"t","structuredContent":{large}}}"#), "result_forbidden"),
            (Task, format!(r#"{{"taskId":"t","result":{{"structuredContent":{large}}}}}"#), "result_forbidden"),
            (
                Task,
                format!(
                    r#"{{"taskId":"t","structuredContent":{{"total":1}},"result":{{"structuredContent":{large}}}}}"#
                ),
                "result_forbidden",
            ),
            (Task, r#"{"taskId":"t","result":{"content":[]}}"#.into(), "result_unstructured"),
            (Task, r#"{"taskId":"t","content":[{"type":"text","text":"101"}]}"#.into(), "result_unstructured"),
            (Result, "{}".into(), "result_unstructured"),
            (Result, r#"{"content":[{"type":"text","text":"{\"total\":1}"}]}"#.into(), "result_unstructured"),
            (Result, r#"{"content":[],"structuredContent":null}"#.into(), "result_unstructured"),
            (Result, r#"{"isError":false,"content":[]}"#.into(), "result_unstructured"),
            (Result, r#"{"isError":"true","content":[]}"#.into(), "result_unstructured"),
            (Result, r#"{"structuredContent":[101]}"#.into(), "result_mistyped"),
            (Result, r#"{"structuredContent":{}}"#.into(), "result_rule_error"),
            (Result, r#"{"structuredContent":{"total":"101"}}"#.into(), "result_mistyped"),
            (Result, r#"{"structuredContent":{"total":1,"Total":101}}"#.into(), "result_mistyped"),
        ] {
            check(brings, &result, expected);
        }
    }

    #[test]
    fn what_no_rule_forbids_passes() {
        check(Brings::Result, r#"{"content":[],"structuredContent":{"total":100}}"#, "passes");
        check(Brings::Result, r#"{"isError":true,"content":[{"type":"text","text":"101"}]}"#, "passes");
        check(Brings::Result, r#"{"task":{"taskId":"t"}}"#, "passes");
        check(Brings::Result, r#"{"taskId":"t","resultType":"task"}"#, "passes");
        check(Brings::Task, r#"{"taskId":"t","result":{"structuredContent":{"total":1}}}"#, "passes");
        check(Brings::Task, r#"{"resultType":"complete"}"#, "passes");
    }
}
