/**
 * What stands on this machine of a program with remote memory: a folder of /run, whose files say
 * what there is to take down, and who takes part. It is there before anything else, and goes last.
 */

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { FileTraffic } from '../../doors/fuse/session.js';
import { hasEnded, identityOf } from '../../runtime/node/process-identity.js';

const ROOT = '/run/memrack';
const PREFIX = 'run-';
const NEW_MS = 10_000;

/** Written once, by the command. */
export interface RunRecord {
  readonly id: string;
  /** Of the command: see `identityOf`. */
  readonly command: string;
  /** `memrack://HOST:PORT`. */
  readonly rack: string;
  readonly device: string;
  /** Made for this run, and removed with it. */
  readonly isOwnDevice: boolean;
  /** What the device is called in the mount, and the loop device is known by. */
  readonly file: string;
  /** Of the program; and of who serves and watches, whose memory goes to no swap. */
  readonly group: string;
  readonly helpers: string;
  readonly localBytes: number;
  /** Of the mount: the kernel's number. Missing: it is not there yet. */
  readonly connection?: number;
}

/** Who serves the swap: written again and again. */
export interface ServerState {
  readonly identity: string;
  /** Missing: the kernel has not begun yet. */
  readonly agreed?: { readonly mayResend: boolean };
  readonly traffic?: FileTraffic;
  /** The mount is no more: nobody is to serve it. */
  readonly isOver?: true;
}

export class RunFolder {
  readonly id: string;
  readonly path: string;

  constructor(id: string) {
    this.id = id;
    this.path = join(ROOT, `${PREFIX}${id}`);
  }

  /** All that there are, also of other commands. */
  static all(): RunFolder[] {
    if (!existsSync(ROOT)) return [];
    const names = readdirSync(ROOT).filter((name) => name.startsWith(PREFIX));
    return names.map((name) => new RunFolder(name.slice(PREFIX.length)));
  }

  make(): void {
    mkdirSync(ROOT, { recursive: true, mode: 0o755 });
    mkdirSync(this.path, { mode: 0o700 });
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }

  get isThere(): boolean {
    return existsSync(this.path);
  }

  /** Whoever made it may be about to write the record. */
  get isNew(): boolean {
    return Date.now() - statSync(this.path).ctimeMs < NEW_MS;
  }

  /** Where the device is a file, until it is swap. */
  get mount(): string {
    return join(this.path, 'mount');
  }

  /** For a moment, to give the mount up. */
  get control(): string {
    return join(this.path, 'control');
  }

  get log(): string {
    return join(this.path, 'log');
  }

  /** Undefined: it was not written, or not whole. */
  get record(): RunRecord | undefined {
    return this.#read('run.json') as RunRecord | undefined;
  }

  set record(record: RunRecord) {
    this.#write('run.json', record);
  }

  get server(): ServerState | undefined {
    return this.#read('server.json') as ServerState | undefined;
  }

  set server(state: ServerState) {
    this.#write('server.json', state);
  }

  /** One that was started, and may not serve yet. */
  get startedServer(): string | undefined {
    return (this.#read('started.json') as { identity?: string } | undefined)?.identity;
  }

  set startedServer(identity: string) {
    this.#write('started.json', { identity });
  }

  /** Another value each time that the server says that it is there. */
  get serverBeat(): number {
    try {
      return statSync(join(this.path, 'server.json')).mtimeMs;
    } catch {
      return 0;
    }
  }

  /** Of one that has ended, what it did: another one will write there. */
  keepServer(number: number): void {
    const from = join(this.path, 'server.json');
    if (existsSync(from)) copyFileSync(from, join(this.path, `ended-${number}.json`));
  }

  /** What all that ever served have done. */
  get traffic(): FileTraffic[] {
    const names = readdirSync(this.path).filter((name) => /^(server|ended-\d+)\.json$/.test(name));
    const all = names.map((name) => (this.#read(name) as ServerState | undefined)?.traffic);
    return all.filter((traffic) => traffic !== undefined);
  }

  /** Of the process: see `identityOf`. */
  get watchdog(): string | undefined {
    return (this.#read('watchdog.json') as { identity?: string } | undefined)?.identity;
  }

  set watchdog(identity: string) {
    this.#write('watchdog.json', { identity });
  }

  /** Why the program cannot go on; undefined: it can. */
  get failure(): string | undefined {
    return (this.#read('failure.json') as { reason?: string } | undefined)?.reason;
  }

  /** The first one stays. */
  fail(reason: string): void {
    if (this.failure === undefined) this.#write('failure.json', { reason });
  }

  /** The swap is no more: who serves it is to end. */
  get isClosing(): boolean {
    return existsSync(join(this.path, 'closing'));
  }

  close(): void {
    if (this.isThere) writeFileSync(join(this.path, 'closing'), '');
  }

  /** What those said who serve and watch. */
  get said(): string {
    try {
      return readFileSync(this.log, 'utf8').trim();
    } catch {
      return '';
    }
  }

  #read(name: string): unknown {
    try {
      return JSON.parse(readFileSync(join(this.path, name), 'utf8'));
    } catch {
      return undefined;
    }
  }

  /** Whole, or as it was. */
  #write(name: string, value: unknown): void {
    const path = join(this.path, name);
    writeFileSync(`${path}.new`, JSON.stringify(value));
    renameSync(`${path}.new`, path);
  }
}

/** The device that is made for a run: its name says of which machine. */
export function deviceOfRun(id: string): string {
  return `${devicePrefix()}${id}`;
}

export function devicePrefix(): string {
  const name = hostname()
    .replace(/[^A-Za-z0-9]+/g, '-')
    .slice(0, 20);
  return `run-${name}-${machineId().slice(0, 6)}-`;
}

/** Machines may have one name. */
function machineId(): string {
  try {
    return readFileSync('/etc/machine-id', 'utf8').trim();
  } catch {
    return '0';
  }
}

export function ownIdentity(): string {
  const identity = identityOf(process.pid);
  if (identity === undefined) throw new Error('/proc does not tell of this process; mount it');
  return identity;
}

/** Whether somebody was there, and is certainly there no more. */
export function isGone(identity: string | undefined): boolean {
  return identity !== undefined && hasEnded(identity);
}
