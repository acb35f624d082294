// The fault proxy itself: what it says it has done is what an echo behind it saw.
import { spawn } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { afterAll, afterEach, expect, test } from 'vitest';
import { compiledSupport, removeCompiledSupport } from '../support/compile-support.js';
import { isAlive, until } from '../support/rack.js';
import { type FaultProxy, type ProxyOptions, startFaultProxy } from '../support/fault-proxy.js';

const NODE = '127.0.0.1';
const PROXY = '127.0.0.3';
const WITHIN_MS = 20_000;
const proxies: FaultProxy[] = [];
const sockets: Socket[] = [];

afterEach(async () => {
  for (const proxy of proxies.splice(0)) await proxy.stop();
  for (const socket of sockets.splice(0)) socket.close();
});

afterAll(removeCompiledSupport);

async function bound(host: string): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 * 1024 });
  sockets.push(socket);
  await new Promise<void>((resolve) => socket.bind(0, host, resolve));
  return socket;
}

/** What each datagram begins with: its number; the rest says it again, so that damage is seen. */
function numbered(number: number, bytes: number): Buffer {
  const datagram = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 4) datagram.writeUInt32LE(number, at);
  return datagram;
}

function numberOf(datagram: Buffer): number {
  return datagram.readUInt32LE(0);
}

function isWhole(datagram: Buffer): boolean {
  return datagram.equals(numbered(numberOf(datagram), datagram.length));
}

class Echo {
  readonly node: Socket;
  readonly proxy: FaultProxy;
  readonly port: number;
  /** As the node saw them. */
  readonly arrived: Buffer[] = [];
  readonly senders = new Set<number>();

  constructor(node: Socket, proxy: FaultProxy) {
    this.node = node;
    this.proxy = proxy;
    this.port = node.address().port;
    node.on('message', (bytes, { port, address }) => {
      this.arrived.push(bytes);
      this.senders.add(port);
      node.send(bytes, port, address);
    });
  }
}

async function echo(options: Partial<ProxyOptions> = {}): Promise<Echo> {
  const node = await bound(NODE);
  const { port } = node.address();
  const targets = [{ listen: `${PROXY}:${port}`, to: `${NODE}:${port}` }];
  const proxy = await startFaultProxy({ targets, seed: 7, ...options });
  proxies.push(proxy);
  return new Echo(node, proxy);
}

interface Asker {
  readonly socket: Socket;
  readonly answers: Buffer[];
}

async function asker(): Promise<Asker> {
  const socket = await bound('127.0.0.1');
  const answers: Buffer[] = [];
  socket.on('message', (bytes) => answers.push(bytes));
  return { socket, answers };
}

async function ask(from: Asker, port: number, count: number, bytes = 64): Promise<void> {
  for (let number = 0; number < count; number++) {
    from.socket.send(numbered(number, bytes), port, PROXY);
    // The proxy and the echo are to keep up.
    if (number % 50 === 49) await pause(2);
  }
}

