// Runs the code on descriptor 3 and tells its end on descriptor 4: one frame, `value`, `no value` or `exception`.
// Code is a script of the main context, whose completion is its value. What is no script is a module: its last
// expression becomes an export, and Node's own loader runs it, from a file that is gone before the code starts.
// The code sees no trace of this script but what `node file.js` would show it too.
(() => {
  'use strict';
  const fs = require('fs');
  const vm = require('vm');
  const { Module } = require('module');
  const { inspect, types } = require('util');
  // Taken now: the code may alter what it can reach, and does not lose its verdict by that.
  const host = process;
  let { reallyExit } = host;
  const { parse: fromJson, stringify: toJson } = JSON;
  const { alloc, concat, from } = Buffer;
  const { then } = Promise.prototype;
  const { writeSync } = fs;

  // In the place of the words: the run comes later, and its arguments with it. To this process, or to a fork of it.
  const waitWord = 'execgate:wait';
  const serveWord = 'execgate:serve';
  const [forks, waitsForRun] = [serveWord, waitWord].map((word) => host.argv[1] === word);
  // Where its forks will be; Node asks once.
  if (forks) host.chdir(host.env.HOME);
  const codeFd = 3;
  let framesFd = 4;
  const valueKind = 1;
  const noValueKind = 2;
  const exceptionKind = 3;
  const displayKind = 4;
  const textMax = (1 << 20) + 4;
  const displayMax = 3 << 20;
  const valueName = '__value__';
  const loadedEvent = '__loaded__';
  const stem = `${host.cwd()}/__code__`;

  let source;
  let isRich;
  let hasInput;
  let isTyped;
  let text;
  let mainResult;
  let waits = false;
  let drained = false;
  let ended = false;
  // Of one that is there before its run.
  const forkpoint = {};
  // From where V8 sees the code to where the caller wrote it; of a session, each of its codes.
  let place = (line, column) => [line, column];
  const cells = new Map();

  const attempt = (make, fallback) => {
    try {
      return make();
    } catch {
      return fallback;
    }
  };

  // That a part of Node is an experiment is nothing to tell the caller of, where this script is who uses it.
  const quietly = (make) => {
    const { emitWarning } = host;
    host.emitWarning = () => {};
    try {
      return make();
    } finally {
      host.emitWarning = emitWarning;
    }
  };

  // Frames.

  const cutField = (string) => {
    const data = from(string, 'utf8');
    let length = Math.min(data.length, textMax);
    // Never cut within a character.
    while (length < data.length && (data[length] & 0xc0) === 0x80) length -= 1;
    return data.subarray(0, length);
  };

  const tell = (kind, fields) => {
    const parts = [from([kind])];
    for (let at = 0; at < fields.length; at += 1) {
      const data = typeof fields[at] === 'string' ? cutField(fields[at]) : fields[at];
      const size = alloc(4);
      size.writeUInt32LE(data.length);
      parts.push(size, data);
    }
    let left = concat(parts);
    while (left.length > 0) {
      try {
        left = left.subarray(writeSync(framesFd, left));
      } catch (error) {
        // Closed by the code: then the exit status speaks for it.
        if (error.code !== 'EAGAIN') return;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
      }
    }
  };

  // Values. All of this may call functions of the code, so all of it may throw.

  const show = (value) => {
    const wanted = { depth: 4, maxArrayLength: 1000, maxStringLength: textMax };
    // A string is one line, as code writes it.
    if (typeof value === 'string') wanted.breakLength = Infinity;
    const plainly = () => inspect(value, { ...wanted, customInspect: false });
    return attempt(() => inspect(value, wanted)) ?? attempt(plainly, '<a value that cannot be shown>');
  };

  // A plain object or array as JSON, unless something in it would be lost.
  const asJson = (value) => {
    const plain = (some) => Array.isArray(some) || [Object.prototype, null].includes(Object.getPrototypeOf(some));
    const carried = (key, some) => {
      const whole = typeof some === 'object' ? some === null || plain(some) : ['string', 'boolean'].includes(typeof some);
      if (whole || Number.isFinite(some)) return some;
      throw new TypeError('not of JSON');
    };
    const isData = typeof value === 'object' && value !== null && !types.isProxy(value) && plain(value);
    return isData ? attempt(() => fromJson(toJson(value, carried))) : undefined;
  };

  const valueResult = (value) => ({ text: show(value), json: attempt(() => asJson(value)) });

  const displayed = (result, isMain) => {
    const whole = () => from(toJson({ ...result, is_main_result: isMain }));
    const sizeOf = (key) => (toJson(result[key]) ?? '').length;
    let data = whole();
    while (data.length > displayMax) {
      const [largest] = Object.keys(result).filter((key) => key !== 'text').sort((a, b) => sizeOf(b) - sizeOf(a));
      if (largest === undefined) {
        result.text = result.text.slice(0, result.text.length / 2);
      } else {
        delete result[largest];
        result.text ??= `<${largest}: too large>`;
      }
      data = whole();
    }
    tell(displayKind, [data]);
  };

  const display = (...values) => {
    const names = {
      'text/plain': 'text',
      'text/html': 'html',
      'text/markdown': 'markdown',
      'text/latex': 'latex',
      'image/svg+xml': 'svg',
      'image/png': 'png',
      'image/jpeg': 'jpeg',
      'application/pdf': 'pdf',
      'application/json': 'json',
      'application/javascript': 'javascript',
    };
    const content = (type, some) => {
      if (type === 'application/json') return some;
      if (!ArrayBuffer.isView(some)) return `${some}`;
      const data = from(some.buffer, some.byteOffset, some.byteLength);
      return data.toString(/^text|svg|javascript/.test(type) ? 'utf8' : 'base64');
    };
    for (const value of values) {
      const isObject = typeof value === 'object' && value !== null;
      const known = isObject ? Object.keys(names).filter((type) => Object.hasOwn(value, type)) : [];
      const result = Object.fromEntries(known.map((type) => [names[type], content(type, value[type])]));
      displayed(known.length > 0 ? result : valueResult(value), false);
    }
  };

  // Exceptions.

  // A stack without what led to the code, and with the places that the caller knows.
  const cut = (stack) => {
    const isFrame = (line) => /^\s+at /.test(line);
    const isNodes = (line) => /(?:^|[\s(])(?:node:|\[eval\])[^\s()]*\)?$/.test(line);
    const isBuiltIn = (line) => /\((?:<anonymous>|index \d+)\)$/.test(line);
    const isInner = (line) => /[\s(](?:node:(?:internal\/|vm:)|\[eval\])/.test(line);
    // The line that threw, as Node puts it before a stack, is the first frame's; that of a parser is nobody's.
    const [excerpt, thrower] = /^([^\n]*:\d+)\n[^\n]*\n *\^+\n+/.exec(stack) ?? [];
    const isKnown = excerpt && (isNodes(thrower) || stack.includes(`${thrower}:`, excerpt.length));
    const lines = (isKnown ? stack.slice(excerpt.length) : stack).split('\n');
    const last = lines.findLastIndex((line) => !isFrame(line) || !(isNodes(line) || isBuiltIn(line)));
    const names = `(?:file://)?${stem.replace(/[^\w/]/g, '\\$&')}(-\\d+)?\\.m?js`;
    const file = new RegExp(`${names}(?::(\\d+)(?::(\\d+))?)?`, 'g');
    return lines
      .filter((line, at) => at <= last && !(isFrame(line) && isInner(line)))
      .join('\n')
      .replace(/^:(?=\d+\n)/, `${stem}.js:`)
      .replace(file, (found, cell = '', line, column) => {
        if (line === undefined) return `<code${cell}>`;
        const mine = (cells.get(cell)?.place ?? place)(Number(line), Number(column ?? 1));
        return [`<code${cell}>`, ...(column === undefined ? mine.slice(0, 1) : mine)].join(':');
      });
  };

  const isError = (error) => attempt(() => types.isNativeError(error) || error instanceof Error, false);

  const chain = (error, seen = new Set()) => {
    if (isError(error) && !seen.has(error)) {
      seen.add(error);
      chain(error.cause, seen);
      if (Array.isArray(error.errors)) error.errors.forEach((one) => chain(one, seen));
    }
    return seen;
  };

  // A class that gives its errors no name lends them its own.
  const nameOf = (error) => {
    const { constructor: made, name } = error;
    const named = Object.hasOwn(error, 'name') || typeof made !== 'function' || Object.hasOwn(made.prototype, 'name');
    return `${(!named && made.name) || name}`;
  };

  const described = (error) => {
    if (!isError(error)) {
      const shown = show(error);
      return ['Uncaught', shown, `Uncaught ${shown}`];
    }
    const name = attempt(() => nameOf(error), 'Error');
    const message = attempt(() => `${error.message}`, '<no message>');
    const traceback = attempt(() => {
      for (const one of chain(error)) {
        attempt(() => Object.defineProperty(one, 'stack', { value: cut(`${one.stack}`), enumerable: false }));
      }
      const shown = inspect(error, { depth: 4, maxStringLength: textMax });
      const { stack } = error;
      // So is an error without frames shown.
      return shown.startsWith(`[${stack}]`) ? `${stack}${shown.slice(stack.length + 2)}` : shown;
    }, `${name}: ${message}`);
    return [name, message, traceback];
  };

  // The end.

  const leave = (code, kind, ...texts) => {
    if (kind !== undefined) attempt(() => tell(kind, texts));
    reallyExit.call(host, code);
  };

  const fail = (error) => leave(1, exceptionKind, ...attempt(() => described(error), ['Error', '', '']));

  // The code's own last wishes, granted here, so that nothing comes after the frame.
  const grant = (code, after) => {
    if (ended) return;
    ended = true;
    // What `process.exit` calls in the end.
    host.reallyExit = after;
    for (const listener of host.rawListeners('exit')) {
      if (listener !== end) Reflect.apply(listener, host, [code]);
    }
  };

  const conclude = (code) => {
    const status = Number(host.exitCode ?? code);
    if (status !== 0) leave(status);
    if (waits && drained) {
      const hint = hasInput ? '' : ' (there is no input to read: send `stdin`)';
      const message = `the code came to its end while it waited for a promise that nothing settles${hint}`;
      leave(1, exceptionKind, 'UnsettledAwait', message, `UnsettledAwait: ${message}`);
    }
    if (mainResult !== undefined) attempt(() => displayed(mainResult, true));
    if (text === undefined) leave(0, noValueKind);
    leave(0, valueKind, text);
  };

  function end(code) {
    if (ended) return;
    try {
      grant(code, conclude);
    } catch (error) {
      fail(error);
    }
    conclude(code);
  }

  function uncaught(error, origin) {
    const handled = host.listenerCount('uncaughtException') > 0 || host.hasUncaughtExceptionCaptureCallback();
    if (handled && !ended) return;
    try {
      for (const monitor of host.rawListeners('uncaughtExceptionMonitor')) {
        if (monitor !== uncaught) Reflect.apply(monitor, host, [error, origin]);
      }
      host.exitCode = 1;
      grant(1, () => fail(error));
    } catch {
      // The first error is the one to tell.
    }
    fail(error);
  }

  const keep = (value) => {
    waits = false;
    // A script of nothing but declarations completes with its directive.
    if (value === undefined || value === 'use strict') return;
    text = show(value);
    if (isRich) mainResult = { text, json: attempt(() => asJson(value)) };
  };

  // Thrown from nowhere, and so an uncaught exception like any other.
  const raise = (error) => {
    waits = false;
    host.nextTick(() => {
      throw error;
    });
  };

  const finish = (value) => {
    if (!types.isPromise(value)) return keep(value);
    waits = true;
    then.call(value, keep, raise);
  };

  // TypeScript.

  const strip = (code, cell) => {
    const { stripTypeScriptTypes, SourceMap } = Module;
    if (stripTypeScriptTypes === undefined) {
      const error = new Error(`TypeScript needs Node 22.13 or later, and this is Node ${host.versions.node}`);
      error.name = 'UnsupportedTypeScript';
      throw error;
    }
    try {
      return quietly(() => stripTypeScriptTypes(code));
    } catch (error) {
      // Enums and such are more than types: they become code of their own, with a map of its lines.
      const wanted = { mode: 'transform', sourceMap: true };
      const transform = () => quietly(() => stripTypeScriptTypes(code, wanted));
      const made = error.code?.startsWith('ERR_UNSUPPORTED') && attempt(transform);
      if (!made) throw error;
      const map = new SourceMap(fromJson(from(made.slice(made.lastIndexOf(',') + 1), 'base64').toString()));
      const original = (line, column) => {
        const { originalLine, originalColumn } = map.findEntry(line - 1, column - 1);
        return originalLine === undefined ? [line, column] : [originalLine + 1, originalColumn + 1];
      };
      if (cell) cell.place = original;
      else place = original;
      return made;
    }
  };

  // Modules.

  // Node's own parser, as source: any other way to it is a flag, and a door that stays open to the code.
  let parser;
  const parse = (code, options = { sourceType: 'module' }) => {
    if (parser === undefined) {
      parser = {};
      const file = host.binding('natives')['internal/deps/acorn/acorn/dist/acorn'];
      vm.compileFunction(file, ['exports', 'module'])(parser, {});
    }
    return parser.parse(code, { ecmaVersion: 'latest', locations: true, ...options });
  };

  const has = (node, isWanted, isWithin) => {
    if (typeof node !== 'object' || node === null || node instanceof RegExp) return false;
    if (typeof node.type === 'string' && !isWithin(node)) return false;
    return isWanted(node) || Object.values(node).some((child) => has(child, isWanted, isWithin));
  };

  const awaits = (tree) =>
    has(tree, (node) => node.type === 'AwaitExpression', (node) => !node.type.includes('Function'));

  // Such a module is not what Node was started with, but it is what the caller started.
  const withMain = (code, tree) => {
    let made = code;
    const isMain = ({ type, object, property, computed }) =>
      type === 'MemberExpression' && object.type === 'MetaProperty' && !computed && property.name === 'main';
    const note = (node) => {
      if (isMain(node)) made = made.slice(0, node.start) + 'true'.padEnd(node.end - node.start) + made.slice(node.end);
      return false;
    };
    if (/\bmeta\s*\.\s*main\b/.test(code)) has(tree, note, () => true);
    return made;
  };

  // The last expression as an export. No line moves, and a column only where code precedes it on its line.
  const withValue = (code, tree) => {
    const last = tree.body.at(-1);
    if (last?.type !== 'ExpressionStatement') return code;
    const at = tree.body.at(-2)?.end ?? (code.startsWith('#!') ? last.start : 0);
    const close = code[last.end - 1] === ';' ? last.end - 1 : last.end;
    const opening = `;export const ${valueName}=(0,`;
    if (!code.slice(at, last.start).includes('\n')) {
      const outer = place;
      const { line: moved, column: start } = last.loc.start;
      place = (line, column) => outer(line, line === moved && column > start ? column - opening.length : column);
    }
    return `${code.slice(0, at)}${opening}${code.slice(at, close)})${code.slice(close)}`;
  };

  // V8 sees the memory of the machine and not that of the jail, and would let garbage grow to several times of what is
  // in use. What Node loads of itself from then on it compiles anew.
  const beFrugal = () => require('v8').setFlagsFromString('--heap-growing-percent=25');

  // Code that names its own file, and can start or read it, must find it there. Else there is none to see.
  const wantsFile = (code) =>
    /__filename|import\.meta\.(?:url|filename)|(?:module|main)\.filename|argv\[1\]|['"](?:node:)?cluster['"]/.test(code) &&
    /worker_threads|child_process|cluster|readFile|createReadStream/.test(code);

  const runModule = (code, isKnown, explained) => {
    const path = `${stem}.mjs`;
    const stays = wantsFile(code);
    const remove = () => stays || fs.rmSync(path, { force: true });
    // The last import is done after the code was read, and before it runs. To a worker it says nothing.
    const announcement = `\n;import "data:text/javascript,process.emit('${loadedEvent}')"`;
    prepare(path);
    fs.writeFileSync(path, isKnown ? code + announcement : code);
    host.once(loadedEvent, () => {
      remove();
      beFrugal();
    });
    waits = true;
    const failed = (error) => {
      remove();
      raise(explained(error));
    };
    const done = (made) => {
      remove();
      finish(made[valueName]);
    };
    then.call(import(`file://${path}`), done, failed);
  };

  // The code.

  const give = (name, value) =>
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });

  // What every program has, made once: one that is there before its run has it from its rehearsal.
  let isReady = false;
  const makeReady = () => {
    if (isReady) return;
    isReady = true;
    // What `node -e` has beside that which every program has.
    for (const name of Module.builtinModules) {
      if (Object.getOwnPropertyDescriptor(globalThis, name)?.set?.name === 'setReal') delete globalThis[name];
    }
    const main = new Module('.', null);
    main.filename = `${stem}.js`;
    main.paths = Module._nodeModulePaths(host.cwd());
    host.mainModule = main;
    Module._cache[main.filename] = main;
    give('module', main);
    give('exports', main.exports);
    give('require', main._compile('return require', main.filename));
    give('__dirname', host.cwd());
  };

  const prepare = (path) => {
    makeReady();
    host.argv[1] = path;
    give('__filename', path);
    if (isRich) give('display', display);
  };

  const compile = (code) =>
    new vm.Script(code, {
      filename: `${stem}.js`,
      importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    });

  // As a script, `await (x)` is a call of a function. Where the code is a module too, nothing of that name is in it.
  const mayAwait = /\bawait\s*[([`/+-]/;

  const read = (code) => {
    const found = { code };
    try {
      found.script = compile(code);
      if (!mayAwait.test(code)) return found;
    } catch (error) {
      found.error = error;
    }
    try {
      const tree = parse(code);
      if (found.script === undefined || awaits(tree)) found.tree = tree;
    } catch (error) {
      found.stop = error.loc;
    }
    return found;
  };

  // Whether the code makes more sense as a module, though it is none that the parser knows.
  const goesFurther = ({ error, stop }) => {
    const [, line, before] = /^[^\n]*:(\d+)\n[^\n]*\n( *)\^/.exec(error.stack) ?? [];
    if (stop === undefined || line === undefined) return /import|export|await/.test(error.message);
    return stop.line > Number(line) || (stop.line === Number(line) && stop.column > before.length);
  };

  const explained = ({ code, stop }) => (error) => {
    if (error instanceof SyntaxError && stop !== undefined && !error.stack.includes(stem)) {
      const line = code.split('\n')[stop.line - 1];
      const mark = `${line.slice(0, stop.column).replace(/[^\t]/g, ' ')}^`;
      error.stack = `${stem}.mjs:${stop.line}\n${line}\n${mark}\n\n${error.stack}`;
    }
    return error;
  };

  const begin = () => {
    let found = read(isTyped ? strip(source) : source);
    if (!isTyped && !found.script && !found.tree && Module.stripTypeScriptTypes !== undefined) {
      const stripped = attempt(() => read(strip(source)), {});
      if (stripped.script || stripped.tree) found = stripped;
    }
    if (found.tree !== undefined) {
      const code = withMain(found.code, found.tree);
      runModule(withValue(code, found.tree), true, (error) => error);
    } else if (found.script !== undefined) {
      prepare(`${stem}.js`);
      if (wantsFile(found.code)) fs.writeFileSync(`${stem}.js`, found.code);
      // Node warns of the first import that such a script asks for.
      if (/\bimport\b/.test(found.code)) quietly(() => compile("import('node:fs')").runInThisContext());
      beFrugal();
      finish(found.script.runInThisContext({ displayErrors: false }));
    } else if (goesFurther(found)) {
      runModule(found.code, false, explained(found));
    } else {
      throw found.error;
    }
  };

  // A run from its code to its end, for an end that is nobody's and frames that go nowhere.
  const rehearse = (code, frames) => {
    const own = [reallyExit, host.reallyExit];
    reallyExit = () => {};
    [source, framesFd] = [code, frames];
    begin();
    drain();
    attempt(() => end(0));
    [reallyExit, host.reallyExit] = own;
    [source, text, ended, drained] = [undefined, undefined, false, false];
    framesFd = 4;
  };

  // Its arguments are waited for.
  const wait = () => {
    const [, , session] = host.argv;
    const given = forkpoint.take();
    host.argv.splice(1, 3, ...given);
    // A session has no run, but one after the other.
    return given.length > 0 || openSession(session);
  };

  const openSession = (script) => {
    ['exit', 'beforeExit', 'uncaughtExceptionMonitor'].forEach((event) => host.removeAllListeners(event));
    beFrugal();
    const speakTo = (fd) => (framesFd = fd);
    const own = { attempt, asJson, cells, described, display, displayed, forkpoint, has, parse, prepare, quietly };
    const inner = { ...own, show, speakTo, stem, strip, tell };
    vm.compileFunction(script, ['inner', 'require'], { filename: '[eval]' })(inner, require);
  };

  const receive = () => {
    if ((forks || waitsForRun) && !wait()) return false;
    source = fs.readFileSync(codeFd, 'utf8');
    fs.closeSync(codeFd);
    const [node, words, ...others] = host.argv;
    [isRich, hasInput, isTyped] = ['rich', 'stdin', 'typescript'].map((word) => words.split(',').includes(word));
    host.argv = [node, `${stem}.js`, ...others];
    // Both hold this script, and would go on to whatever the code forks.
    host.execArgv = [];
    delete host._eval;
    return true;
  };

  // A pipe takes all at once: nothing is lost when the code leaves in a hurry.
  for (const name of ['stdout', 'stderr']) {
    const own = Object.getOwnPropertyDescriptor(host, name);
    const get = () => {
      Object.defineProperty(host, name, own);
      const stream = host[name];
      stream._handle?.setBlocking?.(true);
      return stream;
    };
    Object.defineProperty(host, name, { ...own, get });
  }
  host.on('exit', end);
  const drain = () => {
    drained = true;
  };
  host.on('beforeExit', drain);
  host.on('uncaughtExceptionMonitor', uncaught);

  const start = () => {
    if (receive()) begin();
  };
  // The loader of modules is made by its first use, and that takes turns of the loop.
  const rehearsed = () => {
    host.dlopen({ exports: forkpoint }, '/proc/self/fd/4');
    const leaveBy = (exit) => (reallyExit = host.reallyExit = exit);
    const inner = { attempt, awaits, cutField, described, forkpoint, forks, leaveBy, read, rehearse, show, start };
    const script = vm.compileFunction(host.argv[3], ['inner', 'require'], { filename: '[eval]' });
    then.call(import('data:text/javascript,0'), script(inner, require));
  };
  if (forks || waitsForRun) rehearsed();
  else start();
})();
