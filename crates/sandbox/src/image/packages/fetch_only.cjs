// Loaded into npm, which may fetch and unpack but start no program: a package that is fetched by git, or that wants to
// be prepared, would run its own code.
"use strict";
const child = require("node:child_process");
const refuse = () => {
  throw new Error("a package wants to be prepared, or to be fetched by git, which is not done here");
};
child.ChildProcess.prototype.spawn = refuse;
for (const name of ["spawn", "spawnSync", "exec", "execSync", "execFile", "execFileSync", "fork"]) {
  child[name] = refuse;
}
require("node:module").syncBuiltinESMExports();
