/**
 * `memrack doctor`: whether this machine can run a rack, and with one named what the network does
 * between here and its memory nodes; a remedy per finding.
 */

import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { availableParallelism } from 'node:os';
import type { Command } from 'commander';
import { paint } from '../apps/terminal.js';
import { formatBytes, GiB, MiB } from '../base/units.js';
import { printRows, rackUrl, say, type SharedFlags, withOutput, withRack } from './context.js';
import { leftOut } from './doctor-network.js';
import { examineNetwork, isRackNamed } from './doctor-rack.js';
import { Exit, EXIT } from './exit.js';
import type { Finding } from './finding.js';

const NODE_MIN = [20, 20] as const;
const NATIVES = 'native packages';
const FILES_MIN = 1024;
const PORTS = [7070] as const;
const PORTS_LATER = [10_809, 6380] as const;
const DEVICES = ['/dev/fuse', '/dev/userfaultfd', '/dev/loop-control', '/dev/net/tun'] as const;

export function addDoctor(program: Command): void {
  withOutput(withRack(program.command('doctor')))
    .description('checks this machine, and with a rack named the network to its memory nodes')
    .option('--clean', 'removes what programs with remote memory have left (memrack run)')
    .option('--verify <file>', 'checks the file of a persistent memory, or the backup of a device')
    .addHelpText(
      'after',
      '\nExample:\n  memrack doctor --rack memrack://127.0.0.1:7070\n' +
        '  memrack doctor --verify /data/d1.mem\n' +
        '  memrack doctor --clean',
    )
    .action(async (flags: DoctorFlags) => {
      if (flags.clean === true) return clean(flags);
      if (flags.verify !== undefined) return verifyFile(flags, flags.verify);
      const own = await examine();
      const network = await networkOf(flags, own);
      const findings = [...own, ...network.findings];
      const rows = findings.map((each) => ({ code: codeOf(each), ...each }));
      if (flags.output === 'json') printRows(flags, rows, []);
      else show(findings);
      if (!network.isReached) throw new Exit(EXIT.unreachable);
      if (findings.some(({ state }) => state === 'bad')) throw new Exit(EXIT.failed);
    });
}

interface DoctorFlags extends SharedFlags {
  readonly verify?: string;
  readonly clean?: boolean;
}

/** On this machine, and of it in the rack. */
async function clean(flags: SharedFlags): Promise<void> {
  const { cleanDevices, cleanRuns } = await import('../apps/run/clean.js');
  const done = await cleanRuns();
  const url = rackUrl(flags);
  const rackAway = await cleanDevices(url).then(
    (more) => void done.push(...more),
    (error: Error) => error.message,
  );
  const findings: Finding[] = done.map(({ what, problems }) => ({
    check: what,
    state: problems.length === 0 ? 'good' : 'bad',
    found: problems.length === 0 ? 'removed' : 'still there',
    remedy: problems.join('; '),
  }));
  if (rackAway !== undefined) {
    const remedy = 'name it with --rack, and run this again when it is there';
    findings.push({ check: 'rack', state: 'skipped', found: rackAway, remedy });
  }
  if (flags.output === 'json') printRows(flags, findings, []);
  else show(findings);
  if (findings.length === 0 && flags.output !== 'json') say('nothing is left of any run');
  if (findings.some(({ state }) => state === 'bad')) throw new Exit(EXIT.failed);
}

/** Nothing else is looked at. */
async function verifyFile(flags: SharedFlags, path: string): Promise<void> {
  // Both need native packages, which may be what is missing on this machine.
  const { appRuntime } = await import('../apps/app-runtime.js');
  const { examineBackup } = await import('./doctor-backup.js');
  const { examineFile } = await import('./doctor-file.js');
  const runtime = appRuntime('doctor');
  const seen = (await examineBackup(runtime, path)) ?? (await examineFile(runtime, path));
  const { findings, isRefused } = seen;
  const rows = findings.map((each) => ({ code: `FILE_${codeOf(each)}`, ...each }));
  if (flags.output === 'json') printRows(flags, rows, []);
  else show(findings);
  if (isRefused) throw new Exit(EXIT.refused);
  if (findings.some(({ state }) => state === 'bad')) throw new Exit(EXIT.failed);
}

/** Without the native packages nothing can be sent, which is found already. */
async function networkOf(
  flags: SharedFlags,
  own: readonly Finding[],
): Promise<Awaited<ReturnType<typeof examineNetwork>>> {
  const isBroken = own.some(({ check, state }) => check === NATIVES && state === 'bad');
  if (isBroken || !isRackNamed(flags)) return { findings: [leftOut()], isReached: true };
  return examineNetwork(flags);
}

function codeOf({ check }: Finding): string {
  return check
    .replace(/[^A-Za-z0-9]+/g, '_')
    .replace(/^_/, '')
    .toUpperCase();
}

const COLOURS = {
  good: 'green',
  warning: 'yellow',
  bad: 'red',
  later: 'dim',
  skipped: 'dim',
} as const;

function show(findings: readonly Finding[]): void {
  for (const { check, state, found, remedy } of findings) {
    const mark = paint(process.stdout, COLOURS[state], state.padEnd(7));
    process.stdout.write(`${mark} ${check}: ${found}\n`);
    if (state !== 'good' && remedy !== '') process.stdout.write(`        ${remedy}\n`);
  }
}

