/**
 * `npm start`: a rack on this machine, the main job on it, a table of results and the addresses;
 * stays up until Ctrl-C. With `--once` it ends after the job, with exit code 0 only if every byte
 * was verified.
 */

import { existsSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { formatBytes, MiB, parseBytes } from '../base/units.js';
import { PLACEMENT_POLICY_DEFAULT } from '../policies/placement/placement-policies.js';
import { endProcess } from '../runtime/node/end-process.js';
import type { Runtime } from '../runtime/runtime.js';
import { PAGE_BYTES_DEFAULT } from '../wire/limits.js';
import { appRuntime } from './app-runtime.js';
import { DEVICE_NODE_BYTES, type DeviceJobResult, runDeviceJob } from './job/device-job.js';
import { cleanUp, type JobResult, jobTable, runJob } from './job/main-job.js';
import { runSwapJob, SWAP_JOB_NODE_BYTES, swapJobTable, whyNoSwapJob } from './job/swap-job.js';
import { readTree, type Tree } from './job/tree.js';
import { PACK_BYTES } from './job/write-files.js';
import { connect } from './library.js';
import { outliveReaders } from './output.js';
import { LocalRack, RackFailed } from './rack-processes.js';
import { formatDuration, paint } from './terminal.js';

const NODES = 3;
const WORKERS = 3;
/** More is left out, and said: the job is to be over in seconds. */
const TREE_BYTES_MAX = 384 * MiB;
const NODE_BYTES_MIN = 128 * MiB;
/** Of the machine's available memory, the part that the job may take for itself. */
const SHARE_OF_MEMORY = 0.5;

const USAGE = `npm start [-- OPTIONS]
  --once            end after the job; exit code 0 only if everything was verified
  --files FOLDER    the files of the job (default: the packages of this checkout)
  --port PORT       of the controller (default 7070; 0: any free one)
  --host-swap       runs a program with remote memory, too: takes root, and swap of this machine
  --limit SIZE      at most so many bytes of files (default ${formatBytes(TREE_BYTES_MAX)})
`;

interface Flags {
  readonly once: boolean;
  readonly files: string;
  readonly port: number;
  readonly limit: number;
  readonly hostSwap: boolean;
}

const say = (line = ''): void => void process.stdout.write(`${line}\n`);
const complain = (line: string): void => {
  process.stderr.write(`${paint(process.stderr, 'red', 'memrack:')} ${line}\n`);
};

/** The packages of this checkout: thousands of files of every size, there already. */
function defaultFolder(): string {
  return resolve(dirname(fileURLToPath(import.meta.url)), '../../node_modules');
}

/** Ends the process with code 2 when the flags are wrong. */
function readFlags(): Flags {
  const wrong = (why: string): never => {
    complain(`${why}\n${USAGE}`);
    endProcess(2);
  };
  let values: Partial<Record<'once' | 'help' | 'host-swap', boolean>> &
    Partial<Record<'files' | 'port' | 'limit', string>>;
  try {
    const text = { type: 'string' } as const;
    const flag = { type: 'boolean' } as const;
    const flags = { once: flag, help: flag, 'host-swap': flag };
    const options = { ...flags, files: text, port: text, limit: text };
    ({ values } = parseArgs({ options }));
  } catch (error) {
    return wrong((error as Error).message);
  }
  if (values.help === true) {
    say(USAGE);
    endProcess(0);
  }
  const files = resolve(values.files ?? defaultFolder());
  if (!existsSync(files) || !statSync(files).isDirectory()) wrong(`${files} is not a folder`);
  const port = Number(values.port ?? 7070);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) wrong(`--port: no port ${values.port}`);
  const limit = values.limit === undefined ? TREE_BYTES_MAX : parseBytes(values.limit);
  if (limit === undefined || limit <= 0) return wrong(`--limit: no size ${values.limit}`);
  const hostSwap = values['host-swap'] ?? false;
  return { once: values.once ?? false, files, port, limit, hostSwap };
}

/** Memory per node such that the packs fit wherever they are placed, with slack. */
function nodeBytes(tree: Tree, { hostSwap }: Flags): number {
  const swap = hostSwap ? SWAP_JOB_NODE_BYTES : 0;
  const perNode = (tree.bytes / NODES) * 1.3 + 4 * PACK_BYTES + DEVICE_NODE_BYTES + swap;
  return Math.max(NODE_BYTES_MIN, Math.ceil(perNode / PACK_BYTES) * PACK_BYTES);
}

async function chooseTree(flags: Flags, available: number): Promise<Tree> {
  const limit = Math.min(flags.limit, Math.floor((available * SHARE_OF_MEMORY) / 1.3));
  const skipHidden = flags.files === defaultFolder();
  const tree = await readTree(flags.files, { bytesMax: limit, skipHidden });
  say(`job: ${tree.files.length} files of ${flags.files}, ${formatBytes(tree.bytes)}`);
  if (tree.omitted > 0) {
    const why = limit < flags.limit ? 'this machine has no memory for more' : 'see --limit';
    const left = `${tree.omitted} files with ${formatBytes(tree.omittedBytes)}`;
    say(`note: ${left} are left out (at most ${formatBytes(limit)}: ${why})`);
  }
  if (tree.files.length === 0) throw new RackFailed(`no files in ${flags.files}`, 2);
  return tree;
}

