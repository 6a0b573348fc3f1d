"""Every set of definitions a flow ever ran with, by its hash: what was decided then can be decided again."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from operators.definition import Fleet
from operators.definition_json import definition_hash, to_dict
from operators.definition_yaml import loads


class DefinitionArchive:
    """One file per set, named by SHA-256 of what it holds: which device is of which type, and the types.

    Args:
        folder: where they lie; several processes may write at once.

    >>> import tempfile
    >>> from operators.definition import Signal, TwinType
    >>> archive = DefinitionArchive(Path(tempfile.mkdtemp()))
    >>> pump = TwinType("pump", 1, (Signal("flow"),))
    >>> kept = archive.keep(Fleet((("pump-*", "pump"),), {"pump": pump}))
    >>> archive.load(kept).type_of("pump-7") == pump, archive.with_type("pump", definition_hash(pump)) == kept
    (True, True)
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, fleet: Fleet) -> str:
        """Keep a set; its hash."""
        document = {
            "instances": [{"device": d, "type": t, "site": fleet.sites.get(d, "")} for d, t in fleet.patterns],
            "types": {name: to_dict(twin) for name, twin in sorted(fleet.types.items())},
        }
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        name = hashlib.sha256(text).hexdigest()
        path = self._folder / f"{name}.json"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            new = path.with_suffix(f".{os.getpid()}")
            new.write_bytes(text)
            new.replace(path)
        return name

    def load(self, name: str) -> Fleet | None:
        """A set by its hash; None where it was never kept here."""
        try:
            document = json.loads((self._folder / f"{name}.json").read_bytes())
        except FileNotFoundError:
            return None
        types = {kind: loads(json.dumps(held), source=f"{name}.json") for kind, held in document["types"].items()}
        instances = document["instances"]
        sites = {one["device"]: one["site"] for one in instances if one["site"]}
        return Fleet(tuple((one["device"], one["type"]) for one in instances), types, sites)

    def with_type(self, twin_type: str, version_hash: str) -> str:
        """Hash of a set in which a type has this definition; "" where there is none."""
        for path in sorted(self._folder.glob("*.json")):
            fleet = self.load(path.stem)
            twin = fleet.types.get(twin_type) if fleet is not None else None
            if twin is not None and definition_hash(twin) == version_hash:
                return path.stem
        return ""
