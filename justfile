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

# The main job, in full.
demo:
    cargo run --release -- demo

# Licences, advisories, sources (needs cargo-deny).
deny:
    cargo deny check

# Snapshots and docs/cli.md follow the code (look at the diff).
accept:
    INSTA_UPDATE=always cargo test -p elimnet-cli
