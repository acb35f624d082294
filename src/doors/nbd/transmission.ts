/**
 * The transmission phase of one connection.
 *
 *   input --header--> checked --+--> done in place --> output
 *                               +--> pieces: buffers, the backend --told--> queue --> output
 *
 * Requests are begun in the order in which they come, and answered in any. A request is executed in
 * pieces (`PIECE_BYTES`). A piece goes between stream and backend directly where the backend can do
 * it at once; else it takes a buffer, of which each connection has so many, and waits for the
 * backend. Only the request that came last may be begun in part; while it waits for buffers, rows
 * or output nothing more of the input is looked at. So what is under way never waits for what is
 * not, and whoever does not read answers holds up himself alone.
 *
 * What cannot be sent at once goes through one queue (`AnswerQueue`), as does every last answer.
 */

import { assert } from '../../base/assert.js';
import { Status } from '../../base/status.js';
import type { Timers } from '../../runtime/clock.js';
import type { Memory } from '../../runtime/memory.js';
import { type Bytes, type Stream, STREAM_RESERVE_BYTES_MAX } from '../../runtime/network.js';
import { AnswerQueue } from './answer-queue.js';
import {
  Change,
  Extent,
  extentBytes,
  extentState,
  type BlockBackend,
  type BlockSink,
  NOT_NOW,
} from '../backend.js';
import { RequestChecks } from './checks.js';
import type { NbdCounters } from './counters.js';
import { EXTENT_WORK, type NbdLimits, PIECE_BYTES } from './limits.js';
import type { Agreement } from './negotiation.js';
import type { BufferPool } from './pool.js';
import {
  DATA_CHUNK_BYTES,
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_DISC,
  NBD_CMD_FLAG_DF,
  NBD_CMD_FLAG_FAST_ZERO,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_NO_HOLE,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
  NBD_REQUEST_MAGIC,
  readU64,
  REQUEST_BYTES,
  RequestAt,
} from './protocol.js';
import { extentOfBackend, ReplyWriter } from './replies.js';
import { type PieceTable, ReadForm, type RequestTable } from './requests.js';
import { UnderWay } from './under-way.js';

export interface TransmissionWorld {
  readonly timers: Timers;
  readonly memory: Pick<Memory, 'copy'>;
  readonly limits: NbdLimits;
  readonly counters: NbdCounters;
  readonly pool: BufferPool;
  /** Nothing more comes of it; `isSoft`: what was answered is to reach the client. */
  over(reason: string, isSoft: boolean): void;
  /** After the end of the stream: the backend has let go of everything. */
  settled(): void;
}

/** How often holes are asked for, for one piece. */
const LOOKS_MAX = 32;

export class Transmission implements BlockSink {
  readonly #world: TransmissionWorld;
  readonly #stream: Stream;
  readonly #backend: BlockBackend;
  readonly #checks: RequestChecks;
  readonly #requests: RequestTable;
  readonly #pieces: PieceTable;
  readonly #underWay: UnderWay;
  readonly #replies: ReplyWriter;
  readonly #answers: AnswerQueue;
  readonly #advanceLater: () => void;
  readonly #nextTurn: () => void;
  /** The write whose payload is coming in, and how much of it is missing; -1: none is. */
  #incoming = -1;
  #payloadLeft = 0;
  /** The read that is begun in part; -1: none is. */
  #starting = -1;
  #isBlocked = false;
  #isPaused = false;
  #isTurnOver = false;
  #isAdvancing = false;
  /** The client has said goodbye, or the door stops: ends when nothing is under way. */
  #isLeaving = false;
  #isOver = false;
  #hasEnded = false;

