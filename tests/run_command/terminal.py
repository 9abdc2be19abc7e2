"""A terminal for the tests. usage: terminal.py keys|job WORDS..., prints what the program or the shell showed."""
import fcntl
import os
import pty
import re
import select
import shlex
import struct
import sys
import termios
import time

PATIENCE = 15


class Terminal:
    def __init__(self, words):
        self.shown = b""
        self.read_until = 0
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.environ["PS1"] = "prompt> "
            os.execvp(words[0], words)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys):
        os.write(self.master, keys)

    def read(self, seconds):
        ready, _, _ = select.select([self.master], [], [], seconds)
        if not ready:
            return True
        try:
            piece = os.read(self.master, 65536)
        except OSError:  # everyone has closed the terminal
            return False
        self.shown += piece
        return bool(piece)

    def wait_for(self, words):
        deadline = time.monotonic() + PATIENCE
        while words not in self.shown[self.read_until :]:
            if not self.read(max(0, deadline - time.monotonic())) or time.monotonic() > deadline:
                sys.exit(f"no {words!r} in {self.shown!r}")
        self.read_until = self.shown.index(words, self.read_until) + len(words)

    def wait_for_job(self):
        deadline = time.monotonic() + PATIENCE
        while os.tcgetpgrp(self.master) == self.pid:
            if time.monotonic() > deadline:
                sys.exit(f"the shell keeps the terminal: {self.shown!r}")
            time.sleep(0.01)

    def end(self):
        while self.read(PATIENCE):
            pass
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)


PROGRAM = """
import os, signal, sys
def got(which, _):
    print("got", signal.Signals(which).name, os.get_terminal_size(), flush=True)
for name in ("INT", "QUIT", "WINCH", "USR1"):
    signal.signal(getattr(signal, "SIG" + name), got)
print("terminal", [os.isatty(n) for n in range(3)], os.ttyname(0) == os.ttyname(2), os.tcgetpgrp(0) == os.getpgrp())
print("ready", flush=True)
for line in sys.stdin:
    print("read", line.strip(), flush=True)
    if line == "end\\n":
        sys.exit(7)
"""


def keys(words):
    """Ctrl-C, Ctrl-\\, a new size, a line, an end: each must be seen once."""
    terminal = Terminal(words + ["python3", "-c", PROGRAM])
    terminal.wait_for(b"ready\r\n")
    terminal.resize(33, 101)
    terminal.wait_for(b"got SIGWINCH")
    terminal.wait_for(b"\n")
    for key, name in ((b"\x03", b"got SIGINT"), (b"\x1c", b"got SIGQUIT")):
        terminal.type(key)
        terminal.wait_for(name)
        terminal.wait_for(b"\n")  # else the echo of the next key may stand before it
    terminal.type(b"hello\n")
    terminal.wait_for(b"read hello\r\n")
    terminal.type(b"end\n")
    code = terminal.end()
    print(re.sub(rb"\r", b"", terminal.shown).decode())
    print("code", code)


# It forks nothing: a shell that is stopped while it does can hang, bare as well (vfork).
JOB = """import os, signal
signal.signal(signal.SIGINT, lambda *_: (print("inter" + "rupted", flush=True), os._exit(9)))
signal.signal(signal.SIGCONT, lambda *_: print("re" + "sumed", flush=True))
print("be" + "gun", flush=True)
while True: signal.pause()"""


def job(words):
    """Ctrl-Z stops it, fg resumes it, bg and fg again; Ctrl-C ends it; the shell sees what a job does."""
    shell = Terminal(["bash", "--norc", "--noprofile", "-i"])
    shell.wait_for(b"prompt> ")
    shell.type(shlex.join(words + ["python3", "-c", JOB]).encode() + b"\n")
    shell.wait_for(b"begun\r\n")
    for resume in (b"fg\n", b"bg\n"):
        shell.type(b"\x1a")
        shell.wait_for(b"Stopped")
        shell.wait_for(b"prompt> ")
        shell.type(resume)
        if resume == b"bg\n":
            shell.wait_for(b"resumed")
            shell.type(b"jobs\n")
            shell.wait_for(b"Running")
            shell.type(b"fg\n")
        else:
            shell.wait_for(b"resumed\r\n")
        shell.wait_for_job()
    shell.type(b"\x03")
    shell.wait_for(b"interrupted\r\n")
    shell.wait_for(b"prompt> ")
    shell.type(b"echo code=$?\n")
    shell.wait_for(b"code=9\r\n")
    shell.type(b"exit\n")
    print("code", shell.end())


{"keys": keys, "job": job}[sys.argv[1]](sys.argv[2:])
