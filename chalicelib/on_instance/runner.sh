#!/bin/sh
# shellcheck shell=sh
# What backup.sh and restore.sh need both: it is put before them, behind the assignments of __init__.py.
#
# Invariants: a job runs once on an instance, and a second run touches nothing; what a job wrote here is gone when
# it ends, whatever ends it, but for the empty folder that says it ran, and at the latest when the next job begins (the
# machine may be switched off); a signal to this shell ends all that it started.
#
# A user's script runs as the same user as this shell. It is given WORK, where its own file lies, and neither the name
# of BOOKS, where ours lie, nor a descriptor, a variable or a URL of ours. The hashes lie in a file without a name. What
# can be spoilt all the same (the part that is being sent, a tool) fails the job, which reads back what S3 holds.

set -u

TRANSFER_FAILED=12
RAN_BEFORE=75
TOOL_MISSING=14
LONGEST_PAUSE=60

NEWLINE='
'

# A name that the agent exports would be exported with our value.
unset WORK BOOKS answer letter rest line next take url vault head
WORK='' BOOKS='' letter='' expired=''

# Not a trap on EXIT: bash runs one in a child, too, that is killed before it has begun.
finish() { # CODE
    [ -z "$BOOKS" ] || rm -rf "$BOOKS" "${WORK:?}"/*
    exit "$1"
}

fail() { # CODE TEXT
    printf 'farshore: %s\n' "$2" >&2
    finish "$1"
}

# The shell remembers where each tool is, whatever a script puts on the PATH later.
need_tools() { # NAME...
    for tool in "$@"; do
        hash "$tool" 2>/dev/null || fail $TOOL_MISSING "this instance has no $tool"
    done
}

# Makes the job's folder, WORK, and BOOKS. That mkdir succeeds only once is what makes the job run only once.
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
    purge "$root"
    BOOKS=$(mktemp -d "$root/.XXXXXXXXXX") || fail $TOOL_MISSING "this instance has no room at $root"
    WORK=$root/$JOB started='' child=''
    exec 3</dev/null
    if ! echo "$JOB $$ $(started_at $$)" >"$BOOKS/owner" || ! start_guard; then
        fail $TOOL_MISSING "this instance has no room at $root"
    fi
    DEADLINE=$(($(now) + TRY_FOR_SECONDS))
    trap 'stop HUP' HUP
    trap 'stop INT' INT
    trap 'stop TERM' TERM
}

# Starts a process that outlives SIGKILL to this shell and its group, which is how SSM ends a run whose time is up, and
# then removes what lies here. It reads a pipe that only this shell holds open: descriptor 4.
start_guard() {
    apart=
    ! hash setsid 2>/dev/null || apart=setsid
    mkfifo "$BOOKS/life" || return
    exec 5<>"$BOOKS/life"
    exec 6<"$BOOKS/life"
    exec 4>"$BOOKS/life" 5>&-
    rm "$BOOKS/life"
    # shellcheck disable=SC2016 # the other shell expands it
    $apart sh -c 'trap "" HUP INT TERM; hash cat rm; cd /; cat; rm -rf "$1" "$2"/*' guard "$BOOKS" "$WORK" \
        <&6 >/dev/null 2>&1 4>&- 6<&- &
    exec 6<&-
}

# Removes what runs left here that died together with their guards. A run has an owner before it has a file.
purge() { # ROOT
    for file in "$1"/*/*; do
        job=${file%/*}
        is_under_way "$1" "${job##*/}" || rm -rf "$file"
    done
    for books in "$1"/.??????????; do
        ! owner_of "$books" || [ "$began" = "$(started_at "$process")" ] || rm -rf "$books"
    done
}

is_under_way() { # ROOT JOB
    for books in "$1"/.??????????; do
        owner_of "$books" && [ "$owner" = "$2" ] && [ "$began" = "$(started_at "$process")" ] && return
    done
    return 1
}

owner_of() { # BOOKS
    { read -r owner process began <"$1/owner"; } 2>/dev/null
}

