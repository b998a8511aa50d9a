from parties.rpc.v1 import node_pb2 as _node_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DepositRef(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: str
    def __init__(self, job: _Optional[str] = ...) -> None: ...

class KeyRequest(_message.Message):
    __slots__ = ("method",)
    METHOD_FIELD_NUMBER: _ClassVar[int]
    method: str
    def __init__(self, method: _Optional[str] = ...) -> None: ...

class KeyPart(_message.Message):
    __slots__ = ("head", "data")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    head: SignedKey
    data: bytes
    def __init__(self, head: _Optional[_Union[SignedKey, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class KeyKept(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SignedKey(_message.Message):
    __slots__ = ("member", "method", "key", "made", "signature")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    MADE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    member: str
    method: str
    key: bytes
    made: int
    signature: bytes
    def __init__(self, member: _Optional[str] = ..., method: _Optional[str] = ..., key: _Optional[bytes] = ..., made: _Optional[int] = ..., signature: _Optional[bytes] = ...) -> None: ...

class PrepareRequest(_message.Message):
    __slots__ = ("recipient", "method")
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    recipient: str
    method: str
    def __init__(self, recipient: _Optional[str] = ..., method: _Optional[str] = ...) -> None: ...

class PrepareReply(_message.Message):
    __slots__ = ("catalogs", "missing", "key")
    class MissingEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CATALOGS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    catalogs: _containers.RepeatedCompositeFieldContainer[_node_pb2.SignedCatalog]
    missing: _containers.ScalarMap[str, str]
    key: SignedKey
    def __init__(self, catalogs: _Optional[_Iterable[_Union[_node_pb2.SignedCatalog, _Mapping]]] = ..., missing: _Optional[_Mapping[str, str]] = ..., key: _Optional[_Union[SignedKey, _Mapping]] = ...) -> None: ...

class LookRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: SignedKey
    def __init__(self, key: _Optional[_Union[SignedKey, _Mapping]] = ...) -> None: ...

class LookReply(_message.Message):
    __slots__ = ("jobs",)
    JOBS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[OpenDeposit]
    def __init__(self, jobs: _Optional[_Iterable[_Union[OpenDeposit, _Mapping]]] = ...) -> None: ...

class OpenDeposit(_message.Message):
    __slots__ = ("job", "catalogs", "state", "error")
    JOB_FIELD_NUMBER: _ClassVar[int]
    CATALOGS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    job: _node_pb2.SignedJob
    catalogs: _containers.RepeatedCompositeFieldContainer[_node_pb2.SignedCatalog]
    state: str
    error: bytes
    def __init__(self, job: _Optional[_Union[_node_pb2.SignedJob, _Mapping]] = ..., catalogs: _Optional[_Iterable[_Union[_node_pb2.SignedCatalog, _Mapping]]] = ..., state: _Optional[str] = ..., error: _Optional[bytes] = ...) -> None: ...

class Left(_message.Message):
    __slots__ = ("head", "data")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    head: DepositHead
    data: bytes
    def __init__(self, head: _Optional[_Union[DepositHead, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class DepositHead(_message.Message):
    __slots__ = ("job", "statement", "signature", "approval")
    JOB_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    job: bytes
    statement: bytes
    signature: bytes
    approval: _node_pb2.Approval
    def __init__(self, job: _Optional[bytes] = ..., statement: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., approval: _Optional[_Union[_node_pb2.Approval, _Mapping]] = ...) -> None: ...

class Withdrawal(_message.Message):
    __slots__ = ("job", "statement", "signature")
    JOB_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    job: bytes
    statement: bytes
    signature: bytes
    def __init__(self, job: _Optional[bytes] = ..., statement: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Kept(_message.Message):
    __slots__ = ("receipt",)
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: bytes
    def __init__(self, receipt: _Optional[bytes] = ...) -> None: ...

class Declined(_message.Message):
    __slots__ = ("job", "error")
    JOB_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    job: bytes
    error: bytes
    def __init__(self, job: _Optional[bytes] = ..., error: _Optional[bytes] = ...) -> None: ...

class DeclinedReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Collected(_message.Message):
    __slots__ = ("head", "data")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    head: CollectedHead
    data: bytes
    def __init__(self, head: _Optional[_Union[CollectedHead, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class CollectedHead(_message.Message):
    __slots__ = ("job", "catalogs", "deposits")
    JOB_FIELD_NUMBER: _ClassVar[int]
    CATALOGS_FIELD_NUMBER: _ClassVar[int]
    DEPOSITS_FIELD_NUMBER: _ClassVar[int]
    job: _node_pb2.SignedJob
    catalogs: _containers.RepeatedCompositeFieldContainer[_node_pb2.SignedCatalog]
    deposits: _containers.RepeatedCompositeFieldContainer[DepositHead]
    def __init__(self, job: _Optional[_Union[_node_pb2.SignedJob, _Mapping]] = ..., catalogs: _Optional[_Iterable[_Union[_node_pb2.SignedCatalog, _Mapping]]] = ..., deposits: _Optional[_Iterable[_Union[DepositHead, _Mapping]]] = ...) -> None: ...

class OwnDeposit(_message.Message):
    __slots__ = ("job", "state", "submitter", "recipient", "purpose", "sql", "closes", "error")
    JOB_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SUBMITTER_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    SQL_FIELD_NUMBER: _ClassVar[int]
    CLOSES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    job: str
    state: str
    submitter: str
    recipient: str
    purpose: str
    sql: str
    closes: int
    error: bytes
    def __init__(self, job: _Optional[str] = ..., state: _Optional[str] = ..., submitter: _Optional[str] = ..., recipient: _Optional[str] = ..., purpose: _Optional[str] = ..., sql: _Optional[str] = ..., closes: _Optional[int] = ..., error: _Optional[bytes] = ...) -> None: ...

class OwnDepositsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class OwnDepositsReply(_message.Message):
    __slots__ = ("deposits",)
    DEPOSITS_FIELD_NUMBER: _ClassVar[int]
    deposits: _containers.RepeatedCompositeFieldContainer[OwnDeposit]
    def __init__(self, deposits: _Optional[_Iterable[_Union[OwnDeposit, _Mapping]]] = ...) -> None: ...
