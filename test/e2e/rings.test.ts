// Connections of clients to nodes of their machine move to rings by themselves, and back.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect, MemrackError, type Space } from '../../src/apps/library.js';
import { Status } from '../../src/base/status.js';
import { createEndpoint, type Endpoint } from '../../src/fabric/endpoint.js';
import { createRuntime } from '../../src/runtime/node/create-runtime.js';
import { MessageType } from '../../src/wire/messages.js';
import { ROOT } from '../support/cli.js';
import { startRack, type TestRack, until } from '../support/rack.js';

const PAGE = 65536;
const runtime = createRuntime({ logLevel: 'error' });
const folder = mkdtempSync(join(tmpdir(), 'memrack-rings-'));
const before = process.env['XDG_RUNTIME_DIR'];
let rack: TestRack;
let endpoint: Endpoint;

beforeAll(async () => {
  process.env['XDG_RUNTIME_DIR'] = folder;
  rack = await startRack({ nodes: 1 });
  endpoint = createEndpoint(runtime, {});
});

afterAll(async () => {
  await endpoint?.close();
  await rack?.stop();
  if (before === undefined) delete process.env['XDG_RUNTIME_DIR'];
  else process.env['XDG_RUNTIME_DIR'] = before;
  rmSync(folder, { recursive: true, force: true });
});

async function theNode() {
  const found = (await rack.nodes()).find(({ kind }) => kind !== 'host');
  if (found === undefined) throw new Error('no node');
  return found;
}

/** Sessions over rings that the node's process has had. */
async function overRings(): Promise<number> {
  const { address } = await theNode();
  const reply = await endpoint.peer(address).call(MessageType.Counters, {}, 5_000);
  if (reply.status !== Status.Ok) throw new Error('no counters');
  const { fabric } = JSON.parse(reply.json) as { fabric: { sessionsOverRings: number } };
  return fabric.sessionsOverRings;
}

function sockets(): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ring'),
  );
}

function descriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** Pages that come and go; each is written first by a message. */
async function work(space: Space, rounds: number): Promise<void> {
  for (let round = 1; round <= rounds; round++) {
    const at = await space.alloc(PAGE);
    await space.write(at, new Uint8Array(PAGE).fill(round));
    const back = await space.read(at, PAGE);
    expect(back.every((byte) => byte === round)).toBe(true);
    await space.free(at);
  }
}

test('a client moves to a ring, and one that was told to use tcp stays there', async () => {
  const had = await overRings();
  const tcp = await connect(rack.url, { link: 'tcp' });
  await work(await tcp.space('rings', { create: true }), 20);
  expect(await overRings()).toBe(had);
  const client = await connect(rack.url);
  await work(await client.space('rings'), 20);
  await until(10_000, async () => ((await overRings()) === had + 1 ? true : undefined));
  await work(await client.space('rings'), 20);
  await client.close();
  await tcp.close();
}, 60_000);

test('a node that is killed under it comes back, and so does the ring', async () => {
  const [socket, ...others] = sockets();
  expect(others).toEqual([]);
  const client = await connect(rack.url);
  const space = await client.space('rings', { create: true });
  await work(space, 5);
  for (let kill = 0; kill < 3; kill++) {
    const { pid } = await theNode();
    let unknown = 0;
    const working = work(space, 200).catch((error: unknown) => {
      // What was under way at that moment may not be known.
      if (!(error instanceof MemrackError) || error.code !== 'OutcomeUnknown') throw error;
      unknown++;
    });
    setTimeout(() => process.kill(pid, 'SIGKILL'), 20);
    await working;
    await until(20_000, async () => ((await theNode()).pid !== pid ? true : undefined));
    expect(unknown).toBeLessThan(2);
    await work(space, 5);
    await until(10_000, async () => ((await overRings()) >= 1 ? true : undefined));
    await work(space, 5);
    expect(sockets()).toEqual([socket]);
  }
  await client.close();
}, 120_000);

test('a client that is killed or closes leaves no descriptor at the node', async () => {
  const { pid } = await theNode();
  const had = await overRings();
  const plain = descriptors(pid);
  const own = descriptors(process.pid);
  const client = await connect(rack.url);
  await work(await client.space('rings', { create: true }), 5);
  const children: ChildProcess[] = [];
  for (let i = 0; i < 3; i++) {
    const script = join(ROOT, 'test/support/lock-client.mjs');
    const at = await (await client.space('rings')).alloc(PAGE);
    const args = [script, rack.url, 'rings', String(at), 'Infinity'];
    children.push(
      spawn(process.execPath, args, { cwd: ROOT, stdio: ['pipe', 'ignore', 'inherit'] }),
    );
  }
  await until(20_000, async () => ((await overRings()) >= had + 4 ? true : undefined));
  children[0]?.kill('SIGSTOP');
  await work(await client.space('rings'), 20);
  for (const child of children) child.kill('SIGKILL');
  await client.close();
  await until(20_000, () => (descriptors(pid) <= plain ? true : undefined));
  await until(20_000, () => (descriptors(process.pid) <= own ? true : undefined));
}, 60_000);

test('the socket that a killed node leaves is removed by the next that starts', async () => {
  const left = sockets();
  expect(left).toHaveLength(1);
  // Without data it ends by force.
  await rack.stop();
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  rack = await startRack({ nodes: 1 });
  const now = sockets();
  expect(now).toHaveLength(1);
  expect(now).not.toEqual(left);
}, 60_000);
