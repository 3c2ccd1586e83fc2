//! Convolution: the problem's description and the three passes over it.
//!
//! Each pass is a matrix product over the patches that a window sees ([`crate::window`]), except where every
//! channel is on its own ([`crate::depthwise`]), or the caller takes fewer products for larger rounding errors
//! ([`crate::winograd`]).

use crate::element::Element;
use crate::epilogue::Epilogue;
use crate::filter::{Layout, PackedFilter, Phase};
use crate::isa::Isa;
use crate::window::Window;
use crate::{dense, depthwise, weight_gradient, winograd};
#[cfg(target_arch = "x86_64")]
use crate::{
    element::{Bf16, narrow, widen},
    scratch::Scratch,
    tile_gradient, tile_product,
};

/// Zeros around each image, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Columns to the left.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Padding {
    /// The same on all sides.
    pub const fn same(pixels: usize) -> Self {
        Self { top: pixels, left: pixels, bottom: pixels, right: pixels }
    }
}

/// A two-dimensional convolution over channels-last images (torch.nn.Conv2d without dilation).
///
/// # Shapes
/// Input `[batch, in_height, in_width, in_channels]`, output `[batch, out_height, out_width, out_channels]`,
/// weight `[out_channels, kernel height, kernel width, in_channels / groups]` (torch's `OIHW` permuted to
/// `OHWI`), with `out = (in + padding before + padding after − kernel) / stride + 1`, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// Images.
    pub batch: usize,
    /// Rows of an input image.
    pub in_height: usize,
    /// Columns of an input image.
    pub in_width: usize,
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Pixels between windows, down and across.
    pub stride: [usize; 2],
    /// Zeros around the images.
    pub padding: Padding,
    /// Independent groups of channels; equal to both channel counts for a depthwise convolution.
    pub groups: usize,
}

impl Conv2d {
    /// Rows of an output image.
    ///
    /// # Panics
    /// If the window is higher than the padded image, or the stride is zero.
    pub fn out_height(&self) -> usize {
        positions(self.in_height + self.padding.top + self.padding.bottom, self.kernel[0], self.stride[0])
    }

    /// Columns of an output image.
    ///
    /// # Panics
    /// If the window is wider than the padded image, or the stride is zero.
    pub fn out_width(&self) -> usize {
        positions(self.in_width + self.padding.left + self.padding.right, self.kernel[1], self.stride[1])
    }

    /// Values in the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.in_height * self.in_width * self.in_channels
    }

    /// Values in the output.
    ///
    /// # Panics
    /// As [`Conv2d::out_height`].
    pub fn output_len(&self) -> usize {
        self.batch * self.out_height() * self.out_width() * self.out_channels
    }

    /// Values in the weight.
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.kernel[0] * self.kernel[1] * self.group_in_channels()
    }

    /// Multiplications of one forward pass that touch an input or padding value.
    ///
    /// # Panics
    /// As [`Conv2d::out_height`].
    pub fn multiply_adds(&self) -> usize {
        self.output_len() * self.kernel[0] * self.kernel[1] * self.group_in_channels()
    }

    pub(crate) fn group_in_channels(&self) -> usize {
        self.in_channels / self.groups
    }

    pub(crate) fn group_out_channels(&self) -> usize {
        self.out_channels / self.groups
    }

    pub(crate) fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.in_channels && self.groups == self.out_channels
    }

    /// # Panics
    /// If there is no such convolution.
    pub(crate) fn check_channels(&self) {
        let Self { in_channels, out_channels, groups, .. } = *self;
        assert!(groups > 0, "groups is zero");
        assert!(self.kernel[0] > 0 && self.kernel[1] > 0, "kernel {:?} is empty", self.kernel);
        assert!(
            in_channels % groups == 0 && out_channels % groups == 0,
            "{in_channels} input and {out_channels} output channels don't split into {groups} groups"
        );
    }

    fn check(&self, input: usize, output: usize) {
        self.check_channels();
        assert_eq!(input, self.input_len(), "length of the input of {self:?}");
        assert_eq!(output, self.output_len(), "length of the output of {self:?}");
    }
}

fn positions(padded: usize, kernel: usize, stride: usize) -> usize {
    assert!(stride > 0, "stride is zero");
    assert!(kernel <= padded, "a window of {kernel} does not fit in {padded} padded pixels");
    (padded - kernel) / stride + 1
}

