#!/usr/bin/env bash
# Databases in containers of a real Docker engine, which are written to all the time: each is dumped by its label into a backup, its
# volume is destroyed, the dump is restored and loaded into a new database, and what is in that is compared. PostgreSQL, MariaDB,
# Redis and SQLite, as Debian has them. Needs root, a Docker engine on this machine, and debootstrap (or an image with these
# programs). Says that it was skipped where one of these is missing.
#
#   tests/docker/databases.sh [BINARY]                    BINARY: else the newest that cargo has built
#   DATABASES_IMAGE=dbs tests/docker/databases.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/docker/support.sh
source "$here/support.sh"

needs_engine
needs_root
binary=$(find_binary "${1:-}")
names=(dump-pg dump-ma dump-re dump-sq)

# An image with all four: the one named, one that was made before, or one that is made here.
databases_image() {
    local made=convoy-backups-test-databases folder
    if [ -n "${DATABASES_IMAGE:-}" ]; then
        echo "$DATABASES_IMAGE"
    elif docker image inspect "$made" >/dev/null 2>&1; then
        echo "$made"
    else
        command -v debootstrap >/dev/null || skip "there is no debootstrap to make an image with" >&2
        folder=$(mktemp -d)
        {
            debootstrap --variant=minbase bookworm "$folder"
            printf '#!/bin/sh\nexit 101\n' >"$folder/usr/sbin/policy-rc.d"
            chmod 755 "$folder/usr/sbin/policy-rc.d"
            DEBIAN_FRONTEND=noninteractive chroot "$folder" apt-get install --yes --no-install-recommends \
                postgresql mariadb-server redis-server sqlite3
        } >&2 || { rm -rf "$folder"; fail "no image could be made"; }
        tar -C "$folder" -c . | docker import - "$made" >/dev/null
        rm -rf "$folder"
        echo "$made"
    fi
}
image=$(databases_image)
[ -n "$image" ] || exit 0

work=$(mktemp -d /tmp/convoy-backups-dumps.XXXXXX)
clean_up() {
    docker rm -f "${names[@]}" "${names[@]/%/-new}" >/dev/null 2>&1 || true
    docker volume rm "${names[@]}" "${names[@]/%/-new}" "${names[@]/%/-restored}" >/dev/null 2>&1 || true
    rm -rf "$work"
}
for name in "${names[@]}"; do
    for there in "$name" "$name-new" "$name-restored"; do
        if docker container inspect "$there" >/dev/null 2>&1 || docker volume inspect "$there" >/dev/null 2>&1; then
            skip "Docker has \"$there\" already, which is left alone"
        fi
    done
done
trap clean_up EXIT
mkdir -p "$work/backups"
socket=$(docker context inspect --format '{{.Endpoints.docker.Host}}')
export BKUP_CONVOY="builtin:$work/root" BKUP_BACKUP_URL="vfs://$work/backups" BKUP_DATA_DIR="$work/data" BKUP_API_LISTEN=off BKUP_DEFAULTS=off
export BKUP_DOCKER="${DOCKER_HOST:-$socket}" BKUP_DOCKER_VOLUMES=all BKUP_DOCKER_INCLUDE='dump-*'

