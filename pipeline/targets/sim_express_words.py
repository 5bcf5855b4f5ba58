"""The words of SIM Express as they may be shown: one bounded line, without the secrets of the request.

Most texts of a reply differ in their digits alone, so what does not depend on these is found once for all.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_READ = 2_000  # characters of a text
PIECE = re.compile(r"[\w.+~-]{4,}")
_ZEROS = bytes.maketrans(b"123456789", b"0" * 9)


def forms_of(texts: Sequence[str]) -> list[str]:
    """Make all digits zeros: which they are says nothing, and most rows differ in them alone."""
    whole = "".join(texts).encode("utf-8", "surrogatepass").translate(_ZEROS).decode("utf-8", "surrogatepass")
    return [whole[start:end] for start, end in pairwise(accumulate(map(len, texts), initial=0))]


class _Look(NamedTuple):
    """How a text is shown: whether it is one line as it stands, and the pieces of that line.

    `words` are those without a digit; the others stand at `numbers`.
    """

    is_line: bool
    words: frozenset[str]
    numbers: tuple[slice, ...]


@lru_cache(1024)
def _look(form: str) -> _Look:
    line = line_of(form)
    pieces = [slice(*match.span()) for match in PIECE.finditer(line)]
    numbers = tuple(place for place in pieces if "0" in line[place])
    return _Look(line == form, frozenset(line[place] for place in pieces if place not in numbers), numbers)


def line_of(text: str) -> str:
    """Make text one line of printable characters, single blanks between them."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())


class _Codes(Struct, gc=False):
    ac: str
    cc: str


class _Request(Struct, rename="camel"):
    profile_items: list[_Codes]


class Words:
    """Makes the vendor's words fit to be shown: one bounded line without the secrets of the request.

    A piece of text is hidden where it is a whole secret, a longer one also where it is part of one. Shorter
    ones are shown: the page's example has ac "1", and hiding that would blank out half of every reason.
    """

    _MOST_CHARS = 300
    _PART_CHARS = 6

    def __init__(self, body: bytes, *credentials: str) -> None:
        self._body = body
        self._credentials = credentials

    @cached_property
    def _secret_text(self) -> str:
        """The secrets, one a line; the parts between their $ too, as no piece has a $ in it."""
        items = msgspec.json.decode(self._body, type=_Request).profile_items
        codes = (code for item in items for code in (item.ac, item.cc))
        return "\n".join((*self._credentials, *codes)).replace("$", "\n").casefold()

    @cached_property
    def _secrets(self) -> frozenset[str]:
        return frozenset(self._secret_text.split("\n"))

    def _is_secret(self, piece: str) -> bool:
        folded = piece.casefold().strip("._+~-")
        part = len(folded) >= self._PART_CHARS and not folded.isdigit()  # many digits are an identifier
        return folded in self._secrets or (part and folded in self._secret_text)

    def __call__(self, text: str) -> str:
        """Give the text as one bounded, printable line without the request's secrets."""
        return self.each([text])[0]

    def each(self, texts: Sequence[str]) -> list[str]:
        """Give texts of one form (forms_of) as they may be shown; but for digits they are judged once."""
        lines = [text[:MOST_READ] for text in texts]
        look = _look(*forms_of(lines[:1]))
        if not look.is_line:
            lines = list(map(line_of, lines))
        numbers = {line[place] for place in look.numbers for line in lines}
        digits = set(filter(str.isdigit, numbers))  # nothing to fold, and no part of a code
        secret = set(filter(self._is_secret, look.words | numbers - digits))
        if digits:
            secret |= digits & self._secrets
        if secret:
            lines = [PIECE.sub(lambda piece: "…" if piece[0] in secret else piece[0], line) for line in lines]
        most = self._MOST_CHARS
        return [line if len(line) <= most else line[: most - 1] + "…" for line in lines]
