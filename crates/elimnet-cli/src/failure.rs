//! How failures are told: `error: a: b: c`, a blank line, `hint: ...`.

use std::error::Error;
use std::io;

use elimnet::data::DataError;
use elimnet::model::ModelError;
use elimnet::weights::WeightsError;

/// Whether the reader of our output went away, which is its good right.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints an error and what can be done about it.
#[expect(clippy::print_stderr, reason = "this is where errors leave the program")]
pub(crate) fn report(error: &anyhow::Error) {
    eprintln!("error: {}", message(error));
    if let Some(hint) = error.chain().find_map(hint) {
        eprintln!("\nhint: {hint}");
    }
}

/// The chain of causes, each once: a transparent wrapper repeats what it wraps.
fn message(error: &anyhow::Error) -> String {
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
    if let Some(error) = cause.downcast_ref::<ModelError>() {
        return error.hint();
    }
    if let Some(error) = cause.downcast_ref::<WeightsError>() {
        return error.hint();
    }
    if let Some(error) = cause.downcast_ref::<DataError>() {
        return error.hint().map(str::to_owned);
    }
    cause.downcast_ref::<io::Error>().and_then(io_hint)
}

fn io_hint(error: &io::Error) -> Option<String> {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::PermissionDenied => "check the permissions of the path",
        io::ErrorKind::StorageFull => "free some space, or write to another disk with --output",
        _ => return None,
    };
    Some(hint.to_owned())
}
