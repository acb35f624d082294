// The command line as users and scripts meet it: exit codes, output that parses, errors that help.
import { execFile } from 'node:child_process';
import { createServer } from 'node:net';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CLI, ROOT, runCli, runNode } from '../support/cli.js';
import { startRack, type TestRack } from '../support/rack.js';

let rack: TestRack;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'memrack-cli-'));
  rack = await startRack({ nodes: 2 });
});

afterAll(async () => {
  await rack?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const cli = (...args: string[]) => runCli(args, { env: { MEMRACK_URL: rack.url } });

describe('output', () => {
  test('of nodes has the promised fields, and a table for people', async () => {
    const { code, stdout } = await cli('nodes', '-o', 'json');
    expect(code).toBe(0);
    const nodes = JSON.parse(stdout) as Record<string, unknown>[];
    expect(nodes).toHaveLength(3);
    for (const node of nodes) {
      expect(node).toMatchObject({
        id: expect.any(String),
        address: expect.stringMatching(/^tcp:/),
        state: 'serving',
        bytesLent: expect.any(Number),
        bytesUsed: expect.any(Number),
        pid: expect.any(Number),
      });
    }
    const table = await cli('nodes');
    expect(table.stdout.split('\n')[0]).toMatch(/^id\s+kind\s+state\s+lent/);
    expect(table.stdout).not.toContain('\u001b');
  });

  test('of status parses and has findings with remedies', async () => {
    const { code, stdout } = await cli('status', '--output', 'json');
    expect(code).toBe(0);
    const status = JSON.parse(stdout) as { state: string; findings: { remedy: string }[] };
    expect(status.state).toBe('serving');
    for (const { remedy } of status.findings) expect(remedy).not.toBe('');
    expect((await cli('status')).stdout).toContain('serving');
  });

  test('of bench parses', async () => {
    const { code, stdout, stderr } = await cli('bench', 'lone-read', '-o', 'json');
    expect([code, stderr]).toEqual([0, 'measuring lone-read (1 of 1) ...\n']);
    expect(JSON.parse(stdout)).toMatchObject([{ name: 'lone-read', bytes: 64 }]);
    expect((await cli('bench', 'lone-rad')).code).toBe(2);
  });

  test('of doctor names every check with a remedy where one is needed', async () => {
    const { stdout } = await cli('doctor', '-o', 'json');
    const findings = JSON.parse(stdout) as { check: string; state: string; remedy: string }[];
    const checks = findings.map(({ check }) => check);
    for (const check of ['node', 'native packages', 'memory', 'port 7070', 'open files']) {
      expect(checks).toContain(check);
    }
    expect(findings.find(({ check }) => check === 'port 7070')?.state).not.toBe('bad');
    for (const { state, remedy } of findings) if (state !== 'good') expect(remedy).not.toBe('');
  });

  test.each(['nodes | true', 'top --interval 100 -o json | head -n 1'])(
    'that nobody reads any more is no failure: %s',
    async (line) => {
      const env = { ...process.env, MEMRACK_URL: rack.url };
      const script = `"${process.execPath}" "${CLI}" ${line} >/dev/null; echo "$PIPESTATUS"`;
      const { stdout, stderr } = await promisify(execFile)('bash', ['-c', script], { env });
      expect([stdout, stderr]).toEqual(['0\n', '']);
    },
  );

  test('of Node itself, when the process ends, is not left out', async () => {
    const profiles = join(folder, 'profiles');
    const profiling = ['--cpu-prof', `--cpu-prof-dir=${profiles}`];
    expect((await runNode([...profiling, CLI, 'put', 'key'])).code).toBe(2);
    expect(readdirSync(profiles)).toHaveLength(1);
  });
});

/** Lets no program load koffi, as where its binary is missing. */
const WITHOUT_KOFFI = `
  export const resolve = (name, context, next) => {
    if (name === 'koffi') throw new Error('koffi has no binary here');
    return next(name, context);
  };
`;

test('doctor runs, and says so, where a native package cannot be loaded', async () => {
  const url = (text: string): string => `data:text/javascript,${encodeURIComponent(text)}`;
  const hooks = JSON.stringify(url(WITHOUT_KOFFI));
  const hook = `import { register } from 'node:module'; register(${hooks});`;
  const args = ['--import', url(hook), CLI, 'doctor', '-o', 'json'];
  const { code, stdout } = await runNode(args);
  expect(code).toBe(1);
  const found = 'koffi has no binary here';
  const natives = { check: 'native packages', state: 'bad', found };
  expect(JSON.parse(stdout)).toContainEqual(expect.objectContaining(natives));
});

test('a node is drained while its data can be read, and used again', async () => {
  const file = join(folder, 'drained');
  writeFileSync(file, 'x'.repeat(300_000));
  expect((await cli('put', 'drained', file)).code).toBe(0);
  const nodes = (await rack.nodes()).filter(({ kind }) => kind === 'memory-node');
  const regions = await cli('space', 'regions', 'files', '-o', 'json');
  const full = (JSON.parse(regions.stdout) as { node: string }[])[0]?.node ?? '';
  const drained = await cli('node', 'drain', full);
  expect([drained.code, drained.stdout]).toEqual([0, expect.stringMatching(/^drained .*moved/)]);
  const rows = JSON.parse((await cli('nodes', '-o', 'json')).stdout) as { drain?: string }[];
  expect(rows).toContainEqual(expect.objectContaining({ id: full, drain: 'drained' }));
  // The last one has nowhere to go.
  const last = nodes.find(({ id }) => id !== full)?.id ?? '';
  const waits = await cli('node', 'drain', last, '--wait', '1');
  expect([waits.code, waits.stderr]).toEqual([1, expect.stringContaining('is to be emptied, too')]);
  expect((await cli('node', 'remove', full)).code).toBe(3);
  for (const id of [full, last]) expect((await cli('node', 'drain', id, '--cancel')).code).toBe(0);
  expect((await cli('get', 'drained', join(folder, 'drained.back'))).code).toBe(0);
  expect(readFileSync(join(folder, 'drained.back'))).toEqual(readFileSync(file));
});

describe('spaces', () => {
  test('are created once, listed and removed', async () => {
    expect((await cli('space', 'create', 'photos')).code).toBe(0);
    const again = await cli('space', 'create', 'photos');
    expect(again.code).toBe(3);
    expect(again.stderr).toContain('Exists');
    const { stdout } = await cli('space', 'list', '-o', 'json');
    expect(JSON.parse(stdout)).toContainEqual(expect.objectContaining({ name: 'photos' }));
    const removed = await cli('space', 'remove', 'photos', '-o', 'json');
    expect([removed.code, removed.stdout]).toEqual([0, '{"name":"photos"}\n']);
    expect((await cli('space', 'remove', 'photos')).code).toBe(3);
    expect((await cli('space', 'create', 'no/slash')).code).toBe(2);
    // No node of this rack is on a disk; one may come.
    const quick = ['--config', join(ROOT, 'test/e2e/quick.json')];
    const persistent = await cli('space', 'create', 'x', '--kind', 'persistent', ...quick);
    expect([persistent.code, persistent.stderr]).toEqual([
      4,
      expect.stringMatching(/--persistent/),
    ]);
    expect((await cli('space', 'create', 'x', '--kind', 'dramm')).code).toBe(2);
  });
});

describe('files', () => {
  test('come back as they went, of any size', async () => {
    for (const bytes of [0, 1, 65_537, 5_000_000]) {
      const from = join(folder, `from-${bytes}`);
      const to = join(folder, `to-${bytes}`);
      writeFileSync(from, Buffer.alloc(bytes, `content ${bytes} `));
      const put = await cli('put', `dir/file-${bytes}`, from, '-o', 'json');
      expect(put.stderr).toBe('');
      expect(put.code).toBe(0);
      expect(JSON.parse(put.stdout)).toMatchObject({ key: `dir/file-${bytes}`, bytes });
      expect((await cli('get', `dir/file-${bytes}`, to)).code).toBe(0);
      expect(readFileSync(to).equals(readFileSync(from))).toBe(true);
    }
  });

  test('are replaced, and the memory of the old one is given back', async () => {
    const from = join(folder, 'large');
    writeFileSync(from, Buffer.alloc(20 * 1024 * 1024, 'x'));
    // Ten times 20 MiB would not fit into 2 x 64 MiB.
    for (let i = 0; i < 10; i++) expect((await cli('put', 'same', from)).code).toBe(0);
  });

  test('that are not there are refused', async () => {
    const missing = await cli('get', 'nothing', join(folder, 'out'));
    expect(missing.code).toBe(3);
    expect(missing.stderr).toContain('NotFound');
    const noSource = await cli('put', 'key', join(folder, 'nothing'));
    expect([noSource.code, noSource.stderr]).toEqual([2, expect.stringContaining('no file')]);
    expect((await cli('put', 'key', folder)).code).toBe(2);
  });

  test('are not written where there is no place for one', async () => {
    const from = join(folder, 'from');
    writeFileSync(from, 'x');
    expect((await cli('put', 'placed', from)).code).toBe(0);
    for (const [to, why] of [
      [folder, 'not a regular file'],
      ['/dev/null', 'not a regular file'],
      [join(folder, 'no', 'such', 'folder'), 'no folder'],
    ] as const) {
      const got = await cli('get', 'placed', to);
      expect([to, got.code, got.stderr]).toEqual([to, 2, expect.stringContaining(why)]);
      expect(got.stderr).not.toContain('.memrack-');
    }
  });
});

describe('wrong use', () => {
  test('ends with 2 and says what is right', async () => {
    const file = join(folder, 'memrack.json');
    writeFileSync(file, '{ "memroy": "1GiB", "nodes": -1 }');
    const wrong = await runCli(['up', '--config', file]);
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain('did you mean memory?');
    expect(wrong.stderr).toContain('nodes: -1');
    const small = await runCli(['up', '--memory', '1MiB', '--port', '0']);
    expect(small.code).toBe(2);
    expect(small.stderr.match(/--memory/g)).toHaveLength(1);
    expect(small.stderr).toContain('2 pages of 2 MiB');
    for (const args of [
      ['nonsense'],
      ['up', '--nodes', 'many'],
      ['up', '--memory', '12 parsecs'],
      ['up', '--port', '99999'],
      ['up', '--unknown'],
      ['up', '--placement', 'anywhere', '--port', '0'],
      ['up', '--page-bytes', '3MiB', '--port', '0'],
      ['up', '--listen', '0.0.0.0', '--port', '0'],
      ['memory-node', '--join', '127.0.0.1:1', '--listen', '[::]'],
      ['host', '--join', '127.0.0.1:1', '--listen', '0.0.0.0'],
      ['memory-node'],
      ['memory-node', '--join', 'somewhere'],
      ['host', '--join', '127.0.0.1:9', '--nbd-tls-key', 'key.pem'],
      ['host', '--join', '127.0.0.1:9', '--nbd-tls-psk', '/nowhere/keys.psk'],
      ['put', 'key'],
      ['nodes', '-o', 'xml'],
      ['nodes', '--rack', 'http://127.0.0.1'],
    ]) {
      const { code, stderr } = await runCli(args);
      expect([args, code]).toEqual([args, 2]);
      expect(stderr.length).toBeGreaterThan(10);
    }
  });

  test('an unreachable rack is 4, with a remedy', async () => {
    const config = join(folder, 'quick.json');
    writeFileSync(config, '{ "timeoutMs": 500 }');
    const { code, stderr } = await runCli([
      'status',
      '--config',
      config,
      '--rack',
      'memrack://127.0.0.1:9',
    ]);
    expect(code).toBe(4);
    expect(stderr).toContain('memrack up');
  });

  test('a taken port and too little memory are told at the start', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const taken = await runCli(['up', '--port', String(port)]);
    await new Promise((resolve) => server.close(resolve));
    expect(taken.code).toBe(1);
    expect(taken.stderr).toContain('--port');
    const blocked = join(folder, 'from-1', 'below-a-file');
    for (const role of ['up', 'controller']) {
      const wrong = await runCli([role, '--port', '0', '--data', blocked]);
      expect(wrong.code).toBe(2);
      expect(wrong.stderr).toContain('--data');
    }
    const large = await runCli(['up', '--port', '0', '--memory', '100TiB']);
    expect(large.code).toBe(1);
    expect(large.stderr).toContain('--memory');
  });

  test('what comes later says so and fails', async () => {
    for (const args of [
      ['run', '--local', '1GiB', '--', 'ls'],
      ['store', 'list'],
      ['host', '--join', '127.0.0.1:1', '--redis-port', '6380'],
    ]) {
      const { code, stderr } = await runCli(args);
      expect([args, code]).toEqual([args, args[0] === 'run' ? 125 : 1]);
      expect(stderr).toContain('not available in this version yet');
    }
  });

  test('every command has help with an example', async () => {
    const { stdout, code } = await runCli(['--help']);
    expect(code).toBe(0);
    const names = [...stdout.matchAll(/^ {2}([a-z-]+) /gm)].map((match) => match[1] ?? '');
    expect(names).toContain('up');
    for (const name of names.filter((each) => each !== 'help')) {
      const help = await runCli([name, '--help']);
      expect(help.code).toBe(0);
      expect([name, help.stdout]).toEqual([name, expect.stringContaining('Example:')]);
    }
  });
});

test('single roles make a rack too', async () => {
  const { spawn } = await import('node:child_process');
  const { CLI, ROOT } = await import('../support/cli.js');
  const { until } = await import('../support/rack.js');
  const children: import('node:child_process').ChildProcess[] = [];
  const ended: Promise<unknown>[] = [];
  const start = (...args: string[]) => {
    const child = spawn(process.execPath, [CLI, ...args], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(child);
    ended.push(new Promise((resolve) => child.once('exit', resolve)));
    let output = '';
    child.stdout.on('data', (text: Buffer) => (output += text.toString()));
    return until(20_000, () => (output.includes('\n') ? output : undefined));
  };
  try {
    const first = await start('controller', '--port', '0');
    const url = /memrack:\/\/\S+/.exec(first)?.[0] ?? '';
    const join = url.slice('memrack://'.length);
    const sizes = ['--memory', '32MiB', '--page-bytes', '64KiB'];
    await start('memory-node', '--join', join, '--id', 'alone', ...sizes);
    // The usual port may be another rack's.
    await start('host', '--join', url, '--id', 'my-host', '--nbd-port', '0');
    const { stdout } = await runCli(['nodes', '-o', 'json', '--rack', url]);
    const ids = (JSON.parse(stdout) as { id: string }[]).map(({ id }) => id);
    expect(ids.sort()).toEqual(['alone', 'my-host']);
    expect((await runCli(['space', 'create', 'x', '--rack', url])).code).toBe(0);
  } finally {
    for (const child of children.reverse()) child.kill('SIGTERM');
    await Promise.all(ended);
  }
});
