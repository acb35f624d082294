/**
 * A rack whose memory nodes are on another machine, as far as they can tell: in a network namespace
 * behind a pair of interfaces, where everything is sent over tcp. They have process numbers of
 * their own, too: else a host on this machine would open their memory, whatever their network.
 *
 * The namespace goes with the bench, however that ends; should it be killed, the next one that
 * makes namespaces removes it.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { within } from '../test/support/cli.js';
import { ip, namespacesNamed } from '../test/support/namespaces.js';
import { family } from '../test/support/rack.js';
import { has, pinned } from './harness.js';
import { freePort } from './peers/redis.js';
import { projectRoot, untilServing } from './rack.js';

const NEAR = '10.79.0.1';
const FAR = '10.79.0.2';
/** On this side; the other end is the namespace's `eth0`. */
const NEAR_DEVICE = 'memrack-near';
const START_MS = 30_000;
/** They end with this process, as what is in the namespace. */
const HERE = ['setpriv', '--pdeathsig', 'KILL'];
/** As a signal of this number ends a program. */
const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const;

export interface FarRack {
  readonly url: string;
  /** Of all that serves. */
  readonly pids: readonly number[];
  close(): Promise<void>;
}

/** Why there can be none here; undefined: there can. */
export function farRackMissing(): string | undefined {
  const missing = ['ip', 'setpriv', 'unshare'].filter((program) => !has(program));
  if (missing.length > 0) return `needs ${missing.join(', ')}`;
  return process.getuid?.() === 0 ? undefined : 'needs root, for network namespaces';
}

export async function startFarRack(nodes: number, memory: string): Promise<FarRack> {
  const port = await freePort();
  unplug();
  const namespaces = namespacesNamed(['nodes'], plug);
  const remove = (): void => {
    unplug();
    namespaces.remove();
  };
  const endings = Object.entries(SIGNALS).map(([signal, code]) => {
    return [signal, () => process.exit(code)] as const;
  });
  for (const [signal, end] of endings) process.once(signal, end);
  process.once('exit', remove);
  const children: ChildProcess[] = [];
  let errors = '';
  const start = (before: readonly string[], ...words: string[]): void => {
    const cli = join(projectRoot(), 'dist/cli/main.js');
    const [program, args] = pinned(0, [...before, process.execPath, cli, ...words]);
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr.on('data', (text: Buffer) => {
      errors = (errors + text.toString()).slice(-4000);
    });
    children.push(child);
  };
  const close = async (): Promise<void> => {
    for (const child of [...children].reverse()) await ended(child);
    for (const [signal, end] of endings) process.off(signal, end);
    process.off('exit', remove);
    remove();
  };
  try {
    start(HERE, 'controller', '--listen', NEAR, '--port', String(port));
    const place = ['--join', `${NEAR}:${port}`, '--listen'];
    const machine = [...within(namespaces.names[0]), 'unshare', '--fork', '--kill-child', '--pid'];
    for (let i = 1; i <= nodes; i++) {
      const words = [...place, FAR, '--id', `node-${i}`, '--memory', memory];
      start([...machine, '--mount-proc'], 'memory-node', ...words);
    }
    start(HERE, 'host', ...place, '127.0.0.1', '--nbd-port', '0');
    await untilServing(`http://${NEAR}:${port}`, nodes, START_MS);
  } catch (error) {
    await close();
    throw new Error(`the rack did not start: ${errors}`, { cause: error });
  }
  const pids = children.flatMap(({ pid }) => family(pid ?? 0));
  return { url: `memrack://${NEAR}:${port}`, pids, close };
}

function plug(namespace: string): void {
  const peer = ['type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace];
  ip('link', 'add', 'name', NEAR_DEVICE, ...peer);
  ip('address', 'add', `${NEAR}/24`, 'dev', NEAR_DEVICE);
  ip('link', 'set', NEAR_DEVICE, 'up');
  ip('-n', namespace, 'address', 'add', `${FAR}/24`, 'dev', 'eth0');
  for (const device of ['eth0', 'lo']) ip('-n', namespace, 'link', 'set', device, 'up');
}

/** Both ends go at once; with the namespace alone they would some time later. */
function unplug(): void {
  try {
    ip('link', 'delete', NEAR_DEVICE);
  } catch {
    // There is none.
  }
}

/** At once: what has process numbers of its own is not told of other signals. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const over = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await over;
}
