# shellcheck shell=bash
# A throw-away Postgres for tests: no network, no durability, gone afterwards.

# Runs a command as a user that Postgres accepts: it refuses root.
unprivileged() {
    if [ "$(id -u)" -ne 0 ]; then
        "$@"
    else
        local user=nobody
        id postgres >/dev/null 2>&1 && user=postgres
        setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups -- "$@"
    fi
}

# Sets DATABASE_URL. stop_postgres ends it.
start_postgres() {
    local bin base=/tmp
    bin=$(postgres_bin)
    [ -w /dev/shm ] && base=/dev/shm
    PG_SCRATCH=$(mktemp -d "$base/truechimer-test.XXXXXX")
    [ "$(id -u)" -ne 0 ] || chmod 777 "$PG_SCRATCH"
    unprivileged "$bin/initdb" -D "$PG_SCRATCH/data" -U postgres -A trust -N -E UTF8 --locale=C \
        >"$PG_SCRATCH/initdb.log" || fail "initdb failed: $(tail -3 "$PG_SCRATCH/initdb.log")"
    unprivileged "$bin/pg_ctl" -D "$PG_SCRATCH/data" -l "$PG_SCRATCH/data/log" -w -s start -o \
        "-F -k '$PG_SCRATCH' -c listen_addresses='' -c max_connections=300 -c full_page_writes=off" \
        </dev/null || fail "the test database did not start: $(tail -5 "$PG_SCRATCH/data/log")"
    export DATABASE_URL="postgres://postgres@localhost/postgres?host=$PG_SCRATCH"
}

stop_postgres() {
    [ -n "${PG_SCRATCH:-}" ] || return 0
    unprivileged "$(postgres_bin)/pg_ctl" -D "$PG_SCRATCH/data" -m immediate -s stop || true
    rm -rf "$PG_SCRATCH"
    PG_SCRATCH=
}
