// What one that is there before its run does then: what nearly every run needs is read and compiled, and what it writes to
// is written to, by runs that are nobody's.
'use strict';
const { attempt, awaits, cutField, described, forkpoint, forks, leaveBy, read, rehearse, show, start } = inner;
const { Console } = require('console');
const fs = require('fs');
const { Socket } = require('net');
const { Writable } = require('stream');

// What code asks for most. Whatever Node loads of itself later it compiles anew.
const preloaded =
  'assert async_hooks child_process crypto events fs/promises http os perf_hooks readline stream stream/promises timers/promises tty url util v8 worker_threads zlib';

const touch = () => {
  const nowhere = new Console(new Writable({ write: (piece, encoding, done) => done() }));
  nowhere.log('%s', { a: [1] });
  nowhere.error('');
  new Socket({ readable: false, writable: true }).destroy();
  ['await (1)', 'import("node:fs")'].forEach((code) => attempt(() => awaits(read(code).tree)));
  described(new TypeError('', { cause: [{}] }));
  cutField(show({ a: '1', b: [2] }));
  const frames = fs.openSync('/dev/null', 'r+');
  fs.readFileSync(frames, 'utf8');
  rehearse('[1]', frames);
  fs.closeSync(frames);
};

// A turn of the loop comes after it, as after what code writes.
const output = () => {
  const { stdout } = process;
  stdout.write('');
  // The console looks for its stream when it is first used. It will look again.
  if (console._stdout === stdout) console._stdout = undefined;
};

// In a fork of this process, which is there before its run, or whose run waits.
const fork = () => {
  const pid = forkpoint.serve();
  Object.defineProperty(process, 'pid', { value: Math.abs(pid) });
  leaveBy(forkpoint.reallyExit);
  if (pid < 0) return start();
  touch();
  output();
  // So that the turn of the loop that comes after every run is not the first.
  setImmediate(start);
};

const serve = () => {
  touch();
  if (forks) fork();
  else start();
};

// The streams of output are made while pipes are where a run's will be; a stream of its own is written to, which ends with a
// turn of the loop.
return () =>
  forkpoint.amongPipes((fd) => {
    const { stdout, stderr } = process;
    output();
    // After the streams: some of these look at them.
    if (forks) preloaded.split(' ').forEach(require);
    const stream = new Socket({ fd, readable: false, writable: true });
    stream._handle.setBlocking(true);
    new Console(stream).log('%s', { a: [1] });
    stream.destroy();
    stream.on('close', () => setImmediate(serve));
  });
