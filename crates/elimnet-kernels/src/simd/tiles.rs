//! Blocks of 32 x 32 sums of bf16 products: what [`crate::tile_product`] and [`crate::tile_gradient`] are made of.
//!
//! Two instruction sets have products of bf16. AMX multiplies whole tiles; AVX512_BF16 multiplies a register of
//! pairs by one pair. Operands lie alike for both, so all that packs, cuts and finishes blocks is written once, and tested on machines that have
//! neither ([`super::plain`]).

use super::amx::{Amx, Configured};
use super::dot::Dot;
use super::plain::Plain;
use crate::activation::Activation;
use crate::block::{BLOCK, FinishBlock, Sums};
use crate::element::Bf16;
use crate::epilogue::PartMoments;
use crate::scratch::Scratch;

/// Rows of a tile, and f32 columns of one that holds sums.
pub(crate) const TILE: usize = 16;
/// bf16 values in a row of an operand's tile: the depth of one step.
pub(crate) const STEP: usize = 32;
const _: () = assert!(BLOCK == 2 * TILE);

/// What multiplies bf16; a value is the proof that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TileUnit {
    Amx(Amx),
    Dot(Dot),
    Plain(Plain),
}

impl TileUnit {
    /// Those that this machine has, and their stand-ins.
    #[cfg(test)]
    pub(super) fn available() -> Vec<Self> {
        let dot = Dot::detect().map(Self::Dot);
        let plain = [Plain::AMX, Plain::DOT].map(Self::Plain);
        plain.into_iter().chain(dot).chain(Amx::detect().map(Self::Amx)).collect()
    }

    /// Whether it loads the left operand by whole tiles, with rows and depths that a block lacks.
    pub(crate) fn loads_whole_tiles(self) -> bool {
        matches!(self, Self::Amx(_) | Self::Plain(Plain::AMX))
    }

    /// Multiplies in registers, `rounds` times in each of several chains that don't wait for each other; gives the number of
    /// multiply-adds. A stand-in has no registers.
    pub(crate) fn multiply_in_registers(self, rounds: usize) -> Option<usize> {
        match self {
            Self::Amx(amx) => Some(amx.configure().multiply_in_registers(rounds)),
            Self::Dot(dot) => Some(dot.multiply_in_registers(rounds)),
            Self::Plain(_) => None,
        }
    }

    /// Makes this thread ready to multiply, until the value is dropped.
    pub(crate) fn configure(self) -> Tiles {
        match self {
            Self::Amx(amx) => Tiles::Amx(amx.configure()),
            Self::Dot(dot) => Tiles::Dot(dot),
            Self::Plain(plain) => Tiles::Plain(plain),
        }
    }
}

/// A thread that is ready to multiply.
pub(crate) enum Tiles {
    Amx(Configured),
    Dot(Dot),
    Plain(Plain),
}

impl Tiles {
    /// Sums up a block; rows and tiles that its shape lacks hold anything.
    ///
    /// # Panics
    /// If an operand is not as large as the steps need, or there are no steps.
    pub(crate) fn multiply(&self, block: TileBlock<'_>, first: First, sums: &mut Sums) {
        match self {
            Self::Amx(amx) => amx.multiply(block, first, sums),
            Self::Dot(dot) => dot.multiply(block, first, sums),
            Self::Plain(plain) => plain.multiply(block, first, sums),
        }
    }

    /// As [`Tiles::multiply`] from zero on, with what becomes of the sums before they leave the registers. Gives for how many of the
    /// rows, of which there may be more than in other blocks, it was done; where for none, nothing was.
    ///
    /// # Panics
    /// As there, or if what the rows go to is not as large as they need.
    pub(crate) fn multiply_and_finish(
        &self,
        block: TileBlock<'_>,
        sums: &mut Sums,
        finish: FinishRows<'_>,
    ) -> usize {
        match self {
            Self::Dot(dot) => dot.multiply_and_finish(block, sums, finish),
            Self::Plain(plain) => plain.multiply_and_finish(block, sums, finish),
            Self::Amx(_) => 0,
        }
    }
}

/// Where rows of sums go, as bf16, without leaving the registers as sums: `activation(sums + bias + shortcut)`.
pub(crate) struct FinishRows<'a> {
    pub(crate) activation: Activation,
    /// As many of the block's as there are.
    pub(crate) columns: usize,
    /// Of the columns.
    pub(crate) bias: Option<&'a [f32]>,
    /// From the first value on, as the output.
    pub(crate) shortcut: Option<&'a [Bf16]>,
    pub(crate) shortcut_pixel: usize,
    pub(crate) output: &'a mut [Bf16],
    /// From a row to the next.
    pub(crate) pixel: usize,
    /// Of the columns: the moments of `sums + bias` so far.
    pub(crate) part: Option<PartMoments<'a>>,
}

