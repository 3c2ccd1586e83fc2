//! One file a subcommand.

mod cuts;
mod info;
mod reference;
mod subject;

use crate::args::Command;

pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Info(args) => info::run(&args),
        Command::Cuts(args) => cuts::run(&args),
        Command::Reference => reference::run(),
    }
}
