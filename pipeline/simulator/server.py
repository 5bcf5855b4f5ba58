"""A vendor on a loopback port: the thin shell of aiohttp around its logic, and the witness's endpoints.

What a fault does to a connection is done here; what it does to the data was done before.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from aiohttp import web

from pipeline.simulator.exchange import Delivery

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pipeline.simulator.exchange import Plan, Response, Vendor

BODY_LIMIT_BYTES = 64 * 1024 * 1024
SHUTDOWN_S = 0.2


class Server:
    """Serves one vendor; see `application` for the routes."""

    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor
        self._started_at = time.time() - time.monotonic()
        capacity = vendor.faults.capacity
        self._slots = None if capacity is None else asyncio.Semaphore(capacity)
        self._works: set[asyncio.Task[Response]] = set()

    def application(self) -> web.Application:
        """Return the routes: `/_simulator/…` asks past the API, on this machine only; the rest is the API."""
        app = web.Application(client_max_size=BODY_LIMIT_BYTES, middlewares=[_loopback_only])
        app.router.add_get("/_simulator/requests", self._requests)
        app.router.add_route("*", "/_simulator/{path:.*}", self._witness)
        app.router.add_route("*", "/{path:(?!_simulator/).*}", self._serve)
        app.on_cleanup.append(self._abandon)
        return app

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        arrived_at = self._now()
        with self._vendor.traffic.open_request():
            body = await request.read()
            plan = self._vendor.handle(
                arrived_at, request.headers, body, method=request.method, path=request.path
            )
            work = asyncio.create_task(self._carry_out(plan))
            self._works.add(work)
            work.add_done_callback(self._works.discard)
            # A client that leaves ends this handler, but not the work: that commits late, as a vendor would.
            response = await asyncio.shield(work)
            return await _deliver(request, response)

    def _now(self) -> float:
        """Give wall time that no clock correction can turn back."""
        return self._started_at + time.monotonic()

    async def _carry_out(self, plan: Plan) -> Response:
        if self._slots is None or plan.refusal is not None:
            return await self._carry_out_in_time(plan)
        if self._slots.locked():
            self._vendor.traffic.faults["capacity"] += 1
        async with self._slots:
            return await self._carry_out_in_time(plan)

    async def _carry_out_in_time(self, plan: Plan) -> Response:
        await asyncio.sleep(plan.wait_s)
        return self._vendor.carry_out(replace(plan, wait_s=max(plan.wait_s, self._now() - plan.now)))

    async def _abandon(self, _app: web.Application) -> None:
        works = tuple(self._works)
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)

    async def _witness(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        path = request.path.removeprefix("/_simulator")
        return await _deliver(request, self._vendor.witness(self._now(), request.method, path, body))

    async def _requests(self, _request: web.Request) -> web.Response:
        return web.json_response(self._vendor.traffic.as_json())


async def _deliver(request: web.Request, response: Response) -> web.StreamResponse:
    """Send as much of the response as its fate allows."""
    headers = {**response.headers, "Content-Type": response.content_type}
    if response.delivery is Delivery.WHOLE:
        return web.Response(status=response.status, body=response.body, headers=headers)
    await asyncio.sleep(response.hold_s)
    stream = web.StreamResponse(status=response.status, headers=headers)
    with contextlib.suppress(ConnectionError):
        if response.delivery is Delivery.HALF:
            stream.content_length = len(response.body)
            await stream.prepare(request)
            await stream.write(response.body[: len(response.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return stream


@web.middleware
async def _loopback_only(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    if (
        request.path.startswith("/_simulator/")
        and not ipaddress.ip_address(request.remote or "::").is_loopback
    ):
        return web.json_response({"error": "only for this machine"}, status=403)
    return await handler(request)


async def serve(vendor: Vendor, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; `announce` gets the base URL once it listens.

    Raises OSError when it can't listen there.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(
        Server(vendor).application(), access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_S
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        bound_port = runner.addresses[0][1]
        announce(f"http://{f'[{host}]' if ':' in host else host}:{bound_port}")
        await stop.wait()
    finally:
        await runner.cleanup()
