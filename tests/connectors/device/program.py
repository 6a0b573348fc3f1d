"""A device as a process of its own, to be killed: program.py BOOTSTRAP FOLDER send|run|listen ..."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from connectors.device import Command, Device


def say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(bootstrap: str, folder: str, what: str, *more: str) -> None:
    if what == "listen":
        listen(bootstrap, Path(folder), *more)
        return
    topic, first, *last = more
    pump = Device("pump-7", bootstrap, topic=topic, spool=folder)
    if what == "send":  # so many, then wait until they are out
        for n in range(int(first), int(last[0])):
            pump.send({"n": n})
        say("sent")
        say(f"left {pump.close(90)}")
        return
    n = int(first)
    while True:  # until it is killed
        for _ in range(20):
            pump.send({"n": n})
            n += 1
        say(n)
        time.sleep(0.002)


def listen(bootstrap: str, folder: Path, commands: str, acks: str) -> None:
    pump = Device("pump-7", bootstrap, spool=folder, commands_topic=commands, acks_topic=acks)

    def act(command: Command) -> str:
        with (folder / "acted").open("a") as file:
            file.write(command.verb + "\n")
        return "did it"

    pump.on("quick")(act)

    @pump.on("slow")
    def slow(command: Command) -> None:
        act(command)
        command.accept("begins")
        time.sleep(600)

    @pump.on("held")
    def held(command: Command) -> str:
        say("held")
        sys.stdin.readline()
        return act(command)

    with pump:
        while not pump.wait_ready(1):
            pass
        say("ready")
        acted = folder / "acted"
        while not (acted.exists() and acted.read_text().endswith("held\n") and pump.counts["waiting"]):
            time.sleep(0.01)
        say("answer stored")
        time.sleep(600)


if __name__ == "__main__":
    main(*sys.argv[1:])
