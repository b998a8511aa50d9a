from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PublishRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SignedCatalog(_message.Message):
    __slots__ = ("party", "catalog", "signature")
    PARTY_FIELD_NUMBER: _ClassVar[int]
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    party: str
    catalog: bytes
    signature: bytes
    def __init__(self, party: _Optional[str] = ..., catalog: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class SignedJob(_message.Message):
    __slots__ = ("job", "signature")
    JOB_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    job: bytes
    signature: bytes
    def __init__(self, job: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Proposal(_message.Message):
    __slots__ = ("job", "catalogs", "attempt", "dry_run")
    JOB_FIELD_NUMBER: _ClassVar[int]
    CATALOGS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    job: SignedJob
    catalogs: _containers.RepeatedCompositeFieldContainer[SignedCatalog]
    attempt: int
    dry_run: bool
    def __init__(self, job: _Optional[_Union[SignedJob, _Mapping]] = ..., catalogs: _Optional[_Iterable[_Union[SignedCatalog, _Mapping]]] = ..., attempt: _Optional[int] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class Approval(_message.Message):
    __slots__ = ("statement", "signature")
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    statement: bytes
    signature: bytes
    def __init__(self, statement: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class RunRequest(_message.Message):
    __slots__ = ("job", "attempt", "approvals")
    JOB_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    APPROVALS_FIELD_NUMBER: _ClassVar[int]
    job: bytes
    attempt: int
    approvals: _containers.RepeatedCompositeFieldContainer[Approval]
    def __init__(self, job: _Optional[bytes] = ..., attempt: _Optional[int] = ..., approvals: _Optional[_Iterable[_Union[Approval, _Mapping]]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("phase", "done", "total", "bytes_sent")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    BYTES_SENT_FIELD_NUMBER: _ClassVar[int]
    phase: str
    done: int
    total: int
    bytes_sent: int
    def __init__(self, phase: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., bytes_sent: _Optional[int] = ...) -> None: ...

class AbortRequest(_message.Message):
    __slots__ = ("job", "attempt", "error")
    JOB_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    job: bytes
    attempt: int
    error: bytes
    def __init__(self, job: _Optional[bytes] = ..., attempt: _Optional[int] = ..., error: _Optional[bytes] = ...) -> None: ...

class AbortReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CloseRequest(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: bytes
    def __init__(self, job: _Optional[bytes] = ...) -> None: ...

class CloseReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class QuestionsRequest(_message.Message):
    __slots__ = ("job", "attempt", "digests")
    JOB_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    job: bytes
    attempt: int
    digests: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, job: _Optional[bytes] = ..., attempt: _Optional[int] = ..., digests: _Optional[_Iterable[bytes]] = ...) -> None: ...

class EarlierQuestion(_message.Message):
    __slots__ = ("body",)
    BODY_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    def __init__(self, body: _Optional[bytes] = ...) -> None: ...

class NodeResultRequest(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: bytes
    def __init__(self, job: _Optional[bytes] = ...) -> None: ...

class NodeResultReply(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: bytes
    def __init__(self, result: _Optional[bytes] = ...) -> None: ...
