/**
 * The end of a process that has done its work, and is to end now, whatever it left open.
 *
 * `process.exit` joins V8's helper threads. Where one of them is just compiling and wants a
 * collection, which only the main thread can make, both wait for ever (nodejs/node#54918, since
 * Node 22): a command that has said its result would hang, once in 130 times under load.
 */

import { exitNow } from './system.js';

/** Arguments with which Node is to write something when it ends, which `_exit` would leave out. */
const WRITES_AT_END = /--(cpu-prof|heap-prof|prof|trace-events|test-coverage)/;

/** As `process.exit`: handlers of 'exit' run, and output that was not flushed is lost. */
export function endProcess(code = Number(process.exitCode ?? 0)): never {
  if (writesAtEnd()) process.exit(code);
  process.exitCode = code;
  process.emit('exit', code);
  exitNow(Number(process.exitCode));
  throw new Error('_exit does not return');
}

function writesAtEnd(): boolean {
  const { NODE_OPTIONS = '', NODE_V8_COVERAGE = '' } = process.env;
  return (
    NODE_V8_COVERAGE !== '' || WRITES_AT_END.test(`${NODE_OPTIONS} ${process.execArgv.join(' ')}`)
  );
}
