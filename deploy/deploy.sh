#!/usr/bin/env bash
# Deploys a stage: what its region needs once, a stack in each DR region, then the home stack. Each aws command is
# shown before it runs. A change set is shown and asked about (YES=1: not asked), and refused where it would
# replace or remove what holds data. ADOPT=1 takes over what an earlier deployment has left. DRY_RUN=1 shows the commands of a first deployment and runs none.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source-path=SCRIPTDIR source=stage.sh
. deploy/stage.sh

DATA_HOLDERS='AWS::(DynamoDB::(Global)?Table|S3::Bucket|KMS::Key)'
HOLDS_NO_DATA=AlarmKey # what it encrypts is mailed within seconds
# shellcheck disable=SC2016  # JMESPath, not the shell's
CHANGES='Changes[].ResourceChange.[Action, Replacement || `-`, ResourceType, LogicalResourceId]'

# Gets a stack ready to be changed: `get_ready STACK REGION STATUS`. One that never succeeded is deleted.
get_ready() {
  case $3 in
    *_IN_PROGRESS) [[ $3 == REVIEW_IN_PROGRESS ]] || die "the stack $1 is in $3: wait until that is over" ;;
    ROLLBACK_COMPLETE)
      say "$1 was never made: its first creation was rolled back; it is deleted and made again"
      run aws cloudformation delete-stack --stack-name "$1" --region "$2"
      run aws cloudformation wait stack-delete-complete --stack-name "$1" --region "$2"
      ;;
    UPDATE_ROLLBACK_FAILED)
      die "the stack $1 is in $3: mend what its events name, then run" \
        "aws cloudformation continue-update-rollback --stack-name $1 --region $2"
      ;;
    *_FAILED)
      die "the stack $1 is in $3: look at its events, save what it holds, then run" \
        "aws cloudformation delete-stack --stack-name $1 --region $2"
      ;;
  esac
}

# Makes or changes a stack through a change set: `change_stack STACK REGION STATUS ARGUMENTS...`.
change_stack() {
  local stack=$1 region=$2 status=$3 told change_set changes lost done=update
  shift 3
  set -- aws cloudformation deploy --stack-name "$stack" --region "$region" --capabilities CAPABILITY_IAM \
    --no-fail-on-empty-changeset --no-execute-changeset "$@"
  case $status in '' | NONE | REVIEW_IN_PROGRESS | ROLLBACK_COMPLETE) done=create ;; esac
  show "$@"
  if [[ "${DRY_RUN:-}" ]]; then
    change_set=CHANGE_SET
  else
    told=$("$@" 2>&1) || die "$told"
    change_set=$(grep -o 'arn:[^ ]*:changeSet/[^ ]*' <<<"$told" | head -n 1) || true
    if [[ ! $change_set ]]; then
      echo "$told" >&2
      return
    fi
  fi
  set -- --region "$region" --change-set-name "$change_set"
  changes=$(run aws cloudformation describe-change-set "$@" --query "$CHANGES" --output text)
  printf '%s\n' "$changes" | column -t >&2
  lost=$(awk -v holders="^$DATA_HOLDERS\$" -v none="$HOLDS_NO_DATA" \
    '$3 ~ holders && $4 != none && ($1 == "Remove" || $2 ~ /True|Conditional/)' <<<"$changes")
  if [[ $lost ]]; then
    run aws cloudformation delete-change-set "$@"
    die "this would replace or remove what holds data, and was not done:" "$lost"
  fi
  if ! agree "Carry out these changes of $stack?"; then
    run aws cloudformation delete-change-set "$@"
    die "nothing of $stack was changed"
  fi
  run aws cloudformation execute-change-set "$@"
  run aws cloudformation wait "stack-$done-complete" --stack-name "$stack" --region "$region" ||
    fail_with_events "$stack" "$region"
}

# Makes a stack of what an earlier one has left: `adopt STACK REGION TEMPLATE PARAMETER=VALUE...`. It sets STATUS then.
adopt() {
  local stack=$1 region=$2 template=$3 folder=build/package/$1-kept names each parameters=()
  shift 3
  names=$(awk -F '\t' -v stack="$stack" '$1 == "kept" && $2 == stack {print $3}' <<<"$PLAN")
  [[ $names ]] || return 0
  for each in "$@"; do parameters+=("ParameterKey=${each%%=*},ParameterValue=${each#*=}"); done
  # shellcheck disable=SC2086  # names of buckets and tables are words
  run "$PYTHON" -m deploy.kept "$template" "$folder" "$@" -- $names
  set -- --stack-name "$stack" --region "$region" --change-set-name adopt
  run aws cloudformation create-change-set "$@" --change-set-type IMPORT --parameters "${parameters[@]}" \
    --template-body "file://$folder/template.json" --resources-to-import "file://$folder/resources.json" >&2
  run aws cloudformation wait change-set-create-complete "$@"
  agree "Take ${names//$'\n'/, } into the stack $stack?" || die "nothing was taken over"
  run aws cloudformation execute-change-set "$@"
  run aws cloudformation wait stack-import-complete --stack-name "$stack" --region "$region"
  STATUS=IMPORT_COMPLETE
}

# Ends with what CloudFormation says of a failure.
fail_with_events() {
  run aws cloudformation describe-stack-events --stack-name "$1" --region "$2" --output text --query \
    "StackEvents[?contains(ResourceStatus, 'FAILED')].[LogicalResourceId, ResourceStatusReason]" >&2
  die "the stack $1 was not deployed: what was begun is undone; mend what these events name and deploy again"
}

