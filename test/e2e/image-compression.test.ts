// The example of image compression, as its README shows it: real processes, real images.
import { type ChildProcess, spawn } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import ts from 'typescript';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ROOT, runNode } from '../support/cli.js';
import { startRack, type TestRack } from '../support/rack.js';

const EXAMPLE = join(ROOT, 'examples/image-compression');
const PHOTOS = join(EXAMPLE, 'photos');

let rack: TestRack;
let folder: string;
let serving: ChildProcess | undefined;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'memrack-images-'));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(ROOT, join(folder, 'node_modules/memrack'));
  symlinkSync(join(ROOT, 'node_modules/sharp'), join(folder, 'node_modules/sharp'));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  for (const name of readdirSync(EXAMPLE).filter((one) => one.endsWith('.ts'))) {
    const built = ts.transpileModule(readFileSync(join(EXAMPLE, name), 'utf8'), {
      compilerOptions: {
        module: ts.ModuleKind.ESNext,
        target: ts.ScriptTarget.ES2022,
        rewriteRelativeImportExtensions: true,
      },
    });
    writeFileSync(join(folder, name.replace(/\.ts$/, '.js')), built.outputText);
  }
  rack = await startRack({ nodes: 2, memory: '256MiB', pageBytes: '2MiB' });
});

afterEach(async () => {
  await endService();
});

afterAll(async () => {
  await rack?.stop();
  rmSync(folder, { recursive: true, force: true });
});

function words(...more: readonly string[]): string[] {
  return [join(folder, 'main.js'), '--rack', rack.url, '--photos', PHOTOS, ...more];
}

test.each(['shm', 'tcp', 'udp'])(
  'clients over %s compress and decompress, and reach no others',
  { timeout: 60_000 },
  async (link) => {
    const { code, stdout, stderr } = await runNode(
      words('--link', link, '--clients', '1,3', '--images', '8', '--collection', '4'),
    );
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^ {6}1 .* dB$/m);
    expect(stdout).toMatch(/^ {6}3 .* dB$/m);
    expect(stdout).toMatch(/in the collection of another: Invalid$/m);
  },
);

test('a folder without a picture, and a number that is none, are named', async () => {
  const empty = mkdtempSync(join(tmpdir(), 'memrack-images-'));
  try {
    const { code, stderr } = await runNode(words('--clients', '1', '--photos', empty));
    expect(stderr).toContain(`${empty}: no picture`);
    expect(code).toBe(1);
  } finally {
    rmSync(empty, { recursive: true });
  }
  const { code, stderr } = await runNode(words('--clients', 'two'));
  expect(stderr).toContain('--clients takes whole numbers from 1 on, not two');
  expect(code).toBe(1);
});

async function serve(): Promise<string> {
  const child = spawn(process.execPath, words('serve', '--port', '0', '--collection', '2'), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  serving = child;
  return new Promise((resolve, reject) => {
    child.once('exit', () => reject(new Error('the service ended')));
    child.stdout.on('data', (text: Buffer) => {
      const url = /http:\S+?(?=;)/.exec(text.toString())?.[0];
      if (url !== undefined) resolve(url);
    });
  });
}

/** As Ctrl-C does; its exit code. */
async function endService(): Promise<number | null> {
  const child = serving;
  serving = undefined;
  if (child === undefined) return null;
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  return ended;
}

/** The processes that the service started. */
function clientsOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return text.trim().split(' ').filter(Boolean).map(Number);
}

test('the service keeps photos, and they outlive the process of their client', async () => {
  const url = await serve();
  const photo = readFileSync(join(PHOTOS, 'house-cat.jpg'));
  const put = await fetch(`${url}/ann/1`, { method: 'PUT', body: photo });
  expect([put.status, await put.text()]).toEqual([200, 'kept as image 1\n']);
  expect((await fetch(`${url}/ann/1`)).status).toBe(404);
  expect((await fetch(`${url}/ann/compress`, { method: 'POST' })).status).toBe(200);

  const [client = 0] = clientsOf(serving?.pid ?? 0);
  process.kill(client, 'SIGKILL');
  await expect.poll(() => clientsOf(serving?.pid ?? 0)).toEqual([]);
  const got = await fetch(`${url}/ann/1`);
  expect(got.headers.get('content-type')).toBe('image/jpeg');
  const { width, height } = await sharp(Buffer.from(await got.arrayBuffer())).metadata();
  expect([width, height]).toEqual([256, 256]);

  expect(await (await fetch(`${url}/ann`)).text()).toContain('<img src="/ann/1"');
  expect((await fetch(`${url}/bob/1`)).status).toBe(404);
  expect((await fetch(`${url}/ann/2`, { method: 'PUT', body: photo })).status).toBe(404);
  const text = await fetch(`${url}/ann/0`, { method: 'PUT', body: 'no picture' });
  expect([text.status, await text.text()]).toEqual([400, expect.stringContaining('unsupported')]);
});

async function bytesUsed(): Promise<number> {
  const answer = await fetch(`${rack.url.replace('memrack:', 'http:')}/v1/nodes`);
  const nodes = (await answer.json()) as { bytesUsed: number }[];
  return nodes.reduce((sum, node) => sum + node.bytesUsed, 0);
}

test('who ends the service gets the memory back', async () => {
  const url = await serve();
  const photo = readFileSync(join(PHOTOS, 'alpine-landscape.jpg'));
  await fetch(`${url}/eve/0`, { method: 'PUT', body: photo });
  await expect.poll(bytesUsed, { timeout: 10_000 }).toBeGreaterThan(0);
  expect(await endService()).toBe(0);
  await expect.poll(bytesUsed, { timeout: 10_000 }).toBe(0);
});
