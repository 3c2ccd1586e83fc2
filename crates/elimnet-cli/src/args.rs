//! The command line as data. Declarations only: the doc comments are the help.

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Cut the top off a pretrained CNN, fine-tune the rest on your images, and measure what it is worth.
///
/// MODEL is a network of the zoo (resnet18), one that is cut (resnet18@layer2.1, resnet18@128), a YAML file, a model file (best.safetensors) or a run directory (exp/latest).
#[derive(Debug, Parser)]
#[command(name = "elimnet", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Info(InfoArgs),
    Cuts(CutsArgs),
    /// Print this reference as Markdown.
    #[command(hide = true)]
    Reference,
}

/// Show what a network is made of and what it costs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  elimnet info resnet18 --classes 6
  elimnet info configs/model/efficientnet_b0_elim_3.yaml --image-size 128
  elimnet info exp/latest --format json")]
pub(crate) struct InfoArgs {
    /// Network of the zoo, NAME@CUT, YAML file, model file or run directory.
    pub(crate) model: String,
    /// Number of classes [default: the model's own; 1000 for the zoo].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) classes: Option<u32>,
    /// Side of the images in pixels [default: the model's own, or 224].
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) image_size: Option<u32>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// List the places where a network can be cut.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  elimnet cuts efficientnet_b0 --classes 6
  elimnet cuts resnet18 --format json

A cut is addressed behind an @: by its name (resnet18@layer2.1), its index (resnet18@#4) or its output channels (resnet18@128, the deepest that has as many).")]
pub(crate) struct CutsArgs {
    /// Network of the zoo, NAME@CUT, YAML file, model file or run directory.
    pub(crate) model: String,
    /// Number of classes [default: the model's own; 1000 for the zoo].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) classes: Option<u32>,
    /// Side of the images in pixels [default: the model's own, or 224].
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) image_size: Option<u32>,
    /// How to print them.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// Form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs; its fields are stable.
    Json,
}
