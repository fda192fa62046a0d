"""The settings of the service, read once from `CERTLEDGER_*` and immutable afterwards.

Without any setting the service runs on its own embedded PostgreSQL and generates its keys in the
data directory. With an external database every secret is required: the service does not start if
one is missing, and names it.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.errors import LedgerError

PREFIX = "CERTLEDGER_"
KEY_BYTES = 32
"""Length of a symmetric key: 256 bits."""

SYMMETRIC_KEYS = (
    *("master_key", "index_key", "journal_key", "command_key", "idempotency_key"),
    "login_key",
    "link_key",
)
"""Settings of the symmetric keys, each required with a database of one's own."""

_PLACE_ADDRESS = re.compile(
    r"(https://[^/\s?#,]+|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?)(/[^\s?#,]*)?"
)

LOOKUP_PROCESSES_DEFAULT_MAX = 2
"""Upper bound of the default, to limit memory."""


class SettingsInvalid(LedgerError):
    """The settings can't be used: {reason}"""

    code = "settings_invalid"


class Settings(BaseSettings):
    """The settings. The variable of a field is `CERTLEDGER_` and the field's name."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True
    )
    keys_required: ClassVar[bool] = True

    database_url: SecretStr | None = Field(
        default=None,
        description="PostgreSQL 15 or newer, libpq URL of the role that owns the schema; unset: "
        "an embedded PostgreSQL in the data directory",
    )
    data_dir: Path = Field(
        default=Path(".data"),
        description="folder of the embedded database, the attachments and the generated keys",
    )
    blob_url: str | None = Field(
        default=None,
        description="fsspec URL of the attachment store; unset: `blobs` in the data directory",
    )
    master_key: SecretStr | None = Field(
        default=None,
        description="base64 of 32 bytes that wrap the keys of epochs, under which all others are; "
        "made in the data directory when the embedded database is used",
    )
    key_dir: str = Field(
        default="",
        description="directories of the keys of epochs, one or two that exist, separated by a "
        "comma, which all services of a database share; unset: `keys/epochs` in the data directory",
    )
    epoch_days: int = Field(
        default=30,
        ge=1,
        le=366,
        description="days after which the key that wraps all others is replaced and destroyed",
    )
    backup_days: int = Field(
        default=35,
        ge=0,
        le=3660,
        description="days for which backups of the keys of epochs last: what is erased can be "
        "opened with one until the end of the epoch and so many days more",
    )
    index_key: SecretStr | None = Field(
        default=None,
        description="base64 of 32 bytes for the blind indexes of names and documents and for "
        "signing cursors; made in the data directory when the embedded database is used",
    )
    journal_key: SecretStr | None = Field(
        default=None,
        description="base64 of 32 bytes that seal every event, so that what was written into the "
        "database behind the service's back is not shown; made in the data directory when the "
        "embedded database is used",
    )
    journal_keys_retired: tuple[SecretStr, ...] = Field(
        default=(),
        description="earlier journal keys as a JSON list, to check what they sealed",
    )
    command_key: SecretStr | None = Field(
        default=None,
        description="base64 of 32 bytes for the keyed hashes of requests, by which a repeated one "
        "is recognised; made in the data directory when the embedded database is used",
    )
    command_keys_retired: tuple[SecretStr, ...] = Field(
        default=(),
        description="earlier command keys as a JSON list, to recognise what was asked under them",
    )
    idempotency_key: SecretStr | None = Field(
        default=None,
        description="base64 of 32 bytes for the keyed hashes of idempotency keys; never replaced; "
        "made in the data directory when the embedded database is used",
    )
    login_key: SecretStr | None = Field(
        default=None,
        description="base64 of 32 bytes that find the pseudonym of a login, so that no login is "
        "stored; made in the data directory when the embedded database is used",
    )
    login_keys_retired: tuple[SecretStr, ...] = Field(
        default=(),
        description="earlier login keys as a JSON list, to find who was named under them",
    )
    link_key: SecretStr | None = Field(
        default=None,
        description="base64 of 32 bytes for the links printed on certificates; losing it makes "
        "every printed link useless; made in the data directory when the embedded database is used",
    )
    link_keys_retired: tuple[SecretStr, ...] = Field(
        default=(), description="earlier link keys as a JSON list, whose links still open"
    )
    crypto: Literal["aes", "sm"] = Field(
        default="aes",
        description="aes: AES-256-GCM and HMAC-SHA-256; sm: SM4-GCM and HMAC-SM3 (国密)",
    )
    token_issuer: str = Field(
        default="certledger", min_length=1, description="`iss` that a bearer token must carry"
    )
    token_audience: str = Field(
        default="certledger", min_length=1, description="`aud` that a bearer token must carry"
    )
    token_key: SecretStr | None = Field(
        default=None,
        description="PEM of the Ed25519 or P-256 private key that signs tokens, or of the public "
        "key that checks them; made in the data directory when the embedded database is used",
    )
    token_jwks_url: str | None = Field(
        default=None,
        description="JWKS of an OpenID Connect issuer; tokens are then checked with its keys",
    )
    token_algorithms: tuple[str, ...] = Field(
        default=("EdDSA", "ES256", "RS256"),
        min_length=1,
        description="signature algorithms accepted from the JWKS issuer, as a JSON list",
    )
    token_role_claim: str = Field(
        default="role", min_length=1, description="claim of a token that holds the role"
    )
    token_lifetime_s: int = Field(
        default=12 * 3600,
        ge=60,
        le=366 * 86400,
        description="lifetime in seconds of a token minted by `certledger token`",
    )
    public_base_url: str = Field(
        default="http://127.0.0.1:8000",
        pattern=r"^https?://[^/\s?#]+(/[^\s?#]*[^/\s?#])?$",
        description="how the outside reaches the service; printed in QR codes and links",
    )
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(
        default=8000, ge=0, le=65535, description="TCP port to listen on; 0: any free one"
    )
    body_bytes_max: int = Field(
        default=1_048_576, ge=1024, description="bytes a JSON request body may have"
    )
    upload_bytes_max: int = Field(
        default=12_582_912, ge=65_536, description="bytes a request with a file may have"
    )
    json_depth_max: int = Field(
        default=32, ge=4, le=200, description="levels of nesting a JSON body may have"
    )
    connections_max: int = Field(
        default=4096,
        ge=1,
        description="connections that are served; a request on one more is answered with 503, and "
        "the connection closed",
    )
    requests_max: int = Field(
        default=512,
        ge=1,
        description="requests served at the same time, not counting the public lookups, of which "
        "as many may wait as there are connections; more are answered with 503",
    )
    lookup_processes: int | None = Field(
        default=None,
        ge=0,
        le=64,
        description="additional processes that answer public lookups, 85 MiB each; unset: one for "
        "each core but one, at most 2",
    )
    reader_threads: int = Field(
        default=4, ge=1, le=64, description="threads that read from the database for requests"
    )
    reader_queue_max: int = Field(
        default=256, ge=1, description="reads that may wait for a thread; more are 503"
    )
    deadline_s: float = Field(
        default=10.0, gt=0, le=120, description="seconds a request may wait before it is 503"
    )
    min_position_wait_s: float = Field(
        default=5.0,
        ge=0,
        le=60,
        description="seconds a read with `min_position` waits for its view to come that far",
    )
    lookup_limit: bool = Field(
        default=True,
        description="whether an address that guesses at certificates has to slow down; off where "
        "a gateway in front sees to it",
    )
    page_rows_max: int = Field(
        default=200, ge=1, le=1000, description="rows a page of a list holds at most"
    )
    background_audit: bool = Field(
        default=True,
        description="whether this service audits its database again and again in a process of its "
        "own, 90 MiB; of several services one does",
    )
    audit_interval_s: int = Field(
        default=300,
        ge=1,
        le=86_400,
        description="seconds from the start of a round of the background audit to the next one, "
        "unless it takes longer",
    )
    audit_cpu_percent: int = Field(
        default=50,
        ge=1,
        le=100,
        description="share of one core that the background audit uses at most; it has the lowest "
        "priority",
    )
    head_places: str = Field(
        default="",
        description="second places of the signed heads and of the register of erasures, separated "
        "by commas: directories that exist, https addresses, or http addresses on this machine",
    )
    head_places_required: bool = Field(
        default=False, description="whether signing waits while one of `head_places` is silent"
    )
    work: bool = Field(
        default=True,
        description="whether this service does what is due by time alone, such as correcting the "
        "provisional end of a notice; of several services one does it for each ledger",
    )
    work_overdue_s: int = Field(
        default=600,
        ge=1,
        le=30 * 86_400,
        description="seconds after which work that is still due counts as overdue in `/health`",
    )
    write_unsigned: bool = Field(
        default=False,
        description="whether commands of a ledger go on, unsigned, after its journal was found not "
        "to continue its log",
    )

    @field_validator(
        "journal_keys_retired", "command_keys_retired", "login_keys_retired", "link_keys_retired"
    )
    @classmethod
    def _are_keys(cls, given: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for one in given:
            key_bytes(one)
        return given

    @field_validator(*SYMMETRIC_KEYS)
    @classmethod
    def _is_a_key(cls, given: SecretStr | None) -> SecretStr | None:
        if given is not None:
            key_bytes(given)
        return given

    @field_validator("key_dir")
    @classmethod
    def _are_directories(cls, given: str) -> str:
        found = [*filter(None, map(str.strip, given.split(",")))]
        if len(found) > 2:
            raise ValueError("one or two directories")
        for one in found:
            if not Path(one).expanduser().is_dir():
                raise ValueError(f"{one} is no directory")
        return given

    @field_validator("head_places")
    @classmethod
    def _are_places(cls, given: str) -> str:
        for place in filter(None, map(str.strip, given.split(","))):
            if "://" in place and not _PLACE_ADDRESS.fullmatch(place):
                raise ValueError("a place of heads is a directory or an https address")
        return given

    @model_validator(mode="after")
    def _no_secret_by_default(self) -> Self:
        if self.embedded or not self.keys_required:
            return self
        missing = [name for name in SYMMETRIC_KEYS if getattr(self, name) is None]
        if self.token_key is None and self.token_jwks_url is None:
            missing.append("token_key")
        if missing:
            names = ", ".join(PREFIX + name.upper() for name in missing)
            raise ValueError(f"{names} must be set when {PREFIX}DATABASE_URL is")
        return self

    @property
    def embedded(self) -> bool:
        """Whether the service runs on the embedded database in the data directory."""
        return self.database_url is None

    @property
    def head_place_list(self) -> tuple[str, ...]:
        """The second places of heads: directories and addresses."""
        return tuple(filter(None, map(str.strip, self.head_places.split(","))))

    @property
    def key_directories(self) -> tuple[Path, ...]:
        """The directories of the keys of epochs, absolute."""
        given = [*filter(None, map(str.strip, self.key_dir.split(",")))]
        paths = [*map(Path, given)] or [self.data_dir / "keys" / "epochs"]
        return tuple(path.expanduser().absolute() for path in paths)

    @property
    def lookup_processes_wanted(self) -> int:
        """Number of lookup worker processes."""
        if self.lookup_processes is not None:
            return self.lookup_processes
        return min(len(os.sched_getaffinity(0)) - 1, LOOKUP_PROCESSES_DEFAULT_MAX)

    def without_secrets(self) -> Settings:
        """A copy without secrets, for a process that needs none of them."""
        secret = ("database_url", "blob_url", *SYMMETRIC_KEYS, "token_key")
        retired = (
            "journal_keys_retired",
            "command_keys_retired",
            "login_keys_retired",
            "link_keys_retired",
        )
        cleared: dict[str, Any] = dict.fromkeys(secret) | dict.fromkeys(retired, ())
        return self.model_copy(update=cleared)

    @property
    def blobs(self) -> str:
        """fsspec URL of the attachment store."""
        return self.blob_url or f"file://{self.data_dir.expanduser().absolute() / 'blobs'}"


def key_bytes(text: SecretStr) -> bytes:
    """The 32 bytes that a setting holds in base64. Raises: ValueError."""
    try:
        key = base64.b64decode(text.get_secret_value(), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"a key is the base64 of {KEY_BYTES} bytes") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key is the base64 of {KEY_BYTES} bytes, not {len(key)}")
    return key


class AuditSettings(Settings):
    """Settings of an audit, which may not have the service's keys."""

    keys_required: ClassVar[bool] = False


def load_settings(kind: type[Settings] = Settings, /, **given: Any) -> Settings:
    """The settings from the environment.

    given: fields of Settings by name that override it; None means not given.
    Raises: SettingsInvalid with every variable that is wrong or missing, never its value.
    """
    try:
        return kind(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as wrong:
        raise SettingsInvalid(reason="; ".join(map(_complaint, wrong.errors()))) from None


def _complaint(error: Any) -> str:
    """One fault of the settings in words, with its variable's name."""
    message = error["msg"].removeprefix("Value error, ")
    where = "_".join(str(part) for part in error["loc"][:1]).upper()
    return f"{PREFIX}{where}: {message}" if where else message


def settings_table() -> str:
    """Every setting as rows of a Markdown table, for the documentation."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = "" if default is None else f"`{_shown(default)}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows) + "\n"


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return "[" + ", ".join(f'"{item}"' for item in default) + "]"
    return str(default).lower() if isinstance(default, bool) else str(default)
