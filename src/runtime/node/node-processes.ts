/**
 * Other processes of ours.
 *
 *   parent                                       child
 *   spawn(entry), environment, descriptors --->  PR_SET_PDEATHSIG; is the parent still the parent?
 *   { config }                             --->  runs the role's main (see run-role.ts)
 *                                          <---  { ready }
 *
 * The configuration goes over the channel, not by arguments or environment, where any user of the
 * machine could read the secrets in it. To the kernel the parent is a thread: what a worker spawns
 * ends with the worker, so processes are started by main threads.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { assert } from '../../base/assert.js';
import type { MemoryHandle } from '../memory.js';
import type { Child, Exit, Processes, SpawnOptions } from '../processes.js';
import { endProcess } from './end-process.js';
import { canTell, hasEnded, identityOf } from './process-identity.js';
import { descriptorOf, MEMORY_VARIABLE } from './node-memory.js';

/** Names, in a child's environment, the process that must be its parent. */
export const PARENT_VARIABLE = 'MEMRACK_PARENT';

/** Standard streams, then the channel, then memory files. */
const CHANNEL_FD = 3;
const MEMORY_FD_FIRST = 4;

export interface ConfigMessage {
  readonly config: unknown;
}

interface ReadyMessage {
  readonly ready: unknown;
}

export class NodeProcesses implements Processes {
  readonly pid = process.pid;
  readonly identity = identityOf(process.pid) ?? '';
  readonly #entry: string | undefined;

  /** `entry` is the file that calls `runRole`. */
  constructor(entry: string | undefined) {
    this.#entry = entry;
  }

  spawn(options: SpawnOptions): Child {
    assert(this.#entry !== undefined, 'the runtime was made without a file for roles');
    const memory = options.memory ?? [];
    const child = spawn(process.execPath, [...flags(), this.#entry, options.role], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', ...memory.map(descriptorOf)],
      env: {
        ...process.env,
        [PARENT_VARIABLE]: String(process.pid),
        [MEMORY_VARIABLE]: handed(memory),
      },
    });
    assert(child.channel === undefined || child.stdio.length > CHANNEL_FD);
    const message: ConfigMessage = { config: options.config };
    // A child that has ended already is told of by `exited`.
    child.send(message, () => {});
    return new NodeChild(child, options.role);
  }

  hasEnded(identity: string): boolean {
    return hasEnded(identity);
  }

  canTell(identity: string): boolean {
    return canTell(identity);
  }

  ready(message: unknown): void {
    const ready: ReadyMessage = { ready: message };
    process.send?.(ready);
  }

  exit(code: number): never {
    endProcess(code);
  }
}

class NodeChild implements Child {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  readonly ready: Promise<unknown>;
  readonly #child: ChildProcess;

  constructor(child: ChildProcess, role: string) {
    this.#child = child;
    this.pid = child.pid ?? -1;
    let failure: Error | undefined;
    this.exited = new Promise((resolve) => {
      child.on('error', (error) => {
        failure ??= error;
        // No process, no exit.
        if (child.pid === undefined) resolve({ code: undefined, signal: undefined });
      });
      child.on('exit', (code, signal) => {
        resolve({ code: code ?? undefined, signal: signal ?? undefined });
      });
    });
    this.ready = new Promise((resolve, reject) => {
      child.on('message', (message) => {
        if (typeof message === 'object' && 'ready' in message) resolve(message.ready);
      });
      void this.exited.then(({ code, signal }) => {
        const how = failure?.message ?? (signal === undefined ? `code ${code}` : signal);
        reject(new Error(`${role} ended before it was ready: ${how}`));
      });
    });
    // Not everybody waits for it.
    this.ready.catch(() => {});
  }

  end(signal: 'term' | 'kill'): void {
    this.#child.kill(signal === 'term' ? 'SIGTERM' : 'SIGKILL');
  }
}

/** Flags of this process, without those of a debugger, whose port is taken. */
function flags(): string[] {
  return process.execArgv.filter((flag) => !flag.startsWith('--inspect'));
}

function handed(memory: readonly MemoryHandle[]): string {
  return memory.map((handle, i) => `${handle}:${MEMORY_FD_FIRST + i}`).join(',');
}
