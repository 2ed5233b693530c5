#!/bin/sh
# shellcheck shell=sh
# Runs a user's backup script once, and uploads what it writes while it is made. Runs behind runner.sh.
#
#   script ──> $WORK/output ──> parts, one at a time in $WORK/part ──> curl
#                                                      └──> $WORK/copy ──> sha256sum of the whole
#
# Invariant: standard output is a whole report, or nothing. The report is written only when the script has exited 0,
# every byte it wrote is uploaded, and the hash of the whole is that of all these bytes. This script can finish
# nothing: the object exists when the job that reads the report has finished the upload.
#
# The ends of a named pipe wait for each other when they are opened, and one whose partner was killed waits for ever.
# So every process here inherits both ends of those it needs (descriptors 4 to 6), opens its own end without waiting,
# and then lets go of them: whatever dies at whatever moment, the others read an end of file.

SCRIPT_EXITED=10
EMPTY_OUTPUT=11
TRANSFER_FAILED=12
OUTPUT_TOO_LARGE=13
WORDS_BYTES=4096

let_go() {
    exec 4>&- 5>&- 6>&-
}

# Uploads descriptor 3 in parts and copies them to descriptor 7; in $WORK/parts a line for each: number, size, SHA-256.
upload() {
    number=0
    left="$SIGNATURES "
    for mib in $PART_MIB; do
        number=$((number + 1))
        take "$mib" || return $TRANSFER_FAILED
        size=$(size_of "$WORK/part")
        [ "$size" -gt 0 ] || return 0
        signature=${left%% *}
        left=${left#* }
        # Hashing takes as long as sending on a good network, so it is done meanwhile.
        sha256sum <"$WORK/part" >"$WORK/sum" &
        summer=$!
        cat "$WORK/part" >&7 &
        copier=$!
        send || return $TRANSFER_FAILED
        wait "$summer" || return $TRANSFER_FAILED
        wait "$copier" || return $TRANSFER_FAILED
        read -r sum _ <"$WORK/sum"
        echo "$number $size $sum" >>"$WORK/parts"
        [ "$size" -eq $((mib * 1048576)) ] || return 0
    done
    take 1 || return $TRANSFER_FAILED
    [ "$(size_of "$WORK/part")" -eq 0 ] || return $OUTPUT_TOO_LARGE
}

take() { # MIB
    in_reach dd bs=1048576 iflag=fullblock count="$1" of="$WORK/part" 2>"$WORK/dd" && return
    echo "farshore: part $number could not be held in $WORK: $(tail -n 1 "$WORK/dd")" >&2
    return 1
}

send() {
    call "$URL_BASE&partNumber=$number&X-Amz-Signature=$signature" \
        --header Expect: --upload-file "$WORK/part" --output /dev/null && return
    echo "farshore: part $number of $size bytes could not be uploaded" >&2
    return 1
}

# Starts what reads $WORK/output to its end.
start_upload() {
    mkfifo "$WORK/copy"
    exec 4<>"$WORK/copy"
    (
        exec <"$WORK/copy" >"$WORK/whole"
        let_go
        exec sha256sum
    ) &
    hasher=$!
    (
        exec 3<"$WORK/output" 7>"$WORK/copy"
        let_go
        child='' summer='' copier=''
        trap 'kill $child $summer $copier 2>/dev/null; exit 143' TERM
        upload
    ) &
    uploader=$!
    started="$started $hasher $uploader"
    exec 4>&-
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
# it would from any pipe.
run_piped() {
    mkfifo "$WORK/output"
    exec 5<>"$WORK/output"
    start_upload
    exec 8>"$WORK/output" 5>&-
    run_script
    exec 8>&-
    end_upload
}

run_to_file() {
    : >"$WORK/output"
    run_script
    [ "$exited" -eq 0 ] || return
    start_upload
    end_upload
}

run_script() {
    mkfifo "$WORK/said"
    exec 6<>"$WORK/said"
    (
        exec <"$WORK/said" >"$WORK/words"
        let_go
        exec tail -c $WORDS_BYTES
    ) &
    listener=$!
    (
        exec >"$WORK/said" 2>&1 8>&-
        let_go
        become script "$SCRIPT_PATH" "$SCRIPT_TEXT" "$SERVICE" "$FARSHORE_OUTPUT"
    ) &
    script=$!
    started="$started $listener $script"
    exec 6>&-
    wait "$script"
    exited=$?
    # A process that the script left behind may hold its output open for ever.
    (
        exec >/dev/null 2>&1 8>&-
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
    [ $((uploaded + hashed)) -eq 0 ] || fail $TRANSFER_FAILED "the upload was cut off ($uploaded, $hashed)"
    [ -s "$WORK/parts" ] || fail $EMPTY_OUTPUT "the script exited 0 and wrote nothing"
}

report() {
    bytes=0
    while read -r _ size _; do
        bytes=$((bytes + size))
    done <"$WORK/parts"
    read -r whole _ <"$WORK/whole"
    echo "farshore-report 1"
    echo "bytes $bytes"
    echo "sha256 $whole"
    cat "$WORK/parts"
    echo "end"
}

need_tools curl cat dd find id mkfifo sha256sum sleep tail wc
run_once
uploaded=0 hashed=0 exited=
export FARSHORE_SERVICE="$SERVICE" FARSHORE_JOB="$JOB" FARSHORE_OUTPUT="$WORK/output"
if [ "$OUTPUT_MODE" = file ]; then run_to_file; else run_piped; fi
cat "$WORK/words" >&2
judge
report
finish 0
