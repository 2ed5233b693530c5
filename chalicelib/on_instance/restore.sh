#!/bin/sh
# shellcheck shell=sh
# Fetches a backup, checks every byte of it, gives it to the user's restore script, then asks the user's verify
# script. Runs behind runner.sh.
#
# Invariant: a user's script sees the very bytes that were backed up, or it does not run.

TRANSFER_FAILED=12
WRONG_BYTES=20
RESTORE_FAILED=21
VERIFY_FAILED=22
WORDS_BYTES=4096

fetch() {
    exec 3</dev/null
    call "$URL" --output "$WORK/backup" || fail $TRANSFER_FAILED "the backup could not be downloaded"
    size=$(size_of "$WORK/backup")
    [ "$size" -eq "$SIZE_BYTES" ] || fail $WRONG_BYTES "expected $SIZE_BYTES bytes, got $size"
    actual=$(sha256sum <"$WORK/backup")
    actual=${actual%% *}
    [ "$actual" = "$SHA256" ] || fail $WRONG_BYTES "expected SHA-256 $SHA256, got $actual"
}

# Its words go to a file, which a server that the script starts may hold open without keeping this run waiting.
run_script() { # NAME PATH TEXT
    # shellcheck disable=SC2094 # the file is named to the script, not written
    (become "$1" "$2" "$3" "$SERVICE" "$WORK/backup") <"$WORK/backup" >"$WORK/words" 2>&1 &
    started=$!
    wait "$started"
    exited=$?
    tail -c $WORDS_BYTES "$WORK/words" >&2
}

need_tools curl find id sha256sum tail wc
run_once
fetch
export FARSHORE_SERVICE="$SERVICE" FARSHORE_JOB="$JOB" FARSHORE_INPUT="$WORK/backup"
run_script restore "$RESTORE_PATH" "$RESTORE_TEXT"
[ "$exited" -eq 0 ] || fail $RESTORE_FAILED "restore script exited $exited"
verified=no
if [ -n "$VERIFY_PATH$VERIFY_TEXT" ]; then
    run_script verify "$VERIFY_PATH" "$VERIFY_TEXT"
    [ "$exited" -eq 0 ] || fail $VERIFY_FAILED "verify script exited $exited"
    verified=yes
fi
echo "farshore-restored 1"
echo "bytes $SIZE_BYTES"
echo "verified $verified"
echo "end"
finish 0
