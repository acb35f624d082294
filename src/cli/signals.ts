/** Ctrl-C and its relatives: the first asks a command to end in order, the second ends it. */

import { endWith } from '../apps/end-with.js';
import { whileRead } from '../apps/output.js';
import { Exit, EXIT } from './exit.js';

/** Aborted by the first signal that asks to end; the second one ends the process. */
export function untilAsked(): AbortSignal {
  const asked = new AbortController();
  const ask = (): void => {
    if (asked.signal.aborted) void endWith(EXIT.failed);
    asked.abort(new Exit(EXIT.failed, 'ended before it was done, as it was asked to'));
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, ask);
  return asked.signal;
}

/** For what is shown without an end: over, too, when nobody reads it any more. */
export function untilAskedOrUnread(): AbortSignal {
  return AbortSignal.any([untilAsked(), whileRead()]);
}

/** Resolves with false when somebody asked to end meanwhile. */
export function pause(ms: number, asked: AbortSignal): Promise<boolean> {
  if (asked.aborted) return Promise.resolve(false);
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      asked.removeEventListener('abort', end);
      resolve(!asked.aborted);
    };
    const timer = setTimeout(end, ms);
    asked.addEventListener('abort', end);
  });
}
