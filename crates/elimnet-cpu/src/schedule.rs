//! When a training step writes and reads each of its buffers, forwards and backwards, and where they lie.
//!
//! Moments: value 0 is there at moment 0, step `i` of `n` runs at `i + 1`, and backwards at `2 n - i`.

use elimnet_arch::Activation;

use crate::arena::{BufferId, Lifetime};
use crate::plan::{ConvStep, Kind, Plan, Step, ValueId};
use crate::slabs::{Kept, Placement};

/// Buffers of a training step. Values have the buffers of their own numbers.
#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) placement: Placement,
    /// By step: what a convolution put out, before all that follows it; where the backward pass needs it.
    pub(crate) convolved: Vec<Option<BufferId>>,
    /// By value: its gradient; none where nobody wants it.
    pub(crate) gradients: Vec<Option<BufferId>>,
    /// By step and input: how the gradient reaches the input.
    pub(crate) handing: Vec<[Handing; 2]>,
    /// By step: the global pooling that is done with the step, as its values are made.
    pub(crate) pooled: Vec<Option<usize>>,
    /// By step: the max pooling that is done with the convolution's step, both ways.
    pub(crate) maxima: Vec<Option<MaxPooled>>,
    /// By step: the squeeze and excitation that it is part of, where the backward pass takes that at once.
    pub(crate) excitations: Vec<Option<Excitation>>,
    /// By value: whether nobody reads it, so that it is not written at all.
    pub(crate) is_idle: Vec<bool>,
    /// By step: the gradient of what a convolution put out, where it is not made in place.
    pub(crate) spare: Vec<Option<BufferId>>,
}

/// A convolution with batch norm, the pooling of its output, and the scaling of its output by what became of that: the steps
/// between which the gradient of that output is never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Excitation {
    pub(crate) conv: usize,
    pub(crate) pool: usize,
    pub(crate) scale: usize,
}

/// The max pooling of what a convolution with batch norm and ReLU puts out, where nobody else reads that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MaxPooled {
    pub(crate) pool: usize,
    /// Where what the batch norm had got at the maxima is kept.
    pub(crate) inputs: BufferId,
}

/// How a step hands a gradient to one of its inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Handing {
    /// The input wants none.
    #[default]
    Nothing,
    /// It is the first: written to the input's own buffer.
    First,
    /// It is the first, and the buffer is that of the output's gradient.
    InPlace,
    /// Others came before: what is written to this buffer is added.
    Added(BufferId),
}

/// Whether the gradient of the activation can be taken at its output in place of its input.
pub(crate) fn derivable_from_output(activation: Activation) -> bool {
    matches!(activation, Activation::Identity | Activation::Relu | Activation::Relu6)
}

/// Whether what leaves the convolution must be kept apart from what leaves the step.
pub(crate) fn keeps_convolved(conv: &ConvStep) -> bool {
    conv.norm.is_some() || !derivable_from_output(conv.activation)
}

impl Schedule {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut planner = Planner::new(plan);
        planner.pool();
        planner.pool_maxima();
        planner.values();
        planner.gradients();
        planner.finish()
    }
}

struct Planner<'a> {
    plan: &'a Plan,
    buffers: Vec<(Kept, Lifetime)>,
    convolved: Vec<Option<BufferId>>,
    gradients: Vec<Option<BufferId>>,
    handing: Vec<[Handing; 2]>,
    pooled: Vec<Option<usize>>,
    maxima: Vec<Option<MaxPooled>>,
    excitations: Vec<Option<Excitation>>,
    is_idle: Vec<bool>,
    spare: Vec<Option<BufferId>>,
}

impl<'a> Planner<'a> {
    fn new(plan: &'a Plan) -> Self {
        let (steps, values) = (plan.steps.len(), plan.shapes.len());
        let value = |value: ValueId| {
            let len = plan.shapes[value].len();
            (plan.kept(value), Lifetime { len, first: 0, last: 0 })
        };
        Self {
            plan,
            buffers: (0..values).map(value).collect(),
            convolved: vec![None; steps],
            gradients: vec![None; values],
            handing: vec![[Handing::Nothing; 2]; steps],
            pooled: vec![None; steps],
            maxima: vec![None; steps],
            excitations: vec![None; steps],
            is_idle: vec![false; values],
            spare: vec![None; steps],
        }
    }

    /// A new buffer like that of `value`.
    fn like(&mut self, value: ValueId, first: usize, last: usize) -> BufferId {
        let len = self.plan.shapes[value].len();
        self.buffers.push((self.plan.kept(value), Lifetime { len, first, last }));
        self.buffers.len() - 1
    }

