//! Pooling.

use crate::pool::{AdaptivePool2d, Pool2d};

/// Calls `visit(output index, tap, input index)` for every window and channel; no index in the padding.
fn for_each_tap(pool: &Pool2d, mut visit: impl FnMut(usize, usize, Option<usize>)) {
    let count = |axis: usize, length: usize| {
        let padded = length + 2 * pool.padding[axis];
        (0..padded).filter(|at| at % pool.stride[axis] == 0 && at + pool.kernel[axis] <= padded).count()
    };
    let (height, width) = (count(0, pool.in_height), count(1, pool.in_width));
    for n in 0..pool.batch {
        for oy in 0..height {
            for ox in 0..width {
                for ky in 0..pool.kernel[0] {
                    for kx in 0..pool.kernel[1] {
                        let y = (oy * pool.stride[0] + ky) as i64 - pool.padding[0] as i64;
                        let x = (ox * pool.stride[1] + kx) as i64 - pool.padding[1] as i64;
                        let inside =
                            (0..pool.in_height as i64).contains(&y) && (0..pool.in_width as i64).contains(&x);
                        for c in 0..pool.channels {
                            let pixel = (n * pool.in_height) as i64 + y;
                            let input = (pixel * pool.in_width as i64 + x) * pool.channels as i64 + c as i64;
                            let output = ((n * height + oy) * width + ox) * pool.channels + c;
                            visit(output, ky * pool.kernel[1] + kx, inside.then_some(input as usize));
                        }
                    }
                }
            }
        }
    }
}

/// [`crate::max_pool2d`]: the values, and for each the index of the input value that it is.
pub fn max_pool2d(pool: &Pool2d, input: &[f64]) -> (Vec<f64>, Vec<usize>) {
    let mut found: Vec<Option<usize>> = Vec::new();
    for_each_tap(pool, |output, _, index| {
        found.resize(found.len().max(output + 1), None);
        let Some(index) = index else { return };
        let value = input[index];
        let wins = found[output].is_none_or(|best| value > input[best] || value.is_nan());
        found[output] = if wins { Some(index) } else { found[output] };
    });
    let indices: Vec<_> = found.into_iter().map(|index| index.expect("a pixel in every window")).collect();
    (indices.iter().map(|index| input[*index]).collect(), indices)
}

/// [`crate::avg_pool2d`] as a list of `(output index, input index)`: each output is the sum of its inputs
/// over the window's size.
pub fn avg_pool2d(pool: &Pool2d) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for_each_tap(pool, |output, _, input| pairs.extend(input.map(|input| (output, input))));
    pairs
}

/// [`crate::adaptive_avg_pool2d`] as a list of `(output index, input index, share)`.
pub fn adaptive_avg_pool2d(pool: &AdaptivePool2d) -> Vec<(usize, usize, f64)> {
    let is_in_bin = |axis: usize, at: usize, bin: usize| {
        // ⌊bin · in / out⌋ <= at < ⌈(bin + 1) · in / out⌉, in whole numbers
        let (input, output) = (pool.input[axis], pool.output[axis]);
        (at + 1) * output > bin * input && at * output < (bin + 1) * input
    };
    let mut shares = Vec::new();
    for n in 0..pool.batch {
        for oy in 0..pool.output[0] {
            for ox in 0..pool.output[1] {
                let rows: Vec<_> = (0..pool.input[0]).filter(|y| is_in_bin(0, *y, oy)).collect();
                let columns: Vec<_> = (0..pool.input[1]).filter(|x| is_in_bin(1, *x, ox)).collect();
                let share = 1.0 / (rows.len() * columns.len()) as f64;
                for y in &rows {
                    for x in &columns {
                        for c in 0..pool.channels {
                            let output =
                                ((n * pool.output[0] + oy) * pool.output[1] + ox) * pool.channels + c;
                            let input = ((n * pool.input[0] + y) * pool.input[1] + x) * pool.channels + c;
                            shares.push((output, input, share));
                        }
                    }
                }
            }
        }
    }
    shares
}
