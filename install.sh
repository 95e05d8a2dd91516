#!/bin/sh
# Installs convoy-backups on a host without Debian's packages, from the folder in which this script is: a release's, whose
# checksums are compared, or the project's own after "cargo build --release".
#
#   ./install.sh [--prefix DIR] [--dry-run]      installs, or upgrades; settings that are there are kept
#   ./install.sh --uninstall [--prefix DIR]      removes what was installed; settings and data are kept
#
# As root everything: binary, manual, completions, units (where systemd is), crontab, settings and logrotate's file.
# As another user, with a --prefix of their own: binary, manual and completions. Nothing is enabled or started.
set -eu

NAME=convoy-backups
PREFIX=/usr/local
UNINSTALL=
DRY_RUN=

fail() {
    printf 'error: %s\n' "$1" >&2
    shift
    for hint in "$@"; do
        printf 'hint: %s\n' "$hint" >&2
    done
    exit 1
}

usage() {
    sed -n '2,/^set -eu/ { /^#/ s/^# \{0,1\}//p; }' "$0"
}

while [ $# -gt 0 ]; do
    case $1 in
        --prefix)
            [ $# -gt 1 ] || fail "--prefix needs a folder behind it"
            PREFIX=$2
            shift
            ;;
        --prefix=*) PREFIX=${1#--prefix=} ;;
        --uninstall) UNINSTALL=yes ;;
        --dry-run) DRY_RUN=yes ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            printf 'error: "%s" is not known here\n\n' "$1" >&2
            usage >&2
            exit 2
            ;;
    esac
    shift
done

