// The stock client of npm's `mppx`, as its README has it: a fetch that pays. What it saw goes to standard output.
// ORDER lets it prefer the offer of x402 where a 402 carries both.
import { Mppx } from 'mppx/client'
import { evm } from 'mppx/evm/client'
import { privateKeyToAccount } from 'viem/accounts'

const { URL_TO_PAY, BODY, KEY, ORDER, HEADERS } = process.env
const seen = []
const mppx = Mppx.create({
  polyfill: false,
  methods: [
    evm.charge({
      account: privateKeyToAccount(KEY),
      currencies: [evm.assets.baseSepolia.USDC],
      networks: [84532],
      maxAmount: '1',
    }),
  ],
  ...(ORDER === 'x402' && {
    orderChallenges: (candidates) =>
      [...candidates].sort((a, b) => Number('methodDetails' in a.challenge.request) - Number('methodDetails' in b.challenge.request)),
  }),
  fetch: async (input, init) => {
    const sent = new Headers(init?.headers)
    const response = await fetch(input, init)
    const paidBy = ['authorization', 'payment-authorization', 'payment-signature'].filter((name) => sent.has(name))
    seen.push({ status: response.status, paidBy, acceptPayment: sent.get('accept-payment') })
    return response
  },
})
const response = await mppx.fetch(URL_TO_PAY, {
  method: 'POST',
  headers: { 'content-type': 'application/json', ...JSON.parse(HEADERS ?? '{}') },
  body: BODY,
})
const headers = Object.fromEntries(response.headers)
console.log(JSON.stringify({ status: response.status, headers, body: await response.text(), seen }))
