// Prometheus and promtool themselves: they accept the metrics and the rules, every query of the
// board returns data of a rack that is used, and every alert fires when it is to, and only then.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { boardExpressions } from '../../tools/promql.js';
import { FIRING, QUIET } from '../support/alert-series.js';
import { ROOT } from '../support/cli.js';
import { type TestRack, until } from '../support/rack.js';
import { requires } from '../support/requires.js';
import { startSeenRack, useRack } from '../support/seen-load.js';

const RULES = join(ROOT, 'deploy/prometheus/alerts.yml');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

let folder: string;
let rack: TestRack;
let prometheus: ChildProcess | undefined;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'memrack-prometheus-'));
  rack = await startSeenRack();
});

afterAll(async () => {
  prometheus?.kill('SIGKILL');
  await rack?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs promtool to its end, with `input`. */
function promtool(args: readonly string[], input = ''): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const child = spawn('promtool', args, { stdio: 'pipe' });
    let output = '';
    child.stdout.on('data', (text: Buffer) => (output += text.toString()));
    child.stderr.on('data', (text: Buffer) => (output += text.toString()));
    child.on('close', (code) => resolve({ code: code ?? 1, output }));
    child.stdin.end(input);
  });
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** Starts Prometheus over the rack, looking twice a second. */
async function startPrometheus(): Promise<string> {
  const config = parse(read('deploy/prometheus/prometheus.yml')) as {
    global: Record<string, string>;
    rule_files: string[];
    scrape_configs: [{ static_configs: [{ targets: string[] }] }];
  };
  config.global = { scrape_interval: '500ms', evaluation_interval: '1s' };
  config.rule_files = [RULES];
  config.scrape_configs[0].static_configs[0].targets = [new URL(rack.url).host];
  writeFileSync(join(folder, 'prometheus.yml'), stringify(config));
  const address = `127.0.0.1:${await freePort()}`;
  const files = [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/data`];
  const words = ['KILL', 'prometheus', ...files, `--web.listen-address=${address}`];
  prometheus = spawn('setpriv', ['--pdeathsig', ...words], { stdio: 'ignore' });
  const url = `http://${address}`;
  await until(30_000, async () => {
    const isReady = await fetch(`${url}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
    return isReady ? true : undefined;
  });
  return url;
}

interface Answer {
  readonly status: string;
  readonly data: { readonly result: readonly { readonly values: readonly [number, string][] }[] };
}

/** Whether a query over the last half minute gives any number. */
async function hasData(url: string, query: string): Promise<boolean> {
  const end = Date.now() / 1000;
  const range = { query, start: String(end - 30), end: String(end), step: '1' };
  const response = await fetch(`${url}/api/v1/query_range?${new URLSearchParams(range)}`);
  const answer = (await response.json()) as Answer;
  if (answer.status !== 'success') throw new Error(`${query}: ${JSON.stringify(answer)}`);
  return answer.data.result.some(({ values }) => values.some(([, value]) => value !== 'NaN'));
}

describe.runIf(requires('promtool', 'prometheus'))('Prometheus', () => {
  test('accepts the metrics of a rack that is used', async () => {
    await useRack(rack.url);
    const text = await (await fetch(`${rack.url.replace('memrack:', 'http:')}/metrics`)).text();
    expect(await promtool(['check', 'metrics'], text)).toEqual({ code: 0, output: '' });
  });

  test('accepts the rules and the configuration', async () => {
    for (const [what, file] of Object.entries({ rules: 'alerts.yml', config: 'prometheus.yml' })) {
      const { code, output } = await promtool(['check', what, `deploy/prometheus/${file}`]);
      expect([what, code, output]).toEqual([what, 0, expect.stringContaining('SUCCESS')]);
    }
  });

  test('lets every alert fire when it is to, and only then', async () => {
    const rules = (
      parse(read('deploy/prometheus/alerts.yml')) as {
        groups: { rules: { alert: string }[] }[];
      }
    ).groups.flatMap((group) => group.rules.map(({ alert }) => alert));
    expect(Object.keys(FIRING).sort()).toEqual([...rules].sort());
    const expecting = (expr: string, value: number | undefined) => ({
      eval_time: '70m',
      expr,
      exp_samples: value === undefined ? [] : [{ labels: '{}', value }],
    });
    const series = (all: Record<string, string>) =>
      Object.entries(all).map(([name, values]) => ({ series: name, values }));
    const tests = Object.entries(FIRING).map(([alert, changed]) => ({
      name: alert,
      interval: '1m',
      input_series: series({ ...QUIET, ...changed }).filter(({ values }) => values !== ''),
      promql_expr_test: [expecting(`group(ALERTS{alertname="${alert}",alertstate="firing"})`, 1)],
    }));
    const quiet = {
      name: 'a rack in order',
      interval: '1m',
      input_series: series(QUIET),
      promql_expr_test: [expecting('group(ALERTS)', undefined)],
    };
    const path = join(folder, 'alerts.test.yml');
    writeFileSync(path, stringify({ rule_files: [RULES], tests: [quiet, ...tests] }));
    const { code, output } = await promtool(['test', 'rules', path]);
    expect([code, output]).toEqual([0, expect.stringContaining('SUCCESS')]);
  });

  test('finds data for every query of the board', async () => {
    const url = await startPrometheus();
    const board = JSON.parse(read('deploy/grafana/memrack.json')) as Parameters<
      typeof boardExpressions
    >[0];
    let missing = boardExpressions(board);
    expect(missing.length).toBeGreaterThan(40);
    await until(90_000, async () => {
      await useRack(rack.url);
      const found = await Promise.all(missing.map((query) => hasData(url, query)));
      missing = missing.filter((_, i) => !found[i]);
      return missing.length === 0 ? true : undefined;
    }).catch(() => undefined);
    expect(missing).toEqual([]);
    const rules = (await (await fetch(`${url}/api/v1/rules`)).json()) as {
      data: { groups: { rules: { name: string; health: string }[] }[] };
    };
    const health = rules.data.groups.flatMap((group) => group.rules.map((rule) => rule.health));
    expect(new Set(health)).toEqual(new Set(['ok']));
  });
});
