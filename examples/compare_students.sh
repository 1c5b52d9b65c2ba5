#!/usr/bin/env bash
# Students of one teacher that differ in a few settings, with the same budget each, and a report of all of them.
#
#   bash examples/compare_students.sh --students FILE --teacher TEACHER --data DATA --output DIRECTORY
#       [--updates N | --minutes M] [--seeds N] [--recipe YAML]
#       [--glue DIR] [--squad DIR] [--own NAME=DIR] [--tasks A,B] [--distil] [--jobs N] [--override KEY=VALUE]
#       [KEY=VALUE ...]
#
#   --students  file with a student a line: its name and settings, such as examples/ablation/students
#   --teacher   checkpoint of this plugin, or directory of transformers, to distil
#   --data      prepared data that it was trained on
#   --output    what to write to; an interrupted run goes on from there
#   --updates   of each student (default: 600)
#   --minutes   of training for each student instead, made into updates by timing a few of them on this machine
#   --seeds     of each student: trained, and fine-tuned, with each (default: 1)
#   --recipe    of the students (default: examples/quickstart/config/student.yaml)
#   --glue, --squad, --own, --tasks, --jobs, --override
#               fine-tune the teacher and the students too, as scripts/evaluate.py does
#   --distil    fine-tune each student once more, as NAME_D, with the fine-tuned teacher to learn from
#   KEY=VALUE   settings of the recipe for all students, such as task.tokens_per_sample=128
set -euo pipefail

fail() {
    echo "error: $1" >&2
    exit 2
}

root="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
students="" teacher="" data="" output="" updates="" minutes="" seeds=1
recipe="$root/examples/quickstart/config/student.yaml"
overrides=() fine_tuning=() has_tasks="" distils=""
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"; exit 0 ;;
        --distil) distils=yes ;;
        --students | --teacher | --data | --output | --updates | --minutes | --seeds | --recipe | \
            --glue | --squad | --own | --tasks | --jobs | --override)
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
                --tasks | --jobs | --override) fine_tuning+=("$1" "$2") ;;
                --updates | --minutes | --seeds)
                    [[ "$2" =~ ^[1-9][0-9]*$ ]] || fail "$1 needs a whole number, at least 1, found '$2'"
                    printf -v "${1#--}" %s "$2"
                    ;;
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
[ -n "$students" ] && [ -n "$teacher" ] && [ -n "$data" ] && [ -n "$output" ] ||
    fail "give --students, --teacher, --data and --output; see --help"
[ -f "$students" ] || fail "--students $students: no such file"
[ -f "$teacher" ] || [ -f "$teacher/config.json" ] ||
    fail "--teacher $teacher: no such file; give a checkpoint, or a directory of transformers with its config.json"
