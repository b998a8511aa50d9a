"""Entries: one canonical form, signatures under DSSE, and interoperability with an independent implementation."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mpc.evidence.entry import EVENTS, PAYLOAD_TYPE, Chain, Entry, Event, canonical, make_entry, pae
from mpc.evidence.note import Malformed

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
EVENT = Event("bank_a", "sent", 1_790_000_000, "ab" * 32, 1, 3, "cd" * 32, {"step": "pool0/w64", "len": 80})

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_canonical_is_rfc_8785(value: dict[str, Any]) -> None:
    assert canonical(value) == rfc8785.dumps(value)


def test_an_entry_is_read_back() -> None:
    entry = make_entry(EVENT, "bank_a", KEY.sign)
    assert Entry.from_bytes(entry.to_bytes()) == entry
    assert entry.signed_by(PUBLIC) and not entry.signed_by(bytes(32))
    assert len(entry.to_bytes()) < 1024


def test_the_envelope_is_dsse() -> None:
    """Checked by hand after the specification: PAE, base64, field names."""
    entry = make_entry(EVENT, "bank_a", KEY.sign)
    envelope = json.loads(entry.to_bytes())
    payload = base64.b64decode(envelope["payload"])
    assert envelope["payloadType"] == PAYLOAD_TYPE
    kind = PAYLOAD_TYPE.encode()
    signed = b"DSSEv1 " + str(len(kind)).encode() + b" " + kind + b" " + str(len(payload)).encode() + b" " + payload
    assert pae(payload) == signed
    KEY.public_key().verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed)


def test_an_independent_implementation_verifies_it() -> None:
    dsse = pytest.importorskip("securesystemslib.dsse")
    signer = pytest.importorskip("securesystemslib.signer")
    envelope = dsse.Envelope.from_dict(json.loads(make_entry(EVENT, "bank_a", KEY.sign).to_bytes()))
    key = signer.SSlibKey("bank_a", "ed25519", "ed25519", {"public": PUBLIC.hex()})
    assert "bank_a" in envelope.verify([key], 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw + b" ",
        lambda raw: b" " + raw,
        lambda raw: raw.replace(b'"keyid":', b'"keyid": '),
        lambda raw: raw.replace(b'"payload":"', b'"payload":"!'),
        lambda raw: raw[:-1],
        lambda raw: b"[]",
        lambda raw: b"{}",
        lambda raw: b"\xff" + raw,
        lambda raw: json.dumps({**json.loads(raw), "more": 1}).encode(),
        lambda raw: b"[" * 50_000,
    ],
)
def test_anything_but_the_one_form_is_refused(change: Any) -> None:
    with pytest.raises(Malformed):
        Entry.from_bytes(change(make_entry(EVENT, "bank_a", KEY.sign).to_bytes()))


@pytest.mark.parametrize(
    "field",
    [{"v": 2}, {"v": True}, {"seq": -1}, {"time": 1.5}, {"node": 3}, {"facts": []}, {"more": 1}, {"seq": 2**53}],
)
def test_events_with_wrong_fields_are_refused(field: dict[str, Any]) -> None:
    body = {**json.loads(EVENT.payload), **field}
    payload = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": "bank_a", "sig": base64.b64encode(KEY.sign(pae(payload))).decode()}],
    }
    with pytest.raises(Malformed):
        Entry.from_bytes(rfc8785.dumps(envelope))


def test_chains_of_several_jobs_do_not_mix() -> None:
    chain = Chain("bank_a", lambda: 1_790_000_000)
    first, other, second = (chain.event("sent", job, 1, {}) for job in ("aa", "bb", "aa"))
    assert (first.seq, other.seq, second.seq) == (0, 0, 1)
    assert second.prev == first.digest() and other.prev == first.prev == ""
    with pytest.raises(AssertionError):
        chain.event("invented", "aa", 1, {})
    assert all(EVENTS.values())
