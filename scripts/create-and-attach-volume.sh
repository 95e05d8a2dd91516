#!/usr/bin/env bash
# Creates an EBS volume, attaches it to a machine, and tags it. Run again, it finds what is there and does only what is left.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib/common.sh
. "$here/lib/common.sh"
# shellcheck source=lib/aws.sh
. "$here/lib/aws.sh"

usage() {
    cat << 'END'
usage: create-and-attach-volume.sh -h HOSTNAME -s SIZE [-p PROFILE] [-v VPCID] [-t TYPE] [-e] [-k KEY] [--dry-run]

Creates an EBS volume in the zone of a machine, waits for it, attaches it, and tags it "HOSTNAME-NAME". A volume that has
this name already is not made again: it is attached where it is free, and left as it is where it is attached already.

  -h HOSTNAME          the machine: the value of its tag "Name"
  -s SIZE              how large the volume shall be, in GiB: 100 or 100G
  -p PROFILE           the AWS profile (default: AWS_PROFILE)
  -r, --region REGION  the AWS region (default: the profile's)
  -v VPCID             the machine's VPC, where machines of several VPCs have its name
  -t TYPE              the volume's type (default: gp3)
  -e                   encrypt it: the default, kept for old command lines
  -k KEY               the KMS key to encrypt it with (default: the account's key for EBS)
  -n, --name NAME      what the volume is called besides the machine's name (default: data)
  --iops N             operations a second, where the type can be given more (gp3, io1, io2)
  --throughput N       MiB a second (gp3)
  --device DEVICE      where to attach it (default: the first free of /dev/sdf to /dev/sdp)
  --dry-run            read for real, write nothing, and print what would be done
  --help               print this

Prints volume=, instance= and device= lines. Exit codes: 0 done, 1 failed (a volume made by this run and not
attached is deleted again), 2 wrong usage.
END
}

profile='' region='' vpc='' hostname='' size='' type=gp3 key='' name=data iops='' throughput='' device='' dry_run=false
while [ $# -gt 0 ]; do
    case $1 in
        -h | --hostname) hostname=$(value "$@"); shift 2 ;;
        -s | --size) size=$(value "$@"); shift 2 ;;
        -p | --profile) profile=$(value "$@"); shift 2 ;;
        -r | --region) region=$(value "$@"); shift 2 ;;
        -v | --vpc) vpc=$(value "$@"); shift 2 ;;
        -t | --type) type=$(value "$@"); shift 2 ;;
        -e | --encrypted) shift ;;
        -k | --key) key=$(value "$@"); shift 2 ;;
        -n | --name) name=$(value "$@"); shift 2 ;;
        --iops) iops=$(value "$@"); shift 2 ;;
        --throughput) throughput=$(value "$@"); shift 2 ;;
        --device) device=$(value "$@"); shift 2 ;;
        --dry-run) dry_run=true; shift ;;
        --help) usage; exit 0 ;;
        *) wrong "\"$1\" is not an option of create-and-attach-volume.sh" ;;
    esac
done
[ -n "$hostname" ] || wrong "no machine is named" "give -h HOSTNAME"
[ -n "$size" ] || wrong "no size is given" "give -s SIZE in GiB, such as -s 100"
check_hostname "$hostname"
check "a size" "$size" '[1-9][0-9]{0,4}(G|GiB)?' "whole GiB, such as 100 or 100G"
size=${size%%G*}
check "a volume type" "$type" 'gp3|gp2|io2|io1|st1|sc1|standard' "gp3, gp2, io2, io1, st1, sc1 or standard"
check "a volume's name" "$name" '[A-Za-z0-9][A-Za-z0-9_.-]{0,60}' "letters, digits, \"-\", \"_\" and \".\""
[ -z "$vpc" ] || check "a VPC's id" "$vpc" 'vpc-[0-9a-f]+' "something like vpc-0123456789abcdef0"
[ -z "$key" ] || check "a KMS key" "$key" '[A-Za-z0-9:/_-]+' "its id, its ARN, or alias/NAME"
[ -z "$iops" ] || check "a number of operations" "$iops" '[1-9][0-9]*' "something like 6000"
[ -z "$throughput" ] || check "a throughput" "$throughput" '[1-9][0-9]*' "MiB a second, such as 250"
[ -z "$device" ] || check "a device" "$device" '/dev/(sd|xvd)[f-p]' "/dev/sdf to /dev/sdp"
case $type in
    io1 | io2) [ -n "$iops" ] || wrong "the type $type needs a number of operations" "give --iops, such as --iops 3000" ;;
    gp3) ;;
    *) [ -z "$iops" ] || wrong "the type $type takes no --iops" "leave it out, or take gp3, io1 or io2" ;;
