"""The YAML codec: libyaml's emitter and parser, driven directly, in their safe forms.

PyYAML's own way through representers, serializers and generators costs several times what libyaml does. So the
events of the few kinds of data that there are, are made here, and the composed nodes are read here. What is rare
(tags, merges) is left to PyYAML.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Callable, Hashable
from datetime import date, datetime
from typing import Any

from typing_extensions import override
from yaml.constructor import SafeConstructor
from yaml.error import MarkedYAMLError
from yaml.events import (
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError
from yaml.resolver import Resolver

from ..errors import MalformedValueError
from .codec import Codec
from .value import utc

try:
    from yaml._yaml import CEmitter, CParser
except ImportError as missing:
    raise ImportError(
        "PyYAML was built without libyaml, which pydatatask needs. "
        "Install a binary wheel of PyYAML, or install the headers of libyaml and build PyYAML again."
    ) from missing

__all__ = ["YAML"]

MAX_DEPTH = 200
"""Lists and mappings that may stand within each other. Libyaml crashes far beyond it; Python's stack ends before."""

_TAG = "tag:yaml.org,2002:"
_STR, _SEQ, _MAP, _MERGE, _VALUE = _TAG + "str", _TAG + "seq", _TAG + "map", _TAG + "merge", _TAG + "value"


class _Yaml(Codec):
    """YAML 1.1 in block style. Moments are timestamps and bytes ``!!binary``.

    Reading takes whatever is safe in YAML. A timestamp without a timezone is taken for UTC, a date for its midnight;
    an empty document is None. What is nested deeper than :data:`MAX_DEPTH` is neither written nor read.
    """

    name = "YAML"

    @override
    def encode(self, data: Any) -> bytes:
        sink = io.BytesIO()
        emit: Callable[[Event], None] = CEmitter(sink, encoding="utf-8", allow_unicode=True, width=-1).emit
        emit(_STREAM_START)
        emit(_DOCUMENT_START)
        _emit(emit, ScalarEvent(None, None, _PLAIN, ""), data, MAX_DEPTH)
        emit(_DOCUMENT_END)
        emit(_STREAM_END)
        return sink.getvalue()

    @override
    def decode(self, raw: bytes) -> Any:
        try:
            return _Loader(raw).load()
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            problem = ", ".join(part for part in (error.context, error.problem) if part)
            raise MalformedValueError(f"no valid YAML ({problem}{where})") from error
        except ReaderError as error:
            raise MalformedValueError(f"no valid YAML ({error.reason} at byte {error.position})") from error
        except RecursionError as error:
            raise MalformedValueError("YAML that contains itself or is nested too deeply") from error


YAML: Codec = _Yaml()
"""The YAML codec."""


# Writing. The emitter copies what it is given, so one event serves many times.

_STREAM_START, _STREAM_END = StreamStartEvent(encoding="utf-8"), StreamEndEvent()
_DOCUMENT_START, _DOCUMENT_END = DocumentStartEvent(explicit=False), DocumentEndEvent(explicit=False)
_MAPPING_START, _MAPPING_END = MappingStartEvent(None, None, True, flow_style=False), MappingEndEvent()
_SEQUENCE_START, _SEQUENCE_END = SequenceStartEvent(None, None, True, flow_style=False), SequenceEndEvent()
_PLAIN, _QUOTED, _EITHER = (True, False), (False, True), (True, True)
"""Whether a scalar's tag may be left out where it is written plain, and where it is quoted."""

_RESOLVERS: dict[str, list[tuple[str, re.Pattern[str]]]] = Resolver.yaml_implicit_resolvers
_CORE_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|0o[0-7]+")
"""Numbers to YAML 1.2. PyYAML reads some of them as strings; other programs must too."""


def _tag_of(text: str) -> str:
    """Tell what a text means where it is written plain."""
    for tag, pattern in _RESOLVERS.get(text[:1], ()):
        if pattern.match(text):
            return tag
    return _STR


def _emit(emit: Callable[[Event], None], scalar: ScalarEvent, data: Any, depth: int) -> None:
    kind = type(data)
    if kind is str:
        _emit_text(emit, scalar, data)
    elif kind is dict:
        _check_depth(depth)
        emit(_MAPPING_START)
        for key, value in data.items():
            _emit_text(emit, scalar, key)
            _emit(emit, scalar, value, depth - 1)
        emit(_MAPPING_END)
    elif kind is list:
        _check_depth(depth)
        emit(_SEQUENCE_START)
        for item in data:
            _emit(emit, scalar, item, depth - 1)
        emit(_SEQUENCE_END)
    elif kind is bytes:
        emit(ScalarEvent(None, _TAG + "binary", (False, False), base64.encodebytes(data).decode("ascii"), style="|"))
    else:
        scalar.implicit = _PLAIN
        scalar.style = None
        scalar.value = _SCALARS[kind](data)
        emit(scalar)


