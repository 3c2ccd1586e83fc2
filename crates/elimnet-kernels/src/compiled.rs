//! The kernels of each element type, compiled here once.
//!
//! A generic function is compiled again in every crate that calls it, and each of these means several instruction sets:
//! minutes, whenever the caller changes. Functions of a trait for a type are compiled where the trait is implemented.

use crate::activation::Activation;
use crate::conv2d::Conv2d;
use crate::element::{Bf16, Element};
use crate::elementwise::Images;
use crate::epilogue::Epilogue;
use crate::excite::ExciteSums;
use crate::filter::PackedFilter;
use crate::isa::Isa;
use crate::linear::Linear;
use crate::norm::{NormActivation, Shortcut};
use crate::norm_backward::NormGradients;
use crate::pool::{AdaptivePool2d, Maxima, NormMaxPool, Pool2d};

macro_rules! compiled {
    ($(fn $name:ident($($argument:ident: $type:ty),* $(,)?);)*) => {
        /// The kernels of an element type; each is the function of the same name of this crate.
        ///
        /// ```
        /// use elimnet_kernels::{Activation, Isa, Kernels};
        /// let mut y = [0.0; 2];
        /// f32::activate(Isa::detect(), Activation::Relu, &[-1.0, 2.0], &mut y);
        /// assert_eq!(y, [0.0, 2.0]);
        /// ```
        #[allow(clippy::too_many_arguments)] // as the functions have them
        pub trait Kernels: Element {
            $(
                #[doc = concat!("[`", stringify!($name), "`](crate::", stringify!($name), ").")]
                fn $name($($argument: $type),*);
            )*
        }

        compiled!(@for f32: $($name($($argument: $type),*))*);
        compiled!(@for Bf16: $($name($($argument: $type),*))*);
    };
    (@for $element:ty: $($name:ident($($argument:ident: $type:ty),*))*) => {
        impl Kernels for $element {
            $(
                fn $name($($argument: $type),*) {
                    crate::$name($($argument),*);
                }
            )*
        }
    };
}

