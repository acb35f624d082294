/**
 * The suite that holds every runtime to the same behaviour: what the simulator proves is worth
 * as much as the simulator is like the real world.
 *
 *   conformance({ test, skip }, 'simulated', { makeWorld, missing: {} });
 *
 * It brings its own checks and takes the test framework as an argument, because it is core code:
 * it sees no clock, file or socket but those of the runtime under test. A world that can start
 * processes and threads registers `CONFORMANCE_ROLES` and `CONFORMANCE_THREADS`.
 */

import type { Case, ConformanceWorld } from './conformance/check.js';
import { DATAGRAM_CASES } from './conformance/datagrams.js';
import { DURABLE_CASES } from './conformance/durables.js';
import { MEMORY_CASES } from './conformance/memory.js';
import { PROCESS_CASES } from './conformance/processes.js';
import { STORAGE_CASES } from './conformance/storage.js';
import { SECURED_STREAM_CASES } from './conformance/secured-streams.js';
import { localStreamCases, STREAM_CASES } from './conformance/streams.js';
import { THREADS_CASES } from './conformance/threads.js';
import { TIME_CASES } from './conformance/time.js';

export type { Case, ConformanceWorld };
export { CONFORMANCE_ROLES } from './conformance/processes.js';
export { CONFORMANCE_THREADS } from './conformance/threads.js';

/** What the suite needs of a test framework. */
export interface TestFrame {
  test(name: string, body: () => Promise<void>): void;
  /** Shows that a case was left out, and why. */
  skip(name: string, reason: string): void;
}

export interface Subject {
  readonly makeWorld: () => Promise<ConformanceWorld>;
  /** What this world cannot do, with the reason. */
  readonly missing: { readonly processes?: string; readonly threads?: string };
}

const CHAPTERS: { readonly [name: string]: readonly Case[] } = {
  time: TIME_CASES,
  streams: STREAM_CASES,
  'streams over unix': localStreamCases('unix'),
  'streams over rings': localStreamCases('ring'),
  'streams over TLS': SECURED_STREAM_CASES,
  datagrams: DATAGRAM_CASES,
  memory: MEMORY_CASES,
  'memory on a disk': DURABLE_CASES,
  storage: STORAGE_CASES,
  processes: PROCESS_CASES,
  threads: THREADS_CASES,
};

/** Registers every case with the framework. */
export function conformance(frame: TestFrame, name: string, subject: Subject): void {
  for (const [chapter, cases] of Object.entries(CHAPTERS)) {
    for (const one of cases) {
      const title = `${name}: ${chapter}: ${one.name}`;
      const reason = one.needs === undefined ? undefined : subject.missing[one.needs];
      if (reason !== undefined) frame.skip(title, reason);
      else frame.test(title, () => runCase(one, subject));
    }
  }
}

async function runCase(one: Case, subject: Subject): Promise<void> {
  const world = await subject.makeWorld();
  try {
    await world.drive(one.run(world));
  } finally {
    await world.end();
  }
}
