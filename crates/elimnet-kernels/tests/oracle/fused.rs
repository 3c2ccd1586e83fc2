//! Batch norm with what stands behind it, against the chain of plain f64 steps.

use elimnet_kernels::{
    Activation, BatchNorm, Bf16, ExciteSums, Images, Kernels, NormActivation, NormGradients, Shortcut,
    reference,
};

use super::activations::KINDS;
use super::compare::within;
use super::run::{Numbers, on_every_isa, widen};
use super::stored::{elements, floats, rounded, stale};

const EPSILON: f64 = 1e-5;

/// Images, pixels, channels: around the lanes, the folding of short rows, several tasks.
const SHAPES: [[usize; 3]; 9] = [
    [2, 9, 1],
    [3, 5, 3],
    [2, 8, 16],
    [3, 7, 17],
    [2, 25, 24],
    [1, 700, 40],
    [4, 9, 960],
    [2, 1500, 33],
    [5, 3, 129],
];

/// What stands between a norm and its activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    Nothing,
    Shortcut,
    /// Stochastic depth and a shortcut.
    Depth,
}

/// A problem whose values are exact in both element types.
pub(crate) struct Problem {
    images: Images,
    pub(crate) y: Vec<f32>,
    shortcut: Vec<f32>,
    /// Of stochastic depth, one an image.
    factors: Vec<f32>,
    dz: Vec<f32>,
    mean: Vec<f32>,
    inverse_std: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    /// `[batch, channels]`
    scale: Vec<f32>,
    mean_gradient: Vec<f32>,
}

impl Problem {
    pub(crate) fn new([batch, pixels, channels]: [usize; 3]) -> Self {
        let mut numbers = Numbers::new(7);
        let mut reals = |count: usize| rounded::<Bf16>(numbers.reals(count));
        let length = batch * pixels * channels;
        let y = rounded::<Bf16>(reals(length).iter().map(|y| 2.0 * y + 0.5).collect());
        let (mean, variance) = reference::batch_statistics(channels, &widen(&y));
        Self {
            images: Images { batch, pixels, channels },
            y,
            // Sums reach beyond where activations bend.
            shortcut: reals(length).iter().map(|value| 2.0 * value).collect(),
            factors: (0..batch).map(|image| if image % 3 == 1 { 0.0 } else { 1.25 }).collect(),
            dz: reals(length),
            mean: mean.iter().map(|mean| *mean as f32).collect(),
            inverse_std: variance.iter().map(|v| (1.0 / (v + EPSILON).sqrt()) as f32).collect(),
            weight: reals(channels),
            bias: reals(channels).iter().map(|value| 6.0 * value).collect(),
            scale: reals(batch * channels),
            mean_gradient: reals(batch * channels),
        }
    }

    pub(crate) fn fused(&self, activation: Activation) -> NormActivation<'_> {
        let norm = BatchNorm { mean: &self.mean, inverse_std: &self.inverse_std, weight: &self.weight };
        NormActivation { norm, bias: &self.bias, activation }
    }

    /// What goes into the activation.
    pub(crate) fn before(&self, behind: Behind) -> Vec<f64> {
        let [y, mean, inverse_std, weight, bias] =
            [&self.y, &self.mean, &self.inverse_std, &self.weight, &self.bias].map(|values| widen(values));
        let mut values = reference::normalize(&y, &mean, &inverse_std, &weight, &bias);
        for (index, (value, shortcut)) in values.iter_mut().zip(&self.shortcut).enumerate() {
            if behind != Behind::Nothing {
                *value = *value * self.factor(behind, index) + f64::from(*shortcut);
            }
        }
        values
    }

    /// What multiplies the norm's output.
    fn factor(&self, behind: Behind, index: usize) -> f64 {
        match behind {
            Behind::Depth => f64::from(self.factors[index / (self.images.pixels * self.images.channels)]),
            _ => 1.0,
        }
    }

    fn shortcut<'a, E>(&'a self, behind: Behind, values: &'a [E]) -> Option<Shortcut<'a, E>> {
        match behind {
            Behind::Nothing => None,
            Behind::Shortcut => Some(Shortcut::new(values)),
            Behind::Depth => Some(Shortcut { values, depth: Some(&self.factors) }),
        }
    }

    fn pooled(&self, index: usize) -> usize {
        let Images { pixels, channels, .. } = self.images;
        index / (pixels * channels) * channels + index % channels
    }
}

/// What storing as `E` may add to a value: half a unit in the last place, and the cheaper functions' error.
pub(crate) fn rounding<E: Kernels>(value: f64) -> f64 {
    if size_of::<E>() == 2 { 4.5e-3 * value.abs() + 1e-4 } else { 0.0 }
}

