//! Runs an Interledger connector from a configuration file; `connector --demo` needs none. See `connector --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ilp_examples::connector::main()
}
