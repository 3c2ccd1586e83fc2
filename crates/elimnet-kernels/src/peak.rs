//! The roof of what products can reach: multiply-adds that wait for nothing.

use crate::isa::Isa;
use crate::simd::{Kernel, MAX_LANES, Simd};

/// Sums that don't wait for each other: enough for two multiply-adds a cycle of up to six cycles each.
const CHAINS: usize = 12;

/// Multiplies and adds f32 in registers, without memory, `rounds` times in each of twelve chains. Gives the number of
/// operations, two a lane and multiply-add.
///
/// # Example
/// ```
/// use elimnet_kernels::{Isa, multiply_in_registers};
///
/// let start = std::time::Instant::now();
/// let operations = multiply_in_registers(Isa::detect(), 100_000);
/// println!("{:.3} TFLOP/s", operations as f64 / start.elapsed().as_secs_f64() / 1e12);
/// ```
pub fn multiply_in_registers(isa: Isa, rounds: usize) -> usize {
    isa.run(Chains { rounds }) as usize * 2
}

/// As [`multiply_in_registers`], of bf16 on the unit that multiplies it (twelve chains of AVX512_BF16, four of AMX); `None` where there is
/// none and bf16 is widened to f32.
#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))] // no other architecture has such a unit here
pub fn multiply_bf16_in_registers(isa: Isa, rounds: usize) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    return isa.tile_unit()?.multiply_in_registers(rounds).map(|multiply_adds| 2 * multiply_adds);
    #[cfg(not(target_arch = "x86_64"))]
    return None;
}

/// Counts one for each multiply-add.
struct Chains {
    rounds: usize,
}

impl Kernel for Chains {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f64 {
        let mut sums = [simd.splat(0.0); CHAINS];
        // Opaque, so that the compiler does not know what the product is.
        let one = simd.splat(std::hint::black_box(1.0));
        let (mut count, mut left) = (0.0, self.rounds);
        while left > 0 {
            // An f32 counts up to 2²⁴ exactly.
            let turns = left.min(1 << 20);
            for _ in 0..turns {
                for sum in &mut sums {
                    *sum = simd.mul_add(one, one, *sum);
                }
            }
            for sum in &mut sums {
                let mut lanes = [0.0; MAX_LANES];
                simd.store(*sum, &mut lanes);
                count += lanes.iter().copied().map(f64::from).sum::<f64>();
                *sum = simd.splat(0.0);
            }
            left -= turns;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_multiply_add_is_counted() {
        for isa in Isa::available() {
            for rounds in [0, 1, 1000, (1 << 20) + 1] {
                assert_eq!(multiply_in_registers(isa, rounds), rounds * CHAINS * isa.lanes() * 2, "{isa}");
                if let Some(round) = multiply_bf16_in_registers(isa, 1) {
                    assert!(round > 0, "{isa}");
                    assert_eq!(multiply_bf16_in_registers(isa, rounds), Some(rounds * round), "{isa}");
                }
            }
        }
    }
}
