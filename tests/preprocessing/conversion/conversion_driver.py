"""Runs conversions, one for each line of standard input, and kills them where asked.

A line is a JSON object: source, output, seed, kill_at. Each conversion runs in a forked process.
Its moments are Python's audit events: before a file of the source or the output is opened, and
before anything there is made, renamed or removed. At moment `kill_at` the process sends itself
SIGKILL. The answer is a JSON line: the signal that ended it (0: none), and the number of moments.
"""

import json
import os
import signal
import sys

from preprocessing.conversion.convert import convert
from preprocessing.settings import DataSettings

EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}


def convert_until(order, answer):
    watched = (order["output"], order["source"])
    moments = []

    def watch(event, arguments):
        if event in EVENTS and str(arguments[0]).startswith(watched):
            moments.append(event)
            if order["kill_at"] == len(moments):
                os.kill(os.getpid(), signal.SIGKILL)

    settings = DataSettings(shard_megabytes=0.0005, seed=order["seed"])
    sys.addaudithook(watch)
    convert(order["source"], order["output"], settings)
    os.write(answer, str(len(moments)).encode())


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
            moments = int(file.read() or 0)
        _, status = os.waitpid(child, 0)
        ended = -os.waitstatus_to_exitcode(status)
        print(json.dumps({"signal": ended, "moments": moments}), flush=True)


if __name__ == "__main__":
    main()
