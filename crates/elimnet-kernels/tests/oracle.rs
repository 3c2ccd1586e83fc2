//! Every kernel against plain loops in f64, on every instruction set of this machine and on 1 and 3 threads.
#![allow(missing_docs)] // a test crate

mod oracle {
    mod activations;
    mod compare;
    mod convolution;
    mod elements;
    mod elementwise;
    mod fused;
    mod geometries;
    mod linear;
    mod norm;
    mod norm_max;
    mod optimizer;
    mod pooling;
    mod run;
    mod stored;
    mod winograd;
}
