/**
 * The copies of one slab: every write goes to all of them, every read to one, and no block is read
 * whose copies may differ (docs/internals/replication.md).
 *
 *   read, write -> wait for the blocks -> [area open] -> copies -> all have answered -> told
 *                                              |             |
 *                                           Upkeep        again, while the deadline lets it,
 *                                                         or a copy leaves the set
 */

import { assert } from '../base/assert.js';
import { type Outcome, Status } from '../base/status.js';
import { type CompletionSink, NOT_NOW } from '../fabric/link.js';
import { outcomeOf } from '../fabric/verbs.js';
import { Area, Areas } from './areas.js';
import { BlockLocks } from './block-locks.js';
import { writeOrTrim, ZEROS } from './copy.js';
import { areaOf, BLOCK_BYTES, PIECE_BLOCKS } from './layout.js';
import { COPIES_MAX, Members } from './members.js';
import { Kind, type Part, PieceRows, ROWS_MAX } from './piece-rows.js';
import { fileFaults, replicationFaults } from './planted.js';
import { ATTEMPT_MS, type ReplicaParts, type Slab } from './slab.js';
import { Upkeep } from './upkeep.js';

const RETRY_MS = 20;
/** A token is the attempt, the row and the copy. */
const TOKENS = ROWS_MAX * COPIES_MAX;

/** Somebody who wants blocks for himself. */
interface Hold {
  readonly first: number;
  readonly count: number;
  readonly isShared: boolean;
  readonly granted: (isHeld: boolean) => void;
}

export class ReplicaSet implements CompletionSink, Slab {
  readonly members: Members;
  readonly areas: Areas;
  readonly upkeep: Upkeep;
  readonly #parts: ReplicaParts;
  readonly #rows = new PieceRows();
  readonly #locks: BlockLocks;
  /** Rows that wait for their blocks, in the order in which they came. */
  #waiting: number[] = [];
  /** Of upkeep; these go first. */
  #holds: Hold[] = [];
  /** Writes whose area is being opened, and those that are tried again. */
  readonly #parked = new Set<number>();
  /** Of these: their blocks are upkeep's for a while. */
  readonly #lent = new Set<number>();
  /** Writes that have their blocks. */
  readonly #writing = new Set<number>();
  /** Where a `writeNow` began that some copies have: whoever called it asks for that write next. */
  #partAt = -1;
  #isWakeDue = false;
  #isOver = false;
  #isGone = false;
  /** A copy has no room, and no other one can be had in its place: writes that need it end so. */
  isFull = false;

  constructor(parts: ReplicaParts) {
    this.#parts = parts;
    const { layout, checksum, copies } = parts;
    this.members = new Members(copies, layout.areas);
    this.areas = new Areas(layout, checksum);
    if (parts.isNew) this.areas.isLoaded.fill(1);
    this.#locks = new BlockLocks(layout.blocks);
    this.upkeep = new Upkeep(parts, this);
  }

