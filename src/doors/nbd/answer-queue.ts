/**
 * What of one connection is to be sent, in one queue: pieces of reads that are chunks of their own,
 * and requests whose last answer is due. A read that is answered in one piece has the output for
 * itself from its header to its last byte.
 */

import { Status } from '../../base/status.js';
import type { Memory } from '../../runtime/memory.js';
import type { BlockBackend } from '../backend.js';
import type { NbdCounters } from './counters.js';
import { EXTENT_WORK, type NbdLimits } from './limits.js';
import {
  DATA_CHUNK_BYTES,
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_FLAG_REQ_ONE,
  NBD_CMD_WRITE,
} from './protocol.js';
import type { ReplyWriter } from './replies.js';
import { IndexQueue, ReadForm } from './requests.js';
import type { UnderWay } from './under-way.js';

export interface AnswerWorld {
  readonly memory: Pick<Memory, 'copy'>;
  readonly limits: NbdLimits;
  readonly counters: NbdCounters;
}

export class AnswerQueue {
  readonly #world: AnswerWorld;
  readonly #backend: BlockBackend;
  readonly #underWay: UnderWay;
  readonly #replies: ReplyWriter;
  readonly #broken: (reason: string) => void;
  /** Pieces, and requests as their complement. */
  readonly #queue: IndexQueue;
  /** The read that has the output for itself; -1: none has. */
  #sending = -1;
  #isBroken = false;

  /** `broken`: what was begun to be said cannot be said; the connection is to end. */
  constructor(
    world: AnswerWorld,
    backend: BlockBackend,
    underWay: UnderWay,
    replies: ReplyWriter,
    broken: (reason: string) => void,
  ) {
    this.#world = world;
    this.#backend = backend;
    this.#underWay = underWay;
    this.#replies = replies;
    this.#broken = broken;
    this.#queue = new IndexQueue(world.limits.requests + world.limits.pieces);
  }

  /** Nothing waits, so something else may be put into the output. */
  get isEmpty(): boolean {
    return this.#sending < 0 && this.#queue.isEmpty;
  }

  /** The read that has the output for itself waits for a piece that was not begun. */
  awaits(request: number): boolean {
    return this.#sending === request && this.#underWay.requests.first[request] === -1;
  }

  /** A chunk of a read is there. */
  addPiece(piece: number): void {
    this.#queue.push(piece);
  }

  /** The last answer is due: all is begun, and no piece is left. */
  addEnd(request: number): void {
    this.#queue.push(~request);
    this.pump();
  }

