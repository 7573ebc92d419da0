# shellcheck shell=bash
# Benchmarks against other programs. What the columns mean is in docs/BENCHMARKS.md.

NTPD_RS_VERSION=1.9.0

# bench ntp [OPTIONS of bench-ntp]; --without ntpd-rs also spares building it.
bench() {
    local what=${1:-}
    [ "$what" = ntp ] || fail "bench what? There is: ./run bench ntp [--help]"
    shift
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
