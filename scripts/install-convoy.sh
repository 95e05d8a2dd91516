#!/usr/bin/env bash
# Installs Convoy on this host: its two programs, a service with the options of one driver, and the file by which Docker
# finds it. Run again, it changes only what differs. It never formats a device and never restarts a Convoy that runs.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib/common.sh
. "$here/lib/common.sh"

usage() {
    cat << 'END'
usage: install-convoy.sh --driver vfs --path FOLDER [--nfs] --sha256 SUM
       install-convoy.sh --driver devicemapper --data-device DEVICE --metadata-device DEVICE --sha256 SUM
       install-convoy.sh --driver ebs [--kms-key KEY | --encrypted] [--fsfreeze] --sha256 SUM
       install-convoy.sh --print-sha256

  --driver DRIVER           vfs (folders, NFS too), devicemapper or ebs
  --path FOLDER             vfs: where volumes lie; it must exist
  --nfs                     vfs: refuse FOLDER where no NFS share is mounted
  --data-device DEVICE      devicemapper: the large empty block device
  --metadata-device DEVICE  devicemapper: the small empty block device
  --volume-size SIZE        devicemapper, ebs: of volumes created without a size, such as 10G
  --volume-type TYPE        ebs: of volumes created without a type: gp2, io1, st1, sc1 or standard (Convoy knows no gp3)
  --kms-key KEY             ebs: encrypt new volumes with this KMS key
  --encrypted               ebs: encrypt new volumes with the account's key for EBS
  --fsfreeze                ebs: freeze a volume's file system while its snapshot begins
  --cmd-timeout TIME        how long each command may take that Convoy runs (tar, gzip, cp ..), such as 90m (default: 24h).
                            Convoy's own default of one minute is too short for volumes of some GB
  --sha256 SUM              the archive's SHA-256, 64 digits; nothing is installed without it
  --print-sha256            fetch the archive and print its SHA-256, no more
  --archive FILE            take this file instead of fetching one
  --url URL                 fetch from here (default: Convoy's release 0.5.2 on GitHub)
  --root FOLDER             Convoy's own state (default: /var/lib/rancher/convoy)
  --replace-options         overwrite the options of an earlier installation
  --destdir FOLDER          install below FOLDER, start nothing (for images and tests)
  --dry-run                 check everything, write nothing, and print what would be done
  --help                    print this

Exit codes: 0 done, 1 failed, 2 wrong usage.
END
}

url=https://github.com/rancher/convoy/releases/download/v0.5.2/convoy.tar.gz
driver='' path='' nfs=false data_device='' metadata_device='' volume_size='' volume_type='' kms_key='' encrypted=false
fsfreeze=false cmd_timeout=24h sum='' print_sum=false archive='' root=/var/lib/rancher/convoy replace=false destdir='' dry_run=false
while [ $# -gt 0 ]; do
    case $1 in
        --driver) driver=$(value "$@"); shift 2 ;;
        --path) path=$(value "$@"); shift 2 ;;
        --nfs) nfs=true; shift ;;
        --data-device) data_device=$(value "$@"); shift 2 ;;
        --metadata-device) metadata_device=$(value "$@"); shift 2 ;;
        --volume-size) volume_size=$(value "$@"); shift 2 ;;
        --volume-type) volume_type=$(value "$@"); shift 2 ;;
        --kms-key) kms_key=$(value "$@"); shift 2 ;;
        --encrypted) encrypted=true; shift ;;
        --fsfreeze) fsfreeze=true; shift ;;
        --cmd-timeout) cmd_timeout=$(value "$@"); shift 2 ;;
        --sha256) sum=$(value "$@"); shift 2 ;;
        --print-sha256) print_sum=true; shift ;;
        --archive) archive=$(value "$@"); shift 2 ;;
        --url) url=$(value "$@"); shift 2 ;;
        --root) root=$(value "$@"); shift 2 ;;
        --replace-options) replace=true; shift ;;
        --destdir) destdir=$(value "$@"); shift 2 ;;
        --dry-run) dry_run=true; shift ;;
        --help) usage; exit 0 ;;
        *) wrong "\"$1\" is not an option of install-convoy.sh" ;;
    esac
