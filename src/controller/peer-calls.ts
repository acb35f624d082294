/** `NodeCalls` over the fabric: one connection per node, so a node sees calls in their order. */
import type { SpaceId } from '../base/brands.js';
import { Status } from '../base/status.js';
import type { ControllerMark } from '../disk/table-file.js';
import type { Peer } from '../fabric/link.js';
import { MessageType } from '../wire/messages.js';
import { CONNECTIONS_PER_LIFE, TELL_MS } from './limits.js';
import type {
  Answer,
  KnownCopies,
  MoveKnown,
  MoveOfRegion,
  MoveOutOrder,
  MoveProgress,
  NodeAt,
  NodeCalls,
  RegionGrant,
  RegionsToGive,
  RegionToGive,
} from './node-calls.js';
import type { HeldRegion } from './reconcile.js';

export class PeerCalls implements NodeCalls {
  readonly #peer: (address: string, memoryId: number) => Peer;
  readonly #numberFrom: (before: number) => void;
  readonly #peers = new Map<string, Peer>();

  /**
   * `peer` gives the peer of a memory at an address, the same one until it is closed; `numberFrom`
   * lets the numbers of connections begin above its argument.
   */
  constructor(
    peer: (address: string, memoryId: number) => Peer,
    numberFrom: (before: number) => void,
  ) {
    this.#peer = peer;
    this.#numberFrom = numberFrom;
  }

  async grantRegion(node: NodeAt, grant: RegionGrant): Promise<Status> {
    const reply = await this.at(node).call(MessageType.GrantRegion, grant, TELL_MS);
    return reply.status;
  }

  async removeSpace(node: NodeAt, space: SpaceId): Promise<Status> {
    const reply = await this.at(node).call(MessageType.RemoveSpace, { space }, TELL_MS);
    return reply.status === Status.NotFound ? Status.Ok : reply.status;
  }

  async heldRegions(node: NodeAt): Promise<readonly HeldRegion[] | undefined> {
    const request = { after: 0 };
    const reply = await this.at(node).call(MessageType.NodeRegions, request, TELL_MS);
    // A node holds no more regions than one message names.
    return reply.status === Status.Ok && reply.more === 0
      ? (reply.regions as readonly HeldRegion[])
      : undefined;
  }

  async noteMark(node: NodeAt, mark: ControllerMark): Promise<Status> {
    return (await this.at(node).call(MessageType.NoteMark, mark, TELL_MS)).status;
  }

  reconnect(life: number): void {
    this.close();
    this.#numberFrom(life * CONNECTIONS_PER_LIFE);
  }

  async moveOut(node: NodeAt, order: MoveOutOrder, isForced: boolean): Promise<Answer> {
    const type = isForced ? MessageType.MoveOutForced : MessageType.MoveOut;
    const reply = await this.at(node).call(type, order, TELL_MS);
    return reply.status === Status.Ok ? { status: Status.Ok, reason: '' } : reply;
  }

  async moveProgress(node: NodeAt, move: MoveOfRegion): Promise<MoveProgress | undefined> {
    const request = { ...move, more: 0 };
    const reply = await this.at(node).call(MessageType.MoveProgress, request, TELL_MS);
    return reply.status === Status.Ok ? reply : undefined;
  }

  async moveCancel(node: NodeAt, move: MoveOfRegion): Promise<MoveProgress | undefined> {
    const request = { ...move, more: 0 };
    const reply = await this.at(node).call(MessageType.MoveCancel, request, TELL_MS);
    return reply.status === Status.Ok ? reply : undefined;
  }

  async moveEnd(node: NodeAt, move: MoveOfRegion, isTaken: boolean): Promise<Status> {
    const request = { ...move, more: isTaken ? 1 : 0 };
    const reply = await this.at(node).call(MessageType.MoveEnd, request, TELL_MS);
    return reply.status;
  }

  async nodeMoves(node: NodeAt, stops: boolean): Promise<readonly MoveKnown[] | undefined> {
    const request = { stops: stops ? 1 : 0 };
    const reply = await this.at(node).call(MessageType.NodeMoves, request, TELL_MS);
    if (reply.status === Status.Ok) return reply.moves as readonly MoveKnown[];
    // A node of an older version: of its moves nothing is known.
    return reply.status === Status.Unsupported ? [] : undefined;
  }

  async regionsToGive(node: NodeAt): Promise<RegionsToGive | undefined> {
    const reply = await this.at(node).call(MessageType.RegionsToGive, {}, TELL_MS);
    return reply.status === Status.Ok ? (reply as unknown as RegionsToGive) : undefined;
  }

  async regionSizes(node: NodeAt): Promise<readonly RegionToGive[] | undefined> {
    const reply = await this.at(node).call(MessageType.RegionSizes, {}, TELL_MS);
    if (reply.status !== Status.Ok) return undefined;
    return reply.regions as unknown as readonly RegionToGive[];
  }

  async copies(node: NodeAt, after: number): Promise<KnownCopies | undefined> {
    const reply = await this.at(node).call(MessageType.ListSlabs, { after, device: 0 }, TELL_MS);
    return reply.status === Status.Ok ? reply : undefined;
  }

  async dropCopies(node: NodeAt, copies: readonly number[]): Promise<boolean> {
    const request = { copies: copies.map((copy) => ({ copy })) };
    return (
      (await this.at(node).call(MessageType.DropCopies, request, TELL_MS)).status === Status.Ok
    );
  }

  forget(node: NodeAt): void {
    this.#peers.get(keyOf(node))?.close();
    this.#peers.delete(keyOf(node));
  }

  close(): void {
    for (const peer of this.#peers.values()) peer.close();
    this.#peers.clear();
  }

  /** The connection to a node, one for all that is asked of it. */
  at(node: NodeAt): Peer {
    const key = keyOf(node);
    let peer = this.#peers.get(key);
    if (peer === undefined) {
      peer = this.#peer(node.address, node.memoryId);
      this.#peers.set(key, peer);
    }
    return peer;
  }
}

const keyOf = ({ address, memoryId }: NodeAt): string => `${address} ${memoryId}`;
