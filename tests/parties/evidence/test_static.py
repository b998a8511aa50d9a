"""The log as static files over HTTPS: the same bytes as on disk, all an older checkpoint needs, and nothing else."""

from __future__ import annotations

import asyncio
import base64
import http.client
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey

from mpc.errors import LocalError
from mpc.evidence import tiles
from mpc.evidence.merkle import SIZE, Tree, consistent, included, leaf_hash
from mpc.evidence.note import COSIGNATURE, ED25519, Checkpoint, key_id
from parties import https
from parties.consortium import free_ports
from parties.evidence.log import Log, origin_of
from parties.evidence.static import app
from parties.identity import CERTIFICATE, KEYS, load_identity
from parties.member import Member
from tests.parties import world
from tests.parties.conftest import serving

JOB = "ab" * 32


@dataclass
class Reader:
    """A client that pins the member's certificate; a backend for tlog-scales."""

    port: int
    certificate: Path

    def ask(self, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.check_hostname = False  # the certificate is pinned: it is the only root
        link = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=20)
        link.putrequest(method, path)  # as it is: nothing is put right
        link.endheaders()
        answer = link.getresponse()
        body = answer.read()
        link.close()
        return answer.status, {k.lower(): v for k, v in answer.headers.items()}, body

    def get(self, *path: str) -> bytes | None:
        status, _, body = self.ask("GET", "/" + "/".join(path))
        return body if status == 200 else None


@asynccontextmanager
async def shown(folder: Path) -> AsyncIterator[Reader]:
    """The log of this member, served."""
    [port] = free_ports("127.0.0.1", 1)
    with (folder / "member.toml").open("a") as settings:
        settings.write(f'log_address = "127.0.0.1:{port}"\n')
    member = Member(folder)
    stop = await https.serve(app(folder), member, "log_address")
    try:
        yield Reader(port, folder / KEYS / CERTIFICATE)
    finally:
        await stop()
        await member.close()


def grow(folder: Path, *steps: int) -> list[Checkpoint]:
    """Checkpoints of a log that grows by so many entries each."""
    log, made = Log(folder, load_identity(folder)), []
    for step in steps:
        for i in range(step):
            log.append("sent", JOB, 1, step=f"pool0/{i}")
        made.append(log.checkpoint())
    log.close()
    return made


