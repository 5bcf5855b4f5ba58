"""Which answer belongs to which item: a vendor's reply in, one verdict for every item out.

Pure. The rules are DESIGN "How the reconciler believes a reply", steps 2 to 5; a refusal of the whole batch
(step 1) arrives as a Fault and never comes here.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.model import PLAIN_SUCCESS, Ruling, Verdict, Verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pipeline.model import Reply


def reconcile(keys: Sequence[str], reply: Reply) -> Verdicts:
    """Give every item of a batch its verdict; the ruling is OPEN where the reply has no word to be trusted.

    `keys` are the batch's keys in the order sent, all different. Raises nothing, however odd the reply:
    oddities come back as evidence, in counts only, so that no identifier reaches a log.

    What this relies on: a reply may be in any order, short, long, or name wrong keys, but it does not lose
    some entries and repeat as many others that bear no name. No count could ever show that.
    """
    if reply.rest is not None:
        return _by_name(keys, reply, reply.rest)
    return _all_alike(keys, reply) or _all_named(keys, reply) or _one_by_one(keys, reply)


def _all_alike(keys: Sequence[str], reply: Reply) -> Verdicts | None:
    """Read the usual reply: an entry for each item, all the same, none with a name. Order can't matter."""
    answers = reply.answers
    if not answers or len(answers) != len(keys) or answers[0].names is not None:
        return None
    if answers.count(answers[0]) != len(answers) or not _echoes(keys, reply.echo):
        return None
    verdict = answers[0].verdict
    return Verdicts(len(keys), {} if verdict == PLAIN_SUCCESS else dict.fromkeys(range(len(keys)), verdict))


def _all_named(keys: Sequence[str], reply: Reply) -> Verdicts | None:
    """Read a reply with an entry for each item, which names it, in the order sent: no word is missing."""
    if reply.echo not in (None, keys) or [answer.names for answer in reply.answers] != keys:
        return None
    return Verdicts(len(keys), _exceptions([answer.verdict for answer in reply.answers]))


def _by_name(keys: Sequence[str], reply: Reply, rest: Verdict) -> Verdicts:
    """Read a reply whose entries should all name their items; one that names none makes `rest` doubtful."""
    index_of = {key: index for index, key in enumerate(keys)}
    found = _sort_out(index_of, (), reply)
    odd = _odd_names(found)
    if found.unnamed:
        odd.append(("reply_contradicts", f"entries that name no item: {len(found.unnamed)}"))
    if odd and rest.ruling is not Ruling.OPEN:
        rest = Verdict(Ruling.OPEN, *odd[0])
    shared = _sharing_tickets(found, reply)
    if shared:
        odd.append(("ticket_shared", f"items whose ticket another entry bears as well: {len(shared)}"))
    known = found.named | dict.fromkeys(shared, _SHARED) | dict.fromkeys(found.disputed, _DISPUTED)
    verdicts = {index: known.get(index, rest) for index in range(len(keys))}
    exceptions = {index: verdict for index, verdict in verdicts.items() if verdict != PLAIN_SUCCESS}
    return Verdicts(len(keys), exceptions, tuple(words for _, words in odd), reply.call)


def _one_by_one(keys: Sequence[str], reply: Reply) -> Verdicts:
    index_of = {key: index for index, key in enumerate(keys)}
    order = keys if reply.echo is None else reply.echo
    echoes = _echoes(keys, reply.echo)
    found = _sort_out(index_of, order, reply)
    odd = _oddities(keys, reply, found, echoes=echoes)
    known = found.named | dict.fromkeys(found.disputed, _DISPUTED)
    rest = Verdict(Ruling.OPEN, *odd[0]) if odd else _NO_WORD
    if echoes and found.in_order and len(reply.answers) == len(keys):
        known |= {index_of[order[at]]: verdict for at, verdict in found.unnamed.items()}
    elif echoes:
        rest = _order_does_not_matter(len(keys), found) or rest
    exceptions = _exceptions(known.get(index, rest) for index in range(len(keys)))
    return Verdicts(len(keys), exceptions, tuple(words for _, words in odd))


def _exceptions(verdicts: Iterable[Verdict]) -> dict[int, Verdict]:
    return {
        index: verdict
        for index, verdict in enumerate(verdicts)
        if verdict is not PLAIN_SUCCESS and verdict != PLAIN_SUCCESS
    }


