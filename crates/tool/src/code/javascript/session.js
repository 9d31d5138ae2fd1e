// A session: one code after the other, each in the scope that the one before it has left, while the loop turns: timers and
// servers of the code go on in between, and what they write then is nowhere. A code has ended when its value is there.
//
// V8 lets no name be declared twice, and `await` stand in no script. So what a code declares at its top is declared
// before it, once for the session, and becomes an assignment: at its place, so that lines and columns stay.
'use strict';
const { attempt, asJson, cells, described, displayed, forkpoint, has, parse, prepare, quietly, show } = inner;
const { stem, strip, tell } = inner;
const fs = require('fs');
const net = require('net');
const vm = require('vm');
const { Readable } = require('stream');
const { types } = require('util');
const { randomInt, randomUUID } = require('crypto');
const host = process;
// Taken now: the code may alter what it can reach, and does not lose its next run by that.
const { closeSync, fstatSync, readFileSync, readSync } = fs;
const { afresh, hush, next } = forkpoint;
const { defineProperty } = Object;
const { then } = Promise.prototype;
const soon = setImmediate;

const lexical = new Set();
const others = new Set();
const opening = '(async (__kept__) => {';
const asItIs = (line, column) => [line, column];
let number = 0;
let hasImported = false;
let running;
let input;

// The code.

// Names that a pattern binds.
const bound = (pattern) => {
  if (pattern === null) return [];
  const parts = {
    Identifier: () => [pattern.name],
    ObjectPattern: () => pattern.properties.flatMap((one) => bound(one.value ?? one.argument)),
    ArrayPattern: () => pattern.elements.flatMap(bound),
    AssignmentPattern: () => bound(pattern.left),
    RestElement: () => bound(pattern.argument),
  };
  return parts[pattern.type]();
};

const declared = ({ declarations }) => declarations.flatMap(({ id }) => bound(id));

// Every `var` of the code's own scope, with what it stands in.
const variables = (tree) => {
  const found = [];
  const within = (node, parent) => {
    if (typeof node?.type !== 'string' || /Function|ClassBody|StaticBlock/.test(node.type)) return;
    if (node.type === 'VariableDeclaration' && node.kind === 'var') found.push([node, parent]);
    for (const child of Object.values(node)) {
      if (Array.isArray(child)) child.forEach((one) => within(one, node));
      else within(child, node);
    }
  };
  within(tree);
  return found;
};

// What is written in the place of what, and what has to be declared for that.
const rewritten = (code, tree, isAsync) => {
  const edits = [];
  const names = new Set();
  const kept = [];
  const replace = (start, end, text) => edits.push([start, end, text]);
  const assign = (node, parent) => {
    const { kind, declarations: [first], declarations, end } = node;
    const isHead = parent.type.startsWith('For') && parent.body !== node;
    const isListed = ['Program', 'BlockStatement', 'SwitchCase'].includes(parent.type);
    const isObject = !isHead && first.id.type === 'ObjectPattern';
    replace(node.start, node.start + kind.length, `${isListed ? ';' : ''}${isObject ? '(' : ''}`.padStart(kind.length));
    for (const { init, id } of declarations) {
      if (init === null && kind !== 'var') replace(id.end, id.end, ' = void 0');
    }
    const last = declarations.at(-1).end;
    if (isObject) replace(last, last, ')');
    if (!isHead && code[end - 1] !== ';') replace(end, end, ';');
    declared(node).forEach((name) => names.add(name));
  };
  const imports = (node) => {
    const { specifiers, source, attributes } = node;
    const [all] = specifiers.filter(({ type }) => type === 'ImportNamespaceSpecifier');
    const named = specifiers.filter((one) => one !== all).map(({ imported, local }) => {
      names.add(local.name);
      return `${imported ? code.slice(imported.start, imported.end) : 'default'}: ${local.name}`;
    });
    if (all) names.add(all.local.name);
    const given = attributes?.length > 0
      ? `, { with: { ${attributes.map(({ start, end }) => code.slice(start, end)).join()} } }`
      : '';
    const target = `${named.length > 0 ? `{ ${named.join()} } = ` : ''}${all ? `${all.local.name} = ` : ''}`;
    const lines = code.slice(node.start, node.end).split('\n').length - 1;
    replace(node.start, node.end, `;(${target}await import(${source.raw}${given}));${'\n'.repeat(lines)}`);
  };
  for (const node of tree.body) {
    const { type, id, kind } = node;
    if (type === 'ImportDeclaration') imports(node);
    else if (type === 'VariableDeclaration' && kind !== 'var') assign(node, tree);
    else if (type === 'ClassDeclaration') {
      names.add(id.name);
      replace(node.start, node.start, `;${id.name} = `);
      replace(node.end, node.end, ';');
    } else if (type === 'FunctionDeclaration') {
      if (isAsync) kept.push(id.name);
      else if (lexical.has(id.name)) {
        replace(node.start, node.start, `;${id.name} = `);
        replace(node.end, node.end, ';');
      } else others.add(id.name);
    }
  }
  for (const [node, parent] of variables(tree)) {
    const isTaken = declared(node).some((name) => lexical.has(name) || names.has(name));
    if (isAsync || isTaken) assign(node, parent);
    else declared(node).forEach((name) => others.add(name));
  }
  kept.forEach((name) => names.add(name));
  return { edits, kept, names: [...names].filter((name) => !lexical.has(name) && !others.has(name)) };
};

