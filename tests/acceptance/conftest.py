"""What acceptance tests share: the command line as a process, the vendor as another."""

from __future__ import annotations

import os
import random
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from program import Program
from proxy import Proxy, proxy_process
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


@pytest.fixture
def start_proxy(tmp_path: Path) -> Iterator[Callable[..., Proxy]]:
    """Give a starter of proxies, which are gone after the test."""
    with ExitStack() as stack:

        def start(vendor_port: int, **options: Any) -> Proxy:
            return stack.enter_context(proxy_process(vendor_port, folder=tmp_path, **options))

        yield start


@pytest.fixture
def seed() -> int:
    """Draw the seed of all that a test draws. SEED=n draws the same again; the timing stays the machine's."""
    drawn = int(os.environ.get("SEED") or random.randrange(10**6))
    print(f"drawn again with SEED={drawn}")
    return drawn


@pytest.fixture(scope="module")
def quiet_vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendor]:
    """Give a vendor without faults, shared by the tests of a module: count on differences only."""
    with vendor_process(folder=tmp_path_factory.mktemp("vendor")) as vendor:
        yield vendor
