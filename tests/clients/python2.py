"""Walks through MCP with the Python SDK 2.x and says how each step went: python2.py URL TOKEN ERA.

ERA is one of legacy, modern and auto; `-` stands for no token. One JSON line a step; the exit code is 1 if any failed.
"""

import json
import os
import sys

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CreateMessageResult, ElicitResult, TextContent

SAMPLED = "Paris, said the script"
STEP_SECONDS_MAX = 15
MODES = {"legacy": "legacy", "auto": "auto", "modern": "2026-07-28"}


async def answer_sampling(context, params):
    return CreateMessageResult(
        role="assistant", content=TextContent(type="text", text=SAMPLED), model="scripted", stop_reason="endTurn"
    )


async def answer_elicitation(context, params):
    return ElicitResult(
        action="accept", content={"username": "grace", "email": "grace@example.com", "name": "grace"}
    )


def expect(holds, words):
    if not holds:
        raise AssertionError(words)


async def called(client, name, arguments, **options):
    """The first text of a tool's successful answer."""
    result = await client.call_tool(name, arguments, **options)
    text = result.content[0].text if result.content else ""
    expect(not result.is_error, f"{name} failed: {text}")
    return text


async def tools_list(client, modern):
    tools = (await client.list_tools()).tools
    expect(any(tool.name == "test_simple_text" for tool in tools), "test_simple_text is not listed")
    return f"{len(tools)} tools"


async def call(client, modern):
    said = await called(client, "test_simple_text", {})
    expect(said == "This is a simple text response for testing.", f"unexpected answer: {said}")
    return said


async def progress(client, modern):
    steps = []
    whole = anyio.Event()

    async def on_progress(done, total, message):
        steps.append(done)
        if len(steps) == 3:
            whole.set()

    await called(client, "test_tool_with_progress", {}, progress_callback=on_progress)
    # Notifications are handled beside the result, so the last one may still be on its way.
    await whole.wait()
    expect(steps == [0, 50, 100], f"unexpected progress: {steps}")
    return steps


async def sampling(client, modern):
    tool = "test_input_required_result_sampling" if modern else "test_sampling"
    said = await called(client, tool, {"prompt": "What is the capital of France?"})
    expect(SAMPLED in said, f"unexpected answer: {said}")
    return said


async def elicitation(client, modern):
    tool = "test_input_required_result_elicitation" if modern else "test_elicitation"
    said = await called(client, tool, {"message": "Who are you?"})
    expect("grace" in said, f"unexpected answer: {said}")
    return said


async def cancellation(client, modern):
    label = f"python2-{os.getpid()}"
    started = anyio.Event()

    async def on_progress(done, total, message):
        started.set()

    async with anyio.create_task_group() as group:

        async def slow():
            await called(client, "slow_compute", {"seconds": 60, "label": label}, progress_callback=on_progress)
            raise AssertionError("the call was answered although it was cancelled")

        group.start_soon(slow)
        # The first progress says that the call is under way.
        await started.wait()
        group.cancel_scope.cancel()
    return await called(client, "test_cancelled_calls", {"label": label})


async def resources(client, modern):
    listed = (await client.list_resources()).resources
    expect(any(str(resource.uri) == "test://static-text" for resource in listed), "test://static-text is not listed")
    text = (await client.read_resource("test://static-text")).contents[0].text
    expect(text == "This is the content of the static text resource.", f"unexpected text: {text}")
    return f"{len(listed)} resources"


async def prompts(client, modern):
    listed = (await client.list_prompts()).prompts
    prompt = await client.get_prompt("test_prompt_with_arguments", {"arg1": "hello", "arg2": "world"})
    text = prompt.messages[0].content.text
    expect(text == "Prompt with arguments: arg1='hello', arg2='world'", f"unexpected prompt: {text}")
    return f"{len(listed)} prompts"


STEPS = [tools_list, call, progress, sampling, elicitation, cancellation, resources, prompts]


def reason(error):
    """The innermost cause, since task groups wrap what went wrong."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


async def main(url, token, era):
    failed = []

    def report(step, ok, detail):
        if not ok:
            failed.append(step)
        line = {"client": "python2", "era": era, "step": step, "ok": ok, "detail": str(detail)}
        print(json.dumps(line), flush=True)

    headers = {} if token == "-" else {"authorization": f"Bearer {token}"}
    timeout = httpx2.Timeout(STEP_SECONDS_MAX, read=120)
    opened = False
    try:
        async with httpx2.AsyncClient(headers=headers, timeout=timeout) as http:
            async with Client(
                streamable_http_client(url, http_client=http),
                mode=MODES[era],
                sampling_callback=answer_sampling,
                elicitation_callback=answer_elicitation,
            ) as client:
                opened = True
                report("connect", True, client.protocol_version)
                modern = client.protocol_version >= "2026-07-28"
                for step in STEPS:
                    try:
                        with anyio.fail_after(STEP_SECONDS_MAX):
                            report(step.__name__, True, await step(client, modern))
                    except Exception as error:
                        report(step.__name__, False, reason(error))
        report("close", True, "closed")
    except Exception as error:
        report("close" if opened else "connect", False, reason(error))
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[3] not in MODES:
        sys.exit("usage: python2.py URL TOKEN legacy|modern|auto")
    sys.exit(anyio.run(main, *sys.argv[1:]))
