# shellcheck shell=bash
# The whole platform under load while its parts are killed at random instants, and while hours are rolled up and
# repacked; each seed is another order.

# chaos [FIRST-LAST]
chaos() {
    need_rust
    need_postgres
    POSTGRES_BIN=$(postgres_bin)
    export POSTGRES_BIN TRUECHIMER_CHAOS_SEEDS=${1:-1-20}
    cargo build --quiet --workspace --bins
    cargo test --quiet -p house-tests --test e2e -- --nocapture no_loss
}