/// Slides `filter` over `input` without flipping it (cross-correlation, what torch calls `conv2d`), and takes
/// the sums through `epilogue` while they are in cache.
///
/// # Shapes
/// See [`Conv2d`] and [`Epilogue`].
///
/// # Accuracy
/// Products are summed in f32; what is stored is rounded once.
///
/// # Panics
/// If a slice's length is not the product of its shape, `filter` was packed for another convolution or
/// instruction set, or the window does not fit in the padded image.
pub fn conv2d<E: Element>(
    isa: Isa,
    conv: &Conv2d,
    input: &[E],
    filter: &PackedFilter<E>,
    epilogue: Epilogue<'_, E>,
    output: &mut [E],
) {
    convolve(isa, conv, input, filter, epilogue, output);
}

/// As [`conv2d`], the output of another type.
pub(crate) fn convolve<I: Element, O: Element>(
    isa: Isa,
    conv: &Conv2d,
    input: &[I],
    filter: &PackedFilter<I>,
    epilogue: Epilogue<'_, O>,
    output: &mut [O],
) {
    conv.check(input.len(), output.len());
    epilogue.check(conv.out_channels, output.len());
    let layout = filter.for_forward(isa, conv);
    if output.is_empty() {
        return;
    }
    match layout {
        Layout::Depthwise(weight) => depthwise::forward(isa, conv, input, weight, epilogue, output),
        Layout::Dense(products) => dense::forward(isa, conv, input, &products[0], epilogue, output),
        #[cfg(target_arch = "x86_64")]
        Layout::Tiles(unit, products) => {
            with_bf16(isa, input, |input| {
                tile_product::forward(isa, *unit, conv, input, &products[0], epilogue, output);
            });
        }
        Layout::Winograd(matrices) => {
            let (window, input) = (dense::window(conv), as_f32(input));
            winograd::multiply(isa, isa, window, input, matrices, epilogue, output);
        }
        #[cfg(target_arch = "x86_64")]
        Layout::WinogradTiles(unit, matrices) => with_bf16(isa, input, |input| {
            winograd::multiply(isa, *unit, dense::window(conv), input, matrices, epilogue, output);
        }),
    }
}

/// Calls `function` with the elements as bf16: with themselves, if that is what they are.
#[cfg(target_arch = "x86_64")]
fn with_bf16<E: Element>(isa: Isa, elements: &[E], function: impl FnOnce(&[Bf16])) {
    if let Some(elements) = E::as_bf16(elements) {
        return function(elements);
    }
    let mut values = Scratch::<f32>::new(elements.len());
    widen(isa, elements, &mut values);
    let mut rounded = Scratch::<Bf16>::new(elements.len());
    narrow(isa, &values, &mut rounded);
    function(&rounded);
}

/// Gradient of the loss with respect to the input of [`conv2d`]; overwrites `input_gradient`.
///
/// # Shapes
/// See [`Conv2d`]; gradients have the shape of what they belong to. `filter` comes from
/// [`PackedFilter::input_gradient`].
///
/// # Panics
/// As [`conv2d`].
pub fn conv2d_input_gradient<E: Element>(
    isa: Isa,
    conv: &Conv2d,
    output_gradient: &[E],
    filter: &PackedFilter<E>,
    input_gradient: &mut [E],
) {
    convolve_input_gradient(isa, conv, output_gradient, filter, input_gradient);
}

/// As [`conv2d_input_gradient`], the gradients of two types.
pub(crate) fn convolve_input_gradient<I: Element, O: Element>(
    isa: Isa,
    conv: &Conv2d,
    output_gradient: &[O],
    filter: &PackedFilter<I>,
    input_gradient: &mut [I],
) {
    conv.check(input_gradient.len(), output_gradient.len());
    let layout = filter.for_input_gradient(isa, conv);
    if input_gradient.is_empty() {
        return;
    }
    match layout {
        Layout::Depthwise(weight) => {
            depthwise::input_gradient(isa, conv, output_gradient, weight, input_gradient);
        }
        Layout::Dense(products) => {
            dense::input_gradient(isa, conv, output_gradient, products, input_gradient);
        }
        #[cfg(target_arch = "x86_64")]
        Layout::Tiles(unit, products) => with_bf16(isa, output_gradient, |output_gradient| {
            tile_product::input_gradient(isa, *unit, conv, output_gradient, products, input_gradient);
        }),
        Layout::Winograd(matrices) => {
            let (window, output_gradient) = (input_gradient_window(conv), as_f32(output_gradient));
            winograd::multiply(
                isa,
                isa,
                window,
                output_gradient,
                matrices,
                Epilogue::default(),
                input_gradient,
            );
        }
        #[cfg(target_arch = "x86_64")]
        Layout::WinogradTiles(unit, matrices) => with_bf16(isa, output_gradient, |output_gradient| {
            let (window, epilogue) = (input_gradient_window(conv), Epilogue::default());
            winograd::multiply(isa, *unit, window, output_gradient, matrices, epilogue, input_gradient);
        }),
    }
}