def _check_depth(depth: int) -> None:
    if depth <= 0:
        raise MalformedValueError("nested too deeply for YAML")


def _emit_text(emit: Callable[[Event], None], scalar: ScalarEvent, text: str) -> None:
    first = text[:1]
    if first in _RESOLVERS and (_tag_of(text) != _STR or _CORE_NUMBER.fullmatch(text)):
        scalar.implicit = _QUOTED
    else:
        scalar.implicit = _EITHER
    # The emitter quotes and escapes by itself what a plain text or a block cannot hold.
    scalar.style = "|" if "\n" in text else None
    scalar.value = text
    emit(scalar)


def _float(number: float) -> str:
    if not math.isfinite(number):
        return ".nan" if math.isnan(number) else ".inf" if number > 0 else "-.inf"
    text = repr(number)
    # YAML 1.1 wants a point in every floating-point number.
    return text if "." in text else text.replace("e", ".0e")


_SCALARS: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: "null",
    bool: lambda truth: "true" if truth else "false",
    int: str,
    float: _float,
    datetime: lambda moment: moment.isoformat(" ", "milliseconds"),
}


# Reading.


class _Loader(CParser, SafeConstructor):
    def __init__(self, raw: bytes) -> None:
        CParser.__init__(self, raw)
        SafeConstructor.__init__(self)
        self._depth = 0
        # An aliased node is read once, or a few hundred bytes could make work for years.
        self._read: dict[Node, Any] = {}

    def load(self) -> Any:
        node = self.get_single_node()
        return None if node is None else self._value(node)

    # What the parser calls while it composes nodes.

    def resolve(self, kind: type[Node], value: str, implicit: tuple[bool, bool] | bool) -> str:
        if kind is ScalarNode:
            return _tag_of(value) if isinstance(implicit, tuple) and implicit[0] else _STR
        return _MAP if kind is MappingNode else _SEQ

    def descend_resolver(self, parent: Node | None, index: object) -> None:
        # The parser recurses in C and knows no limit.
        self._depth += 1
        if self._depth > MAX_DEPTH + 1:
            raise RecursionError

    def ascend_resolver(self) -> None:
        self._depth -= 1

    # What reads the nodes.

    def _value(self, node: Node) -> Any:
        tag = node.tag
        if isinstance(node, ScalarNode):
            return node.value if tag == _STR else self._scalar(node)
        if node in self._read:
            return self._read[node]
        if tag == _MAP and isinstance(node, MappingNode):
            value: Any = self._mapping(node)
        elif tag == _SEQ and isinstance(node, SequenceNode):
            value = []
            # A comprehension would be one more frame for each level.
            for item in node.value:
                value.append(self._value(item))
        else:
            value = self.construct_object(node, deep=True)
        self._read[node] = value
        return value

    def _mapping(self, node: MappingNode) -> dict[Any, Any]:
        mapping: dict[Any, Any] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                self.flatten_mapping(node)
                return self._mapping(node)
            name = self._value(key)
            if not isinstance(name, Hashable):
                raise MarkedYAMLError(problem="found unhashable key", problem_mark=key.start_mark)
            mapping[name] = self._value(value)
        return mapping

    def _scalar(self, node: ScalarNode) -> Any:
        read = _READERS.get(node.tag)
        try:
            return self.construct_object(node, deep=True) if read is None else read(self, node)
        except (ValueError, LookupError, AttributeError) as error:
            # How PyYAML fails on a text that is not what its tag says.
            problem = f"found no valid {node.tag.removeprefix(_TAG)}"
            raise MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error

    def construct_moment(self, node: ScalarNode) -> datetime:
        try:
            moment: date = datetime.fromisoformat(node.value)
        except ValueError:
            moment = self.construct_yaml_timestamp(node)
        if not isinstance(moment, datetime):
            moment = datetime(moment.year, moment.month, moment.day)
        return utc(moment)


_READERS: dict[str, Callable[[_Loader, ScalarNode], Any]] = {
    _TAG + "null": _Loader.construct_yaml_null,
    _TAG + "bool": _Loader.construct_yaml_bool,
    _TAG + "int": _Loader.construct_yaml_int,
    _TAG + "float": _Loader.construct_yaml_float,
    _TAG + "timestamp": _Loader.construct_moment,
    _MERGE: lambda _, node: node.value,
    _VALUE: lambda _, node: node.value,
}
"""What reads the scalars that plain text may mean."""
