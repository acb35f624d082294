/** Programs of this machine that the job uses where they are installed. */

import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Where administrators' programs are, which are often not on a user's path. */
const MORE_FOLDERS = ['/usr/sbin', '/sbin'];
const OUTPUT_MAX = 2_000;

export function findProgram(name: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  return [...folders, ...MORE_FOLDERS].map((folder) => join(folder, name)).find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Rejects with what it has said when it ends otherwise than well. */
export function runProgram(path: string, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(path, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const end = (): void => void child.kill('SIGKILL');
    process.once('exit', end);
    let output = '';
    for (const from of [child.stdout, child.stderr]) {
      from.on('data', (text: Buffer) => (output = (output + text.toString()).slice(-OUTPUT_MAX)));
    }
    child.on('error', reject);
    child.on('close', (code, signal) => {
      process.off('exit', end);
      if (code === 0) resolve();
      else
        reject(new Error(`${path} has ended with ${signal ?? `code ${code}`}: ${output.trim()}`));
    });
  });
}
