//! Everything that a training step needs beside the parameters: plan, packed filters, statistics, memory.

use elimnet_arch::{Network, Shape, ShapeError};
use elimnet_engine::{EngineError, PassTimes};
use elimnet_kernels::{ExciteSums, Isa, Kernels, PackedFilter};

use crate::geometry::Geometry;
use crate::parameters::Parameters;
use crate::plan::{ConvStep, Kind, Mode, NormStep, Plan, Step};
use crate::schedule::Schedule;
use crate::slabs::{Kept, Places, Slabs};

/// A training pass over some blocks, ready to run.
#[derive(Debug)]
pub(crate) struct TrainingPass<E> {
    pub(crate) isa: Isa,
    pub(crate) input: Shape,
    pub(crate) plan: Plan,
    pub(crate) schedule: Schedule,
    pub(crate) filters: Vec<Filters<E>>,
    /// Whether the filters are those of the parameters as they are.
    is_packed: bool,
    pub(crate) states: Vec<State>,
    /// By step that is squeezed and excited: its sums on the way backwards.
    pub(crate) excite_sums: Vec<ExciteSums>,
    pub(crate) slabs: Slabs<E>,
    /// Images of the forward pass that a backward pass may follow.
    pub(crate) count: usize,
    pub(crate) randomness: u64,
    /// Of the last forward pass and the backward pass after it, by block of the network.
    pub(crate) times: Vec<PassTimes>,
}

/// Filters of a step, for the output and for the gradient of the input.
#[derive(Debug)]
pub(crate) enum Filters<E> {
    Nothing,
    Pixels(Pair<E>),
    Vector(Pair<f32>),
}

#[derive(Debug)]
pub(crate) struct Pair<A> {
    pub(crate) forward: PackedFilter<A>,
    /// None where the input wants no gradient.
    pub(crate) backward: Option<PackedFilter<A>>,
}

/// What the backward pass needs of a step beside values.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Mean of the batch by channel.
    pub(crate) mean: Vec<f32>,
    /// One over the standard deviation.
    pub(crate) inverse_std: Vec<f32>,
    /// Which pixel of each window won.
    pub(crate) taps: Vec<u8>,
    /// Of stochastic depth, one an image; empty where there is none.
    pub(crate) factors: Vec<f32>,
}

impl<E: Kernels> TrainingPass<E> {
    /// Plans and packs blocks `frozen_blocks..` for images of shape `input`.
    pub(crate) fn new(
        isa: Isa,
        network: &Network,
        frozen_blocks: usize,
        input: Shape,
        parameters: &Parameters,
    ) -> Result<Self, ShapeError> {
        let blocks = network.all_blocks().count();
        let plan = Plan::new(network, frozen_blocks..blocks, input, Mode::Training)?;
        let geometry = Geometry { plan: &plan, count: 1 };
        let filters = plan.steps.iter().map(|step| Filters::new(isa, geometry, step, parameters)).collect();
        let states = plan.steps.iter().map(|step| State::new(geometry, step)).collect();
        let excite_sums = vec![ExciteSums::default(); plan.steps.len()];
        Ok(Self {
            isa,
            input,
            schedule: Schedule::new(&plan),
            plan,
            filters,
            is_packed: true,
            states,
            excite_sums,
            slabs: Slabs::default(),
            count: 0,
            randomness: 0,
            times: vec![PassTimes::default(); blocks],
        })
    }

    /// Says that the parameters have changed.
    pub(crate) fn forget_filters(&mut self) {
        self.is_packed = false;
    }

    /// Packs the filters again where the parameters have changed.
    pub(crate) fn pack(&mut self, parameters: &Parameters) {
        if std::mem::replace(&mut self.is_packed, true) {
            return;
        }
        for (filters, step) in self.filters.iter_mut().zip(&self.plan.steps) {
            let Some(weight) = step.weight() else { continue };
            match filters {
                Filters::Nothing => {}
                Filters::Pixels(pair) => pair.repack(&parameters.values[weight]),
                Filters::Vector(pair) => pair.repack(&parameters.values[weight]),
            }
        }
    }

