//! Process entry: everything else is the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    wdt_lake::main()
}
