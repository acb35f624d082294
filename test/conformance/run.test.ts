// Programs that know nothing of Memrack, with a part of their memory in the rack: whatever process
// is killed, they end with the right output or with a clear message, and nothing stays behind.
//
// MEMRACK_RUN_ROUNDS and MEMRACK_RUN_SEED choose how many kills, and which.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/prng.js';
import { runCli, ROOT } from '../support/cli.js';
import { goodForeign } from '../support/foreign.js';
import { startRack, type TestRack } from '../support/rack.js';
import { type Part, startRun, stateOfMachine, untilAsBefore } from '../support/remote-run.js';
import { requires, requiresAccess } from '../support/requires.js';

const WALK = join(ROOT, 'test/support/page-walk.py');
const PYTHON = '/usr/bin/python3';
const ROUNDS = Number(process.env['MEMRACK_RUN_ROUNDS'] ?? 10);
const SEED = Number(process.env['MEMRACK_RUN_SEED'] ?? Date.now() % 1_000_000);
/** Local memory, and what the program uses of it, in MiB. */
const LOCAL = ['--local', '48MiB'];
const WALKED = ['128', '2', '7'];
const GONE_MS = 40_000;
const ROUND_MS = 90_000;

const isRoot = process.getuid?.() === 0;
const canRun = isRoot && requiresAccess('/dev/fuse', '/dev/loop-control');
const hasAll = requires('python3', 'sort') && canRun;
if (!isRoot) process.stderr.write('skipping a test: swap takes root\n');

let folder: string;
let rack: TestRack;
let expected: string;

describe.runIf(hasAll)('programs with remote memory', () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'memrack-run-'));
    rack = await startRack({ nodes: 2, memory: '512MiB', extra: ['--nbd-port', '0'] });
    expected = await goodForeign(folder, PYTHON, WALK, ...WALKED);
  }, 60_000);

  afterAll(async () => {
    await rack?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const run = (...words: string[]) => {
    return runCli(['run', '--rack', rack.url, ...words], { timeoutMs: ROUND_MS });
  };

  test('says what is wrong before it makes anything', async () => {
    const before = stateOfMachine();
    const unasked = await run(...LOCAL, '--', 'true');
    expect([unasked.code, unasked.stderr]).toEqual([125, expect.stringContaining('--host-swap')]);
    const missing = await run(...LOCAL, '--host-swap', '--', join(folder, 'missing'));
    expect(missing.code).toBe(127);
    writeFileSync(join(folder, 'text'), '');
    expect((await run(...LOCAL, '--host-swap', '--', join(folder, 'text'))).code).toBe(126);
    const tooMuch = await run('--local', '4TiB', '--host-swap', '--', 'true');
    expect([tooMuch.code, tooMuch.stderr]).toEqual([125, expect.stringContaining('available')]);
    const device = await run(...LOCAL, '--host-swap', '--device', 'none', '--', 'true');
    expect([device.code, device.stderr]).toEqual([125, expect.stringContaining('none')]);
    expect(stateOfMachine()).toEqual(before);
  }, 60_000);

  test('a program ends as it does without, and its pages were away', async () => {
    const before = stateOfMachine();
    const path = join(folder, 'report.json');
    const words = [...LOCAL, '--host-swap', '--replicas', '2', '--report', path];
    const { code, stdout, stderr } = await run(...words, '--', PYTHON, WALK, ...WALKED);
    expect([code, stdout]).toEqual([0, expected]);
    expect(stderr).toContain('pages in');
    const report = JSON.parse(readFileSync(path, 'utf8')) as Record<string, number>;
    expect(report['peakLocalBytes']).toBeLessThanOrEqual(48 * 2 ** 20);
    expect(report['peakRemoteBytes']).toBeGreaterThan(64 * 2 ** 20);
    expect(report['pagesIn']).toBeGreaterThan(10_000);
    expect(report['pageInP99Micros']).toBeGreaterThan(0);
    expect(stateOfMachine()).toEqual(before);
    const shell = await run(...LOCAL, '--host-swap', '--', '/bin/sh', '-c', 'cat; exit 7');
    expect(shell.code).toBe(7);
    const killed = await run(...LOCAL, '--host-swap', '--', '/bin/sh', '-c', 'kill -9 $$');
    expect(killed.code).toBe(137);
    expect(stateOfMachine()).toEqual(before);
  }, 120_000);

  test('a device that is there is used, and stays', async () => {
    const name = 'kept';
    const made = await runCli([
      ...['device', 'create', name, '--size', '256MiB', '--rack', rack.url],
    ]);
    expect(made.code).toBe(0);
    const words = [...LOCAL, '--host-swap', '--device', name];
    const { code, stdout } = await run(...words, '--', PYTHON, WALK, ...WALKED);
    expect([code, stdout]).toEqual([0, expected]);
    const removed = await runCli(['device', 'remove', name, '--rack', rack.url]);
    expect([removed.code, removed.stderr]).toEqual([0, '']);
  }, 60_000);

  test('one that needs more than it was given is ended by the kernel, which is said', async () => {
    const before = stateOfMachine();
    const words = [...LOCAL, '--size', '64MiB', '--host-swap', '--'];
    const { code, stdout, stderr } = await run(...words, PYTHON, WALK, ...WALKED);
    expect([code, stdout]).toEqual([137, '']);
    expect(stderr).toMatch(/^ +killed +\d+ by the kernel, for want of memory/m);
    expect(stateOfMachine()).toEqual(before);
  }, 60_000);

  test('two at a time do not see each other', async () => {
    const before = stateOfMachine();
    const both = await Promise.all([
      run(...LOCAL, '--host-swap', '--', PYTHON, WALK, ...WALKED),
      run(...LOCAL, '--host-swap', '--', PYTHON, WALK, ...WALKED),
    ]);
    for (const { code, stdout } of both) expect([code, stdout]).toEqual([0, expected]);
    await untilAsBefore(before, GONE_MS);
  }, 120_000);

  test(
    `whoever is killed, ${ROUNDS} times`,
    async () => {
      const prng = new Prng(SEED);
      const before = stateOfMachine();
      const counts = new Map<string, number>();
      for (let round = 0; round < ROUNDS; round++) {
        const victim = VICTIMS[prng.below(VICTIMS.length)] as Victim;
        const what = `seed ${SEED}, round ${round}: ${victim} after`;
        const code = await killOne(victim, prng.between(0, 6_000), what);
        await untilAsBefore(before, GONE_MS);
        const outcome = `${victim}: ${code === 0 ? 'went on' : 'ended'}`;
        counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
      }
      process.stdout.write(`seed ${SEED}: ${JSON.stringify(Object.fromEntries(counts))}\n`);
    },
    ROUNDS * (ROUND_MS + GONE_MS),
  );
});

