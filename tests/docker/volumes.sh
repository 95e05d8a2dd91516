#!/usr/bin/env bash
# Docker's own volumes, with a real engine: containers that know nothing of backups, two of them databases that are written to all the
# time, are backed up again and again; each restore is opened and checked by the database's own tools. Then one volume is destroyed and
# brought back by one command, and the program is killed in the middle of ten holds. Nothing may stay paused or stopped.
#
# It starts an engine of its own on a scratch folder (engine.sh). Needs root; says that it was skipped where an engine can't run here.
#
#   tests/docker/volumes.sh [BINARY]                BINARY: else the newest that cargo has built
#   ENGINE=podman tests/docker/volumes.sh           Podman's, which must be there, behind its socket
#   BACKUPS=20 tests/docker/volumes.sh              the long form; else 3, and less where three minutes are not enough
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/docker/support.sh
source "$here/support.sh"
# shellcheck source=tests/docker/engine.sh
source "$here/engine.sh"

backups=${BACKUPS:-3}
kills=10
if [ -z "${AMONG_OUR_OWN:-}" ]; then
    binary=$(find_binary "${1:-}")
    needs_own_engine
    among_our_own $((240 + 60 * backups)) "$here/volumes.sh" "$binary"
fi
binary=$1

# Whether so many seconds have gone by, and the long form was not asked for: then the rest is left out.
is_late() { # SECONDS WHAT IS LEFT OUT
    [ -z "${BACKUPS:-}" ] && [ "$SECONDS" -gt "$1" ] || return 1
    echo "   this machine is slow: $2"
}

# What containers run; each is sent to its container as a text.

