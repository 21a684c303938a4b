"""Certificates for tests: of an authority that is trusted, and of one that is not."""

from dataclasses import dataclass, fields
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from trustme import CA, LeafCert

from tests.servers.process import LOOPBACK


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files. The server's certificate is for 127.0.0.1 alone; the stranger's is by the wrong authority."""

    ca: Path
    wrong_ca: Path
    server: Path
    server_key: Path
    server_store: Path
    """Key and certificate of the server in one file, as Kafka wants them."""
    client: Path
    client_key: Path
    stranger: Path
    stranger_key: Path


def make(folder: Path) -> Certificates:
    """Make two authorities, the server's certificate, and one of a client by each authority."""
    made = Certificates(**{field.name: folder / f"{field.name}.pem" for field in fields(Certificates)})
    ca, wrong_ca = CA(), CA()
    ca.cert_pem.write_to_path(str(made.ca))
    wrong_ca.cert_pem.write_to_path(str(made.wrong_ca))
    _write(ca.issue_cert(LOOPBACK), made.server, made.server_key)
    _write(ca.issue_cert("client.example"), made.client, made.client_key)
    _write(wrong_ca.issue_cert("client.example"), made.stranger, made.stranger_key)
    made.server_store.write_bytes(made.server_key.read_bytes() + made.server.read_bytes())
    return made


def _write(leaf: LeafCert, certificate: Path, key: Path) -> None:
    """The key in PKCS #8, the only form that Java takes."""
    leaf.cert_chain_pems[0].write_to_path(str(certificate))
    private = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key.write_bytes(private.private_bytes(*form))
