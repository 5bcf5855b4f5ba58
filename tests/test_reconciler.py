from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import assume, given, settings, strategies as st
from msgspec.structs import replace

from pipeline.model import PLAIN_SUCCESS, Answer, Reply, Ruling, Verdict
from pipeline.reconciler import _one_by_one, reconcile

if TYPE_CHECKING:
    from collections.abc import Sequence

A, B, C, D = KEYS = [
    "8935711001000000001",
    "8935711001000000002",
    "8935711001000000003",
    "8935711001000000004",
]
STRANGER = "8935711001999999999"
SUCCESS = Answer(PLAIN_SUCCESS)
BAD_APN = Verdict(Ruling.REFUSED, "failed", "the apn is null")


def exists(key: str, reason: str = "exists") -> Answer:
    return Answer(Verdict(Ruling.EXISTS, "exists", reason), key)


def rulings(keys: Sequence[str], reply: Reply) -> list[Ruling]:
    verdicts = reconcile(keys, reply)
    return [verdicts.exceptions.get(index, PLAIN_SUCCESS).ruling for index in range(len(keys))]


SUCCEEDED, EXISTS, REFUSED, OPEN = Ruling.SUCCEEDED, Ruling.EXISTS, Ruling.REFUSED, Ruling.OPEN


# ---------------------------------------------------------------- positions


def test_plain_successes_need_no_word_of_their_own() -> None:
    verdicts = reconcile(KEYS, Reply([SUCCESS] * 4))
    assert (verdicts.items, verdicts.exceptions, verdicts.evidence) == (4, {}, ())


def test_without_an_echo_an_unnamed_entry_belongs_to_the_item_sent_at_its_place() -> None:
    assert rulings(KEYS, Reply([SUCCESS, Answer(BAD_APN), SUCCESS, SUCCESS]))[1] is REFUSED


def test_with_an_echo_an_unnamed_entry_belongs_to_the_item_echoed_at_its_place() -> None:
    reply = Reply([Answer(BAD_APN), SUCCESS, SUCCESS, SUCCESS], [D, C, B, A])
    assert rulings(KEYS, reply) == [SUCCEEDED, SUCCEEDED, SUCCEEDED, REFUSED]


def test_named_and_unnamed_entries_in_one_order_are_all_believed() -> None:
    reply = Reply([Answer(BAD_APN), exists(B), SUCCESS, exists(D)], KEYS)
    assert rulings(KEYS, reply) == [REFUSED, EXISTS, SUCCEEDED, EXISTS]
    assert reconcile(KEYS, reply).evidence == ()


def test_a_short_reply_leaves_the_rest_in_doubt() -> None:
    verdicts = reconcile(KEYS, Reply([SUCCESS, exists(C), SUCCESS]))
    assert {index: verdict.ruling for index, verdict in verdicts.exceptions.items()} == {
        0: OPEN,
        1: OPEN,
        2: EXISTS,
        3: OPEN,
    }
    assert verdicts.exceptions[0].code == "reply_short"
    assert verdicts.exceptions[0].reason == "3 entries for 4 items"


def test_a_reply_without_any_entry_leaves_all_in_doubt() -> None:
    assert rulings(KEYS, Reply([])) == [OPEN] * 4


def test_a_long_reply_is_not_believed_by_position() -> None:
    verdicts = reconcile(KEYS, Reply([SUCCESS] * 5))
    assert {verdict.code for verdict in verdicts.exceptions.values()} == {"reply_long"}
    assert len(verdicts.exceptions) == 4


def test_an_echo_that_lacks_an_item_is_not_believed() -> None:
    verdicts = reconcile(KEYS, Reply([SUCCESS, SUCCESS, SUCCESS, exists(D)], KEYS[:3]))
    assert [verdicts.exceptions[index].ruling for index in range(4)] == [OPEN, OPEN, OPEN, EXISTS]
    assert "3 echoed, 0 of them never sent, 1 sent but not echoed" in verdicts.evidence[0]


def test_an_echo_that_repeats_an_item_is_not_believed() -> None:
    assert rulings(KEYS, Reply([SUCCESS] * 4, [A, B, C, C])) == [OPEN] * 4


def test_an_echo_with_an_item_too_many_is_not_believed() -> None:
    assert rulings(KEYS, Reply([SUCCESS, Answer(BAD_APN), SUCCESS, SUCCESS], [A, A, B, C, D])) == [OPEN] * 4


