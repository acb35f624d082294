/**
 * The controller's configuration, checked before anything is opened: every wrong key is listed with
 * its value and what is allowed, all at once.
 */
import { ConfigError } from '../base/config-error.js';
import { KiB } from '../base/units.js';
import {
  isPlacementPolicyName,
  PLACEMENT_POLICY_DEFAULT,
  PLACEMENT_POLICY_NAMES,
  type PlacementPolicyName,
} from '../policies/placement/placement-policies.js';
import {
  isRebalancingPolicyName,
  REBALANCING_POLICY_DEFAULT,
  REBALANCING_POLICY_NAMES,
  type RebalancingPolicyName,
} from '../policies/rebalancing/rebalancing-policies.js';
import { SLAB_BYTES_MIN } from '../wire/limits.js';
import { AWAY_MS_DEFAULT, HEARTBEAT_MS_DEFAULT } from './limits.js';
import { NAME_CHARACTERS_MAX } from './names.js';

export interface ControllerConfig {
  /** Where the protocol and the HTTP API are served: `tcp://HOST:PORT`; port 0: any free one. */
  readonly listen: string;
  /** The folder for metadata; without it metadata is lost when the controller ends. */
  readonly data?: string;
  readonly placement?: PlacementPolicyName;
  readonly rebalancing?: RebalancingPolicyName;
  /** Name of this machine: pids are shown for members of the same one. */
  readonly machine?: string;
  readonly heartbeatMs?: number;
  readonly awayMs?: number;
  /** The least memory of a slab. No option of the command line: for racks of a few pages. */
  readonly slabBytesMin?: number;
}

export type CheckedConfig = Required<Omit<ControllerConfig, 'data'>> & {
  readonly data: string | undefined;
};

const KEYS = [
  ...['listen', 'data', 'placement', 'rebalancing', 'machine', 'heartbeatMs', 'awayMs'],
  'slabBytesMin',
];
const MS_MAX = 600_000;
/** Room for an area, and what belongs to it. */
const SLAB_LEAST = 512 * KiB;

/** Throws a `ConfigError`. Takes anything: it came from a file or another process. */
export function checkConfig(config: unknown): CheckedConfig {
  if (typeof config !== 'object' || config === null) {
    throw new ConfigError('controller', ['it is not an object']);
  }
  const given = config as Record<string, unknown>;
  const {
    listen,
    data,
    placement = PLACEMENT_POLICY_DEFAULT,
    rebalancing = REBALANCING_POLICY_DEFAULT,
    machine = 'localhost',
    heartbeatMs = HEARTBEAT_MS_DEFAULT,
    awayMs = AWAY_MS_DEFAULT,
    slabBytesMin = SLAB_BYTES_MIN,
  } = given;
  const problems = Object.keys(given)
    .filter((key) => !KEYS.includes(key))
    .map((key) => `${key}: there is no such key; there are ${KEYS.join(', ')}`);
  const check = (key: string, value: unknown, isGood: boolean, allowed: string): void => {
    if (!isGood) problems.push(`${key}: ${JSON.stringify(value)} is not ${allowed}`);
  };
  check('listen', listen, isListenable(listen), 'tcp://HOST:PORT, unix://PATH or ring://PATH');
  check('data', data, data === undefined || isText(data), 'the path of a folder');
  const names = PLACEMENT_POLICY_NAMES.join(', ');
  check('placement', placement, isText(placement) && isPlacementPolicyName(placement), names);
  const isPolicy = isText(rebalancing) && isRebalancingPolicyName(rebalancing);
  check('rebalancing', rebalancing, isPolicy, REBALANCING_POLICY_NAMES.join(', '));
  check('machine', machine, isMachine(machine), `1 to ${NAME_CHARACTERS_MAX} printable characters`);
  check('heartbeatMs', heartbeatMs, isMs(heartbeatMs), `an integer from 1 to ${MS_MAX}`);
  const awayAllowed = `an integer from twice heartbeatMs to ${MS_MAX}`;
  check('awayMs', awayMs, isMs(awayMs) && awayMs >= 2 * Number(heartbeatMs), awayAllowed);
  check(
    'slabBytesMin',
    slabBytesMin,
    isSlab(slabBytesMin),
    `${SLAB_LEAST} to ${SLAB_BYTES_MIN} bytes`,
  );
  if (problems.length > 0) throw new ConfigError('controller', problems);
  const times = { heartbeatMs, awayMs };
  const policies = { placement, rebalancing };
  return { listen, data, ...policies, machine, ...times, slabBytesMin } as CheckedConfig;
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function isListenable(value: unknown): boolean {
  if (!isText(value)) return false;
  const port = /^tcp:\/\/[!-~]+:(\d{1,5})$/.exec(value)?.[1];
  return port === undefined ? /^(unix|ring):\/\/[!-~]+$/.test(value) : Number(port) < 65536;
}

function isMachine(value: unknown): boolean {
  return isText(value) && value.length <= NAME_CHARACTERS_MAX && /^[ -~]+$/.test(value);
}

function isSlab(value: unknown): boolean {
  return Number.isInteger(value) && Number(value) >= SLAB_LEAST && Number(value) <= SLAB_BYTES_MIN;
}

function isMs(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= MS_MAX;
}
