#!/usr/bin/env bash
# Trains a small BERT on real text, distils it into a student of half its depth, trains the same student without a
# teacher, and compares the three.
#
#   bash scripts/quickstart.sh [TEXT …] [--fast] [--seed N] [--output DIRECTORY]
#
#   TEXT      plain, .gz or .xz text, blank lines between documents; without it, the documentation of the installed
#             Python packages, which is on the machine already
#   --fast    a smaller teacher, for at most 4 minutes (default: at most 20) on 2 cores
#   --seed    seed of data order, masks and weights (default: 1)
#   --output  what to write to; an interrupted run goes on from there (default: runs/quickstart, or runs/quickstart-fast)
set -euo pipefail

fail() {
    echo "error: $1" >&2
    exit 2
}

texts=() fast="" seed=1 output=""
while [ $# -gt 0 ]; do
    case "$1" in
        --fast) fast=yes ;;
        --seed) [[ "${2-}" =~ ^[0-9]+$ ]] || fail "--seed needs a number, found '${2-}'"; seed=$2; shift ;;
        --output) [ -n "${2-}" ] || fail "--output needs a directory"; output=$2; shift ;;
        -h | --help) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"; exit 0 ;;
        -*) fail "unknown option $1; see --help" ;;
        *)
            [[ -r "$1" && ! -d "$1" ]] || fail "$1: no such file, or it cannot be read"
            texts+=("$(realpath "$1")")
            ;;
    esac
    shift
done
output=$(realpath -m "${output:-$(dirname "$0")/../runs/quickstart${fast:+-fast}}")

cd "$(dirname "$0")/.."
bash scripts/setup.sh
source .venv/bin/activate
export PYTHONWARNINGS=ignore TOKENIZERS_PARALLELISM=false
mkdir -p "$output"

overrides=(task.data="$output/data" common.seed="$seed" task.autocast_dtype="$(python examples/quickstart/fastest_dtype.py)")
vocabulary=8000 words=4000000 teacher_updates=3500 student_updates=600
if [ -n "$fast" ]; then
    vocabulary=4000 words=400000 teacher_updates=900 student_updates=150
fi

step() {
    echo
    echo "== $1"
}

# train NAME [OVERRIDE …]: the log goes to a file, the bar stays on the screen
train() {
    local name=$1 log="$output/$1.log"
    shift
    fairseq-hydra-train --config-dir "$PWD/examples/quickstart/config" --config-name "$name" "${overrides[@]}" \
        checkpoint.save_dir="$output/$name" "$@" >>"$log" || fail "training stopped; see $log"
    tail -n 400 "$log" | grep -o 'valid on .*' | tail -n 1 || true
}

if [ ! -d "$output/data" ]; then
    if [ ${#texts[@]} -eq 0 ]; then
        step "1/5 Collecting text: the documentation of the installed Python packages"
        [ -f "$output/documentation.txt" ] ||
            python examples/quickstart/collect_documentation.py --most-words $words --output "$output/documentation.txt"
        texts=("$output/documentation.txt")
    fi
    step "1/5 Preparing data: SentencePiece, $vocabulary symbols"
    python scripts/prepare_data.py --input "${texts[@]}" --valid-fraction 0.02 --tokenizer sentencepiece \
        --vocab-size $vocabulary --output "$output/data"
fi
step "2/5 Training the teacher"
train teacher optimization.max_update=$teacher_updates
step "3/5 Distilling it into a student of half its depth"
train student optimization.max_update=$student_updates model.teacher="$output/teacher/checkpoint_best.pt"
step "4/5 Training the same student without a teacher"
train no_teacher optimization.max_update=$student_updates
step "5/5 Comparing them on held-out text"
models=() runs=()
for name in teacher student no_teacher; do
    models+=(--model "$name=$output/$name/checkpoint_best.pt")
    runs+=(--run "$name=$output/$name/tensorboard")
done
mapfile -t sentences < <(sed 's/^/--sentence=/' examples/quickstart/sentences.txt)
python scripts/evaluate.py "${models[@]}" --data "$output/data" --output "$output" "${sentences[@]}"
python scripts/plot_training.py "${runs[@]}" --output "$output/curves.png"
echo
echo "Wrote $output/report.md, $output/curves.png and the checkpoints. Curves live: tensorboard --logdir $output"