def test_successes_beside_the_echo_of_another_batch_are_nobodys() -> None:
    others = [key[:-2] + "77" for key in KEYS]
    assert rulings(KEYS, Reply([SUCCESS] * 4, others)) == [OPEN] * 4


def test_one_echoed_item_that_was_never_sent_takes_the_belief_from_all_positions() -> None:
    assert rulings(KEYS, Reply([SUCCESS] * 4, [A, B, C, STRANGER])) == [OPEN] * 4


def test_a_single_item_with_a_single_entry_is_settled() -> None:
    assert rulings([A], Reply([Answer(BAD_APN)])) == [REFUSED]


def test_a_single_item_whose_entry_names_another_stays_open() -> None:
    assert rulings([A], Reply([exists(STRANGER)], [A])) == [OPEN]


# ---------------------------------------------------------------- names


def test_a_name_wins_over_the_place_it_stands_at() -> None:
    reply = Reply([exists(B), exists(A), Answer(BAD_APN), SUCCESS])
    assert rulings(KEYS, reply)[:2] == [EXISTS, EXISTS]


def test_a_name_out_of_order_takes_the_belief_from_positions() -> None:
    reply = Reply([exists(B), exists(A), Answer(BAD_APN), SUCCESS])
    verdicts = reconcile(KEYS, reply)
    assert [verdicts.exceptions[index].code for index in (2, 3)] == ["reply_contradicts"] * 2
    assert verdicts.evidence == ("named entries stand elsewhere than the order of the items says",)


def test_a_stranger_takes_the_belief_from_positions_but_not_from_names() -> None:
    verdicts = reconcile(KEYS, Reply([SUCCESS, exists(STRANGER), exists(C), SUCCESS]))
    assert [verdicts.exceptions[index].ruling for index in range(4)] == [OPEN, OPEN, EXISTS, OPEN]
    assert verdicts.evidence == ("entries that name an item that was not sent: 1",)


def test_two_entries_that_disagree_on_an_item_leave_it_open() -> None:
    refused = Answer(BAD_APN, B)
    verdicts = reconcile(KEYS, Reply([SUCCESS, exists(B), refused, SUCCESS]))
    assert verdicts.exceptions[1].ruling is OPEN
    assert verdicts.exceptions[1].code == "reply_contradicts"


def test_two_entries_that_agree_on_an_item_are_its_verdict() -> None:
    verdicts = reconcile(KEYS, Reply([exists(A), exists(B), exists(B), exists(C), exists(D)]))
    assert {verdict.ruling for verdict in verdicts.exceptions.values()} == {EXISTS}
    assert "entries for an item that an earlier entry named: 1" in verdicts.evidence


def test_a_named_success_is_a_plain_success() -> None:
    assert reconcile([A, B], Reply([Answer(PLAIN_SUCCESS, B), Answer(PLAIN_SUCCESS, A)])).exceptions == {}


# ---------------------------------------------------------------- one voice, whatever the order


def test_when_the_order_is_lost_one_voice_holds_for_all_items_that_are_left() -> None:
    reply = Reply([exists(C), exists(A), SUCCESS, SUCCESS], KEYS)
    assert rulings(KEYS, reply) == [EXISTS, SUCCEEDED, EXISTS, SUCCEEDED]


def test_when_the_order_is_lost_two_voices_hold_for_none() -> None:
    reply = Reply([exists(C), exists(A), SUCCESS, Answer(BAD_APN)], KEYS)
    assert rulings(KEYS, reply) == [EXISTS, OPEN, EXISTS, OPEN]


def test_a_repeated_named_entry_does_not_hinder_one_voice() -> None:
    assert rulings(KEYS, Reply([exists(B), exists(B), SUCCESS, SUCCESS, SUCCESS])) == [
        SUCCEEDED,
        EXISTS,
        SUCCEEDED,
        SUCCEEDED,
    ]


def test_one_voice_with_too_few_entries_holds_for_none() -> None:
    assert rulings(KEYS, Reply([exists(C), SUCCESS, SUCCESS])) == [OPEN, OPEN, EXISTS, OPEN]


def test_one_voice_beside_a_stranger_holds_for_none_even_if_the_number_fits() -> None:
    """Truth: D is refused, but misnamed, and a success is there twice. D must not become a success."""
    reply = Reply([SUCCESS, SUCCESS, SUCCESS, exists(C), exists(STRANGER)])
    assert rulings(KEYS, reply) == [OPEN, OPEN, EXISTS, OPEN]


