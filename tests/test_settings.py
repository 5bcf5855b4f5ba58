"""The job file: every mistake is one line that names the key; a secret is a reference and never shown."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from pipeline.errors import UsageError
from pipeline.settings import (
    Endpoint,
    Job,
    Limits,
    Retry,
    Secret,
    job_from,
    load_job,
    nearest,
    read_table,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = "hunter2-never-shown"


class Vendor(Endpoint):
    """A [target] table as a target declares it."""

    secret_code: Secret
    unit: str = "s"


@pytest.fixture
def job(tmp_path: Path) -> Callable[[str], Job]:
    def load(text: str) -> Job:
        path = tmp_path / "job.toml"
        path.write_text(text, "utf-8")
        return load_job(path)

    return load


@pytest.fixture(autouse=True)
def secret_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_SECRET", SECRET)
    monkeypatch.delenv("NOT_SET", raising=False)


def endpoint(*, resolve_secrets: bool = True, **more: Any) -> Vendor:
    table = {"kind": "vendor", "base_url": "https://vendor.example", "secret_code": "env:VENDOR_SECRET"}
    return read_table(
        Vendor, table | more, where="job file x", table="target", resolve_secrets=resolve_secrets
    )


def said(table: Callable[[], object]) -> str:
    with pytest.raises(UsageError) as raised:
        table()
    words = str(raised.value)
    assert "\n" not in words
    assert SECRET not in words
    assert raised.value.__cause__ is None
    return words


# ---------------------------------------------------------------- the file


def test_a_job_needs_no_more_than_a_target(job: Callable[[str], Job]) -> None:
    found = job('[target]\nkind = "sim-express"\n')
    assert found.target_kind == "sim-express"
    assert found.limits == Limits()
    assert found.retry == Retry()


def test_the_defaults_are_those_of_the_design() -> None:
    limits, retry = Limits(), Retry()
    assert (limits.batch_items, limits.batch_bytes, limits.requests_per_second) == (None, 8_000_000, 10)
    assert (limits.concurrency, limits.connect_timeout_s, limits.reply_timeout_s) == (16, 10, 60)
    assert (retry.attempts, retry.first_wait_s, retry.longest_wait_s, retry.settle_s) == (6, 0.5, 60, 5)


def test_an_error_names_the_file(job: Callable[[str], Job], tmp_path: Path) -> None:
    words = said(lambda: job("[limits]\nconcurrency = 0\n[target]\nkind = 'x'"))
    assert words.startswith(f"job file {tmp_path / 'job.toml'}: limits.concurrency: ")


@pytest.mark.parametrize("text", ["[target", "kind = ", "\x00"])
def test_what_is_no_toml_is_told(job: Callable[[str], Job], text: str) -> None:
    assert "not valid TOML" in said(lambda: job(text))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "cannot be read" in said(lambda: load_job(tmp_path / "none.toml"))


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_bytes(b"\xff\xfe\x00")
    assert "job.toml" in said(lambda: load_job(tmp_path / "job.toml"))


@pytest.mark.parametrize("text", ["", "[target]\n", "target = 3", "[target]\nkind = 3"])
def test_a_job_without_a_vendor_is_told_so(job: Callable[[str], Job], text: str) -> None:
    assert "[target] kind is missing" in said(lambda: job(text))


# ---------------------------------------------------------------- unknown keys


@pytest.mark.parametrize(
    ("text", "key", "near"),
    [
        ("[limit]\nconcurrency = 3", "limit", "limits"),
        ("[limits]\nbatch_item = 3", "limits.batch_item", "batch_items"),
        ("[limits]\nrequest_per_second = 3", "limits.request_per_second", "requests_per_second"),
        ("[retry]\nattempt = 3", "retry.attempt", "attempts"),
        ("[input]\ndefault = {}", "input.default", "defaults"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(
    job: Callable[[str], Job], text: str, key: str, near: str
) -> None:
    words = said(lambda: job(f'[target]\nkind = "x"\n{text}'))
    assert f": {key}: unknown key; did you mean {near}?" in words


def test_an_unknown_key_like_no_other_brings_the_list(job: Callable[[str], Job]) -> None:
    words = said(lambda: job('[target]\nkind = "x"\n[retry]\nzzzz = 1'))
    assert "known are attempts, first_wait_s, longest_wait_s, settle_s" in words


def test_an_unknown_key_of_the_target_is_named_and_its_value_is_not() -> None:
    assert "target.units: unknown key; did you mean unit?" in said(lambda: endpoint(units=SECRET))


def test_a_misspelt_key_that_is_required_is_named_too() -> None:
    table = {"kind": "vendor", "base_url": "https://vendor.example", "secret_cod": "env:VENDOR_SECRET"}
    words = said(lambda: read_table(Vendor, table, where="job", table="target"))
    assert "target.secret_cod: unknown key; did you mean secret_code?" in words


def test_a_missing_key_is_named() -> None:
    words = said(
        lambda: read_table(Vendor, {"kind": "v", "base_url": "https://v"}, where="j", table="target")
    )
    assert words == "j: target.secret_code: is missing; add it"


def test_nearest_suggests_or_lists() -> None:
    assert nearest("limts", ["limits", "retry"]) == "did you mean limits?"
    assert nearest("x", ["limits", "retry"]) == "known are limits, retry"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[limits]\nbatch_items = 0", "limits.batch_items"),
        ("[limits]\nbatch_items = 1001", "limits.batch_items"),
        ("[limits]\nrequests_per_second = 0", "limits.requests_per_second"),
        ("[limits]\nrequests_per_second = nan", "limits.requests_per_second"),
        ("[limits]\nreply_timeout_s = -1", "limits.reply_timeout_s"),
        ("[retry]\nattempts = 0", "retry.attempts"),
        ("[retry]\nsettle_s = -1", "retry.settle_s"),
        ('[input]\ncheck_digits = { iccid = "maybe" }', "input.check_digits.iccid"),
        ("[input]\ndefaults = { apn = 3 }", "input.defaults.apn"),
    ],
)
def test_a_value_out_of_bounds_is_named_by_its_key(job: Callable[[str], Job], text: str, key: str) -> None:
    assert f": {key}: " in said(lambda: job(f'[target]\nkind = "x"\n{text}'))


@pytest.mark.parametrize("key", ["limits.requests_per_second", "limits.reply_timeout_s", "retry.settle_s"])
def test_infinity_is_no_limit(job: Callable[[str], Job], key: str) -> None:
    table, name = key.split(".")
    said(lambda: job(f'[target]\nkind = "x"\n[{table}]\n{name} = inf'))


def test_the_tables_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Limits().concurrency = 3  # type: ignore[misc]


# ---------------------------------------------------------------- secrets


def test_a_secret_comes_out_of_the_environment() -> None:
    assert endpoint().secret_code.get_secret_value() == SECRET


def test_a_secret_comes_out_of_a_file_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n", "utf-8")
    found = endpoint(secret_code=f"file:{tmp_path / 'secret'}")
    assert found.secret_code.get_secret_value() == SECRET


def test_a_secret_file_may_lie_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "secret").write_text(SECRET, "utf-8")
    assert endpoint(secret_code="file:~/secret").secret_code.get_secret_value() == SECRET


@pytest.mark.parametrize(
    "literal",
    [SECRET, f"{SECRET}:x", f"ENV:{SECRET}", f"vault:{SECRET}", [SECRET], {"a": SECRET}, 5, "", ":"],
)
def test_a_secret_in_the_job_file_itself_is_refused_and_not_repeated(literal: object) -> None:
    words = said(lambda: endpoint(secret_code=literal))
    assert words.startswith("job file x: target.secret_code: must be a reference")


@pytest.mark.parametrize("empty", ["env:", "file:"])
def test_a_reference_to_nothing_is_refused(empty: str) -> None:
    assert "must be a reference" in said(lambda: endpoint(secret_code=empty))


def test_an_environment_variable_that_is_not_set_is_named() -> None:
    words = said(lambda: endpoint(secret_code="env:NOT_SET"))
    assert "target.secret_code: the environment variable NOT_SET is not set" in words


def test_an_empty_environment_variable_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOT_SET", "")
    assert "NOT_SET is not set" in said(lambda: endpoint(secret_code="env:NOT_SET"))


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (b"", "is empty"), (b" \n", "is empty"), (b"\xff", "not UTF-8")],
)
def test_a_secret_file_that_gives_none_is_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    found = said(lambda: endpoint(secret_code=f"file:{path}"))
    assert str(path) in found
    assert words in found


def test_the_value_of_a_secret_shows_nowhere() -> None:
    found = endpoint()
    assert isinstance(found.secret_code, SecretStr)
    assert SECRET not in f"{found!r} {found} {found.model_dump()} {found.model_dump_json()}"


def test_without_resolving_a_reference_is_checked_for_its_form_only() -> None:
    assert endpoint(resolve_secrets=False, secret_code="env:NOT_SET").secret_code.get_secret_value() == ""
    assert "must be a reference" in said(lambda: endpoint(resolve_secrets=False, secret_code=SECRET))


# ---------------------------------------------------------------- where to


@pytest.mark.parametrize(
    "url", ["https://vendor.example", "https://vendor.example:8443/api", "https://[::1]"]
)
def test_an_encrypted_address_is_taken(url: str) -> None:
    assert endpoint(base_url=url).base_url == url


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "127.3.2.1", "[::1]:80", "localhost", "LOCALHOST:1"])
def test_plain_http_to_this_machine_is_taken(host: str) -> None:
    assert endpoint(base_url=f"http://{host}").allow_http is False


@pytest.mark.parametrize(
    "host", ["vendor.example", "10.0.0.1", "0.0.0.1", "localhost.evil.example", "127.0.0.1.nip.io"]
)
def test_plain_http_to_another_machine_is_refused_unless_allowed(host: str) -> None:
    words = said(lambda: endpoint(base_url=f"http://{host}"))
    assert "clear text" in words
    assert "allow_http = true" in words
    assert endpoint(base_url=f"http://{host}", allow_http=True).allow_http


@pytest.mark.parametrize("url", ["vendor.example", "ftp://vendor.example", "https://", "", "https://[::1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    assert said(lambda: endpoint(base_url=url)).startswith("job file x: target")


def test_credentials_in_the_address_are_refused_and_not_repeated() -> None:
    assert "by reference" in said(lambda: endpoint(base_url=f"https://user:{SECRET}@vendor.example"))


@pytest.mark.parametrize("url", [f"ftp://user:{SECRET}@vendor.example", f"user:{SECRET}@vendor.example"])
def test_credentials_in_what_is_no_address_are_not_repeated_either(url: str) -> None:
    said(lambda: endpoint(base_url=url))


@pytest.mark.parametrize("tail", ["?tenant=1", "#top"])
def test_an_address_with_a_query_or_a_fragment_is_refused(tail: str) -> None:
    said(lambda: endpoint(base_url=f"https://vendor.example/api{tail}"))


# ---------------------------------------------------------------- into the ledger and back


WHOLE = """
[target]
kind = "vendor"
base_url = "https://vendor.example"
secret_code = "env:VENDOR_SECRET"
codes = { "900002" = "passing" }
[limits]
batch_items = 10
requests_per_second = 2.5
[retry]
attempts = 2
[input]
columns = { iccid = "ICC ID" }
defaults = { apn = "iot.example" }
check_digits = { iccid = "reject" }
"""


@pytest.mark.parametrize("text", [WHOLE, '[target]\nkind = "x"'])
def test_a_job_survives_being_written_down(job: Callable[[str], Job], text: str) -> None:
    found = job(text)
    written = json.dumps(found.data(), allow_nan=False)
    again = job_from(json.loads(written), where="ledger")
    assert again.model_dump() == found.model_dump()
    assert again.where == "ledger"
    assert (again.target_kind, again.input) == (found.target_kind, found.input)


def test_a_job_is_written_down_with_references_and_not_with_secrets(job: Callable[[str], Job]) -> None:
    written = json.dumps(job(WHOLE).data())
    assert "env:VENDOR_SECRET" in written
    assert SECRET not in written


def test_numbers_survive_exactly(job: Callable[[str], Job]) -> None:
    assert math.isclose(job(WHOLE).data()["limits"]["requests_per_second"], 2.5)