export async function examine(): Promise<Finding[]> {
  const findings = [platform(), nodeVersion(), await natives(), memory(), processors()];
  findings.push(openFiles(), lockedMemory());
  const other = 'by a rack (memrack status), or by a program: pass another port with --port';
  for (const port of PORTS) findings.push(await portFree(port, 'warning', other));
  const later = 'needed only by doors that come later: see who has it with ss -ltnp';
  for (const port of PORTS_LATER) findings.push(await portFree(port, 'later', later));
  for (const device of DEVICES) findings.push(deviceRight(device));
  findings.push(controlGroups());
  return findings;
}

function platform(): Finding {
  const isLinux = process.platform === 'linux';
  const found = `${process.platform} ${process.arch}`;
  const remedy = 'run it on Linux: memory files and polling need its system calls';
  return { check: 'system', state: isLinux ? 'good' : 'bad', found, remedy };
}

function nodeVersion(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const isNew = major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1]);
  const remedy = `install Node ${NODE_MIN.join('.')} or later`;
  return { check: 'node', state: isNew ? 'good' : 'bad', found: process.version, remedy };
}

/** Loading the real runtime loads every native package but the one that opening metadata loads. */
async function natives(): Promise<Finding> {
  const check = NATIVES;
  try {
    const { appRuntime } = await import('../apps/app-runtime.js');
    const runtime = appRuntime('doctor');
    const sum = runtime.checksum.crc32c(new Uint8Array(4), 0, 4);
    await (await runtime.databases.open(undefined, 'doctor', {})).close();
    return { check, state: 'good', found: `loaded (checksum ${sum.toString(16)})`, remedy: '' };
  } catch (error) {
    const remedy = 'run npm ci again on this machine: packages carry one binary per platform';
    return { check, state: 'bad', found: (error as Error).message, remedy };
  }
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}

function memory(): Finding {
  const text = readOr('/proc/meminfo', '');
  const available = Number(/MemAvailable:\s+(\d+) kB/.exec(text)?.[1] ?? 0) * 1024;
  const state = available >= 4 * GiB ? 'good' : available >= 512 * MiB ? 'warning' : 'bad';
  const remedy = 'lend less than the default 3 x 1 GiB: memrack up --nodes 2 --memory 128MiB';
  return { check: 'memory', state, found: `${formatBytes(available)} available`, remedy };
}

function processors(): Finding {
  const count = availableParallelism();
  const remedy = 'with one processor polling cannot help: latency is that of waking a thread';
  return { check: 'processors', state: count >= 2 ? 'good' : 'warning', found: `${count}`, remedy };
}

function limitOf(name: string): string {
  const line = readOr('/proc/self/limits', '')
    .split('\n')
    .find((each) => each.startsWith(name));
  return line?.slice(name.length).trim().split(/\s+/)[0] ?? 'unknown';
}

function openFiles(): Finding {
  const limit = limitOf('Max open files');
  const isEnough = limit === 'unlimited' || Number(limit) >= FILES_MIN;
  const remedy = `raise it: ulimit -n ${FILES_MIN * 4}; every connection takes one`;
  return { check: 'open files', state: isEnough ? 'good' : 'warning', found: limit, remedy };
}

function lockedMemory(): Finding {
  const limit = limitOf('Max locked memory');
  const isEnough = limit === 'unlimited' || Number(limit) >= GiB;
  const remedy = 'for later, when swap lies in the rack: raise it with ulimit -l unlimited';
  const found = /^\d+$/.test(limit) ? formatBytes(Number(limit)) : limit;
  return { check: 'locked memory', state: isEnough ? 'good' : 'later', found, remedy };
}

function portFree(port: number, taken: 'warning' | 'later', remedy: string): Promise<Finding> {
  const check = `port ${port}`;
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      const found = error.code === 'EADDRINUSE' ? 'taken' : error.message;
      resolve({ check, state: taken, found, remedy });
    });
    server.listen(port, '127.0.0.1', () => {
      server.close(() => resolve({ check, state: 'good', found: 'free', remedy: '' }));
    });
  });
}

function deviceRight(device: string): Finding {
  const remedy = 'needed only by doors that come later: load the module, or ask for the right';
  if (!existsSync(device)) return { check: device, state: 'later', found: 'absent', remedy };
  try {
    accessSync(device, constants.R_OK | constants.W_OK);
    return { check: device, state: 'good', found: 'usable', remedy: '' };
  } catch {
    return { check: device, state: 'later', found: 'no right to use it', remedy };
  }
}

function controlGroups(): Finding {
  const check = 'control groups';
  const remedy = 'needed only by memrack run, which comes later';
  if (existsSync('/sys/fs/cgroup/memory')) {
    return { check, state: 'good', found: 'version 1, memory', remedy: '' };
  }
  const controllers = readOr('/sys/fs/cgroup/cgroup.controllers', '');
  if (/\bmemory\b/.test(controllers)) {
    return { check, state: 'good', found: 'version 2, memory', remedy: '' };
  }
  return { check, state: 'later', found: 'no memory controller', remedy };
}
