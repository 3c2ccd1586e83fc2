//! What a scan is about: images, backbones with their weights, image sizes, the recipe of fine-tunes.

use std::path::Path;

use elimnet::data::{DataConfig, Dataset, Preprocessing};
use elimnet::model::{self, ModelSource};
use elimnet::scan::{Backbone, ScanOptions};
use elimnet::train::TrainConfig;
use elimnet::weights::cache_folder;
use elimnet_arch::{Network, Tail};

use crate::args::{CandidateArgs, RecipeArgs, SelectName};
use crate::commands::train::start::{Located, locate};
use crate::commands::train::{check_image_size, fresh, open_data, recipe};
use crate::failure::hinted;

/// Everything that was asked for, found, checked and read.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) data: DataConfig,
    pub(crate) dataset: Dataset,
    pub(crate) backbones: Vec<Backbone>,
    pub(crate) config: TrainConfig,
    options: Vec<ScanOptions>,
}

/// A network that was named, its weights not read yet.
struct Named {
    name: String,
    source: ModelSource,
    network: Network,
    weights: Located,
}

impl Subject {
    /// # Errors
    /// If anything that was asked for does not exist or does not fit; the images are decoded last.
    pub(crate) fn find(data: &Path, args: &CandidateArgs, epochs: Option<usize>) -> anyhow::Result<Self> {
        let recipe_args = recipe_of(args, epochs);
        let data = recipe::data(DataConfig::open(data)?, &recipe_args)?;
        let config = recipe::training(&data, &recipe_args)?;
        let options = options(args, &data)?;
        let named = named(args)?;
        for (named, options) in named.iter().flat_map(|named| options.iter().map(move |o| (named, o))) {
            check_image_size(&named.network, options.preprocessing.image_size)?;
        }
        let sizes = options.iter().map(|options| options.preprocessing.image_size);
        let largest = Preprocessing::new(sizes.fold(data.image_size, usize::max));
        let dataset = open_data(&data, args.seed, &fresh(args.tolerate, largest.detail()))?;
        let read = |named: Named| -> anyhow::Result<Backbone> {
            let network = named.network.with_classes(dataset.classes.len());
            let start = named.weights.read(&named.source, &network, &dataset.classes, args.seed)?;
            let (tensors, weights_from) = (start.tensors.tensors, start.weights_from);
            Ok(Backbone { name: named.name, network, tensors, weights_from })
        };
        let backbones = named.into_iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self { data, dataset, backbones, config, options })
    }

    /// Every backbone at every image size.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&Backbone, ScanOptions)> {
        self.backbones
            .iter()
            .flat_map(|backbone| self.options.iter().map(move |options| (backbone, options.clone())))
    }
}

/// The training command's settings, as far as they can be given here.
fn recipe_of(args: &CandidateArgs, epochs: Option<usize>) -> RecipeArgs {
    RecipeArgs {
        epochs,
        batch_size: args.batch_size.map(|size| size as usize),
        learning_rate: args.learning_rate,
        augment: args.augment.clone(),
        validation_ratio: args.validation_ratio,
        tolerate: args.tolerate,
        // By what cuts are predicted and compared with: by its loss a probe beats what is more often right.
        select: Some(SelectName::MacroF1),
        seed: Some(args.seed),
        workers: args.workers.map(usize::from),
        ..RecipeArgs::default()
    }
}

fn options(args: &CandidateArgs, data: &DataConfig) -> anyhow::Result<Vec<ScanOptions>> {
    let tails: Vec<Tail> = args.tail.iter().map(|tail| tail.parse()).collect::<Result<_, _>>().map_err(
        |error: elimnet_arch::EliminateError| {
            hinted(error.to_string(), "conv:480x1 is 480 channels, kernel 1x1")
        },
    )?;
    let cache = (!args.no_cache).then(cache_folder).transpose()?.map(|folder| folder.join("features"));
    let own = [data.image_size as u32];
    let sizes = if args.image_size.is_empty() { &own[..] } else { &args.image_size };
    let of_size = |&size: &u32| ScanOptions {
        preprocessing: Preprocessing::new(size as usize),
        policy: data.augment_test,
        seed: args.seed,
        drop_blocks: args.drop_blocks,
        tails: tails.clone(),
        cache: cache.clone(),
        workers: args.workers.map_or(0, usize::from),
        ..ScanOptions::new(size as usize)
    };
    Ok(sizes.iter().map(of_size).collect())
}

/// Resolves every backbone and finds its weights.
fn named(args: &CandidateArgs) -> anyhow::Result<Vec<Named>> {
    let (networks, weights) = (args.backbone.len(), args.weights.len());
    if weights > 1 && weights != networks {
        return Err(hinted(
            format!("--weights names {weights} files for {networks} backbones"),
            "give one for all of them, or one for each in the same order",
        ));
    }
    let of = |(index, name): (usize, &String)| {
        let source = model::resolve(name)?;
        let network = source.network()?;
        let weights = args.weights.get(index.min(weights.saturating_sub(1))).map(String::as_str);
        let weights = locate(&source, &network, weights)?;
        Ok(Named { name: name.clone(), source, network, weights })
    };
    args.backbone.iter().enumerate().map(of).collect()
}
