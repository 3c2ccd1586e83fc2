//! Image folders: `ROOT/{train,val,test}/CLASS/**` or `ROOT/CLASS/**`.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::decode::Format;
use super::error::{DataError, SkipKind, SkippedFile};
use super::found::Found;
use super::sample::{Sample, Source};

/// Endings of files that are meant to be images, those that we can't decode included: leaving them out silently would
/// lose photos.
const IMAGE_ENDINGS: [&str; 14] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "dib", "gif", "tif", "tiff", "heic", "heif", "avif"];

/// Folders inside folders, at most; a symbolic link to a folder above it ends here.
const MAX_DEPTH: usize = 32;

const TRAIN: &[&str] = &["train", "training"];
const VALIDATION: &[&str] = &["val", "valid", "validation"];
const TEST: &[&str] = &["test", "testing"];

/// All image files below `root`, with the splits that its folders make.
pub(crate) fn find(root: &Path) -> Result<Found, DataError> {
    let folders = subfolders(root)?;
    let named = |names: &[&str]| folders.iter().find(|folder| names.contains(&lower_name(folder).as_str()));
    let mut walk = Walk { root, skipped: Vec::new() };
    match (named(TRAIN), named(VALIDATION).or(named(TEST))) {
        (None, Some(found)) => Err(DataError::NoTrain { path: root.to_owned(), found: file_name(found) }),
        (None, None) => {
            let (classes, train) = walk.classes(&folders, "train")?;
            Ok(Found {
                root: root.to_owned(),
                classes,
                train,
                validation: None,
                test: None,
                skipped: walk.skipped,
            })
        }
        (Some(train), _) => {
            let (classes, train) = walk.classes(&subfolders(train)?, "train")?;
            let validation =
                named(VALIDATION).map(|folder| walk.split(folder, "validation", &classes)).transpose()?;
            let test = named(TEST).map(|folder| walk.split(folder, "test", &classes)).transpose()?;
            Ok(Found { root: root.to_owned(), classes, train, validation, test, skipped: walk.skipped })
        }
    }
}

/// Image files among `paths`: files are taken as they are, folders are searched. For predictions without labels.
///
/// # Errors
/// If a path does not exist or can't be read.
pub fn image_files(paths: &[PathBuf]) -> Result<(Vec<PathBuf>, Vec<SkippedFile>), DataError> {
    let mut walk = Walk { root: Path::new(""), skipped: Vec::new() };
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            walk.images_below(path, 0, &mut files)?;
        } else if path.exists() {
            files.push(path.clone());
        } else {
            return Err(DataError::Missing { path: path.clone() });
        }
    }
    Ok((files, walk.skipped))
}

struct Walk<'a> {
    root: &'a Path,
    skipped: Vec<SkippedFile>,
}

impl Walk<'_> {
    /// Names of the classes, sorted, and their samples.
    fn classes(
        &mut self,
        folders: &[PathBuf],
        split: &'static str,
    ) -> Result<(Vec<String>, Vec<Sample>), DataError> {
        if folders.is_empty() {
            return Err(DataError::Empty {
                path: self.root.to_owned(),
                expected: "class folders with images",
            });
        }
        let classes: Vec<String> = folders.iter().map(|folder| file_name(folder)).collect();
        let mut samples = Vec::new();
        for (label, folder) in folders.iter().enumerate() {
            let before = samples.len();
            self.samples(folder, label, &mut samples)?;
            if samples.len() == before {
                return Err(DataError::EmptyClass { class: classes[label].clone(), split });
            }
        }
        Ok((classes, samples))
    }

    /// Samples of a split whose classes are known.
    fn split(
        &mut self,
        folder: &Path,
        split: &'static str,
        classes: &[String],
    ) -> Result<Vec<Sample>, DataError> {
        let mut samples = Vec::new();
        for folder in subfolders(folder)? {
            let class = file_name(&folder);
            let label = classes.iter().position(|known| *known == class);
            let before = samples.len();
            self.samples(&folder, label.unwrap_or(0), &mut samples)?;
            if label.is_none() && samples.len() > before {
                return Err(DataError::UnknownClass { class, split, known: classes.to_vec() });
            }
        }
        if samples.is_empty() {
            return Err(DataError::Empty { path: folder.to_owned(), expected: "class folders with images" });
        }
        Ok(samples)
    }

    fn samples(&mut self, folder: &Path, label: usize, samples: &mut Vec<Sample>) -> Result<(), DataError> {
        let mut files = Vec::new();
        self.images_below(folder, 0, &mut files)?;
        let root = self.root;
        samples.extend(
            files.into_iter().map(|path| Sample::new(&name_below(root, &path), Source::File(path), label)),
        );
        Ok(())
    }

    /// Files that are meant to be images, sorted by path.
    fn images_below(
        &mut self,
        folder: &Path,
        depth: usize,
        files: &mut Vec<PathBuf>,
    ) -> Result<(), DataError> {
        for path in entries(folder)? {
            let hidden = file_name(&path).starts_with('.');
            if path.is_dir() {
                if !hidden && depth < MAX_DEPTH {
                    self.images_below(&path, depth + 1, files)?;
                }
            } else if hidden {
                self.skip(path, "a hidden file");
            } else if is_meant_as_image(&path)? {
                files.push(path);
            } else {
                self.skip(path, "not an image");
            }
        }
        Ok(())
    }

    fn skip(&mut self, path: PathBuf, reason: &str) {
        self.skipped.push(SkippedFile { path, reason: reason.to_owned(), kind: SkipKind::NotAnImage });
    }
}

/// By its name, or else by its first bytes.
fn is_meant_as_image(path: &Path) -> Result<bool, DataError> {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    if IMAGE_ENDINGS.contains(&ending.as_str()) {
        return Ok(true);
    }
    if !path.is_file() {
        return Ok(false); // a pipe, a socket, a broken link
    }
    let mut start = Vec::with_capacity(16);
    fs_err::File::open(path)?.take(16).read_to_end(&mut start)?;
    Ok(Format::of(&start).is_some())
}

/// Visible folders in `folder`, sorted by name.
fn subfolders(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut folders = entries(folder)?;
    folders.retain(|path| path.is_dir() && !file_name(path).starts_with('.'));
    Ok(folders)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let entries = fs_err::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut paths = entries.collect::<Result<Vec<_>, DataError>>()?;
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn lower_name(path: &Path) -> String {
    file_name(path).to_lowercase()
}

/// The path below `root`, with slashes on every system.
fn name_below(root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = below.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}
