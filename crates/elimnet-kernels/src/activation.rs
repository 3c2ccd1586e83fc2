//! Activations and their gradients.

use std::marker::PhantomData;

use crate::columns::{Pointwise, Rows, sweep};
use crate::element::Element;
use crate::elementwise::Images;
use crate::exp::{erf, exp, sigmoid, silu};
use crate::isa::Isa;
use crate::simd::Simd;

/// A nonlinearity, with torch's values and torch's gradients at the kinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x`
    Identity,
    /// `max(x, 0)`; gradient 0 at 0.
    Relu,
    /// `min(max(x, 0), 6)`; gradient 0 at 0 and at 6.
    Relu6,
    /// `x · sigmoid(x)`, also called swish.
    Silu,
    /// `x · relu6(x + 3) / 6`; gradient 0 up to -3, 1 from 3 on.
    HardSwish,
    /// `relu6(x + 3) / 6`; gradient 0 up to -3 and from 3 on.
    HardSigmoid,
    /// `1 / (1 + exp(−x))`
    Sigmoid,
    /// `x · (1 + erf(x / √2)) / 2`, the exact form.
    Gelu,
}

/// An activation as a type of its own, so that each kernel is compiled once for each.
pub(crate) trait Function: Copy + Sync + Send {
    /// `activation(x)`, to the precision that `E` stores.
    fn value<S: Simd, E: Element>(self, simd: S, x: S::Vector) -> S::Vector;
    /// `dy · activation'(x)`, to the precision that `E` stores.
    fn gradient<S: Simd, E: Element>(self, simd: S, x: S::Vector, dy: S::Vector) -> S::Vector;
}

/// Runs `$body` with `$function` as the [`Function`] of an activation.
macro_rules! with_function {
    ($kind:expr, $function:ident => $body:expr) => {
        match $kind {
            $crate::activation::Activation::Identity => {
                let $function = $crate::activation::Identity;
                $body
            }
            $crate::activation::Activation::Relu => {
                let $function = $crate::activation::Relu;
                $body
            }
            $crate::activation::Activation::Relu6 => {
                let $function = $crate::activation::Relu6;
                $body
            }
            $crate::activation::Activation::Silu => {
                let $function = $crate::activation::Silu;
                $body
            }
            $crate::activation::Activation::HardSwish => {
                let $function = $crate::activation::HardSwish;
                $body
            }
            rare => {
                let $function = $crate::activation::Rare(rare);
                $body
            }
        }
    };
}
pub(crate) use with_function;

/// Makes a [`Function`] of two closures over registers.
macro_rules! activation {
    ($name:ident, |$simd:ident, $x:ident| $value:expr, |$dy:ident| $gradient:expr) => {
        #[derive(Clone, Copy)]
        pub(crate) struct $name;

        impl Function for $name {
            #[inline(always)]
            #[allow(unused_variables)] // few need the instruction set
            fn value<S: Simd, E: Element>(self, $simd: S, $x: S::Vector) -> S::Vector {
                $value
            }

            #[inline(always)]
            #[allow(unused_variables)]
            fn gradient<S: Simd, E: Element>(self, $simd: S, $x: S::Vector, $dy: S::Vector) -> S::Vector {
                $gradient
            }
        }
    };
}

const SIXTH: f32 = 1.0 / 6.0;
/// `1 / √(2π)`
const INVERSE_SQRT_2_PI: f32 = 0.398_942_3;

activation!(Identity, |simd, x| x, |dy| dy);
activation!(Relu, |simd, x| simd.maximum(simd.splat(0.0), x), |dy| {
    let zero = simd.splat(0.0);
    simd.select_at_most(x, zero, zero, dy)
});
activation!(Relu6, |simd, x| clamp_to_6(simd, x), |dy| {
    let zero = simd.splat(0.0);
    let below = simd.select_at_most(simd.splat(6.0), x, zero, dy);
    simd.select_at_most(x, zero, zero, below)
});
activation!(Silu, |simd, x| silu::<S, E>(simd, x), |dy| {
    let sigmoid = sigmoid::<S, E>(simd, x);
    let one = simd.splat(1.0);
    let inner = simd.mul_add(x, simd.subtract(one, sigmoid), one);
    simd.multiply(dy, simd.multiply(sigmoid, inner))
});
activation!(
    HardSwish,
    |simd, x| simd
        .multiply(simd.multiply(x, clamp_to_6(simd, simd.add(x, simd.splat(3.0)))), simd.splat(SIXTH)),
    |dy| {
        let inner = simd.multiply(dy, simd.mul_add(x, simd.splat(1.0 / 3.0), simd.splat(0.5)));
        let below = simd.select_below(x, simd.splat(3.0), inner, dy);
        simd.select_at_most(x, simd.splat(-3.0), simd.splat(0.0), below)
    }
);
activation!(
    HardSigmoid,
    |simd, x| simd.multiply(clamp_to_6(simd, simd.add(x, simd.splat(3.0))), simd.splat(SIXTH)),
    |dy| {
        let zero = simd.splat(0.0);
        let below = simd.select_below(x, simd.splat(3.0), simd.multiply(dy, simd.splat(SIXTH)), zero);
        simd.select_at_most(x, simd.splat(-3.0), zero, below)
    }
);
activation!(Sigmoid, |simd, x| sigmoid::<S, E>(simd, x), |dy| {
    let sigmoid = sigmoid::<S, E>(simd, x);
    simd.multiply(dy, simd.multiply(simd.subtract(simd.splat(1.0), sigmoid), sigmoid))
});
activation!(Gelu, |simd, x| simd.multiply(x, normal_below(simd, x)), |dy| {
    let square = simd.multiply(x, x);
    let density = exp(simd, simd.multiply(square, simd.splat(-0.5)));
    let density = simd.multiply(density, simd.splat(INVERSE_SQRT_2_PI));
    simd.multiply(dy, simd.mul_add(x, density, normal_below(simd, x)))
});

