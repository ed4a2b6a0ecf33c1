#!/usr/bin/env bash
# Pin every requirement file anew, with hashes and without the name of any index or host.
set -euo pipefail
cd "$(dirname "$0")/.."
pin() {
    uv pip compile --quiet --generate-hashes --no-header --no-emit-index-url \
        --no-emit-find-links --no-annotate --python-version 3.11 \
        --output-file "requirements/$1.txt" "${@:2}"
}
compile() {
    pin "$1" --universal --constraint requirements/constraints.txt "${@:2}"
}
# For the image of Glue 5.1, and from wheels alone: nothing is compiled there.
compile_glue() {
    pin "$1" --python-platform x86_64-manylinux_2_28 --only-binary :all: \
        --constraint requirements/glue-image.txt "${@:2}"
}
on_image="$(sed -nE 's/^([a-z0-9.-]+)==.*/--no-emit-package \1/p' requirements/glue-image.txt)"

compile build requirements/build.in
compile run pyproject.toml --extra local --extra aws
compile dev pyproject.toml --extra local --extra aws --extra dev
compile_glue glue $on_image pyproject.toml --extra aws
compile_glue glue-check requirements/glue-check.in
