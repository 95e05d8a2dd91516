# What a new machine does once, at its first start, as root: takes its name and gets Docker.
# create-vm.sh puts "#!/bin/sh" and machine=NAME in front. Its log is /var/log/cloud-init-output.log.
# shellcheck shell=sh disable=SC2154
set -eu
hostnamectl set-hostname "$machine"
if command -v docker > /dev/null; then
    :
elif command -v dnf > /dev/null; then
    dnf install -y docker
elif command -v apt-get > /dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    apt-get install -y docker.io
else
    echo "error: neither dnf nor apt-get is here: install Docker by hand" >&2
    exit 1
fi
systemctl enable --now docker