done

work=$(mktemp -d) || fail "no temporary folder can be made" "look at TMPDIR and the free space"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Puts the archive at $work/convoy.tar.gz.
fetch() {
    if [ -n "$archive" ]; then
        [ -f "$archive" ] || fail "there is no file $archive" "look at --archive"
        cp -- "$archive" "$work/convoy.tar.gz"
        return
    fi
    check "a download's address" "$url" 'https://[^[:space:]]+' "one that begins with https://"
    command -v curl > /dev/null || fail "curl is not installed" "install curl, or fetch $url elsewhere and give --archive FILE"
    note "fetching $url"
    curl --fail --silent --show-error --location --proto '=https' --retry 3 --connect-timeout 20 \
        --output "$work/convoy.tar.gz" "$url" ||
        fail "$url could not be fetched" "look at the network, or fetch it elsewhere and give --archive FILE"
}

checksum() {
    sha256sum < "$1" | cut -d ' ' -f 1
}

if [ "$print_sum" = true ]; then
    fetch
    checksum "$work/convoy.tar.gz"
    note "compare it with what another machine, on another network, gets; then give it as --sha256"
    exit 0
fi

# What the person wants, checked before anything is fetched.
[ -n "$driver" ] || wrong "no driver is named" "give --driver vfs, devicemapper or ebs; docs/convoy.md helps to choose"
check "a driver" "$driver" 'vfs|devicemapper|ebs' "vfs, devicemapper or ebs"
[ -n "$sum" ] || wrong "no checksum is given, and the release is not signed" \
    "get it with --print-sha256, compare it with another machine's, then give --sha256 SUM"
check "a SHA-256" "$sum" '[0-9a-fA-F]{64}' "its 64 hexadecimal digits"
sum=${sum,,}
# What is given becomes a part of a line that systemd and a shell split at spaces.
plain='[A-Za-z0-9_./:+@-]+'
for given in "$path" "$data_device" "$metadata_device" "$kms_key" "$root"; do
    [ -z "$given" ] || check "something Convoy's options can hold" "$given" "$plain" "letters, digits and _ . / : + @ -"
done
check "a folder" "$root" '/.*' "an absolute path"
[ -z "$volume_size" ] || check "a size" "$volume_size" '[1-9][0-9]*[GMK]?' "something like 10G"
check "a time for commands" "$cmd_timeout" '[1-9][0-9]*[mh]' "minutes or hours, such as 90m or 24h"
# only_for DRIVERS OPTION VALUE
only_for() {
    [ -z "$3" ] || [ "$3" = false ] || [[ " $1 " == *" $driver "* ]] ||
        wrong "$2 means nothing to the driver $driver" "leave it out; it is for $1"
}
only_for vfs --path "$path"
only_for vfs --nfs "$nfs"
only_for devicemapper --data-device "$data_device"
only_for devicemapper --metadata-device "$metadata_device"
only_for "devicemapper ebs" --volume-size "$volume_size"
only_for ebs --volume-type "$volume_type"
only_for ebs --kms-key "$kms_key"
only_for ebs --encrypted "$encrypted"
only_for ebs --fsfreeze "$fsfreeze"

options="--drivers $driver"
option() {
    options+=" --driver-opts $1=$2"
}
case $driver in
    vfs)
        [ -n "$path" ] || wrong "the driver vfs needs a folder" "give --path FOLDER"
        check "a folder" "$path" '/.*' "an absolute path"
        option vfs.path "$path"
        ;;
    devicemapper)
        [[ -n $data_device && -n $metadata_device ]] ||
            wrong "the driver devicemapper needs two block devices" "give --data-device and --metadata-device; docs/convoy.md makes them"
        [ "$data_device" != "$metadata_device" ] || wrong "one device can't be both" "name two devices"
        option dm.datadev "$data_device"
        option dm.metadatadev "$metadata_device"
        [ -z "$volume_size" ] || option dm.defaultvolumesize "$volume_size"
        ;;
    ebs)
        [ -z "$kms_key" ] || [ "$encrypted" = false ] || wrong "--kms-key encrypts already" "leave --encrypted out"
        [ -z "$volume_type" ] || check "a volume type of Convoy's" "$volume_type" 'gp2|io1|st1|sc1|standard' "gp2, io1, st1, sc1 or standard; Convoy knows no gp3"
        [ -z "$volume_size" ] || option ebs.defaultvolumesize "$volume_size"
        [ -z "$volume_type" ] || option ebs.defaultvolumetype "$volume_type"
        [ -z "$kms_key" ] || option ebs.defaultkmskeyid "$kms_key"
        [ "$encrypted" = false ] || option ebs.defaultencrypted true
        [ "$fsfreeze" = false ] || option ebs.fsfreeze true
        ;;
