/**
 * A host as a member of the rack: it joins, listens, and says every two seconds that it is there,
 * which doors it has, and how the block devices are that it serves.
 */
import { ConfigError } from '../base/config-error.js';
import { Status, statusName } from '../base/status.js';
import type { Endpoint } from '../fabric/endpoint.js';
import type { Peer } from '../fabric/link.js';
import type { Timer } from '../runtime/clock.js';
import type { RunningRole, Runtime } from '../runtime/runtime.js';
import { MessageType } from '../wire/messages.js';
import { DeviceNotes, type DeviceReports } from './device-notes.js';

export interface HostConfig {
  /** The host's name in the rack. */
  readonly id: string;
  /** Addresses of the controller; each is tried in turn. */
  readonly join: readonly string[];
  /** `tcp://HOST:PORT`; port 0: any free one. */
  readonly listen: string;
  /** Name of this machine, for people. */
  readonly machine?: string;
  /** Where block devices are served over NBD; missing: nowhere. `tcp://HOST:PORT`. */
  readonly nbd?: string;
  /** Whether the next free port will do where that one is taken. */
  readonly nbdAnyPort?: boolean;
  /**
   * Files with which NBD is spoken over TLS alone: a certificate and its key, perhaps authorities
   * of clients; or keys that clients know.
   */
  readonly nbdTlsCertificate?: string;
  readonly nbdTlsKey?: string;
  readonly nbdTlsClientCa?: string;
  readonly nbdTlsPsk?: string;
  /** The folder where devices are files; missing: nowhere. */
  readonly files?: string;
  /** It serves the swap of its machine; missing: it does not. */
  readonly swap?: SwapConfig;
}

/** Swap on a device, by way of a mount that another process keeps. */
export interface SwapConfig {
  /** By its name. */
  readonly device: string;
  /** What it is called in the mount. */
  readonly file: string;
  /** Under which this process was given the mount. */
  readonly connection: number;
  /** Of one that was served before: whether what was not answered can come again. */
  readonly agreed?: { readonly mayResend: boolean };
}

export const NBD_TLS_KEYS = [
  'nbdTlsCertificate',
  'nbdTlsKey',
  'nbdTlsClientCa',
  'nbdTlsPsk',
] as const;
export type NbdTlsFiles = Pick<HostConfig, (typeof NBD_TLS_KEYS)[number]>;

/** Whether the NBD door is to speak over TLS. */
export function isSecured(files: NbdTlsFiles): boolean {
  return NBD_TLS_KEYS.some((key) => files[key] !== undefined);
}

/** A door that is open. */
export interface HostDoor {
  /** Of `DoorKind`. */
  readonly kind: number;
  readonly address: string;
}

/** What the process tells its parent once it listens. */
export interface HostReady {
  readonly id: string;
  readonly address: string;
  readonly pid: number;
  /** Of the NBD door, where it listens. */
  readonly nbd?: string;
  /** The folder where devices are files. */
  readonly files?: string;
}

/** With defaults. */
export type CheckedHost = HostConfig & Required<Pick<HostConfig, 'machine'>>;

const KEYS = [
  ...['id', 'join', 'listen', 'machine', 'files', 'nbd', 'nbdAnyPort', 'swap'],
  ...NBD_TLS_KEYS,
] as readonly string[];
const CALL_MS = 5_000;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 2_000;
const HEARTBEAT_MS_MIN = 10;

export interface HostPlace {
  readonly address: string;
  readonly doors: readonly HostDoor[];
  /** Of the block devices that it serves. */
  readonly devices?: () => DeviceReports;
}

/** Joins the rack and says that it is there. */
export class Host implements RunningRole {
  readonly address: string;
  readonly #runtime: Runtime;
  readonly #endpoint: Endpoint;
  readonly #config: CheckedHost;
  readonly #doors: readonly HostDoor[];
  readonly #controllers: readonly Peer[];
  readonly #notes: DeviceNotes;
  #turn = 0;
  #isStopped = false;
  #timer: Timer | undefined;
  #endPause: () => void = () => undefined;
  #lastTold = '';
  #stopped: Promise<void> | undefined;

  constructor(runtime: Runtime, endpoint: Endpoint, config: CheckedHost, place: HostPlace) {
    this.address = place.address;
    this.#doors = place.doors;
    this.#notes = new DeviceNotes(config.id, place.devices ?? (() => []));
    this.#runtime = runtime;
    this.#endpoint = endpoint;
    this.#config = config;
    this.#controllers = config.join.map((controller) => endpoint.peer(controller));
  }

