import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, test } from 'vitest';
import { type ConformanceWorld, conformance } from '../conformance.js';
import { createRuntime } from './create-runtime.js';
import { type Compiled, compileRuntime } from '../../../test/support/compile-runtime.js';

let compiled: Compiled;
beforeAll(() => {
  compiled = compileRuntime();
});
afterAll(() => compiled.remove());

async function makeWorld(poll: boolean): Promise<ConformanceWorld> {
  const folder = mkdtempSync(join(tmpdir(), 'memrack-conformance-'));
  const options = {
    poll,
    rolesEntry: compiled.path('runtime/node/testing/roles.js'),
    threadsEntry: compiled.path('runtime/node/testing/threads.js'),
  };
  const peer = createRuntime(options);
  return {
    runtime: createRuntime(options),
    peer,
    neighbour: peer,
    address: (protocol) => `${protocol}://127.0.0.1:0`,
    folder,
    drive: (body) => body,
    end: async () => rmSync(folder, { recursive: true }),
  };
}

const frame = {
  test: (name: string, body: () => Promise<void>) => void test(name, body),
  // Nothing is missing here.
  skip(name: string): void {
    throw new Error(`left out: ${name}`);
  },
};

conformance(frame, 'node, polling', { makeWorld: () => makeWorld(true), missing: {} });
conformance(frame, 'node, libuv alone', { makeWorld: () => makeWorld(false), missing: {} });
