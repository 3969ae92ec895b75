//! The program that lets processes contend for small balances; see `ilp_examples::contend`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ilp_examples::contend::main()
}
