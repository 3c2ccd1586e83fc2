use super::error::WeightsError;

/// ImageNet weights that torchvision publishes, and how images are prepared for them.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Pretrained {
    /// The network's name in the zoo.
    pub network: &'static str,
    /// The file's name; the hexadecimal digits before `.pth` begin its SHA-256.
    pub file: &'static str,
    /// Classes of its head.
    pub classes: usize,
    /// The shorter side of the image is resized to this, in pixels.
    pub resize: usize,
    /// The square that is cropped from its middle, in pixels.
    pub crop: usize,
    /// How it is resized.
    pub interpolation: Interpolation,
    /// What is subtracted from each channel (red, green, blue in 0..1).
    pub mean: [f32; 3],
    /// What each channel is then divided by.
    pub std: [f32; 3],
}

/// How an image is resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// Straight lines between pixels.
    Bilinear,
    /// Cubic curves through pixels.
    Bicubic,
}

impl Pretrained {
    /// Weights of 1000 classes that see images as torchvision's ImageNet networks do.
    ///
    /// `file` is a name as in [`Self::file`]. [`PRETRAINED`] has torchvision's; others can be fetched
    /// with [`locate_or_download_weights`](super::locate_or_download_weights) too.
    pub const fn imagenet(network: &'static str, file: &'static str) -> Self {
        Self {
            network,
            file,
            classes: 1000,
            resize: 256,
            crop: 224,
            interpolation: Interpolation::Bilinear,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }

    const fn with_interpolation(self, interpolation: Interpolation) -> Self {
        Self { interpolation, ..self }
    }

    /// The first digits of the file's SHA-256, in lower-case hexadecimal.
    pub fn hash_prefix(&self) -> &'static str {
        let stem = self.file.strip_suffix(".pth").unwrap_or(self.file);
        stem.rsplit_once('-').map_or("", |(_, digits)| digits)
    }

    /// Finds the weights of a network of the zoo.
    ///
    /// # Errors
    /// [`WeightsError::NotPretrained`] with the names that there are.
    pub fn find(network: &str) -> Result<&'static Self, WeightsError> {
        let found = PRETRAINED.iter().find(|weights| weights.network == network);
        found.ok_or_else(|| WeightsError::NotPretrained { network: network.to_owned() })
    }
}

/// The weights that can be fetched by name.
///
/// # Source
/// The `IMAGENET1K_V1` entries of torchvision 0.29.2; a test compares them with what
/// `reference/write_names.py` found there.
pub const PRETRAINED: &[Pretrained] = &[
    Pretrained::imagenet("resnet18", "resnet18-f37072fd.pth"),
    Pretrained::imagenet("efficientnet_b0", "efficientnet_b0_rwightman-7f5810bc.pth")
        .with_interpolation(Interpolation::Bicubic),
    Pretrained::imagenet("mobilenet_v3_large", "mobilenet_v3_large-8738ca79.pth"),
    Pretrained::imagenet("mobilenet_v3_small", "mobilenet_v3_small-047dcff4.pth"),
    Pretrained::imagenet("mobilenet_v2", "mobilenet_v2-b0353104.pth"),
    Pretrained::imagenet("mnasnet1_0", "mnasnet1.0_top1_73.512-f206786ef8.pth"),
    Pretrained::imagenet("vgg11", "vgg11-8a719046.pth"),
];
