#!/bin/sh
# shellcheck shell=sh
# Runs a user's backup script once, and uploads what it writes while it is made. Runs behind runner.sh.
#
#   script ──> $OUTPUT ──> parts, one at a time in $BOOKS/part ──> curl
#                                                      └──> tee ──> SHA-256 of the whole, SHA-256 of the part
#
# Invariant: the report is sent, and standard output says its hash, only when the script has exited 0, every byte it
# wrote is uploaded, and the hash of the whole is that of all these bytes. This script can finish nothing: the object
# exists when the job that reads the report has finished the upload.
#
# The ends of a named pipe wait for each other when they are opened, and one whose partner was killed waits for ever.
# So this shell opens both ends, without waiting, and takes the name away; every process inherits the end it needs and
# lets go of the others: whatever dies at whatever moment, the others read an end of file.
#
# Letters are taken by whoever waits: by this shell while a script writes a file, else by the uploader, which hands on
# what the last one said when it ends. It is in the memory of these shells, and nowhere else but in pipes.
#
# Descriptors: 3 the output, to read; 4 the guard's, in the uploader what a part's hash is made from, to write; 5 events
# (of what ends, and ticks); 6 and 7 the two ends of a pipe between processes of ours; 8 the output, to write; 9 the ledger: "NUMBER SIZE SHA-256" for each part, "SHA-256 -" for
# the whole.

SCRIPT_EXITED=10
EMPTY_OUTPUT=11
OUTPUT_TOO_LARGE=13
WORDS_BYTES=4096
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

# Opens a pipe without a name on which events come: "tick" now and then, and the end of what was begun, with its number
# and exit code. What ticks ends after one tick more when whoever opened it was killed together with this shell.
open_events() {
    mkfifo "$BOOKS/events"
    exec 5<>"$BOOKS/events"
    rm "$BOOKS/events"
    (
        exec 3<&- 4>&- 6<&- 7>&- 8>&- 9>&-
        trap 'kill $! 2>/dev/null; exit' TERM
        while [ -e /proc/$$/exe ]; do
            sleep "$TICK_SECONDS" &
            wait $!
            echo tick >&5
        done
    ) >/dev/null 2>&1 &
    ticker=$!
}

close_events() {
    kill "$ticker" 2>/dev/null
    exec 5<&-
}

# Runs a command on descriptor 3, with an event at its end. A signal to it ends the command.
begin() { # COMMAND...
    turn=$((turn + 1))
    (
        trap 'kill $! 2>/dev/null' TERM
        "$@" <&3 4>&- 5<&- 8>&- &
        exec 3<&- 4>&- 6<&- 7>&- 8>&- 9>&-
        wait $!
        code=$?
        echo "$turn $code" >&5
        exit "$code"
    ) &
    begun=$!
}

# Waits for the end of what was begun and returns its exit code. Letters that come meanwhile are taken.
await() {
    while read -r event _ <&5; do
        [ "$event" != tick ] || freshen
        # One that was killed cannot say so.
        if [ "$event" = "$turn" ] || [ ! -e "/proc/$begun/exe" ]; then break; fi
    done
    wait "$begun"
}

# Uploads descriptor 3 in parts, copies them to descriptor 7 and enters them in the ledger.
upload() {
    number=0
    while [ "$number" -lt "$last" ]; do
        number=$((number + 1))
        freshen
        insist find_part || lost "could not be sent: $WHY" || return
        take "$mib" || return
        size=$(size_of "$BOOKS/part")
        [ "$size" -gt 0 ] || return 0
        start_sums
        expect=
        insist put_part || lost "of $size bytes could not be uploaded: $WHY" || return
        # shellcheck disable=SC2015 # whichever of them fails
        wait "$summer" && read -r sum _ <"$BOOKS/sum" && echo "$number $size $sum" >&9 || unwritten || return
        [ "$size" -eq $((mib * 1048576)) ] || return 0
    done
    take 1 || return
    [ "$(size_of "$BOOKS/part")" -eq 0 ] || return $OUTPUT_TOO_LARGE
}

# Hashes the part, and hands it on to what hashes the whole. Hashing takes as long as sending on a good network, so it
# is done meanwhile. The part is read but once, so that its hash, which is compared with what S3 holds, and that of the
# whole are of the same bytes. tee opens its file anew: it waits for ever if what hashes the part was killed before that,
# so whoever waits for the hash ends tee.
start_sums() {
    mkfifo "$BOOKS/pipe"
    exec 4<>"$BOOKS/pipe"
    exec 6<"$BOOKS/pipe"
    exec 4>"$BOOKS/pipe"
    rm "$BOOKS/pipe"
    sha256sum <&6 >"$BOOKS/sum" 3<&- 4>&- 5<&- 6<&- 7>&- 8>&- 9>&- &
    summer=$!
    tee /proc/self/fd/4 <"$BOOKS/part" >&7 3<&- 5<&- 6<&- 7>&- 8>&- 9>&- &
    copier=$!
    exec 4>&- 6<&-
}