  /** Joins, says that it is there, joins again when it is not known; until `stop`. */
  async run(): Promise<void> {
    for (let failures = 0; !this.#isStopped; ) {
      const heartbeatMs = await this.#join();
      if (heartbeatMs === undefined) {
        failures++;
        this.#turn++;
        const most = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(failures, 10));
        await this.#pause(most * (0.5 + 0.5 * this.#runtime.entropy.fraction()));
        continue;
      }
      failures = 0;
      while (await this.#isKnown()) {
        void this.#notes.tell(this.#controller);
        await this.#pause(heartbeatMs);
      }
    }
  }

  stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#endPause();
    this.#stopped ??= this.#endpoint.close();
    return this.#stopped;
  }

  get #controller(): Peer {
    return this.#controllers[this.#turn % this.#controllers.length] as Peer;
  }

  async #join(): Promise<number | undefined> {
    const { id, machine } = this.#config;
    const { pid } = this.#runtime.processes;
    const request = { id, machine, pid, address: this.address };
    const reply = await this.#controller.call(MessageType.JoinHost, request, CALL_MS);
    if (reply.status === Status.Ok) {
      for (const { kind, address } of this.#doors) {
        const door = { kind, host: id, address };
        await this.#controller.call(MessageType.NoteDoor, door, CALL_MS);
      }
      this.#tell('info', 'joined the rack');
      return Math.max(HEARTBEAT_MS_MIN, reply.heartbeatMs);
    }
    this.#tell('warn', `not joined: ${statusName(reply.status) ?? ''} ${reply.reason}`.trim());
    return undefined;
  }

  async #isKnown(): Promise<boolean> {
    if (this.#isStopped) return false;
    const request = { id: this.#config.id };
    const reply = await this.#controller.call(MessageType.HostHeartbeat, request, CALL_MS);
    return reply.status === Status.Ok && reply.known === 1;
  }

  /** Tells a change once, however often it is met. */
  #tell(level: 'info' | 'warn', message: string): void {
    if (this.#isStopped || message === this.#lastTold) return;
    this.#lastTold = message;
    this.#runtime.log.write(level, message, { code: 'MEMBERSHIP', host: this.#config.id });
  }

  #pause(ms: number): Promise<void> {
    if (this.#isStopped) return Promise.resolve();
    return new Promise((resolve) => {
      this.#endPause = resolve;
      this.#timer = this.#runtime.timers.after(ms, resolve);
    });
  }
}

/** Throws a `ConfigError` that lists every problem. Takes anything. */
export function checkHostConfig(config: unknown): CheckedHost {
  if (typeof config !== 'object' || config === null) {
    throw new ConfigError('host', ['it is not an object']);
  }
  const given = config as Record<string, unknown>;
  const { id, join, listen, machine = 'localhost', nbd, nbdAnyPort = false } = given;
  const { files: folder, swap } = given;
  const problems = Object.keys(given)
    .filter((key) => !KEYS.includes(key))
    .map((key) => `${key}: there is no such key; there are ${KEYS.join(', ')}`);
  const check = (key: string, value: unknown, isGood: boolean, allowed: string): void => {
    if (!isGood) problems.push(`${key}: ${JSON.stringify(value)} is not ${allowed}`);
  };
  const isList = Array.isArray(join) && join.length > 0;
  check(
    'id',
    id,
    isMatching(id, /^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$/),
    'a name of 1 to 100 letters',
  );
  check('join', join, isList && join.every(isAddress), 'a list of addresses: tcp://HOST:PORT');
  check('listen', listen, isAddress(listen), 'tcp://HOST:PORT, unix://PATH or ring://PATH');
  check('machine', machine, isMatching(machine, /^[ -~]{1,100}$/), '1 to 100 printable characters');
  check('nbd', nbd, nbd === undefined || isAddress(nbd), 'tcp://HOST:PORT or unix://PATH');
  check('nbdAnyPort', nbdAnyPort, typeof nbdAnyPort === 'boolean', 'true or false');
  const isFolder = folder === undefined || isMatching(folder, /^\/[^\0]*$/);
  check('files', folder, isFolder, 'the whole path of a folder');
  const isSwap = swap === undefined || isSwapConfig(swap);
  check('swap', swap, isSwap, 'a device, the number of a mount, and what was agreed on');
  const files = tlsFiles(given);
  for (const [key, path] of Object.entries(files)) {
    check(key, path, isMatching(path, /^[^\0]+$/), 'the path of a file');
  }
  problems.push(...tlsProblems(files));
  if (problems.length > 0) throw new ConfigError('host', problems);
  const door = nbd === undefined ? {} : { nbd, nbdAnyPort, ...files };
  const place = {
    ...(folder !== undefined && { files: folder }),
    ...(swap !== undefined && { swap }),
  };
  return { id, join, listen, machine, ...door, ...place } as CheckedHost;
}

function isSwapConfig(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { device, file, connection, agreed } = value as Record<string, unknown>;
  const isAgreed = agreed === undefined || (typeof agreed === 'object' && agreed !== null);
  const isNamed = typeof device === 'string' && typeof file === 'string';
  return isNamed && Number.isSafeInteger(connection) && isAgreed;
}

/** Those of the keys that are there. */
function tlsFiles(given: Record<string, unknown>): Record<string, unknown> {
  const there = NBD_TLS_KEYS.filter((key) => given[key] !== undefined);
  return Object.fromEntries(there.map((key) => [key, given[key]]));
}

/** What does not go together. */
export function tlsProblems(files: { readonly [Key in keyof NbdTlsFiles]?: unknown }): string[] {
  const { nbdTlsCertificate: certificate, nbdTlsKey: key, nbdTlsClientCa: ca } = files;
  const problems: string[] = [];
  if (certificate !== undefined && key === undefined) {
    problems.push('nbdTlsKey: it is missing; name the file with the key of nbdTlsCertificate');
  }
  if (certificate === undefined && key !== undefined) {
    problems.push('nbdTlsCertificate: it is missing; name the file with that of nbdTlsKey');
  }
  if (certificate === undefined && ca !== undefined) {
    problems.push('nbdTlsClientCa: it needs nbdTlsCertificate and nbdTlsKey beside it');
  }
  if (files.nbdTlsPsk !== undefined && certificate !== undefined) {
    problems.push('nbdTlsPsk: there are keys or certificates, not both; leave one of them out');
  }
  return problems;
}

function isMatching(value: unknown, pattern: RegExp): boolean {
  return typeof value === 'string' && pattern.test(value);
}

function isAddress(value: unknown): boolean {
  return isMatching(value, /^(tcp:\/\/[!-~]+:\d{1,5}|(unix|ring):\/\/[!-~]+)$/);
}
