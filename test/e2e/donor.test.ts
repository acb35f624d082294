// A control group that runs short of memory: what a node in it has lent and nobody uses is given
// back before the group is full, nothing is ended, what is used stays, and all of it is told.
import { afterEach, expect, test } from 'vitest';
import { connect, type Rack } from '../../src/apps/library.js';
import { CLI } from '../support/cli.js';
import { endProgram, GroupPrograms, said } from '../support/group-programs.js';
import { MemoryGroup } from '../support/memory-group.js';
import { startRack, type TestRack } from '../support/rack.js';

const MIB = 1024 * 1024;
const GROUP_MIB = 640;
const LENT_MIB = 256;
const USED_MIB = 32;
const FREED_MIB = 160;
/** What a program of the group then takes, at so many MiB a second: more than is left. */
const TAKEN_MIB = 250;
const PACE_MIB = 50;
const DONOR = 'donor';

const programs = new GroupPrograms();
let rack: TestRack | undefined;
let client: Rack | undefined;
let group: MemoryGroup | undefined;

afterEach(async () => {
  await client?.close();
  await programs.end();
  await rack?.stop();
  group?.remove();
});

/** Asked to, takes memory at its pace, says when it has it all, and keeps it. */
const TAKER = `
  const kept = [];
  const take = () => {
    if (kept.length === ${TAKEN_MIB}) return void process.stdout.write('taken');
    kept.push(Buffer.alloc(${MIB}, 1));
    setTimeout(take, ${1000 / PACE_MIB});
  };
  process.stdin.once('data', take).once('end', () => process.exit(0));
  process.stdout.write('ready');
`;

async function until(what: string, ms: number, isSo: () => Promise<boolean>): Promise<void> {
  const endMs = Date.now() + ms;
  while (!(await isSo())) {
    if (Date.now() > endMs) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function lentMib(of: Rack): Promise<number> {
  const donor = (await of.nodes()).find(({ id }) => id === DONOR);
  return (donor?.bytesLent ?? Number.NaN) / MIB;
}

/** Its findings about the donor. */
async function findings(of: Rack): Promise<string[]> {
  const status = (await of.status()) as { findings: { code: string; subject: string }[] };
  return status.findings.filter(({ subject }) => subject === DONOR).map(({ code }) => code);
}

function pattern(chunk: number): Uint8Array {
  return Uint8Array.from({ length: MIB }, (_, i) => (i * 7 + chunk) & 255);
}

test('free memory goes back to a group that runs short, and used memory stays', async () => {
  group = MemoryGroup.make();
  if (group === undefined) return;
  group.limit(GROUP_MIB * MIB);
  // The only node beside it is too small for what follows.
  rack = await startRack({ nodes: 1, memory: '1MiB' });
  const join = rack.url.replace('memrack://', '');
  const sizes = ['--memory', `${LENT_MIB}MiB`, '--page-bytes', '64KiB', '--id', DONOR];
  const marks = ['--lend-above', '80MiB', '--give-back-below', '40MiB'];
  const args = [CLI, 'memory-node', '--join', join, ...sizes, ...marks];
  const node = await programs.start('lends', args, group);
  client = await connect(rack.url, { link: 'tcp' });
  const all = client;
  await until('all is lent', 30_000, async () => (await lentMib(all)) === LENT_MIB);
  const space = await all.space('donor', { create: true });
  const used: number[] = [];
  for (let chunk = 0; chunk < USED_MIB; chunk++) {
    used.push(await space.alloc(MIB));
    await space.write(used[chunk] as number, pattern(chunk));
  }
  const freed = await space.alloc(FREED_MIB * MIB);
  for (let at = 0; at < FREED_MIB; at++) await space.write(freed + at * MIB, pattern(at));
  const taker = await programs.start('ready', ['-e', TAKER], group);
  await space.free(freed);
  const taken = said(taker, 'taken');
  taker.stdin?.write('go');
  await taken;
  await until('less is lent', 5_000, async () => (await lentMib(all)) < LENT_MIB);
  await until('that is told', 5_000, async () => (await findings(all)).includes('NODE_LENDS_LESS'));
  expect([node.exitCode, taker.exitCode]).toEqual([null, null]);
  for (const [chunk, at] of used.entries()) {
    const seen = await space.read(at, MIB);
    expect(Buffer.compare(seen, pattern(chunk)), `chunk ${chunk}`).toBe(0);
  }
  const members = await all.nodes();
  expect(members.find(({ id }) => id === DONOR)).toMatchObject({ incarnation: 1 });
  await endProgram(taker);
  await until('all is lent again', 60_000, async () => (await lentMib(all)) === LENT_MIB);
  expect(await findings(all)).toEqual([]);
}, 240_000);
