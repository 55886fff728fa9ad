//! Keeps of a message what the rule allows. In: raw JSON, a rule. Out: bytes of a record. Never here: what a rule hides.

/// What is kept of one tool's calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capture {
    /// Of the arguments.
    pub arguments: CaptureRule,
    /// Of the result.
    pub result: CaptureRule,
    /// JSON pointers (RFC 6901; `*` for every element of an array) whose values are never written, in arguments and results alike.
    pub redact: Vec<Box<str>>,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaptureRule {
    /// The JSON itself while it is small enough, size and digest beyond.
    #[default]
    Full,
    /// Size and BLAKE3 digest.
    Digest,
    /// Only how long it was.
    Size,
    /// Nothing.
    None,
}
