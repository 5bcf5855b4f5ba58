"""What every target and source must do, as pytest classes to subclass: simlift's own are held to it too.

class TestAcme(TargetContract): ...             # docs/a-target-of-your-own.md
class TestLater(CompletingTargetContract): ...  # a vendor that accepts now and finishes later
class TestFixedWidth(SourceContract): ...       # docs/a-source-of-your-own.md
"""

from __future__ import annotations

import pytest

# Else a failing sentence would say "assert False" and nothing more.
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in ("columns", "replies", "polls", "sources")))

from simlift_contract.columns import ColumnsContract  # noqa: E402 - must be imported after that
from simlift_contract.polls import PollsContract  # noqa: E402 - likewise
from simlift_contract.replies import RepliesContract  # noqa: E402 - likewise
from simlift_contract.sources import SourceContract  # noqa: E402 - likewise

__all__ = ["CompletingTargetContract", "SourceContract", "TargetContract"]


class TargetContract(ColumnsContract, RepliesContract):
    """A Target: set `kind`, `table`, `environment`, `rows`; play the vendor in `answer`, `refusal`."""


class CompletingTargetContract(TargetContract, PollsContract):
    """contracts.CompletingTarget: the same, and `not_yet`; `answer` is asked after tickets too."""

    completes = True
