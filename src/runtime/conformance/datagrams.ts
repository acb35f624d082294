/**
 * Conformance: datagrams. They may be lost, doubled and overtaken, so every case sends again until
 * it was heard.
 */

import {
  DATAGRAM_BATCH_MAX,
  DATAGRAM_BYTES_MAX,
  type DatagramBatch,
  type DatagramHandler,
  type DatagramSocket,
  NetworkError,
  PEER_BYTES,
} from '../network.js';
import type { Runtime } from '../runtime.js';
import {
  type Case,
  type ConformanceWorld,
  expectEqual,
  expectError,
  expectThat,
  sleepOn,
  until,
} from './check.js';

const SIZES = [0, 1, 8, 1_399, 9_000, 60_000, DATAGRAM_BYTES_MAX];
const HEARER: DatagramHandler = { received: () => {} };

/** A copy of one datagram of a batch, after everything that is said of batches was checked. */
interface Heard {
  readonly bytes: Uint8Array;
  readonly peer: Uint8Array;
}

function copyOf(batch: DatagramBatch, i: number): Heard {
  const start = batch.starts[i] as number;
  const length = batch.lengths[i] as number;
  expectEqual(start % 8, 0, 'where a datagram begins, modulo 8');
  expectThat(length >= 0 && length <= DATAGRAM_BYTES_MAX, 'a length is out of bounds');
  const age = batch.ages[i] as number;
  expectThat(age >= 0 && age < 60_000, 'how long a datagram lay with the system');
  const { bytes, view, words } = batch.input;
  if (length >= 4) {
    expectEqual(words[start >> 2], view.getInt32(start, true), 'a word, as two views show it');
  }
  return {
    bytes: new Uint8Array(bytes.subarray(start, start + length)),
    peer: batch.peers.slice(i * PEER_BYTES, (i + 1) * PEER_BYTES),
  };
}

function each(onDatagram: (one: Heard, socket: DatagramSocket) => void): DatagramHandler {
  return {
    received(socket, batch) {
      expectThat(batch.count >= 1 && batch.count <= DATAGRAM_BATCH_MAX, 'the size of a batch');
      for (let i = 0; i < batch.count; i++) onDatagram(copyOf(batch, i), socket);
    },
  };
}

/** Answers all of a batch with itself, in one flush. */
const ECHO: DatagramHandler = {
  received(socket, batch) {
    for (let i = 0; i < batch.count; i++) {
      const { bytes } = copyOf(batch, i);
      put(socket, bytes, batch.peers, i * PEER_BYTES);
    }
    socket.flush();
  },
};

function put(socket: DatagramSocket, bytes: Uint8Array, peers: Uint8Array, peerAt = 0): void {
  const at = socket.reserve(bytes.length);
  expectEqual(at % 8, 0, 'where a datagram is made, modulo 8');
  socket.output.bytes.set(bytes, at);
  socket.commit(bytes.length, peers, peerAt);
}

/** Two datagrams of one length are told apart by their seed. */
function pattern(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = seed + i * 3;
  return bytes;
}

function isPattern(bytes: Uint8Array, seed: number): boolean {
  return bytes.every((byte, i) => byte === ((seed + i * 3) & 255));
}

