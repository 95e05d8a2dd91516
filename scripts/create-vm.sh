#!/usr/bin/env bash
# Creates an EC2 machine with Docker and a security group of its own. Run again, it finds what is there and changes nothing.
# shellcheck disable=SC2016  # the backquotes are JMESPath's, not the shell's
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib/common.sh
. "$here/lib/common.sh"
# shellcheck source=lib/aws.sh
. "$here/lib/aws.sh"

usage() {
    cat << 'END'
usage: create-vm.sh -h HOSTNAME [-p PROFILE] [-v VPCID] [-t TYPE] [-s SIZE] [-k KEYPAIR] [--ssh-from CIDR] [--dry-run]

Creates an EC2 machine that installs Docker at its first start: an encrypted gp3 disk, instance metadata by IMDSv2 only, and
a security group that lets nothing in but, with --ssh-from, SSH. A machine of this name in the VPC is not made again.

  -h HOSTNAME            its name, and its tag "Name"
  -p PROFILE             the AWS profile (default: AWS_PROFILE)
  -r, --region REGION    the AWS region (default: the profile's)
  -v VPCID               the VPC (default: the region's default VPC)
  -n, --subnet SUBNETID  the subnet (default: the VPC's first with a free address)
  -t TYPE                the machine's type (default: t3.small)
  -s SIZE                its disk in GiB (default: 20)
  -k KEYPAIR             the EC2 key pair for SSH (default: none; use Session Manager)
  --ssh-from CIDR        who may use SSH, such as 203.0.113.7/32 (default: nobody)
  --image IMAGE          an AMI's id (default: the newest Amazon Linux 2023)
  --instance-profile P   the name of the IAM instance profile with its rights (S3, EBS, SES)
  --kms-key KEY          the KMS key for the disk (default: the account's key for EBS)
  --no-public-address    no public IPv4 address (default: as the subnet says)
  --convoy-ebs           let IMDSv1 in, too: Convoy's EBS driver is older than IMDSv2
  --dry-run              read for real, write nothing, and print what would be done
  --help                 print this

Prints instance=, group= and address= lines. Exit codes: 0 done, 1 failed (what this run made is deleted again), 2 wrong usage.
END
}

profile='' region='' hostname='' vpc='' subnet='' type=t3.small size=20 key='' ssh_from='' image='' instance_profile=''
kms_key='' public_address='' metadata_tokens=required dry_run=false
while [ $# -gt 0 ]; do
    case $1 in
        -h | --hostname) hostname=$(value "$@"); shift 2 ;;
        -p | --profile) profile=$(value "$@"); shift 2 ;;
        -r | --region) region=$(value "$@"); shift 2 ;;
        -v | --vpc) vpc=$(value "$@"); shift 2 ;;
        -n | --subnet) subnet=$(value "$@"); shift 2 ;;
        -t | --type) type=$(value "$@"); shift 2 ;;
        -s | --size) size=$(value "$@"); shift 2 ;;
        -k | --key) key=$(value "$@"); shift 2 ;;
        --ssh-from) ssh_from=$(value "$@"); shift 2 ;;
        --image) image=$(value "$@"); shift 2 ;;
        --instance-profile) instance_profile=$(value "$@"); shift 2 ;;
        --kms-key) kms_key=$(value "$@"); shift 2 ;;
        --no-public-address) public_address=--no-associate-public-ip-address; shift ;;
        --convoy-ebs) metadata_tokens=optional; shift ;;
        --dry-run) dry_run=true; shift ;;
        --help) usage; exit 0 ;;
        *) wrong "\"$1\" is not an option of create-vm.sh" ;;
    esac
done
[ -n "$hostname" ] || wrong "the machine has no name" "give -h HOSTNAME"
check_hostname "$hostname"
check "a machine's type" "$type" '[a-z0-9-]+\.[a-z0-9-]+' "something like t3.small"
check "a size" "$size" '[1-9][0-9]{0,4}(G|GiB)?' "whole GiB, such as 20 or 20G"
size=${size%%G*}
[ -z "$vpc" ] || check "a VPC's id" "$vpc" 'vpc-[0-9a-f]+' "something like vpc-0123456789abcdef0"
[ -z "$subnet" ] || check "a subnet's id" "$subnet" 'subnet-[0-9a-f]+' "something like subnet-0123456789abcdef0"
[ -z "$image" ] || check "an image's id" "$image" 'ami-[0-9a-f]+' "something like ami-0123456789abcdef0"
[ -z "$kms_key" ] || check "a KMS key" "$kms_key" '[A-Za-z0-9:/_-]+' "its id, its ARN, or alias/NAME"
[ -z "$ssh_from" ] || check "a network" "$ssh_from" '[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}' "something like 203.0.113.7/32"
[ -n "$key" ] || [ -z "$ssh_from" ] || wrong "--ssh-from is given, but no key pair" "give -k KEYPAIR, too"
[ "${ssh_from##*/}" != 0 ] || note "warning: --ssh-from $ssh_from lets the whole Internet try"
aws_setup

