/**
 * A whole rack on this machine: a controller, memory nodes and a host, each its own process, kept
 * by this one. When this process ends, however it ends, the operating system ends the others.
 *
 * A memory node that dies is started again by its supervisor, with its memory. A supervisor that
 * dies takes the memory with it: the controller is told, so that what was there is `DataLost` and
 * not merely away, and an empty node is started under the same name.
 */

import { hostname } from 'node:os';
import { Status } from '../base/status.js';
import { formatBytes } from '../base/units.js';
import { type HostReady, isSecured, type NbdTlsFiles } from '../client/host.js';
import { NBD_PORT_DEFAULT, nbdUrl } from '../client/options.js';
import type { RackStatus } from '../controller/api.js';
import { createEndpoint, type Endpoint } from '../fabric/endpoint.js';
import type { DonorConfig } from '../memory-node/donor-config.js';
import { EXIT_STORAGE_FAILED } from '../memory-node/process.js';
import type { SupervisorReady } from '../memory-node/supervisor.js';
import { sleep } from '../runtime/clock.js';
import type { Child, Exit } from '../runtime/processes.js';
import type { Runtime } from '../runtime/runtime.js';
import { MessageType } from '../wire/messages.js';

export interface RackOptions {
  /** A name or IP address of this machine. */
  readonly listen: string;
  /** Of the controller; 0: any free one. */
  readonly port: number;
  readonly nodes: number;
  /** Further ones, whose memory is files in the folder for data. */
  readonly persistentNodes: number;
  /** Whether these may be on a file system of which nothing is known. */
  readonly unprovenFileSystem: boolean;
  /** What each memory node lends. */
  readonly memoryBytes: number;
  readonly pageBytes: number;
  /** Folder for metadata; undefined: kept in memory only. */
  readonly data: string | undefined;
  readonly placement: string;
  /** Missing: off. */
  readonly rebalancing?: string;
  readonly donor?: DonorConfig;
  /** Of the NBD door; undefined: the usual one, or any that is free. */
  readonly nbdPort?: number | undefined;
  /** With which the NBD door speaks over TLS alone; missing: in plain text. */
  readonly nbdTls?: NbdTlsFiles;
}

/** The rack could not be started; everything that was started has been ended. */
export class RackFailed extends Error {
  override readonly name = 'RackFailed';
  readonly exitCode: number;
  /** What killed the process that could not be started, if something did. */
  readonly signal: string | undefined;

  constructor(message: string, exitCode: number, signal?: string) {
    super(message);
    this.exitCode = exitCode;
    this.signal = signal;
  }
}

/** Left to the machine and to our own processes beside what is lent. */
const RESERVE_BYTES = 256 * 1024 * 1024;
const STOP_MS = 8_000;
const TELL_MS = 2_000;
const QUICK_MS = 10_000;
const QUICK_DEATHS_MAX = 5;
const RESTART_MS = 200;
/** For how long, and how often, it is looked whether all nodes have joined. */
const JOINED_MS = 10_000;
const JOINED_LOOK_MS = 50;

interface Death {
  readonly signal: string | undefined;
  readonly livedMs: number;
}

interface NamedDeath extends Death {
  /** For people. */
  readonly how: string;
}

export type Say = (line: string) => void;

export class LocalRack {
  url = '';
  httpUrl = '';
  /** Where block devices are served: `nbd://HOST:PORT`, or `nbds:` with TLS. */
  nbdUrl = '';
  readonly #runtime: Runtime;
  readonly #options: RackOptions;
  readonly #say: Say;
  readonly #endpoint: Endpoint;
  readonly #children = new Set<Child>();
  /** Of nodes without a disk, by name. */
  readonly #supervisors = new Map<string, Child>();
  #controller: Child | undefined;
  #host: Child | undefined;
  #controllerAddress = '';
  #nbdAddress: string | undefined;
  #isStopping = false;
  #failed: (error: RackFailed) => void = () => {};
  /** Resolves when the rack cannot go on; never while it can. */
  readonly failed: Promise<RackFailed>;

  constructor(runtime: Runtime, options: RackOptions, say: Say) {
    this.#runtime = runtime;
    this.#options = options;
    this.#say = say;
    this.#endpoint = createEndpoint(runtime, {});
    this.failed = new Promise((resolve) => {
      this.#failed = resolve;
    });
  }

