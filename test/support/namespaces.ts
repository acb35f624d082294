/**
 * Two network namespaces that nothing connects but a fault proxy, which has sockets in both: the
 * nodes' address exists in either, so clients are told the true one and reach the proxy there.
 */
import { spawnSync } from 'node:child_process';
import { isAlive } from './rack.js';

const PREFIX = 'memrack-';
/** As on Ethernet; the loopback device carries 64 KiB otherwise. */
const MTU_BYTES = 1500;

export interface Namespaces {
  readonly clients: string;
  readonly nodes: string;
  /** Where nodes listen, as clients are told. */
  readonly host: string;
  /** Ends what still runs in them. */
  remove(): void;
}

function ip(...words: string[]): string {
  const { status, stdout, stderr, error } = spawnSync('ip', words, { encoding: 'utf8' });
  if (status === 0) return stdout;
  throw new Error(`ip ${words.join(' ')}: ${error?.message ?? stderr.trim()}`);
}

/** False, after a printed notice, where this process may make no network namespaces. */
export function requiresNamespaces(): boolean {
  try {
    makeNamespaces().remove();
    return true;
  } catch (error) {
    const why = (error as Error).message;
    process.stderr.write(`skipping a test: needs network namespaces (root): ${why}\n`);
    return false;
  }
}

let made = 0;

export function makeNamespaces(): Namespaces {
  sweep();
  const name = `${PREFIX}${process.pid}-${made++}`;
  const [clients, nodes] = [`${name}-clients`, `${name}-nodes`];
  const host = '10.77.0.2';
  const remove = (): void => {
    for (const one of [clients, nodes]) removeNamespace(one);
  };
  try {
    for (const one of [clients, nodes]) {
      ip('netns', 'add', one);
      ip('-n', one, 'address', 'add', `${host}/32`, 'dev', 'lo');
      ip('-n', one, 'link', 'set', 'lo', 'mtu', String(MTU_BYTES), 'up');
    }
  } catch (error) {
    remove();
    throw error;
  }
  return { clients, nodes, host, remove };
}

function names(): string[] {
  const lines = ip('netns', 'list').split('\n');
  return lines.map((line) => line.split(' ')[0] ?? '').filter((name) => name.startsWith(PREFIX));
}

function removeNamespace(name: string): void {
  if (!names().includes(name)) return;
  for (const pid of ip('netns', 'pids', name).split('\n')) {
    if (pid === '' || Number(pid) === process.pid) continue;
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
  }
  ip('netns', 'delete', name);
}

/** Those of tests that were killed. */
function sweep(): void {
  for (const name of names()) {
    const owner = Number(/^memrack-(\d+)-\d+-(clients|nodes)$/.exec(name)?.[1] ?? Number.NaN);
    if (!Number.isNaN(owner) && !isAlive(owner)) removeNamespace(name);
  }
}
