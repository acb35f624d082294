// What an operator and a program can see of the way to memory nodes, on a rack of real processes.
import { spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, type ConnectOptions } from '../../src/apps/library.js';
import { lintMetrics, parseExposition } from '../../tools/metrics-check.js';
import { CLI, runCli } from '../support/cli.js';
import { startRack, type TestRack, until } from '../support/rack.js';
import { requires } from '../support/requires.js';

let rack: TestRack;

beforeAll(async () => {
  rack = await startRack({ nodes: 2 });
});

afterAll(async () => {
  await rack?.stop();
});

const cli = (...args: string[]) => runCli(args, { env: { MEMRACK_URL: rack.url } });

/** A client that has written and read over a link, and what it has counted. */
async function countersOver(link: NonNullable<ConnectOptions['link']>) {
  const client = await connect(rack.url, { link });
  try {
    const space = await client.space(`seen-${link}`, { create: true });
    const at = await space.alloc(65_536);
    await space.write(at, new Uint8Array(64).fill(7));
    for (let i = 0; i < 20; i++) await space.read(at, 64);
    const metrics = parseExposition(client.metrics());
    expect(lintMetrics(metrics)).toEqual([]);
    return { ...client.counters(), metrics };
  } finally {
    await client.close();
  }
}

describe('counters', () => {
  test('of a client over udp: datagrams, windows, delays', async () => {
    const { datagrams, links, streams, memory, metrics } = await countersOver('udp');
    expect(datagrams?.partsAnswered).toBeGreaterThanOrEqual(21);
    expect(datagrams?.hellos).toBeGreaterThan(0);
    expect(streams.connectionsMade).toBeGreaterThan(0);
    expect(memory).toBeUndefined();
    const [link] = links;
    expect(link?.node).toMatch(/^node-/);
    expect(link?.address).toMatch(/^tcp:/);
    const state = link?.datagrams;
    expect(state).toMatchObject({ expectedReplyBytes: 0, underWayBytes: 0 });
    expect(state?.windowBytes).toBeGreaterThan(0);
    expect(state?.isBelowOneDatagram).toBe((state?.windowBytes ?? 0) < (state?.datagramBytes ?? 0));
    expect(state?.bestDelayMs).toBeGreaterThan(0);
    const window = metrics.find(({ name }) => name === 'memrack_client_link_window_bytes');
    expect(window?.samples).toMatchObject([
      { labels: { node: link?.node }, value: state?.windowBytes },
    ]);
  });

  test('of a client of memory on this machine, and over tcp', async () => {
    const shm = await countersOver('shm');
    expect(shm.links).toMatchObject([{ isAttached: true }]);
    expect(shm.memory?.operationsAlone).toBeGreaterThan(0);
    const tcp = await countersOver('tcp');
    expect([tcp.memory, tcp.datagrams]).toEqual([undefined, undefined]);
    expect(tcp.streams.operationsSent).toBeGreaterThan(20);
  });

  test('of every memory node stand in the metrics of the controller', async () => {
    await countersOver('udp');
    const text = await (await fetch(`${rack.url.replace('memrack:', 'http:')}/metrics`)).text();
    const sum = (name: string): number =>
      [...text.matchAll(new RegExp(`^${name}\\{.*\\} (\\d+)$`, 'gm'))].reduce(
        (total, match) => total + Number(match[1]),
        0,
      );
    expect(sum('memrack_node_answered')).toBe(2);
    expect(sum('memrack_node_datagram_parts_total')).toBeGreaterThan(20);
    expect(sum('memrack_node_datagrams_received_total')).toBeGreaterThan(20);
    expect(sum('memrack_node_datagram_receive_buffer_bytes')).toBeGreaterThan(0);
    expect(text).toContain('# TYPE memrack_node_datagram_hellos_total counter\n');
    expect(lintMetrics(parseExposition(text))).toEqual([]);
  });
});

describe('slow', () => {
  test('what waits at a node is counted by cause, and shown where it was slow', async () => {
    await countersOver('tcp');
    const text = await (await fetch(`${rack.url.replace('memrack:', 'http:')}/metrics`)).text();
    const waits = parseExposition(text).find(({ name }) => name === 'memrack_node_wait_seconds');
    const calls = waits?.samples.filter(
      ({ name, labels }) => name.endsWith('_count') && labels['cause'] === 'call',
    );
    // Every allocation waits for the worker.
    expect(calls?.reduce((sum, { value }) => sum + value, 0)).toBeGreaterThan(0);
    const { code, stdout } = await cli('slow', '-o', 'json');
    expect(code).toBe(0);
    for (const row of JSON.parse(stdout) as { waitedMs: number }[]) {
      expect(row.waitedMs).toBeGreaterThanOrEqual(10);
    }
    expect((await cli('slow')).stdout).toContain('waited for');
  });
});