  /** No more is done: what has not begun ends as `Stale`, a write that has as unknown. */
  stop(): void {
    this.#isOver = true;
    this.upkeep.stop();
    for (const row of [...this.#waiting, ...this.#parked]) {
      this.#tell(row, this.#endOf(row, Status.Stale));
    }
    this.#waiting = [];
    this.#parked.clear();
    this.#lent.clear();
    for (const { granted } of this.#holds.splice(0)) granted(false);
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** The memory of all copies is gone: who waits for it is told so, and need not wait longer. */
  get isGone(): boolean {
    return this.#isGone;
  }

  set isGone(isGone: boolean) {
    if (isGone === this.#isGone) return;
    this.#isGone = isGone;
    for (const row of isGone ? [...this.#parked] : []) this.#again(row);
    this.wakeSoon();
  }

  /** Whole blocks within one piece. `into` belongs to the set until the sink is told. */
  read(
    first: number,
    count: number,
    into: Uint8Array,
    start: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): void {
    this.#begin(Kind.READ, first, count, into, start, sink, token, deadline, undefined);
  }

  /** As `read`. A failure leaves the blocks as they were, or as they were to be, or in doubt. */
  write(
    first: number,
    count: number,
    from: Uint8Array,
    start: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): void {
    this.#begin(Kind.WRITE, first, count, from, start, sink, token, deadline, undefined);
  }

  /** As `write`, of zeros, which take no memory where a copy can give it back. */
  trim(first: number, count: number, sink: CompletionSink, token: number, deadline: number): void {
    this.#begin(Kind.WRITE, first, count, ZEROS, 0, sink, token, deadline, undefined);
  }

  /** As `read`, of bytes of the slab that need not be whole blocks; within one piece. */
  readPart(
    at: number,
    bytes: number,
    into: Uint8Array,
    start: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): void {
    this.#beginPart(Kind.READ, at, bytes, into, start, sink, token, deadline);
  }

  /** As `write`, of bytes that need not be whole blocks; their blocks are read first. */
  writePart(
    at: number,
    bytes: number,
    from: Uint8Array,
    start: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): void {
    this.#beginPart(Kind.MERGE, at, bytes, from, start, sink, token, deadline);
  }

  /** As `read`, done when it returns: `Ok`; or `NOT_NOW`, and `read` finds out what is to do. */
  readNow(first: number, count: number, into: Uint8Array, start: number): number {
    const { areas, members } = this;
    const isFree = this.#isFree(first) && this.#locks.mayRead(first, count);
    if (!isFree || areas.anyUnsettled(first, count)) return NOT_NOW;
    const index = members.reader(0);
    if (index < 0) return NOT_NOW;
    const copy = members.copy(index);
    const status = copy.readNow(first * BLOCK_BYTES, into, start, count * BLOCK_BYTES);
    if (status !== Status.Ok) return NOT_NOW;
    return areas.firstWrong(first, count, into, start) < 0 ? Status.Ok : NOT_NOW;
  }

  /** As `write`, done at all copies when it returns: `Ok`; or `NOT_NOW`, and `write` does it. */
  writeNow(first: number, count: number, from: Uint8Array, start: number): number {
    const { areas, members } = this;
    const area = areaOf(first);
    const isOpen = areas.state[area] === Area.OPEN;
    const isTorn = this.upkeep.torn.isAny(first, count);
    if (!isOpen || isTorn || !this.#isFree(first) || !this.#locks.mayWrite(first, count)) {
      return NOT_NOW;
    }
    const at = first * BLOCK_BYTES;
    const targets = members.targets(area);
    if (!this.#mayWriteNow(targets, at, count)) return NOT_NOW;
    for (let index = 0, left = targets; left !== 0; index++, left >>>= 1) {
      if ((left & 1) === 0) continue;
      const status = members.copy(index).writeNow(at, from, start, count * BLOCK_BYTES);
      if (status === Status.Ok) continue;
      // Some copies may have it by now: who does not ask again leaves them as they are.
      const isFirst = (targets & ((1 << index) - 1)) === 0;
      // Its node may know by now what of it is torn.
      if (status !== NOT_NOW) members.copy(index).failed(status as Status);
      if (!isFirst || status !== NOT_NOW) {
        areas.unsettle(first, count);
        this.#partAt = first;
      }
      return NOT_NOW;
    }
    areas.idle.written(area, this.#parts.clock.now());
    areas.note(first, count, from, start);
    areas.settle(first, count);
    return Status.Ok;
  }

  /** Before the first has it: as far as copies can tell. */
  #mayWriteNow(targets: number, at: number, count: number): boolean {
    for (let index = 0, left = targets; left !== 0; index++, left >>>= 1) {
      if ((left & 1) === 0) continue;
      if (!this.members.copy(index).mayWriteNow(at, count * BLOCK_BYTES)) return false;
    }
    return true;
  }

  /** Nobody waits, so nobody is overtaken; and what is known of the area is known. */
  #isFree(first: number): boolean {
    const area = areaOf(first);
    const isKnown = this.upkeep.isBegun && this.areas.isLoaded[area] !== 0;
    return (
      isKnown &&
      this.areas.isLost[area] === 0 &&
      !this.#isOver &&
      this.#waiting.length === 0 &&
      this.#holds.length === 0
    );
  }

  #beginPart(
    kind: number,
    at: number,
    bytes: number,
    buffer: Uint8Array,
    start: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
  ): void {
    const first = Math.floor(at / BLOCK_BYTES);
    const count = Math.ceil((at + bytes) / BLOCK_BYTES) - first;
    const whole = new Uint8Array(count * BLOCK_BYTES);
    const part = { buffer, start, at: at - first * BLOCK_BYTES, bytes };
    this.#begin(kind, first, count, whole, 0, sink, token, deadline, part);
  }

  #begin(
    kind: number,
    first: number,
    count: number,
    buffer: Uint8Array,
    start: number,
    sink: CompletionSink,
    token: number,
    deadline: number,
    part: Part | undefined,
  ): void {
    const isPiece = count > 0 && (first % PIECE_BLOCKS) + count <= PIECE_BLOCKS;
    assert(isPiece && first + count <= this.#parts.layout.blocks, 'an operation is one piece');
    const rows = this.#rows;
    const row = this.#isOver ? -1 : rows.begin();
    const isPart = kind === Kind.WRITE && first === this.#partAt;
    this.#partAt = -1;
    if (row < 0) {
      const wanted = this.#isOver ? Status.Stale : Status.Busy;
      const status = isPart ? Status.OutcomeUnknown : wanted;
      this.#parts.timers.soon(() => sink.completed(token, status, outcomeOf(status), 0, 0));
      return;
    }
    rows.kind[row] = kind;
    rows.first[row] = first;
    rows.count[row] = count;
    rows.buffer[row] = buffer;
    rows.start[row] = start;
    rows.sink[row] = sink;
    rows.token[row] = token;
    rows.deadline[row] = deadline;
    rows.part[row] = part;
    if (isPart) rows.mayHave[row] = 1;
    const isFree = this.#waiting.length === 0 && this.#holds.length === 0;
    if (isFree && this.#mayStart(row)) this.#start(row);
    else this.#wait(row);
  }

  #wait(row: number): void {
    this.#waiting.push(row);
    this.wakeSoon();
  }

  /** What stands in the way of a row that nobody works on is seen to. */
  #mayStart(row: number): boolean {
    const { areas } = this;
    if (!this.upkeep.isBegun) return false;
    const first = this.#rows.first[row] as number;
    const count = this.#rows.count[row] as number;
    const area = areaOf(first);
    if (areas.isLost[area] !== 0) return false;
    if (areas.isLoaded[area] === 0) {
      this.upkeep.load(area);
      return false;
    }
    const kind = this.#rows.kind[row];
    if (kind !== Kind.READ && this.upkeep.torn.isAny(first, count)) return false;
    if (kind === Kind.WRITE) return this.#locks.mayWrite(first, count);
    if (areas.anyUnsettled(first, count) && !replicationFaults.unsettledRead) {
      void this.upkeep.settle(first);
      return false;
    }
    const locks = this.#locks;
    return kind === Kind.READ ? locks.mayRead(first, count) : locks.mayWrite(first, count);
  }

  #start(row: number): void {
    const first = this.#rows.first[row] as number;
    const count = this.#rows.count[row] as number;
    if (this.#rows.kind[row] === Kind.READ) {
      this.#locks.read(first, count);
      this.#readNext(row);
      return;
    }
    this.#locks.write(first, count);
    if (this.#rows.kind[row] === Kind.MERGE) this.#readNext(row);
    else this.#startWrite(row);
  }

  /** Whose blocks nobody else uses. */
  #startWrite(row: number): void {
    if (this.#isOver) {
      // What was read for it came late: nothing is written without its intent word.
      this.#endWrite(row, this.#endOf(row, Status.Stale));
      return;
    }
    if (this.#isLost(row)) {
      this.#endWrite(row, Status.DataLost);
      return;
    }
    this.#writing.add(row);
    const area = areaOf(this.#rows.first[row] as number);
    if (this.areas.state[area] === Area.OPEN || replicationFaults.noIntent) {
      this.#send(row);
      return;
    }
    this.#parked.add(row);
    const attempt = this.#rows.attempt[row];
    void this.upkeep.open(area).then(() => {
      const isSame = this.#rows.attempt[row] === attempt;
      if (!isSame || !this.#parked.delete(row)) return;
      if (this.#isLost(row)) this.#endWrite(row, Status.DataLost);
      else this.#send(row);
    });
    this.#parts.timers.after(this.#leftMs(row), () => {
      // Nothing of it was sent.
      if (this.#rows.attempt[row] !== attempt || !this.#parked.delete(row)) return;
      this.#endWrite(row, this.#endOf(row, Status.Timeout));
    });
  }

  // ---------------------------------------------------------------------------------- writes

  #leftMs(row: number): number {
    return Math.max(0, (this.#rows.deadline[row] as number) - this.#parts.clock.now());
  }

  /** To all that do not have it yet. */
  #send(row: number): void {
    const rows = this.#rows;
    const first = rows.first[row] as number;
    const count = rows.count[row] as number;
    const area = areaOf(first);
    this.areas.idle.written(area, this.#parts.clock.now());
    const targets = this.members.targets(area) & ~(rows.done[row] as number);
    if (targets === 0) {
      this.#written(row);
      return;
    }
    rows.pending[row] = targets;
    const deadline = this.#attemptEnds(row);
    const buffer = rows.buffer[row] as Uint8Array;
    const start = rows.start[row] as number;
    const token = this.#nextToken(row);
    for (let index = 0; index < COPIES_MAX; index++) {
      if ((targets & (1 << index)) === 0) continue;
      const at = first * BLOCK_BYTES;
      const copy = this.members.copy(index);
      writeOrTrim(copy, at, buffer, start, count * BLOCK_BYTES, this, token + index, deadline);
    }
  }

  /** Answers to attempts before are nobody's. */
  #nextToken(row: number): number {
    const attempt = ((this.#rows.attempt[row] as number) + 1) >>> 0;
    this.#rows.attempt[row] = attempt;
    return attempt * TOKENS + row * COPIES_MAX;
  }

  /**
   * As long as all attempts before it, at least `ATTEMPT_MS`: over a link that needs longer than
   * that for what waits there, attempts that are always sent anew would be all it carries.
   */
  #attemptEnds(row: number): number {
    const { deadline, sentMs } = this.#rows;
    const nowMs = this.#parts.clock.now();
    if (sentMs[row] === 0) sentMs[row] = nowMs;
    const lastsMs = Math.max(ATTEMPT_MS, nowMs - (sentMs[row] as number));
    return Math.min(deadline[row] as number, nowMs + lastsMs);
  }

  completed(token: number, status: Status, outcome: Outcome): void {
    const rows = this.#rows;
    const row = Math.floor((token % TOKENS) / COPIES_MAX);
    const index = token % COPIES_MAX;
    const attempt = Math.floor(token / TOKENS);
    const bit = 1 << index;
    const pending = rows.pending[row] as number;
    // Of an attempt before, or of a copy that has left since.
    if (attempt !== rows.attempt[row] || (pending & bit) === 0) return;
    rows.pending[row] = pending & ~bit;
    if (rows.kind[row] !== Kind.WRITE) {
      this.#readEnded(row, index, status);
      return;
    }
    if (status === Status.Ok) {
      rows.done[row] = (rows.done[row] as number) | bit;
      // An attempt before, of which that was not known, is done with.
      rows.tried[row] = (rows.tried[row] as number) & ~bit;
      this.members.answered(index);
    } else {
      if (outcome !== 'notApplied') rows.tried[row] = (rows.tried[row] as number) | bit;
      // What a learner lacks nobody waits for.
      if ((this.members.wanted & bit) !== 0) rows.status[row] = status;
      this.upkeep.failed(index, status);
      // A copy may have left by that, and with it the last thing that was waited for.
      if (attempt !== rows.attempt[row]) return;
    }
    const isEnough = replicationFaults.acknowledgedByOne && rows.done[row] !== 0;
    if (rows.pending[row] === 0) this.#written(row);
    else if (isEnough && rows.sink[row] !== undefined) this.#tellSink(row, Status.Ok);
  }

  #written(row: number): void {
    const rows = this.#rows;
    const first = rows.first[row] as number;
    const count = rows.count[row] as number;
    const missing = this.members.wanted & ~(rows.done[row] as number);
    const isBegun = this.#isBegun(row);
    if (missing === 0) {
      this.#note(row, first, count);
      this.areas.settle(first, count);
      this.#endWrite(row, this.#isLost(row) ? Status.DataLost : Status.Ok);
      return;
    }
    if (isBegun && !replicationFaults.divergenceForgotten) this.areas.unsettle(first, count);
    const status = rows.status[row] as Status;
    const isRefused = this.isFull && status === Status.NoSpace;
    const isLate = this.#parts.clock.now() >= (rows.deadline[row] as number);
    if (this.#isOver) this.#endWrite(row, this.#endOf(row, Status.Stale));
    else if (this.#isGone) this.#endWrite(row, this.#endOf(row, Status.DataLost));
    else if (isRefused || isLate) this.#endWrite(row, this.#endOf(row, status));
    else this.#park(row);
  }

  #note(row: number, first: number, count: number): void {
    const buffer = this.#rows.buffer[row] as Uint8Array;
    if (buffer !== ZEROS) this.areas.note(first, count, buffer, this.#rows.start[row] as number);
    else if (!replicationFaults.trimNotNoted) this.areas.noteZeros(first, count);
  }

  /** Of a write: whether a copy has it, or may have some of it. */
  #isBegun(row: number): boolean {
    const { kind, done, tried, mayHave } = this.#rows;
    if (kind[row] !== Kind.WRITE) return false;
    return done[row] !== 0 || tried[row] !== 0 || mayHave[row] !== 0;
  }

  /** Of one that failed like this, as it is to be told. */
  #endOf(row: number, status: Status): Status {
    return this.#isBegun(row) ? Status.OutcomeUnknown : passing(status);
  }

  /** Tried again a little later, or at once when the set has changed. */
  #park(row: number): void {
    this.#parked.add(row);
    const attempt = this.#rows.attempt[row];
    this.#parts.timers.after(RETRY_MS, () => {
      if (this.#rows.attempt[row] === attempt) this.#again(row);
    });
  }

  #again(row: number): void {
    if (this.#lent.has(row) || !this.#parked.delete(row)) return;
    const missing = this.members.wanted & ~(this.#rows.done[row] as number);
    const isLate = this.#parts.clock.now() >= (this.#rows.deadline[row] as number);
    if (missing === 0 || isLate || this.#isGone) this.#written(row);
    else this.#send(row);
  }

  #endWrite(row: number, status: Status): void {
    this.#writing.delete(row);
    this.#locks.endWrite(this.#rows.first[row] as number, this.#rows.count[row] as number);
    this.#tell(row, status);
    this.wakeSoon();
  }

  // ----------------------------------------------------------------------------------- reads

  #readNext(row: number): void {
    const rows = this.#rows;
    const index = this.members.reader(rows.tried[row] as number);
    if (index < 0) {
      this.#readFailed(row);
      return;
    }
    rows.pending[row] = 1 << index;
    const at = (rows.first[row] as number) * BLOCK_BYTES;
    const bytes = (rows.count[row] as number) * BLOCK_BYTES;
    const buffer = rows.buffer[row] as Uint8Array;
    const token = this.#nextToken(row) + index;
    const copy = this.members.copy(index);
    copy.read(at, buffer, rows.start[row] as number, bytes, this, token, this.#attemptEnds(row));
  }

  #readEnded(row: number, index: number, status: Status): void {
    const rows = this.#rows;
    if (status !== Status.Ok) {
      rows.tried[row] = (rows.tried[row] as number) | (1 << index);
      rows.status[row] = status;
      this.upkeep.failed(index, status);
      this.#readNext(row);
      return;
    }
    this.members.answered(index);
    const first = rows.first[row] as number;
    const buffer = rows.buffer[row] as Uint8Array;
    const start = rows.start[row] as number;
    const wrong = this.areas.firstWrong(first, rows.count[row] as number, buffer, start);
    if (wrong < 0 || replicationFaults.checksumsIgnored) {
      const isFile = (this.members.backup & (1 << index)) !== 0;
      if (isFile) void this.#confirmRead(row, index);
      else this.#endRead(row, Status.Ok);
      return;
    }
    rows.tried[row] = (rows.tried[row] as number) | (1 << index);
    rows.done[row] = (rows.done[row] as number) | (1 << index);
    void this.upkeep.repair(index, wrong);
    this.#readNext(row);
  }

  /** A file knows nothing of another writer, and the copies that do did not answer. */
  async #confirmRead(row: number, index: number): Promise<void> {
    const rows = this.#rows;
    this.members.askAgain(this.#parts.clock.now());
    const isHeld = fileFaults.fileUnconfirmed || (await this.#parts.keeper.confirm());
    if (isHeld) {
      this.#endRead(row, Status.Ok);
      return;
    }
    rows.tried[row] = (rows.tried[row] as number) | (1 << index);
    rows.status[row] = Status.Unavailable;
    this.#readNext(row);
  }

  /** No copy is left that was not tried. */
  #readFailed(row: number): void {
    const rows = this.#rows;
    const now = this.#parts.clock.now();
    const isLate = now >= (rows.deadline[row] as number);
    const { set } = this.members;
    // Of none nobody has said anything: the file of another host is all that is left.
    const isCorrupt = set !== 0 && (set & ~(rows.done[row] as number)) === 0;
    if (this.#isOver || this.#isGone || isLate || isCorrupt) {
      const silent = this.#isGone ? Status.DataLost : passing(rows.status[row] as Status);
      const status = isCorrupt ? Status.Corrupt : silent;
      // Whatever the copies said: the next writer may ask them again.
      this.#endRead(row, this.#isOver ? Status.Stale : status);
      return;
    }
    rows.tried[row] = rows.done[row] as number;
    // Copies may refuse at once: nothing is tried again and again without a pause.
    rows.notBefore[row] = now + RETRY_MS;
    this.#unlock(row);
    this.#parts.timers.after(RETRY_MS, () => this.wake());
    this.#waiting.push(row);
    // Whoever waits for the blocks goes before it.
    this.wakeSoon();
  }

  #endRead(row: number, status: Status): void {
    const { kind, part, buffer } = this.#rows;
    const wanted = part[row];
    if (wanted !== undefined && status === Status.Ok) {
      const whole = buffer[row] as Uint8Array;
      if (kind[row] === Kind.MERGE) {
        this.#merge(row, wanted, whole);
        return;
      }
      wanted.buffer.set(whole.subarray(wanted.at, wanted.at + wanted.bytes), wanted.start);
    }
    this.#unlock(row);
    this.#tell(row, status);
    this.wakeSoon();
  }

  /** The blocks are as they were, but for its part. */
  #merge(row: number, { buffer, start, at, bytes }: Part, whole: Uint8Array): void {
    const rows = this.#rows;
    whole.set(buffer.subarray(start, start + bytes), at);
    rows.kind[row] = Kind.WRITE;
    rows.done[row] = 0;
    rows.tried[row] = 0;
    rows.status[row] = 0;
    this.#startWrite(row);
  }

  #unlock(row: number): void {
    const { kind, first, count } = this.#rows;
    if (kind[row] === Kind.READ) this.#locks.endRead(first[row] as number, count[row] as number);
    else this.#locks.endWrite(first[row] as number, count[row] as number);
  }

