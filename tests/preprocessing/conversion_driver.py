"""Converts as told, a conversion a line of standard input; kills it at a moment if told so.

A line is a JSON object: source, output, seed, kill_at. Each conversion runs in a forked process,
which has Beam imported already. Its moments are counted by Python's audit events: just before a
file of the source or of the output is opened, and before anything there is made, renamed or
removed. At moment `kill_at`, a number or what happens then, the process sends itself SIGKILL.
Answered with a JSON line: the signal that ended it (0: none), and the moments if it ended well.
"""

import json
import os
import signal
import sys
from pathlib import Path

import apache_beam  # noqa: F401 - imported once, before the forks

from preprocessing.convert import convert
from preprocessing.settings import DataSettings

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}


def convert_until(order, answer):
    folder = str(Path(order["output"]).parent)
    watched = (folder, order["source"])
    moments = []

    def watch(event, arguments):
        if event != "open" and event not in CHANGES:
            return
        path = str(arguments[0])
        # A tree is removed by names inside an opened folder; Beam's own files lie elsewhere.
        if path.startswith(watched) or (event in CHANGES and not os.path.isabs(path)):
            moments.append([event, *(str(a).removeprefix(order["output"]) for a in arguments[:2])])
            if order["kill_at"] in (len(moments), moments[-1]):
                os.kill(os.getpid(), signal.SIGKILL)

    settings = DataSettings(shard_megabytes=0.0005, seed=order["seed"])
    sys.addaudithook(watch)
    convert(order["source"], order["output"], settings)
    os.write(answer, json.dumps(moments).encode())


def main():
    for line in sys.stdin:
        order = json.loads(line)
        reading, answer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            status = 1
            try:
                convert_until(order, answer)
                status = 0
            finally:
                os._exit(status)
        os.close(answer)
        with open(reading, "rb") as file:
            moments = json.loads(file.read() or b"[]")
        _, status = os.waitpid(child, 0)
        ended = -os.waitstatus_to_exitcode(status)
        print(json.dumps({"signal": ended, "moments": moments}), flush=True)


if __name__ == "__main__":
    main()