    fn extend(&mut self, buffer: BufferId, moment: usize) {
        let lifetime = &mut self.buffers[buffer].1;
        lifetime.last = lifetime.last.max(moment);
    }

    fn backward_moment(&self, step: usize) -> usize {
        2 * self.plan.steps.len() - step
    }

    /// Finds convolutions, with batch norm, whose output goes into a global pooling.
    fn pool(&mut self) {
        for (index, step) in self.plan.steps.iter().enumerate() {
            let is_fit = matches!(&step.kind, Kind::Conv(conv) if conv.norm.is_some() && !conv.shortcut);
            if !is_fit || self.plan.kept(step.output) != Kept::Pixels {
                continue;
            }
            let reads = |(_, reader): &(usize, &Step)| reader.inputs.contains(&step.output);
            let readers: Vec<(usize, &Step)> = self.plan.steps.iter().enumerate().filter(reads).collect();
            let pool = readers.iter().find(|(_, reader)| matches!(reader.kind, Kind::GlobalAvgPool));
            self.pooled[index] = pool.map(|&(pool, _)| pool);
            if pool.is_some() && readers.len() == 1 && step.output != self.plan.output() {
                self.is_idle[step.output] = true;
                self.buffers[step.output].1.len = 0;
            }
            if let [(pool, squeeze), (scale, Step { kind: Kind::Scale, inputs, .. })] = readers[..]
                && matches!(squeeze.kind, Kind::GlobalAvgPool)
                && inputs[0] == step.output
                && step.output != self.plan.output()
            {
                for part in [index, pool, scale] {
                    self.excitations[part] = Some(Excitation { conv: index, pool, scale });
                }
            }
        }
    }

    /// Finds convolutions, with batch norm and ReLU, whose output goes into a max pooling and nowhere else.
    fn pool_maxima(&mut self) {
        let plan = self.plan;
        for (index, step) in plan.steps.iter().enumerate() {
            let is_fit = matches!(&step.kind, Kind::Conv(conv)
                if conv.norm.is_some() && !conv.shortcut && conv.activation == Activation::Relu);
            let mut readers =
                plan.steps.iter().enumerate().filter(|(_, reader)| reader.inputs.contains(&step.output));
            if let (true, Some((pool, Step { kind: Kind::MaxPool(_), output, .. })), None) =
                (is_fit, readers.next(), readers.next())
                && plan.kept(step.output) == Kept::Pixels
                && step.output != plan.output()
            {
                let inputs = self.like(*output, index + 1, self.backward_moment(index));
                self.maxima[index] = Some(MaxPooled { pool, inputs });
                self.is_idle[step.output] = true;
                self.buffers[step.output].1.len = 0;
            }
        }
    }

    /// The convolution whose step does the max pooling of step `index`.
    fn pooled_by(&self, index: usize) -> Option<usize> {
        self.maxima.iter().position(|maxima| maxima.is_some_and(|maxima| maxima.pool == index))
    }

    /// Values and what is kept beside them.
    fn values(&mut self) {
        for (index, step) in self.plan.steps.iter().enumerate() {
            let (now, later) = (index + 1, self.backward_moment(index));
            self.buffers[step.output].1.first = now;
            self.extend(step.output, now);
            step.inputs.iter().for_each(|&input| self.extend(input, now));
            match self.excitations[index] {
                Some(excitation) if excitation.scale == index => {
                    self.extend(step.inputs[1], self.backward_moment(excitation.conv));
                }
                _ => backward_reads(step).into_iter().for_each(|value| self.extend(value, later)),
            }
            if let Kind::Conv(conv) = &step.kind
                && keeps_convolved(conv)
            {
                self.convolved[index] = Some(self.like(step.output, now, later));
            }
        }
        for (index, (pool, maxima)) in self.pooled.iter().zip(&self.maxima).enumerate() {
            if let Some(pool) = pool.or(maxima.map(|maxima| maxima.pool)) {
                self.buffers[self.plan.steps[pool].output].1.first = index + 1;
            }
        }
        // The logits are read between the passes.
        self.extend(self.plan.output(), self.plan.steps.len());
    }

