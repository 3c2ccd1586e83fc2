//! Weights laid out for the kernels, once for as many batches as they stay the same.

use std::marker::PhantomData;

use crate::conv2d::Conv2d;
use crate::element::Element;
use crate::isa::Isa;
use crate::linear::Linear;
use crate::pack::{Packed, Right};
use crate::winograd::Matrices;
use crate::{depthwise, winograd};
#[cfg(target_arch = "x86_64")]
use crate::{simd::tiles::TileUnit, tile_pack::TilePanels};

/// A convolution's weight laid out for one pass, element type and instruction set; the batch size may change.
///
/// Packed for [`Bf16`](crate::Bf16), a dense convolution's weight is rounded to that type.
///
/// ```
/// use elimnet_kernels::{Conv2d, Epilogue, Isa, PackedFilter, Padding, conv2d};
/// let conv = Conv2d {
///     batch: 1,
///     in_height: 1,
///     in_width: 3,
///     in_channels: 1,
///     out_channels: 1,
///     kernel: [1, 2],
///     stride: [1, 1],
///     padding: Padding::same(0),
///     groups: 1,
/// };
/// let isa = Isa::detect();
/// let filter = PackedFilter::<f32>::forward(isa, &conv, &[1.0, 10.0]);
/// let mut output = [0.0; 2];
/// conv2d(isa, &conv, &[1.0, 2.0, 3.0], &filter, Epilogue::default(), &mut output);
/// assert_eq!(output, [21.0, 32.0]);
/// ```
#[derive(Clone, Debug)]
pub struct PackedFilter<E> {
    isa: Isa,
    /// Without a batch.
    conv: Conv2d,
    pass: Pass,
    layout: Layout,
    element: PhantomData<E>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    Forward,
    InputGradient,
}

/// How the weight lies.
#[derive(Clone, Debug)]
pub(crate) enum Layout {
    /// As [`depthwise::pack`] lays it out.
    Depthwise(Vec<f32>),
    /// For each product of the pass, for each group.
    Dense(Vec<Vec<Packed>>),
    /// The same for tiles.
    #[cfg(target_arch = "x86_64")]
    Tiles(TileUnit, Vec<Vec<TilePanels>>),
    /// Transformed, for each place of a transformed tile.
    Winograd(Matrices<Packed>),
    /// The same for tiles.
    #[cfg(target_arch = "x86_64")]
    WinogradTiles(TileUnit, Matrices<TilePanels>),
}

/// How sums of products are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Direct,
    /// Winograd's where it is faster.
    Fastest,
}

impl<E: Element> PackedFilter<E> {
    /// Packs `weight` for [`crate::conv2d`].
    ///
    /// # Shapes
    /// See [`Conv2d`].
    ///
    /// # Panics
    /// If the weight's length is not that of `conv`, or the groups don't divide the channels.
    pub fn forward(isa: Isa, conv: &Conv2d, weight: &[f32]) -> Self {
        Self::new(isa, conv, Pass::Forward, Algorithm::Direct, weight)
    }

    /// As [`PackedFilter::forward`], for [`crate::conv2d`] by Winograd's algorithm where that takes less time.
    ///
    /// # Accuracy
    /// Weighted sums of up to 16 pixels, and of nine weights, are then rounded to the elements' type before they are multiplied: in
    /// bf16 (four pixels, then) and in f32 that is about twice the error of a direct convolution.
    ///
    /// # Panics
    /// As [`PackedFilter::forward`].
    pub fn winograd_forward(isa: Isa, conv: &Conv2d, weight: &[f32]) -> Self {
        Self::new(isa, conv, Pass::Forward, Algorithm::Fastest, weight)
    }

    /// Packs `weight` for [`crate::conv2d_input_gradient`].
    ///
    /// # Shapes
    /// See [`Conv2d`].
    ///
    /// # Panics
    /// As [`PackedFilter::forward`].
    pub fn input_gradient(isa: Isa, conv: &Conv2d, weight: &[f32]) -> Self {
        Self::new(isa, conv, Pass::InputGradient, Algorithm::Direct, weight)
    }

    /// As [`PackedFilter::input_gradient`], by Winograd's algorithm where that takes less time.
    ///
    /// # Accuracy
    /// As [`PackedFilter::winograd_forward`].
    ///
    /// # Panics
    /// As [`PackedFilter::forward`].
    pub fn winograd_input_gradient(isa: Isa, conv: &Conv2d, weight: &[f32]) -> Self {
        Self::new(isa, conv, Pass::InputGradient, Algorithm::Fastest, weight)
    }

    /// Packs the `[out_features, in_features]` `weight` for [`crate::linear`].
    ///
    /// # Panics
    /// As [`PackedFilter::forward`].
    pub fn linear(isa: Isa, sizes: &Linear, weight: &[f32]) -> Self {
        Self::forward(isa, &sizes.pointwise(), weight)
    }

