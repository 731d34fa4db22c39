#!/usr/bin/env bash
# The main job, shown step by step on the sample workspace, in a temporary directory that is removed
# at the end (KEEP=1 keeps it). Run it by `make demo`, or with BAILIFF_BINARY set.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
bailiff=${BAILIFF_BINARY:-$here/../build/bailiff}
[ -x "$bailiff" ] || { echo "demo: $bailiff is not there; run 'make build' first" >&2; exit 1; }

place=$(mktemp -d /tmp/bailiff-demo.XXXXXX)
if [ -z "${KEEP:-}" ]; then trap 'rm -rf "$place"' EXIT; fi
chmod 755 "$place"
workspace=$place/workspace
case_name=Wilson-MVA-2024

bold=''; plain=''
if [ -t 1 ]; then bold=$(tput bold 2>/dev/null || true); plain=$(tput sgr0 2>/dev/null || true); fi

step() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }

# Shows a command as one would type it, and runs it.
show() {
  printf '%s$ bailiff' "$bold"
  printf ' %q' "$@"
  printf '%s\n' "$plain"
  "$bailiff" "$@"
}

# A run that must end with the given exit status.
expect() {
  local want=$1 got=0
  shift
  show "$@" || got=$?
  if [ "$got" != "$want" ]; then
    echo "demo: expected exit status $want, got $got" >&2
    exit 1
  fi
}

# The id of the newest execution.
newest() {
  "$bailiff" list --limit 1 --json |
    /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["executions"][0]["execution_id"])'
}

state_of() {
  "$bailiff" show "$1" --json |
    /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["changes"]["state"])'
}

must_be() {
  local state
  state=$(state_of "$1")
  if [ "$state" != "$2" ]; then
    echo "demo: the changes of $1 are $state, expected $2" >&2
    exit 1
  fi
}

digest_of_tree() {
  (cd "$workspace" && find projects -printf '%y %m %p %l\n' | sort &&
    find projects -type f -print0 | sort -z | xargs -0 sha256sum) | sha256sum
}

step "A workspace: the untidy files of a law firm"
/usr/bin/python3 "$here/make_workspace.py" "$workspace"
show init "$workspace" --state "$place/state"
cd "$workspace"
find "projects/$case_name" -type f | sed "s|projects/||" | sort | head -12
echo "... $(find "projects/$case_name" -type f | wc -l) files in all"

step "1. A script that only writes a report: committed at once"
expect 0 run --case "$case_name" Tools/create_file_inventory.py
must_be "$(newest)" committed
ls -l Reports

step "2. A script that reorganizes the case: somebody has to look first"
before=$(digest_of_tree)
expect 0 run --case "$case_name" --mode review Tools/organize_case.py
organize=$(newest)
must_be "$organize" held
[ "$(digest_of_tree)" = "$before" ] || { echo "demo: the case changed before approval" >&2; exit 1; }
echo "(the case itself is as it was)"
show diff "$organize" | head -40 || true
echo "..."
expect 0 approve "$organize"
must_be "$organize" committed
ls "projects/$case_name"

step "3. A script that deletes too much: held by policy, rejected"
expect 0 run --case "$case_name" Tools/clean_up.py
clean=$(newest)
must_be "$clean" held
expect 0 reject "$clean" --reason "these are evidence"
must_be "$clean" rejected

step "4. A script that misbehaves: each attempt is refused"
expect 3 run --case "$case_name" --scratch 64m Tools/misbehave.py all
must_be "$(newest)" discarded

step "5. The reorganization was a mistake after all: undone"
show history "projects/$case_name/Medical Records" --limit 3 || true
expect 0 rollback "$organize"
must_be "$organize" rolled_back
[ "$(digest_of_tree)" = "$before" ] || { echo "demo: rollback did not restore the case" >&2; exit 1; }
echo "(every file of the case is byte for byte where it was)"

step "6. The history of one file, through its moves"
moved=$("$bailiff" changes "$organize" --json | /usr/bin/python3 -c '
import json, sys
print(next(c["from"] for c in json.load(sys.stdin)["changes"] if c["op"] == "move" and c["type"] == "file"))')
show history "$moved"

step "7. The ledger: everything above, in a chain that shows tampering"
show audit show | cut -c1-100 | tail -8 || true
show audit verify
segment=$(ls "$place"/state/ledger/*.jsonl | head -1)
cp -r "$place/state/ledger" "$place/forged"
sed -i '2s/"principal":"[^"]*"/"principal":"local:9"/' "$place/forged/$(basename "$segment")"
echo "(and a copy of it in which one name was changed:)"
expect 1 audit verify --ledger "$place/forged" --key "$place/state/ledger/key.pub"

printf '\n%sDone.%s Everything was in %s.\n' "$bold" "$plain" "$place"
