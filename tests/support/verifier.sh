#!/bin/sh
# Prepares target/verifier: a Python environment with the published Standard Webhooks verifier.
# Does nothing if it is ready. Run by tests/webhook.rs when needed; running it by hand is harmless.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
requirements="$root/tests/support/verifier-requirements.txt"
venv="$root/target/verifier"
ready="$venv/.ready"

# The copy of the requirements tells whether they have changed since.
if [ -f "$ready" ] && cmp -s "$requirements" "$ready"; then
    exit 0
fi

command -v python3 >/dev/null 2>&1 || {
    echo "verifier.sh: python3 is missing; install it: apt-get install python3 python3-venv" >&2
    exit 1
}
rm -rf "$venv"
mkdir -p "$root/target"
python3 -m venv "$venv" || {
    echo "verifier.sh: python3 has no venv module; install it: apt-get install python3-venv" >&2
    exit 1
}
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --require-hashes --requirement "$requirements" || {
    echo "verifier.sh: pip could not install $requirements; is a package index reachable?" >&2
    exit 1
}
cp "$requirements" "$ready"
