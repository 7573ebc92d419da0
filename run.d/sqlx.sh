# shellcheck shell=bash
# collector/store/.sqlx holds what the SQL macros need to know of the database, so that building
# needs none. It is made by compiling the crate against a database that has the migrations.

# sqlx [--check]
sqlx() {
    need_rust
    need_postgres
    trap stop_postgres EXIT
    start_postgres
    case "${1:-}" in
        --check) sqlx_check ;;
        '')
            sqlx_metadata "$ROOT/collector/store/.sqlx"
            say "collector/store/.sqlx is up to date."
            ;;
        *) fail "unknown option $1" ;;
    esac
}

# Writes the metadata of every query into folder $1, in place of what is there. Needs DATABASE_URL.
sqlx_metadata() {
    local folder=$1 psql
    psql=$(postgres_bin)/psql
    "$psql" -q "$DATABASE_URL" -c 'CREATE DATABASE sqlx_metadata'
    local url=${DATABASE_URL/'/postgres?'/'/sqlx_metadata?'}
    for migration in migrations/*.sql; do
        "$psql" -q -1 -v ON_ERROR_STOP=1 -o /dev/null -f "$migration" "$url"
    done
    mkdir -p "$folder"
    rm -f "$folder"/query-*.json
    touch collector/store/src/lib.rs # the macros run only when the crate is compiled
    SQLX_OFFLINE=false DATABASE_URL=$url SQLX_OFFLINE_DIR=$folder \
        cargo check --quiet -p store --all-targets
    touch collector/store/src/lib.rs
    "$psql" -q "$DATABASE_URL" -c 'DROP DATABASE sqlx_metadata'
}

# Fails when the committed metadata is not what the migrations and queries make.
sqlx_check() {
    local fresh=$TARGET/sqlx-metadata
    sqlx_metadata "$fresh"
    diff -rq "$fresh" collector/store/.sqlx ||
        { say "collector/store/.sqlx is stale: ./run sqlx, then commit it."; return 1; }
}
