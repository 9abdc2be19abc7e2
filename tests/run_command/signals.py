"""Prints each signal as it comes; SIGTERM is followed by a second of tidying up and exit code 42."""
import signal
import sys
import time

NAMES = "HUP INT QUIT USR1 USR2 ALRM TERM CONT WINCH CHLD URG IO PROF VTALRM ABRT TRAP SEGV RTMIN+3 RTMAX".split()


def number(name):
    base, _, more = name.partition("+")
    return getattr(signal, "SIG" + base) + int(more or 0)


def handle(which, _):
    print("got", next(name for name in NAMES if number(name) == which), flush=True)
    if which == signal.SIGTERM:
        time.sleep(1)
        print("tidied up", flush=True)
        sys.exit(42)


for name in NAMES:
    signal.signal(number(name), handle)
print("ready", *NAMES, flush=True)
while True:
    signal.pause()
