// The stock MCP client of npm's `mppx`, around the stock client of the protocol's makers. What it heard and was answered goes to
// standard output. ASKS has it say that it takes the scheme's own errors.
import { McpClient } from 'mppx/mcp/client'
import { evm } from 'mppx/evm/client'
import { privateKeyToAccount } from 'viem/accounts'

const { URL_TO_PAY, KEY, ASKS, CLIENT } = process.env
const { Client, StreamableHTTPClientTransport } = await import(CLIENT)
const capabilities = ASKS ? { experimental: { payment: { methods: { evm: { intents: ['charge'] } } } } } : {}
const client = new Client({ name: 'test', version: '1' }, { capabilities, versionNegotiation: { mode: 'auto' } })
await client.connect(new StreamableHTTPClientTransport(new URL(URL_TO_PAY)))
const seen = []
const bare = client.callTool.bind(client)
client.callTool = async (params) => {
  try {
    const answer = await bare(params)
    seen.push(answer.isError ? 'result' : 'paid')
    return answer
  } catch (error) {
    seen.push(error.code)
    throw error
  }
}
McpClient.wrap(client, {
  methods: [
    evm.charge({
      account: privateKeyToAccount(KEY),
      currencies: [evm.assets.baseSepolia.USDC],
      networks: [84532],
      maxAmount: '1',
    }),
  ],
})
const answer = await client.callTool({ name: 'math_compute', arguments: { expression: '6*7' } })
await client.close()
console.log(JSON.stringify({ seen, value: answer.structuredContent.output.value, receipt: answer.receipt }))
