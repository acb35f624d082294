/** What the chapters of the conformance suite share: the world under test, and how to complain. */

import type { StreamHandler } from '../network.js';
import type { Runtime } from '../runtime.js';

/** The runtime under test. */
export interface ConformanceWorld {
  readonly runtime: Runtime;
  /** Of another process, where that is possible; streams and datagrams go between the two. */
  readonly peer: Runtime;
  /** Like `peer`, on the machine of `runtime`. */
  readonly neighbour: Runtime;
  /** An address of `peer` with port 0 that `runtime` can reach; of `runtime` if it says so. */
  address(protocol: 'tcp' | 'udp', of?: 'peer' | 'runtime'): string;
  /** An existing, empty folder of the machine that both share or that `runtime` has. */
  readonly folder: string;
  /** Lets time pass until the promise settles. */
  drive<T>(body: Promise<T>): Promise<T>;
  end(): Promise<void>;
}

export interface Case {
  readonly name: string;
  /** What the runtime may lack, for a reason that it tells. */
  readonly needs?: 'processes' | 'threads';
  run(world: ConformanceWorld): Promise<void>;
}

export class ConformanceError extends Error {
  override readonly name = 'ConformanceError';
}

export function expectThat(condition: boolean, what: string): asserts condition {
  if (!condition) throw new ConformanceError(what);
}

export function expectEqual(actual: unknown, expected: unknown, what: string): void {
  const [found, wanted] = [show(actual), show(expected)];
  expectThat(found === wanted, `${what}: expected ${wanted}, found ${found}`);
}

function show(value: unknown): string {
  return value === undefined ? 'undefined' : JSON.stringify(value);
}

/** The error that the promise rejects with. */
export async function rejection(promise: Promise<unknown>, what: string): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new ConformanceError(`${what}: expected a rejection`);
}

/** That `act` throws, or rejects, with an error of this name and, where it has one, this kind. */
export async function expectError(
  act: () => unknown,
  name: string,
  kind: string | undefined,
  what: string,
): Promise<void> {
  const run = async (): Promise<unknown> => act();
  const error = (await rejection(run(), what)) as { name?: string; kind?: string };
  expectEqual([error.name, error.kind], [name, kind], what);
}

const WAIT_STEP_MS = 2;

export function sleepOn(runtime: Runtime, ms: number): Promise<void> {
  return new Promise((resolve) => runtime.timers.after(ms, resolve));
}

/** Waits until the condition holds; complains when it does not in time. */
export async function until(
  runtime: Runtime,
  condition: () => boolean,
  what: string,
  withinMs = 10_000,
): Promise<void> {
  const deadline = runtime.clock.now() + withinMs;
  while (!condition()) {
    expectThat(runtime.clock.now() < deadline, `${what}: did not happen in ${withinMs} ms`);
    await sleepOn(runtime, WAIT_STEP_MS);
  }
}

/** A handler that does nothing, changed where the case wants something. */
export function handler(changes: Partial<StreamHandler>): StreamHandler {
  return {
    received: (_stream, _input, start, end) => end - start,
    drained: () => {},
    closed: () => {},
    ...changes,
  };
}
