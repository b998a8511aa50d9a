from parties.rpc.v1 import node_pb2 as _node_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CatalogsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CatalogsReply(_message.Message):
    __slots__ = ("catalogs", "missing")
    class MissingEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CATALOGS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    catalogs: _containers.RepeatedCompositeFieldContainer[_node_pb2.SignedCatalog]
    missing: _containers.ScalarMap[str, str]
    def __init__(self, catalogs: _Optional[_Iterable[_Union[_node_pb2.SignedCatalog, _Mapping]]] = ..., missing: _Optional[_Mapping[str, str]] = ...) -> None: ...

class PreviewRequest(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: bytes
    def __init__(self, job: _Optional[bytes] = ...) -> None: ...

class PreviewReply(_message.Message):
    __slots__ = ("verdicts",)
    class VerdictsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    verdicts: _containers.ScalarMap[str, bytes]
    def __init__(self, verdicts: _Optional[_Mapping[str, bytes]] = ...) -> None: ...

class JobRef(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: str
    def __init__(self, job: _Optional[str] = ...) -> None: ...

class JobStatus(_message.Message):
    __slots__ = ("job", "state", "submitter", "recipients", "attempt", "created", "updated", "expires", "error", "phase", "done", "total", "bytes", "sql", "purpose")
    JOB_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SUBMITTER_FIELD_NUMBER: _ClassVar[int]
    RECIPIENTS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    UPDATED_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    SQL_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    job: str
    state: str
    submitter: str
    recipients: _containers.RepeatedScalarFieldContainer[str]
    attempt: int
    created: int
    updated: int
    expires: int
    error: bytes
    phase: str
    done: int
    total: int
    bytes: int
    sql: str
    purpose: str
    def __init__(self, job: _Optional[str] = ..., state: _Optional[str] = ..., submitter: _Optional[str] = ..., recipients: _Optional[_Iterable[str]] = ..., attempt: _Optional[int] = ..., created: _Optional[int] = ..., updated: _Optional[int] = ..., expires: _Optional[int] = ..., error: _Optional[bytes] = ..., phase: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., bytes: _Optional[int] = ..., sql: _Optional[str] = ..., purpose: _Optional[str] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListReply(_message.Message):
    __slots__ = ("jobs",)
    JOBS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[JobStatus]
    def __init__(self, jobs: _Optional[_Iterable[_Union[JobStatus, _Mapping]]] = ...) -> None: ...

class OverRequest(_message.Message):
    __slots__ = ("jobs",)
    JOBS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, jobs: _Optional[_Iterable[str]] = ...) -> None: ...

class OverReply(_message.Message):
    __slots__ = ("over",)
    class OverEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    OVER_FIELD_NUMBER: _ClassVar[int]
    over: _containers.ScalarMap[str, bytes]
    def __init__(self, over: _Optional[_Mapping[str, bytes]] = ...) -> None: ...

class Sealed(_message.Message):
    __slots__ = ("proof", "total")
    PROOF_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    proof: bytes
    total: Total
    def __init__(self, proof: _Optional[bytes] = ..., total: _Optional[_Union[Total, _Mapping]] = ...) -> None: ...

class Total(_message.Message):
    __slots__ = ("sum", "offset", "data")
    SUM_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    sum: str
    offset: int
    data: bytes
    def __init__(self, sum: _Optional[str] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...
