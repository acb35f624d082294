/**
 * Further client processes of a rack for a bench, and who starts them.
 * `node partner.js WORK URL` takes one order a line and answers each with a line of JSON.
 */

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { connect, type Space } from '../../src/apps/library.js';
import { pinned } from '../harness.js';
import { contend } from './lock-work.js';

export interface Partner {
  readonly pid: number;
  /** Sends an order; resolves with the answer. */
  ask(order: object): Promise<unknown>;
  close(): void;
}

export async function startPartner(work: string, url: string, core: number): Promise<Partner> {
  const file = fileURLToPath(import.meta.url);
  const [program, args] = pinned(core, [process.execPath, file, work, url]);
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async (): Promise<unknown> => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error(`the process for ${work} has ended`);
    return JSON.parse(value);
  };
  await answer();
  return {
    pid: child.pid ?? 0,
    ask: (order) => {
      child.stdin.write(`${JSON.stringify(order)}\n`);
      return answer();
    },
    close: () => void child.kill('SIGKILL'),
  };
}

/** Says back each number that appears at `at`, 64 bytes further; ends with the last one. */
async function echo(space: Space, { at, last }: { at: number; last: number }): Promise<object> {
  const seen = new Float64Array(1);
  const bytes = new Uint8Array(seen.buffer);
  for (let said = 0; said !== last; ) {
    await space.read(at, bytes);
    if (seen[0] === said) continue;
    said = seen[0] as number;
    await space.write(at + 64, bytes);
  }
  return {};
}

export type PartnerLink = 'shm' | 'tcp';

/** What comes with an order: `link`, by which its memory is reached. */
async function main(work: string, url: string): Promise<void> {
  const spaces = new Map<PartnerLink, Space>();
  const spaceBy = async (link: PartnerLink): Promise<Space> => {
    const known = spaces.get(link);
    if (known !== undefined) return known;
    const memrack = await connect(url, { link });
    const space = await memrack.space('bench', { create: true });
    spaces.set(link, space);
    return space;
  };
  await spaceBy('shm');
  console.log('{}');
  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    const space = await spaceBy(order.link);
    const answer = work === 'echo' ? await echo(space, order) : await contend(space, order);
    console.log(JSON.stringify(answer));
  }
  process.exit(0);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(process.argv[2] ?? '', process.argv[3] ?? '');
}