impl<'a> FinishRows<'a> {
    /// The same without the first rows.
    pub(super) fn without(&mut self, rows: usize) -> FinishRows<'_> {
        FinishRows {
            shortcut: self.shortcut.map(|shortcut| &shortcut[rows * self.shortcut_pixel..]),
            output: &mut self.output[rows * self.pixel..],
            part: self.part.as_mut().map(|part| part.channels(0..self.columns)),
            ..*self
        }
    }

    /// The same for sums that have left the registers.
    pub(super) fn block(self, rows: usize) -> FinishBlock<'a, 'a, Bf16> {
        FinishBlock {
            rows,
            columns: self.columns,
            bias: self.bias,
            shortcut: self.shortcut,
            shortcut_pixel: self.shortcut_pixel,
            part: self.part,
            output: self.output,
            pixel: self.pixel,
        }
    }

    /// # Panics
    /// If the rows and columns of a block are not all inside.
    pub(super) fn check(&self, shape: Shape) {
        let columns = self.columns;
        assert_eq!(columns.div_ceil(TILE), shape.across, "tiles for {columns} columns");
        let holds = |length: usize, pixel: usize| (shape.rows - 1) * pixel + columns <= length;
        assert!(holds(self.output.len(), self.pixel), "{shape:?} in {} values", self.output.len());
        assert!(self.shortcut.is_none_or(|shortcut| holds(shortcut.len(), self.shortcut_pixel)));
        assert!(self.bias.is_none_or(|bias| columns <= bias.len()));
    }
}

/// Where a step finds its tiles in an operand, in values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand<'a> {
    pub(crate) values: &'a [Bf16],
    /// From a row of a tile to the next.
    pub(crate) row: usize,
    /// From the first tile to the second.
    pub(crate) second: usize,
}

/// Where each step's first tiles start in the two operands.
#[derive(Debug)]
pub(crate) struct Steps {
    /// Left and right in turns, in bytes.
    offsets: Scratch<usize>,
    /// The largest of each, in values.
    furthest: [usize; 2],
    /// Depths of the last step; the others have all.
    last: usize,
}

impl Steps {
    /// From the first values, left and right, of each step's first tiles.
    pub(crate) fn new(offsets: impl Iterator<Item = [usize; 2]> + Clone) -> Self {
        let furthest = [0, 1].map(|side| offsets.clone().map(|offset| offset[side]).max().unwrap_or(0));
        let in_bytes = |offset: [usize; 2]| offset.map(|values| values * size_of::<Bf16>());
        Self { offsets: Scratch::of(offsets.flat_map(in_bytes)), furthest, last: STEP }
    }

    /// Of `depth` values that follow each other and a packed panel of two tiles across. Depths that fill no step are for units
    /// that don't load whole tiles.
    pub(crate) fn of_depth(depth: usize) -> Self {
        let mut steps = Self::of_panel((0..depth).step_by(STEP));
        steps.last = depth - (steps.len() - 1) * STEP;
        steps
    }

    /// Of a left operand and a packed panel of two tiles across.
    pub(crate) fn of_panel(left: impl Iterator<Item = usize> + Clone) -> Self {
        Self::new(left.enumerate().map(|(step, left)| [left, step * STEP * BLOCK]))
    }

    /// Left and right, in bytes; within what [`TileBlock::check`] checks.
    pub(super) fn offsets(&self) -> &[[usize; 2]] {
        self.offsets.as_chunks().0
    }

    pub(super) fn len(&self) -> usize {
        self.offsets().len()
    }

    /// Pairs of depths of the last step.
    pub(super) fn last_pairs(&self) -> usize {
        self.last.div_ceil(2)
    }

    pub(super) fn are_whole(&self) -> bool {
        self.last == STEP
    }
}

/// How much of a block there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// 1 to 32 rows, or more where they are finished in registers; the rest of their last tile is multiplied or not (see
    /// [`TileUnit::loads_whole_tiles`]).
    pub(crate) rows: usize,
    /// 1 or 2 tiles across: those of the right operand.
    pub(crate) across: usize,
}