case $PREFIX in
    /*) ;;
    *) fail "the prefix \"$PREFIX\" is not an absolute folder" "write it from the root on, such as /usr/local or $HOME/.local" ;;
esac
case $PREFIX in
    *[!A-Za-z0-9/._+-]*) fail "the prefix \"$PREFIX\" has characters that a unit file can't hold" "choose one of letters, digits and / . _ + -" ;;
esac
PREFIX=${PREFIX%/}
# One line a file: its checksum as it was installed, and its path.
RECORD=$PREFIX/share/$NAME/installed

is_root() { [ "$(id -u)" -eq 0 ]; }

checksum() { sha256sum <"$1" | cut -d' ' -f1; }

command -v sha256sum >/dev/null || fail "there is no sha256sum here" "install coreutils"

reload_units() {
    if is_root && [ -d /run/systemd/system ]; then
        systemctl daemon-reload || true
    fi
}

uninstall() {
    [ -f "$RECORD" ] || fail "nothing is installed in $PREFIX: there is no $RECORD" "--prefix names where it was installed to"
    [ -w "$RECORD" ] || fail "this user can't remove what is in $PREFIX" "run it with sudo"
    if is_root && [ -d /run/systemd/system ] && [ -z "$DRY_RUN" ]; then
        for unit in $NAME.service $NAME-daemon.service; do
            # Only a unit of this prefix: another copy of the program may have one of the same name.
            path=$(systemctl show -P FragmentPath "$unit" 2>/dev/null) || path=
            if [ -n "$path" ] && grep -qF "  $path" "$RECORD"; then
                systemctl disable --now "$unit" >/dev/null 2>&1 || true
            fi
        done
    fi
    while read -r sum path; do
        [ -f "$path" ] || continue
        case $path in
            /etc/*)
                if [ "$(checksum "$path")" != "$sum" ]; then
                    echo "kept:    $path (it was changed)"
                    continue
                fi
                ;;
        esac
        echo "removed: $path"
        [ -n "$DRY_RUN" ] || rm -f "$path"
    done <"$RECORD"
    [ -z "$DRY_RUN" ] || return 0
    rm -f "$RECORD"
    find "$PREFIX/share/$NAME" -depth -type d -exec rmdir {} + 2>/dev/null || true
    if is_root; then
        rmdir /etc/convoy-backups 2>/dev/null || true
    fi
    reload_units
    for kept in /var/lib/convoy-backups /etc/convoy-backups; do
        [ ! -e "$kept" ] || echo "kept:    $kept (delete it yourself once nothing in it is needed)"
    done
}

if [ -n "$UNINSTALL" ]; then
    uninstall
    exit 0
fi

HERE=$(CDPATH='' cd "$(dirname "$0")" && pwd)

# What can go wrong is found before anything is written.
[ "$(uname -s)" = Linux ] || fail "this is $(uname -s), and the program is for Linux"
if [ -f "$HERE/SHA256SUMS" ]; then
    wrong=$(cd "$HERE" && sha256sum --check --quiet SHA256SUMS 2>&1) ||
        fail "files are not those of the release: $wrong" "download and unpack it again"
    BINARY=$HERE/$NAME
    MAN=$HERE/man
    COMPLETIONS=$HERE/completions
elif [ -f "$HERE/Cargo.toml" ]; then
    BINARY=$HERE/target/release/$NAME
    [ -f "$BINARY" ] || fail "there is no $BINARY" "cargo build --release --locked"
    MADE=$(mktemp -d)
    trap 'rm -rf "$MADE"' EXIT
    MAN=$MADE/man
    COMPLETIONS=$MADE/completions
else
    fail "there are no checksums beside install.sh" "unpack the whole archive, and start install.sh in its folder"
fi
VERSION=$("$BINARY" --version 2>&1) || fail "the binary does not run here: $VERSION" \
    "this is $(uname -m); take the release made for it, or build it here: cargo build --release --locked"
if [ -n "${MADE:-}" ]; then
    "$BINARY" man "$MAN"
    mkdir -p "$COMPLETIONS"
    for shell in bash zsh fish; do
        env -u BKUP_SCRIPTS_DIR "$BINARY" completions "$shell" >"$COMPLETIONS/$shell"
    done
fi
if command -v dpkg-query >/dev/null && dpkg-query -S /usr/bin/$NAME >/dev/null 2>&1; then
    fail "$NAME is installed as a Debian package" "apt-get remove $NAME (its settings and data are kept), or upgrade the package"
fi
folder=$PREFIX
while [ ! -e "$folder" ]; do
    folder=$(dirname "$folder")
done
[ -d "$folder" ] || fail "$folder is not a folder"
[ -w "$folder" ] || fail "this user can't write to $folder" "run it with sudo, or with --prefix $HOME/.local"

NEW_RECORD=
if [ -z "$DRY_RUN" ]; then
    mkdir -p "$PREFIX/share/$NAME"
    NEW_RECORD=$RECORD.new
    : >"$NEW_RECORD"
fi

# put MODE SOURCE TARGET: under a temporary name, then renamed: a program that runs goes on with its own.
put() {
    if [ -n "$DRY_RUN" ]; then
        echo "would install: $3"
        return 0
    fi
    mkdir -p "$(dirname "$3")"
    cp "$2" "$3.new"
    chmod "$1" "$3.new"
    printf '%s  %s\n' "$(checksum "$3.new")" "$3" >>"$NEW_RECORD"
    sync "$3.new" 2>/dev/null || sync
    mv -f "$3.new" "$3"
    echo "installed: $3"
}

# Settings are the administrator's: a file that is there and was changed is kept, and the new one is told of.
put_settings() {
    if [ -e "$3" ] && [ "$(checksum "$3")" != "$(checksum "$2")" ]; then
        before=
        [ ! -f "$RECORD" ] || before=$(awk -v path="$3" '$2 == path { print $1 }' "$RECORD")
        if [ "$before" != "$(checksum "$3")" ]; then
            if [ -n "$DRY_RUN" ]; then
                echo "would keep: $3 (the new one would be $PREFIX/share/$NAME/new$3)"
                return 0
            fi
            # Not beside the old one: logrotate reads whatever is in its folder.
            put "$1" "$2" "$PREFIX/share/$NAME/new$3"
            # Its own checksum stays the one that was installed, so that it counts as changed from now on, too.
            printf '%s  %s\n' "${before:-changed}" "$3" >>"$NEW_RECORD"
            echo "kept:      $3 (the new one is $PREFIX/share/$NAME/new$3)"
            return 0
        fi
    fi
    put "$@"
}

put 755 "$BINARY" "$PREFIX/bin/$NAME"
for page in "$MAN"/*.[15]; do
    put 644 "$page" "$PREFIX/share/man/man${page##*.}/$(basename "$page")"
done
put 644 "$COMPLETIONS/bash" "$PREFIX/share/bash-completion/completions/$NAME"
put 644 "$COMPLETIONS/zsh" "$PREFIX/share/zsh/site-functions/_$NAME"
put 644 "$COMPLETIONS/fish" "$PREFIX/share/fish/vendor_completions.d/$NAME.fish"
put 755 "$HERE/convoy.init.d" "$PREFIX/share/$NAME/convoy.init.d"
put 644 "$HERE/packaging/default/convoy" "$PREFIX/share/$NAME/default-convoy"

if is_root; then
    put_settings 600 "$HERE/packaging/default/$NAME" /etc/default/$NAME
    put_settings 644 "$HERE/crontab" /etc/convoy-backups/crontab
    if [ -d /etc/logrotate.d ]; then
        put_settings 644 "$HERE/packaging/logrotate/$NAME" /etc/logrotate.d/$NAME
    fi
    # systemd looks there whatever the prefix is; /etc is for the administrator's own changes.
    if [ -d /run/systemd/system ] || command -v systemctl >/dev/null; then
        units=$(mktemp -d)
        for unit in $NAME.service $NAME-daemon.service; do
            sed "s|/usr/bin/$NAME|$PREFIX/bin/$NAME|" "$HERE/packaging/systemd/$unit" >"$units/$unit"
            put 644 "$units/$unit" "/usr/local/lib/systemd/system/$unit"
        done
        rm -rf "$units"
    fi
    if [ -z "$DRY_RUN" ]; then
        [ -e /var/lib/convoy-backups ] || (umask 077 && mkdir -p /var/lib/convoy-backups)
        [ -e /var/log/convoy-backups ] || (umask 027 && mkdir -p /var/log/convoy-backups)
    fi
fi
[ -z "$DRY_RUN" ] || exit 0

# What an older version installed and this one has not any more.
if [ -f "$RECORD" ]; then
    while read -r _ path; do
        if ! grep -qF "  $path" "$NEW_RECORD" && [ -f "$path" ]; then
            case $path in
                /etc/*) ;;
                *) rm -f "$path" ;;
            esac
        fi
    done <"$RECORD"
fi
mv -f "$NEW_RECORD" "$RECORD"
reload_units

# Which volume daemon: settled once, by what is there now. A socket that is missing some night must not settle it.
DAEMON=
if is_root && [ ! -e /var/lib/convoy-backups/daemon.json ] && [ ! -e /var/lib/convoy-backups/runs.sqlite ] &&
    ! grep -qE '^BKUP_(CONVOY|DATA_DIR)' /etc/default/$NAME 2>/dev/null; then
    DAEMON=builtin
    if [ -S /run/convoy/convoy.sock ] || command -v convoy >/dev/null; then
        DAEMON=convoy
    fi
    "$PREFIX/bin/$NAME" daemon use "$DAEMON" --quiet --data-dir /var/lib/convoy-backups || DAEMON=
fi

echo
echo "$VERSION is in $PREFIX. What is next:"
if ! is_root; then
    echo "  $PREFIX/bin/$NAME doctor"
elif [ -d /run/systemd/system ]; then
    [ -z "$DAEMON" ] || echo "  The volume daemon is \"$DAEMON\"; to change that: $NAME daemon use convoy (or builtin)"
    echo "  1. say in /etc/default/$NAME where backups go"
    echo "  2. systemctl enable --now $NAME"
    echo "  upgraded: systemctl try-restart $NAME-daemon $NAME"
else
    [ -z "$DAEMON" ] || echo "  The volume daemon is \"$DAEMON\"; to change that: $NAME daemon use convoy (or builtin)"
    echo "  1. say in /etc/default/$NAME where backups go"
    echo "  2. a volume daemon for Docker, where one is wanted: $PREFIX/share/$NAME/convoy.init.d"
fi