def test_one_voice_beside_a_dispute_holds_for_none_even_if_the_number_fits() -> None:
    reply = Reply([SUCCESS, SUCCESS, SUCCESS, exists(C), Answer(BAD_APN, C)])
    assert rulings(KEYS, reply) == [OPEN] * 4


def test_no_identifier_stands_in_evidence_or_in_our_own_reasons() -> None:
    reply = Reply([exists(STRANGER), exists(A), exists(A), SUCCESS, SUCCESS], [STRANGER, *KEYS])
    verdicts = reconcile(KEYS, reply)
    words = " ".join(verdicts.evidence) + " ".join(verdict.reason for verdict in verdicts.exceptions.values())
    assert not any(key in words for key in [STRANGER, *KEYS])


# ---------------------------------------------------------------- by name alone

MISSING = Verdict(Ruling.OPEN, "reply_short", "the reply has no word on this item")
UNTOUCHED = Verdict(Ruling.UNTOUCHED)


def promise(key: str, ticket: str = "") -> Answer:
    return Answer(Verdict(Ruling.PROMISED, ticket=ticket or f"ticket of {key}"), key)


def test_by_name_every_entry_belongs_to_the_item_it_names_wherever_it_stands() -> None:
    verdicts = reconcile(KEYS, Reply([promise(key) for key in (C, A, D, B)], rest=MISSING, call="call-1"))
    assert {index: verdict.ticket for index, verdict in verdicts.exceptions.items()} == {
        index: f"ticket of {key}" for index, key in enumerate(KEYS)
    }
    assert (verdicts.call, verdicts.evidence) == ("call-1", ())


def test_a_short_acknowledgement_leaves_what_it_does_not_name_open() -> None:
    verdicts = reconcile(KEYS, Reply([promise(A), promise(C)], rest=MISSING))
    assert [verdicts.exceptions[index].ruling for index in range(4)] == [
        Ruling.PROMISED,
        OPEN,
        Ruling.PROMISED,
        OPEN,
    ]
    assert verdicts.exceptions[1] is MISSING


def test_what_a_refusal_of_others_does_not_name_is_untouched() -> None:
    reply = Reply([Answer(BAD_APN, B)], rest=UNTOUCHED)
    assert rulings(KEYS, reply) == [Ruling.UNTOUCHED, REFUSED, Ruling.UNTOUCHED, Ruling.UNTOUCHED]


def test_a_mixed_reply_gives_each_item_its_own_word() -> None:
    reply = Reply([promise(D), Answer(BAD_APN, B)], rest=UNTOUCHED)
    assert rulings(KEYS, reply) == [Ruling.UNTOUCHED, REFUSED, Ruling.UNTOUCHED, Ruling.PROMISED]


def test_a_refusal_that_names_only_strangers_leaves_all_open() -> None:
    verdicts = reconcile(KEYS, Reply([Answer(BAD_APN, STRANGER)], rest=UNTOUCHED))
    assert {verdict.ruling for verdict in verdicts.exceptions.values()} == {OPEN}
    assert len(verdicts.exceptions) == 4
    assert verdicts.evidence == ("entries that name an item that was not sent: 1",)


def test_a_stranger_makes_the_rest_doubtful_but_not_what_is_named() -> None:
    reply = Reply([Answer(BAD_APN, STRANGER), Answer(BAD_APN, B)], rest=UNTOUCHED)
    assert rulings(KEYS, reply) == [OPEN, REFUSED, OPEN, OPEN]


def test_entries_that_contradict_one_another_leave_their_item_and_the_rest_open() -> None:
    verdicts = reconcile(KEYS, Reply([promise(B, "one"), promise(B, "two"), promise(C)], rest=UNTOUCHED))
    assert [verdicts.exceptions[index].ruling for index in range(4)] == [OPEN, OPEN, Ruling.PROMISED, OPEN]
    assert {verdicts.exceptions[index].code for index in (0, 1, 3)} == {"reply_contradicts"}


def test_one_ticket_for_several_items_is_a_promise_to_none_of_them() -> None:
    reply = Reply([promise(A, "one"), promise(B, "one"), promise(C), promise(D)], rest=MISSING)
    verdicts = reconcile(KEYS, reply)
    assert [(verdicts.exceptions[index].ruling, verdicts.exceptions[index].code) for index in range(4)] == [
        (OPEN, "ticket_shared"),
        (OPEN, "ticket_shared"),
        (Ruling.PROMISED, ""),
        (Ruling.PROMISED, ""),
    ]
    assert verdicts.evidence == ("items whose ticket another entry bears as well: 2",)