    /// Gradients, in the order in which the backward pass makes them.
    fn gradients(&mut self) {
        let Some(last) = self.plan.steps.len().checked_sub(1) else { return };
        let begin = self.backward_moment(last);
        self.gradients[self.plan.output()] = Some(self.like(self.plan.output(), begin, begin));
        for (index, step) in self.plan.steps.iter().enumerate().rev() {
            let now = self.backward_moment(index);
            let Some(own) = self.gradients[step.output] else { continue };
            self.extend(own, now);
            if needs_spare(step) {
                self.spare[index] = Some(self.like(step.output, now, now));
            }
            if let Some(conv) = self.pooled_by(index) {
                let then = self.backward_moment(conv);
                self.extend(own, then);
                self.gradients[step.inputs[0]] = Some(self.like(step.inputs[0], then, then));
                continue;
            }
            for (position, &input) in step.inputs.iter().enumerate() {
                self.handing[index][position] = match self.excitations[index] {
                    Some(excitation) if excitation.pool == index => {
                        self.extend(own, self.backward_moment(excitation.conv));
                        Handing::Nothing
                    }
                    Some(excitation) if excitation.scale == index && position == 0 => {
                        self.gradients[input] = Some(own);
                        Handing::InPlace
                    }
                    _ => self.hand(step, position, input, own, now),
                };
            }
        }
    }

    fn hand(&mut self, step: &Step, position: usize, input: ValueId, own: BufferId, now: usize) -> Handing {
        if input == 0 {
            return Handing::Nothing;
        }
        if let Some(gradient) = self.gradients[input] {
            self.extend(gradient, now);
            let is_own = matches!(step.kind, Kind::Add) || passes_gradient_on(step) == Some(position);
            return Handing::Added(if is_own { own } else { self.like(input, now, now) });
        }
        if passes_gradient_on(step) == Some(position) && self.plan.kept(input) == self.plan.kept(step.output)
        {
            self.gradients[input] = Some(own);
            return Handing::InPlace;
        }
        self.gradients[input] = Some(self.like(input, now, now));
        Handing::First
    }

    fn finish(self) -> Schedule {
        Schedule {
            placement: Placement::new(&self.buffers),
            convolved: self.convolved,
            gradients: self.gradients,
            handing: self.handing,
            pooled: self.pooled,
            maxima: self.maxima,
            excitations: self.excitations,
            is_idle: self.is_idle,
            spare: self.spare,
        }
    }
}

/// Values that the backward pass of a step reads.
fn backward_reads(step: &Step) -> Vec<ValueId> {
    match &step.kind {
        Kind::Conv(conv) => {
            let mut values = vec![step.inputs[0]];
            match conv.norm {
                Some(_) if conv.shortcut => values.push(step.inputs[1]),
                None if derivable_from_output(conv.activation) => values.push(step.output),
                _ => {}
            }
            values
        }
        Kind::Activation(Activation::Softmax) => vec![step.output],
        Kind::Norm(_) | Kind::Activation(_) | Kind::Linear { .. } => vec![step.inputs[0]],
        Kind::Scale => step.inputs.clone(),
        _ => Vec::new(),
    }
}

/// Whether the gradient of what a convolution put out needs a buffer of its own: that of the output is still wanted, or
/// the activation's gradient is not made in place.
fn needs_spare(step: &Step) -> bool {
    match &step.kind {
        Kind::Conv(conv) => match conv.norm {
            Some(_) => conv.shortcut,
            None => conv.activation != Activation::Identity,
        },
        _ => false,
    }
}

/// The input whose gradient is that of the output, or is made of it in place.
fn passes_gradient_on(step: &Step) -> Option<usize> {
    match &step.kind {
        Kind::Conv(conv) if conv.shortcut => Some(1),
        Kind::Add | Kind::Norm(_) | Kind::Dropout { .. } | Kind::StochasticDepth(_) => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use elimnet_arch::zoo;

    use super::Schedule;
    use crate::plan::{Kind, Mode, Plan};

    #[test]
    fn max_pooling_behind_batch_norm_is_done_with_the_convolution() {
        for (name, expected) in
            [("resnet18", vec![(0, 1)]), ("vgg11", vec![]), ("mobilenet_v3_small", vec![])]
        {
            let network = zoo::by_name(name, 10).unwrap();
            let blocks = 0..network.all_blocks().count();
            let plan = Plan::new(&network, blocks, network.input_shape(64), Mode::Training).unwrap();
            let schedule = Schedule::new(&plan);
            let found = schedule.maxima.iter().enumerate();
            let found: Vec<_> = found.filter_map(|(conv, maxima)| Some((conv, (*maxima)?.pool))).collect();
            assert_eq!(found, expected, "{name}");
            for (conv, pool) in found {
                assert!(matches!(plan.steps[pool].kind, Kind::MaxPool(_)));
                assert!(schedule.is_idle[plan.steps[conv].output], "what lies between is not written");
            }
        }
    }
}
