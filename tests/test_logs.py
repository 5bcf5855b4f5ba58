"""Nothing secret and no whole identifier reaches the log, wherever in an event it is planted."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import stat
import threading
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import pytest
import structlog
from hypothesis import given, settings, strategies as st
from pydantic import SecretStr

from pipeline.errors import NoReply
from pipeline.logs import HIDDEN, Redactor, log_to, silence
from pipeline.model import Fault, FaultKind, State
from pipeline.secret_references import secrets_fetched
from pipeline.settings import Endpoint, Secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET, LONGER = "s3cr3t/code", "s3cr3t/code-and-more"
LPA = "LPA:1$smdp.example$QX7-93KD-LM"
ICCID = "8935711001000000007"


@pytest.fixture(autouse=True)
def quiet_afterwards() -> Iterator[None]:
    yield
    silence()


def logged(path: Path, **event: Any) -> dict[str, Any]:
    """Log one event through the whole chain; give it back as it stands in the file."""
    with log_to(path / "log.jsonl", Redactor([SECRET, LONGER])):
        structlog.get_logger("test").warning("it happened", **event)
    (line,) = (path / "log.jsonl").read_text("utf-8").splitlines()
    for hidden in (SECRET, "-and-more", LPA, "QX7-93KD-LM", ICCID):
        assert hidden not in line
    found: dict[str, Any] = json.loads(line)
    return found


def test_an_event_is_one_json_object_with_time_and_level(tmp_path: Path) -> None:
    found = logged(tmp_path, batch=7, kind=State.STOPPED)
    assert (found["event"], found["level"], found["batch"], found["kind"]) == (
        "it happened",
        "warning",
        7,
        "stopped",
    )
    assert found["timestamp"].endswith("Z")


@pytest.mark.parametrize(
    "planted",
    [
        f"refused: {SECRET}",
        [SECRET, [SECRET]],
        (SECRET,),
        {SECRET},
        {"a": {"b": [{"c": f"x {SECRET} y"}]}},
        SecretStr(SECRET),
        {"deep": [SecretStr(SECRET)]},
        ValueError(SECRET),
        SECRET.encode(),
        Fault(FaultKind.STOP, "http_401", f"bad {SECRET}"),
        f"{LONGER}{SECRET}",
    ],
    ids=lambda planted: type(planted).__name__,
)
def test_a_secret_is_hidden_by_its_value_however_deep_it_lies(tmp_path: Path, planted: object) -> None:
    assert HIDDEN in json.dumps(logged(tmp_path, planted=planted)["planted"])


@pytest.mark.parametrize(
    "name", ["ac", "AC", "cc", "Cc", "access_code", "token", "Authorization", "password"]
)
def test_a_secret_is_hidden_by_its_name_at_any_depth(tmp_path: Path, name: str) -> None:
    found = logged(tmp_path, **{name: "4711"}, items=[{name: ["4711"], "n": 1}])
    assert found[name] == HIDDEN
    assert found["items"] == [{name: HIDDEN, "n": 1}]


@pytest.mark.parametrize(
    "name", ["RT-Signature", "signature", "activation_code", "confirmation_code", "RT-AccessCode", "secret"]
)
def test_every_secret_of_the_design_is_hidden_by_its_name(tmp_path: Path, name: str) -> None:
    assert logged(tmp_path, headers={name: "7EB765E2"})["headers"] == {name: HIDDEN}


@pytest.mark.parametrize(
    "text",
    [
        LPA,
        LPA.lower(),
        f"the ac {LPA} is wrong",
        f'{{"ac":"{LPA}","x":1}}',
        f"[{LPA}]",
        "1$smdp.example$QX7-93KD-LM",
        f"{LPA}$1.3.6$1",
        f"'{LPA}', '{LPA}'",
        "LPA:1$smdp.example$",
    ],
)
def test_an_activation_code_is_hidden_by_its_shape(tmp_path: Path, text: str) -> None:
    found = logged(tmp_path, reason=text)["reason"]
    assert HIDDEN in found
    assert "smdp" not in found
    assert "93kd" not in found.lower()


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"the iccid is exist in db, iccid:[{ICCID}]", "the iccid is exist in db, iccid:[893571…0007]"),
        ("898600B5123456789012", "898600…9012"),
        ("imei 353711001000003", "imei 353711…0003"),
        ("eid 89049032000000000000000000000123", "eid 890490…0123"),
    ],
)
def test_an_identifier_is_masked_to_its_first_6_and_last_4(tmp_path: Path, text: str, masked: str) -> None:
    assert logged(tmp_path, reason=text, deep={"a": [text]})["reason"] == masked


def test_short_numbers_stay_as_they_are(tmp_path: Path) -> None:
    assert logged(tmp_path, batch=12345, words="HTTP 503 after 1763817600 s") == {
        **logged_shape(tmp_path),
        "batch": 12345,
        "words": "HTTP 503 after 1763817600 s",
    }


def logged_shape(path: Path) -> dict[str, Any]:
    line = json.loads((path / "log.jsonl").read_text("utf-8").splitlines()[-1])
    return {name: line[name] for name in ("event", "level", "timestamp")}


@pytest.mark.parametrize("key", [ICCID, SECRET])
def test_what_stands_as_a_key_is_cleaned_too(tmp_path: Path, key: str) -> None:
    logged(tmp_path, verdicts={key: "refused"})


@pytest.mark.parametrize("name", ["run", "level", "timestamp"])
def test_our_own_fields_are_passed_over_at_the_top_only(tmp_path: Path, name: str) -> None:
    logged(tmp_path, vendor={name: f"{SECRET} {ICCID}"})


def test_an_exception_is_cleaned_with_its_traceback_and_its_cause(tmp_path: Path) -> None:
    def fail() -> None:
        try:
            json.loads(f"vendor said {SECRET} of {ICCID}")
        except ValueError as error:
            error.add_note(f"vendor said {SECRET} of {ICCID}")
            raise NoReply(Fault(FaultKind.LOST, "x", f"{LPA} lost")) from error

    with log_to(tmp_path / "log.jsonl", Redactor([SECRET])):
        try:
            fail()
        except NoReply:
            structlog.get_logger("test").exception("failed")
    text = (tmp_path / "log.jsonl").read_text("utf-8")
    assert "Traceback" in text
    assert "NoReply" in text
    assert f"vendor said {HIDDEN} of 893571…0007" in json.loads(text)["exception"]
    for hidden in (SECRET, LPA, "QX7-93KD-LM", ICCID):
        assert hidden not in text


leaves = st.sampled_from([SECRET, LONGER, LPA, ICCID, f"x{SECRET}{LPA} {ICCID}", 3, None, 2.5, "plain"])
nests = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(event=st.dictionaries(st.sampled_from(["event", "reason", "evidence", "ac"]), nests, max_size=4))
def test_no_nest_is_deep_enough_to_hide_a_secret(event: dict[str, Any]) -> None:
    text = json.dumps(Redactor([SECRET, LONGER])(None, "info", event))
    for hidden in (SECRET, "QX7-93KD-LM", ICCID):
        assert hidden not in text


def test_printed_text_is_cleaned_in_the_same_way() -> None:
    assert Redactor([SECRET]).text(f"{SECRET} {LPA} {ICCID}") == f"{HIDDEN} {HIDDEN} 893571…0007"


def test_without_secrets_nothing_is_replaced_for_them() -> None:
    assert Redactor(["", ""]).text("as it is") == "as it is"


def test_a_secret_is_known_from_the_moment_it_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    class Vendor(Endpoint):
        secret_code: Secret
        unit: str = "s"

    monkeypatch.setenv("VENDOR_SECRET", SECRET)
    table = {"kind": "v", "base_url": "https://v", "secret_code": "env:VENDOR_SECRET"}
    Vendor.model_validate(table)
    assert SECRET in secrets_fetched()


def test_the_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        logged(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "log.jsonl").stat().st_mode) == 0o600


def test_a_resumed_run_appends(tmp_path: Path) -> None:
    for _ in range(2):
        with log_to(tmp_path / "log.jsonl", Redactor()):
            structlog.get_logger("test").info("again")
    assert len((tmp_path / "log.jsonl").read_text("utf-8").splitlines()) == 2


def test_afterwards_nothing_is_logged_anywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logged(tmp_path)
    structlog.get_logger("test").error("nobody hears this")
    assert len((tmp_path / "log.jsonl").read_text("utf-8").splitlines()) == 1
    assert capsys.readouterr() == ("", "")


# ---------------------------------------------------------------- secrets in other clothes

ODD = 'p4ss"w/rd\\Ty8&é'


@pytest.mark.parametrize(
    "said",
    [
        ODD,
        ODD.upper(),
        f"x{ODD}y",
        json.dumps({"password": ODD}),
        json.dumps(ODD, ensure_ascii=False).replace("/", "\\/"),
        quote(ODD, safe=""),
        quote_plus(ODD),
        escape(ODD),
        ODD.encode().hex(),
        base64.b64encode(ODD.encode()).decode(),
        base64.b64encode(f"user:{ODD}".encode()).decode(),
        base64.urlsafe_b64encode(f"us:{ODD}:".encode()).decode(),
        f"{ODD[:5]}\n {ODD[5:]}",
        f"{ODD[:5]}\\n{ODD[5:]}",
        f"HTTP 500: {ODD[:9]}…",
        f"said … {ODD[6:]} again",
    ],
)
def test_a_secret_is_known_in_whatever_form_it_is_said(said: str) -> None:
    shown = Redactor([ODD]).hidden(f"the vendor said {said} of it")
    assert HIDDEN in shown
    for part in (ODD[:6], ODD[-6:], quote(ODD[-6:]), ODD.encode()[3:-3].hex()):
        assert part.casefold() not in shown.casefold()
    assert base64.b64encode(ODD.encode())[6:-6].decode() not in shown


@pytest.mark.parametrize(
    "said",
    [
        "Authorization: Bearer abc123def456",
        '{"RT-Signature": "7EB765E27DF5373D"}',
        "api_key=abcd1234efgh&x=1",
        "{'Authorization': 'Basic dXNlcjpwYXNz1='}",
    ],
)
def test_what_a_text_calls_a_secret_is_hidden_though_nobody_knows_it(said: str) -> None:
    shown = Redactor().hidden(said)
    assert HIDDEN in shown
    assert not re.search(r"abc123|7EB765|abcd1234|dXNlc", shown)


@pytest.mark.parametrize(
    "said",
    [
        "the token was refused: HTTP 401",
        "signature: mismatch",
        "Bearer authentication required",
        "access_code: the environment variable SIM_EXPRESS_ACCESS_CODE is not set",
        "code 000106: the items are more than 1000",
    ],
)
def test_words_about_secrets_stay(said: str) -> None:
    assert Redactor(["1111"]).hidden(said) == said


def test_a_short_secret_is_hidden_as_a_word_of_its_own_only() -> None:
    assert (
        Redactor(["1111"]).hidden("code 1111 of 8935711111100000001")
        == f"code {HIDDEN} of 8935711111100000001"
    )


def test_more_secrets_may_be_named_for_one_text() -> None:
    redactor = Redactor([SECRET])
    assert redactor.hidden(f"{SECRET} and t0ken-of-today", "t0ken-of-today") == f"{HIDDEN} and {HIDDEN}"
    assert redactor.hidden("t0ken-of-today") == "t0ken-of-today"


def test_a_number_long_enough_to_be_an_identifier_is_masked(tmp_path: Path) -> None:
    assert logged(tmp_path, value=353711001000003, deep=[8935711001000000007], bytes=4_096) == {
        **logged_shape(tmp_path), "value": "353711…0003", "deep": ["893571…0007"], "bytes": 4_096,
    }  # fmt: skip


def test_every_line_bears_the_run_also_from_a_thread_of_its_own(tmp_path: Path) -> None:
    with log_to(tmp_path / "log.jsonl", Redactor(), run_id="night"):
        thread = threading.Thread(target=structlog.get_logger().info, args=("from afar",))
        thread.start()
        thread.join()
    assert json.loads((tmp_path / "log.jsonl").read_text("utf-8"))["run"] == "night"


def test_what_libraries_log_goes_through_the_same_hands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with log_to(tmp_path / "log.jsonl", Redactor([SECRET]), run_id="night"):
        try:
            json.loads(SECRET)
        except ValueError as error:
            error.add_note(SECRET)
            logging.getLogger("some.library").exception("cannot read %s of %s", SECRET, ICCID)
    found = json.loads((tmp_path / "log.jsonl").read_text("utf-8"))
    assert found["event"] == f"cannot read {HIDDEN} of 893571…0007"
    assert (found["library"], found["run"], found["level"]) == ("some.library", "night", "error")
    assert SECRET not in found["exception"]
    assert capsys.readouterr() == ("", "")