compiled! {
    fn activate(isa: Isa, kind: Activation, x: &[Self], y: &mut [Self]);
    fn activation_gradient(isa: Isa, kind: Activation, x: &[Self], dy: &[Self], dx: &mut [Self]);
    fn adaptive_avg_pool2d(pool: &AdaptivePool2d, x: &[Self], y: &mut [Self]);
    fn adaptive_avg_pool2d_gradient(pool: &AdaptivePool2d, dy: &[Self], dx: &mut [Self]);
    fn add(isa: Isa, a: &[Self], b: &[Self], y: &mut [Self]);
    fn add_assign(isa: Isa, y: &mut [Self], x: &[Self]);
    fn avg_pool2d(isa: Isa, pool: &Pool2d, x: &[Self], y: &mut [Self]);
    fn avg_pool2d_gradient(isa: Isa, pool: &Pool2d, dy: &[Self], dx: &mut [Self]);
    fn batch_statistics(isa: Isa, x: &[Self], mean: &mut [f32], variance: &mut [f32]);
    fn column_sums(isa: Isa, x: &[Self], sums: &mut [f32]);
    fn conv2d(
        isa: Isa,
        conv: &Conv2d,
        x: &[Self],
        filter: &PackedFilter<Self>,
        epilogue: Epilogue<'_, Self>,
        y: &mut [Self],
    );
    fn conv2d_input_gradient(
        isa: Isa,
        conv: &Conv2d,
        dy: &[Self],
        filter: &PackedFilter<Self>,
        dx: &mut [Self],
    );
    fn conv2d_weight_gradient(isa: Isa, conv: &Conv2d, x: &[Self], dy: &[Self], d_weight: &mut [f32]);
    fn excite_backward_sums(
        isa: Isa,
        images: Images,
        fused: &NormActivation<'_>,
        y: &[Self],
        d_out: &[Self],
        sums: &mut ExciteSums,
    );
    fn excite_norm_backward(
        isa: Isa,
        images: Images,
        fused: &NormActivation<'_>,
        sums: &ExciteSums,
        y: &[Self],
        scale: &[f32],
        mean_gradient: &[f32],
        gradient: &mut [Self],
        parameters: NormGradients<'_>,
    );
    fn global_avg_pool(isa: Isa, images: Images, x: &[Self], means: &mut [f32]);
    fn global_avg_pool_gradient(isa: Isa, images: Images, d_means: &[f32], dx: &mut [Self]);
    fn linear(
        isa: Isa,
        sizes: &Linear,
        x: &[Self],
        filter: &PackedFilter<Self>,
        epilogue: Epilogue<'_, f32>,
        y: &mut [f32],
    );
    fn linear_input_gradient(
        isa: Isa,
        sizes: &Linear,
        dy: &[f32],
        filter: &PackedFilter<Self>,
        dx: &mut [Self],
    );
    fn linear_parameter_gradients(
        isa: Isa,
        sizes: &Linear,
        x: &[Self],
        dy: &[f32],
        d_weight: &mut [f32],
        d_bias: Option<&mut [f32]>,
    );
    fn max_pool2d(isa: Isa, pool: &Pool2d, x: &[Self], y: &mut [Self], taps: Option<&mut [u8]>);
    fn max_pool2d_gradient(isa: Isa, pool: &Pool2d, dy: &[Self], taps: &[u8], dx: &mut [Self]);
    fn narrow(isa: Isa, values: &[f32], elements: &mut [Self]);
    fn norm_activation_backward(
        isa: Isa,
        fused: &NormActivation<'_>,
        y: &[Self],
        gradient: &mut [Self],
        parameters: NormGradients<'_>,
    );
    fn norm_relu_max_pool2d_backward(
        isa: Isa,
        fused: &NormMaxPool<'_>,
        y: &[Self],
        maxima: Maxima<'_, Self>,
        d_z: &[Self],
        d_y: &mut [Self],
        parameters: NormGradients<'_>,
    );
    fn norm_shortcut_activation_backward(
        isa: Isa,
        fused: &NormActivation<'_>,
        y: &[Self],
        shortcut: Shortcut<'_, Self>,
        gradient: &mut [Self],
        d_y: &mut [Self],
        parameters: NormGradients<'_>,
    );
    fn normalize_activate(
        isa: Isa,
        fused: &NormActivation<'_>,
        y: &[Self],
        shortcut: Option<Shortcut<'_, Self>>,
        z: &mut [Self],
    );
    fn normalize_activate_pool(
        isa: Isa,
        images: Images,
        fused: &NormActivation<'_>,
        y: &[Self],
        z: Option<&mut [Self]>,
        means: &mut [f32],
    );
    fn normalize_relu_max_pool2d(
        isa: Isa,
        fused: &NormMaxPool<'_>,
        y: &[Self],
        z: &mut [Self],
        inputs: &mut [Self],
        taps: &mut [u8],
    );
    fn scale_channels(isa: Isa, images: Images, x: &[Self], scale: &[f32], y: &mut [Self]);
    fn scale_channels_scale_gradient(
        isa: Isa,
        images: Images,
        x: &[Self],
        dy: &[Self],
        d_scale: &mut [f32],
    );
    fn scale_shift(isa: Isa, x: &[Self], scale: &[f32], shift: &[f32], y: &mut [Self]);
    fn softmax(isa: Isa, channels: usize, x: &[Self], y: &mut [Self]);
    fn softmax_gradient(isa: Isa, channels: usize, y: &[Self], dy: &[Self], dx: &mut [Self]);
    fn widen(isa: Isa, elements: &[Self], values: &mut [f32]);
    fn winograd_weight_gradient(isa: Isa, conv: &Conv2d, x: &[Self], dy: &[Self], d_weight: &mut [f32]);
}
