#!/usr/bin/env bash
# The built-in daemon as Docker's volume driver "convoy", with a real Docker engine: containers write to a volume, it is backed up,
# removed and restored, and another container reads the files. Needs root, a Docker engine on this machine, and either an image
# that can be pulled or debootstrap, with which it makes one. Says that it was skipped where one of these is missing.
#
#   tests/docker/run.sh [BINARY]            BINARY: else the newest that cargo has built
#   BASE_IMAGE=debian:12-slim tests/docker/run.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/docker/support.sh
source "$here/support.sh"

needs_engine
needs_root
binary=$(find_binary "${1:-}")
base=$(base_image)
[ -n "$base" ] || exit 0

# The place that the documents name. It is fixed, because an engine keeps a driver's address for as long as it runs.
socket=/var/run/convoy/convoy.sock
spec=/etc/docker/plugins/convoy.spec
[ ! -e "$spec" ] || skip "\"$spec\" is there: this machine has a volume driver \"convoy\" of its own, which is left alone"
[ ! -e "$socket" ] || skip "\"$socket\" is there: another daemon serves it"

work=$(mktemp -d /tmp/convoy-backups-docker.XXXXXX)
daemon=
containers=(convoy-test-first convoy-test-second)
clean_up() {
    docker rm -f "${containers[@]}" >/dev/null 2>&1 || true
    docker volume rm test_volume test_volume.removed-1 test_volume-restored >/dev/null 2>&1 || true
    [ -z "$daemon" ] || { kill "$daemon" 2>/dev/null; wait "$daemon" 2>/dev/null; } || true
    rm -rf "$spec" "$work"
}
trap clean_up EXIT

mkdir -p "$work/backups" /etc/docker/plugins
# It asks no engine, so that what is tried here is what it knows as a plugin alone.
export BKUP_CONVOY="unix://$socket" BKUP_BACKUP_URL="vfs://$work/backups" BKUP_DATA_DIR="$work/data" BKUP_API_LISTEN=off BKUP_DEFAULTS=off BKUP_DOCKER=off
echo "unix://$socket" >"$spec"

start_daemon() {
    "$binary" daemon --root "$work/root" --socket "$socket" 2>>"$work/daemon.log" &
    daemon=$!
    wait_until "the daemon listens" test -S "$socket"
}
# Where the daemon says that a volume is mounted; nothing where it is not.
mounted() {
    "$binary" volumes --json | python3 -c '
import json, sys
print(next(there.get("MountPoint", "") for there in json.load(sys.stdin) if there["Name"] == sys.argv[1]))' "$1"
}
forgotten() {
    "$binary" volumes --forgotten --json | python3 -c '
import json, sys
print(" ".join(there["Name"] for there in json.load(sys.stdin)))'
}
in_container() { docker run --rm --network none -v "$1:/test" --volume-driver=convoy "$base" sh -c "$2"; }
background() { docker run -d --name "$1" --network none -v test_volume:/test --volume-driver=convoy "$base" sleep 600 >/dev/null; }

start_daemon

step "a container makes the volume and writes to it"
in_container test_volume 'echo precious > /test/file; mkdir /test/folder; ln -s ../file /test/folder/link; chown 1234:5678 /test/file; chmod 640 /test/file'
expect "docker lists it" "$(docker volume ls --quiet --filter driver=convoy)" test_volume
expect "its files are in the daemon's folder" "$(cat "$work/root/volumes/test_volume/file")" precious
expect "nobody uses it any more" "$(mounted test_volume)" ""

step "a volume is mounted until the last container has gone"
background convoy-test-first
background convoy-test-second
docker rm -f convoy-test-first >/dev/null
expect "one of two has gone" "$(mounted test_volume)" "$work/root/volumes/test_volume"
docker exec convoy-test-second sh -c 'echo second > /test/second'
refused "docker volume rm" "in use" docker volume rm test_volume
refused "remove" "mounted" "$binary" remove --volume test_volume --all

step "a daemon that starts again knows who uses what"
background convoy-test-first
kill "$daemon"; wait "$daemon" || true
start_daemon
docker rm -f convoy-test-first >/dev/null
expect "the other one still uses it" "$(mounted test_volume)" "$work/root/volumes/test_volume"
docker rm -f convoy-test-second >/dev/null
expect "nobody uses it" "$(mounted test_volume)" ""

step "backup"
url=$("$binary" backup --volume test_volume --create-snapshot --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["URL"])')
echo "   $url"

step "docker volume rm forgets the volume; its files stay, and a new volume of its name is empty"
docker volume rm test_volume >/dev/null
expect "docker lists nothing" "$(docker volume ls --quiet --filter driver=convoy)" ""
expect "the files are there" "$(cat "$work/root/volumes/test_volume/second")" second
expect "forgotten" "$(forgotten)" test_volume
expect "a container gets an empty one" "$(in_container test_volume 'ls /test')" ""
docker volume rm test_volume >/dev/null
expect "what is kept" "$(forgotten)" "test_volume test_volume.removed-1"
expect "the files are there" "$(cat "$work/root/volumes/test_volume.removed-1/second")" second
"$binary" create --volume test_volume.removed-1 --size 1G >/dev/null
expect "a container gets them" "$(in_container test_volume.removed-1 'cat /test/second')" second

step "volumes are deleted with their files, also one that Docker removed"
docker volume rm test_volume.removed-1 >/dev/null
for name in test_volume test_volume.removed-1; do
    "$binary" remove --volume "$name" --all >/dev/null
    [ ! -e "$work/root/volumes/$name" ] || fail "its folder is still there"
done
expect "forgotten" "$(forgotten)" ""
expect "docker lists nothing" "$(docker volume ls --quiet --filter driver=convoy)" ""

step "a volume without a name leaves nothing"
docker run --rm --network none -v /test --volume-driver=convoy "$base" sh -c 'echo nobodys > /test/file'
expect "forgotten" "$(forgotten)" ""
expect "folders" "$(ls "$work/root/volumes")" ""

step "docker tells when a volume was made, and a container that went without a word is no user"
docker volume create --driver convoy test_volume >/dev/null
contains "inspect" "$(docker volume inspect test_volume)" "\"CreatedAt\": \"$(date --utc +%Y)"
background convoy-test-first
kill -9 "$daemon"; wait "$daemon" 2>/dev/null || true
docker rm -f convoy-test-first >/dev/null 2>&1
start_daemon
expect "it is marked" "$(mounted test_volume)" "$work/root/volumes/test_volume"
refused "remove" "unmount --volume test_volume" "$binary" remove --volume test_volume --all
"$binary" unmount --volume test_volume >/dev/null 2>&1
expect "it is not any more" "$(mounted test_volume)" ""
"$binary" remove --volume test_volume --all >/dev/null

step "restore, to a new name and to the old one; another container reads the files"
for name in test_volume-restored test_volume; do
    "$binary" restore --volume "$name" --backupurl "$url" >/dev/null
    expect "$name" "$(in_container "$name" 'cat /test/file /test/folder/link /test/second; stat -c "%u:%g %a" /test/file')" \
        "$(printf 'precious\nprecious\nsecond\n1234:5678 640')"
done

step "options, and names that can't be"
docker volume create --driver convoy --opt size=10G convoy-test-sized >/dev/null
docker volume rm convoy-test-sized >/dev/null
refused "an unknown driver of Convoy's" "Cannot find driver" docker volume create --driver convoy --opt driver=ebs convoy-test-ebs

passed
