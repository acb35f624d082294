// What one client has attempted and what was acknowledged to it, in a file that outlives it: every
// step is written there before and after it is taken, so that what a killed client knew is known.
// All numbers are doubles of 8 bytes: per item three of them.
import { closeSync, openSync, readSync, writeSync } from 'node:fs';

export const ATTEMPTED = 0;
export const ACKNOWLEDGED = 1;
/** Of counters: what is known not to have been done. */
export const REFUSED = 2;
/** Of what has one writer: what the life before this one may still be about to write. */
export const GHOST = 2;
const FIELDS = 3;

export class Ledger {
  #fd;
  #values;
  #bytes;

  constructor(path, items) {
    this.#fd = openSync(path, 'r+');
    this.#values = new Float64Array(items * FIELDS);
    this.#bytes = new Uint8Array(this.#values.buffer);
    readSync(this.#fd, this.#bytes, 0, this.#bytes.length, 0);
  }

  get(item, field) {
    return this.#values[item * FIELDS + field];
  }

  set(item, field, value) {
    const at = (item * FIELDS + field) * 8;
    this.#values[item * FIELDS + field] = value;
    writeSync(this.#fd, this.#bytes, at, 8, at);
  }

  add(item, field) {
    this.set(item, field, this.get(item, field) + 1);
  }

  close() {
    closeSync(this.#fd);
  }
}