fn each_case(check: impl Fn(&Problem, Activation)) {
    for shape in SHAPES {
        let problem = Problem::new(shape);
        KINDS.iter().for_each(|kind| check(&problem, *kind));
    }
}

fn forward<E: Kernels>(problem: &Problem, kind: Activation) {
    let values = |behind| -> Vec<f64> {
        problem.before(behind).iter().map(|x| reference::activation(kind, *x)).collect()
    };
    let [plain, summed, scaled] = [Behind::Nothing, Behind::Shortcut, Behind::Depth].map(values);
    let mut means = vec![0.0; problem.scale.len()];
    for (index, value) in plain.iter().enumerate() {
        means[problem.pooled(index)] += value / problem.images.pixels as f64;
    }
    let expected = [&plain[..], &summed, &scaled, &plain, &means, &means].concat();
    let stored = 4 * plain.len();
    let bounds: Vec<_> = (0..expected.len())
        .map(|i| 1e-4 * f64::from(u8::from(i >= stored)) + 1e-5 + rounding::<E>(expected[i]))
        .collect();
    let (y, shortcut) = (elements::<E>(&problem.y), elements::<E>(&problem.shortcut));
    let fused = problem.fused(kind);
    for (isa, actual) in on_every_isa(|isa| {
        let normalized = [Behind::Nothing, Behind::Shortcut, Behind::Depth].map(|behind| {
            let mut z = stale::<E>(y.len());
            E::normalize_activate(isa, &fused, &y, problem.shortcut(behind, &shortcut), &mut z);
            floats(&z)
        });
        let mut again = stale::<E>(y.len());
        let [mut means, mut only_means] = [(); 2].map(|()| vec![f32::NAN; problem.scale.len()]);
        E::normalize_activate_pool(isa, problem.images, &fused, &y, Some(&mut again), &mut means);
        E::normalize_activate_pool(isa, problem.images, &fused, &y, None, &mut only_means);
        [normalized.concat(), floats(&again), means, only_means].concat()
    }) {
        let difference = within(&actual, &expected, &bounds);
        assert_eq!(difference, None, "{isa} {kind:?} {:?} {} bytes", problem.images, size_of::<E>());
    }
}

#[test]
fn forward_is_the_chain_of_its_steps() {
    each_case(forward::<f32>);
    each_case(forward::<Bf16>);
}

/// The gradient to what goes into the activation, and those to the norm's input, weight and bias.
pub(crate) fn gradients(
    problem: &Problem,
    kind: Activation,
    behind: Behind,
    dz: &[f64],
) -> (Vec<f64>, [Vec<f64>; 3]) {
    let before = problem.before(behind);
    let g: Vec<f64> =
        dz.iter().zip(&before).map(|(dz, x)| dz * reference::activation_slope(kind, *x)).collect();
    let scaled: Vec<f64> = g.iter().enumerate().map(|(index, g)| g * problem.factor(behind, index)).collect();
    let norm = reference::batch_norm_gradients(&widen(&problem.y), &scaled, EPSILON, &widen(&problem.weight));
    (g, norm)
}

