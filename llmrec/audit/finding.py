"""What an audit says: findings, each one kind of leak with its cases counted, and the hash that stands for them on a table.

Separate from the checks, so that those of the log, of examples and of models speak one language and import nothing of each other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class Finding:
    """One kind of leak: `count` cases, told in a sentence.

    severity: error where a result would be wrong, warning where it could profit from what is not the user's taste.
    """

    kind: str
    severity: str
    count: int
    sentence: str

    @classmethod
    def of(cls, kind: str, severity: str, count: int, sentence: str) -> Finding | None:
        """The finding whose sentence begins with its count; None where there is no case."""
        return cls(kind, severity, int(count), f"{count} {sentence}") if count else None


@dataclass(frozen=True)
class Audit:
    """What was found, and how much was looked at (`checked`: counts by name)."""

    findings: tuple[Finding, ...]
    checked: Mapping[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """No finding is an error."""
        return all(finding.severity != ERROR for finding in self.findings)

    @property
    def hash(self) -> str:
        """16 hex digits that stand for this result on a table of metrics."""
        return _hash({"findings": [asdict(finding) for finding in self.findings], "checked": dict(self.checked)})

    def to_json(self) -> dict[str, object]:
        return {"ok": self.ok, "hash": self.hash, "checked": dict(self.checked), "findings": [asdict(finding) for finding in self.findings]}


def combined_hash(hashes: Mapping[str, str]) -> str:
    """16 hex digits that stand for several audits. hashes: what was audited -> the hash of its audit."""
    return _hash(dict(hashes))


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
