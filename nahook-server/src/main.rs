//! The `nahook` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    nahook_server::cli::main()
}
