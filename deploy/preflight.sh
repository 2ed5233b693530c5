#!/usr/bin/env bash
# Checks what the deployment of a stage relies on; makes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source-path=SCRIPTDIR source=stage.sh
. deploy/stage.sh

read_stage
"$PYTHON" -m deploy.preflight >/dev/null
echo "the stage $STAGE can be deployed" >&2