_NO_WORD = Verdict(Ruling.OPEN, "reply_short", "the reply has no word on this item")
_DISPUTED = Verdict(
    Ruling.OPEN, "reply_contradicts", "the reply has entries for this item that contradict one another"
)

_SHARED = Verdict(
    Ruling.OPEN, "ticket_shared", "the reply gives one ticket to several items: its end would tell of neither"
)


@dataclass(slots=True)
class _SortedOut:
    """The entries of a reply: `named` by the index of the item, `unnamed` by their place in the reply."""

    named: dict[int, Verdict] = field(default_factory=dict)
    unnamed: dict[int, Verdict] = field(default_factory=dict)
    disputed: set[int] = field(default_factory=set)
    repeated: int = 0
    strangers: int = 0
    in_order: bool = True


def _sort_out(index_of: Mapping[str, int], order: Sequence[str], reply: Reply) -> _SortedOut:
    """Sort the entries; `in_order` ends up False when a named one stands where the order has another item."""
    found = _SortedOut()
    for at, answer in enumerate(reply.answers):
        if answer.names is None:
            found.unnamed[at] = answer.verdict
            continue
        if at >= len(order) or order[at] != answer.names:
            found.in_order = False
        index = index_of.get(answer.names)
        if index is None:
            found.strangers += 1
            found.in_order = False
        elif index in found.named:
            found.repeated += 1
            if found.named[index] != answer.verdict:
                found.disputed.add(index)
        else:
            found.named[index] = answer.verdict
    return found


def _sharing_tickets(found: _SortedOut, reply: Reply) -> set[int]:
    """Give the items (by index) whose ticket stands beside another name too: a word on it is not theirs."""
    bearers: defaultdict[str, set[str | None]] = defaultdict(set)
    for answer in reply.answers:
        if answer.verdict.ticket:
            bearers[answer.verdict.ticket].add(answer.names)
    return {index for index, verdict in found.named.items() if len(bearers.get(verdict.ticket, ())) > 1}


def _order_does_not_matter(items: int, found: _SortedOut) -> Verdict | None:
    """Step 4: give what holds for all items without a named entry, if the unnamed ones say so in one voice.

    Stricter than its wording in two points. After a stranger's name or a dispute at least one entry is not
    what it seems; the number of unnamed ones may then come out right by accident (a misnamed refusal and a
    repeated success would make a success of the refused item), so nothing is concluded. The same goes for
    an echo of other items, which the caller checks: that reply may be another batch's altogether.
    """
    if found.strangers or found.disputed or len(found.unnamed) != items - len(found.named):
        return None
    voices = set(found.unnamed.values())
    return voices.pop() if len(voices) == 1 else None


def _echoes(keys: Sequence[str], echo: Sequence[str] | None) -> bool:
    """Tell whether the echo, where there is one, is the items sent, in any order. Keys are all different."""
    return echo is None or echo == keys or (len(echo) == len(keys) and set(echo) == set(keys))


def _odd_names(found: _SortedOut) -> list[tuple[str, str]]:
    """Say what is odd about the names in a reply, in counts."""
    odd: list[tuple[str, str]] = []
    if found.strangers:
        odd.append(("reply_contradicts", f"entries that name an item that was not sent: {found.strangers}"))
    if found.disputed:
        odd.append(
            ("reply_contradicts", f"items whose entries contradict one another: {len(found.disputed)}")
        )
    return odd


def _oddities(keys: Sequence[str], reply: Reply, found: _SortedOut, *, echoes: bool) -> list[tuple[str, str]]:
    """Say what is odd about the reply, as code and words, the gravest first."""
    odd: list[tuple[str, str]] = []
    if reply.echo is not None and not echoes:
        never_sent, missing = len(set(reply.echo).difference(keys)), len(set(keys).difference(reply.echo))
        counts = f"{len(reply.echo)} echoed, {never_sent} of them never sent, {missing} sent but not echoed"
        odd.append(("reply_contradicts", f"the echo is not the {len(keys)} items sent: {counts}"))
    odd += _odd_names(found)
    if len(reply.answers) != len(keys):
        code = "reply_short" if len(reply.answers) < len(keys) else "reply_long"
        odd.append((code, f"{len(reply.answers)} entries for {len(keys)} items"))
    if found.repeated:
        odd.append(("reply_long", f"entries for an item that an earlier entry named: {found.repeated}"))
    if not found.in_order and not found.strangers:
        odd.append(("reply_contradicts", "named entries stand elsewhere than the order of the items says"))
    return odd
