use elimnet_kernels::Kernels;

use super::run::{Numbers, on_every_isa};

#[test]
fn sums_are_exact_at_every_length() {
    for count in [0, 1, 3, 4, 5, 8, 9, 15, 16, 17, 33, 16 * 1024, 16 * 1024 + 1, 100_003] {
        let mut numbers = Numbers::new(count as u64);
        let (a, b) = (numbers.reals(count), numbers.reals(count));
        let expected: Vec<_> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
        for (isa, actual) in on_every_isa(|isa| {
            let (mut y, mut assigned) = (vec![f32::NAN; count], a.clone());
            f32::add(isa, &a, &b, &mut y);
            f32::add_assign(isa, &mut assigned, &b);
            assert_eq!(y, assigned);
            y
        }) {
            assert_eq!(actual, expected, "{isa}");
        }
    }
}