lost() { # WHY
    echo "farshore: part $number $1" >&2
    return "$FAILED"
}

# shellcheck disable=SC2154 # root is runner.sh's
unwritten() {
    FAILED=$NO_ROOM
    lost "of $mib MiB could not be kept in $root while it is sent: $(why_not_written)$(free_room)"
}

take() { # MIB
    true >"$BOOKS/part" || unwritten || return
    # shellcheck disable=SC2015 # whichever of them fails
    begin dd bs=1048576 iflag=fullblock count="$1" of="$BOOKS/part" 2>"$BOOKS/dd" && await || unwritten
}

read_line() { # LINE of a letter
    case $1 in
        "report "*) report_url=${1#* } ;;
        "base "*) base=${1#* } ;;
        "first "*) at=${1#* } ;;
        "last "*) last=${1#* } ;;
    esac
}

# Finds the size, date and signature of part $number; one try. What follows the head of a letter is a line for each part
# from $at on.
find_part() {
    [ -z "$expired" ] || take_letter || return
    while [ "$at" -lt "$number" ] && [ "$rest" != "end$NEWLINE" ]; do
        rest=${rest#*"$NEWLINE"} at=$((at + 1))
    done
    if [ "$rest" = "end$NEWLINE" ]; then
        take_letter && find_part
        return
    fi
    line=${rest%%"$NEWLINE"*}
    mib=${line%% *} signature=${line##* }
    line=${line#* }
    date=${line%% *}
}

# S3 may refuse a part and close while it is being sent, and its answer may get lost in that. So from the second try
# on S3 is asked before the part is sent.
put_part() {
    find_part || return
    true >"$BOOKS/answer"
    call "$base&partNumber=$number&X-Amz-Date=$date&X-Amz-Signature=$signature" \
        --header "Expect:$expect" --upload-file "$BOOKS/part" --output "$BOOKS/answer"
    expect=' 100-continue'
    [ "$CURL_EXIT:$STATUS" != 0:200 ] || return 0
    weigh "$BOOKS/answer"
}

# Starts what reads descriptor 3 to its end; descriptor 6 is then where end_upload reads what the uploader hands on.
start_upload() {
    open_pipe
    sha256sum <&6 >&9 3<&- 4>&- 6<&- 7>&- 8>&- &
    hasher=$!
    exec 6<&-
    mkfifo "$BOOKS/heir"
    exec 5<>"$BOOKS/heir"
    exec 6<"$BOOKS/heir"
    rm "$BOOKS/heir"
    (
        exec 4>&- 6<&- 8>&5 5<&-
        # shellcheck disable=SC2030 # its own
        child='' summer='' copier='' begun='' ticker=''
        trap 'kill $child $summer $copier $begun $ticker 2>/dev/null; exit 143' TERM
        open_events
        upload
        code=$?
        close_events
        kill "$copier" 2>/dev/null
        printf '%s\n' "$next" "$take" "$report_url" "$letter_at" >&8
        exit "$code"
    ) &
    uploader=$!
    started="$started $hasher $uploader"
    exec 5<&- 7>&-
}

end_upload() {
    read -r next <&6 && read -r take <&6 && read -r report_url <&6 && read -r letter_at <&6
    exec 6<&-
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
    exec 3<&6 6<&-
    run_script
    [ "$OUTPUT" -ef /proc/$$/fd/8 ] || [ "$exited" -ne 0 ] ||
        spoilt="the script put something else in the place of the pipe, as only output: file allows"
    close_output
    exec 8>&-
    exec 6<&3 3</dev/null
    end_upload
}

run_to_file() {
    true >"$OUTPUT"
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

# Keeps the last words of descriptor 6, to be read at any time. A signal ends it, and what reads for it.
listen() {
    exec >/dev/null 2>&1 4>&- 7>&- 9>&-
    hearing=
    trap '[ -z "$hearing" ] || kill "$hearing"; exit' TERM
    while :; do
        dd bs=65536 count=1 of="$BOOKS/heard" <&6 &
        hearing=$!
        wait "$hearing" && [ -s "$BOOKS/heard" ] || return
        cat "$BOOKS/words" "$BOOKS/heard" | tail -c $WORDS_BYTES >"$BOOKS/last"
        mv "$BOOKS/last" "$BOOKS/words"
    done
}

# While a script writes to a pipe, the uploader waits for what comes, and sees to the letters.
run_script() {
    open_pipe
    true >"$BOOKS/words"
    (listen) &
    listener=$!
    started="$started $listener"
    start_alarm
    if [ "$OUTPUT_MODE" = file ]; then
        open_events
        begin become_script
        # shellcheck disable=SC2031 # this shell's
        started="$started $begun $ticker"
        close_pipe
        await
        exited=$?
        close_events
    else
        become_script &
        begun=$!
        started="$started $begun"
        close_pipe
        wait "$begun"
        exited=$?
    fi
    # A process that the script left behind may hold its output open for ever.
    (
        exec >/dev/null 2>&1 4>&- 8>&- 9>&-
        sleep 2
        kill "$listener"
    ) &
    watchdog=$!
    wait "$listener" 2>/dev/null
    kill "$watchdog" 2>/dev/null
    stop_alarm
}

become_script() {
    exec >&7 2>&1
    become "$SERVICE" "$OUTPUT"
}

judge() {
    case $uploaded in
        "$OUTPUT_TOO_LARGE") fail $OUTPUT_TOO_LARGE "the output is larger than its upload has room for" ;;
        "$TRANSFER_FAILED" | "$NO_ROOM") fail "$uploaded" "the upload failed; the script exited $exited" ;;
    esac
    [ "$exited" -eq 0 ] || fail $SCRIPT_EXITED "$(ended_as "$exited")$(wants_file)"
    [ -z "$spoilt" ] || fail $SCRIPT_EXITED "$spoilt"
    [ ! -e "$OUTPUT" ] || fail $SCRIPT_EXITED "$LATE"
    [ $((uploaded + hashed)) -eq 0 ] || fail "$TRANSFER_FAILED" "the upload was cut off ($uploaded, $hashed)"
    [ "$parts" -gt 0 ] || fail $EMPTY_OUTPUT "the script exited 0 and wrote nothing"
}

# Says what helps a script that does with its output what no pipe lets it do: sync, seek, cut.
wants_file() {
    [ "$OUTPUT_MODE" = pipe ] || return 0
    case $(cat "$BOOKS/words") in
        *fsync* | *[Ss]eek* | *truncate*) printf '%s' "; its output is a named pipe, which cannot be synced, sought or cut: \
set \`output: file\` in the rule, or let the command write to its standard output (> \"\$2\")" ;;
    esac
}

read_ledger() {
    bytes=0 whole='' parts=0
    while read -r first size sum; do
        case $size in
            -) whole=$first ;;
            *) bytes=$((bytes + size)) parts=$((parts + 1)) ;;
        esac
    done </proc/$$/fd/9
}