/// `(1 + erf(x / √2)) / 2`
#[inline(always)]
fn normal_below<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let erf = erf(simd, simd.multiply(x, simd.splat(std::f32::consts::FRAC_1_SQRT_2)));
    simd.mul_add(erf, simd.splat(0.5), simd.splat(0.5))
}

#[inline(always)]
fn clamp_to_6<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    simd.minimum(simd.splat(6.0), simd.maximum(simd.splat(0.0), x))
}

/// Those that stand behind no convolution of the zoo: one compiled kernel for all, picked at each register.
#[derive(Clone, Copy)]
pub(crate) struct Rare(pub(crate) Activation);

impl Function for Rare {
    #[inline(always)]
    fn value<S: Simd, E: Element>(self, simd: S, x: S::Vector) -> S::Vector {
        match self.0 {
            Activation::Gelu => Gelu.value::<S, E>(simd, x),
            Activation::HardSigmoid => HardSigmoid.value::<S, E>(simd, x),
            Activation::Sigmoid => Sigmoid.value::<S, E>(simd, x),
            _ => unreachable!("{:?} has kernels of its own", self.0),
        }
    }

    #[inline(always)]
    fn gradient<S: Simd, E: Element>(self, simd: S, x: S::Vector, dy: S::Vector) -> S::Vector {
        match self.0 {
            Activation::Gelu => Gelu.gradient::<S, E>(simd, x, dy),
            Activation::HardSigmoid => HardSigmoid.gradient::<S, E>(simd, x, dy),
            Activation::Sigmoid => Sigmoid.gradient::<S, E>(simd, x, dy),
            _ => unreachable!("{:?} has kernels of its own", self.0),
        }
    }
}

#[derive(Clone, Copy)]
struct Activate<F>(F);

impl<F: Function> Pointwise<0, 1, 1, 0> for Activate<F> {
    #[inline(always)]
    fn apply<S: Simd, E: Element>(
        self,
        simd: S,
        _: [S::Vector; 0],
        [x]: [S::Vector; 1],
        _: [S::Vector; 1],
        _: &mut [S::Vector; 0],
    ) -> [S::Vector; 1] {
        [self.0.value::<S, E>(simd, x)]
    }
}

/// `y = activation(x)`.
///
/// # Accuracy
/// Within 1e-6 of `max(|y|, 1e-30)` for all but GELU, within `1e-6 · |x|` for GELU; of bf16 within 4.3e-3
/// (3.9e-3 is its rounding).
///
/// # Panics
/// If the lengths differ.
pub fn activate<E: Element>(isa: Isa, kind: Activation, x: &[E], y: &mut [E]) {
    assert_eq!(x.len(), y.len(), "lengths of input and output");
    with_function!(kind, function => sweep(isa, Images::rows(x, 1), Activate(function), [], [x], [y]));
}

/// To the precision that `P` stores, whatever holds the values.
#[derive(Clone, Copy)]
struct ActivateInPlace<F, P>(F, PhantomData<P>);

impl<F: Function, P: Element> Pointwise<0, 0, 1, 0> for ActivateInPlace<F, P> {
    const READS_OUTPUTS: bool = true;

    #[inline(always)]
    fn apply<S: Simd, E: Element>(
        self,
        simd: S,
        _: [S::Vector; 0],
        _: [S::Vector; 0],
        [x]: [S::Vector; 1],
        _: &mut [S::Vector; 0],
    ) -> [S::Vector; 1] {
        [self.0.value::<S, P>(simd, x)]
    }
}

/// `values = activation(values)`.
pub fn activate_in_place<E: Element>(isa: Isa, kind: Activation, values: &mut [E]) {
    if kind != Activation::Identity {
        let images = Images::rows(values, 1);
        with_function!(kind, function => {
            sweep(isa, images, ActivateInPlace(function, PhantomData::<E>), [], [], [values])
        });
    }
}

/// `values = activation(values)` on this thread, to the precision that `P` stores.
pub(crate) fn activate_slice<P: Element>(isa: Isa, kind: Activation, values: &mut [f32]) {
    let (length, channels, parameters, inputs) = (values.len(), 1, [], []);
    with_function!(kind, function => {
        let function = ActivateInPlace(function, PhantomData::<P>);
        isa.run(Rows { channels, length, function, parameters, inputs, outputs: [values], sums: &mut [] });
    });
}

#[derive(Clone, Copy)]
struct Gradient<F>(F);

impl<F: Function> Pointwise<0, 2, 1, 0> for Gradient<F> {
    #[inline(always)]
    fn apply<S: Simd, E: Element>(
        self,
        simd: S,
        _: [S::Vector; 0],
        [x, dy]: [S::Vector; 2],
        _: [S::Vector; 1],
        _: &mut [S::Vector; 0],
    ) -> [S::Vector; 1] {
        [self.0.gradient::<S, E>(simd, x, dy)]
    }
}

/// `dx = dy · activation'(x)`, `x` being what went into the activation.
///
/// # Panics
/// If the lengths differ.
pub fn activation_gradient<E: Element>(isa: Isa, kind: Activation, x: &[E], dy: &[E], dx: &mut [E]) {
    assert_eq!(x.len(), dx.len(), "lengths of the first input and the output");
    assert_eq!(dy.len(), dx.len(), "lengths of the second input and the output");
    with_function!(kind, function => sweep(isa, Images::rows(x, 1), Gradient(function), [], [x, dy], [dx]));
}
