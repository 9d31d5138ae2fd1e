import { Challenge, Credential, Receipt, BodyDigest, PaymentRequest } from 'mppx'
import { privateKeyToAccount } from 'viem/accounts'
import { charge } from 'mppx/evm/client'
import fs from 'fs'
const account = privateKeyToAccount('0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80')
const secretKey = 'a secret of at least thirty-two bytes, for tests'
const request = { amount: '20000', currency: '0x036CbD53842c5426634e7929541eC2318f3dCF7e',
  methodDetails: { chainId: 84532, credentialTypes: ['authorization'], decimals: 6 },
  recipient: '0x70997970C51812dc3A010C7d01b50e0d17dc79C8' }
const base = { realm: 'gw.example', method: 'evm', intent: 'charge', request, secretKey }
const cases = [
  { name: 'plain', p: { ...base } },
  { name: 'expires', p: { ...base, expires: '2026-11-22T00:05:00Z' } },
  { name: 'all', p: { ...base, expires: '2026-11-22T00:05:00Z', digest: 'sha-256=:' + BodyDigest.compute('{"a":1}').slice(8) + ':', meta: { resource: 'sha-256=abc', b: 'ü' }, description: 'one "run" \\ with — everything' } },
  { name: 'header', p: { ...base, expires: '2026-11-22T00:05:00.250Z', header: 'Payment-Authorization', meta: { a: 'b' } } },
  { name: 'session', p: { ...base, intent: 'session', method: 'tempo', request: { amount: '1', currency: 'usd', nested: { z: 1, a: [1, 2, { y: null, b: true }] }, text: 'é\u0001"\\' } } },
]
const out = []
for (const { name, p } of cases) {
  const c = Challenge.from(p)
  const v = { name, secret: secretKey, header: Challenge.serialize(c), id: c.id, request: PaymentRequest.serialize(c.request) }
  if (name !== 'session') {
    const method = charge({ account, currencies: undefined, authorization: { name: 'USDC', version: '2' } })
    v.credential = await method.createCredential({ challenge: c, context: {} })
  }
  out.push(v)
}
const receipt = Receipt.serialize(Receipt.from({ method: 'evm', reference: '0x' + 'ab'.repeat(32), status: 'success', timestamp: '2026-11-22T00:05:01Z', challengeId: out[0].id }))
fs.writeFileSync('mppx.json', JSON.stringify({ made_by: 'mppx 0.11.0', challenges: out, receipt, body: { text: '{"a":1}', digest: BodyDigest.compute('{"a":1}') } }, null, 1))
