#!/usr/bin/env bash
# Deletes the stacks of a stage. The buckets of its vaults and its table are kept, unless one says so twice:
# DATA=delete CONFIRM=STAGE. Each aws command is shown before it runs; DRY_RUN=1 runs none.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source-path=SCRIPTDIR source=stage.sh
. deploy/stage.sh

# shellcheck disable=SC2016  # JMESPath, not the shell's
VERSIONS='{Objects: [Versions, DeleteMarkers][].{Key: Key, VersionId: VersionId}, Quiet: `true`}'

# Deletes a stack, if it is there and has made the bucket that the settings name: `delete_stack STACK REGION BUCKET`.
delete_stack() {
  local made status
  status=$(status_of "$1" "$2")
  [[ $status != NONE ]] || return 0
  made=$(run aws cloudformation describe-stack-resources --stack-name "$1" --region "$2" --output text \
    --query "StackResources[?LogicalResourceId=='VaultBucket'].PhysicalResourceId")
  [[ ! $made || $made == "$3" ]] || die "the bucket of the stack $1 is $made, not $3: nothing was deleted"
  run aws cloudformation delete-stack --stack-name "$1" --region "$2"
  run aws cloudformation wait stack-delete-complete --stack-name "$1" --region "$2" ||
    die "the stack $1 could not be deleted; its events say why"
}

# Deletes a bucket with all versions of its objects: `delete_bucket BUCKET REGION`.
delete_bucket() {
  local versions=build/versions.json
  # A bucket that this account does not have is not touched.
  run aws s3api head-bucket --bucket "$1" --region "$2" --expected-bucket-owner "$ACCOUNT" >/dev/null 2>&1 || return 0
  while
    run aws s3api list-object-versions --bucket "$1" --region "$2" --max-items 500 --output json \
      --query "$VERSIONS" >$versions
    [[ "${DRY_RUN:-}" ]] || grep -q '"VersionId"' $versions
  do
    run aws s3api delete-objects --bucket "$1" --region "$2" --delete "file://$versions" >&2
    [[ ! "${DRY_RUN:-}" ]] || break
  done
  run aws s3api delete-bucket --bucket "$1" --region "$2"
}

delete_table() {
  run aws dynamodb describe-table --table-name "farshore-$STAGE" --region "$REGION" >/dev/null 2>&1 || return 0
  run aws dynamodb update-table --table-name "farshore-$STAGE" --region "$REGION" --no-deletion-protection-enabled >/dev/null
  run aws dynamodb wait table-exists --table-name "farshore-$STAGE" --region "$REGION"
  run aws dynamodb delete-table --table-name "farshore-$STAGE" --region "$REGION" >/dev/null
}

read_stage
PLAN=$("$PYTHON" -m deploy.preflight --offline) || die "mend this first: the settings say what belongs to the stage"
DR=$(awk -F '\t' '$1 == "dr" {print $2, $3, $4}' <<<"$PLAN")
BUCKETS="$VAULT_BUCKET $REGION"
[[ ! $DR ]] || BUCKETS+=$'\n'$(awk '{print $3, $2}' <<<"$DR")

if [[ "${DATA:-keep}" == delete ]]; then
  [[ "${CONFIRM:-}" == "$STAGE" ]] || die "DATA=delete destroys every backup in these buckets, and the table farshore-$STAGE:" \
    "$BUCKETS" "say it again: CONFIRM=$STAGE"
elif [[ "${DATA:-keep}" != keep ]]; then
  die "DATA=$DATA is neither keep nor delete"
fi
agree "Delete the stage $STAGE in $REGION (data: ${DATA:-keep})?" || die "nothing was deleted"

# The home stack first: without its functions nothing is written any more.
say "The stacks"
delete_stack "$STACK" "$REGION" "$VAULT_BUCKET"
while read -r vault region bucket <&5; do
  [[ ! $vault ]] || delete_stack "$STACK-$vault" "$region" "$bucket"
done 5<<<"$DR"

if [[ "${DATA:-keep}" == delete ]]; then
  say "The data"
  ACCOUNT=ACCOUNT
  [[ "${DRY_RUN:-}" ]] || ACCOUNT=$(aws sts get-caller-identity --region "$REGION" --query Account --output text)
  delete_table
  while read -r bucket region <&5; do delete_bucket "$bucket" "$region"; done 5<<<"$BUCKETS"
else
  say "Kept: the table farshore-$STAGE in $REGION, and these buckets"
  sed 's/^/  /; s/ / in /3' <<<"$BUCKETS" >&2
  echo "  docs/deploy.md says how to take them over into a new stage, and how to delete them." >&2
fi
say "EBS snapshots and the files of vaults in other clouds are never deleted here: docs/deploy.md says how to find them"
