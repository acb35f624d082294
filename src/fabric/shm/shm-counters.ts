/** What links that reach memory without its node have done, as plain numbers for metrics. */

import { Elsewhere } from './step.js';

/** Why an operation went as a message. */
export const MESSAGE_REASONS = [
  'notAttached',
  'outstanding',
  'noFrame',
  'paused',
  'noPage',
  'window',
  'rights',
  'form',
  'notAlive',
  'moved',
  'unsure',
] as const;
export type MessageReason = (typeof MESSAGE_REASONS)[number];

export const REASON_ELSEWHERE: { readonly [Why in Elsewhere]: MessageReason } = {
  [Elsewhere.None]: 'outstanding',
  [Elsewhere.NoFrame]: 'noFrame',
  [Elsewhere.Paused]: 'paused',
  [Elsewhere.NoPage]: 'noPage',
  [Elsewhere.Window]: 'window',
  [Elsewhere.Rights]: 'rights',
  [Elsewhere.Form]: 'form',
  [Elsewhere.NotAlive]: 'notAlive',
  [Elsewhere.Moved]: 'moved',
};

export interface ShmCounters {
  attachments: number;
  /** Attachments given up because the connection or the node's process became another one. */
  attachmentsLost: number;
  /** Answers to Attach that were no slot, and files that could not be used. */
  attachesFailed: number;
  /** Operations that were done without the node: alone and at once, or in a batch. */
  operationsAlone: number;
  operationsInBatches: number;
  batches: number;
  /** Times that operations were held back until messages were answered. */
  holds: number;
  outcomesUnknown: number;
  readonly byMessage: Record<MessageReason, number>;
}

export function createShmCounters(): ShmCounters {
  const none = MESSAGE_REASONS.map((reason) => [reason, 0] as const);
  return {
    attachments: 0,
    attachmentsLost: 0,
    attachesFailed: 0,
    operationsAlone: 0,
    operationsInBatches: 0,
    batches: 0,
    holds: 0,
    outcomesUnknown: 0,
    byMessage: Object.fromEntries(none) as Record<MessageReason, number>,
  };
}
