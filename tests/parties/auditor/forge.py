"""Bundles with one defect each: parts taken apart, changed, signed and logged again with the members' own keys.

Whoever holds all keys can forge everything but what others saw; so a forged part is chained, signed, logged and
cosigned as it should be, and what is left wrong is the defect alone.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import rfc8785

from mpc.crypto import labels
from mpc.evidence.bundle import BUNDLE, Bundle, Span, manifest_of
from mpc.evidence.entry import Entry, Event, make_entry
from mpc.evidence.merkle import Tree, leaf_hash
from mpc.evidence.note import Checkpoint, cosign
from parties.evidence.log import origin_of
from parties.identity import Identity, load_identity

Change = Callable[[list[Event]], list[Event]]


def identities(consortium: Path) -> dict[str, Identity]:
    return {p.parent.name: load_identity(p.parent) for p in consortium.glob("*/member.toml")}


class Forge:
    """A bundle open for changes."""

    def __init__(self, consortium: Path, bundle: Bundle) -> None:
        self.keys = identities(consortium)
        self.bundle = bundle
        self.files = dict(bundle.files)

    def part(self, member: str) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.files[f"logs/{member}.json"])
        return body

    def put(self, member: str, part: dict[str, Any]) -> None:
        self.files[f"logs/{member}.json"] = json.dumps(part).encode()

    def events(self, member: str) -> list[Event]:
        return [Entry.from_bytes(base64.b64decode(raw)).event for _, raw in self.part(member)["entries"]]

    def rewrite(
        self, member: str, change: Change, *, chain: bool = True, signer: str = "", witnesses: Sequence[str] = ()
    ) -> None:
        """The member's log again, with nothing in it but its changed events, signed by it (or by ``signer``)."""
        made, before = [], ""
        for seq, event in enumerate(change(self.events(member))):
            made.append(replace(event, seq=seq, prev=before) if chain else event)
            before = made[-1].digest()
        key = self.keys[signer or member]
        raw = [make_entry(e, member, key.signing.sign).to_bytes() for e in made]
        self.relog(member, raw, witnesses or [k for k in self.keys if k != member])

    def relog(self, member: str, raw: list[bytes], witnesses: Sequence[str]) -> None:
        part, tree = self.part(member), Tree(map(leaf_hash, raw))
        own, time = self.keys[member], Entry.from_bytes(raw[-1]).event.time
        point = Checkpoint(origin_of(member), len(raw), tree.root())
        point = point.signed(origin_of(member), own.public, own.signing.sign)
        for w in witnesses:
            point = point.with_line(cosign(point, origin_of(w), self.keys[w].public, time, self.keys[w].signing.sign))
        part["entries"] = [[i, text(r)] for i, r in enumerate(raw)]
        part["inclusion"] = [[text(h) for h in tree.inclusion(i, len(raw))] for i in range(len(raw))]
        part["checkpoint"] = part["newest"] = point.text()
        part["consistency"], part["stamp"] = [], None
        self.put(member, part)

    def documents(self, change: Callable[[dict[str, Any]], None], *members: str) -> None:
        """Change the documents that these members (all, if none is named) kept."""
        for name in members or [n for n in self.keys if f"logs/{n}.json" in self.files]:
            part = self.part(name)
            for d in part["documents"]:
                change(d)
            self.put(name, part)

    def made(self, *, by: str = "") -> Bundle:
        """The bundle, signed again by who exported it."""
        b = self.bundle
        manifest = rfc8785.dumps(manifest_of(b.about, b.by, b.made, self.files))
        signature = self.keys[by or b.by].sign(BUNDLE, manifest)
        return Bundle(manifest, signature, b.about, b.by, b.made, self.files)


def retell(forge: Forge, change: Callable[[dict[str, Any]], None]) -> None:
    """Another thing released, which the analyst's log says it was shown."""
    name = "results/analyst.json"
    body = json.loads(forge.files[name])
    change(body)
    forge.files[name] = raw = json.dumps(body).encode()
    digest = labels.digest("result", raw).hex()

    def rewritten(events: list[Event]) -> list[Event]:
        return [replace(e, facts={**e.facts, "result": digest}) if e.event == "revealed" else e for e in events]

    forge.rewrite("analyst", rewritten)


class ForgePeriod:
    """A bundle of a period open for changes."""

    def __init__(self, consortium: Path, bundle: Bundle) -> None:
        assert isinstance(bundle.about, Span)
        self.keys = identities(consortium)
        self.bundle, self.span, self.files = bundle, bundle.about, dict(bundle.files)
        self.name = f"period/{self.span.member}.json"

    def part(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.files[self.name])
        return body

    def put(self, **fields: Any) -> None:
        self.files[self.name] = json.dumps({**self.part(), **fields}).encode()

    def events(self) -> list[Event]:
        return [Entry.from_bytes(base64.b64decode(raw)).event for raw in self.part()["entries"]]

    def rewrite(self, change: Change, *, chain: bool = True, signer: str = "") -> None:
        """The log again from its first entry, with its changed events, signed by the member (or by ``signer``), the
        checkpoint signed and cosigned by all others."""
        me, seen, made = self.span.member, dict[str, Event](), []
        for event in change(self.events()):
            before = seen.get(event.job)
            if chain:
                event = replace(event, seq=before.seq + 1 if before else 0, prev=before.digest() if before else "")
            seen[event.job] = event
            made.append(make_entry(event, me, self.keys[signer or me].signing.sign).to_bytes())
        tree, own, time = Tree(map(leaf_hash, made)), self.keys[me], self.span.until
        point = Checkpoint(origin_of(me), len(made), tree.root()).signed(origin_of(me), own.public, own.signing.sign)
        for w in (k for n, k in self.keys.items() if n != me):
            point = point.with_line(cosign(point, origin_of(w.name), w.public, time, w.signing.sign))
        self.put(first=0, peaks=[], begin="", end=point.text(), entries=[text(r) for r in made])

    def made(self, *, by: str = "") -> Bundle:
        """The bundle, signed again by who exported it."""
        b = self.bundle
        manifest = rfc8785.dumps(manifest_of(b.about, b.by, b.made, self.files))
        return Bundle(manifest, self.keys[by or b.by].sign(BUNDLE, manifest), b.about, b.by, b.made, self.files)


def text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
