"""An OPC UA server seen from the machine: named variables and methods, time stamps of the lab's time, faults.

By asyncua. The machine is looked at when somebody reads (`advance`), and each second while somebody subscribes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from copy import copy
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from asyncua import Server, ua
from asyncua.common.callback import CallbackType
from asyncua.common.node import Node
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.address_space import NodeData
from asyncua.server.internal_server import InternalServer

from labd import clock

Method = Callable[..., Awaitable[Any]]
TICK = 1.0  # s between two looks at the machine while somebody subscribes

logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # clients that go and faults that are wanted are no news

_standard: dict[Any, NodeData] | None = None


class _Copies(MutableMapping[Any, NodeData]):
    """The nodes of OPC UA itself, for one more server: each is copied when it is first asked for, which few are."""

    def __init__(self, standard: Mapping[Any, NodeData]) -> None:
        self._standard = standard
        self._own: dict[Any, NodeData] = {}
        self._gone: set[Any] = set()

    def __getitem__(self, key: Any) -> NodeData:
        if key not in self._own:
            if key in self._gone:
                raise KeyError(key)
            self._own[key] = _copied(self._standard[key])
        return self._own[key]

    def __setitem__(self, key: Any, node: NodeData) -> None:
        self._own[key] = node

    def __delitem__(self, key: Any) -> None:
        if key not in self:
            raise KeyError(key)
        self._own.pop(key, None)
        self._gone.add(key)

    def __contains__(self, key: object) -> bool:
        return key in self._own or (key in self._standard and key not in self._gone)

    def __iter__(self) -> Iterator[Any]:
        yield from [*self._own, *(key for key in self._standard if key not in self._own and key not in self._gone)]

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _copied(node: NodeData) -> NodeData:
    new = NodeData(node.nodeid)
    new.attributes = {name: copy(value) for name, value in node.attributes.items()}
    for value in new.attributes.values():
        value.datachange_callbacks = {}
    new.references = list(node.references)
    new.call = node.call
    return new


class _Inner(InternalServer):  # type: ignore[misc]
    async def load_standard_address_space(self, shelf_file: Path | None = None) -> None:
        global _standard  # noqa: PLW0603 - one copy a process
        if _standard is None:
            await super().load_standard_address_space(shelf_file)
            found = self.aspace._nodes  # noqa: SLF001 - the library has no way to copy it
            _standard = {key: _copied(node) for key, node in found.items()}
        else:
            self.aspace._nodes = _Copies(_standard)  # noqa: SLF001


class _Users:
    """Who may come in: the named ones with their passwords, or everybody."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = users

    def get_user(
        self, iserver: InternalServer, username: str | None = None, password: str | None = None, certificate: Any = None
    ) -> User | None:
        del iserver, certificate
        if not self._users:
            return User(role=UserRole.User, name=username)
        known = username is not None and self._users.get(username) == password
        return User(role=UserRole.User, name=username) if known else None


