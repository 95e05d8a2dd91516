#!/usr/bin/env bash
# Databases that are written to all the time, backed up twenty times from ext4, XFS, btrfs (a folder, and a subvolume). Each restore is opened and
# checked by the database's own tools. A restore that is broken although its backup says nothing of changed files is a failure.
# Needs root, loop devices, sqlite3, PostgreSQL with pgbench and pg_amcheck, mkfs.xfs, mkfs.btrfs and python3; says what it skips.
#
#   tests/databases/run.sh [BINARY]                       BINARY: else the newest that cargo has built
#   PLACES="ext4 xfs btrfs subvolume" BACKUPS=20 tests/databases/run.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/docker/support.sh
source "$here/../docker/support.sh"

needs_root
binary=$(find_binary "${1:-}")
places=${PLACES:-ext4 xfs btrfs subvolume}
backups=${BACKUPS:-20}
for tool in sqlite3 python3 losetup; do
    command -v "$tool" >/dev/null || skip "there is no $tool on this machine"
done
postgres=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -1)
[ -n "$postgres" ] || skip "there is no PostgreSQL on this machine"
losetup --find >/dev/null 2>&1 || skip "this kernel gives no loop devices"

work=$(mktemp -d /tmp/convoy-backups-databases.XXXXXX)
chmod 755 "$work"
install -d -o postgres "$work/logs"
writers=()
clean_up() {
    for writer in "${writers[@]}"; do kill "$writer" 2>/dev/null || true; done
    pkill -9 -f "$work" 2>/dev/null || true
    sleep 1
    for place in $places; do umount -l "$work/$place" 2>/dev/null || true; done
    rm -rf "$work"
}
trap clean_up EXIT

make_place() { # PLACE
    local kind=${1/subvolume/btrfs} options=()
    command -v "mkfs.$kind" >/dev/null || return 1
    truncate -s 3G "$work/$1.image"
    [ "$kind" != ext4 ] || options=(-F)
    "mkfs.$kind" -q "${options[@]}" "$work/$1.image" >/dev/null 2>&1
    mkdir "$work/$1"
    mount -o loop "$work/$1.image" "$work/$1"
}

as_postgres() { setpriv --reuid postgres --regid postgres --init-groups env HOME=/ "$@"; }

# A bank: the sum of all balances is 0 after each transaction, and each has a line in another file of the folder.
start_sqlite() { # FOLDER
    python3 - "$1" <<'PYTHON' &
import os, random, sqlite3, sys, time
folder = sys.argv[1]
base = sqlite3.connect(f"{folder}/bank.db", isolation_level=None)
base.execute("pragma journal_mode=wal")
base.execute("create table if not exists account(id integer primary key, balance integer not null)")
base.execute("create table if not exists log(id integer primary key, pad text)")
base.execute("create index if not exists pads on log(pad)")
base.execute("begin")
for number in range(5000):
    base.execute("insert or ignore into account values(?, 0)", (number,))
for number in range(40000):
    base.execute("insert into log(pad) values(?)", (os.urandom(200).hex(),))
base.execute("commit")
open(f"{folder}/ready", "w").close()
while True:
    one, other, sum = random.randrange(5000), random.randrange(5000), random.randrange(100)
    base.execute("begin immediate")
    base.execute("update account set balance = balance - ? where id = ?", (sum, one))
    base.execute("update account set balance = balance + ? where id = ?", (sum, other))
    base.execute("insert into log(pad) values(?)", (os.urandom(200).hex(),))
    base.execute("delete from log where id = (select min(id) from log)")
    base.execute("commit")
    time.sleep(0.002)
PYTHON
    writers+=($!)
    wait_until "SQLite's tables are filled" test -e "$1/ready"
}

check_sqlite() { # FOLDER
    [ "$(sqlite3 "$1/bank.db" 'pragma integrity_check' 2>&1)" = ok ] && [ "$(sqlite3 "$1/bank.db" 'select sum(balance) from account' 2>&1)" = 0 ]
}

start_postgres() { # FOLDER PORT
    chown postgres "$1" && chmod 700 "$1"
    as_postgres "$postgres/initdb" -D "$1" --no-sync -A trust >/dev/null
    printf 'max_wal_size = 64MB\ncheckpoint_timeout = 30s\n' >>"$1/postgresql.conf"
    run_postgres "$1" "$2"
    as_postgres "$postgres/pgbench" -h /tmp -p "$2" -i -q -s 4 postgres 2>/dev/null >/dev/null
    as_postgres "$postgres/pgbench" -h /tmp -p "$2" -n -c 4 -T 36000 postgres >/dev/null 2>&1 &
    writers+=($!)
}

