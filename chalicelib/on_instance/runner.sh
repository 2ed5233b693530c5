#!/bin/sh
# shellcheck shell=sh
# What backup.sh, restore.sh and scripts.sh need: it is put before them, behind the assignments of __init__.py.
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
TOOL_MISSING=14
NOT_STARTED=15
NO_ROOM=16
RAN_BEFORE=75
LONGEST_PAUSE=60
# Of a script that still runs when its time is nearly up. SSM returns 8,000 characters, the first ones.
EARLY_WORDS_BYTES=1500

NEWLINE='
'
CR=$(printf '\r')

# A name that the agent exports would be exported with our value.
unset WORK BOOKS answer letter rest line next take url vault head
WORK='' BOOKS='' letter='' expired='' alarm=''
# What a run fails as whose transfer fails: the network, unless it was this instance's disk.
FAILED=$TRANSFER_FAILED

# Not a trap on EXIT: bash runs one in a child, too, that is killed before it has begun.
finish() { # CODE
    stop_alarm
    [ -z "$BOOKS" ] || rm -rf "$BOOKS" "${WORK:?}"/*
    exit "$1"
}

fail() { # CODE TEXT
    printf 'farshore: %s\n' "$2" >&2
    finish "$1"
}

# Says what an operator should know of a run, whether it ends well or not.
note() { # TEXT
    printf 'farshore: note: %s\n' "$1" >&2
}

# The shell remembers where each tool is, whatever a script puts on the PATH later.
need_tools() { # NAME...
    for tool in "$@"; do
        hash "$tool" 2>/dev/null || fail $TOOL_MISSING "this instance has no $tool on the PATH ($PATH)"
    done
}

# Makes the job's folder, WORK, and BOOKS. That mkdir succeeds only once is what makes the job run only once.
run_once() {
    root=${TMPDIR:-/var/tmp}/farshore
    why=$(umask 077 && mkdir -p "$root" 2>&1)
    [ -e "$root" ] || [ -L "$root" ] || no_room "$why"
    # Anyone may write in /var/tmp: a folder or link that another user laid there must not be ours.
    [ -n "$(find "$root" -prune -type d -user "$(id -u)" 2>/dev/null)" ] ||
        fail $NO_ROOM "$root is a link, or belongs to somebody else; remove it"
    if ! why=$(umask 077 && mkdir "$root/$JOB" 2>&1); then
        [ -d "$root/$JOB" ] || no_room "$why"
        fail $RAN_BEFORE "job $JOB has run on this instance before"
    fi
    purge "$root"
    BOOKS=$(mktemp -d "$root/.XXXXXXXXXX" 2>/dev/null) || no_room
    WORK=$root/$JOB started='' child=''
    exec 3</dev/null
    if ! { echo "$JOB $$ $(started_at $$)" >"$BOOKS/owner"; } 2>/dev/null || ! start_guard; then
        no_room
    fi
    DEADLINE=$(($(now) + TRY_FOR_SECONDS))
    trap 'stop HUP' HUP
    trap 'stop INT' INT
    trap 'stop TERM' TERM
}

# Fails because the run's own files cannot be written.
no_room() { # WHY
    fail $NO_ROOM "cannot write to $root: ${1:-$(why_not_written)}$(free_room)"
}

# Prints what the system says to one who writes where the run's files lie, if it refuses.
why_not_written() {
    probe=$({ dd if=/dev/zero bs=65536 count=1 >"${BOOKS:-$root}/probe"; } 2>&1) && probe=
    rm -f "${BOOKS:-$root}/probe"
    case $probe in
        '') ;;
        *"No space left on device"*) echo "No space left on device" ;;
        *"uota exceeded"*) echo "Disk quota exceeded" ;;
        *"Read-only file system"*) echo "Read-only file system" ;;
        *) echo "the disk refuses it" ;;
    esac
}

# Prints how much is free where the run's files lie, if this instance can tell.
free_room() {
    hash df 2>/dev/null || return 0
    # shellcheck disable=SC2046 # its fields
    set -- $(df -Pk "$root" 2>/dev/null | tail -n 1)
    [ $# -lt 4 ] || echo "; $4 KiB are free at $root"
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
    # shellcheck disable=SC2086 # lists of process ids; $! is one that was begun and may not be in them yet
    kill $started $child $! 2>/dev/null
    fail 143 "stopped by SIG$1"
}

# Makes a user's script ready to be started, or says why it cannot be: a path on this instance, or else a text, which may
# name its interpreter as a file would. The text is handed to the interpreter, not executed, because the folder may be
# mounted noexec.
prepare() { # NAME PATH TEXT
    name=$1 file=$2 inline='' strict='' interpreter=sh option=
    if [ -z "$file" ]; then
        file=$WORK/$name inline=yes
        { printf '%s\n' "$3" >"$file"; } 2>/dev/null || no_room
    else
        check_file
    fi
    top=$(dd bs=65536 count=1 2>/dev/null <"$file" | tr '\000' '\001')
    first=${top%%"$NEWLINE"*}
    case $first in
        *"$CR") refuse_cr ;;
        '#!'*)
            read -r interpreter option <<LINE
${first#??}
LINE
            check_interpreter
            ;;
    esac
    is_shell || return 0
    case $top in
        *"$(printf '\001')"*) ;; # a program, or a script with an archive behind it
        *"$CR$NEWLINE"* | *"$CR") refuse_cr ;;
    esac
    [ -z "$inline" ] || be_strict
}

refuse() { # WHY
    fail $NOT_STARTED "$name script${2:+ $2}: $1"
}

refuse_cr() {
    refuse "its lines end in CR LF, as on Windows, and every CR would be taken for a part of the line; convert it: sed -i 's/\\r\$//' $file" "$file"
}

check_file() {
    case $file in
        ./*) where=" in $PWD, where the script runs (working_directory)" ;;
        *) where= ;;
    esac
    if [ -d "$file" ]; then
        refuse "it is a folder, not a script" "$file"
    elif [ ! -e "$file" ]; then
        refuse "there is no such file on this instance$where; put it there, or write the script's text in the plan" "$file"
    elif [ ! -x "$file" ]; then
        refuse "it is not executable; chmod +x $file (and its file system must not be mounted noexec)" "$file"
    fi
}

# Sees to it that the interpreter of a script's first line is there; env looks for one on the PATH.
check_interpreter() {
    case $interpreter in
        */*) [ -f "$interpreter" ] && [ -x "$interpreter" ] ;;
        *) command -v "$interpreter" >/dev/null ;;
    esac || refuse "its first line names $interpreter, which this instance does not have; install it or change that line" "$file"
    [ "${interpreter##*/}" = env ] || return 0
    for word in $option; do
        case $word in
            -* | *=*) continue ;;
        esac
        command -v "$word" >/dev/null ||
            refuse "its first line asks env for $word, which is not on the PATH ($PATH); install it or name its path" "$file"
        return 0
    done
}

