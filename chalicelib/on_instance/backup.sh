#!/bin/sh
# shellcheck shell=sh
# Runs a user's backup script once, and uploads what it writes while it is made. Runs behind runner.sh.
#
#   script ──> $OUTPUT ──> parts, one at a time in $BOOKS/part ──> curl
#                                                      └──> tee ──> SHA-256 of the part, SHA-256 of the whole
#
# Invariant: standard output is a whole report, or nothing. The report is written only when the script has exited 0,
# every byte it wrote is uploaded, and the hash of the whole is that of all these bytes. This script can finish
# nothing: the object exists when the job that reads the report has finished the upload.
#
# The ends of a named pipe wait for each other when they are opened, and one whose partner was killed waits for ever.
# So this shell opens both ends, without waiting, and takes the name away; every process inherits the end it needs and
# lets go of the others: whatever dies at whatever moment, the others read an end of file.
#
# Descriptors: 3 the output, to read; 4 the guard's; 5 none for long; 6 and 7 the two ends of a pipe between processes of ours; 8 the
# output, to write; 9 the ledger: "NUMBER SIZE SHA-256" for each part, "SHA-256 -" for the whole.

SCRIPT_EXITED=10
EMPTY_OUTPUT=11
TRANSFER_FAILED=12
OUTPUT_TOO_LARGE=13
WORDS_BYTES=4096
NEWLINE='
'
LATE="a process that the script left behind wrote to its output after the script had ended"

# Opens a pipe without a name: 6 to read, 7 to write.
open_pipe() {
    mkfifo "$BOOKS/pipe"
    exec 5<>"$BOOKS/pipe"
    exec 6<"$BOOKS/pipe"
    exec 7>"$BOOKS/pipe" 5>&-
    rm "$BOOKS/pipe"
}

close_pipe() {
    exec 6<&- 7>&-
}

