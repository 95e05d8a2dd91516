# A Docker engine of our own, on a scratch folder, for the scripts in this folder; it is read by them (source), not run.
# shellcheck shell=bash
#
# It runs among mounts, processes and networks of its own (unshare): it and all that it started end with the script, however that
# ends, and an engine of this machine is never seen, let alone touched. Its containers have no network.

kept=${XDG_CACHE_HOME:-$HOME/.cache}/convoy-backups
# Raised when what is in the base changes.
base_archive=$kept/docker-base-1.tar

# What an engine of our own needs of this machine, or the script ends here and says what is missing.
needs_own_engine() {
    [ "$(id -u)" = 0 ] || skip "an engine of our own wants root"
    local tool
    for tool in unshare python3 curl tar flock; do
        command -v "$tool" >/dev/null || skip "there is no $tool on this machine"
    done
    unshare --mount --net --pid --fork --mount-proc true 2>/dev/null || skip "this machine gives root no mounts and processes of its own (unshare)"
    [ -d /sys/fs/cgroup ] || skip "there are no cgroups at /sys/fs/cgroup"
    mkdir -p "$kept"
    # Another run may be making the same just now.
    exec 8>"$kept/docker.lock"
    flock 8
    find_engine
    make_base
    exec 8>&-
}

# Debian's engine: the one installed, else its packages unpacked beside. They are not installed: that would start an engine on this
# machine, or remove one of another maker.
find_engine() {
    local unpacked=$kept/docker-engine
    export PATH="$PATH:/usr/sbin:/sbin:$unpacked/usr/bin:$unpacked/usr/sbin" LD_LIBRARY_PATH="$unpacked/usr/lib/$(uname -m)-linux-gnu"
    is_engine_there && return
    command -v apt-get >/dev/null || skip "there is no Docker engine, and no apt-get to get Debian's with"
    local folder got=
    folder=$(mktemp -d "$kept/unpacking.XXXXXX")
    # The command is in a package of its own since Debian 13.
    for packages in "docker.io docker-cli" docker.io; do
        # shellcheck disable=SC2086 # words
        if (cd "$folder" && timeout 120 apt-get -qq download $packages containerd runc libdevmapper1.02.1) >"$kept/docker-engine.log" 2>&1; then
            got=1
            break
        fi
    done
    [ -n "$got" ] || { rm -rf "$folder"; skip "Debian's engine could not be had: $(tail -1 "$kept/docker-engine.log")"; }
    find "$folder" -name '*.deb' -exec dpkg -x {} "$folder" \; -delete
    rm -rf "$unpacked"
    mv "$folder" "$unpacked"
    hash -r
    is_engine_there || skip "Debian's engine does not start here"
}

is_engine_there() {
    local program
    for program in dockerd containerd runc docker; do "$program" --version >/dev/null 2>&1 || return 1; done
}

