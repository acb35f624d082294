import { expect, test } from 'vitest';
import { Status } from '../../base/status.js';
import * as nbd from './protocol.js';
import { errorOf, failureOf, messageOf, NBD_ERROR, Refusal } from './refusal.js';

const ERRORS = [
  nbd.NBD_EPERM,
  nbd.NBD_EIO,
  nbd.NBD_ENOMEM,
  nbd.NBD_EINVAL,
  nbd.NBD_ENOSPC,
  nbd.NBD_EOVERFLOW,
  nbd.NBD_ENOTSUP,
  nbd.NBD_ESHUTDOWN,
];

test('every status but Ok, and every refusal, is an error that NBD knows, with words', () => {
  for (const end of [...Object.values(Status), ...Object.values(Refusal)]) {
    if (end === Status.Ok) continue;
    expect(ERRORS).toContain(errorOf(end, true));
    expect(errorOf(end, false)).not.toBe(nbd.NBD_ENOTSUP);
    expect(messageOf(end).length).toBeGreaterThan(5);
    expect(messageOf(end).length).toBeLessThan(nbd.NBD_STRING_BYTES_MAX);
  }
  expect(errorOf(Status.Ok, false)).toBe(0);
});

test('the numbers of statuses and refusals are apart', () => {
  const statuses = Object.values(Status) as number[];
  const refusals = Object.values(Refusal) as number[];
  expect(Math.max(...statuses)).toBeLessThan(Math.min(...refusals));
  expect(Math.max(...refusals)).toBeLessThan(256);
});

test('what a backend may not return is a failure', () => {
  for (const wrong of [Status.Ok, 99, -7, Number.NaN]) {
    expect(failureOf(wrong)).toBe(Status.Corrupt);
  }
  expect(failureOf(Status.NoSpace)).toBe(Status.NoSpace);
  expect(NBD_ERROR.NoSpace).toBe(28);
});
