"""Where a decision comes from: records, the twin's revision, the definition and the model, each by version and hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from operators.definition import DetectorSpec, PatternSpec, RuleSpec, TwinType
from operators.definition_json import definition_hash
from operators.definition_methods import METHODS

NO_REVISION = -1
RULES_VERSION = 1
"""Of what a rule means (operators.rules): it grows when the same rule over the same samples says something else."""


@dataclass(frozen=True, slots=True)
class DefinitionVersion:
    """A twin type as it was: `hash` is SHA-256 of its canonical JSON (operators.definition_json), in hex."""

    twin_type: str
    version: int
    hash: str


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """What decided: a kind of rule or a method of detectors, the version of its code, and a hash of its settings."""

    method: str
    version: int
    hash: str


@dataclass(frozen=True, slots=True)
class Lineage:
    """What one decision rests on.

    Attributes:
        from_offset: first record that the decision itself names: the first of an unbroken run, the last sample before a
            silence, what raised the alert that now returns. All before it counts through the state alone.
        offset: the record after which it was said; both in the partition of the shard.
        revision: of the twin after that record; NO_REVISION where nobody asked the twin.
    """

    from_offset: int
    offset: int
    definition: DefinitionVersion
    model: ModelVersion
    revision: int = NO_REVISION


class Versions:
    """The versions of one twin type, worked out when they are first asked for.

    >>> from operators.definition import Signal
    >>> hot = RuleSpec("hot", "temp", "above", limit=90.0)
    >>> versions = Versions(TwinType("pump", 3, (Signal("temp"),), rules=(hot,)))
    >>> versions.definition.version, versions.rule(hot).method, len(versions.rule(hot).hash)
    (3, 'above', 64)
    """

    def __init__(self, twin_type: TwinType) -> None:
        self._type = twin_type
        self._definition: DefinitionVersion | None = None
        self._models: dict[str, ModelVersion] = {}

    @property
    def definition(self) -> DefinitionVersion:
        """Of the type."""
        if self._definition is None:
            self._definition = DefinitionVersion(self._type.name, self._type.version, definition_hash(self._type))
        return self._definition

    def rule(self, spec: RuleSpec | PatternSpec) -> ModelVersion:
        """Of a rule or a pattern."""
        return self._model(f"rule {spec.id}", spec.kind, RULES_VERSION, asdict(spec))

    def detector(self, spec: DetectorSpec) -> ModelVersion:
        """Of a detector; version 0 where its method is none of ours."""
        version = METHODS[spec.method].version if spec.method in METHODS else 0
        return self._model(f"detector {spec.id}", spec.method, version, asdict(spec))

    def _model(self, name: str, method: str, version: int, settings: Mapping[str, Any]) -> ModelVersion:
        made = self._models.get(name)
        if made is None:
            text = json.dumps([method, version, settings], sort_keys=True, ensure_ascii=False)
            made = self._models[name] = ModelVersion(method, version, hashlib.sha256(text.encode()).hexdigest())
        return made