start() { # NAME FOLDER OPTIONS.. -- SCRIPT
    local name=$1 folder=$2 options=()
    shift 2
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    docker run -d --init --name "$name" --network none -v "$name:$folder" "${options[@]}" "$image" sh -c "$2" >/dev/null
}
# shellcheck disable=SC2016 # the shell in the container expands them
run_postgres='mkdir -p /var/lib/postgresql/data /run/postgresql; chown -R postgres /var/lib/postgresql /run/postgresql
cd /; as() { setpriv --reuid postgres --regid postgres --init-groups "$@"; }; bin=$(ls -d /usr/lib/postgresql/*/bin)
[ -f /var/lib/postgresql/data/PG_VERSION ] || { echo "$POSTGRES_PASSWORD" >/tmp/pw; chown postgres /tmp/pw
    as "$bin/initdb" -A scram-sha-256 --pwfile=/tmp/pw -D /var/lib/postgresql/data; }
chmod 700 /var/lib/postgresql/data; exec setpriv --reuid postgres --regid postgres --init-groups "$bin/postgres" -D /var/lib/postgresql/data'
run_mariadb='mkdir -p /run/mysqld; chown mysql /run/mysqld /var/lib/mysql
if [ ! -d /var/lib/mysql/mysql ]; then
    mariadb-install-db --user=mysql --auth-root-authentication-method=normal >/dev/null
    mariadbd --user=mysql --skip-networking & until mariadb -u root -e "select 1"; do sleep 0.2; done
    printf "alter user root@localhost identified by %s;\n" "'"'"'its s3cret'"'"'" | mariadb -u root
    MYSQL_PWD="its s3cret" mariadb-admin -u root shutdown; wait
fi
exec mariadbd --user=mysql'
run_redis='exec redis-server --requirepass s3cret-redis --dir /data --save ""'
run_sqlite='cd /data; [ -f app.db ] || sqlite3 app.db "pragma journal_mode=wal; pragma user_version=7;
    create table log(id integer primary key, pad text); create table fixed(id integer primary key, v text);
    with recursive n(i) as (select 1 union all select i+1 from n where i<100000) insert into fixed(v) select hex(i*7919) from n;"
while :; do echo "insert into log(pad) values(hex(randomblob(100)));"; sleep 0.01; done | sqlite3 app.db'

psql() { docker exec -i -e PGPASSWORD=s3cret-pg "$1" psql -qtA -U shop -d "$2"; }
mariadb() { docker exec -i -e MYSQL_PWD='its s3cret' "$1" mariadb -N -u root; }
redis() { docker exec -i -e REDISCLI_AUTH=s3cret-redis "$1" redis-cli --no-auth-warning "${@:2}"; }
sum_postgres() { echo "select count(*), sum(hashtext(v)) from t; select count(*) from pg_roles where rolname='app'" | psql "$1" shop; }
sum_mariadb() { echo "select count(*), sum(crc32(v)), sum(crc32(b)) from shop.t; call shop.p(); select count(*) from mysql.user where user='app'" | mariadb "$1"; }
sum_redis() { redis "$1" eval "local all = {} for i = 1, 2000 do all[#all+1] = redis.call('get', 'key:'..i) end return redis.sha1hex(table.concat(all))" 0; redis "$1" hlen h; }
sum_sqlite() { docker exec "$1" sqlite3 "/data/app.db" "pragma integrity_check; pragma user_version; select count(*), sum(length(v)), max(v) from fixed"; }

postgres_options=(-e POSTGRES_USER=shop -e POSTGRES_PASSWORD=s3cret-pg)
step "four databases, each written to all the time"
run_as_shop=${run_postgres//\"\$bin\/initdb\"/\"\$bin\/initdb\" -U shop}
start dump-pg /var/lib/postgresql/data "${postgres_options[@]}" --label convoy-backups.dump=postgres -- "$run_as_shop"
start dump-ma /var/lib/mysql -e MARIADB_ROOT_PASSWORD='its s3cret' --label convoy-backups.dump=mariadb -- "$run_mariadb"
start dump-re /data -e REDIS_PASSWORD=s3cret-redis --label convoy-backups.dump=redis --label convoy-backups.dump-only=true -- "$run_redis"
start dump-sq /data --label convoy-backups.dump=sqlite:/data/app.db -- "$run_sqlite"
wait_until "PostgreSQL answers" psql dump-pg postgres <<<"select 1"
wait_until "MariaDB answers" mariadb dump-ma <<<"select 1"
wait_until "Redis answers" redis dump-re ping
echo "create database shop; create role app login password 'x'" | sed 's/; /;\n/' | psql dump-pg postgres
echo "create table t(id serial primary key, v text); insert into t(v) select md5(i::text) from generate_series(1,300000) i; create index on t(v);
    create table log(id serial primary key, pad text)" | psql dump-pg shop
echo "create database shop; use shop; create table t(id int primary key auto_increment, v varchar(64), b blob); create table log(id int primary key auto_increment, pad text);
    insert into t(v,b) select md5(seq), unhex(md5(seq)) from seq_1_to_300000; create procedure p() select 'called'; create user app@'%' identified by 'x'" | mariadb dump-ma
docker exec -e REDISCLI_AUTH=s3cret-redis dump-re sh -c 'for i in $(seq 2000); do echo "set key:$i value:$i"; echo "hset h f$i v$i"; done | redis-cli --no-auth-warning >/dev/null'
docker exec -d -e PGPASSWORD=s3cret-pg dump-pg sh -c "while :; do echo \"insert into log(pad) values(md5(random()::text));\"; sleep 0.01; done | psql -qU shop shop"
docker exec -d -e MYSQL_PWD='its s3cret' dump-ma sh -c "while :; do echo \"insert into shop.log(pad) values(md5(rand()));\"; sleep 0.01; done | mariadb -u root"
docker exec -d -e REDISCLI_AUTH=s3cret-redis dump-re sh -c "while :; do echo \"lpush log \$(date +%N)\"; sleep 0.01; done | redis-cli --no-auth-warning"
sleep 2
declare -A was=([pg]="$(sum_postgres dump-pg)" [ma]="$(sum_mariadb dump-ma)" [re]="$(sum_redis dump-re)" [sq]="$(sum_sqlite dump-sq)")

step "they are dumped into the backup"
contains "the plan" "$("$binary" backup --create-snapshot --dry-run)" "dump postgres in dump-pg" "dump redis in dump-re in place of its files" "dump sqlite in dump-sq"
# What everybody on the host can see while they are dumped.
(while :; do ps -eo args; done) >"$work/seen" 2>/dev/null &
looker=$!
"$binary" backup --create-snapshot 2>"$work/log" || { cat "$work/log"; fail "the backup"; }
kill "$looker"
wait "$looker" 2>/dev/null || true
if grep -v -e redis-server -e 'docker run' -e 'sh -c' "$work/seen" | grep s3cret; then fail "a password is on a command line"; fi
if grep s3cret "$work/log"; then fail "a password is in the log"; fi
newest() { "$binary" backups --volume "$1" --json | python3 -c '
import json, sys
newest = max(json.load(sys.stdin), key=lambda it: it["CreatedTime"])
print(newest[sys.argv[1]])' "$2"; }
for name in "${names[@]}"; do contains "the record of $name" "$(newest "$name" Dumps)" "\"Container\":\"$name\""; done
expect "files were left out" "$(newest dump-re Moment)" dump
# Each is whole on a second backup, too, of which most is there.
"$binary" backup --create-snapshot 2>"$work/log" || { cat "$work/log"; fail "the second backup"; }

step "all of it is destroyed, and restored"
docker rm -f "${names[@]}" >/dev/null
declare -A dump
for name in "${names[@]}"; do
    url=$(newest "$name" BackupURL)
    docker volume rm "$name" >/dev/null
    "$binary" restore --volume "$name-restored" --backupurl "$url" >/dev/null
    dump[$name]=$(docker volume inspect --format '{{.Mountpoint}}' "$name-restored")
done
for name in "${names[@]}"; do ls -l "${dump[$name]}"/.convoy-backups.*; done

step "new databases get the dumps"
start dump-pg-new /var/lib/postgresql/data "${postgres_options[@]}" -- "$run_as_shop"
start dump-ma-new /var/lib/mysql -- "$run_mariadb"
wait_until "PostgreSQL answers" psql dump-pg-new postgres <<<"select 1"
wait_until "MariaDB answers" mariadb dump-ma-new <<<"select 1"
psql dump-pg-new postgres <"${dump[dump-pg]}/.convoy-backups.dump-pg.postgres.sql" >"$work/loaded" 2>&1
grep -v -e 'role "shop" already exists' "$work/loaded" | grep ERROR && fail "the dump did not load"
mariadb dump-ma-new <"${dump[dump-ma]}/.convoy-backups.dump-ma.mariadb.sql"
docker run --rm --network none -v dump-re-restored:/from:ro -v dump-re-new:/to "$image" cp /from/.convoy-backups.dump-re.redis.rdb /to/dump.rdb
docker run --rm --network none -v dump-sq-restored:/from:ro -v dump-sq-new:/to "$image" cp /from/.convoy-backups.dump-sq.sqlite.data-app.db /to/app.db
start dump-re-new /data -- "$run_redis"
start dump-sq-new /data -- "sleep 600"
wait_until "Redis answers" redis dump-re-new ping
expect "PostgreSQL" "$(sum_postgres dump-pg-new)" "${was[pg]}"
expect "MariaDB" "$(sum_mariadb dump-ma-new)" "${was[ma]}"
expect "Redis" "$(sum_redis dump-re-new)" "${was[re]}"
expect "SQLite" "$(sum_sqlite dump-sq-new)" "${was[sq]}"
for table in "$(psql dump-pg-new shop <<<'select count(*) from log')" "$(mariadb dump-ma-new <<<'select count(*) from shop.log')" \
    "$(redis dump-re-new llen log)" "$(docker exec dump-sq-new sqlite3 /data/app.db 'select count(*) from log')"; do
    [ "$table" -gt 50 ] || fail "what was written meanwhile is missing: $table"
done

step "the files beside the dumps open as well"
docker run -d --init --name dump-pg --network none -v dump-pg-restored:/var/lib/postgresql/data "${postgres_options[@]}" "$image" sh -c "$run_as_shop" >/dev/null
docker run -d --init --name dump-ma --network none -v dump-ma-restored:/var/lib/mysql "$image" sh -c "$run_mariadb" >/dev/null
wait_until "PostgreSQL answers" psql dump-pg shop <<<"select 1"
wait_until "MariaDB answers" mariadb dump-ma <<<"select 1"
expect "PostgreSQL" "$(sum_postgres dump-pg)" "${was[pg]}"
expect "MariaDB" "$(sum_mariadb dump-ma)" "${was[ma]}"
expect "no database is more" "$(mariadb dump-ma <<<'show databases' | sort | tr '\n' ' ')" "information_schema mysql performance_schema shop sys "
passed