serve_postgres() {
    local data=/var/lib/postgresql/data programs
    programs=$(echo /usr/lib/postgresql/*/bin)
    export PATH="$PATH:$programs"
    chown postgres "$data" && chmod 700 "$data"
    as_postgres() { setpriv --reuid postgres --regid postgres --init-groups env HOME=/ "$@"; }
    if [ ! -e "$data/PG_VERSION" ]; then
        as_postgres initdb -D "$data" --no-sync -A trust >/dev/null
        printf 'max_wal_size = 64MB\nmin_wal_size = 32MB\ncheckpoint_timeout = 30s\nlisten_addresses = %s\n' "''" >>"$data/postgresql.conf"
    fi
    if [ "${1:-}" = writes ]; then
        (
            until as_postgres pg_isready -q; do sleep 0.1; done
            as_postgres psql -qAtc 'select from pgbench_branches' >/dev/null 2>&1 || as_postgres pgbench -i -q -s 2
            touch /ready
            exec setpriv --reuid postgres --regid postgres --init-groups pgbench -n -c 4 -R 200 -T 36000
        ) >/writer.log 2>&1 &
    fi
    exec setpriv --reuid postgres --regid postgres --init-groups postgres -D "$data"
}

# A bank: the sum of all balances is 0 after each transaction, and each has a line in the log.
serve_sqlite() {
    local base=/data/bank.db one other
    sqlite3 "$base" "pragma journal_mode = wal; create table if not exists account(id integer primary key, balance integer not null);
        create table if not exists log(id integer primary key, pad text); create index if not exists pads on log(pad);" >/dev/null
    sqlite3 "$base" "insert or ignore into account select value, 0 from (with recursive n(value) as (select 1 union all
        select value + 1 from n where value < 5000) select value from n);
        insert into log(pad) select hex(randomblob(200)) from account, (select 1 union select 2 union select 3 union select 4);"
    while :; do
        one=$((RANDOM % 5000 + 1)) other=$((RANDOM % 5000 + 1))
        echo "begin immediate; update account set balance = balance - 7 where id = $one; update account set balance = balance + 7 where id = $other;
            insert into log(pad) values(hex(randomblob(200))); delete from log where id = (select min(id) from log); commit; select 'done';"
    done | sqlite3 "$base" | while read -r _; do touch /ready; sleep 0.005; done
}

# The same lines into two volumes, first into the one.
serve_pair() {
    local line=0
    while :; do
        line=$((line + 1))
        echo "$line" >>/one/lines
        echo "$line" >>/two/lines
        [ $((line % 50)) -gt 0 ] || { touch /ready; sleep 0.01; }
    done
}

run() { # NAME DOCKER'S ARGUMENTS.. -- FUNCTION ARGUMENTS..
    local name=$1 options=()
    shift
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    docker run -d --name "$name" --network none "${options[@]}" base bash -c "$(declare -f "$1")
$*" >/dev/null
}
of_shop() { printf -- '--label\ncom.docker.compose.project=shop\n--label\ncom.docker.compose.service=%s\n' "$1"; }

start_containers() {
    local labels
    mkdir -p "$WORK/shop/site" "$WORK/uploads"
    echo '<h1>welcome</h1>' >"$WORK/shop/site/index.html"
    docker volume create --label com.docker.compose.project=shop --label com.docker.compose.volume=db shop_db >/dev/null
    docker volume create --opt type=none --opt o=bind --opt "device=$WORK/uploads" uploads >/dev/null
    mapfile -t labels < <(of_shop db)
    run shop-db-1 "${labels[@]}" -v shop_db:/var/lib/postgresql/data -- serve_postgres writes
    mapfile -t labels < <(of_shop web)
    run shop-web-1 "${labels[@]}" -v "$WORK/shop/site:/srv/site:ro" -- sleep infinity
    run notes -v notes:/data -- serve_sqlite
    run cache -v /var/cache/things -- sleep infinity
    run uploader -v uploads:/uploads -- sleep infinity
    docker exec uploader sh -c 'echo picture > /uploads/picture'
    wait_until "PostgreSQL is filled, and written to" docker exec shop-db-1 test -e /ready
    wait_until "SQLite is written to" docker exec notes test -e /ready
    docker ps --all --format '{{.ID}}' | sort >"$WORK/containers"
    started >"$WORK/started"
}

# When each container was started last, and how it is now.
started() { sort "$WORK/containers" | xargs docker inspect --format '{{.Name}} {{.State.StartedAt}} {{.State.Status}}'; }
all_run() { # AFTER WHAT
    local now
    now=$(started)
    [ "$now" = "$(cat "$WORK/started")" ] || fail "$1, not all containers run as they did: $now"
}

ours() { # ARGUMENTS..: within two minutes
    timeout 120 "$binary" "$@" >"$WORK/said" 2>&1 || { cat "$WORK/said"; fail "convoy-backups $*"; }
}

# A restore is opened in a container of its own: 0 if all is well with it.
opens_postgres() { # VOLUME
    docker rm -f opened >/dev/null 2>&1 || true
    run opened -v "$1:/var/lib/postgresql/data" -- serve_postgres
    checks_postgres opened
}
checks_postgres() { # CONTAINER
    local ask=(docker exec --user postgres "$1")
    timeout 60 bash -c 'until "$@"; do sleep 0.1; done' - "${ask[@]}" pg_isready -q || return 1
    # shellcheck disable=SC2016 # the container's own
    [ "$("${ask[@]}" psql -qAt -c 'create extension if not exists amcheck' -c "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)
        and (select sum(bbalance) from pgbench_branches) = (select sum(delta) from pgbench_history)
        and (select sum(tbalance) from pgbench_tellers) = (select sum(delta) from pgbench_history)" 2>&1)" = t ] \
        && "${ask[@]}" bash -c '/usr/lib/postgresql/*/bin/pg_amcheck --heapallindexed postgres' >/dev/null 2>&1
}
opens_sqlite() { # VOLUME
    [ "$(docker run --rm --network none -v "$1:/data" base sqlite3 /data/bank.db 'pragma integrity_check' 'select sum(balance) from account' 2>&1)" = "$(printf 'ok\n0')" ]
}

# The newest backup's URL, and below it for how many milliseconds each container was held.
newest() { # VOLUME
    "$binary" backups --volume "$1" --json | python3 -c '
import json, sys
newest = max(json.load(sys.stdin), key=lambda backup: backup["SnapshotName"])
print(newest["BackupURL"])
for held in json.loads(newest.get("HeldContainers", "{}")).items():
    print(*held)'
}
newest_url() { newest "$1" | sed -n 1p; }

try_backups() {
    local turn volume torn=0 opened=0
    for turn in $(seq "$backups"); do
        if [ "$turn" -gt 1 ] && is_late 90 "no more than $((turn - 1)) backups"; then break; fi
        opened=$((opened + 2))
        ours backup --create-snapshot
        all_run "after backup $turn"
        for volume in shop_db notes; do
            newest "$volume" >"$WORK/newest"
            tail -n +2 "$WORK/newest" >>"$WORK/held"
            ours restore --volume back --backupurl "$(sed -n 1p "$WORK/newest")"
            if [ "$volume" = notes ]; then opens_sqlite back; else opens_postgres back; fi || { torn=$((torn + 1)); echo "   torn: $volume, backup $turn"; }
            docker rm -f opened >/dev/null 2>&1 || true
            ours remove --volume back --all
        done
    done
    expect "torn databases, of $opened that were opened" "$torn" 0
    python3 - "$WORK/held" <<'PYTHON'
import collections, statistics, sys
held = collections.defaultdict(list)
for name, milliseconds in map(str.split, open(sys.argv[1])):
    held[name].append(int(milliseconds))
for name, all in sorted(held.items()):
    print(f"   {name} stood still {len(all)} times: {min(all)} to {max(all)} ms, median {statistics.median(all):.0f}")
PYTHON
}

# Restores both, and compares how far each got.
try_pair() { # WHAT MADE THE BACKUPS
    local volume lines=()
    for volume in pair_one pair_two; do
        ours restore --volume back --backupurl "$(newest_url "$volume")"
        lines+=("$(wc -l <"$(docker volume inspect --format '{{.Mountpoint}}' back)/lines")")
        ours remove --volume back --all
    done
    echo "   $1: ${lines[0]} lines, and ${lines[1]}"
    case $((lines[0] - lines[1])) in
        0 | 1) ;;
        *) fail "$1: the two are not of one moment" ;;
    esac
}

