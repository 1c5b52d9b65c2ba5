#!/usr/bin/env bash
# Trains a small BERT on real text, distils it into a student of half its depth, trains the same student without a
# teacher, and compares the three.
#
#   bash scripts/quickstart.sh [TEXT …] [--fast] [--seed N] [--output DIRECTORY]
#
#   TEXT      plain, .gz or .xz text, blank lines between documents; without it, the documentation of the installed
#             Python packages, which is on the machine already
#   --fast    a smaller run, for at most 4 minutes (default: at most 20) on 2 cores
#   --seed    seed of data order, masks and weights (default: 1)
#   --output  what to write to; an interrupted run goes on from there (default: runs/quickstart, or runs/quickstart-fast)
#
# The time is kept by measuring the machine first and making fewer updates on a slow or busy one: all of them on 2 cores
# with bfloat16 instructions (AMX, AVX512-BF16), about 40 % on 2 cores with AVX2 alone, and never less than 5 %. It says
# how many, and how long it takes. The install that comes before is not counted. A text of much more than 20 MB takes
# longer to prepare than there is time for.
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

# What the results are of, in one line.
settings() {
    local text
    [ ${#texts[@]} -gt 0 ] || printf 'the documentation of the installed Python packages, '
    for text in ${texts[@]+"${texts[@]}"}; do
        printf '%s (%s bytes of %s), ' "$text" "$(stat -c %s "$text")" "$(date -u -r "$text" '+%F %T.%N')"
    done
    printf 'seed %s%s\n' "$seed" "${fast:+, fast}"
}

# keep FILE: writes standard input to it, all of it or nothing
keep() {
    cat >"$1.partial"
    mv "$1.partial" "$1"
}

settings=$(settings)
if [ -f "$output/settings" ]; then
    held=$(cat "$output/settings")
elif [ -d "$output/data" ]; then
    held="settings that are not known"
else
    held=$settings
fi
[ "$held" = "$settings" ] || fail "$output holds a run of $held; remove it or choose another --output"

cd "$(dirname "$0")/.."
source scripts/interruptible.sh
run bash scripts/setup.sh
source .venv/bin/activate
SECONDS=0
export PYTHONWARNINGS=ignore TOKENIZERS_PARALLELISM=false
mkdir -p "$output"
keep "$output/settings" <<<"$settings"

vocabulary=8000 words=4000000 most_teacher_updates=3500 most_student_updates=600 most_minutes=20
if [ -n "$fast" ]; then
    vocabulary=4000 words=400000 most_teacher_updates=900 most_student_updates=150 most_minutes=4
fi

step() {
    echo
    echo "== $1"
}

# train NAME UPDATES [OVERRIDE …]: the log goes to a file, the progress stays on the screen
train() {
    local name=$1 updates=$2 log="$output/$1.log" validation=200
    shift 2
    [ "$updates" -ge 600 ] || validation=$((updates > 150 ? updates / 3 : 50))
    if [ -e "$output/$name/finished" ]; then
        echo "$name: finished before"
        return
    fi
    run python examples/quickstart/run_training.py --name "$name" --updates "$updates" --log "$log" \
        fairseq-hydra-train --config-dir "$PWD/examples/quickstart/config" --config-name "$name" \
        task.data="$output/data" task.autocast_dtype="$dtype" common.seed="$seed" \
        common.log_format=json common.log_interval=10 \
        optimization.max_update="$updates" lr_scheduler.warmup_updates=$((updates < 400 ? updates / 4 : 100)) \
        dataset.validate_interval_updates=$validation \
        checkpoint.save_dir="$output/$name" "$@" || fail "training stopped; see $log"
    touch "$output/$name/finished"
}

if [ ! -d "$output/data" ]; then
    if [ ${#texts[@]} -eq 0 ]; then
        step "1/5 Collecting text: the documentation of the installed Python packages"
        [ -f "$output/documentation.txt" ] ||
            run python examples/quickstart/collect_documentation.py --most-words $words --output "$output/documentation.txt"
        texts=("$output/documentation.txt")
    fi
    step "1/5 Preparing data: SentencePiece, $vocabulary symbols"
    run python scripts/prepare_data.py --input "${texts[@]}" --valid-fraction 0.02 --tokenizer sentencepiece \
        --vocab-size $vocabulary --output "$output/data"
fi
if [ ! -f "$output/plan" ]; then
    step "1/5 Measuring this machine"
    run python examples/quickstart/plan_training.py --data "$output/data" --teacher-updates $most_teacher_updates \
        --student-updates $most_student_updates --minutes $most_minutes --elapsed $SECONDS >"$output/plan.partial"
    mv "$output/plan.partial" "$output/plan"
    read -r _ _ _ minutes <"$output/plan"
    echo "about $minutes more minutes on this machine"
fi
read -r dtype teacher_updates student_updates _ <"$output/plan"
echo "updates: $teacher_updates of the teacher (at most $most_teacher_updates)," \
    "$student_updates of each student (at most $most_student_updates)"
if [ $((5 * teacher_updates)) -lt $most_teacher_updates ]; then
    echo "warning: this machine is slow, or busy with other work: so few updates teach little" >&2
fi
step "2/5 Training the teacher"
train teacher "$teacher_updates"
step "3/5 Distilling it into a student of half its depth"
train student "$student_updates" model.teacher="$output/teacher/checkpoint_best.pt"
step "4/5 Training the same student without a teacher"
train no_teacher "$student_updates"
step "5/5 Comparing them on held-out text"
models=() runs=()
for name in teacher student no_teacher; do
    models+=(--model "$name=$output/$name/checkpoint_best.pt")
    runs+=(--run "$name=$output/$name/tensorboard")
done
mapfile -t sentences < <(sed 's/^/--sentence=/' examples/quickstart/sentences.txt)
run python scripts/evaluate.py "${models[@]}" --data "$output/data" --output "$output" "${sentences[@]}"
run python scripts/plot_training.py "${runs[@]}" --output "$output/curves.png"
echo
echo "Wrote $output/report.md, $output/curves.png and the checkpoints. Curves live: tensorboard --logdir $output"