  /** A read that is answered in one piece: adds it when it may be sent. */
  addWhole(request: number): void {
    const { requests, pieces } = this.#underWay;
    if (requests.isQueued[request] === 1) return;
    const first = requests.first[request] as number;
    // Too long to be held: its header promises what is not there yet.
    const isLong = (requests.length[request] as number) > this.#world.limits.heldBytes;
    const isOnItsWay = isLong && requests.end[request] === Status.Ok && first >= 0;
    const isFirstThere = isOnItsWay && pieces.isDone[first] === 1;
    if (!this.#underWay.isDone(request) && !isFirstThere) return;
    requests.isQueued[request] = 1;
    this.#queue.push(~request);
  }

  /** Sends what is in the queue, as far as there is room. */
  pump(): void {
    while (!this.#isBroken) {
      if (this.#sending >= 0) {
        if (!this.#sendWhole(this.#sending)) return;
      } else if (this.#queue.isEmpty) {
        return;
      } else {
        const item = this.#queue.peek();
        if (!(item >= 0 ? this.#sendPiece(item) : this.#sendEnd(~item))) return;
        this.#queue.shift();
      }
    }
  }

  #full(): false {
    this.#world.counters.outputFull++;
    return false;
  }

  /** The bytes of a piece, to a place that was reserved. */
  #copy(piece: number, at: number, bytes: number): void {
    const { bytes: output } = this.#replies.output;
    this.#world.memory.copy(output, at, this.#underWay.bufferOf(piece), 0, bytes);
    this.#world.counters.bytesRead += bytes;
  }

  /** One chunk of a read. */
  #sendPiece(piece: number): boolean {
    const underWay = this.#underWay;
    const { requests, pieces } = underWay;
    const bytes = pieces.bytes[piece] as number;
    const at = this.#replies.reserve(DATA_CHUNK_BYTES + bytes);
    if (at < 0) return this.#full();
    const request = pieces.request[piece] as number;
    this.#copy(piece, at + DATA_CHUNK_BYTES, bytes);
    underWay.endPiece(request);
    const isDone = underWay.isDone(request);
    const isLast = isDone && requests.end[request] === Status.Ok;
    this.#replies.dataHeader(request, at, pieces.offset[piece] as number, bytes, isLast);
    this.#replies.commit(DATA_CHUNK_BYTES + bytes);
    underWay.give(piece);
    if (isLast) underWay.answered(request);
    // Behind what is in the queue, where there is always room for it.
    else if (isDone) this.#queue.push(~request);
    return true;
  }

  /** The last answer to a request, or the header of a read that is answered in one piece. */
  #sendEnd(request: number): boolean {
    const { requests } = this.#underWay;
    const isOk = requests.end[request] === Status.Ok;
    if (requests.form[request] === ReadForm.WHOLE && requests.begun[request] !== 0) {
      return isOk ? this.#sendHeader(request) : this.#sendFailure(request);
    }
    if (isOk && requests.type[request] === NBD_CMD_BLOCK_STATUS) {
      return this.#sendBlockStatus(request);
    }
    if (!this.#replies.end(request)) return this.#full();
    if (!isOk) this.#world.counters.requestsFailed++;
    else if (requests.type[request] === NBD_CMD_WRITE) {
      this.#world.counters.bytesWritten += requests.length[request] as number;
    }
    this.#underWay.answered(request);
    return true;
  }

  #sendBlockStatus(request: number): boolean {
    const { requests } = this.#underWay;
    const isOne = ((requests.flags[request] as number) & NBD_CMD_FLAG_REQ_ONE) !== 0;
    const blocks = (requests.length[request] as number) / this.#backend.blockMin;
    const most = isOne ? 1 : Math.min(this.#world.limits.descriptors, blocks);
    const steps = this.#replies.blockStatus(request, this.#backend, most);
    if (steps < 0) return this.#full();
    this.#underWay.work += steps * EXTENT_WORK;
    this.#underWay.answered(request);
    return true;
  }

  #sendHeader(request: number): boolean {
    const bytes = this.#replies.wholeHeaderBytes;
    const at = this.#replies.reserve(bytes);
    if (at < 0) return this.#full();
    this.#replies.wholeHeader(request, at);
    this.#replies.commit(bytes);
    this.#sending = request;
    return true;
  }

  /** A failed read of which nothing was sent; one that is still under way is added again later. */
  #sendFailure(request: number): boolean {
    const { requests } = this.#underWay;
    requests.isQueued[request] = 0;
    if (!this.#underWay.isDone(request)) return true;
    if (!this.#replies.end(request)) {
      requests.isQueued[request] = 1;
      return this.#full();
    }
    this.#world.counters.requestsFailed++;
    while ((requests.first[request] as number) >= 0) this.#underWay.giveFirst(request);
    this.#underWay.answered(request);
    return true;
  }

  /** Goes on with the read that has the output; false: its next piece, or room, is missing. */
  #sendWhole(request: number): boolean {
    const { requests, pieces } = this.#underWay;
    if (requests.end[request] !== Status.Ok) {
      // "The server MUST immediately initiate a hard disconnect": length bytes were promised.
      this.#isBroken = true;
      this.#broken('a read failed after its reply was begun');
      return false;
    }
    const piece = requests.first[request] as number;
    if (piece < 0) {
      if (requests.isBegun[request] === 0) return false;
      this.#sending = -1;
      this.#underWay.answered(request);
      return true;
    }
    if (pieces.isDone[piece] === 0) return false;
    const bytes = pieces.bytes[piece] as number;
    const at = this.#replies.reserve(bytes);
    if (at < 0) return this.#full();
    this.#copy(piece, at, bytes);
    this.#replies.commit(bytes);
    this.#underWay.giveFirst(request);
    return true;
  }
}