# Tells whether the interpreter is a shell, also one behind env or busybox.
is_shell() {
    case " ${interpreter##*/} $option " in
        *" sh "* | *" ash "* | *" bash "* | *" dash "* | *" ksh "* | *" mksh "* | *" zsh "*) ;;
        *) return 1 ;;
    esac
}

# Lets a pipe fail when any command in it does, where the shell can.
be_strict() {
    if "$interpreter" ${option:+"$option"} -o pipefail -c : >/dev/null 2>&1 </dev/null; then
        strict=yes
        return
    fi
    case $top in
        *[!\|]\|[!\|]*) note "$interpreter${option:+ $option} on this instance has no pipefail: a command of the $name script that \
fails before a | is not noticed; begin the script with #!/bin/bash, if there is one" ;;
    esac
}

# Becomes the script that is prepared.
become() { # ARGUMENT...
    exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-
    [ -n "$inline" ] || exec "$file" "$@"
    # shellcheck disable=SC2086 # two words or none
    exec "$interpreter" ${option:+"$option"} ${strict:+-o pipefail} "$file" "$@"
}

# Says how a script ended, and what that may mean.
ended_as() { # CODE
    said=$(tail -c 4096 "$BOOKS/words")$(why_not_written)
    case $1 in
        126) means="a command in it cannot be executed" ;;
        127) means="a command in it was not found; the PATH is $PATH" ;;
        137) means="it was killed by SIGKILL; did the instance run out of memory?" ;;
        12[89] | 1[3-5]? | 16[0-4]) means="it was killed by SIG$(kill -l "$1" 2>/dev/null)" ;;
        *) means= ;;
    esac
    case $said in
        *"No space left on device"*) means="${means:+$means; }a disk of this instance is full$(free_room)" ;;
    esac
    printf '%s exited %s%s' "$name script" "$1" "${means:+: $means}"
}

# Says a script's words so far when the time of this run is nearly up: SSM kills all of it then.
start_alarm() {
    (
        exec 3<&- 4>&- 5<&- 6<&- 7>&- 8>&- 9>&-
        sleeper=
        trap '[ -z "$sleeper" ] || kill "$sleeper"; exit' TERM
        while [ -e /proc/$$/exe ] && [ "$(now)" -lt "$DEADLINE" ]; do
            sleep "$(time_left "$TICK_SECONDS")" >/dev/null 2>&1 &
            sleeper=$!
            wait $!
        done
        [ -e /proc/$$/exe ] || exit
        echo "farshore: the time of this run is nearly up, and the $name script still runs" >&2
        tail -c $EARLY_WORDS_BYTES "$BOOKS/words" >&2
    ) &
    alarm=$!
}

stop_alarm() {
    [ -z "$alarm" ] || kill "$alarm" 2>/dev/null
    alarm=
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
    true >"$BOOKS/head"
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
    true >"$BOOKS/answer"
    call "$take" --header 'Expect:' --header "Content-MD5: $TAKEN_MD5" \
        --upload-file "$BOOKS/taken" --output "$BOOKS/answer"
    [ "$CURL_EXIT:$STATUS" = 0:200 ] || weigh_mail || return
    rest=$letter letter='' answer='' expired='' letter_at=$(now)
    open_letter
}

# What the command knows is where the first letter is, and with it the vault.
open_mailbox() {
    next=$NEXT_URL take=$TAKE_URL vault=${NEXT_URL%/mailbox/*}/
    insist take_letter || fail "$FAILED" "the letter with what this run may do could not be had: $WHY"
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
        23)
            FAILED=$NO_ROOM WHY="cannot write to $root: $(why_not_written)$(free_room)"
            return 2
            ;;
        2 | 3 | 4 | 26 | 27 | 60 | 77) return 2 ;; # the URL, a file, the memory, the certificates of this instance
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