# Kills the program while a container is paused, and looks what the next start does.
try_kills() {
    local left=$kills tries=0 program event held=(notes shop-db-1 uploader)
    while [ "$left" -gt 0 ]; do
        if is_late 180 "no more than $((kills - left)) kills"; then break; fi
        tries=$((tries + 1))
        [ "$tries" -le $((10 * kills)) ] || fail "only $((kills - left)) of $tries were killed in the middle of a hold"
        exec 9< <(timeout 60 docker events --since "$(date +%s.%N)" --filter event=pause --filter "container=${held[tries % 3]}" \
            --format '{{.Actor.Attributes.name}}')
        "$binary" backup --create-snapshot >"$WORK/said" 2>&1 &
        program=$!
        event=
        read -r -t 30 -u 9 event || { cat "$WORK/said"; echo "   ${held[tries % 3]} was not paused within half a minute: again"; }
        sleep "0.0$((RANDOM % 10))"
        kill -KILL "$program" 2>/dev/null || true
        wait "$program" 2>/dev/null || true
        exec 9<&-
        if [ -n "$(docker ps --quiet --filter status=paused)" ]; then
            left=$((left - 1))
            echo "   killed while ${event:-a container} was paused"
        fi
        ours volumes
        all_run "after a kill and the next start"
    done
    [ "$tries" = 0 ] || [ "$left" -lt "$kills" ] || fail "not once was it killed in the middle of a hold"
}

step "an engine of our own"
start_engine
start_containers
# Nothing of this machine's settings: its volumes and its alerts are not ours.
for setting in $(compgen -v BKUP_); do unset "$setting"; done
export BKUP_DEFAULTS=off BKUP_BACKUP_URL=vfs://$WORK/backups BKUP_DATA_DIR=$WORK/data BKUP_CONVOY=builtin:$WORK/data/daemon
mkdir "$WORK/backups"

