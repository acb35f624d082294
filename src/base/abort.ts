/**
 * `AbortController` and `AbortSignal`, as far as this project uses them. Every runtime that it runs
 * on has them, but the language itself has no types of them; where a program has the full ones,
 * these are a part of those.
 */

declare global {
  interface AbortSignal {
    readonly aborted: boolean;
    addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void;
    removeEventListener(type: 'abort', listener: () => void): void;
  }

  interface AbortController {
    readonly signal: AbortSignal;
    /** What was given stands in the signal's `reason`. Without effect the second time. */
    abort(reason?: unknown): void;
  }
}

declare const AbortController: new () => AbortController;

export function newAbort(): AbortController {
  return new AbortController();
}