interface Event {
  readonly sequence: number;
  readonly kind: string;
  readonly node?: string;
  readonly region?: number;
  readonly epoch?: number;
  readonly details: Record<string, unknown>;
}

describe('events', () => {
  test('say who owned what when, also of a region that moves, and follow', async () => {
    const client = await connect(rack.url, { link: 'tcp' });
    const follower = spawn(
      process.execPath,
      [CLI, 'events', '--space', 'seen-events', '--follow', '-o', 'json'],
      { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, MEMRACK_URL: rack.url } },
    );
    try {
      let followed = '';
      follower.stdout.on('data', (part: Buffer) => (followed += part.toString()));
      const space = await client.space('seen-events', { create: true });
      const at = await space.alloc(65_536);
      await space.write(at, Uint8Array.of(7));
      const http = rack.url.replace('memrack:', 'http:');
      const answer = await fetch(`${http}/v1/regions?space=seen-events`);
      const [held] = (await answer.json()) as { region: number; node: string }[];
      const { region, node: from } = held ?? { region: 0, node: '' };
      expect(region).toBe(Math.floor(at / 2 ** 30));
      const to = from === 'node-1' ? 'node-2' : 'node-1';
      const moving = await fetch(`${http}/v1/moves`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ space: 'seen-events', region, to }),
      });
      expect(moving.status).toBe(200);
      const { code, stdout } = await cli('events', '--space', 'seen-events', '-o', 'json');
      expect(code).toBe(0);
      const told = JSON.parse(stdout) as Event[];
      expect(told.map(({ kind }) => kind)).toEqual([
        'space-created',
        'region-granted',
        'move-begun',
        'region-moved',
        'move-done',
      ]);
      const [, granted, begun, moved, done] = told;
      expect(granted).toMatchObject({ node: from, region });
      expect(begun).toMatchObject({ node: from, details: { to } });
      expect(moved).toMatchObject({ node: to, details: { from, fromEpoch: granted?.epoch } });
      expect(moved?.epoch).toBeGreaterThan(granted?.epoch ?? Infinity);
      expect(done?.details['ms']).toBeGreaterThan(0);
      const shown = (await cli('events', '--node', to, '--since', '1h')).stdout;
      expect(shown).toContain(`region-moved        seen-events/${region} ${to}`);
      expect(shown).toMatch(new RegExp(`node-joined +${to} `));
      await until(10_000, () => (followed.includes('move-done') ? true : undefined));
      expect(
        followed
          .trimEnd()
          .split('\n')
          .map((line) => JSON.parse(line) as Event),
      ).toEqual(told);
    } finally {
      follower.kill('SIGINT');
      await client.close();
    }
  });
});

describe('top', () => {
  test('one look says what goes by, in JSON and for people', async () => {
    const client = await connect(rack.url, { link: 'tcp' });
    const space = await client.space('seen-top', { create: true });
    const at = await space.alloc(65_536);
    await space.write(at, Uint8Array.of(1));
    let isOver = false;
    const work = (async () => {
      while (!isOver) {
        await space.read(at, 64);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })();
    try {
      const { code, stdout } = await cli('top', '--once', '-o', 'json');
      expect(code).toBe(0);
      const facts = JSON.parse(stdout) as { nodes: { id: string; reads: number }[] };
      expect(facts).toMatchObject({ state: 'serving', hosts: [{ state: 'serving' }] });
      expect(facts.nodes.map(({ id }) => id)).toEqual(['node-1', 'node-2']);
      expect(facts.nodes.reduce((sum, { reads }) => sum + reads, 0)).toBeGreaterThan(0);
      const shown = await cli('top', '--once', '--interval', '200');
      expect([shown.code, shown.stdout]).toEqual([0, expect.stringMatching(/node-1 +serving/)]);
      expect(shown.stdout).toContain('seen-top');
    } finally {
      isOver = true;
      await work;
      await client.close();
    }
  });

  test.runIf(requires('script', 'timeout'))('ends in order at Ctrl-C, on a terminal', async () => {
    const top = `timeout --foreground -s INT 4 ${process.execPath} ${CLI} top --interval 200`;
    const child = spawn('script', ['-qec', top, '/dev/null'], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, MEMRACK_URL: rack.url, TERM: 'xterm' },
    });
    let text = '';
    child.stdout.on('data', (part: Buffer) => (text += part.toString()));
    await new Promise((resolve) => child.once('close', resolve));
    expect(text).toContain('\u001b[?1049h');
    expect(text).toContain('node-1');
    expect(text.trimEnd().endsWith('\u001b[?25h\u001b[?1049l')).toBe(true);
  });
});

