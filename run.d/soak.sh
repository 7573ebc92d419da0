# shellcheck shell=bash
# Random simulated worlds for a given time; the seeds of those that break are kept in agent/sim/seeds/.

soak() {
    need_rust
    cargo run --quiet -p agent-sim --bin soak -- "$@"
}
