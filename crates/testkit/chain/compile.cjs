// Compiles Token.sol and Proxy.sol into the code that is kept beside them. Run where npm has solc 0.8.37: node compile.cjs
const fs = require("fs"), path = require("path"), solc = require("solc");
const settings = { evmVersion: "paris", optimizer: { enabled: true, runs: 200 }, metadata: { bytecodeHash: "none", appendCBOR: false },
  outputSelection: { "*": { "*": ["evm.deployedBytecode.object"] } } };
const MADE = { "Token.sol": { Token: "token.hex", LenientToken: "lenient.hex" }, "Proxy.sol": { ExactProxy: "exact.hex", UptoProxy: "upto.hex" } };
for (const [file, contracts] of Object.entries(MADE)) {
  const content = fs.readFileSync(path.join(__dirname, file), "utf8");
  const output = JSON.parse(solc.compile(JSON.stringify({ language: "Solidity", sources: { [file]: { content } }, settings })));
  for (const fault of output.errors ?? []) console.error(fault.formattedMessage);
  for (const [name, made] of Object.entries(contracts))
    fs.writeFileSync(path.join(__dirname, made), output.contracts[file][name].evm.deployedBytecode.object + "\n");
}
