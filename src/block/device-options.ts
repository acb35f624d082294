/** What a device is to do beyond its size, as the controller keeps it for its hosts. */

import type { DeviceFacts as DeviceMessage } from '../wire/device-messages.js';
import type { Fields } from '../wire/struct.js';
import type { NumberedDevice } from './world.js';

export interface DeviceOptions {
  /** The file that its host keeps it in, too: a path on that host's machine. */
  readonly backup?: string | undefined;
}

export function optionsText({ backup }: DeviceOptions): string {
  return backup === undefined ? '' : JSON.stringify({ backup });
}

/** What a later program has put there, and this one does not know, is left alone. */
function optionsIn(text: string): DeviceOptions {
  try {
    const options: unknown = JSON.parse(text);
    const isKnown = typeof options === 'object' && options !== null && 'backup' in options;
    return isKnown && typeof options.backup === 'string' ? { backup: options.backup } : {};
  } catch {
    return {};
  }
}

export function factsOf(message: Fields<typeof DeviceMessage>): NumberedDevice {
  const { name, device, bytes, slabBytes, copies } = message;
  const { backup } = optionsIn(message.options);
  return { name, device, bytes, slabBytes, copies, backup, isBackedUp: backup !== undefined };
}
