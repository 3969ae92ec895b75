//! The program that kills connectors; see `ilp_examples::torture`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ilp_examples::torture::main()
}
