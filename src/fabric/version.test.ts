import { expect, test, vi } from 'vitest';
import { Status } from '../base/status.js';
import type { Direction } from './testing/fake-world.js';
import { Rig } from './testing/rig.js';

vi.mock(import('../wire/limits.js'), async (original) => {
  const limits: object = { ...(await original()), VERSION_MAX: 2 };
  return limits;
});

test('after the hello both sides speak the version that they agreed on', async () => {
  const rig = new Rig();
  const versions: Record<Direction, number[]> = { up: [], down: [] };
  rig.world.wire = {
    // What passes at once begins with a frame.
    touch: (_connection, direction, _passed, bytes) => {
      versions[direction].push(new DataView(bytes.buffer).getUint16(14, true));
    },
  };
  const window = await rig.openWindow();
  rig.link.fetchAndAdd(window, 0, 1, 0, rig.sink, 1, rig.deadline);
  await rig.told(1);
  expect(rig.sink.status(1)).toBe(Status.Ok);
  expect(versions).toEqual({ up: [1, 2, 2], down: [1, 2, 2] });
});