made_instance='' made_group='' launching=false done_=false
# Deletes what this run made, where it did not get to its end. What was there before is never touched.
clean_up() {
    local code=$?
    trap - EXIT INT TERM
    if [ "$done_" = false ]; then
        # The answer with the id may not have come: the tag tells.
        [ "$launching" = false ] || [ -n "$made_instance" ] || made_instance=$(aws_try ec2 describe-instances \
            --filters "Name=tag:$run_tag,Values=$run_id" --query 'Reservations[0].Instances[0].InstanceId' || true)
        if [[ $made_instance == i-* ]]; then
            note "cleaning up: terminating the new machine $made_instance"
            if aws_try ec2 terminate-instances --instance-ids "$made_instance" > /dev/null; then
                aws_try ec2 wait instance-terminated --instance-ids "$made_instance" || true
            else
                note "error: the machine $made_instance could not be terminated and costs money: $(quoted "${aws_words[@]}" ec2 terminate-instances --instance-ids "$made_instance")"
            fi
        fi
        if [[ $made_group == sg-* ]]; then
            note "cleaning up: deleting the new security group $made_group"
            aws_try ec2 delete-security-group --group-id "$made_group" > /dev/null ||
                note "error: the security group $made_group could not be deleted: $(quoted "${aws_words[@]}" ec2 delete-security-group --group-id "$made_group")"
        fi
    fi
    rm -f "$aws_errors"
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The network.
if [ -z "$vpc" ] && [ -n "$subnet" ]; then
    vpc=$(aws_call ec2 describe-subnets --subnet-ids "$subnet" --query 'Subnets[0].VpcId')
elif [ -z "$vpc" ]; then
    vpc=$(aws_call ec2 describe-vpcs --filters Name=is-default,Values=true --query 'Vpcs[0].VpcId')
    [ -n "$vpc" ] || fail "the region has no default VPC" "name one with -v: aws ec2 describe-vpcs"
fi

# The machine, if it was made before.
found=$(aws_call ec2 describe-instances \
    --filters "Name=tag:Name,Values=$hostname" "Name=vpc-id,Values=$vpc" 'Name=instance-state-name,Values=pending,running,stopping,stopped' \
    --query 'Reservations[].Instances[].[InstanceId,State.Name,InstanceType,PublicIpAddress,PrivateIpAddress,SecurityGroups[0].GroupId]')
if [ -n "$found" ]; then
    [ "$(wc -l <<< "$found")" -eq 1 ] || fail "several machines have the tag Name=$hostname in $vpc: $(cut -f 1 <<< "$found" | tr '\n' ' ')" \
        "give one of them another tag Name"
    IFS=$'\t' read -r instance state old_type public private group <<< "$found"
    note "found the machine $instance, named $hostname ($old_type, $state): nothing to do"
    [ "$old_type" = "$type" ] || note "warning: it is a $old_type, not a $type; a stopped machine's type can be changed"
    [ "$state" != stopped ] || note "it is stopped; to start it: $(quoted "${aws_words[@]}" ec2 start-instances --instance-ids "$instance")"
    done_=true
    [ "$public" != None ] || public=$private
    printf 'instance=%s\ngroup=%s\naddress=%s\n' "$instance" "$group" "$public"
    exit 0
fi

if [ -z "$subnet" ]; then
    subnet=$(aws_call ec2 describe-subnets --filters "Name=vpc-id,Values=$vpc" Name=state,Values=available \
        --query 'sort_by(Subnets[?AvailableIpAddressCount>`0`],&AvailabilityZone)[0].SubnetId')
    [ -n "$subnet" ] || fail "the VPC $vpc has no subnet with a free address" "name another with -v, or a subnet with -n"
else
    of=$(aws_call ec2 describe-subnets --subnet-ids "$subnet" --query 'Subnets[0].VpcId')
    [ "$of" = "$vpc" ] || fail "the subnet $subnet is in $of, not in $vpc" "leave -v or -n out, or name those that belong together"
fi
[ -z "$key" ] || aws_call ec2 describe-key-pairs --key-names "$key" --query 'KeyPairs[0].KeyName' > /dev/null

# What it starts from.
if [ -z "$image" ]; then
    architecture=$(aws_call ec2 describe-instance-types --instance-types "$type" \
        --query 'InstanceTypes[0].ProcessorInfo.SupportedArchitectures[?@==`x86_64` || @==`arm64`] | [0]')
    [ -n "$architecture" ] || fail "the type $type has neither x86_64 nor arm64 processors" "choose another with -t"
    parameter=/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-$architecture
    image=$(aws_call ssm get-parameter --name "$parameter" --query Parameter.Value)
    [ -n "$image" ] || fail "AWS names no image at $parameter" "name one with --image"
fi
root_device=$(aws_call ec2 describe-images --image-ids "$image" --query 'Images[0].RootDeviceName')
[ -n "$root_device" ] || fail "there is no image $image in this region" "look at --image and --region"
disk="Encrypted=true,VolumeType=gp3,VolumeSize=$size,DeleteOnTermination=true${kms_key:+,KmsKeyId=$kms_key}"

# The security group.
group_name=$hostname-backups
group=$(aws_call ec2 describe-security-groups --filters "Name=group-name,Values=$group_name" "Name=vpc-id,Values=$vpc" \
    --query 'SecurityGroups[0].GroupId')
if [ -z "$group" ]; then
    [ "$dry_run" = true ] || note "creating the security group $group_name in $vpc"
    made_group=$(aws_change ec2 create-security-group --group-name "$group_name" --vpc-id "$vpc" \
        --description "$hostname: Docker with convoy-backups" --tag-specifications "$(tags security-group "$group_name")" --query GroupId)
    group=${made_group:-sg-NEW}
else
    note "found the security group $group, named $group_name"
fi
if [ -n "$ssh_from" ]; then
    allowed=''
    [ "$group" = sg-NEW ] || allowed=$(aws_call ec2 describe-security-groups --group-ids "$group" \
        --query "SecurityGroups[0].IpPermissions[?FromPort==\`22\`].IpRanges[].CidrIp" | tr '\t' '\n')
    grep -qxF "$ssh_from" <<< "$allowed" || aws_change ec2 authorize-security-group-ingress --group-id "$group" \
        --ip-permissions "IpProtocol=tcp,FromPort=22,ToPort=22,IpRanges=[{CidrIp=$ssh_from,Description=SSH}]" --query Return > /dev/null
fi

# The machine.
options=(--image-id "$image" --instance-type "$type" --subnet-id "$subnet" --security-group-ids "$group"
    --metadata-options "HttpEndpoint=enabled,HttpTokens=$metadata_tokens,HttpPutResponseHopLimit=2"
    --block-device-mappings "DeviceName=$root_device,Ebs={$disk}"
    --tag-specifications "$(tags instance "$hostname")" "$(tags volume "$hostname-root" "Host=$hostname")")
[ -z "$key" ] || options+=(--key-name "$key")
[ -z "$instance_profile" ] || options+=(--iam-instance-profile "Name=$instance_profile")
[ -z "$public_address" ] || options+=("$public_address")
user_data=$(printf '#!/bin/sh\nmachine=%s\n' "$hostname"; cat "$here/lib/user-data.sh")
launching=true
[ "$dry_run" = true ] || note "creating the machine $hostname ($type, $image) in $subnet"
made_instance=$(aws_change ec2 run-instances "${options[@]}" --user-data "$user_data" --query 'Instances[0].InstanceId')
instance=${made_instance:-i-NEW}
aws_wait "until the machine $instance runs" ec2 instance-running --instance-ids "$instance"
if [ "$dry_run" = true ]; then
    done_=true
    note "nothing was done"
    exit 0
fi
addresses=$(aws_call ec2 describe-instances --instance-ids "$instance" \
    --query 'Reservations[0].Instances[0].[PublicIpAddress,PrivateIpAddress]')
done_=true
IFS=$'\t' read -r public private <<< "$addresses"
[ "$public" != None ] || public=$private
printf 'instance=%s\ngroup=%s\naddress=%s\n' "$instance" "$group" "$public"
note "done; Docker is being installed there, which takes a minute or two (its log: /var/log/cloud-init-output.log)"