run_postgres() { # FOLDER PORT
    as_postgres "$postgres/pg_ctl" -D "$1" -w -t 120 -l "$work/logs/$2" -o "-p $2 -k /tmp -c listen_addresses=''" start >/dev/null
}

# It starts, every index and table is whole, and pgbench's sums agree.
check_postgres() { # FOLDER
    local port=5599 said
    rm -f "$1/postmaster.pid"
    run_postgres "$1" $port 2>"$work/log" || return 1
    said=$(as_postgres "$postgres/psql" -h /tmp -p $port -qAt postgres -c 'create extension if not exists amcheck' -c "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)
        and (select sum(bbalance) from pgbench_branches) = (select sum(delta) from pgbench_history)
        and (select sum(tbalance) from pgbench_tellers) = (select sum(delta) from pgbench_history)" 2>&1) || said="no answer: $said"
    as_postgres "$postgres/pg_amcheck" -h /tmp -p $port --heapallindexed postgres >/dev/null 2>&1 || said=broken
    as_postgres "$postgres/pg_ctl" -D "$1" -m immediate stop >/dev/null
    [ "$said" = t ]
}

try_place() { # PLACE PORT
    local place=$1 top=$work/$1 database name url changed verdict turn
    step "$place: $backups backups of a SQLite and a PostgreSQL that are written to all the time"
    for database in sqlite postgres; do
        if [ "$place" = subvolume ]; then btrfs -q subvolume create "$top/$database"; else mkdir "$top/$database"; fi
    done
    start_sqlite "$top/sqlite"
    start_postgres "$top/postgres" "$2"
    export BKUP_CONVOY="builtin:$work/root-$place" BKUP_DATA_DIR="$work/data-$place" BKUP_BACKUP_URL="vfs://$work/backups-$place"
    [ "$place" != subvolume ] || export BKUP_CONVOY="builtin:$top/root"
    export BKUP_FOLDERS="sqlite=$top/sqlite,postgres=$top/postgres" BKUP_API_LISTEN=off
    mkdir -p "$work/backups-$place"
    for turn in $(seq "$backups"); do
        for name in sqlite postgres; do
            "$binary" backup --create-snapshot --volume "$name" >"$work/log" 2>&1 || { cat "$work/log"; fail "$place: backup $turn of $name"; }
            read -r url changed moment < <("$binary" backups --volume "$name" --json | python3 -c '
import json, sys
newest = max(json.load(sys.stdin), key=lambda backup: backup["SnapshotName"])
print(newest["BackupURL"], newest.get("ChangedFiles", 0), newest.get("Moment", "none"))')
            "$binary" restore --volume back --backupurl "$url" >"$work/log" 2>&1 || { cat "$work/log"; fail "$place: restore $turn of $name"; }
            # The daemon's folder is root's alone, so the database's own user opens a copy.
            cp -a "$(folder_of back)" "$work/opened"
            if "check_$name" "$work/opened"; then verdict=whole; else verdict=torn; fi
            rm -rf "$work/opened"
            "$binary" remove --volume back --all >"$work/log" 2>&1 || { cat "$work/log"; fail "$place: remove $turn of $name"; }
            printf '%s %s %s %s\n' "$name" "$moment" "$verdict" "$([ "$changed" = 0 ] && echo untold || echo told)" >>"$work/verdicts-$place"
        done
    done
    sort "$work/verdicts-$place" | uniq -c
    if grep -q "torn untold" "$work/verdicts-$place"; then failures+=("$place"); fi
}

folder_of() { "$binary" volumes --json | python3 -c '
import json, sys
print(next(there["DriverInfo"]["Path"] for there in json.load(sys.stdin) if there["Name"] == sys.argv[1]))' "$1"; }

failures=()
port=5600
for place in $places; do
    port=$((port + 1))
    if make_place "$place"; then try_place "$place" "$port"; else printf 'SKIPPED: %s: it can not be made here\n' "$place"; fi
    for writer in "${writers[@]}"; do kill "$writer" 2>/dev/null || true; done
    as_postgres "$postgres/pg_ctl" -D "$work/$place/postgres" -m immediate stop >/dev/null 2>&1 || true
    writers=()
done
[ ${#failures[@]} = 0 ] || fail "a torn database was called good on: ${failures[*]}"
passed