type Victim = Part | 'memory node' | 'Ctrl-C';
const VICTIMS: readonly Victim[] = [
  ...(['command', 'server', 'server', 'watchdog', 'program'] as const),
  ...(['memory node', 'Ctrl-C'] as const),
];

/** Its exit code; one of a program that was lost is never taken for one that ended well. */
async function killOne(victim: Victim, ms: number, what: string): Promise<number | null> {
  const run = startRun(rack.url, [...LOCAL, '--replicas', '2', '--', PYTHON, WALK, ...WALKED]);
  await new Promise((resolve) => setTimeout(resolve, ms));
  const pid = await pidOf(victim, run);
  try {
    if (pid !== undefined) process.kill(pid, victim === 'Ctrl-C' ? 'SIGINT' : 'SIGKILL');
  } catch {
    // It has ended before.
  }
  const timer = setTimeout(() => run.child.kill('SIGKILL'), ROUND_MS);
  const code = await run.exited;
  clearTimeout(timer);
  await new Promise((resolve) => setTimeout(resolve, 100));
  const told = run.output();
  const hasEnded = code !== null || victim === 'command';
  expect([what, ms, hasEnded, told]).toEqual([what, ms, true, told]);
  if (code === 0) expect([what, told.includes(expected)]).toEqual([what, true]);
  if (['server', 'watchdog', 'memory node'].includes(victim)) {
    expect([what, ms, code, told]).toEqual([what, ms, 0, told]);
  }
  return code;
}

async function pidOf(
  victim: Victim,
  run: ReturnType<typeof startRun>,
): Promise<number | undefined> {
  if (victim === 'Ctrl-C') return run.pid('command');
  if (victim !== 'memory node') return run.pid(victim);
  return (await rack.nodes()).find(({ id }) => id === 'node-1')?.pid;
}
