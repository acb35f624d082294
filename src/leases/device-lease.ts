/**
 * The lease of a block device: who holds it serves the device. It is named after the device's
 * number. Programs cannot ask for it by its name: what they call a lease has no colon.
 */

const PREFIX = 'device:';

export function deviceLeaseName(device: number): string {
  return `${PREFIX}${device}`;
}

/** The number of the device whose lease this is; undefined: it is no device's. */
export function deviceOfLease(name: string): number | undefined {
  if (!name.startsWith(PREFIX)) return undefined;
  const device = Number(name.slice(PREFIX.length));
  return Number.isSafeInteger(device) && deviceLeaseName(device) === name ? device : undefined;
}
