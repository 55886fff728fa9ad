//! Stage benches: `cargo bench -p portcullis-benches`. The library is empty; see `benches/stages.rs`.
