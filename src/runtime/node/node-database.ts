/**
 * SQLite: one STRICT table per declared table, write-ahead log, every commit on disk before it
 * resolves. One process at a time: a file beside it is locked for as long as it is open. (SQLite's
 * own exclusive mode would go on until the collector has found the last statement.)
 */

import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { DatabaseSyncInstance, StatementSyncInstance } from '@photostructure/sqlite';
import { assert } from '../../base/assert.js';
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
import { flock, LOCK_EXCLUSIVE_NOW } from './system.js';
import { writeWholeFile } from './whole-file.js';

/** Stored as `user_version`: how declarations become tables. */
const LAYOUT_VERSION = 1;

const SQLITE_FULL = 13;
const SQLITE_CANTOPEN = 14;

type Opener = new (path: string) => DatabaseSyncInstance;

export const nodeDatabases: Databases = {
  async open(folder, name, schema) {
    const Opener = await loadSqlite();
    const memory = folder === undefined;
    const path = memory ? ':memory:' : join(folder, `${name}.sqlite`);
    return told(`cannot open ${path}`, () => {
      if (!memory) mkdirSync(folder, { recursive: true, mode: 0o700 });
      const lock = memory ? undefined : takeLock(path);
      let sqlite: DatabaseSyncInstance | undefined;
      try {
        sqlite = new Opener(path);
        return new NodeDatabase(sqlite, { path, schema, lock });
      } catch (error) {
        sqlite?.close();
        if (lock !== undefined) closeSync(lock);
        throw error;
      }
    });
  },

  async restore(folder, name, copy) {
    const path = join(folder, `${name}.sqlite`);
    try {
      restoreFile(path, copy);
    } catch (error) {
      if (error instanceof DiskError) throw error;
      const { code = '', message } = error as NodeJS.ErrnoException;
      throw new DiskError(kindOf(code, undefined), `cannot write ${path}: ${message}`);
    }
  },
};

function restoreFile(path: string, copy: Uint8Array): void {
  // A log that is left over would be taken for the new file's.
  for (const left of [path, `${path}-wal`, `${path}-shm`]) {
    if (existsSync(left)) throw new DiskError('denied', `${left} exists: move it away first`);
  }
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeWholeFile(path, copy);
}

/** Node's own where it has one that needs no flag; the package has the same interface. */
async function loadSqlite(): Promise<Opener> {
  try {
    const builtin = 'node:sqlite';
    return ((await import(builtin)) as { DatabaseSync: Opener }).DatabaseSync;
  } catch {
    return (await import('@photostructure/sqlite')).DatabaseSync;
  }
}

/** Taken until the descriptor is closed, or the process has ended however it ends. */
function takeLock(path: string): number {
  const lock = openSync(`${path}.lock`, 'a', 0o600);
  if (flock(lock, LOCK_EXCLUSIVE_NOW) === 0) return lock;
  closeSync(lock);
  throw new DiskError(
    'denied',
    `another process uses ${path}; stop that process, or choose another folder`,
  );
}

interface Opened {
  readonly path: string;
  readonly schema: Schema;
  /** The descriptor of the lock; undefined in memory. */
  readonly lock: number | undefined;
}

class NodeDatabase implements Database {
  readonly #sqlite: DatabaseSyncInstance;
  readonly #path: string;
  readonly #schema: Schema;
  readonly #statements: Map<string, StatementSyncInstance> = new Map();
  readonly #lock: number | undefined;
  #failure: DiskError | undefined;
  /** Not asked of SQLite: Node knows `isOpen` since 22.15 only. */
  #isClosed = false;

  constructor(sqlite: DatabaseSyncInstance, { path, schema, lock }: Opened) {
    this.#sqlite = sqlite;
    this.#path = path;
    this.#schema = schema;
    this.#lock = lock;
    sqlite.exec('PRAGMA journal_mode = WAL');
    sqlite.exec('PRAGMA synchronous = FULL');
    this.#checkVersion();
    for (const [table, declaration] of Object.entries(schema)) this.#ensure(table, declaration);
  }

  select(table: string, where: Row = {}): Row[] {
    const { columns, key } = this.#declaration(table);
    const names = Object.keys(where);
    for (const name of names) assert(name in columns, 'no such column');
    const condition = names.length === 0 ? '' : ` WHERE ${names.map(equals).join(' AND ')}`;
    const wanted = Object.keys(columns).map(quoted).join(', ');
    const order = key.map(quoted).join(', ');
    const text = `SELECT ${wanted} FROM ${quoted(table)}${condition} ORDER BY ${order}`;
    const rows = told(`cannot read ${this.#path}`, () => {
      return this.#statement(text).all(...Object.values(where));
    });
    return (rows as Row[]).map((row) => ({ ...row }));
  }

