/** Compiles and runs the polling C ping-pong: the floor for a lone request over loopback TCP. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Side } from '../harness.js';
import { projectRoot } from '../rack.js';

export interface PingPong extends Side {
  close(): void;
}

export function pingPong(): PingPong {
  const folder = mkdtempSync(join(tmpdir(), 'memrack-bench-'));
  const program = join(folder, 'ping-pong');
  const source = join(projectRoot(), 'bench/peers/ping-pong.c');
  execFileSync('gcc', ['-O2', '-o', program, source]);
  return {
    name: 'polling C ping-pong',
    turn: async () => {
      const text = execFileSync(program, ['60000'], { encoding: 'utf8', timeout: 60_000 });
      const [value, cpu, mean] = text.trim().split(' ').map(Number);
      return {
        value: value ?? Number.NaN,
        cpuPerOperation: cpu ?? Number.NaN,
        extra: { mean: mean ?? Number.NaN },
      };
    },
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}
