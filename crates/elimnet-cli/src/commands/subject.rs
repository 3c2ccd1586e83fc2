//! The network that a command is about, at an image size.

use elimnet::model::{self, ModelCard};
use elimnet_arch::{Network, Shape};

/// Side of the images where neither the caller nor the model says one: ImageNet's.
const IMAGE_SIZE: usize = 224;

/// A network with an image size.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) network: Network,
    pub(crate) image_size: usize,
    /// What the model file says, where the model is one.
    pub(crate) card: Option<ModelCard>,
}

impl Subject {
    /// Resolves MODEL; classes and image size win over the model's own.
    pub(crate) fn find(text: &str, classes: Option<u32>, image_size: Option<u32>) -> anyhow::Result<Self> {
        let source = model::resolve(text)?;
        let card = source.file().map(model::read_card).transpose()?;
        let mut network = source.network()?;
        if let Some(classes) = classes {
            network = network.with_classes(classes as usize);
        }
        let own_size = card.as_ref().map(|card| card.preprocessing.image_size);
        let image_size = image_size.map(|size| size as usize).or(own_size).unwrap_or(IMAGE_SIZE);
        Ok(Self { network, image_size, card })
    }

    pub(crate) fn input(&self) -> Shape {
        self.network.input_shape(self.image_size)
    }

    /// What an error about the shapes is about.
    pub(crate) fn context(&self) -> String {
        format!("`{}` with images of {size}x{size}", self.network.name, size = self.image_size)
    }
}