class UaServer:
    """The server of one machine.

    Faults, read from `faults`:
        silent (bool): reads, writes and calls are answered only when it is off again.
        session_lost (int, counts down): so many reads are answered with BadSessionIdInvalid.
        cut (int, counts down): so many reads end every connection.
        lost_replies (int, counts down): so many calls are carried out, and their connection ends before the answer.
        denied (bool): writes and calls are answered with BadUserAccessDenied.
        stale (bool): values stay as they are, with their old time stamps.
        subscription_dead (bool): subscriptions go on and say nothing any more.

    Args:
        namespaces: URIs by the short names that paths are written with; the first is the machine's own.
        advance: brings the machine to the present and puts its values.
        options: of the simulator: `users` (name: password), `certificate` and `private_key` (files; with them also
            Basic256Sha256), `nodesets` (files of node sets that are loaded first).
        faults: the simulator's switches.
        elsewhere: where a node stands in place of its usual path: another path, or an id (`s=…`, `ns=2;i=…`).
    """

    def __init__(
        self,
        namespaces: Mapping[str, str],
        advance: Callable[[], None],
        options: Mapping[str, Any],
        faults: MutableMapping[str, Any],
        elsewhere: Mapping[str, str] | None = None,
    ) -> None:
        self._elsewhere = elsewhere or {}
        self._namespaces = namespaces
        self._advance = advance
        self._options = options
        self._faults = faults
        self._indices: dict[str, int] = {"0": 0}
        self._nodes: dict[str, Node] = {}
        self._waiting: dict[str, ua.DataValue] = {}
        self._last: dict[str, ua.Variant] = {}
        self._types: dict[str, ua.VariantType] = {}
        self._server: Server | None = None
        self._ticker: asyncio.Task[None] | None = None

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def prepare(self) -> None:
        """Makes the server, without listening: its nodes can be added now."""
        server = self._server = Server(iserver=_Inner(user_manager=_Users(self._options.get("users") or {})))
        await server.init()
        server.iserver.disabled_clock = clock.is_virtual()  # its clock ticks each second of all virtual time
        policies = [ua.SecurityPolicyType.NoSecurity]
        if self._options.get("certificate"):
            await server.load_certificate(str(self._options["certificate"]))
            await server.load_private_key(Path(str(self._options["private_key"])))
            policies += [
                ua.SecurityPolicyType.Basic256Sha256_Sign,
                ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
            ]
        server.set_security_policy(policies)
        for path in self._options.get("nodesets") or ():
            await server.import_xml(path, strict_mode=False)  # published node sets refer to what they do not bring
        for name, uri in self._namespaces.items():
            self._indices[name] = await server.register_namespace(uri)
        self._indices[""] = next(iter(self._indices[name] for name in self._namespaces), 0)

    async def start(self, address: str) -> str:
        """Begins to listen at `opc.tcp://host:port` (port 0: any free one); gives the address.

        Raises:
            OSError: the port is taken.
        """
        server = self._running
        server.set_endpoint(address)
        server.iserver.callback_service.addListener(CallbackType.PreRead, self._before_read, 1)
        server.iserver.callback_service.addListener(CallbackType.PreWrite, self._before_write, 1)
        server.iserver.callback_service.addListener(CallbackType.ItemSubscriptionCreated, self._subscribed, 1)
        await self.refresh()
        await server.start()
        url = urlsplit(address)
        assert server.bserver is not None
        return f"opc.tcp://{url.hostname}:{server.bserver.port}{url.path}"

    async def stop(self) -> None:
        """Ends all connections and stops listening; harmless when it never began."""
        ticker, self._ticker = self._ticker, None
        if ticker is not None:
            ticker.cancel()
            await asyncio.gather(ticker, return_exceptions=True)
        server, self._server = self._server, None
        if server is None:
            return
        for transport in list(server.iserver.asyncio_transports):
            transport.abort()
        await asyncio.sleep(0)
        await server.stop()

    @property
    def _running(self) -> Server:
        assert self._server is not None
        return self._server

    # ── nodes ────────────────────────────────────────────────────────────────────────────────────────────────────
    async def variable(self, path: str, value: Any, kind: str, *, writable: bool = False) -> None:
        """Adds a variable; objects on the way to it come into being. `kind` names its type, `Double`."""
        parent, name = await self._parent(path)
        variant = self._types[path] = ua.VariantType[kind]
        first = ua.LocalizedText(value) if variant is ua.VariantType.LocalizedText else value
        node = await parent.add_variable(self._id(self._elsewhere.get(path, path)), name, ua.Variant(first, variant))
        if writable:
            await node.set_writable()
        self._nodes[path] = node

    async def method(self, path: str, act: Method, inputs: Sequence[str] = (), outputs: Sequence[str] = ()) -> None:
        """Adds a method; `act` gets its arguments as Python values, and gives a list of variants, or a StatusCode.

        Args:
            path: its browse names from the folder Objects.
            act: what it does.
            inputs: `name: Type` each, `Samples: ExtensionObject[]`.
            outputs: likewise.
        """
        parent, name = await self._parent(path)

        async def call(_parent: ua.NodeId, *arguments: ua.Variant) -> Any:
            await self._talk()
            if self._faults.get("denied"):
                return ua.StatusCode(ua.StatusCodes.BadUserAccessDenied)
            self._advance()
            result = await act(*(one.Value for one in arguments))
            await self.refresh()
            if self._counted("lost_replies"):
                self._cut()
            return [] if result is None else result

        # asyncua gives a Method node two properties of its own, `InputArguments` and `OutputArguments`
        await parent.add_method(
            self._id(self._elsewhere.get(path, path)),
            name,
            call,
            [_argument(one) for one in inputs],
            [_argument(one) for one in outputs],
        )

    async def _parent(self, path: str) -> tuple[Node, ua.QualifiedName]:
        path = self._elsewhere.get(path, path)
        if "=" in path.partition("/")[0]:
            return self._running.nodes.objects, ua.QualifiedName(path.rpartition("=")[2], self._indices[""])
        parents, _, last = path.rpartition("/")
        node = self._running.nodes.objects
        if parents:
            if parents not in self._nodes:
                above, name = await self._parent(parents)
                self._nodes[parents] = await above.add_object(self._id(parents), name)
            node = self._nodes[parents]
        prefix, colon, name = last.partition(":")
        index = self._indices[prefix if colon else ""]
        return node, ua.QualifiedName(name if colon else last, index)

    def _id(self, path: str) -> ua.NodeId:
        """Ids that people can read: `s=Glovebox.Oxygen`."""
        if "=" in path.partition("/")[0]:
            found = ua.NodeId.from_string(path)
            return found if "ns=" in path else ua.NodeId(found.Identifier, self._indices[""])
        text = ".".join(part.rpartition(":")[2] for part in path.split("/"))
        return ua.NodeId(text, self._indices[""])

    # ── values ───────────────────────────────────────────────────────────────────────────────────────────────────
    def put(self, path: str, value: Any, at: float | None = None, *, live: bool = False) -> None:
        """Has a value told from now on.

        Args:
            path: of the variable.
            value: as Python has it; a LocalizedText from its text.
            at: lab s since the epoch at which the machine has it since; default: now.
            live: measured anew each time, so that its time stamp moves on also when its value does not.
        """
        if self._faults.get("stale"):
            return
        kind = self._types[path]
        variant = ua.Variant(ua.LocalizedText(value) if kind is ua.VariantType.LocalizedText else value, kind)
        if not live and self._last.get(path) == variant:
            return
        self._last[path] = variant
        made = clock.now() if at is None else datetime.fromtimestamp(at, clock.now().tzinfo)
        self._waiting[path] = ua.DataValue(variant, SourceTimestamp=made, ServerTimestamp=clock.now())

    def said(self, path: str) -> Any:
        """What stands in a variable, put there by the machine or by a client."""
        return self._running.read_attribute_value(self._nodes[path].nodeid).Value.Value

    async def refresh(self) -> None:
        """Looks at the machine and tells its values."""
        self._advance()
        waiting, self._waiting = self._waiting, {}
        for path, value in waiting.items():
            await self._running.write_attribute_value(self._nodes[path].nodeid, value)
        if clock.is_virtual():
            at = ua.NodeId(ua.ObjectIds.Server_ServerStatus_CurrentTime)
            now = clock.now()
            stamped = ua.DataValue(ua.Variant(now, ua.VariantType.DateTime), SourceTimestamp=now, ServerTimestamp=now)
            await self._running.write_attribute_value(at, stamped)

    # ── what clients do ──────────────────────────────────────────────────────────────────────────────────────────
    async def _before_read(self, event: Any, _service: Any) -> None:
        if not event.is_external:
            return
        await self._talk()
        if self._counted("cut"):
            self._cut()
        if self._counted("session_lost"):
            raise ServiceError(ua.StatusCodes.BadSessionIdInvalid)
        await self.refresh()

    async def _before_write(self, event: Any, _service: Any) -> None:
        if not event.is_external:
            return
        await self._talk()
        if self._faults.get("denied"):
            raise ServiceError(ua.StatusCodes.BadUserAccessDenied)

    async def _subscribed(self, _event: Any, _service: Any) -> None:
        if self._ticker is None or self._ticker.done():
            self._ticker = asyncio.create_task(self._tick(), name="opc ua subscriptions")

    async def _tick(self) -> None:
        inner = self._running.iserver
        while inner.subscription_service.subscriptions:
            if self._faults.get("subscription_dead"):
                for node in self._nodes.values():
                    for value in inner.aspace[node.nodeid].attributes.values():
                        value.datachange_callbacks.clear()
            await self.refresh()
            await asyncio.sleep(TICK)

    async def _talk(self) -> None:
        while self._faults.get("silent"):  # noqa: ASYNC110 - a switch in a dict has no event
            await asyncio.sleep(1.0)

    def _counted(self, fault: str) -> bool:
        left = int(self._faults.get(fault) or 0)
        if left > 0:
            self._faults[fault] = left - 1
        return left > 0

    def _cut(self) -> None:
        for transport in list(self._running.iserver.asyncio_transports):
            transport.abort()


def _argument(text: str) -> ua.Argument:
    name, _, kind = (part.strip() for part in text.partition(":"))
    array = kind.endswith("[]")
    base = kind.removesuffix("[]")
    number = ua.ObjectIds.Structure if base == "ExtensionObject" else getattr(ua.ObjectIds, base)
    return dataclasses.replace(
        ua.Argument(),
        Name=name,
        DataType=ua.NodeId(number),
        ValueRank=1 if array else -1,
        ArrayDimensions=[0] if array else [],
    )
