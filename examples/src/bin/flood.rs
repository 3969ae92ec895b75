//! The load tool; see `ilp_examples::flood`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ilp_examples::flood::main()
}
