# shellcheck shell=bash
# The platform on this machine: collector with its own Postgres, pages, this host's agent.

WEB_PORT=4460 GRPC_PORT=4461 METRICS_PORT=4462 AGENT_PORT=4463
NTP=() HOSTS=200 DATA='' AGENT_DATA=''
AGENT_PID='' COLLECTOR_PID='' FLEET_PID=''
BIN=$TARGET/release

# up up|demo [OPTIONS]
up() {
    local demo=$1
    shift
    up_options "$@"
    refuse_second_start
    need_rust
    need_postgres
    build "$demo"
    refuse_second_start # building took minutes
    trap down EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    start_collector
    first_sign_in
    start_agent
    [ "$demo" = up ] || start_fleet
    greet "$demo"
    watch
}

up_options() {
    while [ $# -gt 0 ]; do
        [ $# -gt 1 ] || fail "$1: an option that is unknown or lacks its value; see ./run help"
        case "$1" in
            --ntp) NTP+=(--server "$2") ;;
            --data) mkdir -p "$2" && DATA=$(cd "$2" && pwd)/collector AGENT_DATA=$(cd "$2" && pwd)/agent ;;
            --web-port) WEB_PORT=$2 ;;
            --grpc-port) GRPC_PORT=$2 ;;
            --metrics-port) METRICS_PORT=$2 ;;
            --agent-port) AGENT_PORT=$2 ;;
            --hosts) HOSTS=$2 ;;
            *) fail "unknown option $1; see ./run help" ;;
        esac
        shift 2
    done
    DATA=${DATA:-$(default_data)} AGENT_DATA=${AGENT_DATA:-$(default_data)-agent}
}

default_data() {
    if [ "$(id -u)" -eq 0 ]; then
        say /var/lib/truechimer
    else
        say "${XDG_STATE_HOME:-$HOME/.local/state}/truechimer"
    fi
}

