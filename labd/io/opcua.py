"""OPC UA: one server by one client, request and answer, each with a deadline.

There are no subscriptions: one that a server forgets, or that a reconnect leaves behind, says nothing for ever and
looks like a quiet machine. What is read is read when it is asked for, with the time stamps of its source. And there is
no second life of a connection: after a loss, a time-out or a lost session the next request opens a new client.

The library (asyncua) is loaded with the first connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from labd import clock
from labd.io.opcua_client import Access, Policy, abort, connected, stands
from labd.io.tap import Direction, Kind, Tapped
from labd.sdk.errors import DeviceError, Fault, OutcomeUnknown, Rejected, Unreachable

if TYPE_CHECKING:
    from asyncua import Client, ua

DEADLINE = 5.0  # s
RENEW = 0.75  # of a secure channel's life, after which it is renewed (OPC 10000-4, 5.5.2)
PORT = 4840
_T = TypeVar("_T")

__all__ = ["Access", "OpcUaLink", "Policy", "Value", "checked_address"]

_SESSION_GONE = frozenset(
    f"Bad{name}"
    for name in (
        *("SessionIdInvalid", "SessionClosed", "SessionNotActivated", "SecureChannelIdInvalid", "SecureChannelClosed"),
        *("TcpSecureChannelUnknown", "SecureChannelTokenUnknown", "ServerNotConnected", "Shutdown", "ServerHalted"),
    )
)
_UNSURE = frozenset(
    {"BadTimeout", "BadRequestTimeout", "BadCommunicationError", "BadNoCommunication", "BadWaitingForResponse"}
)
_BROKEN = frozenset(
    {"BadDeviceFailure", "BadSensorFailure", "BadOutOfService", "BadInternalError", "BadUnexpectedError"}
)
_WORDS = {
    "BadUserAccessDenied": "access denied; does this user have the right to?",
    "BadNotWritable": "it cannot be written",
    "BadNotExecutable": "that method cannot be called now",
    "BadInvalidState": "not in its present state",
    "BadNodeIdUnknown": "there is no such node",
    "BadNodeIdInvalid": "there is no such node",
    "BadNoMatch": "there is no such node",
    "BadNotConnected": "the server has no connection to its machine",
}


@dataclass(frozen=True, slots=True)
class Value:
    """One value as the server has it.

    Args:
        value: a Python value; of a LocalizedText its text; None when the status is bad.
        status: its name, `Good`, `BadSensorFailure`.
        source, server: when the machine and when the server made it, by their clocks.
    """

    value: Any
    status: str
    source: datetime | None = None
    server: datetime | None = None

    @property
    def good(self) -> bool:
        return not self.status.startswith("Bad")

    @property
    def age(self) -> float | None:
        """By how much the server has outlived its source, s; both stamps are of one side, so no clock need agree."""
        if self.source is None or self.server is None:
            return None
        return max(0.0, (self.server - self.source).total_seconds())


def checked_address(address: str) -> str:
    """An address with its port. Raises ValueError that says how to write one."""
    try:
        url = urlsplit(address)
        port = url.port
    except ValueError as error:
        raise ValueError(f"{address!r} is no address: {error}") from error
    if url.scheme != "opc.tcp" or not url.hostname or url.username or url.query:
        raise ValueError(f"{address!r} is no OPC UA address; write `opc.tcp://10.0.0.7:4840`")
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return f"opc.tcp://{host}:{PORT if port is None else port}{url.path}"


class OpcUaLink(Tapped):
    """One OPC UA server. Its tap is told requests and answers as JSON; never logins and certificates.

    Nodes are named as `s=…`, `i=…` or `ns=2;s=…` (an id; without `ns` in the namespace that `namespaces` has first), or
    by their path of browse names from the folder Objects, `Box/ml:Status/0:Name`; `ml:` is a name of `namespaces`, `0:`
    OPC UA's own, and without one it is the first.

    Every request raises:
        Unreachable: no session came about, or the server had forgotten it; nothing was done.
        OutcomeUnknown: it was sent, and no answer came within the deadline.
        Rejected, Fault: the server refused.

    Args:
        address: `opc.tcp://host:port/path`.
        namespaces: namespace URIs by the short names that nodes are written with.
        access: who the client is.
        deadline: s for connecting, and again for each request.
    """

    kind: ClassVar[Kind] = "opcua"

    def __init__(
        self,
        address: str,
        *,
        namespaces: Mapping[str, str] | None = None,
        access: Access | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        self.address = checked_address(address)
        self.deadline = deadline
        self._namespaces = dict(namespaces or {})
        self._access = access or Access()
        self._client: Client | None = None
        self._nodes: dict[str, ua.NodeId] = {}
        self._indices: dict[str, int] = {}
        self._lock = asyncio.Lock()
        self._renew_at = 0.0

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def read(self, nodes: Sequence[str]) -> list[Value]:
        """The values of so many nodes, in one request. A value that is bad is no error."""

        async def read(client: Client) -> list[Value]:
            from asyncua import ua

            ids = await self._ids(client, nodes)
            found = await client.uaclient.read_attributes(ids, ua.AttributeIds.Value)
            return [_value(one) for one in found]

        self._tell("out", {"read": list(nodes)})
        found = await self._request(f"read {', '.join(nodes)}", read)
        self._tell("in", found)
        return found

    async def write(self, node: str, value: Any, kind: str | None = None) -> None:
        """Writes a value, as the type that the node has (or the named one, `Boolean`, `Int16`, `Double`)."""

        async def write(client: Client) -> None:
            from asyncua import ua

            (at,) = await self._ids(client, [node])
            if kind is None:
                (now,) = await client.uaclient.read_attributes([at], ua.AttributeIds.Value)
                variant = now.Value.VariantType if now.Value is not None else None
            else:
                variant = ua.VariantType[kind]
            data = ua.DataValue(ua.Variant(value, variant))
            (status,) = await client.uaclient.write_attributes([at], [data], ua.AttributeIds.Value)
            status.check()

        self._tell("out", {"write": [node, value, kind]})
        await self._request(f"write {node} {value!r}", write)
        self._tell("in", None)

    async def call(self, method: str, arguments: Sequence[tuple[Any, str]] = ()) -> list[Any]:
        """Calls a method of the object that its path goes through, and gives what it returns.

        Args:
            method: its path.
            arguments: values with the names of their types; a type `String[]` is an array.
        """

        async def call(client: Client) -> list[Any]:
            from asyncua import ua

            owner, _, _ = method.rpartition("/")
            parent, at = await self._ids(client, [owner, method])
            request = ua.CallMethodRequest(parent, at, [_variant(value, kind) for value, kind in arguments])
            (result,) = await client.uaclient.call([request])
            result.StatusCode.check()
            return [_plain(one.Value) for one in result.OutputArguments]

        self._tell("out", {"call": [method, list(arguments)]})
        found = await self._request(f"call {method}", call)
        self._tell("in", found)
        return found

    def _tell(self, direction: Direction, said: object) -> None:
        """Puts a request or an answer into words for whoever records."""
        if self.tap is not None:
            self.tap(direction, json.dumps(said, default=_in_words).encode())

    # ── the connection ───────────────────────────────────────────────────────────────────────────────────────────
    async def open(self) -> None:
        """Opens a session, unless one stands. Raises Unreachable."""
        async with self._lock:
            await self._ready()

    async def close(self) -> None:
        """Closes the session. Never raises; the next request opens another."""
        client, self._client = self._client, None
        if client is None:
            return
        with contextlib.suppress(Exception):  # whatever a broken connection makes of it: it is over
            async with asyncio.timeout(1.0):
                await client.close_session()
                await client.close_secure_channel()
        abort(client)
        await asyncio.sleep(0)  # the transport closes its socket in the loop's next round

    async def _request(self, what: str, ask: Callable[[Client], Awaitable[_T]]) -> _T:
        async with self._lock:
            client = await self._ready()
            whole = False
            try:
                async with asyncio.timeout(self.deadline):
                    answer = await ask(client)
                whole = True
            except TimeoutError as error:
                self._tell("in", {"error": "no answer in time"})
                raise OutcomeUnknown(f"no answer from {self.address} within {self.deadline:g} s", sent=what) from error
            except Exception as error:
                problem = self._told(error, what)
                self._tell("in", {"error": str(problem)})
                whole = isinstance(problem, (Rejected, Fault))
                raise problem from error
            finally:
                if not whole:
                    self._drop()  # cancelled, too: its answer may still be on the way
            return answer

    def _told(self, error: Exception, what: str) -> DeviceError:
        """The driver's error of a request that failed."""
        from asyncua import ua

        if isinstance(error, ua.UaStatusCodeError):
            name = type(error).__name__
            words = f"{self.address} refused: {_WORDS.get(name, str(error))} ({name})"
            if name in _SESSION_GONE:
                return Unreachable(f"{self.address} has no session for labd any more ({name}); a new one is opened")
            if name in _UNSURE:
                return OutcomeUnknown(f"{self.address}: {name}", sent=what)
            return (Fault if name in _BROKEN else Rejected)(words, sent=what)
        if isinstance(error, DeviceError):
            return error
        return OutcomeUnknown(f"the connection to {self.address} was lost: {error or type(error).__name__}", sent=what)

    async def _ready(self) -> Client:
        """The client with its session; a new one where the old is lost."""
        client = self._client
        if client is not None and stands(client):
            if clock.monotonic() >= self._renew_at:
                client = await self._renewed(client)
            if client is not None:
                return client
        self._drop()
        client = await connected(self.address, self._access, self.deadline)
        try:
            async with asyncio.timeout(self.deadline):
                self._indices = await self._found_namespaces(client)
        except TimeoutError as error:
            abort(client)
            raise Unreachable(f"{self.address} does not tell its namespaces within {self.deadline:g} s") from error
        except Unreachable:
            abort(client)
            raise
        except Exception as error:
            abort(client)
            raise Unreachable(f"{self.address} was lost again: {error or type(error).__name__}") from error
        except BaseException:
            abort(client)
            raise
        self._nodes.clear()
        self._client = client
        self._renew_later(client)
        return client

    def _renew_later(self, client: Client) -> None:
        self._renew_at = clock.monotonic() + RENEW * client.secure_channel_timeout / 1000

    async def _renewed(self, client: Client) -> Client | None:
        """The same client on a renewed channel; None when that failed, and another one is needed."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(self.deadline):
                await client.open_secure_channel(renew=True)
                client.uaclient.revolve_security_token()
            self._renew_later(client)
            return client
        return None

    async def _found_namespaces(self, client: Client) -> dict[str, int]:
        known = await client.get_namespace_array()
        for uri in self._namespaces.values():
            if uri not in known:
                listed = ", ".join(known[1:])
                raise Unreachable(f"{self.address} has no namespace {uri!r}; it has: {listed}: is the profile for it?")
        return {name: known.index(uri) for name, uri in self._namespaces.items()}

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            abort(client)

    # ── names ────────────────────────────────────────────────────────────────────────────────────────────────────
    async def _ids(self, client: Client, nodes: Sequence[str]) -> list[ua.NodeId]:
        """The ids of nodes; paths are looked up once a connection."""
        from asyncua import ua

        first = next(iter(self._indices.values()), 0)
        asked = []
        for node in nodes:
            if node in self._nodes:
                continue
            if "=" in node.partition("/")[0]:
                found = ua.NodeId.from_string(node)
                self._nodes[node] = found if "ns=" in node else ua.NodeId(found.Identifier, first)
            else:
                asked.append(node)
        if asked:
            paths = [self._path(node, first) for node in asked]
            results = await client.uaclient.translate_browsepaths_to_nodeids(paths)
            for node, result in zip(asked, results, strict=True):
                if not result.StatusCode.is_good() or not result.Targets:
                    raise Rejected(f"{self.address} has no node {node!r} ({result.StatusCode.name})")
                self._nodes[node] = result.Targets[0].TargetId
        return [self._nodes[node] for node in nodes]

    def _path(self, node: str, first: int) -> ua.BrowsePath:
        from asyncua import ua

        path = ua.BrowsePath(ua.NodeId(ua.ObjectIds.ObjectsFolder), ua.RelativePath())
        for part in node.split("/"):
            prefix, colon, name = part.partition(":")
            index = first if not colon else self._indices.get(prefix, -1)
            if colon and prefix == "0":
                index = 0
            if index < 0:
                raise Rejected(f"node {node!r}: {prefix!r} is no name of `namespaces`")
            element = ua.RelativePathElement()
            element.ReferenceTypeId = ua.NodeId(ua.ObjectIds.HierarchicalReferences)
            element.IsInverse, element.IncludeSubtypes = False, True
            element.TargetName = ua.QualifiedName(name if colon else part, index)
            path.RelativePath.Elements.append(element)
        return path


def _value(found: ua.DataValue) -> Value:
    status = found.StatusCode
    name = "Good" if status is None or status.is_good() else status.name
    value = _plain(found.Value.Value) if found.Value is not None and not name.startswith("Bad") else None
    return Value(value, name, found.SourceTimestamp, found.ServerTimestamp)


def _in_words(value: Any) -> Any:
    """What JSON has no word for: values and times of OPC UA."""
    if isinstance(value, Value):
        return asdict(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _plain(value: Any) -> Any:
    """A Python value of what OPC UA has."""
    return getattr(value, "Text", value)


def _variant(value: Any, kind: str) -> ua.Variant:
    from asyncua import ua

    array = kind.endswith("[]")
    return ua.Variant(value, ua.VariantType[kind.removesuffix("[]")], is_array=array)
