#!/bin/sh
# Makes or refreshes .venv from requirements/<group>.txt, every file checked by hash.
# Usage: scripts/install.sh base|aws|dev
# uv does it in a second; pip does the same where uv cannot be had.
set -eu
group=$1
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Floom needs Python 3.11 or newer; $python is $("$python" -V 2>&1). Set PYTHON=/path/to/python3.11" >&2
    exit 1
}
if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c '' 2>/dev/null; then
    rm -rf .venv
    "$python" -m venv .venv || {
        echo "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv" >&2
        exit 1
    }
fi
uv=$(command -v uv || true)
if [ -z "$uv" ]; then
    [ -x .venv/bin/uv ] || .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --require-hashes -r requirements/uv.txt 2>/dev/null || true
    [ -x .venv/bin/uv ] && uv=.venv/bin/uv
fi
# The host's own certificates, which a company's proxy may have added to; uv
# brings others. Where uv fails all the same, pip may be set up for this host.
export UV_SYSTEM_CERTS=1
with_uv() {
    [ -n "$uv" ] && "$uv" pip install --quiet --python .venv/bin/python --no-deps \
        --require-hashes -r "requirements/$group.txt"
}
# The other sets contain the base set: one install marks both.
with_uv || .venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --no-deps --require-hashes -r "requirements/$group.txt"
.venv/bin/python -m compileall -q .venv/lib >/dev/null 2>&1 || true
touch ".venv/$group.stamp"
[ "$group" = base ] || touch .venv/base.stamp
