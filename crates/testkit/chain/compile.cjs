// Compiles Token.sol into the code that is kept beside it. Run where npm has solc 0.8.37: node compile.cjs
const fs = require("fs"), path = require("path"), solc = require("solc");
const source = fs.readFileSync(path.join(__dirname, "Token.sol"), "utf8");
const input = { language: "Solidity", sources: { "Token.sol": { content: source } },
  settings: { evmVersion: "paris", optimizer: { enabled: true, runs: 200 }, metadata: { bytecodeHash: "none", appendCBOR: false },
    outputSelection: { "*": { "*": ["evm.deployedBytecode.object"] } } } };
const output = JSON.parse(solc.compile(JSON.stringify(input)));
for (const fault of output.errors ?? []) console.error(fault.formattedMessage);
for (const [name, file] of [["Token", "token.hex"], ["LenientToken", "lenient.hex"]])
  fs.writeFileSync(path.join(__dirname, file), output.contracts["Token.sol"][name].evm.deployedBytecode.object + "\n");