  #tell(row: number, status: Status): void {
    if (this.#rows.sink[row] !== undefined) this.#tellSink(row, status);
    this.#rows.end(row);
  }

  #tellSink(row: number, status: Status): void {
    const sink = this.#rows.sink[row] as CompletionSink;
    this.#rows.sink[row] = undefined;
    sink.completed(this.#rows.token[row] as number, status, outcomeOf(status), 0, 0);
  }

  // --------------------------------------------------------------------------------- waiting

  /**
   * The blocks for upkeep alone, or shared with readers, as soon as nobody uses them. False: the
   * set is over, and nothing is held.
   */
  hold(first: number, count: number, isShared = false): Promise<boolean> {
    if (this.#isOver) return Promise.resolve(false);
    return new Promise((granted) => {
      this.#holds.push({ first, count, isShared, granted });
      this.wakeSoon();
    });
  }

  letGo(first: number, count: number, isShared = false): void {
    if (isShared) this.#locks.endRead(first, count);
    else this.#locks.endWrite(first, count);
    for (const row of isShared ? [] : [...this.#lent]) {
      if (this.#rows.isWithin(row, first, count)) this.#takeBack(row);
    }
    this.wakeSoon();
  }

  /**
   * Writes that a copy has refused for want of room wait until another one has taken its place; to
   * fill that one, upkeep needs their blocks. Nothing of them is under way.
   */
  #lend(first: number, count: number): number[] {
    const rows = this.#rows;
    const lent = [...this.#parked].filter((row) => {
      const isRefused = rows.status[row] === Status.NoSpace && rows.tried[row] === 0;
      return isRefused && !this.#lent.has(row) && rows.isWithin(row, first, count);
    });
    for (const row of lent) {
      this.#locks.endWrite(rows.first[row] as number, rows.count[row] as number);
    }
    return lent;
  }

  /** Copies that had it may have been made equal to those that had not: all are asked again. */
  #takeBack(row: number): void {
    const rows = this.#rows;
    this.#lent.delete(row);
    this.#locks.write(rows.first[row] as number, rows.count[row] as number);
    rows.done[row] = 0;
    this.#again(row);
  }