/// The window that the input's pixels slide over the output gradient, with a stride of 1.
fn input_gradient_window(conv: &Conv2d) -> Window {
    let phase = Phase::reached(conv).next().expect("a stride of 1 has one phase");
    dense::phase_window(conv, &phase)
}

/// Elements of a filter that was packed for f32.
fn as_f32<E: Element>(elements: &[E]) -> &[f32] {
    E::as_f32(elements).expect("a filter is packed for the type of the elements")
}

/// Gradient of the loss with respect to the weight of [`conv2d`]; overwrites `weight_gradient`.
///
/// The bias' gradient is [`crate::column_sums`] of the output gradient.
///
/// # Shapes
/// See [`Conv2d`]; gradients have the shape of what they belong to.
///
/// # Panics
/// If a slice's length is not the product of its shape, the groups do not divide the channels, or the window
/// does not fit in the padded image.
pub fn conv2d_weight_gradient<E: Element>(
    isa: Isa,
    conv: &Conv2d,
    input: &[E],
    output_gradient: &[E],
    weight_gradient: &mut [f32],
) {
    convolve_weight_gradient(isa, conv, input, output_gradient, weight_gradient);
}

/// As [`conv2d_weight_gradient`], by Winograd's algorithm where that takes less time.
///
/// # Accuracy
/// Weighted sums of pixels, and of output gradients, are then rounded to the elements' type before they are multiplied; see
/// [`PackedFilter::winograd_forward`].
///
/// # Panics
/// As [`conv2d_weight_gradient`].
pub fn winograd_weight_gradient<E: Element>(
    isa: Isa,
    conv: &Conv2d,
    input: &[E],
    output_gradient: &[E],
    weight_gradient: &mut [f32],
) {
    if let Some(filtering) = winograd::gradient_filtering::<E>(conv) {
        conv.check(input.len(), output_gradient.len());
        assert_eq!(weight_gradient.len(), conv.weight_len(), "length of the weight gradient of {conv:?}");
        if let (Some(input), Some(output_gradient)) = (E::as_f32(input), E::as_f32(output_gradient)) {
            return winograd::weight_gradient(
                isa,
                isa,
                filtering,
                conv,
                input,
                output_gradient,
                weight_gradient,
            );
        }
        #[cfg(target_arch = "x86_64")]
        if let (Some(unit), Some(input), Some(output_gradient)) =
            (winograd::tile_unit(isa), E::as_bf16(input), E::as_bf16(output_gradient))
        {
            return winograd::weight_gradient(
                isa,
                unit,
                filtering,
                conv,
                input,
                output_gradient,
                weight_gradient,
            );
        }
    }
    convolve_weight_gradient(isa, conv, input, output_gradient, weight_gradient);
}

/// As [`conv2d_weight_gradient`], input and output gradient of two types.
pub(crate) fn convolve_weight_gradient<I: Element, O: Element>(
    isa: Isa,
    conv: &Conv2d,
    input: &[I],
    output_gradient: &[O],
    weight_gradient: &mut [f32],
) {
    conv.check(input.len(), output_gradient.len());
    assert_eq!(weight_gradient.len(), conv.weight_len(), "length of the weight gradient of {conv:?}");
    if weight_gradient.is_empty() {
        return;
    }
    if output_gradient.is_empty() {
        weight_gradient.fill(0.0);
    } else if conv.is_depthwise() {
        depthwise::weight_gradient(isa, conv, input, output_gradient, weight_gradient);
    } else {
        #[cfg(target_arch = "x86_64")]
        if let (Some(unit), Some(input)) = (isa.tile_unit(), I::as_bf16(input)) {
            return with_bf16(isa, output_gradient, |output_gradient| {
                tile_gradient::weight_gradient(isa, unit, conv, input, output_gradient, weight_gradient);
            });
        }
        weight_gradient::dense(isa, conv, input, output_gradient, weight_gradient);
    }
}
