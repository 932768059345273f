#!/bin/sh
# Pins every dependency of pyproject.toml with hashes, and no index address.
# Usage: scripts/pin.sh [--upgrade]; needs uv.
set -eu
cd "$(dirname "$0")/.."
uv=$(command -v uv || echo .venv/bin/uv)
pin() {
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-header "$@"
}
pin pyproject.toml -o requirements/base.txt "$@"
pin pyproject.toml --extra aws -o requirements/aws.txt "$@"
pin pyproject.toml --extra aws --group dev -o requirements/dev.txt "$@"
printf 'uv\n' | pin - -o requirements/uv.txt "$@"
