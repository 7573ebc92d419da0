# shellcheck shell=bash
# docs/SQL.md: what docs/sql/ says by hand, then every object of schema fleet by its comment.

# sql_docs [--check]
sql_docs() {
    need_postgres
    trap stop_postgres EXIT
    start_postgres
    case "${1:-}" in
        --check) sql_docs_check ;;
        '')
            sql_docs_text >docs/SQL.md
            say "docs/SQL.md is up to date."
            ;;
        *) fail "unknown option $1" ;;
    esac
}

# Needs DATABASE_URL.
sql_docs_text() {
    local psql url migration
    psql=$(postgres_bin)/psql
    "$psql" -q "$DATABASE_URL" -c 'CREATE DATABASE sql_docs'
    url=${DATABASE_URL/'/postgres?'/'/sql_docs?'}
    for migration in migrations/*.sql; do
        "$psql" -q -1 -v ON_ERROR_STOP=1 -o /dev/null -f "$migration" "$url"
    done
    cat docs/sql/intro.md
    for part in docs/sql/*.md; do
        [ "$part" = docs/sql/intro.md ] || { printf '\n' && cat "$part"; }
    done
    "$psql" -qAt -v ON_ERROR_STOP=1 -f run.d/sql_docs.sql "$url"
    "$psql" -q "$DATABASE_URL" -c 'DROP DATABASE sql_docs'
}

# Fails when the committed document is not what comments and docs/sql/ make.
sql_docs_check() {
    sql_docs_text | diff -u docs/SQL.md - ||
        { say "docs/SQL.md is stale: ./run sql-docs, then commit it."; return 1; }
}
