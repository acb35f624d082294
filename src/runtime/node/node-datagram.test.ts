import dgram from 'node:dgram';
import { afterEach, describe, expect, test } from 'vitest';
import {
  DATAGRAM_BATCH_MAX,
  DATAGRAM_BYTES_MAX,
  type DatagramBatch,
  type DatagramHandler,
  type DatagramSocket,
  PEER_BYTES,
} from '../network.js';
import { createRuntime } from './create-runtime.js';
import { DatagramInputs } from './datagram-input.js';
import { DatagramOutputs } from './datagram-output.js';
import { NodeDatagramSocket } from './node-datagram.js';
import { Poller } from './poller.js';
import { SoonQueue } from './soon.js';
import { IPPROTO_IP, setSocketOption } from './system.js';

const IP_RECVERR = 11;

const polling = createRuntime({ poll: true }).network;
const cold = createRuntime({ poll: false }).network;

const open: { close(): void }[] = [];
afterEach(() => {
  for (const socket of open.splice(0)) socket.close();
});

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** The thread does nothing else meanwhile. */
function blockFor(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

async function eventually(holds: () => boolean): Promise<void> {
  const start = Date.now();
  while (!holds() && Date.now() - start < 5000) await pause(1);
  expect(holds()).toBe(true);
}

async function bind(
  handler: DatagramHandler,
  { network = cold, address = 'udp://127.0.0.1:0' } = {},
): Promise<NodeDatagramSocket> {
  const socket = await network.bind(address, handler);
  open.push(socket);
  return socket as NodeDatagramSocket;
}

/** Collects what it is told, and answers it where it is asked to. */
class Recorder implements DatagramHandler {
  readonly batches: number[] = [];
  readonly texts: string[] = [];
  readonly answers: boolean;
  onBatch: () => void = () => {};

  constructor({ answers = false } = {}) {
    this.answers = answers;
  }

  received(socket: DatagramSocket, batch: DatagramBatch): void {
    this.batches.push(batch.count);
    for (let i = 0; i < batch.count; i++) {
      const start = batch.starts[i] as number;
      const bytes = batch.input.bytes.subarray(start, start + (batch.lengths[i] as number));
      this.texts.push(Buffer.from(bytes).toString('latin1'));
      if (this.answers) put(socket, bytes, batch.peers, i * PEER_BYTES);
    }
    if (this.answers) socket.flush();
    this.onBatch();
  }
}

function put(
  socket: DatagramSocket,
  content: string | Uint8Array,
  peers: Uint8Array,
  peerAt = 0,
): void {
  const bytes = typeof content === 'string' ? Buffer.from(content, 'latin1') : content;
  const at = socket.reserve(bytes.length);
  socket.output.bytes.set(bytes, at);
  socket.commit(bytes.length, peers, peerAt);
}

interface Handle {
  recvStart(): number;
  recvStop(): number;
}

/** A socket whose handle is changed before it is used; nothing polls it by itself. */
async function makeByHand(
  handler: DatagramHandler,
  change: (handle: Handle) => void,
  poller = new Poller(new SoonQueue(), { share: 0 }),
): Promise<NodeDatagramSocket> {
  const socket = dgram.createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const states = Object.getOwnPropertySymbols(socket).map(
    (symbol) => (socket as unknown as { [symbol: symbol]: unknown })[symbol],
  ) as ({ handle?: Handle } | undefined)[];
  change(states.find((state) => state?.handle)?.handle as Handle);
  const made = new NodeDatagramSocket(socket, handler, {
    poller,
    inputs: new DatagramInputs(),
    outputs: new DatagramOutputs(),
  });
  open.push(made);
  return made;
}

/** A socket of node:dgram, which knows nothing of us. */
function foreign(): dgram.Socket {
  const socket = dgram.createSocket('udp4');
  open.push(socket);
  return socket;
}

function portOf(socket: DatagramSocket): number {
  return Number(socket.address.split(':').pop());
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => `number ${i}`);

describe('a cold socket', () => {
  test('receives in whole batches what came while the thread was busy', async () => {
    const server = new Recorder();
    const socket = await bind(server);
    const client = await bind(new Recorder());
    const to = client.peerOf(socket.address);
    for (const text of numbers(100)) put(client, text, to);
    client.flush();
    await eventually(() => server.texts.length === 100);
    expect(server.texts).toEqual(numbers(100));
    expect(server.batches).toEqual([DATAGRAM_BATCH_MAX, DATAGRAM_BATCH_MAX, DATAGRAM_BATCH_MAX, 4]);
    expect(socket.hot).toBe(false);
  });

  test('tells the same peer whether libuv received a datagram or the batch did', async () => {
    const peers = new Set<string>();
    const socket = await bind({
      received: (_socket, batch) => {
        for (let i = 0; i < batch.count; i++) {
          const peer = batch.peers.subarray(i * PEER_BYTES, (i + 1) * PEER_BYTES);
          peers.add(Buffer.from(peer).toString('hex'));
        }
      },
    });
    const client = await bind(new Recorder());
    for (const text of numbers(5)) put(client, text, client.peerOf(socket.address));
    client.flush();
    await eventually(() => peers.size > 0);
    await pause(5);
    const expected = Buffer.from(socket.peerOf(client.address)).toString('hex');
    expect([...peers]).toEqual([expected]);
  });
});

describe('a hot socket', () => {
  test('is polled while answers come, and goes back to libuv after', async () => {
    const server = await bind(new Recorder({ answers: true }), { network: polling });
    const answers = new Recorder();
    const client = await bind(answers, { network: polling });
    const to = client.peerOf(server.address);
    /** Asks at once again when it was answered, so that polling pays. */
    const ask = (): void => {
      put(client, 'ask', to);
      client.expect(true);
      client.flush();
      wasHot ||= client.hot && server.hot;
    };
    let wasHot = false;
    let left = 0;
    answers.onBatch = () => {
      client.expect(false);
      if (--left > 0) ask();
    };
    let timesHot = 0;
    // On a crowded machine polling may be given up for a while.
    for (const end = Date.now() + 4000; timesHot < 3 && Date.now() < end; ) {
      wasHot = false;
      left = 200;
      ask();
      await eventually(() => left === 0);
      if (wasHot) timesHot++;
      await eventually(() => !client.hot && !server.hot);
    }
    expect(timesHot).toBe(3);
  });

  test('is not looked at by libuv', async () => {
    let reads = true;
    const watch = (handle: Handle): void => {
      const { recvStart, recvStop } = handle;
      handle.recvStart = () => {
        reads = true;
        return recvStart.call(handle);
      };
      handle.recvStop = () => {
        reads = false;
        return recvStop.call(handle);
      };
    };
    const poller = new Poller(new SoonQueue(), { share: 0.5 });
    const recorder = new Recorder();
    const socket = await makeByHand(recorder, watch, poller);
    expect(reads).toBe(true);
    socket.expect(true);
    expect([socket.hot, reads]).toEqual([true, false]);
    await eventually(() => !socket.hot);
    expect(reads).toBe(true);
    const client = await bind(new Recorder());
    put(client, 'cold again', client.peerOf(socket.address));
    client.flush();
    await eventually(() => recorder.texts.length === 1);
  });

  test('of which there are more than are asked one by one', async () => {
    const server = await bind(new Recorder({ answers: true }), { network: polling });
    const clients: { socket: NodeDatagramSocket; answers: Recorder }[] = [];
    for (let i = 0; i < 20; i++) {
      const answers = new Recorder();
      clients.push({ answers, socket: await bind(answers, { network: polling }) });
    }
    const to = server.peerOf(server.address);
    for (let round = 1; round <= 20; round++) {
      for (const { socket } of clients) {
        put(socket, `round ${round}`, to);
        socket.expect(true);
        socket.flush();
      }
      await eventually(() => clients.every(({ answers }) => answers.texts.length === round));
      if (round === 10) for (const { socket } of clients.splice(0, 15)) socket.close();
    }
  });

  test('is left alone after it was closed by its handler', async () => {
    let calls = 0;
    const socket = await bind(
      {
        received: (at) => {
          calls++;
          if (calls === 3) at.close();
        },
      },
      { network: polling },
    );
    const client = await bind(new Recorder());
    const to = client.peerOf(socket.address);
    for (let i = 0; i < 6; i++) {
      put(client, 'again', to);
      client.flush();
      await pause(2);
    }
    expect(calls).toBe(3);
  });
});

describe('sending', () => {
  test('one that cannot be sent is left out, those around it go', async () => {
    const server = new Recorder();
    const socket = await bind(server);
    const client = await bind(new Recorder());
    const to = client.peerOf(socket.address);
    const nowhere = client.peerOf('udp://127.0.0.1:0');
    const unreachable = client.peerOf('udp://192.0.2.1:9');
    for (const [text, peer] of [
      ['one', to],
      ['lost', nowhere],
      ['lost too', unreachable],
      ['two', to],
      ['lost', nowhere],
    ] as const) {
      put(client, text, peer);
    }
    client.flush();
    await eventually(() => server.texts.length === 2);
    expect(server.texts).toEqual(['one', 'two']);
    // A socket of 127.0.0.1 has no way to another machine.
    expect(client.unsent).toBe(3);
    put(client, 'three', to);
    client.flush();
    await eventually(() => server.texts.length === 3);
    expect(client.unsent).toBe(3);
    put(client, 'lost alone', nowhere);
    client.flush();
    expect(client.unsent).toBe(4);
  });

  test('what became of an earlier datagram eats no later one', async () => {
    const server = new Recorder();
    const socket = await bind(server);
    const client = await bind(new Recorder());
    // The kernel tells such a socket in place of what it does next.
    expect(setSocketOption(client.fd, IP_RECVERR, 1, IPPROTO_IP)).toBe(true);
    const gone = await bind(new Recorder());
    const nobody = client.peerOf(gone.address);
    gone.close();
    await pause(5);
    const to = client.peerOf(socket.address);
    for (let i = 0; i < 5; i++) {
      put(client, 'to nobody', nobody);
      client.flush();
      put(client, `after ${i}`, to);
      put(client, `and ${i}`, to);
      client.flush();
      await eventually(() => server.texts.length === 2 * i + 2);
    }
    expect(server.texts.slice(0, 2)).toEqual(['after 0', 'and 0']);
    expect(client.unsent).toBe(0);
  });

  test('a socket of the other family is no peer, but IPv4 is one of IPv6', async () => {
    const four = await bind(new Recorder());
    expect(() => four.peerOf('udp://[::1]:7070')).toThrow(/127\.0\.0\.1/);
    const answers = new Recorder();
    const both = await bind(answers, { address: 'udp://[::]:0' }).catch(() => undefined);
    if (both === undefined) return;
    const server = await bind(new Recorder({ answers: true }));
    put(both, 'mapped', both.peerOf(server.address));
    both.flush();
    await eventually(() => answers.texts.length === 1);
  });

  test('nobody there is no error, though the network tells', async () => {
    const gone = await bind(new Recorder());
    const { address } = gone;
    gone.close();
    const answers = new Recorder();
    const client = await bind(answers, { network: polling });
    const server = await bind(new Recorder({ answers: true }));
    for (let i = 1; i <= 10; i++) {
      put(client, 'to nobody', client.peerOf(address));
      put(client, 'to somebody', client.peerOf(server.address));
      client.flush();
      await eventually(() => answers.texts.length === i);
    }
    expect(client.unsent).toBe(0);
  });

  test('a closed socket sends nothing, also when its descriptor is of another one', async () => {
    const server = new Recorder();
    const socket = await bind(server);
    const client = await bind(new Recorder());
    const to = client.peerOf(socket.address);
    put(client, 'committed', to);
    client.close();
    // Mostly gets the descriptor.
    const other = await bind(new Recorder());
    client.flush();
    put(client, 'later', to);
    client.flush();
    put(other, 'other', to);
    other.flush();
    await eventually(() => server.texts.length > 0);
    expect(server.texts).toEqual(['other']);
  });

  test('more than was reserved, and peers that are too short, are bugs', async () => {
    const client = await bind(new Recorder());
    expect(() => client.reserve(DATAGRAM_BYTES_MAX + 1)).toThrow('wrong size');
    client.reserve(8);
    expect(() => client.commit(16, client.peerOf(client.address), 0)).toThrow('more than was');
    expect(() => client.commit(8, new Uint8Array(PEER_BYTES), 8)).toThrow('short');
  });
});

describe('receiving', () => {
  test('what the kernel has no room for is counted', async () => {
    const server = new Recorder();
    const socket = await bind(server);
    expect(socket.receiveBytes).toBeGreaterThan(100_000);
    const client = await bind(new Recorder());
    const to = client.peerOf(socket.address);
    const count = Math.ceil((3 * socket.receiveBytes) / 8000);
    for (let i = 0; i < count; i++) put(client, new Uint8Array(8000), to);
    client.flush();
    expect(socket.dropped).toBeGreaterThan(0);
    await eventually(() => server.texts.length + socket.dropped + client.unsent === count);
    const { dropped } = socket;
    socket.close();
    expect(socket.dropped).toBe(dropped);
  });

  /** Two sockets of node:dgram, and how they send by turns; the text is what they sent. */
  async function twoForeign(to: DatagramSocket) {
    const heard: string[] = [];
    const senders = await Promise.all(
      ['a', 'b'].map(async (name) => {
        const socket = foreign();
        await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
        socket.on('message', (bytes) => heard.push(`${name} ${bytes[0]} ${bytes.length}`));
        return socket;
      }),
    );
    const send = async (lengths: readonly number[]): Promise<string[]> => {
      const sent = lengths.map(async (length, i) => {
        const bytes = Buffer.alloc(length, i);
        await new Promise((resolve) => {
          senders[i % 2]?.send(bytes, portOf(to), '127.0.0.1', resolve);
        });
      });
      await Promise.all(sent);
      const kept = lengths.map((length, i) => ({ length, text: `${'ab'[i % 2]} ${i} ${length}` }));
      return kept.filter(({ length }) => length <= DATAGRAM_BYTES_MAX).map(({ text }) => text);
    };
    const sorted = (): string[] => heard.splice(0).sort();
    return { heard, send, sorted };
  }

  const LENGTHS = [65_507, 10, 65_505, 20, 65_507, DATAGRAM_BYTES_MAX, 30, 65_506, 40];
  const MORE = Array.from({ length: 40 }, (_, i) => 100 + i);

  test('datagrams longer than any of ours are left out of their batch', async () => {
    const socket = await bind(new Recorder({ answers: true }));
    const { heard, send, sorted } = await twoForeign(socket);
    // The second time the first one of a batch is short, and the third all slots are in use.
    for (const lengths of [LENGTHS, LENGTHS.slice(1), MORE]) {
      const expected = await send(lengths);
      await eventually(() => heard.length >= expected.length);
      expect(sorted()).toEqual(expected.sort());
    }
  });

  test('also while the poller receives', async () => {
    const socket = await makeByHand(new Recorder({ answers: true }), (handle) => {
      handle.recvStop();
    });
    const { heard, send, sorted } = await twoForeign(socket);
    for (const lengths of [LENGTHS, LENGTHS.slice(1), MORE]) {
      const expected = await send(lengths);
      while (socket.poll());
      await eventually(() => heard.length >= expected.length);
      expect(sorted()).toEqual(expected.sort());
    }
  });
});

describe('where a socket shows no descriptor', () => {
  async function withoutDescriptor(handler: DatagramHandler): Promise<NodeDatagramSocket> {
    const made = await makeByHand(handler, (handle) => {
      Object.defineProperty(handle, 'fd', { value: -1 });
    });
    expect(made.fd).toBe(-1);
    return made;
  }

  test('datagrams go and come all the same, also to several peers in one flush', async () => {
    const answers = new Recorder();
    const client = await withoutDescriptor(answers);
    const servers = [
      await withoutDescriptor(new Recorder({ answers: true })),
      await bind(new Recorder({ answers: true })),
    ];
    client.expect(true);
    expect(client.hot).toBe(false);
    for (const length of [0, 5, 13, 20_000, DATAGRAM_BYTES_MAX]) {
      const before = answers.texts.length;
      for (const server of servers) {
        put(client, 'a'.repeat(length), client.peerOf(server.address));
      }
      client.flush();
      client.output.bytes.fill(0);
      await eventually(() => answers.texts.length === before + 2);
      expect(answers.texts.slice(before)).toEqual(['a'.repeat(length), 'a'.repeat(length)]);
    }
    expect(client.unsent).toBe(0);
    expect(client.dropped).toBe(0);
  });

  test('what cannot be sent is counted', async () => {
    const client = await withoutDescriptor(new Recorder());
    put(client, 'lost', client.peerOf('udp://127.0.0.1:0'));
    put(client, 'lost', client.peerOf('udp://192.0.2.1:9'));
    client.flush();
    await eventually(() => client.unsent === 2);
  });
});

for (const [name, network] of [
  ['a cold', cold],
  ['a hot', polling],
] as const) {
  test(`datagrams tell how long they lay at ${name} socket`, async () => {
    const ages: number[] = [];
    const server = await bind(
      { received: (_, { count, ages: all }) => void ages.push(...all.subarray(0, count)) },
      { network },
    );
    const client = await bind(new Recorder());
    const to = client.peerOf(server.address);
    const send = (): void => {
      put(client, 'word', to);
      client.flush();
    };
    server.expect(true);
    const start = performance.now();
    send();
    send();
    blockFor(20);
    const between = performance.now();
    send();
    blockFor(10);
    await eventually(() => ages.length === 3);
    const end = performance.now();
    const [first = 0, second = 0, third = 0] = ages;
    // Both clocks may be a little apart: one of them is adjusted.
    expect(first).toBeGreaterThan(29);
    expect(first).toBeLessThan(end - start + 1);
    expect(second).toBeLessThanOrEqual(first + 1);
    expect(second).toBeGreaterThan(29);
    expect(third).toBeGreaterThan(9);
    expect(third).toBeLessThan(end - between + 1);
  });
}
