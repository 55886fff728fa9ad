//! The bench's plain proxy: the same startup and the same data plane, no checks. Built only under `bench-pass`, by `cargo xtask bench`.

use std::process::ExitCode;

fn main() -> ExitCode {
    portcullis::cli::main()
}
