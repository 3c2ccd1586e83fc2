//! The binary `elimnet`: arguments in, printing out; the work is the library's.

mod args;
mod commands;
mod device;
mod failure;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser;

use args::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match commands::run(arguments.command) {
        Ok(ending) => ending.exit_code(),
        Err(error) if failure::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            failure::report(&error);
            ExitCode::from(2)
        }
    }
}