step "what there is"
"$binary" volumes
expect "the volumes that have a name" "$("$binary" volumes --json | python3 -c 'import json, sys; print(*sorted(there["Name"] for there in json.load(sys.stdin)))')" "notes shop_db uploads"
"$binary" volumes --not-backed-up
contains "what is not backed up" "$("$binary" volumes --not-backed-up)" "$WORK/shop/site" "it has no name"

step "$backups backups of what is written to all the time, each restored and opened"
try_backups

step "a database is destroyed, and brought back by one command"
url=$(newest_url shop_db)
docker rm -f shop-db-1 >/dev/null
docker volume rm shop_db >/dev/null
ours restore --volume shop_db --backupurl "$url"
mapfile -t labels < <(of_shop db)
run shop-db-1 "${labels[@]}" -v shop_db:/var/lib/postgresql/data -- serve_postgres writes
checks_postgres shop-db-1 || fail "the database does not open"
expect "its labels" "$(docker volume inspect --format '{{index .Labels "com.docker.compose.volume"}}' shop_db)" db
wait_until "it is written to again" docker exec shop-db-1 test -e /ready
docker ps --all --format '{{.ID}}' | sort >"$WORK/containers"
started >"$WORK/started"

step "the folder that a compose project mounts, once it is asked for"
export BKUP_DOCKER_BINDS=project
ours backup --project shop --create-snapshot
name=$("$binary" volumes --json | python3 -c 'import json, sys; print(*(there["Name"] for there in json.load(sys.stdin) if there["Name"].startswith("bind.")))')
echo "   $name"
ours restore --volume "$name" --backupurl "$(newest_url "$name")"
unset BKUP_DOCKER_BINDS

step "two volumes that are written to together are of one moment"
docker volume create --label com.docker.compose.project=pair pair_one >/dev/null
docker volume create --label com.docker.compose.project=pair pair_two >/dev/null
run pair-1 --label com.docker.compose.project=pair --label 'convoy-backups.exec.mark=echo marked >/one/mark' \
    -v pair_one:/one -v pair_two:/two -- serve_pair
wait_until "both are written to" docker exec pair-1 test -e /ready
docker ps --all --format '{{.ID}}' | sort >"$WORK/containers"
started >"$WORK/started"
mkdir "$WORK/scripts"
cat >"$WORK/scripts/pair.rhai" <<'RHAI'
fn main(args) {
    docker::exec("pair-1", "mark");
    docker::quiesced(["pair_one", "pair_two"], || {
        convoy::back_up("pair_one");
        convoy::back_up("pair_two");
    })
}
RHAI
for command in "backup --project pair" "--scripts-dir $WORK/scripts pair" "backup --project pair"; do
    # shellcheck disable=SC2086 # words of a command
    ours $command
    all_run "after $command"
    try_pair "$command"
done

step "the program is killed in the middle of $kills holds"
try_kills
ours backup --create-snapshot
all_run "at the end"

# The last: from now on, the engine waits for its plugin.
step "a container with a volume of the program's own, by its plugin, is held as well"
mkdir -p /run/docker/plugins
"$binary" daemon --socket /run/docker/plugins/convoy.sock >"$WORK/plugin.log" 2>&1 &
plugin=$!
wait_until "the plugin answers" test -S /run/docker/plugins/convoy.sock
run plugged --volume-driver=convoy -v own:/one -v own:/two -- serve_pair
wait_until "it is written to" docker exec plugged test -e /ready
docker ps --all --format '{{.ID}}' | sort >"$WORK/containers"
started >"$WORK/started"
ours backup --volume own --create-snapshot
all_run "after the backup of a volume of the plugin"
contains "what stood still" "$(newest own)" "plugged "
kill "$plugin"
wait "$plugin" || true

passed
