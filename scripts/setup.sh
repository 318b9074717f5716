#!/usr/bin/env bash
# Makes sure that what the build and the demo need is there: says nothing when it is, installs it on
# Debian and Ubuntu when it may, and otherwise prints the one line to run.
#
# Usage: scripts/setup.sh [test|peers]  also checks for what only the tests, or bench-peers, need
set -euo pipefail

# As MAJOR_MIN in src/private_postgres/binaries.rs.
POSTGRES_MAJOR_MIN=15

purpose=${1:-run}

say() { printf 'setup: %s\n' "$*" >&2; }

c_program_links() {
    printf '#include <stdlib.h>\nint main(void) { return EXIT_SUCCESS; }\n' |
        cc -x c - -o /dev/null "$@" 2>/dev/null
}

# The directories that Rowcall itself searches, see src/private_postgres/binaries.rs.
postgres_directories() {
    if [ -n "${PG_BIN:-}" ]; then
        echo "$PG_BIN"
        return
    fi
    pg_config --bindir 2>/dev/null || true
    printf '%s\n' /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin
    tr ':' '\n' <<<"$PATH"
}

postgres_is_there() {
    local directory version
    while read -r directory; do
        [ -x "$directory/postgres" ] && [ -x "$directory/initdb" ] && [ -x "$directory/pg_ctl" ] || continue
        version=$("$directory/postgres" --version) || continue
        version=${version#*"(PostgreSQL) "}
        version=${version%%[!0-9]*}
        [ "${version:-0}" -ge "$POSTGRES_MAJOR_MIN" ] && return
    done < <(postgres_directories)
    return 1
}

# The Debian packages of what is missing.
missing_packages() {
    # Debian's gcc comes without the C headers, hence the second package. They build aws-lc-sys.
    c_program_links || echo gcc libc6-dev
    # Both are asked for: pg_config tells pq-sys where the library is.
    { command -v pg_config >/dev/null && c_program_links -lpq; } || echo libpq-dev
    # The server's package has pgbench too; psql comes with it.
    postgres_is_there || echo postgresql
    # The demo prints commands to try, and a test runs them.
    command -v curl >/dev/null || echo curl
    [ -e /etc/ssl/certs/ca-certificates.crt ] || [ "$(uname)" = Darwin ] || echo ca-certificates
    if [ "$purpose" = test ]; then
        python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3 python3-venv
        # A mail server that nobody here wrote. Debian's package is for the system's own Python.
        python3 -c 'import aiosmtpd' 2>/dev/null ||
            /usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null || echo python3-aiosmtpd
        # Another implementation verifies signatures.
        command -v openssl >/dev/null || echo openssl
        # The receivers of docs/receivers are run.
        command -v node >/dev/null || echo nodejs
        command -v php >/dev/null || echo php-cli
    fi
    if [ "$purpose" = peers ]; then
        command -v node >/dev/null || echo nodejs
        command -v npm >/dev/null || echo npm
    fi
}

apt_install() {
    local shadow=$scratch/shadow log=$scratch/apt.log path
    local as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
    # The server's package makes and starts a cluster, by a program that it looks for in PATH. Nobody
    # asked for that cluster: ours is private. So it finds one that does nothing, which leaves no
    # trace in the system's configuration.
    mkdir "$shadow"
    printf '#!/bin/sh\nexit 0\n' >"$shadow/pg_createcluster"
    chmod 755 "$scratch" "$shadow" "$shadow/pg_createcluster"
    path=$shadow:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    say "installing $*"
    if ! {
        "${as_root[@]}" apt-get update -qq &&
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
                -o DPkg::Lock::Timeout=300 -o "DPkg::Path=$path" "$@"
    } </dev/null >"$log" 2>&1; then
        cat "$log" >&2
        return 1
    fi
}

may_apt_install() {
    command -v apt-get >/dev/null && { [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; }
}

if ! command -v cargo >/dev/null; then
    say "Rust is missing. Install it from https://rustup.rs and open a new shell."
    exit 1
fi

if [ -n "${PG_BIN:-}" ] && ! postgres_is_there; then
    say "PG_BIN=$PG_BIN holds no PostgreSQL server of version $POSTGRES_MAJOR_MIN or later. Correct it, or unset it."
    exit 1
fi

read -r -d '' -a missing < <(missing_packages) || true
[ "${#missing[@]}" -gt 0 ] || exit 0

scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT

if may_apt_install && apt_install "${missing[@]}"; then
    read -r -d '' -a missing < <(missing_packages) || true
    [ "${#missing[@]}" -gt 0 ] || exit 0
    say "still missing after the installation: ${missing[*]}"
    say "PostgreSQL $POSTGRES_MAJOR_MIN or later is needed; for an older system see https://www.postgresql.org/download/"
    exit 1
fi

say "missing: ${missing[*]}. Please run:"
if command -v apt-get >/dev/null; then
    say "    sudo apt-get install ${missing[*]}"
elif [ "$(uname)" = Darwin ]; then
    say "    brew install postgresql libpq && brew link --force libpq"
else
    say "    your package manager, for a C compiler, libpq with headers, and the PostgreSQL server"
fi
exit 1