esac
[ -n "$destdir" ] || [ "$(id -u)" -eq 0 ] || [ "$dry_run" = true ] || fail "only root can install Convoy" "run it with sudo"

# The options of an earlier installation.
settings=$destdir/etc/default/convoy
# Installations without --cmd-timeout, from before this script had it, are good but for that.
without_timeout="CONVOY_OPTIONS=\"--root $root $options\""
options="--root $root --cmd-timeout $cmd_timeout $options"
line="CONVOY_OPTIONS=\"$options\""
installed_before=false
if [ -e "$settings" ]; then
    if grep -qxF "$line" "$settings"; then
        installed_before=true
    elif grep -qxF "$without_timeout" "$settings" && [ "$replace" = false ]; then
        installed_before=true
        note "warning: Convoy here gives each command one minute: docs/convoy.md says how to change that"
    elif [ "$replace" = false ]; then
        fail "$settings has other options: $(grep -E '^CONVOY_OPTIONS=' "$settings" || echo none)" \
            "edit it, or overwrite it with --replace-options"
    fi
fi

# What the driver finds on this host.
device_is_free() {
    local found
    [ -b "$1" ] || fail "$1 is not a block device" "look at lsblk"
    if found=$(blkid -p -o value -s TYPE -s PTTYPE "$1" 2> /dev/null) && [ -n "$found" ]; then
        fail "$1 is not empty: it holds $(tr '\n' ' ' <<< "$found")" "name another device; if what it holds may go for good, wipefs -a $1"
    fi
    [ "$(lsblk -n -o NAME "$1" | wc -l)" -eq 1 ] || fail "$1 is in use: other devices lie on it" "look at lsblk"
    ! findmnt -n -S "$1" > /dev/null || fail "$1 is mounted" "name another device"
}
case $driver in
    vfs)
        [ -d "$path" ] || fail "there is no folder $path" "make it, or mount what it shall be"
        if [ "$nfs" = true ]; then
            case $(findmnt -n -o FSTYPE -M "$path" || true) in
                nfs | nfs4) ;;
                '') fail "nothing is mounted at $path" "add a line to /etc/fstab (docs/nfs.md) and mount it" ;;
                *) fail "what is mounted at $path is no NFS share" "look at findmnt $path, or leave --nfs out" ;;
            esac
        fi
        ;;
    devicemapper)
        # Those of an earlier installation hold its volumes by now.
        [ "$installed_before" = true ] || { device_is_free "$data_device"; device_is_free "$metadata_device"; }
        ;;
    ebs)
        # Convoy asks the instance's metadata service without a token, as was usual when it was written.
        metadata=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
        status=$(curl --silent --max-time 5 --output /dev/null --write-out '%{http_code}' "${metadata%/}/latest/meta-data/instance-id" || true)
        case $status in
            200) ;;
            401) fail "this machine's metadata service wants IMDSv2, which is younger than Convoy" \
                "aws ec2 modify-instance-metadata-options --instance-id ID --http-tokens optional; EBS.md says what that means" ;;
            *) fail "this is no EC2 machine, or its metadata service is off (status ${status:-000})" "the driver ebs works on EC2 only" ;;
        esac
        [ "$fsfreeze" = false ] || [ -x /sbin/fsfreeze ] || fail "/sbin/fsfreeze is not installed" "install util-linux"
        ;;
