/** `memrack put KEY FILE` and `memrack get KEY FILE`: whole files in and out of remote memory. */

import { statSync } from 'node:fs';
import type { Command } from 'commander';
import { getFile, putFile } from '../apps/file-transfer.js';
import type { FileFacts } from '../apps/library.js';
import { formatDuration, Progress } from '../apps/terminal.js';
import { formatBytes } from '../base/units.js';
import { MemrackError } from '../client/error.js';
import { untilAsked } from './signals.js';
import { say, type SharedFlags, withConnection, withOutput, withRack } from './context.js';

export function addPutAndGet(program: Command): void {
  withOutput(withRack(program.command('put')))
    .description('a whole file into remote memory')
    .argument('<key>')
    .argument('<file>')
    .addHelpText('after', '\nExample:\n  memrack put backup/today.tar today.tar')
    .action(put);
  withOutput(withRack(program.command('get')))
    .description('a whole file out of remote memory, verified by its SHA-256')
    .argument('<key>')
    .argument('<file>')
    .addHelpText('after', '\nExample:\n  memrack get backup/today.tar copy.tar')
    .action(get);
}

async function put(key: string, path: string, flags: SharedFlags): Promise<void> {
  await withConnection(flags, async (rack) => {
    const progress = new Progress(process.stderr, `put ${key}`, sizeOf(path));
    const began = performance.now();
    try {
      const moved = (bytes: number): void => progress.add(bytes);
      const facts = await putFile(rack, key, path, { moved, signal: untilAsked() });
      progress.end();
      report(flags, `put ${key}`, facts, performance.now() - began);
    } finally {
      progress.end();
    }
  });
}

function sizeOf(path: string): number {
  const facts = statSync(path, { throwIfNoEntry: false });
  if (facts !== undefined) return facts.size;
  throw new MemrackError('Invalid', `there is no file ${path}`, { remedy: 'name a file' });
}

async function get(key: string, path: string, flags: SharedFlags): Promise<void> {
  await withConnection(flags, async (rack) => {
    let progress: Progress | undefined;
    const began = performance.now();
    try {
      const facts = await getFile(rack, key, path, {
        found: ({ length }) => {
          progress?.end();
          progress = new Progress(process.stderr, `get ${key}`, length);
        },
        moved: (bytes) => progress?.add(bytes),
        signal: untilAsked(),
      });
      progress?.end();
      report(flags, `get ${key}`, facts, performance.now() - began);
    } finally {
      progress?.end();
    }
  });
}

function report(flags: SharedFlags, what: string, facts: FileFacts, ms: number): void {
  const { key, length, sha256 } = facts;
  if (flags.output === 'json') {
    say(JSON.stringify({ key, bytes: length, sha256, ms: Math.round(ms) }));
    return;
  }
  const rate = formatBytes(Math.round((length / ms) * 1000));
  say(`${what}: ${formatBytes(length)} in ${formatDuration(ms)} (${rate}/s), SHA-256 ${sha256}`);
}
