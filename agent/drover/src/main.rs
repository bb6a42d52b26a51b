//! The drover agent and command line: see the library.

use std::process::ExitCode;

#[cfg(all(feature = "jemalloc", target_os = "linux", target_env = "gnu"))]
mod allocator;

fn main() -> ExitCode {
    drover::main()
}
