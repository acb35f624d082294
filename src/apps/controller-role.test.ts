/** The controller as it runs: real sockets, SQLite on disk, HTTP and our protocol on one port. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { Status } from '../base/status.js';
import { NO_MARK } from '../controller/mark.js';
import { hostMain } from '../doors/host.js';
import { createEndpoint, type Endpoint } from '../fabric/endpoint.js';
import type { Peer } from '../fabric/link.js';
import { createRuntime } from '../runtime/node/create-runtime.js';
import type { RunningRole } from '../runtime/runtime.js';
import { DoorKind, MessageType as M } from '../wire/messages.js';
import { controllerWithHttp } from './controller-role.js';

const CALL_MS = 5_000;
const ends: (() => Promise<unknown> | void)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'memrack-controller-'));
  ends.push(() => rmSync(path, { recursive: true }));
  return path;
}

async function start(data: string | undefined, listen = 'tcp://127.0.0.1:0'): Promise<RunningRole> {
  const runtime = createRuntime({ logLevel: 'error' });
  const config = { listen, heartbeatMs: 50, awayMs: 500, machine: 'here' };
  const controller = await controllerWithHttp(
    runtime,
    data === undefined ? config : { ...config, data },
  );
  ends.push(() => controller.stop());
  return controller;
}

function ask(address: string, memoryId = 0): { endpoint: Endpoint; controller: Peer } {
  const endpoint = createEndpoint(createRuntime({ logLevel: 'error' }), { memoryId });
  ends.push(() => endpoint.close());
  return { endpoint, controller: endpoint.peer(address) };
}

/** A node that takes every region, as far as the controller can tell. */
async function joinNode(address: string, memoryId: number): Promise<void> {
  const { endpoint, controller } = ask(address, memoryId);
  endpoint.serve(M.GrantRegion, () => ({ status: Status.Ok }));
  endpoint.serve(M.RemoveSpace, () => ({ status: Status.Ok }));
  endpoint.serve(M.NoteMark, () => ({ status: Status.Ok }));
  const listener = await endpoint.listen('tcp://127.0.0.1:0');
  const facts = { id: 'n1', memoryId, incarnation: 1, machine: 'here', pid: 7, pageBytes: 65536 };
  const place = { address: listener.address, keeper: '', process: '' };
  const kind = { kind: 0, isTrusted: 0, fileSystem: '', openings: [] };
  const request = { ...facts, ...kind, ...place, bytesLent: 2 ** 30, ...NO_MARK, regions: [] };
  const joined = await controller.call(M.JoinNode, request, CALL_MS);
  expect(joined).toMatchObject({ status: Status.Ok });
}

const http = (address: string): string => address.replace('tcp://', 'http://');

test('both protocols share the port; a node and a host are seen; healthz tells', async () => {
  const { address } = await start(undefined);
  expect((await fetch(`${http(address)}/healthz`)).status).toBe(503);
  await joinNode(address, 5);
  const runtime = createRuntime({ logLevel: 'error' });
  const config = { id: 'h1', join: [address], listen: 'tcp://127.0.0.1:0', machine: 'here' };
  const host = await hostMain(runtime, config);
  ends.push(() => host.stop());
  expect((await fetch(`${http(address)}/healthz`)).status).toBe(200);
  await expect
    .poll(
      async () => ((await (await fetch(`${http(address)}/v1/nodes`)).json()) as object[]).length,
    )
    .toBe(2);
  const nodes = await (await fetch(`${http(address)}/v1/nodes`)).json();
  expect(nodes).toMatchObject([
    { id: 'h1', kind: 'host', state: 'serving', address: host.address },
    { id: 'n1', kind: 'memory-node', state: 'serving', pid: 7 },
  ]);
  const { controller } = ask(address);
  const listed = await controller.call(M.ListNodes, {}, CALL_MS);
  expect(listed).toMatchObject({
    members: [
      { id: 'h1', isHost: 1 },
      { id: 'n1', isHost: 0 },
    ],
  });
  const status = await controller.call(M.RackStatus, {}, CALL_MS);
  const json = status.status === Status.Ok ? status.json : '';
  expect(JSON.parse(json)).toMatchObject({
    state: 'serving',
    findings: [{ code: 'METADATA_NOT_KEPT' }],
  });
  const metrics = await (await fetch(`${http(address)}/metrics`)).text();
  expect(metrics).toContain('memrack_up 1\n');
  expect(metrics).toContain('memrack_fabric_sessions_opened_total');
});

test('a door that speaks over TLS alone is known as one', async () => {
  const { address } = await start(undefined);
  const nbdTlsPsk = join(folder(), 'keys.psk');
  writeFileSync(nbdTlsPsk, `ann:${'0123456789abcdef'.repeat(4)}\n`);
  const runtime = createRuntime({ logLevel: 'error' });
  const config = { id: 'h1', join: [address], listen: 'tcp://127.0.0.1:0' };
  const host = await hostMain(runtime, { ...config, nbd: 'tcp://127.0.0.1:0', nbdTlsPsk });
  ends.push(() => host.stop());
  const { controller } = ask(address);
  await expect
    .poll(() => controller.call(M.ListDoors, {}, CALL_MS))
    .toMatchObject({ doors: [{ kind: DoorKind.NBD_TLS, host: 'h1' }] });
  const missing = { ...config, nbd: 'tcp://127.0.0.1:0', nbdTlsPsk: `${nbdTlsPsk}.not` };
  await expect(hostMain(runtime, missing)).rejects.toThrow(/nbdTlsPsk: the file .* cannot be read/);
});

