"""Telling somebody of a run's start, hold, guard and end: a signed webhook, a command of the operator's own.

Best effort: what cannot be delivered is written into the event log, and never holds up or ends a run.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import signal
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import structlog

from pipeline.chronicle import Event, EventKind
from pipeline.secret_references import signing_key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import SecretStr

    from pipeline.contracts import Ledger
    from pipeline.settings import Notify

LOOK_EVERY_S = 1.0
WAITS_S = (0.0, 1.0, 5.0)  # before each try of a webhook
_KINDS = {EventKind.HOLD: "hold", EventKind.GUARD: "guard"}

log = structlog.get_logger(__name__)


class Herald:
    """Tells of one run. `clean` takes secrets and whole identifiers out of words; `figures` is its summary.

    With `secret` a webhook is signed as the Standard Webhooks specification 1.0 has it.
    """

    def __init__(
        self,
        settings: Notify,
        ledger: Ledger,
        *,
        secret: SecretStr | None,
        clean: Callable[[str], str],
        figures: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._settings, self._ledger, self._secret = settings, ledger, secret
        self._clean, self._figures = clean, figures
        self._told = max((event.id for event in ledger.events()), default=0)
        self._telling = asyncio.Lock()
        self._news: asyncio.Future[None] | None = None

    async def watch(self) -> None:
        """Tell of the start, then of each hold and guard, until cancelled."""
        begins = True
        while True:
            # What is being told when the run ends is told to its end: `end` waits for it.
            self._news = asyncio.ensure_future(self._tell_news(begins=begins))
            await asyncio.shield(self._news)
            await asyncio.sleep(LOOK_EVERY_S)
            begins = False

    async def end(self, words: str) -> None:
        """Tell what has not been told yet, and of the end."""
        await self._tell_news()
        await self._tell("end", words)

    async def _tell_news(self, *, begins: bool = False) -> None:
        async with self._telling:
            if begins:
                await self._tell("start", "the run has begun, or goes on")
            for event in await asyncio.to_thread(self._ledger.events):
                if event.id > self._told:
                    self._told = event.id
                    if event.kind in _KINDS:
                        await self._tell(_KINDS[event.kind], event.words)

    async def _tell(self, what: str, words: str) -> None:
        if what not in self._settings.on or not (self._settings.webhook or self._settings.command):
            return
        figures = await asyncio.to_thread(self._figures)
        notice = {"event": what, "at": time.time(), "words": self._clean(words), "summary": dict(figures)}
        body = json.dumps(notice, ensure_ascii=False).encode()
        if self._settings.webhook:
            await self._noted("webhook", self._post(what, body))
        if self._settings.command:
            await self._noted("command", self._run(what, body))

    async def _noted(self, way: str, failure: Any) -> None:
        """Write down why somebody could not be told."""
        if reason := await failure:
            words = f"[notify] {way}: {self._clean(reason)}"
            log.warning("notice not delivered", way=way, reason=reason)
            now = time.time()
            await self._ledger.note(Event(now, EventKind.NOTICE, words, taken_at=now))

    async def _post(self, what: str, body: bytes) -> str:
        """Post a notice; say why it was not taken, or nothing."""
        reason, message_id = "", f"msg_{uuid.uuid4().hex}"
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout_s)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            for wait_s in WAITS_S:
                await asyncio.sleep(wait_s)
                headers = {"content-type": "application/json", "x-simlift-event": what}
                headers |= signed_headers(self._secret, message_id, int(time.time()), body)
                try:
                    async with session.post(
                        self._settings.webhook, data=body, headers=headers, allow_redirects=False
                    ) as response:
                        if response.ok and response.status < 300:  # noqa: PLR2004 - the class of success
                            return ""
                        reason = f"HTTP {response.status}"
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    reason = f"cannot be reached: {type(error).__name__}"
        return reason

    async def _run(self, what: str, body: bytes) -> str:
        """Run the operator's command with the notice on its standard input; say why it failed, or nothing."""
        environment = {**os.environ, "SIMLIFT_EVENT": what, "SIMLIFT_RUN_ID": self._ledger.run().run_id}
        try:
            process = await asyncio.create_subprocess_exec(
                *self._settings.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            return f"{self._settings.command[0]} cannot be started: {error.strerror}"
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await process.communicate(body)
        except TimeoutError:
            return f"was not done within {self._settings.timeout_s:g} s and was ended"
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        return f"ended with exit code {process.returncode}" if process.returncode else ""


def signed_headers(secret: SecretStr | None, message_id: str, at_s: int, body: bytes) -> dict[str, str]:
    """Give the headers of Standard Webhooks 1.0; without a secret there is no signature among them."""
    headers = {"webhook-id": message_id, "webhook-timestamp": str(at_s)}
    if secret is None:
        return headers
    digest = hmac.digest(
        signing_key_of(secret), b"%s.%d.%s" % (message_id.encode(), at_s, body), hashlib.sha256
    )
    return headers | {"webhook-signature": f"v1,{base64.b64encode(digest).decode()}"}