  /** Rejects with a `RackFailed`, after everything was ended again. */
  async start(): Promise<void> {
    try {
      this.#checkMemory();
      const { listen, port } = this.#options;
      this.#controllerAddress = await this.#startController(`tcp://${listen}:${port}`);
      const place = this.#controllerAddress.slice('tcp://'.length);
      this.url = `memrack://${place}`;
      this.httpUrl = `http://${place}`;
      const nodes = Array.from({ length: this.#options.nodes }, (_, i) =>
        this.#startNode(`node-${i + 1}`),
      );
      const onDisk = Array.from({ length: this.#options.persistentNodes }, (_, i) =>
        this.#startPersistent(`persistent-${i + 1}`),
      );
      await Promise.all([...nodes, ...onDisk, this.#startHost('host-1')]);
      if (this.#options.data !== undefined) await this.#sayLosses();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  #checkMemory(): void {
    const { nodes, memoryBytes } = this.#options;
    const needed = nodes * memoryBytes + RESERVE_BYTES;
    const available = this.#runtime.memory.available();
    if (available >= needed) return;
    const each = Math.max(0, Math.floor((available - RESERVE_BYTES) / nodes / 2 ** 26) * 2 ** 26);
    throw new RackFailed(
      `${nodes} memory nodes of ${formatBytes(memoryBytes)} need ${formatBytes(needed)} with a ` +
        `reserve, but this machine has only ${formatBytes(available)} available: ` +
        `start fewer (--nodes) or smaller ones (--memory ${formatBytes(each).replace(' ', '')})`,
      1,
    );
  }

  /** Spawns a role and waits until it serves; a role that cannot has said why. */
  async #spawn(role: string, config: unknown): Promise<{ child: Child; ready: unknown }> {
    const child = this.#runtime.processes.spawn({ role, config });
    this.#children.add(child);
    void child.exited.then(() => this.#children.delete(child));
    try {
      return { child, ready: await child.ready };
    } catch (cause) {
      const exit = await child.exited;
      const message = `the rack was not started: the ${(cause as Error).message}`;
      throw new RackFailed(message, exit.code === 2 ? 2 : 1, exit.signal);
    }
  }

  /**
   * Metadata of an earlier rack names memory that ended with that rack. The nodes find that out as
   * they join; whoever starts the rack is told what is lost.
   */
  async #sayLosses(): Promise<void> {
    const { clock, timers } = this.#runtime;
    const end = clock.now() + JOINED_MS;
    let status = await this.#status();
    const { nodes, persistentNodes } = this.#options;
    while ((status?.nodes.serving ?? 0) < nodes + persistentNodes) {
      if (this.#isStopping || clock.now() > end) break;
      await sleep(timers, JOINED_LOOK_MS);
      status = await this.#status();
    }
    for (const { code, subject, message } of status?.findings ?? []) {
      if (code === 'DATA_LOST') this.#say(`space ${subject}: ${message}`);
    }
  }

  async #status(): Promise<RackStatus | undefined> {
    const controller = this.#endpoint.peer(this.#controllerAddress);
    const reply = await controller.call(MessageType.RackStatus, {}, TELL_MS);
    return reply.status === Status.Ok ? (JSON.parse(reply.json) as RackStatus) : undefined;
  }

  async #startController(listen: string): Promise<string> {
    const { data, placement, rebalancing } = this.#options;
    const config = {
      listen,
      placement,
      ...(rebalancing === undefined ? {} : { rebalancing }),
      machine: hostname(),
      ...(data === undefined ? {} : { data }),
    };
    const { child, ready } = await this.#spawn('controller', config);
    this.#controller = child;
    const began = this.#runtime.clock.now();
    void child.exited.then((exit) => this.#controllerEnded(this.#death(exit, began)));
    return (ready as { readonly address: string }).address;
  }

  #controllerEnded(death: NamedDeath): void {
    if (this.#isStopping) return;
    if (this.#options.data === undefined) {
      this.#say(
        `the controller has ended (${death.how}) and its metadata with it: reads and writes ` +
          'go on, nothing new can be opened; start the rack anew, with --data to keep metadata',
      );
      return;
    }
    this.#say(`the controller has ended (${death.how}): starting it again`);
    const start = (): Promise<string> => this.#startController(this.#controllerAddress);
    void this.#again('the controller', start, death);
  }

  async #startNode(id: string): Promise<void> {
    const { listen, memoryBytes, pageBytes, data } = this.#options;
    const config = {
      id,
      // Metadata may be of a rack of another boot or container, whose end nobody here can look up.
      // Its nodes were its children: whoever has its metadata says that they ended with it.
      replace: data !== undefined,
      join: [this.#controllerAddress],
      listen: `tcp://${listen}:0`,
      machine: hostname(),
      memoryBytes,
      pageBytes,
      ...this.#options.donor,
    };
    const { child, ready } = await this.#spawn('supervisor', config);
    this.#supervisors.set(id, child);
    const { memoryId } = ready as SupervisorReady;
    const began = this.#runtime.clock.now();
    void child.exited.then((exit) => this.#supervisorEnded(id, memoryId, this.#death(exit, began)));
  }

  async #supervisorEnded(id: string, memoryId: number, death: NamedDeath): Promise<void> {
    if (this.#isStopping) return;
    this.#say(
      `the supervisor of ${id} has ended (${death.how}): what was in its memory is lost; ` +
        'starting an empty one',
    );
    const request = { memoryId, id };
    const controller = this.#endpoint.peer(this.#controllerAddress);
    await controller.call(MessageType.NodeEnded, request, TELL_MS);
    await this.#again(id, () => this.#startNode(id), death);
  }

  /**
   * Its file is made once, when the rack has never heard of the node: one that is missing later is
   * on a disk that is not mounted, or is lost, and says so.
   */
  async #startPersistent(id: string): Promise<void> {
    const { data, listen, memoryBytes, pageBytes, unprovenFileSystem } = this.#options;
    const path = `${data}/${id}.mem`;
    const controller = this.#endpoint.peer(this.#controllerAddress);
    const known = await controller.call(MessageType.DescribeNode, { id }, TELL_MS);
    const create = known.status === Status.NotFound && !(await this.#exists(path));
    const config = {
      id,
      join: [this.#controllerAddress],
      listen: `tcp://${listen}:0`,
      machine: hostname(),
      memoryBytes,
      pageBytes,
      persistent: { path, create, unprovenFileSystem },
    };
    const { child } = await this.#spawn('supervisor', config);
    const began = this.#runtime.clock.now();
    void child.exited.then((exit) => this.#persistentEnded(id, exit, this.#death(exit, began)));
  }

  async #exists(path: string): Promise<boolean> {
    try {
      await (await this.#runtime.disk.open(path, 'read')).close();
      return true;
    } catch {
      return false;
    }
  }

  async #persistentEnded(id: string, exit: Exit, death: NamedDeath): Promise<void> {
    if (this.#isStopping) return;
    if (exit.code === EXIT_STORAGE_FAILED) {
      this.#say(`${id} has ended, because its disk failed: repair that, then start the rack again`);
      return;
    }
    this.#say(`the supervisor of ${id} has ended (${death.how}): starting it again with its file`);
    await this.#again(id, () => this.#startPersistent(id), death);
  }

  async #startHost(id: string): Promise<void> {
    const { listen, nbdPort, nbdTls = {} } = this.#options;
    const config = {
      id,
      join: [this.#controllerAddress],
      listen: `tcp://${listen}:0`,
      machine: hostname(),
      nbd: this.#nbdAddress ?? `tcp://${listen}:${nbdPort ?? NBD_PORT_DEFAULT}`,
      nbdAnyPort: nbdPort === undefined && this.#nbdAddress === undefined,
      ...nbdTls,
    };
    const { child, ready } = await this.#spawn('host', config);
    this.#host = child;
    // A host that is started again is found where it was.
    this.#nbdAddress = (ready as HostReady).nbd;
    this.nbdUrl = nbdUrl(this.#nbdAddress ?? '', isSecured(nbdTls));
    const began = this.#runtime.clock.now();
    void child.exited.then((exit) => {
      if (this.#isStopping) return undefined;
      const death = this.#death(exit, began);
      this.#say(`the host has ended (${death.how}): starting it again`);
      return this.#again('the host', () => this.#startHost(id), death);
    });
  }

  /** As when its machine dies: the node is gone with its memory, and an empty one is started. */
  loseNode(id: string): void {
    this.#supervisors.get(id)?.end('kill');
  }

  #death({ code, signal }: Exit, began: number): NamedDeath {
    const livedMs = this.#runtime.clock.now() - began;
    return { signal, livedMs, how: signal ?? `exit code ${code ?? 'unknown'}` };
  }

  readonly #deaths = new Map<string, number>();

  /**
   * Starts something that has died again. What keeps ending by itself would not run either when it
   * is started for the tenth time; what was killed from outside would.
   */
  async #again(what: string, start: () => Promise<unknown>, death: Death): Promise<void> {
    const isOwnFault = death.signal === undefined && death.livedMs < QUICK_MS;
    const deaths = isOwnFault ? (this.#deaths.get(what) ?? 0) + 1 : 0;
    this.#deaths.set(what, deaths);
    if (deaths > QUICK_DEATHS_MAX) {
      this.#failed(new RackFailed(`${what} has ended ${deaths} times in a row: giving up`, 1));
      return;
    }
    await sleep(this.#runtime.timers, RESTART_MS * (deaths + 1));
    if (this.#isStopping) return;
    try {
      await start();
    } catch (error) {
      if (this.#isStopping) return;
      this.#say(`${what} could not be started: ${(error as Error).message}`);
      const signal = error instanceof RackFailed ? error.signal : undefined;
      await this.#again(what, start, { signal, livedMs: 0 });
    }
  }

  /** Ends all processes, in order where they follow, by force where not. Idempotent. */
  async stop(): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    if (this.#options.data === undefined) {
      // Nothing of it survives this process: there is nothing to end in order.
      const children = [...this.#children];
      for (const child of children) child.end('kill');
      await Promise.all(children.map((child) => child.exited));
    }
    // The host first: it gives up leases of devices at nodes that are still there.
    await this.#end([...this.#children].filter((child) => child === this.#host));
    // The controller last: it is told by the nodes that their memory is gone.
    await this.#end([...this.#children].filter((child) => child !== this.#controller));
    await this.#end([...this.#children]);
    await this.#endpoint.close();
  }

  async #end(children: readonly Child[]): Promise<void> {
    for (const child of children) child.end('term');
    const kill = this.#runtime.timers.after(STOP_MS, () => {
      for (const child of children) child.end('kill');
    });
    await Promise.all(children.map((child) => child.exited));
    kill.cancel();
  }
}
