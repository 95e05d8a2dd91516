#!/bin/sh
### BEGIN INIT INFO
# Provides:          convoy
# Required-Start:    $local_fs $remote_fs
# Required-Stop:     $local_fs $remote_fs
# Should-Start:      $network $syslog
# Should-Stop:       $network $syslog
# X-Start-Before:    docker
# X-Stop-After:      docker
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: volume daemon for Docker
# Description:       Serves Docker volumes on Convoy's socket: the daemon that is built into
#                    convoy-backups, or Convoy itself, as /etc/default/convoy says.
### END INIT INFO

# For hosts without systemd; those with it take convoy-backups-daemon.service. To install:
#   cp convoy.init.d /etc/init.d/convoy && chmod 755 /etc/init.d/convoy && update-rc.d convoy defaults
#
# Exit codes are those of the LSB: 0 done; for status 1 died, 3 not running; else 1 failed, 2 wrong usage, 4 not root,
# 5 not installed, 6 not configured.

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

NAME=convoy
DEFAULTS=/etc/default/convoy
SHARED_DEFAULTS=/etc/default/convoy-backups

# What /etc/default/convoy may change.
DAEMON=builtin
ROOT=
SOCKET=/var/run/convoy/convoy.sock
OPTIONS=
LOG=/var/log/convoy.log
PIDFILE=/var/run/convoy.pid
START_WAIT=60
STOP_WAIT=300

# Every BKUP_ setting in these files goes to the daemon: the repository's password is in the one that both services read.
set -a
# shellcheck source=/dev/null
[ ! -r "$SHARED_DEFAULTS" ] || . "$SHARED_DEFAULTS"
# shellcheck source=/dev/null
[ ! -r "$DEFAULTS" ] || . "$DEFAULTS"
set +a

say() { printf '%s\n' "$NAME: $*"; }

fail() {
    code=$1
    shift
    printf '%s\n' "$NAME: $*" >&2
    exit "$code"
}

ACTION=${1:-}
case $DAEMON in
    builtin)
        PROGRAM=$(command -v "${PROGRAM:-convoy-backups}") || PROGRAM=
        ROOT=${ROOT:-/var/lib/convoy-backups/daemon}
        set -- daemon --root "$ROOT" --socket "$SOCKET"
        ;;
    convoy)
        PROGRAM=$(command -v "${PROGRAM:-convoy}") || PROGRAM=
        ROOT=${ROOT:-/var/lib/rancher/convoy}
        set -- --socket "$SOCKET" daemon --root "$ROOT"
        ;;
    *) fail 6 "DAEMON is \"$DAEMON\" in $DEFAULTS: write builtin or convoy" ;;
esac

# The process that the file names, if it is the daemon: not by the program's file, which an upgrade replaces.
running() {
    pid=$(cat "$PIDFILE" 2>/dev/null) || return 1
    case $pid in
        '' | *[!0-9]*) return 1 ;;
    esac
    # One that died, and that nobody has asked how, has its name still.
    ! grep -qs '^State:[[:space:]]*Z' "/proc/$pid/status" || return 1
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$(basename "$PROGRAM" | cut -c1-15)" ]
}

socket_identity() { stat -c '%i %Z' "$SOCKET" 2>/dev/null; }

must_be_root() {
    [ "$(id -u)" -eq 0 ] || fail 4 "this needs root: sudo $0 $ACTION"
}

start() {
    must_be_root
    [ -n "$PROGRAM" ] || fail 5 "the program of DAEMON=$DAEMON is not installed; PROGRAM in $DEFAULTS names another"
    if running; then
        say "already running (process $pid)"
        return 0
    fi
    mkdir -p "$(dirname "$SOCKET")" "$(dirname "$PIDFILE")" || fail 1 "cannot make the folders of $SOCKET and $PIDFILE"
    (umask 027 && : >>"$LOG") || fail 1 "cannot write $LOG"
    logged=$(wc -c <"$LOG")
    rm -f "$PIDFILE"
    # A socket that was left by a daemon that was killed must not look as if this one were ready; nor is one removed that
    # another daemon may be serving: the new one refuses to start then.
    before=$(socket_identity)
    # OPTIONS are several words.
    # shellcheck disable=SC2086
    start-stop-daemon --start --quiet --background --make-pidfile --pidfile "$PIDFILE" --no-close \
        --startas "$PROGRAM" -- "$@" $OPTIONS >>"$LOG" 2>&1 </dev/null || fail 1 "cannot start $PROGRAM; see $LOG"
    waited=0
    until [ -S "$SOCKET" ] && [ "$(socket_identity)" != "$before" ]; do
        if [ "$waited" -ge "$((START_WAIT * 5))" ]; then
            fail 1 "$PROGRAM runs, but has not made $SOCKET after $START_WAIT seconds; see $LOG"
        fi
        sleep 0.2
        waited=$((waited + 1))
        # It forks, then becomes the program: give it a moment to have the program's name.
        if [ "$waited" -gt 5 ] && ! running; then
            rm -f "$PIDFILE"
            printf '%s\n' "$NAME: $PROGRAM ended at once; the last it wrote to $LOG:" >&2
            tail -c "+$((logged + 1))" "$LOG" | tail -n 5 >&2
            exit 1
        fi
    done
    say "serving the volumes in $ROOT at $SOCKET"
}

stop() {
    must_be_root
    if ! running; then
        rm -f "$PIDFILE"
        say "not running"
        return 0
    fi
    # Whoever is being answered has so long: to cut a backup off costs the backup.
    start-stop-daemon --stop --quiet --pidfile "$PIDFILE" --name "$(basename "$PROGRAM" | cut -c1-15)" \
        --retry "TERM/$STOP_WAIT/KILL/5" || fail 1 "process $pid can't be ended"
    rm -f "$PIDFILE"
    say "ended"
}

status() {
    if running; then
        if [ -S "$SOCKET" ]; then
            say "running (process $pid), serving the volumes in $ROOT at $SOCKET"
            return 0
        fi
        say "running (process $pid), but there is no $SOCKET; see $LOG"
        return 4
    fi
    if [ -e "$PIDFILE" ]; then
        say "not running, though $PIDFILE is there: it died; see $LOG"
        return 1
    fi
    say "not running"
    return 3
}

case $ACTION in
    start) start "$@" ;;
    stop) stop ;;
    restart | force-reload)
        stop
        start "$@"
        ;;
    # As for any service: nothing is started that was not running.
    try-restart | condrestart)
        running || exit 0
        stop
        start "$@"
        ;;
    status) status ;;
    *) fail 2 "usage: $0 {start|stop|restart|try-restart|force-reload|status}" ;;
esac
