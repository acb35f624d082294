/**
 * How the controller says no: a status for programs and a sentence for people. Returned, never
 * thrown; the sentence says what is wrong and what to do about it.
 */
import { Status } from '../base/status.js';

export interface Refusal {
  readonly status: Exclude<Status, 0>;
  readonly message: string;
}

export type Result<T> = ({ readonly status: typeof Status.Ok } & T) | Refusal;

export function refuse(status: Exclude<Status, 0>, message: string): Refusal {
  return { status, message };
}

export function ok<T extends object>(value: T): { readonly status: typeof Status.Ok } & T {
  return { status: Status.Ok, ...value };
}

export function isRefusal(result: { readonly status: Status }): result is Refusal {
  return result.status !== Status.Ok;
}