/** The proxy has seen so many, and sent those that it holds. */
async function carried({ proxy }: Echo, count: number): Promise<void> {
  await until(WITHIN_MS, async () => {
    return (await proxy.stats()).toNode.arrived >= count ? true : undefined;
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Within five deviations of what a rate gives. */
function expectRate(met: number, of: number, rate: number): void {
  const slack = 5 * Math.sqrt(of * rate * (1 - rate));
  expect(met).toBeGreaterThan(of * rate - slack);
  expect(met).toBeLessThan(of * rate + slack);
}

test('without faults everything goes there and back, from a sender each', async () => {
  const { senders, port, proxy } = await echo();
  const askers = [await asker(), await asker(), await asker()];
  for (const one of askers) await ask(one, port, 100);
  await until(WITHIN_MS, () =>
    askers.every(({ answers }) => answers.length === 100) ? 1 : undefined,
  );
  expect(senders.size).toBe(3);
  const all = Array.from({ length: 100 }, (_, i) => i);
  for (const { answers } of askers) expect(answers.map(numberOf)).toEqual(all);
  const { clients, missed } = await proxy.stats();
  expect(missed).toBe(0);
  expect(clients.map(({ toClient }) => toClient)).toEqual(
    askers.map(() => ({ datagrams: 100, bytes: 6400 })),
  );
});

test('loss and duplication meet as many as their rates say', async () => {
  const one = await echo({ toNode: { loss: 0.3, duplication: 0.1 } });
  await ask(await asker(), one.port, 2000);
  await carried(one, 2000);
  const { toNode, toClient, missed } = await one.proxy.stats();
  expect(toNode.arrived).toBe(2000);
  expectRate(toNode.lost, 2000, 0.3);
  expectRate(toNode.duplicated, 2000 - toNode.lost, 0.1);
  const left = 2000 - toNode.lost + toNode.duplicated;
  await until(WITHIN_MS, () => (one.arrived.length >= left ? true : undefined));
  await pause(50);
  expect(one.arrived).toHaveLength(left);
  expect([toClient.lost, missed]).toEqual([0, 0]);
});

test('corruption changes some, and those only', async () => {
  const one = await echo({ toNode: { corruption: 0.3 } });
  await ask(await asker(), one.port, 1000);
  await until(WITHIN_MS, () => (one.arrived.length === 1000 ? true : undefined));
  const { corrupted } = (await one.proxy.stats()).toNode;
  expectRate(corrupted, 1000, 0.3);
  const whole = one.arrived.filter(isWhole).length;
  // Two changes of one datagram may take each other back.
  expect(whole - (1000 - corrupted)).toBeGreaterThanOrEqual(0);
  expect(whole - (1000 - corrupted)).toBeLessThan(5);
});

test('reordered and delayed ones come later, and all come', async () => {
  const faults = { reordering: 0.1, delay: 0.1, delayMs: 100 };
  const one = await echo({ toNode: faults });
  await ask(await asker(), one.port, 1000);
  await until(WITHIN_MS, () => (one.arrived.length === 1000 ? true : undefined));
  const { reordered, delayed } = (await one.proxy.stats()).toNode;
  expectRate(delayed, 1000, 0.1);
  expectRate(reordered, 1000 - delayed, 0.1);
  const numbers = one.arrived.map(numberOf);
  expect([...numbers].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
  let highest = -1;
  const overtaken = numbers.filter((number) => number < (highest = Math.max(highest, number)));
  expect(overtaken.length).toBeGreaterThan(reordered / 2);
});

test('a way can be cut alone, and opened again', async () => {
  const one = await echo();
  const { arrived, port, proxy } = one;
  const from = await asker();
  await proxy.set('toClient', { isCut: true });
  await ask(from, port, 10);
  await until(WITHIN_MS, async () => ((await proxy.stats()).toClient.cut === 10 ? 1 : undefined));
  expect([arrived.length, from.answers.length]).toEqual([10, 0]);
  await proxy.set('toClient', { isCut: false });
  await proxy.set('toNode', { isCut: true });
  await ask(from, port, 10);
  await until(WITHIN_MS, async () => ((await proxy.stats()).toNode.cut === 10 ? 1 : undefined));
  expect([arrived.length, from.answers.length]).toEqual([10, 0]);
  await proxy.set('toNode', { isCut: false });
  await ask(from, port, 10);
  await until(WITHIN_MS, () => (from.answers.length === 10 ? true : undefined));
  expect(arrived).toHaveLength(20);
});

test('kept datagrams are sent again, by themselves or when it is asked for', async () => {
  const { arrived, port, proxy } = await echo({ toNode: { keeping: 1, replayMs: 200 } });
  const from = await asker();
  await ask(from, port, 100);
  await until(WITHIN_MS, () => (arrived.length === 200 ? true : undefined));
  await proxy.set('toNode', { replayMs: 0 });
  await ask(from, port, 100);
  await until(WITHIN_MS, () => (arrived.length === 300 ? true : undefined));
  expect(await proxy.replay('toNode', 60)).toBe(60);
  await until(WITHIN_MS, () => (arrived.length === 360 ? true : undefined));
  expect(arrived.slice(300)).toEqual(arrived.slice(200, 260));
  expect((await proxy.stats()).toNode).toMatchObject({ kept: 200, replayed: 160 });
});

test('longer ones than a path carries are lost', async () => {
  const one = await echo({ toNode: { bytesMax: 1000 } });
  const from = await asker();
  await ask(from, one.port, 5, 1004);
  await ask(from, one.port, 5, 1000);
  await until(WITHIN_MS, () => (one.arrived.length === 5 ? true : undefined));
  expect(one.arrived.map((bytes) => bytes.length)).toEqual([1000, 1000, 1000, 1000, 1000]);
  expect((await one.proxy.stats()).toNode.tooLong).toBe(5);
});

test('a narrow pipe carries what it says, and its queue is bounded', async () => {
  const pipeToNode = { bytesPerSecond: 10_000, queueBytesMax: 10_280 };
  const { arrived, port, proxy } = await echo({ pipeToNode });
  const from = await asker();
  const began = performance.now();
  // 10 of 1,028 bytes fill the queue, and it takes a second to empty it.
  for (let i = 0; i < 30; i++) from.socket.send(numbered(i, 1000), port, PROXY);
  await until(WITHIN_MS, () => (arrived.length >= 10 ? true : undefined), 1);
  expect(performance.now() - began).toBeGreaterThan(1000);
  await until(WITHIN_MS, async () => {
    return (await proxy.stats()).pipeToNode?.queueBytes === 0 ? true : undefined;
  });
  const { pipeToNode: pipe } = await proxy.stats();
  expect(pipe?.queueBytesMost).toBeLessThanOrEqual(10_280);
  expect(pipe?.waitMsMost).toBeGreaterThan(500);
  expect((pipe?.dropped ?? 0) + (pipe?.datagrams ?? 0)).toBe(30);
  expect(pipe?.dropped).toBeGreaterThan(0);
});

test('streams go through as they are', async () => {
  const { port, proxy } = await echo();
  const server = createServer((socket) => socket.pipe(socket));
  await new Promise<void>((resolve) => server.listen(port, NODE, resolve));
  const client = connect(port, PROXY);
  const sent = Buffer.alloc(1_000_000, 'stream');
  const back: Buffer[] = [];
  client.on('data', (bytes: Buffer) => back.push(bytes));
  client.end(sent);
  await new Promise((resolve) => client.once('close', resolve));
  server.close();
  expect(Buffer.concat(back).equals(sent)).toBe(true);
  expect((await proxy.stats()).streams).toBe(1);
});

test('it ends with who started it, also when that one is killed', async () => {
  const module = compiledSupport('fault-proxy.js');
  const options = { targets: [{ listen: `${PROXY}:0`, to: `${NODE}:9` }], seed: 1 };
  const program = `const { startFaultProxy } = await import('${module}');
    console.log((await startFaultProxy(${JSON.stringify(options)})).pid);`;
  const words = ['--input-type=module', '-e', program];
  const parent = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [text] = (await once(parent.stdout, 'data')) as [Buffer];
  const pid = Number(text.toString());
  expect(isAlive(pid)).toBe(true);
  parent.kill('SIGKILL');
  await until(WITHIN_MS, () => (isAlive(pid) ? undefined : true));
});
