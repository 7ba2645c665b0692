"""Throw-away certificates: a CA and what it signs, for origins, for Pebble's own interface and for
sites with certificates of their own."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


def _key():
    return ec.generate_private_key(ec.SECP256R1())


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


_CA_USAGE = x509.KeyUsage(
    digital_signature=True, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
    encipher_only=False, decipher_only=False,
)


class Authority:
    """A root; issue() writes NAME.crt and NAME.key into the folder and returns their paths."""

    def __init__(self, folder, name="test root"):
        self.folder = folder
        self.key = _key()
        self.subject = _name(name)
        now = datetime.datetime.now(datetime.timezone.utc)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self.subject)
            .issuer_name(self.subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + 365 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_CA_USAGE, critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )
        self.path = folder / "root.pem"
        self.path.write_bytes(self.pem(self.certificate))

    @staticmethod
    def pem(certificate):
        return certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, *names, start=-DAY, end=30 * DAY):
        key = _key()
        now = datetime.datetime.now(datetime.timezone.utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(names[0]))
            .issuer_name(self.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + start)
            .not_valid_after(now + end)
            .add_extension(
                x509.SubjectAlternativeName([_alternative(n) for n in names]), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        stem = names[0].replace("*", "wildcard")
        crt, private = self.folder / f"{stem}.crt", self.folder / f"{stem}.key"
        crt.write_bytes(self.pem(certificate))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        private.chmod(0o600)
        return crt, private


def parse(der):
    return x509.load_der_x509_certificate(der)


def parse_pem(text):
    return x509.load_pem_x509_certificate(text.encode())


def load(path):
    return parse_pem(path.read_text())


def common_name(name):
    return name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value


def public_bytes(der):
    """The public key, to compare it."""
    return parse(der).public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def lifetime(certificate):
    """A timedelta. (The names without _utc are deprecated in newer versions, the others missing in
    older ones.)"""
    if hasattr(certificate, "not_valid_after_utc"):
        return certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_after - certificate.not_valid_before


def names(der):
    san = parse(der).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(n.value) for n in san]
