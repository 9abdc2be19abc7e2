"""Stands for `torchrun --no-python --nnodes 3 --nproc-per-node 2 PROGRAM` on the third node, with a run id.

Workers are children of this process, each the leader of a session of its own. If one fails, or at a SIGTERM, the
others' process groups get a SIGTERM; after a failure all are started again, as often as --max-restarts says.
"""

import os
import signal
import subprocess
import sys
import time

RANK, NODES, WORKERS = 2, 3, 2
restarts, program = 0, sys.argv[1:]
if program[0] == "--max-restarts":
    restarts, program = int(program[1]), program[2:]


class Asked(Exception):
    pass


def asked(*_):
    raise Asked


def start(worker, restart):
    environment = {
        "GROUP_RANK": RANK,
        "GROUP_WORLD_SIZE": NODES,
        "LOCAL_RANK": worker,
        "LOCAL_WORLD_SIZE": WORKERS,
        "RANK": RANK * WORKERS + worker,
        "WORLD_SIZE": NODES * WORKERS,
        "ROLE_NAME": "default",
        "ROLE_RANK": RANK * WORKERS + worker,
        "ROLE_WORLD_SIZE": NODES * WORKERS,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": 29500,
        "TORCHELASTIC_MAX_RESTARTS": restarts,
        "TORCHELASTIC_RESTART_COUNT": restart,
        "TORCHELASTIC_RUN_ID": "my-run",
        "TORCHELASTIC_USE_AGENT_STORE": True,
    }
    text = {name: str(value) for name, value in environment.items()}
    return subprocess.Popen(program, env=os.environ | text, start_new_session=True)


def first_failure(workers):
    """The first worker that fails, and its code; None once all have ended well."""
    while True:
        codes = [worker.poll() for worker in workers]
        failed = [(number, code) for number, code in enumerate(codes) if code]
        if failed or None not in codes:
            return failed[0] if failed else None
        time.sleep(0.1)


def end(workers):
    """As torchrun does it: a SIGTERM to each group, half a minute, then a SIGKILL."""
    alive = [worker for worker in workers if worker.poll() is None]
    for worker in alive:
        os.killpg(worker.pid, signal.SIGTERM)
    deadline = time.monotonic() + 30
    for worker in alive:
        try:
            worker.wait(max(0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


signal.signal(signal.SIGTERM, asked)
workers = []
try:
    for restart in range(restarts + 1):
        workers = [start(worker, restart) for worker in range(WORKERS)]
        failure = first_failure(workers)
        if failure is None:
            sys.exit(0)
        print(f"failed: worker {failure[0]}: {failure[1]}", flush=True)
        end(workers)
except Asked:
    end(workers)
sys.exit(1)
