/**
 * Two network namespaces that nothing connects but a fault proxy, which has sockets in both: the
 * nodes' address exists in either, so clients are told the true one and reach the proxy there.
 */
import { spawnSync } from 'node:child_process';
import { isAlive } from './rack.js';

const PREFIX = 'memrack-';
/** What stands at the end of their names. */
type Role = 'clients' | 'nodes' | 'near' | 'far' | 'switch' | `machine${number}`;
const OWNED = /^memrack-(\d+)-\d+-(clients|nodes|near|far|switch|machine\d+)$/;
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

export function ip(...words: string[]): string {
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

/**
 * Namespaces with these names behind one of their own, in this order. They are removed again if
 * `prepare` throws.
 */
export function namespacesNamed<const T extends readonly Role[]>(
  roles: T,
  prepare: (...names: { [I in keyof T]: string }) => void,
): { readonly names: { [I in keyof T]: string }; remove(): void } {
  sweep();
  const prefix = `${PREFIX}${process.pid}-${made++}`;
  const all = roles.map((role) => `${prefix}-${role}`);
  const names = all as { [I in keyof T]: string };
  const remove = (): void => {
    for (const one of all) removeNamespace(one);
  };
  try {
    for (const one of all) ip('netns', 'add', one);
    prepare(...names);
  } catch (error) {
    remove();
    throw error;
  }
  return { names, remove };
}

export function makeNamespaces(): Namespaces {
  const host = '10.77.0.2';
  const { names, remove } = namespacesNamed(['clients', 'nodes'], (...both) => {
    for (const one of both) {
      ip('-n', one, 'address', 'add', `${host}/32`, 'dev', 'lo');
      ip('-n', one, 'link', 'set', 'lo', 'mtu', String(MTU_BYTES), 'up');
    }
  });
  const [clients, nodes] = names;
  return { clients, nodes, host, remove };
}

function namesHere(): string[] {
  const lines = ip('netns', 'list').split('\n');
  return lines.map((line) => line.split(' ')[0] ?? '').filter((name) => name.startsWith(PREFIX));
}

function removeNamespace(name: string): void {
  if (!namesHere().includes(name)) return;
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
  for (const name of namesHere()) {
    const owner = Number(OWNED.exec(name)?.[1] ?? Number.NaN);
    if (!Number.isNaN(owner) && !isAlive(owner)) removeNamespace(name);
  }
}