# Prints when a process began, in ticks since the machine started: with its number, a name that no other has. proc(5)
started_at() { # PROCESS
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return
    # shellcheck disable=SC2086 # its fields
    set -- ${stat##*) }
    echo "${20}"
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
    exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-
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
    "$@" <&3 4>&- &
    child=$!
    wait "$child"
}

size_of() { # FILE
    echo $(($(wc -c <"$1")))
}

# Seconds since the machine started: the clock of an instance may be set while this runs. proc(5)
now() {
    IFS=. read -r seconds _ </proc/uptime
    echo "$seconds"
}

# Makes TRY succeed. TRY ends with 0: done; 1: failed for now; 2: in vain; and says in WHY what was wrong. It is made
# again after pauses that double up to a minute (jittered: a fleet must not come back as one), until nothing has come
# of it for PATIENCE_SECONDS, or the time of this run is up.
insist() { # TRY
    begin_patience
    while :; do
        "$1"
        case $? in
            0) return 0 ;;
            1) ;;
            *) return 1 ;;
        esac
        again=$(($(now) + pause))
        if [ "$again" -ge $((since + PATIENCE_SECONDS)) ] || [ "$again" -ge "$DEADLINE" ]; then
            WHY="$WHY; given up after $(($(now) - since)) s of trying"
            return 1
        fi
        in_reach sleep $((pause - $$ % (pause / 2 + 1)))
        pause=$((pause * 2 < LONGEST_PAUSE ? pause * 2 : LONGEST_PAUSE))
    done
}

begin_patience() {
    since=$(now) pause=$PAUSE_SECONDS
}

# Prints how many seconds of this run's time are left, but no more than AT_MOST, and no fewer than 1.
time_left() { # AT_MOST
    seconds=$((DEADLINE - $(now)))
    seconds=$((seconds < $1 ? seconds : $1))
    echo $((seconds > 0 ? seconds : 1))
}

# Calls curl once, with a URL that is written nowhere, so that nobody reads it from a file or from the list of
# processes. Sets STATUS (empty: there was no answer) and CURL_EXIT. The oldest instances have curl 7.29; what it can
# try again by itself leaves out connections that break, so it is not asked to.
call() { # URL OPTION...
    url=$1
    shift
    : >"$BOOKS/head"
    printf 'url = "%s"\n' "$url" |
        curl -q --config - --silent --show-error --dump-header "$BOOKS/head" --connect-timeout 20 \
            --speed-limit 1024 --speed-time "$STALL_SECONDS" --max-time "$(time_left "$TRY_FOR_SECONDS")" \
            "$@" 2>"$BOOKS/curl" 4>&- &
    child=$!
    wait "$child"
    CURL_EXIT=$?
    STATUS=$(answered 'HTTP/*')
    STATUS=${STATUS%% *}
}

