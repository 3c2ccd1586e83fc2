//! What follows a convolution's sums while they are still in cache: bias, statistics, shortcut, activation.

use crate::activation::{Activation, activate_slice};
use crate::element::Element;
use crate::isa::Isa;
use crate::scratch::Scratch;
use crate::simd::{Kernel, Simd};

/// What [`crate::conv2d`] does with its sums before it stores them:
/// `output = activation(sums + bias + shortcut)`.
///
/// ```
/// use elimnet_kernels::{Activation, Epilogue};
/// let epilogue = Epilogue::<f32> { activation: Activation::Relu, ..Epilogue::default() };
/// assert!(epilogue.bias.is_none());
/// ```
#[derive(Debug)]
pub struct Epilogue<'a, E> {
    /// One value an output channel.
    pub bias: Option<&'a [f32]>,
    /// Values of the output's shape, added before the activation.
    pub shortcut: Option<&'a [E]>,
    /// Applied last.
    pub activation: Activation,
    /// Where the statistics of `sums + bias` go.
    pub moments: Option<Moments<'a>>,
}

impl<E> Default for Epilogue<'_, E> {
    /// The sums as they are.
    fn default() -> Self {
        Self { bias: None, shortcut: None, activation: Activation::Identity, moments: None }
    }
}

/// Mean and biased variance of each output channel over all pixels of the batch: those of the f32 sums, before
/// they are rounded.
///
/// # Accuracy
/// Each part of the rows is summed around its own first value in f32, and the parts are combined in f64 in
/// their order, so a large mean costs nothing and the thread count changes nothing.
#[derive(Debug)]
pub struct Moments<'a> {
    /// `[out_channels]`
    pub mean: &'a mut [f32],
    /// `[out_channels]`
    pub variance: &'a mut [f32],
}

/// Moments of some channels in registers, of the rows added so far.
pub(crate) struct RowMoments<S: Simd, const N: usize> {
    pivots: [S::Vector; N],
    sums: [S::Vector; N],
    squares: [S::Vector; N],
}

impl<S: Simd, const N: usize> RowMoments<S, N> {
    #[inline(always)]
    pub(crate) fn add(&mut self, simd: S, row: [S::Vector; N]) {
        for (index, value) in row.into_iter().enumerate() {
            let distance = simd.subtract(value, self.pivots[index]);
            self.sums[index] = simd.add(self.sums[index], distance);
            self.squares[index] = simd.mul_add(distance, distance, self.squares[index]);
        }
    }
}

impl<E: Element> Epilogue<'_, E> {
    /// # Panics
    /// If a slice is not as long as it must be.
    pub(crate) fn check(&self, channels: usize, output: usize) {
        if let Some(bias) = self.bias {
            assert_eq!(bias.len(), channels, "length of the bias");
        }
        if let Some(shortcut) = self.shortcut {
            assert_eq!(shortcut.len(), output, "length of the shortcut");
        }
        if let Some(moments) = &self.moments {
            assert_eq!(moments.mean.len(), channels, "length of the mean");
            assert_eq!(moments.variance.len(), channels, "length of the variance");
            assert!(output > 0, "moments of no pixels");
        }
    }
}

/// Sums around a pivot for each channel, of each part of the rows.
pub(crate) struct MomentParts {
    values: Scratch,
    channels: usize,
}

/// Stands where a pivot will: one of the bit patterns that are no number, and none that arithmetic makes.
const NO_ROWS: f32 = f32::from_bits(0x7fa5_a5a5);

/// A part's pivots, sums of distances to them, and sums of squared distances, one a channel each.
#[derive(Debug)]
pub(crate) struct PartMoments<'a> {
    pub(crate) pivots: &'a mut [f32],
    pub(crate) sums: &'a mut [f32],
    pub(crate) squares: &'a mut [f32],
}

impl MomentParts {
    /// For so many parts; takes no room where no moments are wanted.
    pub(crate) fn new(parts: Option<usize>, channels: usize) -> Self {
        Self { values: Scratch::new(parts.unwrap_or(0) * 3 * channels), channels }
    }

