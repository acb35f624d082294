/**
 * The configuration file, `memrack.json`: every key once, with what it means and its default.
 * Flags on the command line win over it. docs/configuration.md is made from this file.
 */

import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { ConfigError } from '../base/config-error.js';
import { parseBytes } from '../base/units.js';
import { RACK_URL_DEFAULT } from '../client/options.js';
import { PLACEMENT_POLICY_DEFAULT } from '../policies/placement/placement-policies.js';
import { REBALANCING_POLICY_DEFAULT } from '../policies/rebalancing/rebalancing-policies.js';

const size = z
  .string()
  .refine((text) => parseBytes(text) !== undefined, 'must be a size such as 64KiB or 1GiB');
const port = z.int().min(0).max(65_535);

export const CONFIGURATION = z.strictObject({
  rack: z
    .string()
    .default(RACK_URL_DEFAULT)
    .describe('The rack that commands speak to. `--rack` and MEMRACK_URL win over it.'),
  timeoutMs: z
    .int()
    .min(1)
    .default(10_000)
    .describe('How long a command waits for an operation without progress.'),
  poll: z
    .boolean()
    .default(true)
    .describe('Whether commands that move data spin briefly while answers are due.'),
  listen: z
    .string()
    .default('127.0.0.1')
    .describe('The address that `up` and the single roles listen on.'),
  port: port.default(7070).describe('Port of the controller, for `up` and `controller`.'),
  data: z
    .string()
    .optional()
    .describe('Folder for metadata. Without it metadata is lost when the controller ends.'),
  placement: z
    .string()
    .default(PLACEMENT_POLICY_DEFAULT)
    .describe('How the controller chooses a memory node for a new region.'),
  rebalancing: z
    .string()
    .default(REBALANCING_POLICY_DEFAULT)
    .describe('Whether regions move by themselves from full memory nodes to empty ones, and how.'),
  nodes: z.int().min(1).max(64).default(3).describe('Memory nodes that `up` starts.'),
  memory: size.default('1GiB').describe('What each memory node lends.'),
  pageBytes: size.default('2MiB').describe('Page size of memory nodes: a power of two.'),
  protectDonor: z
    .boolean()
    .default(true)
    .describe('Whether memory nodes give memory back when their machine is short of it.'),
  lendAbove: size
    .optional()
    .describe(
      'So much a memory node leaves its machine before it lends more. With `giveBackBelow`.',
    ),
  giveBackBelow: size
    .optional()
    .describe('It gives memory back when its machine has less left. By default both are shares.'),
  controlGroup: z
    .string()
    .optional()
    .describe('The control group whose memory a memory node watches, as the kernel names it.'),
  join: z
    .string()
    .optional()
    .describe('Address of the controller, for the single roles `memory-node` and `host`.'),
  nbdPort: port
    .optional()
    .describe(
      'Port of the NBD door of `up` and `host`. Without it 10809; `up` takes a free one too.',
    ),
  nbdTlsCertificate: z
    .string()
    .optional()
    .describe('File with the certificate of the NBD door (PEM): it then speaks over TLS alone.'),
  nbdTlsKey: z.string().optional().describe('File with the key of that certificate (PEM).'),
  nbdTlsClientCa: z
    .string()
    .optional()
    .describe(
      'File with authorities (PEM): clients of the NBD door show one of their certificates.',
    ),
  nbdTlsPsk: z
    .string()
    .optional()
    .describe(
      'File with keys that clients of the NBD door know, as `name:hexkey`, instead of those.',
    ),
  files: z
    .string()
    .optional()
    .describe('Folder where `host` shows the block devices as files; takes root.'),
  persistent: z
    .string()
    .optional()
    .describe('File that the memory of `memory-node` is; it must be there, see `--create`.'),
  unprovenFileSystem: z
    .boolean()
    .default(false)
    .describe('Whether that file may be on a file system of which nothing is known.'),
  persistentNodes: z
    .int()
    .min(0)
    .max(16)
    .default(0)
    .describe('Memory nodes that `up` starts on files in its folder for data.'),
  id: z
    .string()
    .optional()
    .describe('Name of the memory node or host; by default made from the name of the machine.'),
});
export type Configuration = z.infer<typeof CONFIGURATION>;

/** Reads and checks the file; without one, the defaults. Throws a `ConfigError`. */
export function readConfiguration(path: string | undefined): Configuration {
  if (path === undefined) return CONFIGURATION.parse({});
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new ConfigError(`file ${path}`, [`it cannot be read: ${(error as Error).message}`]);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new ConfigError(`file ${path}`, [`it is not JSON: ${(error as Error).message}`]);
  }
  return checkConfiguration(json, `file ${path}`);
}

export function checkConfiguration(json: unknown, where: string): Configuration {
  const result = CONFIGURATION.safeParse(json);
  if (result.success) return result.data;
  throw new ConfigError(
    where,
    result.error.issues.flatMap((issue) => explain(issue, json)),
  );
}

function explain(issue: z.core.$ZodIssue, json: unknown): string[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => `${key}: there is no such key; did you mean ${nearest(key)}?`);
  }
  const key = issue.path.join('.');
  if (key === '') return [issue.message];
  const value = JSON.stringify((json as Record<string, unknown>)[key]);
  return [`${key}: ${value} is wrong: ${issue.message}`];
}

/** The allowed key that is written most like this one. */
export function nearest(key: string): string {
  const keys = Object.keys(CONFIGURATION.shape);
  const ranked = keys.map((known) => ({ known, steps: distance(key, known) }));
  ranked.sort((a, b) => a.steps - b.steps);
  return ranked[0]?.known ?? '';
}

/** Letters to insert, remove or replace (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1]?.toLowerCase() === b[j - 1]?.toLowerCase() ? 0 : 1;
      const change = (row[j - 1] ?? 0) + cost;
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** docs/configuration.md. */
export function configurationPage(): string {
  const defaults: Record<string, unknown> = CONFIGURATION.parse({});
  const rows = Object.entries(CONFIGURATION.shape).map(([key, schema]) => {
    const value = defaults[key];
    const shown = value === undefined ? '(none)' : `\`${JSON.stringify(value)}\``;
    return `| \`${key}\` | ${shown} | ${schema.description ?? ''} |`;
  });
  return `${[
    '# Configuration',
    '',
    'A JSON file with any of these keys, named by `--config memrack.json`. A flag of the same',
    'name on the command line wins over the file. An unknown key or a wrong value is refused',
    'before anything starts, with exit code 2. Generated from `src/cli/configuration.ts`.',
    '',
    '| key | default | meaning |',
    '|---|---|---|',
    ...rows,
    '',
    '```json',
    '{ "nodes": 3, "memory": "1GiB", "port": 7070 }',
    '```',
  ].join('\n')}\n`;
}
