"""A database as an inventory: what a query answers, read with a server-side cursor, as Arrow columns.

Text stays text and numbers stay numbers, so that a number in a column of identifiers is told as one.
"""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import pyarrow as pa

from pipeline.errors import InventoryError, UsageError
from pipeline.far_files import SECRET_KEY, is_file_system, place_of
from pipeline.files import words_of
from pipeline.headers import kept_columns, quoted

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from pipeline.far_files import Place

_ROWS = 10_000
_WHOLE = pa.decimal128(38, 0)
#: The driver that is meant when an address names none, where SQLAlchemy's versions differ.
_DRIVERS = {"postgresql": "postgresql+psycopg"}
_CONNECT_TIMEOUT_S = 30


def database_at(name: str) -> Place | None:
    """Read an inventory's name as a database's address, or a reference to one; None for all else.

    Raises InventoryError for an address that holds a password.
    """
    place = place_of(name)
    return None if place is None or place.path or is_file_system(place.scheme) else place


class Answer:
    """What a database answers to a query. Raises InventoryError, in one line without the password.

    `origin` names the database and the query; equal for equal ones.
    """

    def __init__(self, place: Place, query: str) -> None:
        if not query.strip():
            raise UsageError(
                f'{place.shown}: is a database; say what to read with [input] query = "SELECT …"'
            )
        self._sql = import_module("sqlalchemy")
        self._shown, self._query = place.shown, query
        try:
            self._url = self._sql.make_url(place.url)
        except self._sql.exc.ArgumentError:
            raise InventoryError(f"{place.shown}: is not the address of a database; check it") from None
        self._url = self._url.set(drivername=_DRIVERS.get(self._url.drivername, self._url.drivername))
        self.origin = f"{self._url.set(password=None)} {query}"

    def batches(self) -> Generator[pa.RecordBatch, None, None]:
        """Ask, and yield the rows, at least one stretch; all have one schema, key material is left out.

        Raises InventoryError.
        """
        self._require_file()
        with self._explained():
            engine = self._sql.create_engine(
                self._url, poolclass=self._sql.pool.NullPool, connect_args=self._patience()
            )
            # The query goes to the driver as it stands: a colon or a per cent sign in it means nothing.
            options = {"stream_results": True, "max_row_buffer": _ROWS, "no_parameters": True}
            with engine.connect().execution_options(**options) as connection:
                result = connection.exec_driver_sql(self._query)
                if not result.returns_rows:
                    raise InventoryError(f"{self._shown}: the query answers no rows; make it a SELECT")
                with closing(result):
                    yield from self._batches_of(result)

    def _batches_of(self, result: Any) -> Iterator[pa.RecordBatch]:
        names = [str(name) for name in result.keys()]  # noqa: SIM118 - it is no dict
        kept = kept_columns(names)
        if not kept:
            raise InventoryError(
                f"{self._shown}: answers only columns that are never kept (keys); add others"
            )
        schema: pa.Schema | None = None
        for rows in result.partitions(_ROWS):
            columns = list(zip(*rows, strict=True))
            cells = [[_plain(cell) for cell in columns[i]] for i in kept]
            if schema is None:
                schema = pa.schema(
                    [(names[i], _type_of(column)) for i, column in zip(kept, cells, strict=True)]
                )
            arrays = [self._column(*both) for both in zip(cells, schema, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        if schema is None:
            empty = pa.schema([(names[i], pa.string()) for i in kept])
            yield pa.RecordBatch.from_arrays([pa.array([], pa.string())] * len(kept), schema=empty)

    def _column(self, cells: list[Any], field: pa.Field) -> pa.Array:
        try:
            if pa.types.is_floating(field.type):
                cells = [float(cell) if isinstance(cell, Decimal) else cell for cell in cells]
            return pa.array(cells, field.type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            raise InventoryError(
                f"{self._shown}: column {quoted(field.name)} holds text in some rows and numbers in others, "
                "or too large ones; CAST it to text in the query"
            ) from None

    def _require_file(self) -> None:
        """SQLite would make a database that is not there."""
        path = self._url.database
        if self._url.get_backend_name() == "sqlite" and path and ":" not in path and not Path(path).is_file():
            raise InventoryError(f"{self._shown}: no such file; check the path")

    def _patience(self) -> dict[str, int]:
        return (
            {"connect_timeout": _CONNECT_TIMEOUT_S} if self._url.drivername == _DRIVERS["postgresql"] else {}
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (UsageError, GeneratorExit):
            raise
        except self._sql.exc.NoSuchModuleError:
            scheme = self._url.drivername
            raise InventoryError(
                f"{self._shown}: no database is known as {scheme}; check the address"
            ) from None
        except ImportError as error:
            extra = " (or simlift[postgresql])" if self._url.get_backend_name() == "postgresql" else ""
            raise InventoryError(
                f"{self._shown}: its driver is missing: {words_of(error)}; install it{extra}"
            ) from None
        except Exception as error:  # noqa: BLE001 - every driver has errors of its own
            words = self._hidden(words_of(getattr(error, "orig", None) or error))
            raise InventoryError(
                f"{self._shown}: cannot be read: {words}; check the address, your rights and [input] query"
            ) from None

    def _hidden(self, words: str) -> str:
        query = (str(value) for key, value in self._url.query.items() if SECRET_KEY.search(f"{key}="))
        for secret in filter(None, (str(self._url.password or ""), *query)):
            for form in (secret, quote(secret, safe=""), quote_plus(secret)):
                words = words.replace(form, "(hidden)")
        return words


def _plain(cell: Any) -> Any:
    """Give a cell as text, a number or None; whatever else a database knows becomes its text."""
    if isinstance(cell, str) or cell is None:
        return cell
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, int | float | Decimal):
        return cell
    if isinstance(cell, bytes | bytearray | memoryview):
        return bytes(cell).decode("utf-8", "backslashreplace")
    return json.dumps(cell) if isinstance(cell, dict | list) else str(cell)


def _type_of(cells: Sequence[Any]) -> pa.DataType:
    """Tell a column's type by its first stretch: text, whole numbers of up to 38 digits, or fractions."""
    kinds = {type(cell) for cell in cells} - {type(None)}
    if not kinds or str in kinds:
        return pa.string()
    whole = all(
        isinstance(cell, int) or (isinstance(cell, Decimal) and cell == cell.to_integral_value())
        for cell in cells
        if cell is not None
    )
    return _WHOLE if whole else pa.float64()
