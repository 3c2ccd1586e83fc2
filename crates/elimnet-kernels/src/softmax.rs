//! Softmax and its gradient.

use crate::columns::check_rows;
use crate::element::Element;
use crate::exp::exp;
use crate::isa::Isa;
use crate::scratch::Scratch;
use crate::simd::{Kernel, Simd};
use crate::threads::{self, ELEMENTS};

/// `y = exp(x) / Σ exp(x)` over each row's channels.
///
/// # Shapes
/// `x` and `y` `[rows, channels]`.
///
/// # Panics
/// If the lengths differ or `channels` does not divide them.
pub fn softmax<E: Element>(isa: Isa, channels: usize, x: &[E], y: &mut [E]) {
    assert_eq!(x.len(), y.len(), "lengths of input and output");
    check_rows(x, channels);
    let rows = (ELEMENTS / channels).max(1) * channels;
    let chunks = y.chunks_mut(rows).zip(x.chunks(rows));
    threads::for_each(chunks, &|_, (y, x)| isa.run(Softmax { channels, x, y }));
}

/// `dx = y · (dy − Σ y · dy)` over each row's channels, `y` being what [`softmax`] gave.
///
/// # Shapes
/// `y`, `dy` and `dx` `[rows, channels]`.
///
/// # Panics
/// If the lengths differ or `channels` does not divide them.
pub fn softmax_gradient<E: Element>(isa: Isa, channels: usize, y: &[E], dy: &[E], dx: &mut [E]) {
    assert_eq!(y.len(), dx.len(), "lengths of the output and the gradient");
    assert_eq!(dy.len(), dx.len(), "lengths of the two gradients");
    check_rows(y, channels);
    let rows = (ELEMENTS / channels).max(1) * channels;
    let chunks = dx.chunks_mut(rows).zip(y.chunks(rows)).zip(dy.chunks(rows));
    threads::for_each(chunks, &|_, ((dx, y), dy)| isa.run(SoftmaxGradient { channels, y, dy, dx }));
}

struct Softmax<'a, E> {
    channels: usize,
    x: &'a [E],
    y: &'a mut [E],
}

impl<E: Element> Kernel for Softmax<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut values = Scratch::new(self.channels);
        for (y, x) in self.y.chunks_exact_mut(self.channels).zip(self.x.chunks_exact(self.channels)) {
            let highest = x.iter().map(|x| x.to_f32()).fold(f32::NEG_INFINITY, f32::max);
            let highest = simd.splat(highest);
            for (value, x) in values.chunks_mut(S::LANES).zip(x.chunks(S::LANES)) {
                simd.store_partial(exp(simd, simd.subtract(simd.load_element(x), highest)), value);
            }
            let sum: f32 = values.iter().sum();
            y.iter_mut().zip(&*values).for_each(|(y, value)| *y = E::from_f32(value / sum));
        }
    }
}

struct SoftmaxGradient<'a, E> {
    channels: usize,
    y: &'a [E],
    dy: &'a [E],
    dx: &'a mut [E],
}

impl<E: Element> Kernel for SoftmaxGradient<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let rows = self.dx.chunks_exact_mut(self.channels).zip(self.y.chunks_exact(self.channels));
        for ((dx, y), dy) in rows.zip(self.dy.chunks_exact(self.channels)) {
            let product: f32 = y.iter().zip(dy).map(|(y, dy)| y.to_f32() * dy.to_f32()).sum();
            for ((dx, y), dy) in dx.iter_mut().zip(y).zip(dy) {
                *dx = E::from_f32(y.to_f32() * (dy.to_f32() - product));
            }
        }
    }
}
