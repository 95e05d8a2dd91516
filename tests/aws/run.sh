#!/usr/bin/env bash
# Tests scripts/ against moto's EC2 (pip install 'moto[server]' awscli) on loopback; no account and no network are needed.
# Exits 0 where all went well or nothing could be tried (said plainly), 1 where a test failed.
#
# run.sh [WORD]   only the tests whose name has the word
# shellcheck disable=SC2016  # the backquotes are JMESPath's, not the shell's
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scripts=$here/../../scripts

skip() {
    echo "skipped: $1"
    exit 0
}
command -v python3 > /dev/null || skip "python3 is not installed"
REAL_AWS=$(command -v aws) || skip "the AWS command line is not installed (pip install awscli)"
command -v moto_server > /dev/null || skip "moto is not installed (pip install 'moto[server]')"

work=$(mktemp -d)
servers=()
trap 'kill "${servers[@]}" 2> /dev/null; rm -rf "$work"' EXIT

# Nothing of the machine's own AWS settings is used, and nothing but loopback is asked.
export REAL_AWS AWS_ACCESS_KEY_ID=testing AWS_SECRET_ACCESS_KEY=testing AWS_EC2_METADATA_DISABLED=true AWS_PAGER=
export AWS_CONFIG_FILE=$work/none AWS_SHARED_CREDENTIALS_FILE=$work/none AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
export SCRIPT_PID_FILE=$work/pid
unset AWS_PROFILE AWS_SESSION_TOKEN FAULT
mkdir "$work/bin"
ln -s "$here/aws-with-faults" "$work/bin/aws"
export PATH=$work/bin:$PATH

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
moto_server -H 127.0.0.1 -p "$port" > "$work/moto.log" 2>&1 &
servers+=($!)
export AWS_ENDPOINT_URL=http://127.0.0.1:$port
curl --silent --retry 60 --retry-delay 1 --retry-connrefused --output /dev/null "$AWS_ENDPOINT_URL/moto-api/" ||
    { cat "$work/moto.log"; echo "error: moto does not start"; exit 1; }

# A port of server.py, in $served.
serve() {
    : > "$work/port"
    python3 -u "$here/server.py" "$@" > "$work/port" &
    servers+=($!)
    until read -r served < "$work/port"; do
        kill -0 "${servers[-1]}" || return 1
    done
}

ec2() {
    "$REAL_AWS" --endpoint-url "$AWS_ENDPOINT_URL" ec2 "$@" --output text
}

# Everything in moto is as at its start.
reset() {
    curl --silent --fail --output /dev/null -X POST "$AWS_ENDPOINT_URL/moto-api/reset"
    vpc=$(ec2 describe-vpcs --query 'Vpcs[0].VpcId')
}

image=ami-12c6146b
# A machine made by hand, in $machine. machine NAME [OPTION..]
machine() {
    local name=$1
    shift
    machine=$(ec2 run-instances --image-id "$image" --instance-type t3.small --query 'Instances[0].InstanceId' \
        --tag-specifications "ResourceType=instance,Tags=[{Key=Name,Value=$name}]" "$@")
}

# Runs a script; its exit code, output and words are then in $code, $out and $err.
run() {
    local script=$1
    shift
    code=0
    bash -c 'echo $$ > "$SCRIPT_PID_FILE"; exec "$@"' - "$scripts/$script" "$@" > "$work/out" 2> "$work/err" || code=$?
    out=$(< "$work/out")
    err=$(< "$work/err")
}