def test_a_ticket_that_a_stranger_or_a_nameless_entry_bears_too_is_no_promise() -> None:
    nameless = Answer(promise(B, "two").verdict)
    reply = Reply([promise(A, "one"), promise(STRANGER, "one"), promise(B, "two"), nameless], rest=MISSING)
    assert rulings(KEYS, reply) == [OPEN] * 4


def test_the_same_promise_said_twice_of_one_item_is_a_promise() -> None:
    assert rulings([A], Reply([promise(A), promise(A)], rest=MISSING)) == [Ruling.PROMISED]


def test_an_entry_without_a_name_makes_the_rest_doubtful() -> None:
    verdicts = reconcile(KEYS, Reply([Answer(BAD_APN), Answer(BAD_APN, B)], rest=UNTOUCHED))
    assert [verdicts.exceptions[index].ruling for index in range(4)] == [OPEN, REFUSED, OPEN, OPEN]
    assert verdicts.evidence == ("entries that name no item: 1",)


def test_by_name_positions_mean_nothing_even_if_all_entries_are_alike() -> None:
    assert rulings(KEYS, Reply([SUCCESS] * 4, rest=MISSING)) == [OPEN] * 4


def test_what_is_open_by_its_own_words_keeps_them_beside_a_stranger() -> None:
    verdicts = reconcile([A, B], Reply([promise(STRANGER), promise(A)], rest=MISSING))
    assert verdicts.exceptions[1] is MISSING


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([*KEYS, STRANGER, None]), st.sampled_from(["t", "u", "no"])), max_size=8
    )
)
def test_by_name_no_item_gets_a_word_that_no_entry_said_of_it(entries: list[tuple[str | None, str]]) -> None:
    said = [
        (name, BAD_APN if word == "no" else Verdict(Ruling.PROMISED, ticket=word)) for name, word in entries
    ]
    reply = Reply([Answer(verdict, name) for name, verdict in said], rest=UNTOUCHED)
    verdicts = reconcile(KEYS, reply)
    odd = any(name in (None, STRANGER) for name, _ in said)
    bearers = {word: {name for name, other in entries if other == word} for word in ("t", "u")}
    for index, key in enumerate(KEYS):
        words = {verdict for name, verdict in said if name == key}
        ruling = verdicts.exceptions[index].ruling
        if len(words) == 1 and len(bearers.get(next(iter(words)).ticket, ())) > 1:
            assert ruling is OPEN
        elif len(words) == 1:
            assert {verdicts.exceptions[index]} == words
        else:
            assert ruling is OPEN or (not words and not odd and ruling is Ruling.UNTOUCHED)


# ---------------------------------------------------------------- for any reply at all


@dataclass
class Case:
    keys: list[str]
    truth: list[Verdict]
    reply: Reply
    disturbed: bool


OUTCOMES = ("success", "success", "exists", "refused", "refused without a name", "passing without a name")


def entry(key: str, outcome: str) -> Answer:
    match outcome:
        case "success":
            return SUCCESS
        case "exists":
            return exists(key, f"exists, iccid:[{key}]")
        case "refused":
            return Answer(Verdict(Ruling.REFUSED, "failed", f"bad eid, iccid:[{key}]"), key)
        case "refused without a name":
            return Answer(BAD_APN)
        case _:
            return Answer(Verdict(Ruling.PASSING, "busy", "busy"))


@st.composite
def cases(draw: Any, *, faults: bool = True) -> Case:
    """A known truth, told by a vendor who may shuffle, lose or repeat entries, name wrongly, echo wrongly."""
    count = draw(st.integers(1, 8))
    keys = [f"89357110010000000{index:02d}" for index in range(count)]
    answers = [entry(key, draw(st.sampled_from(OUTCOMES))) for key in keys]
    truth = [answer.verdict for answer in answers]
    order = draw(st.permutations(range(count)))
    echo = draw(st.sampled_from(["none", "any order"])) == "any order"
    told = [answers[index] for index in (order if echo else range(count))]
    echoed = [keys[index] for index in order] if echo else None
    if not faults:
        return Case(keys, truth, Reply(told, echoed), disturbed=False)
    fault = draw(st.sampled_from(["none", "lose", "repeat", "misname", "misname and repeat"]))
    told = disturb(draw, told, fault)
    if draw(st.booleans()):
        told = draw(st.permutations(told))
        assume(shows(told, echoed or keys, truth, keys))
    if echoed and draw(st.booleans()):
        at = draw(st.integers(0, count - 1))
        echoed[at : at + 1] = draw(st.sampled_from([[], [STRANGER], [echoed[at]] * 2, [echoed[0]]]))
    return Case(keys, truth, Reply(told, echoed), disturbed=True)


