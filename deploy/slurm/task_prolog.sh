#!/bin/sh
# Slurm's TaskProlog: starts one agent for each job on each node, as the job's own user. It measures the job's control
# group, with all its steps and tasks, where Slurm makes one that counts (task/cgroup with jobacct_gather/cgroup).
#
#   TaskProlog=/etc/slurm/task_prolog.sh
#   TaskEpilog=/etc/slurm/task_epilog.sh
#   Epilog=/etc/slurm/epilog.sh
#
# Slurm ends the agent with the step that started it; the next step starts another. Without these scripts, put
# hostgauge in front of the program: srun hostgauge run -- python train.py
set -eu
[ "${SLURM_LOCALID:-0}" = 0 ] || exit 0
command -v hostgauge >/dev/null || exit 0

# The epilog, which is root's, has to find it.
folder=/tmp/hostgauge-$SLURM_JOB_ID
mkdir -p "$folder"
# One that was killed with its step is in nobody's way.
if [ -s "$folder/agent/pid" ] && ! kill -0 "$(cat "$folder/agent/pid")" 2>/dev/null; then
  rm -rf "$folder/agent"
fi
# Whoever comes first of several steps of the job. What a prolog prints to its standard output, Slurm interprets.
if mkdir "$folder/agent" 2>/dev/null; then
  # Ours are the groups of step and task below it.
  job=$(grep -e cpuacct -e '::' /proc/self/cgroup |
    sed -n 's|^[^/]*\(/.*slurm.*/job_[0-9][0-9]*\)/.*|cgroup:\1|p' | head -n 1)
  # In a session of its own, once it says something: Slurm kills what a prolog leaves in its process group.
  setsid hostgauge --scope "${job:-container}" --prometheus-listen 127.0.0.1:0 --spool-dir "$folder/spool" \
    >"$folder/log" 2>&1 &
  echo $! >"$folder/agent/pid"
  echo "${SLURM_STEP_ID:-batch}" >"$folder/agent/step"
  waited=0
  until [ -s "$folder/log" ] || [ "$waited" -ge 50 ]; do
    sleep 0.1
    waited=$((waited + 1))
  done
fi
