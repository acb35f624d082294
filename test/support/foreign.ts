// Programs that are not ours, run to their end in a folder.
import { spawn } from 'node:child_process';
import { expect } from 'vitest';

const TIMEOUT_MS = 120_000;

export interface Ended {
  readonly code: number | null;
  readonly output: string;
}

export function runForeign(folder: string, program: string, ...args: string[]): Promise<Ended> {
  // First the system's: its Python has the packages that belong to it.
  const PATH = `/usr/bin:${process.env['PATH']}:/usr/sbin:/sbin`;
  const child = spawn(program, args, {
    cwd: folder,
    env: { ...process.env, PATH },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const from of [child.stdout, child.stderr]) {
    from.on('data', (text: Buffer) => (output += text.toString()));
  }
  const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, output });
    });
  });
}

/** One that ends with 0; what it has printed. */
export async function goodForeign(
  folder: string,
  program: string,
  ...args: string[]
): Promise<string> {
  const { code, output } = await runForeign(folder, program, ...args);
  expect([program, ...args, code, code === 0 ? '' : output]).toEqual([program, ...args, 0, '']);
  return output;
}