    /// Packs the `[out_features, in_features]` `weight` for [`crate::linear_input_gradient`].
    ///
    /// # Panics
    /// As [`PackedFilter::forward`].
    pub fn linear_input_gradient(isa: Isa, sizes: &Linear, weight: &[f32]) -> Self {
        Self::input_gradient(isa, &sizes.pointwise(), weight)
    }

    fn new(isa: Isa, conv: &Conv2d, pass: Pass, algorithm: Algorithm, weight: &[f32]) -> Self {
        conv.check_channels();
        let conv = Conv2d { batch: 0, ..*conv };
        let layout = if conv.is_depthwise() {
            Layout::Depthwise(vec![0.0; depthwise::packed_len(&conv)])
        } else {
            Self::dense_layout(isa, &conv, pass, algorithm)
        };
        let mut filter = Self { isa, conv, pass, layout, element: PhantomData };
        filter.repack(weight);
        filter
    }

    fn dense_layout(isa: Isa, conv: &Conv2d, pass: Pass, algorithm: Algorithm) -> Layout {
        let filtering = match algorithm {
            Algorithm::Direct => None,
            Algorithm::Fastest => winograd::filtering::<E>(conv),
        };
        #[cfg(target_arch = "x86_64")]
        if let Some(unit) = isa.tile_unit().filter(|_| E::as_f32(&[]).is_none()) {
            if let (Some(filtering), Some(unit)) = (filtering, winograd::tile_unit(isa)) {
                return Layout::WinogradTiles(unit, winograd::room(conv, filtering, pass, TilePanels::new));
            }
            return Layout::Tiles(unit, Self::room(conv, pass, TilePanels::new));
        }
        let new = |depth, columns| Packed::new(isa, depth, columns);
        if let Some(filtering) = filtering.filter(|_| E::as_f32(&[]).is_some()) {
            return Layout::Winograd(winograd::room(conv, filtering, pass, new));
        }
        Layout::Dense(Self::room(conv, pass, new))
    }

    /// `new(depth, columns)` for each product, for each group.
    fn room<P: Clone>(conv: &Conv2d, pass: Pass, new: impl Fn(usize, usize) -> P) -> Vec<Vec<P>> {
        let [inputs, outputs] = [conv.group_in_channels(), conv.group_out_channels()];
        let groups = |taps: [usize; 2], depth: usize, columns: usize| {
            vec![new(taps[0] * taps[1] * depth, columns); conv.groups]
        };
        match pass {
            Pass::Forward => vec![groups(conv.kernel, inputs, outputs)],
            Pass::InputGradient => {
                let phases = Phase::reached(conv);
                phases.map(|[y, x]| groups([y.taps, x.taps], outputs, inputs)).collect()
            }
        }
    }

    /// Replaces the weight, in place.
    ///
    /// # Panics
    /// If the length is not what it was.
    pub fn repack(&mut self, weight: &[f32]) {
        let conv = &self.conv;
        assert_eq!(weight.len(), conv.weight_len(), "length of the weight of {conv:?}");
        match &mut self.layout {
            Layout::Depthwise(values) => depthwise::pack(conv, self.pass, weight, values),
            Layout::Dense(products) => {
                fill(conv, self.pass, weight, products, |packed, right| packed.fill::<E>(right));
            }
            #[cfg(target_arch = "x86_64")]
            Layout::Tiles(_, products) => {
                fill(conv, self.pass, weight, products, |packed, right| packed.fill(self.isa, right));
            }
            Layout::Winograd(matrices) => {
                winograd::fill(self.isa, conv, self.pass, weight, matrices, |packed, right| {
                    packed.fill::<E>(right);
                });
            }
            #[cfg(target_arch = "x86_64")]
            Layout::WinogradTiles(_, matrices) => {
                winograd::fill(self.isa, conv, self.pass, weight, matrices, |packed, right| {
                    packed.fill(self.isa, right);
                });
            }
        }
    }

    /// Memory that the weight takes.
    pub fn bytes(&self) -> usize {
        match &self.layout {
            Layout::Depthwise(values) => size_of_val(&values[..]),
            Layout::Dense(products) => products.iter().flatten().map(Packed::bytes).sum(),
            #[cfg(target_arch = "x86_64")]
            Layout::Tiles(_, products) => products.iter().flatten().map(TilePanels::bytes).sum(),
            Layout::Winograd(matrices) => matrices.places.iter().map(Packed::bytes).sum(),
            #[cfg(target_arch = "x86_64")]
            Layout::WinogradTiles(_, matrices) => matrices.places.iter().map(TilePanels::bytes).sum(),
        }
    }

