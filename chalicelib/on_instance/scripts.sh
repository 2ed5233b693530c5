#!/bin/sh
# shellcheck shell=sh
# Runs a user's script, then asks the user's verify script if there is one; nothing is transferred. It mounts volumes that
# are attached to this instance, or does whatever else a launch asks for. Runs behind runner.sh and restoring.sh.

# shellcheck disable=SC2086 # a list of names
need_tools $TOOLS
run_once
prepare "$NAME" "$RESTORE_PATH" "$RESTORE_TEXT"
run_scripts /dev/null
report "volumes ${VOLUMES:-none}"
