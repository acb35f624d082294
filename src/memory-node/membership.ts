/**
 * A memory node's place in the rack: joins the controller, tells it how full the node is, and joins
 * again whenever the controller does not know it. The data path needs none of this, so a
 * controller that is away is waited for, for ever.
 */

import { assert } from '../base/assert.js';
import { Status, statusName } from '../base/status.js';
import type { TableFile } from '../disk/table-file.js';
import type { Peer } from '../fabric/link.js';
import type { Timer } from '../runtime/clock.js';
import type { Runtime } from '../runtime/runtime.js';
import { MessageType, NodeState, SpaceKind } from '../wire/messages.js';
import type { DurableFacts } from './config.js';
import type { MemoryNodeLoad } from './node.js';

const CALL_MS = 5_000;
const HEARTBEAT_MS_MIN = 10;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 2_000;

export interface MembershipParts {
  readonly id: string;
  readonly address: string;
  readonly machine: string;
  /** Identity of the supervisor. */
  readonly keeper: string;
  readonly table: TableFile;
  readonly load: () => MemoryNodeLoad;
  /** Where the memory is on a disk. */
  readonly durable: DurableFacts | undefined;
  /** Resolves when what the table says now is durable. */
  readonly settled: () => Promise<void>;
  /** The controller, at each of its addresses. At least one. */
  readonly controllers: readonly Peer[];
}

export class Membership {
  readonly #runtime: Runtime;
  readonly #parts: MembershipParts;
  #isStopped = false;
  #timer: Timer | undefined;
  #endPause: () => void = () => {};
  /** Index of the controller's address that is tried. */
  #controller = 0;
  #lastTold = '';
  #isBetweenBeats = false;

  constructor(runtime: Runtime, parts: MembershipParts) {
    assert(parts.controllers.length > 0, 'no address of the controller');
    this.#runtime = runtime;
    this.#parts = parts;
  }

  /** Runs until `stop`. */
  async run(): Promise<void> {
    let failures = 0;
    while (!this.#isStopped) {
      const heartbeatMs = await this.#join();
      if (heartbeatMs === undefined) {
        failures += 1;
        await this.#pause(this.#backoffMs(failures));
        continue;
      }
      failures = 0;
      await this.#beat(heartbeatMs);
      await this.#pause(this.#backoffMs(failures));
    }
  }

  /** What the node is to be told with the next heartbeat is told at once. */
  tellNow(): void {
    if (!this.#isBetweenBeats) return;
    this.#timer?.cancel();
    this.#endPause();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#endPause();
  }

  #backoffMs(failures: number): number {
    const most = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(failures, 10));
    return most * (0.5 + 0.5 * this.#runtime.entropy.fraction());
  }

  get #peer(): Peer {
    const { controllers } = this.#parts;
    return controllers[this.#controller % controllers.length] as Peer;
  }

  /** The interval of heartbeats, or undefined if the controller is away or refuses. */
  async #join(): Promise<number | undefined> {
    const { id, address, machine, keeper, table, load, durable } = this.#parts;
    await this.#parts.settled();
    const { memoryId, pageBytes } = table.facts;
    const { pid, identity } = this.#runtime.processes;
    const request = {
      memoryId,
      bytesLent: load().bytesCapacity,
      incarnation: table.incarnation,
      pageBytes,
      pid,
      kind: durable === undefined ? SpaceKind.DRAM : SpaceKind.PERSISTENT,
      isTrusted: durable?.isTrusted === true ? 1 : 0,
      id,
      address,
      machine,
      keeper,
      process: identity,
      ...table.mark,
      fileSystem: durable?.unprovenFileSystem ?? '',
      openings: table.openings.map((opening) => ({ opening })),
      regions: table.regions.list(),
    };
    const reply = await this.#peer.call(MessageType.JoinNode, request, CALL_MS);
    if (reply.status === Status.Ok) {
      table.raiseMark(reply);
      this.#tell('info', 'joined the rack');
      return Math.max(HEARTBEAT_MS_MIN, reply.heartbeatMs);
    }
    this.#tell('warn', `not joined: ${statusName(reply.status) ?? ''} ${reply.reason}`.trim());
    this.#controller += 1;
    return undefined;
  }

  /** Returns when the node must join again. */
  async #beat(heartbeatMs: number): Promise<void> {
    const { id, table, load } = this.#parts;
    while (!this.#isStopped) {
      const { bytesLent, bytesUsed, bytesCommitted, bytesToGive, donor } = load();
      const request = {
        memoryId: table.facts.memoryId,
        ...{ bytesLent, bytesUsed, bytesCommitted, bytesToGive, donor },
        incarnation: table.incarnation,
        state: NodeState.SERVING,
        id,
      };
      const reply = await this.#peer.call(MessageType.Heartbeat, request, CALL_MS);
      if (reply.status !== Status.Ok) {
        this.#tell('warn', `the controller does not answer: ${statusName(reply.status) ?? ''}`);
        return;
      }
      if (reply.known === 0) return;
      table.raiseMark(reply);
      this.#isBetweenBeats = true;
      await this.#pause(heartbeatMs);
      this.#isBetweenBeats = false;
    }
  }

  /** Tells a change once, however often it is met. */
  #tell(level: 'info' | 'warn', message: string): void {
    if (this.#isStopped || message === this.#lastTold) return;
    this.#lastTold = message;
    this.#runtime.log.write(level, message, { code: 'MEMBERSHIP', node: this.#parts.id });
  }

  #pause(ms: number): Promise<void> {
    if (this.#isStopped) return Promise.resolve();
    return new Promise((resolve) => {
      this.#endPause = resolve;
      this.#timer = this.#runtime.timers.after(ms, resolve);
    });
  }
}