failures=0 name=
bad() {
    failures=$((failures + 1))
    printf 'FAILED: %s: %s\n' "$name" "$1"
    printf '%s\n' "exit code ${code-}, output:" "${out-}" "words:" "${err-}" | sed 's/^/    /'
}
ends() {
    [ "$code" -eq "$1" ] || bad "the exit code is $code, not $1"
}
says() {
    [[ $err == *"$1"* ]] || bad "it does not say \"$1\""
}
is() {
    [ "$1" = "$2" ] || bad "\"$1\" is not \"$2\""
}
of() {
    sed -n "s/^$1=//p" <<< "$out"
}
volumes() {
    ec2 describe-volumes --filters "Name=tag:Name,Values=docker1-data" --query 'length(Volumes)'
}
machines() {
    ec2 describe-instances --filters Name=tag:Name,Values=docker1 Name=instance-state-name,Values=pending,running,stopped \
        --query 'length(Reservations)'
}
groups() {
    ec2 describe-security-groups --filters Name=group-name,Values=docker1-backups --query 'length(SecurityGroups)'
}

volume() {
    run create-and-attach-volume.sh -h docker1 -s 10 "$@"
}

test_a_volume_is_created_encrypted_as_gp3_tagged_and_attached() {
    machine docker1
    volume
    ends 0
    is "$(of instance)" "$machine"
    is "$(of device)" /dev/sdf
    is "$(ec2 describe-volumes --volume-ids "$(of volume)" \
        --query 'Volumes[0].[Size,VolumeType,Encrypted,State,Attachments[0].InstanceId,Attachments[0].State]' | tr '\t' ' ')" \
        "10 gp3 True in-use $machine attached"
    is "$(ec2 describe-volumes --volume-ids "$(of volume)" --query "Volumes[0].Tags[?Key=='Name' || Key=='Host' || Key=='CreatedBy'].Value | sort(@)" | tr '\t' ' ')" \
        "convoy-backups docker1 docker1-data"
}
test_a_volume_is_not_made_twice() {
    machine docker1
    volume
    local first
    first=$(of volume)
    volume
    ends 0
    says "nothing to do"
    is "$(of volume)" "$first"
    is "$(volumes)" 1
}
test_a_second_volume_gets_a_name_and_a_place_of_its_own() {
    machine docker1
    volume
    volume -n logs -t io2 --iops 3000
    ends 0
    is "$(of device)" /dev/sdg
    is "$(ec2 describe-volumes --volume-ids "$(of volume)" --query 'Volumes[0].[VolumeType,Iops]' | tr '\t' ' ')" "io2 3000"
}
test_a_volume_that_lies_free_is_attached_and_none_is_made() {
    machine docker1
    volume
    local first
    first=$(of volume)
    ec2 detach-volume --volume-id "$first" --instance-id "$machine" > /dev/null
    is "$(ec2 describe-volumes --volume-ids "$first" --query 'Volumes[0].State')" available
    volume
    ends 0
    says "attaching $first"
    is "$(of volume)" "$first"
    is "$(volumes)" 1
    is "$(ec2 describe-volumes --volume-ids "$first" --query 'Volumes[0].State')" in-use
}
test_a_volume_of_another_size_is_refused() {
    machine docker1
    volume
    run create-and-attach-volume.sh -h docker1 -s 20
    ends 1
    says "has 10 GiB of gp3, not 20 GiB of gp3"
    is "$(volumes)" 1
}
test_a_volume_that_is_not_encrypted_is_refused() {
    machine docker1
    local zone
    zone=$(ec2 describe-instances --instance-ids "$machine" --query 'Reservations[0].Instances[0].Placement.AvailabilityZone')
    ec2 create-volume --availability-zone "$zone" --size 10 --volume-type gp3 \
        --tag-specifications 'ResourceType=volume,Tags=[{Key=Name,Value=docker1-data}]' > /dev/null
    volume
    ends 1
    says "is not encrypted"
}
test_a_volume_attached_elsewhere_is_left_alone() {
    machine docker1
    volume
    ec2 create-tags --resources "$machine" --tags Key=Name,Value=docker2
    machine docker1
    volume
    ends 1
    says "is attached to another machine"
    is "$(volumes)" 1
}
test_a_dry_run_of_a_volume_writes_nothing() {
    machine docker1
    volume --dry-run
    ends 0
    is "$out" ""
    says "would run: aws ec2 create-volume --availability-zone"
    says "would run: aws ec2 attach-volume"
    is "$(volumes)" 0
}
test_a_volume_that_cant_be_attached_is_deleted_again() {
    machine docker1
    FAULT="attach-volume refuse" volume
    ends 1
    says "aws ec2 attach-volume failed"
    says 'hint: let an administrator allow "ec2:AttachVolume"'
    says "cleaning up"
    is "$(volumes)" 0
}
test_a_volume_whose_id_was_never_heard_is_deleted_again() {
    machine docker1
    FAULT="create-volume lose" volume
    ends 1
    says "cleaning up"
    is "$(volumes)" 0
}
test_a_script_told_to_end_deletes_what_it_made() {
    machine docker1
    FAULT="attach-volume end" volume
    [ "$code" -eq 143 ] || [ "$code" -eq 1 ] || bad "the exit code is $code"
    says "cleaning up"
    is "$(volumes)" 0
}
test_a_clean_up_that_fails_names_what_costs_money() {
    machine docker1
    # Neither attaching nor deleting is allowed.
    printf '#!/bin/sh\ncase " $* " in *" delete-volume "*) FAULT="delete-volume refuse" ;; *) FAULT="attach-volume refuse" ;; esac\nexport FAULT\nexec %s "$@"\n' \
        "$here/aws-with-faults" > "$work/bin/both"
    chmod +x "$work/bin/both"
    ln -sf "$work/bin/both" "$work/bin/aws"
    volume
    ln -sf "$here/aws-with-faults" "$work/bin/aws"
    ends 1
    says "could not be deleted and costs money: aws"
}
test_a_machine_nobody_knows_gets_no_volume() {
    volume
    ends 1
    says "no machine has the tag Name=docker1"
    is "$(volumes)" 0
}
test_machines_of_one_name_are_told_apart_by_their_vpc() {
    machine docker1
    local first=$machine other subnet
    other=$(ec2 create-vpc --cidr-block 10.9.0.0/16 --query Vpc.VpcId)
    subnet=$(ec2 create-subnet --vpc-id "$other" --cidr-block 10.9.1.0/24 --query Subnet.SubnetId)
    machine docker1 --subnet-id "$subnet"
    volume
    ends 1
    says "several machines"
    says "name the VPC with -v"
    volume -v "$vpc"
    ends 0
    is "$(of instance)" "$first"
}
test_a_kms_key_is_used() {
    machine docker1
    volume -e -k arn:aws:kms:us-east-1:123456789012:key/1a2b3c4d
    ends 0
    is "$(ec2 describe-volumes --volume-ids "$(of volume)" --query 'Volumes[0].KmsKeyId')" arn:aws:kms:us-east-1:123456789012:key/1a2b3c4d
}
test_a_place_that_is_taken_is_refused() {
    machine docker1
    volume
    volume -n logs --device /dev/xvdf
    ends 1
    says "/dev/xvdf of the machine $machine is taken"
}
test_wrong_usage_of_the_volumes_script_exits_2_and_says_what_to_write() {
    local arguments expected
    while IFS='|' read -r arguments expected; do
        # shellcheck disable=SC2086  # the words are split on purpose
        run create-and-attach-volume.sh $arguments
        ends 2
        says "$expected"
    done << 'END'
|no machine is named
-h docker1|no size is given
-h docker1 -s ten|"ten" is not a size
-h docker1 -s 0|"0" is not a size
-h docker1 -s -t gp3|"-s" needs a value, but "-t" follows
-h docker1 -s|"-s" needs a value
-h Docker_1 -s 10|is not a host name
-h x;reboot -s 10|is not a host name
-h docker1 -s 10 -t ssd|"ssd" is not a volume type
-h docker1 -s 10 -t io2|needs a number of operations
-h docker1 -s 10 -t gp2 --throughput 200|takes no --throughput
-h docker1 -s 10 -t st1 --iops 200|takes no --iops
-h docker1 -s 10 -v default|"default" is not a VPC's id
-h docker1 -s 10 --device /dev/sda|"/dev/sda" is not a device
-h docker1 -s 10 --frobnicate|"--frobnicate" is not an option
END
}
test_missing_credentials_a_wrong_profile_and_no_region_are_explained() {
    AWS_ACCESS_KEY_ID='' AWS_SECRET_ACCESS_KEY='' volume
    ends 1
    says "hint: set up credentials"
    volume -p nobody
    ends 1
    says "hint: look at the profile's name"
    AWS_REGION='' AWS_DEFAULT_REGION='' volume
    ends 2
    says "no region is set"
    AWS_ENDPOINT_URL=http://127.0.0.1:1 volume
    ends 1
    says "hint: look at the network"
}