esac
[ -z "$throughput" ] || [ "$type" = gp3 ] || wrong "the type $type takes no --throughput" "leave it out, or take gp3"
aws_setup

made_volume='' creating=false kept=false
# Deletes the volume that this run made, where the run did not get as far as attaching it. AWS refuses to delete a volume
# that is attached, so nothing in use can go.
clean_up() {
    local code=$?
    trap - EXIT INT TERM
    if [ "$creating" = true ] && [ "$kept" = false ]; then
        # The answer with the id may not have come: the tag tells.
        [ -n "$made_volume" ] || made_volume=$(aws_try ec2 describe-volumes \
            --filters "Name=tag:$run_tag,Values=$run_id" --query 'Volumes[0].VolumeId' || true)
        if [[ $made_volume == vol-* ]]; then
            note "cleaning up: deleting the new volume $made_volume"
            aws_try ec2 wait volume-available --volume-ids "$made_volume" || true
            aws_try ec2 delete-volume --volume-id "$made_volume" > /dev/null ||
                note "error: the volume $made_volume could not be deleted and costs money: $(quoted "${aws_words[@]}" ec2 delete-volume --volume-id "$made_volume")"
        fi
    fi
    rm -f "$aws_errors"
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The machine.
filters=("Name=tag:Name,Values=$hostname" 'Name=instance-state-name,Values=pending,running,stopping,stopped')
[ -z "$vpc" ] || filters+=("Name=vpc-id,Values=$vpc")
found=$(aws_call ec2 describe-instances --filters "${filters[@]}" \
    --query 'Reservations[].Instances[].[InstanceId,Placement.AvailabilityZone,State.Name,VpcId]')
[ -n "$found" ] || fail "no machine has the tag Name=$hostname${vpc:+ in $vpc}" \
    "look at the name, the profile and the region; create-vm.sh makes one"
[ "$(wc -l <<< "$found")" -eq 1 ] || fail "several machines have the tag Name=$hostname: $(cut -f 1,4 <<< "$found" | tr '\t\n' ' ;')" \
    "name the VPC with -v; where they share one, give them names of their own"
IFS=$'\t' read -r instance zone state _ <<< "$found"
case $state in
    pending) aws_wait "until the machine $instance runs" ec2 instance-running --instance-ids "$instance" ;;
    stopping) fail "the machine $instance is just being stopped" "wait until it is stopped, then try again" ;;
esac

# The volume, if it was made before.
found=$(aws_call ec2 describe-volumes \
    --filters "Name=tag:Name,Values=$hostname-$name" "Name=availability-zone,Values=$zone" 'Name=status,Values=creating,available,in-use' \
    --query 'Volumes[].[VolumeId,State,Size,VolumeType,Encrypted,Attachments[0].InstanceId,Attachments[0].Device]')