async function job(runtime: Runtime, rack: LocalRack, flags: Flags, tree: Tree): Promise<boolean> {
  const client = await connect(rack.url);
  try {
    const { files: folder } = flags;
    const device = await runDeviceJob({ runtime, rack, client, folder, tree, say });
    reportDevice(device);
    if (device.wrong.length > 0) return false;
    const screen = process.stdout;
    const began = { rack: client, folder: flags.files, tree, workers: WORKERS, screen };
    const result = await runJob(began);
    report(result);
    if (flags.once) await cleanUp(client);
    return result.isVerified && (await swapJob(rack, flags));
  } finally {
    await client.close();
  }
}

async function swapJob(rack: LocalRack, { hostSwap }: Flags): Promise<boolean> {
  const missing = hostSwap ? whyNoSwapJob() : 'say --host-swap if swap of this machine may be used';
  if (missing !== undefined) {
    say(`left out: a program with remote memory: ${missing}`);
    return !hostSwap;
  }
  const result = await runSwapJob(rack.url);
  say();
  say(`sort takes ${formatBytes(result.peakBytes)} and ${result.seconds.toFixed(2)} s; with less:`);
  process.stdout.write(swapJobTable(result));
  if (result.wrong.length === 0) {
    say(`${paint(process.stdout, 'green', 'verified')}: its output is the same each time`);
    return true;
  }
  complain('the program with remote memory is NOT verified:');
  for (const line of result.wrong) complain(`  ${line}`);
  return false;
}

function reportDevice(result: DeviceJobResult): void {
  const { image, by, putMs, getMs, lostNode, writes, loadBytes, longestMs } = result;
  const what = image.isFileSystem
    ? `an ext4 file system with ${image.files} files`
    : `the bytes of ${image.files} files (no mke2fs here for a file system)`;
  say(`device: ${what}, ${formatBytes(image.bytes)}, moved by ${by}`);
  say(`        put in ${formatDuration(putMs)}, read back in ${formatDuration(getMs)}`);
  const load = `${writes} writes meanwhile to ${formatBytes(loadBytes)}`;
  say(`        ${lostNode} was lost; ${load}, the longest took ${formatDuration(longestMs)}`);
  if (result.wrong.length === 0) {
    const verified = paint(process.stdout, 'green', 'verified');
    say(`${verified}: every byte of the device, from its other copy`);
    return;
  }
  complain('the device is NOT verified:');
  for (const line of result.wrong) complain(`  ${line}`);
}

function report(result: JobResult): void {
  say();
  process.stdout.write(jobTable(result.phases));
  say();
  if (result.isVerified) {
    const verified = paint(process.stdout, 'green', 'verified');
    say(`${verified}: every file read back by other processes has its SHA-256`);
    return;
  }
  complain('NOT verified:');
  for (const line of result.wrong) complain(`  ${line}`);
}

function addresses(rack: LocalRack): void {
  say();
  say(`  programs   ${rack.url}`);
  say(`  HTTP API   ${rack.httpUrl}/v1/status`);
  say(`  metrics    ${rack.httpUrl}/metrics`);
  say(`  device     ${rack.nbdUrl}/disk`);
  say('  look       npx memrack status   npx memrack nodes   npx memrack get KEY FILE');
  say('Ctrl-C ends it.');
}

/** Resolves at the first signal; the second ends the process at once. */
function untilSignal(): Promise<void> {
  return new Promise((asked) => {
    let isAsked = false;
    const ask = (): void => {
      if (isAsked) endProcess(1);
      isAsked = true;
      asked();
    };
    process.on('SIGINT', ask);
    process.on('SIGTERM', ask);
    process.on('SIGHUP', ask);
  });
}

async function main(): Promise<number> {
  const flags = readFlags();
  const runtime = appRuntime('start');
  const asked = untilSignal();
  const tree = await chooseTree(flags, runtime.memory.available());
  const options = {
    listen: '127.0.0.1',
    port: flags.port,
    nodes: NODES,
    memoryBytes: nodeBytes(tree, flags),
    pageBytes: PAGE_BYTES_DEFAULT,
    data: undefined,
    persistentNodes: 0,
    unprovenFileSystem: false,
    placement: PLACEMENT_POLICY_DEFAULT,
  };
  const rack = new LocalRack(runtime, options, complain);
  try {
    await rack.start();
    say(`rack: ${NODES} memory nodes of ${formatBytes(options.memoryBytes)} at ${rack.url}`);
    const isVerified = await Promise.race([
      job(runtime, rack, flags, tree),
      asked.then(() => undefined),
      rack.failed.then((failure) => Promise.reject(failure)),
    ]);
    if (isVerified === undefined) return 1;
    if (flags.once || !isVerified) return isVerified ? 0 : 1;
    addresses(rack);
    const failure = await Promise.race([rack.failed, asked]);
    if (failure !== undefined) throw failure;
    return 0;
  } finally {
    await rack.stop();
  }
}

try {
  outliveReaders();
  endProcess(await main());
} catch (error) {
  const isForPeople = error instanceof RackFailed || (error as Error).name === 'MemrackError';
  complain(isForPeople ? (error as Error).message : ((error as Error).stack ?? String(error)));
  endProcess(error instanceof RackFailed ? error.exitCode : 1);
}