  async commit(changes: readonly Change[]): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      told(`cannot write ${this.#path}`, () => this.#transact(changes));
    } catch (error) {
      // What is stored is not known any more, so nothing may build on it.
      if (error instanceof DiskError) this.#failure = error;
      throw error;
    }
  }

  /** SQLite writes it between two commits, without free pages, into a file that goes again. */
  async copy(): Promise<Uint8Array> {
    const folder = mkdtempSync(
      join(this.#lock === undefined ? tmpdir() : dirname(this.#path), '.copy-'),
    );
    const path = join(folder, 'copy.sqlite');
    try {
      return told(`cannot copy ${this.#path}`, () => {
        this.#sqlite.prepare('VACUUM INTO ?').run(path);
        return readFileSync(path);
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    // SQLite does it itself only when the collector has found the last statement.
    if (this.#lock !== undefined) this.#shortenLog();
    this.#statements.clear();
    this.#sqlite.close();
    if (this.#lock !== undefined) closeSync(this.#lock);
  }

  #shortenLog(): void {
    try {
      this.#sqlite.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    } catch {
      // A disk that is full, or fails: all that was committed is in the log.
    }
  }

  #transact(changes: readonly Change[]): void {
    this.#sqlite.exec('BEGIN IMMEDIATE');
    try {
      for (const change of changes) {
        if ('put' in change) this.#put(change.put, change.row);
        else this.#remove(change.remove, change.key);
      }
      this.#sqlite.exec('COMMIT');
    } catch (error) {
      this.#rollBack();
      throw error;
    }
  }

  #rollBack(): void {
    try {
      this.#sqlite.exec('ROLLBACK');
    } catch {
      // SQLite has done so itself, which it does after errors of the disk.
    }
  }

  #put(table: string, row: Row): void {
    const names = Object.keys(this.#declaration(table).columns);
    assert(Object.keys(row).length === names.length, 'a row has a value for every column');
    const values = names.map((name) => valueOf(row, name));
    const places = names.map(() => '?').join(', ');
    const wanted = names.map(quoted).join(', ');
    const text = `INSERT OR REPLACE INTO ${quoted(table)} (${wanted}) VALUES (${places})`;
    this.#statement(text).run(...values);
  }

  #remove(table: string, row: Row): void {
    const { key } = this.#declaration(table);
    assert(Object.keys(row).length === key.length, 'a key has a value for every key column');
    const values = key.map((name) => valueOf(row, name));
    const text = `DELETE FROM ${quoted(table)} WHERE ${key.map(equals).join(' AND ')}`;
    this.#statement(text).run(...values);
  }

  #statement(text: string): StatementSyncInstance {
    let statement = this.#statements.get(text);
    if (statement === undefined) {
      statement = this.#sqlite.prepare(text);
      this.#statements.set(text, statement);
    }
    return statement;
  }

  #declaration(table: string): TableDeclaration {
    const declaration = this.#schema[table];
    assert(declaration !== undefined, 'no such table');
    return declaration;
  }

  #checkVersion(): void {
    const row = this.#sqlite.prepare('PRAGMA user_version').get() as { user_version: number };
    if (row.user_version !== 0 && row.user_version !== LAYOUT_VERSION) {
      throw new DiskError(
        'denied',
        `${this.#path} has layout ${row.user_version}, this version knows ${LAYOUT_VERSION}; ` +
          'use the version of memrack that wrote it',
      );
    }
    // Only then: what is there can be opened on a disk that is full.
    if (row.user_version === 0) this.#sqlite.exec(`PRAGMA user_version = ${LAYOUT_VERSION}`);
  }

  /** Creates the table, or refuses one that was declared differently. */
  #ensure(table: string, declaration: TableDeclaration): void {
    const wanted = Object.entries(declaration.columns).map(([name, type]) => {
      return `${quoted(name)} ${type.toUpperCase()} NOT NULL`;
    });
    const key = `PRIMARY KEY (${declaration.key.map(quoted).join(', ')})`;
    const text = `CREATE TABLE ${quoted(table)} (${[...wanted, key].join(', ')}) STRICT`;
    const find = this.#sqlite.prepare(
      "SELECT sql FROM sqlite_schema WHERE type='table' AND name=?",
    );
    const found = find.get(table) as { sql: string } | undefined;
    if (found === undefined) this.#sqlite.exec(text);
    else if (found.sql !== text) {
      throw new DiskError(
        'denied',
        `table ${table} of ${this.#path} was made by another version: it is "${found.sql}"`,
      );
    }
  }
}

function valueOf(row: Row, column: string): Value {
  const value = row[column];
  assert(typeof value === 'string' || Number.isSafeInteger(value), 'not a value of a database');
  return value as Value;
}

function equals(column: string): string {
  return `${quoted(column)} = ?`;
}

/** Names come from declarations in code; quoted because some are words of SQL. */
function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** The same result, or SQLite's error in our words. Assertions pass through. */
function told<T>(what: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    const { code, errcode, message } = error as Error & { code?: string; errcode?: number };
    if (code === undefined || error instanceof DiskError) throw error;
    throw new DiskError(kindOf(code, errcode), `${what}: ${message}`);
  }
}

function kindOf(code: string, errcode: number | undefined): DiskError['kind'] {
  if (errcode === SQLITE_FULL || code === 'ENOSPC') return 'full';
  return errcode === SQLITE_CANTOPEN || code === 'EACCES' || code === 'EPERM' ? 'denied' : 'io';
}
