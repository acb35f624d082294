/**
 * A simulated database: rows in memory, and per machine what would be found after a crash.
 *
 * Commits are made one after the other. One that is under way when its process or machine ends is
 * stored wholly or not at all, as the seed decides.
 */

import { assert, defined } from '../../base/assert.js';
import type { Prng } from '../../base/prng.js';
import { readUtf8, utf8Bytes, writeUtf8 } from '../../base/utf8.js';
import type {
  Change,
  Database,
  Databases,
  Row,
  Schema,
  TableDeclaration,
  Value,
} from '../database.js';
import { DiskError } from '../disk.js';
import { type Fault, FaultKind } from './faults.js';
import type { Kernel } from './kernel.js';
import type { Machine, Task } from './task.js';
import { EventKind } from './trace.js';

/** So rarely a commit finds room on a full disk. */
const ROOM_WITHIN = 4;

type Table = Map<string, Row>;
type Tables = Map<string, Table>;

/** A database as it lies on the machine's disk. */
interface Stored {
  readonly tables: Tables;
  readonly schema: Map<string, string>;
  /** One at a time: it is locked for as long as it is open. */
  open: boolean;
  /** The last commit was interrupted, and nobody has opened it since. */
  interrupted: Fault | undefined;
}

function keyOf(declaration: TableDeclaration, row: Row): string {
  return JSON.stringify(declaration.key.map((column) => row[column]));
}

function compareText(a: string, b: string): number {
  const [left, right] = [[...a], [...b]];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const difference = (left[i]?.codePointAt(0) ?? 0) - (right[i]?.codePointAt(0) ?? 0);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

function compareValues(a: Value, b: Value): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return compareText(String(a), String(b));
}

function compareRows(declaration: TableDeclaration, a: Row, b: Row): number {
  for (const column of declaration.key) {
    const difference = compareValues(defined(a[column]), defined(b[column]));
    if (difference !== 0) return difference;
  }
  return 0;
}

/** A programming error is told at once: the real database would refuse it later. */
function checkRow(declaration: TableDeclaration, columns: readonly string[], row: Row): void {
  for (const column of columns) {
    const value = row[column];
    const type = declaration.columns[column];
    if (type === 'integer') assert(Number.isSafeInteger(value), 'a column takes integers');
    else assert(typeof value === 'string', 'a column takes text');
  }
  assert(Object.keys(row).length === columns.length, 'a row has columns that nobody declared');
}

export class DatabaseStore {
  readonly kernel: Kernel;
  readonly machine: Machine;
  readonly prng: Prng;
  readonly #stored: Map<string, Stored> = new Map();

  constructor(kernel: Kernel, machine: Machine) {
    this.kernel = kernel;
    this.machine = machine;
    this.prng = kernel.prng.fork(`database ${machine.name}`);
  }

