/**
 * What an operator asks of the controller: over its HTTP API, which is on the port of the rack.
 * Programs that use memory never need these calls, so the protocol does not have them.
 */

import { request } from 'node:http';
import { type ErrorCode, MemrackError } from '../client/error.js';
import { ConfigError } from '../base/config-error.js';
import { configurationOf, rackUrl, type SharedFlags } from './context.js';

interface Problem {
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy: string;
}

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

export interface Asking {
  readonly body?: object;
  /** How long to wait for the answer; that of the configuration when missing. */
  readonly timeoutMs?: number;
}

/** The answer as it came from JSON. Rejects with a `MemrackError`. */
export async function askController(
  flags: SharedFlags,
  method: Method,
  path: string,
  asking: Asking = {},
): Promise<unknown> {
  const bytes = await ask(flags, method, path, asking);
  return bytes.length === 0 ? undefined : (JSON.parse(bytes.toString('utf8')) as unknown);
}

/** What is not JSON: the answer's bytes. Rejects with a `MemrackError`. */
export function fetchFromController(flags: SharedFlags, path: string): Promise<Buffer> {
  return ask(flags, 'GET', path, {});
}

async function ask(
  flags: SharedFlags,
  method: Method,
  path: string,
  { body, timeoutMs = configurationOf(flags).timeoutMs }: Asking,
): Promise<Buffer> {
  const url = rackUrl(flags);
  const host = /^memrack:\/\/([^/]+)\/?$/.exec(url)?.[1];
  if (host === undefined) {
    throw new ConfigError('command line', [`--rack: ${url} is not memrack://HOST:PORT`]);
  }
  const { status, bytes } = await send(host, method, path, {
    body: body === undefined ? undefined : JSON.stringify(body),
    timeoutMs,
  });
  if (status >= 200 && status < 300) return bytes;
  const { code, message, remedy } = problemOf(bytes.toString('utf8'), status);
  throw new MemrackError(code, message, { remedy });
}

function problemOf(text: string, status: number): Problem {
  try {
    const problem = JSON.parse(text) as Partial<Problem>;
    const { code = 'Unavailable', message = text, remedy = '' } = problem;
    return { code, message, remedy };
  } catch {
    const message = `the controller answered with HTTP status ${status}`;
    return { code: 'Unavailable', message, remedy: 'see its log' };
  }
}

interface Sending {
  readonly body: string | undefined;
  readonly timeoutMs: number;
}

function send(
  host: string,
  method: Method,
  path: string,
  { body, timeoutMs }: Sending,
): Promise<{ status: number; bytes: Buffer }> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      const remedy = 'see `memrack status`; where no controller runs, start a rack';
      const message = `the controller at ${host} does not answer: ${error.message}`;
      reject(new MemrackError('Unavailable', message, { remedy }));
    };
    // Without a body, too: so the controller knows that no page of a browser asks.
    const headers = { 'content-type': 'application/json' };
    const asking = request(`http://${host}${path}`, { method, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', fail);
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, bytes: Buffer.concat(chunks) });
      });
    });
    asking.on('error', fail);
    asking.setTimeout(timeoutMs, () => asking.destroy(new Error('no answer in time')));
    asking.end(body);
  });
}
