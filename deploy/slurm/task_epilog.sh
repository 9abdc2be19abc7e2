#!/bin/sh
# Slurm's TaskEpilog, after each task, as the job's own user: lets the agent of this step send its last window, before
# Slurm kills what is left of the step (proctrack/cgroup does).
set -eu
agent=/tmp/hostgauge-$SLURM_JOB_ID/agent
[ "${SLURM_LOCALID:-0}" = 0 ] || exit 0
[ "$(cat "$agent/step" 2>/dev/null)" = "${SLURM_STEP_ID:-batch}" ] || exit 0
pid=$(cat "$agent/pid")
kill -TERM "$pid" 2>/dev/null || true
waited=0
while kill -0 "$pid" 2>/dev/null && [ "$waited" -lt 250 ]; do
  sleep 0.1
  waited=$((waited + 1))
done
rm -rf "$agent"
