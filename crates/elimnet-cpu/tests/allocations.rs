//! What a pass takes from the allocator once its buffers are there.

mod support;

use dhat::{HeapStats, Profiler};
use elimnet_arch::zoo;
use elimnet_cpu::CpuEngine;
use elimnet_engine::{Engine, Images};
use support::{PRECISIONS, engine_with, images};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// The logits, and what wakes the threads.
const BLOCKS_OF_A_CALL: u64 = 4;

/// Enough for every thread to have led and followed.
const CALLS: usize = 10;

/// Fewest blocks of a call: those that every call takes.
fn blocks_of_a_call(engine: &mut CpuEngine, images: &Images) -> u64 {
    let blocks = |_| {
        let _profiler = Profiler::builder().testing().build();
        engine.infer(images).expect("images of the network's channels");
        HeapStats::get().total_blocks
    };
    (0..CALLS).map(blocks).min().expect("several calls")
}

#[test]
fn inference_takes_its_result_from_the_allocator_and_no_buffer() {
    for name in zoo::NAMES {
        for precision in PRECISIONS {
            let mut engine = engine_with(&zoo::by_name(name, 10).unwrap(), 2, precision);
            for count in [1, 5] {
                let blocks = blocks_of_a_call(&mut engine, &images(count, 64));
                assert!(
                    blocks <= BLOCKS_OF_A_CALL,
                    "{name} in {precision:?}, {count} images: {blocks} blocks"
                );
            }
        }
    }
}
