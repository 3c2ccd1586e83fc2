//! How failures are told: `error: a: b: c`, a blank line, `hint: ...`.

use std::error::Error;
use std::io::{self, Write};

use elimnet::data::DataError;
use elimnet::eliminate::EliminationError;
use elimnet::model::ModelError;
use elimnet::report::ReportError;
use elimnet::scan::ScanError;
use elimnet::train::{ConfigError, TrainError};
use elimnet::weights::WeightsError;
use elimnet_arch::ShapeError;

/// A hint that only the command line can give, put around an error with [`anyhow::Error::context`].
#[derive(Debug)]
pub(crate) struct Hinted {
    pub(crate) message: String,
    pub(crate) hint: String,
}

impl std::fmt::Display for Hinted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Hinted {}

/// An error with a hint.
pub(crate) fn hinted(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Hinted { message: message.into(), hint: hint.into() }.into()
}

/// The same error with one more thing to do about it.
pub(crate) fn with_hint(error: anyhow::Error, addition: &str) -> anyhow::Error {
    let first = error.chain().find_map(hint);
    let hint = first.map_or_else(|| addition.to_owned(), |first| format!("{first}; {addition}"));
    hinted(message(&error), hint)
}

/// Whether the reader of our output went away, which is its good right.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints an error and what can be done about it.
pub(crate) fn report(error: &anyhow::Error) {
    let bold = anstyle::Style::new().bold();
    let red = bold.fg_color(Some(anstyle::AnsiColor::Red.into()));
    let mut text = format!("{red}error:{red:#} {}\n", message(error));
    if let Some(hint) = error.chain().find_map(hint) {
        text += &format!("\n{bold}hint:{bold:#} {hint}\n");
    }
    // Colours only on a terminal, and never with NO_COLOR. Where nobody listens any more, nothing is lost.
    let _ = anstream::stderr().write_all(text.as_bytes());
}

/// The chain of causes, each once: a transparent wrapper repeats what it wraps.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

fn hint(cause: &(dyn Error + 'static)) -> Option<String> {
    None.or_else(|| cause.downcast_ref().map(|error: &Hinted| error.hint.clone()))
        .or_else(|| cause.downcast_ref().and_then(model_hint))
        .or_else(|| cause.downcast_ref().and_then(weights_hint))
        .or_else(|| cause.downcast_ref().and_then(data_hint))
        .or_else(|| cause.downcast_ref().and_then(train_hint))
        .or_else(|| cause.downcast_ref().and_then(report_hint))
        .or_else(|| cause.downcast_ref().and_then(scan_hint))
        .or_else(|| cause.downcast_ref().and_then(elimination_hint))
        .or_else(|| cause.downcast_ref().and_then(shape_hint))
        .or_else(|| cause.downcast_ref().map(config_hint))
        .or_else(|| cause.downcast_ref().and_then(io_hint))
}

// What a transparent wrapper holds is not in the chain of causes, so these look into it.

fn model_hint(error: &ModelError) -> Option<String> {
    error.hint().or_else(|| match error {
        ModelError::Io(error) => io_hint(error),
        ModelError::Weights(error) => weights_hint(error),
        _ => None,
    })
}

fn weights_hint(error: &WeightsError) -> Option<String> {
    error.hint().or_else(|| match error {
        WeightsError::Io(error) => io_hint(error),
        _ => None,
    })
}

fn data_hint(error: &DataError) -> Option<String> {
    error.hint().map(str::to_owned).or_else(|| match error {
        DataError::Read(error) => io_hint(error),
        _ => None,
    })
}

fn train_hint(error: &TrainError) -> Option<String> {
    error.hint().or_else(|| match error {
        TrainError::Data(error) => data_hint(error),
        TrainError::Shape(error) => shape_hint(error),
        TrainError::Config(error) => Some(config_hint(error)),
        TrainError::Io(error) => io_hint(error),
        TrainError::Weights(error) => weights_hint(error),
        TrainError::Model(error) => model_hint(error),
        TrainError::Cut(_) => {
            Some("name one of these, or its output channels, or # and its index".to_owned())
        }
        TrainError::NotARun { .. } => {
            Some("`elimnet train` makes run directories, in exp/ by default".to_owned())
        }
        _ => None,
    })
}

fn report_hint(error: &ReportError) -> Option<String> {
    error.hint().or_else(|| match error {
        ReportError::Io(error) => io_hint(error),
        ReportError::Model(error) => model_hint(error),
        ReportError::Run(error) => train_hint(error),
        _ => None,
    })
}

fn scan_hint(error: &ScanError) -> Option<String> {
    error.hint().or_else(|| match error {
        ScanError::Io(error) => io_hint(error),
        ScanError::Train(error) => train_hint(error),
        ScanError::Model(error) => model_hint(error),
        ScanError::Data(error) => data_hint(error),
        ScanError::Shape(error) => shape_hint(error),
        _ => None,
    })
}

fn elimination_hint(error: &EliminationError) -> Option<String> {
    error.hint().or_else(|| match error {
        EliminationError::Scan(error) => scan_hint(error),
        _ => None,
    })
}

fn shape_hint(error: &ShapeError) -> Option<String> {
    match error {
        ShapeError::TooSmall { .. } => Some("use larger images (--image-size) or a lower cut".to_owned()),
        _ => None,
    }
}

fn config_hint(error: &ConfigError) -> String {
    format!("give a value that is {}", error.expected)
}

fn io_hint(error: &io::Error) -> Option<String> {
    use io::ErrorKind::{
        AlreadyExists, FileTooLarge, IsADirectory, NotADirectory, NotFound, PermissionDenied, QuotaExceeded,
        ReadOnlyFilesystem, StorageFull,
    };
    let hint = match error.kind() {
        NotFound => "check the path",
        PermissionDenied | ReadOnlyFilesystem => "check the permissions, or write elsewhere",
        StorageFull | QuotaExceeded | FileTooLarge => "make room on the disk, or write to another one",
        IsADirectory => "a folder stands where a file is expected",
        NotADirectory | AlreadyExists => "a file stands where a folder is expected; write elsewhere",
        _ => return None,
    };
    Some(hint.to_owned())
}
