# shellcheck shell=bash
# Benchmarks. What the columns mean is in docs/BENCHMARKS.md.

NTPD_RS_VERSION=1.9.0

# bench WHAT [OPTIONS of bench-WHAT]
bench() {
    local what=${1:-}
    [ $# -eq 0 ] || shift
    case "$what" in
        ntp) bench_ntp "$@" ;;
        ingest) bench_ingest "$@" ;;
        query) bench_query "$@" ;;
        *) fail "bench what? There are ntp, ingest and query: ./run bench ntp [--help]" ;;
    esac
}

# Reports from the wire to the acknowledgement, beside psql's \copy of the same rows.
bench_ingest() {
    need_rust
    need_postgres
    assets
    say "Building (the first time takes some minutes)."
    cargo build --release -p collector -p agent-fleet -p house-bench
    local arguments=(--collector "$BIN/truechimer" --fleet "$BIN/truechimer-fleet")
    arguments+=(--psql "$(postgres_bin)/psql")
    [[ " $* " == *' --folder'* ]] || arguments+=(--folder "$TARGET/bench")
    "$BIN/bench-ingest" "${arguments[@]}" "$@"
}

# A day of a fleet, and how long questions about it take.
bench_query() {
    need_rust
    need_postgres
    assets
    say "Building (the first time takes some minutes)."
    cargo build --release -p collector -p house-bench
    local arguments=(--collector "$BIN/truechimer")
    [[ " $* " == *' --folder'* ]] || arguments+=(--folder "$TARGET/bench")
    "$BIN/bench-query" "${arguments[@]}" "$@"
}

# The agent against its peers; --without ntpd-rs also spares building it.
bench_ntp() {
    need_rust
    need_chronyd
    [ -n "$CHRONYD" ] || fail "no chronyd, and apt-get download has none"
    say "Building (the first time takes some minutes)."
    cargo build --release -p agent -p house-bench
    local arguments=(--chronyd "$CHRONYD")
    [[ " $* " == *' --agent'* ]] || arguments+=(--agent "$BIN/truechimer-agent")
    if [[ " $* " != *ntpd-rs* ]]; then
        need_ntpd_rs && arguments+=(--ntpd-rs "$TARGET/peers/bin/ntp-daemon")
    fi
    "$BIN/bench-ntp" "${arguments[@]}" "$@"
}

# ntpd-rs as a client without NTS, in the target folder; nothing is installed on the system.
need_ntpd_rs() {
    [ ! -x "$TARGET/peers/bin/ntp-daemon" ] || return 0
    say "Building ntpd-rs $NTPD_RS_VERSION into $TARGET/peers, to compare with; --without ntpd-rs spares it."
    cargo install --quiet ntpd --version "$NTPD_RS_VERSION" --root "$TARGET/peers" \
        --no-default-features --features rustcrypto --target-dir "$TARGET/peers/build" ||
        { say "ntpd-rs could not be built and takes no part."; return 1; }
}
