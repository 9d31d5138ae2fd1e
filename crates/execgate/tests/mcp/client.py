# An unmodified client in Python: argv has a URL, or a program and its arguments; prints what it was answered.
import asyncio, json, sys
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

DRAWS = "import struct, zlib\nclass Dot:\n    def _repr_png_(self):\n        chunk = lambda k, d: struct.pack('>I', len(d)) + k + d + struct.pack('>I', zlib.crc32(k + d))\n        return b'\\x89PNG\\r\\n\\x1a\\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 1, 1, 8, 0, 0, 0, 0)) + chunk(b'IDAT', zlib.compress(b'\\0\\0')) + chunk(b'IEND', b'')\nDot()"
SPEAKS = "import time\nfor i in range(3):\n    print('line', i, flush=True)\n    time.sleep(0.7)"


async def main():
    url, *rest = sys.argv[1:]
    server = url if not rest else stdio_client(StdioServerParameters(command=url, args=rest))
    told = {}
    async with Client(server) as client:
        told["tools"] = [tool.name for tool in (await client.list_tools()).tools]
        answer = await client.call_tool("execute_code", {"code": "print('hi'); 6 * 7"})
        told["code"] = answer.structured_content
        told["verified"] = (await client.call_tool("verify_receipt", {"exec_id": answer.structured_content["run"], "receipt": answer.structured_content["receipt"]})).structured_content
        heard = []

        async def hear(progress, total, message):
            heard.append((progress, message))

        await client.call_tool("execute_code", {"code": SPEAKS}, progress_callback=hear)
        told["progress"] = heard
        wrong = await client.call_tool("execute_code", {"code": "1 / 0"})
        told["raised"] = [wrong.is_error, wrong.structured_content["error"]["name"]]
        bad = await client.call_tool("math_compute", {"expr": "1"})
        told["bad"] = [bad.is_error, bad.content[0].text]
        drawn = await client.call_tool("execute_code", {"code": DRAWS})
        told["drawn"] = [block.type for block in drawn.content]
        told["hash"] = (await client.call_tool("hash_generate", {"data": "abc"})).structured_content["output"]
        try:
            await client.call_tool("nothing_of_that_name", {})
            told["unknown"] = None
        except Exception as error:
            told["unknown"] = str(error)
    json.dump(told, sys.stdout)


asyncio.run(main())