# Makes what the region needs once, or finds it.
make_region() {
  local bucket=yes role=yes status
  status=$(status_of farshore-region "$REGION")
  set -- aws cloudformation deploy --stack-name farshore-region --region "$REGION" --template-file deploy/region.yaml \
    --capabilities CAPABILITY_IAM --no-fail-on-empty-changeset
  if [[ $status != [CU]*_COMPLETE ]]; then
    get_ready farshore-region "$REGION" "$status"
    if run aws s3api head-bucket --bucket "$ARTIFACTS" --region "$REGION" --expected-bucket-owner "$ACCOUNT" >/dev/null 2>&1; then
      bucket=no
    fi
    case $(run aws apigateway get-account --region "$REGION" --query cloudwatchRoleArn --output text) in
      arn:*) role=no ;;
    esac
    [[ ! "${DRY_RUN:-}" ]] || bucket=yes
    set -- "$@" --parameter-overrides "MakeBucket=$bucket" "MakeLogRole=$role"
  fi
  run "$@" >&2
}

# Prints the parameters of the home stack, one a line: those that are set.
parameters() {
  local name variable
  printf '%s\n' "Stage=$STAGE" "VaultBucketName=${VAULT_BUCKET}" "OtherVaultBucketArns=$OTHER_BUCKETS"
  while read -r name variable; do
    [[ ! ${!variable+set} ]] || printf '%s\n' "$name=${!variable}"
  done <<'LIST'
VaultKeyArn VAULT_KEY
SecretKeyArns SECRET_KEYS
CommandTag COMMAND_TAG
AlarmEmail ALARM_EMAIL
AlarmTopicArn ALARM_TOPIC
Grace GRACE
CopySlots COPY_SLOTS
RequestBuckets REQUEST_BUCKETS
JobWorkers JOB_WORKERS
ReserveConcurrency RESERVE_CONCURRENCY
LogLevel LOG_LEVEL
LIST
}

make_home() {
  local told line protection=on template=build/package/$STACK.yaml given=()
  STATUS=$(status_of "$STACK" "$REGION")
  get_ready "$STACK" "$REGION" "$STATUS"
  adopt "$STACK" "$REGION" build/package/sam.json "Stage=$STAGE" "VaultBucketName=$VAULT_BUCKET"
  case $STATUS in '' | NONE | REVIEW_IN_PROGRESS | ROLLBACK_COMPLETE) protection=off ;; esac
  while IFS= read -r line; do given+=("$line"); done < <(parameters)
  given+=("Vaults=${VAULTS:+$(cat "$VAULTS")}")
  told=$(run aws cloudformation package --region "$REGION" --template-file build/package/sam.json \
    --s3-bucket "$ARTIFACTS" --s3-prefix "$STACK" --output-template-file "$template" 2>&1) || die "$told"
  set -- --template-file "$template" --s3-bucket "$ARTIFACTS" --s3-prefix "$STACK"
  change_stack "$STACK" "$REGION" "$STATUS" "$@" \
    --parameter-overrides "${given[@]}" "CatalogProtection=$protection"
  if [[ $protection == off ]]; then
    # Not before: a failed creation could not have been rolled back.
    run aws cloudformation deploy --stack-name "$STACK" --region "$REGION" --capabilities CAPABILITY_IAM "$@" \
      --parameter-overrides CatalogProtection=on >&2
  fi
}

read_stage
if [[ ! ${ALARM_EMAIL+set} && ! ${ALARM_TOPIC:-} && ! "${YES:-}${DRY_RUN:-}" && -t 0 ]]; then
  read -r -p "Which address is told of alarms? (nothing: as before, at first nobody) " ALARM_EMAIL
  if [[ $ALARM_EMAIL ]]; then export ALARM_EMAIL; else unset ALARM_EMAIL; fi
fi

say "Preflight"
PLAN=$("$PYTHON" -m deploy.preflight ${DRY_RUN:+--offline}) || die "mend this first; nothing has been deployed"
ACCOUNT=$(awk -F '\t' '$1 == "account" {print $2}' <<<"$PLAN")
OTHER_BUCKETS=$(awk -F '\t' '$1 == "buckets" {print $2}' <<<"$PLAN")
ARTIFACTS=farshore-artifacts-$ACCOUNT-$REGION

say "The region $REGION: a bucket for artefacts, API Gateway's role for logs"
make_region

while IFS=$'\t' read -r kind vault region bucket key <&5; do
  [[ $kind == dr ]] || continue
  say "The DR region $region: the vault $vault"
  STATUS=$(status_of "$STACK-$vault" "$region")
  get_ready "$STACK-$vault" "$region" "$STATUS"
  set -- "BucketName=$bucket" "HomeRegion=$REGION" ${key:+"KeyArn=$key"}
  adopt "$STACK-$vault" "$region" .chalice/dr-region.yaml "$@"
  change_stack "$STACK-$vault" "$region" "$STATUS" --template-file .chalice/dr-region.yaml --parameter-overrides "$@"
done 5<<<"$PLAN"

say "The home region $REGION: the stage $STAGE"
make_home

say "Deployed"
run aws cloudformation describe-stacks --stack-name "$STACK" --region "$REGION" \
  --query 'Stacks[0].Outputs[].[OutputKey, OutputValue]' --output table
