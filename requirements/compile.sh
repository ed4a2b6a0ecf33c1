#!/usr/bin/env bash
# Pin every requirement file anew, with hashes and without the name of any index or host.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
    uv pip compile --quiet --generate-hashes --no-header --no-emit-index-url \
        --no-emit-find-links --no-annotate --python-version 3.11 --universal \
        --constraint requirements/constraints.txt --output-file "requirements/$1.txt" "${@:2}"
}
compile build requirements/build.in
compile run pyproject.toml --extra local --extra aws
compile dev pyproject.toml --extra local --extra aws --extra dev
