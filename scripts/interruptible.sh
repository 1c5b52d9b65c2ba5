# For scripts that source it: `run COMMAND ...` waits for a command in a way that SIGHUP, SIGINT and SIGTERM interrupt,
# which bash otherwise heeds only after the command. They end the command and the script.
run() {
    "$@" &
    wait "$!"
}

interrupted() {
    trap '' HUP INT TERM
    # Asked of bash: a variable would not know a command yet that a signal follows at once.
    for child in $(jobs -pr); do
        kill -TERM "$child" 2>/dev/null || true
    done
    wait
    echo "interrupted; the same command goes on from here" >&2
    exit "$1"
}

trap 'interrupted 129' HUP
trap 'interrupted 130' INT
trap 'interrupted 143' TERM
