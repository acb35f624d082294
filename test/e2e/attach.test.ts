// Attaching to a node of real processes: what is opened, what outlives the node, what ends a slot.
import { spawn } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Status } from '../../src/base/status.js';
import { memoryFileName } from '../../src/disk/memory-names.js';
import { slotFileBytes } from '../../src/disk/slots.js';
import { TableFile } from '../../src/disk/table-file.js';
import { createEndpoint, type Endpoint } from '../../src/fabric/endpoint.js';
import { createRuntime } from '../../src/runtime/node/create-runtime.js';
import { identityOf } from '../../src/runtime/node/process-identity.js';
import { MessageType } from '../../src/wire/messages.js';
import { startRack, type TestRack, until } from '../support/rack.js';

const CALL_MS = 5_000;
const runtime = createRuntime({ logLevel: 'error' });
let rack: TestRack;
let endpoint: Endpoint;

beforeAll(async () => {
  rack = await startRack({ nodes: 1 });
  endpoint = createEndpoint(runtime, {});
});

afterAll(async () => {
  await endpoint?.close();
  await rack?.stop();
});

async function theNode() {
  const found = (await rack.nodes()).find(({ kind }) => kind !== 'host');
  if (found === undefined) throw new Error('no node');
  return found;
}

async function attach(token: number, identity = runtime.processes.identity) {
  const { address } = await theNode();
  const reply = await endpoint.peer(address).call(MessageType.Attach, { token, identity }, CALL_MS);
  if (reply.status !== Status.Ok) throw new Error(`not attached: ${reply.status}`);
  return reply;
}

async function slotsAttached(): Promise<number> {
  const { address } = await theNode();
  const reply = await endpoint.peer(address).call(MessageType.Counters, {}, CALL_MS);
  if (reply.status !== Status.Ok) throw new Error('no counters');
  return (JSON.parse(reply.json) as { slotsAttached: number }).slotsAttached;
}

test('a thread opens the files of a node, and has its slot again after a kill -9', async () => {
  const given = await attach(1);
  const { memory } = runtime;
  const file = memory.open(given.table, 'read');
  const table = TableFile.open(file.map(0, file.bytes));
  if (typeof table === 'string') throw new Error(table);
  const { facts } = table;
  const frames = memory.open(given.frames, 'write');
  const slots = memory.open(given.slots, 'write');
  const roles = ['table', 'frames', 'slots'] as const;
  const names = roles.map((role) => memoryFileName(role, facts));
  expect([file.name, frames.name, slots.name]).toEqual(names);
  expect(slots.bytes).toBe(slotFileBytes(facts.frames));
  expect(table.alive).toBe(given.incarnation);
  expect(table.generation).not.toBe(0);
  expect(table.owners.owner(given.slot)).toMatchObject({ token: 1 });
  process.kill((await theNode()).pid, 'SIGKILL');
  await until(20_000, () => (table.alive === given.incarnation + 1 ? true : undefined));
  await until(20_000, async () => ((await theNode()).state === 'serving' ? true : undefined));
  expect(await attach(1)).toMatchObject({ slot: given.slot, incarnation: given.incarnation + 1 });
  for (const one of [file, frames, slots]) one.release();
}, 60_000);

test('the slot of a process that is killed is free again, of a stopped one it is not', async () => {
  const others = [spawn('sleep', ['100']), spawn('sleep', ['100'])];
  const before = await slotsAttached();
  for (const { pid = 0 } of others) await attach(2, identityOf(pid));
  expect(await slotsAttached()).toBe(before + 2);
  others[0]?.kill('SIGSTOP');
  others[1]?.kill('SIGKILL');
  await until(20_000, async () => ((await slotsAttached()) === before + 1 ? true : undefined));
  others[0]?.kill('SIGKILL');
  await until(20_000, async () => ((await slotsAttached()) === before ? true : undefined));
}, 60_000);
