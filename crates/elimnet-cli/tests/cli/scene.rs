//! A directory with tiny images and networks, and the binary run in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A network that learns the scene's images in a few steps.
pub(crate) const TINY: &str = "input_channel: 3
depth_multiple: 1.0
width_multiple: 1.0
backbone:
  - [1, Conv, [8, 3, 2]]
  - [1, MBConv, [2, 16, 2, 3]]
  - [1, GlobalAvgPool, []]
  - [1, Flatten, []]
  - [1, Linear, [3]]
";

const CLASSES: [(&str, [u8; 3]); 3] =
    [("blue", [40, 60, 200]), ("green", [40, 200, 60]), ("red", [200, 60, 40])];

/// A temporary directory in which commands run.
pub(crate) struct Scene(tempfile::TempDir);

impl Scene {
    pub(crate) fn empty() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    /// With `tiny.yaml` and `photos/{train,val,test}/{blue,green,red}`.
    pub(crate) fn new() -> Self {
        let scene = Self::empty();
        scene.write("tiny.yaml", TINY);
        for (split, count) in [("train", 8), ("val", 4), ("test", 4)] {
            scene.class_folders(&format!("photos/{split}"), count);
        }
        scene
    }

    /// Makes `count` images for each class below `folder`.
    pub(crate) fn class_folders(&self, folder: &str, count: usize) {
        for (class, colour) in CLASSES {
            for index in 0..count {
                self.image(&format!("{folder}/{class}/{index:02}.bmp"), colour, index as u32);
            }
        }
    }

    /// Writes an image of a colour with noise.
    pub(crate) fn image(&self, name: &str, colour: [u8; 3], seed: u32) {
        self.write(name, bmp(20, 16, colour, seed));
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        std::fs::write(path, content).expect("written");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Names in a directory, sorted; empty where it does not exist.
    pub(crate) fn entries(&self, name: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(name)) else { return Vec::new() };
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.expect("listed").file_name().to_string_lossy().into_owned()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }

    /// The command, ready to run: in this directory, without a network, with a cache of its own.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_elimnet"));
        command
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .env("ELIMNET_CACHE", self.path("cache"))
            .env("TORCH_HOME", self.path("torch"))
            .env("ELIMNET_WEIGHTS_URL", "http://127.0.0.1:1/models")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &str) -> Outcome {
        Outcome::of(self.command(arguments).output().expect("the binary starts"))
    }

    /// Runs a command that must succeed, and gives what it printed.
    pub(crate) fn ok(&self, arguments: &str) -> String {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, Some(0), "{arguments}\n{}", outcome.stderr);
        outcome.stdout
    }

    /// Runs a command that must fail with code 2 and print nothing, and gives its errors.
    pub(crate) fn error(&self, arguments: &str) -> String {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, Some(2), "{arguments}\n{}", outcome.stderr);
        assert_eq!(outcome.stdout, "", "{arguments}");
        let has_hint = outcome.stderr.contains("\n\nhint: ") || outcome.stderr.contains("\n\nUsage: ");
        assert!(outcome.stderr.contains("error: ") && has_hint, "{arguments}\n{}", outcome.stderr);
        assert_eq!(self.entries("exp"), [] as [&str; 0], "{arguments} left something behind");
        outcome.stderr
    }

    /// Trains the tiny network, and gives the run's directory.
    pub(crate) fn train(&self, more: &str) -> PathBuf {
        let arguments = format!("train --model tiny.yaml --data photos {RECIPE} {more}");
        self.ok(&arguments);
        self.latest()
    }

    /// The newest run.
    pub(crate) fn latest(&self) -> PathBuf {
        std::fs::canonicalize(self.path("exp/latest")).expect("a run")
    }
}

/// Settings that make a training take a moment.
pub(crate) const RECIPE: &str = "--image-size 32 --epochs 2 --batch-size 8";

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// An uncompressed bitmap of a colour with noise: the simplest format there is.
pub(crate) fn bmp(width: u32, height: u32, colour: [u8; 3], seed: u32) -> Vec<u8> {
    let row = (width * 3).next_multiple_of(4);
    let mut file = b"BM".to_vec();
    for number in [54 + row * height, 0, 54, 40, width, height, 1 | (24 << 16), 0, row * height, 0, 0, 0, 0] {
        file.extend(number.to_le_bytes());
    }
    let mut state = seed.wrapping_add(1);
    for _ in 0..height {
        let start = file.len();
        for _ in 0..width {
            for channel in [2, 1, 0] {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                file.push(colour[channel].saturating_add((state >> 26) as u8));
            }
        }
        file.resize(start + row as usize, 0);
    }
    file
}

/// Snapshots without what changes from run to run: the directory, names of runs, numbers that are measured.
pub(crate) fn stable(scene: &Scene) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let directory = std::fs::canonicalize(scene.path("")).expect("exists");
    for directory in [directory.as_path(), scene.0.path()] {
        settings.add_filter(&regex_of(&directory.to_string_lossy()), "[DIR]");
    }
    settings.add_filter(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_", "[TIME]_");
    settings
}

/// A pattern that matches a text literally.
fn regex_of(text: &str) -> String {
    text.chars().map(|c| if c.is_alphanumeric() { c.to_string() } else { format!("\\{c}") }).collect()
}
