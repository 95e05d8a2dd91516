#!/usr/bin/env bash
# The image, with a real Docker engine: its size, how long it takes to be ready and what memory it holds when idle, and what it says
# where something is not as it should be. Needs root (for sockets), and Debian's package libfaketime for a clock at 1970. Says that it was
# skipped where there is no engine.
#
#   tests/docker/image.sh [IMAGE]           IMAGE: else "convoy-backups", as docker compose builds it
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/docker/support.sh
source "$here/support.sh"

needs_engine
needs_root
image=${1:-convoy-backups}
docker image inspect "$image" >/dev/null 2>&1 || skip "there is no image \"$image\": docker build -t $image ."

work=$(mktemp -d /tmp/convoy-backups-image.XXXXXX)
label=convoy-backups-image-test
clean_up() {
    docker ps --all --quiet --filter "label=$label" | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
    docker volume ls --quiet --filter "label=$label" | xargs --no-run-if-empty docker volume rm >/dev/null
    rm -rf "$work"
}
trap clean_up EXIT
mkdir -p "$work/convoy" "$work/backups" "$work/empty"

# As docker-compose.yml runs it: root without capabilities, nothing but the data folder can be written.
settings=(--label "$label" --user 0:0 --cap-drop ALL --security-opt no-new-privileges --read-only --tmpfs /tmp
    -v "$work/backups:/backups" -e BKUP_BACKUP_URL=vfs:///backups -e BKUP_API_TOKEN=0123456789abcdef0123456789abcdef)
once() { timeout 120 docker run --rm "${settings[@]}" "$@" 2>&1; }
start() { # NAME ARGUMENTS..
    local name=$1
    shift
    docker rm --force --volumes "$name" >/dev/null 2>&1 || true
    docker run -d --name "$name" "${settings[@]}" "$@" >/dev/null
}
milliseconds() { date +%s%3N; }
says() { docker logs "$1" 2>&1 | grep --quiet --fixed-strings -e "$2"; }
answers() { # NAME PATH: 200 over the container's address
    local address
    address=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1")
    curl --silent --fail --max-time 2 --header "Authorization: Bearer 0123456789abcdef0123456789abcdef" "http://$address:3000$2"
}
ends_with() { # WHAT CODE PARTS.. -- ARGUMENTS..
    local what=$1 code=$2 parts=() said ended=0
    shift 2
    while [ "$1" != -- ]; do parts+=("$1"); shift; done
    shift
    said=$(once "$@") || ended=$?
    [ "$ended" = "$code" ] || fail "$what: it ended with $ended, not $code: $said"
    contains "$what" "$said" "${parts[@]}"
}

step "the image"
size=$(docker image inspect --format '{{.Size}}' "$image")
echo "   $((size / 1000000)) MB"
[ "$size" -lt 60000000 ] || fail "it has more than 60 MB"
docker image inspect --format '   user {{.Config.User}}, signal {{.Config.StopSignal}}, ports {{json .Config.ExposedPorts}}, labels {{json .Config.Labels}}' "$image"
expect "its user is not root" "$(docker image inspect --format '{{.Config.User}}' "$image")" 10001:10001

step "a daemon beside it, both from the image"
docker run -d --name convoy-image-daemon --label "$label" --user 0:0 --network none --cap-drop ALL \
    --cap-add CHOWN --cap-add DAC_OVERRIDE --cap-add FOWNER --cap-add FSETID --cap-add MKNOD --cap-add SETFCAP \
    -v "$work/convoy:/var/run/convoy" -v "$work/root:$work/root" -v "$work/backups:/backups" -e BKUP_BACKUP_URL=vfs:///backups \
    "$image" daemon --root "$work/root" --socket /var/run/convoy/convoy.sock >/dev/null
wait_until "the daemon's socket is there" test -S "$work/convoy/convoy.sock"
docker exec convoy-image-daemon convoy-backups healthcheck --daemon || fail "the daemon's healthcheck"
docker exec convoy-image-daemon convoy-backups create --volume vol1 --size 1G >/dev/null
echo content >"$work/root/volumes/vol1/file"
docker exec convoy-image-daemon convoy-backups backup >/dev/null
beside=(-v "$work/convoy:/var/run/convoy")

step "cold start and idle memory"
start convoy-image-backups "${beside[@]}" "$image"
wait_until "/readyz is 200" answers convoy-image-backups /readyz
ready=$(milliseconds)
# Docker's own part left out: it takes 15 seconds more where a volume driver that it has ever used does not answer.
echo "   /readyz was 200 at most $((ready - $(date --date "$(docker inspect --format '{{.State.StartedAt}}' convoy-image-backups)" +%s%3N))) ms after the process was started"
docker exec convoy-image-backups convoy-backups healthcheck
sleep 5
process=$(docker inspect --format '{{.State.Pid}}' convoy-image-backups)
awk '/^(VmRSS|RssAnon|RssFile)/ {printf "   %s %.1f MiB\n", $1, $2 / 1024}' "/proc/$process/status"
expect "docker exec" "$(docker exec convoy-image-backups convoy-backups volumes --json | grep --count '"Name": "vol1"')" 1
docker exec convoy-image-backups convoy-backups backup --create-snapshot >/dev/null || fail "a backup through docker exec"

step "it ends by itself when it is told to"
began=$(milliseconds)
docker stop -t 45 convoy-image-backups >/dev/null
echo "   after $(($(milliseconds) - began)) ms, with $(docker inspect --format '{{.State.ExitCode}}' convoy-image-backups)"
expect "its exit code" "$(docker inspect --format '{{.State.ExitCode}}' convoy-image-backups)" 0

step "64 MB of memory"
start convoy-image-small "${beside[@]}" --memory 64m --memory-swap 64m "$image"
wait_until "/readyz is 200" answers convoy-image-small /readyz
docker exec convoy-image-small convoy-backups backup --create-snapshot >/dev/null || fail "no backup with 64 MB"
expect "was it killed" "$(docker inspect --format '{{.State.OOMKilled}}' convoy-image-small)" false
docker rm --force --volumes convoy-image-small >/dev/null

step "the time zone database and certificates are there"
printf 'CRON_TZ=Europe/Berlin\n0 3 * * * backup\n' >"$work/crontab"
contains "a crontab in another time zone" "$(once -v "$work/crontab:/etc/convoy-backups/crontab:ro" "$image" crontab next)" "03:00 CE"

step "a clock at 1970"
faketime=$(find /usr/lib /usr/lib64 -path '*/faketime/libfaketimeMT.so.1' -print -quit 2>/dev/null || true)
# One machine's whole: commands with a daemon of their own, so that no other clock has a part in it.
mkdir -p "$work/clock/root" "$work/clock/backups"
whole=(-v "$work/clock:/clock" -e BKUP_CONVOY=builtin:/clock/root -e BKUP_BACKUP_URL=vfs:///clock/backups)
unset_clock=("${whole[@]}" -v "$faketime:/faketime.so:ro" -e LD_PRELOAD=/faketime.so -e "FAKETIME=@1970-01-01 00:05:00")
if [ -z "$faketime" ]; then
    echo "   not tried: there is no libfaketime here (apt-get install libfaketime)"
# Asked before anything is expected: a static binary has its own clock, and a library of another C library is not loaded.
elif [[ $(once "${unset_clock[@]}" "$image" crontab next) != *" 1970-01-01 "* ]]; then
    echo "   not tried: the image's binary does not take this machine's libfaketime"
else
    warning="the machine's clock says 1970-01-01 00:05 UTC"
    once "${whole[@]}" "$image" create --volume vol1 --size 1G >/dev/null
    echo content >"$work/clock/root/volumes/vol1/file"
    once "${whole[@]}" "$image" backup --create-snapshot >/dev/null || fail "a backup with the clock as it is"
    ends_with "a backup" 0 "$warning" "set it with" "vfs:///clock/backups?backup=" -- "${unset_clock[@]}" "$image" backup --create-snapshot
    ends_with "the backups of both times" 0 "$warning" "1970-01-01 00:05" "(in " -- "${unset_clock[@]}" "$image" backups
    ends_with "nothing is deleted for its age" 0 "$warning" "delete 0" -- "${unset_clock[@]}" "$image" prune --keep-within 1d --snapshots
    expect "how many backups are left" "$(once "${whole[@]}" "$image" backups --json | grep --count '"BackupName"')" 2
    start convoy-image-clock "${unset_clock[@]}" "$image"
    wait_until "/readyz is 200" answers convoy-image-clock /readyz
    says convoy-image-clock "$warning" || fail "serve does not warn"
    docker rm --force --volumes convoy-image-clock >/dev/null
fi

step "without the socket"
ends_with "a command" 1 'there is no socket "/var/run/convoy/convoy.sock"' "mount the socket's folder" -- "$image" volumes
start convoy-image-lone "$image"
wait_until "serve says so" says convoy-image-lone "mount the socket's folder"
wait_until "its health is that of the process" docker exec convoy-image-lone convoy-backups healthcheck
if answers convoy-image-lone /readyz >/dev/null; then fail "it is ready without a daemon"; fi
docker rm --force --volumes convoy-image-lone >/dev/null

step "the socket's file was mounted, and was not there"
ends_with "a command" 1 "is not a socket" "mount its socket's folder" -- \
    -v "$work/empty/convoy.sock:/var/run/convoy/convoy.sock" "$image" volumes

step "the wrong folder was mounted"
ends_with "a command" 1 "there is no socket" "mount the socket's folder" -- -v "$work/backups:/var/run/convoy" "$image" volumes

step "a user that may not use the socket"
ends_with "a command" 1 "no permission to use the socket" "--user 0:0" -- --user 10001:10001 "${beside[@]}" "$image" volumes

step "the image's own user, and a socket that is open to its group"
chgrp 10001 "$work/convoy/convoy.sock"
chmod 660 "$work/convoy/convoy.sock"
start convoy-image-unprivileged --user 10001:10001 "${beside[@]}" "$image"
wait_until "/readyz is 200" answers convoy-image-unprivileged /readyz
docker rm --force --volumes convoy-image-unprivileged >/dev/null

step "a data folder that can't be written"
chmod 555 "$work/empty"
ends_with "serve, another's folder" 2 "data folder" "hint:" -- --user 10001:10001 "${beside[@]}" -v "$work/empty:/var/lib/convoy-backups" "$image"
ends_with "serve, read-only" 2 "data folder" "hint:" -- "${beside[@]}" -v "$work/empty:/var/lib/convoy-backups:ro" "$image"

step "a read-only root without a data volume's being writable elsewhere"
ends_with "serve" 2 "data folder" "hint:" -- "${beside[@]}" -e BKUP_DATA_DIR=/srv/data "$image"

step "a port in use"
start convoy-image-first "${beside[@]}" "$image"
wait_until "/readyz is 200" answers convoy-image-first /readyz
ends_with "in the container's network" 2 "cannot listen on" "BKUP_API_LISTEN" -- "${beside[@]}" --network container:convoy-image-first "$image"
docker rm --force --volumes convoy-image-first >/dev/null

step "a data folder that another one has"
docker volume create --label "$label" convoy-image-shared >/dev/null
start convoy-image-first "${beside[@]}" -v convoy-image-shared:/var/lib/convoy-backups "$image"
wait_until "/readyz is 200" answers convoy-image-first /readyz
ends_with "a second serve" 75 "runs already" "BKUP_DATA_DIR" -- "${beside[@]}" -v convoy-image-shared:/var/lib/convoy-backups "$image"
docker rm --force --volumes convoy-image-first >/dev/null

step "folders of one's own that are not there"
ends_with "no scripts" 2 "scripts-rhai" "hint:" -- "${beside[@]}" -v "$work/backups:/etc/convoy-backups:ro" "$image"

step "nothing set"
ends_with "no destination" 2 "BKUP_BACKUP_URL" -- "${beside[@]}" -e BKUP_BACKUP_URL= "$image" backup

passed