def vkey(name: str, kind: bytes, public: bytes) -> Vkey:
    return Vkey.from_string(f"{name}+{key_id(name, kind, public).hex()}+{base64.b64encode(kind + public).decode()}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return world.make(tmp_path, banks=world.BANKS[:2]) / "bank_a"


async def test_another_implementation_reads_and_verifies_it(folder: Path) -> None:
    """tlog-scales fetches checkpoint and tiles, computes root and proofs from them, and verifies our signature; its
    proofs and ours are the same."""
    earlier, point = grow(folder, 300, 300)
    async with shown(folder) as reader:

        def read() -> None:
            log = TilesReader(reader)
            found = log.get_checkpoint()
            found.verify(vkey(origin_of("bank_a"), ED25519, load_identity(folder).public))
            assert (found.origin, found.size, found.root_hash) == (point.origin, point.size, point.root)
            assert log.calculate_root_hash() == point.root and log.mth(0, earlier.size) == earlier.root
            entries = [log.get_entry(i) for i in range(point.size)]
            tree = Tree(map(leaf_hash, entries))
            assert tree.root() == point.root
            for number in (0, 255, 256, 300, 599):
                theirs = log.get_inclusion_proof(number, point.size)
                theirs.check(leaf_hash(entries[number]), point.root)
                assert theirs.node_hashes == tree.inclusion(number, point.size)
                assert included(leaf_hash(entries[number]), number, point.size, theirs.node_hashes, point.root)
            proof = log.get_consistency_proof(earlier.size, point.size)
            proof.check(earlier.root, point.root)
            assert consistent(earlier.size, earlier.root, point.size, point.root, proof.node_hashes)

        await asyncio.to_thread(read)


async def test_it_goes_on_while_the_log_grows(folder: Path) -> None:
    """What belongs to an older checkpoint is there for its readers: narrower tiles are cut from wider ones."""
    points = grow(folder, 5, 7, 300)
    async with shown(folder) as reader:
        for point in points:

            def read(point: Checkpoint = point) -> None:
                log = TilesReader(reader)
                log.set_size(point.size)
                assert log.calculate_root_hash() == point.root
                entries = reader.get(*tiles.path("entries", 0, min(point.size, 256)).split("/"))
                assert entries and len(tiles.unbundle(entries)) == min(point.size, 256)

            await asyncio.to_thread(read)
        narrow = await asyncio.to_thread(reader.get, "tile", "0", "000.p", "5")
        wide = await asyncio.to_thread(reader.get, "tile", "0", "000")
        assert narrow and wide and narrow == wide[: 5 * SIZE]
        assert await asyncio.to_thread(reader.get, "tile", "0", "001.p", "57") is None  # 312 = 256 + 56


ELSEWHERE = r"""
/ /index.db /tail /lock /heads.db /stamps/5.tsr /stamps/ /jobs /jobs/x-1.json /tile /tile/ /tile/0 /tile/0/
/../index.db /../../keys/log-head /tile/../index.db /tile/0/../../index.db /tile/0/%2e%2e/%2e%2e/index.db
/tile/..%2findex.db /%2e%2e/%2e%2e/member.toml /..\..\member.toml //checkpoint /checkpoint/ /CHECKPOINT
/tile/entries/../../tail /tile/entries/000.p/../../../tail /tile/8/000 /tile/-1/000 /tile/00/000 /tile/0/0000 /tile/0/00
/tile/0/x000 /tile/0/x000/x000/x000/x000/x000/x000/000 /tile/0/000.p /tile/0/000.p/ /tile/0/000.p/0 /tile/0/000.p/03
/tile/0/000.p/256 /tile/0/000.p/999 /tile/0/000.p/1/1 /tile/0/000%00 /tile/0/%D9%A0%D9%A0%D9%A0 /tile/jobs/000
/tile/0/000.p/.5 /tile/0/000.p/5%0A /checkpoint%0A
"""


async def test_nothing_else_can_be_asked_for(folder: Path) -> None:
    grow(folder, 5)
    (folder / "state" / "log" / "jobs").mkdir()
    (folder / "state" / "log" / "jobs" / "x-1.json").write_text("secret")
    async with shown(folder) as reader:
        for path in ELSEWHERE.split():
            status, headers, body = await asyncio.to_thread(reader.ask, "GET", path)
            assert (status, body) == (404, b"not found\n"), path
            assert headers["cache-control"] == "no-store"
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            assert (await asyncio.to_thread(reader.ask, method, "/checkpoint"))[0] == 405


async def test_headers(folder: Path) -> None:
    """A checkpoint is asked for anew each time; tiles never change. HEAD says the same without a body."""
    grow(folder, 5)
    async with shown(folder) as reader:
        for path, cached, kind in (
            ("/checkpoint", "no-cache", "text/plain; charset=utf-8"),
            ("/tile/0/000.p/5", "public, max-age=31536000, immutable", "application/octet-stream"),
            ("/tile/entries/000.p/3", "public, max-age=31536000, immutable", "application/octet-stream"),
        ):
            status, headers, body = await asyncio.to_thread(reader.ask, "GET", path)
            assert (status, headers["cache-control"], headers["content-type"]) == (200, cached, kind)
            assert headers["x-content-type-options"] == "nosniff" and "server" not in headers and body
            again, same, nothing = await asyncio.to_thread(reader.ask, "HEAD", path)
            assert (again, nothing, same["content-length"]) == (200, b"", str(len(body)))


async def test_members_show_their_logs_where_the_settings_say_so(tmp_path: Path) -> None:
    """A node and the coordinator, while jobs run; cosignatures verify with another implementation too."""
    consortium = world.make(tmp_path)
    ports = dict(zip(("bank_a", "coordinator"), free_ports("127.0.0.1", 2), strict=True))
    for name, port in ports.items():
        with (consortium / name / "member.toml").open("a") as settings:
            settings.write(f'log_address = "127.0.0.1:{port}"\n')
    async with serving(consortium) as running:
        job = (await running.query(world.TOGETHER)).statement["job"]
        for _ in range(500):  # cosignatures come beside what goes on
            text = (consortium / "bank_a" / "state" / "log" / "checkpoint").read_text()
            if "heji/coordinator" in text:
                break
            await asyncio.sleep(0.01)
        for name, port in ports.items():
            log = TilesReader(Reader(port, consortium / name / KEYS / CERTIFICATE))
            found = await asyncio.to_thread(log.get_checkpoint)
            found.verify(vkey(origin_of(name), ED25519, load_identity(consortium / name).public))
            assert await asyncio.to_thread(log.calculate_root_hash) == found.root_hash
            assert job.encode() not in await asyncio.to_thread(log.get_entry, 0)
        bank = await asyncio.to_thread(
            TilesReader(Reader(ports["bank_a"], consortium / "bank_a" / KEYS / CERTIFICATE)).get_checkpoint
        )
        bank.verify(vkey(origin_of("coordinator"), COSIGNATURE, load_identity(consortium / "coordinator").public))


async def test_an_address_that_is_taken(folder: Path) -> None:
    grow(folder, 1)
    async with shown(folder):
        with pytest.raises(LocalError, match="log_address") as refused:
            await https.serve(app(folder), Member(folder), "log_address")
        assert refused.value.code == "config.invalid"
