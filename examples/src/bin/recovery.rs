//! How long books take to be taken up again; see `ilp_examples::recovery`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ilp_examples::recovery::main()
}