# Prints a field of the last answer's head, or its status. A connection through a proxy, or an answer in two steps,
# has several heads: the last one counts.
answered() { # PATTERN of the field's name
    tr -d '\r' <"$BOOKS/head" | {
        found=
        while IFS=': ' read -r field value; do
            # shellcheck disable=SC2254 # it is a pattern
            case $field in
                $1) found=$value ;;
                HTTP/*) found= ;;
            esac
        done
        printf '%s' "$found"
    }
}

# Takes the next letter, which says what this run may do for now, and puts something else in its place: its URL, which
# may stand in a command that others read, opens nothing from then on. One try; a letter is written nowhere here.
take_letter() {
    [ -n "$letter" ] || get_letter || return
    printf 'taken\n' >"$BOOKS/taken"
    : >"$BOOKS/answer"
    call "$take" --header 'Expect:' --header "Content-MD5: $TAKEN_MD5" \
        --upload-file "$BOOKS/taken" --output "$BOOKS/answer"
    [ "$CURL_EXIT:$STATUS" = 0:200 ] || weigh_mail || return
    rest=$letter letter='' answer='' expired='' letter_at=$(now)
    open_letter
}

# What the command knows is where the first letter is, and with it the vault.
open_mailbox() {
    next=$NEXT_URL take=$TAKE_URL vault=${NEXT_URL%/mailbox/*}/
    insist take_letter || fail "$TRANSFER_FAILED" "the letter with what this run may do could not be had: $WHY"
}

get_letter() {
    answer=$(
        call "$next"
        printf '\n%s %s' "$CURL_EXIT" "$STATUS"
    )
    CURL_EXIT=${answer##*"$NEWLINE"} answer=${answer%"$NEWLINE"*}
    STATUS=${CURL_EXIT#* } CURL_EXIT=${CURL_EXIT%% *}
    case $CURL_EXIT:$STATUS:$answer in
        0:200:"farshore-letter 1$NEWLINE"*"${NEWLINE}end$NEWLINE")
            stays_in_vault || return
            letter=$answer
            ;;
        0:200:taken*)
            WHY="somebody else has taken the letter that was meant for this run"
            return 2
            ;;
        *:404:*)
            WHY="${expired:+$expired; }no new letter has come"
            return 1
            ;;
        *)
            printf '%s' "$answer" >"$BOOKS/answer"
            weigh_mail
            ;;
    esac
}

# Whoever may write in the vault, but not read there, may have laid the letter in $answer: nothing is sent to another
# place, and nothing fetched from one.
stays_in_vault() {
    head=${answer#*"$NEWLINE"}
    while :; do
        line=${head%%"$NEWLINE"*} head=${head#*"$NEWLINE"}
        case $line in
            end | parts) return ;;
            "first "* | "last "*) continue ;;
        esac
        case ${line#* } in
            "$vault"*) ;;
            *)
                WHY="the letter that came names a place outside of the vault"
                return 2
                ;;
        esac
    done
}

# Where the address of a letter has expired, there is no other.
weigh_mail() {
    refused=$expired expired=
    weigh "$BOOKS/answer"
    set -- $?
    [ -z "$expired" ] || return 2
    expired=$refused
    return "$1"
}

# Reads lines until "end", or "parts", behind which more follows in $rest.
open_letter() {
    while :; do
        line=${rest%%"$NEWLINE"*} rest=${rest#*"$NEWLINE"}
        case $line in
            "next "*) next=${line#* } ;;
            "take "*) take=${line#* } ;;
            end | parts) break ;;
            *) read_line "$line" ;;
        esac
    done
}

# Between two requests: puts an old letter away for the next one. That there is none yet is no fault.
freshen() {
    [ $(($(now) - letter_at)) -lt "$LETTER_SECONDS" ] || take_letter || :
}

# Says in WHY what the last call failed of, and ends as a try does.
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
weigh() { # FILE: the answer's body
    case $STATUS in
        [345]??)
            body=$(dd bs=4096 count=1 2>/dev/null <"$1" | tr -d '\000')
            s3_code=$(element Code)
            WHY="S3 answered $STATUS $s3_code: $(element Message)"
            case $STATUS:$s3_code:$WHY in
                *:ExpiredToken:* | *:TokenRefreshRequired:* | *:AccessDenied:*": Request has expired"*)
                    expired=$WHY
                    return 1
                    ;;
            esac
            case $STATUS:$s3_code in
                5??:* | 408:* | 429:* | 400:RequestTimeout) return 1 ;;
                *) return 2 ;;
            esac
            ;;
    esac
    WHY=$(tail -n 1 "$BOOKS/curl")
    WHY=${WHY:-the answer was cut off}
    case $CURL_EXIT in
        2 | 3 | 4 | 23 | 26 | 27 | 60 | 77) return 2 ;; # the URL, a file, the memory, the certificates of this instance
        *) return 1 ;;
    esac
}

element() { # NAME: of the error in $body
    case $body in
        *"<$1>"*"</$1>"*) ;;
        *) return ;;
    esac
    text=${body#*"<$1>"}
    text=${text%%"</$1>"*}
    printf '%.300s' "$text" | tr '\n\r' '  '
}
