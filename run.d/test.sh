# shellcheck shell=bash
# Everything that must hold before a change is good. Steps go on after a failure, so that one run
# shows all that is wrong; the closing line counts checks and tests together.

PASSED=0 FAILED=0

test_all() {
    export TRUECHIMER_SKIPS=$TARGET/skipped-tests.txt
    need_for_tests
    trap stop_postgres EXIT
    start_postgres
    mkdir -p "$TARGET"
    : >"$TRUECHIMER_SKIPS"
    : >"$TARGET/tests.log"
    check "format (cargo fmt)" cargo fmt --all --check
    check "lints (cargo clippy)" cargo clippy --quiet --workspace --all-targets -- -D warnings
    check "SQL metadata is that of the migrations" sqlx_check
    check "docs/SQL.md is that of the migrations" sql_docs_check
    check "build of the binaries" cargo build --quiet --workspace --bins
    check "tests" run_tests
    closing_summary
}

need_for_tests() {
    need_rust
    need_rust_component fmt rustfmt
    need_rust_component clippy clippy
    need_postgres
    need_node
    need_chronyd
    need_ntpd
    browser_driver
    need_chromium
    newer_postgres
    export CHRONYD NTPD CHROMIUM TRUECHIMER_TEST_NEWER_PG_BIN
    POSTGRES_BIN=$(postgres_bin)
    export POSTGRES_BIN
    assets
}

# check NAME COMMAND...
check() {
    local name=$1 started=$SECONDS result
    shift
    say "== $name"
    # Not `if "$@"`: that would switch errexit off inside the command.
    set +e
    (set -e && "$@")
    result=$?
    set -e
    if [ $result -eq 0 ]; then
        PASSED=$((PASSED + 1))
        say "   ok, $((SECONDS - started)) s"
    else
        FAILED=$((FAILED + 1))
        say "   FAILED: $name"
    fi
}

run_tests() {
    cargo test --workspace --no-fail-fast 2>&1 | tee "$TARGET/tests.log"
}

closing_summary() {
    local passed failed skipped
    read -r passed failed < <(
        awk '/^test result:/ { p += $4; f += $6 } END { print p + 0, f + 0 }' "$TARGET/tests.log"
    )
    # A skipped test returned early, and the test harness counts it as passed.
    skipped=$(wc -l <"$TRUECHIMER_SKIPS")
    say ""
    if [ "$skipped" -gt 0 ]; then
        say "Skipped, because this machine cannot give what they need:"
        sed 's/^/  /' "$TRUECHIMER_SKIPS"
    fi
    say "$((PASSED + passed - skipped)) passed, $((FAILED + failed)) failed, $skipped skipped"
    [ $((FAILED + failed)) -eq 0 ] || exit 1
    if [ "$skipped" -gt 0 ] && [ "${CI:-}" = true ]; then
        fail "with CI=true a skipped test is a failure"
    fi
}
