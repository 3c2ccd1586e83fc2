//! `elimnet weights`: the pretrained weights that are known by name.

use std::path::PathBuf;

use elimnet::weights::{PRETRAINED, Source, cache_folder, locate_or_download};

use crate::args::{WeightsAction, WeightsArgs};
use crate::output::{self, Align, Table};
use crate::progress::{Progress, say};

pub(crate) fn run(args: &WeightsArgs) -> anyhow::Result<()> {
    match &args.action {
        None | Some(WeightsAction::List) => list(),
        Some(WeightsAction::Fetch { networks }) => networks.iter().try_for_each(|network| {
            let path = fetch(network)?;
            Ok(output::text(&format!("{}\n", path.display()))?)
        }),
    }
}

/// Finds the ImageNet weights of a network on this machine, or downloads them, and says which.
pub(crate) fn fetch(network: &str) -> anyhow::Result<PathBuf> {
    let mut progress = Progress::new();
    let mut told = false;
    let path =
        locate_or_download(network, cache_folder()?, &Source::from_environment(), &mut |done, total| {
            if !told {
                say(&format!("fetching the weights of {network}"));
                told = true;
            }
            progress.show(&format!("bytes of {network}"), done, total.unwrap_or(done));
        })?;
    Ok(path)
}

fn list() -> anyhow::Result<()> {
    let cache = cache_folder()?;
    let source = Source::from_environment();
    let mut table = Table::new([("network", Align::Left), ("file", Align::Left), ("where", Align::Left)]);
    for weights in PRETRAINED {
        let folders = std::iter::once(&cache).chain(&source.folders);
        let place = folders.map(|folder| folder.join(weights.file)).find(|path| path.exists());
        let place = place.map_or_else(|| "not on this machine".to_owned(), |path| path.display().to_string());
        table.row([weights.network.to_owned(), weights.file.to_owned(), place]);
    }
    Ok(output::text(&format!("{table}\ncache: {}\n", cache.display()))?)
}