esac
# Convoy reads its options only once, and afterwards what it wrote down.
[ "$installed_before" = true ] || [ ! -e "$destdir$root/convoy.cfg" ] ||
    note "warning: Convoy was set up at $root before and goes by what is written there, not by the new options"

fetch
got=$(checksum "$work/convoy.tar.gz")
[ "$got" = "$sum" ] || fail "the archive's SHA-256 is $got, not $sum" "it is another file or was changed on its way: nothing was installed"
programs=(convoy convoy-pdata_tools)
tar -xzf "$work/convoy.tar.gz" -C "$work" "${programs[@]/#/convoy/}" 2> "$work/errors" ||
    fail "the archive lacks Convoy's programs: $(tr '\n' ' ' < "$work/errors")" "look at --archive or --url"

# Puts a file in its place whole, where it differs. put FILE MODE TARGET
changed=false
put() {
    if cmp -s "$1" "$3" && [ "$(stat -c %a "$3")" = "$2" ]; then
        return
    fi
    changed=true
    if [ "$dry_run" = true ]; then
        note "would write: $3"
        return
    fi
    mkdir -p "$(dirname "$3")"
    install -m "$2" "$1" "$3.new"
    sync "$3.new"
    mv -f "$3.new" "$3"
    note "wrote $3"
}
for program in "${programs[@]}"; do
    put "$work/convoy/$program" 755 "$destdir/usr/local/bin/$program"
done
printf 'unix:///var/run/convoy/convoy.sock\n' > "$work/spec"
put "$work/spec" 644 "$destdir/etc/docker/plugins/convoy.spec"
cat > "$work/settings" << END
# The options of "convoy daemon". Convoy takes them at its first start only; then it goes by what it wrote to its root folder.
$line
END
[ "$installed_before" = true ] || put "$work/settings" 644 "$settings"
cat > "$work/unit" << END
[Unit]
Description=Convoy, a volume daemon for Docker
Documentation=https://github.com/rancher/convoy
After=network-online.target remote-fs.target
Wants=network-online.target
# Docker starts containers that want their volumes.
Before=docker.service${path:+
RequiresMountsFor=$path}

[Service]
EnvironmentFile=/etc/default/convoy
# Credentials for S3, where they do not come from the machine's role: AWS_ACCESS_KEY_ID=.. and AWS_SECRET_ACCESS_KEY=..
EnvironmentFile=-/etc/convoy.secrets
ExecStart=/usr/local/bin/convoy daemon \$CONVOY_OPTIONS
Restart=on-failure
RestartSec=5
# The folder stays: containers have it mounted.
RuntimeDirectory=convoy
RuntimeDirectoryPreserve=yes

[Install]
WantedBy=multi-user.target
END
put "$work/unit" 644 "$destdir/etc/systemd/system/convoy.service"

[ "$changed" = true ] || note "everything is in place already"
if [ "$dry_run" = true ]; then
    [ -n "$destdir" ] || note "would run: systemctl daemon-reload, and systemctl enable --now convoy where it does not run"
    note "nothing was done"
    exit 0
fi
[ -z "$destdir" ] || exit 0
if [ ! -d /run/systemd/system ]; then
    note "there is no systemd here; to start Convoy: /usr/local/bin/convoy daemon $options"
    exit 0
fi
systemctl daemon-reload
if systemctl is-active --quiet convoy; then
    [ "$changed" = false ] || note "Convoy runs and was not restarted; when no backup runs: systemctl restart convoy"
    systemctl enable --quiet convoy
    exit 0
fi
systemctl enable --now --quiet convoy || fail "Convoy does not start" "journalctl -u convoy says why"
attempts=30
until /usr/local/bin/convoy info > /dev/null 2>&1; do
    attempts=$((attempts - 1))
    [ "$attempts" -gt 0 ] || fail "Convoy was started, but does not answer" "journalctl -u convoy says why"
    sleep 1
done
note "Convoy runs; next: convoy-backups daemon use convoy, then convoy-backups doctor"