def disturb(draw: Any, told: list[Answer], fault: str) -> list[Answer]:
    hit = draw(st.sets(st.integers(0, len(told) - 1), min_size=1))
    if fault == "lose":
        return [answer for index, answer in enumerate(told) if index not in hit]
    if "misname" in fault:
        told = [
            replace(answer, names=STRANGER) if answer.names and index in hit else answer
            for index, answer in enumerate(told)
        ]
    if "repeat" in fault:
        again = draw(st.sets(st.integers(0, len(told) - 1), min_size=1))
        told = [answer for index, answer in enumerate(told) for _ in range(2 if index in again else 1)]
    return told


def shows(
    told: Sequence[Answer], order: Sequence[str], truth: Sequence[Verdict], keys: Sequence[str]
) -> bool:
    """Tell whether a shuffle can be seen at all: nobody can see two nameless entries change places."""
    if len(told) != len(order) or any(answer.names == STRANGER for answer in told):
        return True
    if any(answer.names not in (None, key) for answer, key in zip(told, order, strict=True)):
        return True
    meant = dict(zip(keys, truth, strict=True))
    return all(answer.verdict == meant[key] for answer, key in zip(told, order, strict=True))


@settings(max_examples=400, deadline=None)
@given(cases())
def test_no_item_ever_gets_a_verdict_that_belongs_to_another(case: Case) -> None:
    verdicts = reconcile(case.keys, case.reply)
    assert verdicts.items == len(case.keys)
    assert set(verdicts.exceptions) <= set(range(len(case.keys)))
    assert PLAIN_SUCCESS not in verdicts.exceptions.values()
    for index, truth in enumerate(case.truth):
        verdict = verdicts.exceptions.get(index, PLAIN_SUCCESS)
        assert verdict == truth or verdict.ruling is OPEN


@settings(max_examples=150, deadline=None)
@given(cases(faults=False))
def test_when_nothing_is_wrong_every_verdict_is_right_and_none_open(case: Case) -> None:
    verdicts = reconcile(case.keys, case.reply)
    found = [verdicts.exceptions.get(index, PLAIN_SUCCESS) for index in range(len(case.keys))]
    assert found == case.truth
    assert verdicts.evidence == ()


@settings(max_examples=200, deadline=None)
@given(st.one_of(cases(), cases(faults=False)))
def test_the_fast_path_says_what_the_plain_path_says(case: Case) -> None:
    assert reconcile(case.keys, case.reply) == _one_by_one(case.keys, case.reply)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([SUCCESS, Answer(BAD_APN), exists(A)]),
    st.integers(0, 6),
    st.sampled_from([None, KEYS, KEYS[::-1], [A, B, C, STRANGER], KEYS[1:]]),
)
def test_the_fast_path_says_what_the_plain_path_says_of_entries_that_are_all_alike(
    answer: Answer, count: int, echo: list[str] | None
) -> None:
    reply = Reply([answer] * count, echo)
    assert reconcile(KEYS, reply) == _one_by_one(KEYS, reply)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([PLAIN_SUCCESS, BAD_APN, exists(A).verdict]), min_size=4, max_size=4),
    st.sampled_from([KEYS, KEYS[::-1], [A, B, C, STRANGER], [A, B, C, C], [A, B, C, None], KEYS[1:]]),
    st.sampled_from([None, KEYS, KEYS[::-1], [A, B, C, STRANGER], KEYS[1:]]),
)
def test_the_fast_path_says_what_the_plain_path_says_of_entries_that_all_name_an_item(
    verdicts: list[Verdict], names: list[str | None], echo: list[str] | None
) -> None:
    reply = Reply([Answer(verdict, name) for verdict, name in zip(verdicts, names, strict=False)], echo)
    assert reconcile(KEYS, reply) == _one_by_one(KEYS, reply)