interface Row {
  readonly node: string;
  readonly level: string;
  readonly station: string;
  readonly how: string;
  readonly p50Us?: number;
}

describe('ping', () => {
  test('says over each link where the time goes', async () => {
    for (const link of ['udp', 'tcp', 'shm']) {
      const args = ['ping', 'node-1', '--count', '20', '--link', link, '-o', 'json'];
      const { code, stdout } = await cli(...args);
      expect([link, code]).toEqual([link, 0]);
      const rows = JSON.parse(stdout) as Row[];
      for (const level of ['network', 'fast', 'slow']) {
        const total = rows.find((row) => row.level === level && row.station === 'total');
        expect([link, level, total]).toMatchObject([
          link,
          level,
          { node: 'node-1', how: 'measured' },
        ]);
        expect(total?.p50Us).toBeGreaterThan(0);
      }
      const translate = rows.find(({ station }) => station === 'node: translate');
      expect([link, translate?.how]).toEqual([link, link === 'shm' ? undefined : 'mean']);
    }
  });

  test('takes every node when none is named, and leaves nothing behind', async () => {
    const { code, stdout } = await cli('ping', '--count', '3');
    expect(code).toBe(0);
    expect(stdout).toContain('node-1 over udp\n');
    expect(stdout).toContain('node-2 over udp\n');
    expect(stdout).not.toContain('\u001b');
    expect(stdout).toMatch(/^slow path\s+total\s/m);
    const spaces = JSON.parse((await cli('space', 'list', '-o', 'json')).stdout) as {
      name: string;
    }[];
    expect(spaces.filter(({ name }) => name.startsWith('memrack-ping'))).toEqual([]);
  });

  test('refuses what there is not, with a remedy', async () => {
    const unknown = await cli('ping', 'node-9');
    expect([unknown.code, unknown.stderr]).toEqual([3, expect.stringContaining('node-1, node-2')]);
    for (const args of [
      ['ping', 'node-1', '--count', '0'],
      ['ping', 'node-1', '--link', 'rdma'],
    ]) {
      expect((await cli(...args)).code).toBe(2);
    }
    const nowhere = await runCli(['ping', '--rack', 'memrack://127.0.0.1:9']);
    expect([nowhere.code, nowhere.stderr]).toEqual([4, expect.stringContaining('memrack up')]);
  });
});

interface Finding {
  readonly code: string;
  readonly check: string;
  readonly state: string;
  readonly found: string;
  readonly remedy: string;
}

describe('doctor', () => {
  test('measures the way to each memory node of the rack that is named', async () => {
    const { code, stdout } = await runCli(['doctor', '--rack', rack.url, '-o', 'json']);
    const findings = JSON.parse(stdout) as Finding[];
    const udp = findings.filter((finding) => finding.code.startsWith('UDP_'));
    for (const node of ['node-1', 'node-2']) {
      const codes = udp.filter(({ check }) => check.endsWith(node)).map((each) => each.code);
      const wanted = ['UDP_ROUND_TRIP', 'UDP_LOSS', 'UDP_PATH_LENGTH', 'UDP_RECEIVE_BUFFER'];
      expect([node, codes]).toEqual([node, wanted]);
    }
    // Within a machine a datagram takes any length.
    const lengths = udp.filter((each) => each.code === 'UDP_PATH_LENGTH');
    for (const { found } of lengths) expect(found).toContain('65,504 bytes there and back; ');
    for (const { state, remedy } of udp) if (state !== 'good') expect(remedy).not.toBe('');
    expect([0, 1]).toContain(code);
    expect(code === 1).toBe(findings.some(({ state }) => state === 'bad'));
  });

  test('says what it left out, and which rack it does not reach', async () => {
    const alone = await runCli(['doctor', '-o', 'json'], { env: { MEMRACK_URL: '' } });
    const skipped = (JSON.parse(alone.stdout) as Finding[]).at(-1);
    expect(skipped).toMatchObject({ code: 'NETWORK_LEFT_OUT', state: 'skipped' });
    const nowhere = await runCli(['doctor', '-o', 'json', '--rack', 'memrack://127.0.0.1:9']);
    const last = (JSON.parse(nowhere.stdout) as Finding[]).at(-1);
    expect([nowhere.code, last?.code]).toEqual([4, 'RACK_UNREACHABLE']);
    expect((await runCli(['doctor', '--rack', 'http://127.0.0.1'])).code).toBe(2);
  });
});