# Sends the report, and says its hash: another one that comes to lie in its place is none.
report() {
    {
        printf 'farshore-report 1\nbytes %s\nsha256 %s\n' "$bytes" "$whole"
        while read -r first size sum; do
            [ "$size" = - ] || echo "$first $size $sum"
        done </proc/$$/fd/9
        echo end
    } >"$BOOKS/report"
    insist put_report || fail "$FAILED" "the report could not be sent: $WHY"
    sum=$(sha256sum <"$BOOKS/report")
    printf 'farshore-reported 1\nsha256 %s\nend\n' "${sum%% *}"
}

put_report() {
    [ -z "$expired" ] || take_letter || return
    true >"$BOOKS/answer"
    call "$report_url" --header 'Expect:' --upload-file "$BOOKS/report" --output "$BOOKS/answer"
    [ "$CURL_EXIT:$STATUS" = 0:200 ] || weigh "$BOOKS/answer"
}

# shellcheck disable=SC2086 # a list of names
need_tools $TOOLS
run_once
unset base date signature report_url
base='' date='' signature='' report_url='' turn=0 at=0 last=0
open_mailbox
uploaded=0 hashed=0 exited='' spoilt='' OUTPUT=$WORK/out/output
mkdir -m 700 "$WORK/out" || no_room
prepare backup "$SCRIPT_PATH" "$SCRIPT_TEXT"
exec 9>>"$BOOKS/ledger"
rm "$BOOKS/ledger"
give
if [ "$OUTPUT_MODE" = file ]; then run_to_file; else run_piped; fi
cat "$BOOKS/words" >&2
read_ledger
judge
report
finish 0
