//! Says who is asked to cosign the log's checkpoints. In: nothing. Out: names, places, keys. Never here: asking.

use super::UpstreamUrl;

/// Who is asked to cosign the log's checkpoints (C2SP tlog-witness).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// What it is called here.
    pub name: Box<str>,
    /// Where `add-checkpoint` is: the submission prefix with it.
    pub url: UpstreamUrl,
    /// Its verifier key, `NAME+ID+KEY`.
    pub key: Box<str>,
}
