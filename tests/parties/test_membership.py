"""How real members come together, and who is turned away: cards, rosters, pinned certificates over gRPC."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import grpc
import pytest

from mpc.errors import HejiError, LocalError
from parties import roster as rosters
from parties.clock import now
from parties.consortium import free_ports, init_consortium, init_member
from parties.credentials import peer_name
from parties.identity import load_identity, make_identity
from parties.member import Member
from parties.node.tables import add_table
from parties.rpc.v1 import node_pb2, node_pb2_grpc
from parties.serve import serve_coordinator, serve_node
from tests.parties import world
from tests.parties.conftest import Running

ROLES = {
    "bank_a": ("party",),
    "bank_b": ("party",),
    "bank_c": ("party",),
    "coordinator": ("coordinator",),
    "analyst": ("modeler",),
}


def found(folder: Path) -> Path:
    """Members that each make their keys at home, and a roster of their cards that nobody has signed yet."""
    serving = [n for n, roles in ROLES.items() if roles != ("modeler",)]
    ports = dict(zip(serving, free_ports("127.0.0.1", len(serving)), strict=True))
    cards = []
    for name, roles in ROLES.items():
        address = f"127.0.0.1:{ports[name]}" if name in ports else ""
        cards.append(init_member(folder / name, name, address, f"{name} ltd", roles))
    roster = folder / "roster.json"
    for card in cards:
        rosters.add_card(roster, card)
    return roster


@pytest.fixture
def roster(tmp_path: Path) -> Path:
    return found(tmp_path)


def signed(roster: Path, *without: str) -> Path:
    for name in ROLES:
        if name not in without:
            rosters.sign_roster(roster, roster.parent / name)
    return roster


def code(work: object, *args: object) -> str:
    with pytest.raises(HejiError) as caught:
        work(*args)  # type: ignore[operator]
    return caught.value.code


async def test_members_found_a_consortium_and_compute(roster: Path, tmp_path: Path) -> None:
    signed(roster)
    for name in ROLES:
        rosters.install_roster(roster, tmp_path / name, now())
    for bank in world.BANKS:
        world.write_accounts(tmp_path / f"{bank}.csv", world.rows_of(bank))
        add_table(
            tmp_path / bank,
            str(tmp_path / f"{bank}.csv"),
            name="accounts",
            keys=["uscc"],
            grants=["aggregate"],
            types={"balance": "DECIMAL(18,2)"},
            bounds={"balance": "-1000000:1000000000"},
        )
    running = Running(tmp_path)
    try:
        for name in (*world.BANKS, "coordinator"):
            await running.start(name)
        result = await running.query(world.TOGETHER)
        assert float(result.rows[0]["together"]) == pytest.approx(world.together(), abs=0.001)
    finally:
        await running.close()


@pytest.mark.parametrize("missing", ROLES)
def test_a_roster_that_not_all_have_signed_is_not_installed(roster: Path, missing: str) -> None:
    signed(roster, missing)
    with pytest.raises(LocalError, match=missing):
        rosters.install_roster(roster, roster.parent / "bank_a", now())
    assert not (roster.parent / "bank_a" / "roster.json").exists()


def test_a_changed_roster_is_refused(roster: Path) -> None:
    signed(roster)
    body = json.loads(roster.read_bytes())
    body["members"][0]["address"] = "127.0.0.1:1"
    roster.write_text(json.dumps(body))
    assert code(rosters.install_roster, roster, roster.parent / "bank_a", now()) == "roster.invalid"


def test_a_new_member_makes_all_sign_anew_and_an_old_roster_does_not_come_back(roster: Path, tmp_path: Path) -> None:
    signed(roster)
    shutil.copy(roster, tmp_path / "old.json")
    init_member(tmp_path / "auditor", "auditor", "", "auditor ltd", ("auditor",))
    made = rosters.add_card(roster, tmp_path / "auditor" / "card.json")
    assert made.version == 2 and set(made.unsigned_by()) == {*ROLES, "auditor"}
    signed(roster)
    rosters.sign_roster(roster, tmp_path / "auditor")
    rosters.install_roster(roster, tmp_path / "bank_a", now())
    assert code(rosters.install_roster, tmp_path / "old.json", tmp_path / "bank_a", now()) == "roster.invalid"
    assert rosters.Roster.load(tmp_path / "bank_a" / "roster.json").version == made.version


def test_a_name_is_taken_once(roster: Path, tmp_path: Path) -> None:
    before = roster.read_bytes()
    init_member(tmp_path / "other", "bank_a", "127.0.0.1:9", "somebody else", ("party",))
    assert code(rosters.add_card, roster, tmp_path / "other" / "card.json") == "roster.invalid"
    assert roster.read_bytes() == before


@pytest.mark.parametrize("field", ["identity", "certificate", "organisation", "address"])
def test_a_card_that_was_changed_is_refused(tmp_path: Path, field: str) -> None:
    card = init_member(tmp_path / "a", "a", "127.0.0.1:9", "a ltd", ("party",))
    other = init_member(tmp_path / "b", "b", "127.0.0.1:8", "b ltd", ("party",))
    body, foreign = json.loads(card.read_bytes()), json.loads(other.read_bytes())
    inside, theirs = (b.get("card", b) for b in (body, foreign))
    inside[field] = theirs[field]
    card.write_text(json.dumps(body))
    assert code(rosters.add_card, tmp_path / "roster.json", card) in ("roster.invalid", "protocol.signature")
    assert not (tmp_path / "roster.json").exists()


def test_keys_are_for_their_owner_only_and_never_shown(tmp_path: Path) -> None:
    init_member(tmp_path / "a", "a", "127.0.0.1:9", "a ltd", ("party",))
    keys = tmp_path / "a" / "keys"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in keys.iterdir() if p.suffix == ".pem")
    identity = load_identity(tmp_path / "a")
    secret = (keys / "tls.pem").read_text().splitlines()[1]
    assert secret not in repr(identity)
    assert secret not in (tmp_path / "a" / "card.json").read_text()
    assert code(init_member, tmp_path / "a", "a", "127.0.0.1:9", "a ltd", ("party",)) == "config.exists"


def test_revoked_members_are_gone(roster: Path, tmp_path: Path) -> None:
    rosters.revoke(roster, "bank_c")
    signed(roster, "bank_c")
    rosters.install_roster(roster, tmp_path / "bank_a", now())
    read = rosters.Roster.load(tmp_path / "bank_a" / "roster.json")
    assert "bank_c" not in read.members_with("party")
    assert code(read.current, "bank_c", now()) == "roster.invalid"


# ---- over the wire


async def publish(channel: grpc.aio.Channel) -> str:
    """Ask for the catalog; how it failed, or "" if it did not."""
    try:
        await node_pb2_grpc.NodeStub(channel).Publish(node_pb2.PublishRequest(), timeout=5)
    except grpc.aio.AioRpcError as error:
        return f"{error.code().name} {error.details()}"
    finally:
        await channel.close()
    return ""


def connect(server: Member, key: bytes | None, certificate: bytes | None) -> grpc.aio.Channel:
    card = server.roster.member(server.name)
    mine = grpc.ssl_channel_credentials(card.certificate.encode(), key, certificate)
    return grpc.aio.secure_channel(card.address, mine, [("grpc.ssl_target_name_override", server.name)])


async def test_only_pinned_certificates_get_in(roster: Path, tmp_path: Path) -> None:
    signed(roster)
    for name in ROLES:
        rosters.install_roster(roster, tmp_path / name, now())
    _server, stop = await serve_node(tmp_path / "bank_a")
    try:
        member = Member(tmp_path / "bank_a")
        listed = load_identity(tmp_path / "bank_b")
        assert await publish(connect(member, listed.tls_key, listed.certificate)) == ""
        foreign = make_identity("bank_b", now())  # the right name, another key
        expired = make_identity("bank_b", now() - 20 * 365 * 86400)
        for who in (foreign, expired):
            assert "UNAVAILABLE" in await publish(connect(member, who.tls_key, who.certificate))
        assert "UNAVAILABLE" in await publish(connect(member, None, None))
    finally:
        await stop()


@pytest.mark.parametrize(
    ("version", "refused"), [(b"TLSv1.3", False), (b"TLSv1.2", True), (b"TLSv1.1", True), (b"", True)]
)
def test_only_tls_1_3_is_a_members_call(roster: Path, version: bytes, refused: bool) -> None:
    read = rosters.Roster.load(roster)

    class Call:
        """What gRPC tells of a connection: it negotiates 1.2 as well, so each call is asked."""

        def auth_context(self) -> dict[str, list[bytes]]:
            return {"ssl_tls_version": [version], "x509_pem_cert": [read.member("bank_b").certificate.encode()]}

    if refused:
        assert code(peer_name, Call(), read) == "peer.identity"
    else:
        assert peer_name(Call(), read) == "bank_b"  # type: ignore[arg-type]


async def test_a_server_with_another_certificate_is_not_talked_to(roster: Path, tmp_path: Path) -> None:
    signed(roster)
    for name in ROLES:
        rosters.install_roster(roster, tmp_path / name, now())
    # an impostor at bank_a's address: its own keys, under bank_a's name
    impostor = tmp_path / "impostor"
    shutil.copytree(tmp_path / "bank_a", impostor)
    shutil.rmtree(impostor / "keys")
    (impostor / "roster.json").unlink()
    address = rosters.Roster.load(roster).member("bank_a").address
    other = tmp_path / "elsewhere"
    init_member(other, "bank_a", address, "bank_a ltd", ("party",))
    shutil.copytree(other / "keys", impostor / "keys")
    theirs = tmp_path / "their-roster.json"
    rosters.add_card(theirs, other / "card.json")
    rosters.sign_roster(theirs, other)
    rosters.install_roster(theirs, impostor, now())
    _server, stop = await serve_node(impostor)
    try:
        client = Member(tmp_path / "bank_b")
        assert "UNAVAILABLE" in await publish(client.channel("bank_a"))
    finally:
        await stop()


async def test_a_member_whose_keys_the_roster_does_not_list_does_not_start(roster: Path, tmp_path: Path) -> None:
    signed(roster)
    rosters.install_roster(roster, tmp_path / "coordinator", now())
    shutil.rmtree(tmp_path / "coordinator" / "keys")
    init_member(tmp_path / "again", "coordinator", "127.0.0.1:9", "coordinator ltd", ("coordinator",))
    shutil.copytree(tmp_path / "again" / "keys", tmp_path / "coordinator" / "keys")
    with pytest.raises(LocalError) as caught:
        await serve_coordinator(tmp_path / "coordinator")
    assert caught.value.code == "peer.identity" or caught.value.code.startswith("roster")


def test_an_expired_card_is_not_current(roster: Path) -> None:
    read = rosters.Roster.load(roster)
    assert code(read.current, "bank_a", now() + 50 * 365 * 86400) == "roster.invalid"


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    for parties, modelers, name in ((["a", "a"], [], "a"), (["a", "helper"], [], "helper"), (["a", "b"], ["a"], "a")):
        with pytest.raises(LocalError, match=f"Two members are called {name}"):
            init_consortium(tmp_path / "c", parties=parties, modelers=modelers)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("address", ["nowhere", "10.0.0.1:99999", "10.0.0.1:", ":7700x"])
def test_a_wrong_address_is_told_before_anything_is_made(tmp_path: Path, address: str) -> None:
    with pytest.raises(LocalError, match="is no address") as caught:
        init_member(tmp_path / "tax", "tax", address, "Tax", ("party",))
    assert "--address HOST:PORT" in caught.value.advice and not (tmp_path / "tax").exists()
