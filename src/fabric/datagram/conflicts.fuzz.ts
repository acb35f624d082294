/**
 * Random operations that come and go, against a plain list of ranges. `MEMRACK_FUZZ` sets the
 * number of operations for each shape of load, `MEMRACK_SEED` the first seed.
 */

import { expect, test } from 'vitest';
import { Prng } from '../../base/prng.js';
import { KiB } from '../../base/units.js';
import { ADDRESS_END, SPACE_ID_END } from '../../wire/limits.js';
import { Conflicts, LINE_BYTES } from './conflicts.js';

const OPERATIONS = Number(process.env['MEMRACK_FUZZ'] ?? 100_000);
const SEED = Number(process.env['MEMRACK_SEED'] ?? 1);

interface Operation {
  readonly space: number;
  readonly address: number;
  readonly bytes: number;
  readonly changes: boolean;
}

interface Load {
  readonly label: string;
  readonly spaces: readonly number[];
  /** Where operations begin: at most `span` bytes above one of these. */
  readonly bases: readonly number[];
  readonly span: number;
  readonly bytesMax: number;
  /** At most so many are entered at a time. */
  readonly held: number;
  /** Only those that may start are entered, as with operations under way. */
  readonly isPolite: boolean;
}

const FAR = [0, 2 ** 31, 2 ** 32, 2 ** 44, 2 ** 45 + 2 ** 43, ADDRESS_END - 256 * KiB];

const LOADS: readonly Load[] = [
  {
    label: 'under way',
    spaces: [1, 2],
    bases: [0],
    span: 96 * KiB,
    bytesMax: 8 * KiB,
    held: 60,
    isPolite: true,
  },
  {
    label: 'waiting',
    spaces: [1],
    bases: [4096],
    span: 40 * KiB,
    bytesMax: 64 * KiB,
    held: 100,
    isPolite: false,
  },
  {
    label: 'far',
    spaces: [0, 7, SPACE_ID_END - 1],
    bases: FAR,
    span: 128 * KiB,
    bytesMax: 64 * KiB,
    held: 150,
    isPolite: true,
  },
  {
    label: 'one line',
    spaces: [3],
    bases: [ADDRESS_END - 4096],
    span: 4096,
    bytesMax: 200,
    held: 300,
    isPolite: false,
  },
];

function lineOf(address: number): number {
  return Math.floor(address / LINE_BYTES);
}

function conflict(a: Operation, b: Operation): boolean {
  if (a.space !== b.space || (!a.changes && !b.changes)) return false;
  const isBefore = lineOf(a.address + a.bytes - 1) < lineOf(b.address);
  return !isBefore && lineOf(b.address + b.bytes - 1) >= lineOf(a.address);
}

function blocksOf(operations: readonly Operation[]): number {
  const blocks = new Set<string>();
  for (const { space, address, bytes } of operations) {
    const last = Math.floor((address + bytes - 1) / 4096);
    for (let at = Math.floor(address / 4096); at <= last; at++) blocks.add(`${space} ${at}`);
  }
  return blocks.size;
}

function draw(load: Load, prng: Prng): Operation {
  const address = prng.pick(load.bases) + prng.below(load.span);
  const isSmall = prng.below(3) !== 0;
  const wished = 1 + prng.below(isSmall ? Math.min(100, load.bytesMax) : load.bytesMax);
  const bytes = Math.min(wished, ADDRESS_END - address);
  return { space: prng.pick(load.spaces), address, bytes, changes: prng.below(3) === 0 };
}

for (const load of LOADS) {
  test(`${load.label}: says what a list of ranges says`, () => {
    const prng = new Prng(SEED);
    const conflicts = new Conflicts();
    const held: Operation[] = [];
    const heard = { yes: 0, no: 0 };
    const leave = () => {
      const i = prng.below(held.length);
      const gone = held[i] as Operation;
      held[i] = held[held.length - 1] as Operation;
      held.pop();
      conflicts.leave(gone.space, gone.address, gone.bytes, gone.changes);
    };
    for (let step = 0; step < OPERATIONS; step++) {
      const one = draw(load, prng);
      const may = conflicts.mayStart(one.space, one.address, one.bytes, one.changes);
      const expected = !held.some((other) => conflict(one, other));
      if (may !== expected) expect.fail(`step ${step}: ${JSON.stringify(one)} gave ${may}`);
      heard[may ? 'yes' : 'no']++;
      // Now and then all leave, so that rows and slots are used again from the beginning.
      while (held.length >= load.held || (step % 5000 === 4999 && held.length > 0)) leave();
      if (held.length > 0 && prng.below(2) === 0) leave();
      if (load.isPolite && !may) continue;
      held.push(one);
      conflicts.enter(one.space, one.address, one.bytes, one.changes);
      if (step % 1000 === 0) expect(conflicts.rows, `step ${step}`).toBe(blocksOf(held));
    }
    while (held.length > 0) leave();
    expect(conflicts.rows).toBe(0);
    expect(Math.min(heard.yes, heard.no)).toBeGreaterThan(OPERATIONS / 200);
  });
}
