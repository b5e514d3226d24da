"""The asyncio twin: many at once, cancelled at any moment, with nothing left behind."""

from __future__ import annotations

import pytest

from support.need import need_user_namespaces
from support.program import Program


@pytest.fixture(autouse=True)
def _needs() -> None:
    need_user_namespaces()


@pytest.mark.slow
@pytest.mark.time_limit(120)
@pytest.mark.leaks_nothing
def test_two_hundred_at_once_from_one_loop(program: Program) -> None:
    """200 sandboxes that all wait for each other: none is started late, no thread, nothing left."""
    assert (
        program(
            """
        import asyncio, os, threading
        def state():
            children = read("/proc/self/task/%d/children" % os.getpid()).split()
            return len(os.listdir("/proc/self/fd")), len(children)
        async def one(number):
            return await sandbox.run_async(
                ["sh", "-c", f"read line; echo $line {number}; exit {number}"],
                input="in\\n", policy="strict",
            )
        async def main():
            await one(0)
            before = state()
            boxes = [sandbox.AsyncSandbox(["cat"], stdin=sandbox.PIPE) for _ in range(100)]
            results = asyncio.gather(*(one(number) for number in range(100)))
            await asyncio.gather(*(box.start() for box in boxes))
            for box in boxes:
                box.stdin.write(b"x\\n")
            print({await box.stdout.readline() for box in boxes})
            print(threading.active_count())
            await asyncio.gather(*(box.close() for box in boxes))
            for number, result in enumerate(await results):
                assert (result.text, result.returncode) == (f"in {number}\\n", number)
            await asyncio.sleep(0.05)
            print(state() == before)
        asyncio.run(main())
        """,
            timeout=110.0,
        )
        == "{b'x\\n'}\n1\nTrue\n"
    )


@pytest.mark.leaks_nothing
def test_cancellation_ends_the_whole_tree(program: Program) -> None:
    """When the cancelled task is done, no process of the sandbox is there any more."""
    assert (
        program("""
        import asyncio, os, time
        def supervisors():
            return read("/proc/self/task/%d/children" % os.getpid()).split()
        async def main():
            await sandbox.run_async(["true"])
            for delay in (0, 0.001, 0.01, 0.1):
                tree = ["sh", "-c", "sleep 60 & sleep 60 & setsid sleep 60 & wait"]
                task = asyncio.create_task(sandbox.run_async(tree, input=b"x" * 1_000_000))
                await asyncio.sleep(delay)
                task.cancel()
                try:
                    await task
                except asyncio.CancelledError:
                    print(supervisors())
            started = time.monotonic()
            try:
                async with asyncio.timeout(0.2):
                    await sandbox.run_async(["sleep", "60"])
            except TimeoutError:
                print(time.monotonic() - started < 10, supervisors())
            # a task that is cancelled twice gives way at once
            task = asyncio.create_task(sandbox.run_async(["sleep", "60"]))
            await asyncio.sleep(0.1)
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()
            done = await asyncio.gather(task, return_exceptions=True)
            print([type(one).__name__ for one in done], supervisors())
        asyncio.run(main())
    """)
        == "[]\n" * 4 + "True []\n['CancelledError'] []\n"
    )


@pytest.mark.leaks_nothing
def test_async_sandbox_has_asyncio_streams(program: Program) -> None:
    """Lines go in and out, communicate collects, results and signals are those of Sandbox."""
    assert program("""
        import asyncio, signal
        async def main():
            async with sandbox.AsyncSandbox(["cat"], stdin=sandbox.PIPE) as box:
                box.stdin.write(b"one\\n")
                await box.stdin.drain()
                print(await box.stdout.readline(), box.returncode)
                box.send_signal(signal.SIGTERM)
                print(await asyncio.gather(box.wait(), box.wait()), box.result.ended_by)
            data = b"x" * 3_000_000
            async with sandbox.AsyncSandbox(["cat"], stdin=sandbox.PIPE) as box:
                print((await box.communicate(data))[0] == data, box.result.stdout == data)
            async with sandbox.AsyncSandbox(["true"], stdin=sandbox.PIPE) as box:
                print(await box.communicate(data), box.returncode)
            async with sandbox.AsyncSandbox(["yes"]) as box:
                await box.stdout.readline()
            print(box.result.reason)
            try:
                await sandbox.AsyncSandbox(["no-such-program"]).start()
            except sandbox.ProgramError as error:
                print(error.code)
            result = await sandbox.run_async(["yes"], policy="strict")
            print(result.reason, len(result.stdout))
            try:
                await sandbox.run_async(["false"], check=True)
            except sandbox.CommandFailed as error:
                print(error.result.returncode)
        asyncio.run(main())
    """).splitlines() == [
        r"b'one\n' None",
        "[-15, -15] user",
        "True True",
        "(b'', b'') 0",
        "cancelled",
        "setup.exec",
        f"limit {8 << 20}",
        "1",
    ]


@pytest.mark.leaks_nothing
def test_a_loop_that_closes_takes_its_sandboxes_along(program: Program) -> None:
    """What is forgotten in a closed loop ends with its object; nothing raises."""
    assert (
        program("""
        import asyncio, gc, os, warnings
        warnings.simplefilter("ignore", ResourceWarning)
        async def main():
            return await sandbox.AsyncSandbox(["sleep", "60"], stdout=None, stderr=None).start()
        box = asyncio.run(main())
        print(box.returncode)
        del box
        gc.collect()
        print(read("/proc/self/task/%d/children" % os.getpid()).split())
    """)
        == "None\n[]\n"
    )