    /// Each part's room; `None` without end where no moments are wanted.
    pub(crate) fn parts(&mut self) -> impl Iterator<Item = Option<PartMoments<'_>>> {
        self.slices().map(|values| values.map(PartMoments::new))
    }

    /// The same as slices: pivots, sums and squares in thirds.
    pub(crate) fn slices(&mut self) -> impl Iterator<Item = Option<&mut [f32]>> {
        let are_wanted = !self.values.is_empty();
        if_wanted(are_wanted, self.values.chunks_exact_mut((3 * self.channels).max(1)))
    }

    /// Combines the parts, of `part_rows(index)` rows each; channels beyond those of `moments` are none.
    ///
    /// Source: Chan, Golub & LeVeque, *Updating Formulae and a Pairwise Algorithm for Computing Sample
    /// Variances*, 1979.
    pub(crate) fn combine(&self, part_rows: impl Fn(usize) -> usize, moments: Moments<'_>) {
        let channels = moments.mean.len();
        let [mut means, mut squares] = [0.0; 2].map(|zero| Scratch::filled(channels, zero));
        let mut rows = 0.0;
        for (part, values) in self.values.chunks_exact(3 * self.channels).enumerate() {
            let part_rows = part_rows(part) as f64;
            let total = rows + part_rows;
            let [share, weight] = [part_rows / total, rows * part_rows / total];
            let [pivots, part_sums, part_squares] =
                [0, 1, 2].map(|third| &values[third * self.channels..][..channels]);
            for (channel, (mean, squares)) in means.iter_mut().zip(&mut *squares).enumerate() {
                let [pivot, sum, square] =
                    [pivots[channel], part_sums[channel], part_squares[channel]].map(f64::from);
                let offset = sum / part_rows;
                let distance = pivot + offset - *mean;
                *mean += distance * share;
                *squares += square - sum * offset + distance * distance * weight;
            }
            rows = total;
        }
        let means = means.iter().map(|mean| *mean as f32);
        moments.mean.iter_mut().zip(means).for_each(|(to, mean)| *to = mean);
        for (to, squares) in moments.variance.iter_mut().zip(&*squares) {
            let variance = squares / rows;
            // Not `max`, which would make zero of what is no number.
            *to = if variance < 0.0 { 0.0 } else { variance as f32 };
        }
    }
}

impl<'a> PartMoments<'a> {
    fn new(values: &'a mut [f32]) -> Self {
        let channels = values.len() / 3;
        let (pivots, rest) = values.split_at_mut(channels);
        let (sums, squares) = rest.split_at_mut(channels);
        Self { pivots, sums, squares }
    }

    /// The moments of `block` channels each, for tasks that have some of the channels each; `None` without end where there are none.
    pub(crate) fn split(part: Option<Self>, block: usize) -> impl Iterator<Item = Option<Self>> {
        let are_wanted = part.is_some();
        let blocks = part.into_iter().flat_map(move |Self { pivots, sums, squares }| {
            let rest = sums.chunks_mut(block).zip(squares.chunks_mut(block));
            pivots.chunks_mut(block).zip(rest)
        });
        let blocks = blocks.map(|(pivots, (sums, squares))| Self { pivots, sums, squares });
        if_wanted(are_wanted, blocks)
    }

    /// Forgets all rows.
    pub(crate) fn start(&mut self) {
        self.pivots.fill(NO_ROWS);
    }

    /// The moments of `channels`, which `N` registers hold, to be added to; `row` is where they start where there are no rows yet.
    #[inline(always)]
    pub(crate) fn resume<S: Simd, const N: usize>(
        &mut self,
        simd: S,
        channels: std::ops::Range<usize>,
        row: [S::Vector; N],
    ) -> RowMoments<S, N> {
        // No closures here: they are not always compiled with the wide registers.
        let zero = [simd.splat(0.0); N];
        let mut moments = RowMoments { pivots: row, sums: zero, squares: zero };
        let pivots = &mut self.pivots[channels.clone()];
        if pivots[0].to_bits() == NO_ROWS.to_bits() {
            for (pivots, pivot) in pivots.chunks_mut(S::LANES).zip(row) {
                simd.store_partial(pivot, pivots);
            }
            self.sums[channels.clone()].fill(0.0);
            self.squares[channels].fill(0.0);
        } else {
            for (pivot, pivots) in moments.pivots.iter_mut().zip(pivots.chunks(S::LANES)) {
                *pivot = simd.load_partial(pivots);
            }
        }
        moments
    }

