/** What a test and its clients in processes of their own say to each other. */
import type { CountReport } from './counting.js';

export interface SpaceClientOptions {
  readonly url: string;
  readonly space: string;
  readonly link: 'udp' | 'tcp' | 'auto';
  readonly timeoutMs: number;
  /** Clients in the one process, each with a socket, an id and windows of its own. */
  readonly clients: number;
  readonly namespace?: string;
}

export type SpaceCommand =
  | { readonly do: 'alloc'; readonly bytes: number }
  | { readonly do: 'read'; readonly at: number; readonly bytes: number }
  | { readonly do: 'write'; readonly at: number; readonly data: Uint8Array }
  /**
   * Each client increments lines [0, shared), and `own` lines of its own: those of client `i` begin
   * at `firstOwn + i * own`. Ends after so many increments, or when it is told to.
   */
  | {
      readonly do: 'count';
      readonly at: number;
      readonly shared: number;
      readonly own: number;
      readonly firstOwn: number;
      readonly increments: number;
    }
  /** How long datagrams of the first client are at the moment; 0: it has no link over udp. */
  | { readonly do: 'path' }
  | { readonly do: 'done' }
  | { readonly do: 'stop' };

export interface SpaceFailure {
  readonly code: string;
  readonly outcome: string;
  readonly message: string;
}

export type SpaceResult = number | Uint8Array | CountReport | SpaceFailure;

export type SpaceAsked = SpaceCommand & { readonly id: number };

export interface SpaceAnswer {
  readonly id: number;
  readonly isOk: boolean;
  /** By the client's clock. */
  readonly ms: number;
  readonly result: SpaceResult;
}
