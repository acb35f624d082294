/**
 * A small embedded database for metadata: declared tables, changes in atomic, durable batches.
 *
 * The real one is SQLite, one SQL table per declared table; the simulated one keeps rows in memory
 * and loses at a crash what was not yet durable. Reading sees what was committed by this process.
 */

export type ColumnType = 'integer' | 'text';
export type Value = number | string;
export type Row = Record<string, Value>;

export interface TableDeclaration {
  readonly columns: Readonly<Record<string, ColumnType>>;
  /** Names of the columns that make the primary key. */
  readonly key: readonly string[];
}
export type Schema = Readonly<Record<string, TableDeclaration>>;

export type Change =
  /** Inserts, or replaces the row of the same key. */
  { readonly put: string; readonly row: Row } | { readonly remove: string; readonly key: Row };

export interface Database {
  /** All rows whose columns equal those of `where`, ordered by key. */
  select(table: string, where?: Row): Row[];
  /**
   * All changes or none. When it resolves they survive a crash of process and machine. When it
   * rejects (`DiskError`) the process must stop: what is stored is known only after a restart.
   */
  commit(changes: readonly Change[]): Promise<void>;
  /** All that is durable now, for `restore`. Rejects with `DiskError`. */
  copy(): Promise<Uint8Array>;
  close(): Promise<void>;
}

export interface Databases {
  /** `folder` undefined: in memory only. Creates what is missing; checks what is there. */
  open(folder: string | undefined, name: string, schema: Schema): Promise<Database>;
  /**
   * Makes the database that was copied, durably, where there is none: rejects with `DiskError`
   * (`denied`) where there is one, whether anybody uses it or not.
   */
  restore(folder: string, name: string, copy: Uint8Array): Promise<void>;
}