  constructor(world: TransmissionWorld, stream: Stream, agreement: Agreement) {
    const { limits } = world;
    this.#world = world;
    this.#stream = stream;
    this.#backend = agreement.backend;
    this.#checks = new RequestChecks(agreement.backend, limits, agreement);
    this.#underWay = new UnderWay(limits, world.pool, world.counters);
    this.#requests = this.#underWay.requests;
    this.#pieces = this.#underWay.pieces;
    this.#replies = new ReplyWriter(stream, this.#requests, agreement.isStructured);
    const { backend } = agreement;
    const broken = (reason: string): void => this.#leaveHard(reason);
    this.#answers = new AnswerQueue(world, backend, this.#underWay, this.#replies, broken);
    this.#advanceLater = () => {
      this.#isAdvancing = false;
      this.#advance();
    };
    this.#nextTurn = () => {
      this.#isTurnOver = false;
      this.#underWay.work = 0;
      this.#advance();
    };
  }

  // ----------------------------------------------------------------------------------- input

  /** Takes what it can of `input[start, end)`, and says how many bytes that was. */
  take(input: Bytes, start: number, end: number): number {
    let at = start;
    this.#isBlocked = false;
    if (!this.#isTurnOver) this.#underWay.work = 0;
    while (!this.#isOver) {
      // Nothing may follow a goodbye, so what does is not looked at.
      if (this.#isLeaving && !this.#checks.isStopping) {
        at = end;
        break;
      }
      if (!this.#mayGoOn()) break;
      const taken =
        this.#incoming >= 0 ? this.#takePayload(input, at, end) : this.#takeRequest(input, at, end);
      if (taken === 0) break;
      at += taken;
    }
    if (this.#isOver) return end - start;
    this.#replies.flush();
    if (this.#isLeaving) this.#leaveWhenDone();
    if (this.#isBlocked && !this.#isPaused) {
      assert(this.#isWakeDue(), 'a pause that nothing ends');
      this.#isPaused = true;
      this.#stream.pause();
    }
    return at - start;
  }

  /** Whether something is under way that will have `#advance` called. */
  #isWakeDue(): boolean {
    const isWorking = this.#underWay.operations > 0 || this.#isTurnOver;
    return isWorking || this.#starting >= 0 || !this.#answers.isEmpty;
  }

  /** Whether another request may be begun; if not, something will say when (`#advance`). */
  #mayGoOn(): boolean {
    if (this.#starting >= 0 && !this.#startRead(this.#starting)) return false;
    // It may have been, until buffers were given back.
    this.#isBlocked = false;
    if (this.#isOver) return false;
    if (!this.#answers.isEmpty) return this.#block();
    const isCrowded = this.#requests.free === 0 || !this.#underWay.hasPiece;
    // What comes in has its row already.
    if (isCrowded && this.#incoming < 0) return this.#blockCrowded();
    return this.#underWay.work < this.#world.limits.turnWork || this.#endTurn();
  }

  #block(): false {
    this.#isBlocked = true;
    return false;
  }

  #blockCrowded(): false {
    this.#world.counters.crowded++;
    return this.#block();
  }

  #blockFull(): false {
    this.#world.counters.outputFull++;
    return this.#block();
  }

  /** Others have their turn. */
  #endTurn(): false {
    if (!this.#isTurnOver) {
      this.#isTurnOver = true;
      this.#world.timers.after(0, this.#nextTurn);
    }
    return this.#block();
  }

  #takeRequest(input: Bytes, at: number, end: number): number {
    const { view } = input;
    // A wrong magic is told at once, not when a request that means nothing has come in.
    if (end - at >= 4 && view.getUint32(at + RequestAt.magic) !== NBD_REQUEST_MAGIC) {
      this.#world.counters.malformed++;
      this.#leaveHard('a request without its magic');
      return 0;
    }
    if (end - at < REQUEST_BYTES) return 0;
    const type = view.getUint16(at + RequestAt.type);
    if (type === NBD_CMD_DISC) {
      this.#isLeaving = true;
      this.#checks.isStopping = false;
      this.#leaveWhenDone();
      return REQUEST_BYTES;
    }
    const flags = view.getUint16(at + RequestAt.flags);
    const offset = readU64(view, at + RequestAt.offset);
    const length = view.getUint32(at + RequestAt.length);
    const request = this.#requests.take();
    this.#requests.type[request] = type;
    this.#requests.flags[request] = flags;
    this.#requests.offset[request] = offset;
    this.#requests.length[request] = length;
    this.#requests.cookieHigh[request] = view.getUint32(at + RequestAt.cookieHigh);
    this.#requests.cookieLow[request] = view.getUint32(at + RequestAt.cookieLow);
    this.#requests.end[request] = this.#checks.check(type, flags, offset, length);
    this.#begin(request, type, length);
    return REQUEST_BYTES;
  }

  #begin(request: number, type: number, length: number): void {
    const { counters } = this.#world;
    if (type === NBD_CMD_READ) counters.reads++;
    else if (type === NBD_CMD_WRITE) counters.writes++;
    else counters.otherRequests++;
    // The payload comes whatever is thought of the request ("Request message").
    if (type === NBD_CMD_WRITE && length > 0) {
      this.#incoming = request;
      this.#payloadLeft = length;
    } else if (this.#requests.end[request] !== Status.Ok || type === NBD_CMD_BLOCK_STATUS) {
      this.#requests.isBegun[request] = 1;
      this.#answers.addEnd(request);
    } else if (type === NBD_CMD_READ) {
      const isWhole =
        !this.#replies.isStructured ||
        ((this.#requests.flags[request] as number) & NBD_CMD_FLAG_DF) !== 0;
      this.#requests.form[request] = isWhole ? ReadForm.WHOLE : ReadForm.CHUNKS;
      this.#starting = request;
    } else {
      this.#beginChange(request, type);
    }
  }

  /** What is handed to the backend as a whole. */
  #beginChange(request: number, type: number): void {
    const offset = this.#requests.offset[request] as number;
    const length = this.#requests.length[request] as number;
    const change = changeOf(this.#requests.flags[request] as number);
    this.#requests.isBegun[request] = 1;
    const piece = this.#underWay.begin(request, offset, 0, undefined);
    if (type === NBD_CMD_FLUSH) this.#backend.flush(this, piece);
    else if (type === NBD_CMD_TRIM) this.#backend.trim(offset, length, change, this, piece);
    else if (type === NBD_CMD_CACHE) this.#backend.cache(offset, length, this, piece);
    else {
      assert(type === NBD_CMD_WRITE_ZEROES, 'a command that was not refused');
      this.#backend.writeZeroes(offset, length, change, this, piece);
    }
  }

  // ---------------------------------------------------------------------------------- writes

  #takePayload(input: Bytes, at: number, end: number): number {
    const request = this.#incoming;
    const requests = this.#requests;
    let bytes = Math.min(this.#payloadLeft, end - at);
    if (requests.end[request] === Status.Ok) {
      const offset = (requests.offset[request] as number) + (requests.begun[request] as number);
      bytes = pieceBytes(offset, this.#payloadLeft);
      if (end - at < bytes || !this.#writePiece(request, offset, input.bytes, at, bytes)) return 0;
      requests.begun[request] = (requests.begun[request] as number) + bytes;
      this.#underWay.work += bytes;
    }
    this.#payloadLeft -= bytes;
    if (this.#payloadLeft === 0) {
      this.#incoming = -1;
      requests.isBegun[request] = 1;
      if (requests.left[request] === 0) this.#answers.addEnd(request);
    }
    return bytes;
  }

  /** False: there is no buffer, and nothing was done. */
  #writePiece(
    request: number,
    offset: number,
    from: Uint8Array,
    start: number,
    bytes: number,
  ): boolean {
    const change = changeOf(this.#requests.flags[request] as number);
    const status = this.#backend.writeNow(offset, from, start, bytes, change);
    if (status === NOT_NOW) {
      const piece = this.#beginBuffered(request, offset, bytes);
      if (piece < 0) return false;
      const buffer = this.#underWay.bufferOf(piece);
      this.#world.memory.copy(buffer, 0, from, start, bytes);
      this.#backend.write(offset, buffer, 0, bytes, change, this, piece);
    } else if (status !== Status.Ok) {
      this.#underWay.fail(request, status, offset);
    }
    return true;
  }

  // ----------------------------------------------------------------------------------- reads

  /** Begins what it can of a read; true when all of it was begun. */
  #startRead(request: number): boolean {
    const isInChunks = this.#requests.form[request] === ReadForm.CHUNKS;
    for (;;) {
      const isBegun = isInChunks ? this.#startChunks(request) : this.#startWhole(request);
      if (isBegun) this.#starting = -1;
      const held = this.#underWay.bufferBytes;
      this.#answers.pump();
      if (isBegun) return true;
      // What was sent has given its buffers back.
      if (this.#underWay.bufferBytes === held || this.#isTurnOver || this.#isOver) return false;
    }
  }

  /** Every piece is an answer of its own, and is sent when it is there. */
  #startChunks(request: number): boolean {
    const requests = this.#requests;
    const from = requests.offset[request] as number;
    const length = requests.length[request] as number;
    for (;;) {
      const begun = requests.begun[request] as number;
      if (begun === length || requests.end[request] !== Status.Ok) break;
      if (this.#underWay.work >= this.#world.limits.turnWork) return this.#endTurn();
      const bytes = this.#startChunk(request, from + begun, length - begun);
      if (bytes === 0) return false;
      if (bytes === length - begun && requests.isBegun[request] === 1) return true;
      requests.begun[request] = begun + bytes;
    }
    requests.isBegun[request] = 1;
    if (requests.left[request] === 0) this.#answers.addEnd(request);
    return true;
  }

  /**
   * Begins one chunk of at most `bytes`, and returns its length; 0: there is no room for it. When
   * it has answered the whole request, that is gone, and `isBegun` is 1.
   */
  #startChunk(request: number, offset: number, bytes: number): number {
    const hole = this.#holeBytes(offset, bytes);
    const isFree = this.#answers.isEmpty;
    if (hole > 0) {
      const isLast = hole === bytes && this.#requests.left[request] === 0;
      if (!isFree || !this.#replies.hole(request, offset, hole, isLast)) return +this.#blockFull();
      if (isLast) this.#underWay.answered(request);
      return hole;
    }
    const data = this.#dataBytes(offset, pieceBytes(offset, bytes));
    const at = isFree ? this.#replies.reserve(DATA_CHUNK_BYTES + data) : -1;
    if (at < 0) return +this.#blockFull();
    this.#underWay.work += data;
    const { output } = this.#replies;
    const status = this.#backend.readNow(offset, output.bytes, at + DATA_CHUNK_BYTES, data);
    if (status === Status.Ok) {
      const isLast = data === bytes && this.#requests.left[request] === 0;
      this.#replies.dataHeader(request, at, offset, data, isLast);
      this.#replies.commit(DATA_CHUNK_BYTES + data);
      this.#world.counters.bytesRead += data;
      if (isLast) this.#underWay.answered(request);
      return data;
    }
    return this.#readLater(request, status, offset, data) < 0 ? 0 : data;
  }

  /** Answered in one piece: at once where that can be, else when all of it is in buffers. */
  #startWhole(request: number): boolean {
    const requests = this.#requests;
    const from = requests.offset[request] as number;
    const length = requests.length[request] as number;
    if (requests.begun[request] === 0 && this.#readWhole(request, from, length)) return true;
    for (;;) {
      const begun = requests.begun[request] as number;
      if (begun === length || requests.end[request] !== Status.Ok) break;
      if (this.#underWay.work >= this.#world.limits.turnWork) return this.#endTurn();
      const bytes = pieceBytes(from + begun, length - begun);
      const piece = this.#beginBuffered(request, from + begun, bytes);
      if (piece < 0) return false;
      this.#underWay.work += bytes;
      this.#underWay.keepInOrder(request, piece);
      requests.begun[request] = begun + bytes;
      this.#readInto(request, piece);
    }
    requests.isBegun[request] = 1;
    this.#answers.addWhole(request);
    return true;
  }

  /** True when the whole read was answered, or failed; false: it is to go through buffers. */
  #readWhole(request: number, from: number, length: number): boolean {
    const header = this.#replies.wholeHeaderBytes;
    if (header + length > STREAM_RESERVE_BYTES_MAX) return false;
    if (!this.#answers.isEmpty) return false;
    const at = this.#replies.reserve(header + length);
    if (at < 0) return false;
    const { bytes } = this.#replies.output;
    for (let done = 0; done < length; ) {
      const piece = pieceBytes(from + done, length - done);
      const status = this.#backend.readNow(from + done, bytes, at + header + done, piece);
      if (status === NOT_NOW) return false;
      if (status !== Status.Ok) {
        this.#underWay.fail(request, status, from + done);
        this.#requests.isBegun[request] = 1;
        this.#answers.addEnd(request);
        return true;
      }
      done += piece;
    }
    this.#replies.wholeHeader(request, at);
    this.#replies.commit(header + length);
    this.#underWay.work += length;
    this.#world.counters.bytesRead += length;
    this.#underWay.answered(request);
    return true;
  }

  /** A read that could not be done into the output, as `status` says; -1: there is no buffer. */
  #readLater(request: number, status: number, offset: number, bytes: number): number {
    if (status !== NOT_NOW) {
      this.#underWay.fail(request, status, offset);
      return 0;
    }
    const piece = this.#beginBuffered(request, offset, bytes);
    if (piece < 0) return -1;
    this.#backend.read(offset, this.#underWay.bufferOf(piece), 0, bytes, this, piece);
    return piece;
  }

  #readInto(request: number, piece: number): void {
    const offset = this.#pieces.offset[piece] as number;
    const bytes = this.#pieces.bytes[piece] as number;
    const buffer = this.#underWay.bufferOf(piece);
    const status = this.#backend.readNow(offset, buffer, 0, bytes);
    if (status === NOT_NOW) {
      this.#backend.read(offset, buffer, 0, bytes, this, piece);
      return;
    }
    this.#underWay.operations--;
    this.#pieceRead(request, piece, status);
  }

  /** How many bytes from `offset` on are to be told as a hole; 0: they are to be sent. */
  #holeBytes(offset: number, bytes: number): number {
    if (!this.#backend.isSparse) return 0;
    this.#underWay.work += EXTENT_WORK;
    const extent = extentOfBackend(this.#backend, offset, bytes);
    if ((extentState(extent) & Extent.ZERO) === 0) return 0;
    const hole = extentBytes(extent);
    return hole === bytes || hole >= this.#backend.blockPreferred ? hole : 0;
  }

  /** How many of `bytes` from `offset` on come before a hole that is worth telling. */
  #dataBytes(offset: number, bytes: number): number {
    if (!this.#backend.isSparse) return bytes;
    let data = 0;
    for (let looks = 0; looks < LOOKS_MAX && data < bytes; looks++) {
      if (data > 0 && this.#holeBytes(offset + data, bytes - data) > 0) return data;
      data += extentBytes(extentOfBackend(this.#backend, offset + data, bytes - data));
    }
    return bytes;
  }

  // ---------------------------------------------------------------------------------- pieces

  /** A piece with a buffer of its own; -1: there is none to be had yet. */
  #beginBuffered(request: number, offset: number, bytes: number): number {
    const isAwaited = this.#answers.awaits(request);
    const piece = this.#underWay.beginBuffered(request, offset, bytes, isAwaited);
    if (piece < 0) this.#blockCrowded();
    return piece;
  }

  completed(token: number, status: Status): void {
    const request = this.#pieces.request[token] as number;
    assert(request >= 0 && this.#pieces.isDone[token] === 0, 'an operation was completed twice');
    this.#underWay.operations--;
    if (this.#hasEnded) {
      this.#underWay.give(token);
      if (this.#underWay.operations === 0) this.#world.settled();
      return;
    }
    if (this.#requests.form[request] === ReadForm.NONE) this.#pieceWritten(request, token, status);
    else this.#pieceRead(request, token, status);
    if (this.#isAdvancing) return;
    this.#isAdvancing = true;
    this.#world.timers.soon(this.#advanceLater);
  }

  #pieceWritten(request: number, piece: number, status: number): void {
    const isPlaced = this.#pieces.buffer[piece] !== undefined;
    if (status !== Status.Ok) {
      this.#underWay.fail(request, status, isPlaced ? (this.#pieces.offset[piece] as number) : -1);
    }
    this.#underWay.give(piece);
    this.#underWay.endPiece(request);
    this.#finishIfDone(request);
  }

  #pieceRead(request: number, piece: number, status: number): void {
    const offset = this.#pieces.offset[piece] as number;
    this.#pieces.isDone[piece] = 1;
    if (status !== Status.Ok) this.#underWay.fail(request, status, offset);
    if (this.#requests.form[request] === ReadForm.WHOLE) {
      this.#underWay.endPiece(request);
      this.#answers.addWhole(request);
    } else if (status === Status.Ok) {
      this.#answers.addPiece(piece);
    } else {
      this.#underWay.give(piece);
      this.#underWay.endPiece(request);
      this.#finishIfDone(request);
    }
  }

  #finishIfDone(request: number): void {
    if (this.#underWay.isDone(request)) this.#answers.addEnd(request);
  }

  // ---------------------------------------------------------------------- going on, the end

  /** Something was completed, or there is room, or it is this connection's turn. */
  #advance(): void {
    if (this.#isOver) return;
    this.#answers.pump();
    if (!this.#isOver && this.#starting >= 0) this.#startRead(this.#starting);
    if (this.#isOver) return;
    this.#replies.flush();
    if (this.#isLeaving) this.#leaveWhenDone();
    if (!this.#isPaused || this.#isOver || this.#isTurnOver || this.#starting >= 0) return;
    if (!this.#answers.isEmpty) return;
    this.#isPaused = false;
    this.#stream.resume();
  }

  drained(): void {
    this.#advance();
  }

  /** The door stops: what is under way is answered, what still comes is refused. */
  stop(): void {
    if (this.#isLeaving || this.#isOver) return;
    this.#isLeaving = true;
    this.#checks.isStopping = true;
    this.#leaveWhenDone();
  }

  #leaveWhenDone(): void {
    const isIdle = this.#requests.used === 0 && this.#answers.isEmpty;
    if (!isIdle || this.#isOver) return;
    this.#isOver = true;
    this.#world.over('the client is done', true);
  }

  #leaveHard(reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#world.over(reason, false);
  }

  /** The stream is gone. What the backend is at work on is waited for, and nobody is told of it. */
  ended(): void {
    if (this.#hasEnded) return;
    this.#isOver = true;
    this.#hasEnded = true;
    for (let piece = 0; piece < this.#pieces.capacity; piece++) {
      const isHeld = (this.#pieces.request[piece] as number) >= 0;
      if (isHeld && this.#pieces.isDone[piece] === 1) this.#underWay.give(piece);
    }
    if (this.#underWay.operations === 0) this.#world.settled();
  }
}

/** How much of `bytes` from `offset` on lies in one piece. */
function pieceBytes(offset: number, bytes: number): number {
  return Math.min(bytes, PIECE_BYTES - (offset % PIECE_BYTES));
}

/** The flags of a command as those of a change. */
function changeOf(flags: number): number {
  return (
    ((flags & NBD_CMD_FLAG_FUA) !== 0 ? Change.DURABLE : 0) |
    ((flags & NBD_CMD_FLAG_NO_HOLE) !== 0 ? Change.NO_HOLE : 0) |
    ((flags & NBD_CMD_FLAG_FAST_ZERO) !== 0 ? Change.FAST : 0)
  );
}
