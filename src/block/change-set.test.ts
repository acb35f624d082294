import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { changeSet } from './change-set.js';
import type { DeviceRack, SetRow } from './ports.js';

const WISH: SetRow = { slab: 3, generation: 1, copies: [] };

/** Answers in this order, the last one again and again. */
function ask(answers: readonly Status[]): { asked: number; end: Promise<SetRow | undefined> } {
  const rig = { asked: 0, end: Promise.resolve<SetRow | undefined>(undefined) };
  const putSet = (): Promise<{ readonly status: Status }> => {
    const status = answers[Math.min(rig.asked, answers.length - 1)] as Status;
    rig.asked += 1;
    return Promise.resolve({ status });
  };
  const after = (_ms: number, run: () => void) => {
    setImmediate(run);
    return { cancel: () => undefined };
  };
  rig.end = changeSet({
    rack: { putSet } as Partial<DeviceRack> as DeviceRack,
    timers: { after, soon: setImmediate },
    wish: WISH,
    giveUp: () => true,
    isOver: () => false,
  });
  return rig;
}

test('a set that is refused is given up when nobody wants it any more', async () => {
  expect(await ask([Status.Unavailable]).end).toBeUndefined();
});

test('a set whose answer was lost is asked for until it is known what stands', async () => {
  const rig = ask([Status.OutcomeUnknown, Status.Unavailable, Status.Unavailable, Status.Ok]);
  expect(await rig.end).toBe(WISH);
  expect(rig.asked).toBe(4);
});

test('a set that names what is gone is not asked for again, whatever was lost before', async () => {
  const rig = ask([Status.OutcomeUnknown, Status.Invalid]);
  expect(await rig.end).toBeUndefined();
  expect(rig.asked).toBe(2);
});

test('a copy that the controller does not let in is no set of another writer', async () => {
  // Without a row: nothing stands there that was not known. `lose` would be missing here.
  expect(await ask([Status.OutcomeUnknown, Status.Conflict]).end).toBeUndefined();
});
