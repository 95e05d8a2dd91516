#!/usr/bin/env bash
# Kills the program (SIGKILL) at random moments of its backups, on a real engine of its own (engine.sh): while containers are paused,
# stopped, run commands before and after, or run. After each kill, one more command of the program is run, as after a crash; then each
# container must be as it was before: what ran runs, what was paused or off stays so, no command after was forgotten, and no note is
# left. Half of the kills come soon after an event of the engine (pause, stop, start, unpause, a command), the others at any moment.
#
#   tests/docker/kills.sh [BINARY]                     20 kills; BINARY: else the newest that cargo has built
#   KILLS=1000 SEED=7 tests/docker/kills.sh            so many, with a seed, which is printed
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/docker/support.sh
source "$here/support.sh"
# shellcheck source=tests/docker/engine.sh
source "$here/engine.sh"

kills=${KILLS:-20}
seed=${SEED:-$RANDOM}
if [ -z "${AMONG_OUR_OWN:-}" ]; then
    binary=$(find_binary "${1:-}")
    needs_own_engine
    SEED=$seed among_our_own $((300 + 20 * kills)) "$here/kills.sh" "$binary"
fi
binary=$1
RANDOM=$seed

run() { # NAME DOCKER'S ARGUMENTS.. : a container that writes all the time, and ends at once when it is told to
    # shellcheck disable=SC2016 # the container's own
    docker run -d --name "$1" --network none "${@:2}" base bash -c '
        trap "exit 0" TERM
        while :; do echo "$RANDOM" >>/data/lines; [ "$(wc -l </data/lines)" -lt 2000 ] || : >/data/lines; sleep 0.02 & wait $!; done' >/dev/null
}

start_containers() {
    local shop=(--label com.docker.compose.project=shop)
    run paused-by-us "${shop[@]}" -v shop_one:/data
    run stopped-by-us "${shop[@]}" --label convoy-backups.hold=stop -v shop_two:/data
    run commanded "${shop[@]}" --label 'convoy-backups.exec-before=touch /maintenance' --label 'convoy-backups.exec-after=rm -f /maintenance' \
        -v shop_three:/data
    run left-alone --label convoy-backups.hold=none -v alone:/data
    run was-paused -v shop_one:/data
    run was-off -v shop_two:/data
    docker pause was-paused >/dev/null
    docker stop was-off >/dev/null
}

names=(paused-by-us stopped-by-us commanded left-alone was-paused was-off)
states() { docker inspect --format '{{.Name}} {{.State.Status}}' "${names[@]}" | tr '\n' ' '; }
wanted="/paused-by-us running /stopped-by-us running /commanded running /left-alone running /was-paused paused /was-off exited "

# What a start after a kill must have mended.
all_is_well() { # AFTER WHAT
    local now
    now=$(states)
    [ "$now" = "$wanted" ] || { cat "$WORK/said" "$WORK/next"; fail "$1 (seed $seed): $now"; }
    if docker exec commanded test -e /maintenance; then cat "$WORK/said" "$WORK/next"; fail "$1 (seed $seed): the command after was not run"; fi
    now=$(find "$WORK/data/daemon/moments" -name '*.json' 2>/dev/null | wc -l)
    [ "$now" = 0 ] || { cat "$WORK/said" "$WORK/next"; fail "$1 (seed $seed): $now notes are left"; }
}

commands=("backup --create-snapshot" "backup --project shop" "backup --volume shop_three" "--scripts-dir $WORK/scripts quiet")
events=(pause unpause stop start exec_create)
killed=0 in_hold=0 in_command=0 ended=0

kill_once() { # NUMBER
    local command=${commands[RANDOM % ${#commands[@]}]} event='' program wait state
    wait=$((RANDOM % 60))
    if [ $((RANDOM % 2)) = 0 ]; then
        event=${events[RANDOM % ${#events[@]}]}
        exec 9< <(timeout 20 docker events --since "$(date +%s.%N)" --filter "event=$event" --format '{{.Action}}')
    else
        wait=$((RANDOM % took))
    fi
    # shellcheck disable=SC2086 # words of a command
    "$binary" $command >"$WORK/said" 2>&1 &
    program=$!
    # A command in which the event does not come ends by itself.
    if [ -n "$event" ]; then
        while kill -0 "$program" 2>/dev/null && ! read -r -t 0.05 -u 9 _; do :; done
        exec 9<&-
    fi
    sleep "$(printf '0.%03d' "$((wait % 1000))")"
    if kill -KILL "$program" 2>/dev/null; then killed=$((killed + 1)); else ended=$((ended + 1)); fi
    wait "$program" 2>/dev/null || true
    state=$(states)
    [ "$state" = "$wanted" ] || in_hold=$((in_hold + 1))
    if docker exec commanded test -e /maintenance 2>/dev/null; then in_command=$((in_command + 1)); fi
    timeout 120 "$binary" volumes >"$WORK/next" 2>&1 || { cat "$WORK/next"; fail "the next start after kill $1 (seed $seed)"; }
    all_is_well "after kill $1, ${event:-at ${wait} ms} of \"$command\""
}

step "an engine of our own, six containers; seed $seed"
start_engine
start_containers
for setting in $(compgen -v BKUP_); do unset "$setting"; done
export BKUP_DEFAULTS=off BKUP_BACKUP_URL=vfs://$WORK/backups BKUP_DATA_DIR=$WORK/data BKUP_CONVOY=builtin:$WORK/data/daemon
mkdir -p "$WORK/backups" "$WORK/scripts"
cat >"$WORK/scripts/quiet.rhai" <<'RHAI'
fn main(args) {
    docker::quiesced(["shop_one", "shop_three"], || {
        convoy::back_up("shop_one");
        convoy::back_up("shop_three");
    })
}
RHAI
: >"$WORK/next"
begun=$(date +%s%N)
"$binary" backup --create-snapshot >"$WORK/said" 2>&1 || { cat "$WORK/said"; fail "a backup"; }
took=$((($(date +%s%N) - begun) / 1000000))
[ "$took" -lt 1000 ] || took=999
all_is_well "after a backup"

step "$kills kills"
for number in $(seq "$kills"); do
    kill_once "$number"
    [ $((number % 100)) != 0 ] || echo "   $number: $killed killed, of these $in_hold while something stood still, $in_command between commands; $ended came to their end first"
done
echo "   $killed killed, of these $in_hold while something stood still, $in_command between commands; $ended came to their end first"

step "all of it is backed up and restored at the end"
"$binary" backup --create-snapshot >"$WORK/said" 2>&1 || { cat "$WORK/said"; fail "the last backup"; }
all_is_well "at the end"
passed