impl Operand<'_> {
    /// # Panics
    /// If `rows` rows of `length` values that start up to `furthest` are not all inside.
    fn check(&self, furthest: usize, rows: usize, length: usize) {
        let last_row = (rows - 1) % TILE * self.row + (rows - 1) / TILE * self.second;
        let last = furthest + last_row + length;
        assert!(last <= self.values.len(), "tiles reach {last} of {} values", self.values.len());
    }
}

/// One block of the product of two operands.
#[derive(Clone, Copy)]
pub(crate) struct TileBlock<'a> {
    pub(crate) left: Operand<'a>,
    pub(crate) right: Operand<'a>,
    pub(crate) steps: &'a Steps,
    pub(crate) shape: Shape,
}

impl Shape {
    /// 1 or 2 tiles down: those of the left operand.
    pub(super) fn down(self) -> usize {
        self.rows.div_ceil(TILE)
    }
}

impl TileBlock<'_> {
    /// # Panics
    /// If an operand is not as large as the steps need, where that many rows of the left one are loaded, or there are no steps.
    pub(super) fn check(&self, rows: usize) {
        assert!((1..=BLOCK).contains(&self.shape.rows));
        self.check_operands(rows);
    }

    /// The same for any number of rows.
    pub(super) fn check_operands(&self, rows: usize) {
        let Self { left, right, steps, shape } = self;
        assert!(steps.len() > 0 && rows > 0 && (1..=2).contains(&shape.across));
        // Only steps over values that follow each other end with one that is not whole: the furthest.
        left.check(steps.furthest[0], rows, 2 * steps.last_pairs());
        right.check(steps.furthest[1], shape.across * TILE, STEP);
    }
}