[ -f "$data/dict.txt" ] || fail "--data $data: no prepared data, see scripts/prepare_data.py"
[ -f "$recipe" ] || fail "--recipe $recipe: no such file"
[ -z "$updates" ] || [ -z "$minutes" ] || fail "give --updates or --minutes, not both"
[ -z "$distils" ] || [ -n "$has_tasks" ] || fail "--distil is for fine-tuning; give --glue, --squad or --own"
[ ${#fine_tuning[@]} -eq 0 ] || [ -n "$has_tasks" ] || fail "${fine_tuning[0]} is for fine-tuning; give --glue, --squad or --own"
budget="${minutes:+$minutes minutes}"
budget="${budget:-${updates:=600} updates}"

# A line of the list is an array's elements: the name and the settings.
mapfile -t lines < <(sed 's/#.*//; /^[[:space:]]*$/d' "$students")
[ ${#lines[@]} -gt 0 ] || fail "--students $students: no student in it"
names=()
for line in "${lines[@]}"; do
    read -ra student <<<"$line"
    [[ "${student[0]}" =~ ^[A-Za-z0-9_-]+$ ]] || fail "--students $students: '${student[0]}' is no name of letters, digits, - and _"
    for setting in "${student[@]:1}"; do
        [[ "$setting" == ?*=* ]] || fail "--students $students: ${student[0]}: '$setting' is no setting KEY=VALUE"
    done
    for name in "${student[0]}" ${distils:+"${student[0]}_D"}; do
        [[ " ${names[*]-} teacher " != *" $name "* ]] || fail "--students $students: the name $name is there twice, or the teacher's"
        names+=("$name")
    done
done

# What the students are of: results of other settings are neither used nor replaced.
digest() {
    cat "$@" | sha256sum | cut -c1-16
}
[ -f "$teacher" ] && weights=("$teacher") || weights=("$teacher"/*.json "$teacher"/*.safetensors)
settings="$teacher ($(digest "${weights[@]}")), $data, $recipe ($(digest "$(dirname "$recipe")"/*.yaml)), $budget ${overrides[*]-}"
if [ -f "$output/settings" ] && [ "$(cat "$output/settings")" != "$settings" ]; then
    fail "$output holds students of $(cat "$output/settings"); remove it or choose another --output"
fi
for line in "${lines[@]}"; do
    read -ra student <<<"$line"
    kept="$output/${student[0]}/settings"
    if [ -f "$kept" ] && [ "$(cat "$kept")" != "${student[*]:1}" ]; then
        fail "$output/${student[0]} was trained with '$(cat "$kept")', not '${student[*]:1}'; remove it or choose another --output"
    fi
done

# keep TEXT FILE: write it whole
keep() {
    mkdir -p "$(dirname "$2")"
    echo "$1" >"$2.partial"
    mv "$2.partial" "$2"
}
keep "$settings" "$output/settings"

cd "$root"
source scripts/interruptible.sh
run bash scripts/setup.sh
source .venv/bin/activate
export PYTHONWARNINGS=ignore
cpu="$(python -c 'import torch; print("false" if torch.cuda.is_available() else "true")')"
config=(--config-dir "$(dirname "$recipe")" --config-name "$(basename "$recipe" .yaml)")
common=(task.data="$data" model.teacher="$teacher" common.cpu="$cpu" ${overrides[@]+"${overrides[@]}"})

# plan NAME [SETTING ...]: how many updates the student makes, which is decided once
plan() {
    local name=$1 planned="$output/$1/updates"
    shift
    keep "$*" "$output/$name/settings"
    [ -e "$planned" ] && return
    if [ -n "$minutes" ]; then
        run python examples/plan_updates.py "${config[@]}" --minutes "$minutes" "${common[@]}" "$@" >"$planned.timed"
        updates="$(cat "$planned.timed")"
        rm "$planned.timed"
    fi
    keep "$updates" "$planned"
    echo "$name: $updates updates"
}

# train NAME SEED [SETTING ...]: a student with the settings that make the difference
train() {
    local name=$1 seed=$2 folder="$output/$1/seed$2" updates
    updates="$(cat "$output/$name/updates")"
    shift 2
    if [ -e "$folder/finished" ]; then
        echo "$name, seed $seed: finished before"
        return
    fi
    mkdir -p "$folder"
    run python examples/quickstart/run_training.py --name "$name, seed $seed" --updates "$updates" --log "$folder/log" \
        fairseq-hydra-train "${config[@]}" checkpoint.save_dir="$folder" common.seed="$seed" \
        common.tensorboard_logdir="$folder/tensorboard" common.log_format=json common.log_interval=10 \
        optimization.max_update="$updates" lr_scheduler.warmup_updates=$((updates < 400 ? updates / 4 : 100)) \
        "${common[@]}" "$@" || fail "training stopped; see $folder/log"
    touch "$folder/finished"
}

for line in "${lines[@]}"; do
    read -ra student <<<"$line"
    plan "${student[@]}"
done
models=(--model "teacher=$teacher") templates=(--model "teacher=$teacher") runs=()
for seed in $(seq "$seeds"); do
    for line in "${lines[@]}"; do
        read -ra student <<<"$line"
        name="${student[0]}"
        train "$name" "$seed" "${student[@]:1}"
        if [ "$seed" -eq 1 ]; then
            checkpoints="$output/$name/seed{seed}/checkpoint_last.pt"
            templates+=(--model "$name=$checkpoints" ${distils:+--distil "${name}_D=$checkpoints"})
        fi
        [ "$seeds" -eq 1 ] || name+="-$seed"
        models+=(--model "$name=$output/${student[0]}/seed$seed/checkpoint_last.pt")
        runs+=(--run "$name=$output/${student[0]}/seed$seed/tensorboard")
    done
done

run python scripts/plot_training.py "${runs[@]}" --output "$output/curves.png"
if [ -f "$teacher" ]; then # a directory of transformers may have no masked-LM head
    run python scripts/evaluate.py "${models[@]}" --data "$data" --output "$output/masked-lm"
fi
if [ ${#fine_tuning[@]} -gt 0 ]; then
    run python scripts/evaluate.py "${templates[@]}" --data "$data" --output "$output/retention" --seeds "$seeds" \
        "${fine_tuning[@]}"
fi