# Debian with PostgreSQL and SQLite, made once and kept.
make_base() {
    if [ -e "$base_archive" ]; then return; fi
    command -v debootstrap >/dev/null || skip "there is no debootstrap to make an image with"
    local folder ended=0
    folder=$(mktemp -d "$kept/making.XXXXXX")
    echo "making an image with PostgreSQL and SQLite, once: $base_archive"
    # What it mounts there is gone with it.
    timeout --signal KILL 400 unshare --mount --pid --fork --kill-child --mount-proc \
        debootstrap --variant=minbase --include=postgresql,sqlite3 bookworm "$folder" >"$kept/docker-base.log" 2>&1 || ended=$?
    if [ "$ended" != 0 ]; then
        rm -rf "$folder"
        tail -3 "$kept/docker-base.log"
        [ "$ended" != 137 ] || skip "debootstrap made no system in 400 seconds: $kept/docker-base.log"
        skip "debootstrap made no system (no network?): $kept/docker-base.log"
    fi
    # Nothing of this is used: archives, documents, and the compiler for long queries.
    rm -rf "$folder"/var/cache/apt/* "$folder"/var/lib/apt/lists/* "$folder"/usr/share/{doc,man,locale,info} \
        "$folder"/usr/lib/*/libLLVM-* "$folder"/usr/lib/*/libz3.so*
    tar -C "$folder" -cf "$folder.tar" .
    mv "$folder.tar" "$base_archive"
    rm -rf "$folder"
}

# Runs a script among mounts, processes and networks of its own, for so many seconds at most, and takes away what is left. The folder
# WORK is made for it, and is gone afterwards.
among_our_own() { # SECONDS SCRIPT ARGUMENTS..
    local seconds=$1 ended=0
    shift
    WORK=$(mktemp -d "${TMPDIR:-/tmp}/convoy-backups-engine.XXXXXX")
    chmod 755 "$WORK"
    export WORK AMONG_OUR_OWN=1
    trap take_away EXIT
    trap 'exit 130' INT TERM HUP
    # Its first process takes all others with it when it ends, and ends with this one.
    setpriv --pdeathsig KILL timeout --signal KILL "$seconds" \
        setpriv --pdeathsig KILL unshare --mount --net --pid --fork --kill-child --mount-proc "$@" &
    own=$!
    wait "$own" || ended=$?
    own=
    [ "$ended" != 137 ] || fail "it was ended: it takes $seconds seconds at most"
    exit "$ended"
}

own=''
take_away() {
    local groups turn podmans=none
    [ "${ENGINE:-docker}" != podman ] || podmans='*/libpod_parent*'
    groups=$(basename "$WORK")
    [ -z "$own" ] || kill -KILL "$own" 2>/dev/null || true
    # Mounts are gone with the last process of theirs; control groups are not.
    for turn in $(seq 50); do
        # Podman's are under a name that can't be chosen; those with something in them stay.
        find /sys/fs/cgroup -depth -type d \( -path "*/$groups*" -o -path "$podmans" \) -exec rmdir {} + 2>/dev/null || true
        if [ -z "$(find /sys/fs/cgroup -maxdepth 2 -name "$groups")" ] && rm -rf "$WORK" 2>/dev/null; then return; fi
        sleep 0.1
    done
    echo "left behind after $turn turns: $WORK, and /sys/fs/cgroup/*/$groups" >&2
}

# Starts the engine: Docker's, or Podman's with ENGINE=podman. Where it can't run, the script is skipped: nothing of ours is wrong then.
start_engine() {
    # As systemd has it; else the engine mounts its folder onto itself.
    mount --make-rshared /
    # What this machine has at the usual places is not there for us, and what we make there is gone with us.
    mount -t tmpfs -o mode=755 tmpfs /run
    mount -t tmpfs -o mode=755 tmpfs /var/lib
    local plugins
    for plugins in /etc/docker/plugins /usr/lib/docker/plugins; do
        [ ! -d "$plugins" ] || mount -t tmpfs -o mode=755 tmpfs "$plugins"
    done
    unset DOCKER_CONTEXT DOCKER_CONFIG
    export DOCKER_HOST=unix:///var/run/docker.sock
    mkdir -p "$WORK/engine"
    if [ "${ENGINE:-docker}" = podman ]; then run_podman; else run_docker; fi
    if ! timeout 60 bash -c 'until docker version >/dev/null 2>&1; do sleep 0.1; done'; then
        tail -3 "$WORK/engine/log"
        skip "no engine can run on this machine"
    fi
    docker import "$base_archive" base >/dev/null
    if ! timeout 60 docker run --rm --network none base true >"$WORK/engine/first" 2>&1; then
        cat "$WORK/engine/first"
        skip "the engine can't run containers on this machine"
    fi
    echo "   ${ENGINE:-docker} $(docker version --format '{{.Server.Version}}'), $(docker info --format '{{.Driver}}, cgroup {{.CgroupVersion}}')"
}

run_docker() {
    echo '{}' >"$WORK/engine/daemon.json"
    printf 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n' >"$WORK/engine/containerd.toml"
    containerd --config "$WORK/engine/containerd.toml" --root "$WORK/engine/containerd" --state /run/containerd-own \
        --address /run/containerd-own.sock >"$WORK/engine/containerd.log" 2>&1 &
    dockerd --config-file "$WORK/engine/daemon.json" --containerd /run/containerd-own.sock --data-root "$WORK/engine/data" \
        --exec-root /run/docker-own --pidfile /run/docker-own.pid --host "$DOCKER_HOST" \
        --iptables=false --ip6tables=false --ip-forward=false --bridge=none \
        --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$(basename "$WORK")" >"$WORK/engine/log" 2>&1 &
}

run_podman() {
    command -v podman >/dev/null || skip "there is no podman on this machine"
    podman --root "$WORK/engine/data" --runroot /run/podman-own --storage-driver overlay --cgroup-manager cgroupfs --events-backend file \
        system service --time 0 "$DOCKER_HOST" >"$WORK/engine/log" 2>&1 &
}
