//! Convolutions of any geometry: `cargo +nightly fuzz run convolution`.
//!
//! All three passes, in f32 and bf16, direct and by Winograd's algorithm, on every instruction set of the machine and stand-ins for two, give what plain loops
//! give: to the last bit, as operands are whole numbers of which no sum is rounded; but for a rounding where Winograd's algorithm divides.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use elimnet_kernels::{
    Bf16, Conv2d, Element, Epilogue, Isa, PackedFilter, Padding, conv2d, conv2d_input_gradient,
    conv2d_weight_gradient, reference, winograd_weight_gradient,
};
use libfuzzer_sys::fuzz_target;

/// Products above which the plain loops take too long.
const MOST_PRODUCTS: usize = 1 << 22;

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = Unstructured::new(bytes);
    let Ok(conv) = geometry(&mut bytes) else { return };
    let Some(conv) = conv else { return };
    let mut numbers = |length: usize| -> Vec<f32> {
        (0..length).map(|_| f32::from(u8::arbitrary(&mut bytes).unwrap_or(3) % 3) - 1.0).collect()
    };
    let [input, weight, gradient] =
        [conv.input_len(), conv.weight_len(), conv.output_len()].map(|length| numbers(length));
    let expected = expected(&conv, &input, &weight, &gradient);
    for isa in Isa::available().into_iter().chain(Isa::emulated()) {
        compare(isa, &conv, "f32", &expected, &passes::<f32>(isa, &conv, &input, &weight, &gradient));
        compare(isa, &conv, "bf16", &expected, &passes::<Bf16>(isa, &conv, &input, &weight, &gradient));
        let found = winograd::<f32>(isa, &conv, &input, &weight, &gradient);
        compare(isa, &conv, "f32 by Winograd's algorithm", &expected, &found);
        let found = winograd::<Bf16>(isa, &conv, &input, &weight, &gradient);
        compare(isa, &conv, "bf16 by Winograd's algorithm", &expected, &found);
    }
});

