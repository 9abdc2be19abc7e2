#!/bin/sh
# Slurm's Epilog, on each node at a job's end: lets the agent send its last window, and clears up.
#
#   Epilog=/etc/slurm/epilog.sh
set -eu
folder=/tmp/hostgauge-$SLURM_JOB_ID
[ -f "$folder/agent/pid" ] || exit 0
pid=$(cat "$folder/agent/pid")
kill -TERM "$pid" 2>/dev/null || true
waited=0
while kill -0 "$pid" 2>/dev/null && [ "$waited" -lt 25 ]; do
  sleep 1
  waited=$((waited + 1))
done
rm -rf "$folder"
