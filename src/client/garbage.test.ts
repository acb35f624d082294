// Places that no key names: taken, freed, forgotten, by a controller in a few lines.
import { expect, test } from 'vitest';
import { Status } from '../base/status.js';
import type { Peer } from '../fabric/link.js';
import { REGION_BYTES } from '../wire/limits.js';
import { MessageType } from '../wire/messages.js';
import { Control } from './control.js';
import { MemrackError, type ErrorCode } from './error.js';
import { type FilePlaceFacts, Garbage } from './garbage.js';
import { FakeWorld } from './testing/fake-rack.js';

const place = (address: number): FilePlaceFacts => ({ space: 3, address, length: 5 });
const far = (n: number): FilePlaceFacts => place(n * REGION_BYTES);

class FakeController {
  readonly rows: (FilePlaceFacts & { taker: number })[];
  readonly takers: number[] = [];
  pageMax = 1000;
  /** Answers of takes that are lost after they were executed. */
  losses = 0;

  constructor(places: readonly FilePlaceFacts[]) {
    this.rows = places.map((each) => ({ ...each, taker: 0 }));
  }

  get peer(): Peer {
    const call = (type: number, request: never): Promise<unknown> =>
      Promise.resolve(
        type === MessageType.TakeGarbage ? this.#take(request) : this.#forget(request),
      );
    return { call, close: () => {} } as unknown as Peer;
  }

  #take({ taker }: { taker: number }): unknown {
    this.takers.push(taker);
    let mine = this.rows.filter((row) => row.taker === taker);
    if (mine.length === 0) mine = this.rows.filter((row) => row.taker === 0).slice(0, this.pageMax);
    for (const row of mine) row.taker = taker;
    if (this.losses > 0) {
      this.losses -= 1;
      return { status: Status.Invalid, reason: 'the answer was lost' };
    }
    const more = this.rows.some((row) => row.taker === 0) ? 1 : 0;
    return { status: Status.Ok, more, places: mine.map((row) => ({ ...row })) };
  }

  #forget(request: { taker: number; isFreed: number; places: FilePlaceFacts[] }): unknown {
    for (const { address } of request.places) {
      const at = this.rows.findIndex((row) => row.address === address);
      if (this.rows[at]?.taker !== request.taker) continue;
      if (request.isFreed === 1) this.rows.splice(at, 1);
      else (this.rows[at] as { taker: number }).taker = 0;
    }
    return { status: Status.Ok };
  }
}

let random = 0;

function collector(controller: FakeController, fails: Readonly<Record<number, ErrorCode>> = {}) {
  const { runtime: world } = new FakeWorld();
  const runtime = { ...world, entropy: { ...world.entropy, u53: () => (random += 1) } };
  const tried: number[] = [];
  const free = ({ address }: FilePlaceFacts): Promise<void> => {
    tried.push(address);
    const code = fails[address];
    return code === undefined ? Promise.resolve() : Promise.reject(new MemrackError(code, 'no'));
  };
  const control = new Control(runtime, controller.peer, 'memrack://fake');
  return { garbage: new Garbage({ runtime, control, timeoutMs: 1000, free }), tried };
}

test('all of it is freed once, page by page, each with a taker of its own', async () => {
  const controller = new FakeController([place(1), place(2), place(0), place(3)]);
  controller.pageMax = 3;
  const { garbage, tried } = collector(controller);
  expect(await garbage.free()).toBe(true);
  expect(await garbage.free()).toBe(false);
  expect(tried).toEqual([1, 2, 3]);
  expect(controller.rows).toEqual([]);
  expect(new Set(controller.takers).size).toBe(2);
});

test('what is gone already counts as freed', async () => {
  const controller = new FakeController([1, 2, 3].map(far));
  const [a = 0, b = 0, c = 0] = controller.rows.map(({ address }) => address);
  await collector(controller, {
    [a]: 'DataLost',
    [b]: 'NotFound',
    [c]: 'NotAllocated',
  }).garbage.free();
  expect(controller.rows).toEqual([]);
});

test('what is certainly not freed waits again, what is unknown stays taken', async () => {
  const away = far(1);
  const behind = place(away.address + 4096);
  const unknown = far(2);
  const controller = new FakeController([away, behind, unknown, far(3)]);
  const fails = { [away.address]: 'Unavailable', [unknown.address]: 'OutcomeUnknown' } as const;
  const { garbage, tried } = collector(controller, fails);
  expect(await garbage.free()).toBe(false);
  expect(controller.rows).toMatchObject([
    { ...away, taker: 0 },
    { ...behind, taker: 0 },
    { ...unknown, taker: expect.any(Number) },
  ]);
  expect(controller.rows[2]?.taker).not.toBe(0);
  // Nobody waits for the same node twice.
  expect(tried).not.toContain(behind.address);
  const next = collector(controller);
  await next.garbage.free();
  expect(next.tried).toEqual([away.address, behind.address]);
});

test('what a take took whose answer was lost is asked for again', async () => {
  const controller = new FakeController([place(1), place(2)]);
  controller.losses = 1;
  const { garbage, tried } = collector(controller);
  await expect(garbage.free()).rejects.toThrow('lost');
  await garbage.free();
  expect(tried).toEqual([1, 2]);
  expect(controller.rows).toEqual([]);
});

test('two calls at the same time free nothing twice', async () => {
  const controller = new FakeController([place(1), place(2)]);
  const { garbage, tried } = collector(controller);
  await Promise.all([garbage.free(), garbage.free()]);
  expect(tried).toEqual([1, 2]);
});
