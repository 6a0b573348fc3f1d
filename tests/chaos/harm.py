"""What can happen to the folder of the state logs, and what the next start must say of it: as
docs/decisions/state-log.md has it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from connectors.shards import SHARDS
from flows.shard_states import offset_of
from operators.state_log import StateLog, anything
from tests.flows.live_world import World


@dataclass(frozen=True, slots=True)
class Expected:
    """How the next start must end: it says `words` as an error for every one of `shards`, and runs unless `stops`."""

    words: str
    shards: tuple[str, ...]
    stops: bool = False


Harm: TypeAlias = Callable[[World, random.Random], Expected]


def newest(world: World, shard: str) -> Path:
    """The file a shard appends to."""
    return max(world.state.glob(f"{shard}.*.log"), key=lambda path: int(path.name.rsplit(".", 2)[1]))


def _some(dice: random.Random) -> tuple[str, ...]:
    return tuple(sorted(dice.sample(SHARDS, dice.randint(1, 4))))


def gone(world: World, dice: random.Random) -> Expected:
    """The logs of some shards are deleted."""
    shards = _some(dice)
    for shard in shards:
        for path in world.state.glob(f"{shard}.*.log"):
            path.unlink()
    return Expected("the state is gone; it is rebuilt from offset 0", shards)


def folder_gone(world: World, _dice: random.Random) -> Expected:
    """The whole folder of the flow is deleted, with all checkpoints."""
    shutil.rmtree(world.state.parent)
    return Expected("the state is gone; it is rebuilt from offset 0", SHARDS)


def older(world: World, _dice: random.Random) -> Expected:
    """A copy that was taken before is put back; all shards have gone on since."""
    shutil.rmtree(world.state)
    shutil.copytree(backup(world), world.state)
    return Expected("an older copy was put back", SHARDS)


def damaged(world: World, dice: random.Random) -> Expected:
    """One bit somewhere behind the head is another."""
    return _hurt(world, dice, lambda data, at: data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :])


def torn(world: World, dice: random.Random) -> Expected:
    """The end is cut off."""
    return _hurt(world, dice, lambda data, at: data[:at])


def zeroed(world: World, dice: random.Random) -> Expected:
    """From somewhere on all bytes are zeros."""
    return _hurt(world, dice, lambda data, at: data[:at] + bytes(len(data) - at))


def headless(world: World, dice: random.Random) -> Expected:
    """The first eight bytes are anything."""
    head = dice.choice((bytes(8), b"\xff" + dice.randbytes(7)))
    hurt = _hurt(world, dice, lambda data, _at: head + data[8:])
    return replace(hurt, words="the head is damaged")


def _hurt(world: World, dice: random.Random, change: Callable[[bytes, int], bytes]) -> Expected:
    """Change the newest file of some shards somewhere in its later half; those that lose something must say so."""
    shards = _some(dice)
    for shard in shards:
        path = newest(world, shard)
        data = path.read_bytes()
        sound = len(data.rstrip(b"\0"))
        path.write_bytes(change(data, dice.randrange(max(8, sound // 2), sound)))
    return Expected("is damaged", tuple(shard for shard in shards if _behind(world, shard)))


def _behind(world: World, shard: str) -> bool:
    """Whether the newest sound state of a shard lies before what is committed; else nothing is lost."""
    looked = world.folder / "looked"  # a log is cut where it is read
    shutil.copytree(world.state, looked)
    log = StateLog(looked, shard)
    state = log.restore(anything).state
    log.close()
    shutil.rmtree(looked)
    return state is None or offset_of(state) < world.committed()[SHARDS.index(shard)]


def other_version(world: World, dice: random.Random) -> Expected:
    """A file that another version of twinflow wrote."""
    shard = dice.choice(SHARDS)
    path = newest(world, shard)
    path.write_bytes(b"TWSL\x09" + path.read_bytes()[5:])
    return Expected(f"{path}: is no state log of layout version", (shard,), stops=True)


def input_gone_too(world: World, dice: random.Random) -> Expected:
    """The logs of a shard are deleted, and so is the start of its input."""
    shard = dice.choice(SHARDS)
    for path in world.state.glob(f"{shard}.*.log"):
        path.unlink()
    partition = SHARDS.index(shard)
    world.delete_before("samples", partition, world.committed()[partition] // 2)
    return Expected(f"the state of shard {shard} is gone", (shard,), stops=True)


def older_than_the_input(world: World, dice: random.Random) -> Expected:
    """An older copy is put back, and what came right after it is deleted."""
    shutil.rmtree(world.state)
    shutil.copytree(backup(world), world.state)
    shard = dice.choice(SHARDS)
    partition = SHARDS.index(shard)
    world.delete_before("samples", partition, world.committed()[partition] - 1)
    return Expected(f"samples/{partition}", (shard,), stops=True)


HARMS: Mapping[str, Harm] = {
    harm.__name__: harm for harm in (gone, folder_gone, older, damaged, torn, zeroed, headless, other_version)
}
LAST: Mapping[str, Harm] = {harm.__name__: harm for harm in (input_gone_too, older_than_the_input)}
"""Those after which an uninterrupted run over the whole input can no longer be made."""


def backup(world: World) -> Path:
    """Where an older copy is kept."""
    return world.folder / "older"


def keep_copy(world: World) -> None:
    """Take the copy that `older` puts back."""
    shutil.rmtree(backup(world), ignore_errors=True)
    shutil.copytree(world.state, backup(world))


@contextmanager
def put_back(world: World) -> Iterator[ExitStack]:
    """Whatever happens to the folder inside, it is as before afterwards, unless that is taken off the stack."""
    kept = world.folder / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(world.state, kept)
    with ExitStack() as stack:
        stack.callback(kept.rename, world.state)
        stack.callback(shutil.rmtree, world.state)
        yield stack
