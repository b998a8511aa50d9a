"""What a receiver signs when a message has come in whole: both ends then hold the same digest of the exact bytes."""

from __future__ import annotations

from mpc.crypto.labels import framed

RECEIPT = "receipt"


def receipt_bytes(job: bytes, attempt: int, sender: str, receiver: str, number: int, step: str, digest: bytes) -> bytes:
    """The signed text: ``receiver`` has of ``sender`` message ``number`` of this attempt, said at ``step``, with this
    SHA-256. Signed under the label ``receipt``."""
    return framed(
        job,
        attempt.to_bytes(4, "big"),
        sender.encode(),
        receiver.encode(),
        number.to_bytes(8, "big"),
        step.encode(),
        digest,
    )
