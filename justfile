# Short names for what CONTRIBUTING.md describes.

# Lists the recipes.
default:
    @just --list

# The gate.
ci:
    .ci/run

# Formats code, and wraps comments at 120 columns.
fmt:
    cargo fmt -- --config wrap_comments=true,comment_width=120

# All promises; or only tests whose path contains FILTER.
test *FILTER:
    cargo test {{FILTER}}

# Unit and property tests.
unit *FILTER:
    cargo test --lib {{FILTER}}

# The long tier: hours of random worlds, deaths and inputs.
long:
    .ci/long

# Fuzzes each target for so many seconds.
fuzz SECONDS="60":
    WDT_FUZZ_SECONDS={{SECONDS}} cargo test --release --lib fuzz_tests:: -- --nocapture

# Measures the parts of a sync.
bench:
    cargo bench

# The main job against the sandbox; no account needed.
demo *OPTIONS:
    cargo run --release -- demo {{OPTIONS}}

# API docs with warnings as errors, docs/schema.md, and the links of all pages.
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked
    UPDATE_DOCS=1 cargo test --lib schema_page
    python3 .ci/pages.py
