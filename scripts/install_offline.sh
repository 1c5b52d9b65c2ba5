#!/usr/bin/env bash
# Installs this project from the folder that this file lies in, without a network.
#
#   bash fairseq-distil-offline/install.sh DIRECTORY
#   PYTHON=/path/to/python3.12 bash fairseq-distil-offline/install.sh DIRECTORY
#
# DIRECTORY, which is made, gets the sources, and the environment as .venv, with the torch that PYTHON (default: python3)
# imports. scripts/bundle_for_offline.sh packs the folder.
set -euo pipefail

bundle="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
python="${PYTHON:-python3}"

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 2
}

say() { printf '[%3ds] %s\n' "$SECONDS" "$1"; }

if [[ "${1:-}" == -h || "${1:-}" == --help ]]; then
    sed -n '2,/^set -/{/^set -/!s/^#\( \|$\)//p;}' "${BASH_SOURCE[0]}"
    exit 0
fi
[[ $# == 1 && -n "$1" && "$1" != -* ]] || fail "give one new directory; see --help"
target="$1"
[[ -f "$bundle/python-version" ]] || fail "$bundle: not an unpacked bundle; make one with scripts/bundle_for_offline.sh"
[[ ! -e "$target" ]] || fail "$target: exists already; remove it, or choose another directory"
wanted="$(cat "$bundle/python-version")"
found="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" ||
    fail "$python does not run; name a Python $wanted: PYTHON=/path/to/python$wanted"
[[ "$found" == "$wanted" ]] || fail "$python is Python $found, but the bundle is for $wanted; name one with PYTHON=..."
torch_folder="$("$python" -c 'import os, torch; print(os.path.dirname(os.path.dirname(torch.__file__)))' 2>/dev/null)" ||
    fail "$python cannot import torch, which the bundle does not hold; install it, or name another Python with PYTHON=..."
for compiler in "${CC:-cc}" "${CXX:-c++}"; do
    command -v "${compiler%% *}" >/dev/null || fail "no compiler '${compiler%% *}' on PATH; fairseq is compiled here"
done
(cd "$bundle" && sha256sum --check --quiet --strict SHA256SUMS >/dev/null 2>&1) ||
    fail "$bundle: a file is missing or damaged; copy the bundle again"

finished=""
trap '[[ -n "$finished" ]] || rm -rf "$target"' EXIT
mkdir -p "$target"
tar -xzf "$bundle/sources/fairseq-distil.tar.gz" -C "$target" --strip-components 1
say "making $target/.venv"
"$python" -m venv "$target/.venv"
"$target/.venv/bin/python" - "$torch_folder" <<'PYTHON'
import pathlib, sys, sysconfig
pathlib.Path(sysconfig.get_path("purelib"), "torch-of-this-machine.pth").write_text(sys.argv[1] + "\n")
PYTHON

pip_install() {
    PIP_CONFIG_FILE=/dev/null "$target/.venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --no-index --no-deps --find-links "$bundle/wheels" "$@" ||
        fail "pip install failed, see its messages above; $target was removed"
}

say "installing the wheels"
pip_install --ignore-installed --requirement "$bundle/requirements.txt"
say "compiling fairseq (about 3 minutes)"
pip_install --no-build-isolation "$bundle"/sources/fairseq_fixed-*.tar.gz
say "installing fairseq_distil in editable mode"
pip_install --no-build-isolation --editable "$target"
"$target/.venv/bin/python" -c 'import fairseq.data.data_utils_fast, fairseq.data.token_block_utils_fast, fairseq_distil' ||
    fail "what was installed does not import; $target was removed"
finished=yes
say "done; activate it with: source '$target/.venv/bin/activate'"
