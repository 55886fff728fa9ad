//! Reads what is common to all forms off an item. In: items. Out: their facts. Never here: any one form's names.

use portcullis_core::audit::view::Entry;

use super::calls::{Answer, Item};

/// How an item is to be told apart at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// As it should be.
    Ordinary,
    /// Somebody changed something, or something failed.
    Notable,
    /// Something was refused.
    Refused,
}

/// See [`Weight`].
pub fn weight(item: &Item) -> Weight {
    let entry = &item.first.entry;
    let refused = |entry: &Entry| entry.decision.as_deref() == Some("deny") || entry.event == "refusal";
    if refused(entry) || item.result().is_some_and(|end| refused(&end.entry)) {
        return Weight::Refused;
    }
    let failed = match &item.answer {
        Answer::NotExpected => false,
        Answer::Given(end) => !matches!(end.entry.outcome.as_deref(), Some("complete" | "accepted" | "passed")),
        Answer::Unknown(_) | Answer::Open { .. } => true,
    };
    let ordinary = matches!(
        entry.event.as_str(),
        "decision"
            | "result"
            | "result.begun"
            | "result.ended"
            | "server.request"
            | "gateway.started"
            | "gateway.stopped"
    );
    let observed = entry.decision.as_deref() == Some("observed_deny");
    if failed || observed || !ordinary { Weight::Notable } else { Weight::Ordinary }
}

/// Why it did not go well, in our own words: the cause, or else the outcome. None where it did, or where nothing is known.
pub fn trouble(item: &Item) -> Option<&str> {
    let entry = &item.first.entry;
    let end = item.result().map_or(entry, |end| &end.entry);
    let outcome = end.outcome.as_deref().filter(|outcome| !matches!(*outcome, "complete" | "accepted" | "passed"));
    entry.cause.as_deref().or(end.cause.as_deref()).or(outcome)
}

/// The JSON-RPC id without its quotes.
pub fn request_id(entry: &Entry) -> Option<String> {
    let raw = entry.request_id.as_ref()?.get();
    Some(serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned()))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// A text cut to at most this many bytes, at the end of a character.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default()
}
