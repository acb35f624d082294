import { afterEach, expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import { type DatagramBatch, type DatagramSocket, NetworkError } from '../../runtime/network.js';
import { createRuntime } from '../../runtime/node/create-runtime.js';
import { createEndpoint, type Endpoint } from '../endpoint.js';
import { FakeMemory } from '../testing/fake-memory.js';
import {
  addPart,
  type AskedPart,
  helloPart,
  type Reply,
  replyOf,
  ServerRig,
} from './testing/server-rig.js';

const runtime = createRuntime();
const endpoints: Endpoint[] = [];
const sockets: DatagramSocket[] = [];

afterEach(async () => {
  for (const endpoint of endpoints.splice(0)) await endpoint.close();
  for (const socket of sockets.splice(0)) socket.close();
});

function endpointWith(memory: FakeMemory): Endpoint {
  const endpoint = createEndpoint(runtime, { memoryId: 4321 });
  endpoint.serveData(memory);
  endpoints.push(endpoint);
  return endpoint;
}

/** Asks over the loopback device, again and again until it is answered. */
class Asker {
  readonly rig = new ServerRig();
  socket!: DatagramSocket;
  #reply: Reply | undefined;

  async open(): Promise<this> {
    const received = (_socket: DatagramSocket, batch: DatagramBatch) => {
      for (let i = 0; i < batch.count; i++) {
        const start = batch.starts[i] ?? 0;
        const end = start + (batch.lengths[i] ?? 0);
        this.#reply = replyOf(Uint8Array.from(batch.input.bytes.subarray(start, end)));
      }
    };
    this.socket = await runtime.network.bind('udp://127.0.0.1:0', { received });
    sockets.push(this.socket);
    return this;
  }

  async ask(address: string, ...parts: AskedPart[]): Promise<Reply> {
    this.#reply = undefined;
    for (let attempt = 0; attempt < 500; attempt++) {
      const bytes = this.rig.request(...parts);
      const at = this.socket.reserve(bytes.length);
      this.socket.output.bytes.set(bytes, at);
      this.socket.commit(bytes.length, this.socket.peerOf(address), 0);
      this.socket.flush();
      for (let i = 0; i < 20; i++) {
        await new Promise((resolve) => runtime.timers.after(1, () => resolve(undefined)));
        const reply = this.#reply as Reply | undefined;
        if (reply?.number === this.rig.number) return reply;
      }
    }
    throw new Error('nobody answers');
  }

  /** Learns what stands in the headers of requests, and the node's clock. */
  async greet(address: string): Promise<number> {
    const reply = await this.ask(address, helloPart(1));
    this.rig.learn(reply);
    return reply.clock;
  }
}

test('an endpoint serves datagrams with the memory that it serves to streams', async () => {
  const memory = new FakeMemory(4096);
  const endpoint = endpointWith(memory);
  const { address } = await endpoint.listenDatagrams('udp://127.0.0.1:0');
  const asker = await new Asker().open();
  const clock = await asker.greet(address);
  expect(asker.rig.memoryId).toBe(4321);
  const part = { ...addPart(1, 0, 1), deadline: clock + 900 };
  const first = await asker.ask(address, part);
  expect(first.parts[0]).toMatchObject({ status: Status.Ok, flags: 0, id: 1 });
  const again = await asker.ask(address, { ...part, attempt: 1 });
  expect(again.parts[0]).toMatchObject({ status: Status.Ok, flags: 0, attempt: 1 });
  expect(memory.view.getUint32(0, true)).toBe(1);
  expect(endpoint.datagrams).toMatchObject({ partsExecuted: 1, recordRows: 1 });
  expect(endpoint.datagrams.datagramsReceived).toBeGreaterThanOrEqual(3);
});

test('two addresses of one endpoint remember together', async () => {
  const memory = new FakeMemory(4096);
  const endpoint = endpointWith(memory);
  const one = await endpoint.listenDatagrams('udp://127.0.0.1:0');
  const other = await endpoint.listenDatagrams('udp://127.0.0.1:0');
  expect(other.address).not.toBe(one.address);
  const asker = await new Asker().open();
  const part = { ...addPart(1, 0, 1), deadline: (await asker.greet(one.address)) + 900 };
  await asker.ask(one.address, part);
  const again = await asker.ask(other.address, { ...part, attempt: 1 });
  expect(again.parts[0]).toMatchObject({ status: Status.Ok, flags: 0 });
  expect(memory.view.getUint32(0, true)).toBe(1);
});

test('an address that is taken is refused, and one that was closed is free again', async () => {
  const endpoint = endpointWith(new FakeMemory(64));
  const listener = await endpoint.listenDatagrams('udp://127.0.0.1:0');
  const other = endpointWith(new FakeMemory(64));
  await expect(other.listenDatagrams(listener.address)).rejects.toBeInstanceOf(NetworkError);
  await listener.close();
  const next = await other.listenDatagrams(listener.address);
  expect(next.address).toBe(listener.address);
  await other.close();
  const last = await endpoint.listenDatagrams(listener.address);
  expect(last.address).toBe(listener.address);
});