function hex(peer: Uint8Array): string {
  return [...peer].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

function bindAt(
  runtime: Runtime,
  address: string,
  handler: DatagramHandler,
): Promise<DatagramSocket> {
  return runtime.network.bind(address, handler);
}

/** A socket of `peer` and one of `runtime`. */
async function pair(
  world: ConformanceWorld,
  serving: DatagramHandler,
  asking: DatagramHandler,
): Promise<{ server: DatagramSocket; client: DatagramSocket; toServer: Uint8Array }> {
  const server = await bindAt(world.peer, world.address('udp'), serving);
  const client = await bindAt(world.runtime, world.address('udp', 'runtime'), asking);
  return { server, client, toServer: client.peerOf(server.address) };
}

/** That an answer comes when it is asked for often enough. */
async function expectAnswers(
  world: ConformanceWorld,
  client: DatagramSocket,
  toServer: Uint8Array,
  answered: () => boolean,
): Promise<void> {
  const ask = (): boolean => {
    put(client, pattern(24, 7), toServer);
    client.flush();
    return answered();
  };
  await until(world.runtime, ask, 'an answer');
}

const ONE_BY_ONE: readonly Case[] = [
  {
    name: 'datagrams of all sizes arrive whole, and are answered from within the call',
    async run(world) {
      const answered = new Set<number>();
      const onAnswer = each(({ bytes }) => {
        expectThat(isPattern(bytes, bytes.length & 255), 'an answer is damaged');
        answered.add(bytes.length);
      });
      const { server, client, toServer } = await pair(world, ECHO, onAnswer);
      for (const size of SIZES) {
        const sendAgain = (): boolean => {
          client.expect(true);
          put(client, pattern(size, size & 255), toServer);
          client.flush();
          // What was flushed is the caller's again at once.
          client.output.bytes.fill(0xff);
          return answered.has(size);
        };
        await until(world.runtime, sendAgain, `an answer to ${size} bytes`);
        client.expect(false);
      }
      expectEqual([...answered].sort(byNumber), SIZES, 'sizes answered');
      client.close();
      server.close();
    },
  },
  {
    name: 'nothing is received from within a call',
    async run(world) {
      let inside = false;
      let heard = 0;
      const onAnswer = each(() => {
        expectThat(!inside, 'received was called from within a call');
        heard++;
      });
      const { server, client, toServer } = await pair(world, ECHO, onAnswer);
      const ask = (): boolean => {
        inside = true;
        for (let i = 0; i < 8; i++) put(client, pattern(24, i), toServer);
        client.expect(true);
        client.flush();
        client.expect(false);
        inside = false;
        return heard > 20;
      };
      await until(world.runtime, ask, 'answers');
      inside = true;
      client.close();
      inside = false;
      server.close();
    },
  },
  {
    name: 'what is written after the commit of fewer bytes is not sent',
    async run(world) {
      const lengths = new Set<number>();
      const onAnswer = each(({ bytes }) => {
        lengths.add(bytes.length);
        expectThat(isPattern(bytes, 3), 'an answer is damaged');
      });
      const { server, client, toServer } = await pair(world, ECHO, onAnswer);
      const ask = (): boolean => {
        // Reserved and given up: the next one takes the place.
        client.reserve(512);
        for (const length of [13, 5]) {
          const at = client.reserve(100);
          client.output.bytes.set(pattern(100, 3), at);
          client.commit(length, toServer, 0);
        }
        client.flush();
        client.flush();
        return lengths.size === 2;
      };
      await until(world.runtime, ask, 'answers');
      expectEqual([...lengths].sort(byNumber), [5, 13], 'lengths answered');
      client.close();
      server.close();
    },
  },
];

const IN_BATCHES: readonly Case[] = [
  {
    name: 'batches have several senders, each told by its peer, which can be sent to later',
    async run(world) {
      const senders = new Map<number, string>();
      const peers = new Map<number, Uint8Array>();
      const onDatagram = each(({ bytes, peer }) => {
        const name = bytes[0] as number;
        expectEqual(hex(peer), senders.get(name) ?? hex(peer), `the peer of sender ${name}`);
        senders.set(name, hex(peer));
        peers.set(name, peer);
      });
      const server = await bindAt(world.peer, world.address('udp'), onDatagram);
      const called = new Set<number>();
      const clients: DatagramSocket[] = [];
      for (let name = 0; name < 5; name++) {
        const onCall = each(({ bytes }) => {
          expectEqual(bytes[0], name, 'whom a datagram was sent to');
          called.add(name);
        });
        const address = world.address('udp', 'runtime');
        clients.push(await bindAt(world.runtime, address, onCall));
      }
      const sendAgain = (): boolean => {
        for (const [name, client] of clients.entries()) {
          const toServer = client.peerOf(server.address);
          for (let i = 0; i < 12; i++) put(client, Uint8Array.of(name, i), toServer);
          client.flush();
        }
        return senders.size === clients.length;
      };
      await until(world.runtime, sendAgain, 'datagrams of all senders');
      await sleepOn(world.runtime, 20);
      expectEqual(new Set(senders.values()).size, clients.length, 'different peers');
      // Several receivers in one flush, by peers that were kept in one array.
      const kept = new Uint8Array(clients.length * PEER_BYTES);
      for (const [name, peer] of peers) kept.set(peer, name * PEER_BYTES);
      const callAgain = (): boolean => {
        for (const name of clients.keys()) {
          put(server, Uint8Array.of(name), kept, name * PEER_BYTES);
        }
        server.flush();
        return called.size === clients.length;
      };
      await until(world.runtime, callAgain, 'a call to every sender');
      for (const client of clients) client.close();
      server.close();
    },
  },
  {
    name: 'a socket is seen as the peer of its address, by all others',
    async run(world) {
      const seen = new Set<string>();
      const note = each(({ peer }) => seen.add(hex(peer)));
      const { server, client, toServer } = await pair(world, note, HEARER);
      const other = await bindAt(world.peer, world.address('udp'), note);
      const toOther = client.peerOf(other.address);
      expectThat(hex(toServer) !== hex(toOther), 'two addresses are one peer');
      expectEqual(hex(client.peerOf(server.address)), hex(toServer), 'a peer, asked for again');
      let sent = 0;
      const sendAgain = (): boolean => {
        put(client, Uint8Array.of(1), toServer);
        put(client, Uint8Array.of(2), toOther);
        client.flush();
        return ++sent >= 20 && seen.size > 0;
      };
      await until(world.runtime, sendAgain, 'datagrams');
      expectEqual([...seen], [hex(server.peerOf(client.address))], 'peers seen');
      for (const socket of [server, other, client]) socket.close();
    },
  },
  {
    name: 'more than the output holds is sent without being refused',
    async run(world) {
      const COUNT = 400;
      const heard = new Set<number>();
      const onDatagram = each(({ bytes }) => {
        const name = (bytes[0] as number) | ((bytes[1] as number) << 8);
        expectThat(isPattern(bytes.subarray(2), name), 'a datagram is damaged');
        heard.add(name);
      });
      const { server, client, toServer } = await pair(world, onDatagram, HEARER);
      const sendAgain = (): boolean => {
        for (let name = 0; name < COUNT; name++) {
          if (heard.has(name)) continue;
          const bytes = new Uint8Array(1_000);
          bytes.set([name & 255, name >> 8]);
          bytes.set(pattern(998, name), 2);
          put(client, bytes, toServer);
        }
        client.flush();
        return heard.size === COUNT;
      };
      await until(world.runtime, sendAgain, `${COUNT} datagrams`);
      client.close();
      server.close();
    },
  },
  {
    name: 'sockets may take turns before they flush: each sends its own',
    async run(world) {
      const seen = new Map<number, string>();
      const onDatagram = each(({ bytes, peer }) => {
        expectThat(isPattern(bytes.subarray(1), bytes[0] as number), 'a datagram is damaged');
        seen.set(bytes[0] as number, hex(peer));
      });
      const { server, client, toServer } = await pair(world, onDatagram, HEARER);
      const other = await bindAt(world.runtime, world.address('udp', 'runtime'), HEARER);
      const sockets = [client, other, client, other];
      const sendAgain = (): boolean => {
        sockets.forEach((socket, name) => {
          const bytes = new Uint8Array(201);
          bytes[0] = name;
          bytes.set(pattern(200, name), 1);
          put(socket, bytes, toServer);
        });
        other.flush();
        client.flush();
        return seen.size === sockets.length;
      };
      await until(world.runtime, sendAgain, 'datagrams of both');
      const expected = sockets.map((socket) => hex(server.peerOf(socket.address)));
      expectEqual(
        [0, 1, 2, 3].map((name) => seen.get(name)),
        expected,
        'who sent each',
      );
      for (const socket of [server, client, other]) socket.close();
    },
  },
  {
    name: 'too many for the receiver are lost, and break nothing',
    async run(world) {
      let answered = false;
      const serve: DatagramHandler = {
        received(socket, batch) {
          for (let i = 0; i < batch.count; i++) {
            const { bytes } = copyOf(batch, i);
            expectThat(isPattern(bytes, bytes[0] as number), 'a datagram is damaged');
          }
          ECHO.received(socket, batch);
        },
      };
      const onAnswer = each(({ bytes }) => {
        if (bytes.length === 24) answered = true;
      });
      const { server, client, toServer } = await pair(world, serve, onAnswer);
      for (const socket of [server, client]) {
        expectThat(socket.receiveBytes > 0, 'a socket without a receive buffer');
        expectEqual([socket.unsent, socket.dropped], [0, 0], 'losses of a new socket');
      }
      const bytes = pattern(8_000, 5);
      for (let i = 0; i < 2_000; i++) put(client, bytes, toServer);
      client.flush();
      await expectAnswers(world, client, toServer, () => answered);
      client.close();
      server.close();
    },
  },
];

const ENDS: readonly Case[] = [
  {
    name: 'a closed socket neither sends nor hears, and its address is free again',
    async run(world) {
      let heard = 0;
      const { server, client, toServer } = await pair(
        world,
        each(() => heard++),
        HEARER,
      );
      const bind = (): Promise<DatagramSocket> => bindAt(world.peer, server.address, HEARER);
      await expectError(bind, 'NetworkError', 'in-use', 'binding twice');
      await expectAnswers(world, client, toServer, () => heard > 0);
      // What was doubled or delayed has come after that.
      await sleepOn(world.runtime, 20);
      put(client, Uint8Array.of(2), toServer);
      client.flush();
      server.close();
      server.close();
      const before = heard;
      put(client, Uint8Array.of(3), toServer);
      client.close();
      client.flush();
      // No use, and no harm.
      for (let i = 0; i < 200; i++) put(client, pattern(9_000, i), toServer);
      client.flush();
      client.expect(true);
      await sleepOn(world.runtime, 20);
      expectEqual(heard, before, 'datagrams heard by a closed socket');
      const onDatagram = each(({ bytes }) => {
        // The one that was flushed may have been long on its way.
        expectEqual([...bytes], [2], 'what a closed socket has sent');
      });
      const again = await bindAt(world.peer, server.address, onDatagram);
      expectEqual(again.address, server.address, 'the address of the next one');
      await sleepOn(world.runtime, 20);
      again.close();
    },
  },
  {
    name: 'a socket may be closed by its own handler',
    async run(world) {
      let calls = 0;
      const closeAtOnce: DatagramHandler = {
        received(socket) {
          calls++;
          socket.close();
        },
      };
      const { client, toServer } = await pair(world, closeAtOnce, HEARER);
      const send = (): boolean => {
        for (let i = 0; i < 50; i++) put(client, pattern(64, i), toServer);
        client.flush();
        return calls > 0;
      };
      await until(world.runtime, send, 'the call');
      send();
      await sleepOn(world.runtime, 20);
      expectEqual(calls, 1, 'calls of a handler that closes');
      client.close();
    },
  },
  {
    name: 'sending to nobody is no news, and others are sent to in the same flush',
    async run(world) {
      let answered = false;
      const onAnswer = each(() => (answered = true));
      const { server, client, toServer } = await pair(world, ECHO, onAnswer);
      const gone = await bindAt(world.peer, world.address('udp'), HEARER);
      const nobody = client.peerOf(gone.address);
      gone.close();
      const ask = (): boolean => {
        put(client, Uint8Array.of(1), nobody);
        put(client, Uint8Array.of(2), toServer);
        put(client, Uint8Array.of(3), nobody);
        client.flush();
        return answered;
      };
      await until(world.runtime, ask, 'an answer');
      answered = false;
      await until(world.runtime, ask, 'another answer');
      client.close();
      server.close();
    },
  },
  {
    name: 'what is no address to send to is refused',
    async run(world) {
      const socket = await bindAt(world.runtime, world.address('udp', 'runtime'), HEARER);
      const wrong = [
        'nonsense',
        'tcp://127.0.0.1:7070',
        'unix:///tmp/no.socket',
        'udp://127.0.0.1',
        'udp://127.0.0.1:99999',
        'udp://127.0.0:7070',
        'udp://a.name:7070',
        'udp://[2001:db8::1]:7070',
      ];
      for (const address of wrong) {
        await expectError(() => socket.peerOf(address), 'NetworkError', 'invalid', address);
      }
      const local = hex(socket.peerOf('udp://localhost:7070'));
      expectEqual(local, hex(socket.peerOf('udp://127.0.0.1:7070')), 'localhost');
      expectEqual(socket.peerOf('udp://127.0.0.1:7070').length, PEER_BYTES, 'bytes of a peer');
      socket.close();
    },
  },
  {
    name: 'hosts are looked up, and their addresses can be sent to',
    async run({ runtime }) {
      const { network } = runtime;
      for (const address of ['udp://127.0.0.1:7070', 'tcp://[2001:db8::1]:7070']) {
        expectEqual(await network.lookUp(address), [address], 'the address of a number');
      }
      const local = await network.lookUp('udp://localhost:7070');
      expectThat(local.includes('udp://127.0.0.1:7070'), 'localhost has no address of IPv4');
      const socket = await bindAt(runtime, 'udp://127.0.0.1:0', HEARER);
      const peer = hex(socket.peerOf('udp://127.0.0.1:7070'));
      expectEqual(peer, hex(socket.peerOf('udp://localhost:7070')), 'localhost');
      socket.close();
      for (const address of ['nonsense', 'unix:///tmp/no.socket']) {
        await expectError(() => network.lookUp(address), 'NetworkError', 'invalid', address);
      }
    },
  },
  {
    name: 'a datagram that is too long for the way is unsent, and others are sent all the same',
    async run(world) {
      // Within a machine packets have 64 KiB, and the headers of IPv6 are longer.
      const lengths = new Set<number>();
      const note = each(({ bytes }) => lengths.add(bytes.length));
      const server = await bindOrNot(world.neighbour, 'udp://[::1]:0', note);
      if (server === undefined) return;
      const client = await bindAt(world.runtime, 'udp://[::1]:0', HEARER);
      const toServer = client.peerOf(server.address);
      const send = (...sizes: readonly number[]): void => {
        for (const size of sizes) put(client, pattern(size, 1), toServer);
        client.flush();
      };
      send(DATAGRAM_BYTES_MAX);
      expectEqual(client.unsent, 1, 'unsent ones');
      send(1, DATAGRAM_BYTES_MAX, 2);
      expectEqual(client.unsent, 2, 'unsent ones');
      const sendAgain = (): boolean => {
        send(1, DATAGRAM_BYTES_MAX, 2, 60_000);
        return lengths.size === 3;
      };
      await until(world.runtime, sendAgain, 'what is not too long');
      expectEqual([...lengths].sort(byNumber), [1, 2, 60_000], 'lengths that arrived');
      client.close();
      server.close();
    },
  },
  {
    name: 'datagrams over IPv6, where there is one',
    async run(world) {
      const server = await bindOrNot(world.neighbour, 'udp://[::1]:0', ECHO);
      if (server === undefined) return;
      const seen = new Set<string>();
      const onAnswer = each(({ bytes, peer }) => {
        expectThat(isPattern(bytes, 7), 'an answer is damaged');
        seen.add(hex(peer));
      });
      const client = await bindAt(world.runtime, 'udp://[::1]:0', onAnswer);
      const toServer = client.peerOf(server.address);
      await expectAnswers(world, client, toServer, () => seen.size > 0);
      expectEqual([...seen], [hex(toServer)], 'who answered');
      client.close();
      server.close();
    },
  },
];

/** Undefined where the system has no such addresses. */
async function bindOrNot(
  runtime: Runtime,
  address: string,
  handler: DatagramHandler,
): Promise<DatagramSocket | undefined> {
  try {
    return await bindAt(runtime, address, handler);
  } catch (error) {
    expectThat(error instanceof NetworkError && error.kind !== 'in-use', String(error));
    return undefined;
  }
}

export const DATAGRAM_CASES: readonly Case[] = [...ONE_BY_ONE, ...IN_BATCHES, ...ENDS];

function byNumber(a: number, b: number): number {
  return a - b;
}
