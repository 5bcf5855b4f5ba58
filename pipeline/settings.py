"""The job file: what to send where, how fast, and how to read the inventory.

TOML in, frozen pydantic models out. Every mistake in the file becomes one line that names the key, what
is wrong with it and, for a misspelt key, the nearest one known. Secrets are references, never literals.
"""

from __future__ import annotations

import ipaddress
import tomllib
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from pipeline.errors import UsageError
from pipeline.hours import Hours, read_hours, require_apart, require_zone
from pipeline.secret_references import Reference, Secret
from pipeline.tables import Table, nearest, read_table

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "CheckDigits",
    "Completion",
    "Endpoint",
    "Guards",
    "Input",
    "Job",
    "Limits",
    "Notify",
    "Reference",
    "Retry",
    "Secret",
    "Table",
    "Window",
    "job_from",
    "load_job",
    "nearest",
    "read_table",
]

CheckDigits = Literal["reject", "warn", "off"]


class Endpoint(Table):
    """What every [target] table holds; a target's own model adds its keys."""

    kind: str = Field(description="the target's name")
    base_url: str = Field(description="the vendor's address")
    allow_http: bool = Field(default=False, description="send secrets in clear text to other machines")
    on_exists: Literal["refused", "ok"] = Field(
        default="refused", description="what an item ends in that the vendor had before"
    )

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        _require_safe(self.base_url, "base_url", allow_http=self.allow_http)
        return self


