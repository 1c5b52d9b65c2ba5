#!/usr/bin/env bash
# Lint and tests, offline once scripts/setup.sh has installed everything (it is called first).
#
#   bash scripts/test.sh                        lint, then the fast tests
#   bash scripts/test.sh --all                  the slow tests too, with fuzzing of another seed each time
#   bash scripts/test.sh [--all] PYTEST-OPTIONS such as: tests/losses -k temperature -x
#
# --all comes first; paths of tests are relative to the repository root. FUZZ_SECONDS is the time for each reader that is
# fuzzed, 10 by default. An input that fails is found again by the last seed in the output of its test:
#
#   FUZZ_SEED=SEED FUZZ_SECONDS=0 bash scripts/test.sh --all tests/fuzzing -k NAME
set -euo pipefail

root="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
cd "$root"
bash scripts/setup.sh

export HF_HUB_OFFLINE=1             # a test that wants a download fails at once, with or without a network
export TOKENIZERS_PARALLELISM=false # the tests start processes, which tokenizers warns about
export MPLBACKEND=Agg               # plots need no display
export PATH="$root/.venv/bin:$PATH" # tests run fairseq-train and its kin as commands

if [[ "${1:-}" == --all ]]; then
    shift
    export FUZZ_SEED="${FUZZ_SEED:-$RANDOM}" # the same for the processes of all tests
    echo "FUZZ_SEED=$FUZZ_SEED"
else
    set -- -m "not slow" "$@"
fi

ruff check .
ruff format --check .
# Files of tests side by side, on the cores there are; more than four would want much memory.
python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile "$@"
