import type { SpaceId } from '../../base/brands.js';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { ControllerApi } from '../../controller/api.js';
import { FINDINGS } from '../../controller/findings.js';
import { FakeRack, settled } from '../../controller/testing/fake-rack.js';
import { createHttpApp } from './app.js';
import { ROUTES } from './routes.js';
import * as schemas from './schemas.js';

interface Asking {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

async function start(options: { api?: ControllerApi | undefined; listenHost?: string } = {}) {
  const rack = new FakeRack();
  const controller = await rack.start();
  const api = rack.api(controller);
  const failures: unknown[] = [];
  const app = createHttpApp({
    api: () => ('api' in options ? options.api : api),
    listenHost: options.listenHost ?? '127.0.0.1',
    failed: (error) => failures.push(error),
  });
  const ask = async (path: string, { method = 'GET', headers = {}, body }: Asking = {}) => {
    const init = { method, headers: { host: 'localhost:7070', ...headers } };
    const request = new Request(
      `http://localhost${path}`,
      body === undefined ? init : { ...init, body },
    );
    const response = await app.fetch(request);
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') === true;
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: isJson ? JSON.parse(text) : text,
    };
  };
  const post = (path: string, body: unknown) =>
    ask(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  return { rack, controller, app, ask, post, failures };
}

test('a node is let go by its id, and what its memory held is counted', async () => {
  const { rack, controller, ask } = await start();
  const remove = { method: 'DELETE', headers: { 'content-type': 'application/json' } };
  expect(await ask('/v1/nodes/n1', remove)).toMatchObject({ status: 404 });
  await controller.membership.join(rack.joinRequest('n1'));
  const opened = await controller.spaces.open({ name: 's', create: true, kind: 0, pageBytes: 0 });
  if (opened.status !== 0) throw new Error(opened.message);
  await controller.regions.grant({ space: opened.space.id, count: 2, bytes: 0, near: '' });
  expect(await ask('/v1/nodes/n1?lost=true', remove)).toMatchObject({ status: 409 });
  rack.nowMs += 6_001;
  expect(await ask('/v1/nodes/n1', remove)).toMatchObject({ status: 409 });
  expect(await ask('/v1/nodes/n1?lost=maybe', remove)).toMatchObject({ status: 400 });
  expect(await ask('/v1/nodes/n1?lost=true', remove)).toMatchObject({
    status: 200,
    body: { id: 'n1', regionsLost: 2 },
  });
});

test('a space that is not known is adopted by its number, if a node holds it', async () => {
  const { rack, controller, post } = await start();
  const unknown = { space: 4_711, region: 1, epoch: 7, pageBytes: 2 ** 21, memoryId: 1 };
  rack.node(rack.joinRequest('n1').address).held.set(-1, unknown as never);
  await controller.membership.join(rack.joinRequest('n1'));
  await settled();
  expect(await post('/v1/adopted-spaces', { id: 9 })).toMatchObject({ status: 404 });
  expect(await post('/v1/adopted-spaces', { id: 4_711 })).toMatchObject({
    status: 201,
    body: { id: 4_711, name: 'recovered-4711', regions: 1, state: 'active' },
  });
});

test('what happened is given by sequence, and strictly as the schema says', async () => {
  const { rack, controller, ask, post } = await start();
  await controller.membership.join(rack.joinRequest('n1'));
  await post('/v1/spaces', { name: 'photos' });
  const { body } = await ask('/v1/events?limit=2');
  const page = schemas.eventsSchema.parse(body);
  expect(page).toMatchObject({ more: true, oldest: 1, newest: 3 });
  expect(page.events.map(({ kind }) => kind)).toEqual(['controller-started', 'node-joined']);
  const rest = schemas.eventsSchema.parse((await ask('/v1/events?after=2&space=photos')).body);
  expect(rest.events).toMatchObject([{ sequence: 3, kind: 'space-created', space: 'photos' }]);
  for (const wrong of ['after=-1', 'limit=0', 'limit=1001', 'since=1h', 'lastMs=x']) {
    expect((await ask(`/v1/events?${wrong}`)).status, wrong).toBe(400);
  }
});

test('healthz is 200 only while a node serves', async () => {
  const { rack, controller, ask } = await start();
  expect(await ask('/healthz')).toMatchObject({ status: 503, body: { state: 'down' } });
  await controller.membership.join(rack.joinRequest('n1'));
  expect(await ask('/healthz')).toMatchObject({ status: 200, body: { state: 'serving' } });
  rack.nowMs += 6_001;
  expect((await ask('/healthz')).status).toBe(503);
  const starting = await start({ api: undefined });
  expect(await starting.ask('/healthz')).toMatchObject({
    status: 503,
    body: { code: 'Unavailable' },
  });
});

test('spaces are created, listed and removed', async () => {
  const { post, ask } = await start();
  expect(await post('/v1/spaces', { name: 'photos' })).toMatchObject({ status: 201 });
  expect(await post('/v1/spaces', { name: 'photos' })).toMatchObject({ status: 200 });
  expect((await ask('/v1/spaces')).body).toMatchObject([{ name: 'photos', kind: 'dram' }]);
  const remove = { method: 'DELETE', headers: { 'content-type': 'application/json' } };
  expect((await ask('/v1/spaces/photos', remove)).status).toBe(204);
  expect((await ask('/v1/spaces')).body).toEqual([]);
  expect(await ask('/v1/spaces/photos', remove)).toMatchObject({
    status: 404,
    body: { code: 'NotFound' },
  });
});

test('every refusal is JSON with a code, a message and a remedy', async () => {
  const { post, ask } = await start();
  const json = { 'content-type': 'application/json' };
  const refused = [
    [await ask('/v2/nothing'), 404],
    [await ask('/v1/status', { method: 'PUT' }), 405],
    [await ask('/v1/status', { method: 'OPTIONS' }), 405],
    [await ask('/v1/openapi.json', { method: 'POST' }), 405],
    [await ask('/v1/files?limit=0'), 400],
    [await ask('/v1/files?limit=1.5'), 400],
    [await ask('/v1/files?limt=1'), 400],
    [await post('/v1/spaces', { name: 'a b' }), 400],
    [await post('/v1/spaces', { nam: 'a' }), 400],
    [await post('/v1/spaces', { name: 'a', pageBytes: 70_000 }), 400],
    [await post('/v1/spaces', []), 400],
    [await ask('/v1/spaces', { method: 'POST', headers: json, body: '{' }), 400],
    [
      await ask('/v1/spaces', {
        method: 'POST',
        headers: { 'content-type': 'text/plain' },
        body: '{}',
      }),
      415,
    ],
    [await post('/v1/spaces', { name: 'a'.repeat(70_000) }), 413],
  ] as const;
  for (const [answer, status] of refused) {
    expect(answer.status, answer.text).toBe(status);
    expect(schemas.errorSchema.safeParse(answer.body).success, answer.text).toBe(true);
    expect(answer.headers.get('access-control-allow-origin')).toBeNull();
  }
  expect(refused[1][0].headers.get('allow')).toBe('HEAD, GET');
});

test('a foreign Host or Origin is refused, whatever is asked', async () => {
  const { ask } = await start({ listenHost: 'rack.lan' });
  for (const host of ['localhost', '127.0.0.1:7070', '[::1]:7070', 'RACK.lan:7070', '127.9.9.9']) {
    expect((await ask('/v1/status', { headers: { host } })).status, host).toBe(200);
  }
  const foreign = [
    'evil.example',
    'localhost.evil.example',
    '10.0.0.1',
    'localhost:x',
    '127.0.0.1.nip.io',
  ];
  for (const host of foreign) {
    for (const path of ['/v1/status', '/healthz', '/nothing', '/v1/openapi.json']) {
      expect(await ask(path, { headers: { host } }), host).toMatchObject({
        status: 403,
        body: { code: 'Denied' },
      });
    }
  }
  const from = (origin: string) => ask('/v1/status', { headers: { origin } });
  expect((await from('http://localhost:7070')).status).toBe(200);
  for (const origin of ['http://evil.example', 'null', 'http://localhost:8080', 'file://']) {
    expect((await from(origin)).status, origin).toBe(403);
  }
});

test('without a Host nothing is answered', async () => {
  const { app, ask } = await start();
  for (const path of ['/v1/status', '/healthz', '/nothing']) {
    expect((await app.fetch(new Request(`http://localhost${path}`))).status).toBe(400);
    expect((await ask(path, { headers: { host: '' } })).status).toBe(400);
  }
});

test('a change says that it is JSON, and comes from no page of another site', async () => {
  const { post, ask } = await start();
  await post('/v1/spaces', { name: 's' });
  const json = { 'content-type': 'application/json; charset=utf-8' };
  const types = ['', 'text/plain', 'application/x-www-form-urlencoded', 'application/jsonp'];
  for (const type of types) {
    const headers = type === '' ? {} : { 'content-type': type };
    expect((await ask('/v1/spaces/s', { method: 'DELETE', headers })).status, type).toBe(415);
    const body = '{"name": "t"}';
    expect((await ask('/v1/spaces', { method: 'POST', headers, body })).status, type).toBe(415);
  }
  for (const site of ['cross-site', 'same-site']) {
    const headers = { ...json, 'sec-fetch-site': site };
    expect((await ask('/v1/spaces/s', { method: 'DELETE', headers })).status, site).toBe(403);
  }
  expect((await ask('/v1/spaces')).body).toMatchObject([{ name: 's' }]);
  // A link of another page may be followed: reading tells that page nothing.
  expect((await ask('/v1/status', { headers: { 'sec-fetch-site': 'cross-site' } })).status).toBe(
    200,
  );
  const headers = { ...json, 'sec-fetch-site': 'same-origin' };
  expect((await ask('/v1/spaces/s', { method: 'DELETE', headers })).status).toBe(204);
});

test('on all addresses, any bare address names us and no foreign name does', async () => {
  const { ask } = await start({ listenHost: '0.0.0.0' });
  expect((await ask('/v1/status', { headers: { host: '10.1.2.3:7070' } })).status).toBe(200);
  expect((await ask('/v1/status', { headers: { host: '[fe80::1]:7070' } })).status).toBe(200);
  expect((await ask('/v1/status', { headers: { host: 'evil.example' } })).status).toBe(403);
});

test('answers are what the document says', async () => {
  const { rack, controller, ask, post } = await start();
  await controller.membership.join(rack.joinRequest('n1'));
  controller.hosts.join({ id: 'h1', address: 'tcp://10.0.0.9:1', pid: 4, machine: 'other' });
  const space = (await post('/v1/spaces', { name: 's' })).body as { id: SpaceId };
  await controller.regions.grant({ space: space.id, count: 2, bytes: 0, near: '' });
  await controller.files.put([
    { key: 'a/ü?&', space: space.id, address: 5, length: 6, sha256: '' },
    { key: 'b', space: space.id, address: 5, length: 6, sha256: '' },
  ]);
  const drain = { node: 'n1', force: true };
  expect((await post('/v1/drains', drain)).body).toMatchObject({ node: 'n1', isForced: true });
  await controller.membership.ended('n1', rack.joinRequest('n1').memoryId);
  for (const route of ROUTES.filter(({ method }) => method === 'GET')) {
    const { status, body } = await ask(
      route.path === '/v1/regions' ? '/v1/regions?space=s' : route.path.replace(':name', 'n1'),
    );
    const schema = route.answers[status];
    if (schema !== undefined) expect(schema.safeParse(body).error, route.path).toBeUndefined();
    else expect(typeof body).toBe('string');
  }
  expect((await ask('/v1/regions?space=s')).body).toMatchObject([
    { region: 1, node: 'n1', state: 'lost' },
    { region: 2, node: 'n1', state: 'lost' },
  ]);
  expect((await ask('/v1/regions?space=none')).status).toBe(404);
  expect(await post('/v1/moves', { space: 's', region: 1, to: 'n2' })).toMatchObject({
    status: 404,
    body: { code: 'NotFound', message: expect.stringMatching(/no memory node "n2"/) as string },
  });
  const nodes = (await ask('/v1/nodes')).body as { id: string; pid?: number }[];
  expect(nodes.map(({ id, pid }) => [id, pid])).toEqual([
    ['h1', undefined],
    ['n1', 1],
  ]);
  expect((await ask('/v1/files?prefix=a%2F%C3%BC&limit=1')).body).toMatchObject({
    files: [{ key: 'a/ü?&' }],
    more: false,
  });
  expect((await ask('/v1/files?limit=1')).body).toMatchObject({ more: true });
  const codes = ((await ask('/v1/status')).body as { findings: { code: string }[] }).findings;
  expect(codes.map(({ code }) => code)).toEqual(['NO_NODES', 'DATA_LOST', 'NODE_DRAIN_WAITS']);
});

test('the document names every route and nothing is left unresolved', async () => {
  const { ask } = await start();
  const document = (await ask('/v1/openapi.json')).body as {
    openapi: string;
    paths: Record<string, Record<string, { responses: object }>>;
  };
  expect(document.openapi).toBe('3.1.0');
  for (const { method, path } of ROUTES) {
    const operation = document.paths[path.replace(':name', '{name}')]?.[method.toLowerCase()];
    expect(operation?.responses).toBeDefined();
  }
  expect(JSON.stringify(document)).not.toContain('#/$defs');
});

test('metrics are in the text format, with labels escaped', async () => {
  const { rack, controller, ask } = await start();
  await controller.membership.join(rack.joinRequest('n1'));
  const { text, headers } = await ask('/metrics');
  expect(headers.get('content-type')).toContain('version=0.0.4');
  expect(text).toContain('# TYPE memrack_up gauge\nmemrack_up 1\n');
  expect(text).toContain('memrack_node_lent_bytes{node="n1"} 1073741824\n');
  expect(text).toContain('memrack_findings{code="NO_NODES",severity="error"} 0\n');
  const sample = /^[a-z_]+(\{.*\})? -?[0-9.e+]+$/;
  for (const line of text.trimEnd().split('\n')) {
    expect(line.startsWith('# ') || sample.test(line), line).toBe(true);
  }
});

test('a bug within a route is a 500 without its insides, and is told', async () => {
  const api = {
    status: () => {
      throw new Error('secret');
    },
  } as unknown as ControllerApi;
  const { ask, failures } = await start({ api });
  const { status, text } = await ask('/v1/status');
  expect(status).toBe(500);
  expect(text).not.toContain('secret');
  expect(failures).toHaveLength(1);
});

test('every finding has its section in the documentation, and nothing else has', () => {
  const page = readFileSync(new URL('../../../docs/status-codes.md', import.meta.url), 'utf8');
  const sections = [...page.matchAll(/^## (.+)$/gm)].map((match) => match[1]);
  expect(sections.sort()).toEqual(Object.keys(FINDINGS).sort());
});
