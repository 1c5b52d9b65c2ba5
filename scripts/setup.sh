#!/usr/bin/env bash
# Makes .venv at the repository root, with the versions in constraints.txt and this project in editable mode.
#
#   bash scripts/setup.sh
#   PYTHON=/path/to/python3.12 bash scripts/setup.sh
#
# Does nothing when that is done already. Brings .venv up to date when constraints.txt, setup.py or this script has
# changed, and makes it anew when an earlier run was cut short, the repository has moved or PYTHON has another version.
# Your own pip settings (PIP_INDEX_URL, PIP_FIND_LINKS, ...) and CC and CXX are heeded.
set -euo pipefail

root="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
venv="$root/.venv"
finished="$venv/setup-finished"     # holds the fingerprint of what was installed
unfinished="$venv/setup-unfinished" # holds the process id of the run that is installing

describe_python='import sys
print("%d.%d.%d %s" % (sys.version_info[:3] + (getattr(sys, "_base_executable", sys.executable),)))'

say() { printf '[%3ds] %s\n' "$SECONDS" "$1"; }

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 2
}

# Sets `python`, the interpreter outside any virtual environment, and `version`, of the first candidate that will do.
choose_python() {
    local candidate found="" candidates=(python3.11 python3.12 python3)
    [[ ! -e "$venv/bin/python" ]] || candidates=("$venv/bin/python" "${candidates[@]}")
    [[ -z "${PYTHON:-}" ]] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        read -r version python < <("$candidate" -c "$describe_python" 2>/dev/null) || continue
        case "$version" in 3.11.* | 3.12.*) return ;; esac
        found+="${found:+, }$candidate is Python $version"
    done
    fail "no supported Python: ${found:-none of these runs: ${candidates[*]}}. Needed: Python 3.11 or 3.12. \
Install one, or name it: PYTHON=/path/to/python3.11 bash scripts/setup.sh"
}

fingerprint() {
    "$python" -c 'import hashlib, sys
digest = hashlib.sha256("\n".join(sys.argv[1:3]).encode())
for path in sys.argv[3:]:
    with open(path, "rb") as file:
        digest.update(file.read())
print(digest.hexdigest())' "$version" "$root" "$root/constraints.txt" "$root/setup.py" "$root/scripts/setup.sh"
}

# fairseq-fixed comes as source: it is compiled against this Python and torch.
check_build_tools() {
    local compiler header
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python (Python $version) cannot make virtual environments: its venv or ensurepip module is missing. \
Install it (Debian, Ubuntu: apt install python${version%.*}-venv), or name another Python with PYTHON=..."
    header="$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h"
    [[ -e "$header" ]] ||
        fail "$header not found; needed to compile fairseq-fixed. Install the headers of Python ${version%.*} \
(Debian, Ubuntu: apt install python${version%.*}-dev), or name another Python with PYTHON=..."
    for compiler in "${CC:-cc}" "${CXX:-c++}"; do
        command -v "${compiler%% *}" >/dev/null ||
            fail "no compiler '${compiler%% *}' on PATH; a C and a C++ compiler are needed to compile fairseq-fixed. \
Install them (Debian, Ubuntu: apt install build-essential), or name them with CC=... and CXX=..."
    done
}

refuse_second_run() {
    local process
    if process="$(cat "$unfinished" 2>/dev/null)" && [[ -n "$process" ]] && kill -0 "$process" 2>/dev/null; then
        fail "another setup.sh (process $process) is installing into $venv. Wait until it has ended, \
or remove $unfinished if it is none"
    fi
}

# An environment is worth keeping when it is whole, at this place and of the chosen Python version.
discard_unusable_environment() {
    [[ -e "$venv" ]] || return 0
    if [[ -e "$unfinished" ]]; then
        say "removing .venv, which an earlier run left unfinished"
    elif [[ "$("$venv/bin/python" -V 2>&1)" != "Python $version" ]] || ! grep -qF "$venv" "$venv/bin/activate"; then
        say "removing .venv, which is for another Python or another place"
    else
        return 0
    fi
    rm -rf "$venv"
}

pip_install() {
    "$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check "$@" ||
        fail "pip install failed, see its messages above. Once the cause is mended, run scripts/setup.sh again"
}

install_packages() {
    say "installing torch and the build tools (downloads up to a few GB where pip finds no CPU build)"
    pip_install --constraint "$root/constraints.txt" torch numpy Cython setuptools wheel
    say "installing fairseq and the other packages (compiles for about 3 minutes the first time)"
    pip_install --no-deps --no-build-isolation --requirement "$root/constraints.txt"
    say "installing fairseq_distil in editable mode"
    pip_install --no-deps --no-build-isolation --editable "$root"
}

check_environment() {
    local problems
    say "checking what was installed"
    problems="$("$venv/bin/python" -m pip check | grep -v -E '^No broken|requires torchaudio, which is not' || true)"
    [[ -z "$problems" ]] || fail "constraints.txt and setup.py disagree: ${problems//$'\n'/; }"
    "$venv/bin/python" -c 'import fairseq.data.data_utils_fast, fairseq.data.token_block_utils_fast' 2>/dev/null ||
        fail "fairseq's compiled parts do not import, perhaps a build for another torch or numpy in pip's cache. \
Run: pip cache remove fairseq_fixed; then scripts/setup.sh again"
}

choose_python
wanted="$(fingerprint)"
if [[ ! -e "$unfinished" && "$(cat "$finished" 2>/dev/null)" == "$wanted" ]]; then
    echo "setup: $venv is up to date (Python $version)"
    exit 0
fi
refuse_second_run
check_build_tools
discard_unusable_environment

say "preparing $venv with Python $version ($python)"
mkdir -p "$venv"
echo $$ >"$unfinished"
rm -f "$finished"
"$python" -m venv "$venv"
install_packages
check_environment
echo "$wanted" >"$finished.new"
mv "$finished.new" "$finished"
rm "$unfinished"
say "done; activate it with: source '$venv/bin/activate'"
