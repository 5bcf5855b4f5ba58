from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest
from virtual_clock import VirtualClockLoop, now, run


def test_an_hour_passes_at_once() -> None:
    async def wait() -> float:
        await asyncio.sleep(3600)
        return now()

    began = time.monotonic()
    assert run(wait()) == pytest.approx(3600)
    assert time.monotonic() - began < 5


def test_timers_fire_in_their_order() -> None:
    seen: list[int] = []

    async def wait(seconds: int) -> None:
        await asyncio.sleep(seconds)
        seen.append(seconds)

    async def all_of_them() -> None:
        await asyncio.gather(*(wait(seconds) for seconds in (3, 1, 2)))

    run(all_of_them())
    assert seen == [1, 2, 3]


def test_time_stands_still_while_an_executor_works() -> None:
    release = threading.Event()

    async def wait() -> float:
        timer = asyncio.get_running_loop().call_later(10, pytest.fail, "the clock jumped")
        threading.Timer(0.05, release.set).start()
        await asyncio.to_thread(release.wait, 30)
        timer.cancel()
        return now()

    assert run(wait()) < 1


def test_a_socket_is_refused() -> None:
    async def listen() -> None:
        near, far = socket.socketpair()
        with near, far:
            asyncio.get_running_loop().add_reader(near, print)

    with pytest.raises(RuntimeError, match="socket"):
        run(listen())


def test_what_can_never_end_is_told() -> None:
    async def wait() -> None:
        await asyncio.sleep(float("inf"))

    loop = VirtualClockLoop()
    task = loop.create_task(wait())
    with pytest.raises(RuntimeError, match="for ever"):
        loop.run_until_complete(task)
    loop.now = 0.0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
