//! The drover agent and command line: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    drover::main()
}