def _require_safe(address: str, key: str, *, allow_http: bool | None = None) -> None:
    """Raise ValueError for an address that is none, or over which secrets would travel in clear text.

    `allow_http` is None where there is no such key.
    """
    url = urlsplit(address)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f'{key} must be an address such as "https://vendor.example"')
    if url.username or url.password:
        raise ValueError(f"{key} must not hold credentials; give them by reference")
    if allow_http is not None and (url.query or url.fragment):
        raise ValueError(f"{key} must end with its path: no query, no fragment")
    if url.scheme == "http" and not allow_http and not _is_loopback(url.hostname):
        remedy = "use https://" + ("" if allow_http is None else ", or set allow_http = true if you must")
        raise ValueError(f"{key}: http:// to {url.hostname} would send secrets in clear text; {remedy}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Limits(Table):
    """[limits]: how much at once, how fast, how long to wait for an answer."""

    batch_items: int | None = Field(default=None, ge=1, le=1000)
    batch_bytes: int = Field(default=8_000_000, ge=1_000)
    requests_per_second: float = Field(default=10.0, gt=0)
    concurrency: int = Field(default=16, ge=1, le=1000)
    connect_timeout_s: float = Field(default=10, gt=0)
    reply_timeout_s: float = Field(default=60, gt=0)
    reply_bytes: int = Field(default=32_000_000, ge=1_000)

    @property
    def longest_call_s(self) -> float:
        """After so long a call is answered, or given up."""
        return self.connect_timeout_s + self.reply_timeout_s


class Retry(Table):
    """[retry]: how often and after what waits a batch is tried again."""

    attempts: int = Field(default=6, ge=1)
    first_wait_s: float = Field(default=0.5, ge=0)
    longest_wait_s: float = Field(default=60, ge=0)
    settle_s: float = Field(default=5, ge=0)


class Completion(Table):
    """[completion]: how a vendor that finishes later is asked what became of what it accepted."""

    first_poll_s: float = Field(default=2, gt=0)
    longest_poll_s: float = Field(default=60, gt=0)
    give_up_s: float = Field(default=3600, gt=0)
    most_open: int = Field(default=100_000, ge=1)


class Input(Table):
    """[input]: how the inventory's columns become the target's fields."""

    columns: dict[str, str] = Field(default_factory=dict)
    defaults: dict[str, str] = Field(default_factory=dict)
    check_digits: dict[str, CheckDigits] = Field(default_factory=dict)
    format: str = ""
    sheet: str = ""
    encoding: Literal["utf-8", "latin-1"] = "utf-8"
    quantity: Literal["reject", "warn"] = "reject"
    query: str = ""
    findings: dict[str, Literal["warn", "reject"]] = Field(default_factory=dict)
    _needed: frozenset[str] = PrivateAttr(default=frozenset())

    @property
    def stopping(self) -> frozenset[str]:
        """The codes of what is odd about a file as a whole that stops a run: rows may be missing."""
        return frozenset(["other_sheets", *(["quantity"] if self.quantity == "reject" else [])])

    @property
    def needed(self) -> frozenset[str]:
        """The column names, folded (see headers.fold), that the target could read; empty: not known."""
        return self._needed

    def needing(self, names: frozenset[str]) -> Input:
        """Give these settings for an inventory of which columns of these names are needed."""
        copy = self.model_copy()
        copy._needed = names  # noqa: SLF001 - its own
        return copy


Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Share = Annotated[float, Field(gt=0, le=1)]


class Window(Table):
    """[window]: at what hours the run may send, and how much of the rate at which hours.

    Hours are "22:00-06:00" in `zone`; `days` are those on which they begin. Without `open` it is always open.
    """

    open: str | list[str] = ""
    days: list[Day] = Field(default_factory=list)
    zone: Annotated[str, AfterValidator(require_zone)] = "UTC"
    shares: dict[str, Share] = Field(default_factory=dict)

    @field_validator("open", mode="before")
    @classmethod
    def _is_text(cls, given: Any) -> Any:
        entries = given if isinstance(given, list) else [given]
        if not all(isinstance(entry, str) for entry in entries):
            raise ValueError('must be hours such as "22:00-06:00", or a list of them')
        return given

    @field_validator("open", "shares")
    @classmethod
    def _are_hours(cls, given: str | list[str] | dict[str, float]) -> str | list[str] | dict[str, float]:
        require_apart(map(read_hours, _listed(given)))
        return given

    @model_validator(mode="after")
    def _opens_on_its_days(self) -> Self:
        if self.days and not self.hours:
            raise ValueError(
                "days are those on which the hours of open begin; give open too, or leave days out"
            )
        return self

    @property
    def hours(self) -> list[Hours]:
        """The hours of `open`, in order; none: always."""
        return sorted(map(read_hours, _listed(self.open)))


def _listed(hours: str | list[str] | dict[str, float]) -> list[str]:
    return ([hours] if hours else []) if isinstance(hours, str) else list(hours)


class Guards(Table):
    """[guards]: what stops a run before damage spreads; 0 or "go": this guard is off."""

    canary_items: int = Field(default=0, ge=0)
    canary_share: float = Field(default=0.05, ge=0, le=1)
    budget_items: int = Field(default=0, ge=0)
    budget_share: float = Field(default=0.0, ge=0, le=1)
    budget_over_items: int = Field(default=10_000, ge=1)
    new_code: Literal["go", "hold", "stop"] = "go"
    known_codes: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _can_trip(self) -> Self:
        if self.budget_items >= self.budget_over_items:
            raise ValueError("budget_items must be less than budget_over_items, or it never trips")
        return self


Occasion = Literal["start", "hold", "guard", "end"]


class Notify(Table):
    """[notify]: who is told of a run's start, hold, guard and end."""

    webhook: str = ""
    secret: Reference | None = None
    command: list[str] = Field(default_factory=list)
    on: list[Occasion] = Field(default_factory=lambda: list(get_args(Occasion)))
    timeout_s: float = Field(default=10, gt=0, le=300)

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if self.webhook:
            _require_safe(self.webhook, "webhook")
        return self


class Job(Table):
    """The whole job file. `target` stays as data: the target's own model reads it."""

    target: dict[str, Any]
    limits: Limits = Limits()
    retry: Retry = Retry()
    completion: Completion = Completion()
    input: Input = Input()
    window: Window = Window()
    guards: Guards = Guards()
    notify: Notify = Notify()
    _where: str = PrivateAttr(default="job file")

    @field_validator("window")
    @classmethod
    def _is_long_enough(cls, window: Window, info: ValidationInfo) -> Window:
        limits: Limits | None = info.data.get("limits")  # None: they have a mistake of their own
        call_s = limits.longest_call_s if limits is not None else 0.0
        for hours in window.hours:
            if hours.length_s <= call_s:
                raise ValueError(
                    f"{hours} is over before a call need be answered ({call_s:g} s, [limits] "
                    "connect_timeout_s and reply_timeout_s), so nothing could be sent; open it for longer"
                )
        return window

    @property
    def where(self) -> str:
        """Where the job was read from, for error texts."""
        return self._where

    @property
    def target_kind(self) -> str:
        """The name the target is registered under."""
        return str(self.target["kind"])

    def data(self) -> dict[str, Any]:
        """Give the job as plain data for the ledger: secrets are still references here."""
        return self.model_dump(mode="json")


def load_job(path: Path) -> Job:
    """Read a job file. Raises UsageError with one line that names file, key and remedy."""
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"job file {path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"job file {path}: not valid TOML: {error}") from None
    return job_from(data, where=f"job file {path}")


def job_from(data: dict[str, Any], *, where: str) -> Job:
    """Validate a job file's data. Raises UsageError that begins with `where`."""
    target = data.get("target")
    if not isinstance(target, dict) or not isinstance(target.get("kind"), str):
        raise UsageError(
            f'{where}: [target] kind is missing: name the vendor, for example kind = "sim-express"'
        )
    job = read_table(Job, data, where=where)
    job._where = where  # noqa: SLF001 - pydantic's private attributes are set from outside by design
    return job
