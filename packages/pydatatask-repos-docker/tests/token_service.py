"""A token service as registries know it: users come with a password, and get a signed token of what they may do."""

from __future__ import annotations

import base64
import datetime
import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import BasicAuth, web
from attrs import define, field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

ISSUER, SERVICE = "test-issuer", "test-registry"
LEEWAY = 60
"""Seconds for which a registry takes a token that has ended."""


@frozen
class Signer:
    """A key, and a certificate by which a registry knows it."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    @classmethod
    def new(cls) -> Signer:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    def token(self, claims: Mapping[str, object]) -> str:
        """Sign claims as a JSON Web Token, with the certificate in its header."""
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        signed = b".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
        signature = self.key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return b".".join((signed, _encoded(signature))).decode()


def _encoded(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


@frozen
class User:
    password: str
    actions: frozenset[str]
    """What the user may do in every repository."""


NOBODY = ""
"""The name of who comes without one."""


@define
class TokenService:
    """A service whose certificate a registry trusts. It serves while :meth:`serving` is entered."""

    port: int
    signer: Signer = field(factory=Signer.new)
    users: dict[str, User] = field(factory=dict)
    lifetime: int = 300
    """Seconds that a token lasts, as clients are told."""
    ends: float = 300.0
    """Seconds that it lasts in truth; the registry takes it for :data:`LEEWAY` longer."""
    given: list[tuple[str, str]] = field(factory=list)
    """Users, and the scopes that they asked for."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/token"

    def settings(self, folder: Path) -> dict[str, str]:
        """Give a registry's settings that have it trust this service, whose certificate is put into a folder."""
        (folder / "tokens.pem").write_bytes(self.signer.certificate.public_bytes(serialization.Encoding.PEM))
        return {
            "REGISTRY_AUTH": "token",
            "REGISTRY_AUTH_TOKEN_REALM": self.url,
            "REGISTRY_AUTH_TOKEN_SERVICE": SERVICE,
            "REGISTRY_AUTH_TOKEN_ISSUER": ISSUER,
            "REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE": "/auth/tokens.pem",
        }

    def token(self, user: str, access: list[dict[str, object]]) -> str:
        now = time.time()
        return self.signer.token(
            {
                "iss": ISSUER,
                "sub": user,
                "aud": SERVICE,
                "iat": int(now - 600),
                "nbf": int(now - 600),
                "exp": int(now + self.ends),
                "jti": secrets.token_hex(8),
                "access": access,
            }
        )

    def token_for_all(self, repository: str) -> str:
        """Give a token that opens one repository to a back door."""
        return self.token("back door", [_access(repository, ["pull", "push", "delete"])])

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/token", self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True).start()
            yield
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization")
        name, password = NOBODY, ""
        if given is not None:
            shown = BasicAuth.decode(given)
            name, password = shown.login, shown.password
        user = self.users.get(name)
        if user is None or user.password != password or request.query.get("service") != SERVICE:
            return web.json_response({"errors": [{"code": "UNAUTHORIZED"}]}, status=401)
        access = []
        for scope in request.query.getall("scope", []):
            self.given.append((name, scope))
            kind, _, rest = scope.partition(":")
            repository, _, actions = rest.rpartition(":")
            assert kind == "repository"
            access.append(_access(repository, sorted(user.actions.intersection(actions.split(",")))))
        return web.json_response({"token": self.token(name, access), "expires_in": self.lifetime})


def _access(repository: str, actions: list[str]) -> dict[str, object]:
    return {"type": "repository", "name": repository, "actions": actions}
