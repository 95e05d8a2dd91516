# What the scripts in this folder share; it is read by them (source), not run.
# shellcheck shell=bash

step() { printf '\n== %s\n' "$*"; }
passed() { printf '\npassed\n'; }

# Ends the script well: what it tries can't be tried here.
skip() {
    printf 'SKIPPED: %s\n' "$*"
    exit 0
}

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

expect() { # WHAT IS SHOULD_BE
    [ "$2" = "$3" ] || fail "$1: it is \"$2\", not \"$3\""
    printf '   %s: as it should be\n' "$1"
}

contains() { # WHAT TEXT PART..
    local what=$1 text=$2 part
    shift 2
    for part in "$@"; do
        [[ $text == *"$part"* ]] || fail "$what: no \"$part\" in: $text"
    done
    printf '   %s: says so\n' "$what"
}

# This command must fail, and say this.
refused() { # WHAT PART COMMAND..
    local what=$1 part=$2 said
    shift 2
    if said=$("$@" 2>&1); then fail "$what was not refused: $said"; fi
    contains "$what" "$said" "$part"
}

wait_until() { # WHAT COMMAND..
    local what=$1 turn
    shift
    for turn in $(seq 600); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.05
    done
    fail "$what: not within 30 seconds (looked $turn times)"
}

needs_engine() {
    command -v docker >/dev/null || skip "there is no docker command on this machine"
    docker info >/dev/null 2>&1 || skip "no Docker engine answers here (is it running? may this user use it?)"
}

needs_root() {
    [ "$(id -u)" = 0 ] || skip "this has to be root: it registers a volume driver with Docker"
}

# The binary that was named, or the newest that cargo has built.
find_binary() {
    local project found
    project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
    # shellcheck disable=SC2012 # the names are known
    found=${1:-$(ls -t "$project"/target/{release,debug}/convoy-backups 2>/dev/null | head -n 1)}
    [ -x "$found" ] || fail "there is no binary: cargo build, or name one"
    realpath "$found"
}

# An image with a shell: the one named, one that was made before, one that can be pulled, or one that is made here.
base_image() {
    local made=convoy-backups-test-base folder
    if [ -n "${BASE_IMAGE:-}" ]; then
        echo "$BASE_IMAGE"
    elif docker image inspect "$made" >/dev/null 2>&1; then
        echo "$made"
    elif timeout 60 docker pull --quiet debian:12-slim >/dev/null 2>&1; then
        echo debian:12-slim
    elif command -v debootstrap >/dev/null && [ "$(id -u)" = 0 ]; then
        echo "no image can be pulled: making one with debootstrap" >&2
        folder=$(mktemp -d)
        debootstrap --variant=minbase bookworm "$folder" >&2 || { rm -rf "$folder"; fail "debootstrap made no system"; }
        tar -C "$folder" -c . | docker import - "$made" >/dev/null
        rm -rf "$folder"
        echo "$made"
    else
        skip "no image can be pulled, and there is no debootstrap to make one with" >&2
    fi
}
