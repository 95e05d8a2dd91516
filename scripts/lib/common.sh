# shellcheck shell=bash
# What the scripts of this folder share: words to people, errors, and the AWS command line.
#
# Standard output is data (name=value lines); standard error is conversation. Exit codes: 0 done, 1 failed, 2 wrong usage.

# Says something to the person who waits.
note() {
    printf '%s\n' "$*" >&2
}

# Ends the script: what was wrong, and what to do next.
fail() {
    printf 'error: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf 'hint: %s\n' "$2" >&2
    exit 1
}

# Ends the script because it was called wrongly; nothing was done.
wrong() {
    printf 'error: %s\n' "$1" >&2
    printf 'hint: %s\n' "${2:-see $(basename "$0") --help}" >&2
    exit 2
}

# The value of an option: wrong where it is missing or looks like the next option. value OPTION [VALUE..]
value() {
    [ $# -ge 2 ] || wrong "\"$1\" needs a value"
    case $2 in
        '') wrong "\"$1\" needs a value, but it is empty" ;;
        -*) wrong "\"$1\" needs a value, but \"$2\" follows" ;;
    esac
    printf '%s' "$2"
}

# Wrong where the value is not as the pattern (an extended regular expression) wants it. check WHAT VALUE PATTERN EXAMPLE
check() {
    [[ $2 =~ ^($3)$ ]] || wrong "\"$2\" is not $1" "write $4"
}

# A host's name: it becomes a tag, a part of a security group's name and a line of a shell script, so it is checked narrowly.
check_hostname() {
    check "a host name" "$1" '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*' \
        "small letters, digits, \"-\" and \".\", such as docker1 or docker1.example.com"
}

# The words of a command, quoted so that they can be pasted into a shell.
quoted() {
    local word line=
    for word in "$@"; do
        if [[ $word =~ ^[A-Za-z0-9_./:=,@+-]+$ ]]; then
            line+=" $word"
        else
            line+=" '${word//\'/\'\\\'\'}'"
        fi
    done
    printf '%s' "${line# }"
}