vm() {
    run create-vm.sh -h docker1 --image "$image" "$@"
}
test_a_machine_is_made_with_imdsv2_an_encrypted_disk_and_a_closed_group() {
    vm
    ends 0
    local id
    id=$(of instance)
    is "$(ec2 describe-instances --instance-ids "$id" \
        --query 'Reservations[0].Instances[0].[InstanceType,MetadataOptions.HttpTokens,MetadataOptions.HttpPutResponseHopLimit,State.Name]' | tr '\t' ' ')" \
        "t3.small required 2 running"
    is "$(ec2 describe-volumes --filters "Name=attachment.instance-id,Values=$id" --query 'Volumes[].[Size,VolumeType,Encrypted]' | tr '\t' ' ')" \
        "20 gp3 True"
    is "$(ec2 describe-security-groups --group-ids "$(of group)" --query 'length(SecurityGroups[0].IpPermissions)')" 0
    local data
    data=$(ec2 describe-instance-attribute --instance-id "$id" --attribute userData --query UserData.Value | base64 -d)
    [[ $data == '#!/bin/sh'$'\nmachine=docker1\n'* && $data == *'systemctl enable --now docker'* ]] || bad "the machine is told: $data"
    sh -n <<< "$data" || bad "what the machine is told is no shell script"
}
test_a_machine_is_not_made_twice() {
    vm
    local first
    first=$(of instance)
    vm
    ends 0
    says "nothing to do"
    is "$(of instance)" "$first"
    is "$(machines)" 1
}
test_a_stopped_machine_is_found_and_not_started() {
    vm
    ec2 stop-instances --instance-ids "$(of instance)" > /dev/null
    vm
    ends 0
    says "it is stopped; to start it: aws"
    is "$(machines)" 1
}
test_ssh_is_let_in_only_from_where_it_was_told() {
    ec2 create-key-pair --key-name mine > /dev/null
    vm -k mine --ssh-from 203.0.113.7/32
    ends 0
    is "$(ec2 describe-security-groups --group-ids "$(of group)" \
        --query 'SecurityGroups[0].IpPermissions[].[FromPort,ToPort,IpRanges[].CidrIp | join(`,`, @)]' | tr '\t' ' ')" "22 22 203.0.113.7/32"
}
test_the_newest_amazon_linux_is_taken_for_the_types_processor() {
    run create-vm.sh -h docker1 -t t4g.small --dry-run
    ends 0
    local id
    id=$(grep -o 'ami-[0-9a-f]*' <<< "$err" | head -1)
    is "$(ec2 describe-images --image-ids "$id" --query 'Images[0].Architecture')" arm64
}
test_a_dry_run_of_a_machine_writes_nothing() {
    vm --dry-run
    ends 0
    is "$out" ""
    says "would run: aws ec2 create-security-group"
    says "HttpTokens=required"
    says "Encrypted=true,VolumeType=gp3"
    is "$(machines) $(groups)" "0 0"
}
test_convoys_ebs_driver_gets_imdsv1_only_where_asked() {
    vm --convoy-ebs
    is "$(ec2 describe-instances --instance-ids "$(of instance)" --query 'Reservations[0].Instances[0].MetadataOptions.HttpTokens')" optional
}
test_a_machine_that_is_refused_leaves_no_group() {
    FAULT="run-instances refuse" vm
    ends 1
    says 'allow "ec2:RunInstances"'
    is "$(machines) $(groups)" "0 0"
}
test_a_machine_that_never_runs_is_terminated() {
    FAULT="instance-running refuse" vm
    ends 1
    says "cleaning up: terminating"
    is "$(machines) $(groups)" "0 0"
}
test_a_machine_whose_id_was_never_heard_is_terminated() {
    FAULT="run-instances lose" vm
    ends 1
    says "cleaning up: terminating"
    is "$(machines) $(groups)" "0 0"
}
test_a_group_that_was_there_before_is_used_and_kept() {
    local before
    before=$(ec2 create-security-group --group-name docker1-backups --vpc-id "$vpc" --description mine --query GroupId)
    FAULT="run-instances refuse" vm
    ends 1
    is "$(groups)" 1
    vm
    ends 0
    is "$(of group)" "$before"
}
test_wrong_usage_of_the_machines_script_exits_2_and_says_what_to_write() {
    local arguments expected
    while IFS='|' read -r arguments expected; do
        # shellcheck disable=SC2086  # the words are split on purpose
        run create-vm.sh $arguments
        ends 2
        says "$expected"
    done << 'END'
|the machine has no name
-h docker1 -t large|"large" is not a machine's type
-h docker1 -s big|"big" is not a size
-h docker1 --ssh-from me|"me" is not a network
-h docker1 --ssh-from 203.0.113.7/32|but no key pair
-h docker1 --image debian|"debian" is not an image's id
-h docker1 -n default|"default" is not a subnet's id
-h docker1 extra|"extra" is not an option
END
}
test_every_script_tells_its_options() {
    local script
    for script in "$scripts"/*.sh; do
        run "$(basename "$script")" --help
        ends 0
        [[ $out == "usage: $(basename "$script")"* ]] || bad "$script --help does not say how it is used"
    done
}

# Convoy's archive as far as the installer sees it: two programs in a folder. These only say their names.
archive() {
    [ ! -f "$work/convoy.tar.gz" ] || return 0
    mkdir -p "$work/convoy"
    printf '#!/bin/sh\necho convoy\n' > "$work/convoy/convoy"
    printf '#!/bin/sh\necho tools\n' > "$work/convoy/convoy-pdata_tools"
    chmod +x "$work/convoy"/*
    tar -czf "$work/convoy.tar.gz" -C "$work" convoy
    sum=$(sha256sum < "$work/convoy.tar.gz" | cut -d ' ' -f 1)
}
install_convoy() {
    archive
    run install-convoy.sh --archive "$work/convoy.tar.gz" --sha256 "$sum" --destdir "$work/host" "$@"
}
options_of_host() {
    sed -n 's/^CONVOY_OPTIONS="\(.*\)"$/\1/p' "$work/host/etc/default/convoy"
}
test_convoy_is_installed_for_folders() {
    install_convoy --driver vfs --path "$work"
    ends 0
    is "$(cat "$work/host/etc/docker/plugins/convoy.spec")" unix:///var/run/convoy/convoy.sock
    is "$("$work/host/usr/local/bin/convoy") $("$work/host/usr/local/bin/convoy-pdata_tools")" "convoy tools"
    is "$(options_of_host)" "--root /var/lib/rancher/convoy --cmd-timeout 24h --drivers vfs --driver-opts vfs.path=$work"
    grep -q "^RequiresMountsFor=$work$" "$work/host/etc/systemd/system/convoy.service" || bad "the service does not wait for the folder"
}
test_convoy_is_not_installed_twice() {
    install_convoy --driver vfs --path "$work"
    install_convoy --driver vfs --path "$work"
    ends 0
    is "$err" "everything is in place already"
}
test_other_options_are_not_overwritten_unasked() {
    install_convoy --driver vfs --path "$work"
    install_convoy --driver vfs --path /tmp
    ends 1
    says "has other options"
    is "$(options_of_host)" "--root /var/lib/rancher/convoy --cmd-timeout 24h --drivers vfs --driver-opts vfs.path=$work"
    install_convoy --driver vfs --path /tmp --replace-options
    ends 0
    is "$(options_of_host)" "--root /var/lib/rancher/convoy --cmd-timeout 24h --drivers vfs --driver-opts vfs.path=/tmp"
}
test_convoy_is_given_more_than_its_one_minute_for_each_command() {
    install_convoy --driver vfs --path "$work" --cmd-timeout 90m
    ends 0
    is "$(options_of_host)" "--root /var/lib/rancher/convoy --cmd-timeout 90m --drivers vfs --driver-opts vfs.path=$work"
    # As this script wrote it before.
    sed -i 's/ --cmd-timeout 90m//' "$work/host/etc/default/convoy"
    install_convoy --driver vfs --path "$work"
    ends 0
    says "gives each command one minute"
}
test_options_changed_after_convoys_first_start_are_warned_of() {
    mkdir -p "$work/host/var/lib/rancher/convoy"
    touch "$work/host/var/lib/rancher/convoy/convoy.cfg"
    install_convoy --driver vfs --path "$work"
    ends 0
    says "goes by what is written there"
}
test_an_archive_with_another_checksum_installs_nothing() {
    archive
    local real=$sum
    sum=${sum//[0-9]/a}
    install_convoy --driver vfs --path "$work"
    ends 1
    says "the archive's SHA-256 is $real"
    [ ! -e "$work/host" ] || bad "something was installed"
    sum=$real
}
test_an_archive_that_lacks_a_program_installs_nothing() {
    archive
    local real=$sum
    tar -czf "$work/short.tar.gz" -C "$work" convoy/convoy
    sum=$(sha256sum < "$work/short.tar.gz" | cut -d ' ' -f 1)
    run install-convoy.sh --archive "$work/short.tar.gz" --sha256 "$sum" --destdir "$work/host" --driver vfs --path "$work"
    ends 1
    says "lacks Convoy's programs"
    [ ! -e "$work/host" ] || bad "something was installed"
    sum=$real
}
test_a_dry_run_installs_nothing() {
    install_convoy --driver vfs --path "$work" --dry-run
    ends 0
    says "would write: $work/host/usr/local/bin/convoy"
    [ ! -e "$work/host" ] || bad "something was installed"
}
test_the_archive_is_fetched_over_https_and_checked() {
    archive
    command -v openssl > /dev/null || return 0
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/tls.key" -out "$work/tls.crt" -days 2 -subj /CN=127.0.0.1 \
        -addext subjectAltName=IP:127.0.0.1 2> /dev/null
    cat "$work/tls.key" "$work/tls.crt" > "$work/tls.pem"
    serve files "$work" "$work/tls.pem"
    run install-convoy.sh --print-sha256 --url "https://127.0.0.1:$served/convoy.tar.gz"
    ends 1
    says "could not be fetched"
    export CURL_CA_BUNDLE=$work/tls.crt
    run install-convoy.sh --print-sha256 --url "https://127.0.0.1:$served/convoy.tar.gz"
    is "$out" "$sum"
    run install-convoy.sh --url "https://127.0.0.1:$served/convoy.tar.gz" --sha256 "$sum" --destdir "$work/host" --driver vfs --path "$work"
    ends 0
    [ -x "$work/host/usr/local/bin/convoy" ] || bad "nothing was installed"
    run install-convoy.sh --print-sha256 --url "https://127.0.0.1:$served/nothing.tar.gz"
    ends 1
    unset CURL_CA_BUNDLE
    run install-convoy.sh --print-sha256 --url "http://127.0.0.1:$served/convoy.tar.gz"
    ends 2
}
test_a_folder_where_no_nfs_share_is_mounted_is_refused() {
    install_convoy --driver vfs --path "$work" --nfs
    ends 1
    says "nothing is mounted at $work"
    install_convoy --driver vfs --path /proc --nfs
    ends 1
    says "is no NFS share"
    install_convoy --driver vfs --path "$work/nowhere"
    ends 1
    says "there is no folder"
}
test_convoy_is_installed_for_ebs_where_the_metadata_service_answers_it() {
    serve metadata 200
    AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:$served install_convoy --driver ebs --kms-key alias/volumes --volume-size 10G --fsfreeze
    ends 0
    is "$(options_of_host)" "--root /var/lib/rancher/convoy --cmd-timeout 24h --drivers ebs --driver-opts ebs.defaultvolumesize=10G --driver-opts ebs.defaultkmskeyid=alias/volumes --driver-opts ebs.fsfreeze=true"
}
test_a_machine_that_wants_imdsv2_is_refused_with_what_to_do() {
    serve metadata 401
    AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:$served install_convoy --driver ebs
    ends 1
    says "--http-tokens optional"
    AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:1 install_convoy --driver ebs
    ends 1
    says "this is no EC2 machine"
}
test_devices_that_are_not_empty_are_refused() {
    install_convoy --driver devicemapper --data-device /dev/null --metadata-device /dev/zero
    ends 1
    says "/dev/null is not a block device"
    truncate -s 16M "$work/full" "$work/empty"
    mkfs.ext4 -q "$work/full" 2> /dev/null || return 0
    local full empty
    # Where there are no loop devices, files can't stand for block devices.
    full=$(losetup -f --show "$work/full" 2> /dev/null) || return 0
    empty=$(losetup -f --show "$work/empty")
    install_convoy --driver devicemapper --data-device "$full" --metadata-device "$empty"
    ends 1
    says "$full is not empty: it holds ext4"
    losetup -d "$full"
    truncate -s 0 "$work/full"
    truncate -s 16M "$work/full"
    full=$(losetup -f --show "$work/full")
    install_convoy --driver devicemapper --data-device "$full" --metadata-device "$empty"
    ends 0
    is "$(options_of_host)" "--root /var/lib/rancher/convoy --cmd-timeout 24h --drivers devicemapper --driver-opts dm.datadev=$full --driver-opts dm.metadatadev=$empty"
    losetup -d "$full" "$empty"
}
test_wrong_usage_of_the_installer_exits_2_and_says_what_to_write() {
    archive
    local arguments expected
    while IFS='|' read -r arguments expected; do
        # shellcheck disable=SC2086  # the words are split on purpose
        run install-convoy.sh $arguments
        ends 2
        says "$expected"
    done << END
|no driver is named
--driver zfs|"zfs" is not a driver
--driver vfs --path /tmp|no checksum is given
--driver vfs --path /tmp --sha256 abc|"abc" is not a SHA-256
--driver vfs --sha256 $sum|needs a folder
--driver vfs --path tmp --sha256 $sum|"tmp" is not a folder
--driver vfs --path /tmp --cmd-timeout 10 --sha256 $sum|"10" is not a time for commands
--driver vfs --path /tmp --fsfreeze --sha256 $sum|--fsfreeze means nothing to the driver vfs
--driver ebs --path /tmp --sha256 $sum|--path means nothing to the driver ebs
--driver ebs --volume-type gp3 --sha256 $sum|Convoy knows no gp3
--driver ebs --kms-key k1 --encrypted --sha256 $sum|encrypts already
--driver devicemapper --sha256 $sum|needs two block devices
END
}
test_the_scripts_are_clean_for_shellcheck() {
    code=0 out='' err=''
    command -v shellcheck > /dev/null || { echo "skipped: shellcheck is not installed"; return; }
    out=$(cd "$scripts" && shellcheck -x ./*.sh lib/*.sh ../tests/aws/run.sh ../tests/aws/aws-with-faults) || bad "shellcheck finds something"
}

count=0
for name in $(declare -F | sed -n 's/^declare -f \(test_.*\)$/\1/p'); do
    [[ $name == *"${1-}"* ]] || continue
    count=$((count + 1))
    reset
    rm -rf "$work/host"
    before=$failures
    "$name"
    [ "$failures" -ne "$before" ] || echo "ok: ${name#test_}"
done
echo "$count tests, $failures failures"
[ "$count" -gt 0 ] && [ "$failures" -eq 0 ]
