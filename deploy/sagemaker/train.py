"""Stands for your training: a busy loop of a minute that takes SIGTERM as SageMaker sends it."""

import signal
import sys
import time


def stop(number, frame):
    print("asked to stop: a checkpoint would be written here", flush=True)
    sys.exit(0)


signal.signal(signal.SIGTERM, stop)
print("arguments:", sys.argv[1:], flush=True)
end = time.monotonic() + float(sys.argv[2] if len(sys.argv) > 2 else 60)
while time.monotonic() < end:
    sum(range(100_000))
