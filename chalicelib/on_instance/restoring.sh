#!/bin/sh
# shellcheck shell=sh
# How a restore script and a verify script are run, and what is reported of them: what restore.sh and scripts.sh need
# both. It is put between runner.sh and one of them.

VERIFY_FAILED=22
# Of two scripts: SSM returns 8,000 characters, the first ones.
WORDS_BYTES=3072

# Runs the script that is prepared. Its words go to a file, which a server that the script starts may hold open without
# keeping this run waiting.
run_script() { # INPUT ARGUMENT...
    input=$1
    shift
    true >"$BOOKS/words"
    start_alarm
    # shellcheck disable=SC2094 # the file is named to the script, not written
    (become "$SERVICE" "$@") <"$input" >"$BOOKS/words" 2>&1 &
    started=$!
    wait "$started"
    exited=$?
    stop_alarm
    tail -c $WORDS_BYTES "$BOOKS/words" >&2
}

# Runs the script that is prepared, then the verify script if there is one.
run_scripts() { # INPUT ARGUMENT...
    give
    run_script "$@"
    [ "$exited" -eq 0 ] || fail "$FAILS_AS" "$(ended_as "$exited")"
    verified=no
    [ -n "$VERIFY_PATH$VERIFY_TEXT" ] || return 0
    prepare verify "$VERIFY_PATH" "$VERIFY_TEXT"
    run_script "$@"
    [ "$exited" -eq 0 ] || fail $VERIFY_FAILED "$(ended_as "$exited")"
    verified=yes
}

# Says that all ended well, and ends.
report() { # LINE
    echo "farshore-restored 1"
    echo "$1"
    echo "verified $verified"
    echo "end"
    finish 0
}