    /// Adds what [`PartMoments::resume`] gave and rows were added to.
    #[inline(always)]
    pub(crate) fn keep<S: Simd, const N: usize>(
        &mut self,
        simd: S,
        channels: std::ops::Range<usize>,
        moments: RowMoments<S, N>,
    ) {
        for (sums, sum) in self.sums[channels.clone()].chunks_mut(S::LANES).zip(moments.sums) {
            simd.store_partial(simd.add(sum, simd.load_partial(sums)), sums);
        }
        for (squares, square) in self.squares[channels].chunks_mut(S::LANES).zip(moments.squares) {
            simd.store_partial(simd.add(square, simd.load_partial(squares)), squares);
        }
    }

    pub(crate) fn channels(&mut self, range: std::ops::Range<usize>) -> PartMoments<'_> {
        let Self { pivots, sums, squares } = self;
        PartMoments {
            pivots: &mut pivots[range.clone()],
            sums: &mut sums[range.clone()],
            squares: &mut squares[range],
        }
    }
}

/// The items, or `None` without end.
fn if_wanted<T>(are_wanted: bool, items: impl Iterator<Item = T>) -> impl Iterator<Item = Option<T>> {
    let nothing = (!are_wanted).then(|| std::iter::repeat_with(|| None));
    items.map(Some).chain(nothing.into_iter().flatten())
}

/// Takes a finished block of sums, which are in place, to what is stored. The bias is in the sums already.
pub(crate) struct Finish<'a, 'm, E> {
    pub(crate) sums: &'a mut [f32],
    /// From a row of `sums` to the next.
    pub(crate) stride: usize,
    pub(crate) columns: usize,
    /// From the block's first value on.
    pub(crate) shortcut: Option<&'a [E]>,
    pub(crate) shortcut_stride: usize,
    pub(crate) activation: Activation,
    /// The part's, and the channel of the first column; the block holds all rows of the part.
    pub(crate) moments: Option<(&'a mut PartMoments<'m>, usize)>,
}

impl<E: Element> Finish<'_, '_, E> {
    pub(crate) fn run(mut self, isa: Isa) {
        if let Some((part, first)) = self.moments.take() {
            let (rows, stride) = (&*self.sums, self.stride);
            isa.run(ColumnMoments { rows, stride, part: part.channels(first..first + self.columns) });
        }
        if let Some(shortcut) = self.shortcut {
            let (sums, mut stride, mut columns) = (&mut *self.sums, self.stride, self.columns);
            let mut shortcut_stride = self.shortcut_stride;
            if stride == columns && shortcut_stride == columns {
                // Rows that follow each other without a gap are one.
                [stride, columns, shortcut_stride] = [sums.len().max(1); 3];
            }
            isa.run(AddRows { sums, stride, columns, shortcut, shortcut_stride });
        }
        if self.activation == Activation::Identity {
            return;
        }
        if self.stride == self.columns {
            return activate_slice::<E>(isa, self.activation, self.sums);
        }
        for row in self.sums.chunks_mut(self.stride) {
            activate_slice::<E>(isa, self.activation, &mut row[..self.columns]);
        }
    }
}

struct ColumnMoments<'a> {
    rows: &'a [f32],
    stride: usize,
    part: PartMoments<'a>,
}

impl Kernel for ColumnMoments<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        self.part.start();
        for column in (0..self.part.pivots.len()).step_by(S::LANES) {
            let columns = column..self.part.pivots.len().min(column + S::LANES);
            let pivot = simd.load_partial(&self.rows[columns.clone()]);
            let mut moments = self.part.resume(simd, columns.clone(), [pivot]);
            for row in self.rows.chunks(self.stride) {
                moments.add(simd, [simd.load_partial(&row[columns.clone()])]);
            }
            self.part.keep(simd, columns, moments);
        }
    }
}

struct AddRows<'a, E> {
    sums: &'a mut [f32],
    stride: usize,
    columns: usize,
    shortcut: &'a [E],
    shortcut_stride: usize,
}

impl<E: Element> Kernel for AddRows<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let rows = self.sums.chunks_mut(self.stride).zip(self.shortcut.chunks(self.shortcut_stride));
        for (sums, shortcut) in rows {
            let (sums, shortcut) = (&mut sums[..self.columns], &shortcut[..self.columns]);
            for (sums, shortcut) in sums.chunks_mut(S::LANES).zip(shortcut.chunks(S::LANES)) {
                let sum = simd.add(simd.load_partial(sums), simd.load_element(shortcut));
                simd.store_partial(sum, sums);
            }
        }
    }
}