  wakeSoon(): void {
    if (this.#isWakeDue) return;
    this.#isWakeDue = true;
    this.#parts.timers.soon(this.#wakeNow);
  }

  readonly #wakeNow = (): void => {
    this.#isWakeDue = false;
    this.wake();
  };

  wake(): void {
    if (this.#isOver) return;
    this.#holds = this.#holds.filter((hold) => !this.#grant(hold));
    const now = this.#parts.clock.now();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const row of waiting) {
      const isDue = now >= (this.#rows.notBefore[row] as number);
      if (this.#isLost(row)) this.#tell(row, this.#endOf(row, Status.DataLost));
      else if (now >= (this.#rows.deadline[row] as number)) {
        this.#tell(row, this.#endOf(row, Status.Timeout));
      } else if (isDue && !this.#isBehind(row) && this.#mayStart(row)) this.#start(row);
      else this.#waiting.push(row);
    }
    this.#endLent(now);
    if (this.#waiting.length > 0 || this.#lent.size > 0) this.upkeep.keepLooking();
  }

  /** Whoever has their blocks keeps them, maybe for as long as a copy is away. */
  #endLent(now: number): void {
    for (const row of [...this.#lent]) {
      if (now < (this.#rows.deadline[row] as number) && !this.#isGone) continue;
      this.#lent.delete(row);
      this.#parked.delete(row);
      this.#writing.delete(row);
      this.#tell(row, this.#endOf(row, this.#rows.status[row] as Status));
    }
  }

  #grant({ first, count, isShared, granted }: Hold): boolean {
    const lent = isShared ? [] : this.#lend(first, count);
    const isFree = isShared
      ? this.#locks.mayRead(first, count)
      : this.#locks.mayWrite(first, count);
    if (!isFree) {
      const { first: begins, count: blocks } = this.#rows;
      for (const row of lent) this.#locks.write(begins[row] as number, blocks[row] as number);
      return false;
    }
    for (const row of lent) {
      this.#lent.add(row);
      // Whoever has the blocks may give others what one copy has of it.
      if (this.#rows.done[row] !== 0) this.#rows.mayHave[row] = 1;
    }
    if (isShared) this.#locks.read(first, count);
    else this.#locks.write(first, count);
    granted(true);
    return true;
  }

  #isLost(row: number): boolean {
    return this.#isGone || this.areas.isLost[areaOf(this.#rows.first[row] as number)] !== 0;
  }

  /** Somebody who came before it, or upkeep, waits for one of its blocks. */
  #isBehind(row: number): boolean {
    const rows = this.#rows;
    const first = rows.first[row] as number;
    const count = rows.count[row] as number;
    if (this.#holds.some((hold) => rows.overlaps(row, hold.first, hold.count))) return true;
    return this.#waiting.some((other) => rows.overlaps(other, first, count));
  }

  // ---------------------------------------------------------------------------- which copies

  /** It has left the set, or has stopped learning: what waits for it waits no more. */
  drop(id: number): void {
    // Who is over does not know whether the copy counts: what waits for it ends as unknown.
    if (this.#isOver) return;
    const bit = this.members.bitOf(id);
    this.members.forget(bit);
    const rows = this.#rows;
    for (const row of this.#writing) {
      const pending = rows.pending[row] as number;
      rows.pending[row] = pending & ~bit;
      // What it has is no part of the slab any more, and what it says is nobody's.
      rows.done[row] = (rows.done[row] as number) & ~bit;
      rows.tried[row] = (rows.tried[row] as number) & ~bit;
      if (pending !== 0 && rows.pending[row] === 0) this.#written(row);
    }
    for (const row of [...this.#parked]) if (rows.status[row] !== 0) this.#again(row);
    this.wakeSoon();
  }

  /** The file has all that was acknowledged: it counts as any copy. */
  trustFile(): void {
    this.areas.isBehind.fill(0);
    this.wakeSoon();
  }

  /** The only copy that is left has nothing of these areas that counts. */
  lose(areas: readonly number[]): void {
    for (const area of areas) this.areas.lose(area);
    this.wakeSoon();
  }

  /**
   * The next generation may be asked for with the copy in it, which has learned all: until it is
   * known whether that is there, the copy has to confirm too. False: it has missed something.
   */
  ask(id: number): boolean {
    const { members } = this;
    const bit = members.bitOf(id);
    if (this.#isOver || bit === 0 || bit !== members.learner) return false;
    members.asked = bit;
    return true;
  }

  /** The generation that was asked for is there. */
  joined(): void {
    this.members.set |= this.members.asked;
    this.members.asked = 0;
    this.members.learner = 0;
  }
}

/** Of what was done nowhere: whoever asked may ask again. */
function passing(status: Status): Status {
  return outcomeOf(status) === 'notApplied' && status !== Status.Ok ? status : Status.Unavailable;
}
