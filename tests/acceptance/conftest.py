"""What acceptance tests share: the command line as a process, the vendor as another."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from program import Program
from vendors import Vendor, vendor_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def simlift(tmp_path: Path) -> Iterator[Program]:
    """Give the command line, in an empty folder."""
    program = Program(tmp_path)
    yield program
    program.close()


@pytest.fixture
def start_vendor(tmp_path: Path) -> Iterator[Callable[..., Vendor]]:
    """Give a starter of vendors, which are gone after the test."""
    with ExitStack() as stack:

        def start(*options: str, **facts: Any) -> Vendor:
            return stack.enter_context(vendor_process(*options, folder=tmp_path, **facts))

        yield start


@pytest.fixture(scope="module")
def quiet_vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendor]:
    """Give a vendor without faults, shared by the tests of a module: count on differences only."""
    with vendor_process(folder=tmp_path_factory.mktemp("vendor")) as vendor:
        yield vendor
