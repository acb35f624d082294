/** What a device is to do beyond its size, as the controller keeps it for its hosts. */

import type { DeviceFacts as DeviceMessage } from '../wire/device-messages.js';
import type { Fields } from '../wire/struct.js';
import type { DeviceAllowance } from './rate-limit.js';
import type { NumberedDevice } from './world.js';

export interface DeviceOptions extends DeviceAllowance {
  /** The file that its host keeps it in, too: a path on that host's machine. */
  readonly backup?: string | undefined;
}

/** Less would let requests wait longer than clients do. */
export const LIMIT_BYTES_PER_S_MIN = 1024 * 1024;
export const LIMIT_REQUESTS_PER_S_MIN = 100;
export const WEIGHT_MAX = 100;

export function optionsText(options: DeviceOptions): string {
  return changedText('', options) ?? '';
}

/**
 * With other values for those that are named, `undefined` for none. What a later program has put
 * there, and this one does not know, stays. Undefined: the text is none that can be changed.
 */
export function changedText(text: string, changes: DeviceOptions): string | undefined {
  const options = text === '' ? {} : objectIn(text);
  if (options === undefined) return undefined;
  const changed = JSON.stringify({ ...options, ...changes });
  return changed === '{}' ? '' : changed;
}

function objectIn(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** What this program knows of it. */
export function optionsIn(text: string): DeviceOptions {
  const { backup, bytesPerS, requestsPerS, weight } = objectIn(text) ?? {};
  return {
    ...(typeof backup === 'string' ? { backup } : {}),
    ...(isNumber(bytesPerS, LIMIT_BYTES_PER_S_MIN) ? { bytesPerS } : {}),
    ...(isNumber(requestsPerS, LIMIT_REQUESTS_PER_S_MIN) ? { requestsPerS } : {}),
    ...(isNumber(weight, 1, WEIGHT_MAX) ? { weight } : {}),
  };
}

function isNumber(value: unknown, least: number, most = Infinity): value is number {
  return typeof value === 'number' && value >= least && value <= most;
}

export function factsOf(message: Fields<typeof DeviceMessage>): NumberedDevice {
  const { name, device, bytes, slabBytes, copies } = message;
  const { backup, ...allowance } = optionsIn(message.options);
  const isBackedUp = backup !== undefined;
  return { name, device, bytes, slabBytes, copies, backup, isBackedUp, allowance };
}
