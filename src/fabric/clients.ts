/**
 * The clients that a serving process knows, each with its one live connection, its slot, and the
 * record of the connection before: what makes a retry count once.
 *
 *   hello --> waiting --(the earlier connection has ended, its running call too)--> session
 *   session ends --> kept for RECORD_KEEP_MS --> forgotten
 *
 * At most one connection of a client executes anything at any time.
 */

import { assert } from '../base/assert.js';
import { Status } from '../base/status.js';
import type { Timer } from '../runtime/clock.js';
import type { Runtime } from '../runtime/runtime.js';
import { CLIENT_SLOTS_MAX, RECORD_KEEP_MS, RECORDS_CLOSED_MAX } from '../wire/limits.js';
import type { HelloRequest } from '../wire/messages.js';
import type { Fields } from '../wire/struct.js';
import type { FabricCounters } from './counters.js';
import { fabricFaults } from './planted.js';
import { ResultRecord } from './record.js';

export type Hello = Fields<typeof HelloRequest>;

/** A connection, as this table sees it. */
export interface Greeting {
  readonly hello: Hello;
  /**
   * The connection is the client's only one now. `previous` is the record of the connection that
   * the hello named, if it is still known.
   */
  admitted(slot: number, record: ResultRecord, previous: ResultRecord | undefined): void;
  /** Executes nothing more. Calls `left` when its running call is done, or at once. */
  end(reason: string): void;
}

interface Client {
  readonly id: number;
  readonly slot: number;
  /** The highest number of a connection that said hello. */
  highest: number;
  session: Greeting | undefined;
  waiting: Greeting | undefined;
  /** Of the newest admitted connection, and of the one that its hello named. */
  latest: ResultRecord | undefined;
  before: ResultRecord | undefined;
  keep: Timer | undefined;
}

/** Is told of clients; see `DataHandler`. */
export interface ClientTableUser {
  begunAnew(slot: number): void;
  forgotten(slot: number, client: number): void;
}

/** What one takes beside its records, roughly. */
const CLIENT_BYTES = 256;

export class ClientTable {
  readonly #runtime: Runtime;
  readonly #counters: FabricCounters;
  readonly #instance: number;
  readonly #user: ClientTableUser;
  readonly #clients = new Map<number, Client>();
  /** Those without a connection, longest first. */
  readonly #absent = new Set<Client>();
  readonly #slotTaken = new Uint8Array(CLIENT_SLOTS_MAX);

  constructor(runtime: Runtime, counters: FabricCounters, instance: number, user: ClientTableUser) {
    this.#runtime = runtime;
    this.#counters = counters;
    this.#instance = instance;
    this.#user = user;
  }

  get size(): number {
    return this.#clients.size;
  }

  /** Bytes that are kept for clients; 0 without any. */
  get stateBytes(): number {
    let bytes = 0;
    for (const { latest, before } of this.#clients.values()) {
      bytes += CLIENT_BYTES + (latest?.stateBytes ?? 0);
      if (before !== latest) bytes += before?.stateBytes ?? 0;
    }
    return bytes;
  }

  /**
   * Ends the earlier connection of the client; `admitted` follows, at once or when a running call
   * of that connection is done. Any other status: refused, and nothing has changed.
   */
  greet(session: Greeting): Status {
    const { client: id, connection } = session.hello;
    const client = this.#clients.get(id) ?? this.#create(id);
    if (client === undefined) return Status.Busy;
    if (connection <= client.highest) return Status.Stale;
    client.highest = connection;
    this.#present(client);
    const replaced = client.waiting;
    client.waiting = session;
    replaced?.end('replaced by a newer connection of this client');
    if (client.session === undefined || fabricFaults.oldConnectionNotFenced) {
      this.#admit(client);
    } else {
      this.#counters.fenced++;
      client.session.end('fenced by a newer connection of this client');
    }
    return Status.Ok;
  }

  /** The connection has ended and no call of it is running. */
  left(session: Greeting): void {
    const client = this.#clients.get(session.hello.client);
    if (client === undefined) return;
    if (client.waiting === session) client.waiting = undefined;
    else if (client.session === session) client.session = undefined;
    else return;
    if (client.session !== undefined) return;
    if (client.waiting !== undefined) this.#admit(client);
    else this.#absentFromNow(client);
  }

  /** A client that has just left will not return: nothing of it is kept. */
  goodbye(id: number): void {
    const client = this.#clients.get(id);
    if (client !== undefined && this.#absent.has(client)) this.#forget(client);
  }

  /** Forgets all, for the end of the process. */
  clear(): void {
    for (const client of [...this.#clients.values()]) this.#forget(client);
  }

  #admit(client: Client): void {
    const session = client.waiting;
    assert(session !== undefined, 'nobody waits to be admitted');
    client.waiting = undefined;
    client.session = session;
    const { previous: named, acknowledged, instance, connection } = session.hello;
    const isOurs = named !== 0 && instance === this.#instance;
    const found = [client.latest, client.before].find((known) => known?.connection === named);
    const previous = isOurs && found?.covers(acknowledged) === true ? found : undefined;
    client.before = previous;
    // Another link of the same process, after one that was closed while it was not connected.
    if (named === 0) this.#user.begunAnew(client.slot);
    client.latest = new ResultRecord(connection);
    session.admitted(client.slot, client.latest, previous);
  }

  #create(id: number): Client | undefined {
    const slot = this.#slotTaken.indexOf(0);
    if (slot < 0) return undefined;
    this.#slotTaken[slot] = 1;
    const client: Client = {
      id,
      slot,
      highest: 0,
      session: undefined,
      waiting: undefined,
      latest: undefined,
      before: undefined,
      keep: undefined,
    };
    this.#clients.set(id, client);
    return client;
  }

  #present(client: Client): void {
    this.#absent.delete(client);
    client.keep?.cancel();
    client.keep = undefined;
  }

  #absentFromNow(client: Client): void {
    this.#absent.add(client);
    client.keep = this.#runtime.timers.after(RECORD_KEEP_MS, () => this.#forget(client));
    if (this.#absent.size <= RECORDS_CLOSED_MAX) return;
    const [longest] = this.#absent;
    if (longest !== undefined) this.#forget(longest);
  }

  #forget(client: Client): void {
    this.#present(client);
    this.#clients.delete(client.id);
    this.#slotTaken[client.slot] = 0;
    this.#counters.clientsForgotten++;
    this.#user.forgotten(client.slot, client.id);
  }
}
