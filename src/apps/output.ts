/** What happens to a program's output when nobody reads it, or it cannot be written. */

import { endWith } from './end-with.js';

const EXIT_FAILED = 1;

/** Behind `| head` nobody reads on: that ends no work, and what serves goes on serving. */
export function outliveReaders(): void {
  // Whoever would be told of it has gone as well.
  process.stderr.on('error', () => undefined);
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') return;
    process.stderr.write(`memrack: the output cannot be written: ${error.message}\n`);
    void endWith(EXIT_FAILED);
  });
}

/** Aborted when nobody reads what is written to stdout any more. */
export function whileRead(): AbortSignal {
  const left = new AbortController();
  process.stdout.once('error', () => left.abort());
  return left.signal;
}