    /// The layout for the forward pass of `conv`.
    ///
    /// # Panics
    /// If it was packed for something else.
    pub(crate) fn for_forward(&self, isa: Isa, conv: &Conv2d) -> &Layout {
        self.for_pass(isa, conv, Pass::Forward)
    }

    /// The layout for the gradient to the input of `conv`.
    ///
    /// # Panics
    /// If it was packed for something else.
    pub(crate) fn for_input_gradient(&self, isa: Isa, conv: &Conv2d) -> &Layout {
        self.for_pass(isa, conv, Pass::InputGradient)
    }

    fn for_pass(&self, isa: Isa, conv: &Conv2d, pass: Pass) -> &Layout {
        assert_eq!(self.pass, pass, "pass that the filter was packed for");
        assert_eq!(self.isa, isa, "instruction set that the filter was packed for");
        let packed_for = Conv2d { batch: conv.batch, ..self.conv };
        assert_eq!(packed_for, *conv, "convolution that the filter was packed for");
        &self.layout
    }
}

/// Hands each product's right matrix, where it lies in `weight`, to `pack`.
fn fill<P>(
    conv: &Conv2d,
    pass: Pass,
    weight: &[f32],
    products: &mut [Vec<P>],
    pack: impl Fn(&mut P, Right<'_>),
) {
    match pass {
        Pass::Forward => {
            let group_length = (weight.len() / conv.groups).max(1);
            for (packed, weight) in products[0].iter_mut().zip(weight.chunks_exact(group_length)) {
                pack(packed, Right::Transposed(weight));
            }
        }
        Pass::InputGradient => {
            for (groups, phase) in products.iter_mut().zip(Phase::reached(conv)) {
                for (group, packed) in groups.iter_mut().enumerate() {
                    let row = |depth| phase_row(conv, &phase, group, depth, weight);
                    pack(packed, Right::Rows(&row));
                }
            }
        }
    }
}

/// Input pixels `first, first + stride, ..` of one axis: those that the taps `tap, tap + stride, ..` touch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phase {
    pub(crate) first: usize,
    pub(crate) pixels: usize,
    pub(crate) tap: usize,
    pub(crate) taps: usize,
    /// Output position that the first pixel's lowest tap came from.
    output: usize,
}

impl Phase {
    /// The phases of both axes in which there are pixels and taps that reach them, in order.
    pub(crate) fn reached(conv: &Conv2d) -> impl Iterator<Item = [Self; 2]> + use<> {
        let conv = *conv;
        let down =
            move |first| Self::new(conv.in_height, conv.kernel[0], conv.stride[0], conv.padding.top, first);
        let across =
            move |first| Self::new(conv.in_width, conv.kernel[1], conv.stride[1], conv.padding.left, first);
        let rows = (0..conv.stride[0]).map(down).filter(Self::is_reached);
        rows.flat_map(move |y| (0..conv.stride[1]).map(across).filter(Self::is_reached).map(move |x| [y, x]))
    }

    /// Whether some phase has no taps, so that the gradient there is zero.
    pub(crate) fn leave_gaps(conv: &Conv2d) -> bool {
        conv.kernel[0] < conv.stride[0] || conv.kernel[1] < conv.stride[1]
    }

    fn new(length: usize, kernel: usize, stride: usize, padding: usize, first: usize) -> Self {
        let tap = (first + padding) % stride;
        let pixels = length.saturating_sub(first).div_ceil(stride);
        let taps = kernel.saturating_sub(tap).div_ceil(stride);
        Self { first, pixels, tap, taps, output: (first + padding) / stride }
    }

    fn is_reached(&self) -> bool {
        self.pixels > 0 && self.taps > 0
    }

    /// Output position under the first of the phase's taps in ascending order of the output.
    pub(crate) fn origin(&self) -> isize {
        self.output as isize - (self.taps as isize - 1)
    }
}

/// Row `[tap_y, tap_x, out channel]` of a phase's weights for a group, a value for each input channel; the taps
/// in descending order, as the gradient is walked in ascending order.
fn phase_row<'w>(
    conv: &Conv2d,
    [y, x]: &[Phase; 2],
    group: usize,
    depth: usize,
    weight: &'w [f32],
) -> &'w [f32] {
    let (columns, out_channels) = (conv.group_in_channels(), conv.group_out_channels());
    let (tap, channel) = (depth / out_channels, depth % out_channels);
    let tap_y = y.tap + conv.stride[0] * (y.taps - 1 - tap / x.taps);
    let tap_x = x.tap + conv.stride[1] * (x.taps - 1 - tap % x.taps);
    let row = (group * out_channels + channel) * conv.kernel[0] + tap_y;
    &weight[(row * conv.kernel[1] + tap_x) * columns..][..columns]
}
