#!/usr/bin/env bash
# Students that each lack a part of the method, with the same number of updates, and a report of all of them.
#
#   bash examples/ablation/run.sh --teacher CHECKPOINT --data DATA --output DIRECTORY [--updates N] [--recipe YAML]
#       [--glue DIR] [--squad DIR] [--own NAME=DIR] [--tasks A,B] [--seeds N] [--jobs N] [--override KEY=VALUE]
#       [KEY=VALUE ...]
#
#   --teacher  checkpoint of this plugin to distil
#   --data     prepared data that it was trained on
#   --output   what to write to; an interrupted run goes on from there
#   --updates  of each student (default: 600)
#   --recipe   of the student (default: examples/quickstart/config/student.yaml)
#   --glue, --squad, --own, --tasks, --seeds, --jobs, --override
#              fine-tune the teacher and the students too, as scripts/evaluate.py does
#   KEY=VALUE  settings of the recipe for all students, such as task.tokens_per_sample=128
set -euo pipefail

fail() {
    echo "error: $1" >&2
    exit 2
}

root="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)"
teacher="" data="" output="" updates=600 recipe="$root/examples/quickstart/config/student.yaml"
overrides=() fine_tuning=() has_tasks=""
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"; exit 0 ;;
        --teacher | --data | --output | --updates | --recipe | \
            --glue | --squad | --own | --tasks | --seeds | --jobs | --override)
            [ -n "${2-}" ] || fail "$1 needs a value; see --help"
            case "$1" in
                --glue | --squad)
                    [ -d "$2" ] || fail "$1 $2: no such directory"
                    has_tasks=yes
                    fine_tuning+=("$1" "$(realpath "$2")")
                    ;;
                --own)
                    [[ "$2" == ?*=?* ]] || fail "--own $2: not NAME=DIR"
                    [ -d "${2#*=}" ] || fail "--own $2: no such directory"
                    has_tasks=yes
                    fine_tuning+=(--own "${2%%=*}=$(realpath "${2#*=}")")
                    ;;
                --tasks | --seeds | --jobs | --override) fine_tuning+=("$1" "$2") ;;
                --updates) updates=$2 ;;
                *) printf -v "${1#--}" %s "$(realpath -m "$2")" ;;
            esac
            shift
            ;;
        -*) fail "unknown option $1; see --help" ;;
        *=*) overrides+=("$1") ;;
        *) fail "'$1' is neither an option nor an override KEY=VALUE; see --help" ;;
    esac
    shift
done
[ -n "$teacher" ] && [ -n "$data" ] && [ -n "$output" ] || fail "give --teacher, --data and --output; see --help"
[ -f "$teacher" ] || fail "--teacher $teacher: no such file"
[ -f "$data/dict.txt" ] || fail "--data $data: no prepared data, see scripts/prepare_data.py"
[ -f "$recipe" ] || fail "--recipe $recipe: no such file"
[[ "$updates" =~ ^[1-9][0-9]*$ ]] || fail "--updates needs a number, found '$updates'"

[ ${#fine_tuning[@]} -eq 0 ] || [ -n "$has_tasks" ] || fail "${fine_tuning[0]} is for fine-tuning; give --glue, --squad or --own"

# What the students are of: results of other settings are neither used nor replaced.
recipes=$(cat "$(dirname "$recipe")"/*.yaml | sha256sum | cut -c1-16)
settings="$teacher ($(sha256sum <"$teacher" | cut -c1-16)), $data, $recipe ($recipes), $updates updates ${overrides[*]-}"
if [ -f "$output/settings" ] && [ "$(cat "$output/settings")" != "$settings" ]; then
    fail "$output holds students of $(cat "$output/settings"); remove it or choose another --output"
fi
mkdir -p "$output"
echo "$settings" >"$output/settings.partial"
mv "$output/settings.partial" "$output/settings"

cd "$root"
child=""
trap 'interrupted 129' HUP
trap 'interrupted 130' INT
trap 'interrupted 143' TERM

# run COMMAND ...: wait for it in a way that signals interrupt, which bash otherwise heeds only after the command
run() {
    "$@" &
    child=$!
    wait "$child"
}

interrupted() {
    trap '' HUP INT TERM
    [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true
    wait
    echo "interrupted; the same command goes on from here" >&2
    exit "$1"
}

run bash scripts/setup.sh
source .venv/bin/activate
export PYTHONWARNINGS=ignore
cpu="$(python -c 'import torch; print("false" if torch.cuda.is_available() else "true")')"
models=(--model "teacher=$teacher") runs=()

# train NAME [SETTING ...]: a student with the settings that make the difference
train() {
    local name=$1 log="$output/$1.log"
    shift
    models+=(--model "$name=$output/$name/checkpoint_last.pt")
    runs+=(--run "$name=$output/$name/tensorboard")
    if [ -e "$output/$name/finished" ]; then
        echo "$name: finished before"
        return
    fi
    run python examples/quickstart/run_training.py --name "$name" --updates "$updates" --log "$log" \
        fairseq-hydra-train --config-dir "$(dirname "$recipe")" --config-name "$(basename "$recipe" .yaml)" \
        task.data="$data" model.teacher="$teacher" checkpoint.save_dir="$output/$name" common.cpu="$cpu" \
        common.tensorboard_logdir="$output/$name/tensorboard" common.log_format=json common.log_interval=10 \
        optimization.max_update="$updates" lr_scheduler.warmup_updates=$((updates < 400 ? updates / 4 : 100)) \
        ${overrides[@]+"${overrides[@]}"} "$@" || fail "training stopped; see $log"
    touch "$output/$name/finished"
}

train full
train without_soft_targets criterion.soft_target_weight=0
train without_cosine criterion.cosine_weight=0
train without_masked_lm criterion.mlm_weight=0
train random_start model.student_init=random
train no_teacher model.student_init=random criterion.soft_target_weight=0 criterion.cosine_weight=0

run python scripts/evaluate.py "${models[@]}" --data "$data" --output "$output/masked-lm"
run python scripts/plot_training.py "${runs[@]}" --output "$output/curves.png"
if [ ${#fine_tuning[@]} -gt 0 ]; then
    run python scripts/evaluate.py "${models[@]}" --data "$data" --output "$output/retention" "${fine_tuning[@]}"
fi
