# shellcheck shell=bash
# What deploy.sh and destroy.sh share: the settings of a stage, commands that are shown before they run, stacks.
# They run with bash 3.2 and later, from the checkout's own folder.

VARIABLES=" REGION VAULT_BUCKET VAULTS VAULT_KEY SECRET_KEYS COMMAND_TAG ALARM_EMAIL ALARM_TOPIC GRACE COPY_SLOTS \
REQUEST_BUCKETS JOB_WORKERS RESERVE_CONCURRENCY LOG_LEVEL STACK "
PYTHON=${PYTHON:-.venv/bin/python}
exec 3>&2                  # where commands are shown, whatever becomes of their own output
PATH="$PATH:$PWD/.venv/bin" # for the AWS command line, where none is installed

say() { printf '\n== %s\n' "$*" >&2; }
die() {
  printf 'stop  %s\n' "$@" >&2
  exit 1
}

# Reads deploy/STAGE.env, without taking it for code. What the environment has takes precedence.
read_stage() {
  local file name value
  [[ "${STAGE:-}" ]] || die "STAGE is missing: name the stage, as in STAGE=prod"
  file=deploy/$STAGE.env
  if [[ -f $file ]]; then
    while IFS='=' read -r name value || [[ $name ]]; do
      case $name in '' | '#'*) continue ;; esac
      [[ $VARIABLES == *" $name "* ]] || die "$file: $name is none of the settings" "they are:$VARIABLES"
      [[ ${!name+set} ]] || export "$name=$value"
    done <"$file"
  fi
  if [[ ! ${VAULTS+set} && -f deploy/$STAGE.vaults.json ]]; then
    export VAULTS=deploy/$STAGE.vaults.json
  fi
  [[ "${REGION:-}" ]] || die "REGION is missing: set it in $file or on the command line, as in REGION=eu-central-1"
  export STAGE REGION STACK="${STACK:-farshore-$STAGE}"
  command -v aws >/dev/null || die "the AWS command line is missing: run 'make setup', or install it"
}

# Prints a command as one can paste it; a vaults document as what reads it.
show() {
  local word line='' quoted
  for word in "$@"; do
    quoted="'${word//\'/\'\\\'\'}'"
    case $word in
      Vaults=?*) quoted="\"Vaults=\$(cat $VAULTS)\"" ;;
      *[\"\$\`\\]*) ;;
      *\'*) quoted="\"$word\"" ;;
      *[!A-Za-z0-9_./:,=@%+-]* | '') ;;
      *) quoted=$word ;;
    esac
    line="$line $quoted"
  done
  printf '  $%s\n' "$line" >&3
}

# Shows a command and runs it; with DRY_RUN=1 it is only shown.
run() {
  show "$@"
  [[ "${DRY_RUN:-}" ]] || "$@"
}

# Asks whether to go on.
agree() {
  local answer
  [[ ! "${YES:-}${DRY_RUN:-}" ]] || return 0
  [[ -t 0 ]] || die "$1 Nobody can be asked here: set YES=1"
  read -r -p "$1 [y/N] " answer
  [[ $answer == [yY]* ]]
}

# Prints the status of a stack: `status_of STACK REGION`; NONE where there is none.
status_of() {
  local status
  set -- aws cloudformation describe-stacks --stack-name "$1" --region "$2" \
    --query 'Stacks[0].StackStatus' --output text
  show "$@"
  [[ ! "${DRY_RUN:-}" ]] || return 0
  status=$("$@" 2>&1) || true
  case $status in
    *'does not exist'* | DELETE_COMPLETE) echo NONE ;;
    *[!A-Z_]* | '') die "${status:-CloudFormation did not answer}" ;;
    *) echo "$status" ;;
  esac
}
