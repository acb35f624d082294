/**
 * A process that answers requests over streams, listening at each address that it is given, and
 * who starts it. `node stream-server.js ADDRESS...` prints the addresses, one a line.
 */

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { createRuntime } from '../../src/runtime/node/create-runtime.js';
import { serveRequests } from '../../src/runtime/node/testing/requests.js';
import { pinned } from '../harness.js';

export interface StreamServer {
  readonly pid: number;
  /** tcp, unix and ring, in this order. */
  readonly addresses: readonly string[];
  close(): Promise<void>;
}

export async function startStreamServer(): Promise<StreamServer> {
  const folder = mkdtempSync(join(tmpdir(), 'memrack-bench-'));
  const places = ['tcp://127.0.0.1:0', `unix://${folder}/unix`, `ring://${folder}/ring`];
  const file = fileURLToPath(import.meta.url);
  const [program, args] = pinned(0, [process.execPath, file, ...places]);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const addresses: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    if (addresses.push(line) === places.length) break;
  }
  return {
    pid: child.pid ?? 0,
    addresses,
    close: async () => {
      child.kill('SIGKILL');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function serve(addresses: readonly string[]): Promise<void> {
  const runtime = createRuntime();
  for (const address of addresses) console.log((await serveRequests(runtime, address)).address);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await serve(process.argv.slice(2));
