"""Settings of a device behind an OPC UA server, and the link that they make."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import field_validator, model_validator

from labd.io.opcua import Access, OpcUaLink, Policy, checked_address
from labd.sdk import Bounds, Duration, Settings, Unreachable


class OpcUaSettings(Settings):
    """Where the server is, who labd is to it, and what its nodes mean.

    Args:
        address: `opc.tcp://host:4840/path`.
        user: of the session; without one labd comes anonymously.
        password_file: a file with the user's password in its first line.
        security: the policy of the channel: none, basic256sha256, aes128_sha256_rsaoaep, aes256_sha256_rsapss.
        sign_only: messages are signed, and not encrypted.
        certificate, private_key: labd's own, as files (PEM or DER); needed with a policy.
        server_certificate: the one that the server must have; without it the one that it shows is taken.
        reply_within: how long each request may take.
    """

    address: str
    user: str | None = None
    password_file: str | None = None
    security: Policy = "none"
    sign_only: bool = False
    certificate: str | None = None
    private_key: str | None = None
    server_certificate: str | None = None
    reply_within: Annotated[Duration, Bounds(min=0.1, max=60)] = 5.0

    @field_validator("address")
    @classmethod
    def _address(cls, text: str) -> str:
        return checked_address(text)

    @model_validator(mode="after")
    def _whole(self) -> OpcUaSettings:
        if self.security != "none" and not (self.certificate and self.private_key):
            raise ValueError(f"security: {self.security} needs `certificate` and `private_key`")
        if self.password_file and not self.user:
            raise ValueError("password_file: whose? `user` is missing")
        return self

    def link(self, namespaces: Mapping[str, str]) -> OpcUaLink:
        """A link, not open.

        Raises:
            Unreachable: the password's file cannot be read.
        """
        password = None
        if self.password_file:
            try:
                password = Path(self.password_file).read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
            except OSError as error:
                raise Unreachable(f"password_file {self.password_file} cannot be read: {error.strerror}") from error
        access = Access(
            self.user,
            password,
            self.security,
            self.sign_only,
            *(Path(one) if one else None for one in (self.certificate, self.private_key, self.server_certificate)),
        )
        return OpcUaLink(self.address, namespaces=namespaces, access=access, deadline=self.reply_within)
