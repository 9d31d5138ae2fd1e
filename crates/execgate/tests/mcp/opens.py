# An unmodified client in Python whose user opens pages: argv has a URL, the approver's program and its key; prints what it
# was asked and answered.
import asyncio, json, subprocess, sys
from mcp import Client
from mcp_types import ElicitResult


async def main():
    url, program, key = sys.argv[1:]
    told = {}
    for word, action, code in [("approved", "accept", "6 * 7"), ("declined", "decline", "1")]:
        asked = []

        async def opens(context, params):
            asked.append(params.url)
            if action == "accept":
                approve = [program, "approve", params.url.rsplit("/", 1)[1], "--key", key, "--yes"]
                subprocess.run(approve, check=True, stdout=subprocess.DEVNULL)
            return ElicitResult(action=action)

        async with Client(url, elicitation_callback=opens) as client:
            answer = await client.call_tool("execute_code", {"code": code})
        told[word] = {"asked": asked, "answer": answer.structured_content}
    json.dump(told, sys.stdout)


asyncio.run(main())
