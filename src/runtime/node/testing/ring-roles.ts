/** Roles for tests of streams between processes. */

import type { RoleMain } from '../../runtime.js';
import { createRuntime } from '../create-runtime.js';
import { type Wanted, Words } from './words.js';

const CONNECT_MS = 5000;
const LOOK_MS = 2;

/**
 * Connects, exchanges words and ends: with 0 when all were right. A number of words of 0 stands
 * for going on for ever (JSON has no infinity).
 */
const exchanger: RoleMain<Wanted & { address: string; poll: boolean }> = async (_given, config) => {
  const runtime = createRuntime({ poll: config.poll });
  const words = new Words({ ...config, words: config.words === 0 ? Infinity : config.words });
  const stream = await runtime.network.connect(config.address, words, CONNECT_MS);
  words.push(stream);
  setInterval(() => {
    if (words.wrong !== '') process.stderr.write(`${words.wrong}\n`);
    if (words.wrong !== '') runtime.processes.exit(3);
    if (words.isDone || words.reason !== '') runtime.processes.exit(words.isDone ? 0 : 4);
  }, LOOK_MS);
  runtime.processes.ready(runtime.processes.pid);
  return { address: '', stop: () => Promise.resolve() };
};

export const RING_ROLES = { exchanger };