# http PORT PATH: prints the answer, header and all; fails when nobody listens.
http() {
    # The group keeps bash's own message of a refused connection off the screen.
    { exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
    printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$2" >&3
    tr -d '\r' <&3
    exec 3>&-
}

refuse_second_start() {
    if [[ $(http "$METRICS_PORT" /metrics || true) == *'# HELP truechimer'* ]]; then
        fail "Truechimer runs already: http://127.0.0.1:$WEB_PORT. Stop it first (Ctrl-C where it was started)."
    fi
    local taken='' port
    for port in "--web-port $WEB_PORT" "--grpc-port $GRPC_PORT" "--metrics-port $METRICS_PORT" \
        "--agent-port $AGENT_PORT"; do
        ! (exec 3<>"/dev/tcp/127.0.0.1/${port#* }") 2>/dev/null || taken+=" ${port#* } (choose another with ${port% *})"
    done
    [ -z "$taken" ] || fail "these ports of 127.0.0.1 are taken:$taken"
}

build() {
    assets
    say "Building (the first time takes some minutes)."
    local packages=(-p collector -p agent)
    [ "$1" = up ] || packages+=(-p agent-fleet)
    cargo build --release "${packages[@]}"
}

collector() {
    "$BIN/truechimer" --data-dir "$DATA" "$@"
}

start_collector() {
    mkdir -p "$DATA/log"
    # A session of its own: Ctrl-C reaches this script, which stops the parts in order.
    setsid "$BIN/truechimer" serve --data-dir "$DATA" --web-listen "127.0.0.1:$WEB_PORT" \
        --grpc-listen "127.0.0.1:$GRPC_PORT" --observe-listen "127.0.0.1:$METRICS_PORT" \
        >>"$DATA/log/collector.log" 2>&1 </dev/null &
    COLLECTOR_PID=$!
    wait_ready "the collector" "$COLLECTOR_PID" "$METRICS_PORT" "$DATA/log/collector.log"
}

# The account and the join token are made once; later starts find the files.
first_sign_in() {
    if [ ! -e "$DATA/first-sign-in" ]; then
        (
            umask 077
            head -c 15 /dev/urandom | base64 >"$DATA/first-sign-in.new"
        )
        collector user add admin --password-file "$DATA/first-sign-in.new" >/dev/null
        mv "$DATA/first-sign-in.new" "$DATA/first-sign-in"
        NEW_ACCOUNT=yes
    fi
    mkdir -p "$AGENT_DATA"
    if [ ! -e "$AGENT_DATA/join-token" ]; then
        (
            umask 077
            collector token create --label "made by ./run" >"$AGENT_DATA/join-token.new"
        )
        mv "$AGENT_DATA/join-token.new" "$AGENT_DATA/join-token"
    fi
}

start_agent() {
    mkdir -p "$AGENT_DATA/log"
    setsid "$BIN/truechimer-agent" run --state-dir "$AGENT_DATA" --observe "127.0.0.1:$AGENT_PORT" \
        --collector "http://127.0.0.1:$GRPC_PORT" --join-token-file "$AGENT_DATA/join-token" "${NTP[@]}" \
        >>"$AGENT_DATA/log/agent.log" 2>&1 </dev/null &
    AGENT_PID=$!
    wait_ready "the agent" "$AGENT_PID" "$AGENT_PORT" "$AGENT_DATA/log/agent.log"
}

start_fleet() {
    setsid "$BIN/truechimer-fleet" --hosts "$HOSTS" --collector "http://127.0.0.1:$GRPC_PORT" \
        --join-token-file "$AGENT_DATA/join-token" --state-dir "$AGENT_DATA/fleet" \
        >>"$AGENT_DATA/log/fleet.log" 2>&1 </dev/null &
    FLEET_PID=$!
}

# wait_ready NAME PID PORT LOG: until /readyz says 200; says what it waits for when that changes.
wait_ready() {
    local answer said='' now deadline=$((SECONDS + 90))
    say "Starting $1."
    while true; do
        answer=$(http "$3" /readyz || true)
        case "$answer" in "HTTP/1."?" 200"*) return ;; esac
        now=${answer##*$'\n\n'}
        [ "$now" = "$said" ] || { said=$now && say "  waiting: $now"; }
        if ! kill -0 "$2" 2>/dev/null || [ $SECONDS -ge $deadline ]; then
            printf '%s\n' "$1 did not become ready. The end of its log ($4):" >&2
            tail -n 15 "$4" >&2
            exit 1
        fi
        sleep 0.1
    done
}

greet() {
    say ""
    say "  Truechimer   http://127.0.0.1:$WEB_PORT"
    if [ -n "${NEW_ACCOUNT:-}" ]; then
        say "  sign in      admin / $(cat "$DATA/first-sign-in")"
        say "               (kept in $DATA/first-sign-in, readable by you only)"
    else
        say "  sign in      admin; the first password is in $DATA/first-sign-in"
    fi
    say "  SQL          ./run sql$([ "$DATA" = "$(default_data)" ] || printf ' --data %s' "${DATA%/collector}")"
    say "  logs         $DATA/log, $AGENT_DATA/log"
    [ "$1" = up ] || say "  simulated    $HOSTS hosts; every page labels them"
    say ""
    say "Ctrl-C stops everything; the data stays."
}

# Until Ctrl-C, or until a part ends by itself.
watch() {
    local part
    wait -n -p part || true
    case "${part:-}" in
        "$COLLECTOR_PID")
            tail -n 15 "$DATA/log/collector.log" >&2
            [ ! -e "$DATA/postgres/data/postmaster.pid" ] || say "Its Postgres goes on; the next start takes it over."
            fail "the collector ended"
            ;;
        "$AGENT_PID") tail -n 15 "$AGENT_DATA/log/agent.log" >&2 && fail "the agent ended" ;;
        *) tail -n 15 "$AGENT_DATA/log/fleet.log" >&2 && fail "the simulated fleet ended" ;;
    esac
}

# Reporters first, so that what they flush is still taken.
down() {
    local pid
    trap '' INT TERM HUP
    for pid in "$FLEET_PID" "$AGENT_PID" "$COLLECTOR_PID"; do
        if [ -n "$pid" ] && kill -TERM "$pid" 2>/dev/null; then
            [ -n "${STOPPING:-}" ] || say "Stopping."
            STOPPING=yes
            wait "$pid" 2>/dev/null || true
        fi
    done
}

# sql [--data DIR] [PSQL ARGS...]
sql() {
    local state=()
    [ "${1:-}" != --data ] || { state=(--data "${2:-}") && shift 2; }
    up_options "${state[@]}"
    need_postgres
    [ -x "$BIN/truechimer" ] || fail "nothing is built in $TARGET yet: ./run up first (or set CARGO_TARGET_DIR as there)"
    [ -e "$DATA/postgres" ] || fail "no platform in $DATA: ./run up first, or name it with --data"
    local url
    url=$(collector db url --reader)
    exec "$(postgres_bin)/psql" "$url" "$@"
}