test('what was told survives a restart, a hundred thousand files too', async () => {
  const data = folder();
  const first = await start(data);
  const { controller } = ask(first.address);
  await joinNode(first.address, 5);
  const open = { name: 's', create: 1, kind: 0, pageBytes: 0 };
  const opened = await controller.call(M.OpenSpace, open, CALL_MS);
  if (opened.status !== Status.Ok) throw new Error(opened.reason);
  const { space } = opened;
  const grant = { space, count: 2, bytes: 0, near: '' };
  expect(await controller.call(M.GrantRegions, grant, CALL_MS)).toMatchObject({
    status: Status.Ok,
    regions: [{ region: 1 }, { region: 2 }],
  });
  for (let batch = 0; batch < 100; batch++) {
    const files = Array.from({ length: 1000 }, (_, i) => {
      return { key: `${batch}/${i}`, space, address: 2 ** 30, length: 1, sha256: '' };
    });
    const put = await controller.call(M.PutFiles, { files }, CALL_MS);
    expect(put.status).toBe(Status.Ok);
  }
  await first.stop();

  const begun = performance.now();
  const second = await start(data, first.address);
  expect(performance.now() - begun).toBeLessThan(10_000);
  const again = await controller.call(M.SpaceRegions, { space, after: 0 }, CALL_MS);
  expect(again).toMatchObject({ nodes: [{ id: 'n1' }], regions: [{ region: 1 }, { region: 2 }] });
  const file = await controller.call(M.GetFile, { key: '99/999' }, CALL_MS);
  expect(file).toMatchObject({ status: Status.Ok, length: 1 });
  const request = { prefix: '7/', after: '7/998', limit: 1000 };
  const listed = await controller.call(M.ListFiles, request, CALL_MS);
  expect(listed).toMatchObject({ more: 0, files: [{ key: '7/999' }] });
  expect(second.address).toBe(first.address);
}, 60_000);

test('a long listing comes in pages that each fit into a message', async () => {
  const { address } = await start(undefined);
  const { controller } = ask(address);
  const open = { name: 's', create: 1, kind: 0, pageBytes: 0 };
  const opened = await controller.call(M.OpenSpace, open, CALL_MS);
  if (opened.status !== Status.Ok) throw new Error(opened.reason);
  const long = 'x'.repeat(900);
  for (let batch = 0; batch < 10; batch++) {
    const files = Array.from({ length: 100 }, (_, i) => {
      const key = `${long}${batch}-${i}`;
      return { key, space: opened.space, address: 2 ** 30, length: 1, sha256: 'ab'.repeat(32) };
    });
    expect((await controller.call(M.PutFiles, { files }, CALL_MS)).status).toBe(Status.Ok);
  }
  let after = '';
  let count = 0;
  for (let more = 1; more === 1; ) {
    const page = await controller.call(M.ListFiles, { prefix: '', after, limit: 1000 }, CALL_MS);
    if (page.status !== Status.Ok) throw new Error(page.reason);
    count += page.files.length;
    after = page.files.at(-1)?.key ?? '';
    more = page.more;
  }
  expect(count).toBe(1000);
});

test('a second controller on the same folder or port is refused with a sentence', async () => {
  const data = folder();
  const first = await start(data);
  await expect(start(data)).rejects.toThrow(/lock|in use|another/i);
  await expect(start(undefined, first.address)).rejects.toMatchObject({ kind: 'in-use' });
  await expect(start(undefined, 'http://nowhere')).rejects.toThrow(/listen: "http:\/\/nowhere"/);
});

/** The status of a request with exactly these header lines. */
function rawStatus(address: string, lines: string[]): Promise<string> {
  const [host = '', port = ''] = address.slice('tcp://'.length).split(':');
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), host, () => socket.write(`${lines.join('\r\n')}\r\n\r\n`));
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString()));
    socket.on('end', () => resolve(text.split('\r\n')[0] ?? ''));
    socket.on('error', reject);
  });
}

test('hostile HTTP is refused and the controller goes on', async () => {
  const { address } = await start(undefined);
  const close = 'Connection: close';
  const status = (...lines: string[]) => rawStatus(address, lines);
  expect(await status('GET /v1/status HTTP/1.1', 'Host: evil.example', close)).toContain('403');
  expect(await status('GET /v1/status HTTP/1.1', 'Host: localhost', close)).toContain('200');
  expect(await status('GET /v1/status HTTP/1.1', close)).toContain('400');
  expect(await status('GARBAGE', '')).toContain('400');
  expect(await status('GET /%ff%00 HTTP/1.1', 'Host: localhost', close)).toMatch(/40[04]/);
  expect(await status('GET /v1/status HTTP/1.0')).toContain('400');
  const broken = 'DELETE /v1/spaces/%e0%a4%a HTTP/1.1';
  expect(await status(broken, 'Host: localhost', close)).toContain('415');
  const json = 'Content-Type: application/json';
  expect(await status(broken, 'Host: localhost', json, close)).toContain('404');
  const large = ['POST /v1/spaces HTTP/1.1', 'Host: localhost', 'Content-Type: application/json'];
  const many = [...large, `Content-Length: 80000`, close, '', 'x'.repeat(80_000)];
  expect(await rawStatus(address, many)).toContain('413');
  expect((await fetch(`${http(address)}/v1/status`)).status).toBe(200);
});

test('many requests on one connection, and a body in pieces', async () => {
  const { address } = await start(undefined);
  const url = new URL(`${http(address)}/v1/spaces`);
  const answer = await new Promise<number>((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const post = request(url, { method: 'POST', headers }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    post.on('error', reject);
    post.write('{"na');
    setTimeout(() => post.end('me": "s"}'), 20);
  });
  expect(answer).toBe(201);
  for (let i = 0; i < 50; i++) expect((await fetch(url)).status).toBe(200);
});