    /// Checks what must hold for a batch of `count` images before anything changes.
    pub(crate) fn check(&self, count: usize, parameters: &Parameters) -> Result<(), EngineError> {
        for step in &self.plan.steps {
            if let Some(norm) = step.norm()
                && count * self.plan.shapes[step.output].pixels() < 2
            {
                let tensor = parameters.specs[norm.weight].name.clone();
                return Err(EngineError::SingleValue { tensor });
            }
        }
        Ok(())
    }

    /// Where the input of `count` images goes.
    pub(crate) fn input(&mut self, count: usize) -> &mut [E] {
        self.slabs.reserve(&self.schedule.placement, count);
        self.slabs.pixels.write(Places { placement: &self.schedule.placement, count }.pixels(0))
    }

    /// Bytes of filters, values, gradients, statistics.
    pub(crate) fn bytes(&self) -> usize {
        let states = self.states.iter().map(|state| {
            size_of_val(&state.mean[..]) + size_of_val(&state.inverse_std[..]) + state.taps.len()
        });
        let filters = self.filters.iter().map(|filters| match filters {
            Filters::Nothing => 0,
            Filters::Pixels(pair) => pair.bytes(),
            Filters::Vector(pair) => pair.bytes(),
        });
        self.slabs.bytes() + states.sum::<usize>() + filters.sum::<usize>()
    }
}

impl State {
    fn new(geometry: Geometry<'_>, step: &Step) -> Self {
        let channels = step.norm().map_or(0, |_| geometry.shape(step.output).channels);
        Self {
            mean: vec![0.0; channels],
            inverse_std: vec![0.0; channels],
            taps: Vec::new(),
            factors: Vec::new(),
        }
    }

    /// What stochastic depth multiplies by, if it does.
    pub(crate) fn depth(&self) -> Option<&[f32]> {
        (!self.factors.is_empty()).then_some(&self.factors)
    }
}

impl<E: Kernels> Filters<E> {
    fn new(isa: Isa, geometry: Geometry<'_>, step: &Step, parameters: &Parameters) -> Self {
        let Some(weight) = step.weight().map(|weight| &parameters.values[weight][..]) else {
            return Self::Nothing;
        };
        match geometry.plan.kept(step.inputs[0]) {
            Kept::Pixels => Self::Pixels(Pair::new(isa, geometry, step, weight)),
            Kept::Vector => Self::Vector(Pair::new(isa, geometry, step, weight)),
        }
    }
}

impl<A: Kernels> Pair<A> {
    fn new(isa: Isa, geometry: Geometry<'_>, step: &Step, weight: &[f32]) -> Self {
        let with_gradient = step.inputs[0] != 0;
        match &step.kind {
            Kind::Conv(ConvStep { conv, .. }) => {
                let shape = geometry.conv(step, conv);
                Self {
                    forward: PackedFilter::winograd_forward(isa, &shape, weight),
                    backward: with_gradient
                        .then(|| PackedFilter::winograd_input_gradient(isa, &shape, weight)),
                }
            }
            _ => {
                let sizes = geometry.linear(step);
                Self {
                    forward: PackedFilter::linear(isa, &sizes, weight),
                    backward: with_gradient.then(|| PackedFilter::linear_input_gradient(isa, &sizes, weight)),
                }
            }
        }
    }

    fn repack(&mut self, weight: &[f32]) {
        self.forward.repack(weight);
        if let Some(backward) = &mut self.backward {
            backward.repack(weight);
        }
    }

    fn bytes(&self) -> usize {
        self.forward.bytes() + self.backward.as_ref().map_or(0, PackedFilter::bytes)
    }
}

impl Step {
    /// Index of the tensor that the step multiplies with.
    pub(crate) fn weight(&self) -> Option<usize> {
        match self.kind {
            Kind::Conv(ConvStep { weight, .. }) | Kind::Linear { weight, .. } => Some(weight),
            _ => None,
        }
    }

    /// Its batch norm.
    pub(crate) fn norm(&self) -> Option<&NormStep> {
        match &self.kind {
            Kind::Conv(conv) => conv.norm.as_ref(),
            Kind::Norm(norm) => Some(norm),
            _ => None,
        }
    }
}
