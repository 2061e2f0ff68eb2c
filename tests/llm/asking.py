"""One question to a model behind the mock server."""

from mock_server import reply

from medeval.llm import Harness, user


def asked(run, block, messages=None, settings=None, role="doctor"):
    async def job():
        async with Harness(settings or {}) as harness:
            return await harness.chat(block, role=role).ask(messages or [user("hi")])

    return run(job)


def at_first(bad, then=None):
    return lambda call: bad if call.number == 0 else then or reply("good")
