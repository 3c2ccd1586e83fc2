//! Pairs of steps that an inference pass runs as one: a convolution that expands channels, and the depthwise one behind it.

use elimnet_kernels::{Isa, Kernels, fuses};

use crate::geometry::Geometry;
use crate::plan::{Kind, Plan};
use crate::slabs::Kept;

/// Which steps are made by the step behind them.
#[derive(Debug)]
pub(crate) struct Expansions(Vec<bool>);

impl Expansions {
    /// Those of an inference plan whose pixels are kept as `E`.
    pub(crate) fn of<E: Kernels>(isa: Isa, plan: &Plan) -> Self {
        Self((0..plan.steps.len()).map(|index| is_expansion::<E>(isa, plan, index)).collect())
    }

    /// Whether the step at `index` is made by the one behind it.
    pub(crate) fn contains(&self, index: usize) -> bool {
        self.0[index]
    }

    /// Whether the step at `index` makes the one before it too.
    pub(crate) fn ends_at(&self, index: usize) -> bool {
        index > 0 && self.0[index - 1]
    }
}

fn is_expansion<E: Kernels>(isa: Isa, plan: &Plan, index: usize) -> bool {
    let [step, next, ..] = &plan.steps[index..] else { return false };
    let (Kind::Conv(dense), Kind::Conv(depthwise)) = (&step.kind, &next.kind) else { return false };
    let between = step.output;
    let is_between = next.inputs == [between]
        && plan.last_reader[between] == index + 1
        && !plan.block_outputs.contains(&between)
        && step.inputs.len() == 1
        && [step.inputs[0], between].iter().all(|&value| plan.kept(value) == Kept::Pixels);
    let geometry = Geometry { plan, count: 1 };
    is_between && fuses::<E>(isa, &geometry.conv(step, &dense.conv), &geometry.conv(next, &depthwise.conv))
}
