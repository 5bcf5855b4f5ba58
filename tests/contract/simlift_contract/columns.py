"""What a target says of itself, and what it makes of rows: rules, settings, keys, pieces of a body."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given, strategies as st
from pydantic import SecretStr

from pipeline.errors import UsageError
from pipeline.model import Batch
from pipeline.rules import rules_of
from pipeline.settings import Endpoint, read_table
from simlift_contract.hooks import MODERATE, TargetUnderTest
from simlift_contract.vendor import Vendor, json_in, texts_in

if TYPE_CHECKING:
    from pipeline.rules import Rule

_TEXT = st.text(st.characters(codec="utf-8"), max_size=10)


class ColumnsContract(TargetUnderTest):
    """Needs no vendor, but for the last two."""

    def test_it_is_registered_under_its_name(self) -> None:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.kind.name)
        found = [entry.load() for entry in entry_points(group="simlift.targets", name=self.kind.name)]
        assert found == [self.kind], f"entry points called {self.kind.name}: {found}"
        assert self.table["kind"] == self.kind.name

    def test_its_batches_hold_at_most_a_thousand_items(self) -> None:
        assert isinstance(self.kind.most_batch_items, int)
        assert 1 <= self.kind.most_batch_items <= 1000

    def test_its_rules_run_on_columns(self) -> None:
        names = [rule.name for rule in rules_of(self.kind.rules)]
        assert names
        assert self.fields().schema.names == names

    # ------------------------------------------------------------ settings

    def test_its_settings_refuse_a_key_they_do_not_know(self) -> None:
        assert issubclass(self.kind.settings, Endpoint)
        with pytest.raises(UsageError, match="no_such_key"):
            self.settings(no_such_key="1")

    def test_its_secrets_are_references_and_never_shown(self) -> None:
        settings = self.settings()
        references = [name for name, value in self.table.items() if str(value).startswith(("env:", "file:"))]
        assert all(isinstance(getattr(settings, name), SecretStr) for name in references), (
            "use settings.Secret"
        )
        assert not any(secret in repr(settings) for secret in self.environment.values())
        for name in references:
            with pytest.raises(UsageError, match=name) as error:
                self.settings(**{name: "the-secret-itself"})
            assert "the-secret-itself" not in str(error.value)

    def test_it_refuses_to_send_secrets_in_clear_text(self) -> None:
        with pytest.raises(UsageError, match="allow_http"):
            self.settings(base_url="http://vendor.example")

    def test_it_can_be_made_without_its_secrets_so_that_an_inventory_can_be_checked(self) -> None:
        settings = read_table(self.kind.settings, dict(self.table), where="job.toml", resolve_secrets=False)
        target = self.kind(settings)
        assert target.key(self.fields()).to_pylist() == self.batch().keys()

    # ------------------------------------------------------------ keys and pieces

    def test_every_row_has_a_key_of_its_own(self) -> None:
        keys = self.target().key(self.fields())
        assert isinstance(keys, pa.StringArray)
        assert len(keys) == self.fields().num_rows
        assert all(keys.to_pylist())
        assert len(set(keys.to_pylist())) == len(keys), "rows of the contract share a key"

    def test_every_row_is_a_piece_with_the_separator_that_follows_it(self) -> None:
        pieces = self.target().encode(self.fields())
        assert isinstance(pieces, pa.StringArray)
        assert pieces.null_count == 0
        assert len(pieces) == self.fields().num_rows
        assert len({piece[-1:] for piece in pieces.to_pylist()} - {""}) == 1

    def test_no_rows_make_no_keys_and_no_pieces(self) -> None:
        nothing = self.fields().slice(0, 0)
        assert self.target().key(nothing).to_pylist() == self.target().encode(nothing).to_pylist() == []

    @MODERATE
    @given(data=st.data())
    def test_a_row_s_key_and_piece_do_not_depend_on_its_neighbours(self, data: st.DataObject) -> None:
        fields, target = self.fields(), self.target()
        keys, pieces = target.key(fields).to_pylist(), target.encode(fields).to_pylist()
        chosen = data.draw(st.lists(st.integers(0, len(keys) - 1), min_size=1, max_size=12))
        mixed = fields.take(pa.array(chosen))
        start = data.draw(st.integers(0, len(chosen)))
        cut = mixed.slice(start, data.draw(st.integers(0, len(chosen))))
        asked = chosen[start : start + cut.num_rows]
        assert target.key(cut).to_pylist() == [keys[index] for index in asked]
        assert target.encode(cut).to_pylist() == [pieces[index] for index in asked]

    # ------------------------------------------------------------ bodies

    @MODERATE
    @given(data=st.data())
    def test_any_text_arrives_as_it_is(self, data: st.DataObject) -> None:
        fields = self.fields()
        free = [rule for rule in rules_of(self.kind.rules) if _is_free_text(rule)]
        for rule in free:
            # Letters around it: what stands in a row is trimmed and not blank.
            texts = [f"a{text}z"[: rule.max_length] for text in data.draw(_texts(fields.num_rows))]
            at = fields.schema.get_field_index(rule.name)
            fields = fields.set_column(at, rule.name, pa.array(texts, pa.string()))
        vendor = Vendor(self.answer)
        self.send(vendor, self.batch(fields))
        body = json_in(vendor.sent[-1].body)
        sent_as = {name.lower(): value for name, value in vendor.sent[-1].headers.items()}
        assert body is not None or "json" not in sent_as.get("content-type", ""), "the body is no JSON"
        if body is not None:
            arrived = texts_in(body)
            for rule in free:
                assert [text for text in fields.column(rule.name).to_pylist() if text not in arrived] == []

    @MODERATE
    @given(data=st.data())
    def test_a_body_is_built_from_its_own_items_alone(self, data: st.DataObject) -> None:
        fields = self.fields()
        start = data.draw(st.integers(0, fields.num_rows - 1))
        count = data.draw(st.integers(1, fields.num_rows - start))
        part_of_a_batch, by_itself = Vendor(self.answer), Vendor(self.answer)
        self.send(part_of_a_batch, Batch(self.batch(fields).items.slice(start, count)))
        self.send(by_itself, self.batch(fields.slice(start, count)))
        assert part_of_a_batch.sent[-1].body == by_itself.sent[-1].body


def _texts(rows: int) -> st.SearchStrategy[list[str]]:
    return st.lists(_TEXT, min_size=rows, max_size=rows)


def _is_free_text(rule: Rule) -> bool:
    return not (rule.pattern or rule.identifier or rule.one_of or rule.forms_by)