volume='' volume_state='' attached_to='' attached_as=''
if [ -n "$found" ]; then
    [ "$(wc -l <<< "$found")" -eq 1 ] || fail "several volumes are named $hostname-$name in $zone: $(cut -f 1 <<< "$found" | tr '\n' ' ')" \
        "give one of them another tag Name, or choose another name with -n"
    IFS=$'\t' read -r volume volume_state old_size old_type old_encrypted attached_to attached_as <<< "$found"
    note "found the volume $volume, named $hostname-$name ($old_size GiB, $old_type, $volume_state)"
    [ "$old_size $old_type" = "$size $type" ] || fail \
        "the volume $volume has $old_size GiB of $old_type, not $size GiB of $type" \
        "choose another name with -n, or change it: aws ec2 modify-volume --volume-id $volume --size $size --volume-type $type"
    [ "$old_encrypted" = True ] || fail "the volume $volume is not encrypted" \
        "choose another name with -n, and copy its files; a volume can't be encrypted afterwards"
fi
if [ -n "$volume" ] && [ "$volume_state" = in-use ]; then
    [ "$attached_to" = "$instance" ] || fail "the volume $volume is attached to another machine, $attached_to" \
        "detach it there, or choose another name with -n"
    note "it is attached already: nothing to do"
    kept=true
    printf 'volume=%s\ninstance=%s\ndevice=%s\n' "$volume" "$instance" "$attached_as"
    exit 0
fi

# A place for it, before anything is made.
taken=$(aws_call ec2 describe-instances --instance-ids "$instance" \
    --query 'Reservations[0].Instances[0].BlockDeviceMappings[].DeviceName' | tr '\t' '\n')
is_taken() {
    # /dev/sdf and /dev/xvdf are one place.
    grep -qxE "/dev/(sd|xvd)${1: -1}" <<< "$taken"
}
if [ -n "$device" ]; then
    ! is_taken "$device" || fail "$device of the machine $instance is taken" "leave --device out, or name another"
else
    for letter in f g h i j k l m n o p; do
        is_taken "/dev/sd$letter" || { device=/dev/sd$letter; break; }
    done
    [ -n "$device" ] || fail "the machine $instance has no free place from /dev/sdf to /dev/sdp" "detach a volume first"
fi

if [ -z "$volume" ]; then
    options=(--availability-zone "$zone" --size "$size" --volume-type "$type" --encrypted)
    [ -z "$key" ] || options+=(--kms-key-id "$key")
    [ -z "$iops" ] || options+=(--iops "$iops")
    [ -z "$throughput" ] || options+=(--throughput "$throughput")
    creating=true
    [ "$dry_run" = true ] || note "creating a volume of $size GiB ($type, encrypted) in $zone"
    made_volume=$(aws_change ec2 create-volume "${options[@]}" \
        --tag-specifications "$(tags volume "$hostname-$name" "Host=$hostname")" --query VolumeId)
    volume=${made_volume:-vol-NEW}
fi
aws_wait "until the volume $volume is available" ec2 volume-available --volume-ids "$volume"
[ "$dry_run" = true ] || note "attaching $volume to $instance as $device"
aws_change ec2 attach-volume --volume-id "$volume" --instance-id "$instance" --device "$device" --query State > /dev/null
# From here on somebody on the machine may use it.
kept=true
if [ "$dry_run" = true ]; then
    note "would wait: until the volume $volume is attached"
    note "nothing was done"
    exit 0
fi
note "waiting: until the volume $volume is attached"
# The command line's own waiter is content when AWS has begun to attach.
attempts=60
until [ "$(aws_call ec2 describe-volumes --volume-ids "$volume" --query 'Volumes[0].Attachments[0].State')" = attached ]; do
    attempts=$((attempts - 1))
    [ "$attempts" -gt 0 ] || fail "the volume $volume is not attached to $instance after two minutes" \
        "look at it in the console (a place that the machine holds busy?); the volume is kept, and another run goes on with it"
    sleep 2
done
printf 'volume=%s\ninstance=%s\ndevice=%s\n' "$volume" "$instance" "$device"
note "done; on the machine it is $device, or on Nitro machines /dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${volume/-/}"
