//! Which outputs see which source values through which taps, along rows and columns alike.

/// Windows along one axis, and tiles that begin at an output that is a multiple of the period.
pub(crate) trait Taps {
    const KERNEL: usize;
    /// Outputs after which the pattern comes again.
    const PERIOD: usize;
    /// Source values that so many outputs in a row see.
    fn span(outputs: usize) -> usize;
    /// Source values from what an output sees to what the one `outputs` further sees, a multiple of the period.
    fn step(outputs: usize) -> usize;
    /// Which of a tile's source values the output sees through `tap`.
    fn source(output: usize, tap: usize) -> Option<usize>;
    /// The tap through which the output sees a tile's source value.
    fn tap(output: usize, source: usize) -> Option<usize>;
}

/// Windows `STRIDE` apart.
pub(crate) struct Slide<const KERNEL: usize, const STRIDE: usize>;

impl<const KERNEL: usize, const STRIDE: usize> Taps for Slide<KERNEL, STRIDE> {
    const KERNEL: usize = KERNEL;
    const PERIOD: usize = 1;

    #[inline(always)]
    fn span(outputs: usize) -> usize {
        (outputs - 1) * STRIDE + KERNEL
    }

    #[inline(always)]
    fn step(outputs: usize) -> usize {
        outputs * STRIDE
    }

    #[inline(always)]
    fn source(output: usize, tap: usize) -> Option<usize> {
        Some(output * STRIDE + tap)
    }

    #[inline(always)]
    fn tap(output: usize, source: usize) -> Option<usize> {
        source.checked_sub(output * STRIDE).filter(|tap| *tap < KERNEL)
    }
}

/// The gradient to the input of windows two apart: a tile's outputs are the convolution's inputs, its source the gradient.
///
/// Pixel `i` gets source value `o` through tap `i + padding − 2o`, so pixels see even taps and odd ones in turns. Made for
/// paddings of the parity of the window's middle, so that a tile's first pixel, an even one, sees the middle tap.
pub(crate) struct Spread<const KERNEL: usize>;

impl<const KERNEL: usize> Spread<KERNEL> {
    /// The largest tap that a tile's first pixel sees, and through which it sees its first source value.
    pub(crate) const FARTHEST: usize = KERNEL - 1 - (KERNEL - 1 - KERNEL / 2) % 2;
}

impl<const KERNEL: usize> Taps for Spread<KERNEL> {
    const KERNEL: usize = KERNEL;
    const PERIOD: usize = 2;

    #[inline(always)]
    fn span(outputs: usize) -> usize {
        (outputs - 1 + Self::FARTHEST) / 2 + 1
    }

    #[inline(always)]
    fn step(outputs: usize) -> usize {
        outputs / 2
    }

    #[inline(always)]
    fn source(output: usize, tap: usize) -> Option<usize> {
        let twice = (output + Self::FARTHEST).checked_sub(tap)?;
        (twice % 2 == 0).then_some(twice / 2)
    }

    #[inline(always)]
    fn tap(output: usize, source: usize) -> Option<usize> {
        (output + Self::FARTHEST).checked_sub(2 * source).filter(|tap| *tap < KERNEL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Taps>(outputs: usize) {
        for output in 0..outputs {
            for tap in 0..T::KERNEL {
                if let Some(source) = T::source(output, tap) {
                    assert!(source < T::span(outputs), "output {output}, tap {tap}: {source}");
                    assert_eq!(T::tap(output, source), Some(tap), "output {output}");
                    let later = T::source(output + T::PERIOD, tap);
                    assert_eq!(later, Some(source + T::step(T::PERIOD)), "output {output}, tap {tap}");
                }
            }
            let seen = (0..T::span(outputs)).filter(|source| T::tap(output, *source).is_some()).count();
            let taps = (0..T::KERNEL).filter(|tap| T::source(output, *tap).is_some()).count();
            assert_eq!(seen, taps, "output {output}");
        }
    }

    #[test]
    fn outputs_and_taps_agree_about_the_source() {
        check::<Slide<3, 1>>(7);
        check::<Slide<3, 2>>(7);
        check::<Slide<5, 1>>(7);
        check::<Slide<5, 2>>(7);
        check::<Spread<3>>(4);
        check::<Spread<5>>(4);
        let spans =
            [Slide::<3, 1>::span(7), Slide::<5, 2>::span(7), Spread::<3>::span(4), Spread::<5>::span(4)];
        assert_eq!(spans, [9, 17, 3, 4]);
    }

    /// Of windows of three with padding 1, output `o` sees inputs `2o − 1` to `2o + 1`.
    #[test]
    fn the_gradient_with_stride_two_takes_every_other_tap() {
        let of_input = |input: usize| {
            (0..3).filter_map(|tap| Some((Spread::<3>::source(input, tap)?, tap))).collect::<Vec<_>>()
        };
        assert_eq!(of_input(0), [(0, 1)]);
        assert_eq!(of_input(1), [(1, 0), (0, 2)]);
    }
}
