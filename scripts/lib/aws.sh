# shellcheck shell=bash
# The AWS command line for the scripts of this folder: one way to call it, to explain its errors, and to leave nothing behind.
#
# Needs lib/common.sh. Reads the variables profile, region and dry_run.
# shellcheck disable=SC2154  # they are set by the scripts

# No pager between a script and its answers.
export AWS_PAGER=

# What everything made by one run of a script is tagged with, so that a failed run finds again what it made, also where
# the answer that would have told its id never came.
run_id="$(date -u +%Y%m%dT%H%M%SZ)-$$-${RANDOM}${RANDOM}"
readonly run_tag=ConvoyBackupsRun

aws_words=(aws)

# Finds the command line and the options that each of its calls gets.
aws_setup() {
    command -v aws > /dev/null || fail "the AWS command line (\"aws\") is not installed" \
        "install version 2: https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
    [ -z "$profile" ] || aws_words+=(--profile "$profile")
    [ -z "$region" ] || aws_words+=(--region "$region")
    # Older versions do not know this variable by themselves.
    [ -z "${AWS_ENDPOINT_URL-}" ] || aws_words+=(--endpoint-url "$AWS_ENDPOINT_URL")
    if [ -z "$region" ] && [ -z "${AWS_REGION-}" ] && [ -z "${AWS_DEFAULT_REGION-}" ]; then
        [ -n "$("${aws_words[@]}" configure get region 2> /dev/null || true)" ] ||
            wrong "no region is set" "give --region, such as eu-central-1, or set AWS_REGION"
    fi
    aws_errors=$(mktemp) || fail "no temporary file can be made" "look at TMPDIR and the free space"
}

# One call; its answer goes to standard output, "None" becomes nothing. Ends the script where it fails.
aws_call() {
    local answer
    if ! answer=$(aws_try "$@"); then
        aws_explain "$@"
        exit 1
    fi
    [ "$answer" = None ] || printf '%s' "$answer"
}

# One call that may fail; its words are then in the file $aws_errors.
aws_try() {
    "${aws_words[@]}" "$@" --output text 2> "$aws_errors"
}

# Says what failed, what AWS said, and what to do about it.
aws_explain() {
    local words hint
    words=$(tr '\n' ' ' < "$aws_errors" | sed 's/^ *//; s/ *$//')
    case $words in
        *'could not be found'*) hint="look at the profile's name: aws configure list-profiles" ;;
        *ExpiredToken* | *RequestExpired* | *'Token has expired'* | *'SSO session'*)
            hint="sign in again (aws sso login), and look at the clock of this machine" ;;
        *'Unable to locate credentials'* | *AuthFailure* | *InvalidClientTokenId*)
            hint="set up credentials (aws configure, or aws sso login) and name them with -p" ;;
        *UnauthorizedOperation* | *AccessDenied*)
            hint="let an administrator allow \"$1:$(aws_action "$2")\"; EBS.md has the policy" ;;
        *'Could not connect'* | *'Connect timeout'* | *'Read timeout'*)
            hint="look at the network, the region's name and AWS_ENDPOINT_URL" ;;
        *LimitExceeded* | *InsufficientInstanceCapacity*)
            hint="ask AWS for a higher limit, or try another type or zone" ;;
        *) hint="AWS's words say why; \"aws $1 $2 help\" has the rules" ;;
    esac
    printf 'error: aws %s %s failed: %s\n' "$1" "$2" "${words:-no words were given}" >&2
    printf 'hint: %s\n' "$hint" >&2
}

# describe-volumes is the action DescribeVolumes.
aws_action() {
    local part action=
    for part in ${1//-/ }; do
        action+=${part^}
    done
    printf '%s' "$action"
}

# A call that changes something: shown and not done in a dry run.
aws_change() {
    if [ "$dry_run" = true ]; then
        note "would run: $(quoted aws "$@")"
    else
        aws_call "$@"
    fi
}

# Waits until something is so. aws_wait WHAT SERVICE WAITER OPTION..
aws_wait() {
    local what=$1 service=$2
    shift 2
    if [ "$dry_run" = true ]; then
        note "would wait: $what"
        return
    fi
    note "waiting: $what"
    if ! aws_try "$service" wait "$@"; then
        aws_explain "$service" wait
        exit 1
    fi
}

# The tags of something new, as --tag-specifications wants them. tags KIND NAME [KEY=VALUE..]
tags() {
    local kind=$1 name=$2 pair words
    shift 2
    words="{Key=Name,Value=$name},{Key=CreatedBy,Value=convoy-backups},{Key=$run_tag,Value=$run_id}"
    for pair in "$@"; do
        words+=",{Key=${pair%%=*},Value=${pair#*=}}"
    done
    printf 'ResourceType=%s,Tags=[%s]' "$kind" "$words"
}
