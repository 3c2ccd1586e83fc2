miri := "-Zmiri-disable-isolation -Zmiri-tree-borrows -Zmiri-permissive-provenance -Zmiri-ignore-leaks"

# What CI runs, in CI's order.
check:
    .ci/run

# Formatting and lints only.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# The README's test command.
test:
    cargo test --workspace

# The unsafe code of the portable kernels and the threads' team under an interpreter that finds undefined behaviour
# (`rustup toolchain install nightly --component miri,rust-src`; some ten minutes). Rayon needs the tree borrows and never ends its threads.
miri:
    MIRIFLAGS="{{miri}}" cargo +nightly miri test -p elimnet-kernels --lib -- scratch team threads places depthwise
    MIRIFLAGS="{{miri}}" cargo +nightly miri test -p elimnet-kernels --test oracle -- convolution::exact pooling::max

# The kernels' and the engine's tests on aarch64, under an emulator (`rustup target add aarch64-unknown-linux-gnu`; Debian's
# gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user-static; some ten minutes).
neon:
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L /usr/aarch64-linux-gnu" \
    cargo test -p elimnet-kernels -p elimnet-cpu --target aarch64-unknown-linux-gnu --lib --tests

# The main job, in full.
demo:
    cargo run --release -- demo

# Licences, advisories, sources (needs cargo-deny).
deny:
    cargo deny check

# Snapshots and docs/cli.md follow the code (look at the diff).
accept:
    INSTA_UPDATE=always cargo test -p elimnet-cli