  copy(): DatabaseCopy {
    return new Map([...this.#stored].map(([path, { tables }]) => [path, copyOf(tables)]));
  }

  /** Of databases that nobody has open. */
  putBack(copy: DatabaseCopy): void {
    for (const [path, tables] of copy) {
      const stored = this.#stored.get(path);
      assert(stored !== undefined && !stored.open, 'a database in use is not put back');
      stored.tables.clear();
      for (const [name, table] of copyOf(tables)) stored.tables.set(name, table);
    }
  }

  restore(path: string, copy: Uint8Array): void {
    if (this.#stored.has(path)) throw new DiskError('denied', `${path} exists`);
    const text = defined(readUtf8(copy, 0, copy.length));
    const { rows, schema } = JSON.parse(text) as {
      rows: [string, [string, Row][]][];
      schema: [string, string][];
    };
    const tables = new Map(rows.map(([name, table]) => [name, new Map(table)]));
    const facts = { open: false, interrupted: undefined };
    this.#stored.set(path, { tables, schema: new Map(schema), ...facts });
  }

  /** Of a full disk: there may be room within files that are there. */
  whyFull(what: string): DiskError | undefined {
    const { diskFull } = this.machine;
    if (diskFull === undefined || this.prng.below(ROOM_WITHIN) === 0) return undefined;
    this.kernel.faults.matter(diskFull);
    return new DiskError('full', `${what}: the disk is full`);
  }

  open(path: string, schema: Schema): Stored {
    let stored = this.#stored.get(path);
    const full = this.whyFull(`${path} cannot be opened`);
    if (full !== undefined) throw full;
    if (stored === undefined) {
      stored = { tables: new Map(), schema: new Map(), open: false, interrupted: undefined };
      this.#stored.set(path, stored);
    }
    if (stored.open) throw new DiskError('denied', `another process uses ${path}`);
    for (const [name, declaration] of Object.entries(schema)) {
      const text = JSON.stringify([declaration.columns, declaration.key]);
      const before = stored.schema.get(name);
      if (before !== undefined && before !== text) {
        throw new DiskError('denied', `table ${name} of ${path} has other columns`);
      }
      stored.schema.set(name, text);
      if (!stored.tables.has(name)) stored.tables.set(name, new Map());
    }
    stored.open = true;
    this.kernel.faults.matter(stored.interrupted);
    stored.interrupted = undefined;
    return stored;
  }
}

/** What an operator keeps of the databases of a machine. */
export type DatabaseCopy = ReadonlyMap<string, Tables>;

interface Commit {
  readonly changes: readonly Change[];
  readonly resolve: () => void;
  readonly reject: (error: DiskError) => void;
}

class SimulatedDatabase implements Database {
  readonly #store: DatabaseStore;
  readonly #task: Task;
  readonly #schema: Schema;
  readonly #stored: Stored;
  readonly #waiting: Commit[] = [];
  readonly #forget: () => void;
  #open = true;
  #failed: DiskError | undefined;

  constructor(store: DatabaseStore, task: Task, schema: Schema, stored: Stored) {
    this.#store = store;
    this.#task = task;
    this.#schema = schema;
    this.#stored = stored;
    this.#forget = task.atEnd(() => this.#interrupt());
  }

  #declaration(table: string): TableDeclaration {
    const declaration = this.#schema[table];
    assert(declaration !== undefined, 'a table that nobody declared');
    return declaration;
  }

  select(table: string, where: Row = {}): Row[] {
    assert(this.#open, 'a closed database was used');
    const declaration = this.#declaration(table);
    const wanted = Object.entries(where);
    const rows: Row[] = [];
    for (const row of defined(this.#stored.tables.get(table)).values()) {
      if (wanted.every(([column, value]) => row[column] === value)) rows.push({ ...row });
    }
    return rows.sort((a, b) => compareRows(declaration, a, b));
  }

  commit(changes: readonly Change[]): Promise<void> {
    assert(this.#open, 'a closed database was used');
    for (const change of changes) this.#check(change);
    const copy = structuredCopy(changes);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ changes: copy, resolve, reject });
      if (this.#waiting.length === 1) this.#beginFirst();
    });
  }

  #check(change: Change): void {
    const declaration = this.#declaration('put' in change ? change.put : change.remove);
    if ('put' in change) checkRow(declaration, Object.keys(declaration.columns), change.row);
    else checkRow(declaration, declaration.key, change.key);
  }

  #beginFirst(): void {
    const { kernel } = this.#store;
    const us = kernel.withinUs(kernel.knobs.commitUs);
    kernel.schedule(us, this.#task, EventKind.Database, () => this.#finishFirst());
  }

  #finishFirst(): void {
    const commit = this.#waiting[0];
    if (commit === undefined) return;
    this.#failed ??= this.#store.whyFull('the database cannot grow') ?? this.#injected();
    const failed = this.#failed;
    // Where a commit failed, the disk may have it nevertheless: known after a restart only.
    const mayBeStored = failed !== undefined && failed.kind !== 'full';
    if (failed === undefined || (mayBeStored && this.#store.prng.below(2) === 0)) {
      this.#apply(commit);
    }
    this.#waiting.shift();
    if (failed === undefined) commit.resolve();
    else commit.reject(failed);
    if (this.#waiting.length > 0) this.#beginFirst();
  }

  #injected(): DiskError | undefined {
    const { kernel, machine } = this.#store;
    if (!kernel.faults.roll(FaultKind.DatabaseError)) return undefined;
    kernel.faults.matter(kernel.faults.inject(FaultKind.DatabaseError, [machine.id]));
    return new DiskError('io', 'the database cannot be written');
  }

  #apply(commit: Commit): void {
    for (const change of commit.changes) {
      const name = 'put' in change ? change.put : change.remove;
      const declaration = this.#declaration(name);
      const table = defined(this.#stored.tables.get(name));
      if ('put' in change) table.set(keyOf(declaration, change.row), change.row);
      else table.delete(keyOf(declaration, change.key));
    }
  }

  /** Rows as text. */
  copy(): Promise<Uint8Array> {
    assert(this.#open, 'a closed database was used');
    const { tables, schema } = this.#stored;
    const rows = [...tables].map(([name, table]) => [name, [...table]]);
    const text = JSON.stringify({ rows, schema: [...schema] });
    const bytes = new Uint8Array(utf8Bytes(text));
    writeUtf8(bytes, 0, text);
    return Promise.resolve(bytes);
  }

  /** The process ends with a commit under way: it was in time, or it was not. */
  #interrupt(): void {
    this.#stored.open = false;
    const first = this.#waiting[0];
    if (first === undefined) return;
    const { kernel, machine, prng } = this.#store;
    this.#stored.interrupted = kernel.faults.inject(FaultKind.CommitInterrupted, [machine.id]);
    if (prng.below(2) === 0) this.#apply(first);
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    while (this.#waiting.length > 0) await this.#lastOfWaiting();
    this.#open = false;
    this.#stored.open = false;
    this.#forget();
  }

  #lastOfWaiting(): Promise<void> {
    const { kernel } = this.#store;
    const us = kernel.withinUs(kernel.knobs.commitUs);
    return new Promise((resolve) => {
      kernel.schedule(us, this.#task, EventKind.Database, resolve);
    });
  }
}

/** Rows are never changed in place. */
function copyOf(tables: Tables): Tables {
  return new Map([...tables].map(([name, table]) => [name, new Map(table)]));
}

function structuredCopy(changes: readonly Change[]): Change[] {
  return changes.map((change) =>
    'put' in change
      ? { put: change.put, row: { ...change.row } }
      : { remove: change.remove, key: { ...change.key } },
  );
}

export class SimulatedDatabases implements Databases {
  readonly #store: DatabaseStore;
  readonly #task: Task;

  constructor(store: DatabaseStore, task: Task) {
    this.#store = store;
    this.#task = task;
  }

  open(folder: string | undefined, name: string, schema: Schema): Promise<Database> {
    const { kernel } = this.#store;
    const us = kernel.withinUs(kernel.knobs.commitUs);
    return new Promise((resolve, reject) => {
      kernel.schedule(us, this.#task, EventKind.Database, () => {
        try {
          const store = folder === undefined ? this.#inMemory() : this.#store;
          const stored = store.open(`${folder ?? ''}/${name}`, schema);
          resolve(new SimulatedDatabase(store, this.#task, schema, stored));
        } catch (error) {
          reject(error as DiskError);
        }
      });
    });
  }

  restore(folder: string, name: string, copy: Uint8Array): Promise<void> {
    const { kernel } = this.#store;
    const us = kernel.withinUs(kernel.knobs.commitUs);
    return new Promise((resolve, reject) => {
      kernel.schedule(us, this.#task, EventKind.Database, () => {
        try {
          this.#store.restore(`${folder}/${name}`, copy);
          resolve();
        } catch (error) {
          reject(error as DiskError);
        }
      });
    });
  }

  #inMemory(): DatabaseStore {
    return new DatabaseStore(this.#store.kernel, this.#store.machine);
  }
}
