#!/bin/sh
# Slurm's Epilog, on each node at a job's end: clears up, and ends an agent that its step's end did not reach.
set -eu
folder=/tmp/hostgauge-$SLURM_JOB_ID
# What stands in the folder is the user's word: it ends the user's processes, not root's.
if [ -f "$folder/agent/pid" ]; then
  # shellcheck disable=SC2016 # the inner shell expands them
  setpriv --reuid "$SLURM_JOB_UID" --clear-groups sh -c '
    pid=$(cat "$1") && kill -TERM "$pid" || exit 0
    waited=0
    while kill -0 "$pid" && [ "$waited" -lt 25 ]; do
      sleep 1
      waited=$((waited + 1))
    done
  ' epilog "$folder/agent/pid" 2>/dev/null || true
fi
rm -rf "$folder"
