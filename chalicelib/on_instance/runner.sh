#!/bin/sh
# shellcheck shell=sh
# What backup.sh and restore.sh need both: it is put before them, behind the assignments of __init__.py.
#
# Invariants: a job runs once on an instance, and a second run touches nothing; what a job wrote here is gone when
# it ends, but for the empty folder that says it ran; a signal to this shell ends all that it started.

set -u

RAN_BEFORE=75
TOOL_MISSING=14

WORK=

# Not a trap on EXIT: bash runs one in a child, too, that is killed before it has begun.
finish() { # CODE
    [ -z "$WORK" ] || rm -rf "${WORK:?}"/*
    exit "$1"
}

fail() { # CODE TEXT
    printf 'farshore: %s\n' "$2" >&2
    finish "$1"
}

need_tools() { # NAME...
    for tool in "$@"; do
        command -v "$tool" >/dev/null || fail $TOOL_MISSING "this instance has no $tool"
    done
}

# Makes the job's folder, WORK. That mkdir succeeds only once is what makes the job run only once.
run_once() {
    root=${TMPDIR:-/var/tmp}/farshore
    (umask 077 && mkdir -p "$root") 2>/dev/null
    # Anyone may write in /var/tmp: a folder or link that another user laid there must not be ours.
    [ -n "$(find "$root" -prune -type d -user "$(id -u)" 2>/dev/null)" ] ||
        fail $TOOL_MISSING "this instance has no folder of our own at $root"
    if ! (umask 077 && mkdir "$root/$JOB") 2>/dev/null; then
        [ -d "$root/$JOB" ] || fail $TOOL_MISSING "this instance has no room at $root"
        fail $RAN_BEFORE "job $JOB has run on this instance before"
    fi
    WORK=$root/$JOB started='' child=''
    trap 'stop HUP' HUP
    trap 'stop INT' INT
    trap 'stop TERM' TERM
}

# shellcheck disable=SC2329 # the traps call it
stop() { # SIGNAL
    # shellcheck disable=SC2086 # lists of process ids
    kill $started $child 2>/dev/null
    fail 143 "stopped by SIG$1"
}

# Becomes a user's script: a path on this instance, or else a text, which may name its interpreter as a file would.
# The text is handed to the interpreter, not executed, because the folder may be mounted noexec.
become() { # NAME PATH TEXT ARGUMENT...
    name=$1 path=$2 text=$3
    shift 3
    [ -z "$path" ] || exec "$path" "$@"
    printf '%s\n' "$text" >"$WORK/$name"
    interpreter=sh option=
    case $text in
        '#!'*)
            read -r interpreter option <<LINE
${text#??}
LINE
            ;;
    esac
    exec "$interpreter" ${option:+"$option"} "$WORK/$name" "$@"
}

# Runs a command that a signal ends together with this shell; its standard input is our descriptor 3.
in_reach() { # COMMAND...
    "$@" <&3 &
    child=$!
    wait "$child"
}

size_of() { # FILE
    echo $(($(wc -c <"$1")))
}

# Calls curl with a URL that other users of this instance cannot read from the list of processes.
call() { # URL OPTION...
    printf 'url = "%s"\n' "$1" >"$WORK/url"
    shift
    in_reach curl -q --config "$WORK/url" --silent --show-error --fail --retry "$RETRIES" --retry-connrefused \
        --connect-timeout 20 --speed-limit 1 --speed-time 120 "$@"
}
