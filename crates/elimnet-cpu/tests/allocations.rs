//! What a pass takes from the allocator once its buffers are there.

mod support;

use dhat::{HeapStats, Profiler};
use elimnet_arch::zoo;
use elimnet_engine::Engine;
use support::{Way, images};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Images, and the blocks of a call: the logits, and what wakes the threads, as a team for a single piece.
const BLOCKS_OF_A_CALL: [(usize, u64); 2] = [(1, 4), (5, 2)];

/// Enough for every thread to have led and followed.
const CALLS: usize = 6;

/// Fewest blocks of a call: those that every call takes.
fn blocks_of(mut call: impl FnMut()) -> u64 {
    let blocks = |_| {
        let _profiler = Profiler::builder().testing().build();
        call();
        HeapStats::get().total_blocks
    };
    (0..CALLS).map(blocks).min().expect("several calls")
}

fn check(name: &str, way: Way) {
    let mut engine = way.engine(&zoo::by_name(name, 10).unwrap(), 2);
    let case = format!("{name} as {way:?}");
    for (count, most) in BLOCKS_OF_A_CALL {
        let images = images(count, 64);
        let logits = blocks_of(|| drop(engine.infer(&images).unwrap()));
        assert!(logits <= most, "{case}, {count} images: {logits} blocks");
        // Two matrices more, and their list.
        let features = blocks_of(|| drop(engine.features(&images, &[0, 2]).unwrap()));
        assert!(features <= most + 3, "{case}, features of {count} images: {features} blocks");
    }
}

#[test]
fn inference_takes_its_results_from_the_allocator_and_no_buffer() {
    let [exact, bf16 @ ..] = &Way::all()[..] else { unreachable!("f32 is one") };
    zoo::NAMES.into_iter().for_each(|name| check(name, *exact));
    for way in bf16 {
        check("resnet18", *way);
        check("mobilenet_v3_large", *way);
    }
}
