#!/bin/sh
# Opens one recovery point of this vault without AWS and without Farshore.
#
#   restore.sh FOLDER OUTPUT
#
# FOLDER holds the recovery point's manifest.json: a folder of files, or an http(s) URL (with ?query, if the store
# wants one: it is put behind the name of each file). OUTPUT is the file to write; it must not exist yet.
#
# It needs a POSIX shell, sha256sum, and curl for a URL. Every object is compared with its hash in the manifest
# before a byte of it is used, and the whole at the end, or each part of it where the manifest has no hash of the
# whole: OUTPUT is there only if it is what was backed up.
# manifest.json has one key, or one entry of a list, to a line; this reads it by that form and no other.

set -u

say() {
    printf 'restore.sh: %s\n' "$*" >&2
}

fail() { # TEXT
    say "$1"
    rm -f "$manifest" "$list" "$piece" "$partial"
    exit 1
}

# Fetches a file of FOLDER, named relative to it.
fetch() { # NAME DESTINATION
    true 2>/dev/null >"$2" || unwritten "$2"
    case $folder in
        http://* | https://*)
            printf 'url = "%s/%s%s"\n' "${folder%/}" "$1" "$query" |
                curl -q --config - --silent --show-error --fail --location --retry 3 --output "$2"
            case $? in
                0) ;;
                23) unwritten "$2" ;; # https://curl.se/libcurl/c/libcurl-errors.html
                *) unread "$1" ;;
            esac
            ;;
        *)
            cat "${folder%/}/$1" >"$2" && return
            cat "${folder%/}/$1" >/dev/null 2>&1 || unread "$1"
            unwritten "$2"
            ;;
    esac
}

unread() { # NAME
    fail "$1 of $folder cannot be read, so nothing was restored; is FOLDER right, and the vault within reach? Another \
vault that has this recovery point serves as well"
}

unwritten() { # FILE
    free=$(df -Pk "${1%/*}" 2>/dev/null | sed -n '2s/^.* \([0-9][0-9]*\)  *[0-9][0-9]*% .*$/, \1 KiB are free there/p')
    fail "$1 cannot be written$free; ${size_bytes:+the backup has $size_bytes bytes, and }a segment of it is kept beside \
OUTPUT for a while: free some room, or name an OUTPUT on a larger disk"
}

# Compares a file with what the manifest says of it.
check() { # NAME FILE SIZE SHA256
    size=$(($(wc -c <"$2")))
    [ "$size" -eq "$3" ] || fail "$1 is corrupt: it should have $3 bytes and has $size"
    actual=$(sha256sum <"$2")
    actual=${actual%% *}
    [ "$actual" = "$4" ] || fail "$1 is corrupt: its SHA-256 should be $4 and is $actual"
}

# Reads one of the manifest's own keys: a number, null, or a string without quotes in it.
field() { # KEY
    sed -n "s/^  \"$1\": \"\{0,1\}\([^\"]*[^\",]\)\"\{0,1\},\{0,1\}\$/\1/p" "$manifest"
}

# Lists the segments: name, size, SHA-256.
segments() {
    sed -n 's/^    {"key": "\([^"]*\)", "size_bytes": \([0-9]*\), "sha256": "\([0-9a-f]*\)"},\{0,1\}$/\1 \2 \3/p' \
        "$manifest"
}

# Lists the parts: size, SHA-256.
parts() {
    sed -n 's/^    {"size_bytes": \([0-9]*\), "sha256": "\([0-9a-f]*\)"},\{0,1\}$/\1 \2/p' "$manifest"
}

read_manifest() {
    fetch manifest.json "$manifest"
    version=$(field format_version)
    [ "$version" = 1 ] || fail "manifest.json has format version ${version:-none}, and this script opens 1"
    kind=$(field kind)
    [ "$kind" = service ] || fail "this recovery point is a ${kind:-thing of no kind}, it has no file to restore"
    encryption=$(field encryption)
    [ "$encryption" = null ] || fail "this recovery point is encrypted (${encryption:-see its manifest}), and this \
script opens only what is not"
    size_bytes=$(field size_bytes)
    sha256=$(field sha256)
    parts >"$list" || unwritten "$list"
    if [ -z "$size_bytes" ]; then
        sha256=
    elif [ "$sha256" = null ] && [ -s "$list" ]; then
        sha256=parts
    fi
    [ ${#sha256} -eq 64 ] || [ "$sha256" = parts ] || fail "manifest.json does not say what the whole should be"
}

# All parts but the last are whole MiB.
check_parts() {
    left=$size_bytes
    while read -r size_of_part sha256_of_part; do
        actual=$(dd bs=1048576 count=$(((size_of_part + 1048575) / 1048576)) 2>"$piece" <&3 | sha256sum)
        [ "${actual%% *}" = "$sha256_of_part" ] ||
            fail "the whole is corrupt: the SHA-256 of a part should be $sha256_of_part and is ${actual%% *}"
        left=$((left - size_of_part))
    done
    [ "$left" -eq 0 ] || fail "manifest.json does not say what the whole should be: its parts leave out $left bytes"
}

join_segments() {
    while read -r name size_of_segment sha256_of_segment; do
        case $name in
            /* | *..*) fail "manifest.json names a segment outside of its folder: $name" ;;
        esac
        fetch "$name" "$piece"
        check "$name" "$piece" "$size_of_segment" "$sha256_of_segment"
        cat "$piece" >>"$partial" || unwritten "$partial"
    done
}

if [ $# -ne 2 ]; then
    say "usage: restore.sh FOLDER_OF_THE_MANIFEST OUTPUT"
    exit 2
fi
folder=${1%%\?*} output=$2 query='' size_bytes=''
case $output in */*) ;; *) output=./$output ;; esac
case $1 in http://*\?* | https://*\?*) query="?${1#*\?}" ;; *) folder=$1 ;; esac
manifest=$output.manifest list=$output.segments piece=$output.piece partial=$output.partial
if [ -e "$output" ]; then
    say "$output exists already"
    exit 1
fi
trap 'fail "stopped"' HUP INT TERM

read_manifest
true 2>/dev/null >"$partial" || unwritten "$partial"
if grep -q '^  "segments": \[\],\{0,1\}$' "$manifest"; then
    fetch data "$partial"
else
    segments >"$list" || unwritten "$list"
    join_segments <"$list"
fi
if [ "$sha256" != parts ]; then
    check "the whole" "$partial" "$size_bytes" "$sha256"
else
    size=$(($(wc -c <"$partial")))
    [ "$size" -eq "$size_bytes" ] || fail "the whole is corrupt: it should have $size_bytes bytes and has $size"
    parts >"$list" || unwritten "$list"
    check_parts <"$list" 3<"$partial"
fi
mv "$partial" "$output" || unwritten "$output"
rm -f "$manifest" "$list" "$piece"
hash="SHA-256 $sha256"
[ "$sha256" != parts ] || hash="the SHA-256 of its parts"
say "$output: $size_bytes bytes, $hash, as backed up"
