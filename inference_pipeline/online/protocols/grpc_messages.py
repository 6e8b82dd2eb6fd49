"""The messages of `inference.GRPCInferenceService`, the Open Inference Protocol over gRPC, made when they are first needed.

They are written here and not generated: so no compiler is needed to build the project, and they share no names with a client of
the protocol in the same process.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

PACKAGE = "inference"
_MESSAGES = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "live:bool",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "ready:bool",
    "ModelReadyRequest": "name:string version:string",
    "ModelReadyResponse": "ready:bool",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name:string version:string extensions:[string]",
    "ModelMetadataRequest": "name:string version:string",
    "ModelMetadataResponse": "name:string versions:[string] platform:string inputs:[TensorMetadata] outputs:[TensorMetadata]",
    "TensorMetadata": "name:string datatype:string shape:[int64]",
    "ModelInferRequest": "model_name:string model_version:string id:string parameters:{InferParameter} "
    "inputs:[InferInputTensor] outputs:[InferRequestedOutputTensor] raw_input_contents:[bytes]",
    "InferInputTensor": "name:string datatype:string shape:[int64] parameters:{InferParameter} contents:InferTensorContents",
    "InferRequestedOutputTensor": "name:string parameters:{InferParameter}",
    "ModelInferResponse": "model_name:string model_version:string id:string parameters:{InferParameter} "
    "outputs:[InferOutputTensor] raw_output_contents:[bytes]",
    "InferOutputTensor": "name:string datatype:string shape:[int64] parameters:{InferParameter} contents:InferTensorContents",
    "InferParameter": "|bool_param:bool |int64_param:int64 |string_param:string",
    "InferTensorContents": "bool_contents:[bool] int_contents:[int32] int64_contents:[int64] uint_contents:[uint32] "
    "uint64_contents:[uint64] fp32_contents:[float] fp64_contents:[double] bytes_contents:[bytes]",
    "RepositoryIndexRequest": "repository_name:string ready:bool",
    "RepositoryIndexResponse": "models:[ModelIndex]",
    "ModelIndex": "name:string version:string state:string reason:string",
}
"""Message → its fields, in the order of their numbers. `[T]` is repeated, `{T}` maps texts to T, and `|` marks a choice."""
_SCALARS = {
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "float": FieldDescriptorProto.TYPE_FLOAT,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "string": FieldDescriptorProto.TYPE_STRING,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
    "uint64": FieldDescriptorProto.TYPE_UINT64,
}


@cache
def message(name: str) -> Any:
    """The class of a message."""
    return GetMessageClass(_pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


@cache
def _pool() -> DescriptorPool:
    pool = DescriptorPool()
    file = FileDescriptorProto(name="open_inference.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        _add_message(file.message_type.add(name=name), fields.split())
    pool.Add(file)
    return pool


def _add_message(message: DescriptorProto, fields: list[str]) -> None:
    for number, field in enumerate(fields, 1):
        name, _, kind = field.lstrip("|").partition(":")
        added = message.field.add(name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
        if kind[0] in "[{":
            added.label = FieldDescriptorProto.LABEL_REPEATED
        _set_type(added, _map_entry(message, name, kind[1:-1]) if kind[0] == "{" else kind.strip("[]"))
        if field.startswith("|"):
            added.oneof_index = 0
    if any(field.startswith("|") for field in fields):
        message.oneof_decl.add(name="parameter_choice")


def _set_type(field: FieldDescriptorProto, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{PACKAGE}.{kind}"


def _map_entry(message: DescriptorProto, name: str, kind: str) -> str:
    """Add the type of a map's entries, as protobuf keeps them."""
    entry = message.nested_type.add(name=f"{name.title()}Entry")
    entry.options.map_entry = True
    for number, (part, of) in enumerate((("key", "string"), ("value", kind)), 1):
        _set_type(entry.field.add(name=part, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL), of)
    return f"{message.name}.{entry.name}"
