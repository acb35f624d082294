// A client whose links choose their way by themselves, and a proxy that passes streams or datagrams
// alone between it and a node of a real rack.
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { MemrackError } from '../../src/client/error.js';
import { connectRack, type Rack } from '../../src/client/rack.js';
import type { RemoteSpace } from '../../src/client/space.js';
import { createRuntime } from '../../src/runtime/node/create-runtime.js';
import type { DatagramHandler, DatagramSocket } from '../../src/runtime/network.js';
import type { Runtime } from '../../src/runtime/runtime.js';
import { startRack, type TestRack, until } from '../support/rack.js';
import { SplitProxy } from '../support/split-proxy.js';

const WITHIN_MS = 40_000;
const LANES = 8;

let rack: TestRack;
let proxy: SplitProxy;
let client: Rack;
let space: RemoteSpace;
let at: number;

beforeAll(async () => {
  rack = await startRack({ nodes: 1 });
});
afterAll(() => rack?.stop());

beforeEach(async () => {
  const [node] = (await rack.nodes()).filter(({ kind }) => kind !== 'host');
  const port = Number(/:(\d+)$/.exec(node?.address ?? '')?.[1]);
  proxy = await SplitProxy.to(port);
  client = await connectRack(behind(port, proxy), rack.url, { timeoutMs: 60_000 });
  space = await client.space('fall-over', { create: true });
  at = await space.alloc(65_536);
  await space.write(at, new Uint8Array(65_536));
});
afterEach(async () => {
  proxy.passStreams(true);
  proxy.passesDatagrams = true;
  await client.close();
  proxy.close();
});

/** On another machine, as far as the node can tell, and with the proxy in place of its port. */
function behind(port: number, instead: SplitProxy): Runtime {
  const real = createRuntime({ poll: false, source: 'fall-over', logLevel: 'error' });
  const via = (address: string) => address.replace(new RegExp(`:${port}$`), `:${instead.port}`);
  const { network } = real;
  const bind = async (address: string, handler: DatagramHandler): Promise<DatagramSocket> => {
    const socket = await network.bind(address, handler);
    const peerOf = socket.peerOf.bind(socket);
    return Object.assign(socket, { peerOf: (to: string) => peerOf(via(to)) });
  };
  return {
    ...real,
    processes: { ...real.processes, identity: '' },
    network: {
      listen: (address, accept) => network.listen(address, accept),
      connect: (address, handler, ms) => network.connect(via(address), handler, ms),
      ownAddress: (name) => network.ownAddress(name),
      lookUp: (address) => network.lookUp(address),
      bind,
    },
  };
}

/** Additions to one word, and swaps of a word of its own for each lane, until `stop`. */
class Load {
  readonly #at: number;
  done = 0;
  unknown = 0;
  /** Of lanes that have ended by it. */
  readonly refusals: string[] = [];
  readonly #lanes: Promise<void>[];
  #isOver = false;

  /** The words of each load are its own. */
  constructor(index: number) {
    this.#at = at + 4096 * index;
    this.#lanes = Array.from({ length: LANES }, (_, lane) => this.#run(64 * (lane + 1)));
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#lanes);
  }

  async #run(offset: number): Promise<void> {
    const own = this.#at + offset;
    for (let number = 1n; !this.#isOver; number++) {
      const before = number - 1n;
      try {
        await space.fetchAndAdd(this.#at, 1n);
        this.done++;
        const seen = await space.compareAndSwap(own, before, number);
        if (seen !== before) throw new Error(`${seen} where ${before} was written`);
      } catch (error) {
        const { outcome, code } = error as MemrackError;
        if (outcome === undefined) throw error;
        if (outcome === 'unknown') this.unknown++;
        this.refusals.push(code);
        return;
      }
    }
  }

  /** Ends it; what was counted is what is there. */
  async check(): Promise<void> {
    await this.stop();
    const sum = Number(await word(this.#at));
    expect(sum).toBeGreaterThanOrEqual(this.done);
    expect(sum).toBeLessThanOrEqual(this.done + this.unknown);
    expect(this.refusals).toEqual([]);
  }

  /** So many more additions were acknowledged. */
  async more(count: number): Promise<void> {
    const wanted = this.done + count;
    await until(WITHIN_MS, () => (this.done >= wanted ? true : undefined)).catch(() => {
      throw new Error(`${this.done}, not ${wanted} additions; refused: ${this.refusals.join()}`);
    });
  }
}

async function word(address: number): Promise<bigint> {
  const bytes = await space.read(address, 8);
  return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
}

const wayIs = (way: string) =>
  until(WITHIN_MS, () => (client.counters().links[0]?.way === way ? true : undefined));

test('while streams hang what is begun goes on by datagrams, and then back', async () => {
  const before = new Load(0);
  await before.more(100);
  expect(client.counters().links[0]?.way).toBe('stream');
  proxy.passStreams(false);
  await wayIs('datagrams');
  // What was sent over the stream is in doubt, and waits for it.
  const meanwhile = new Load(1);
  await meanwhile.more(200);
  expect(proxy.counts.datagramsPassed).toBeGreaterThan(100);
  proxy.passStreams(true);
  await wayIs('stream');
  await before.more(100);
  await before.check();
  await meanwhile.check();
  expect(client.counters().fallOver).toMatchObject({ toDatagrams: 1, toStream: 1 });
});

test('when datagrams are lost then, what is begun goes on over streams', async () => {
  const before = new Load(0);
  await before.more(100);
  proxy.passStreams(false);
  await wayIs('datagrams');
  const meanwhile = new Load(1);
  await meanwhile.more(100);
  proxy.passesDatagrams = false;
  proxy.passStreams(true);
  await wayIs('stream');
  // What was sent as datagrams is in doubt, and waits for them.
  const after = new Load(2);
  await after.more(100);
  proxy.passesDatagrams = true;
  await before.more(100);
  await meanwhile.more(100);
  for (const load of [before, meanwhile, after]) await load.check();
  expect(proxy.counts.datagramsLost).toBeGreaterThan(0);
});

test('work goes on by datagrams while streams are reset again and again', async () => {
  const load = new Load(0);
  await load.more(100);
  const resets = setInterval(() => proxy.resetStreams(), 150);
  await wayIs('datagrams');
  await load.more(300);
  clearInterval(resets);
  await wayIs('stream');
  await load.check();
});

test('where datagrams never pass everything waits for the stream', async () => {
  proxy.passesDatagrams = false;
  const load = new Load(0);
  await load.more(100);
  proxy.passStreams(false);
  await until(WITHIN_MS, () => (proxy.counts.datagramsLost > 3 ? true : undefined));
  expect(client.counters().links[0]?.way).toBe('stream');
  proxy.passStreams(true);
  await load.more(100);
  await load.check();
  expect(client.counters().fallOver).toMatchObject({ toDatagrams: 0 });
});