/// A bound for the gradients, which are divided by the standard deviation.
pub(crate) fn check_gradients<E: Kernels>(
    problem: &Problem,
    kind: Activation,
    expected: [&[f64]; 3],
    runs: Vec<(&'static str, Vec<f32>)>,
) {
    let largest = problem.inverse_std.iter().fold(1.0_f64, |largest, s| largest.max(f64::from(*s)));
    let rows = (problem.images.batch * problem.images.pixels) as f64;
    // Cheaper slopes and, behind a shortcut, rounded gradients enter every sum.
    let entering = if size_of::<E>() == 2 { 4e-3 } else { 2e-5 };
    let [dy, d_weight, d_bias] = expected;
    let mut bounds: Vec<_> =
        dy.iter().map(|dy| (entering + 1e-5) * largest.powi(2) + rounding::<E>(*dy)).collect();
    bounds.extend(vec![2.0 * entering * rows.sqrt().max(1.0) * largest; d_weight.len() + d_bias.len()]);
    let expected = [dy, d_weight, d_bias].concat();
    for (isa, actual) in runs {
        let difference = within(&actual, &expected, &bounds);
        assert_eq!(difference, None, "{isa} {kind:?} {:?} {} bytes", problem.images, size_of::<E>());
    }
}

fn backward<E: Kernels>(problem: &Problem, kind: Activation) {
    let (y, dz) = (elements::<E>(&problem.y), elements::<E>(&problem.dz));
    let (_, [dy, d_weight, d_bias]) = gradients(problem, kind, Behind::Nothing, &widen(&problem.dz));
    let (fused, channels) = (problem.fused(kind), problem.images.channels);
    let runs = on_every_isa(|isa| {
        let (mut gradient, mut weight, mut bias) =
            (dz.clone(), vec![f32::NAN; channels], vec![f32::NAN; channels]);
        let parameters = NormGradients { weight: &mut weight, bias: &mut bias };
        E::norm_activation_backward(isa, &fused, &y, &mut gradient, parameters);
        [floats(&gradient), weight, bias].concat()
    });
    check_gradients::<E>(problem, kind, [&dy, &d_weight, &d_bias], runs);
}

fn shortcut_backward<E: Kernels>(problem: &Problem, kind: Activation, behind: Behind) {
    let [y, shortcut, dz] = [&problem.y, &problem.shortcut, &problem.dz].map(|values| elements::<E>(values));
    let (g, [dy, d_weight, d_bias]) = gradients(problem, kind, behind, &widen(&problem.dz));
    let g_bounds: Vec<_> = g.iter().map(|g| 1e-5 + rounding::<E>(*g)).collect();
    let (fused, channels) = (problem.fused(kind), problem.images.channels);
    let runs = on_every_isa(|isa| {
        let (mut gradient, mut d_y) = (dz.clone(), stale::<E>(y.len()));
        let (mut weight, mut bias) = (vec![f32::NAN; channels], vec![f32::NAN; channels]);
        let parameters = NormGradients { weight: &mut weight, bias: &mut bias };
        let shortcut = problem.shortcut(behind, &shortcut).expect("there is one");
        E::norm_shortcut_activation_backward(isa, &fused, &y, shortcut, &mut gradient, &mut d_y, parameters);
        assert_eq!(within(&floats(&gradient), &g, &g_bounds), None, "{isa} {kind:?} to the shortcut");
        [floats(&d_y), weight, bias].concat()
    });
    check_gradients::<E>(problem, kind, [&dy, &d_weight, &d_bias], runs);
}

#[test]
fn gradients_are_the_chain_of_their_steps() {
    each_case(backward::<f32>);
    each_case(backward::<Bf16>);
}

#[test]
fn gradients_beside_a_shortcut_are_the_chain_of_their_steps() {
    for behind in [Behind::Shortcut, Behind::Depth] {
        each_case(|problem, kind| shortcut_backward::<f32>(problem, kind, behind));
        each_case(|problem, kind| shortcut_backward::<Bf16>(problem, kind, behind));
    }
}

fn excite<E: Kernels>(problem: &Problem, kind: Activation) {
    let (y, d_out) = (elements::<E>(&problem.y), elements::<E>(&problem.dz));
    let (before, pixels) = (problem.before(Behind::Nothing), problem.images.pixels as f64);
    let mut scale_gradient = vec![0.0; problem.scale.len()];
    let mut dz = Vec::new();
    for (index, (x, d_out)) in before.iter().zip(&problem.dz).enumerate() {
        let pooled = problem.pooled(index);
        scale_gradient[pooled] += f64::from(*d_out) * reference::activation(kind, *x);
        let share = f64::from(problem.mean_gradient[pooled]) / pixels;
        dz.push(f64::from(*d_out) * f64::from(problem.scale[pooled]) + share);
    }
    let (_, [dy, d_weight, d_bias]) = gradients(problem, kind, Behind::Nothing, &dz);
    let bounds: Vec<_> =
        scale_gradient.iter().map(|sum| 3e-4 * pixels.sqrt() + rounding::<E>(*sum)).collect();
    let (fused, images, channels) = (problem.fused(kind), problem.images, problem.images.channels);
    let runs = on_every_isa(|isa| {
        let mut sums = ExciteSums::default();
        E::excite_backward_sums(isa, images, &fused, &y, &d_out, &mut sums);
        assert_eq!(within(sums.scale_gradient(), &scale_gradient, &bounds), None, "{isa} {kind:?} scale");
        let (mut gradient, mut weight, mut bias) =
            (d_out.clone(), vec![f32::NAN; channels], vec![f32::NAN; channels]);
        let parameters = NormGradients { weight: &mut weight, bias: &mut bias };
        let (scale, mean_gradient) = (&problem.scale, &problem.mean_gradient);
        E::excite_norm_backward(
            isa,
            images,
            &fused,
            &sums,
            &y,
            scale,
            mean_gradient,
            &mut gradient,
            parameters,
        );
        [floats(&gradient), weight, bias].concat()
    });
    check_gradients::<E>(problem, kind, [&dy, &d_weight, &d_bias], runs);
}

#[test]
fn gradients_through_squeeze_and_excitation_are_the_chain_of_their_steps() {
    each_case(excite::<f32>);
    each_case(excite::<Bf16>);
}
