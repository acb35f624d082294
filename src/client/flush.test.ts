import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { SimulatedWorld } from '../runtime/simulated/world.js';
import { REGION_BYTES } from '../wire/limits.js';
import { Flushes } from './flush.js';
import type { RegionMap } from './region-map.js';
import { Unflushed } from './unflushed.js';

const PAGE = 65536;
const AT = REGION_BYTES;

/** A node whose file is opened anew at times, as far as flushes see it. */
class Rig {
  opening = 1;
  readonly asked: number[] = [];
  readonly unflushed = new Unflushed(PAGE);
  readonly flushes: Flushes;

  constructor() {
    const world = new SimulatedWorld({ seed: 1, immediate: setImmediate });
    const { runtime } = world.program(world.machine('m'), 'client');
    const call = (_type: number, request: { opening: number }) => {
      this.asked.push(request.opening);
      const isLost = request.opening !== 0 && request.opening !== this.opening;
      return Promise.resolve({ status: isLost ? Status.DataLost : Status.Ok });
    };
    const regions = {
      settled: () => Promise.resolve(),
      connection: () => ({ link: { call, opening: this.opening } }),
      state: () => 'serving',
    } as unknown as RegionMap;
    this.flushes = new Flushes({ runtime, regions, space: 1, unflushed: this.unflushed });
  }

  flush(pages = 4): Promise<void> {
    return this.flushes.flush(AT, pages * PAGE, 1_000);
  }
}

test('what was told as lost is told again only if the file is opened anew once more', async () => {
  const rig = new Rig();
  rig.unflushed.note(AT, 8, rig.opening);
  rig.opening = 2;
  await expect(rig.flush()).rejects.toMatchObject({ code: 'DataLost' });
  await rig.flush();
  expect(rig.asked).toEqual([1, 2]);
  await rig.flush();
  expect(rig.asked).toEqual([1, 2, 0]);
});

test('what is found after a loss, and is gone before it is flushed, is told as lost', async () => {
  const rig = new Rig();
  rig.unflushed.note(AT, 8, rig.opening);
  rig.opening = 2;
  await expect(rig.flush()).rejects.toMatchObject({ code: 'DataLost' });
  // Its client reads what is there, which has come under the second opening.
  rig.opening = 3;
  await expect(rig.flush()).rejects.toMatchObject({ code: 'DataLost' });
  await rig.flush();
});