/// What a block's sums start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    Zero,
    /// What is there already.
    Sums,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::finish;
    use crate::epilogue::MomentParts;
    use crate::isa::Isa;

    /// A value for each place, small enough that sums are exact.
    fn value(place: usize) -> f32 {
        (place * 7 % 11) as f32 - 5.0
    }

    #[test]
    fn blocks_of_every_shape_are_products() {
        let width = 9 * STEP;
        let left: Vec<_> = (0..BLOCK * width).map(|place| Bf16::from_f32(value(place))).collect();
        let right: Vec<_> = (0..width * BLOCK).map(|place| Bf16::from_f32(value(place + 3))).collect();
        let depths = [STEP, width, width - 20, 2 * STEP + 2];
        for (unit, depth) in TileUnit::available().into_iter().flat_map(|unit| depths.map(|d| (unit, d))) {
            if unit.loads_whole_tiles() && !depth.is_multiple_of(STEP) {
                continue;
            }
            let steps = Steps::of_depth(depth);
            for (rows, across) in (1..=BLOCK).flat_map(|rows| [(rows, 1), (rows, 2)]) {
                // `right`: pairs of the depth, then columns.
                let block = TileBlock {
                    left: Operand { values: &left, row: width, second: TILE * width },
                    right: Operand { values: &right, row: 2 * BLOCK, second: 2 * TILE },
                    steps: &steps,
                    shape: Shape { rows, across },
                };
                let tiles = unit.configure();
                let mut sums = [1.0; BLOCK * BLOCK];
                tiles.multiply(block, First::Zero, &mut sums);
                tiles.multiply(block, First::Sums, &mut sums);
                for row in 0..rows {
                    for column in 0..across * TILE {
                        let product = |k: usize| {
                            let right = value((k / 2 * BLOCK + column) * 2 + k % 2 + 3);
                            value(row * width + k) * right
                        };
                        let expected: f32 = 2.0 * (0..depth).map(product).sum::<f32>();
                        let sum = sums[row * BLOCK + column];
                        assert_eq!(
                            sum, expected,
                            "{unit:?}, {depth} deep, {rows} x {across} at {row}, {column}"
                        );
                    }
                }
            }
        }
    }

    const KINDS: [Activation; 6] = [
        Activation::Identity,
        Activation::Relu,
        Activation::Relu6,
        Activation::Silu,
        Activation::HardSwish,
        Activation::Sigmoid,
    ];

    #[test]
    fn rows_are_finished_in_registers_as_they_are_in_memory() {
        for unit in TileUnit::available().into_iter().filter(|unit| !unit.loads_whole_tiles()) {
            // Rows, depth, and rows at once.
            for (rows, depth, at_once) in [
                (7, STEP, 0),
                (8, STEP, 8),
                (12, 9 * STEP, 12),
                (31, 6, 31),
                (75, 8 * STEP, 75),
                (100, 9 * STEP, 32),
            ] {
                for columns in [1, 8, 16, 17, 24, 32] {
                    for (activation, with) in
                        KINDS.into_iter().flat_map(|kind| COMBINATIONS.map(|with| (kind, with)))
                    {
                        let is_fit = activation == Activation::Identity
                            || (activation != Activation::Sigmoid && !with[2]);
                        let expected = if is_fit { at_once } else { 0 };
                        Problem { rows, depth, columns, activation, with }.check(unit, expected);
                    }
                }
            }
        }
    }

    /// With bias, shortcut, moments.
    const COMBINATIONS: [[bool; 3]; 5] =
        [[false; 3], [true, false, false], [true, true, false], [false, false, true], [true, false, true]];

    #[derive(Debug)]
    struct Problem {
        rows: usize,
        depth: usize,
        columns: usize,
        activation: Activation,
        /// Bias, shortcut, moments.
        with: [bool; 3],
    }

    struct Made {
        rows: usize,
        /// Bits of the rows and of what lies between them.
        output: Vec<u16>,
        moments: Vec<f32>,
    }

    impl Problem {
        const PIXEL: usize = BLOCK + 3;

        fn check(&self, unit: TileUnit, rows: usize) {
            let (registers, memory) = (self.in_registers(unit), self.in_memory(unit));
            assert_eq!([registers.rows, memory.rows], [rows; 2], "{unit:?} {self:?}");
            assert!(registers.output == memory.output, "{unit:?} {self:?}");
            // Their squares are too large to be exact in any order.
            let is_near =
                |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || (a - b).abs() <= 1e-6 * b.abs();
            assert!(registers.moments.iter().zip(&memory.moments).all(is_near), "{unit:?} {self:?}");
        }

        fn in_registers(&self, unit: TileUnit) -> Made {
            let mut sums = [f32::NAN; BLOCK * BLOCK];
            self.run(|block, finish| unit.configure().multiply_and_finish(block, &mut sums, finish))
        }

        fn in_memory(&self, unit: TileUnit) -> Made {
            let mut sums = [f32::NAN; BLOCK * BLOCK];
            // Whose functions the unit has.
            let isa = match unit {
                TileUnit::Plain(_) => Isa::portable(),
                _ => *Isa::available().last().expect("the portable one"),
            };
            self.run(|mut block, mut rows| {
                let (left, count) = (block.left, super::super::dot::rows_at_once(&block, &rows));
                for first in (0..count).step_by(BLOCK) {
                    block.left.values = &left.values[first * left.row..];
                    block.shape.rows = BLOCK.min(count - first);
                    unit.configure().multiply(block, First::Zero, &mut sums);
                    finish(isa, self.activation, &sums, rows.without(first).block(block.shape.rows));
                }
                count
            })
        }

        fn run(&self, multiply: impl FnOnce(TileBlock<'_>, FinishRows<'_>) -> usize) -> Made {
            let bf16 = |count: usize, first: usize| -> Vec<Bf16> {
                (first..first + count).map(|place| Bf16::from_f32(value(place))).collect()
            };
            let width = self.depth.next_multiple_of(STEP);
            let (left, right) = (bf16(self.rows * width, 0), bf16(width * BLOCK, 3));
            let shortcut = bf16(self.rows * Self::PIXEL, 5);
            let bias: Vec<f32> = (7..7 + self.columns).map(value).collect();
            let mut output = vec![Bf16::from_f32(f32::NAN); self.rows * Self::PIXEL];
            let mut moments = MomentParts::new(self.with[2].then_some(1), self.columns);
            let mut part = moments.parts().next().flatten();
            part.iter_mut().for_each(PartMoments::start);
            let block = TileBlock {
                left: Operand { values: &left, row: width, second: TILE * width },
                right: Operand { values: &right, row: 2 * BLOCK, second: 2 * TILE },
                steps: &Steps::of_depth(self.depth),
                shape: Shape { rows: self.rows, across: self.columns.div_ceil(TILE) },
            };
            let finish = FinishRows {
                activation: self.activation,
                columns: self.columns,
                bias: self.with[0].then_some(&bias),
                shortcut: self.with[1].then_some(&shortcut),
                shortcut_pixel: Self::PIXEL,
                output: &mut output,
                pixel: Self::PIXEL,
                part: part.as_mut().map(|part| part.channels(0..self.columns)),
            };
            let rows = multiply(block, finish);
            let part = part.iter().flat_map(|part| [&part.pivots[..], part.sums, part.squares].concat());
            let moments = part.collect();
            Made { rows, output: output.iter().map(|value| value.to_bits()).collect(), moments }
        }
    }
}
