# shellcheck shell=bash
# What the platform costs and how quick it is, measured on this machine with release builds, a real
# chronyd on loopback and a real browser. Machines differ and are noisy: read orders of magnitude.

figures() {
    need_for_tests
    build demo
    FIGURES_HOME=$(mktemp -d) # not local: the trap outlives this function
    [ "$(id -u)" -ne 0 ] || chmod 755 "$FIGURES_HOME"
    DATA=$FIGURES_HOME/collector AGENT_DATA=$FIGURES_HOME/agent
    WEB_PORT=4470 GRPC_PORT=4471 METRICS_PORT=4472 AGENT_PORT=4473
    refuse_second_start
    trap 'down; stop_figures; rm -rf "$FIGURES_HOME"' EXIT
    trap 'exit 130' INT TERM HUP

    say "Sizes"
    local file
    for file in truechimer truechimer-agent; do
        figure "$file, stripped" "$(($(stat -c %s "$BIN/$file") / 1024)) KiB"
    done
    for file in collector agent; do
        figure "crates in cargo tree -p $file -e normal" \
            "$(cargo tree -p $file -e normal --prefix none | sed 's/ (.*//' | sort -u | wc -l)"
    done

    say "Start of the collector with its own Postgres, until /readyz"
    figure "cold (initdb, start, migrations)" "$(milliseconds start_collector)"
    COLLECTOR_PID=$(cat "$FIGURES_HOME/pid")
    stop_part COLLECTOR_PID
    figure "warm" "$(milliseconds start_collector)"
    COLLECTOR_PID=$(cat "$FIGURES_HOME/pid")
    first_sign_in

    say "From the sample on the host to the page in a browser (report interval 1 s, chronyd on loopback)"
    figures_chronyd "$FIGURES_HOME"
    NTP=(--server 127.0.0.1:4479 --name figures --poll 1 --report-interval "1 s")
    start_agent
    figures_latency
    stop_part AGENT_PID

    say "Agent at its defaults (one source, report every 10 s), 60 s after 15 s of settling"
    NTP=(--server 127.0.0.1:4479 --name figures)
    start_agent
    figures_cost agent "$AGENT_PID"

    say "Collector, Postgres apart, with 200 simulated hosts besides, 60 s"
    start_fleet
    figures_cost collector "$COLLECTOR_PID"
}

figure() { printf '  %-62s %s\n' "$1" "$2"; }

# Runs a starter and prints how long it took; the pid goes to a file, because this runs in a subshell.
milliseconds() {
    local before after
    before=$(date +%s%N)
    "$@" >/dev/null
    after=$(date +%s%N)
    echo "$COLLECTOR_PID" >"$FIGURES_HOME/pid"
    echo "$(((after - before) / 1000000)) ms"
}

stop_part() {
    local -n pid=$1
    kill -TERM "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
    pid=''
}

figures_chronyd() {
    cat >"$1/chrony.conf" <<TEXT
local stratum 5
port 4479
bindaddress 127.0.0.1
allow 127.0.0.1
cmdport 0
pidfile $1/chrony.pid
driftfile $1/chrony.drift
TEXT
    # -x: it serves this machine's clock and never touches it.
    "$CHRONYD" -x -d -u root -f "$1/chrony.conf" >"$1/chrony.log" 2>&1 &
    CHRONYD_PID=$!
}

stop_figures() { [ -z "${CHRONYD_PID:-}" ] || kill "$CHRONYD_PID" 2>/dev/null || true; }

figures_latency() {
    local shown url
    url=$(collector db url --reader)
    # The fleet page needs the host's row before the browser looks for it.
    until [ "$("$(postgres_bin)/psql" -Atc "SELECT count(*) FROM samples WHERE host = 'figures'" "$url")" -gt 2 ]; do
        sleep 0.2
    done
    shown=$(CHROMIUM=$CHROMIUM node tests/browser/latency.js "http://127.0.0.1:$WEB_PORT" admin \
        "$(cat "$DATA/first-sign-in")" figures 40 |
        node -e 'const {shown} = JSON.parse(require("fs").readFileSync(0)); console.log(shown.map((s) => `(${s})`).join(","))')
    [ -n "$shown" ] || fail "the page showed no new sample within 40 s"
    figure "median, worst, samples seen" "$("$(postgres_bin)/psql" -At -F ', ' "$url" -c "
        SELECT round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)) || ' ms', round(max(ms)) || ' ms', count(*)
        FROM (SELECT shown.at - host_ns / 1e6 AS ms FROM samples
              JOIN (VALUES $shown) AS shown (lo, at) ON shown.lo = lo_ns WHERE host = 'figures') AS seen")"
}

# figures_cost NAME PID: memory now and CPU over a minute.
figures_cost() {
    sleep 15
    local before after
    before=$(cpu_ticks "$2")
    sleep 60
    after=$(cpu_ticks "$2")
    figure "$1: resident memory" "$(awk '/VmRSS/ { print $2 " KiB" }' "/proc/$2/status")"
    figure "$1: of which anonymous" "$(awk '/RssAnon/ { print $2 " KiB" }' "/proc/$2/status")"
    figure "$1: CPU per minute" "$(((after - before) * 1000 / $(getconf CLK_TCK))) ms"
}

cpu_ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; }