# Uploads descriptor 3 in parts, copies them to descriptor 7 and enters them in the ledger.
upload() {
    number=0
    left="$SIGNATURES "
    for mib in $PART_MIB; do
        number=$((number + 1))
        take "$mib" || return $TRANSFER_FAILED
        size=$(size_of "$BOOKS/part")
        [ "$size" -gt 0 ] || return 0
        signature=${left%% *}
        left=${left#* }
        # Hashing takes as long as sending on a good network, so it is done meanwhile. The part is read but once, so
        # that its hash, which is compared with what S3 holds, and that of the whole are of the same bytes.
        tee /proc/self/fd/7 <"$BOOKS/part" | sha256sum >"$BOOKS/sum" &
        summer=$!
        send || return $TRANSFER_FAILED
        wait "$summer" || return $TRANSFER_FAILED
        read -r sum _ <"$BOOKS/sum"
        echo "$number $size $sum" >&9
        [ "$size" -eq $((mib * 1048576)) ] || return 0
    done
    take 1 || return $TRANSFER_FAILED
    [ "$(size_of "$BOOKS/part")" -eq 0 ] || return $OUTPUT_TOO_LARGE
}

take() { # MIB
    in_reach dd bs=1048576 iflag=fullblock count="$1" of="$BOOKS/part" 2>"$BOOKS/dd" && return
    echo "farshore: part $number could not be held in ${BOOKS%/*}: $(tail -n 1 "$BOOKS/dd")" >&2
    return 1
}

send() {
    expect=
    insist put_part && return
    echo "farshore: part $number of $size bytes could not be uploaded: $WHY" >&2
    return 1
}

# S3 may refuse a part and close while it is being sent, and its answer may get lost in that. So from the second try
# on S3 is asked before the part is sent.
put_part() {
    : >"$BOOKS/answer"
    call "$URL_BASE&partNumber=$number&X-Amz-Signature=$signature" \
        --header "Expect:$expect" --upload-file "$BOOKS/part" --output "$BOOKS/answer"
    expect=' 100-continue'
    [ "$CURL_EXIT:$STATUS" != 0:200 ] || return 0
    weigh "$BOOKS/answer"
}

# Starts what reads descriptor 3 to its end.
start_upload() {
    open_pipe
    sha256sum <&6 >&9 3<&- 4>&- 6<&- 7>&- 8>&- &
    hasher=$!
    (
        exec 4>&- 6<&- 8>&-
        child='' summer=''
        trap 'kill $child $summer 2>/dev/null; exit 143' TERM
        upload
    ) &
    uploader=$!
    started="$started $hasher $uploader"
    close_pipe
}

end_upload() {
    wait "$uploader"
    uploaded=$?
    wait "$hasher"
    hashed=$?
}

# A script that never opens the pipe must not leave its reader waiting, and one that opens it again and again must
# not end it: descriptor 8 is a writer of ours, open as long as the script runs, here and in the listener, which
# outlives this shell if that is killed. It is no reader, so that a script whose upload has failed gets SIGPIPE, as
# it would from any pipe. What a script leaves behind may still hold the pipe when it exits: that is waited for.
run_piped() {
    mkfifo "$OUTPUT"
    exec 5<>"$OUTPUT"
    exec 3<"$OUTPUT"
    exec 8>"$OUTPUT" 5>&-
    start_upload
    exec 3<&-
    run_script
    [ "$OUTPUT" -ef /proc/$$/fd/8 ] || [ "$exited" -ne 0 ] ||
        spoilt="the script put something else in the place of the pipe, as only output: file allows"
    close_output
    exec 8>&-
    end_upload
}

run_to_file() {
    : >"$OUTPUT"
    run_script
    [ "$exited" -eq 0 ] && [ -f "$OUTPUT" ] || return 0
    exec 3<"$OUTPUT"
    close_output
    while is_held; do
        [ "$(now)" -lt "$DEADLINE" ] || fail $SCRIPT_EXITED "a process that the script left behind holds its output"
        in_reach sleep 1
    done
    bytes=$(wc -c </proc/$$/fd/3)
    start_upload
    end_upload
    [ "$(wc -c </proc/$$/fd/3)" -eq "$bytes" ] && ! is_held || spoilt="$LATE"
}

# Whoever opens the output from here on makes a file, and is found out by that.
close_output() {
    rm -f "$OUTPUT"
}

# Tells whether another process has the file of descriptor 3 open; proc(5).
is_held() {
    for open in /proc/[0-9]*/fd/*; do
        case $open in
            /proc/$$/*) ;;
            *) [ ! "$open" -ef /proc/$$/fd/3 ] || return 0 ;;
        esac
    done
    return 1
}

run_script() {
    open_pipe
    tail -c $WORDS_BYTES <&6 >"$BOOKS/words" 4>&- 6<&- 7>&- 9>&- &
    listener=$!
    (
        exec >&7 2>&1
        become script "$SCRIPT_PATH" "$SCRIPT_TEXT" "$SERVICE" "$OUTPUT"
    ) &
    script=$!
    started="$started $listener $script"
    close_pipe
    wait "$script"
    exited=$?
    # A process that the script left behind may hold its output open for ever.
    (
        exec >/dev/null 2>&1 4>&- 8>&- 9>&-
        sleep 2
        kill "$listener"
    ) &
    watchdog=$!
    wait "$listener" 2>/dev/null
    kill "$watchdog" 2>/dev/null
}

judge() {
    case $uploaded in
        "$OUTPUT_TOO_LARGE") fail $OUTPUT_TOO_LARGE "the output is larger than its upload has room for" ;;
        "$TRANSFER_FAILED") fail $TRANSFER_FAILED "the upload failed; the script exited $exited" ;;
    esac
    [ "$exited" -eq 0 ] || fail $SCRIPT_EXITED "script exited $exited"
    [ -z "$spoilt" ] || fail $SCRIPT_EXITED "$spoilt"
    [ ! -e "$OUTPUT" ] || fail $SCRIPT_EXITED "$LATE"
    [ $((uploaded + hashed)) -eq 0 ] || fail $TRANSFER_FAILED "the upload was cut off ($uploaded, $hashed)"
    [ -n "$parts" ] || fail $EMPTY_OUTPUT "the script exited 0 and wrote nothing"
}

read_ledger() {
    bytes=0 whole='' parts=''
    while read -r first size sum; do
        case $size in
            -) whole=$first ;;
            *) bytes=$((bytes + size)) parts="$parts$first $size $sum$NEWLINE" ;;
        esac
    done </proc/$$/fd/9
}

report() {
    printf 'farshore-report 1\nbytes %s\nsha256 %s\n%send\n' "$bytes" "$whole" "$parts"
}

need_tools curl cat date dd find id mkfifo mktemp rm sha256sum sleep tail tee tr wc
run_once
uploaded=0 hashed=0 exited='' spoilt='' OUTPUT=$WORK/out/output
mkdir -m 700 "$WORK/out"
exec 9>>"$BOOKS/ledger"
rm "$BOOKS/ledger"
export FARSHORE_SERVICE="$SERVICE" FARSHORE_JOB="$JOB" FARSHORE_OUTPUT="$OUTPUT"
if [ "$OUTPUT_MODE" = file ]; then run_to_file; else run_piped; fi
cat "$BOOKS/words" >&2
read_ledger
judge
report
finish 0
