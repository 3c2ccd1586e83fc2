//! Where and how a result came to be: what somebody needs to get it again.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Name of the file in a run directory that holds its [`Environment`].
pub const ENVIRONMENT_FILE: &str = "environment.json";

/// The machine, the tool and the command that made a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of elimnet.
    pub tool_version: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Where it was called: relative paths in `command` start here.
    pub directory: PathBuf,
    /// Name of the processor, as it says itself.
    pub processor: String,
    /// Processors that the operating system offers.
    pub cores: usize,
    /// Name of the device that computed.
    pub device: String,
    /// Instruction set that its kernels used.
    pub instruction_set: String,
    /// Threads that computed.
    pub threads: usize,
    /// Type that activations were stored as.
    pub precision: String,
}

impl Environment {
    /// This process on this machine; the device and what it computes with are the caller's to say.
    #[must_use]
    pub fn here(device: &str, instruction_set: &str, threads: usize, precision: &str) -> Self {
        Self {
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            command: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
            directory: std::env::current_dir().unwrap_or_default(),
            processor: processor(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            device: device.to_owned(),
            instruction_set: instruction_set.to_owned(),
            threads,
            precision: precision.to_owned(),
        }
    }

    /// Name and text for a run's [attachments](crate::train::NewRun::attachments).
    ///
    /// # Panics
    /// Never: its fields are representable as JSON.
    #[must_use]
    pub fn attachment(&self) -> (String, String) {
        let text = serde_json::to_string_pretty(self).expect("texts and numbers are representable as JSON");
        (ENVIRONMENT_FILE.to_owned(), text + "\n")
    }

    /// The command as a shell takes it, the program without its folder.
    #[must_use]
    pub fn command_line(&self) -> String {
        let program = self.command.first().map(PathBuf::from);
        let program = program.as_deref().and_then(std::path::Path::file_name).unwrap_or_default();
        let arguments = self.command.iter().skip(1).map(|argument| quoted(argument));
        let words: Vec<String> =
            std::iter::once(quoted(&program.to_string_lossy())).chain(arguments).collect();
        words.join(" ")
    }
}

/// The argument as a POSIX shell reads it back.
fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

/// The processor's name where the system tells it in a file, else its architecture.
fn processor() -> String {
    let information = fs_err::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = information.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_pasted() {
        let words = ["/opt/bin/elimnet", "train", "--data", "my photos/it's", "--model", "resnet18@128", ""];
        let environment = Environment {
            command: words.map(str::to_owned).to_vec(),
            ..Environment::here("cpu", "avx2", 2, "f32")
        };
        let expected = r"elimnet train --data 'my photos/it'\''s' --model resnet18@128 ''";
        assert_eq!(environment.command_line(), expected);
    }

    #[test]
    fn this_machine_has_a_processor() {
        let here = Environment::here("cpu", "avx2", 2, "f32");
        assert!(!here.processor.is_empty() && here.cores > 0 && !here.command.is_empty());
        let (name, text) = here.attachment();
        assert_eq!(name, ENVIRONMENT_FILE);
        assert_eq!(serde_json::from_str::<Environment>(&text).unwrap(), here);
    }
}
