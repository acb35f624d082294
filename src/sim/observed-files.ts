/**
 * The directory of files as a client program uses it, written into the journal: each key is a
 * register that only its own client changes and everybody reads. A file stands for a number.
 */

import type { FileDirectory } from '../client/files.js';
import { REGION_BYTES } from '../wire/limits.js';
import { DISCARDED, type WordOperation, WordVerb, ZERO } from './checkers/history.js';
import { type Ended, type Journal, SUCCESS } from './journal.js';
import { endedBy, type NoteOutcome, OF_FAULTS } from './observed-space.js';

export interface ObservedFilesFacts {
  readonly client: number;
  readonly files: FileDirectory;
  readonly journal: Journal;
  readonly nowMs: () => number;
  readonly noteOutcome: NoteOutcome;
}

export class ObservedFiles {
  readonly #facts: ObservedFilesFacts;

  constructor(facts: ObservedFilesFacts) {
    this.#facts = facts;
  }

  /** All keys in one call, all of length `number`; the answer stands for all of them. */
  async put(space: number, keys: readonly string[], number: number): Promise<Ended> {
    const operations = keys.map((key) => this.#begin(key, WordVerb.write, number));
    const place = { space, address: REGION_BYTES };
    const entries = keys.map((key) => ({ key, ...place, length: number, sha256: '' }));
    const ended = await this.#ended('put', this.#facts.files.put(entries));
    for (const operation of operations) this.#end(operation, ended);
    return ended;
  }

  async get(key: string): Promise<Ended> {
    const operation = this.#begin(key, WordVerb.read, 0);
    let found = 0;
    const reading = this.#facts.files.get(key).then(({ length }) => {
      found = length;
    });
    const ended = await this.#ended('get', reading);
    operation.result = { low: found, high: 0 };
    this.#end(operation, ended.code === 'NotFound' ? SUCCESS : ended);
    return ended;
  }

  async remove(key: string): Promise<Ended> {
    const operation = this.#begin(key, WordVerb.write, 0);
    const ended = await this.#ended('remove', this.#facts.files.remove(key));
    // A call that is repeated after a lost answer finds nothing, because it has removed it before.
    if (ended.code !== 'NotFound') this.#end(operation, ended);
    return ended;
  }

  #begin(key: string, verb: WordVerb, number: number): WordOperation {
    const { journal, client } = this.#facts;
    const operation: WordOperation = {
      client,
      verb,
      argument: { low: number, high: 0 },
      expected: ZERO,
      result: ZERO,
      calledAt: journal.moment(),
      returnedAt: Infinity,
    };
    journal.recordKey(key, operation);
    return operation;
  }

  #end(operation: WordOperation, ended: Ended): void {
    if (ended.code === 'Ok') operation.returnedAt = this.#facts.journal.moment();
    // The controller's calls are repeated until the deadline: what is not known may have happened.
    else if (ended.code === 'NoSpace' || ended.code === 'Busy') operation.returnedAt = DISCARDED;
  }

  async #ended(verb: string, promise: Promise<unknown>): Promise<Ended> {
    const { journal, nowMs, noteOutcome } = this.#facts;
    const startedMs = nowMs();
    let ended = SUCCESS;
    try {
      await promise;
    } catch (error) {
      ended = endedBy(error);
    }
    journal.count(verb, ended);
    if (OF_FAULTS.has(ended.code)) noteOutcome(startedMs, 'unknown');
    return ended;
  }
}
