"""A registry that speaks TLS with a certificate of an authority of one's own."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydatatask_core.errors import StoreUnavailableError
from pydatatask_repos_docker import DockerRepository, RegistryClient
from scripted import TOKEN_PASSWORD, TOKEN_USER, Script, scripted


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a certificate for 127.0.0.1, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    file.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file


@pytest.fixture
async def guarded(certificate: Path) -> AsyncIterator[Script]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with scripted(context, tags={"job": "sha256:1"}) as script:
        yield script


@pytest.fixture
async def trusting(certificate: Path) -> AsyncIterator[RegistryClient]:
    context = ssl.create_default_context(cafile=str(certificate))
    async with RegistryClient(TOKEN_USER, TOKEN_PASSWORD, ssl_context=context) as client:
        yield client


@pytest.mark.parametrize("wants", ["", "basic", "bearer"])
async def test_an_authority_of_ones_own_is_trusted_where_it_is_given(
    trusting: RegistryClient, guarded: Script, wants: str
) -> None:
    guarded.wants = wants
    assert await DockerRepository(lambda: trusting, guarded.domain, "team/app").contains("job")


async def test_a_certificate_that_nobody_knows_is_an_error_and_nothing_is_asked(guarded: Script) -> None:
    async with RegistryClient(TOKEN_USER, TOKEN_PASSWORD) as client:
        with pytest.raises(StoreUnavailableError, match="ssl_context="):
            await DockerRepository(lambda: client, guarded.domain, "team/app").contains("job")
    assert guarded.asked == []


async def test_a_token_service_without_tls_is_not_shown_a_password(trusting: RegistryClient, guarded: Script) -> None:
    async with scripted() as plain:
        guarded.wants, guarded.realm = "bearer", f"{plain.url}/token"
        with pytest.raises(StoreUnavailableError, match="without TLS"):
            await DockerRepository(lambda: trusting, guarded.domain, "team/app").contains("job")
        assert plain.headers == []