const edited = (code, edits) => {
  let made = code;
  const inOrder = edits.map((edit, at) => [...edit, at]).sort((a, b) => b[0] - a[0] || b[3] - a[3]);
  for (const [start, end, text] of inOrder) made = made.slice(0, start) + text + made.slice(end);
  return made;
};

const compile = (code, cell, columnOffset = 0) =>
  new vm.Script(code, {
    filename: cell.file,
    columnOffset,
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });

const declare = (names, cell) => {
  const one = (some) => compile(`let ${some};`, cell).runInThisContext();
  // One that V8 knows already is as good.
  if (names.length > 0 && attempt(() => [one(names.join())]) === undefined) {
    names.forEach((name) => attempt(() => one(name)));
  }
  names.forEach((name) => lexical.add(name));
};

const inAsync = (code, cell) => compile(`${opening}${code}\n})`, cell, -opening.length);

// As a script, `await (x)` is a call of a function.
const mayAwait = /\bawait\s*[([`/+-]/;

const awaits = (tree) => {
  const isOne = (node) => /^(?:Await|ImportDecl)/.test(node.type) || (node.type === 'ForOfStatement' && node.await);
  return has(tree, isOne, (node) => !node.type.includes('Function'));
};

const treeOf = (code, isScript) => {
  const script = { sourceType: 'script', allowImportExportEverywhere: true };
  const further = () => parse(code, { ...script, allowAwaitOutsideFunction: true });
  const plain = () => parse(code, script);
  return isScript && !mayAwait.test(code) ? attempt(plain) : attempt(further) ?? attempt(plain);
};

// What is run for its completion, or what gives a promise.
const read = (source, cell) => {
  const code = source.startsWith('#!') ? `//${source.slice(2)}` : source;
  const script = attempt(() => compile(code, cell));
  const tree = treeOf(code, script !== undefined);
  if (tree === undefined) {
    // It is no JavaScript, or newer than the parser.
    if (script === undefined && /\bawait\b/.test(code)) inAsync(code, cell);
    return () => compile(code, cell).runInThisContext({ displayErrors: false });
  }
  const last = tree.body.at(-1);
  const isAsync = awaits(tree);
  const { edits, kept, names } = rewritten(code, tree, isAsync);
  // Node warns of the first import that a script asks for.
  if (!hasImported && /\bimport\b/.test(code)) {
    hasImported = true;
    quietly(() => compile("import('node:fs')", cell).runInThisContext());
  }
  if (!isAsync) {
    const made = edits.length > 0 ? compile(edited(code, edits), cell) : script ?? compile(code, cell);
    const hasNone = /^(?:Variable|Class)Declaration$/.test(last?.type);
    return () => {
      declare(names, cell);
      const value = made.runInThisContext({ displayErrors: false });
      return hasNone ? undefined : value;
    };
  }
  if (last.type === 'ExpressionStatement') {
    const { line: moved, column } = last.loc.start;
    const outer = cell.place;
    edits.push([last.start, last.start, ';return (']);
    edits.push([last.expression.end, last.end, ');']);
    cell.place = (at, seen) => outer(at, at === moved && seen > column ? seen - ';return ('.length : seen);
  }
  const prologue = kept.length > 0 ? `__kept__(${kept.join()});` : '';
  const wrapped = `${opening}${prologue}${edited(code, edits)}\n})`;
  const made = compile(wrapped, cell, -opening.length - prologue.length);
  return () => {
    declare(names, cell);
    const places = kept.map((name, at) => `${name} = some[${at}];`).join('');
    const keep = compile(`(...some) => { ${places} }`, cell).runInThisContext();
    return made.runInThisContext()(keep);
  };
};

// Its end.

const conclude = (cell, kind, ...texts) => {
  if (running !== cell) return;
  running = undefined;
  attempt(() => input?.destroy());
  input = undefined;
  hush();
  attempt(() => tell(kind, texts));
  inner.speakTo(-1);
  attempt(() => closeSync(cell.frames));
  next();
};

const fail = (cell, error) => {
  if (running !== cell) return;
  conclude(cell, 3, ...attempt(() => described(error), ['Error', '', '']));
};

const succeed = (cell, value) => {
  if (running !== cell) return;
  // A script of nothing but declarations completes with its directive.
  if (value === undefined || value === 'use strict') return conclude(cell, 2);
  const text = show(value);
  if (cell.isRich) attempt(() => displayed({ text, json: attempt(() => asJson(value)) }, true));
  conclude(cell, 1, text);
};

// What it has left to be done at once is still its own, such as a promise that nobody takes.
const finish = (cell, value) => {
  if (!types.isPromise(value)) return soon(() => succeed(cell, value));
  cell.waits = true;
  then.call(value, (made) => soon(() => succeed(cell, made)), (error) => fail(cell, error));
};

const uncaught = (error) => {
  if (running !== undefined) fail(running, error);
};

const monitor = () => {
  const handled = host.listenerCount('uncaughtException') > 0 || host.hasUncaughtExceptionCaptureCallback();
  // There for this one, which would end the process.
  if (!handled) host.once('uncaughtException', uncaught);
};

const drained = () => {
  if (!running?.waits) return;
  const hint = running.hasInput ? '' : ' (there is no input to read: send `stdin`)';
  const message = `the code came to its end while it waited for a promise that nothing settles${hint}`;
  conclude(running, 3, 'UnsettledAwait', message, `UnsettledAwait: ${message}`);
};

// Its beginning.

const inputPiece = 65536;

// At once: a read among the threads of the pool could come when the next run's input is in the place of this one's.
function readFile(size) {
  try {
    const piece = Buffer.allocUnsafe(size);
    const count = readSync(0, piece);
    this.push(count > 0 ? piece.subarray(0, count) : null);
  } catch (error) {
    this.destroy(error);
  }
}

const openInput = () => {
  const { isFile, isFIFO, isSocket } = attempt(() => {
    const found = fstatSync(0);
    return { isFile: found.isFile(), isFIFO: found.isFIFO(), isSocket: found.isSocket() };
  }, {});
  if (isFile) return Object.assign(new Readable({ highWaterMark: inputPiece, read: readFile }), { fd: 0 });
  if (isFIFO || isSocket) return new net.Socket({ fd: 0, readable: true, writable: false, manualStart: true });
  return new Readable({ read() { this.push(null); } });
};

const begin = ([code, frames, words = '-', ...given]) => {
  number += 1;
  const told = words.split(',');
  const [isRich, hasInput, isTyped] = ['rich', 'stdin', 'typescript'].map((word) => told.includes(word));
  const cell = { number, isRich, hasInput, frames: Number(frames), waits: false, place: asItIs };
  cell.file = `${stem}-${number}.js`;
  cells.set(`-${number}`, cell);
  running = cell;
  inner.speakTo(cell.frames);
  host.argv = [host.argv[0], cell.file, ...given];
  try {
    const source = readFileSync(Number(code), 'utf8');
    closeSync(Number(code));
    finish(cell, read(isTyped ? strip(source, cell) : source, cell)());
  } catch (error) {
    fail(cell, error);
  }
};

host.argv = [host.argv[0], `${stem}.js`];
// Both hold the runner, and would go on to whatever the code forks.
host.execArgv = [];
delete host._eval;
host.on('beforeExit', drained);
host.on('uncaughtExceptionMonitor', monitor);
const { enumerable } = Object.getOwnPropertyDescriptor(host, 'stdin');
Object.defineProperty(host, 'stdin', { enumerable, configurable: true, get: () => (input ??= openInput()) });
prepare(`${stem}.js`);
const display = (...values) => {
  if (running?.isRich) inner.display(...values);
};
Object.defineProperty(globalThis, 'display', { value: display, writable: true, configurable: true, enumerable: false });
// In a copy of this process, which was kept to be gone back to.
const copied = ([pid]) => {
  afresh();
  defineProperty(host, 'pid', { value: Number(pid) });
  // Node draws many at once; none of those is left then.
  for (let drawn = 0; drawn < 128; drawn += 1) randomUUID();
  for (let drawn = 0; drawn < 1024; drawn += 1) randomInt(2);
};

// Node's own waits for threads that a copy has not.
host.reallyExit = forkpoint.reallyExit;
forkpoint.session(begin, copied);
next();
