"""Who may call the bulk subscriber API: tokens given for user name and password, or one given beforehand."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(slots=True)
class _Token:
    expires_at: float
    uses_left: float


class Tokens:
    """Gives out tokens and knows them. One lives for `life_s` and for `uses` calls, whichever ends first.

    `ready` is valid from the beginning and for ever, unless it is withdrawn.
    """

    def __init__(self, *, seed: int, life_s: float, uses: int | None, ready: str | None) -> None:
        self._seed = seed
        self._life_s = life_s
        self._uses = float("inf") if uses is None else uses
        self._given = 0
        self._valid: dict[str, _Token] = {}
        if ready is not None:
            self._valid[ready] = _Token(float("inf"), float("inf"))

    def issue(self, now: float) -> str:
        """Return a new token; those given before stay what they were."""
        self._given += 1
        text = hashlib.blake2b(f"{self._seed} token {self._given}".encode(), digest_size=24).hexdigest()
        self._valid[text] = _Token(now + self._life_s, self._uses)
        return text

    def admits(self, now: float, headers: Mapping[str, str], *, withdraw: bool = False) -> bool:
        """Whether the call brings a valid token, of which one use is spent then; `withdraw` ends it first."""
        given = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
        scheme, _, text = given.partition(" ")
        text = text.strip()
        if withdraw:
            self._valid.pop(text, None)
        token = self._valid.get(text) if scheme.lower() == "bearer" else None
        if token is None:
            return False
        if now >= token.expires_at or token.uses_left < 1:
            del self._valid[text]
            return False
        token.uses_left -= 1
        return True
