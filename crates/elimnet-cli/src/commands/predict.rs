//! `elimnet predict`: what is on these images?

mod source;

use std::io::Write;
use std::path::{Path, PathBuf};

use elimnet::data::{DataError, DecodeError, image_files};
use elimnet::predict::Prediction;
use serde::{Serialize, Serializer};

use crate::args::{PredictArgs, PredictionFormat};
use crate::commands::Ending;
use crate::device;
use crate::failure::hinted;
use crate::progress::say;

pub(crate) use source::{open_model, pretrained};

pub(crate) fn run(args: &PredictArgs) -> anyhow::Result<Ending> {
    let device = device::open(&args.device)?;
    let (mut classifier, images) = match (&args.model, &args.weights) {
        (Some(model), Some(weights)) => (pretrained(args, model, weights, &device)?, &args.paths[..]),
        _ => (open_model(&args.paths[0], &device)?, &args.paths[1..]),
    };
    let files = find_files(images)?;
    let mut writer = Writer::new(std::io::stdout().lock(), args.format, classifier.classes(), args.top_k)?;
    let mut failures = 0;
    let batch_size = args.batch_size as usize;
    classifier.classify_files(&files, batch_size, usize::from(args.device.threads), |file, outcome| {
        match outcome {
            Ok(prediction) => writer.write(file, &prediction, None),
            Err(error) => {
                say(&failure(file, &error));
                failures += 1;
                Ok(())
            }
        }
    })?;
    drop(writer.finish()?);
    if failures == files.len() {
        return Err(hinted(
            format!("none of {} files is an image that can be read", files.len()),
            "JPEG, PNG, WebP, BMP and GIF files can be read",
        ));
    }
    Ok(ending(failures, files.len()))
}

/// How a command ends when `failures` of its `files` could not be read, each of which was told.
pub(crate) fn ending(failures: usize, files: usize) -> Ending {
    if failures == 0 {
        return Ending::Done;
    }
    say(&format!("\nhint: {failures} of {files} files are left out; remove or replace them"));
    Ending::Incomplete
}

/// `error: can't classify `FILE`: why`.
pub(crate) fn failure(file: &Path, error: &DecodeError) -> String {
    format!("error: can't classify `{}`: {error}", file.display())
}

/// Files as they are, images below folders, and what globs match.
pub(crate) fn find_files(names: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for name in names {
        let path = PathBuf::from(name);
        if path.exists() || !name.contains(['*', '?', '[']) {
            paths.push(path);
            continue;
        }
        let matches = glob::glob(name).map_err(|error| {
            hinted(format!("`{name}` is not a pattern: {error}"), "`*` matches any name, `?` one character")
        })?;
        let before = paths.len();
        for path in matches {
            paths.push(path.map_err(std::io::Error::from)?);
        }
        if paths.len() == before {
            return Err(DataError::Missing { path }.into());
        }
    }
    let (files, _) = image_files(&paths)?;
    if files.is_empty() {
        return Err(hinted("there are no images to classify", "give image files, folders or globs"));
    }
    Ok(files)
}

/// Writes predictions in one of the formats.
pub(crate) struct Writer<W> {
    out: W,
    format: PredictionFormat,
    classes: Vec<String>,
    top_k: usize,
}

/// An image's line of JSON; other tools rely on its fields.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    class: &'a str,
    probability: f32,
    #[serde(serialize_with = "as_map")]
    probabilities: Vec<(&'a str, f32)>,
    logits: &'a [f32],
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
}

fn as_map<S: Serializer>(pairs: &[(&str, f32)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().copied())
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(
        mut out: W,
        format: PredictionFormat,
        classes: &[String],
        top_k: u32,
    ) -> std::io::Result<Self> {
        let top_k = classes.len().min(top_k as usize);
        if format == PredictionFormat::Csv {
            let numbered = (1..=top_k).flat_map(|rank| match rank {
                1 => ["class".to_owned(), "probability".to_owned()],
                rank => [format!("class_{rank}"), format!("probability_{rank}")],
            });
            let header: Vec<String> = std::iter::once("file".to_owned()).chain(numbered).collect();
            writeln!(out, "{}", header.join(","))?;
        }
        Ok(Self { out, format, classes: classes.to_vec(), top_k })
    }

    /// Writes one image's prediction; `label` is its true class, where that is known.
    pub(crate) fn write(
        &mut self,
        file: &Path,
        prediction: &Prediction,
        label: Option<&str>,
    ) -> anyhow::Result<()> {
        let file = file.to_string_lossy();
        let best = prediction.ranking().into_iter().take(self.top_k);
        let best = best.map(|class| (self.classes[class].as_str(), prediction.probabilities[class]));
        match self.format {
            PredictionFormat::Text => {
                let best: Vec<String> = best.map(|(class, p)| format!("{class} {:.2}%", p * 100.0)).collect();
                writeln!(self.out, "{file}: {}", best.join(", "))?;
            }
            PredictionFormat::Csv => {
                let cells = best.flat_map(|(class, p)| [csv_cell(class), p.to_string()]);
                let cells: Vec<String> = std::iter::once(csv_cell(&file)).chain(cells).collect();
                writeln!(self.out, "{}", cells.join(","))?;
            }
            PredictionFormat::Json => {
                let line = self.line(&file, prediction, label);
                writeln!(self.out, "{}", serde_json::to_string(&line)?)?;
            }
        }
        Ok(())
    }

    fn line<'a>(&'a self, file: &'a str, prediction: &'a Prediction, label: Option<&'a str>) -> Line<'a> {
        let by_name = self.classes.iter().zip(&prediction.probabilities);
        Line {
            file,
            class: &self.classes[prediction.class],
            probability: prediction.probabilities[prediction.class],
            probabilities: by_name.map(|(class, &p)| (class.as_str(), p)).collect(),
            logits: &prediction.logits,
            label,
        }
    }

    pub(crate) fn finish(mut self) -> std::io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Quoted where it has to be (RFC 4180).
fn csv_cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: PredictionFormat, top_k: u32) -> String {
        let classes = ["glass", "paper, \"mixed\"", "metal"].map(str::to_owned);
        let mut writer = Writer::new(Vec::new(), format, &classes, top_k).expect("written");
        let prediction = Prediction::from_logits(&[0.0, 2.0, -1.0]);
        writer.write(Path::new("a,b.jpg"), &prediction, None).expect("written");
        String::from_utf8(writer.finish().expect("flushed")).expect("UTF-8")
    }

    #[test]
    fn cells_are_quoted_where_they_have_to_be() {
        let text = written(PredictionFormat::Csv, 2);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("file,class,probability,class_2,probability_2"));
        let line = lines.next().expect("a line");
        assert!(line.starts_with("\"a,b.jpg\",\"paper, \"\"mixed\"\"\",0.84379"), "{line}");
    }

    #[test]
    fn text_has_as_many_classes_as_asked_for_and_there_are() {
        assert_eq!(written(PredictionFormat::Text, 1), "a,b.jpg: paper, \"mixed\" 84.38%\n");
        assert_eq!(written(PredictionFormat::Text, 9).matches('%').count(), 3);
    }

    #[test]
    fn a_line_of_json_has_probabilities_by_name() {
        let line: serde_json::Value =
            serde_json::from_str(&written(PredictionFormat::Json, 1)).expect("JSON");
        assert_eq!(line["class"], "paper, \"mixed\"");
        assert_eq!(line["logits"], serde_json::json!([0.0, 2.0, -1.0]));
        assert_eq!(line["probabilities"]["paper, \"mixed\""], line["probability"]);
        assert!(line.get("label").is_none());
    }
}