fn geometry(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Option<Conv2d>> {
    let groups = bytes.int_in_range(1..=40)?;
    let per_group = [bytes.int_in_range(1..=70)?, bytes.int_in_range(1..=70)?];
    let is_winograds = bytes.ratio(1, 2)?;
    let size =
        |bytes: &mut Unstructured<'_>, most| if is_winograds { Ok(3) } else { bytes.int_in_range(1..=most) };
    let stride = |bytes: &mut Unstructured<'_>| if is_winograds { Ok(1) } else { bytes.int_in_range(1..=3) };
    let (groups, per_group) = match is_winograds {
        true => (1, [32 * bytes.int_in_range(1..=2)?, 32 * bytes.int_in_range(1..=2)?]),
        false => (groups, per_group),
    };
    let conv = Conv2d {
        batch: bytes.int_in_range(1..=3)?,
        in_height: bytes.int_in_range(1..=20)?,
        in_width: bytes.int_in_range(1..=20)?,
        in_channels: groups * per_group[0],
        out_channels: groups * per_group[1],
        kernel: [size(bytes, 7)?, size(bytes, 7)?],
        stride: [stride(bytes)?, stride(bytes)?],
        padding: Padding {
            top: bytes.int_in_range(0..=4)?,
            left: bytes.int_in_range(0..=4)?,
            bottom: bytes.int_in_range(0..=4)?,
            right: bytes.int_in_range(0..=4)?,
        },
        groups,
    };
    let Padding { top, left, bottom, right } = conv.padding;
    let fits =
        conv.kernel[0] <= conv.in_height + top + bottom && conv.kernel[1] <= conv.in_width + left + right;
    Ok(Some(conv).filter(|conv| fits && conv.multiply_adds() <= MOST_PRODUCTS))
}

/// Output, input gradient, weight gradient.
type Passes<T> = [Vec<T>; 3];

fn expected(conv: &Conv2d, input: &[f32], weight: &[f32], gradient: &[f32]) -> Passes<f64> {
    let [input, weight, gradient] = [input, weight, gradient]
        .map(|values| values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>());
    let [mut output, mut d_input, mut d_weight] =
        [conv.output_len(), conv.input_len(), conv.weight_len()].map(|length| vec![0.0; length]);
    reference::conv2d(conv, &input, &weight, None, &mut output);
    reference::conv2d_input_gradient(conv, &gradient, &weight, &mut d_input);
    reference::conv2d_weight_gradient(conv, &input, &gradient, &mut d_weight);
    [output, d_input, d_weight]
}

fn passes<E: Element>(
    isa: Isa,
    conv: &Conv2d,
    input: &[f32],
    weight: &[f32],
    gradient: &[f32],
) -> Passes<f32> {
    let [input, gradient] =
        [input, gradient].map(|values| values.iter().map(|value| E::from_f32(*value)).collect::<Vec<_>>());
    let [mut output, mut d_input] = [conv.output_len(), conv.input_len()].map(|length| vec![E::ZERO; length]);
    let mut d_weight = vec![f32::NAN; conv.weight_len()];
    let forward = PackedFilter::<E>::forward(isa, conv, weight);
    conv2d(isa, conv, &input, &forward, Epilogue::default(), &mut output);
    let backward = PackedFilter::<E>::input_gradient(isa, conv, weight);
    conv2d_input_gradient(isa, conv, &gradient, &backward, &mut d_input);
    conv2d_weight_gradient(isa, conv, &input, &gradient, &mut d_weight);
    let floats = |values: Vec<E>| values.into_iter().map(E::to_f32).collect();
    [floats(output), floats(d_input), d_weight]
}

/// With weights times four, as the filter's transform halves twice; the quarter of what comes out. In f32 that is whole but for a
/// rounding, as tiles of 4 x 4 outputs divide by numbers that are no powers of two.
fn winograd<E: Element>(
    isa: Isa,
    conv: &Conv2d,
    input: &[f32],
    weight: &[f32],
    gradient: &[f32],
) -> Passes<f32> {
    let narrow = |values: &[f32]| values.iter().map(|value| E::from_f32(*value)).collect::<Vec<_>>();
    let (input, gradient) = (narrow(input), narrow(gradient));
    let weight: Vec<_> = weight.iter().map(|value| 4.0 * value).collect();
    let [mut output, mut d_input] = [conv.output_len(), conv.input_len()].map(|length| vec![E::ZERO; length]);
    let mut d_weight = vec![f32::NAN; conv.weight_len()];
    let forward = PackedFilter::winograd_forward(isa, conv, &weight);
    conv2d(isa, conv, &input, &forward, Epilogue::default(), &mut output);
    let backward = PackedFilter::winograd_input_gradient(isa, conv, &weight);
    conv2d_input_gradient(isa, conv, &gradient, &backward, &mut d_input);
    winograd_weight_gradient(isa, conv, &input, &gradient, &mut d_weight);
    let near = |value| if size_of::<E>() == size_of::<f32>() { nearly_whole(value) } else { value };
    let quarters = |values: Vec<E>| values.into_iter().map(|value| near(value.to_f32() / 4.0)).collect();
    [quarters(output), quarters(d_input), d_weight.into_iter().map(near).collect()]
}

fn nearly_whole(value: f32) -> f32 {
    let whole = value.round();
    if (value - whole).abs() < 0.0625 { whole } else { value }
}

/// # Panics
/// If anything differs. Sums of at most 256 need eight bits, which is what a bf16 has; larger ones are rounded as it rounds.
fn compare(isa: Isa, conv: &Conv2d, element: &str, expected: &Passes<f64>, actual: &Passes<f32>) {
    for (pass, (expected, actual)) in
        ["output", "input gradient", "weight gradient"].iter().zip(expected.iter().zip(actual))
    {
        for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
            let rounded = match element {
                element if element.starts_with("bf16") && *pass != "weight gradient" => {
                    Bf16::from_f32(*expected as f32).to_f32()
                }
                _ => *expected as f32,
            };
            assert_eq!(*actual, rounded, "{pass} of {conv:?} in {element} on {isa}, value {index}");
        }
    }
}
