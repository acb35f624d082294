// Whatever a program passes in, every verb answers with a promise, and what is wrong is told as a
// `MemrackError`: nothing throws, and nothing else comes out.
import { expect, test } from 'vitest';
import { KiB } from '../base/units.js';
import { Connections } from './connections.js';
import { Control } from './control.js';
import { MemrackError } from './error.js';
import { RemoteSpace } from './space.js';
import { FakeRack } from './testing/fake-rack.js';

const PAGE = 64 * KiB;

function given(): Uint8Array {
  const bytes = new Uint8Array(8);
  structuredClone(0, { transfer: [bytes.buffer] });
  return bytes;
}

const STRANGE: readonly unknown[] = [
  undefined,
  null,
  Number.NaN,
  Infinity,
  -1,
  0,
  1.5,
  2 ** 53,
  1n,
  -1n,
  2n ** 64n,
  '',
  'x',
  true,
  {},
  Object.create(null),
  [],
  [undefined],
  [null],
  [{}],
  [{ at: 1n, into: new Uint8Array(1), from: new Uint8Array(1) }],
  [{ at: 8, into: 'x', from: 'x' }],
  Symbol('strange'),
  (): void => undefined,
  new Date(0),
  new Uint8Array(0),
  new Float64Array(2),
  new ArrayBuffer(8),
  given(),
];

type Verb = (...values: unknown[]) => unknown;

/** Calls it with each value in each place; what it is when nothing is wrong stands in `good`. */
async function misuse(verb: Verb, good: readonly unknown[]): Promise<string[]> {
  const complaints: string[] = [];
  for (let place = 0; place < good.length; place++) {
    for (const strange of STRANGE) {
      const values = good.map((value, i) => (i === place ? strange : value));
      const told = `${place}: ${typeof strange} ${JSON.stringify(strange, noBigints) ?? ''}`;
      try {
        await verb(...values);
      } catch (error) {
        const isOurs = error instanceof MemrackError && error.message.includes(`(${error.code}): `);
        if (!isOurs) complaints.push(`${told}: ${String(error)}`);
      }
    }
  }
  return complaints;
}

const noBigints = (_key: string, value: unknown): unknown =>
  typeof value === 'bigint' ? `${value}n` : value;

/** Wrong use is told by the promise, never thrown. */
const promised = (verb: Verb): Verb => {
  return (...values) => {
    let result: unknown;
    try {
      result = verb(...values);
    } catch (error) {
      return Promise.reject(new Error(`thrown: ${String(error)}`));
    }
    return result;
  };
};

test('whatever is passed in is answered', async () => {
  const rack = new FakeRack(1);
  const { runtime } = rack.world;
  const space = new RemoteSpace({
    runtime,
    control: new Control(runtime, rack.peer(), 'memrack://fake'),
    connections: new Connections(rack),
    name: 'test',
    id: 7,
    pageBytes: PAGE,
    timeoutMs: 1,
  });
  const at = await space.alloc(4 * PAGE);
  const window = await space.window(at, PAGE, 'rw');
  const bytes = new Uint8Array(8);
  const passing = setInterval(() => void rack.world.pass(50), 1);
  const found: Record<string, string[]> = {};
  for (const [name, holder] of [
    ['space', space],
    ['window', window],
  ] as const) {
    const verbs: [keyof typeof holder & string, unknown[]][] = [
      ['read', [at, 8]],
      ['write', [at, bytes]],
      ['readMany', [[{ at, into: bytes }]]],
      ['writeMany', [[{ at, from: bytes }]]],
      ['compareAndSwap', [at, 0n, 0n]],
      ['fetchAndAdd', [at, 0n]],
    ];
    if (name === 'space')
      verbs.push(
        ['alloc', [8]] as never,
        ['free', [at + 3 * PAGE]] as never,
        ['protect', [at, 8, 'rw']] as never,
        ['window', [at, 8, 'r']] as never,
      );
    else verbs.push(['narrow', [at, 8, 'r']] as never);
    for (const [verb, good] of verbs) {
      const call = (holder as unknown as Record<string, Verb>)[verb] as Verb;
      found[`${name}.${verb}`] = await misuse(promised(call.bind(holder)), good);
    }
  }
  found['space.alloc options'] = await misuse(
    promised((options) => space.alloc(8, options as never)),
    [{ at }],
  );
  found['space.lock'] = await misuse((where) => space.lock(where as never), [at]);
  const lock = space.lock(at + PAGE);
  found['lock.acquire'] = await misuse(
    promised(async (options) => (await lock.acquire(options as never)).release()),
    [{ waitMs: 0 }],
  );
  for (const key of ['waitMs', 'leaseMs', 'signal']) {
    found[`lock.acquire ${key}`] = await misuse(
      promised(async (value) =>
        (await lock.acquire({ waitMs: 0, [key]: value } as never)).release(),
      ),
      [undefined],
    );
  }
  clearInterval(passing);
  const complaints = Object.entries(found).flatMap(([verb, all]) =>
    all.map((one) => `${verb} ${one}`),
  );
  expect(complaints).toEqual([]);
}, 30_000);
