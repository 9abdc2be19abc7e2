#!/bin/sh
# Slurm's TaskProlog: starts one agent for each job on each node, as the job's own user, and leaves it in the job's
# control group, so that `--scope container`, which is the job, is what it measures. Slurm ends it with the step.
#
#   TaskProlog=/etc/slurm/task_prolog.sh
#
# To measure a single step instead, put hostgauge in front of it: srun hostgauge run -- python train.py
set -eu
[ "${SLURM_LOCALID:-0}" = 0 ] || exit 0
command -v hostgauge >/dev/null || exit 0

# The epilog, which is root's, has to find it.
folder=/tmp/hostgauge-$SLURM_JOB_ID
mkdir -p "$folder"
# Whoever comes first of several steps of the job. What a prolog prints to its standard output, Slurm interprets.
if mkdir "$folder/agent" 2>/dev/null; then
  # In a session of its own, once it says something: Slurm kills what a prolog leaves in its process group.
  setsid hostgauge --scope container --prometheus-listen 127.0.0.1:0 --spool-dir "$folder/spool" >"$folder/log" 2>&1 &
  echo $! >"$folder/agent/pid"
  waited=0
  until [ -s "$folder/log" ] || [ "$waited" -ge 50 ]; do
    sleep 0.1
    waited=$((waited + 1))
  done
fi
