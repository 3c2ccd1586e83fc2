use elimnet_kernels::{
    Epilogue, Linear, PackedFilter, linear, linear_input_gradient, linear_parameter_gradients,
};

use super::compare::first_difference;
use super::run::{Numbers, on_every_isa};

#[test]
fn exact_on_small_integers() {
    for rows in [1, 2, 5, 13, 32, 250] {
        for [inputs, outputs] in [[1, 1], [3, 5], [16, 6], [48, 1152], [1280, 6], [257, 33]] {
            let mut numbers = Numbers::new(1);
            let (x, w) = (numbers.integers(rows * inputs), numbers.integers(outputs * inputs));
            let (bias, dy) = (numbers.integers(outputs), numbers.integers(rows * outputs));
            let mut expected =
                [rows * outputs, rows * inputs, outputs * inputs, outputs].map(|n| vec![0.0; n]);
            for row in 0..rows {
                for o in 0..outputs {
                    let [y, dx, dw, db] = &mut expected;
                    y[row * outputs + o] = f64::from(bias[o]);
                    db[o] += f64::from(dy[row * outputs + o]);
                    for i in 0..inputs {
                        y[row * outputs + o] += f64::from(x[row * inputs + i] * w[o * inputs + i]);
                        dx[row * inputs + i] += f64::from(dy[row * outputs + o] * w[o * inputs + i]);
                        dw[o * inputs + i] += f64::from(dy[row * outputs + o] * x[row * inputs + i]);
                    }
                }
            }
            let sizes = Linear { rows, in_features: inputs, out_features: outputs };
            for (isa, actual) in on_every_isa(|isa| {
                let mut actual = expected.each_ref().map(|values| vec![f32::NAN; values.len()]);
                let [y, dx, dw, db] = &mut actual;
                let filter = PackedFilter::linear(isa, &sizes, &w);
                let epilogue = Epilogue { bias: Some(&bias), ..Epilogue::default() };
                linear(isa, &sizes, &x, &filter, epilogue, y);
                let filter = PackedFilter::linear_input_gradient(isa, &sizes, &w);
                linear_input_gradient(isa, &sizes, &dy, &filter, dx);
                linear_parameter_gradients(isa, &sizes, &x, &dy, dw, Some(db));
                actual.concat()
            }) {
                assert_eq!(first_difference(&actual, &expected.concat()), None, "{isa} {sizes:?}");
            }
        }
    }
}
