/**
 * The process of a memory node that serves. Its supervisor starts it with its memory files, and
 * starts it again when it has died.
 */

import { createEndpoint, type Endpoint } from '../fabric/endpoint.js';
import { type Address, NetworkError } from '../runtime/network.js';
import type { RoleMain, RunningRole, Runtime } from '../runtime/runtime.js';
import type { MemoryNodeConfig } from './config.js';
import { EXIT_CANNOT_ADOPT, EXIT_STORAGE_FAILED } from './process.js';
import { Membership } from './membership.js';
import { RackNeighbours } from './neighbours.js';
import { MemoryNode } from './node.js';

const EXIT_SLOW_PATH_ENDED = 1;

/** What the process tells its supervisor when it serves. */
export interface MemoryNodeReady {
  readonly id: string;
  readonly address: string;
  /** Of the process that serves. */
  readonly pid: number;
  readonly memoryId: number;
  readonly incarnation: number;
}

export const memoryNodeMain: RoleMain<MemoryNodeConfig> = async (runtime, config) => {
  const failed = (error: unknown): void => {
    runtime.log.write('error', `the disk failed: ${String(error)}`, { node: config.id });
    // Not from within a promise: `exit` may throw.
    runtime.timers.soon(() => runtime.processes.exit(EXIT_STORAGE_FAILED));
  };
  const node = await MemoryNode.open(runtime, config, failed);
  if (typeof node === 'string') {
    runtime.log.write('error', `the memory cannot be taken over: ${node}`, {
      code: 'MEMORY_NOT_ADOPTED',
      node: config.id,
    });
    return runtime.processes.exit(EXIT_CANNOT_ADOPT);
  }
  const running = new RunningNode(runtime, node, config);
  await running.start();
  return running;
};

export class RunningNode implements RunningRole {
  address = '';
  readonly node: MemoryNode;
  readonly #runtime: Runtime;
  readonly #config: MemoryNodeConfig;
  readonly #endpoint: Endpoint;
  #membership: Membership | undefined;
  #stopped: Promise<void> | undefined;

  constructor(runtime: Runtime, node: MemoryNode, config: MemoryNodeConfig) {
    this.#runtime = runtime;
    this.node = node;
    this.#config = config;
    const { incarnation, facts } = node.table;
    this.#endpoint = createEndpoint(runtime, {
      incarnation,
      memoryId: facts.memoryId,
      opening: config.durable?.opening ?? 0,
      stations: node.stations,
      recordRows: config.recordRows,
    });
  }

  async start(): Promise<void> {
    const { id } = this.#config;
    void this.node.slowPathEnded.then((reason) => this.#slowPathEnded(reason));
    this.#endpoint.serveData(this.node.dataHandler);
    this.node.serveCalls(this.#endpoint, () => ({
      fabric: { ...this.#endpoint.counters },
      sessions: this.#endpoint.sessions,
      datagrams: { ...this.#endpoint.datagrams, ...this.#endpoint.datagramSockets },
      // Does not grow with clients that come by datagrams.
      stateBytes: this.#endpoint.stateBytes + this.node.stateBytes,
    }));
    this.node.sharing.ring = await this.#listenByRing();
    this.address = await this.#listen();
    await this.#listenDatagrams();
    this.#joinRack();
    const { memoryId } = this.node.table.facts;
    const { pid } = this.#runtime.processes;
    const { incarnation } = this.node.table;
    const ready: MemoryNodeReady = { id, address: this.address, pid, memoryId, incarnation };
    this.#runtime.processes.ready(ready);
  }

  /** The port of the process before this one, if nobody has taken it. */
  async #listen(): Promise<string> {
    const { listen, listenElse } = this.#config;
    try {
      return (await this.#endpoint.listen(listen)).address;
    } catch (error) {
      const isTaken = error instanceof NetworkError && error.kind === 'in-use';
      if (!isTaken || listenElse === listen) throw error;
      this.#runtime.log.write('warn', `${listen} is taken, listening elsewhere`, {
        code: 'PORT_TAKEN',
      });
      return (await this.#endpoint.listen(listenElse)).address;
    }
  }

  /** At the number of its own port; where that is taken clients stay with their streams. */
  async #listenDatagrams(): Promise<void> {
    if (!this.address.startsWith('tcp:')) return;
    const address = this.address.replace('tcp:', 'udp:');
    try {
      await this.#endpoint.listenDatagrams(address);
    } catch (error) {
      this.#runtime.log.write('warn', 'no datagrams are taken', {
        code: 'DATAGRAMS_NOT_TAKEN',
        address,
        error: String(error),
      });
    }
  }

  /** For clients of this machine and user; where it cannot be had they stay with the other one. */
  async #listenByRing(): Promise<Address> {
    if (this.#config.listen.startsWith('ring:')) return '';
    const { network, log } = this.#runtime;
    const { memoryId } = this.node.table.facts;
    try {
      const own = await network.ownAddress(`node-${memoryId.toString(36)}`);
      return own === undefined ? '' : (await this.#endpoint.listen(own)).address;
    } catch (error) {
      log.write('warn', 'no connections through shared memory', { code: 'RINGS_NOT_TAKEN', error });
      return '';
    }
  }

  #joinRack(): void {
    const { id, machine, join, keeper, durable } = this.#config;
    if (join.length === 0) return;
    const controllers = join.map((address) => this.#endpoint.peer(address));
    const peer = (address: string, memoryId: number) => this.#endpoint.peer(address, memoryId);
    this.node.reachNodes(peer);
    this.node.askNeighbours(new RackNeighbours(controllers, peer));
    this.#membership = new Membership(this.#runtime, {
      id,
      address: this.address,
      machine,
      keeper,
      table: this.node.table,
      load: () => this.node.load(),
      durable,
      settled: () => this.node.journal?.commit() ?? Promise.resolve(),
      controllers,
    });
    this.node.mustGive = () => this.#membership?.tellNow();
    void this.#membership.run();
  }

  /** Without it no address is chosen and no frame zeroed: a new process makes a new one. */
  #slowPathEnded(reason: string): void {
    if (this.#stopped !== undefined) return;
    this.#runtime.log.write('error', `the slow path has ended: ${reason}`, {
      code: 'SLOW_PATH_ENDED',
    });
    // Not from within a promise: `exit` may throw.
    this.#runtime.timers.soon(() => this.#runtime.processes.exit(EXIT_SLOW_PATH_ENDED));
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.node.sharing.end();
    this.#membership?.stop();
    await this.#endpoint.close();
    await this.node.stop();
  }
}
