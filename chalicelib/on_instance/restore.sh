#!/bin/sh
# shellcheck shell=sh
# Fetches a backup, checks every byte of it, gives it to the user's restore script, then asks the user's verify
# script. Runs behind runner.sh and restoring.sh.
#
# Invariant: a user's script sees the very bytes that were backed up, or it does not run.

WRONG_BYTES=20

fetch() {
    { true >"$WORK/backup"; } 2>/dev/null || no_room
    etag='' have=0
    while [ "$have" -lt "$SIZE_BYTES" ]; do
        end=$((have + RANGE_BYTES < SIZE_BYTES ? have + RANGE_BYTES : SIZE_BYTES))
        insist get_rest ||
            fail "$FAILED" "the backup could not be downloaded, $have of $SIZE_BYTES bytes came: $WHY"
    done
    [ "$have" -eq "$SIZE_BYTES" ] || fail $WRONG_BYTES "expected $SIZE_BYTES bytes, got $have"
    if [ -n "$SHA256" ]; then
        hash_of "$WORK/backup"
        [ "$actual" = "$SHA256" ] || fail $WRONG_BYTES "expected SHA-256 $SHA256, got $actual"
    else
        check_parts
    fi
}

hash_of() { # FILE
    actual=$(sha256sum <"$1")
    actual=${actual%% *}
}

# The hash of the whole is not known of a file that took us long to read. All parts but the last are whole MiB.
check_parts() {
    insist get_list || fail "$FAILED" "the list of its parts could not be downloaded: $WHY"
    hash_of "$BOOKS/list"
    [ "$actual" = "$PARTS_SHA256" ] || fail $WRONG_BYTES "expected SHA-256 $PARTS_SHA256 of the list of its parts, got $actual"
    exec 3<"$WORK/backup"
    number=0
    while read -r size sum; do
        number=$((number + 1))
        actual=$(dd bs=1048576 count=$(((size + 1048575) / 1048576)) 2>"$BOOKS/dd" <&3 | sha256sum)
        [ "${actual%% *}" = "$sum" ] || fail $WRONG_BYTES "expected SHA-256 $sum of part $number, got ${actual%% *}"
    done <"$BOOKS/list"
    exec 3</dev/null
}

get_list() {
    [ -z "$expired" ] || take_letter || return
    call "$list_url" --output "$BOOKS/list"
    [ "$CURL_EXIT:$STATUS" = 0:200 ] || weigh "$BOOKS/list"
}

# One try to get what is missing up to byte $end. What came before the connection broke is kept; the ETag sees to it that the rest is
# of the same object. Bytes are put behind those that are there, and are cut off again if they are none of the backup.
# A try lasts no longer than a letter: on a slow network the address of the next one would expire meanwhile.
get_rest() {
    [ -z "$expired" ] || take_letter || return
    freshen
    range="$have-$((end - 1))"
    [ "$end" -lt "$SIZE_BYTES" ] || range="$have-"
    call "$get_url" --max-time "$(time_left $((LETTER_SECONDS + 1)))" \
        --range "$range" ${etag:+--header "If-Match: $etag"} >>"$WORK/backup"
    case $STATUS:$(answered '[Cc]ontent-[Rr]ange') in
        206:"bytes $have-"*/"$SIZE_BYTES") ;;
        200:*) [ "$have" -eq 0 ] || begin_anew || return ;;
        206:*) fail $WRONG_BYTES "expected bytes $have- of $SIZE_BYTES, got $(answered '[Cc]ontent-[Rr]ange')" ;;
        412:*) fail $WRONG_BYTES "the backup was replaced while it was downloaded" ;;
        *) refused || return ;;
    esac
    before=$have have=$(size_of "$WORK/backup") etag=${etag:-$(answered '[Ee][Tt][Aa][Gg]')}
    [ "$have" -lt "$end" ] || return 0
    [ "$have" -eq "$before" ] || begin_patience
    weigh /dev/null
}

# A server that knows no ranges sends the whole once more.
begin_anew() {
    cut_to 0
    have=0 WHY="the server sends no part of the backup"
    return 1
}

refused() {
    tail -c "+$((have + 1))" "$WORK/backup" >"$BOOKS/answer"
    cut_to "$have"
    weigh "$BOOKS/answer"
}

read_line() { # LINE of a letter
    case $1 in
        "get "*) get_url=${1#* } ;;
        "list "*) list_url=${1#* } ;;
    esac
}

cut_to() { # BYTES
    dd if=/dev/null of="$WORK/backup" bs=1 seek="$1" 2>/dev/null
}

# shellcheck disable=SC2086 # a list of names
need_tools $TOOLS
run_once
unset get_url list_url
get_url='' list_url=''
open_mailbox
prepare restore "$RESTORE_PATH" "$RESTORE_TEXT"
fetch
run_scripts "$WORK/backup" "$WORK/backup"
report "bytes $SIZE_BYTES"
