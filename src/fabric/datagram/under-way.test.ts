import { expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import { UnderWay } from './under-way.js';

/** A change of so many parts. */
function taken(parts: number): { underWay: UnderWay; slot: number } {
  const underWay = new UnderWay();
  const slot = underWay.take();
  underWay.partsLeft[slot] = parts;
  underWay.changes[slot] = 1;
  return { underWay, slot };
}

const ENDINGS: readonly (readonly [readonly Status[], Status])[] = [
  [[Status.Ok, Status.Ok], Status.Ok],
  [[Status.Denied, Status.NoSpace], Status.Denied],
  [[Status.Ok, Status.NoSpace], Status.OutcomeUnknown],
  [[Status.NoSpace, Status.Ok], Status.OutcomeUnknown],
  [[Status.NoSpace, Status.OutcomeUnknown], Status.OutcomeUnknown],
  [[Status.OutcomeUnknown, Status.Denied], Status.OutcomeUnknown],
  [[Status.OutcomeUnknown, Status.Ok], Status.OutcomeUnknown],
];

test('a change ends as all of its parts say together', () => {
  for (const [endings, whole] of ENDINGS) {
    const { underWay, slot } = taken(endings.length);
    const last = endings.map((status) => underWay.partEnded(slot, status));
    expect(last).toEqual([false, true]);
    expect(underWay.status(slot), endings.join()).toBe(whole);
  }
});

test('a part that was done, or of which nobody knows, is remembered at once', () => {
  for (const status of [Status.Ok, Status.OutcomeUnknown]) {
    const { underWay, slot } = taken(2);
    underWay.partEnded(slot, status);
    expect(underWay.mayBeDone[slot]).toBe(1);
  }
  const { underWay, slot } = taken(2);
  underWay.partEnded(slot, Status.NoSpace);
  expect(underWay.mayBeDone[slot]).toBe(0);
});
