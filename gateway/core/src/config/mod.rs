//! Reads the configuration. In: the text of `portcullis.toml`. Out: settings, or every finding at once. Never here: IO.

pub mod settings;
