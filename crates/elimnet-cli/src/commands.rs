//! One file a subcommand.

mod bench;
mod compare;
mod cuts;
mod demo;
mod eliminate;
mod evaluate;
mod inference;
mod info;
mod predict;
mod reference;
mod report;
mod scan;
mod subject;
mod train;
mod weights;

use std::process::ExitCode;

use crate::args::Command;

/// How a command ended; failures are errors instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All is done.
    Done,
    /// The answer is no, which was said.
    No,
    /// Some inputs failed, which was said, and the others are done.
    Incomplete,
    /// The user interrupted it, and it can go on.
    Interrupted,
}

impl Ending {
    pub(crate) fn exit_code(self) -> ExitCode {
        match self {
            Self::Done => ExitCode::SUCCESS,
            Self::No => ExitCode::from(1),
            Self::Incomplete => ExitCode::from(2),
            // 128 + SIGINT, as shells have it
            Self::Interrupted => ExitCode::from(130),
        }
    }
}

pub(crate) fn run(command: Command) -> anyhow::Result<Ending> {
    match command {
        Command::Info(args) => info::run(&args)?,
        Command::Cuts(args) => cuts::run(&args)?,
        Command::Scan(args) => return scan::run(&args),
        Command::Eliminate(args) => return eliminate::run(&args),
        Command::Demo(args) => demo::run(&args)?,
        Command::Train(args) => return train::run(&args),
        Command::Predict(args) => return predict::run(&args),
        Command::Inference(args) => return inference::run(&args),
        Command::Evaluate(args) => evaluate::run(&args)?,
        Command::Bench(args) => bench::run(&args)?,
        Command::Compare(args) => compare::run(&args)?,
        Command::Report(args) => report::run(&args)?,
        Command::Weights(args) => weights::run(&args)?,
        Command::Reference => reference::run()?,
    }
    Ok(Ending::Done)
}
